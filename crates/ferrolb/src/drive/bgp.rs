//! BGP sessions over TCP: a task for each router, so that a slow one stalls no other.
//!
//! ```text
//! wanted: configuration, routes ──watch──► peer (one loop, one session) ──watch──► what the router was really told
//! BFD's thread: state of the way ──watch────┤
//! link: who is at the other end ────watch────┘ (unnumbered sessions)
//! ```
//!
//! State travels whole in both directions. What a session does is decided in `ferrolb-proto`; here are sockets and time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_proto::bgp::Routes;
use ferrolb_proto::bgp::session::report::{Counters, Unannounced};
use ferrolb_proto::bgp::session::{Config, State, Transport};
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bfd;

mod link;
mod next_hops;
mod peer;

/// How long a router has to find other ways before a session ends that takes its routes with it (RFC 8326).
pub(super) const PARTING: Duration = Duration::from_secs(1);
/// How long all sessions together get to end.
const GOODBYE: Duration = Duration::from_secs(3);

/// What is wanted of a session.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How it is configured.
    pub config: Config,
    /// Everything that the router is to be told.
    pub routes: Arc<Routes>,
    /// What BFD sees of the way to it, where it watches.
    pub bfd: Option<watch::Receiver<bfd::Seen>>,
}

impl Wanted {
    fn is_same(&self, other: &Self) -> bool {
        self.is_watched_as(other) && self.config == other.config && self.routes == other.routes
    }

    fn is_watched_as(&self, other: &Self) -> bool {
        match (&self.bfd, &other.bfd) {
            (Some(one), Some(two)) => one.same_channel(two),
            (one, two) => one.is_none() && two.is_none(),
        }
    }
}

/// What is so.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Where the session stands.
    pub state: State,
    /// Why it, or the last try, ended.
    pub last_down: Option<String>,
    /// The prefixes that the router has been told in the session that is.
    pub told: Arc<BTreeSet<IpNet>>,
    /// What it cannot be told in this session.
    pub unannounced: Vec<Unannounced>,
    /// Sessions established so far.
    pub established: u64,
    /// The router's address, where it is known.
    pub remote: Option<IpAddr>,
    /// What BFD sees of the way to it, where it watches.
    pub way: Option<bfd::Seen>,
}

/// How a session is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Run,
    /// The router is to forget us: it is not configured any more.
    Stop,
    /// The same, after a farewell.
    Forsake,
    /// The router is to keep our routes, where it agreed to.
    Leave,
    /// The router is to find other ways, and then to forget us, for this reason.
    Drain(&'static str),
}

#[derive(Clone, Debug)]
struct Order {
    wanted: Wanted,
    goal: Goal,
}

struct Running {
    order: watch::Sender<Order>,
    seen: watch::Receiver<Seen>,
    counters: watch::Receiver<Counters>,
    task: JoinHandle<()>,
}

/// Where a session says what is so, and what it has counted: apart, because counting wakes nobody who decides.
struct Telling {
    seen: watch::Sender<Seen>,
    changed: Arc<tokio::sync::Notify>,
    counters: watch::Sender<Counters>,
    counted: Arc<tokio::sync::Notify>,
}

/// All sessions of this node, by the name of the peer.
#[derive(Default)]
pub struct Bgp {
    running: BTreeMap<String, Running>,
    changed: Arc<tokio::sync::Notify>,
    counted: Arc<tokio::sync::Notify>,
}

impl Bgp {
    /// Brings sessions in line: new ones begin, those no longer wanted end, the others are told what changed.
    pub fn set(&mut self, wanted: BTreeMap<String, Wanted>) {
        let gone: Vec<String> = self.running.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for running in gone.iter().filter_map(|name| self.running.remove(name)) {
            let place = |transport: &Transport| (transport.remote, transport.device.clone());
            let remote = place(&running.order.borrow().wanted.config.transport);
            // A router has one session with an address: who only has another name must not wait for the farewell.
            let renamed = wanted.values().any(|one| place(&one.config.transport) == remote);
            running.order.send_modify(|order| order.goal = if renamed { Goal::Stop } else { Goal::Forsake });
        }
        for (name, wanted) in wanted {
            match self.running.get(&name) {
                Some(running) => {
                    running.order.send_if_modified(|order| {
                        let same = order.wanted.is_same(&wanted);
                        order.wanted = wanted;
                        !same
                    });
                }
                None => {
                    let running = self.start(name.clone(), wanted);
                    self.running.insert(name, running);
                }
            }
        }
    }

    fn start(&self, name: String, wanted: Wanted) -> Running {
        let (order, orders) = watch::channel(Order { wanted, goal: Goal::Run });
        let nothing = Seen {
            state: State::Idle,
            last_down: None,
            told: Arc::default(),
            unannounced: Vec::new(),
            established: 0,
            remote: None,
            way: None,
        };
        let (tell, seen) = watch::channel(nothing);
        let (count, counters) = watch::channel(Counters::default());
        let task = tokio::spawn(peer::run(
            name,
            orders,
            Telling { seen: tell, changed: self.changed.clone(), counters: count, counted: self.counted.clone() },
        ));
        Running { order, seen, counters, task }
    }

    /// What is so, per peer.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        self.running.iter().map(|(name, running)| (name.clone(), running.seen.borrow().clone())).collect()
    }

    /// Returns when something is different.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What each session has counted since it began to run, and how many prefixes its router is to be told.
    pub fn counters(&self) -> BTreeMap<String, (Counters, usize)> {
        let of = |running: &Running| (*running.counters.borrow(), running.order.borrow().wanted.routes.len());
        self.running.iter().map(|(name, running)| (name.clone(), of(running))).collect()
    }

    /// Returns when something was counted.
    pub async fn counted(&self) {
        self.counted.notified().await;
    }

    /// Ends every session: for a restart, over which routers keep our routes where they agreed to; or, where there is a
    /// reason to think that nobody comes back, so that they have gone over to others before (decision D18).
    pub async fn leave(self, departure: Option<&'static str>) {
        let goal = departure.map_or(Goal::Leave, Goal::Drain);
        for running in self.running.values() {
            running.order.send_modify(|order| order.goal = goal);
        }
        let until = tokio::time::Instant::now() + GOODBYE;
        for running in self.running.into_values() {
            let _ = tokio::time::timeout_at(until, running.task).await;
        }
    }
}
