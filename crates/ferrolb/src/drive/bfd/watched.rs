//! One way: its machine, its socket, the route to it, and what is told of it.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_proto::bfd::{self, Input, Output, Path, Reach, Session, State};
use ferrolb_rules::config::{Bfd, Distance};
use nix::net::if_::if_nametoindex;
use nix::sys::epoll::Epoll;

use super::ports::{self, Kind, Ports, Received};
use super::{Report, Seen, Way};
use crate::net::netlink::{self, Route};

/// How often the route is looked at while the session is not up, and what could not be had is tried again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a router is told at most that we go.
const GOODBYE: Duration = Duration::from_secs(1);

pub(super) struct Watched {
    way: Way,
    settings: Bfd,
    machine: Session,
    report: Arc<Report>,
    multihop: bool,
    /// The interface that leads there.
    interface: Option<u32>,
    socket: Option<UdpSocket>,
    look_at: Option<Instant>,
    /// It is not wanted any more, and the router is told so then.
    leaves_at: Option<Instant>,
    /// The router is being told so, and it is over then at the latest.
    leaving_until: Option<Instant>,
    breaks: u64,
    path: Path,
    /// Why nothing can be heard, and why nothing can be sent.
    deaf: Option<String>,
    mute: Option<String>,
    /// Something is to be told.
    news: bool,
}

fn config(discriminator: NonZeroU32, settings: &Bfd, multihop: bool) -> bfd::Config {
    let least = match settings.distance {
        Distance::OneHop => u8::MAX,
        Distance::Several(least) | Distance::AsRouted(least) => least,
    };
    bfd::Config {
        discriminator,
        desired_min_tx: settings.transmit_interval,
        required_min_rx: settings.receive_interval,
        detect_multiplier: settings.detect_multiplier,
        passive: settings.passive,
        reach: if multihop { Reach::Multihop(least) } else { Reach::SingleHop },
    }
}

impl Watched {
    pub(super) fn new(way: Way, settings: Bfd, report: Arc<Report>, discriminator: NonZeroU32, now: Instant) -> Self {
        let multihop = matches!(settings.distance, Distance::Several(_));
        Self {
            way,
            settings,
            machine: Session::new(config(discriminator, &settings, multihop), rand::random(), now),
            report,
            multihop,
            interface: None,
            socket: None,
            look_at: Some(now),
            leaves_at: None,
            leaving_until: None,
            breaks: 0,
            path: Path::Unknown,
            deaf: None,
            mute: None,
            news: true,
        }
    }

    pub(super) const fn way(&self) -> &Way {
        &self.way
    }

    /// What sockets it listens with.
    pub(super) const fn kind(&self) -> Kind {
        Kind { v4: self.way.remote.is_ipv4(), multihop: self.multihop }
    }

    /// Whether it has ended: the router has taken note, or was given time enough.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.leaving_until.is_some_and(|until| until <= now || self.machine.change().remote_state <= State::Down)
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // While it leaves, a router that goes on as before is told again by the machine.
        let looks = self.look_at.filter(|_| self.leaving_until.is_none());
        [self.machine.next_deadline(), self.leaves_at, self.leaving_until, looks].into_iter().flatten().min()
    }

    /// Wanted in this way from now on, be it again.
    pub(super) fn want(&mut self, now: Instant, settings: Bfd, report: Arc<Report>) {
        self.report = report;
        self.news = true;
        self.leaves_at = None;
        if self.leaving_until.take().is_some() {
            self.machine.handle(now, Input::AdminDown(false));
        }
        if self.settings != settings {
            self.settings = settings;
            match settings.distance {
                Distance::OneHop => self.multihop = false,
                Distance::Several(_) => self.multihop = true,
                Distance::AsRouted(_) => {}
            }
            self.configure(now);
            self.look_at = Some(now);
        }
    }

    fn configure(&mut self, now: Instant) {
        let discriminator = self.machine.config().discriminator;
        self.machine.handle(now, Input::Configure(config(discriminator, &self.settings, self.multihop)));
    }

    /// Not wanted any more: the router is told then, and given time to take note. At once where nothing is there to end.
    pub(super) fn leave_at(&mut self, now: Instant, at: Instant) {
        let at = if self.machine.change().state == State::Up { at } else { now };
        if self.leaving_until.is_none() {
            self.leaves_at = Some(self.leaves_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn leave(&mut self, now: Instant) {
        if self.leaving_until.is_none() {
            let heard = self.machine.detection_interval().unwrap_or_default();
            self.leaving_until = Some(now + heard.min(GOODBYE));
            self.machine.handle(now, Input::AdminDown(true));
        }
    }

    /// Whether a packet that names no session is this one's.
    pub(super) fn is_from(&self, received: &Received<'_>) -> bool {
        let through = |interface| self.multihop || interface == received.interface;
        self.has_router(received) && self.interface.is_none_or(through)
    }

    /// Whether a packet can be this one's at all.
    pub(super) fn has_router(&self, received: &Received<'_>) -> bool {
        self.way.remote == received.from && self.multihop == received.multihop
    }

    pub(super) fn hear(&mut self, now: Instant, received: &Received<'_>) {
        self.machine.handle(now, Input::Packet(received.bytes, received.ttl));
    }

    /// A packet came from the router by another interface than the one that leads there: perhaps that is another now.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.look_at.get_or_insert(now + LOOK_INTERVAL);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.leaves_at.take_if(|at| *at <= now).is_some() {
            self.leave(now);
        }
        self.machine.handle_timeout(now);
    }

    /// Whether the route and the sockets are to be looked at.
    pub(super) fn looks(&self, now: Instant) -> bool {
        self.leaving_until.is_none() && self.look_at.is_some_and(|at| at <= now)
    }

    /// Finds out how the router is reached, and gets the sockets for that. Looks again while the session is not up.
    pub(super) fn look(&mut self, now: Instant, ports: &mut Ports, epoll: &Epoll, token: u64, first_port: u16) {
        let route = self.route();
        self.interface = route.map(|route| route.interface);
        if let (Distance::AsRouted(_), Some(route)) = (self.settings.distance, route)
            && self.multihop != route.has_gateway
        {
            self.multihop = route.has_gateway;
            self.configure(now);
        }
        let port = ports::to_port(self.multihop);
        let opened = ports.open(self.kind(), epoll, token);
        self.set_deaf(opened.err().map(|error| format!("UDP port {port} cannot be had: {error}")));
        if self.socket.is_none() {
            match ports::source(self.way.remote.is_ipv4(), self.way.source, first_port) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => self.set_mute(Some(format!("cannot send: {error}"))),
            }
        }
        let settled = self.machine.change().state == State::Up && self.deaf.is_none() && self.socket.is_some();
        self.look_at = (!settled).then(|| now + LOOK_INTERVAL);
    }

    /// How packets get to the router. To a link-local address no route leads: it is on its interface.
    fn route(&self) -> Option<Route> {
        match &self.way.device {
            Some(device) => {
                let interface = if_nametoindex(device.as_str()).ok()?;
                Some(Route { interface, has_gateway: false })
            }
            None => netlink::route(self.way.remote, self.way.source).ok(),
        }
    }

    fn set_deaf(&mut self, why: Option<String>) {
        self.news |= self.deaf != why;
        self.deaf = why;
    }

    fn set_mute(&mut self, why: Option<String>) {
        self.news |= self.mute != why;
        self.mute = why;
    }

    /// Does what the machine wants. Returns whether there is something new to know.
    pub(super) fn follow(&mut self, now: Instant) -> bool {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send(bytes) => self.send(&bytes),
                Output::Changed(change) => {
                    let before = std::mem::replace(&mut self.path, change.path());
                    self.breaks += u64::from(before == Path::Up && self.path == Path::Down);
                    self.news = true;
                    if change.state != State::Up {
                        self.look_again(now);
                    }
                }
                Output::Discarded(_) => {}
            }
        }
        self.report.tally.set(self.machine.counters());
        std::mem::take(&mut self.news) && self.tell()
    }

    fn send(&mut self, bytes: &[u8]) {
        let Some(socket) = &self.socket else { return };
        let port = ports::to_port(self.multihop);
        let to = match (self.way.remote, &self.way.device) {
            (IpAddr::V6(v6), Some(_)) => SocketAddrV6::new(v6, port, 0, self.interface.unwrap_or_default()).into(),
            (remote, _) => SocketAddr::new(remote, port),
        };
        let sent = socket.send_to(bytes, to);
        self.set_mute(sent.err().map(|error| format!("cannot send: {error}")));
    }

    fn tell(&self) -> bool {
        let hindrance = self.deaf.clone().or_else(|| self.mute.clone());
        let seen = Seen { change: self.machine.change(), breaks: self.breaks, hindrance };
        self.report.seen.send_if_modified(|old| {
            let different = *old != seen;
            *old = seen;
            different
        })
    }
}
