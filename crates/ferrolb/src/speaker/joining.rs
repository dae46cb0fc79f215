//! How long a starting speaker listens before it believes to know who is alive.
//!
//! Until then it announces nothing: whoever answers now goes on. Once it has met the others it is over for good: what
//! happens later is told by membership.
//!
//! It also goes on listening while a node speaks that it does not understand: one that has another key, since the Secret
//! that they share has changed. Each would hold the other dead, and both would answer for its addresses. Whoever runs
//! goes on; it finds the new key in its file within two minutes, and uses both. What a third one says of a node that has
//! not been understood itself is not enough: it may understand both of us.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ferrolb_rules::names::NodeName;

/// How long to listen where nobody answers: two rounds of joining and a bit.
const LISTEN_INTERVAL: Duration = Duration::from_millis(2500);
/// How long after the first answer to wait for those that have not answered. Whoever answers also tells whom it knows;
/// who is missing after that is most likely dead, and the others have stepped back for us already.
const SETTLE_INTERVAL: Duration = Duration::from_millis(200);

/// Whom a starting speaker has heard itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// These were understood.
    pub(super) understood: BTreeSet<NodeName>,
    /// These speak, and were not.
    pub(super) foreign: BTreeSet<NodeName>,
}

/// A speaker that joins, or has joined.
#[derive(Debug)]
pub(super) struct Joining {
    own: NodeName,
    /// When it began to listen.
    since: Option<Instant>,
    /// When the first other member was met.
    met_at: Option<Instant>,
    settled: bool,
}

impl Joining {
    pub(super) const fn new(own: NodeName) -> Self {
        Self { own, since: None, met_at: None, settled: false }
    }

    /// The live nodes, this one included; `None` while still listening. `alive` is what membership says, `expected` the
    /// nodes that may have a speaker. Call it only while membership runs.
    pub(super) fn live(
        &mut self,
        alive: &BTreeSet<NodeName>,
        expected: &BTreeSet<NodeName>,
        heard: &Heard,
        now: Instant,
    ) -> Option<BTreeSet<NodeName>> {
        let since = *self.since.get_or_insert(now);
        if self.met_at.is_none() && alive.iter().any(|name| *name != self.own) {
            self.met_at = Some(now);
        }
        let understood = |name: &NodeName| *name == self.own || heard.understood.contains(name);
        let all_alive = alive.iter().all(understood);
        let enough = now >= since + LISTEN_INTERVAL
            || all_alive && self.met_at.is_some_and(|met| now >= met + SETTLE_INTERVAL)
            || all_alive && expected.iter().all(|name| *name == self.own || alive.contains(name));
        self.settled |= enough && heard.foreign.is_empty();
        self.settled.then(|| alive.iter().chain([&self.own]).cloned().collect())
    }

    /// When the answer changes by time alone.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let listened = self.since.map(|since| since + LISTEN_INTERVAL);
        let met = self.met_at.map(|met| met + SETTLE_INTERVAL);
        listened.into_iter().chain(met).min().filter(|_| !self.settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<NodeName> {
        list.iter().map(|name| NodeName::new(*name)).collect()
    }

    fn heard(understood: &[&str]) -> Heard {
        Heard { understood: names(understood), foreign: BTreeSet::new() }
    }

    fn joining() -> Joining {
        Joining::new(NodeName::new("a"))
    }

    #[test]
    fn with_everybody_there_it_is_over_at_once() {
        let (mut joining, now) = (joining(), Instant::now());
        assert_eq!(joining.live(&names(&["a"]), &names(&["a", "b"]), &heard(&["a"]), now), None);
        assert_eq!(
            joining.live(&names(&["a", "b"]), &names(&["a", "b"]), &heard(&["a", "b"]), now),
            Some(names(&["a", "b"]))
        );
    }

    #[test]
    fn the_only_node_waits_for_nobody() {
        assert_eq!(joining().live(&names(&["a"]), &names(&["a"]), &heard(&[]), Instant::now()), Some(names(&["a"])));
    }

    #[test]
    fn a_dead_node_holds_up_a_join_only_for_a_moment_after_the_first_answer() {
        let (mut joining, now) = (joining(), Instant::now());
        let expected = names(&["a", "b", "dead"]);
        assert_eq!(joining.live(&names(&["a", "b"]), &expected, &heard(&["a", "b"]), now), None);
        assert_eq!(joining.next_deadline(), Some(now + SETTLE_INTERVAL));
        assert_eq!(
            joining.live(&names(&["a", "b"]), &expected, &heard(&["a", "b"]), now + SETTLE_INTERVAL),
            Some(names(&["a", "b"]))
        );
    }

    #[test]
    fn where_nobody_answers_it_is_alone_after_listening() {
        let (mut joining, now) = (joining(), Instant::now());
        let expected = names(&["a", "b"]);
        assert_eq!(joining.live(&names(&["a"]), &expected, &heard(&["a"]), now), None);
        assert_eq!(joining.next_deadline(), Some(now + LISTEN_INTERVAL));
        assert_eq!(joining.live(&names(&["a"]), &expected, &heard(&["a"]), now + LISTEN_INTERVAL), Some(names(&["a"])));
        assert_eq!(joining.next_deadline(), None);
    }

    #[test]
    fn once_joined_it_stays_so_whoever_dies() {
        let (mut joining, now) = (joining(), Instant::now());
        joining.live(&names(&["a", "b"]), &names(&["a", "b"]), &heard(&["a", "b"]), now);
        assert_eq!(joining.live(&names(&["a"]), &names(&["a", "b"]), &heard(&["a"]), now), Some(names(&["a"])));
    }

    #[test]
    fn while_a_node_speaks_that_it_does_not_understand_it_announces_nothing() {
        let (mut joining, now) = (joining(), Instant::now());
        let expected = names(&["a", "b"]);
        let foreign = Heard { understood: BTreeSet::new(), foreign: names(&["b"]) };
        assert_eq!(joining.live(&names(&["a"]), &expected, &foreign, now), None);
        assert_eq!(joining.live(&names(&["a"]), &expected, &foreign, now + LISTEN_INTERVAL * 99), None);
        // It has found the new key, or has fallen silent.
        let later = now + LISTEN_INTERVAL * 100;
        assert_eq!(joining.live(&names(&["a"]), &expected, &Heard::default(), later), Some(names(&["a"])));
        assert_eq!(joining.live(&names(&["a"]), &expected, &foreign, later), Some(names(&["a"])), "for good");
    }

    #[test]
    fn a_node_that_is_known_by_hearsay_only_may_have_another_key() {
        let (mut joining, now) = (joining(), Instant::now());
        let everybody = names(&["a", "b", "c"]);
        let later = now + SETTLE_INTERVAL;
        assert_eq!(joining.live(&everybody, &everybody, &heard(&["b"]), now), None);
        assert_eq!(joining.live(&everybody, &everybody, &heard(&["b"]), later), None);
        let foreign = Heard { foreign: names(&["c"]), ..heard(&["b"]) };
        assert_eq!(joining.live(&everybody, &everybody, &foreign, now + LISTEN_INTERVAL), None);
        assert_eq!(joining.live(&everybody, &everybody, &heard(&["b", "c"]), later), Some(everybody.clone()));
    }
}
