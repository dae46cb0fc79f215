//! How many pings are answered: so many a second for one address, so many for all of an interface.
//!
//! A source address can be forged, and then our answer hits whoever has it. It is no larger than the request, so nothing
//! is won by it; the limit keeps it from being much. The second limit keeps the thread that answers ARP free for ARP.
//!
//! Per limit there is one time: when the last answer that was given will be paid for, at the even rate. Answers may run
//! ahead of it by one second's worth, so a burst passes and a flood does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Answers a second for one address, and in one burst.
pub const EACH_PER_SECOND: u32 = 100;
/// The same for all addresses of an interface together.
pub const ALL_PER_SECOND: u32 = 1000;

/// The limits of one interface.
#[derive(Debug, Default)]
pub struct Limits {
    all: Limit,
    each: BTreeMap<IpAddr, Limit>,
}

impl Limits {
    /// Whether one more answer for this address may be given now; then it counts as given. To be asked only for
    /// addresses that are answered for: each is remembered.
    pub fn allow(&mut self, now: Instant, address: IpAddr) -> bool {
        let each = self.each.entry(address).or_default();
        let paid = each.after_one_more(now, EACH_PER_SECOND).zip(self.all.after_one_more(now, ALL_PER_SECOND));
        if let Some((one, all)) = paid {
            (*each, self.all) = (one, all);
        }
        paid.is_some()
    }

    /// Forgets all other addresses.
    pub fn keep(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.each.retain(|address, _| addresses.contains(address));
    }
}

/// When what was given is paid for; none: nothing was given.
#[derive(Clone, Copy, Debug, Default)]
struct Limit {
    paid_at: Option<Instant>,
}

impl Limit {
    /// What it is after one more answer; `None` where that is too much.
    fn after_one_more(self, now: Instant, per_second: u32) -> Option<Self> {
        let paid_at = self.paid_at.map_or(now, |at| at.max(now)) + Duration::from_secs(1) / per_second;
        (paid_at <= now + Duration::from_secs(1)).then_some(Self { paid_at: Some(paid_at) })
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    fn allowed(limits: &mut Limits, now: Instant, address: IpAddr, asked: u32) -> u32 {
        (0..asked).map(|_| u32::from(limits.allow(now, address))).sum()
    }

    #[test]
    fn a_burst_passes_and_a_flood_gets_the_even_rate() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        assert_eq!(allowed(&mut limits, now, address(1), 500), EACH_PER_SECOND);
        assert_eq!(allowed(&mut limits, now, address(2), 1), 1, "another address");
        let half = now + Duration::from_millis(500);
        assert_eq!(allowed(&mut limits, half, address(1), 500), EACH_PER_SECOND / 2);
        let later = now + Duration::from_secs(3600);
        assert_eq!(allowed(&mut limits, later, address(1), 500), EACH_PER_SECOND, "what was not used is not saved up");
    }

    #[test]
    fn many_addresses_share_one_limit_and_what_it_refuses_costs_the_address_nothing() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let all: u32 = (0..50).map(|number| allowed(&mut limits, now, address(number), 30)).sum();
        assert_eq!(all, ALL_PER_SECOND);
        let later = now + Duration::from_secs(1);
        assert_eq!(allowed(&mut limits, later, address(49), 500), EACH_PER_SECOND);
    }

    #[test]
    fn an_address_that_is_gone_is_forgotten() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        allowed(&mut limits, now, address(1), 500);
        allowed(&mut limits, now, address(2), 500);
        limits.keep(&BTreeSet::from([address(2)]));
        assert_eq!(limits.each.len(), 1);
        assert!(limits.allow(now, address(1)) && !limits.allow(now, address(2)));
    }

    proptest! {
        #[test]
        fn in_no_second_are_there_more_than_two_seconds_worth(
            gaps in proptest::collection::vec((0u64..30, 0u32..3), 1..600),
        ) {
            let (mut limits, start) = (Limits::default(), Instant::now());
            let mut now = start;
            let mut given: Vec<(Instant, IpAddr)> = Vec::new();
            for (gap, number) in gaps {
                now += Duration::from_millis(gap);
                if limits.allow(now, address(number)) {
                    given.push((now, address(number)));
                }
            }
            for (at, one) in &given {
                let window = given.iter().filter(|(other, which)| which == one && other >= at && *other - *at < Duration::from_secs(1));
                prop_assert!(window.count() <= 2 * EACH_PER_SECOND as usize);
            }
        }
    }
}
