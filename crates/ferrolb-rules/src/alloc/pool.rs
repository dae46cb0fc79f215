//! One pool while it hands out addresses: its spaces in the order written, and its counts (spec §4.4, §4.9).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::space::Space;
use super::{Counters, Request};
use crate::config::Pool;
use crate::range::Family;

/// Upstream's "too many to count": 2^63−1 (spec §4.9).
const COUNTLESS: i64 = i64::MAX;
/// From 2^62 addresses on a range counts as countless.
const COUNTLESS_FROM: u128 = 1 << 62;

/// What becomes of a pool's [`last_resort`](crate::config::Pool::last_resort) where nothing else is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reserve {
    /// Another pool is asked first.
    Kept,
    /// It is handed out.
    Used,
}

/// A pool with its free addresses.
#[derive(Clone, Debug)]
pub(super) struct PoolState {
    pub(super) config: Arc<Pool>,
    spaces: Vec<Space>,
    /// The place of each range by its first address: ranges of one pool do not overlap.
    by_first: BTreeMap<IpAddr, usize>,
    /// Per family the spaces that have a free address, by their place in the pool.
    open: BTreeMap<Family, BTreeSet<usize>>,
    /// Per family the free addresses that are handed out only when nothing else is left.
    last_resort: BTreeMap<Family, BTreeSet<(usize, IpAddr)>>,
    /// Per family how many distinct addresses Services have from here.
    assigned: BTreeMap<Family, i64>,
}

impl PoolState {
    pub(super) fn new(config: Arc<Pool>) -> Self {
        let conflicts: Vec<_> = config.conflicts.iter().map(|conflict| conflict.range).collect();
        let mut spaces: Vec<Space> =
            config.ranges.iter().map(|range| Space::new(range, config.avoid_buggy_ips, conflicts.iter())).collect();
        let by_first: BTreeMap<IpAddr, usize> =
            config.ranges.iter().enumerate().map(|(place, range)| (range.first(), place)).collect();
        let mut last_resort = BTreeMap::<Family, BTreeSet<(usize, IpAddr)>>::new();
        for address in &config.last_resort {
            let place = by_first.range(..=*address).next_back().map(|(_, place)| *place);
            let space = place.and_then(|place| spaces.get_mut(place)).filter(|space| space.contains(*address));
            if let (Some(place), Some(space)) = (place, space)
                && !space.is_held_elsewhere(*address)
            {
                space.take(*address);
                last_resort.entry(Family::of(*address)).or_default().insert((place, *address));
            }
        }
        let mut open = BTreeMap::<Family, BTreeSet<usize>>::new();
        for (place, space) in spaces.iter().enumerate().filter(|(_, space)| !space.is_full()) {
            open.entry(space.family()).or_default().insert(place);
        }
        Self { config, spaces, by_first, open, last_resort, assigned: BTreeMap::new() }
    }

    /// The lowest free address of the first range that has one, and the place of that range.
    pub(super) fn lowest(&self, family: Family) -> Option<(usize, IpAddr)> {
        let place = *self.open.get(&family)?.first()?;
        Some((place, self.spaces.get(place)?.lowest()?))
    }

    /// The lowest free address of those that are better not handed out.
    pub(super) fn last_resort(&self, family: Family) -> Option<IpAddr> {
        self.last_resort.get(&family)?.first().map(|(_, address)| *address)
    }

    /// The place of the range that has the address, if it is usable from here.
    pub(super) fn place(&self, address: IpAddr) -> Option<usize> {
        let (_, place) = self.by_first.range(..=address).next_back()?;
        self.spaces.get(*place)?.contains(address).then_some(*place)
    }

    /// Whether an older pool hands the address out.
    pub(super) fn is_held_elsewhere(&self, address: IpAddr) -> bool {
        self.spaces.iter().any(|space| space.is_held_elsewhere(address))
    }

    /// Takes an address out of the free ones, whoever uses it.
    pub(super) fn take(&mut self, address: IpAddr) {
        let Some(place) = self.place(address) else { return };
        if let Some(free) = self.last_resort.get_mut(&Family::of(address)) {
            free.remove(&(place, address));
        }
        let space = &mut self.spaces[place];
        space.take(address);
        if space.is_full()
            && let Some(open) = self.open.get_mut(&Family::of(address))
        {
            open.remove(&place);
        }
    }

    /// The address is free again.
    pub(super) fn put_back(&mut self, address: IpAddr) {
        let Some(place) = self.place(address) else { return };
        let space = &mut self.spaces[place];
        if self.config.last_resort.contains(&address) {
            if !space.is_held_elsewhere(address) {
                self.last_resort.entry(Family::of(address)).or_default().insert((place, address));
            }
            return;
        }
        space.put_back(address);
        if !space.is_full() {
            self.open.entry(Family::of(address)).or_default().insert(place);
        }
    }

    /// Counts an address as assigned from here (+1) or no longer (−1).
    pub(super) fn count(&mut self, address: IpAddr, change: i64) {
        *self.assigned.entry(Family::of(address)).or_default() += change;
    }

    /// Whether the pool may serve this Service.
    pub(super) fn is_compatible(&self, request: &Request) -> bool {
        self.config.serves(&request.key.namespace, &request.labels)
    }

    pub(super) fn counters(&self) -> Counters {
        let (total_v4, assigned_v4, available_v4) = self.count_of(Family::V4);
        let (total_v6, assigned_v6, available_v6) = self.count_of(Family::V6);
        Counters { total_v4, assigned_v4, available_v4, total_v6, assigned_v6, available_v6 }
    }

    fn count_of(&self, family: Family) -> (i64, i64, i64) {
        let (mut total, mut elsewhere) = (0u128, 0u128);
        for space in self.spaces.iter().filter(|space| space.family() == family) {
            let (all, held) = space.size();
            total = total.saturating_add(if all >= COUNTLESS_FROM { COUNTLESS as u128 } else { all });
            elsewhere = elsewhere.saturating_add(held);
        }
        let assigned = self.assigned.get(&family).copied().unwrap_or_default();
        let total = i64::try_from(total).unwrap_or(COUNTLESS);
        let elsewhere = i64::try_from(elsewhere).unwrap_or(COUNTLESS);
        // Addresses kept from before the conflict are assigned and held elsewhere at once: never below zero.
        (total, assigned, total.saturating_sub(assigned).saturating_sub(elsewhere).max(0))
    }
}
