//! One BFD session: state machine, timers, polls (RFC 5880 §6.8).
//!
//! The names of RFC 5880 §6.8.1 are the names of the fields here. An interval that slows us down, or a detection time
//! that gets shorter, counts only when the router has answered a poll: until then it may not know.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Path;
use super::packet::{Diagnostic, LEN, Packet, ParseError, State, parse};

#[cfg(test)]
mod tests;

/// Packets are sent no more often than this while a session is not up (RFC 5880 §6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// How far away the router may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On the same link: its packets have TTL 255 (RFC 5881 §5).
    SingleHop,
    /// Further: its packets have at least this TTL (RFC 5883).
    Multihop(u8),
}

/// What a session is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our discriminator; no other session of this host has it. It never changes.
    pub discriminator: NonZeroU32,
    /// How often we would send, once up; this and the next at least 1 ms.
    pub desired_min_tx: Duration,
    /// How often we can take packets.
    pub required_min_rx: Duration,
    /// How many of our packets may be missing; at least 1.
    pub detect_multiplier: u8,
    /// Wait for the router to begin.
    pub passive: bool,
    /// How far away it may be.
    pub reach: Reach,
}

impl Config {
    /// Zero means something else on the wire, and would have us send without a pause.
    fn possible(self) -> Self {
        let least = Duration::from_millis(1);
        Self {
            desired_min_tx: self.desired_min_tx.max(least),
            required_min_rx: self.required_min_rx.max(least),
            detect_multiplier: self.detect_multiplier.max(1),
            ..self
        }
    }
}

/// What the session is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A packet for this session has come in, with this TTL or hop limit.
    Packet(&'a [u8], u8),
    /// The configuration from now on.
    Configure(Config),
    /// Switch it off (`true`), or on again.
    AdminDown(bool),
}

/// The session is in another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub state: State,
    /// The router's.
    pub remote_state: State,
    /// Why it went down last.
    pub diagnostic: Diagnostic,
}

impl Change {
    /// What that means to BGP. A session that was switched off, here or there, says nothing about the way.
    pub fn path(&self) -> Path {
        match (self.state, self.remote_state) {
            (State::Up, _) => Path::Up,
            (State::AdminDown, _) | (_, State::AdminDown) => Path::Unknown,
            _ => Path::Down,
        }
    }
}

/// Why a packet was not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// It is no BFD packet that counts.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// It came from further away than it may.
    #[error("BFD packet from too far away: TTL {0}")]
    Ttl(u8),
    /// It names another session.
    #[error("BFD packet for discriminator {0}")]
    OtherSession(u32),
}

/// What the session wants, or has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this packet, with TTL 255.
    Send([u8; LEN]),
    /// The state is another now.
    Changed(Change),
    /// A packet was not counted.
    Discarded(Discard),
}

/// What a session has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets out.
    pub sent: u64,
    /// Packets in that count.
    pub received: u64,
    /// Packets in that do not.
    pub discarded: u64,
    /// Times it went up.
    pub up: u64,
    /// Times it went down from up.
    pub down: u64,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    rng: SmallRng,
    outputs: VecDeque<Output>,
    counters: Counters,
    state: State,
    remote_state: State,
    diagnostic: Diagnostic,
    remote_discriminator: u32,
    /// In microseconds, as the router says; 1 before it has said anything.
    remote_min_rx: u32,
    remote_desired_min_tx: u32,
    remote_multiplier: u8,
    remote_demand: bool,
    /// A poll waits for its answer, begun with these intervals of ours.
    polling: Option<Timing>,
    /// What counts for us until the poll is answered.
    tx_in_use: Duration,
    rx_in_use: Duration,
    last_sent_at: Option<Instant>,
    last_received_at: Option<Instant>,
    send_at: Option<Instant>,
    detect_at: Option<Instant>,
}

fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}

/// Our intervals as a router has been told: desired transmit, required receive.
type Timing = (Duration, Duration);

const fn timing(config: &Config) -> Timing {
    (config.desired_min_tx, config.required_min_rx)
}

impl Session {
    /// A session that is down, and begins to send at once unless it is passive. `seed` is random and of no other use.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        let config = config.possible();
        Self {
            config,
            rng: SmallRng::seed_from_u64(seed),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            state: State::Down,
            remote_state: State::Down,
            diagnostic: Diagnostic::None,
            remote_discriminator: 0,
            remote_min_rx: 1,
            remote_desired_min_tx: 0,
            remote_multiplier: 0,
            remote_demand: false,
            polling: None,
            tx_in_use: SLOW.max(config.desired_min_tx),
            rx_in_use: config.required_min_rx,
            last_sent_at: None,
            last_received_at: None,
            send_at: (!config.passive).then_some(now),
            detect_at: None,
        }
    }

    /// Tells the session something. To be followed by [`Self::poll_output`] until it returns `None`.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Packet(bytes, ttl) => match self.accept(bytes, ttl) {
                Ok(packet) => self.on_packet(now, &packet),
                Err(discard) => {
                    self.counters.discarded += 1;
                    self.outputs.push_back(Output::Discarded(discard));
                }
            },
            Input::Configure(config) => self.configure(now, config),
            Input::AdminDown(true) => {
                self.diagnostic = Diagnostic::AdministrativelyDown;
                self.enter(now, State::AdminDown);
            }
            Input::AdminDown(false) if self.state == State::AdminDown => {
                self.diagnostic = Diagnostic::None;
                self.enter(now, State::Down);
            }
            Input::AdminDown(false) => {}
        }
    }

    /// Does what is due. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.detect_at.is_some_and(|at| at <= now) {
            self.detect_at = None;
            // RFC 5880 §6.8.1: after that long, the router may be another one.
            self.remote_discriminator = 0;
            self.remote_demand = false;
            if matches!(self.state, State::Init | State::Up) {
                self.remote_state = State::Down;
                self.go_down(now, Diagnostic::DetectionTimeExpired);
            } else if self.config.passive {
                self.send_at = None;
            }
        }
        if self.send_at.is_some_and(|at| at <= now) {
            self.send(now, false);
        }
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.send_at, self.detect_at].into_iter().flatten().min()
    }

    /// What the session wants done, or has found out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What it is configured with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Where it stands.
    pub const fn change(&self) -> Change {
        Change { state: self.state, remote_state: self.remote_state, diagnostic: self.diagnostic }
    }

    /// What it has counted.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long nothing may be heard; `None` before the router was heard.
    pub fn detection_interval(&self) -> Option<Duration> {
        let theirs = Duration::from_micros(u64::from(self.remote_desired_min_tx));
        let interval = self.rx_in_use.max(theirs) * u32::from(self.remote_multiplier);
        (self.remote_discriminator != 0).then_some(interval)
    }

    /// How often we send, before jitter; `None`: not at all.
    pub fn transmit_interval(&self) -> Option<Duration> {
        let wanted = self.remote_min_rx != 0;
        let begun = !self.config.passive || self.remote_discriminator != 0;
        let demanded =
            self.remote_demand && self.state == State::Up && self.remote_state == State::Up && self.polling.is_none();
        let theirs = Duration::from_micros(u64::from(self.remote_min_rx));
        (wanted && begun && !demanded).then(|| self.tx_in_use.max(theirs))
    }

    fn accept(&self, bytes: &[u8], ttl: u8) -> Result<Packet, Discard> {
        let least = match self.config.reach {
            Reach::SingleHop => 255,
            Reach::Multihop(least) => least,
        };
        if ttl < least {
            return Err(Discard::Ttl(ttl));
        }
        let packet = parse(bytes)?;
        match packet.your_discriminator {
            0 => Ok(packet),
            ours if ours == self.config.discriminator.get() => Ok(packet),
            other => Err(Discard::OtherSession(other)),
        }
    }

    fn on_packet(&mut self, now: Instant, packet: &Packet) {
        self.counters.received += 1;
        self.remote_discriminator = packet.my_discriminator.get();
        self.remote_state = packet.state;
        self.remote_demand = packet.demand;
        self.remote_min_rx = packet.required_min_rx;
        self.remote_desired_min_tx = packet.desired_min_tx;
        self.remote_multiplier = packet.detect_multiplier;
        self.last_received_at = Some(now);
        if packet.is_final {
            self.end_poll(now);
        }
        if self.state == State::AdminDown {
            // A router that goes on as if nothing had happened has missed it.
            if packet.state > State::Down || packet.poll {
                self.send(now, packet.poll);
            }
            return;
        }
        self.detect_at = self.detection_interval().map(|interval| now + interval);
        self.follow(now, packet.state);
        if packet.poll {
            self.send(now, true);
        }
        self.reschedule(now);
    }

    /// The state machine of RFC 5880 §6.2.
    fn follow(&mut self, now: Instant, remote: State) {
        match (self.state, remote) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
                self.go_down(now, Diagnostic::NeighborSignaledDown);
            }
            (State::Down, State::Down) => self.enter(now, State::Init),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.diagnostic = Diagnostic::None;
                self.enter(now, State::Up);
            }
            _ => {}
        }
    }

    fn go_down(&mut self, now: Instant, why: Diagnostic) {
        self.diagnostic = why;
        self.enter(now, State::Down);
    }

    /// A change of state is said at once (RFC 5880 §6.8.7), and changes how often we send.
    fn enter(&mut self, now: Instant, state: State) {
        if self.state == state {
            return;
        }
        let was_up = self.state == State::Up;
        self.state = state;
        self.counters.up += u64::from(state == State::Up);
        self.counters.down += u64::from(was_up);
        self.outputs.push_back(Output::Changed(self.change()));
        self.polling = None;
        if state == State::Up {
            // From slow to as configured: a change like any other.
            self.polling = Some(timing(&self.config));
            self.tx_in_use = self.config.desired_min_tx;
        } else {
            self.tx_in_use = SLOW.max(self.config.desired_min_tx);
            self.rx_in_use = self.config.required_min_rx;
        }
        if state == State::AdminDown {
            self.detect_at = None;
        }
        if self.transmit_interval().is_some() {
            self.send(now, false);
        }
        self.reschedule(now);
    }

    /// RFC 5880 §6.8.3: while up, what makes us slower or less patient waits for the answer to a poll.
    fn configure(&mut self, now: Instant, config: Config) {
        let config = config.possible();
        let old = std::mem::replace(&mut self.config, config);
        if self.state == State::Up {
            self.tx_in_use = self.tx_in_use.min(config.desired_min_tx);
            self.rx_in_use = self.rx_in_use.max(config.required_min_rx);
            if timing(&old) != timing(&config) {
                // One poll at a time: what changes meanwhile is told of in the next.
                self.polling.get_or_insert(timing(&config));
            }
        } else {
            self.tx_in_use = SLOW.max(config.desired_min_tx);
            self.rx_in_use = config.required_min_rx;
        }
        let changed = timing(&old) != timing(&config) || old.detect_multiplier != config.detect_multiplier;
        if changed && self.transmit_interval().is_some() {
            self.send(now, false);
        }
        self.redetect();
        self.reschedule(now);
    }

    /// The router knows what it was asked about. Where that has changed meanwhile, the more careful of both counts
    /// until it knows the rest.
    fn end_poll(&mut self, now: Instant) {
        let Some(polled) = self.polling.take().filter(|_| self.state == State::Up) else { return };
        let wanted = timing(&self.config);
        self.tx_in_use = polled.0.min(wanted.0);
        self.rx_in_use = polled.1.max(wanted.1);
        if polled != wanted {
            self.polling = Some(wanted);
            self.send(now, false);
        }
    }

    /// The detection time has changed, and counts from what was heard last.
    fn redetect(&mut self) {
        if self.detect_at.is_some() {
            self.detect_at = self.last_received_at.zip(self.detection_interval()).map(|(at, interval)| at + interval);
        }
    }

    /// Where packets are to go out more often than planned, the next one goes out earlier (RFC 5880 §6.8.7).
    fn reschedule(&mut self, now: Instant) {
        let Some(interval) = self.transmit_interval() else {
            self.send_at = None;
            return;
        };
        let latest = self.last_sent_at.map_or(now, |at| at + interval);
        if self.send_at.is_none_or(|at| at > latest) {
            let early = interval - self.jittered(interval);
            self.send_at = Some(latest.checked_sub(early).unwrap_or(latest).max(now));
        }
    }

    /// Less than the interval by up to a quarter; by at least a tenth where every packet counts (RFC 5880 §6.8.7).
    fn jittered(&mut self, interval: Duration) -> Duration {
        let longest = if self.config.detect_multiplier == 1 { 0.9 } else { 1.0 };
        interval.mul_f64(self.rng.random_range(0.75..=longest))
    }

    /// Sends a packet, `answer` if it answers a poll; such a one leaves the schedule as it is.
    fn send(&mut self, now: Instant, answer: bool) {
        let config = &self.config;
        let slow = if self.state == State::Up { Duration::ZERO } else { SLOW };
        let packet = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling.is_some() && !answer,
            is_final: answer,
            control_plane_independent: false,
            demand: false,
            detect_multiplier: config.detect_multiplier,
            my_discriminator: config.discriminator,
            your_discriminator: self.remote_discriminator,
            desired_min_tx: micros(config.desired_min_tx.max(slow)),
            required_min_rx: micros(config.required_min_rx),
            required_min_echo_rx: 0,
        };
        self.counters.sent += 1;
        self.outputs.push_back(Output::Send(packet.emit()));
        if !answer {
            self.last_sent_at = Some(now);
            let interval = self.transmit_interval();
            self.send_at = interval.map(|interval| now + self.jittered(interval));
        }
    }
}
