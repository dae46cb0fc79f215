//! What the nodes make of one Service by BGP, seen from outside: for whoever says why nobody has announced it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Concern, all_excluded};
use crate::config::BgpPeer;
use crate::names::{NodeName, ServiceKey};
use crate::plan::{ServicePlan, Snapshot};
use crate::reason::{Code, Finding, Severity};
use crate::service::View;

/// One Service, node by node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// The nodes that are to tell routers of it, with the names of their peers.
    pub tellers: BTreeMap<NodeName, BTreeSet<String>>,
    /// Why each of the others tells nobody.
    pub codes: BTreeMap<NodeName, Code>,
}

/// Looks at a Service from no node; `None` where BGP is not concerned with it.
pub fn outlook(key: &ServiceKey, service: &dyn View, snapshot: &Snapshot) -> Option<Outlook> {
    let concern = Concern::of(key, service, snapshot)?;
    let all_excluded = all_excluded(snapshot);
    let mut outlook = Outlook::default();
    for node in snapshot.nodes.keys() {
        let here = snapshot.config.bgp_peers.values().filter(|peer| peer.nodes.contains(node));
        let dead = snapshot.members.as_ref().is_some_and(|members| !members.contains(node));
        let told = concern.on(node, key, snapshot, all_excluded).and_then(|advertisements| {
            let carries = |peer: &BgpPeer| {
                let families = peer.families(node);
                concern.addresses.iter().any(|address| match address {
                    IpAddr::V4(_) => families.v4,
                    IpAddr::V6(_) => families.v6,
                })
            };
            let is_for = |peer: &BgpPeer| advertisements.iter().any(|one| one.is_for(&peer.name));
            let told = here.filter(|peer| is_for(peer) && carries(peer));
            let told: BTreeSet<String> = told.map(|peer| peer.name.clone()).collect();
            match (told.is_empty(), dead) {
                (true, _) => Err(Code::NoBgpPeer),
                (false, true) => Err(Code::NodeNotAlive),
                (false, false) => Ok(told),
            }
        });
        match told {
            Ok(peers) => drop(outlook.tellers.insert(node.clone(), peers)),
            Err(code) => drop(outlook.codes.insert(node.clone(), code)),
        }
    }
    Some(outlook)
}

/// Why no node is to announce a Service, on layer 2 or by BGP; `None`: some node is.
pub fn obstacle(plan: &ServicePlan, outlook: Option<&Outlook>) -> Option<Finding> {
    let by_layer2 = plan.finding()?;
    match outlook {
        Some(outlook) if plan.code() == Some(Code::NoAdvertisement) => outlook.finding(&plan.service),
        Some(outlook) if !outlook.tellers.is_empty() => None,
        _ => Some(by_layer2),
    }
}

/// What to say where some node is to announce a Service, and none reports that it does.
pub fn silence(plan: &ServicePlan, outlook: Option<&Outlook>) -> Finding {
    if let Some(outlook) = outlook.filter(|outlook| plan.code().is_some() && !outlook.tellers.is_empty()) {
        return outlook.untold(&plan.service);
    }
    let node = plan.owner.as_ref().map(NodeName::as_str).unwrap_or_default();
    let message = format!("{node} is elected and does not report that it announces it");
    Finding::new(Code::AnnouncerSilent, Severity::Error, format!("Service/{}", plan.service), message)
}

impl Outlook {
    /// Why no node is to announce it; `None`: some node is.
    pub fn finding(&self, key: &ServiceKey) -> Option<Finding> {
        if !self.tellers.is_empty() {
            return None;
        }
        let code = self.code();
        let why = if code == Code::NoCandidate { "they have different reasons" } else { code.explanation().summary };
        let nodes: Vec<String> =
            self.codes.iter().map(|(node, code)| format!("{node} {code} {}", code.name())).collect();
        let message = format!("no node announces it by BGP, {why}: {}", nodes.join(", "));
        Some(Finding::new(code, Severity::Error, format!("Service/{key}"), message))
    }

    /// What to say where some node is to announce it, and no router has been told.
    pub fn untold(&self, key: &ServiceKey) -> Finding {
        let nodes: Vec<&str> = self.tellers.keys().map(NodeName::as_str).collect();
        let peers: BTreeSet<&str> = self.tellers.values().flatten().map(String::as_str).collect();
        let peers: Vec<&str> = peers.into_iter().collect();
        let message = format!(
            "it is to be announced by BGP from {}, and no router has been told: {}",
            nodes.join(" and "),
            peers.join(", ")
        );
        let fix = "look at the events on these BGPPeers: they have the last word of each router";
        Finding::new(Code::BgpSessionDown, Severity::Error, format!("Service/{key}"), message).with_fix(fix)
    }

    /// Per node that does not announce it, why.
    pub fn node_findings(&self, key: &ServiceKey) -> impl Iterator<Item = (&NodeName, Finding)> {
        self.codes.iter().map(move |(node, code)| {
            let message = format!("{node}: {}", code.explanation().summary);
            (node, Finding::new(*code, Severity::Note, format!("Service/{key}"), message))
        })
    }

    /// The reason that all nodes share; those that no advertisement selects, and then the dead, count only where there is
    /// nobody else.
    fn code(&self) -> Code {
        let mut codes: BTreeSet<Code> = self.codes.values().copied().collect();
        for lesser in [Code::NodeNotSelected, Code::NodeNotAlive] {
            if codes.len() > 1 {
                codes.remove(&lesser);
            }
        }
        codes.first().copied().filter(|_| codes.len() == 1).unwrap_or(Code::NoCandidate)
    }
}
