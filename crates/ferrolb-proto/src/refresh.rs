//! When to announce again what has not changed: switches forget a MAC address after five minutes, and routers keep a
//! wrong neighbour entry for hours.
//!
//! Every address is due once per interval, give or take a quarter, so that nodes and addresses do not fall into step.
//! All of them together are bounded: with more addresses than the bound allows, the interval grows. Left out: the
//! announcement itself and its repetitions ([`crate::announce`]). The contract is that of [`crate`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::announce::Place;

/// Between two refreshes of one address: less than the 300 s after which bridges forget (IEEE 802.1D, ageing time).
pub const INTERVAL: Duration = Duration::from_secs(120);
/// Between two refreshes of any: a hundred a second at most.
const SPACING: Duration = Duration::from_millis(10);

/// Addresses that are kept fresh.
#[derive(Clone, Debug)]
pub struct Refresh {
    interval: Duration,
    due: BTreeSet<(Instant, Place)>,
    at: BTreeMap<Place, Instant>,
    /// No refresh before then.
    free_at: Instant,
    rng: SmallRng,
    outputs: VecDeque<Place>,
}

impl Refresh {
    /// Nothing to keep fresh yet.
    pub fn new(interval: Duration, seed: u64, now: Instant) -> Self {
        Self {
            interval,
            due: BTreeSet::new(),
            at: BTreeMap::new(),
            free_at: now,
            rng: SmallRng::seed_from_u64(seed),
            outputs: VecDeque::new(),
        }
    }

    /// The address is ours there from now on, or is not: `true` also after it was announced for another reason.
    pub fn handle(&mut self, now: Instant, place: Place, ours: bool) {
        if let Some(at) = self.at.remove(&place) {
            self.due.remove(&(at, place));
        }
        if ours {
            let at = now + self.span();
            self.at.insert(place, at);
            self.due.insert((at, place));
        }
    }

    /// Finds out what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, place)) = self.due.first().copied().filter(|(at, _)| *at <= now && self.free_at <= now) {
            self.handle(now, place, true);
            self.free_at = now + SPACING;
            self.outputs.push_back(place);
        }
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| (*at).max(self.free_at))
    }

    /// The next address to announce once.
    pub fn poll_output(&mut self) -> Option<Place> {
        self.outputs.pop_front()
    }

    /// An interval, give or take a quarter.
    fn span(&mut self) -> Duration {
        let quarter = u64::try_from((self.interval / 4).as_micros()).unwrap_or(u64::MAX / 4);
        self.interval * 3 / 4 + Duration::from_micros(self.rng.random_range(0..=quarter * 2))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn run(addresses: u32, span: Duration) -> Vec<(Duration, Place)> {
        let start = Instant::now();
        let mut refresh = Refresh::new(INTERVAL, 1, start);
        (0..addresses).for_each(|n| refresh.handle(start, (7, Ipv4Addr::from_bits(n).into()), true));
        let mut all = Vec::new();
        while let Some(at) = refresh.next_deadline().filter(|at| *at <= start + span) {
            refresh.handle_timeout(at);
            all.extend(std::iter::from_fn(|| refresh.poll_output()).map(|place| (at - start, place)));
        }
        all
    }

    #[test]
    fn every_address_is_refreshed_before_a_bridge_forgets_it() {
        let mut last = BTreeMap::new();
        for (at, place) in run(100, Duration::from_secs(1000)) {
            let before = last.insert(place, at).unwrap_or_default();
            assert!(at - before >= INTERVAL * 3 / 4, "{place:?}");
            assert!(at - before <= INTERVAL * 5 / 4 + Duration::from_secs(1), "{place:?}: {:?}", at - before);
        }
        assert_eq!(last.len(), 100);
        assert!(last.values().all(|at| *at > Duration::from_secs(800)));
    }

    #[test]
    fn many_addresses_are_refreshed_at_a_bounded_rate_and_none_is_left_out() {
        let all = run(50_000, Duration::from_secs(700));
        assert!(all.windows(2).all(|pair| pair[1].0 - pair[0].0 >= SPACING));
        let seen: BTreeSet<Place> = all.iter().map(|(_, place)| *place).collect();
        assert_eq!(seen.len(), 50_000);
    }

    #[test]
    fn what_is_not_ours_any_more_is_not_refreshed() {
        let now = Instant::now();
        let mut refresh = Refresh::new(INTERVAL, 1, now);
        let place = (7, IpAddr::from([192, 168, 1, 201]));
        refresh.handle(now, place, true);
        refresh.handle(now, place, false);
        assert_eq!(refresh.next_deadline(), None);
    }
}
