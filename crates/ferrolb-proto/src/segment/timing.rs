//! The spans that everything on a segment goes by: two profiles, one knob.

use std::time::Duration;

/// How fast, and how patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats: I.
    pub interval: Duration,
    /// Heartbeats that may be missed before a node is looked at.
    pub misses: u32,
    /// Looks at a node that is silent, before it is called so.
    pub rounds: u32,
    /// Between two such looks.
    pub round_interval: Duration,
    /// How long the addresses of a speaker that is silent for no known reason stay its own while its node lives.
    pub hold_off_interval: Duration,
    /// The same for one that said that it restarts: an image may have to be pulled.
    pub restart_hold_off_interval: Duration,
    /// A taker's claim turns firm after so long.
    pub firm_interval: Duration,
    /// A node that would be preferred is handed its addresses after having been up for so long; never if `None`.
    pub return_interval: Option<Duration>,
}

impl Timing {
    /// For every machine: no false alarm with a busy processor, and a dead node is replaced within 350 ms.
    pub const DEFAULT: Self = Self {
        interval: Duration::from_millis(70),
        misses: 3,
        rounds: 8,
        round_interval: Duration::from_millis(5),
        hold_off_interval: Duration::from_secs(30),
        restart_hold_off_interval: Duration::from_secs(600),
        firm_interval: Duration::from_secs(1),
        return_interval: Some(Duration::from_secs(60)),
    };
    /// For a real-time thread on every node: within 100 ms.
    pub const FAST: Self =
        Self { interval: Duration::from_millis(15), round_interval: Duration::from_millis(2), ..Self::DEFAULT };

    /// No heartbeat for so long: the node is looked at.
    pub fn silence_interval(&self) -> Duration {
        self.interval * self.misses
    }

    /// So much later than due, we were paused ourselves. Shorter than the others need to give us up: they miss three
    /// heartbeats, of which the first was due up to one interval after the pause began.
    pub fn pause_interval(&self) -> Duration {
        self.interval * 2
    }

    /// Between two messages to everybody, on a segment with so many members: what a node receives does not grow.
    pub fn digest_interval(&self, members: usize) -> Duration {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        Duration::from_secs(1).max(Duration::from_millis(20).saturating_mul(members))
    }
}
