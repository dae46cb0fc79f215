//! Is somebody else using this address? Before it is announced for the first time, and ever after (RFC 5227, RFC 4862
//! §5.4; decision D4).
//!
//! ```text
//! Check, Watch, Forget ─►┌───────────┐─► Probe (three within half a second), Free, InUse
//! what neighbours claim ►│ Duplicate │─► Conflict, Defend (at most once in ten seconds), Over
//!                        └───────────┘
//! ```
//!
//! A *sighting* is any frame that says "this address is at this MAC address": the sender of an ARP packet, the target of
//! a neighbour advertisement; or that somebody is about to claim it: an ARP probe, a solicitation from the unspecified
//! address. MAC addresses of the cluster's own nodes are no strangers: a kernel with IPVS answers ARP for addresses that
//! it forwards. Never used on failover: three probes there would be half a second of outage. Left out: frames, and what
//! becomes of an address that is in use.

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
/// Addresses that are probed at the same time; the others wait.
const AT_ONCE: usize = 256;

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// This address is about to be announced for the first time.
    Check(IpAddr),
    /// This address is ours without a check: failover, or a restart.
    Watch(IpAddr),
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
    Ours { defended_at: Option<Instant>, stranger: Option<(MacAddr, Instant)> },
    /// Somebody has it, who was seen then.
    Taken { mac: MacAddr, seen_at: Instant },
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
                    self.set(address, Some(State::Ours { defended_at: None, stranger: None }));
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
                self.set(address, Some(State::Ours { defended_at: None, stranger: None }));
                self.outputs.push_back(Output::Free(address));
            }
            Some(State::Probing { sent, .. }) => {
                let sent = sent + 1;
                let next_at = now + if sent == PROBES { WAIT_INTERVAL } else { self.probe_interval() };
                self.set(address, Some(State::Probing { sent, next_at }));
                self.outputs.push_back(Output::Probe(address));
            }
            Some(State::Ours { defended_at, stranger: Some(_) }) => {
                self.set(address, Some(State::Ours { defended_at, stranger: None }));
                self.outputs.push_back(Output::Over(address));
            }
            // It is looked at anew: whoever had it may be gone.
            Some(State::Taken { .. }) => {
                self.outputs.push_back(Output::Over(address));
                self.set(address, Some(State::Probing { sent: 0, next_at: now }));
                self.fire(now, address);
            }
            Some(State::Waiting | State::Ours { .. }) | None => {}
        }
    }

    fn probe_interval(&mut self) -> Duration {
        let [least, most] =
            [PROBE_INTERVAL.0, PROBE_INTERVAL.1].map(|span| u64::try_from(span.as_micros()).unwrap_or_default());
        Duration::from_micros(self.rng.random_range(least..=most))
    }

    fn sighting(&mut self, now: Instant, address: IpAddr, mac: MacAddr, probe: bool) {
        let Some(state) = self.addresses.get(&address).copied() else { return };
        if mac == self.own || mac.is_group() || mac == MacAddr::ZERO {
            return;
        }
        if self.nodes.contains(&mac) {
            // Another speaker's probe or announcement is its own business; claims decide between speakers.
            if let (State::Probing { .. }, false) = (state, probe) {
                self.outputs.push_back(Output::OwnNode(address, mac));
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
            State::Ours { defended_at, stranger } => {
                if stranger.is_none_or(|(known, _)| known != mac) {
                    self.outputs.push_back(Output::Conflict(address, mac));
                }
                let defends = defended_at.is_none_or(|at| now.saturating_duration_since(at) >= DEFEND_INTERVAL);
                if defends {
                    self.outputs.push_back(Output::Defend(address));
                }
                let defended_at = if defends { Some(now) } else { defended_at };
                self.set(address, Some(State::Ours { defended_at, stranger: Some((mac, now)) }));
            }
        }
    }
}

impl State {
    fn due_at(self) -> Option<Instant> {
        match self {
            Self::Waiting | Self::Ours { stranger: None, .. } => None,
            Self::Probing { next_at, .. } => Some(next_at),
            Self::Ours { stranger: Some((_, seen_at)), .. } | Self::Taken { seen_at, .. } => {
                Some(seen_at + GONE_INTERVAL)
            }
        }
    }
}
