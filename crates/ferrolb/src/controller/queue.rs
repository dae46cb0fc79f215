//! Which Services are to be written, which are being written, and which wait for the echo of a write.
//!
//! A write is made on the version of the Service that was decided on. If it is stored, the next version that the watch
//! brings is that write, since nothing can have come between; until then the Service is *unsettled* and the rules see it
//! as it will be. Addresses go before conditions. Failures are tried again after a delay that doubles.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use ferrolb_rules::names::ServiceKey;

use super::wanted::Distance;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// Room for this many writes is kept.
const RELAXED: usize = 256;
/// Conditions under way at once. Of a thousand that are due together more would fill the API server, and an address that
/// is needed then would wait behind them.
const WORDS_AT_ONCE: usize = 4;

/// How a write ended, as far as the queue cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Stored,
    Conflict,
    Gone,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Queued,
    /// On its way, made on this version.
    Sent(String),
    /// Stored on top of this version; the watch has not brought it.
    Stored(String),
    /// Refused, because this version is no longer the newest; the watch has not brought a newer one.
    Stale(String),
    /// It failed; not before this time.
    Delayed(Instant),
}

#[derive(Clone, Debug)]
struct Entry {
    state: State,
    addresses: bool,
    failures: u32,
}

/// The writes that are wanted or under way.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: HashMap<ServiceKey, Entry>,
    addresses: VecDeque<ServiceKey>,
    conditions: VecDeque<ServiceKey>,
    delayed: BTreeSet<(Instant, ServiceKey)>,
    sent: usize,
    /// Of those, how many with addresses.
    addresses_sent: usize,
    behind: bool,
}

impl Queue {
    /// A Service's status is this far from what it shall be.
    pub(super) fn want(&mut self, key: &ServiceKey, distance: Distance) {
        let addresses = match distance {
            Distance::None => return,
            Distance::Conditions => false,
            Distance::Addresses => true,
        };
        match self.entries.get_mut(key) {
            // Whatever comes back will be compared again.
            Some(entry) if entry.state != State::Queued || entry.addresses || !addresses => {}
            Some(entry) => {
                entry.addresses = true;
                self.addresses.push_back(key.clone());
            }
            None => {
                self.entries.insert(key.clone(), Entry { state: State::Queued, addresses, failures: 0 });
                if addresses { &mut self.addresses } else { &mut self.conditions }.push_back(key.clone());
            }
        }
    }

    /// The next Service to write. The caller either calls [`Self::sent`] or [`Self::forget`].
    pub(super) fn next(&mut self, now: Instant) -> Option<ServiceKey> {
        while let Some((until, key)) = self.delayed.pop_first() {
            if until > now {
                self.delayed.insert((until, key));
                break;
            }
            self.requeue(&key);
        }
        while let Some(key) = self.addresses.pop_front() {
            if self.is_queued(&key) {
                return Some(key);
            }
        }
        // Conditions wait until every address is out: they are only words.
        while self.addresses_sent == 0
            && self.sent < WORDS_AT_ONCE
            && let Some(key) = self.conditions.pop_front()
        {
            if self.is_queued(&key) {
                return Some(key);
            }
        }
        None
    }

    fn is_queued(&self, key: &ServiceKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.state == State::Queued)
    }

    fn requeue(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.state = State::Queued;
            if entry.addresses { &mut self.addresses } else { &mut self.conditions }.push_back(key.clone());
        }
    }

    /// It is on its way, made on this version of the Service.
    pub(super) fn sent(&mut self, key: &ServiceKey, version: &str, distance: Distance) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.state = State::Sent(version.to_owned());
            entry.addresses = distance == Distance::Addresses;
            self.sent += 1;
            self.addresses_sent += usize::from(entry.addresses);
        }
    }

    /// There is nothing to write any more.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        if let Some(Entry { state, .. }) = self.entries.get(key)
            && !matches!(state, State::Sent(_))
        {
            if let State::Delayed(until) = state {
                self.delayed.remove(&(*until, key.clone()));
            }
            self.entries.remove(key);
        }
    }

    /// A write has ended; `version` is the newest version of the Service that the watch has brought, none if it is gone.
    pub(super) fn ended(&mut self, key: &ServiceKey, ending: Ending, version: Option<&str>, now: Instant) {
        self.sent = self.sent.saturating_sub(1);
        let Some(entry) = self.entries.get_mut(key) else { return };
        let State::Sent(base) = &entry.state else { return };
        self.addresses_sent = self.addresses_sent.saturating_sub(usize::from(entry.addresses));
        let newer = version != Some(base.as_str());
        match ending {
            _ if version.is_none() => {
                self.entries.remove(key);
            }
            Ending::Gone => {
                self.entries.remove(key);
            }
            Ending::Stored if newer => {
                self.entries.remove(key);
            }
            Ending::Stored => entry.state = State::Stored(base.clone()),
            Ending::Conflict if newer => self.requeue(key),
            Ending::Conflict => entry.state = State::Stale(base.clone()),
            Ending::Failed => {
                let delay = FIRST_DELAY.saturating_mul(1 << entry.failures.min(10)).min(LONGEST_DELAY);
                entry.failures += 1;
                entry.state = State::Delayed(now + delay);
                self.delayed.insert((now + delay, key.clone()));
            }
        }
    }

    /// The watch has brought a version of a Service. Returns whether the Service is settled now: whether what it holds
    /// is the whole truth.
    pub(super) fn seen(&mut self, key: &ServiceKey, version: &str) -> bool {
        match self.entries.get(key).map(|entry| &entry.state) {
            Some(State::Stored(base)) if base != version => {
                self.entries.remove(key);
            }
            Some(State::Stale(base)) if base != version => self.requeue(key),
            _ => {}
        }
        !self.is_unsettled(key)
    }

    /// Whether addresses of this Service are decided and not known to be stored.
    pub(super) fn is_unsettled(&self, key: &ServiceKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.addresses)
    }

    /// Whether what the watch brings of a Service's addresses may be our own write.
    pub(super) fn is_under_way(&self, key: &ServiceKey) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| matches!(entry.state, State::Sent(_) | State::Stored(_)) && entry.addresses)
    }

    /// Writes under way.
    pub(super) fn under_way(&self) -> usize {
        self.sent
    }

    /// Addresses that wait to be sent.
    pub(super) fn addresses_waiting(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there are more addresses to send than may go at once, until the last of them is out. A few now and then
    /// do not count: they never stop.
    pub(super) fn is_behind(&mut self) -> bool {
        self.behind = !self.addresses.is_empty() || (self.behind && self.addresses_sent > 0);
        self.behind
    }

    /// Gives back the memory that a large backlog took, once it is gone.
    pub(super) fn relax(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > RELAXED {
            (self.entries, self.addresses, self.conditions) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        }
    }

    /// When a delayed write is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.delayed.first().map(|(until, _)| *until)
    }
}
