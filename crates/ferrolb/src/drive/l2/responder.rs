//! One interface: its sockets, its addresses, its groups.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ferrolb_proto::arp::{self, filter};
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::ndp;
use ferrolb_proto::ndp::groups::{Change, Groups};
use ferrolb_rules::reason::Code;
use socket2::{Domain, Socket, Type};

use super::counts::Counts;
use super::links::Usable;
use super::{Answers, Promiscuous};
use crate::net::raw::PacketSocket;
use crate::net::wireless;

/// Longer than any frame that we understand: what is cut off is no option that we read.
const FRAME: usize = 256;

/// Answers on one interface.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) usable: Usable,
    pub(super) arp: Option<PacketSocket>,
    pub(super) ndp: Option<PacketSocket>,
    /// What is answered for, and in whose name where it is another's.
    v4: HashMap<Ipv4Addr, Option<MacAddr>>,
    v6: HashMap<Ipv6Addr, Option<MacAddr>>,
    groups: Groups,
    members: BTreeMap<usize, Socket>,
    /// Groups that could not be joined, and why.
    pub(super) failure: Option<String>,
}

impl Responder {
    /// Opens what the interface is capable of.
    pub(super) fn open(usable: Usable) -> io::Result<Self> {
        let arp = match usable.arp {
            true => Some(PacketSocket::open(usable.index, arp::ETHERTYPE, &filter::arp_requests(&BTreeSet::new()))?),
            false => None,
        };
        let mut responder = Self {
            usable,
            arp,
            ndp: None,
            v4: HashMap::new(),
            v6: HashMap::new(),
            groups: Groups::default(),
            members: BTreeMap::new(),
            failure: None,
        };
        responder.open_ndp()?;
        Ok(responder)
    }

    /// Has the interface hear everything, where that is wanted. What cannot be had is said, and it is answered all the same.
    pub(super) fn hear(&self, promiscuous: Promiscuous) {
        let (name, index) = (&self.usable.name, self.usable.index);
        let wanted = match promiscuous {
            Promiscuous::Never => false,
            Promiscuous::Always => true,
            Promiscuous::Wireless => wireless::is_wireless(Path::new(wireless::INTERFACES), name),
        };
        let Some(socket) = self.arp.as_ref().or(self.ndp.as_ref()).filter(|_| wanted) else { return };
        match socket.hear_everything(index) {
            Ok(()) => tracing::info!(event = "promiscuous", interface = name, "this interface hears everything"),
            Err(error) => {
                let code = Code::WirelessInterface;
                tracing::warn!(event = "promiscuous", interface = name, %code, %error, "this interface cannot be made to hear everything");
            }
        }
    }

    /// Opens or closes the socket for solicitations, as the interface has a link-local address or not.
    pub(super) fn open_ndp(&mut self) -> io::Result<()> {
        match (self.usable.link_local, &self.ndp) {
            (Some(_), None) => {
                let filter = filter::solicitations(&BTreeSet::new());
                self.ndp = Some(PacketSocket::open(self.usable.index, ndp::ETHERTYPE, &filter)?);
            }
            (None, Some(_)) => self.ndp = None,
            _ => {}
        }
        Ok(())
    }

    /// Answers for exactly these addresses from now on, and in the name of others for theirs.
    pub(super) fn set(&mut self, answers: &Answers) -> io::Result<()> {
        let others = answers.stand_ins.iter().map(|(address, mac)| (*address, Some(*mac)));
        let all: BTreeMap<IpAddr, Option<MacAddr>> =
            others.chain(answers.own.iter().map(|address| (*address, None))).collect();
        self.v4 = all.iter().filter_map(|(address, name)| v4(address).zip(Some(*name))).collect();
        self.v6 = all.iter().filter_map(|(address, name)| v6(address).zip(Some(*name))).collect();
        if let Some(socket) = &self.arp {
            let targets = all.keys().filter_map(v4).map(Ipv4Addr::to_bits).collect();
            socket.set_filter(&filter::arp_requests(&targets))?;
        }
        if let Some(socket) = &self.ndp {
            let low = |address: Ipv6Addr| u32::try_from(address.to_bits() & 0xffff_ffff).unwrap_or_default();
            let targets = all.keys().filter_map(v6).map(low).collect();
            socket.set_filter(&filter::solicitations(&targets))?;
        }
        self.join(&all.keys().copied().collect());
        Ok(())
    }

    /// Joins the groups of the IPv6 addresses and leaves the others. Groups need no responder: one that comes later
    /// finds them joined.
    fn join(&mut self, addresses: &BTreeSet<IpAddr>) {
        let v6: Vec<Ipv6Addr> = addresses.iter().filter_map(v6).collect();
        let interface = self.usable.index;
        self.failure = None;
        for change in self.groups.set(v6.iter()) {
            let (Change::Join(number, group) | Change::Leave(number, group)) = change;
            let result = match change {
                Change::Join(..) => self.member(number).and_then(|socket| socket.join_multicast_v6(&group, interface)),
                Change::Leave(..) => {
                    // Gone with the interface is left, too.
                    if let Some(socket) = self.members.get(&number) {
                        let _ = socket.leave_multicast_v6(&group, interface);
                    }
                    Ok(())
                }
            };
            if let Err(error) = result {
                self.groups.forget(group);
                self.failure = Some(format!("cannot join multicast group {group}: {error}"));
            }
        }
    }

    fn member(&mut self, number: usize) -> io::Result<&Socket> {
        use std::collections::btree_map::Entry;
        Ok(match self.members.entry(number) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Socket::new(Domain::IPV6, Type::DGRAM, None)?),
        })
    }

    /// Whether it answers for an address in its own name.
    pub(super) fn answers(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.arp.is_some() && self.v4.get(&v4) == Some(&None),
            IpAddr::V6(v6) => self.ndp.is_some() && self.v6.get(&v6) == Some(&None),
        }
    }

    /// Answers what waits in the ARP socket, so many frames at most, and counts.
    pub(super) fn serve_arp(&self, frames: usize, counts: &mut Counts) {
        let Some(socket) = &self.arp else { return };
        let mut buffer = [0; FRAME];
        for _ in 0..frames {
            // An interface that went down says so here once; netlink tells the rest.
            let Ok(Some(length)) = socket.receive(&mut buffer) else { return };
            let Ok(frame) = arp::parse(buffer.get(..length).unwrap_or_default()) else { continue };
            let Some(name) = self.v4.get(&frame.target_ip) else { continue };
            if let Some(answer) = arp::answer(&frame, self.usable.mac, |_| true) {
                let answer = name.map_or(answer, |owner| answer.on_behalf_of(owner));
                // A full queue loses an answer as a busy switch would; the neighbour asks again.
                let sent = socket.send(&answer.emit()).is_ok();
                counts.answered(IpAddr::V4(frame.target_ip), sent);
            }
        }
    }

    /// Answers what waits in the socket for solicitations, so many frames at most, and counts.
    pub(super) fn serve_ndp(&self, frames: usize, counts: &mut Counts) {
        let Some(socket) = &self.ndp else { return };
        let mut buffer = [0; FRAME];
        for _ in 0..frames {
            let Ok(Some(length)) = socket.receive(&mut buffer) else { return };
            let Ok(solicitation) = ndp::parse(buffer.get(..length).unwrap_or_default()) else { continue };
            let Some(name) = self.v6.get(&solicitation.target) else { continue };
            if let Some(answer) = ndp::answer(&solicitation, self.usable.mac, |_| true) {
                let answer = name.map_or(answer, |owner| ndp::on_behalf_of(answer, owner));
                let sent = socket.send(&answer).is_ok();
                counts.answered(IpAddr::V6(solicitation.target), sent);
            }
        }
    }

    /// Tells the network where the address is, and counts; nothing where it is not ours any more.
    pub(super) fn announce(&self, address: IpAddr, counts: &mut Counts) {
        if !self.answers(address) {
            return;
        }
        match (address, &self.arp, &self.ndp) {
            (IpAddr::V4(v4), Some(socket), _) => {
                for frame in arp::announcements(self.usable.mac, v4) {
                    counts.announced(address, socket.send(&frame.emit()).is_ok());
                }
            }
            (IpAddr::V6(v6), _, Some(socket)) => {
                counts.announced(address, socket.send(&ndp::announcement(self.usable.mac, v6)).is_ok());
            }
            _ => {}
        }
    }
}

fn v4(address: &IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V4(v4) = address { Some(*v4) } else { None }
}

fn v6(address: &IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(v6) = address { Some(*v6) } else { None }
}
