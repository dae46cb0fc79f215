//! How long to wait before a watch that broke is begun again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kube::runtime::utils::Backoff;

/// How long to wait before a watch is begun again: doubling, at most [`LONGEST`], and less as long as the kind was never
/// listed. An API server that comes back is noticed within that time.
///
/// It begins anew after a while without failures, not with the first thing that is heard: a watch that begins anew says
/// `Init` before it has asked anybody.
pub(super) struct Patience {
    listed: Arc<AtomicBool>,
    delay: Duration,
    failed: Option<Instant>,
}

const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST_UNLISTED: Duration = Duration::from_millis(1500);
const LONGEST: Duration = Duration::from_secs(3);
/// After this long without a failure the delays begin anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

impl Patience {
    pub(super) fn new(listed: Arc<AtomicBool>) -> Self {
        Self { listed, delay: SHORTEST, failed: None }
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if self.failed.replace(now).is_none_or(|before| now.duration_since(before) > FORGOTTEN_AFTER) {
            self.delay = SHORTEST;
        }
        let longest = if self.listed.load(Ordering::Acquire) { LONGEST } else { LONGEST_UNLISTED };
        let delay = self.delay.min(longest);
        self.delay = delay.saturating_mul(2);
        // Many watches of many nodes fail together; they need not come back together.
        Some(delay.mul_f64(rand::random_range(0.7..1.0)))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_three_seconds_and_to_half_of_that_before_the_first_list() {
        for (listed, longest) in [(false, LONGEST_UNLISTED), (true, LONGEST)] {
            let mut patience = Patience::new(Arc::new(AtomicBool::new(listed)));
            let delays: Vec<Duration> = (0..8)
                .map(|_| {
                    patience.reset();
                    patience.next().unwrap()
                })
                .collect();
            assert!(delays[0] <= SHORTEST, "{delays:?}");
            assert!(delays.iter().all(|delay| *delay <= longest), "{delays:?}");
            assert!(delays[7] >= longest.mul_f64(0.7), "{delays:?}");
        }
    }
}
