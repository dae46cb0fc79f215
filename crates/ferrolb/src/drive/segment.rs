//! Drives the ownership protocol ([`ferrolb_proto::segment`], `docs/l2-failover.md`) on real interfaces.
//!
//! ```text
//! plan, nodes, links ── Wish ──►┌───────────┐◄─► LAN frames, UDP datagrams, echo and ARP of other kernels
//!                               │ one thread│
//! status, saved ◄── Ownership ──└───────────┘── what to answer, what to announce ──► [`crate::drive::l2`]
//! ```
//!
//! One thread for all interfaces, with real-time priority where the kernel grants it, and one machine per interface: what
//! hears each other's frames is one segment. UDP reaches a node, not an interface, so only the machine of the interface
//! that has the node's address uses it. The socket of membership is shared: [`Port`] hands over what is ours.
//!
//! The clock is `CLOCK_BOOTTIME`: it runs on while the machine sleeps, so that who wakes up knows that it slept.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::segment::{Claim, NodeId, Timing};
use ferrolb_rules::names::NodeName;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::watch;

use super::l2::Orderer;

mod clock;
pub mod figures;
mod kernel;
mod machine;
mod run;
pub mod saved;

use figures::Figures;

/// Datagrams that wait for the thread at most; what comes more is lost, as in any socket.
const QUEUE: usize = 1024;
/// How long a goodbye may take: longer than the machine needs to hand everything over.
const GOODBYE: Duration = Duration::from_millis(2500);

/// Claims per interface: to be saved, and given to the next life.
pub type Claims = BTreeMap<String, BTreeMap<IpAddr, Claim>>;

/// What a node is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub own: NodeName,
    /// The shared secret.
    pub secret: Vec<u8>,
    /// How fast.
    pub timing: Timing,
    /// The UDP port of all nodes.
    pub port: u16,
    /// Whatever answers for a node's own address is one of us, even if it does not hold the secret: in a cluster that is
    /// another load balancer on our way in or out, and what it announces reaches the cluster all the same. Between
    /// hosts without Kubernetes it is a host with another secret, which knows nothing of us.
    pub nodes_by_address: bool,
    /// What was saved in the last life.
    pub saved: Claims,
}

/// Who may answer for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidacy {
    /// The nodes, best first.
    pub nodes: Arc<[NodeName]>,
    /// On these of our own interfaces only; `None` means on all.
    pub interfaces: Option<BTreeSet<String>>,
}

/// An interface that can announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// It has a carrier.
    pub carrier: bool,
}

/// What the thread is to know; always whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Who may answer for what. `None`: not known yet; nothing is answered then, and nothing is given up either.
    pub candidates: Option<BTreeMap<IpAddr, Candidacy>>,
    /// The nodes, this one included, and their addresses.
    pub nodes: BTreeMap<NodeName, IpAddr>,
    /// Those of them whose speakers run, by what membership says: who starts and knows nothing waits for their answers.
    pub alive: BTreeSet<NodeName>,
    /// This node's interfaces.
    pub links: Vec<Link>,
    /// Addresses can be handed to this node.
    pub serves: bool,
}

/// What has been found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ownership {
    /// What there was to know at the start is known, on every interface.
    pub learned: bool,
    /// What is this node's, and was another's that had failed.
    pub taken: BTreeMap<IpAddr, Taken>,
    /// Every claim known, by the interface that it is heard on.
    pub claims: Claims,
}

impl Ownership {
    /// Whose an address is on an interface.
    pub fn owner(&self, interface: &str, address: IpAddr) -> Option<NodeId> {
        self.claims.get(interface)?.get(&address).map(|claim| claim.owner)
    }
}

/// A failover, as the node that took over has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whose it was.
    pub from: NodeId,
    /// How long that node had not been heard when its address was answered for again.
    pub unheard: Duration,
    /// Which failover of this process it was: they are counted.
    pub number: u64,
}

/// What goes to the thread.
#[derive(Debug, Default)]
struct Orders {
    wish: Option<Wish>,
    datagrams: Vec<Vec<u8>>,
    /// Newer secrets, in their order.
    secrets: Vec<Vec<u8>>,
    /// The socket to send datagrams by, where there is a new one.
    socket: Option<Option<Arc<UdpSocket>>>,
    end: Option<End>,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At once.
    Now,
    /// The program stops and may come back: others stand in.
    Restart,
    /// The node goes: everything is handed over.
    Leave,
}

#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    bell: EventFd,
}

impl Shared {
    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        // The counter of an eventfd is full only after 2^64 rings that nobody heard.
        let _ = self.bell.write(1);
    }

    fn take(&self) -> Orders {
        let _ = self.bell.read();
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The way from and to the socket of membership.
#[derive(Clone, Debug)]
pub struct Port(Arc<Shared>);

impl Port {
    /// Whether a datagram is one of ours.
    pub fn is_ours(bytes: &[u8]) -> bool {
        bytes.first() == Some(&(ferrolb_proto::seal::Purpose::Segment as u8))
    }

    /// Hands over a datagram.
    pub fn deliver(&self, bytes: &[u8]) {
        self.0.order(|orders| {
            if orders.datagrams.len() < QUEUE {
                orders.datagrams.push(bytes.to_vec());
            }
        });
    }

    /// Sends by this socket from now on; by none where there is none.
    pub fn set_socket(&self, socket: Option<Arc<UdpSocket>>) {
        self.0.order(|orders| orders.socket = Some(socket));
    }
}

/// The running thread. Dropping it ends it at once, without a goodbye.
#[derive(Debug)]
pub struct Segments {
    shared: Arc<Shared>,
    ownership: watch::Receiver<Arc<Ownership>>,
    figures: Arc<Figures>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Segments {
    /// Starts the thread; from now on it alone says what is answered.
    ///
    /// # Errors
    /// The secret is empty, or the kernel gives no socket or no thread.
    pub fn start(config: Config, answers: Orderer) -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let shared = Arc::new(Shared { orders: Mutex::default(), bell });
        let (sender, ownership) = watch::channel(Arc::default());
        let figures = Arc::<Figures>::default();
        let mut run = run::Run::new(config, shared.clone(), (sender, figures.clone()), answers)?;
        let thread = thread::Builder::new().name("segment".to_owned()).spawn(move || {
            let _guard = super::l2::EndProcess;
            run.run();
        })?;
        Ok(Self { shared, ownership, figures, thread: Some(thread) })
    }

    /// What it is to know from now on.
    pub fn set(&self, wish: Wish) {
        self.shared.order(|orders| orders.wish = Some(wish));
    }

    /// There is a newer secret; the one before is used beside it for a while.
    pub fn rotate(&self, secret: Vec<u8>) {
        self.shared.order(|orders| orders.secrets.push(secret));
    }

    /// What has been found out.
    pub fn ownership(&self) -> watch::Receiver<Arc<Ownership>> {
        self.ownership.clone()
    }

    /// What is counted.
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }

    /// The way from and to the socket of membership.
    pub fn port(&self) -> Port {
        Port(self.shared.clone())
    }

    /// The program is about to stop and may come back: the others are told, and stand in. Returns when that is done.
    pub async fn restart(self) {
        self.goodbye(End::Restart).await;
    }

    /// The node is about to stop: everything is handed over first.
    pub async fn leave(self) {
        self.goodbye(End::Leave).await;
    }

    async fn goodbye(mut self, end: End) {
        self.shared.order(|orders| orders.end = Some(end));
        if let Some(thread) = self.thread.take() {
            let joined = tokio::task::spawn_blocking(move || thread.join());
            let _ = tokio::time::timeout(GOODBYE, joined).await;
        }
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.shared.order(|orders| orders.end = Some(End::Now));
            let _ = thread.join();
        }
    }
}
