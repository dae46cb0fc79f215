//! BGP sessions over TCP: a task for each router, so that a slow one stalls no other.
//!
//! ```text
//! wanted: configuration, routes ──watch──► peer (one loop, one session) ──watch──► what the router was really told
//! BFD's thread: state of the way ──watch────┘
//! ```
//!
//! State travels whole in both directions. What a session does is decided in `ferrolb-proto`; here are sockets and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ferrolb_proto::bgp::Routes;
use ferrolb_proto::bgp::session::report::Unannounced;
use ferrolb_proto::bgp::session::{Config, State};
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bfd;

mod next_hops;
mod peer;

/// How long sessions get to end.
const GOODBYE: Duration = Duration::from_secs(2);

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
}

/// How a session is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Run,
    /// The router is to forget us.
    Stop,
    /// The router is to keep our routes, where it agreed to.
    Leave,
}

#[derive(Clone, Debug)]
struct Order {
    wanted: Wanted,
    goal: Goal,
}

struct Running {
    order: watch::Sender<Order>,
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

/// All sessions of this node, by the name of the peer.
#[derive(Default)]
pub struct Bgp {
    running: BTreeMap<String, Running>,
    changed: Arc<tokio::sync::Notify>,
}

impl Bgp {
    /// Brings sessions in line: new ones begin, those no longer wanted end, the others are told what changed.
    pub fn set(&mut self, wanted: BTreeMap<String, Wanted>) {
        let gone: Vec<String> = self.running.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for running in gone.iter().filter_map(|name| self.running.remove(name)) {
            running.order.send_modify(|order| order.goal = Goal::Stop);
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
        let nothing =
            Seen { state: State::Idle, last_down: None, told: Arc::default(), unannounced: Vec::new(), established: 0 };
        let (tell, seen) = watch::channel(nothing);
        let task = tokio::spawn(peer::run(name, orders, tell, self.changed.clone()));
        Running { order, seen, task }
    }

    /// What is so, per peer.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        self.running.iter().map(|(name, running)| (name.clone(), running.seen.borrow().clone())).collect()
    }

    /// Returns when something is different.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends every session so that routers keep our routes over a restart, where they agreed to (decision D18).
    pub async fn leave(self) {
        for running in self.running.values() {
            running.order.send_modify(|order| order.goal = Goal::Leave);
        }
        for running in self.running.into_values() {
            let _ = tokio::time::timeout(GOODBYE, running.task).await;
        }
    }
}
