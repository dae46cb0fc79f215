//! What is said about devices that use an address of ours and are none of us (decision D4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::reason::{Code, Finding, Severity};

use super::peers::HostDocument;
use crate::drive::l2::{Stranger, Wire};

/// Addresses that a stranger was seen to have are handed out last for so long.
const SQUATTED_INTERVAL: Duration = Duration::from_secs(600);

/// Strangers that hosts have seen, by address.
pub(super) type Seen = BTreeMap<IpAddr, BTreeMap<NodeName, Vec<Stranger>>>;

/// What this host sees, and what the live others say that they see.
pub(super) fn seen<'a>(
    own: &NodeName,
    wire: &Wire,
    others: impl Iterator<Item = (&'a NodeName, &'a HostDocument)>,
) -> Seen {
    let mut seen = Seen::new();
    let own = [(own, &wire.strangers)];
    for (host, strangers) in own.into_iter().chain(others.map(|(host, document)| (host, &document.strangers))) {
        for (address, list) in strangers {
            seen.entry(*address).or_default().insert(host.clone(), list.clone());
        }
    }
    seen
}

/// The addresses that strangers had before us.
pub(super) fn squatted(seen: &Seen) -> BTreeSet<IpAddr> {
    seen.keys().filter(|address| strangers(seen, address).any(|(_, one)| one.blocks)).copied().collect()
}

/// When strangers had addresses before us, those that were given up for it too: these are not looked at any more.
#[derive(Debug, Default)]
pub(super) struct Squatted(BTreeMap<IpAddr, Instant>);

impl Squatted {
    /// Adds what is seen now, and says which addresses a stranger had not long ago.
    pub(super) fn note(&mut self, seen: &Seen, now: Instant) -> BTreeSet<IpAddr> {
        self.0.extend(squatted(seen).into_iter().map(|address| (address, now)));
        self.0.retain(|_, at| now.saturating_duration_since(*at) < SQUATTED_INTERVAL);
        self.0.keys().copied().collect()
    }
}

/// Why an address of a Service is not announced, if it is because a stranger has it.
pub(super) fn block(key: &ServiceKey, addresses: &[IpAddr], seen: &Seen) -> Option<Finding> {
    let address = addresses.iter().find(|address| strangers(seen, address).any(|(_, one)| one.blocks))?;
    let message = format!("{address} is answered by {}", list(seen, *address, Code::AddressInUse));
    Some(Finding::new(Code::AddressInUse, Severity::Error, format!("Service/{key}"), message))
}

/// Strangers, and hosts that were not told to, who answer for addresses which are announced all the same.
pub(super) fn conflicts(key: &ServiceKey, addresses: &[IpAddr], seen: &Seen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (code, what) in [
        (Code::ForeignClaim, "is announced, and claimed by"),
        (Code::NodeAnswersUnasked, "is announced, and answered by"),
    ] {
        let used = addresses.iter().filter(|address| strangers(seen, address).any(|(_, one)| one.code() == code));
        findings.extend(used.map(|address| {
            let message = format!("{address} {what} {}", list(seen, *address, code));
            Finding::new(code, Severity::Warning, format!("Service/{key}"), message)
        }));
    }
    findings
}

fn strangers<'a>(seen: &'a Seen, address: &IpAddr) -> impl Iterator<Item = (&'a NodeName, &'a Stranger)> {
    seen.get(address).into_iter().flatten().flat_map(|(host, list)| list.iter().map(move |one| (host, one)))
}

/// `06:a0:33:c7:da:85, which is no host of ours (seen by a on eth0)`
fn list(seen: &Seen, address: IpAddr, code: Code) -> String {
    let who = match code {
        Code::NodeAnswersUnasked => "a host that was not told to",
        _ => "which is no host of ours",
    };
    let all = strangers(seen, &address).filter(|(_, one)| one.code() == code);
    let all: Vec<String> =
        all.map(|(host, one)| format!("{}, {who} (seen by {host} on {})", one.mac, one.interface)).collect();
    all.join(" and ")
}
