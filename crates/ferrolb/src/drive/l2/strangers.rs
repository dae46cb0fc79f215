//! Does somebody else on the LAN use an address of ours? (decision D4)
//!
//! An address that nobody of us has announced before is asked for first; while a stranger answers, it is not announced.
//! Afterwards whoever says that it has the address is noticed, and answered once in ten seconds at most. What is asked
//! and believed when is [`Duplicate`]'s affair; here are an interface's sockets for it, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use ferrolb_proto::arp::{self, filter};
use ferrolb_proto::duplicate::{Duplicate, Input, Output};
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::ndp;
use ferrolb_rules::reason::Code;

use super::links::Usable;
use super::{Answers, Stranger};
use crate::net::raw::PacketSocket;

/// Longer than any frame that we understand.
const FRAME: usize = 256;
/// Frames read in one turn.
const TURN: usize = 16;

/// Strangers on one interface.
pub(super) struct Strangers {
    machine: Duplicate,
    own: MacAddr,
    /// What says that it has an address of ours.
    pub(super) arp: Option<PacketSocket>,
    pub(super) ndp: Option<PacketSocket>,
    /// What is ours to announce, if nobody else has it.
    asked: BTreeSet<IpAddr>,
    /// Those of them that are asked for in advance.
    ahead: BTreeSet<IpAddr>,
    nodes: BTreeSet<MacAddr>,
    /// What may be answered for.
    free: BTreeSet<IpAddr>,
    /// What is answered for.
    answered: BTreeSet<IpAddr>,
    /// Who else has what.
    seen: BTreeMap<IpAddr, Stranger>,
    /// Nodes of ours that answer for it unasked.
    unasked: BTreeMap<IpAddr, Stranger>,
    interface: String,
}

impl Strangers {
    /// Knows of nobody yet.
    pub(super) fn open(usable: &Usable) -> io::Result<Self> {
        let none = BTreeSet::new();
        let arp = || PacketSocket::open(usable.index, arp::ETHERTYPE, &filter::arp_senders(&none));
        let ndp = || PacketSocket::open(usable.index, ndp::ETHERTYPE, &filter::neighbour_claims(&none));
        Ok(Self {
            machine: Duplicate::new(usable.mac, rand::random()),
            own: usable.mac,
            arp: if usable.arp { Some(arp()?) } else { None },
            ndp: Some(ndp()?),
            asked: BTreeSet::new(),
            ahead: BTreeSet::new(),
            nodes: BTreeSet::new(),
            free: BTreeSet::new(),
            answered: BTreeSet::new(),
            seen: BTreeMap::new(),
            unasked: BTreeMap::new(),
            interface: usable.name.clone(),
        })
    }

    /// Whether the interface has become another one.
    pub(super) fn fits(&self, usable: &Usable) -> bool {
        self.own == usable.mac && self.arp.is_some() == usable.arp
    }

    /// What is to be answered for on this interface: of what is wanted, that which no stranger is known to have.
    pub(super) fn judge(&mut self, now: Instant, wanted: &Answers, name: &str) -> Answers {
        name.clone_into(&mut self.interface);
        if self.nodes != wanted.nodes {
            self.nodes.clone_from(&wanted.nodes);
            self.machine.set_nodes(wanted.nodes.iter().copied());
            self.forget_nodes(now);
        }
        let asked: BTreeSet<IpAddr> = wanted.own.union(&wanted.prospects).copied().collect();
        for address in self.asked.difference(&asked) {
            self.machine.handle(now, Input::Forget(*address));
            self.free.remove(address);
            self.seen.remove(address);
            self.unasked.remove(address);
        }
        for address in asked.difference(&self.asked) {
            if wanted.unchecked.contains(address) || wanted.prospects.contains(address) {
                self.machine.handle(now, Input::Check(*address));
            } else {
                self.machine.handle(now, Input::Watch(*address));
                self.free.insert(*address);
            }
        }
        // Asked for in advance, and then found to be ours from before.
        for address in self.ahead.intersection(&wanted.own).filter(|address| !wanted.unchecked.contains(*address)) {
            self.machine.handle(now, Input::Watch(*address));
            self.seen.remove(address);
            self.free.insert(*address);
        }
        self.ahead.clone_from(&wanted.prospects);
        if self.asked != asked {
            self.asked = asked;
            self.set_filters();
        }
        let own: BTreeSet<IpAddr> = self.free.intersection(&wanted.own).copied().collect();
        for address in own.difference(&self.answered) {
            self.machine.handle(now, Input::Answer(*address));
        }
        self.answered.clone_from(&own);
        Answers { own, stand_ins: wanted.stand_ins.clone(), ..Answers::default() }
    }

    /// Who was taken for a stranger may have been a node that was not known yet.
    fn forget_nodes(&mut self, now: Instant) {
        let ours = self.seen.iter().filter(|(_, stranger)| self.nodes.contains(&stranger.mac));
        for address in ours.map(|(address, _)| *address).collect::<Vec<_>>() {
            self.seen.remove(&address);
            self.machine.handle(now, Input::Forget(address));
            let again = if self.free.contains(&address) { Input::Watch(address) } else { Input::Check(address) };
            self.machine.handle(now, again);
        }
    }

    fn set_filters(&self) {
        let v4 = self
            .asked
            .iter()
            .filter_map(|address| if let IpAddr::V4(v4) = address { Some(v4.to_bits()) } else { None });
        let low = |v6: &Ipv6Addr| u32::try_from(v6.to_bits() & 0xffff_ffff).unwrap_or_default();
        let v6 =
            self.asked.iter().filter_map(|address| if let IpAddr::V6(v6) = address { Some(low(v6)) } else { None });
        let arp = self.arp.as_ref().map(|socket| socket.set_filter(&filter::arp_senders(&v4.collect())));
        let ndp = self.ndp.as_ref().map(|socket| socket.set_filter(&filter::neighbour_claims(&v6.collect())));
        for error in [arp, ndp].into_iter().flatten().filter_map(Result::err) {
            tracing::warn!(event = "strangers", interface = self.interface, %error, "strangers cannot be watched for");
        }
    }

    /// Reads what others say about our addresses.
    pub(super) fn read(&mut self, now: Instant) {
        let mut buffer = [0; FRAME];
        for _ in 0..TURN {
            let Some(Ok(Some(length))) = self.arp.as_ref().map(|socket| socket.receive(&mut buffer)) else { break };
            let Ok(frame) = arp::parse(buffer.get(..length).unwrap_or_default()) else { continue };
            let probe = frame.sender_ip.is_unspecified();
            let address = if probe { frame.target_ip } else { frame.sender_ip };
            let sighting = Input::Sighting { address: address.into(), mac: frame.sender_mac, probe };
            self.machine.handle(now, sighting);
        }
        for _ in 0..TURN {
            let Some(Ok(Some(length))) = self.ndp.as_ref().map(|socket| socket.receive(&mut buffer)) else { break };
            let frame = buffer.get(..length).unwrap_or_default();
            let said = ndp::parse_advertisement(frame).map(|said| (said, false));
            let Ok((said, probe)) = said.or_else(|_| ndp::parse_probe(frame).map(|said| (said, true))) else {
                continue;
            };
            self.machine.handle(now, Input::Sighting { address: said.target.into(), mac: said.mac, probe });
        }
    }

    /// When [`Self::turn`] has something to do by time alone.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.machine.next_deadline()
    }

    /// Does what is due. Returns whether anything is to be answered or told otherwise, and which addresses to defend.
    pub(super) fn turn(&mut self, now: Instant) -> (bool, Vec<IpAddr>) {
        if self.machine.next_deadline().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
        }
        let (mut changed, mut defend) = (false, Vec::new());
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Probe(address) => self.probe(address),
                Output::Free(address) => changed |= self.free.insert(address),
                Output::InUse(address, mac) => {
                    self.free.remove(&address);
                    changed |= self.note(address, mac, true);
                }
                Output::Conflict(address, mac) => changed |= self.note(address, mac, false),
                Output::Defend(address) => defend.push(address),
                Output::Over(address) => {
                    tracing::info!(event = "strangerGone", interface = self.interface, %address, "not seen any more");
                    changed |= self.seen.remove(&address).is_some();
                }
                Output::OwnNode(address, mac) => {
                    let (interface, code) = (self.interface.clone(), Code::NodeAnswersUnasked);
                    tracing::warn!(event = "ownNode", interface, %address, %mac, %code, "{}", code.explanation().summary);
                    let node = Stranger { interface, mac, blocks: false, is_node: true };
                    changed |= self.unasked.insert(address, node.clone()) != Some(node);
                }
                Output::OwnNodeOver(address) => changed |= self.unasked.remove(&address).is_some(),
            }
        }
        (changed, defend)
    }

    fn note(&mut self, address: IpAddr, mac: MacAddr, blocks: bool) -> bool {
        let interface = self.interface.clone();
        let what = if blocks { "in use by a stranger, so it is not announced" } else { "used by a stranger, too" };
        tracing::warn!(event = "stranger", interface, %address, %mac, "{what}");
        let stranger = Stranger { interface, mac, blocks, is_node: false };
        self.seen.insert(address, stranger.clone()) != Some(stranger)
    }

    fn probe(&self, address: IpAddr) {
        // What cannot be asked is not in use as far as can be told.
        let _ = match (address, &self.arp, &self.ndp) {
            (IpAddr::V4(v4), Some(socket), _) => socket.send(&arp::probe(self.own, v4).emit()),
            (IpAddr::V6(v6), _, Some(socket)) => socket.send(&ndp::probe(self.own, v6)),
            _ => Ok(()),
        };
    }

    /// Who else has what.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&IpAddr, &Stranger)> {
        self.seen.iter().chain(&self.unasked)
    }
}
