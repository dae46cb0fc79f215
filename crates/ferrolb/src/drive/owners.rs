//! Which node answers for an address: claimed by the nodes themselves on the LAN (`docs/l2-failover.md`), or, where that
//! is switched off or there is no secret to claim by, elected by everybody alike. The speaker's and standalone mode's
//! common view of [`super::segment`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use clap::ValueEnum;
use ferrolb_proto::segment::{NodeId, Timing};
use ferrolb_rules::names::NodeName;
use ferrolb_rules::plan::Candidates;
use tokio::sync::watch;

use super::l2::{Orderer, Wire};
use super::segment::figures::Figures;
use super::segment::{self, Candidacy, Link, Ownership, Port, Segments, Taken, Wish, saved};

/// How addresses find another node when theirs fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Failover {
    /// Nodes watch one another every 70 ms and claim addresses: a dead one is replaced within 350 ms.
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

/// How to claim.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub own: NodeName,
    /// How fast.
    pub failover: Failover,
    /// See [`segment::Config::nodes_by_address`].
    pub nodes_by_address: bool,
    /// The UDP port of all nodes.
    pub port: u16,
    /// Where claims are kept over a restart; none: nowhere, and the others are asked.
    pub state_dir: Option<PathBuf>,
    /// Who answers.
    pub answers: Orderer,
    /// Whether this node can serve what it is handed.
    pub serves: watch::Receiver<bool>,
}

/// Claims, where nodes claim.
#[derive(Debug)]
pub struct Owners {
    own: NodeName,
    claiming: Option<Claiming>,
    /// Owners by address, as they were told last.
    known: BTreeMap<IpAddr, NodeName>,
}

#[derive(Debug)]
struct Claiming {
    segments: Segments,
    ownership: watch::Receiver<Arc<Ownership>>,
    serves: watch::Receiver<bool>,
    wish: Wish,
    /// What decisions rest on.
    view: Seen,
}

/// What was known when it was asked for last. It goes on to change by itself, so what follows from it is told of the same
/// state: of a failover later than the decision, nothing could say which Services it concerns.
#[derive(Debug, Default)]
struct Seen {
    ownership: Arc<Ownership>,
    /// The nodes by their number.
    names: BTreeMap<NodeId, NodeName>,
    /// The last failover that was told.
    told: u64,
}

impl Seen {
    /// Whose each address is.
    fn owners(&self, own: NodeId) -> BTreeMap<IpAddr, NodeName> {
        let mut owners = BTreeMap::new();
        for (address, claim) in self.ownership.claims.values().flatten() {
            // On several LANs an address may have several owners; where we are one, that is what concerns us.
            let owner = owners.entry(*address).or_insert(claim.owner);
            if claim.owner == own {
                *owner = own;
            }
        }
        let named = |(address, owner)| Some((address, self.names.get(&owner)?.clone()));
        owners.into_iter().filter_map(named).collect()
    }

    fn takeovers(&mut self) -> Vec<Takeover> {
        let new = self.ownership.taken.iter().filter(|(_, taken)| taken.number > self.told);
        let name =
            |node: NodeId| self.names.get(&node).cloned().unwrap_or_else(|| NodeName::new(format!("{:016x}", node.0)));
        let takeover = |(address, taken): (&IpAddr, &Taken)| Takeover {
            address: *address,
            from: name(taken.from),
            unheard: taken.unheard,
        };
        let takeovers = new.map(takeover).collect();
        self.told = self.ownership.taken.values().map(|taken| taken.number).fold(self.told, u64::max);
        takeovers
    }
}

/// This node has taken an address over from one that had failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// The address.
    pub address: IpAddr,
    /// Whose it was.
    pub from: NodeName,
    /// How long that node had not been heard when its address was answered for again.
    pub unheard: Duration,
}

impl fmt::Display for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, from, unheard } = self;
        let unheard = unheard.as_millis();
        write!(f, "{address} taken over from {from}, which had not been heard for {unheard} ms; the LAN was told")
    }
}

impl Owners {
    /// Nobody claims.
    pub const fn elected(own: NodeName) -> Self {
        Self { own, claiming: None, known: BTreeMap::new() }
    }

    /// Starts to claim, unless it is switched off. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// The secret is empty, or the kernel gives no socket or no thread.
    pub fn start(config: Config, secret: &[u8]) -> io::Result<Self> {
        let own = config.own.clone();
        let Some(timing) = config.failover.timing() else { return Ok(Self::elected(own)) };
        let saved = config.state_dir.as_deref().map_or_else(|| Ok(segment::Claims::new()), saved::load);
        let saved = saved.unwrap_or_else(|error| {
            tracing::warn!(event = "claims", %error, "saved claims cannot be read; the other nodes are asked");
            segment::Claims::new()
        });
        let segment = segment::Config {
            own: config.own,
            secret: secret.to_vec(),
            timing,
            port: config.port,
            nodes_by_address: config.nodes_by_address,
            saved,
        };
        let segments = Segments::start(segment, config.answers)?;
        if let Some(directory) = config.state_dir {
            tokio::spawn(saved::keep(directory, segments.ownership()));
        }
        let ownership = segments.ownership();
        let (serves, wish) = (config.serves, Wish::default());
        let claiming = Some(Claiming { segments, ownership, serves, wish, view: Seen::default() });
        Ok(Self { own, claiming, known: BTreeMap::new() })
    }

    /// What shares the socket of membership.
    pub fn port(&self) -> Option<Port> {
        self.claiming.as_ref().map(|claiming| claiming.segments.port())
    }

    /// There is a newer secret; the one before is used beside it for a while.
    pub fn rotate(&self, secret: &[u8]) {
        if let Some(claiming) = &self.claiming {
            claiming.segments.rotate(secret.to_vec());
        }
    }

    /// What is counted, where nodes claim.
    pub fn figures(&self) -> Option<Arc<Figures>> {
        self.claiming.as_ref().map(|claiming| claiming.segments.figures())
    }

    /// Returns when something changed; never where nobody claims.
    pub async fn changed(&mut self) {
        let Some(claiming) = &mut self.claiming else { return std::future::pending().await };
        tokio::select! {
            Ok(()) = claiming.ownership.changed() => {}
            Ok(()) = claiming.serves.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// Whose each address is; `None` where there is an election. Only nodes with these names are known.
    pub fn known<'a>(&mut self, hosts: impl Iterator<Item = &'a str>) -> Option<BTreeMap<IpAddr, NodeName>> {
        let claiming = self.claiming.as_mut()?;
        let names = hosts.map(NodeName::new).chain([self.own.clone()]);
        let names: BTreeMap<NodeId, NodeName> = names.map(|name| (NodeId::of(name.as_str()), name)).collect();
        claiming.view.ownership = claiming.ownership.borrow_and_update().clone();
        claiming.view.names = names;
        self.known = claiming.view.owners(NodeId::of(self.own.as_str()));
        Some(self.known.clone())
    }

    /// The failovers to this node that [`known`](Self::known) knew of and that were not told before.
    pub fn takeovers(&mut self) -> Vec<Takeover> {
        self.claiming.as_mut().map_or_else(Vec::new, |claiming| claiming.view.takeovers())
    }

    /// Whose an address is, as told last.
    pub fn of(&self, address: &IpAddr) -> Option<&NodeName> {
        self.known.get(address)
    }

    /// Brings claims in line with who may announce what; `None`: that is not known yet, and what was known before counts.
    /// Returns whether claims decide what is answered.
    pub fn follow(
        &mut self,
        candidates: Option<&BTreeMap<IpAddr, Candidates>>,
        (nodes, alive): (BTreeMap<NodeName, IpAddr>, BTreeSet<NodeName>),
        wire: &Wire,
    ) -> bool {
        let Some(claiming) = &mut self.claiming else { return false };
        let candidacy = |one: &Candidates| Candidacy { nodes: one.nodes.clone(), interfaces: one.interfaces.clone() };
        let candidates = candidates
            .map(|all| all.iter().map(|(address, one)| (*address, candidacy(one))).collect())
            .or_else(|| claiming.wish.candidates.clone());
        let links = wire
            .interfaces
            .iter()
            .map(|one| Link { name: one.name.clone(), mac: one.mac, carrier: one.carrier })
            .collect();
        let serves = *claiming.serves.borrow_and_update();
        let wish = Wish { candidates, nodes, alive, links, serves };
        if wish != claiming.wish {
            claiming.segments.set(wish.clone());
            claiming.wish = wish;
        }
        true
    }

    /// Says goodbye: that this node comes back, or that it goes.
    pub async fn end(self, comes_back: bool) {
        match self.claiming {
            Some(claiming) if comes_back => claiming.segments.restart().await,
            Some(claiming) => claiming.segments.leave().await,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrolb_proto::ethernet::MacAddr;
    use ferrolb_proto::segment::Claim;

    use super::*;

    #[test]
    fn a_failover_is_told_once_with_the_state_that_the_decision_rests_on() {
        let (own, other) = (NodeName::new("a"), NodeName::new("b"));
        let id = |name: &NodeName| NodeId::of(name.as_str());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let taken = Taken { from: id(&other), unheard: Duration::from_millis(250), number: 1 };
        let held = |owner: &NodeName| {
            let claim = Claim { owner: id(owner), mac: MacAddr([2; 6]), epoch: 1, firm: true };
            Ownership { claims: [("eth0".to_owned(), [(address, claim)].into())].into(), ..Ownership::default() }
        };
        let before = held(&other);
        let after = Ownership { taken: [(address, taken)].into(), ..held(&own) };
        let names = [&own, &other].map(|name| (id(name), name.clone())).into();
        let mut seen = Seen { ownership: Arc::new(before), names, told: 0 };
        assert_eq!(seen.owners(id(&own)), BTreeMap::from([(address, other.clone())]));
        // It has just happened, and a decision that knows of it is yet to come.
        assert_eq!(seen.takeovers(), []);
        seen.ownership = Arc::new(after);
        assert_eq!(seen.owners(id(&own)), BTreeMap::from([(address, own)]));
        assert_eq!(seen.takeovers(), [Takeover { address, from: other, unheard: taken.unheard }]);
        assert_eq!(seen.takeovers(), []);
    }
}
