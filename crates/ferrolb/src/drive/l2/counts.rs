//! Frames per address: counted in the thread's own table, and told now and then as what came since the last time.
//!
//! A frame costs one increment. What is told is small however many addresses there are: only those with frames are in it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Frames;
use crate::metrics::Layer2Frames;

/// Between two tellings.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

impl AddAssign for Layer2Frames {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.responses += more.responses;
        self.gratuitous += more.gratuitous;
        self.pings += more.pings;
    }
}

/// What is counted and not told yet.
#[derive(Debug)]
pub(super) struct Counts {
    frames: HashMap<IpAddr, Layer2Frames>,
    told: mpsc::UnboundedSender<Frames>,
    tell_at: Option<Instant>,
}

impl Counts {
    pub(super) fn new(told: mpsc::UnboundedSender<Frames>) -> Self {
        Self { frames: HashMap::new(), told, tell_at: None }
    }

    /// A request came in, and its answer was sent or not.
    pub(super) fn answered(&mut self, address: IpAddr, sent: bool) {
        let counts = self.frames.entry(address).or_default();
        counts.requests += 1;
        counts.responses += u64::from(sent);
    }

    /// A ping was answered.
    pub(super) fn pinged(&mut self, address: IpAddr) {
        self.frames.entry(address).or_default().pings += 1;
    }

    /// An announcement was sent or not.
    pub(super) fn announced(&mut self, address: IpAddr, sent: bool) {
        self.frames.entry(address).or_default().gratuitous += u64::from(sent);
    }

    /// When to tell next.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.tell_at
    }

    /// Tells what is due. Where nobody listens, forgets it.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.frames.is_empty() {
            return;
        }
        match self.tell_at {
            None if self.told.is_closed() => self.frames.clear(),
            None => self.tell_at = Some(now + TELL_INTERVAL),
            Some(at) if at > now => {}
            Some(_) => {
                self.tell_at = None;
                let _ = self.told.send(self.frames.drain().collect());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_once_a_second_and_only_those_since_the_last_time() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let (mut counts, now) = (Counts::new(sender), Instant::now());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        counts.handle_timeout(now);
        assert_eq!(counts.next_deadline(), None, "nothing to tell, nothing to wake up for");
        counts.answered(address, true);
        counts.answered(address, false);
        counts.announced(address, true);
        counts.pinged(address);
        counts.handle_timeout(now);
        assert!(told.try_recv().is_err());
        counts.handle_timeout(now + TELL_INTERVAL);
        let frames = told.try_recv().unwrap();
        assert_eq!(frames[&address], Layer2Frames { requests: 2, responses: 1, gratuitous: 1, pings: 1 });
        counts.answered(address, true);
        counts.handle_timeout(now + TELL_INTERVAL);
        counts.handle_timeout(now + 2 * TELL_INTERVAL);
        assert_eq!(told.try_recv().unwrap()[&address].requests, 1);
        assert_eq!(counts.next_deadline(), None);
    }

    #[test]
    fn where_nobody_listens_nothing_piles_up() {
        let (sender, told) = mpsc::unbounded_channel();
        drop(told);
        let mut counts = Counts::new(sender);
        counts.answered("10.0.0.1".parse().unwrap(), true);
        counts.handle_timeout(Instant::now());
        assert!(counts.frames.is_empty());
        assert_eq!(counts.next_deadline(), None);
    }
}
