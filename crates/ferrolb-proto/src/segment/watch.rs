//! Who of a segment is alive: heartbeats to a few watchers, and probes before a verdict.
//!
//! ```text
//! heartbeats, any message ─►┌───────┐─► heartbeats to our own watchers
//! what others find silent ─►│ Watch │─► probes of speakers and kernels, and what they gave, to everybody
//! answers of kernels ──────►└───────┘─► Changed(node), Revived(node)
//! ```
//!
//! A node is watched by at most four others, so the cost does not grow with the segment. Three missed heartbeats kill
//! nobody: they start a burst of probes of its speaker and of its kernel, and only what answers neither, to two
//! watchers, is dead ([`verdict`]). A node that was never heard is never judged. Who owns what is not known here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::frame::{Body, Heartbeat, Kernel, Path, Paths, State};
use super::node::{NodeId, first_for, mix};
use super::timing::Timing;

mod verdict;

/// Watchers of one node.
const WATCHERS: usize = 4;
/// Every so many heartbeats both paths are tried.
const BOTH_PATHS_EVERY: u64 = 16;
/// A path counts as working for so many intervals after something came by it.
const LAN_BEATS: u32 = 4;
const UDP_BEATS: u32 = 40;
/// Every so many heartbeats, one goes to those that are gone.
const GONE_EVERY: u64 = 4;
/// Between two tries whether the kernel of a node that we watch answers at all.
const KERNEL_TRY_INTERVAL: Duration = Duration::from_secs(10);

/// By what means a node's kernel has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// ICMP echo to its node address. Where it works it alone decides: nobody else answers it.
    Echo,
    /// ARP or NDP for its node address. Switches and access points answer it for the dead.
    Neighbour,
}

/// What another node is to us now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never heard.
    Unknown,
    /// Its speaker answers for its addresses.
    Up,
    /// Its speaker does not, its kernel lives: its addresses stay its own until then.
    Down {
        /// Since when.
        since: Instant,
        /// End of the hold-off.
        until: Instant,
    },
    /// Its addresses are free since then: dead, gone for good, or the hold-off is over.
    Gone {
        /// Since when.
        since: Instant,
    },
}

/// What the watch wants, or has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// To one node, by these paths.
    Send(NodeId, Paths, Body),
    /// To everybody.
    Tell(Body),
    /// See whether its kernel answers.
    ProbeKernel(NodeId),
    /// Its standing is another.
    Changed(NodeId),
    /// It was found dead, so long after it was heard last.
    Detected(NodeId, Duration),
    /// A node was heard for the first time. It may have slept while we were started, and believe to own what is ours.
    Met,
    /// It was dead to us, and speaks, or its kernel answers others.
    Revived(NodeId),
}

#[derive(Clone, Debug)]
struct Peer {
    /// By path, when it was heard last.
    lan_at: Option<Instant>,
    udp_at: Option<Instant>,
    heard_at: Option<Instant>,
    /// By which paths it says that it hears us.
    hears_us: Option<Paths>,
    state: State,
    ready: bool,
    /// It counts on us to watch it.
    counts_on_us: bool,
    standing: Standing,
    /// It is gone because it was found dead, not because it left or a hold-off is over.
    dead: bool,
    /// Since when it is up.
    up_at: Option<Instant>,
    /// Of its kernel, the last answers.
    echo_at: Option<Instant>,
    neighbour_at: Option<Instant>,
    kernel_try_at: Instant,
    /// Looks made since then, and when the next one is due.
    burst: Option<Burst>,
    /// What watchers find: kernel, and when they said so.
    voices: BTreeMap<NodeId, (Kernel, Instant)>,
    /// Our own voice is repeated then, while its speaker is down.
    say_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Burst {
    began_at: Instant,
    rounds: u32,
    next_at: Instant,
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            lan_at: None,
            udp_at: None,
            heard_at: None,
            hears_us: None,
            state: State::Starting,
            ready: false,
            counts_on_us: false,
            standing: Standing::Unknown,
            dead: false,
            up_at: None,
            echo_at: None,
            neighbour_at: None,
            kernel_try_at: now,
            burst: None,
            voices: BTreeMap::new(),
            say_at: None,
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self.standing, Standing::Gone { .. })
    }

    fn kernel_heard_at(&self) -> Option<Instant> {
        self.echo_at.max(self.neighbour_at)
    }
}

/// The watch of one node over a segment.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    own: NodeId,
    timing: Timing,
    peers: BTreeMap<NodeId, Peer>,
    /// Who watches us.
    watchers: BTreeSet<NodeId>,
    /// What we say of ourselves.
    beat: Heartbeat,
    beats: u64,
    beat_at: Instant,
    tell_at: Instant,
    /// Nothing of the peers is due before then.
    check_at: Instant,
    /// Somebody came or went: watchers are chosen anew at the next heartbeat, once for all that came.
    watchers_stale: bool,
    /// Nodes among whose first watchers we are.
    first_of: BTreeSet<NodeId>,
    /// Owners of addresses that we know of: they are judged though never heard.
    pub(super) owners: BTreeSet<NodeId>,
    outputs: VecDeque<Output>,
}

impl Watch {
    pub(super) fn new(own: NodeId, timing: Timing, now: Instant) -> Self {
        let beat = Heartbeat {
            state: State::Starting,
            ready: false,
            watch: false,
            heard_by: Paths::default(),
            members: 1,
            digest: (0, 0),
        };
        Self {
            own,
            timing,
            peers: BTreeMap::new(),
            watchers: BTreeSet::new(),
            beat,
            beats: 0,
            beat_at: now,
            tell_at: now,
            check_at: now,
            watchers_stale: false,
            first_of: BTreeSet::new(),
            owners: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The nodes that ought to be there.
    pub(super) fn set_members(&mut self, now: Instant, members: &BTreeSet<NodeId>) {
        self.peers.retain(|node, _| members.contains(node));
        for node in members.iter().filter(|node| **node != self.own) {
            self.peers.entry(*node).or_insert_with(|| Peer::new(now));
        }
        self.choose_watchers();
        self.check_at = now;
    }

    /// What our heartbeats say from now on; a change of state is told at once.
    pub(super) fn say(&mut self, state: State, ready: bool, digest: (u32, u64)) {
        let changed = self.beat.state != state;
        self.beat = Heartbeat { state, ready, digest, ..self.beat };
        if changed {
            self.tell();
        }
    }

    /// Tells everybody that we live.
    pub(super) fn tell(&mut self) {
        self.outputs.push_back(Output::Tell(Body::Heartbeat(self.beat)));
    }

    /// A message of this node came by this path.
    pub(super) fn heard(&mut self, now: Instant, node: NodeId, path: Path) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        match path {
            Path::Lan => peer.lan_at = Some(now),
            Path::Udp => peer.udp_at = Some(now),
        }
        if peer.is_gone() {
            // The path that carried this works; what was known of the other one is from before.
            match path {
                Path::Lan => peer.udp_at = None,
                Path::Udp => peer.lan_at = None,
            }
        }
        let first = peer.heard_at.replace(now).is_none();
        peer.burst = None;
        peer.voices.clear();
        peer.say_at = None;
        let was = peer.standing;
        self.stand(now, node);
        if first {
            self.outputs.push_back(Output::Met);
        }
        if first || matches!(was, Standing::Gone { .. }) {
            self.watchers_stale = true;
        }
    }

    pub(super) fn heartbeat(&mut self, now: Instant, node: NodeId, beat: &Heartbeat, to_us: bool) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.state = beat.state;
        if std::mem::replace(&mut peer.ready, beat.ready) != beat.ready {
            self.outputs.push_back(Output::Changed(node));
        }
        if to_us {
            peer.counts_on_us = beat.watch;
            peer.hears_us = Some(beat.heard_by);
            self.check_at = self.check_at.min(now + self.timing.silence_interval());
        }
        self.stand(now, node);
    }

    /// A node's program was started anew: whatever we knew of its speaker is over.
    pub(super) fn rebooted(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.state = State::Starting;
            peer.ready = false;
            peer.hears_us = None;
        }
    }

    /// Its standing follows from what it says of itself; called when it was heard.
    fn stand(&mut self, now: Instant, node: NodeId) {
        let hold_off = self.hold_off(self.state_of(node));
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let next = match (peer.state, peer.standing) {
            (State::Running, _) => Standing::Up,
            (State::Leaving, Standing::Gone { since }) => Standing::Gone { since },
            (State::Leaving, _) => Standing::Gone { since: now },
            (State::Restarting, Standing::Down { since, until }) => {
                Standing::Down { since, until: until.max(now + hold_off) }
            }
            // A speaker that starts again and again does not keep its addresses for ever.
            (State::Starting, Standing::Down { since, until }) => Standing::Down { since, until },
            // Back from the dead it starts: its addresses may have others by now, and it will be told so.
            (_, _) => Standing::Down { since: now, until: now + hold_off },
        };
        let was = std::mem::replace(&mut peer.standing, next);
        match next {
            Standing::Up => peer.up_at = peer.up_at.or(Some(now)),
            _ => peer.up_at = None,
        }
        self.check_at = self.check_at.min(now + self.timing.interval);
        if std::mem::discriminant(&was) != std::mem::discriminant(&next) {
            if let Standing::Gone { .. } = was {
                // First: it begins the contest of provisional claims anew, before they are looked at.
                self.outputs.push_back(Output::Revived(node));
                self.say_who_is_down(now);
            }
            self.outputs.push_back(Output::Changed(node));
        }
    }

    pub(super) fn kernel_answered(&mut self, now: Instant, node: NodeId, means: Means) {
        if let Some(peer) = self.peers.get_mut(&node) {
            match means {
                Means::Echo => peer.echo_at = Some(now),
                Means::Neighbour => peer.neighbour_at = Some(now),
            }
        }
    }

    /// We were late ourselves: what we did not hear meanwhile is not the others' fault.
    pub(super) fn late(&mut self, by: Duration) {
        for peer in self.peers.values_mut() {
            peer.heard_at = peer.heard_at.map(|at| at + by);
            peer.echo_at = peer.echo_at.map(|at| at + by);
            peer.neighbour_at = peer.neighbour_at.map(|at| at + by);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.beat_at <= now {
            self.send_beats(now);
            self.beat_at = (self.beat_at + self.timing.interval).max(now + self.timing.interval / 2);
        }
        if self.tell_at <= now {
            self.tell();
            self.tell_at = now + self.timing.digest_interval(self.peers.len() + 1);
        }
        if self.check_at <= now {
            self.check(now);
        }
    }

    pub(super) fn next_deadline(&self) -> Instant {
        self.beat_at.min(self.tell_at).min(self.check_at)
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn send_beats(&mut self, now: Instant) {
        self.beats += 1;
        if std::mem::take(&mut self.watchers_stale) {
            self.choose_watchers();
        }
        self.beat.members = u16::try_from(self.heard_count(now)).unwrap_or(u16::MAX);
        let watchers = self.watchers.iter().map(|node| (*node, true));
        let watched: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(node, peer)| peer.counts_on_us && !self.watchers.contains(node))
            .map(|(node, _)| *node)
            .collect();
        // Who counts on us and is no watcher of ours learns now and then by which paths it is heard.
        let echoes = watched.into_iter().filter(|_| self.beats.is_multiple_of(BOTH_PATHS_EVERY)).map(|n| (n, false));
        // Who is gone for us may be back, or behind a cut that was mended: it hears us sooner than by what all are told.
        let gone = self.peers.iter().filter(|(node, peer)| {
            self.beats.is_multiple_of(GONE_EVERY) && peer.is_gone() && self.first_of.contains(node)
        });
        let gone: Vec<(NodeId, bool)> = gone.map(|(node, _)| (*node, false)).collect();
        for (node, watch) in watchers.chain(echoes).chain(gone).collect::<Vec<_>>() {
            self.send_beat(now, node, watch);
        }
    }

    fn send_beat(&mut self, now: Instant, node: NodeId, watch: bool) {
        let Some(peer) = self.peers.get(&node) else { return };
        let lately = |at: Option<Instant>, beats: u32| {
            at.is_some_and(|at| now.saturating_duration_since(at) < self.timing.interval * beats)
        };
        // The LAN carries every heartbeat while it works: that it does not shows at once. UDP is tried now and then.
        let heard_by = Paths { lan: lately(peer.lan_at, LAN_BEATS), udp: lately(peer.udp_at, UDP_BEATS) };
        let paths = match peer.hears_us {
            _ if self.beats.is_multiple_of(BOTH_PATHS_EVERY) || !lately(peer.heard_at, UDP_BEATS) => Paths::BOTH,
            // It heard us there, and is not heard there itself any more: what it says of us may be old as well.
            Some(Paths { lan: true, .. }) if peer.counts_on_us && !lately(peer.lan_at, LAN_BEATS) => Paths::BOTH,
            Some(Paths { lan: true, .. }) => Paths { lan: true, udp: false },
            Some(Paths { udp: true, .. }) => Paths { lan: false, udp: true },
            _ => Paths::BOTH,
        };
        let beat = Heartbeat { watch, heard_by, ..self.beat };
        self.outputs.push_back(Output::Send(node, paths, Body::Heartbeat(beat)));
    }

    /// Our watchers are the first four for us among those that are not gone; who is none any more is told so.
    fn choose_watchers(&mut self) {
        let there: Vec<NodeId> = self.peers.iter().filter(|(_, peer)| !peer.is_gone()).map(|(node, _)| *node).collect();
        let next: BTreeSet<NodeId> = first_for(self.own, there.iter().copied(), WATCHERS).into_iter().collect();
        let dismissed: Vec<NodeId> = self.watchers.difference(&next).copied().collect();
        self.watchers = next;
        let before_us = |whom: NodeId| {
            let own = mix(whom.0, self.own.0);
            there.iter().filter(|node| **node != whom && mix(whom.0, node.0) < own).count()
        };
        self.first_of = self.peers.keys().copied().filter(|whom| before_us(*whom) < WATCHERS).collect();
        for node in dismissed.into_iter().filter(|node| self.peers.contains_key(node)) {
            let beat = Heartbeat { watch: false, ..self.beat };
            self.outputs.push_back(Output::Send(node, Paths::BOTH, Body::Heartbeat(beat)));
        }
    }

    /// Of another node.
    pub(super) fn standing(&self, node: NodeId) -> Standing {
        self.peers.get(&node).map_or(Standing::Unknown, |peer| peer.standing)
    }

    fn state_of(&self, node: NodeId) -> State {
        self.peers.get(&node).map_or(State::Starting, |peer| peer.state)
    }

    /// Whether it could answer for an address now.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        node == self.own || self.standing(node) == Standing::Up
    }

    /// Whether its speaker runs or may soon.
    pub(super) fn is_present(&self, node: NodeId) -> bool {
        node == self.own || matches!(self.standing(node), Standing::Up | Standing::Down { .. })
    }

    /// When it was heard last.
    pub(super) fn heard_at(&self, node: NodeId) -> Option<Instant> {
        self.peers.get(&node).and_then(|peer| peer.heard_at)
    }

    /// Since when it is up and ready to be handed addresses.
    pub(super) fn ready_at(&self, node: NodeId) -> Option<Instant> {
        self.peers.get(&node).filter(|peer| peer.ready).and_then(|peer| peer.up_at)
    }

    /// Members there ought to be, ourselves included.
    pub(super) fn member_count(&self) -> usize {
        self.peers.len() + 1
    }

    /// Members heard lately, ourselves included.
    pub(super) fn heard_count(&self, now: Instant) -> usize {
        let window = self.timing.digest_interval(self.member_count()) * 5 / 2;
        let lately = |peer: &&Peer| {
            let heard = peer.heard_at.is_some_and(|at| now.saturating_duration_since(at) < window);
            heard && !peer.is_gone() && peer.burst.is_none()
        };
        1 + self.peers.values().filter(lately).count()
    }

    /// Those up, by name.
    pub(super) fn up(&self) -> impl Iterator<Item = NodeId> {
        self.peers.iter().filter(|(_, peer)| peer.standing == Standing::Up).map(|(node, _)| *node)
    }

    /// Those whose speakers run or may soon, by name.
    pub(super) fn present(&self) -> impl Iterator<Item = NodeId> {
        self.peers.keys().copied().filter(|node| self.is_present(*node))
    }

    /// Those that a message to everybody on the LAN does not reach, as far as we know.
    pub(super) fn beyond_lan(&self, now: Instant) -> impl Iterator<Item = NodeId> {
        let window = self.timing.digest_interval(self.member_count()) * 5 / 2;
        // Who counts on us sends so often that a path that is blocked shows soon.
        let silent = move |peer: &Peer| {
            let silent_for = peer.lan_at.map(|at| now.saturating_duration_since(at));
            peer.counts_on_us && silent_for.is_none_or(|span| span >= self.timing.interval * LAN_BEATS)
        };
        let hears = move |peer: &Peer| match peer.hears_us {
            Some(paths) if paths != Paths::default() => paths.lan && !silent(peer),
            _ => peer.lan_at.is_some_and(|at| now.saturating_duration_since(at) < window),
        };
        self.peers.iter().filter(move |(_, peer)| !hears(peer)).map(|(node, _)| *node)
    }
}
