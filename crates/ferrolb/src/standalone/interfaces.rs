//! Whether this host can announce at all, and what to do where it cannot. What is decided here is told to the others: a
//! host that cannot announce is no candidate for any address.

use std::collections::BTreeSet;

use ferrolb_rules::names::NodeName;
use ferrolb_rules::reason::{Code, Finding, Severity};

use crate::drive::l2::Wire;
use crate::drive::l2::links::Unfit;
use crate::state::InterfaceState;

/// The interfaces whose announcements are heard.
pub(super) fn able(interfaces: &[InterfaceState]) -> BTreeSet<String> {
    let heard = interfaces.iter().filter(|one| one.carrier && (one.arp || one.ndp));
    heard.map(|one| one.name.clone()).collect()
}

/// What is wrong with this host's interfaces: those that `--interface` names, or else all of them together.
pub(super) fn findings(own: &NodeName, named: Option<&BTreeSet<String>>, wire: &Wire) -> Vec<Finding> {
    let mut findings: Vec<Finding> = wire.failures.iter().map(|(name, why)| failed(name, why)).collect();
    let none_able = able(&wire.interfaces).is_empty();
    if let Some(named) = named {
        let severity = if none_able { Severity::Error } else { Severity::Warning };
        let faults = named.iter().filter(|name| !wire.failures.contains_key(*name));
        findings.extend(faults.filter_map(|name| Some((name, fault(name, wire)?))).map(|(name, (why, fix))| {
            let message = format!("--interface {name}: {why}{}", if none_able { NOTHING } else { "" });
            Finding::new(Code::InterfaceMissing, severity, format!("interface/{name}"), message).with_fix(fix)
        }));
    } else if none_able {
        let message = format!("no interface of this host can announce: {}{NOTHING}", listed(wire));
        let down = wire.unfit.iter().find(|(_, why)| **why == Unfit::Down);
        let fix = match down {
            Some((name, _)) => format!("bring the interface to the network up: `ip link set {name} up`"),
            None => "give this host an interface with a carrier: `ip -brief link` shows what it has".to_owned(),
        };
        findings
            .push(Finding::new(Code::InterfaceMissing, Severity::Error, format!("Node/{own}"), message).with_fix(fix));
    }
    findings
}

/// What follows for a host that cannot announce.
const NOTHING: &str = "; this host announces nothing, and stands for no election";

fn failed(name: &str, why: &str) -> Finding {
    let message = format!("cannot answer on {name}: {why}");
    Finding::new(Code::InterfaceMissing, Severity::Error, format!("interface/{name}"), message)
}

/// Why an interface of this name cannot announce, and what to do.
fn fault(name: &str, wire: &Wire) -> Option<(String, String)> {
    if let Some(one) = wire.interfaces.iter().find(|one| one.name == name) {
        let fix = "plug the cable in, or bring the other end up".to_owned();
        return (!one.carrier).then(|| ("it has no carrier".to_owned(), fix));
    }
    let Some(unfit) = wire.unfit.get(name) else {
        let there = names(wire);
        let fix = if there.is_empty() {
            "create the interface, or leave --interface out".to_owned()
        } else {
            format!("write --interface {}, or leave it out to announce on all that fit", there.join(" or "))
        };
        let has = if there.is_empty() { "none but lo".to_owned() } else { there.join(", ") };
        return Some((format!("there is no such interface; this host has {has}"), fix));
    };
    let fix = match unfit {
        Unfit::Down => format!("bring it up: `ip link set {name} up`"),
        Unfit::Enslaved => "name the bridge or bond that it belongs to".to_owned(),
        Unfit::LeftOut | Unfit::NoNeighbours => "name an interface to a network with ARP: an Ethernet".to_owned(),
    };
    Some((format!("it {unfit}"), fix))
}

/// The names of all interfaces, but for `lo`.
fn names(wire: &Wire) -> Vec<&str> {
    let used = wire.interfaces.iter().map(|one| one.name.as_str());
    used.chain(wire.unfit.keys().map(String::as_str)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// All interfaces, each with why it cannot announce.
fn listed(wire: &Wire) -> String {
    let without = wire.interfaces.iter().filter(|one| !one.carrier).map(|one| format!("{} has no carrier", one.name));
    let failed = wire.failures.keys().map(|name| format!("{name} cannot be opened"));
    let all: Vec<String> =
        without.chain(failed).chain(wire.unfit.iter().map(|(name, why)| format!("{name} {why}"))).collect();
    if all.is_empty() { "it has none but lo".to_owned() } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, carrier: bool) -> InterfaceState {
        InterfaceState { name: name.to_owned(), carrier, arp: true, ..InterfaceState::default() }
    }

    fn wire(interfaces: &[(&str, bool)], unfit: &[(&str, Unfit)]) -> Wire {
        Wire {
            interfaces: interfaces.iter().map(|(name, carrier)| interface(name, *carrier)).collect(),
            unfit: unfit.iter().map(|(name, why)| ((*name).to_owned(), *why)).collect(),
            ..Wire::default()
        }
    }

    fn found(named: Option<&[&str]>, wire: &Wire) -> Vec<(Severity, String)> {
        let named = named.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let findings = findings(&NodeName::new("a"), named.as_ref(), wire);
        assert!(findings.iter().all(|finding| finding.code == Code::InterfaceMissing && !finding.fix.is_empty()));
        findings
            .into_iter()
            .map(|finding| (finding.severity, format!("{}: {}", finding.message, finding.fix)))
            .collect()
    }

    #[test]
    fn a_host_that_can_announce_has_nothing_to_say() {
        let wire = wire(&[("eth0", true), ("eth1", false)], &[("docker0", Unfit::LeftOut)]);
        assert_eq!(found(None, &wire), []);
        assert_eq!(found(Some(&["eth0"]), &wire), []);
        assert_eq!(able(&wire.interfaces), BTreeSet::from(["eth0".to_owned()]));
    }

    #[test]
    fn a_host_that_cannot_announce_says_what_each_interface_lacks() {
        let wire = wire(&[("eth1", false)], &[("docker0", Unfit::LeftOut), ("eth0", Unfit::Down)]);
        let [(Severity::Error, text)] = &found(None, &wire)[..] else { panic!("one error") };
        for part in ["eth1 has no carrier", "eth0 is down", "docker0 is left out", "ip link set eth0 up"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(found(None, &Wire::default())[0].1.contains("none but lo"));
    }

    #[test]
    fn an_interface_that_is_named_and_cannot_announce_is_said_with_those_that_there_are() {
        let two = wire(&[("eth0", true), ("eth1", false)], &[("eth2", Unfit::Down), ("p0", Unfit::Enslaved)]);
        let all = found(Some(&["nope0", "eth0", "eth1", "eth2", "p0"]), &two);
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all.iter().all(|(severity, _)| *severity == Severity::Warning), "eth0 announces: {all:?}");
        for part in ["nope0: there is no such interface; this host has eth0, eth1, eth2, p0", "eth1: it has no carrier"]
        {
            assert!(all.iter().any(|(_, text)| text.contains(part)), "{part}: {all:?}");
        }
        let none = found(Some(&["nope0"]), &wire(&[], &[("eth0", Unfit::LeftOut)]));
        assert_eq!(none[0].0, Severity::Error);
        assert!(none[0].1.contains("--interface eth0") && none[0].1.contains("announces nothing"), "{none:?}");
    }
}
