//! Tests of what the controller decides, without an API server: the watch is played by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::api;
use ferrolb_rules::config::{self, Resources};
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::service::{Compact, View, compact};
use ferrolb_rules::service::{HeldUp, Options};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::book::Book;
use super::due::{earliest, not_later};
use super::queue::{Ending, Queue};
use super::wanted::{ALLOCATED, ANNOUNCED, Announced, Distance, Verdict, Wanted};
use crate::k8s::stores::Change;

mod book;
mod pools;
mod queue;
mod reports;
mod secret;
mod wanted;

fn object<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

/// A Service of type LoadBalancer at a version; `spec` and `metadata` are the insides of YAML flow mappings.
fn service(name: &str, version: u32, metadata: &str, spec: &str) -> Service {
    object(&format!(
        "metadata: {{name: {name}, namespace: default, resourceVersion: '{version}', {metadata}}}\n\
         spec: {{type: LoadBalancer, clusterIPs: [10.96.0.1], clusterIP: 10.96.0.1, ports: [{{port: 80}}], {spec}}}"
    ))
}

fn configuration(pools: &[(&str, &str)], advertised: bool) -> Arc<config::Config> {
    let pool = |(name, addresses): &(&str, &str)| {
        Arc::new(object::<api::IPAddressPool>(&format!(
            "metadata: {{name: {name}, namespace: metallb-system}}\nspec: {{addresses: [{addresses}]}}"
        )))
    };
    let l2 = || Arc::new(object("metadata: {name: l2, namespace: metallb-system}\nspec: {}"));
    let resources = Resources {
        pools: pools.iter().map(pool).collect(),
        l2_advertisements: advertised.then(l2).into_iter().collect(),
        nodes: vec![Arc::new(object("metadata: {name: node-a}"))],
        ..Resources::default()
    };
    Arc::new(config::parse(&resources).unwrap())
}

/// An API server and a watch for one book: what is written is applied and comes back.
struct World {
    book: Book,
    queue: Queue,
    version: u32,
    /// Status writes so far.
    writes: usize,
}

impl World {
    fn new(pools: &[(&str, &str)]) -> Self {
        let mut book = Book::new(Options::default());
        book.configure(configuration(pools, true));
        Self { book, queue: Queue::default(), version: 100, writes: 0 }
    }

    fn bring(&mut self, change: Change<Compact>) {
        for key in self.book.take_in(change, &mut self.queue) {
            self.consider(&key);
        }
    }

    fn apply(&mut self, service: &Service) {
        self.bring(Change::Applied(Arc::new(Compact::of(service))));
    }

    fn consider(&mut self, key: &ServiceKey) {
        let Some(service) = self.book.services.get(key) else { return };
        let distance = self.book.wanted(key, Announced::Unknown).map(|wanted| wanted.distance(service));
        self.queue.want(key, distance.unwrap_or(Distance::None));
    }

    fn decide(&mut self) {
        for key in self.book.decide(&self.queue) {
            self.consider(&key);
        }
    }

    /// Sends the next write. Returns what it makes of the Service, which the watch has not brought yet.
    fn send(&mut self) -> Option<(ServiceKey, Service)> {
        let key = self.queue.next(Instant::now())?;
        let service = self.book.services.get(&key).cloned()?;
        let wanted = self.book.wanted(&key, Announced::Unknown)?;
        self.queue.sent(&key, service.version().unwrap(), wanted.distance(&service));
        let (metadata, status) = wanted.apply(&service, Timestamp::UNIX_EPOCH);
        self.version += 1;
        self.writes += 1;
        let mut written = Service { metadata, status: Some(status), spec: service.object().spec.clone() };
        written.metadata.resource_version = Some(self.version.to_string());
        Some((key, written))
    }

    fn ended(&mut self, key: &ServiceKey, ending: Ending) {
        let version = self.book.services.get(key).and_then(View::version);
        self.queue.ended(key, ending, version, Instant::now());
        self.consider(key);
    }

    /// Decides and writes until nothing is left to do.
    fn settle(&mut self) {
        self.decide();
        while let Some((key, written)) = self.send() {
            self.ended(&key, Ending::Stored);
            self.apply(&written);
            self.decide();
        }
    }

    fn address(&self, name: &str) -> String {
        let service = self.book.services.get(&key(name)).unwrap();
        ferrolb_rules::service::status_ips(service).collect::<Vec<_>>().join(",")
    }
}
