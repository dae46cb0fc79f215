//! This node's ServiceL2Statuses and ServiceBGPStatuses (spec §6.9, §7.9): one object for each Service that it really
//! answers for, and one for each that it has really told routers of.
//!
//! Both kinds are looked after in the same way, each by a [`Writer`] of its own. The newest wish is handed over whole; a task compares it with what its watch shows and writes the difference. What
//! the watch does not show yet although it was written is remembered until it does, so nothing is written twice; in
//! the steady state nothing is asked and nothing written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::api::well_known::{
    BGP_STATUS_PREFIX, L2_STATUS_PREFIX, NODE_LABEL, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL,
};
use ferrolb_rules::api::{
    Answer, InterfaceInfo, ServiceBGPStatus, ServiceBGPStatusDetails, ServiceL2Status, ServiceL2StatusDetails,
};
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::bgp::Routers;
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;

use crate::drive::answers::Answering;
use crate::k8s::number::{Number, number};
use crate::k8s::stores::{Shelf, Watches};

#[cfg(test)]
mod tests;

/// Requests at a time: enough to keep up, too few to hurt an API server.
const AT_A_TIME: usize = 8;
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);
/// How long to wait for more changes before anything is compared.
const SETTLE_INTERVAL: Duration = Duration::from_millis(50);
/// How long after a node has gone to look for what it left behind: by then its Services are answered for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long to believe that the watch will still show what was written.
const REMEMBER: Duration = Duration::from_secs(30);
/// Between two tries after a failure, at first and at last.
const RETRY_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A kind of objects that say which node announces a Service.
pub(super) trait Report:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// What it is made of.
    type Source: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// What stands in its status.
    type Details: Clone + Debug + PartialEq + Hash + Serialize + Send + Sync + 'static;

    /// How its names begin.
    const PREFIX: &'static str;
    /// What writing it is called in the log.
    const OPERATION: &'static str;
    /// The lists in its status.
    const LISTS: &'static [&'static str];

    /// What is to stand in the status of this node's object about a Service.
    fn say(own: &NodeName, service: &ServiceKey, source: &Self::Source) -> Self::Details;

    /// An object without a status.
    fn blank(metadata: ObjectMeta) -> Self;

    /// Its status.
    fn details(&self) -> Option<&Self::Details>;

    /// The immutable fields of a status: node, name and namespace of the Service.
    fn about(details: &Self::Details) -> [&str; 3];
}

impl Report for ServiceL2Status {
    type Source = Answering;
    type Details = ServiceL2StatusDetails;

    const PREFIX: &'static str = L2_STATUS_PREFIX;
    const OPERATION: &'static str = "serviceL2Status";
    const LISTS: &'static [&'static str] = &["interfaces", "answers", "addresses"];

    fn say(own: &NodeName, service: &ServiceKey, one: &Answering) -> ServiceL2StatusDetails {
        let links = || one.links.iter();
        ServiceL2StatusDetails {
            node: own.to_string(),
            service_name: service.name.to_string(),
            service_namespace: service.namespace.to_string(),
            interfaces: match one.selected {
                true => links().map(|(name, _)| InterfaceInfo { name: name.clone() }).collect(),
                false => Vec::new(),
            },
            answers: links().map(|(name, mac)| Answer { interface: name.clone(), mac: mac.to_string() }).collect(),
            addresses: one.addresses.iter().map(ToString::to_string).collect(),
        }
    }

    fn blank(metadata: ObjectMeta) -> Self {
        Self { metadata, ..Self::default() }
    }

    fn details(&self) -> Option<&ServiceL2StatusDetails> {
        self.status.as_ref()
    }

    fn about(details: &ServiceL2StatusDetails) -> [&str; 3] {
        [&details.node, &details.service_name, &details.service_namespace]
    }
}

impl Report for ServiceBGPStatus {
    type Source = Routers;
    type Details = ServiceBGPStatusDetails;

    const PREFIX: &'static str = BGP_STATUS_PREFIX;
    const OPERATION: &'static str = "serviceBGPStatus";
    const LISTS: &'static [&'static str] = &["peers"];

    /// The peers that were told everything of the Service.
    fn say(own: &NodeName, service: &ServiceKey, peers: &Routers) -> ServiceBGPStatusDetails {
        ServiceBGPStatusDetails {
            node: own.to_string(),
            service_name: service.name.to_string(),
            service_namespace: service.namespace.to_string(),
            peers: peers.iter().cloned().collect(),
        }
    }

    fn blank(metadata: ObjectMeta) -> Self {
        Self { metadata, ..Self::default() }
    }

    fn details(&self) -> Option<&ServiceBGPStatusDetails> {
        self.status.as_ref()
    }

    fn about(details: &ServiceBGPStatusDetails) -> [&str; 3] {
        [&details.node, &details.service_name, &details.service_namespace]
    }
}

/// The Services that this node announces, with what their status is made of: the texts are made when one is written.
pub(super) type Wanted<K> = BTreeMap<ServiceKey, <K as Report>::Source>;

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    Create(ServiceKey),
    Set(Arc<str>, ServiceKey),
    Delete(Arc<str>),
}

/// One of this node's objects. There may be ten thousand: what stands in it is kept as a number, to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Existing {
    name: Arc<str>,
    service: Option<ServiceKey>,
    details: Option<Print>,
}

/// What a status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    /// The immutable fields; none where they are not set.
    about: Option<Number>,
    all: Number,
}

impl Print {
    fn of<K: Report>(details: &K::Details) -> Self {
        let about = K::about(details);
        Self { about: (!about[0].is_empty()).then(|| number(&about)), all: number(details) }
    }
}

impl Existing {
    fn read<K: Report>(object: &K) -> Self {
        let labels = object.meta().labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).cloned();
        Self {
            name: object.meta().name.as_deref().unwrap_or_default().into(),
            service: label(SERVICE_NAMESPACE_LABEL)
                .zip(label(SERVICE_NAME_LABEL))
                .map(|(namespace, name)| ServiceKey::new(namespace, name)),
            details: object.details().map(Print::of::<K>),
        }
    }

    /// Whether its immutable fields say something else.
    fn is_of_another(&self, wanted: &Print) -> bool {
        self.details.and_then(|details| details.about).is_some_and(|about| Some(about) != wanted.about)
    }
}

/// What has to be written. `existing` are the objects with this node's label, in order of name.
fn difference<K: Report>(own: &NodeName, wanted: &Wanted<K>, existing: &[Existing]) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut there = BTreeSet::new();
    for object in existing {
        // An object without the other labels is not ours to judge (spec §6.9).
        let Some(service) = &object.service else { continue };
        match wanted.get(service).map(|source| Print::of::<K>(&K::say(own, service, source))) {
            Some(print) if !there.contains(service) && !object.is_of_another(&print) => {
                there.insert(service);
                if object.details != Some(print) {
                    writes.push(Write::Set(object.name.clone(), service.clone()));
                }
            }
            _ => writes.push(Write::Delete(object.name.clone())),
        }
    }
    let missing = wanted.keys().filter(|service| !there.contains(service));
    writes.extend(missing.map(|service| Write::Create(service.clone())));
    writes
}

/// What was written and what the watch may not show yet.
#[derive(Debug)]
struct Remembered {
    objects: BTreeMap<Arc<str>, (Option<Existing>, Instant)>,
}

impl Remembered {
    const fn new() -> Self {
        Self { objects: BTreeMap::new() }
    }

    /// The objects as they are, as far as is known: what the watch shows, with what was written since.
    fn apply(&mut self, shown: Vec<Existing>, now: Instant) -> Vec<Existing> {
        let mut objects: BTreeMap<Arc<str>, Existing> =
            shown.into_iter().map(|object| (object.name.clone(), object)).collect();
        self.objects.retain(|name, (written, at)| {
            let shown = objects.get(name) == written.as_ref();
            !shown && now.duration_since(*at) < REMEMBER
        });
        for (name, (written, _)) in &self.objects {
            match written {
                Some(written) => objects.insert(name.clone(), written.clone()),
                None => objects.remove(name),
            };
        }
        objects.into_values().collect()
    }

    fn wrote(&mut self, name: Arc<str>, object: Option<Existing>, now: Instant) {
        self.objects.insert(name, (object, now));
    }
}

/// Writes what is wanted.
pub(super) struct Writer<K: Report> {
    own: NodeName,
    api: Api<K>,
    shown: Shelf<Arc<str>, Existing>,
    /// A watch of its own: nothing is announced any later if these objects cannot be read.
    watches: Watches,
    owner: Option<OwnerReference>,
    remembered: Remembered,
}

impl<K: Report> Writer<K> {
    /// Follows this node's objects. `owner` owns what is created.
    pub(super) fn new(own: NodeName, client: &Client, namespace: &str, owner: Option<OwnerReference>) -> Self {
        let api = Api::namespaced(client.clone(), namespace);
        let ours = watcher::Config::default().labels(&format!("{NODE_LABEL}={own}"));
        let mut watches = Watches::default();
        let name = |object: &K| Arc::from(object.meta().name.as_deref().unwrap_or_default());
        let shown = watches.shelve(api.clone(), ours, |_| (), name, |object| Some(Existing::read(object)));
        Self { own, api, shown, watches, owner, remembered: Remembered::new() }
    }

    /// Runs until nobody wants anything any more. `alive` are the nodes whose own objects are their own to look after.
    pub(super) async fn run(
        mut self,
        mut wanted: watch::Receiver<Option<Arc<Wanted<K>>>>,
        mut alive: watch::Receiver<Option<BTreeSet<NodeName>>>,
    ) {
        let (mut wait, mut retry_at, mut sweep_at) = (RETRY_INTERVALS.0, None::<Instant>, None::<Instant>);
        self.watches.synced().await;
        loop {
            let due = retry_at.into_iter().chain(sweep_at).min();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                Ok(()) = alive.changed() => sweep_at = Some(Instant::now() + SWEEP_INTERVAL),
                () = self.watches.changed() => {}
                () = until(due) => {}
            }
            // Changes come in flocks.
            tokio::time::sleep(SETTLE_INTERVAL).await;
            let Some(newest) = wanted.borrow_and_update().clone() else { continue };
            let mut result = self.bring_in_line(&newest).await;
            if result.is_ok() && sweep_at.is_some_and(|at| at <= Instant::now()) {
                let nodes = alive.borrow_and_update().clone();
                result = self.sweep(&newest, nodes).await;
                sweep_at = sweep_at.filter(|_| result.is_err());
            }
            match &result {
                Ok(()) => (wait, retry_at) = (RETRY_INTERVALS.0, None),
                Err(error) => {
                    if retry_at.is_none() {
                        tracing::warn!(op = K::OPERATION, %error, "cannot be written; trying again");
                    }
                    retry_at = Some(Instant::now() + wait);
                    wait = (wait * 2).min(RETRY_INTERVALS.1);
                }
            }
        }
    }

    async fn bring_in_line(&mut self, wanted: &Wanted<K>) -> Result<(), kube::Error> {
        let mut shown = Vec::new();
        self.shown.for_each(|object| shown.push(Existing::clone(object)));
        let existing = self.remembered.apply(shown, Instant::now());
        let writes = difference::<K>(&self.own, wanted, &existing);
        let (own, api, owner) = (&self.own, &self.api, &self.owner);
        let requests = writes.into_iter().map(|write| write_one(own, api, owner.as_ref(), wanted, write));
        let results: Vec<_> = futures::stream::iter(requests).buffer_unordered(AT_A_TIME).collect().await;
        let mut failure = Ok(());
        for (written, result) in results {
            if let Some((name, object)) = written {
                self.remembered.wrote(name, object, Instant::now());
            }
            failure = failure.and(result);
        }
        failure
    }

    /// Takes away what nodes that are not alive left behind about Services that this node answers for now.
    async fn sweep(&self, wanted: &Wanted<K>, alive: Option<BTreeSet<NodeName>>) -> Result<(), kube::Error> {
        let Some(alive) = alive.filter(|_| !wanted.is_empty()) else { return Ok(()) };
        let names: Vec<String> = alive.iter().chain([&self.own]).map(ToString::to_string).collect();
        let strangers = ListParams::default().labels(&format!("{NODE_LABEL},{NODE_LABEL} notin ({})", names.join(",")));
        let left = in_time(self.api.list(&strangers)).await?;
        let ours = left.items.iter().map(Existing::read);
        for object in ours.filter(|one| one.service.as_ref().is_some_and(|service| wanted.contains_key(service))) {
            delete(&self.api, &object.name, DeleteParams::default()).await?;
        }
        Ok(())
    }
}

type Written = Option<(Arc<str>, Option<Existing>)>;

/// Does one write. Returns what is there now, as far as it came.
async fn write_one<K: Report>(
    own: &NodeName,
    api: &Api<K>,
    owner: Option<&OwnerReference>,
    wanted: &Wanted<K>,
    write: Write,
) -> (Written, Result<(), kube::Error>) {
    let details = |service: &ServiceKey| wanted.get(service).map(|source| K::say(own, service, source));
    match write {
        Write::Create(service) => {
            let Some(details) = details(&service) else { return (None, Ok(())) };
            match in_time(api.create(&PostParams::default(), &blank::<K>(own, &service, owner))).await {
                Err(error) => (None, Err(error)),
                Ok(object) => {
                    let name: Arc<str> = object.meta().name.as_deref().unwrap_or_default().into();
                    let result = set(api, &name, &details).await;
                    let details = result.is_ok().then(|| Print::of::<K>(&details));
                    (Some((name.clone(), Some(Existing { name, service: Some(service), details }))), result)
                }
            }
        }
        Write::Set(name, service) => {
            let Some(details) = details(&service) else { return (None, Ok(())) };
            match set(api, &name, &details).await {
                Ok(()) => {
                    let details = Some(Print::of::<K>(&details));
                    (Some((name.clone(), Some(Existing { name, service: Some(service), details }))), Ok(()))
                }
                // Somebody deleted it: the watch tells, and it is created anew.
                Err(kube::Error::Api(status)) if status.is_not_found() => (Some((name, None)), Ok(())),
                Err(error) => (None, Err(error)),
            }
        }
        Write::Delete(name) => match delete(api, &name, DeleteParams::default()).await {
            Ok(()) => (Some((name, None)), Ok(())),
            Err(error) => (None, Err(error)),
        },
    }
}

fn blank<K: Report>(own: &NodeName, service: &ServiceKey, owner: Option<&OwnerReference>) -> K {
    let labels = [
        (NODE_LABEL, own.as_str()),
        (SERVICE_NAME_LABEL, &service.name),
        (SERVICE_NAMESPACE_LABEL, &service.namespace),
    ];
    let metadata = ObjectMeta {
        generate_name: Some(K::PREFIX.to_owned()),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()),
        owner_references: owner.map(|owner| vec![owner.clone()]),
        ..ObjectMeta::default()
    };
    K::blank(metadata)
}

async fn set<K: Report>(api: &Api<K>, name: &str, details: &K::Details) -> Result<(), kube::Error> {
    // A merge leaves alone what is not named: lists that are empty now have to be named.
    let mut status = json!(details);
    for list in K::LISTS {
        if status.get(list).is_none() {
            status[*list] = json!(null);
        }
    }
    let patch = Patch::Merge(json!({ "status": status }));
    in_time(api.patch_status(name, &PatchParams::default(), &patch)).await.map(drop)
}

async fn delete<K: Report>(api: &Api<K>, name: &str, params: DeleteParams) -> Result<(), kube::Error> {
    match in_time(api.delete(name, &params)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result.map(drop),
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A request that takes too long is a failure like any other.
async fn in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    let late = |_| kube::Error::Service(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
    tokio::time::timeout(REQUEST, request).await.map_err(late)?
}
