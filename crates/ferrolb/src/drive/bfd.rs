//! BFD sessions over UDP ([`ferrolb_proto::bfd`]): whether the way to each router is alive.
//!
//! ```text
//! ways to watch ──►┌───────────┐◄─► ports 3784 and 4784, a source port for each session
//!                  │ one thread│
//! its BGP session ◄└───────────┘──► status, metrics
//! ```
//!
//! One thread for all sessions, with real-time priority where the kernel grants it: nothing else that the program does,
//! and no other program, makes a router look dead. It writes no log, because whoever reads logs can be slow; what it has
//! found out it hands over, and whoever takes it says it. What is in the sockets is read before anything is declared
//! over, so its own lateness makes nobody look dead either; how late it was is counted ([`Lateness`]).
//!
//! A packet belongs to the session whose discriminator it names, if it comes from that session's router; one that names
//! none, to the session of the router that it comes from, if it came in on the interface that leads there. RFC 5880
//! §6.8.6 asks for the discriminator alone; the router is looked at as well, because all that this loses is forgeries.
//!
//! A session that is not wanted any more outlives BGP's farewell, and then says so (AdminDown) until the router has taken note of it, at most a second: then
//! the router knows that nothing is broken.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ferrolb_proto::bfd::{Change, Counters, Diagnostic, Path, State};
use ferrolb_proto::bgp::session::Transport;
use ferrolb_rules::config;
use ferrolb_rules::reason::{Code, Finding, Severity};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::watch;

use super::bgp::PARTING;
use super::lateness::Lateness;

mod ports;
mod run;
#[cfg(test)]
mod tests;
mod watched;

/// A way that is not wanted any more is watched for so long: BGP takes its leave of the router meanwhile. FRR ends the BGP
/// session with BFD's, against RFC 5882 §3.2, and would not hear that it is to find other ways.
const FAREWELL: Duration = PARTING.saturating_add(Duration::from_millis(500));
/// How long sessions get to end: longer than each of them takes at most.
const GOODBYE: Duration = Duration::from_millis(1500);

/// A way to a router. Peers that are the same way share a session, as they do at the router.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The router.
    pub remote: IpAddr,
    /// Our address, where it must be a certain one.
    pub source: Option<IpAddr>,
    /// The interface that a link-local address is on.
    pub device: Option<String>,
}

impl Way {
    /// The way that a connection takes to the router that is configured, or was `found`; `None` where neither is so.
    pub fn of(transport: &Transport, found: Option<IpAddr>) -> Option<Self> {
        let remote = transport.remote.or(found)?;
        let on_link = matches!(remote, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let device = transport.device.clone().filter(|_| on_link);
        Some(Self { remote, source: transport.source, device })
    }
}

/// What is wanted: which ways are to be watched, and how.
pub type Wanted = BTreeMap<Way, config::Bfd>;

/// What is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where the session stands.
    pub change: Change,
    /// Times that the way broke while it was up, so far.
    pub breaks: u64,
    /// What keeps it from being watched, on this host.
    pub hindrance: Option<String>,
}

impl Default for Seen {
    fn default() -> Self {
        let change = Change { state: State::Down, remote_state: State::Down, diagnostic: Diagnostic::None };
        Self { change, breaks: 0, hindrance: None }
    }
}

impl Seen {
    /// What that means to whoever uses the way.
    pub fn path(&self) -> Path {
        self.change.path()
    }

    /// Why the way to a router, as a peer wants it, is not watched.
    pub fn finding(&self, object: &str, router: IpAddr) -> Option<Finding> {
        let why = match (&self.hindrance, self.change.state, self.change.remote_state) {
            (Some(hindrance), ..) => hindrance.as_str(),
            (None, State::Up, _) => return None,
            (None, _, State::AdminDown) => "the router has switched it off",
            (None, _, State::Init | State::Up) | (None, State::Init, _) => {
                "the router is heard and does not say that it hears us"
            }
            (None, ..) => "nothing is heard from the router",
        };
        let message = format!("BFD does not watch the way to {router}: {why}");
        Some(Finding::new(Code::BfdSessionDown, Severity::Warning, object, message))
    }
}

/// What a session has counted, for others to look at while it goes on.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    received: AtomicU64,
    discarded: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl Tally {
    fn set(&self, counters: &Counters) {
        let Counters { sent, received, discarded, up, down } = *counters;
        let all = [
            (&self.sent, sent),
            (&self.received, received),
            (&self.discarded, discarded),
            (&self.up, up),
            (&self.down, down),
        ];
        all.into_iter().for_each(|(place, count)| place.store(count, Ordering::Relaxed));
    }

    fn get(&self) -> Counters {
        let read = |place: &AtomicU64| place.load(Ordering::Relaxed);
        Counters {
            sent: read(&self.sent),
            received: read(&self.received),
            discarded: read(&self.discarded),
            up: read(&self.up),
            down: read(&self.down),
        }
    }
}

/// What the thread tells of one way.
#[derive(Debug, Default)]
struct Report {
    seen: watch::Sender<Seen>,
    tally: Tally,
}

/// What goes to the thread.
#[derive(Debug, Default)]
struct Orders {
    wish: Option<BTreeMap<Way, (config::Bfd, Arc<Report>)>>,
    /// It is to end once every session has.
    end: bool,
}

#[derive(Debug)]
struct Shared {
    orders: Mutex<Orders>,
    bell: EventFd,
    lateness: Arc<Lateness>,
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

/// All BFD sessions of this node. Its thread begins with the first way that is to be watched.
#[derive(Debug, Default)]
pub struct Bfd {
    wanted: Wanted,
    reports: BTreeMap<Way, Arc<Report>>,
    lateness: Arc<Lateness>,
    running: Option<(Arc<Shared>, thread::JoinHandle<()>)>,
}

impl Bfd {
    /// Brings sessions in line: new ones begin, those no longer wanted end, the others take up what changed.
    pub fn set(&mut self, wanted: Wanted) {
        if wanted == self.wanted {
            return;
        }
        self.reports.retain(|way, _| wanted.contains_key(way));
        let wish = wanted.iter().map(|(way, settings)| {
            let report = self.reports.entry(way.clone()).or_default();
            (way.clone(), (*settings, Arc::clone(report)))
        });
        let wish = wish.collect();
        self.wanted = wanted;
        if self.running.is_none() {
            match self.start() {
                Ok(running) => self.running = Some(running),
                Err(error) => tracing::error!(event = "bfd", %error, "no thread for BFD: no way is watched"),
            }
        }
        if let Some((shared, _)) = &self.running {
            shared.order(|orders| orders.wish = Some(wish));
        }
    }

    fn start(&self) -> io::Result<(Arc<Shared>, thread::JoinHandle<()>)> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let lateness = self.lateness.clone();
        let shared = Arc::new(Shared { orders: Mutex::default(), bell, lateness });
        let mut run = run::Run::new(shared.clone())?;
        let thread = thread::Builder::new().name("bfd".to_owned()).spawn(move || {
            let _guard = super::l2::EndProcess;
            run.run();
        })?;
        Ok((shared, thread))
    }

    /// What is so about a way, now and from now on; `None` where it is not watched.
    pub fn follow(&self, way: &Way) -> Option<watch::Receiver<Seen>> {
        self.reports.get(way).map(|report| report.seen.subscribe())
    }

    /// What is so, per way.
    pub fn seen(&self) -> BTreeMap<Way, Seen> {
        self.reports.iter().map(|(way, report)| (way.clone(), report.seen.borrow().clone())).collect()
    }

    /// What was counted, per way, since it has been watched.
    pub fn counters(&self) -> BTreeMap<Way, Counters> {
        self.reports.iter().map(|(way, report)| (way.clone(), report.tally.get())).collect()
    }

    /// How late the thread was.
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Ends every session so that routers know that nothing is broken.
    pub async fn leave(mut self) {
        if let Some((shared, thread)) = self.running.take() {
            shared.order(|orders| (orders.wish, orders.end) = (Some(BTreeMap::new()), true));
            let joined = tokio::task::spawn_blocking(move || thread.join());
            let _ = tokio::time::timeout(GOODBYE, joined).await;
        }
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        if let Some((shared, thread)) = self.running.take() {
            shared.order(|orders| (orders.wish, orders.end) = (Some(BTreeMap::new()), true));
            let _ = thread.join();
        }
    }
}
