//! How late a thread came to what was due, counted in powers of two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// From a microsecond to eight seconds.
const CLASSES: usize = 24;

/// How often something was due, and how late it was done. Others may look while it goes on.
#[derive(Debug, Default)]
pub struct Lateness {
    /// The first is up to 1 µs late, each further one up to twice as late as the one before, the last any longer.
    classes: [AtomicU64; CLASSES],
}

impl Lateness {
    /// Counts one.
    pub fn note(&self, late: Duration) {
        let micros = late.as_micros().max(1);
        let class = usize::try_from(u128::BITS - (micros - 1).leading_zeros()).unwrap_or(CLASSES);
        if let Some(count) = self.classes.get(class).or(self.classes.last()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often something was due.
    pub fn count(&self) -> u64 {
        self.classes.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// So late at most were so many of a thousand, rounded up to a power of two of microseconds; zero where nothing was
    /// due yet.
    pub fn at_most(&self, per_mille: u64) -> Duration {
        let all = self.count();
        let mut below = 0;
        for (class, count) in (0_u32..).zip(&self.classes) {
            below += count.load(Ordering::Relaxed);
            if below > 0 && below * 1000 >= all * per_mille {
                return Duration::from_micros(1 << class);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_told_as_the_power_of_two_above_it() {
        let lateness = Lateness::default();
        assert_eq!((lateness.count(), lateness.at_most(1000)), (0, Duration::ZERO));
        for _ in 0..98 {
            lateness.note(Duration::from_micros(3));
        }
        lateness.note(Duration::ZERO);
        lateness.note(Duration::from_millis(5));
        assert_eq!(lateness.count(), 100);
        assert_eq!(lateness.at_most(10), Duration::from_micros(1));
        assert_eq!(lateness.at_most(500), Duration::from_micros(4));
        assert_eq!(lateness.at_most(990), Duration::from_micros(4));
        assert_eq!(lateness.at_most(1000), Duration::from_micros(8192));
        lateness.note(Duration::from_secs(3600));
        assert_eq!(lateness.at_most(1000), Duration::from_micros(1 << 23), "what is longer still is in the last class");
    }
}
