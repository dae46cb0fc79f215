//! Routers of a host: what they hear of one that leaves, and what `ferrolb status` shows of them.

use std::time::Instant;

use ferrolb_proto::bgp::session::State as Phase;
use ferrolb_rules::names::NodeName;
use ferrolb_rules::plan::bgp::{BgpPlan, Farewell};

use super::decide::Decision;
use crate::drive::routers::{AllSeen, is_up};
use crate::state::RouterState;

/// What was told before, and what of it leaves this host on purpose and asks for other ways first (RFC 8326).
#[derive(Default)]
pub(super) struct Parting {
    farewell: Farewell,
    before: Option<BgpPlan>,
}

impl Parting {
    /// Puts back into a new plan what is to be told for a while yet.
    pub(super) fn hold(&mut self, plan: &mut BgpPlan, now: Instant) {
        self.farewell.hold(self.before.as_ref(), plan, now);
        if self.before.as_ref() != Some(plan) {
            self.before = Some(plan.clone());
        }
    }

    /// When the first of it is to be withdrawn.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.farewell.next_deadline()
    }
}

/// The rows for `ferrolb status`.
pub(super) fn rows(own: &NodeName, decision: &Decision, seen: &AllSeen) -> Vec<RouterState> {
    let peers = decision.bgp.peers.iter();
    let rows = peers.filter_map(|(name, routes)| {
        let peer = decision.config.bgp_peers.get(name)?;
        let seen = seen.get(name);
        let way = seen.and_then(|seen| seen.way.as_ref());
        Some(RouterState {
            nodes: Vec::new(),
            services: 0,
            addresses: Vec::new(),
            name: name.clone(),
            address: seen.and_then(|seen| seen.remote).or_else(|| peer.router.address(own)),
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
