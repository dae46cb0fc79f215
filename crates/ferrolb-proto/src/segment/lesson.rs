//! Finding out what is ours, at start and after a pause: everybody is asked, and nothing is answered for meanwhile. [Rules 7, 8]
//!
//! | who asks | it is over |
//! |---|---|
//! | a program that has saved claims | after 3 I |
//! | one that knows nothing (a new pod has an empty directory) | after 3 I and when all whose speakers run have answered, at most after two seconds |
//! | a program that has slept | when all that were up have answered, at most after 3 I |

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::node::NodeId;
use super::timing::Timing;

/// Who knows nothing waits no longer for answers. Busy machines were seen to leave a speaker without the processor for
/// a second; meanwhile others stand in for what was ours.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer can be several datagrams.
const REST_INTERVAL: Duration = Duration::from_millis(10);

/// Finding out what we own.
#[derive(Clone, Debug)]
pub(super) struct Lesson {
    /// Answers repeat it.
    pub(super) nonce: u64,
    ask_at: Instant,
    ends_at: Instant,
    /// Who has not answered yet.
    awaited: BTreeSet<NodeId>,
    answered: BTreeSet<NodeId>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Something was saved.
    Resumed,
    /// Nothing was, and it is over then in any case.
    Blank { latest_at: Instant },
    /// We have slept.
    Paused,
}

impl Lesson {
    /// At start.
    pub(super) fn at_start(now: Instant, nonce: u64, timing: &Timing, knows_claims: bool) -> Self {
        let kind = if knows_claims { Kind::Resumed } else { Kind::Blank { latest_at: now + PATIENCE } };
        Self {
            nonce,
            ask_at: now,
            ends_at: now + timing.silence_interval(),
            awaited: BTreeSet::new(),
            answered: BTreeSet::new(),
            kind,
        }
    }

    /// After a pause; these were up.
    pub(super) fn after_pause(now: Instant, nonce: u64, timing: &Timing, up: BTreeSet<NodeId>) -> Self {
        Self { awaited: up, kind: Kind::Paused, ..Self::at_start(now, nonce, timing, true) }
    }

    /// Speakers of these nodes run.
    pub(super) fn expect(&mut self, nodes: &BTreeSet<NodeId>) {
        if let Kind::Blank { .. } = self.kind {
            self.awaited = nodes.difference(&self.answered).copied().collect();
        }
    }

    /// This node has answered.
    pub(super) fn answered(&mut self, now: Instant, node: NodeId) {
        self.awaited.remove(&node);
        let is_new = self.answered.insert(node);
        if let Kind::Blank { .. } = self.kind
            && is_new
        {
            self.ends_at = self.ends_at.max(now + REST_INTERVAL);
        }
    }

    /// We did not run for so long while we learned. At start nothing is old yet: what waits in the sockets was sent to us,
    /// and is read; the time to wait for more begins anew. Returns whether that is all that has to be done.
    pub(super) fn was_late(&mut self, now: Instant, by: Duration, timing: &Timing) -> bool {
        if let Kind::Blank { latest_at } = &mut self.kind {
            *latest_at += by;
        }
        self.ends_at = now + timing.silence_interval();
        self.kind != Kind::Paused
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self.kind {
            Kind::Resumed => self.ends_at <= now,
            Kind::Blank { latest_at } => latest_at <= now || (self.ends_at <= now && self.awaited.is_empty()),
            Kind::Paused => self.ends_at <= now || self.awaited.is_empty(),
        }
    }

    /// Whether everybody is to be asked again now.
    pub(super) fn asks(&mut self, now: Instant, timing: &Timing) -> bool {
        let due = self.ask_at <= now;
        if due {
            self.ask_at = now + timing.interval / 2;
        }
        due
    }

    /// When something is due.
    pub(super) fn next_deadline(&self, now: Instant) -> Instant {
        if self.ends_at > now { self.ask_at.min(self.ends_at) } else { self.ask_at }
    }
}
