//! Who announces each Service, by what speakers report; and where nobody does, why (decisions D12, D16).
//!
//! A ServiceL2Status or ServiceBGPStatus of a node with a live speaker is the proof. The reason for silence comes from the same plan that
//! speakers make, seen from no node. Silence becomes a condition after [`SETTLING`] and an event after [`PATIENCE`], so
//! that the moment between two owners is not told as an outage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::api::{ConfigurationState, ServiceBGPStatus, ServiceL2Status, well_known};
use ferrolb_rules::config::Config;
use ferrolb_rules::drain;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::bgp::{self, Outlook};
use ferrolb_rules::plan::{Options, Planner, ServicePlan, Snapshot};
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::{Event, View};
use ferrolb_rules::sighting::{self, Sightings};
use ferrolb_rules::slice::Slice;
use ferrolb_rules::surroundings::{flag, is_component, is_ready};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::book::Said;
use super::wanted::{Announced, Verdict};
use crate::k8s::stores::Change;

/// Silence that lasted this long is a condition.
const SETTLING: Duration = Duration::from_secs(2);
/// Silence for the same reason that lasted this long is an event.
const PATIENCE: Duration = Duration::from_secs(10);

/// The label of a namespace that says which Pods are refused.
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// By what a Service is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Layer2,
    Bgp,
}

/// What is kept of a status object of a speaker.
#[derive(Debug)]
pub(super) struct Report {
    name: String,
    service: Option<ServiceKey>,
    /// Who announces; empty: nobody.
    node: NodeName,
}

impl Report {
    pub(super) fn layer2(object: ServiceL2Status) -> Self {
        Self::of(object.metadata, object.status.map(|status| status.node))
    }

    pub(super) fn bgp(object: ServiceBGPStatus) -> Self {
        Self::of(object.metadata, object.status.filter(|status| !status.peers.is_empty()).map(|status| status.node))
    }

    fn of(metadata: ObjectMeta, node: Option<String>) -> Self {
        let service = service_of(&metadata);
        let ours = metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(well_known::NODE_LABEL));
        Self {
            service: service.filter(|_| ours),
            name: metadata.name.unwrap_or_default(),
            node: NodeName::new(node.unwrap_or_default()),
        }
    }
}

/// What speakers report, and what to make of it.
#[derive(Debug, Default)]
pub(super) struct Reports {
    snapshot: Snapshot,
    planner: Planner,
    /// Per Service the nodes that report it, by protocol and name of the object.
    reported: BTreeMap<ServiceKey, BTreeMap<(Protocol, String), NodeName>>,
    said: BTreeMap<ServiceKey, Arc<Verdict>>,
    /// The verdict given last: the next Service mostly has the same, and ten thousand of a kind need one copy.
    last: Option<Arc<Verdict>>,
    silent: BTreeMap<ServiceKey, Silent>,
    /// Services that several nodes report, since when, and whether it was told.
    doubled: BTreeMap<ServiceKey, (Instant, bool)>,
    /// Who else answers for addresses, as live speakers see it.
    seen: Sightings,
    /// Our namespace and the Pod Security level that it enforces, where that refuses speakers.
    refusing: Option<(String, String)>,
}

#[derive(Debug)]
struct Silent {
    since: Instant,
    code: Code,
    code_since: Instant,
    told: bool,
}

/// What a pass changed.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Services whose condition is another one now.
    pub(super) changed: Vec<ServiceKey>,
    /// What to say.
    pub(super) said: Vec<Said>,
}

impl Reports {
    pub(super) fn new(load_balancer_class: Option<String>) -> Self {
        let options = Options { announce_if_all_excluded: true, load_balancer_class, ..Options::default() };
        Self { snapshot: Snapshot { options, ..Snapshot::default() }, ..Self::default() }
    }

    /// Takes in EndpointSlices; none for one that is of no Service.
    pub(super) fn take_in_slices(&mut self, change: Change<Option<Slice>>) {
        let keep = |slice: &Arc<Option<Slice>>| slice.as_ref().clone().map(Arc::new);
        match change {
            Change::Listed(slices) => {
                self.snapshot.endpoints.clear();
                slices.iter().filter_map(keep).for_each(|slice| self.add_slice(slice));
            }
            Change::Applied(slice) => {
                if let Some(slice) = keep(&slice) {
                    self.forget_slice(&slice);
                    self.add_slice(slice);
                }
            }
            Change::Deleted(slice) => {
                if let Some(slice) = &*slice {
                    self.forget_slice(slice);
                }
            }
        }
    }

    fn add_slice(&mut self, slice: Arc<Slice>) {
        let slices = self.snapshot.endpoints.entry(slice.service.clone()).or_insert_with(|| Vec::with_capacity(1));
        slices.push(slice);
    }

    fn forget_slice(&mut self, slice: &Slice) {
        if let Some(slices) = self.snapshot.endpoints.get_mut(&slice.service) {
            slices.retain(|old| old.name != slice.name);
            if slices.is_empty() {
                self.snapshot.endpoints.remove(&slice.service);
            }
        }
    }

    /// Takes in what speakers report of a protocol.
    pub(super) fn take_in_reports(&mut self, protocol: Protocol, change: Change<Report>) {
        match change {
            Change::Listed(reports) => {
                self.reported.retain(|_, nodes| {
                    nodes.retain(|(other, _), _| *other != protocol);
                    !nodes.is_empty()
                });
                for report in reports {
                    self.report(protocol, &report);
                }
            }
            Change::Applied(report) => self.report(protocol, &report),
            Change::Deleted(report) => self.forget(protocol, &report),
        }
    }

    fn report(&mut self, protocol: Protocol, report: &Report) {
        let Some(key) = &report.service else { return };
        if report.node.as_str().is_empty() {
            self.forget(protocol, report);
        } else {
            let nodes = self.reported.entry(key.clone()).or_default();
            nodes.insert((protocol, report.name.clone()), report.node.clone());
        }
    }

    fn forget(&mut self, protocol: Protocol, report: &Report) {
        let Some(key) = &report.service else { return };
        if let Some(nodes) = self.reported.get_mut(key) {
            nodes.remove(&(protocol, report.name.clone()));
            if nodes.is_empty() {
                self.reported.remove(key);
            }
        }
    }

    /// Our namespace, as it is: with the wrong label it lets no speaker run (T5 of the user research).
    pub(super) fn look_at_namespace(&mut self, namespace: Option<&Namespace>) {
        let level = |namespace: &Namespace| {
            let level = namespace.metadata.labels.as_ref()?.get(ENFORCE)?.clone();
            let refuses = level == "baseline" || level == "restricted";
            refuses.then(|| (namespace.metadata.name.clone().unwrap_or_default(), level))
        };
        self.refusing = namespace.and_then(level);
    }

    /// The nodes with a live speaker: those of ready speaker Pods. Where speakers are not Pods, what they have written
    /// must do.
    fn members(&self, pods: &[Arc<Pod>], states: &[Arc<ConfigurationState>]) -> BTreeSet<NodeName> {
        let mut speakers = pods.iter().filter(|pod| is_component(pod, well_known::SPEAKER)).peekable();
        if speakers.peek().is_some() {
            let ready = speakers.filter(|pod| is_ready(pod));
            return ready.filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).map(NodeName::new).collect();
        }
        let of_state = |state: &Arc<ConfigurationState>| {
            state.metadata.name.as_ref()?.strip_prefix(well_known::SPEAKER_STATE_PREFIX).map(NodeName::new)
        };
        states.iter().filter_map(of_state).chain(self.reported.values().flat_map(BTreeMap::values).cloned()).collect()
    }

    /// Looks at every Service anew. `services` are those of the book; they are the same afterwards.
    pub(super) fn pass(
        &mut self,
        services: &mut BTreeMap<ServiceKey, Arc<dyn View>>,
        config: &Arc<Config>,
        nodes: Vec<Arc<Node>>,
        pods: &[Arc<Pod>],
        states: &[Arc<ConfigurationState>],
        now: Instant,
    ) -> Passed {
        let members = self.members(pods, states);
        // How speakers look at labels of nodes is their flags' affair.
        let speakers = || pods.iter().map(|pod| &**pod).filter(|pod| is_component(pod, well_known::SPEAKER));
        let options = &mut self.snapshot.options;
        options.ignore_exclude_lb = flag(speakers(), "ignore-exclude-lb").is_some_and(|it| matches!(it, "" | "true"));
        options.announce_if_all_excluded = flag(speakers(), "announce-if-all-excluded") != Some("false");
        options.drain_on = flag(speakers(), "drain-on").and_then(|it| drain::parse(it).ok()).unwrap_or_default();
        self.snapshot.config = config.clone();
        let named = nodes.into_iter().filter_map(|node| Some((NodeName::new(node.metadata.name.clone()?), node)));
        self.snapshot.nodes = named.collect();
        self.seen = sighting::of_states(states, Some(&members));
        self.snapshot.members = Some(members);
        std::mem::swap(&mut self.snapshot.services, services);
        let plan = self.planner.plan(&self.snapshot);
        std::mem::swap(&mut self.snapshot.services, services);
        let mut passed = Passed::default();
        for plan in &plan.services {
            self.judge(plan, services.get(&plan.service), now, &mut passed);
        }
        self.said.retain(|key, _| services.contains_key(key));
        self.silent.retain(|key, _| services.contains_key(key));
        self.doubled.retain(|key, _| services.contains_key(key));
        passed
    }

    fn judge(&mut self, plan: &ServicePlan, service: Option<&Arc<dyn View>>, now: Instant, passed: &mut Passed) {
        let key = &plan.service;
        let nothing_to_announce = matches!(
            plan.code(),
            Some(Code::NotLoadBalancer | Code::OtherClass | Code::NoAddress | Code::InvalidAddress)
        );
        if nothing_to_announce {
            self.said.remove(key);
            self.silent.remove(key);
            self.doubled.remove(key);
            return;
        }
        let alive = self.snapshot.members.as_ref();
        let (mut nodes, mut by_layer2) = (BTreeSet::new(), BTreeSet::new());
        for ((protocol, _), node) in self.reported.get(key).into_iter().flatten() {
            if alive.is_none_or(|alive| alive.contains(node)) {
                nodes.insert(node.as_str());
                by_layer2.extend((*protocol == Protocol::Layer2).then_some(node));
            }
        }
        // By BGP every node announces.
        let several = by_layer2.len() > 1;
        let nodes: Vec<&str> = nodes.into_iter().collect();
        let names = nodes.join(" and ");
        let doubled = self.doubled(plan, &names, several, now, passed);
        let verdict = if names.is_empty() {
            match self.silence(plan, service, now, passed) {
                Some(verdict) => verdict,
                None => return,
            }
        } else {
            self.silent.remove(key);
            let message = format!("announced by {names}");
            let seen = || sighting::finding(key, &plan.addresses, &self.seen, true);
            match doubled.or_else(seen).or_else(|| plan.warnings().first().cloned()) {
                Some(warning) => Verdict::yes_but(&message, &warning),
                None => Verdict::yes("Announced", message),
            }
        };
        if self.said.get(key).is_none_or(|said| **said != verdict) {
            let last = self.last.take().filter(|last| **last == verdict).unwrap_or_else(|| Arc::new(verdict));
            self.last = Some(last.clone());
            self.said.insert(key.clone(), last);
            passed.changed.push(key.clone());
        }
    }

    /// Several nodes announce it: one is about to let go, or they do not hear each other. Returns what is wrong, once it
    /// has lasted.
    fn doubled(
        &mut self,
        plan: &ServicePlan,
        names: &str,
        several: bool,
        now: Instant,
        passed: &mut Passed,
    ) -> Option<Finding> {
        let key = &plan.service;
        if !several {
            self.doubled.remove(key);
            return None;
        }
        let message = format!("{names} announce it at once, so they do not hear each other");
        let finding = Finding::new(Code::TwoAnnouncers, Severity::Error, format!("Service/{key}"), message);
        let (since, told) = self.doubled.entry(key.clone()).or_insert((now, false));
        let lasted = now.saturating_duration_since(*since);
        if !*told && lasted >= PATIENCE {
            *told = true;
            let message = format!("{}. {} ({})", finding.message, finding.fix, finding.code);
            let event = Event { warning: true, reason: "AnnouncedTwice", message };
            passed.said.push(Said { service: key.clone(), event });
        }
        (lasted >= SETTLING).then_some(finding)
    }

    /// Nobody announces it. Returns what to say, once it has lasted.
    fn silence(
        &mut self,
        plan: &ServicePlan,
        service: Option<&Arc<dyn View>>,
        now: Instant,
        passed: &mut Passed,
    ) -> Option<Verdict> {
        let key = &plan.service;
        let nobody_lives = self.snapshot.members.as_ref().is_none_or(BTreeSet::is_empty);
        let outlook = service.and_then(|service| bgp::outlook(key, &**service, &self.snapshot));
        let finding = why(plan, outlook.as_ref(), nobody_lives, self.refusing.as_ref(), &self.seen);
        let silent = self.silent.entry(key.clone()).or_insert(Silent {
            since: now,
            code: finding.code,
            code_since: now,
            told: false,
        });
        if silent.code != finding.code {
            (silent.code, silent.code_since, silent.told) = (finding.code, now, false);
        }
        if !silent.told && now.saturating_duration_since(silent.code_since) >= PATIENCE {
            silent.told = true;
            let message = format!("{}: {}. {} ({})", finding.code.name(), finding.message, finding.fix, finding.code);
            let event = Event { warning: true, reason: "NotAnnounced", message };
            passed.said.push(Said { service: key.clone(), event });
        }
        (now.saturating_duration_since(silent.since) >= SETTLING).then(|| Verdict::no(&finding))
    }

    /// What is known about a Service.
    pub(super) fn announced(&self, key: &ServiceKey) -> Announced {
        self.said.get(key).map_or(Announced::Unknown, |verdict| Announced::Said(Verdict::clone(verdict)))
    }

    /// How many Services have what said against their announcement.
    pub(super) fn counts(&self) -> BTreeMap<Code, usize> {
        let mut counts = BTreeMap::new();
        for code in self.said.values().filter_map(|verdict| verdict.reason.parse::<Code>().ok()) {
            *counts.entry(code).or_default() += 1;
        }
        counts
    }

    /// When to look again although nothing happened.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let times = self.silent.values().flat_map(|silent| {
            let patience = (!silent.told).then_some(silent.code_since + PATIENCE);
            [Some(silent.since + SETTLING).filter(|at| *at > now), patience].into_iter().flatten()
        });
        let doubled = self.doubled.values().flat_map(|(since, told)| {
            let patience = (!told).then_some(*since + PATIENCE);
            [Some(*since + SETTLING).filter(|at| *at > now), patience].into_iter().flatten()
        });
        times.chain(doubled).min()
    }
}

/// Why nobody announces a Service that has an address.
fn why(
    plan: &ServicePlan,
    outlook: Option<&Outlook>,
    nobody_lives: bool,
    refusing: Option<&(String, String)>,
    seen: &Sightings,
) -> Finding {
    match bgp::obstacle(plan, outlook) {
        // What lies in the configuration or at the endpoints is true whether or not anybody lives.
        Some(finding) if !(nobody_lives && matches!(finding.code, Code::NoCandidate | Code::NodeNotAlive)) => finding,
        _ if nobody_lives => {
            let object = format!("Service/{}", plan.service);
            if let Some((namespace, level)) = refusing {
                let message = format!(
                    "no speaker is running and ready: namespace {namespace} enforces Pod Security level {level:?}, which refuses its pods"
                );
                let fix = format!("kubectl label namespace {namespace} {ENFORCE}=privileged --overwrite");
                return Finding::new(Code::NoSpeaker, Severity::Error, object, message).with_fix(fix);
            }
            Finding::new(Code::NoSpeaker, Severity::Error, object, "no speaker is running and ready".to_owned())
        }
        // It is some node's to announce: that one knows what is in its way.
        _ => sighting::finding(&plan.service, &plan.addresses, seen, false)
            .unwrap_or_else(|| bgp::silence(plan, outlook)),
    }
}

/// The Service that a status object is about.
fn service_of(metadata: &ObjectMeta) -> Option<ServiceKey> {
    let labels = metadata.labels.as_ref()?;
    let namespace = labels.get(well_known::SERVICE_NAMESPACE_LABEL)?;
    Some(ServiceKey::new(namespace, labels.get(well_known::SERVICE_NAME_LABEL)?))
}
