//! Which host began to announce what, as this host has seen it since it started.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use ferrolb_rules::names::{NodeName, ServiceKey};
use k8s_openapi::jiff::Timestamp;

use crate::drive::owners::Takeover;
use crate::state::{Progress, ServiceState, State, Turn};

/// Turns kept.
const TURNS: usize = 200;

/// Turns so far.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// The newest first.
    turns: VecDeque<Turn>,
    /// Who announced what when it was looked at last.
    nodes: BTreeMap<ServiceKey, String>,
    /// Failovers to this host whose turn has not come: that it owns an address is known before it is seen to answer.
    taken: BTreeMap<IpAddr, String>,
}

impl Timeline {
    /// Takes note of who announces what now, and puts the turns into the document.
    pub(super) fn note(&mut self, state: &mut State, own: &NodeName, takeovers: &[Takeover]) {
        for one in takeovers {
            let (address, from, unheard) = (one.address, &one.from, one.unheard.as_millis());
            tracing::warn!(event = "tookOver", %address, %from, node = %own, unheard_ms = unheard, "taken over from a host that has failed");
            self.taken.insert(address, one.to_string());
        }
        let mut nodes = BTreeMap::new();
        for service in &state.services {
            let Some(node) = service.node.as_ref().filter(|_| service.state == Progress::Announced) else { continue };
            let key = ServiceKey::new(&service.namespace, &service.name);
            if self.nodes.get(&key) != Some(node) {
                let notes: Vec<String> =
                    service.addresses.iter().filter_map(|address| self.taken.remove(address)).collect();
                let note = notes.into_iter().next().filter(|_| node == own.as_str());
                self.turns.push_front(turn(service, node, note));
            }
            nodes.insert(key, node.clone());
        }
        // Whoever is silent for a moment and then announced by the same host again has a new turn.
        self.nodes = nodes;
        self.turns.truncate(TURNS);
        state.timeline = Some(self.turns.iter().cloned().collect());
    }
}

fn turn(service: &ServiceState, node: &str, note: Option<String>) -> Turn {
    Turn {
        at: format!("{:.3}", Timestamp::now()),
        namespace: service.namespace.clone(),
        name: service.name.clone(),
        node: node.to_owned(),
        protocol: if service.mac.is_some() { "layer2" } else { "bgp" }.to_owned(),
        note,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn state(node: Option<&str>) -> State {
        let service = ServiceState {
            name: "web".to_owned(),
            addresses: vec!["10.0.0.1".parse().unwrap()],
            node: node.map(str::to_owned),
            state: if node.is_some() { Progress::Announced } else { Progress::Allocated },
            ..ServiceState::default()
        };
        State { services: vec![service], ..State::default() }
    }

    #[test]
    fn a_turn_begins_when_another_host_announces_and_the_newest_comes_first() {
        let (mut timeline, own) = (Timeline::default(), NodeName::new("a"));
        let takeover = Takeover {
            address: "10.0.0.1".parse().unwrap(),
            from: NodeName::new("b"),
            unheard: Duration::from_millis(231),
        };
        let mut last = State::default();
        let steps = [
            (Some("b"), vec![]),
            (Some("b"), vec![]),
            (Some("b"), vec![takeover]),
            (None, vec![]),
            (Some("a"), vec![]),
        ];
        for (node, takeovers) in steps {
            last = state(node);
            timeline.note(&mut last, &own, &takeovers);
        }
        let turns = last.timeline.unwrap();
        let told: Vec<(&str, Option<&str>)> =
            turns.iter().map(|one| (one.node.as_str(), one.note.as_deref())).collect();
        let note = "10.0.0.1 taken over from b, which had not been heard for 231 ms; the LAN was told";
        assert_eq!(told, [("a", Some(note)), ("b", None)]);
    }
}
