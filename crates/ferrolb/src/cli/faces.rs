//! Who is who on the LAN, for `probe` and `scan`: what a status document claims, and the nodes, which are asked for
//! their own addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_rules::probe::{Claim, Faces};
use ferrolb_rules::reason::{Code, Finding, Severity};

use super::wire::{Answers, Interface};
use crate::state::{Progress, ServiceState, State};

/// Who is said to have an address; nobody could be asked where there is no document.
pub(super) fn claim(state: Option<&State>, address: IpAddr) -> Claim {
    let Some(state) = state else { return Claim::Unknown };
    if let Some(service) = state.services.iter().find(|service| service.addresses.contains(&address)) {
        return of_service(service);
    }
    match state.peers.iter().find(|peer| peer.address == Some(address)) {
        Some(peer) => {
            let by = format!("Node/{}", peer.name);
            Claim::Held { by, nodes: vec![peer.name.clone()], mac: None, reason: None }
        }
        None => Claim::Nobody,
    }
}

fn of_service(service: &ServiceState) -> Claim {
    let object = format!("Service/{}/{}", service.namespace, service.name);
    // A document joins the names for people; no name has a blank in it.
    let names = service.node.as_deref().map(|names| names.split(" and ").map(str::to_owned).collect());
    let announced = service.state == Progress::Announced;
    let reason = || match service.reasons.iter().find(|reason| reason.node.is_none()) {
        Some(reason) => {
            let finding = Finding::new(reason.code, Severity::Error, object.as_str(), reason.message.as_str());
            finding.with_fix(reason.fix.as_str())
        }
        None => {
            Finding::new(Code::AnnouncerSilent, Severity::Error, object.as_str(), "no node says that it announces it")
        }
    };
    Claim::Held {
        nodes: if announced { names.unwrap_or_default() } else { Vec::new() },
        mac: service.mac.filter(|_| announced),
        reason: (!announced).then(|| Box::new(reason())),
        by: object,
    }
}

/// The addresses by which the nodes are known again, except for this machine's own.
pub(super) fn of_nodes(state: &State, here: &[Interface]) -> Vec<IpAddr> {
    let own = own_addresses(here);
    state.peers.iter().filter_map(|peer| peer.address).filter(|address| !own.contains(address)).collect()
}

/// Who is who, once the nodes' own addresses have been asked for.
pub(super) fn faces(state: Option<&State>, here: &[Interface], on: &Interface, heard: &Answers) -> Faces {
    let own = own_addresses(here);
    let mut faces =
        Faces { own: here.iter().map(|interface| interface.mac).collect(), place: on.place(), ..Faces::default() };
    let Some(state) = state else { return faces };
    for peer in &state.peers {
        if peer.address.map_or(peer.own, |address| own.contains(&address)) {
            faces.own_names.insert(peer.name.clone());
            faces.nodes.insert(on.mac, peer.name.clone());
            continue;
        }
        let macs = peer.address.and_then(|address| heard.get(&address)).map(Vec::as_slice).unwrap_or_default();
        // Two answers for a node's own address identify nobody.
        match macs {
            [(mac, _)] => drop(faces.nodes.insert(*mac, peer.name.clone())),
            _ => drop(faces.missing.insert(peer.name.clone())),
        }
    }
    // With which address a node announces it says itself; it may have others, so it still counts as missing.
    let announcing = state.services.iter().filter(|service| service.state == Progress::Announced);
    let said: BTreeMap<_, _> = announcing
        .filter_map(|service| Some((service.mac?, service.node.clone().filter(|names| !names.contains(' '))?)))
        .collect();
    for (mac, name) in said {
        faces.nodes.entry(mac).or_insert(name);
    }
    faces
}

fn own_addresses(here: &[Interface]) -> BTreeSet<IpAddr> {
    here.iter().flat_map(Interface::addresses).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferrolb_proto::ethernet::MacAddr;
    use ferrolb_rules::probe::Who;

    use super::*;
    use crate::state::{PeerState, ReasonState};

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn service(state: Progress, node: Option<&str>, mac: Option<MacAddr>) -> ServiceState {
        let reason = |node: Option<&str>| ReasonState {
            code: Code::NoReadyEndpoints,
            node: node.map(str::to_owned),
            message: "none is ready".to_owned(),
            fix: "start one".to_owned(),
        };
        ServiceState {
            namespace: "a".to_owned(),
            name: "web".to_owned(),
            addresses: vec!["192.168.1.201".parse().unwrap()],
            state,
            node: node.map(str::to_owned),
            mac,
            reasons: vec![reason(Some("node-a")), reason(None)],
            ..ServiceState::default()
        }
    }

    fn state(service: ServiceState) -> State {
        let peer = |name: &str, address: &str| PeerState {
            name: name.to_owned(),
            address: Some(address.parse().unwrap()),
            ..PeerState::default()
        };
        State {
            services: vec![service],
            peers: vec![peer("node-a", "192.168.1.11"), peer("node-b", "192.168.1.12")],
            ..State::default()
        }
    }

    #[test]
    fn a_claim_is_what_the_document_says_of_the_address() {
        let state = state(service(Progress::Announced, Some("node-a and node-b"), Some(A)));
        let claim = |address: &str| claim(Some(&state), address.parse().unwrap());
        let Claim::Held { by, nodes, mac, reason } = claim("192.168.1.201") else { panic!("nobody has it") };
        assert_eq!((by.as_str(), mac, reason), ("Service/a/web", Some(A), None));
        assert_eq!(nodes, ["node-a", "node-b"]);
        assert_eq!(claim("192.168.1.202"), Claim::Nobody);
        assert!(matches!(claim("192.168.1.12"), Claim::Held { by, .. } if by == "Node/node-b"));
        assert_eq!(super::claim(None, "192.168.1.201".parse().unwrap()), Claim::Unknown);
    }

    #[test]
    fn what_is_not_announced_claims_nothing_and_says_why() {
        let state = state(service(Progress::Allocated, Some("node-a"), Some(A)));
        let Claim::Held { nodes, mac, reason, .. } = claim(Some(&state), "192.168.1.201".parse().unwrap()) else {
            panic!("nobody has it")
        };
        assert_eq!((nodes.len(), mac), (0, None));
        assert_eq!(reason.map(|reason| reason.fix), Some("start one".to_owned()));
    }

    #[test]
    fn nodes_are_known_by_what_answers_for_them_or_by_what_they_announce_with() {
        let nothing = Interface::default();
        let heard = Answers::from([("192.168.1.11".parse().unwrap(), vec![(A, Duration::ZERO)])]);
        let state = state(service(Progress::Pending, None, None));
        let faces = faces(Some(&state), &[], &nothing, &heard);
        assert_eq!((faces.who(A), faces.who(B)), (Who::Node("node-a"), Who::Unknown));
        assert_eq!(faces.missing, BTreeSet::from(["node-b".to_owned()]));
        let said = super::tests::state(service(Progress::Announced, Some("node-b"), Some(B)));
        let faces = super::faces(Some(&said), &[], &nothing, &heard);
        assert_eq!((faces.who(B), faces.missing.len()), (Who::Node("node-b"), 1));
        assert_eq!(faces.who(MacAddr([2, 0, 0, 0, 0, 9])), Who::Unknown, "node-b may have two");
        assert_eq!(of_nodes(&state, &[]).len(), 2);
    }
}
