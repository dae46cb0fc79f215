//! One interface: its machine, its sockets, and where the others' frames come from.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ferrolb_proto::arp::{self, Operation, filter};
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::segment::frame::{self, Path};
use ferrolb_proto::segment::{self, Input, Means, NodeId, Role, Segment, Timing};
use ferrolb_rules::names::NodeName;
use nix::ifaddrs::getifaddrs;

use super::{Candidacy, Claims, Link};
use crate::drive::l2::Answers;
use crate::net::raw::PacketSocket;

/// Longer than any frame of ours.
const FRAME: usize = 2048;
/// Frames read in one turn, before the others get theirs.
const TURN: usize = 256;

/// A machine and what it is driven by.
pub(super) struct Machine {
    pub(super) segment: Segment,
    pub(super) link: Link,
    /// The kernel's number for the interface.
    pub(super) index: u32,
    /// Frames of ours.
    pub(super) lan: PacketSocket,
    /// Replies to ARP requests for nodes' own addresses.
    pub(super) arp: PacketSocket,
    /// UDP is this one's: the interface has the node's address.
    pub(super) has_udp: bool,
    /// An IPv4 address of the interface, to ask ARP with.
    own_ip: Option<Ipv4Addr>,
    /// Where the frames of the other nodes come from.
    macs: BTreeMap<NodeId, MacAddr>,
    own: NodeId,
    /// Every MAC address that is a node's: sealed frames came from it, or, where that counts, it answers for a node's own
    /// address.
    ours: BTreeSet<MacAddr>,
    /// Nodes' addresses that were asked for.
    asked: BTreeSet<IpAddr>,
    /// Addresses that one of us has had before: by what was saved, or by what another node claimed or told us.
    known: BTreeSet<IpAddr>,
    /// What is done about addresses; none for nothing.
    pub(super) roles: BTreeMap<IpAddr, Role>,
    pub(super) learned: bool,
    /// There is one more MAC address of a node.
    pub(super) relearned: bool,
    /// It has said its goodbye.
    pub(super) done: bool,
    plan: Option<segment::Plan>,
    members: BTreeSet<NodeId>,
}

/// What every machine of a node has in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) own: NodeId,
    /// The shared secrets, oldest first: what has become newer while the process runs comes behind.
    pub(super) secrets: Vec<Vec<u8>>,
    pub(super) timing: Timing,
}

impl Machine {
    /// Opens the sockets and starts to learn.
    pub(super) fn open(common: &Common, link: Link, index: u32, saved: &Claims, now: Instant) -> io::Result<Self> {
        let config = segment::Config {
            own: common.own,
            mac: link.mac,
            secret: common.secrets.first().cloned().unwrap_or_default(),
            boot: rand::random(),
            seed: rand::random(),
            timing: common.timing,
            saved: saved.get(&link.name).cloned().unwrap_or_default(),
        };
        let saved = config.saved.keys().copied().collect();
        let mut segment = Segment::new(config, now).map_err(io::Error::other)?;
        common.secrets.iter().skip(1).for_each(|secret| segment.handle(now, Input::Secret(secret)));
        Ok(Self {
            own: common.own,
            ours: BTreeSet::new(),
            asked: BTreeSet::new(),
            known: saved,
            segment,
            lan: PacketSocket::open(index, frame::ETHERTYPE, &filter::everything())?,
            arp: PacketSocket::open(index, arp::ETHERTYPE, &filter::arp_replies())?,
            link,
            index,
            has_udp: false,
            own_ip: None,
            macs: BTreeMap::new(),
            roles: BTreeMap::new(),
            learned: false,
            relearned: false,
            done: false,
            plan: None,
            members: BTreeSet::new(),
        })
    }

    /// Looks which addresses the interface has.
    pub(super) fn look(&mut self, node: Option<IpAddr>) {
        let has: Vec<IpAddr> = addresses(&self.link.name);
        self.has_udp = node.is_some_and(|node| has.contains(&node));
        self.own_ip = has.iter().find_map(|address| if let IpAddr::V4(v4) = address { Some(*v4) } else { None });
    }

    /// Takes another name, and the carrier as it is now. Returns whether anything changed.
    pub(super) fn relink(&mut self, now: Instant, link: &Link) -> bool {
        let changed = self.link != *link;
        if self.link.carrier != link.carrier {
            self.segment.handle(now, Input::Carrier(link.carrier));
        }
        self.link = link.clone();
        changed
    }

    /// Who may answer for what, and who is there.
    pub(super) fn know(
        &mut self,
        now: Instant,
        candidates: Option<&BTreeMap<IpAddr, Candidacy>>,
        (nodes, alive): (&BTreeMap<NodeName, NodeId>, &BTreeSet<NodeId>),
        alone: bool,
    ) {
        // Where there are several segments, not every node is on this one: those count that have been heard here.
        let here = |node: &NodeId| alone || self.has_udp || self.macs.contains_key(node);
        let members: BTreeSet<NodeId> = nodes.values().filter(|node| here(node)).copied().collect();
        let alive: BTreeSet<NodeId> = members.intersection(alive).copied().collect();
        if members != self.members {
            self.segment.handle(now, Input::Members(&members));
            self.members = members;
        }
        if !self.learned {
            self.segment.handle(now, Input::Alive(&alive));
        }
        let Some(candidates) = candidates else { return };
        let on_this = |one: &&Candidacy| one.interfaces.as_ref().is_none_or(|names| names.contains(&self.link.name));
        let ids = |one: &Candidacy| one.nodes.iter().filter_map(|name| nodes.get(name).copied()).collect();
        let plan: segment::Plan =
            candidates.iter().filter(|(_, one)| on_this(one)).map(|(address, one)| (*address, ids(one))).collect();
        if self.plan.as_ref() != Some(&plan) {
            self.segment.handle(now, Input::Plan(&plan));
            self.plan = Some(plan);
        }
    }

    /// Reads the frames that wait.
    pub(super) fn read(&mut self, now: Instant) {
        let mut buffer = [0; FRAME];
        for _ in 0..TURN {
            // An interface that went down says so here once.
            let Ok(Some(length)) = self.lan.receive(&mut buffer) else { return };
            let Ok((from, bytes)) = frame::parse_lan(buffer.get(..length).unwrap_or_default()) else { continue };
            if from == self.link.mac {
                continue;
            }
            self.segment.handle(now, Input::Datagram { path: Path::Lan, bytes });
            if let Some(node) = self.segment.take_heard() {
                self.macs.insert(node, from);
                self.relearned |= self.ours.insert(from);
            }
        }
    }

    /// Drops the frames that wait: they are from before a pause.
    pub(super) fn flush(&self) {
        let mut buffer = [0; FRAME];
        for _ in 0..TURN {
            let Ok(Some(_)) = self.lan.receive(&mut buffer) else { return };
        }
    }

    /// Sends a frame, to everybody where it is not known where the node is: who it is for stands inside.
    pub(super) fn send(&self, to: Option<NodeId>, bytes: &[u8]) {
        let known = to.and_then(|node| self.macs.get(&node)).copied();
        let frame = frame::emit_lan(known.unwrap_or(MacAddr::BROADCAST), self.link.mac, bytes);
        // What is not sent is lost, as on any network.
        let _ = self.lan.send(&frame);
    }

    /// Takes note of what one of us has had: others claim it, or said that it was ours before we were started.
    pub(super) fn note_claims(&mut self, own: NodeId) {
        let claims = self.segment.claims().into_iter();
        let had = claims.filter(|(address, claim)| claim.owner != own || !self.segment.is_first(*address));
        self.known.extend(had.map(|(address, _)| address));
    }

    /// What to answer for.
    pub(super) fn answers(&self) -> Answers {
        let mut answers = Answers { nodes: self.ours.clone(), ..Answers::default() };
        if !self.learned {
            let first = self.plan.iter().flatten().filter(|(_, nodes)| nodes.first() == Some(&self.own));
            let new = first.map(|(address, _)| *address).filter(|address| !self.known.contains(address));
            answers.prospects = new.collect();
        }
        for (address, role) in &self.roles {
            match role {
                Role::Owner => {
                    answers.own.insert(*address);
                    if !self.known.contains(address) {
                        answers.unchecked.insert(*address);
                    }
                }
                Role::StandIn { mac, .. } => drop(answers.stand_ins.insert(*address, *mac)),
                Role::Silent => {}
            }
        }
        answers
    }

    /// Asks nodes that are new once where they are, so that they are no strangers, whatever runs there.
    pub(super) fn ask_new(&mut self, nodes: &BTreeSet<IpAddr>) {
        for node in nodes.difference(&self.asked) {
            self.ask_neighbour(*node);
        }
        self.asked.clone_from(nodes);
    }

    /// Asks the kernel of a node by ARP.
    pub(super) fn ask_neighbour(&self, node: IpAddr) {
        let (IpAddr::V4(target_ip), Some(sender_ip)) = (node, self.own_ip) else { return };
        let request = arp::Frame {
            destination: MacAddr::BROADCAST,
            source: self.link.mac,
            operation: Operation::Request,
            sender_mac: self.link.mac,
            sender_ip,
            target_mac: MacAddr::ZERO,
            target_ip,
        };
        let _ = self.arp.send(&request.emit());
    }

    /// Reads replies to ARP requests, of the nodes with these addresses.
    pub(super) fn read_arp(&mut self, now: Instant, nodes: &BTreeMap<IpAddr, NodeId>, are_ours: bool) {
        let mut buffer = [0; FRAME];
        for _ in 0..TURN {
            let Ok(Some(length)) = self.arp.receive(&mut buffer) else { return };
            let Ok(reply) = arp::parse(buffer.get(..length).unwrap_or_default()) else { continue };
            if let Some(node) = nodes.get(&IpAddr::V4(reply.sender_ip)) {
                self.segment.handle(now, Input::KernelAnswered { node: *node, means: Means::Neighbour });
                self.relearned |= are_ours && self.ours.insert(reply.sender_mac);
            }
        }
    }
}

/// The addresses of an interface; none where the kernel does not say.
fn addresses(interface: &str) -> Vec<IpAddr> {
    let all = getifaddrs().into_iter().flatten().filter(|one| one.interface_name == interface);
    all.filter_map(|one| {
        let address = one.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    })
    .collect()
}
