//! What the thread counts, for metrics: others look while it goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ferrolb_proto::segment::Event;

use crate::drive::lateness::Lateness;

/// How failover went since the process started.
#[derive(Debug, Default)]
pub struct Figures {
    /// Nodes that were found dead, and the time that took.
    pub detections: Spans,
    /// Addresses of this node's that others took when they were offered, and the time that took.
    pub handovers: Spans,
    /// Addresses of this node's that another had the better claim to.
    pub conflicts: AtomicU64,
    /// Times that the program did not run for a while.
    pub pauses: AtomicU64,
    /// How late the thread came to what was due.
    pub lateness: Lateness,
    /// It has real-time priority.
    pub is_real_time: AtomicBool,
}

/// How many, and how long all of them took.
#[derive(Debug, Default)]
pub struct Spans {
    count: AtomicU64,
    micros: AtomicU64,
}

impl Spans {
    fn note(&self, span: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How long all of them took.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

impl Figures {
    /// Counts what a machine has found out.
    pub fn note(&self, event: &Event) {
        match event {
            Event::Detected(_, after) => self.detections.note(*after),
            Event::HandedOver(_, _, Some(after)) => self.handovers.note(*after),
            Event::Beaten(..) => drop(self.conflicts.fetch_add(1, Ordering::Relaxed)),
            Event::Paused(_) => drop(self.pauses.fetch_add(1, Ordering::Relaxed)),
            Event::HandedOver(_, _, None) | Event::Standing(..) | Event::HeldDead(_) | Event::Dropped(_) => {}
        }
    }
}
