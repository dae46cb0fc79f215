//! When to announce an address unasked (spec §6.6): at once, then every 1.1 s until more than 5 s have passed.
//!
//! A node that takes over ten thousand addresses must tell the network of each of them at once, and must not drown it.
//! First rounds go before repetitions, and both are paced by a token bucket. The machine follows the contract in
//! [`crate`]: it is told what is announced, and says what to send.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Between two rounds for an address; upstream's interval.
pub const ROUND_INTERVAL: Duration = Duration::from_millis(1100);
/// Rounds for each address: at 0, 1.1, 2.2, 3.3, 4.4 and 5.5 s.
pub const ROUNDS: u8 = 6;
/// Addresses announced for the first time, at most so many a second.
const FIRST_PER_SECOND: u32 = 10_000;
/// Repetitions, at most so many a second.
const REPEATED_PER_SECOND: u32 = 2_000;
/// How much may be sent at once after a pause.
const BURST: u32 = 32;

/// An address on the interface with this index.
pub type Place = (u32, IpAddr);

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The address is announced there from now on, or again: ownership, MAC address or link are new.
    Start(Place),
    /// It is not announced there any more.
    Stop(Place),
}

/// Which addresses still have rounds to go.
#[derive(Clone, Debug)]
pub struct Announcements {
    /// First rounds, in the order in which they were asked for.
    first: Queue,
    /// Repetitions by the time that they are due.
    repeated: BTreeSet<(Instant, Place)>,
    /// Per place, the rounds that were sent and the time of the next one.
    rounds: BTreeMap<Place, (u8, Instant)>,
    first_tokens: Bucket,
    repeated_tokens: Bucket,
    due: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    next: u64,
    order: BTreeMap<u64, Place>,
    places: BTreeMap<Place, u64>,
}

impl Queue {
    fn push(&mut self, place: Place) {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.places.entry(place) {
            entry.insert(self.next);
            self.order.insert(self.next, place);
            self.next += 1;
        }
    }

    fn pop(&mut self) -> Option<Place> {
        let (_, place) = self.order.pop_first()?;
        self.places.remove(&place);
        Some(place)
    }

    fn remove(&mut self, place: &Place) {
        if let Some(number) = self.places.remove(place) {
            self.order.remove(&number);
        }
    }
}

/// A token bucket.
#[derive(Clone, Debug)]
struct Bucket {
    per_token: Duration,
    /// The time at which the bucket would be full again: a token taken moves it on.
    full_at: Instant,
}

impl Bucket {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_token: Duration::from_secs(1) / per_second, full_at: now }
    }

    fn available_at(&self) -> Instant {
        self.full_at.checked_sub(self.per_token * (BURST - 1)).unwrap_or(self.full_at)
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.available_at() > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.per_token;
        true
    }
}

impl Announcements {
    /// Nothing to announce yet.
    pub fn new(now: Instant) -> Self {
        Self {
            first: Queue::default(),
            repeated: BTreeSet::new(),
            rounds: BTreeMap::new(),
            first_tokens: Bucket::new(FIRST_PER_SECOND, now),
            repeated_tokens: Bucket::new(REPEATED_PER_SECOND, now),
            due: Vec::new(),
        }
    }

    /// Takes note.
    pub fn handle(&mut self, now: Instant, input: Input) {
        let (Input::Start(place) | Input::Stop(place)) = input;
        if let Some((_, at)) = self.rounds.remove(&place) {
            self.repeated.remove(&(at, place));
        }
        match input {
            Input::Start(place) => self.first.push(place),
            Input::Stop(place) => {
                self.first.remove(&place);
                self.due.retain(|due| *due != place);
            }
        }
        self.handle_timeout(now);
    }

    /// Finds out what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while !self.first.order.is_empty() && self.first_tokens.take(now) {
            if let Some(place) = self.first.pop() {
                self.send(now, place, 1);
            }
        }
        while self.repeated.first().is_some_and(|(at, _)| *at <= now) && self.repeated_tokens.take(now) {
            if let Some((_, place)) = self.repeated.pop_first() {
                let sent = self.rounds.get(&place).map_or(ROUNDS, |(sent, _)| *sent);
                self.send(now, place, sent.saturating_add(1));
            }
        }
    }

    fn send(&mut self, now: Instant, place: Place, round: u8) {
        self.due.push(place);
        if round < ROUNDS {
            let at = now + ROUND_INTERVAL;
            self.rounds.insert(place, (round, at));
            self.repeated.insert((at, place));
        } else {
            self.rounds.remove(&place);
        }
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let first = (!self.first.order.is_empty()).then(|| self.first_tokens.available_at());
        let repeated = self.repeated.first().map(|(at, _)| (*at).max(self.repeated_tokens.available_at()));
        first.into_iter().chain(repeated).min()
    }

    /// The next address to announce now.
    pub fn poll_output(&mut self) -> Option<Place> {
        // Order among those due at one moment does not matter; taking from the end costs nothing.
        self.due.pop()
    }
}

#[cfg(test)]
mod tests;
