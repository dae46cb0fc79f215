//! BGP beside layer 2: from the plan to sessions, and from what routers were told to what `ferrolb status` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ferrolb_proto::bgp::session::report::Unannounced;
use ferrolb_proto::bgp::session::{Config, Posture, State as Phase, Transport};
use ferrolb_rules::config::BgpPeer;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::reason::{Code, Finding, Severity};

use super::decide::Decision;
use crate::drive::bfd::{self, Bfd, Way};
use crate::drive::bgp::{self, Bgp, Wanted};
use crate::state::RouterState;

/// How long a router keeps our routes while we are away, as FRR asks for it.
const RESTART: Duration = Duration::from_secs(120);

/// What is so about one peer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The session.
    pub(super) session: bgp::Seen,
    /// The way to it, where BFD watches it.
    pub(super) way: Option<bfd::Seen>,
}

/// What is so, per peer.
pub(super) type AllSeen = BTreeMap<String, Seen>;

/// Puts together what is so.
pub(super) fn seen(decision: &Decision, bgp: &Bgp, bfd: &Bfd) -> AllSeen {
    let ways = bfd.seen();
    let way = |name: &String| decision.config.bgp_peers.get(name).and_then(|peer| ways.get(&Way::to(peer))).cloned();
    bgp.seen().into_iter().map(|(name, session)| (name.clone(), Seen { session, way: way(&name) })).collect()
}

/// The sessions of this host. `address` is the host's own, of which its BGP identifier is made where none is written.
pub(super) fn wanted(
    decision: &Decision,
    own: &NodeName,
    address: Option<IpAddr>,
    bfd: &Bfd,
) -> BTreeMap<String, Wanted> {
    let peers = decision.bgp.peers.iter();
    let wanted = peers.filter_map(|(name, routes)| {
        let peer = decision.config.bgp_peers.get(name)?;
        let bfd = peer.bfd.and_then(|_| bfd.follow(&Way::to(peer)));
        Some((name.clone(), Wanted { config: config(peer, own, address), routes: Arc::clone(routes), bfd }))
    });
    wanted.collect()
}

fn config(peer: &BgpPeer, own: &NodeName, address: Option<IpAddr>) -> Config {
    Config {
        local_asn: peer.local_asn,
        remote: peer.remote,
        router_id: peer.router_id.unwrap_or_else(|| identifier(own, address)),
        hold_interval: peer.hold_interval,
        keepalive_interval: peer.keepalive_interval,
        connect_interval: peer.connect_interval,
        families: peer.families,
        posture: Posture::Dial,
        graceful_restart: peer.graceful_restart.then_some(RESTART),
        restarting: peer.graceful_restart,
        extended_next_hop: false,
        extended_message: false,
        host_name: own.to_string(),
        receive_limit: None,
        transport: Transport {
            remote: Some(peer.address),
            port: peer.port,
            source: peer.source,
            device: None,
            password: peer.password.clone(),
            reach: peer.reach,
        },
    }
}

/// The host's IPv4 address; where it has none, a number that is made of its name and stays the same (FNV-1a).
fn identifier(own: &NodeName, address: Option<IpAddr>) -> Ipv4Addr {
    if let Some(IpAddr::V4(address)) = address {
        return address;
    }
    let hash =
        own.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Ipv4Addr::from(hash.max(1))
}

/// The rows for `ferrolb status`.
pub(super) fn rows(decision: &Decision, seen: &AllSeen) -> Vec<RouterState> {
    let peers = decision.bgp.peers.iter();
    let rows = peers.filter_map(|(name, routes)| {
        let peer = decision.config.bgp_peers.get(name)?;
        let (seen, way) = seen.get(name).map(|seen| (&seen.session, seen.way.as_ref())).unzip();
        Some(RouterState {
            name: name.clone(),
            address: Some(peer.address),
            state: seen.map_or(Phase::Idle, |seen| seen.state).to_string(),
            established: is_up(seen),
            prefixes: routes.len(),
            told: seen.map_or(0, |seen| seen.told.len()),
            last_error: seen.filter(|seen| !is_up(Some(seen))).and_then(|seen| seen.last_down.clone()),
            bfd: way.flatten().filter(|_| peer.bfd.is_some()).map(|way| format!("{:?}", way.change.state)),
        })
    });
    rows.collect()
}

fn is_up(seen: Option<&bgp::Seen>) -> bool {
    seen.is_some_and(|seen| seen.state == Phase::Established)
}

/// What is wrong with sessions.
pub(super) fn findings(decision: &Decision, seen: &AllSeen) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, Seen { session: seen, way }) in seen {
        let Some(peer) = decision.config.bgp_peers.get(name) else { continue };
        let object = format!("BGPPeer/{name}");
        findings.extend(way.as_ref().filter(|_| peer.bfd.is_some()).and_then(|way| way.finding(&object, peer.address)));
        if let (false, Some(why)) = (is_up(Some(seen)), &seen.last_down) {
            let silence = peer.password.is_some() && why.starts_with("no connection: no answer");
            let hint = if silence {
                "; the peer has a password: if the router has none or another, its kernel drops what we send without a word"
            } else {
                ""
            };
            let message = format!("no session with {}: {why}{hint}", peer.address);
            findings.push(Finding::new(Code::BgpSessionDown, Severity::Error, object.clone(), message));
        }
        findings.extend(seen.unannounced.iter().map(|one| untold(&object, *one)));
    }
    findings
}

/// Why something does not go over an established session.
fn untold(object: &str, why: Unannounced) -> Finding {
    let message = match why {
        Unannounced::NotAgreed(family) => format!("the router does not speak IP{family:?} on this session"),
        Unannounced::NoNextHop(family) => {
            format!("the interface to the router has no IP{family:?} address to be the next hop")
        }
        Unannounced::TooLarge(count) => format!("the attributes of {count} prefixes are too large for a message"),
    };
    Finding::new(Code::BgpRouteUntold, Severity::Warning, object, message)
}

/// The routers that were told everything that leads to these addresses of a Service.
pub(super) fn told(decision: &Decision, seen: &AllSeen, key: &ServiceKey) -> BTreeSet<String> {
    let Some(part) = decision.bgp.services.get(key) else { return BTreeSet::new() };
    let is_told =
        |name: &String, prefixes: &BTreeSet<_>| seen.get(name).is_some_and(|one| prefixes.is_subset(&one.session.told));
    part.peers.iter().filter(|(name, prefixes)| is_told(name, prefixes)).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use ferrolb_proto::bgp::Family;

    use super::*;

    #[test]
    fn what_a_session_cannot_carry_is_said_with_the_family() {
        let finding = untold("BGPPeer/router", Unannounced::NotAgreed(Family::V6));
        assert_eq!(finding.code, Code::BgpRouteUntold);
        assert_eq!(finding.message, "the router does not speak IPV6 on this session");
    }

    #[test]
    fn the_identifier_is_the_hosts_address_or_made_of_its_name() {
        let own = NodeName::new("a");
        let address = Ipv4Addr::new(192, 168, 1, 11);
        assert_eq!(identifier(&own, Some(address.into())), address);
        assert_eq!(identifier(&own, None), identifier(&own, None));
        assert_ne!(identifier(&own, None), Ipv4Addr::UNSPECIFIED);
    }
}
