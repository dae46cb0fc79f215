//! Answers ARP and neighbour solicitations, announces addresses, and follows the interfaces.
//!
//! ```text
//! plan ── Wanted ──►┌───────────┐── frames ──► interfaces
//!                   │ one thread│◄─ frames ─── (filtered by the kernel)
//! status ◄─ Wire ───└───────────┘◄─ changes ── netlink
//! ```
//!
//! One thread of its own, one epoll: a busy runtime elsewhere must not make a neighbour wait. State travels whole in
//! both directions. If the thread panics, the process ends: half a speaker is worse than none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use clap::ValueEnum;
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::reason::{Code, Finding, Severity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::metrics::Layer2Frames;
use crate::state::InterfaceState;

mod counts;
pub mod links;
mod pings;
mod responder;
mod run;
mod strangers;

/// What to announce: per address the interfaces, `None` meaning all.
pub type Wanted = BTreeMap<IpAddr, Option<BTreeSet<String>>>;

/// What to answer for on one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// In our own name: announced as well.
    pub own: BTreeSet<IpAddr>,
    /// Those of `own` that none of us is known to have announced before: first it is asked whether a stranger has them.
    pub unchecked: BTreeSet<IpAddr>,
    /// Addresses that will be `own` in a moment, most likely: it is asked already, and nothing is answered yet.
    pub prospects: BTreeSet<IpAddr>,
    /// The MAC addresses of the other nodes on this LAN: they are no strangers.
    pub nodes: BTreeSet<MacAddr>,
    /// In the name of others, with their MAC addresses: answered when asked, and never announced.
    pub stand_ins: BTreeMap<IpAddr, MacAddr>,
}

/// The same for every interface, by the kernel's number for it: a change of its name is no reason to be silent.
pub type AnswersByInterface = BTreeMap<u32, Answers>;

/// On which interfaces every frame is heard, whomever it is for (decision D5). Drivers for Wi-Fi lose broadcasts now and
/// then unless somebody asks for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Promiscuous {
    /// On Wi-Fi.
    #[default]
    Wireless,
    /// On every one that is announced on.
    Always,
    /// On none.
    Never,
}

/// Which interfaces are used, and how.
#[derive(Clone, Debug, Default)]
pub struct Use {
    /// Which.
    pub choice: links::Choice,
    /// Where everything is heard.
    pub promiscuous: Promiscuous,
    /// Pings are answered for what is announced.
    pub answer_ping: bool,
}

impl From<Option<BTreeSet<String>>> for Use {
    /// The interfaces that were named, or all that fit.
    fn from(names: Option<BTreeSet<String>>) -> Self {
        Self { choice: names.into(), ..Self::default() }
    }
}

/// Somebody on the LAN who says that an address of ours is its own: nobody of us, or a node that was not told to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stranger {
    /// Where it was seen.
    pub interface: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// It had the address first, so we do not announce it.
    pub blocks: bool,
    /// It is a node of ours, whose kernel answers by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_node: bool,
}

impl Stranger {
    /// What it is called that there is one.
    pub const fn code(&self) -> Code {
        match (self.is_node, self.blocks) {
            (true, _) => Code::NodeAnswersUnasked,
            (false, true) => Code::AddressInUse,
            (false, false) => Code::ForeignClaim,
        }
    }

    /// What it does with an address, and who it is; `node` is who saw it.
    pub fn words(&self, address: IpAddr, node: &str) -> String {
        let Self { interface, mac, .. } = self;
        let (what, who) = match self.code() {
            Code::NodeAnswersUnasked => ("is announced, and answered by", "a node that was not told to"),
            Code::AddressInUse => ("is answered by", "which is no node of ours"),
            _ => ("is announced, and claimed by", "which is no node of ours"),
        };
        format!("{address} {what} {mac}, {who} (seen by {node} on {interface})")
    }
}

/// Interfaces with the MAC address that is told there, in order of name. Thousands of addresses share a few of these.
pub type AnsweredOn = Arc<[(String, MacAddr)]>;

/// What is really on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wire {
    /// The interfaces that can announce, in order of name.
    pub interfaces: Vec<InterfaceState>,
    /// Per address, where it is answered: interface and MAC address. Interfaces without carrier are left out.
    pub announced: BTreeMap<IpAddr, AnsweredOn>,
    /// Per address that is answered for in another's name, the interface and the MAC address that is told.
    pub stand_ins: BTreeMap<IpAddr, Vec<(String, MacAddr)>>,
    /// Strangers, by the address of ours that they use.
    pub strangers: BTreeMap<IpAddr, Vec<Stranger>>,
    /// The other interfaces that there are, but for `lo`, and why they are not used.
    pub unfit: BTreeMap<String, links::Unfit>,
    /// Interfaces that ought to answer and cannot, and why.
    pub failures: BTreeMap<String, String>,
}

/// Frames per address since they were told last.
pub type Frames = BTreeMap<IpAddr, Layer2Frames>;

/// The running responder. Dropping it stops it: nothing is answered any more.
#[derive(Debug)]
pub struct L2 {
    shared: Arc<Shared>,
    wire: watch::Receiver<Arc<Wire>>,
    frames: Option<mpsc::UnboundedReceiver<Frames>>,
    thread: Option<thread::JoinHandle<()>>,
    /// What else pings are answered for; none: for nothing.
    routed: Option<BTreeSet<IpAddr>>,
}

/// What goes to the thread: the newest wish, and a bell.
#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    bell: EventFd,
}

#[derive(Debug, Default)]
struct Orders {
    wanted: Option<Wanted>,
    answers: Option<AnswersByInterface>,
    /// Announced by other means than here, and to be answered for where it is pinged.
    routed: Option<BTreeSet<IpAddr>>,
    /// To be announced once more, by interface.
    tell: Vec<(u32, IpAddr)>,
    stop: bool,
}

impl Shared {
    fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        // The counter of an eventfd is full only after 2^64 rings that nobody heard.
        let _ = self.bell.write(1);
    }

    fn take(&self) -> Orders {
        let _ = self.bell.read();
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let stop = orders.stop;
        Orders { stop, ..std::mem::take(&mut *orders) }
    }
}

/// Gives orders to the thread from elsewhere. It does not keep the thread running.
#[derive(Clone, Debug)]
pub struct Orderer(Arc<Shared>);

impl Orderer {
    /// Answers for exactly this from now on, whatever [`L2::announce`] says.
    pub fn answer(&self, answers: AnswersByInterface) {
        self.0.order(|orders| orders.answers = Some(answers));
    }

    /// Announces addresses anew, where they are answered for, by interface.
    pub fn tell(&self, again: impl IntoIterator<Item = (u32, IpAddr)>) {
        self.0.order(|orders| orders.tell.extend(again));
    }
}

/// Why there is no answering on the network, as the error that ends a start.
pub fn refused(error: &io::Error) -> anyhow::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return anyhow::anyhow!("answering on the network cannot begin: {error}");
    }
    let finding = Finding::new(Code::PrivilegeMissing, Severity::Error, "CAP_NET_RAW", error.to_string());
    anyhow::anyhow!("{finding}")
}

impl L2 {
    /// Starts the thread, to answer on these interfaces.
    ///
    /// # Errors
    /// The process may not open packet sockets, or the kernel gives no netlink socket.
    pub fn start(how: impl Into<Use>) -> io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let shared = Arc::new(Shared { orders: Mutex::default(), bell });
        let (sender, wire) = watch::channel(Arc::new(Wire::default()));
        let (told, frames) = mpsc::unbounded_channel();
        let how = how.into();
        let routed = how.answer_ping.then(BTreeSet::new);
        let mut run = run::Run::new(shared.clone(), sender, told, how)?;
        let thread = thread::Builder::new().name("l2".to_owned()).spawn(move || {
            let _guard = EndProcess;
            run.run();
        })?;
        Ok(Self { shared, wire, frames: Some(frames), thread: Some(thread), routed })
    }

    /// Announces exactly these addresses from now on.
    pub fn announce(&self, wanted: Wanted) {
        self.shared.order(|orders| orders.wanted = Some(wanted));
    }

    /// Answers pings for these addresses too, on every interface: routers send here what is for them.
    pub fn answer_pings_for(&mut self, routed: impl IntoIterator<Item = IpAddr>) {
        let Some(known) = &mut self.routed else { return };
        let routed = routed.into_iter().collect();
        if *known != routed {
            known.clone_from(&routed);
            self.shared.order(|orders| orders.routed = Some(routed));
        }
    }

    /// For somebody else to give orders by.
    pub fn orderer(&self) -> Orderer {
        Orderer(self.shared.clone())
    }

    /// What is on the wire.
    pub fn wire(&self) -> watch::Receiver<Arc<Wire>> {
        self.wire.clone()
    }

    /// Frames received and sent, told at most once a second and only where there were any. There is one receiver; when
    /// it is dropped, nothing is counted any more.
    pub fn frames(&mut self) -> Option<mpsc::UnboundedReceiver<Frames>> {
        self.frames.take()
    }
}

impl Drop for L2 {
    fn drop(&mut self) {
        self.shared.order(|orders| orders.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends the process if the thread that holds it panics.
pub(super) struct EndProcess;

impl Drop for EndProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::exit(101);
        }
    }
}
