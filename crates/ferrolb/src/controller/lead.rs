//! The leader's loop: what the watches bring goes into the book, what the book decides goes out.
//!
//! One task owns all state. Writes run beside it, a bounded number at once, each shorter than the lead lasts; their
//! endings come back like everything else. Without the lead the loop stands still.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::api::ConfigurationState;
use ferrolb_rules::config::Invalid;
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::{self, Compact, Options, View};
use ferrolb_rules::slice::Slice;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::book::{Book, Said};
use super::due::{earliest, not_later};
use super::findings::Findings;
use super::output::{Output, Task};
use super::pools;
use super::queue::{Ending, Queue};
use super::reports::{Protocol, Report, Reports};
use super::rivals::{self, Rivals};
use super::wanted::Distance;
use super::{Settings, trim};
use crate::k8s::configuration_state::Component;
use crate::k8s::events::{About, Event, Events};
use crate::k8s::lease::Lead;
use crate::k8s::service_status::{self, ServiceStatusWrite, Written};
use crate::k8s::stores::{Change, Configuration, Observer, Watches, by_name};
use crate::metrics::Metrics;

mod configure;

/// Writes of Service status under way at once: enough to keep an API server on two cores busy.
const IN_FLIGHT: usize = 32;
/// What the watches may bring before the loop has looked at it.
const CHANGES: usize = 1024;
/// Changes looked at in one turn.
const TURN: usize = 4096;
/// The configuration is looked at again this long after a change: one `kubectl apply` changes many objects.
const CONFIGURATION_DELAY: Duration = Duration::from_millis(10);
/// Between two looks at who announces.
const REPORTS_INTERVAL: Duration = Duration::from_millis(250);
/// How long a stop waits for writes that are under way.
const DRAIN: Duration = Duration::from_millis(250);

/// What the watches bring.
#[derive(Debug)]
enum Update {
    Services(Change<Compact>),
    Slices(Change<Option<Slice>>),
    L2(Change<Report>),
    Bgp(Change<Report>),
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// Somebody else may have led meanwhile: everything must be read anew.
    Lost,
}

/// What the leader has from outside.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
    pub(super) owner: Option<OwnerReference>,
    /// The kinds of the configuration.
    pub(super) configuration: Configuration,
    /// Whether those have been read, and when they change.
    pub(super) read: Observer,
}

/// The leader.
pub(super) struct Leader {
    around: Surroundings,
    term: i32,
    leads: watch::Receiver<Option<Lead>>,
    watches: Watches,
    /// What only serves to say who announces: nothing waits for it.
    evidence: Watches,
    pods: Store<Pod>,
    states: Store<ConfigurationState>,
    updates: mpsc::Receiver<Update>,
    book: Book,
    queue: Queue,
    writes: JoinSet<(ServiceKey, Written)>,
    /// Services whose status we were not let write the last time.
    denied: BTreeSet<ServiceKey>,
    rivals: Rivals,
    reports: Reports,
    findings: Findings,
    output: Output,
    outcome: Option<Result<(), Invalid>>,
    /// Pools that are there and not in force, and why.
    waiting: Vec<Finding>,
    services_listed: bool,
    configure_at: Option<Instant>,
    /// When a configuration that would take addresses away is taken over all the same.
    evict_at: Option<Instant>,
    reports_at: Option<Instant>,
    /// Addresses wait; everything that has time waits for them.
    behind: bool,
}

impl Leader {
    /// Begins to read everything but the configuration, which is read already.
    pub(super) fn new(around: Surroundings, term: i32, leads: watch::Receiver<Option<Lead>>) -> Self {
        let (sender, updates) = mpsc::channel(CHANGES);
        let (client, namespace) = (&around.client, around.settings.namespace.as_str());
        let (mut watches, mut evidence) = (Watches::default(), Watches::default());
        let keep = |service: Service| Compact::of(&service);
        watches.feed(Api::all(client.clone()), trim::service, keep, sender.clone(), Update::Services);
        evidence.feed(Api::all(client.clone()), |_| (), |slice| Slice::of(&slice), sender.clone(), Update::Slices);
        let api = Api::namespaced(client.clone(), namespace);
        evidence.feed(api, |_| (), Report::layer2, sender.clone(), Update::L2);
        let api = Api::namespaced(client.clone(), namespace);
        evidence.feed(api, |_| (), Report::bgp, sender, Update::Bgp);
        let pods = evidence.follow(Api::namespaced(client.clone(), namespace), watcher::Config::default(), trim::pod);
        let states = watches.follow(Api::namespaced(client.clone(), namespace), watcher::Config::default(), |_| ());
        let options = Options { load_balancer_class: around.settings.lb_class.clone(), ..Options::default() };
        Self {
            term,
            leads,
            watches,
            evidence,
            pods,
            states,
            updates,
            book: Book::new(options),
            queue: Queue::default(),
            writes: JoinSet::new(),
            denied: BTreeSet::new(),
            rivals: Rivals::default(),
            reports: Reports::new(around.settings.lb_class.clone()),
            findings: Findings::default(),
            output: Output::new(
                around.client.clone(),
                namespace.to_owned(),
                Component::controller(),
                around.owner.clone(),
            ),
            outcome: None,
            waiting: Vec::new(),
            services_listed: false,
            configure_at: None,
            evict_at: None,
            reports_at: None,
            behind: false,
            around,
        }
    }

    /// Leads until it is told to stop or somebody else may have led.
    pub(super) async fn run(mut self, ready: &watch::Sender<bool>, stop: &mut watch::Receiver<bool>) -> Ended {
        loop {
            let Some(lead) = *self.leads.borrow_and_update() else {
                // The lead has lapsed. Nothing is decided until it is clear whether anybody else had it.
                tokio::select! {
                    _ = self.leads.changed() => continue,
                    _ = stop.wait_for(|stop| *stop) => return self.drain().await,
                }
            };
            if lead.term != self.term {
                return Ended::Lost;
            }
            // Before everything is read nothing is due.
            let deadline = self.next_deadline().filter(|_| self.is_complete()).map(tokio::time::Instant::from_std);
            tokio::select! {
                Some(update) = self.updates.recv() => self.take_in(update),
                () = self.around.read.changed() => self.configure_at = Some(Instant::now() + CONFIGURATION_DELAY),
                // Our own ConfigurationState came back, or somebody else's, which may tell what a speaker sees.
                () = self.watches.changed() => not_later(&mut self.reports_at, Instant::now() + REPORTS_INTERVAL),
                () = self.evidence.changed() => not_later(&mut self.reports_at, Instant::now() + REPORTS_INTERVAL),
                Some(ended) = self.writes.join_next() => self.ended(ended),
                Some(task) = self.output.ended() => self.task_ended(task),
                () = sleep_until(deadline) => {}
                _ = self.leads.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return self.drain().await,
            }
            for _ in 0..TURN {
                let Ok(update) = self.updates.try_recv() else { break };
                self.take_in(update);
            }
            while let Some(ended) = self.writes.try_join_next() {
                self.ended(ended);
            }
            if self.is_complete() {
                ready.send_if_modified(|ready| !std::mem::replace(ready, true));
                self.turn(Instant::now());
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.services_listed && self.around.read.are_synced() && self.watches.are_synced()
    }

    /// What is under way may end; what is not is left to the next leader.
    async fn drain(mut self) -> Ended {
        let all = async { while self.writes.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN, all).await;
        Ended::Stopped
    }

    fn next_deadline(&self) -> Option<Instant> {
        let at_once =
            [self.configure_at, self.queue.next_deadline(), self.findings.next_deadline(), self.rivals.next_deadline()];
        let afterwards = [self.reports_at, self.output.next_deadline()];
        earliest(&at_once, &afterwards, self.behind)
    }

    fn take_in(&mut self, update: Update) {
        match update {
            Update::Services(change) => {
                if matches!(change, Change::Listed(_)) && !std::mem::replace(&mut self.services_listed, true) {
                    self.configure_at = Some(Instant::now());
                }
                self.around.metrics.updated();
                for key in self.book.take_in(change, &mut self.queue) {
                    self.consider(&key);
                }
                self.book.take_gone().iter().for_each(|key| self.rivals.forget(key));
            }
            Update::Slices(change) => self.reports.take_in_slices(change),
            Update::L2(change) => self.reports.take_in_reports(Protocol::Layer2, change),
            Update::Bgp(change) => self.reports.take_in_reports(Protocol::Bgp, change),
        }
        not_later(&mut self.reports_at, Instant::now() + REPORTS_INTERVAL);
    }

    /// One turn: decide, and send out what was decided.
    fn turn(&mut self, now: Instant) {
        if self.configure_at.is_some_and(|at| at <= now) {
            self.configure_at = None;
            self.configure(now);
            not_later(&mut self.reports_at, now);
        }
        let rested = self.rivals.rested(now);
        for key in rested.into_iter().chain(self.book.decide(&self.queue)) {
            self.consider(&key);
        }
        self.send(now);
        // Where addresses have to wait they go first: words about them and the counts of pools come after the last one.
        self.behind = self.queue.is_behind();
        self.around.events.hold(self.behind);
        let said = self.book.take_said();
        for about in pools::told(&said, &self.book) {
            self.tell_pool(about);
        }
        for said in said {
            self.say(said);
        }
        self.tell_findings(now);
        if self.behind {
            return;
        }
        if self.reports_at.is_some_and(|at| at <= now) {
            self.look_at_reports(now);
            self.send(now);
        }
        self.write_statuses(now);
        self.queue.relax();
    }

    /// Compares a Service with what it shall be, and wants it written if there is a difference.
    fn consider(&mut self, key: &ServiceKey) {
        let Some(service) = self.book.services.get(key) else { return };
        let wanted = self.book.wanted(key, self.reports.announced(key));
        match wanted.map_or(Distance::None, |wanted| wanted.distance(service)) {
            Distance::None => self.queue.forget(key),
            Distance::Addresses if self.rivals.rests(key) => self.queue.forget(key),
            distance => self.queue.want(key, distance),
        }
    }

    fn send(&mut self, now: Instant) {
        let Some(limit) = self.leads.borrow().and_then(|lead| lead.time_left(now)) else { return };
        let crowd = self.behind || self.queue.addresses_waiting() > IN_FLIGHT;
        while self.queue.under_way() < IN_FLIGHT
            && let Some(key) = self.queue.next(now)
        {
            let Some(service) = self.book.services.get(&key) else {
                self.queue.forget(&key);
                continue;
            };
            let Some(wanted) = self.book.wanted(&key, self.reports.announced(&key)) else {
                self.queue.forget(&key);
                continue;
            };
            let distance = wanted.distance(service);
            if distance == Distance::None {
                self.queue.forget(&key);
                continue;
            }
            self.queue.sent(&key, service.version().unwrap_or_default(), distance);
            let addresses_first = crowd && distance == Distance::Addresses;
            let wanted = if addresses_first { wanted.without_first_words(service) } else { wanted };
            let (metadata, status) = wanted.apply(service, Timestamp::now());
            let (write, client) =
                (ServiceStatusWrite::new(service.type_(), metadata, status), self.around.client.clone());
            self.writes.spawn(async move { (key, service_status::write(&client, &write, limit).await) });
        }
    }

    /// The API server does not let us write: it is said once, on the Service as well.
    fn denied(&mut self, service: &ServiceKey, error: &str) {
        self.around.metrics.update_failed();
        if self.denied.insert(service.clone()) {
            let (code, explanation) = (Code::AccessDenied, Code::AccessDenied.explanation());
            let message = format!("{error}; it is tried again. {} ({code})", explanation.fix);
            let event = service::Event { warning: true, reason: code.name(), message };
            self.say(Said { service: service.clone(), event });
        }
    }

    fn ended(&mut self, ended: Result<(ServiceKey, Written), tokio::task::JoinError>) {
        let (key, written) = match ended {
            Ok(ended) => ended,
            // Its Service would wait for an answer for ever: half a controller is worse than none.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return,
        };
        let ending = match &written {
            Written::Stored(_) => {
                self.denied.remove(&key);
                self.wrote(&key);
                Ending::Stored
            }
            Written::Conflict => Ending::Conflict,
            Written::Gone => Ending::Gone,
            Written::Denied(error) => {
                self.denied(&key, error);
                Ending::Failed
            }
            Written::Failed(error) => {
                self.around.metrics.update_failed();
                tracing::warn!(op = "updateServiceStatus", service = %key, error = format!("{error:#}"), "failed to update service; it is tried again");
                Ending::Failed
            }
        };
        let version = self.book.services.get(&key).and_then(View::version);
        self.queue.ended(&key, ending, version, Instant::now());
        // What the watch brought while the write was under way was not compared.
        self.consider(&key);
    }

    /// A write was stored. If it was the addresses', somebody may have written others before.
    fn wrote(&mut self, key: &ServiceKey) {
        let addresses = self.book.allocation(key).map(|held| held.addresses.as_slice()).unwrap_or_default();
        if self.queue.is_unsettled(key) && self.rivals.wrote(key, addresses, Instant::now()) {
            let (client, events) = (self.around.client.clone(), self.around.events.clone());
            tokio::spawn(rivals::tell(client, events, key.clone(), self.about(key)));
        }
    }

    fn look_at_reports(&mut self, now: Instant) {
        self.reports_at = None;
        let Some(config) = self.book.config().cloned() else { return };
        let nodes = by_name(&self.around.configuration.nodes);
        let namespace = ObjectRef::new(&self.around.settings.namespace);
        self.reports.look_at_namespace(self.around.configuration.namespaces.get(&namespace).as_deref());
        let (pods, states) = (self.pods.state(), self.states.state());
        let passed = self.reports.pass(&mut self.book.services, &config, nodes, &pods, &states, now);
        for key in &passed.changed {
            self.consider(key);
        }
        for said in passed.said {
            self.say(said);
        }
        self.around.metrics.set_services(self.reports.counts());
        self.reports_at = self.reports.next_deadline(now).map(|at| at.max(now + REPORTS_INTERVAL));
    }

    fn say(&self, said: Said) {
        let Said { service, event } = said;
        match event.reason {
            "IPAllocated" => {
                let held = self.book.allocation(&service);
                let ip: Vec<String> = held.iter().flat_map(|held| &held.addresses).map(ToString::to_string).collect();
                let pool = held.map(|held| held.pool.as_str());
                tracing::info!(event = "ipAllocated", op = "allocateIPs", %service, ?ip, pool, "{}", event.message);
            }
            "AllocationFailed" => {
                // Upstream counts what a Service is refused for good as a failed update (spec §4.2).
                self.around.metrics.update_failed();
                tracing::warn!(op = "allocateIPs", reason = event.reason, %service, error = event.message, "IP allocation failed");
            }
            "ClearAssignment" => tracing::info!(event = "clearAssignment", %service, "{}", event.message),
            reason if event.warning => tracing::warn!(op = "setBalancer", reason, %service, "{}", event.message),
            reason => tracing::info!(op = "setBalancer", reason, %service, "{}", event.message),
        }
        let service::Event { warning, reason, message } = event;
        self.around.events.publish(Event { about: self.about(&service), warning, reason, message: message.into() });
    }

    fn about(&self, service: &ServiceKey) -> About {
        About::service(service, self.book.services.get(service).and_then(View::uid))
    }

    /// What becomes of a pool is told where people look for it: on the pool.
    fn tell_pool(&self, told: pools::Told) {
        let pools::Told { pool, event } = told;
        let object = format!("IPAddressPool/{}/{pool}", self.around.settings.namespace);
        if let Some(about) = self.around.configuration.reference(&object) {
            let service::Event { warning, reason, message } = event;
            self.around.events.publish(Event { about: about.into(), warning, reason, message: message.into() });
        }
    }

    fn tell_findings(&mut self, now: Instant) {
        let errors = match &self.outcome {
            Some(Err(invalid)) => invalid.0.as_slice(),
            _ => &[],
        };
        let notes = self.book.config().map(|config| config.findings.as_slice()).unwrap_or_default();
        for finding in self.findings.hold(errors.iter().chain(&self.waiting).chain(notes), now) {
            if let Some(about) = self.around.configuration.reference(&finding.object) {
                let event = Event {
                    about: about.into(),
                    warning: finding.severity != Severity::Note,
                    reason: finding.code.name(),
                    message: pools::words(&finding).into(),
                };
                self.around.events.publish(event);
            }
            tracing::warn!(code = %finding.code, "{finding}");
        }
    }

    fn write_statuses(&mut self, now: Instant) {
        let counters = self.book.counters();
        self.output.set_pools(&counters, &self.around.metrics);
        let Some(lead) = *self.leads.borrow() else { return };
        let Some(limit) = lead.time_left(now) else { return };
        let pools: BTreeMap<_, _> = by_name(&self.around.configuration.pools)
            .into_iter()
            .filter_map(|pool| Some((pool.metadata.name.clone()?, pool)))
            .collect();
        self.output.write_pools(&pools, |pool, now| pools::status_of(pool, &self.book, now), limit, now);
        if let Some(outcome) = &self.outcome {
            let key = ObjectRef::new(&self.output.component.name).within(&self.around.settings.namespace);
            let stored = self.states.get(&key);
            self.output.write_state(stored.as_deref(), outcome.as_ref().copied(), limit, now);
        }
    }

    fn task_ended(&mut self, task: Task) {
        if self.output.note(task, Instant::now()) {
            self.around.metrics.update_failed();
        }
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
