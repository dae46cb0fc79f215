//! The loop: wait for frames, for netlink, for a new wish, or for the next announcement.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_proto::announce::{Announcements, Input, Place};
use ferrolb_proto::arp;
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::refresh::{self, Refresh};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::sync::{mpsc, watch};

use super::counts::Counts;
use super::links::{Links, Unfit, Usable};
use super::pings::{Pings, PingsByInterface};
use super::responder::Responder;
use super::strangers::Strangers;
use super::{AnsweredOn, Answers, AnswersByInterface, Frames, Orders, Promiscuous, Shared, Use, Wanted, Wire};
use crate::net::netlink::{self, Change, Monitor};
use crate::net::raw::PacketSocket;
use crate::state::InterfaceState;

/// Tokens of epoll: the bell and netlink; else the interface's index, doubled, plus one for solicitations.
const BELL: u64 = u64::MAX;
const NETLINK: u64 = u64::MAX - 1;
/// Added for the sockets that strangers are seen by.
const STRANGERS: u64 = 1 << 40;
/// Added for the sockets of pings.
const PINGS: u64 = 1 << 41;

/// Frames read from one socket before the others get their turn.
const TURN: usize = 64;
/// A wait that is shorter was none.
const NO_SLEEP: Duration = Duration::from_micros(1);

pub(super) struct Run {
    shared: Arc<Shared>,
    wire: watch::Sender<Arc<Wire>>,
    epoll: Epoll,
    monitor: Monitor,
    links: Links,
    promiscuous: Promiscuous,
    wanted: Wanted,
    /// Instead of what is wanted, where somebody says it by interface.
    answers: Option<AnswersByInterface>,
    responders: BTreeMap<u32, Responder>,
    strangers: BTreeMap<u32, Strangers>,
    /// Whether pings are answered; for what besides what is answered for here; and where that is so now.
    answer_ping: bool,
    routed: BTreeSet<IpAddr>,
    pings: PingsByInterface,
    /// Per interface, what it is to answer for.
    assigned: AnswersByInterface,
    announcements: Announcements,
    refresh: Refresh,
    counts: Counts,
    failures: BTreeMap<String, String>,
    unfit: BTreeMap<String, Unfit>,
}

impl Run {
    pub(super) fn new(
        shared: Arc<Shared>,
        wire: watch::Sender<Arc<Wire>>,
        frames: mpsc::UnboundedSender<Frames>,
        how: Use,
    ) -> io::Result<Self> {
        // On no interface at all: only to see early whether we may.
        PacketSocket::open(0, arp::ETHERTYPE, &arp::filter::arp_requests(&BTreeSet::new())).map_err(|error| {
            io::Error::new(error.kind(), format!("no packet socket can be opened, which answering ARP takes: {error}"))
        })?;
        let monitor = Monitor::open()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        epoll.add(&monitor, EpollEvent::new(EpollFlags::EPOLLIN, NETLINK))?;
        let mut run = Self {
            shared,
            wire,
            epoll,
            monitor,
            links: Links::new(how.choice),
            promiscuous: how.promiscuous,
            wanted: Wanted::new(),
            answers: None,
            responders: BTreeMap::new(),
            strangers: BTreeMap::new(),
            answer_ping: how.answer_ping,
            routed: BTreeSet::new(),
            pings: BTreeMap::new(),
            assigned: BTreeMap::new(),
            announcements: Announcements::new(Instant::now()),
            refresh: Refresh::new(refresh::INTERVAL, rand::random(), Instant::now()),
            counts: Counts::new(frames),
            failures: BTreeMap::new(),
            unfit: BTreeMap::new(),
        };
        run.read_everything()?;
        run.follow_links();
        run.publish();
        Ok(run)
    }

    /// Runs until it is told to stop.
    pub(super) fn run(&mut self) {
        let mut events = [EpollEvent::empty(); 32];
        // Looking at the clock is a good part of what we do for a frame: once before and once after is enough.
        let mut now = Instant::now();
        loop {
            let ready = match self.epoll.wait(&mut events, self.timeout(now)) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => 0,
                Err(error) => {
                    tracing::error!(event = "l2", %error, "epoll failed; the process ends");
                    std::process::exit(101);
                }
            };
            let woken_at = Instant::now();
            // Where the thread had no time to fall asleep, more frames are waiting.
            let turn = if woken_at.duration_since(now) < NO_SLEEP { TURN } else { 1 };
            let mut changed = false;
            for event in events.iter().take(ready) {
                match event.data() {
                    BELL => {
                        let orders = self.shared.take();
                        if orders.stop {
                            return;
                        }
                        changed |= self.obey(orders);
                    }
                    NETLINK => changed |= self.netlink(),
                    token if token >= PINGS => self.pinged(token - PINGS, turn, woken_at),
                    token if token >= STRANGERS => self.sighted(token - STRANGERS),
                    token => self.serve(token, turn),
                }
            }
            now = Instant::now();
            changed |= self.strangers(now);
            self.announce(now);
            self.counts.handle_timeout(now);
            if changed {
                self.publish();
            }
        }
    }

    /// Takes orders. Returns whether anything may be answered otherwise than before.
    fn obey(&mut self, orders: Orders) -> bool {
        let changed = orders.wanted.is_some() || orders.answers.is_some();
        if let Some(wanted) = orders.wanted {
            self.wanted = wanted;
        }
        if orders.answers.is_some() {
            self.answers = orders.answers;
        }
        let routed = orders.routed.is_some();
        self.routed = orders.routed.unwrap_or(std::mem::take(&mut self.routed));
        if changed {
            self.assign();
        } else if routed {
            self.assign_pings();
        }
        for (index, address) in orders.tell {
            if self.assigned.get(&index).is_some_and(|assigned| assigned.own.contains(&address)) {
                self.announcements.handle(Instant::now(), Input::Start((index, address)));
            }
        }
        changed
    }

    /// Frames before announcements: a pending announcement shortens the wait, and is sent after what is ready.
    fn timeout(&self, now: Instant) -> EpollTimeout {
        let announcing = [self.announcements.next_deadline(), self.refresh.next_deadline()];
        let deadlines = announcing.into_iter().chain([self.counts.next_deadline()]);
        let strangers = self.strangers.values().filter_map(Strangers::next_deadline);
        let Some(at) = deadlines.flatten().chain(strangers).min() else { return EpollTimeout::NONE };
        let wait = at.saturating_duration_since(now);
        // Whole milliseconds, rounded up: waking too early would only spin.
        let millis = wait.as_micros().div_ceil(1000);
        EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
    }

    /// Answers what waits on one socket: one frame, because the neighbour may be waiting for our CPU; many, where many
    /// are waiting.
    fn serve(&mut self, token: u64, turn: usize) {
        let Some(responder) = u32::try_from(token / 2).ok().and_then(|index| self.responders.get(&index)) else {
            return;
        };
        if token.is_multiple_of(2) {
            responder.serve_arp(turn, &mut self.counts);
        } else {
            responder.serve_ndp(turn, &mut self.counts);
        }
    }

    fn pinged(&mut self, token: u64, turn: usize, now: Instant) {
        let Ok(index) = u32::try_from(token / 2) else { return };
        if let (Some(pings), Some(responder)) = (self.pings.get_mut(&index), self.responders.get(&index)) {
            pings.serve(token.is_multiple_of(2), responder.usable.mac, turn, now, &mut self.counts);
        }
    }

    fn sighted(&mut self, token: u64) {
        if let Some(strangers) = u32::try_from(token / 2).ok().and_then(|index| self.strangers.get_mut(&index)) {
            strangers.read(Instant::now());
        }
    }

    /// What came of looking for strangers. Returns whether anything is to be told.
    fn strangers(&mut self, now: Instant) -> bool {
        let mut changed = false;
        for (index, strangers) in &mut self.strangers {
            let (different, defend) = strangers.turn(now);
            changed |= different;
            if let Some(responder) = self.responders.get(index) {
                defend.into_iter().for_each(|address| responder.announce(address, &mut self.counts));
            }
        }
        if changed {
            self.assign();
        }
        changed
    }

    fn announce(&mut self, now: Instant) {
        self.announcements.handle_timeout(now);
        self.refresh.handle_timeout(now);
        while let Some((index, address)) = self.announcements.poll_output().or_else(|| self.refresh.poll_output()) {
            if let Some(responder) = self.responders.get(&index) {
                responder.announce(address, &mut self.counts);
            }
        }
    }

    /// An address is told of from now on, and kept fresh, or not any more.
    fn tell(&mut self, now: Instant, place: Place, ours: bool) {
        self.announcements.handle(now, if ours { Input::Start(place) } else { Input::Stop(place) });
        self.refresh.handle(now, place, ours);
    }

    fn read_everything(&mut self) -> io::Result<()> {
        let changes = netlink::everything()?;
        self.links.clear();
        changes.into_iter().for_each(|change| self.links.apply(change));
        Ok(())
    }

    /// Reads what changed. Returns whether anything did.
    fn netlink(&mut self) -> bool {
        let changes = self.monitor.read().unwrap_or_else(|error| {
            tracing::warn!(event = "netlink", %error, "cannot read interface changes; reading everything anew");
            vec![Change::Missed]
        });
        if changes.contains(&Change::Missed) {
            if let Err(error) = self.read_everything() {
                tracing::error!(event = "netlink", %error, "cannot read the interfaces");
            }
        } else {
            changes.into_iter().for_each(|change| self.links.apply(change));
        }
        self.follow_links()
    }

    /// Brings the responders in line with the interfaces. Returns whether anything changed.
    fn follow_links(&mut self) -> bool {
        let usable = self.links.usable();
        let gone: Vec<u32> = self.responders.keys().filter(|index| !usable.contains_key(index)).copied().collect();
        let unfit = self.links.unfit();
        let mut changed = !gone.is_empty() || unfit != self.unfit;
        self.unfit = unfit;
        for index in gone {
            self.responders.remove(&index);
            self.strangers.remove(&index);
            for address in self.assigned.remove(&index).unwrap_or_default().own {
                self.tell(Instant::now(), (index, address), false);
            }
        }
        let failed_before = std::mem::take(&mut self.failures);
        for (index, usable) in usable {
            let name = usable.name.clone();
            match self.look_out(&usable).and_then(|()| self.follow_one(index, usable)) {
                Ok(different) => changed |= different,
                Err(error) => {
                    self.responders.remove(&index);
                    self.assigned.remove(&index);
                    if failed_before.get(&name) != Some(&error.to_string()) {
                        tracing::warn!(event = "l2", interface = name, %error, "cannot answer on this interface");
                    }
                    self.failures.insert(name, error.to_string());
                    changed = true;
                }
            }
        }
        if changed {
            self.assign();
        }
        changed
    }

    fn follow_one(&mut self, index: u32, usable: Usable) -> io::Result<bool> {
        let Some(responder) = self.responders.get_mut(&index) else {
            tracing::info!(event = "interface", interface = usable.name, mac = %usable.mac, "answering on this interface");
            let responder = Responder::open(usable)?;
            responder.hear(self.promiscuous);
            self.watch(&responder)?;
            self.responders.insert(index, responder);
            return Ok(true);
        };
        if responder.usable == usable {
            return Ok(false);
        }
        let before = std::mem::replace(&mut responder.usable, usable);
        let now = &responder.usable;
        // Neighbours must hear of a new MAC address, of a link that came back, of a link-local address that came late.
        let tell = before.mac != now.mac || (now.running && !before.running) || before.link_local != now.link_local;
        let (ndp, arp) = (before.link_local.is_some() != now.link_local.is_some(), before.arp != now.arp);
        if arp {
            // Rare enough to begin anew.
            let usable = now.clone();
            self.responders.remove(&index);
            self.assigned.remove(&index);
            return self.follow_one(index, usable);
        }
        if ndp {
            responder.open_ndp()?;
            responder.set(&self.assigned.get(&index).cloned().unwrap_or_default())?;
            if let Some(socket) = &responder.ndp {
                self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, u64::from(index) * 2 + 1))?;
            }
        }
        if tell {
            for address in self.assigned.get(&index).into_iter().flat_map(|assigned| &assigned.own) {
                self.announcements.handle(Instant::now(), Input::Start((index, *address)));
            }
        }
        Ok(true)
    }

    /// Opens an interface's sockets for strangers, once it is known and whenever it has become another one.
    fn look_out(&mut self, usable: &Usable) -> io::Result<()> {
        if self.strangers.get(&usable.index).is_some_and(|strangers| strangers.fits(usable)) {
            return Ok(());
        }
        let strangers = Strangers::open(usable)?;
        let token = STRANGERS + u64::from(usable.index) * 2;
        for socket in strangers.arp.iter().chain(&strangers.ndp) {
            self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        self.strangers.insert(usable.index, strangers);
        Ok(())
    }

    fn watch(&self, responder: &Responder) -> io::Result<()> {
        let token = u64::from(responder.usable.index) * 2;
        if let Some(socket) = &responder.arp {
            self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        if let Some(socket) = &responder.ndp {
            self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token + 1))?;
        }
        Ok(())
    }

    /// Brings the addresses of each responder in line with what is wanted.
    fn assign(&mut self) {
        let now = Instant::now();
        // Two interfaces of ours on one LAN hear each other.
        let own: BTreeSet<MacAddr> = self.responders.values().map(|responder| responder.usable.mac).collect();
        let mut told = Vec::new();
        for (index, responder) in &mut self.responders {
            let name = responder.usable.name.clone();
            let answers = match &self.answers {
                Some(answers) => answers.get(index).cloned().unwrap_or_default(),
                None => Answers { own: wanted_on(&self.wanted, &name), ..Answers::default() },
            };
            let answers = Answers { nodes: answers.nodes.union(&own).copied().collect(), ..answers };
            // Without claims nobody tells which MAC addresses are nodes', and every change of hands would be a quarrel.
            let answers = match self.strangers.get_mut(index).filter(|_| self.answers.is_some()) {
                Some(strangers) => strangers.judge(now, &answers, &name),
                None => Answers { own: answers.own, stand_ins: answers.stand_ins, ..Answers::default() },
            };
            let before = self.assigned.entry(*index).or_default();
            if *before == answers {
                continue;
            }
            if let Err(error) = responder.set(&answers) {
                tracing::warn!(event = "l2", interface = name, %error, "cannot change the addresses of this interface");
                self.failures.insert(name, error.to_string());
                continue;
            }
            told.extend(before.own.difference(&answers.own).map(|address| ((*index, *address), false)));
            told.extend(answers.own.difference(&before.own).map(|address| ((*index, *address), true)));
            *before = answers;
        }
        told.into_iter().for_each(|(place, ours)| self.tell(now, place, ours));
        self.assign_pings();
    }

    /// Brings the addresses that pings are answered for in line with those that are announced.
    fn assign_pings(&mut self) {
        if !self.answer_ping {
            return;
        }
        self.pings.retain(|index, _| self.responders.contains_key(index));
        let usable: Vec<Usable> = self.responders.values().map(|responder| responder.usable.clone()).collect();
        for usable in usable {
            if let Err(error) = self.answer_pings_on(&usable) {
                self.pings.remove(&usable.index);
                tracing::warn!(event = "l2", interface = usable.name, %error, "cannot answer pings on this interface");
                self.failures.insert(usable.name, format!("pings: {error}"));
            }
        }
    }

    fn answer_pings_on(&mut self, usable: &Usable) -> io::Result<()> {
        let index = usable.index;
        let own = self.assigned.get(&index).into_iter().flat_map(|assigned| &assigned.own);
        let addresses: BTreeSet<IpAddr> = own.chain(&self.routed).copied().collect();
        if addresses.is_empty() {
            self.pings.remove(&index);
            return Ok(());
        }
        let pings = match self.pings.entry(index) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let pings = Pings::open(usable)?;
                let token = PINGS + u64::from(index) * 2;
                self.epoll.add(&pings.v4, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
                self.epoll.add(&pings.v6, EpollEvent::new(EpollFlags::EPOLLIN, token + 1))?;
                entry.insert(pings)
            }
        };
        pings.set(addresses)
    }

    fn publish(&self) {
        let mut wire = Wire { failures: self.failures.clone(), unfit: self.unfit.clone(), ..Wire::default() };
        for responder in self.responders.values() {
            let usable = &responder.usable;
            wire.interfaces.push(InterfaceState {
                name: usable.name.clone(),
                mac: usable.mac,
                carrier: usable.running,
                arp: responder.arp.is_some(),
                ndp: responder.ndp.is_some(),
            });
            wire.failures.extend(responder.failure.iter().map(|failure| (usable.name.clone(), failure.clone())));
            let none = Answers::default();
            let assigned = self.assigned.get(&usable.index).unwrap_or(&none);
            let here = (usable.name.clone(), usable.mac);
            let answered = assigned.own.iter().filter(|address| usable.running && responder.answers(**address));
            add_link(&mut wire.announced, answered, &here);
            for (address, mac) in assigned.stand_ins.iter().filter(|_| usable.running) {
                wire.stand_ins.entry(*address).or_default().push((usable.name.clone(), *mac));
            }
        }
        for (address, stranger) in self.strangers.values().flat_map(Strangers::seen) {
            wire.strangers.entry(*address).or_default().push(stranger.clone());
        }
        wire.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        self.wire.send_if_modified(|old| {
            let changed = **old != wire;
            if changed {
                *old = Arc::new(wire);
            }
            changed
        });
    }
}

/// Adds an interface to where these addresses are answered. Those that have the same interfaces share a list.
fn add_link<'a>(
    announced: &mut BTreeMap<IpAddr, AnsweredOn>,
    addresses: impl Iterator<Item = &'a IpAddr>,
    link: &(String, MacAddr),
) {
    let mut made: Vec<(AnsweredOn, AnsweredOn)> = Vec::new();
    for address in addresses {
        let links = announced.entry(*address).or_default();
        let known = made.iter().find(|(before, _)| before == links).map(|(_, after)| after.clone());
        *links = known.unwrap_or_else(|| {
            let mut after = links.to_vec();
            after.push(link.clone());
            after.sort();
            let after = AnsweredOn::from(after);
            made.push((links.clone(), after.clone()));
            after
        });
    }
}

/// The addresses that are wanted on the interface with this name.
fn wanted_on(wanted: &Wanted, name: &str) -> BTreeSet<IpAddr> {
    let here = |interfaces: &Option<BTreeSet<String>>| interfaces.as_ref().is_none_or(|set| set.contains(name));
    wanted.iter().filter(|(_, interfaces)| here(interfaces)).map(|(address, _)| *address).collect()
}
