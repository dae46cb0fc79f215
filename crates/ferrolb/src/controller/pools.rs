//! What the status of an IPAddressPool shall be: its counters (spec §4.9), and whether it is in order (decision D6).

use ferrolb_rules::alloc::Counters;
use ferrolb_rules::api::{IPAddressPool, IPAddressPoolStatus};
use ferrolb_rules::config::Config;
use ferrolb_rules::reason::{Code, Finding};
use k8s_openapi::jiff::Timestamp;

use super::wanted::Verdict;

/// The pool shares addresses with an older one.
const CONFLICT: &str = "Conflict";
/// Somebody announces the pool's addresses.
const ADVERTISED: &str = "Advertised";

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
    let object = format!("IPAddressPool/{}/{name}", pool.metadata.namespace.as_deref().unwrap_or_default());
    let finding = |code: Code| config.findings.iter().find(|finding| finding.object == object && finding.code == code);
    let mut conditions = before.conditions;
    let generation = pool.metadata.generation;
    let conflict = match finding(Code::PoolsOverlap) {
        Some(overlap) => Verdict { holds: true, ..Verdict::no(overlap) },
        None => {
            Verdict { holds: false, reason: "NoOverlap", message: "no older pool has any of its addresses".to_owned() }
        }
    };
    conflict.put(CONFLICT, &mut conditions, generation, now);
    let advertisements: Vec<&str> = parsed.l2_advertisements.iter().map(|one| one.name.as_str()).collect();
    let advertised = match finding(Code::PoolNotAdvertised) {
        Some(finding) => Verdict::no(finding),
        None => Verdict::yes("Advertised", format!("by L2Advertisement {}", advertisements.join(", "))),
    };
    advertised.put(ADVERTISED, &mut conditions, generation, now);
    Some(IPAddressPoolStatus {
        assigned_ipv4: counters.assigned_v4,
        assigned_ipv6: counters.assigned_v6,
        available_ipv4: counters.available_v4,
        available_ipv6: counters.available_v6,
        conditions,
    })
}

/// What an event says about a finding.
pub(super) fn words(finding: &Finding) -> String {
    format!("{}; {} ({})", finding.message, finding.fix, finding.code)
}
