//! Finding out what is ours, at start and after a pause: everybody is asked, and nothing is answered for meanwhile. [Rules 7, 8]
//!
//! | who asks | it is over |
//! |---|---|
//! | a program that has saved claims | after 3 I |
//! | one that knows nothing (a new pod has an empty directory) | after 3 I and when all whose speakers run have answered, at most after two seconds |
//! | a program that has slept | when all that were up or about to be have answered, at most after 3 I |

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
    /// At start, it is over then in any case.
    latest_at: Instant,
    /// Who has not answered yet.
    awaited: BTreeSet<NodeId>,
    answered: BTreeSet<NodeId>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Something was saved.
    Resumed,
    /// Nothing was.
    Blank,
    /// We have slept.
    Paused,
}

impl Lesson {
    /// At start.
    pub(super) fn at_start(now: Instant, nonce: u64, timing: &Timing, knows_claims: bool) -> Self {
        Self {
            nonce,
            ask_at: now,
            ends_at: now + timing.silence_interval(),
            latest_at: now + PATIENCE,
            awaited: BTreeSet::new(),
            answered: BTreeSet::new(),
            kind: if knows_claims { Kind::Resumed } else { Kind::Blank },
        }
    }

    /// After a pause; these were up, or about to be.
    pub(super) fn after_pause(now: Instant, nonce: u64, timing: &Timing, present: BTreeSet<NodeId>) -> Self {
        Self { awaited: present, kind: Kind::Paused, ..Self::at_start(now, nonce, timing, true) }
    }

    /// Speakers of these nodes run.
    pub(super) fn expect(&mut self, nodes: &BTreeSet<NodeId>) {
        if self.kind == Kind::Blank {
            self.awaited = nodes.difference(&self.answered).copied().collect();
        }
    }

    /// This node has answered.
    pub(super) fn answered(&mut self, now: Instant, node: NodeId) {
        self.awaited.remove(&node);
        let is_new = self.answered.insert(node);
        if self.kind == Kind::Blank && is_new {
            self.ends_at = self.ends_at.max(now + REST_INTERVAL);
        }
    }

    /// We did not run for so long while we learned, or, if that is not said, heard nothing for some time and hear again.
    /// At start nothing that waits in the sockets is old, it was sent to us: only the time to wait for more begins anew.
    /// Returns whether that is all that has to be done.
    pub(super) fn begin_anew(&mut self, now: Instant, late: Option<Duration>, timing: &Timing) -> bool {
        self.ends_at = now + timing.silence_interval();
        self.latest_at = late.map_or(now + PATIENCE, |late| self.latest_at + late);
        self.kind != Kind::Paused
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        let (waited, answered) = (self.ends_at <= now, self.awaited.is_empty());
        match self.kind {
            Kind::Resumed | Kind::Blank => (waited && answered) || self.latest_at <= now,
            Kind::Paused => waited || answered,
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
