//! The log: what changed, once, with upstream's keys (spec §8.5).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::reason::Finding;

use super::decide::Decision;
use crate::drive::answers;
use crate::drive::l2::Wire;
use crate::findings::Said;
use crate::state::State;

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    addresses: BTreeMap<ServiceKey, Vec<IpAddr>>,
    announced: answers::Announced,
    findings: Said,
    alive: BTreeSet<String>,
}

impl Narrator {
    /// Says what is different now.
    pub(super) fn narrate(&mut self, own: &NodeName, decision: &Decision, wire: &Wire, state: &State) {
        self.allocations(decision);
        self.announcements(own, decision, wire);
        let alive: BTreeSet<String> =
            state.peers.iter().filter(|peer| peer.alive).map(|peer| peer.name.clone()).collect();
        for name in alive.difference(&self.alive).filter(|name| *name != own.as_str()) {
            tracing::info!(event = "memberJoined", node = name, "host is alive");
        }
        for name in self.alive.difference(&alive) {
            tracing::warn!(event = "memberLeft", node = name, "host is gone");
        }
        self.alive = alive;
        let findings: BTreeSet<Finding> = state.findings.iter().chain(decision.refusals.values()).cloned().collect();
        self.findings.say(findings);
    }

    fn allocations(&mut self, decision: &Decision) {
        let addresses: BTreeMap<ServiceKey, Vec<IpAddr>> = decision
            .plan
            .services
            .iter()
            .filter(|plan| !plan.addresses.is_empty())
            .map(|plan| (plan.service.clone(), plan.addresses.to_vec()))
            .collect();
        for (service, ips) in addresses.iter().filter(|(service, ips)| self.addresses.get(*service) != Some(*ips)) {
            tracing::info!(event = "ipAllocated", %service, ?ips, "IP address assigned");
        }
        for service in self.addresses.keys().filter(|service| !addresses.contains_key(*service)) {
            tracing::info!(event = "ipReleased", %service, "IP address given up");
        }
        self.addresses = addresses;
    }

    /// What is on the wire counts, and not what is wished for.
    fn announcements(&mut self, own: &NodeName, decision: &Decision, wire: &Wire) {
        let answering = answers::answering(&decision.plan.announce, wire);
        let announced = answers::announced(&answering);
        for (service, ips) in announced.iter().filter(|(service, ips)| self.announced.get(*service) != Some(*ips)) {
            tracing::info!(event = "serviceAnnounced", %service, ?ips, node = %own, protocol = "layer2", "announcing");
        }
        for (service, ips) in self.announced.iter().filter(|(service, _)| !announced.contains_key(*service)) {
            let reason = match decision.plan.service(service) {
                None => "serviceDeleted".to_owned(),
                Some(plan) => {
                    let here = plan.node_codes().find(|(node, _)| *node == own).map(|(_, code)| code);
                    let code = here.or(plan.code());
                    code.map_or_else(|| "notOnTheWire".to_owned(), |code| format!("{code} {}", code.name()))
                }
            };
            tracing::info!(event = "serviceWithdrawn", %service, ?ips, reason, protocol = "layer2", "no longer announcing");
        }
        self.announced = announced;
    }
}
