//! Whose messages count: those of a program that has proved to run now.
//!
//! A sealed datagram proves that its sender knows the secret, not that it is alive: whoever recorded the datagrams of a
//! program that is gone could play them to one that never heard them. So an unknown boot id counts only after it has
//! repeated a random number of ours. A node has one boot id at a time; the one before does not come back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::frame::Body;
use super::node::NodeId;

/// Between two challenges to one boot id.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(20);
/// Boot ids remembered.
const BOOTS: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Boot {
    node: NodeId,
    nonce: u64,
    challenged_at: Option<Instant>,
    trusted: bool,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trusted {
    /// It counts. `new`: from now on.
    Yes {
        /// The boot id was not trusted before.
        new: bool,
    },
    /// It does not count; ask for this number.
    Challenge(u64),
    /// It does not count.
    No,
}

/// The boot ids that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    boots: BTreeMap<u64, Boot>,
    current: BTreeMap<NodeId, u64>,
    retired: BTreeSet<u64>,
}

impl Trust {
    /// Judges a message by who sealed it. `asked` is the number of a query of ours, `fresh` a random number.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        (boot, node): (u64, NodeId),
        body: &Body,
        (asked, fresh): (Option<u64>, u64),
    ) -> Trusted {
        if self.retired.contains(&boot) {
            return Trusted::No;
        }
        if self.boots.len() >= BOOTS && !self.boots.contains_key(&boot) {
            self.boots.retain(|_, boot| boot.trusted);
        }
        let unknown = Boot { node, nonce: fresh, challenged_at: None, trusted: false };
        let known = self.boots.entry(boot).or_insert(unknown);
        if known.node != node {
            return Trusted::No;
        }
        if known.trusted {
            return Trusted::Yes { new: false };
        }
        let proof = match body {
            Body::Response { nonce } => known.challenged_at.is_some() && *nonce == known.nonce,
            Body::Claims(claims) => asked.is_some_and(|asked| asked == claims.nonce),
            _ => false,
        };
        if proof {
            known.trusted = true;
            if let Some(before) = self.current.insert(node, boot) {
                self.boots.remove(&before);
                self.retired.insert(before);
                if self.retired.len() > BOOTS {
                    self.retired.pop_first();
                }
            }
            return Trusted::Yes { new: true };
        }
        if known.challenged_at.is_none_or(|at| now.saturating_duration_since(at) >= CHALLENGE_INTERVAL) {
            known.challenged_at = Some(now);
            return Trusted::Challenge(known.nonce);
        }
        Trusted::No
    }
}
