//! The loop: wait for frames, datagrams, orders, or for what is due; then let the machines speak.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ferrolb_proto::segment::frame::Path;
use ferrolb_proto::segment::{Event, Input, Means, NodeId, Output, Role, Standing};
use ferrolb_rules::names::NodeName;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::watch;

use super::clock::BootClock;
use super::figures::Figures;
use super::kernel::Echo;
use super::machine::{Common, Machine};
use super::{Claims, Config, End, Ownership, Shared, Taken, Wish};
use crate::drive::l2::{AnswersByInterface, Orderer};
use crate::net::priority::{self, Regime};

/// Tokens of epoll: the bell and echo replies; else the interface's index, doubled, plus one for ARP.
const BELL: u64 = u64::MAX;
const ECHO: u64 = u64::MAX - 1;

pub(super) struct Run {
    common: Common,
    own: NodeName,
    nodes_by_address: bool,
    port: u16,
    shared: Arc<Shared>,
    ownership: watch::Sender<Arc<Ownership>>,
    figures: Arc<Figures>,
    answers: Orderer,
    epoll: Epoll,
    clock: BootClock,
    echo: Echo,
    socket: Option<Arc<UdpSocket>>,
    saved: Claims,
    wish: Wish,
    /// The nodes of the wish by their number, and by their address.
    names: BTreeMap<NodeId, NodeName>,
    by_address: BTreeMap<IpAddr, NodeId>,
    machines: BTreeMap<u32, Machine>,
    /// Roles have changed since they were told.
    changed: bool,
    /// To be announced once more.
    tell: Vec<(u32, IpAddr)>,
    /// What was published: per machine, its revision and whether it has learned.
    published: BTreeMap<u32, (u64, bool)>,
    /// Addresses that were taken over from nodes that had failed, and how often that happened.
    taken: BTreeMap<IpAddr, Taken>,
    takeovers: u64,
}

impl Run {
    pub(super) fn new(
        config: Config,
        shared: Arc<Shared>,
        (ownership, figures): (watch::Sender<Arc<Ownership>>, Arc<Figures>),
        answers: Orderer,
    ) -> io::Result<Self> {
        if config.secret.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the secret is empty"));
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let echo = Echo::open(rand::random());
        for socket in echo.sockets() {
            epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, ECHO))?;
        }
        let common =
            Common { own: NodeId::of(config.own.as_str()), secrets: vec![config.secret], timing: config.timing };
        Ok(Self {
            common,
            own: config.own,
            nodes_by_address: config.nodes_by_address,
            port: config.port,
            shared,
            ownership,
            figures,
            answers,
            epoll,
            clock: BootClock::start(),
            echo,
            socket: None,
            saved: config.saved,
            wish: Wish::default(),
            names: BTreeMap::new(),
            by_address: BTreeMap::new(),
            machines: BTreeMap::new(),
            changed: false,
            tell: Vec::new(),
            published: BTreeMap::new(),
            taken: BTreeMap::new(),
            takeovers: 0,
        })
    }

    /// Runs until it is told to end and has said goodbye.
    pub(super) fn run(&mut self) {
        self.figures.is_real_time.store(priority::claim() == Regime::RealTime, Ordering::Relaxed);
        let mut events = [EpollEvent::empty(); 64];
        loop {
            self.turn();
            if self.machines.values().any(|machine| machine.done) && self.machines.values().all(|machine| machine.done)
            {
                return;
            }
            let ready = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(event = "segment", %error, "epoll failed; the process ends");
                    std::process::exit(101);
                }
            };
            let now = self.clock.now();
            for event in events.iter().take(ready) {
                match event.data() {
                    BELL => {
                        if self.obey(now) {
                            return;
                        }
                    }
                    ECHO => self.echoes(now),
                    token => self.read(now, token),
                }
            }
        }
    }

    /// Lets every machine do what is due, and does what they want.
    fn turn(&mut self) {
        let now = self.clock.now();
        let indices: Vec<u32> = self.machines.keys().copied().collect();
        for index in indices {
            if let Some(machine) = self.machines.get_mut(&index)
                && let Some(due_at) = machine.segment.next_deadline().filter(|at| *at <= now)
            {
                self.figures.lateness.note(now.saturating_duration_since(due_at));
                machine.segment.handle_timeout(now);
            }
            self.follow(index);
        }
        self.note_claims();
        if std::mem::take(&mut self.changed) {
            self.answer();
        }
        if !self.tell.is_empty() {
            self.answers.tell(std::mem::take(&mut self.tell));
        }
        self.publish();
    }

    /// What others have had is known before we answer for it.
    fn note_claims(&mut self) {
        for (index, machine) in &mut self.machines {
            if self.published.get(index).is_none_or(|(revision, _)| *revision != machine.segment.revision()) {
                machine.note_claims(self.common.own);
            }
            self.changed |= std::mem::take(&mut machine.relearned);
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let deadline = self.machines.values().filter_map(|machine| machine.segment.next_deadline()).min();
        let Some(at) = deadline else { return EpollTimeout::NONE };
        // Whole milliseconds, rounded up: waking too early would only spin.
        let millis = at.saturating_duration_since(self.clock.now()).as_micros().div_ceil(1000);
        EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
    }

    /// Takes orders. Returns whether it is to end at once.
    fn obey(&mut self, now: Instant) -> bool {
        let orders = self.shared.take();
        if let Some(socket) = orders.socket {
            self.socket = socket;
        }
        for machine in self.machines.values_mut().filter(|machine| machine.has_udp) {
            for bytes in &orders.datagrams {
                machine.segment.handle(now, Input::Datagram { path: Path::Udp, bytes });
                // Where a datagram comes from on the LAN is not known.
                let _ = machine.segment.take_heard();
            }
        }
        for secret in orders.secrets {
            self.machines.values_mut().for_each(|machine| machine.segment.handle(now, Input::Secret(&secret)));
            // An interface that comes later may meet nodes that have not got it yet.
            self.common.secrets.push(secret);
            let too_many = self.common.secrets.len().saturating_sub(2);
            self.common.secrets.drain(..too_many);
        }
        if let Some(wish) = orders.wish {
            self.set(now, wish);
        }
        let input = match orders.end {
            None => return false,
            Some(End::Now) => return true,
            Some(End::Restart) => Input::Restart,
            Some(End::Leave) => Input::Leave,
        };
        self.machines.values_mut().for_each(|machine| machine.segment.handle(now, input));
        self.machines.is_empty()
    }

    fn set(&mut self, now: Instant, wish: Wish) {
        if wish == self.wish {
            return;
        }
        let id = |name: &NodeName| NodeId::of(name.as_str());
        self.names = wish.nodes.keys().map(|name| (id(name), name.clone())).collect();
        self.names.insert(self.common.own, self.own.clone());
        self.by_address = wish.nodes.iter().map(|(name, address)| (*address, id(name))).collect();
        let mut there = BTreeMap::new();
        // A node that does not know yet what it may announce is as good as one that does not run: others stand in for it.
        for link in wish.links.iter().filter(|_| wish.candidates.is_some()) {
            match if_nametoindex(link.name.as_str()) {
                Ok(index) => drop(there.insert(index, link)),
                // Gone again: the next wish is without it.
                Err(error) => {
                    tracing::debug!(event = "segment", interface = link.name, %error, "no such interface any more");
                }
            }
        }
        // A name is no reason to begin anew; a MAC address is: it stands in our claims.
        let gone = |machine: &Machine| there.get(&machine.index).is_none_or(|link| link.mac != machine.link.mac);
        let lost: Vec<u32> =
            self.machines.iter().filter(|(_, machine)| gone(machine)).map(|(index, _)| *index).collect();
        for index in lost {
            // What was claimed there may be claimed again when the interface is back.
            if let Some(machine) = self.machines.remove(&index) {
                self.saved.insert(machine.link.name.clone(), machine.segment.claims());
                self.changed = true;
            }
        }
        for (index, link) in there {
            if let Some(machine) = self.machines.get_mut(&index) {
                self.changed |= machine.relink(now, link);
                continue;
            }
            let opened = Machine::open(&self.common, link.clone(), index, &self.saved, now).and_then(|machine| {
                let token = u64::from(machine.index) * 2;
                self.epoll.add(&machine.lan, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
                self.epoll.add(&machine.arp, EpollEvent::new(EpollFlags::EPOLLIN, token + 1))?;
                Ok(machine)
            });
            match opened {
                Ok(mut machine) => {
                    machine.segment.handle(now, Input::Carrier(machine.link.carrier));
                    self.machines.insert(machine.index, machine);
                }
                // Gone again, most likely: the next wish is without it.
                Err(error) => {
                    tracing::warn!(event = "segment", interface = link.name, %error, "cannot watch this interface");
                }
            }
        }
        self.wish = wish;
        self.know(now);
    }

    /// Tells the machines what they are to know.
    fn know(&mut self, now: Instant) {
        let alone = self.machines.len() == 1;
        let node = self.wish.nodes.get(&self.own).copied();
        let nodes: BTreeMap<NodeName, NodeId> = self.names.iter().map(|(id, name)| (name.clone(), *id)).collect();
        let alive: BTreeSet<NodeId> = self.wish.alive.iter().map(|name| NodeId::of(name.as_str())).collect();
        let others = self.wish.nodes.iter().filter(|(name, _)| **name != self.own).map(|(_, address)| *address);
        let others: BTreeSet<IpAddr> = others.collect();
        for machine in self.machines.values_mut() {
            self.changed |= !machine.learned;
            machine.look(node);
            machine.segment.handle(now, Input::Ready(self.wish.serves));
            machine.know(now, self.wish.candidates.as_ref(), (&nodes, &alive), alone);
            if self.nodes_by_address {
                machine.ask_new(&others);
            }
        }
    }

    fn read(&mut self, now: Instant, token: u64) {
        let Some(machine) = u32::try_from(token / 2).ok().and_then(|index| self.machines.get_mut(&index)) else {
            return;
        };
        if token.is_multiple_of(2) {
            machine.read(now);
        } else {
            machine.read_arp(now, &self.by_address, self.nodes_by_address);
        }
    }

    fn echoes(&mut self, now: Instant) {
        for address in self.echo.heard() {
            let Some(node) = self.by_address.get(&address) else { continue };
            for machine in self.machines.values_mut() {
                machine.segment.handle(now, Input::KernelAnswered { node: *node, means: Means::Echo });
            }
        }
    }

    /// Does what a machine wants.
    fn follow(&mut self, index: u32) {
        let address_of = |wish: &Wish, names: &BTreeMap<NodeId, NodeName>, node| {
            names.get(&node).and_then(|name| wish.nodes.get(name)).copied()
        };
        let now = self.clock.now();
        let Some(machine) = self.machines.get_mut(&index) else { return };
        while let Some(output) = machine.segment.poll_output() {
            match output {
                Output::Send { to, path: Path::Lan, bytes } => machine.send(to, &bytes),
                Output::Send { to: None, path: Path::Udp, .. } => {}
                Output::Send { to: Some(node), path: Path::Udp, bytes } => {
                    let address = address_of(&self.wish, &self.names, node).filter(|_| machine.has_udp);
                    if let (Some(socket), Some(address)) = (&self.socket, address) {
                        // What cannot be sent is lost, as on any network.
                        let _ = socket.send_to(&bytes, SocketAddr::new(address, self.port));
                    }
                }
                Output::ProbeKernel(node) => {
                    if let Some(address) = address_of(&self.wish, &self.names, node) {
                        self.echo.ask(address);
                        machine.ask_neighbour(address);
                    }
                }
                Output::Role { address, role: Role::Silent } => {
                    self.changed |= machine.roles.remove(&address).is_some();
                    self.taken.remove(&address);
                }
                Output::Role { address, role } => {
                    let before = machine.roles.insert(address, role);
                    self.changed |= before != Some(role);
                    if role == Role::Owner && before != Some(role) {
                        let failed = failed_owner(&self.ownership.borrow(), machine, address, now);
                        self.takeovers += u64::from(failed.is_some());
                        let taken = failed.map(|(from, unheard)| Taken { from, unheard, number: self.takeovers });
                        self.taken.extend(taken.map(|taken| (address, taken)));
                    }
                }
                Output::Announce(address) => self.tell.push((index, address)),
                Output::Flush => machine.flush(),
                Output::Learned => {
                    machine.learned = true;
                    self.changed = true;
                }
                Output::Done => machine.done = true,
                Output::Event(event) => {
                    self.figures.note(&event);
                    narrate(&self.names, machine, event);
                }
            }
        }
    }

    /// Tells layer 2 what to answer for.
    fn answer(&self) {
        let all: AnswersByInterface = self.machines.iter().map(|(index, one)| (*index, one.answers())).collect();
        self.answers.answer(all);
    }

    fn publish(&mut self) {
        let state = |machine: &Machine| (machine.segment.revision(), machine.learned);
        let states = self.machines.iter().map(|(index, machine)| (*index, state(machine))).collect();
        if self.published == states {
            return;
        }
        self.published = states;
        let mut new = Ownership {
            learned: !self.machines.is_empty() && self.machines.values().all(|machine| machine.learned),
            taken: self.taken.clone(),
            ..Ownership::default()
        };
        for machine in self.machines.values() {
            new.claims.insert(machine.link.name.clone(), machine.segment.claims());
        }
        self.ownership.send_replace(Arc::new(new));
    }
}

/// Whose an address was before it became ours, if that node has failed, and how long it had not been heard.
fn failed_owner(before: &Ownership, machine: &Machine, address: IpAddr, now: Instant) -> Option<(NodeId, Duration)> {
    let owner = before.owner(&machine.link.name, address)?;
    let failed = matches!(machine.segment.standing(owner), Standing::Down { .. } | Standing::Gone { .. });
    let heard_at = machine.segment.heard_at(owner).filter(|_| failed)?;
    Some((owner, now.saturating_duration_since(heard_at)))
}

/// Writes into the log what an operator would want to have read afterwards.
fn narrate(names: &BTreeMap<NodeId, NodeName>, machine: &Machine, event: Event) {
    let interface = machine.link.name.as_str();
    let name = |node: NodeId| names.get(&node).map_or_else(|| format!("{:016x}", node.0), ToString::to_string);
    match event {
        Event::Standing(node, standing) => {
            let now = match standing {
                Standing::Unknown => "never heard",
                Standing::Up => "up",
                // At a start all others are waited for, and nobody's speaker ended.
                Standing::Down { .. } if machine.segment.heard_at(node).is_none() => "not heard yet",
                Standing::Down { .. } => "speaker down",
                Standing::Gone { .. } => "gone",
            };
            tracing::info!(event = "standing", interface, node = name(node), now, "a node of this LAN");
        }
        Event::Beaten(address, by) => {
            tracing::info!(event = "beaten", interface, %address, by = name(by), "another claim is better than ours");
        }
        Event::HandedOver(address, to, after) => {
            let after_ms = after.map(|after| after.as_millis());
            tracing::info!(event = "handedOver", interface, %address, to = name(to), after_ms, "handed over");
        }
        Event::Detected(node, after) => {
            let after_ms = after.as_millis();
            tracing::info!(event = "detected", interface, node = name(node), after_ms, "no sign of life any more");
        }
        Event::Paused(late) => {
            tracing::warn!(
                event = "paused",
                interface,
                late_ms = late.as_millis(),
                "this program did not run for a while; it asks what is its own"
            );
        }
        Event::HeldDead(node) => {
            tracing::warn!(event = "heldDead", interface, node = name(node), "this node held us dead");
        }
        Event::Dropped(why) => tracing::debug!(event = "dropped", interface, %why, "a frame was of no use"),
    }
}
