//! One Service and the allocator → what its status becomes, and what is said about it (spec §4.3, §4.4, §4.10).
//!
//! [`converge`] does for one Service what the spec's fifteen steps say, with the fixes of its §10.2. [`converge_all`]
//! does it for all of them: first everybody re-claims what is recorded, so that a newcomer never gets an address that
//! somebody has; then each converges; then those that were refused try again, as long as it helps somebody. What is
//! left out on purpose: writing anything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::alloc::{Allocator, Assigned, Refusal, Request, quoted};
use crate::annotations;
use crate::config::Config;
use crate::names::ServiceKey;
use crate::range::Family;
use crate::reason::{Code, Finding, Severity};

mod compact;
mod families;
mod held_up;
mod request;
#[cfg(test)]
mod tests;
mod view;

pub use compact::{Compact, compact};
use families::ServiceFamilies;
pub use held_up::HeldUp;
pub use view::{View, asks_the_same, theirs};

/// How Services are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Handle only Services of this class; none: only those without one (spec §4.2).
    pub load_balancer_class: Option<String>,
    /// Nobody gives Services cluster IPs here: their families are taken from `spec.ipFamilies` (decision D22).
    pub assume_cluster_ips: bool,
    /// The same for these, which the cluster does not have yet.
    pub to_come: BTreeSet<ServiceKey>,
    /// What keeps the newest configuration from being the one that Services converge to.
    pub held_up: Option<HeldUp>,
}

impl Options {
    fn assumes_cluster_ips(&self, service: &dyn View) -> bool {
        self.assume_cluster_ips || !self.to_come.is_empty() && self.to_come.contains(&service.key())
    }

    /// Whether a Service is of the class that is handled here.
    pub fn handles(&self, service: &dyn View) -> bool {
        service.class() == self.load_balancer_class.as_deref()
    }
}

/// A core/v1 Event on the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// The reason, as upstream has it.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

/// What a Service ends with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Its addresses, in the order of its status.
    pub addresses: Vec<IpAddr>,
    /// Their pool.
    pub pool: Option<String>,
    /// What to say on the Service.
    pub events: Vec<Event>,
    /// Why it has no address, or not the one it asks for.
    pub refusal: Option<Finding>,
    /// What else is worth knowing.
    pub notes: Vec<Finding>,
    /// It gave something up, or shares differently now: others may get what they were refused.
    pub frees: bool,
}

/// A Service's key. Objects from an API server or a manifest always have both names.
pub fn key_of(service: &dyn View) -> ServiceKey {
    service.key()
}

/// Services as the rules see them.
pub fn viewed<V: View + 'static>(services: &BTreeMap<ServiceKey, Arc<V>>) -> BTreeMap<ServiceKey, Arc<dyn View>> {
    services.iter().map(|(key, service)| (key.clone(), service.clone() as Arc<dyn View>)).collect()
}

/// Whether a Service is of type LoadBalancer.
pub fn is_load_balancer(service: &dyn View) -> bool {
    service.type_() == Some("LoadBalancer")
}

/// The addresses in a Service's status, as written; entries with a hostname only are left out (spec §4.3, step 6).
pub fn status_ips(service: &dyn View) -> impl Iterator<Item = &str> {
    service.status_ips().into_iter()
}

/// Lets every Service converge: those that have addresses first, then those that ask for particular ones, for a pool, for
/// any; among these the older ones (spec §4.2, decision D17). Whoever takes any address can do without the one that
/// another asks for.
pub fn converge_all<'a>(
    services: impl Iterator<Item = &'a dyn View>,
    allocator: &mut Allocator,
    config: Option<&Config>,
    options: &Options,
) -> Vec<(ServiceKey, Outcome)> {
    let mut ordered: Vec<&dyn View> = services.collect();
    ordered.sort_by_cached_key(|service| {
        let created = service.created();
        (rank(*service), created.is_none(), created, service.key())
    });
    for service in ordered.iter().filter(|service| is_load_balancer(**service) && options.handles(**service)) {
        adopt(*service, allocator, options);
    }
    let mut outcomes: Vec<(ServiceKey, Outcome)> =
        ordered.iter().map(|service| (service.key(), converge(*service, allocator, config, options))).collect();
    // What one Service gave up, another one may have asked for in vain. Every round serves at least one of them.
    let mut somebody_freed = outcomes.iter().any(|(_, outcome)| outcome.frees);
    while somebody_freed {
        somebody_freed = false;
        for (service, (_, outcome)) in ordered.iter().zip(&mut outcomes) {
            if outcome.refusal.is_some() && outcome.addresses.is_empty() {
                let again = converge(*service, allocator, config, options);
                somebody_freed |= !again.addresses.is_empty();
                *outcome = again;
            }
        }
    }
    outcomes
}

/// Whether a Service names the addresses that it wants, be it in a way that cannot be understood.
pub fn asks_for_addresses(service: &dyn View) -> bool {
    !matches!(request::addresses(service), Ok(None))
}

/// Which Services are served first.
fn rank(service: &dyn View) -> u8 {
    if status_ips(service).next().is_some() {
        0
    } else if asks_for_addresses(service) {
        1
    } else if annotations::address_pool(service).is_some() {
        2
    } else {
        3
    }
}

/// Takes what is recorded, if it can be had as it is; says nothing.
fn adopt(service: &dyn View, allocator: &mut Allocator, options: &Options) {
    let request = request::of(service);
    let recorded: Option<Vec<IpAddr>> = status_ips(service).map(|ip| ip.parse().ok()).collect();
    if let Some(recorded) = recorded.filter(|recorded| !recorded.is_empty()) {
        let fits = ServiceFamilies::of(service, options).is_ok_and(|families| families.fit_status(service, &recorded));
        if fits && allocator.allocation(&request.key).is_none() {
            // A refusal is told when the Service converges.
            let _ = allocator.assign(&request, &recorded, &preferred(service));
        }
    }
}

/// The pools to count recorded addresses to: the one asked for, then the one they came from.
fn preferred(service: &dyn View) -> [Option<&str>; 2] {
    [annotations::address_pool(service), annotations::allocated_from(service)]
}

/// Brings one Service to where it should be.
pub fn converge(service: &dyn View, allocator: &mut Allocator, config: Option<&Config>, options: &Options) -> Outcome {
    let mut run = Run { service, request: request::of(service), allocator, options, outcome: Outcome::default() };
    if !is_load_balancer(service) {
        run.clear();
        return run.outcome;
    }
    if !options.handles(service) {
        run.clear();
        run.other_class();
        return run.outcome;
    }
    let Some(config) = config else { return run.outcome };
    let before = run.allocator.request(&run.request.key).map(Request::sharing);
    // Whoever stopped the run has noted why.
    let _ = run.steps();
    let key = run.request.key.clone();
    let held = run.allocator.allocation(&key).cloned();
    // Only a Service that already had addresses can unblock others by sharing differently (quirk Q-10).
    run.outcome.frees |= before.is_some() && before != run.allocator.request(&key).map(Request::sharing);
    let mut outcome = run.outcome;
    if let Some(held) = held {
        note_overlap(&key, &held, config, &mut outcome);
        if let Some(finding) = annotations::held_elsewhere(service, &held.pool) {
            let message = format!("{}; {} ({})", finding.message, finding.fix, finding.code);
            outcome.events.push(Event { warning: true, reason: finding.code.name(), message });
            outcome.notes.push(finding);
        }
        outcome.addresses = held.addresses;
        outcome.pool = Some(held.pool);
    }
    outcome
}

fn note_overlap(key: &ServiceKey, held: &Assigned, config: &Config, outcome: &mut Outcome) {
    let Some(pool) = config.pools.get(&held.pool) else { return };
    for address in &held.addresses {
        if let Some(conflict) = pool.conflicts.iter().find(|conflict| conflict.range.contains(*address)) {
            let message =
                format!("{address} was given from {}, and the older pool {} has it too", held.pool, conflict.with);
            outcome.notes.push(Finding::new(Code::PoolOverlap, Severity::Note, format!("Service/{key}"), message));
        }
    }
}

/// The rest of the algorithm is not run: a refusal was noted, or there is nothing to do.
struct Stop;

struct Run<'a> {
    service: &'a dyn View,
    request: Request,
    allocator: &'a mut Allocator,
    options: &'a Options,
    outcome: Outcome,
}

impl Run<'_> {
    fn object(&self) -> String {
        format!("Service/{}", self.request.key)
    }

    fn event(&mut self, warning: bool, reason: &'static str, message: String) {
        self.outcome.events.push(Event { warning, reason, message });
    }

    fn refuse(&mut self, code: Code, message: String, fix: Option<String>) -> Stop {
        let finding = Finding::new(code, Severity::Error, self.object(), message);
        self.outcome.refusal = Some(match fix {
            Some(fix) => finding.with_fix(fix),
            None => finding,
        });
        Stop
    }

    fn clear(&mut self) {
        self.outcome.frees |= self.allocator.release(&self.request.key).is_some();
    }

    fn other_class(&mut self) {
        let class = self.service.class().unwrap_or_default();
        let message = match &self.options.load_balancer_class {
            Some(ours) => format!("its loadBalancerClass is {class:?}, and {ours:?} is served here: it is left alone"),
            None => format!(
                "its loadBalancerClass is {class:?}, and Services without one are served here: it is left alone"
            ),
        };
        self.outcome.refusal = Some(Finding::new(Code::OtherClass, Severity::Note, self.object(), message));
    }

    /// Steps 4 to 13 of spec §4.3.
    fn steps(&mut self) -> Result<(), Stop> {
        if !self.allocator.has_pools() {
            self.clear();
            let (cause, fix) = match self.options.held_up.as_ref().filter(|held_up| held_up.has_pool(None)) {
                Some(held_up) => (format!("no IPAddressPool is in force {}", held_up.because()), held_up.fix()),
                None => ("there is no IPAddressPool".to_owned(), Code::NoPool.explanation().fix.to_owned()),
            };
            return Err(self.fail(Code::NoPool, cause, fix));
        }
        let families = self.families()?;
        let mut held = self.keep_recorded(families)?;
        if held.is_some() {
            held = self.keep_requested(families)?;
        }
        match held {
            Some(held) => self.extend(&held, families),
            None => self.allocate(families)?,
        }
        Ok(())
    }

    /// Steps 5, 7 and the Service's half of step 8.
    fn families(&mut self) -> Result<ServiceFamilies, Stop> {
        ServiceFamilies::of(self.service, self.options).map_err(|problem| {
            if let Some((reason, message)) = problem.event(&self.request.key) {
                self.event(true, reason, message);
            }
            if problem.clears() {
                self.clear();
            }
            self.refuse(Code::ClusterIpsMissing, problem.to_string(), Some(problem.fix()))
        })
    }

    /// Steps 8 to 10: what is recorded stays, if it is still allowed.
    fn keep_recorded(&mut self, families: ServiceFamilies) -> Result<Option<Assigned>, Stop> {
        let texts: Vec<&str> = status_ips(self.service).collect();
        if texts.is_empty() {
            self.clear();
            return Ok(None);
        }
        let recorded: Option<Vec<IpAddr>> = texts.iter().map(|ip| ip.parse().ok()).collect();
        let Some(recorded) = recorded.filter(|recorded| families::of_addresses(recorded).is_some()) else {
            let message =
                format!("Failed to retrieve LBIPs IPFamily for {:?}: {texts:?}", self.request.key.to_string());
            self.event(true, "nolbIPsIPFamily", message);
            self.clear();
            return Ok(None);
        };
        if !families.fit_status(self.service, &recorded) {
            self.clear();
            return Ok(None);
        }
        match self.allocator.assign(&self.request, &recorded, &preferred(self.service)) {
            Err(refusal) => {
                self.give_up(&recorded, &refusal);
                Ok(None)
            }
            Ok(held) => match annotations::address_pool(self.service).filter(|pool| *pool != held.pool) {
                Some(pool) if self.allocator.counters(pool).is_some() => {
                    self.clear();
                    Ok(None)
                }
                Some(pool) => {
                    self.keep_for_want_of(pool, &held);
                    Ok(Some(held))
                }
                None => Ok(Some(held)),
            },
        }
    }

    /// A pool that does not exist (yet, or any more: a rename in Git reaches pools and Services one after the other) takes no
    /// address away (decision 62).
    fn keep_for_want_of(&mut self, pool: &str, held: &Assigned) {
        let (code, cause, fix) = explain(self.options, &self.allocator.unknown_pool(pool));
        let message = format!("it keeps {} of {:?}: {cause}", quoted(&held.addresses), held.pool);
        let note = Finding::new(code, Severity::Warning, self.object(), message).with_fix(fix);
        let message = format!("{}; {} ({})", note.message, note.fix, note.code);
        self.event(true, note.code.name(), message);
        self.outcome.notes.push(note);
    }

    fn give_up(&mut self, recorded: &[IpAddr], refusal: &Refusal) {
        let message = format!(
            "current IP for {:?} not allowed by config, will attempt for new IP assignment: {refusal}",
            self.request.key.to_string()
        );
        self.event(false, "ClearAssignment", message);
        let message = format!("it had {}: {refusal}", quoted(recorded));
        let note =
            Finding::new(Code::AddressNotAllowed, Severity::Warning, self.object(), message).with_fix(refusal.fix());
        self.outcome.notes.push(note);
        self.clear();
    }

    /// Step 11: a Service that asks for other addresses than it has gives those up. The order written does not matter
    /// (quirk Q-12).
    fn keep_requested(&mut self, families: ServiceFamilies) -> Result<Option<Assigned>, Stop> {
        let held = self.allocator.allocation(&self.request.key).cloned();
        match request::addresses(self.service) {
            Err(cause) => {
                self.event(true, "LoadBalancerFailed", format!("invalid requested loadbalancer IPs: {cause}"));
                Err(self.refuse(Code::RequestInvalid, cause.to_string(), Some(cause.fix())))
            }
            Ok(None) => Ok(held),
            Ok(Some(wanted)) => {
                let set = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
                let same = held.as_ref().is_some_and(|held| set(&held.addresses) == set(&wanted));
                // A single address of a PreferDualStack Service that asked for it and got its second one is kept.
                let extended = families.is_dual() && wanted.len() == 1 && self.extended_from(&wanted);
                if same || extended {
                    return Ok(held);
                }
                self.clear();
                Ok(None)
            }
        }
    }

    fn extended_from(&self, wanted: &[IpAddr]) -> bool {
        let held = self.allocator.allocation(&self.request.key);
        families::prefers_dual(self.service) && held.is_some_and(|held| held.addresses.first() == wanted.first())
    }

    /// Step 12: a PreferDualStack Service that has one address gets the other one from the same pool, if that has any.
    /// Only where the Service itself has both families (quirk Q-14).
    fn extend(&mut self, held: &Assigned, families: ServiceFamilies) {
        let [only] = held.addresses.as_slice() else { return };
        if !families.is_dual() || !families::prefers_dual(self.service) {
            return;
        }
        let family = if only.is_ipv4() { Family::V6 } else { Family::V4 };
        match self.allocator.add_family(&self.request, family) {
            Ok(held) => {
                if let Some(added) = held.addresses.last() {
                    self.event(false, "IPAllocated", format!("Assigned additional IP \"{added}\""));
                }
            }
            Err(refusal) => {
                let message = format!("cannot assign additional IP in PreferDualStack: {refusal}");
                self.event(false, "AdditionalAssignFailed", message.clone());
                let note = Finding::new(Code::SecondFamilyUnavailable, Severity::Note, self.object(), message);
                self.outcome.notes.push(note.with_fix(refusal.fix()));
            }
        }
    }

    /// Step 13.
    fn allocate(&mut self, families: ServiceFamilies) -> Result<(), Stop> {
        match self.choose(families) {
            Ok(held) => {
                self.event(false, "IPAllocated", format!("Assigned IP {}", quoted(&held.addresses)));
                Ok(())
            }
            Err((code, cause, fix)) => Err(self.fail(code, cause, fix)),
        }
    }

    /// Upstream's words first; what to do stands where people look (T22).
    fn fail(&mut self, code: Code, cause: String, fix: String) -> Stop {
        let key = self.request.key.to_string();
        self.event(true, "AllocationFailed", format!("Failed to allocate IP for {key:?}: {cause}. {fix} ({code})"));
        self.refuse(code, cause, Some(fix))
    }

    /// Spec §4.4: what is asked for, the pool asked for, any pool.
    fn choose(&mut self, families: ServiceFamilies) -> Result<Assigned, (Code, String, String)> {
        let options = self.options;
        let explain = |refusal: Refusal| explain(options, &refusal);
        let wanted =
            request::addresses(self.service).map_err(|cause| (Code::RequestInvalid, cause.to_string(), cause.fix()))?;
        let pool = annotations::address_pool(self.service);
        if let Some(wanted) = wanted {
            if families::of_addresses(&wanted) != Some(families) {
                return Err(explain(Refusal::FamilyMismatch(wanted)));
            }
            let held = self.allocator.assign(&self.request, &wanted, &[pool]).map_err(explain)?;
            return match pool {
                Some(pool) if pool != held.pool => {
                    self.allocator.release(&self.request.key);
                    Err(explain(Refusal::PoolMismatch { addresses: wanted, pool: pool.to_owned() }))
                }
                _ => Ok(held),
            };
        }
        let Some(needed) = families.needed(self.service) else {
            let why = "the Service has cluster IPs of both families and ipFamilyPolicy SingleStack".to_owned();
            return Err((
                Code::FamilyMismatch,
                why,
                "set spec.ipFamilyPolicy to PreferDualStack or RequireDualStack".to_owned(),
            ));
        };
        match pool {
            Some(pool) => self.allocator.allocate_from(pool, &self.request, needed),
            None => self.allocator.allocate(&self.request, needed),
        }
        .map_err(explain)
    }
}

/// Code, cause and fix of a refusal. A pool that is there and not in force is not unknown to whoever made it.
fn explain(options: &Options, refusal: &Refusal) -> (Code, String, String) {
    match (refusal, &options.held_up) {
        (Refusal::UnknownPool(pool, _), Some(held_up)) if held_up.has_pool(Some(pool)) => {
            let cause = format!("pool {pool:?} exists and is not in force {}", held_up.because());
            (refusal.code(), cause, held_up.fix())
        }
        // Nobody but who asks may look into other namespaces; on hosts the files say it (LB0008).
        (Refusal::UnknownPool(..), _) if !options.assume_cluster_ips => {
            let elsewhere = "`kubectl get ipaddresspools -A` shows one in another namespace (LB0008)";
            (refusal.code(), refusal.to_string(), format!("{}; {elsewhere}", refusal.fix()))
        }
        _ => (refusal.code(), refusal.to_string(), refusal.fix()),
    }
}
