//! What the leader knows and has decided: Services, who has which address, and why somebody has none.
//!
//! At first everybody re-claims what his status records, and only then is anything handed out (spec §4.8, decision
//! D17). After that only those Services are looked at again that changed. A new configuration looks at all of them, and
//! an address that became free lets those try again that were refused. No I/O and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_rules::alloc::{Allocator, Assigned, Counters};
use ferrolb_rules::annotations;
use ferrolb_rules::config::Config;
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::{
    self, Compact, Options, Outcome, View, asks_the_same, converge, converge_all, is_load_balancer, key_of, status_ips,
    theirs,
};

use super::queue::Queue;
use super::wanted::{Announced, Verdict, Wanted};
use crate::k8s::stores::Change;

mod edits;
mod held_up;

/// Something to say about a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The Service.
    pub(super) service: ServiceKey,
    /// What is said.
    pub(super) event: service::Event,
}

/// Services and their addresses.
#[derive(Debug)]
pub(super) struct Book {
    options: Options,
    config: Option<Arc<Config>>,
    allocator: Allocator,
    /// Services of type LoadBalancer, and those that we have given something.
    pub(super) services: BTreeMap<ServiceKey, Arc<dyn View>>,
    refusals: BTreeMap<ServiceKey, Finding>,
    notes: BTreeMap<ServiceKey, Vec<Finding>>,
    /// To be looked at.
    dirty: BTreeSet<ServiceKey>,
    /// All of them are to be looked at.
    all_dirty: bool,
    /// Something became free outside of a Service's own convergence.
    freed: bool,
    /// Services whose status still shows addresses that were taken from them. They do not take those back.
    given_up: BTreeSet<ServiceKey>,
    /// Services into whose status somebody else wrote addresses, to be looked at.
    edited: BTreeSet<ServiceKey>,
    /// What was written there last and could not be had: it is said once.
    put_back: BTreeMap<ServiceKey, Vec<IpAddr>>,
    /// Services that are gone, or there anew under the same name, since the last call of [`Self::take_gone`].
    gone: Vec<ServiceKey>,
    said: Vec<Said>,
}

impl Book {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            config: None,
            allocator: Allocator::new(),
            services: BTreeMap::new(),
            refusals: BTreeMap::new(),
            notes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            all_dirty: false,
            freed: false,
            given_up: BTreeSet::new(),
            edited: BTreeSet::new(),
            put_back: BTreeMap::new(),
            gone: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Takes over a configuration that is different from the one before.
    pub(super) fn configure(&mut self, config: Arc<Config>) {
        self.allocator.set_pools(&config);
        self.config = Some(config);
        self.all_dirty = true;
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Option<&Arc<Config>> {
        self.config.as_ref()
    }

    /// Takes in what the watch brought. Returns the Services to compare with what they shall be.
    pub(super) fn take_in(&mut self, change: Change<Compact>, queue: &mut Queue) -> Vec<ServiceKey> {
        match change {
            Change::Applied(service) => self.applied(service, queue).into_iter().collect(),
            Change::Deleted(service) => {
                self.deleted(&key_of(&service), queue);
                Vec::new()
            }
            Change::Listed(services) => {
                let listed: BTreeSet<ServiceKey> = services.iter().map(View::key).collect();
                let gone: Vec<ServiceKey> =
                    self.services.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in gone {
                    self.deleted(&key, queue);
                }
                services.into_iter().filter_map(|service| self.applied(service, queue)).collect()
            }
        }
    }

    fn applied(&mut self, service: Arc<Compact>, queue: &mut Queue) -> Option<ServiceKey> {
        let key = key_of(&service);
        if !self.concerns_us(&key, &*service) {
            if self.services.contains_key(&key) {
                self.deleted(&key, queue);
            }
            return None;
        }
        if self.services.get(&key).is_some_and(|old| old.uid() != service.uid()) {
            // Deleted and made anew, and the watch brought only the end of it.
            self.deleted(&key, queue);
        }
        let under_way = queue.is_under_way(&key);
        queue.seen(&key, service.version().unwrap_or_default());
        if status_ips(&*service).next().is_none() {
            self.given_up.remove(&key);
        }
        let old = self.services.get(&key);
        if old.is_some_and(|old| old.version() == service.version()) {
            return None;
        }
        let echo = old.is_some_and(|old| self.is_echo(&key, &**old, &*service));
        let edited = !echo && !under_way && old.is_some_and(|old| self.is_edit(&key, &**old, &*service));
        if annotations_changed(old.map(|old| &**old), &*service) {
            self.speak_of_annotations(&key, &*service);
        }
        self.services.insert(key.clone(), service);
        if !echo {
            self.dirty.insert(key.clone());
        }
        if edited {
            self.edited.insert(key.clone());
        }
        Some(key)
    }

    /// Whether the only news is what we wrote ourselves: then there is nothing to decide.
    fn is_echo(&self, key: &ServiceKey, old: &dyn View, new: &dyn View) -> bool {
        let held = self.allocator.allocation(key);
        let recorded = held.is_some_and(|held| {
            let mut ips = status_ips(new).map(|ip| ip.parse().ok());
            held.addresses.iter().all(|address| ips.next() == Some(Some(*address)))
                && ips.next().is_none()
                && annotations::allocated_from(new) == Some(held.pool.as_str())
        });
        recorded && asks_the_same(old, new)
    }

    fn concerns_us(&self, key: &ServiceKey, service: &dyn View) -> bool {
        if is_load_balancer(service) {
            return self.options.handles(service) || self.allocator.allocation(key).is_some();
        }
        annotations::allocated_from(service).is_some() || self.allocator.allocation(key).is_some()
    }

    fn deleted(&mut self, key: &ServiceKey, queue: &mut Queue) {
        self.freed |= self.allocator.release(key).is_some();
        self.services.remove(key);
        self.refusals.remove(key);
        self.notes.remove(key);
        self.dirty.remove(key);
        self.given_up.remove(key);
        self.edited.remove(key);
        self.put_back.remove(key);
        self.gone.push(key.clone());
        queue.forget(key);
    }

    /// Decides what is to be decided. Returns the Services to compare with what they shall be.
    pub(super) fn decide(&mut self, queue: &Queue) -> Vec<ServiceKey> {
        let Some(config) = self.config.clone() else { return self.refuse_for_want_of_configuration() };
        let mut changed = self.look_at_edits(&config);
        if self.all_dirty {
            self.all_dirty = false;
            self.freed = false;
            self.dirty.clear();
            let services = std::mem::take(&mut self.services);
            let ahead: Vec<Arc<dyn View>> =
                services.iter().map(|(key, service)| self.ahead(key, service, queue)).collect();
            let seen = ahead.iter().map(|service| &**service);
            let outcomes = converge_all(seen, &mut self.allocator, Some(&config), &self.options);
            drop(ahead);
            self.services = services;
            return self.note_all(outcomes);
        }
        for key in std::mem::take(&mut self.dirty) {
            self.freed |= self.converge(&key, &config, queue);
            changed.push(key);
        }
        while std::mem::take(&mut self.freed) {
            for key in self.refused() {
                self.converge(&key, &config, queue);
                // Every round serves at least one of them, or is the last: what the others may have taken and let go
                // again is nothing new to anybody.
                self.freed |= !self.refusals.contains_key(&key);
                changed.push(key);
            }
        }
        changed
    }

    /// Those that were refused, the older ones first.
    fn refused(&self) -> Vec<ServiceKey> {
        let mut refused: Vec<&ServiceKey> =
            self.refusals.keys().filter(|key| self.allocator.allocation(key).is_none()).collect();
        refused.sort_by_cached_key(|key| {
            let created = self.services.get(*key).and_then(View::created);
            (created.is_none(), created, (*key).clone())
        });
        refused.into_iter().cloned().collect()
    }

    /// Lets the rules look at a Service. Returns whether something became free for others.
    fn converge(&mut self, key: &ServiceKey, config: &Arc<Config>, queue: &Queue) -> bool {
        let Some(service) = self.services.get(key).cloned() else { return false };
        let ahead = self.ahead(key, &service, queue);
        let outcome = converge(&*ahead, &mut self.allocator, Some(config), &self.options);
        let frees = outcome.frees;
        self.note(key, outcome, &*ahead);
        frees
    }

    /// The Service as it will be, if addresses of it are on their way, or their end.
    fn ahead(&self, key: &ServiceKey, service: &Arc<dyn View>, queue: &Queue) -> Arc<dyn View> {
        match self.allocator.allocation(key) {
            Some(held) if queue.is_unsettled(key) => {
                let wanted =
                    Wanted { addresses: held.addresses.clone(), pool: Some(held.pool.clone()), ..Wanted::default() };
                Arc::new(wanted.ahead(&**service))
            }
            None if self.given_up.contains(key) => Arc::new(Wanted::default().ahead(&**service)),
            _ => service.clone(),
        }
    }

    fn note_all(&mut self, outcomes: Vec<(ServiceKey, Outcome)>) -> Vec<ServiceKey> {
        let mut keys = Vec::with_capacity(outcomes.len());
        for (key, outcome) in outcomes {
            if let Some(service) = self.services.get(&key).cloned() {
                self.note(&key, outcome, &*service);
            }
            keys.push(key);
        }
        keys
    }

    /// Remembers how it went, and says it if it is news.
    fn note(&mut self, key: &ServiceKey, outcome: Outcome, service: &dyn View) {
        let refusal = outcome.refusal.filter(|refusal| refusal.code != Code::OtherClass);
        let mut ips = status_ips(service).map(|ip| ip.parse().ok());
        let as_recorded = outcome.addresses.iter().all(|address| ips.next() == Some(Some(*address)));
        let news = !as_recorded
            || ips.next().is_some()
            || self.refusals.get(key) != refusal.as_ref()
            || self.notes.get(key).map(Vec::as_slice).unwrap_or_default() != outcome.notes.as_slice();
        if news {
            let events = outcome.events.into_iter().map(|event| Said { service: key.clone(), event });
            self.said.extend(events);
        }
        if self.allocator.allocation(key).is_some() {
            self.given_up.remove(key);
        } else if status_ips(service).next().is_some() {
            self.given_up.insert(key.clone());
        }
        match refusal {
            Some(refusal) => self.refusals.insert(key.clone(), refusal),
            None => self.refusals.remove(key),
        };
        if outcome.notes.is_empty() {
            self.notes.remove(key);
        } else {
            self.notes.insert(key.clone(), outcome.notes);
        }
    }

    /// Annotations that do nothing, or go by an old name: once for each change (spec §4.10, decision D13).
    fn speak_of_annotations(&mut self, key: &ServiceKey, service: &dyn View) {
        if !is_load_balancer(service) || !self.options.handles(service) {
            return;
        }
        let held = self.allocator.allocation(key).map(|held| held.pool.as_str());
        let written = held.or(annotations::allocated_from(service));
        for finding in annotations::findings(service, written) {
            let deprecated = finding.code == Code::DeprecatedAnnotation;
            let annotation = finding.field.split('"').nth(1).unwrap_or_default();
            let message = if deprecated {
                format!("Service uses deprecated annotation {annotation}; {} ({})", finding.fix, finding.code)
            } else {
                format!("{}; {} ({})", finding.message, finding.fix, finding.code)
            };
            let reason = if deprecated { "deprecatedAnnotation" } else { finding.code.name() };
            let event = service::Event { warning: finding.severity != Severity::Note, reason, message };
            self.said.push(Said { service: key.clone(), event });
        }
    }

    /// The Services that are gone since the last call.
    pub(super) fn take_gone(&mut self) -> Vec<ServiceKey> {
        std::mem::take(&mut self.gone)
    }

    /// Whether somebody would lose an address by a configuration that has no pool for it.
    pub(super) fn would_evict(&self, config: &Config) -> bool {
        let ranges = || config.pools.values().flat_map(|pool| &pool.ranges);
        let housed = |address: &IpAddr| ranges().any(|range| range.contains(*address));
        self.allocator.allocations().flat_map(|(_, held)| &held.addresses).any(|address| !housed(address))
    }

    /// What is to be said since the last call.
    pub(super) fn take_said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }

    /// What a Service's status shall be; none where it is not ours to say.
    pub(super) fn wanted(&self, key: &ServiceKey, announced: Announced) -> Option<Wanted> {
        let service = self.services.get(key)?;
        if self.config.is_none() {
            return self.wanted_without_configuration(key, &**service);
        }
        if !is_load_balancer(service) {
            // The API server has taken the addresses already; our traces go too.
            return Some(Wanted::default());
        }
        if !self.options.handles(service) {
            return None;
        }
        let allocated = self.allocated(key);
        Some(match self.allocator.allocation(key) {
            Some(held) => Wanted {
                addresses: held.addresses.clone(),
                pool: Some(held.pool.clone()),
                allocated: Some(allocated),
                announced,
            },
            None => Wanted {
                addresses: Vec::new(),
                pool: None,
                allocated: Some(allocated),
                announced: Announced::Said(Verdict::no(&Finding::new(
                    Code::NoAddress,
                    Severity::Note,
                    format!("Service/{key}"),
                    "it has no address yet",
                ))),
            },
        })
    }

    fn allocated(&self, key: &ServiceKey) -> Verdict {
        let held = self.allocator.allocation(key);
        match (held, self.refusals.get(key)) {
            (Some(held), refusal) => {
                let addresses: Vec<String> = held.addresses.iter().map(ToString::to_string).collect();
                let message = format!("{} from pool {}", addresses.join(" and "), held.pool);
                let first = self.notes.get(key).and_then(|notes| notes.first());
                match refusal.or(first) {
                    Some(finding) => Verdict::yes_but(&message, finding),
                    None => Verdict::yes("Allocated", message),
                }
            }
            (None, Some(refusal)) => Verdict::no(refusal),
            (None, None) => {
                let message = "no address has been chosen yet";
                let finding = Finding::new(Code::NoAddress, Severity::Note, format!("Service/{key}"), message);
                Verdict::no(&finding)
            }
        }
    }

    /// Who has which addresses, if anybody.
    pub(super) fn allocation(&self, key: &ServiceKey) -> Option<&Assigned> {
        self.allocator.allocation(key)
    }

    /// Why a Service has no address, or not all that it asks for.
    pub(super) fn refusal(&self, key: &ServiceKey) -> Option<&Finding> {
        self.refusals.get(key)
    }

    /// One pool's counts.
    pub(super) fn counters_of(&self, pool: &str) -> Option<Counters> {
        self.allocator.counters(pool)
    }

    /// Counts per pool.
    pub(super) fn counters(&self) -> BTreeMap<String, Counters> {
        let pools = self.config.iter().flat_map(|config| config.pools.keys());
        pools.filter_map(|pool| Some((pool.clone(), self.allocator.counters(pool)?))).collect()
    }
}

/// Whether there is something new to say about a Service's annotations.
fn annotations_changed(old: Option<&dyn View>, new: &dyn View) -> bool {
    match old {
        Some(old) => theirs(old) != theirs(new),
        // What has its address already was told about when it got it.
        None => status_ips(new).next().is_none(),
    }
}
