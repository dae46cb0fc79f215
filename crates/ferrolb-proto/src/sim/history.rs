//! What was recorded is judged: how long two answered for an address, how long nobody did, how often it moved.
//!
//! Two MAC addresses that answer count as two owners only while their nodes hear each other in both directions: across a
//! cut of the LAN nobody can promise more. A node that stands in answers with its owner's MAC address and is no second
//! owner.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::ethernet::MacAddr;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// From now on a node answers for an address with this MAC address, or not at all.
    Answers {
        /// The number of the node.
        node: usize,
        /// The address.
        address: IpAddr,
        /// With what.
        mac: Option<MacAddr>,
    },
    /// A node has announced an address.
    Announced {
        /// The number of the node.
        node: usize,
        /// The address.
        address: IpAddr,
    },
    /// A speaker runs from now on, or does not: what does not run answers nothing.
    Runs {
        /// The number of the node.
        node: usize,
        /// It does.
        runs: bool,
    },
    /// Nothing passes any more.
    Cut {
        /// From this node.
        from: usize,
        /// To this one.
        to: usize,
    },
    /// Everything passes again.
    Healed,
    /// Something else was done to a node.
    Fault {
        /// The number of the node.
        node: Option<usize>,
        /// In a word.
        what: &'static str,
    },
}

/// Something that lasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// For which address.
    pub address: IpAddr,
    /// From when.
    pub from: Duration,
    /// How long.
    pub lasted: Duration,
}

/// What a history says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Two MAC addresses answered, though their nodes heard each other.
    pub dual: Vec<Span>,
    /// Nobody answered, after somebody had.
    pub gaps: Vec<Span>,
    /// How often another MAC address answered than before.
    pub moves: BTreeMap<IpAddr, usize>,
}

impl Findings {
    /// The longest time of two owners.
    pub fn longest_dual(&self) -> Duration {
        self.dual.iter().map(|span| span.lasted).max().unwrap_or_default()
    }

    /// The longest time without one.
    pub fn longest_gap(&self) -> Duration {
        self.gaps.iter().map(|span| span.lasted).max().unwrap_or_default()
    }

    /// All moves.
    pub fn total_moves(&self) -> usize {
        self.moves.values().sum()
    }
}

#[derive(Default)]
struct Judge {
    running: BTreeSet<usize>,
    /// What each running or sleeping node would answer.
    answers: BTreeMap<IpAddr, BTreeMap<usize, MacAddr>>,
    cut: BTreeSet<(usize, usize)>,
    dual_at: BTreeMap<IpAddr, Duration>,
    gap_at: BTreeMap<IpAddr, Duration>,
    last: BTreeMap<IpAddr, MacAddr>,
    findings: Findings,
}

/// Judges a history from some time on until its end.
pub fn judge(history: &[(Duration, Record)], from: Duration, end: Duration) -> Findings {
    let mut judge = Judge::default();
    for (at, record) in history {
        judge.take(*at, record, *at >= from);
    }
    for address in judge.answers.keys().copied().collect::<Vec<_>>() {
        judge.close(end, address);
    }
    judge.findings.dual.retain(|span| span.from + span.lasted > from);
    judge.findings.gaps.retain(|span| span.from + span.lasted > from);
    judge.findings
}

impl Judge {
    fn take(&mut self, at: Duration, record: &Record, counts: bool) {
        match record {
            Record::Answers { node, address, mac } => {
                let answers = self.answers.entry(*address).or_default();
                match mac {
                    Some(mac) => answers.insert(*node, *mac),
                    None => answers.remove(node),
                };
                self.look(at, *address, counts);
                return;
            }
            Record::Runs { node, runs: true } => drop(self.running.insert(*node)),
            Record::Runs { node, runs: false } => drop(self.running.remove(node)),
            Record::Cut { from, to } => drop(self.cut.insert((*from, *to))),
            Record::Healed => self.cut.clear(),
            // A program that was started anew answers nothing yet.
            Record::Fault { node: Some(node), what: "crash" | "kill" } => {
                for answers in self.answers.values_mut() {
                    answers.remove(node);
                }
            }
            Record::Fault { .. } | Record::Announced { .. } => return,
        }
        for address in self.answers.keys().copied().collect::<Vec<_>>() {
            self.look(at, address, counts);
        }
    }

    fn look(&mut self, at: Duration, address: IpAddr, counts: bool) {
        let Some(answers) = self.answers.get(&address) else { return };
        let live: Vec<(usize, MacAddr)> =
            answers.iter().filter(|(node, _)| self.running.contains(node)).map(|(node, mac)| (*node, *mac)).collect();
        let apart = |a: usize, b: usize| self.cut.contains(&(a, b)) || self.cut.contains(&(b, a));
        let dual = live
            .iter()
            .enumerate()
            .any(|(index, (a, mac))| live.iter().skip(index + 1).any(|(b, other)| mac != other && !apart(*a, *b)));
        if dual {
            self.dual_at.entry(address).or_insert(at);
        } else if let Some(since) = self.dual_at.remove(&address) {
            self.findings.dual.push(Span { address, from: since, lasted: at - since });
        }
        if live.is_empty() && self.last.contains_key(&address) {
            self.gap_at.entry(address).or_insert(at);
        } else if !live.is_empty()
            && let Some(since) = self.gap_at.remove(&address)
        {
            self.findings.gaps.push(Span { address, from: since, lasted: at - since });
        }
        let last = self.last.get(&address).copied();
        if let Some((_, mac)) = live.first().filter(|_| live.iter().all(|(_, mac)| Some(*mac) != last)) {
            self.last.insert(address, *mac);
            if counts && last.is_some() {
                *self.findings.moves.entry(address).or_default() += 1;
            }
        }
    }

    fn close(&mut self, at: Duration, address: IpAddr) {
        for (since, spans) in [
            (self.dual_at.remove(&address), &mut self.findings.dual),
            (self.gap_at.remove(&address), &mut self.findings.gaps),
        ] {
            if let Some(since) = since {
                spans.push(Span { address, from: since, lasted: at - since });
            }
        }
    }
}
