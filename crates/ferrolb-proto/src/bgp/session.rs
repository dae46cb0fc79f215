//! The session with one router (RFC 4271 §8): dialing, opening, keeping alive, announcing, ending. Bytes in, bytes out.
//!
//! ```text
//! Start, Stop, Leave, Drain ─►┌─────────┐─► Dial, Send, Close (to the socket)
//! Dialed, Accepted, Bytes, … ►│ Session │─► State, Established, Down (to status and metrics)
//! Routes, Configure, Bfd ────►└─────────┘─► Malformed, Unannounced, Drained
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`config`] | what a session is configured with, and which change of it demands a new session |
//! | [`report`] | what it tells: states, what was agreed on, why it went down, counts |
//! | `connection` | one TCP connection: its messages in and out, its timers |
//! | `opening` | OPEN against configuration; which of two connections stays (RFC 4271 §6.8, RFC 6286) |
//! | `established` | UPDATEs and refreshes in, routes out, drain |
//!
//! # What the driver owes
//!
//! One loop, as [`crate`] says. Reads from a socket are handed in as they come, at most 64 KiB at a time, and all that wait
//! before `handle_timeout` is called, so that our own lateness never looks like a router's silence. Of bytes in an
//! [`Output::Send`] the driver writes what the socket takes and says how much with [`Input::Sent`]: what was not taken
//! counts against [`WINDOW`], beyond which no UPDATE is made, and against the send hold timer (RFC 9687). Every
//! connection has an id; what comes for one that is gone is ignored. Nothing is announced and no End-of-RIB sent before
//! the first [`Input::Routes`]: a speaker that does not know yet what it wants must not withdraw what it had.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::adj_out::AdjOut;
use super::wire::notification::{Cease, Notification};
use super::{NextHops, Routes};
use crate::bfd::Path;

pub mod config;
mod connection;
mod established;
mod opening;
pub mod report;
#[cfg(test)]
mod tests;

pub use config::{Config, Posture, Remote, Transport};
use connection::{Connection, Phase};
use established::Draining;
pub use report::{Counters, Negotiated, Output, Reason, State};

/// Bytes that may wait for the socket before no more UPDATEs are made.
pub const WINDOW: usize = 256 * 1024;
/// How long a TCP connection may take to come about.
const DIAL_INTERVAL: Duration = Duration::from_secs(5);
/// The first pause after a failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause where no connection came about: a SYN costs nobody anything.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause where the peer and we did not agree.
const LONGEST_DISCORD: Duration = Duration::from_secs(60);
/// How long a router stays unasked after BFD saw it die, unless BFD sees it again: a session over a way that loses
/// packets would draw traffic into it. Not for good, because a router may have come back without BFD.
const HOLD_DOWN: Duration = Duration::from_secs(60);
/// A session that lived so long is no failure when it ends.
const STABLE_INTERVAL: Duration = Duration::from_secs(30);

/// Which connection. A number is never used twice in the life of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionId {
    /// We dialed; the session counts them.
    Dialed(u64),
    /// The router dialed; the driver counts them.
    Accepted(u64),
}

/// Both ends of a connection, and where traffic can be sent at ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Our address.
    pub local: IpAddr,
    /// The router's.
    pub remote: IpAddr,
    /// Addresses of the interface that the connection uses.
    pub next_hops: NextHops,
}

/// What the session is told.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Begin, or begin again after a stop.
    Start,
    /// End at once, with this Cease and text. Our routes go with the session.
    Stop(Cease, &'a str),
    /// End so that the router keeps our routes, where graceful restart was agreed on; else as a drain: the routes go with
    /// the session, and whoever has another way may know before.
    Leave(Duration, &'a str),
    /// Empty this node: announce with GRACEFUL_SHUTDOWN, wait so long, withdraw, end with this Cease and text (RFC 8326).
    Drain(Duration, Cease, &'a str),
    /// The connection of the last [`Output::Dial`] has come about.
    Dialed(ConnectionId, Endpoints),
    /// It has not, and this is why.
    DialFailed(ConnectionId, &'a str),
    /// The router has connected.
    Accepted(ConnectionId, Endpoints),
    /// Bytes have come in.
    Bytes(ConnectionId, &'a [u8]),
    /// So many bytes have been taken by the socket.
    Sent(ConnectionId, usize),
    /// The connection is gone.
    Closed(ConnectionId),
    /// Everything that this router is to be told, from now on.
    Routes(Arc<Routes>),
    /// The configuration from now on.
    Configure(Config),
    /// The addresses of the interface that the connection uses are others now.
    NextHops(NextHops),
    /// What BFD says about the way to the router.
    Bfd(Path),
    /// A router has turned up at the other end of the link: no reason to wait before the next try.
    Heard,
}

/// When the next connection is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialing {
    No,
    At(Instant),
    Underway(u64, Instant),
}

/// The session with one router.
#[derive(Debug)]
pub struct Session {
    config: Config,
    rng: SmallRng,
    enabled: bool,
    dialing: Dialing,
    dialed: u64,
    connections: Vec<Connection>,
    outputs: VecDeque<Output>,
    state: State,
    /// In a row, without a session that lasted.
    failures: u32,
    /// The peer refuses optional parameters (RFC 5492 §3): the next OPEN is without.
    bare: bool,
    /// The R-bit is set in OPENs until then.
    restarting_until_at: Option<Instant>,
    desired: Option<Arc<Routes>>,
    adj_out: AdjOut,
    draining: Draining,
    bfd: Path,
    counters: Counters,
    last_down: Option<Reason>,
    /// When a malformed UPDATE may be told of again.
    complain_at: Option<Instant>,
}

impl Session {
    /// A session that waits for [`Input::Start`]. `seed` is random and of no other use.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let restart = config.graceful_restart.filter(|_| config.restarting);
        Self {
            restarting_until_at: restart.map(|time| now + time),
            config,
            rng: SmallRng::seed_from_u64(seed),
            enabled: false,
            dialing: Dialing::No,
            dialed: 0,
            connections: Vec::new(),
            outputs: VecDeque::new(),
            state: State::Idle,
            failures: 0,
            bare: false,
            desired: None,
            adj_out: AdjOut::default(),
            draining: Draining::No,
            bfd: Path::Unknown,
            counters: Counters::default(),
            last_down: None,
            complain_at: None,
        }
    }

    /// Tells the session something. To be followed by [`Self::poll_output`] until it returns `None`.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Start => self.start(now),
            Input::Stop(cease, text) => self.stop(now, cease, text),
            Input::Leave(interval, text) => self.leave(now, interval, text),
            Input::Drain(interval, cease, text) => self.drain(now, interval, cease, text),
            Input::Dialed(id, endpoints) => self.on_dialed(now, id, endpoints),
            Input::DialFailed(id, why) => self.on_dial_failed(now, id, Reason::Unreachable(why.to_owned())),
            Input::Accepted(id, endpoints) => self.on_accepted(now, id, endpoints),
            Input::Bytes(id, bytes) => self.on_bytes(now, id, bytes),
            Input::Sent(id, count) => self.on_sent(now, id, count),
            Input::Closed(id) => self.drop_connection(now, id, Reason::Closed),
            Input::Routes(routes) => self.set_routes(routes),
            Input::Configure(config) => self.configure(now, config),
            Input::NextHops(next_hops) => self.set_next_hops(next_hops),
            Input::Bfd(path) => self.on_bfd(now, path),
            Input::Heard => self.hurry(now),
        }
        self.settle(now);
    }

    /// Does what is due. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.dialing {
            Dialing::At(at) if at <= now => self.dial(now),
            Dialing::Underway(number, until) if until <= now => {
                let id = ConnectionId::Dialed(number);
                self.outputs.push_back(Output::Close(id));
                self.on_dial_failed(now, id, Reason::Unreachable("no answer within 5 s".to_owned()));
            }
            _ => {}
        }
        let ids: Vec<ConnectionId> = self.connections.iter().map(|connection| connection.id).collect();
        for id in ids {
            self.on_timers(now, id);
        }
        if self.restarting_until_at.is_some_and(|at| at <= now) {
            self.restarting_until_at = None;
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        let dialing = match self.dialing {
            Dialing::No => None,
            Dialing::At(at) | Dialing::Underway(_, at) => Some(at),
        };
        let connections = self.connections.iter().filter_map(Connection::next_deadline);
        [dialing, self.restarting_until_at, self.draining.until_at()].into_iter().flatten().chain(connections).min()
    }

    /// What the session wants done, or has found out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Where the session stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// What it is configured with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What it has counted since it was made.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What both ends agreed on; while it is established.
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.established().and_then(|connection| connection.negotiated.as_ref())
    }

    /// Why it, or an attempt at it, ended last.
    pub const fn last_down(&self) -> Option<&Reason> {
        self.last_down.as_ref()
    }

    /// What the router has been told, and has still to be told.
    pub const fn adj_out(&self) -> &AdjOut {
        &self.adj_out
    }

    fn start(&mut self, now: Instant) {
        if self.draining != Draining::No {
            self.draining = Draining::No;
            self.replan();
        }
        if !self.enabled {
            self.enabled = true;
            self.failures = 0;
            self.schedule_dial(now, Duration::ZERO);
        }
    }

    fn stop(&mut self, now: Instant, cease: Cease, text: &str) {
        self.disable();
        self.end_all(now, &Notification::cease_saying(cease, text));
    }

    fn leave(&mut self, now: Instant, interval: Duration, text: &str) {
        self.disable();
        self.close_gracefully(now);
        self.drain(now, interval, Cease::AdministrativeShutdown, text);
    }

    /// Closes what a router keeps our routes after: to it, a restart is a connection that ends without a NOTIFICATION
    /// (RFC 4724 §4).
    fn close_gracefully(&mut self, now: Instant) {
        let kept = |connection: &Connection| connection.negotiated.as_ref().is_some_and(Negotiated::keeps_routes);
        for id in self.ids_where(kept) {
            self.outputs.push_back(Output::Close(id));
            self.drop_connection(now, id, Reason::Left);
        }
    }

    /// Neither dials nor accepts any more.
    fn disable(&mut self) {
        self.enabled = false;
        self.draining = Draining::No;
        self.abort_dial();
    }

    /// Ends every connection with a Cease; a hard one where the router would keep our routes over a soft one.
    fn end_all(&mut self, now: Instant, cease: &Notification) {
        for id in self.ids_where(|_| true) {
            self.end(now, id, cease.clone(), true);
        }
    }

    fn configure(&mut self, now: Instant, config: Config) {
        let remote = self.connections.iter().find_map(|connection| connection.negotiated.as_ref());
        let changed = self.config.demands_reset(&config, remote.map(|agreed| agreed.remote_asn));
        let dialed_before = self.config.posture.dials();
        self.config = config;
        if let Some(field) = changed {
            self.restart(now, field);
        } else if self.config.posture.dials() != dialed_before && self.connections.is_empty() {
            self.abort_dial();
            self.schedule_dial(now, Duration::ZERO);
        }
        self.retime(now);
    }

    /// Ends what runs and begins anew with the new configuration. Where only the connection itself is another, a router
    /// with graceful restart keeps our routes meanwhile.
    fn restart(&mut self, now: Instant, field: &'static str) {
        if !self.connections.is_empty() {
            self.outputs.push_back(Output::Reset(field));
        }
        if matches!(field, "password" | "extendedNextHop" | "extendedMessage" | "ebgpMultiHop") {
            self.close_gracefully(now);
        }
        self.end_all(now, &Notification::cease(Cease::OtherConfigurationChange));
        self.last_down = Some(Reason::Reconfigured(field));
        self.failures = 0;
        self.bare = false;
        self.abort_dial();
        self.schedule_dial(now, Duration::ZERO);
    }

    fn on_bfd(&mut self, now: Instant, path: Path) {
        let before = std::mem::replace(&mut self.bfd, path);
        match path {
            Path::Down if before == Path::Up => {
                for id in self.ids_where(|connection| connection.phase == Phase::Established) {
                    self.end(now, id, Notification::cease(Cease::BfdDown), false);
                }
            }
            // The router is there, or nobody looks any more: no reason to wait any longer.
            Path::Up => self.hurry(now),
            Path::Unknown if before == Path::Down => self.hurry(now),
            _ => {}
        }
    }

    /// Ends a pause.
    fn hurry(&mut self, now: Instant) {
        if matches!(self.dialing, Dialing::At(_)) {
            self.dial(now);
        }
    }

    fn schedule_dial(&mut self, now: Instant, pause: Duration) {
        let idle = self.connections.is_empty() && self.dialing == Dialing::No;
        if self.enabled && self.config.posture.dials() && idle {
            self.dialing = Dialing::At(now + pause);
        }
    }

    /// How long to wait after a connection ended for this reason.
    fn pause_after(&mut self, reason: &Reason) -> Duration {
        let pause = self.pause(reason.is_discord()).max(FIRST_PAUSE / 2);
        // Of a router that is looked for on a link, BFD sees nothing before there is a session: FRR begins it with that.
        let bfd_sees_it_first = self.config.transport.remote.is_some();
        if reason.is_dead_way() && bfd_sees_it_first { pause.max(HOLD_DOWN) } else { pause }
    }

    /// The pause after a failure, longer with each; `discord`: the peer was there, but something was wrong.
    fn pause(&mut self, discord: bool) -> Duration {
        let longest = if discord { LONGEST_DISCORD } else { LONGEST_PAUSE };
        let longest = self.config.connect_interval.unwrap_or(longest).max(FIRST_PAUSE);
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.jittered(pause)
    }

    /// Between 75 and 100 per cent (RFC 4271 §10).
    fn jittered(&mut self, interval: Duration) -> Duration {
        interval.mul_f64(self.rng.random_range(0.75..=1.0))
    }

    fn dial(&mut self, now: Instant) {
        self.dialing = Dialing::No;
        if self.enabled && self.config.posture.dials() && self.connections.is_empty() {
            self.dialed += 1;
            self.dialing = Dialing::Underway(self.dialed, now + DIAL_INTERVAL);
            self.outputs.push_back(Output::Dial(ConnectionId::Dialed(self.dialed)));
        }
    }

    fn abort_dial(&mut self) {
        if let Dialing::Underway(number, _) = std::mem::replace(&mut self.dialing, Dialing::No) {
            self.outputs.push_back(Output::Close(ConnectionId::Dialed(number)));
        }
    }

    fn is_underway(&self, id: ConnectionId) -> bool {
        matches!((self.dialing, id), (Dialing::Underway(number, _), ConnectionId::Dialed(other)) if number == other)
    }

    fn on_dialed(&mut self, now: Instant, id: ConnectionId, endpoints: Endpoints) {
        if self.is_underway(id) {
            self.dialing = Dialing::No;
            self.open(now, id, endpoints);
        } else {
            self.outputs.push_back(Output::Close(id));
        }
    }

    fn on_dial_failed(&mut self, now: Instant, id: ConnectionId, reason: Reason) {
        if self.is_underway(id) {
            self.dialing = Dialing::No;
            let pause = self.pause(false);
            self.tell_down(reason, false);
            self.schedule_dial(now, pause);
        }
    }

    fn ids_where(&self, wanted: impl Fn(&Connection) -> bool) -> Vec<ConnectionId> {
        self.connections.iter().filter(|connection| wanted(connection)).map(|connection| connection.id).collect()
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id == id)
    }

    fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }

    fn established(&self) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.phase == Phase::Established)
    }

    fn tell_down(&mut self, reason: Reason, established: bool) {
        self.last_down = Some(reason.clone());
        self.outputs.push_back(Output::Down { reason, established });
    }

    /// After everything: routes out, as many as fit; the end of a drain; the state, where it is another now.
    fn settle(&mut self, now: Instant) {
        self.progress_drain(now);
        self.pump(now);
        self.finish_drain(now);
        let phase = self.connections.iter().map(|connection| connection.phase).max();
        let state = match phase {
            Some(Phase::Established) => State::Established,
            Some(Phase::OpenConfirm) => State::OpenConfirm,
            Some(Phase::OpenSent) => State::OpenSent,
            None if matches!(self.dialing, Dialing::Underway(..)) => State::Connect,
            None if self.enabled => State::Active,
            None => State::Idle,
        };
        if state != self.state {
            self.state = state;
            self.outputs.push_back(Output::State(state));
        }
    }
}
