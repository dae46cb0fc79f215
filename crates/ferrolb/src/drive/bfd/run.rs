//! The loop: wait for packets, orders, or for what is due; read everything that has come; then do what is due.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::ports::{Ports, Received};
use super::watched::Watched;
use super::{FAREWELL, Orders, Shared};
use crate::net::priority;

/// Tokens of epoll.
const BELL: u64 = 0;
const TIMER: u64 = 1;
const PACKETS: u64 = 2;

/// Where the discriminator stands that a packet names (RFC 5880 §4.1).
const YOUR_DISCRIMINATOR: std::ops::Range<usize> = 8..12;

pub(super) struct Run {
    shared: Arc<Shared>,
    epoll: Epoll,
    /// Epoll alone counts whole milliseconds, a tenth of the shortest interval.
    timer: TimerFd,
    ports: Ports,
    sessions: BTreeMap<NonZeroU32, Watched>,
    next_port: u16,
    ending: bool,
}

impl Run {
    pub(super) fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(Self {
            shared,
            epoll,
            timer,
            ports: Ports::default(),
            sessions: BTreeMap::new(),
            next_port: rand::random_range(49152..=65535),
            ending: false,
        })
    }

    /// Runs until it is told to end and every session has ended.
    pub(super) fn run(&mut self) {
        priority::claim();
        let mut events = [EpollEvent::empty(); 8];
        loop {
            let deadline = self.sessions.values().filter_map(Watched::next_deadline).min();
            let ready = match self.wait(deadline, &mut events) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(event = "bfd", %error, "epoll failed; the process ends");
                    std::process::exit(101);
                }
            };
            // Of what is due now, everything that has come by now is to be read first.
            let now = Instant::now();
            if let Some(late) = deadline.and_then(|at| now.checked_duration_since(at)) {
                self.shared.lateness.note(late);
            }
            self.receive(now);
            if events.iter().take(ready).any(|event| event.data() == BELL) {
                self.obey(now);
            }
            self.turn(now);
            if self.ending && self.sessions.is_empty() {
                return;
            }
        }
    }

    fn wait(&self, deadline: Option<Instant>, events: &mut [EpollEvent]) -> Result<usize, Errno> {
        match deadline {
            Some(at) => {
                // Zero would switch the timer off.
                let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
                let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
                self.timer.set(expiration, TimerSetTimeFlags::empty())?;
            }
            None => self.timer.unset()?,
        }
        self.epoll.wait(events, EpollTimeout::NONE)
    }

    /// Reads everything that has come.
    fn receive(&mut self, now: Instant) {
        let sessions = &mut self.sessions;
        self.ports.read(|received| {
            if let Some(session) = owner(sessions, &received, now) {
                session.hear(now, &received);
            }
        });
    }

    fn obey(&mut self, now: Instant) {
        let Orders { wish, end } = self.shared.take();
        self.ending |= end;
        let Some(mut wish) = wish else { return };
        let leave_at = if end { now } else { now + FAREWELL };
        for session in self.sessions.values_mut() {
            match wish.remove(session.way()) {
                Some((settings, report)) => session.want(now, settings, report),
                None => session.leave_at(now, leave_at),
            }
        }
        for (way, (settings, report)) in wish {
            let discriminator = self.new_discriminator();
            self.sessions.insert(discriminator, Watched::new(way, settings, report, discriminator, now));
        }
    }

    /// One that nobody can guess, so that nobody from elsewhere can speak to a session.
    fn new_discriminator(&self) -> NonZeroU32 {
        loop {
            let number = rand::random::<NonZeroU32>();
            if !self.sessions.contains_key(&number) {
                return number;
            }
        }
    }

    /// Lets every session do what is due, and does what they want.
    fn turn(&mut self, now: Instant) {
        let mut news = false;
        for session in self.sessions.values_mut() {
            if session.looks(now) {
                session.look(now, &mut self.ports, &self.epoll, PACKETS, self.next_port);
                self.next_port = self.next_port.checked_add(1).unwrap_or(49152);
            }
            session.handle_timeout(now);
            news |= session.follow(now);
        }
        let before = self.sessions.len();
        self.sessions.retain(|_, session| !session.is_over(now));
        if news || self.sessions.len() != before {
            let kinds: Vec<_> = self.sessions.values().map(Watched::kind).collect();
            self.ports.retain(|kind| kinds.contains(&kind));
        }
    }
}

/// The session that a packet belongs to.
fn owner<'a>(
    sessions: &'a mut BTreeMap<NonZeroU32, Watched>,
    received: &Received<'_>,
    now: Instant,
) -> Option<&'a mut Watched> {
    let named = received.bytes.get(YOUR_DISCRIMINATOR)?.try_into().ok().map(u32::from_be_bytes)?;
    if let Some(named) = NonZeroU32::new(named) {
        return sessions.get_mut(&named).filter(|session| session.has_router(received));
    }
    let session = sessions.values_mut().find(|session| session.has_router(received))?;
    if session.is_from(received) {
        return Some(session);
    }
    session.look_again(now);
    None
}
