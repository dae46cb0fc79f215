//! Who answers for an address on a segment, as one node sees it: the protocol of `docs/l2-failover.md`.
//!
//! A segment is a set of interfaces that hear each other's frames; there is one machine per segment and node.
//!
//! ```text
//! sealed datagrams (LAN, UDP) ─►┌─────────┐─► sealed datagrams
//! members, plan, kernel answers │ Segment │─► Role(address): answer, stand in, be silent; Announce(address)
//! restart, leave ──────────────►└─────────┘─► ProbeKernel(node), Flush, Event
//!        trust   who counts: boot ids that have proved to run now        frame  the messages
//!        watch   who is alive: heartbeats, probes, verdicts              owner  whose an address is: claims, handover
//! ```
//!
//! The clock is the one that runs on while a machine sleeps (`CLOCK_BOOTTIME`). Left out: which nodes there are
//! ([`crate::liveness`]), duplicate addresses of strangers ([`crate::duplicate`]), what announcements look like,
//! two interfaces of one node on one segment. The contract is that of [`crate`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::ethernet::MacAddr;
use crate::seal::{OpenError, Purpose, Seal, SealError};

pub mod frame;
mod lesson;
mod node;
mod owner;
mod timing;
mod trust;
mod watch;

use frame::{Body, Message, ParseError, Path, Paths, State};
use lesson::Lesson;
pub use node::NodeId;
pub use owner::{Claim, Plan, Role};
use owner::{Output as OwnerOutput, Owner};
pub use timing::Timing;
use trust::{Trust, Trusted};
pub use watch::{Means, Standing};
use watch::{Output as WatchOutput, Watch};

/// A restarting speaker goes on answering for so long: by then another stands in for it.
const FAREWELL_INTERVAL: Duration = Duration::from_millis(100);
/// A leaving node waits so long for takers.
const LEAVE_INTERVAL: Duration = Duration::from_secs(2);
/// A node that was gone for us in that time may hold us dead without our having slept: there was a cut.
const CUT_INTERVAL: Duration = Duration::from_secs(1);

/// What a node is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which.
    pub own: NodeId,
    /// The MAC address of its interface.
    pub mac: MacAddr,
    /// The shared secret.
    pub secret: Vec<u8>,
    /// Random, new at every start.
    pub boot: u64,
    /// Random.
    pub seed: u64,
    /// How fast.
    pub timing: Timing,
    /// What [`Segment::claims`] said in its last life.
    pub saved: BTreeMap<IpAddr, Claim>,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A sealed datagram came.
    Datagram {
        /// How.
        path: Path,
        /// As it was sealed.
        bytes: &'a [u8],
    },
    /// The nodes with an interface on this segment, ourselves included or not.
    Members(&'a BTreeSet<NodeId>),
    /// The nodes whose speakers run, by what is known apart from this segment.
    Alive(&'a BTreeSet<NodeId>),
    /// Who may answer for what.
    Plan(&'a Plan),
    /// The kernel of a node has answered a probe.
    KernelAnswered {
        /// Which node.
        node: NodeId,
        /// To what.
        means: Means,
    },
    /// Addresses can be handed to us: kube-proxy has answered its health check, where there is one.
    Ready(bool),
    /// Whether all loops that answer for addresses turn: a node whose responder is stuck must not look alive.
    Responding(bool),
    /// There is a newer secret; the one before is used beside it for a while ([`Seal::rotate`]).
    Secret(&'a [u8]),
    /// The interface has a carrier again, or has lost it. Without one nothing is heard, and nothing follows from that.
    Carrier(bool),
    /// The program is about to stop and may come back.
    Restart,
    /// The node is about to stop: everything is handed over first.
    Leave,
}

/// What the machine wants, or has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this sealed datagram.
    Send {
        /// To whom; to everybody on the segment if `None`, which only the LAN can.
        to: Option<NodeId>,
        /// How.
        path: Path,
        /// As it is.
        bytes: Vec<u8>,
    },
    /// Send one ICMP echo request and one ARP request or solicitation to the node's own address.
    ProbeKernel(NodeId),
    /// What to do about an address from now on.
    Role {
        /// Which.
        address: IpAddr,
        /// What.
        role: Role,
    },
    /// Tell the neighbours where it is, and repeat that ([`crate::announce`]).
    Announce(IpAddr),
    /// We were not running: drop what waits in the sockets, it is old.
    Flush,
    /// What there was to know at start is known: addresses that were ours are ours again.
    Learned,
    /// After [`Input::Restart`] or [`Input::Leave`]: the program can end.
    Done,
    /// Something worth counting or telling.
    Event(Event),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node is something else to us now.
    Standing(NodeId, Standing),
    /// Two claims met, ours was the lesser; the other node has it.
    Beaten(IpAddr, NodeId),
    /// An address was handed over to this node: to us, or by us, and then it was offered for so long before.
    HandedOver(IpAddr, NodeId, Option<Duration>),
    /// A node was found dead, so long after it was heard last.
    Detected(NodeId, Duration),
    /// We were not running for so long.
    Paused(Duration),
    /// A node held us dead.
    HeldDead(NodeId),
    /// A datagram was of no use.
    Dropped(Dropped),
}

/// Why a datagram was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It did not open.
    #[error("{0}")]
    Sealed(#[from] OpenError),
    /// It opened and is not understood.
    #[error("{0}")]
    NotUnderstood(#[from] ParseError),
    /// Its sender has not proved yet that it runs now.
    #[error("its sender is not known yet")]
    NotTrusted,
}

#[derive(Clone, Debug)]
enum Phase {
    Learning(Lesson),
    Serving,
    /// Answers until then.
    Farewell(Instant),
    /// Hands over until then.
    Leaving(Instant),
    Over,
}

/// See [`crate::segment`].
pub struct Segment {
    own: NodeId,
    timing: Timing,
    seal: Seal,
    rng: SmallRng,
    trust: Trust,
    watch: Watch,
    owner: Owner,
    phase: Phase,
    ready: bool,
    /// A loop that answers for addresses does not turn.
    stuck: bool,
    /// There is no carrier.
    unplugged: bool,
    /// Whom the last datagram of use was from.
    heard: Option<NodeId>,
    /// When a node was gone for us last.
    gone_at: BTreeMap<NodeId, Instant>,
    /// When we were called last, and when we had asked to be.
    called_at: Instant,
    expected_at: Instant,
    outputs: VecDeque<Output>,
}

impl Segment {
    /// A node that answers for nothing yet.
    ///
    /// # Errors
    /// The secret is empty.
    pub fn new(config: Config, now: Instant) -> Result<Self, SealError> {
        let Config { own, mac, secret, boot, seed, timing, saved } = config;
        let mut rng = SmallRng::seed_from_u64(seed);
        let lesson = Lesson::at_start(now, rng.random::<u64>() | 1, &timing, !saved.is_empty());
        Ok(Self {
            own,
            timing,
            seal: Seal::with_purpose(Purpose::Segment, &secret, boot)?,
            rng,
            trust: Trust::default(),
            watch: Watch::new(own, timing, now),
            owner: Owner::new(own, mac, timing, &saved, now),
            phase: Phase::Learning(lesson),
            ready: false,
            stuck: false,
            unplugged: false,
            heard: None,
            gone_at: BTreeMap::new(),
            called_at: now,
            expected_at: now,
            outputs: VecDeque::new(),
        })
    }

    /// Takes note.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.called(now);
        match input {
            Input::Datagram { path, bytes } => self.datagram(now, path, bytes),
            Input::Members(members) => self.watch.set_members(now, members),
            Input::Alive(nodes) => {
                if let Phase::Learning(lesson) = &mut self.phase {
                    let others = |node: &&NodeId| **node != self.own;
                    lesson.expect(&nodes.iter().filter(others).copied().collect());
                }
            }
            Input::Plan(plan) => self.owner.plan(now, plan, &self.watch),
            Input::KernelAnswered { node, means } => self.watch.kernel_answered(now, node, means),
            Input::Ready(ready) => self.ready = ready,
            Input::Responding(responding) => self.stuck = !responding,
            // An empty one changes nothing.
            Input::Secret(secret) => _ = self.seal.rotate(now, secret),
            Input::Carrier(carrier) => self.carrier(now, carrier),
            Input::Restart => self.phase = Phase::Farewell(now + FAREWELL_INTERVAL),
            Input::Leave => {
                self.owner.drain(now, &self.watch);
                self.phase = Phase::Leaving(now + LEAVE_INTERVAL);
            }
        }
        self.turn(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.called(now);
        self.turn(now);
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Learning(_) if self.unplugged => return None,
            Phase::Learning(lesson) => Some(lesson.next_deadline(self.called_at)),
            Phase::Farewell(at) | Phase::Leaving(at) => Some(*at),
            Phase::Serving => None,
            Phase::Over => return None,
        };
        [Some(self.watch.next_deadline()), self.owner.next_deadline(), phase].into_iter().flatten().min()
    }

    /// The next thing to do or to know.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whom the datagram handed in last was from, where it was of use; once. Drivers learn by it where a node's frames
    /// come from.
    pub const fn take_heard(&mut self) -> Option<NodeId> {
        self.heard.take()
    }

    /// Every claim known: to be saved, and given to the next life.
    pub fn claims(&self) -> BTreeMap<IpAddr, Claim> {
        self.owner.claims()
    }

    /// Grows with every change of what [`Self::claims`] says.
    pub const fn revision(&self) -> u64 {
        self.owner.revision()
    }

    /// What we do about an address.
    pub fn role(&self, address: IpAddr) -> Role {
        self.owner.role(address)
    }

    /// Whether an address is ours, and none of us is known to have had it before.
    pub fn is_first(&self, address: IpAddr) -> bool {
        self.owner.is_first(address)
    }

    /// What another node is to us.
    pub fn standing(&self, node: NodeId) -> Standing {
        self.watch.standing(node)
    }

    /// When another node was heard last; time in which we did not run does not count.
    pub fn heard_at(&self, node: NodeId) -> Option<Instant> {
        self.watch.heard_at(node)
    }

    /// Notices whether we were kept from running. [Rule 8]
    fn called(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.expected_at.max(self.called_at));
        self.called_at = self.called_at.max(now);
        if late >= self.timing.interval / 4 {
            self.watch.late(late);
        }
        if late >= self.timing.pause_interval() && matches!(self.phase, Phase::Serving | Phase::Learning(_)) {
            self.outputs.push_back(Output::Event(Event::Paused(late)));
            self.relearn(now, Some(late));
        }
    }

    /// Without a carrier nobody is judged and nothing is taken or answered. With it again this was a pause: what we knew is
    /// as old as the time without it. [Rule 8]
    fn carrier(&mut self, now: Instant, carrier: bool) {
        if self.unplugged != carrier || !matches!(self.phase, Phase::Serving | Phase::Learning(_)) {
            return;
        }
        self.unplugged = !carrier;
        self.relearn(now, None);
    }

    /// Answers for nothing until the others have said what is ours.
    pub(super) fn relearn(&mut self, now: Instant, late: Option<Duration>) {
        if let Phase::Learning(lesson) = &mut self.phase
            && lesson.begin_anew(now, late, &self.timing)
        {
            return;
        }
        self.outputs.push_back(Output::Flush);
        self.owner.learn(now, &self.watch);
        let nonce = self.rng.random::<u64>() | 1;
        self.phase = Phase::Learning(Lesson::after_pause(now, nonce, &self.timing, self.watch.present().collect()));
    }

    /// Everything after an input: what is due, what follows from it, what is to be sent.
    fn turn(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        if self.unplugged && matches!(self.phase, Phase::Learning(_)) {
            self.follow(now);
            self.expected_at = now;
            return;
        }
        self.seal.expire(now);
        self.phase_due(now);
        self.watch.handle_timeout(now);
        self.follow(now);
        self.owner.handle_timeout(now, &self.watch);
        self.follow(now);
        let state = match self.phase {
            Phase::Learning(_) => State::Starting,
            // A living timer beside a dead responder would be a lie: others stand in.
            _ if self.stuck => State::Starting,
            Phase::Serving | Phase::Leaving(_) => State::Running,
            Phase::Farewell(_) | Phase::Over => State::Restarting,
        };
        self.watch.say(state, self.ready, self.owner.digest());
        if !self.owner.owners().eq(self.watch.owners.iter().copied()) {
            self.watch.owners = self.owner.owners().collect();
        }
        self.follow(now);
        self.expected_at = self.next_deadline().unwrap_or(now);
    }

    fn phase_due(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Learning(lesson) => {
                if lesson.is_over(now) {
                    self.phase = Phase::Serving;
                    self.owner.serve(now, &self.watch);
                    self.outputs.push_back(Output::Learned);
                } else if lesson.asks(now, &self.timing) {
                    let query = Body::Query { nonce: lesson.nonce, everything: true };
                    self.tell(now, query);
                }
            }
            Phase::Farewell(at) if *at <= now => self.end(),
            Phase::Leaving(at) if *at <= now || self.owner.is_rid_of_all() => {
                self.watch.say(State::Leaving, false, self.owner.digest());
                self.watch.tell();
                self.watch.tell();
                self.follow(now);
                self.end();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Over;
        self.outputs.push_back(Output::Done);
    }

    /// Carries out what the parts want, until they want nothing more.
    fn follow(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.watch.poll_output() {
                self.watch_wants(now, output);
            } else if let Some(output) = self.owner.poll_output() {
                self.owner_wants(now, output);
            } else {
                return;
            }
        }
    }

    fn watch_wants(&mut self, now: Instant, output: WatchOutput) {
        match output {
            WatchOutput::Send(to, paths, body) => self.send(to, paths, body),
            WatchOutput::Tell(body) => self.tell(now, body),
            WatchOutput::ProbeKernel(node) => self.outputs.push_back(Output::ProbeKernel(node)),
            WatchOutput::Detected(node, after) => self.outputs.push_back(Output::Event(Event::Detected(node, after))),
            WatchOutput::Changed(node) => {
                let standing = self.watch.standing(node);
                if let Standing::Gone { .. } = standing {
                    self.gone_at.insert(node, now);
                }
                self.outputs.push_back(Output::Event(Event::Standing(node, standing)));
                self.owner.settle_all(now, &self.watch);
            }
            WatchOutput::Met => self.owner.tell_list(now, self.timing.interval / 4),
            WatchOutput::Revived(node) => {
                self.gone_at.insert(node, now);
                self.send(node, Paths::BOTH, Body::HeldDead);
                self.owner.reunited(now);
                self.owner.tell_list(now, Duration::ZERO);
            }
        }
    }

    fn owner_wants(&mut self, now: Instant, output: OwnerOutput) {
        match output {
            OwnerOutput::Send(to, body) => self.send(to, Paths::BOTH, body),
            OwnerOutput::Tell(body) => self.tell(now, body),
            OwnerOutput::Ask(node) => {
                let nonce = self.rng.random::<u64>() | 1;
                self.send(node, Paths::BOTH, Body::Query { nonce, everything: false });
            }
            OwnerOutput::Role(address, role) => self.outputs.push_back(Output::Role { address, role }),
            OwnerOutput::Announce(address) => self.outputs.push_back(Output::Announce(address)),
            OwnerOutput::Beaten(address, by) => self.outputs.push_back(Output::Event(Event::Beaten(address, by))),
            OwnerOutput::HandedOver(address, to, after) => {
                self.outputs.push_back(Output::Event(Event::HandedOver(address, to, after)));
            }
        }
    }

    fn send(&mut self, to: NodeId, paths: Paths, body: Body) {
        let message = Message { sender: self.own, to: Some(to), body }.emit();
        for path in paths.iter() {
            self.put(Some(to), path, &message);
        }
    }

    /// To everybody: by the LAN, and one by one to those that it does not reach.
    fn tell(&mut self, now: Instant, body: Body) {
        let message = Message { sender: self.own, to: None, body }.emit();
        self.put(None, Path::Lan, &message);
        for node in self.watch.beyond_lan(now).collect::<Vec<_>>() {
            self.put(Some(node), Path::Udp, &message);
        }
    }

    fn put(&mut self, to: Option<NodeId>, path: Path, message: &[u8]) {
        let sealed = self.seal.seal_all(message).into_iter();
        self.outputs.extend(sealed.map(|bytes| Output::Send { to, path, bytes }));
    }
}

mod receive;
#[cfg(test)]
mod tests;
