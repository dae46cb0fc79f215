//! What the status of an IPAddressPool shall be: its counters (spec §4.9), and whether it is in order (decision D6). And
//! what is told on the pool itself: who got an address of it, and that it had none left for somebody.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_rules::alloc::Counters;
use ferrolb_rules::annotations;
use ferrolb_rules::api::{IPAddressPool, IPAddressPoolStatus};
use ferrolb_rules::config::{Config, Pool};
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::{Code, Finding};
use ferrolb_rules::service::{Event, View};
use k8s_openapi::jiff::Timestamp;

use super::book::{Book, Said};
use super::wanted::Verdict;

/// The pool shares addresses with an older one.
const CONFLICT: &str = "Conflict";
/// The pool has addresses of nodes; there is no such condition where it has not.
const NODE_ADDRESS: &str = "NodeAddress";
/// The pool is not in force; there is no such condition where it is.
const IN_FORCE: &str = "InForce";
/// Somebody announces the pool's addresses.
const ADVERTISED: &str = "Advertised";

/// More addresses than this in one go (a start, a new pool) are not told one by one on the pool.
const FEW: usize = 10;

const NOT_IN_FORCE: &str = "it is not in force";

/// Something to tell on a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The pool's name.
    pub(super) pool: String,
    /// What is told.
    pub(super) event: Event,
}

/// What is to be told on pools about what is told on Services.
pub(super) fn told(said: &[Said], book: &Book) -> Vec<Told> {
    let assigned = said.iter().filter(|said| said.event.reason == "IPAllocated");
    let few = assigned.clone().take(FEW + 1).count() <= FEW;
    let mut told: Vec<Told> = assigned.filter(|_| few).filter_map(|said| assignment(&said.service, book)).collect();
    let mut full = BTreeMap::<(&str, &str), Told>::new();
    for said in said.iter().filter(|said| said.event.reason == "AllocationFailed") {
        let Some(refusal) = book.refusal(&said.service) else { continue };
        if !matches!(refusal.code, Code::PoolExhausted | Code::NoFreeAddress) {
            continue;
        }
        let Some(service) = book.services.get(&said.service) else { continue };
        let pools = book.config().into_iter().flat_map(|config| config.pools.values());
        for pool in pools.filter(|pool| is_asked(pool, &**service)) {
            let Some(counters) = book.counters_of(&pool.name) else { continue };
            let asked = service.ip_families();
            let is_full = |(family, used, free): &(&'static str, i64, i64)| {
                *used > 0 && *free == 0 && (asked.is_empty() || asked.contains(family))
            };
            for (family, used, _) in families(&counters).filter(is_full) {
                let code = Code::PoolExhausted;
                let message = format!(
                    "all {used} {family} addresses are in use; {} waits; {} ({code})",
                    said.service,
                    code.explanation().fix
                );
                let event = Event { warning: true, reason: code.name(), message };
                let key = (pool.name.as_str(), family);
                full.entry(key).or_insert_with(|| Told { pool: pool.name.clone(), event });
            }
        }
    }
    told.extend(full.into_values());
    told
}

fn assignment(service: &ServiceKey, book: &Book) -> Option<Told> {
    let held = book.allocation(service)?;
    let counters = book.counters_of(&held.pool)?;
    let of_its: Vec<String> = families(&counters)
        .filter(|(family, ..)| held.addresses.iter().any(|address| family_of(address) == *family))
        .map(|(family, used, free)| format!("{used} of {} {family} used", used.saturating_add(free)))
        .collect();
    let addresses: Vec<String> = held.addresses.iter().map(ToString::to_string).collect();
    let message = format!("{} -> {service} ({})", addresses.join(" and "), of_its.join(", "));
    Some(Told { pool: held.pool.clone(), event: Event { warning: false, reason: "AddressAssigned", message } })
}

/// Whether a Service looks for addresses in this pool: in the one that it names, or in all that may serve it.
fn is_asked(pool: &Pool, service: &dyn View) -> bool {
    match annotations::address_pool(service) {
        Some(name) => pool.name == name,
        None => pool.auto_assign && pool.serves(&service.key().namespace, &service.labels()),
    }
}

/// What is used and what is free of each family: a pool of both may have none left of one.
fn families(counters: &Counters) -> impl Iterator<Item = (&'static str, i64, i64)> {
    [("IPv4", counters.assigned_v4, counters.available_v4), ("IPv6", counters.assigned_v6, counters.available_v6)]
        .into_iter()
}

fn family_of(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// How many addresses of either family are in use, and how many are free.
fn sums(counters: &Counters) -> (i64, i64) {
    let used = counters.assigned_v4.saturating_add(counters.assigned_v6);
    (used, counters.available_v4.saturating_add(counters.available_v6))
}

/// The pools that are there and not in force because the newest configuration does not load, apart from those at fault:
/// these are told what is wrong with them anyhow.
pub(super) fn waiting(pools: &[Arc<IPAddressPool>], book: &Book) -> Vec<Finding> {
    let Some(held_up) = book.held_up() else { return Vec::new() };
    let waits = pools.iter().filter(|pool| !is_in_force(pool, book)).map(|pool| object(pool));
    waits.filter(|object| !held_up.is_cause(object)).map(|object| held_up.finding(object, NOT_IN_FORCE)).collect()
}

fn is_in_force(pool: &IPAddressPool, book: &Book) -> bool {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    book.config().is_some_and(|config| config.pools.contains_key(name))
}

fn object(pool: &IPAddressPool) -> String {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("IPAddressPool/{}/{}", of(&pool.metadata.namespace), of(&pool.metadata.name))
}

/// The status that a pool shall have, in force or not; none where there is nothing to say.
pub(super) fn status_of(pool: &IPAddressPool, book: &Book, now: Timestamp) -> Option<IPAddressPoolStatus> {
    if is_in_force(pool, book) {
        let counters = book.counters_of(pool.metadata.name.as_deref()?)?;
        return status(pool, &counters, book.config()?, now);
    }
    let finding = book.held_up()?.finding(object(pool), NOT_IN_FORCE);
    let mut status = pool.status.clone().unwrap_or_default();
    // As a whole one has it, so that what the API server keeps of this one can be told ([`Kept`]).
    (status.used, status.free) = (status.used.or(Some(0)), status.free.or(Some(0)));
    Verdict::no(&finding).put(IN_FORCE, &mut status.conditions, pool.metadata.generation, now);
    Some(status)
}

/// The status that a pool shall have; none where the configuration in force does not have the pool.
pub(super) fn status(
    pool: &IPAddressPool,
    counters: &Counters,
    config: &Config,
    now: Timestamp,
) -> Option<IPAddressPoolStatus> {
    let name = pool.metadata.name.as_deref()?;
    let parsed = config.pools.get(name)?;
    let before = pool.status.clone().unwrap_or_default();
    let object = object(pool);
    let finding = |code: Code| config.findings.iter().find(|finding| finding.object == object && finding.code == code);
    let mut conditions = before.conditions;
    conditions.retain(|condition| condition.type_ != IN_FORCE);
    let generation = pool.metadata.generation;
    let conflict = match finding(Code::PoolsOverlap) {
        Some(overlap) => Verdict { holds: true, ..Verdict::no(overlap) },
        None => {
            Verdict { holds: false, reason: "NoOverlap", message: "no older pool has any of its addresses".to_owned() }
        }
    };
    conflict.put(CONFLICT, &mut conditions, generation, now);
    match finding(Code::NodeAddressInPool) {
        Some(found) => {
            let verdict = Verdict { holds: true, ..Verdict::no(found) };
            verdict.put(NODE_ADDRESS, &mut conditions, generation, now);
        }
        None => conditions.retain(|condition| condition.type_ != NODE_ADDRESS),
    }
    let by_layer2: Vec<&str> = parsed.l2_advertisements.iter().map(|one| one.name.as_str()).collect();
    let by_bgp: Vec<&str> = parsed.bgp_advertisements.iter().map(|one| one.name.as_str()).collect();
    let ways = [("L2", "L2Advertisement", by_layer2), ("BGP", "BGPAdvertisement", by_bgp)];
    let used: Vec<_> = ways.iter().filter(|(.., names)| !names.is_empty()).collect();
    let said: Vec<String> = used.iter().map(|(_, kind, names)| format!("{kind} {}", names.join(", "))).collect();
    let short: Vec<&str> = used.iter().map(|(short, ..)| *short).collect();
    let advertised = match finding(Code::PoolNotAdvertised) {
        Some(finding) => Verdict::no(finding),
        None => Verdict::yes("Advertised", format!("by {}", said.join(" and "))),
    };
    advertised.put(ADVERTISED, &mut conditions, generation, now);
    let used_and_free = sums(counters);
    Some(IPAddressPoolStatus {
        assigned_ipv4: counters.assigned_v4,
        assigned_ipv6: counters.assigned_v6,
        available_ipv4: counters.available_v4,
        available_ipv6: counters.available_v6,
        used: Some(used_and_free.0),
        free: Some(used_and_free.1),
        announced: if short.is_empty() { "-".to_owned() } else { short.join(" ") },
        conditions,
    })
}

/// What the API server keeps of such a status: MetalLB's own definition of the kind has neither conditions nor the
/// fields that our columns show, and takes them away without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    columns: bool,
    conditions: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Self { columns: true, conditions: true }
    }
}

impl Kept {
    /// By what it stored of a whole one.
    pub(super) fn of(stored: &IPAddressPoolStatus) -> Self {
        Self { columns: stored.used.is_some(), conditions: !stored.conditions.is_empty() }
    }

    /// What is left of a status there.
    pub(super) fn of_it(self, mut status: IPAddressPoolStatus) -> IPAddressPoolStatus {
        if !self.columns {
            (status.used, status.free) = (None, None);
            status.announced.clear();
        }
        if !self.conditions {
            status.conditions.clear();
        }
        status
    }
}

/// What an event says about a finding.
pub(super) fn words(finding: &Finding) -> String {
    format!("{}; {} ({})", finding.message, finding.fix, finding.code)
}
