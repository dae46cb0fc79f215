//! Which host answers for an address: claimed by the hosts themselves on the LAN (`docs/l2-failover.md`), or, where
//! that is switched off or nobody else is there, elected by everybody alike.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use ferrolb_proto::segment::{NodeId, Timing};
use ferrolb_rules::names::NodeName;
use ferrolb_rules::plan::Plan;
use tokio::sync::watch;

use super::Settings;
use crate::drive::l2::{L2, Wire};
use crate::drive::segment::{self, Candidacy, Link, Ownership, Port, Segments, Wish, saved};

/// How addresses find another host when theirs fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Failover {
    /// Hosts watch one another every 70 ms and claim addresses: a dead host is replaced within 350 ms.
    #[default]
    Default,
    /// Every 15 ms, for machines that are not busy: within 100 ms.
    Fast,
    /// Membership alone decides, as in MetalLB: within seconds.
    Off,
}

impl Failover {
    const fn timing(self) -> Option<Timing> {
        match self {
            Self::Default => Some(Timing::DEFAULT),
            Self::Fast => Some(Timing::FAST),
            Self::Off => None,
        }
    }
}

/// Claims, where hosts claim.
pub(super) struct Owners {
    own: NodeName,
    claiming: Option<Claiming>,
    /// Owners by address, as they were told last.
    known: BTreeMap<IpAddr, NodeName>,
}

struct Claiming {
    segments: Segments,
    ownership: watch::Receiver<Arc<Ownership>>,
    wish: Wish,
}

impl Owners {
    /// Starts to claim, where there is a secret to claim by and it is not switched off.
    pub(super) fn start(settings: &Settings, own: &NodeName, secret: Option<&[u8]>, l2: &L2) -> anyhow::Result<Self> {
        let claiming = match (secret, settings.failover.timing()) {
            (Some(secret), Some(timing)) => {
                let saved = saved::load(&settings.state_dir).unwrap_or_else(|error| {
                    tracing::warn!(event = "claims", %error, "saved claims cannot be read; the other hosts are asked");
                    segment::Claims::new()
                });
                let config =
                    segment::Config { own: own.clone(), secret: secret.to_vec(), timing, port: settings.port, saved };
                let segments = Segments::start(config, l2.orderer()).context("the thread that watches the LAN")?;
                tokio::spawn(saved::keep(settings.state_dir.clone(), segments.ownership()));
                let ownership = segments.ownership();
                Some(Claiming { segments, ownership, wish: Wish::default() })
            }
            _ => None,
        };
        Ok(Self { own: own.clone(), claiming, known: BTreeMap::new() })
    }

    /// What shares the socket of membership.
    pub(super) fn port(&self) -> Option<Port> {
        self.claiming.as_ref().map(|claiming| claiming.segments.port())
    }

    /// Returns when something changed; never where nobody claims.
    pub(super) async fn changed(&mut self) {
        if let Some(claiming) = &mut self.claiming
            && claiming.ownership.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Whose each address is; `None` where there is an election. Only hosts with these names are known.
    pub(super) fn known<'a>(&mut self, hosts: impl Iterator<Item = &'a str>) -> Option<BTreeMap<IpAddr, NodeName>> {
        let claiming = self.claiming.as_mut()?;
        let names = hosts.map(NodeName::new).chain([self.own.clone()]);
        let names: BTreeMap<NodeId, NodeName> = names.map(|name| (NodeId::of(name.as_str()), name)).collect();
        let ownership = claiming.ownership.borrow_and_update().clone();
        let own = NodeId::of(self.own.as_str());
        let owner = |claims: &BTreeMap<String, NodeId>| {
            // On several LANs an address may have several owners; where we are one, that is what concerns us.
            let mut owners = claims.values();
            let first = if owners.any(|owner| *owner == own) { Some(&own) } else { claims.values().next() };
            first.and_then(|owner| names.get(owner)).cloned()
        };
        self.known = ownership.owners.iter().filter_map(|(address, claims)| Some((*address, owner(claims)?))).collect();
        Some(self.known.clone())
    }

    /// Whose an address is, as told last.
    pub(super) fn of(&self, address: &IpAddr) -> Option<&NodeName> {
        self.known.get(address)
    }

    /// Brings claims in line with the plan. Returns whether claims decide what is answered.
    pub(super) fn follow(
        &mut self,
        plan: &Plan,
        settled: bool,
        nodes: BTreeMap<NodeName, IpAddr>,
        wire: &Wire,
    ) -> bool {
        let Some(claiming) = &mut self.claiming else { return false };
        let candidacy = |one: &ferrolb_rules::plan::Candidates| Candidacy {
            nodes: one.nodes.clone(),
            interfaces: one.interfaces.clone(),
        };
        // While it is still listened for the others, nothing is known of who may announce what.
        let candidates = settled
            .then(|| plan.candidates.iter().map(|(address, one)| (*address, candidacy(one))).collect())
            .or_else(|| claiming.wish.candidates.clone());
        let links = wire.interfaces.iter().map(|one| Link { name: one.name.clone(), mac: one.mac }).collect();
        let wish = Wish { candidates, nodes, links };
        if wish != claiming.wish {
            claiming.segments.set(wish.clone());
            claiming.wish = wish;
        }
        true
    }

    /// Says goodbye: that this host comes back, or that it goes.
    pub(super) async fn end(self, comes_back: bool) {
        match self.claiming {
            Some(claiming) if comes_back => claiming.segments.restart().await,
            Some(claiming) => claiming.segments.leave().await,
            None => {}
        }
    }
}
