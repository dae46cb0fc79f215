//! What `ferrolb status` shows of the routers of a host.

use ferrolb_proto::bgp::session::State as Phase;

use super::decide::Decision;
use crate::drive::routers::{AllSeen, is_up};
use crate::state::RouterState;

/// The rows for `ferrolb status`.
pub(super) fn rows(decision: &Decision, seen: &AllSeen) -> Vec<RouterState> {
    let peers = decision.bgp.peers.iter();
    let rows = peers.filter_map(|(name, routes)| {
        let peer = decision.config.bgp_peers.get(name)?;
        let seen = seen.get(name);
        let way = seen.and_then(|seen| seen.way.as_ref());
        Some(RouterState {
            nodes: Vec::new(),
            services: 0,
            name: name.clone(),
            address: Some(peer.address),
            state: seen.map_or(Phase::Idle, |seen| seen.state).to_string(),
            established: is_up(seen),
            prefixes: routes.len(),
            told: seen.map_or(0, |seen| seen.told.len()),
            last_error: seen.filter(|seen| !is_up(Some(seen))).and_then(|seen| seen.last_down.clone()),
            bfd: way.map(|way| format!("{:?}", way.change.state)),
        })
    });
    rows.collect()
}
