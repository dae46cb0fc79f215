//! Is somebody else using this address? Before it is announced for the first time, and ever after (RFC 5227, RFC 4862
//! §5.4; decision D4).
//!
//! ```text
//! Check, Watch, Answer, Forget ─►┌───────────┐─► Probe (three within half a second), Free, InUse
//! what neighbours claim ────────►│ Duplicate │─► Conflict, Defend (at most once in ten seconds), Over
//!                                └───────────┘─► OwnNode, OwnNodeOver
//! ```
//!
//! A *sighting* is any frame that says "this address is at this MAC address": the sender of an ARP packet, the target of
//! a neighbour advertisement; or that somebody is about to claim it: an ARP probe, a solicitation from the unspecified
//! address. MAC addresses of the cluster's own nodes are no strangers: a kernel with IPVS answers ARP for addresses that
//! it forwards. Whether one does is asked some seconds after an address is answered for, when whoever had it before has
//! let go, and believed when it answers twice. Never asked on failover beforehand: three probes there would be half a
//! second of outage. Left out: frames, and what becomes of an address that is in use.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::ethernet::MacAddr;

#[cfg(test)]
mod tests;

/// Probes before a first announcement (RFC 5227 §2.1.1: PROBE_NUM).
const PROBES: u8 = 3;
/// Between two probes, at least and at most; RFC 5227 has one to two seconds, for hosts that have time.
const PROBE_INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(140));
/// After the last one.
const WAIT_INTERVAL: Duration = Duration::from_millis(160);
/// Between two defences (RFC 5227 §2.4: DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A stranger that is not seen for so long is gone.
const GONE_INTERVAL: Duration = Duration::from_secs(30);
/// How long after an address is first answered for the nodes are asked about it, at least and at most: ten thousand
/// addresses that move at once are asked for one after the other.
const ASK_INTERVAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(12));
/// Between two such questions: while it is not sure, and as long as it is so.
const ASK_AGAIN_INTERVALS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));
/// So many answers in a row are believed: the first may have come from a node that was about to take over.
const BELIEVED: u8 = 2;
/// Addresses that are probed at the same time; the others wait.
const AT_ONCE: usize = 256;

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// This address is about to be announced for the first time.
    Check(IpAddr),
    /// This address is ours without a check: failover, or a restart.
    Watch(IpAddr),
    /// This address is answered for from now on.
    Answer(IpAddr),
    /// This address is not ours any more.
    Forget(IpAddr),
    /// Somebody says that it has the address, or probes for it.
    Sighting {
        /// Which.
        address: IpAddr,
        /// Where.
        mac: MacAddr,
        /// It only asks whether anybody has it, in order to take it.
        probe: bool,
    },
}

/// What the machine wants, or has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send an ARP probe, or a solicitation from the unspecified address.
    Probe(IpAddr),
    /// Nobody has it: it can be announced.
    Free(IpAddr),
    /// Somebody has it: it must not be announced.
    InUse(IpAddr, MacAddr),
    /// An address of ours is used by a stranger.
    Conflict(IpAddr, MacAddr),
    /// A node of ours answers for it, though no speaker told it to: IPVS without strict ARP.
    OwnNode(IpAddr, MacAddr),
    /// It does so no more.
    OwnNodeOver(IpAddr),
    /// Announce it once, so that the neighbours look to us.
    Defend(IpAddr),
    /// The stranger has not been seen for a while.
    Over(IpAddr),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Waits for its turn.
    Waiting,
    /// So many probes were sent, and something is due then.
    Probing { sent: u8, next_at: Instant },
    /// It may be announced.
    Ours { defended_at: Option<Instant>, stranger: Option<(MacAddr, Instant)>, question: Option<Question> },
    /// Somebody has it, who was seen then.
    Taken { mac: MacAddr, seen_at: Instant },
}

/// Whether a node of ours answers by itself for an address that we answer for.
#[derive(Clone, Copy, Debug)]
struct Question {
    /// When the next one is due.
    next_at: Instant,
    /// One was put, and nobody has answered it.
    open: bool,
    /// Answers in a row.
    answers: u8,
}

/// Addresses, and who else uses them.
#[derive(Clone, Debug)]
pub struct Duplicate {
    /// MAC addresses of the cluster's nodes on this segment, our own included.
    nodes: BTreeSet<MacAddr>,
    own: MacAddr,
    addresses: BTreeMap<IpAddr, State>,
    waiting: VecDeque<IpAddr>,
    due: BTreeSet<(Instant, IpAddr)>,
    probing: usize,
    rng: SmallRng,
    outputs: VecDeque<Output>,
}

/// It has just become ours.
const OURS: State = State::Ours { defended_at: None, stranger: None, question: None };

impl Duplicate {
    /// Nothing to check yet.
    pub fn new(own: MacAddr, seed: u64) -> Self {
        Self {
            nodes: BTreeSet::from([own]),
            own,
            addresses: BTreeMap::new(),
            waiting: VecDeque::new(),
            due: BTreeSet::new(),
            probing: 0,
            rng: SmallRng::seed_from_u64(seed),
            outputs: VecDeque::new(),
        }
    }

    /// The MAC addresses of the cluster's nodes.
    pub fn set_nodes(&mut self, nodes: impl IntoIterator<Item = MacAddr>) {
        self.nodes = nodes.into_iter().chain([self.own]).collect();
    }

    /// Takes note.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Check(address) => {
                if let Entry::Vacant(entry) = self.addresses.entry(address) {
                    entry.insert(State::Waiting);
                    self.waiting.push_back(address);
                }
            }
            Input::Watch(address) => {
                let known = matches!(self.addresses.get(&address), Some(State::Ours { .. }));
                if !known {
                    self.set(address, Some(OURS));
                }
            }
            Input::Answer(address) => {
                if let Some(State::Ours { defended_at, stranger, question: None }) =
                    self.addresses.get(&address).copied()
                {
                    let next_at = now + self.within(ASK_INTERVAL);
                    let question = Some(Question { next_at, open: false, answers: 0 });
                    self.set(address, Some(State::Ours { defended_at, stranger, question }));
                }
            }
            Input::Forget(address) => self.set(address, None),
            Input::Sighting { address, mac, probe } => self.sighting(now, address, mac, probe),
        }
        self.handle_timeout(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, address)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            self.fire(now, address);
        }
        while self.probing < AT_ONCE
            && let Some(address) = self.waiting.pop_front()
        {
            if let Some(State::Waiting) = self.addresses.get(&address) {
                self.set(address, Some(State::Probing { sent: 0, next_at: now }));
                self.fire(now, address);
            }
        }
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next thing to do or to know.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The one place where an address changes: deadlines and counts follow.
    fn set(&mut self, address: IpAddr, state: Option<State>) {
        let old = match state {
            Some(state) => self.addresses.insert(address, state),
            None => self.addresses.remove(&address),
        };
        if let Some(at) = old.and_then(State::due_at) {
            self.due.remove(&(at, address));
        }
        if let Some(at) = state.and_then(State::due_at) {
            self.due.insert((at, address));
        }
        self.probing -= usize::from(matches!(old, Some(State::Probing { .. })));
        self.probing += usize::from(matches!(state, Some(State::Probing { .. })));
    }

    fn fire(&mut self, now: Instant, address: IpAddr) {
        match self.addresses.get(&address).copied() {
            Some(State::Probing { sent: PROBES, .. }) => {
                self.set(address, Some(OURS));
                self.outputs.push_back(Output::Free(address));
            }
            Some(State::Probing { sent, .. }) => {
                let sent = sent + 1;
                let next_at = now + if sent == PROBES { WAIT_INTERVAL } else { self.within(PROBE_INTERVAL) };
                self.set(address, Some(State::Probing { sent, next_at }));
                self.outputs.push_back(Output::Probe(address));
            }
            Some(State::Ours { defended_at, stranger, question }) => {
                let gone = stranger.filter(|(_, seen_at)| *seen_at + GONE_INTERVAL <= now);
                if gone.is_some() {
                    self.outputs.push_back(Output::Over(address));
                }
                let stranger = stranger.filter(|_| gone.is_none());
                let question = question.and_then(|question| self.ask(now, address, question));
                self.set(address, Some(State::Ours { defended_at, stranger, question }));
            }
            // It is looked at anew: whoever had it may be gone.
            Some(State::Taken { .. }) => {
                self.outputs.push_back(Output::Over(address));
                self.set(address, Some(State::Probing { sent: 0, next_at: now }));
                self.fire(now, address);
            }
            Some(State::Waiting) | None => {}
        }
    }

    /// Puts the question to the nodes that is due. Returns what to ask next; nothing where the last was not answered.
    fn ask(&mut self, now: Instant, address: IpAddr, question: Question) -> Option<Question> {
        let Question { next_at, open, answers } = question;
        if next_at > now {
            return Some(question);
        }
        if open {
            self.outputs.extend((answers >= BELIEVED).then_some(Output::OwnNodeOver(address)));
            return None;
        }
        self.outputs.push_back(Output::Probe(address));
        let (unsure, sure) = ASK_AGAIN_INTERVALS;
        Some(Question { next_at: now + if answers < BELIEVED { unsure } else { sure }, open: true, answers })
    }

    /// Another speaker's probe or announcement is its own business; claims decide between speakers. What answers a
    /// question of ours is a kernel that nobody told to.
    fn node_answered(&mut self, address: IpAddr, mac: MacAddr) {
        let Some(State::Ours { defended_at, stranger, question: Some(question) }) =
            self.addresses.get(&address).copied()
        else {
            return;
        };
        if !question.open {
            return;
        }
        let answers = question.answers.saturating_add(1);
        if answers == BELIEVED {
            self.outputs.push_back(Output::OwnNode(address, mac));
        }
        let question = Some(Question { open: false, answers, ..question });
        self.set(address, Some(State::Ours { defended_at, stranger, question }));
    }

    fn within(&mut self, (least, most): (Duration, Duration)) -> Duration {
        let [least, most] = [least, most].map(|span| u64::try_from(span.as_micros()).unwrap_or_default());
        Duration::from_micros(self.rng.random_range(least..=most))
    }

    fn sighting(&mut self, now: Instant, address: IpAddr, mac: MacAddr, probe: bool) {
        let Some(state) = self.addresses.get(&address).copied() else { return };
        if mac == self.own || mac.is_group() || mac == MacAddr::ZERO {
            return;
        }
        if self.nodes.contains(&mac) {
            if !probe {
                self.node_answered(address, mac);
            }
            return;
        }
        match state {
            State::Waiting | State::Probing { .. } => {
                self.set(address, Some(State::Taken { mac, seen_at: now }));
                self.outputs.push_back(Output::InUse(address, mac));
            }
            State::Taken { mac: known, .. } => {
                self.set(address, Some(State::Taken { mac, seen_at: now }));
                if known != mac {
                    self.outputs.push_back(Output::InUse(address, mac));
                }
            }
            // Who only asks is told by the ordinary answer that the address is in use.
            State::Ours { .. } if probe => {}
            State::Ours { defended_at, stranger, question } => {
                if stranger.is_none_or(|(known, _)| known != mac) {
                    self.outputs.push_back(Output::Conflict(address, mac));
                }
                let defends = defended_at.is_none_or(|at| now.saturating_duration_since(at) >= DEFEND_INTERVAL);
                if defends {
                    self.outputs.push_back(Output::Defend(address));
                }
                let defended_at = if defends { Some(now) } else { defended_at };
                self.set(address, Some(State::Ours { defended_at, stranger: Some((mac, now)), question }));
            }
        }
    }
}

impl State {
    fn due_at(self) -> Option<Instant> {
        match self {
            Self::Waiting => None,
            Self::Probing { next_at, .. } => Some(next_at),
            Self::Ours { stranger, question, .. } => {
                let gone_at = stranger.map(|(_, seen_at)| seen_at + GONE_INTERVAL);
                gone_at.into_iter().chain(question.map(|question| question.next_at)).min()
            }
            Self::Taken { seen_at, .. } => Some(seen_at + GONE_INTERVAL),
        }
    }
}
