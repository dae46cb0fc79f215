//! The clock that runs on while the machine sleeps, as instants that machines can reckon with.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Counts from an instant of the ordinary clock by `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug)]
pub(super) struct BootClock {
    instant: Instant,
    since_boot: Duration,
}

impl BootClock {
    /// Starts to count now.
    pub(super) fn start() -> Self {
        Self { instant: Instant::now(), since_boot: since_boot() }
    }

    /// Now. Never before the start.
    pub(super) fn now(&self) -> Instant {
        self.instant + since_boot().saturating_sub(self.since_boot)
    }
}

/// The ordinary clock stands in where the kernel has none that counts sleep.
fn since_boot() -> Duration {
    let clock = clock_gettime(ClockId::CLOCK_BOOTTIME).or_else(|_| clock_gettime(ClockId::CLOCK_MONOTONIC));
    clock.map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_as_the_ordinary_clock_does_while_nobody_sleeps() {
        let (clock, ordinary) = (BootClock::start(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (now, really) = (clock.now(), Instant::now());
        assert!(now >= ordinary + Duration::from_millis(20), "{:?}", now - ordinary);
        assert!(now <= really + Duration::from_millis(1), "ahead of the ordinary clock");
    }
}
