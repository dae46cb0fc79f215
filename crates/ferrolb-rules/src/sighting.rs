//! What only a speaker can see: who else answers for addresses of ours on its LAN, and that it lacks an interface.
//!
//! It says so in conditions of its ConfigurationState ([`FOREIGN_REPLY`], [`INTERFACE_MISSING`]), one line for each; the
//! controller and whoever looks once (`ferrolb status`, the web page) read it there. Without anything seen there are none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{ConfigurationState, well_known};
use crate::names::{NodeName, ServiceKey};
use crate::reason::{Code, Finding, Severity};

/// The type of the condition that somebody else answers.
pub const FOREIGN_REPLY: &str = "ForeignReply";
/// The type of the condition that addresses are this node's to announce, on interfaces that it does not have.
pub const INTERFACE_MISSING: &str = "InterfaceMissing";
/// More lines than these are counted, not written: a message has a limit.
const LINES: usize = 100;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// What it is called.
    pub code: Code,
    /// What is seen; the address first.
    pub words: String,
}

/// What live speakers see, by address.
pub type Sightings = BTreeMap<IpAddr, BTreeSet<Sighting>>;

/// The conditions that say all this; none where there is nothing to say.
pub fn conditions(seen: &BTreeSet<Sighting>, since: &Time) -> Vec<Condition> {
    [FOREIGN_REPLY, INTERFACE_MISSING].into_iter().filter_map(|type_| condition(type_, seen, since.clone())).collect()
}

fn condition(type_: &str, seen: &BTreeSet<Sighting>, since: Time) -> Option<Condition> {
    let is_of = |one: &&Sighting| (one.code == Code::InterfaceMissing) == (type_ == INTERFACE_MISSING);
    let seen: Vec<&Sighting> = seen.iter().filter(is_of).collect();
    let first = seen.first()?;
    let mut lines: Vec<String> = seen.iter().take(LINES).map(|one| format!("{} {}", one.code, one.words)).collect();
    if seen.len() > LINES {
        lines.push(format!("and {} more", seen.len() - LINES));
    }
    Some(Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: first.code.name().to_owned(),
        message: lines.join("\n"),
        last_transition_time: since,
        observed_generation: None,
    })
}

/// What the speakers of these nodes see; of every node where it is not known who is alive. A dead speaker's last words are
/// nobody's.
pub fn of_states(states: &[Arc<ConfigurationState>], alive: Option<&BTreeSet<NodeName>>) -> Sightings {
    let mut seen = Sightings::new();
    for state in states {
        let name = state.metadata.name.as_deref().unwrap_or_default();
        let Some(node) = name.strip_prefix(well_known::SPEAKER_STATE_PREFIX) else { continue };
        if alive.is_some_and(|alive| !alive.iter().any(|one| one.as_str() == node)) {
            continue;
        }
        let conditions = state.status.iter().flat_map(|status| &status.conditions);
        let tells = |condition: &&Condition| [FOREIGN_REPLY, INTERFACE_MISSING].contains(&condition.type_.as_str());
        for condition in conditions.filter(tells).filter(|condition| condition.status == "True") {
            for (address, sighting) in condition.message.lines().filter_map(parse) {
                seen.entry(address).or_default().insert(sighting);
            }
        }
    }
    seen
}

fn parse(line: &str) -> Option<(IpAddr, Sighting)> {
    let (code, words) = line.split_once(' ')?;
    let address = words.split(' ').next()?.parse().ok()?;
    Some((address, Sighting { code: code.parse().ok()?, words: words.to_owned() }))
}

/// What is to be said of a Service with these addresses: what keeps it from being announced, or else who answers beside
/// the one that does.
pub fn finding(service: &ServiceKey, addresses: &[IpAddr], seen: &Sightings, is_announced: bool) -> Option<Finding> {
    let all = addresses.iter().filter_map(|address| seen.get(address)).flatten();
    let hinders = |code: Code| matches!(code, Code::AddressInUse | Code::InterfaceMissing);
    let sighting = all.into_iter().find(|one| hinders(one.code) != is_announced)?;
    let severity = if is_announced { Severity::Warning } else { Severity::Error };
    Some(Finding::new(sighting.code, severity, format!("Service/{service}"), sighting.words.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConfigurationStateStatus;

    fn sighting(code: Code, words: &str) -> Sighting {
        Sighting { code, words: words.to_owned() }
    }

    fn state(name: &str, seen: &BTreeSet<Sighting>) -> Arc<ConfigurationState> {
        let at = Time(k8s_openapi::jiff::Timestamp::from_second(1).unwrap());
        let conditions = conditions(seen, &at);
        let mut state = ConfigurationState { status: None, ..ConfigurationState::default() };
        state.metadata.name = Some(name.to_owned());
        state.status = Some(ConfigurationStateStatus { conditions, ..ConfigurationStateStatus::default() });
        Arc::new(state)
    }

    #[test]
    fn what_a_live_speaker_sees_is_read_as_it_was_written_and_what_a_dead_one_saw_is_not() {
        let taken = sighting(Code::AddressInUse, "10.0.0.1 is answered by 06:00:00:00:00:01 (seen by a on eth0)");
        let node = sighting(Code::NodeAnswersUnasked, "fd00::1 is announced, and answered by 06:00:00:00:00:02");
        let missing = sighting(Code::InterfaceMissing, "10.0.0.2 cannot be announced: no such interface");
        let states = [
            state("speaker-a", &BTreeSet::from([taken.clone(), node.clone()])),
            state("speaker-b", &BTreeSet::from([sighting(Code::ForeignClaim, "10.0.0.1 is claimed")])),
            state("speaker-c", &BTreeSet::from([missing.clone()])),
            state("controller", &BTreeSet::from([node.clone()])),
        ];
        let alive = BTreeSet::from([NodeName::new("a"), NodeName::new("c")]);
        let seen = of_states(&states, Some(&alive));
        let expected = [("10.0.0.1", taken), ("10.0.0.2", missing), ("fd00::1", node)];
        assert_eq!(seen, expected.map(|(ip, one)| (ip.parse().unwrap(), BTreeSet::from([one]))).into());
        assert_eq!(of_states(&states, None).values().map(BTreeSet::len).sum::<usize>(), 4);
    }

    #[test]
    fn what_blocks_is_a_reason_not_to_be_announced_and_everything_else_is_beside_an_announcement() {
        let (service, ip): (_, IpAddr) = (ServiceKey::new("default", "web"), "10.0.0.1".parse().unwrap());
        let of = |code: Code, is_announced: bool| {
            let seen = Sightings::from([(ip, BTreeSet::from([sighting(code, "10.0.0.1 is …")]))]);
            finding(&service, &[ip], &seen, is_announced).map(|finding| (finding.code, finding.severity))
        };
        assert_eq!(of(Code::AddressInUse, false), Some((Code::AddressInUse, Severity::Error)));
        assert_eq!(of(Code::AddressInUse, true), None);
        assert_eq!(of(Code::InterfaceMissing, false), Some((Code::InterfaceMissing, Severity::Error)));
        assert_eq!(of(Code::NodeAnswersUnasked, true), Some((Code::NodeAnswersUnasked, Severity::Warning)));
        assert_eq!(of(Code::ForeignClaim, false), None);
        assert_eq!(finding(&service, &[], &Sightings::new(), true), None);
    }

    #[test]
    fn more_than_a_message_holds_is_counted() {
        let many = (0..LINES + 3).map(|n| sighting(Code::ForeignClaim, &format!("10.0.1.{n} is claimed"))).collect();
        let conditions = conditions(&many, &Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
        let [Condition { message, .. }] = conditions.as_slice() else { panic!("{conditions:?}") };
        assert!(message.ends_with("\nand 3 more"), "{message}");
        assert!(message.len() < 32_000);
    }
}
