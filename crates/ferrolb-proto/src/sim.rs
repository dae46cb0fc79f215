//! A network in which time passes only when the test says so, and everything that goes wrong is drawn from a seed.
//!
//! Datagrams get lost, late and out of order; links are cut, also one way; hosts die. The machines under test live
//! outside: they hand in what they send and are handed what arrives. The same seed gives the same history, bit for bit.
//!
//! [`cluster`] goes further: whole nodes of a segment, with everything that happens to nodes; [`history`] judges what was
//! recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

pub mod cluster;
pub mod history;

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// From where.
    pub from: SocketAddr,
    /// To where.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// The network.
#[derive(Clone, Debug)]
pub struct Network {
    now: Instant,
    rng: SmallRng,
    /// Datagrams lost, in percent.
    pub loss: u32,
    /// Every datagram takes between nothing and this long.
    pub delay: Duration,
    cut: BTreeSet<(SocketAddr, SocketAddr)>,
    on_the_way: BTreeMap<(Instant, u64), Datagram>,
    count: u64,
}

impl Network {
    /// A network without loss, with up to a millisecond of delay.
    pub fn new(seed: u64, now: Instant) -> Self {
        Self {
            now,
            rng: SmallRng::seed_from_u64(seed),
            loss: 0,
            delay: Duration::from_millis(1),
            cut: BTreeSet::new(),
            on_the_way: BTreeMap::new(),
            count: 0,
        }
    }

    /// The present.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Lets nothing through from one to the other any more; the other way still works.
    pub fn cut(&mut self, from: SocketAddr, to: SocketAddr) {
        self.cut.insert((from, to));
    }

    /// Mends every link.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Puts a datagram on its way, or loses it.
    pub fn send(&mut self, datagram: Datagram) {
        let lost = self.rng.random_range(0..100) < self.loss || self.cut.contains(&(datagram.from, datagram.to));
        if !lost {
            let micros = self.rng.random_range(0..=u64::try_from(self.delay.as_micros()).unwrap_or(u64::MAX - 1));
            self.count += 1;
            self.on_the_way.insert((self.now + Duration::from_micros(micros), self.count), datagram);
        }
    }

    /// When the next datagram arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets time pass until then, and returns what has arrived by then. Time never goes back.
    pub fn advance(&mut self, to: Instant) -> Vec<Datagram> {
        self.now = self.now.max(to);
        let mut arrived = Vec::new();
        while let Some(entry) = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            arrived.push(entry.remove());
        }
        arrived
    }
}
