//! Nodes of one segment in virtual time: they crash, hang, sleep, restart, and the network between them fails.
//!
//! Every node is a [`Segment`] with a kernel that answers echo, a clock of its own and a socket buffer. The plan ranks
//! candidates by a hash, as the election does. What answers for an address, and every fault, goes into the history that
//! [`super::history`] judges. Nothing here looks into a machine; the same seed gives the same history, bit for bit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::history::Record;
use crate::ethernet::MacAddr;
use crate::segment::frame::Path;
use crate::segment::{Claim, Config, Event, Input, Means, NodeId, Output, Plan, Role, Segment, Timing};

mod faults;

/// Frames that wait in a socket of a node that does not read.
const SOCKET: usize = 256;
/// A probe of a kernel is answered within so long, both ways together.
const ECHO: Duration = Duration::from_micros(300);

/// The number of a node, from 0.
pub type Number = usize;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Node and speaker run.
    Up,
    /// The speaker does not run; the kernel answers.
    SpeakerDown,
    /// The speaker does not get the processor (SIGSTOP, a freezer); the kernel answers.
    Stopped,
    /// Nothing runs: suspended, or a virtual machine that is paused.
    Suspended {
        /// Its clock runs on meanwhile.
        seen_by_clock: bool,
        /// Since when.
        since: Instant,
    },
    /// No power.
    Dead,
}

struct Node {
    id: NodeId,
    mac: MacAddr,
    state: State,
    segment: Option<Segment>,
    /// How far its clock is behind.
    lag: Duration,
    saved: BTreeMap<IpAddr, Claim>,
    /// What it saved is gone when it starts.
    replaced: bool,
    /// What it seals with when it starts.
    secret: Vec<u8>,
    plan: Plan,
    socket: VecDeque<(Path, Rc<[u8]>)>,
    /// The wake-up that counts; older ones in the queue are stale.
    wake_at: Option<Instant>,
    restart_at: Option<Instant>,
    /// Extra time that its timers take, up to so long: a busy processor.
    lateness: Duration,
    /// What each address is answered with now.
    answers: BTreeMap<IpAddr, MacAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Arrives { to: Number, path_is_lan: bool, bytes: Rc<[u8]> },
    Wake(Number),
    Kernel { to: Number, about: NodeId },
    Boot(Number),
}

/// What the machines did, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Datagrams sent; one to everybody counts once.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams received.
    pub received: u64,
    /// Claims of ours that were beaten.
    pub beaten: u64,
    /// Addresses handed over.
    pub handed_over: u64,
    /// Verdicts "gone" about nodes whose kernel was alive.
    pub false_deaths: u64,
    /// Datagrams that were of no use.
    pub dropped: u64,
}

/// Nodes and the network between them.
pub struct Cluster {
    seed: u64,
    start: Instant,
    now: Instant,
    rng: SmallRng,
    timing: Timing,
    nodes: Vec<Node>,
    numbers: BTreeMap<NodeId, Number>,
    queue: BinaryHeap<Reverse<(Instant, u64, Happening)>>,
    count: u64,
    /// Messages lost, in percent.
    pub loss: u32,
    /// Every message takes between nothing and this long.
    pub delay: Duration,
    lan_blocked: bool,
    udp_blocked: bool,
    cut: BTreeSet<(Number, Number)>,
    history: Vec<(Duration, Record)>,
    records: bool,
    recorded: Vec<Rc<[u8]>>,
    /// See there.
    pub figures: Figures,
}

impl Cluster {
    /// So many nodes, which start together, and so many addresses.
    pub fn new(seed: u64, nodes: usize, addresses: u16, timing: Timing, now: Instant) -> Self {
        let mut cluster = Self {
            seed,
            start: now,
            now,
            rng: SmallRng::seed_from_u64(seed),
            timing,
            nodes: Vec::new(),
            numbers: BTreeMap::new(),
            queue: BinaryHeap::new(),
            count: 0,
            loss: 0,
            delay: Duration::from_micros(200),
            lan_blocked: false,
            udp_blocked: false,
            cut: BTreeSet::new(),
            history: Vec::new(),
            records: false,
            recorded: Vec::new(),
            figures: Figures::default(),
        };
        for number in 0..nodes {
            let id = NodeId::of(&format!("node-{number}"));
            let [.., high, low] = number.to_be_bytes();
            cluster.numbers.insert(id, number);
            cluster.nodes.push(Node::new(id, MacAddr([2, 0, 0, 0, high, low])));
        }
        let plan = cluster.ranked(addresses);
        for number in 0..nodes {
            if let Some(node) = cluster.nodes.get_mut(number) {
                node.plan.clone_from(&plan);
            }
            cluster.boot(number);
        }
        cluster
    }

    /// The plan of a cluster in which every node may answer for every address.
    pub fn ranked(&self, addresses: u16) -> Plan {
        let address = |n: u16| IpAddr::V4(Ipv4Addr::from_bits(0xc0a8_0000 | u32::from(n)));
        let order = |address: IpAddr| -> Arc<[NodeId]> {
            let mut nodes: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
            nodes.sort_by_key(|node| NodeId::of(&format!("{}#{address}", node.0)));
            nodes.into()
        };
        (1..=addresses).map(|n| (address(n), order(address(n)))).collect()
    }

    /// The seed, for messages.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// How many nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Which node has this identity.
    pub fn number(&self, id: NodeId) -> Option<Number> {
        self.numbers.get(&id).copied()
    }

    /// The identity of a node.
    pub fn id(&self, number: Number) -> Option<NodeId> {
        self.nodes.get(number).map(|node| node.id)
    }

    /// The machine of a node, where one runs.
    pub fn segment(&self, number: Number) -> Option<&Segment> {
        self.nodes.get(number)?.segment.as_ref()
    }

    /// What answers for an address now: the node that does, and with which MAC address.
    pub fn answers(&self, address: IpAddr) -> Vec<(Number, MacAddr)> {
        let answering = |node: &Node| node.is_running().then(|| node.answers.get(&address).copied()).flatten();
        self.nodes.iter().enumerate().filter_map(|(number, node)| Some((number, answering(node)?))).collect()
    }

    /// Everything that was recorded, with the time since the beginning.
    pub fn history(&self) -> &[(Duration, Record)] {
        &self.history
    }

    fn record(&mut self, record: Record) {
        self.history.push((self.now - self.start, record));
    }

    /// Lets so much time pass.
    pub fn run(&mut self, during: Duration) {
        let end = self.now + during;
        while self.queue.peek().is_some_and(|Reverse((at, _, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until something is so, at most so long; returns how long that took.
    pub fn until(&mut self, within: Duration, so: impl Fn(&Self) -> bool) -> Option<Duration> {
        let start = self.now;
        while !so(self) {
            if self.now - start > within || self.queue.is_empty() {
                return None;
            }
            self.step();
        }
        Some(self.now - start)
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, happening))) = self.queue.pop() else { return };
        self.now = self.now.max(at);
        match happening {
            Happening::Arrives { to, path_is_lan, bytes } => {
                self.arrives(to, if path_is_lan { Path::Lan } else { Path::Udp }, bytes);
            }
            Happening::Wake(number) => {
                if let Some(node) = self.nodes.get_mut(number).filter(|node| node.wake_at == Some(at)) {
                    node.wake_at = None;
                    self.call(number, None);
                }
            }
            Happening::Kernel { to, about } => {
                for means in [Means::Echo, Means::Neighbour] {
                    self.call(to, Some(Input::KernelAnswered { node: about, means }));
                }
            }
            Happening::Boot(number) => {
                if self.nodes.get(number).is_some_and(|node| node.restart_at == Some(at)) {
                    self.boot(number);
                }
            }
        }
    }

    fn push(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.queue.push(Reverse((at, self.count, happening)));
    }

    fn arrives(&mut self, to: Number, path: Path, bytes: Rc<[u8]>) {
        let Some(node) = self.nodes.get_mut(to) else { return };
        match node.state {
            State::Up => {
                self.figures.received += 1;
                self.call(to, Some(Input::Datagram { path, bytes: &bytes }));
            }
            State::Stopped if node.socket.len() < SOCKET => node.socket.push_back((path, bytes)),
            _ => {}
        }
    }

    /// Calls a machine, if it runs, and carries out what it wants.
    fn call(&mut self, number: Number, input: Option<Input<'_>>) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.is_running()) else { return };
        let own = now - node.lag;
        let Some(segment) = node.segment.as_mut() else { return };
        match input {
            Some(input) => segment.handle(own, input),
            None => segment.handle_timeout(own),
        }
        let mut outputs = Vec::new();
        while let Some(output) = segment.poll_output() {
            outputs.push(output);
        }
        let wake_at = segment.next_deadline().map(|at| at + node.lag);
        outputs.into_iter().for_each(|output| self.carry_out(number, output));
        self.set_wake(number, wake_at);
    }

    fn set_wake(&mut self, number: Number, wake_at: Option<Instant>) {
        let Some(node) = self.nodes.get_mut(number) else { return };
        let Some(at) = wake_at.map(|at| at.max(self.now)) else {
            node.wake_at = None;
            return;
        };
        let late = u64::try_from(node.lateness.as_micros()).unwrap_or_default();
        let at = if late > 0 && node.wake_at.is_none() {
            at + Duration::from_micros(self.rng.random_range(0..=late))
        } else {
            at
        };
        if node.wake_at.is_none_or(|before| before > at) {
            node.wake_at = Some(at);
            self.push(at, Happening::Wake(number));
        }
    }

    fn carry_out(&mut self, number: Number, output: Output) {
        match output {
            Output::Send { to, path, bytes } => self.send(number, to, path, &bytes),
            Output::ProbeKernel(about) => self.probe(number, about),
            Output::Role { address, role } => self.set_role(number, address, role),
            Output::Announce(address) => self.record(Record::Announced { node: number, address }),
            Output::Flush => {
                if let Some(node) = self.nodes.get_mut(number) {
                    node.socket.clear();
                }
            }
            Output::Done => self.speaker_ends(number, State::SpeakerDown),
            Output::Event(Event::Standing(other, crate::segment::Standing::Gone { .. })) => {
                let lives = |number: &Number| self.nodes.get(*number).is_some_and(Node::has_power);
                if self.number(other).is_some_and(|number| lives(&number)) {
                    self.figures.false_deaths += 1;
                }
            }
            Output::Event(Event::Beaten(..)) => self.figures.beaten += 1,
            Output::Event(Event::HandedOver(..)) => self.figures.handed_over += 1,
            Output::Event(Event::Dropped(_)) => self.figures.dropped += 1,
            Output::Learned | Output::Event(_) => {}
        }
    }

    fn set_role(&mut self, number: Number, address: IpAddr, role: Role) {
        let Some(node) = self.nodes.get_mut(number) else { return };
        let mac = match role {
            Role::Silent => None,
            Role::Owner => Some(node.mac),
            Role::StandIn { mac, .. } => Some(mac),
        };
        match mac {
            Some(mac) => node.answers.insert(address, mac),
            None => node.answers.remove(&address),
        };
        self.record(Record::Answers { node: number, address, mac });
    }

    fn send(&mut self, from: Number, to: Option<NodeId>, path: Path, bytes: &[u8]) {
        self.figures.sent += 1;
        self.figures.bytes += bytes.len() as u64;
        let bytes: Rc<[u8]> = bytes.into();
        if self.records {
            self.recorded.push(Rc::clone(&bytes));
        }
        match to.map(|to| self.number(to)) {
            Some(Some(to)) => self.transmit(from, to, path, bytes),
            Some(None) => {}
            None => {
                for to in (0..self.nodes.len()).filter(|to| *to != from) {
                    self.transmit(from, to, path, Rc::clone(&bytes));
                }
            }
        }
    }

    fn transmit(&mut self, from: Number, to: Number, path: Path, bytes: Rc<[u8]>) {
        let blocked = match path {
            Path::Lan => self.lan_blocked,
            Path::Udp => self.udp_blocked,
        };
        if !blocked && self.passes(from, to) {
            let at = self.now + self.delay();
            self.push(at, Happening::Arrives { to, path_is_lan: path == Path::Lan, bytes });
        }
    }

    fn passes(&mut self, from: Number, to: Number) -> bool {
        !self.cut.contains(&(from, to)) && self.rng.random_range(0..100) >= self.loss
    }

    fn delay(&mut self) -> Duration {
        let most = u64::try_from(self.delay.as_micros()).unwrap_or_default();
        Duration::from_micros(self.rng.random_range(0..=most))
    }

    fn probe(&mut self, from: Number, about: NodeId) {
        let Some(to) = self.number(about) else { return };
        let lives = self.nodes.get(to).is_some_and(Node::has_kernel);
        if lives && self.passes(from, to) && self.passes(to, from) {
            let at = self.now + ECHO + self.delay();
            self.push(at, Happening::Kernel { to: from, about });
        }
    }
}

impl Node {
    fn new(id: NodeId, mac: MacAddr) -> Self {
        Self {
            id,
            mac,
            state: State::Dead,
            segment: None,
            lag: Duration::ZERO,
            saved: BTreeMap::new(),
            replaced: false,
            secret: faults::SECRET.to_vec(),
            plan: Plan::new(),
            socket: VecDeque::new(),
            wake_at: None,
            restart_at: None,
            lateness: Duration::ZERO,
            answers: BTreeMap::new(),
        }
    }

    fn is_running(&self) -> bool {
        self.state == State::Up && self.segment.is_some()
    }

    fn has_kernel(&self) -> bool {
        matches!(self.state, State::Up | State::SpeakerDown | State::Stopped)
    }

    fn has_power(&self) -> bool {
        self.has_kernel()
    }
}
