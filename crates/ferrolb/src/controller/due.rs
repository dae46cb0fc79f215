//! When the leader looks again.

use std::time::Instant;

/// When to look again although nothing comes in. What is not done while addresses wait must not wake the loop then: it
/// would turn without a pause until the last one is out.
pub(super) fn earliest(at_once: &[Option<Instant>], afterwards: &[Option<Instant>], behind: bool) -> Option<Instant> {
    let afterwards = afterwards.iter().filter(|_| !behind);
    at_once.iter().chain(afterwards).flatten().min().copied()
}

/// News is looked at soon, also where the next look was to be a long time after.
pub(super) fn not_later(at: &mut Option<Instant>, than: Instant) {
    *at = Some(at.map_or(than, |at| at.min(than)));
}
