//! Interfaces and addresses by rtnetlink(7): what there is, what changes, adding an address, and the route to one.
//!
//! A [`Monitor`] hears of every change at once. The kernel does not repeat itself: where it could not tell something
//! because our queue was full, it says so, and everything is read anew.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use ferrolb_proto::ethernet::MacAddr;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// The kernel never sends a longer datagram.
pub(super) const BUFFER: usize = 64 * 1024;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it; stays when it is renamed.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address; none where it has none of six octets.
    pub mac: Option<MacAddr>,
    /// Administratively up.
    pub up: bool,
    /// Up, and there is a carrier.
    pub running: bool,
    /// It does no ARP.
    pub noarp: bool,
    /// It can broadcast.
    pub broadcast: bool,
    /// It belongs to a bridge, a bond or a VRF.
    pub enslaved: bool,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The interface is new, or something about it is.
    Link(Link),
    /// It is gone.
    LinkGone(u32),
    /// The interface has this link-local IPv6 address, checked for duplicates.
    LinkLocal(u32, Ipv6Addr),
    /// It has it no longer.
    LinkLocalGone(u32, Ipv6Addr),
    /// Something was missed: read everything anew with [`everything`].
    Missed,
}

/// RTMGRP_LINK, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE: routes over an interface that goes down are lost without a word.
pub(super) const ROUTE_GROUPS: u32 = 0x1 | 0x40 | 0x400;

pub(super) fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let socket = socket::socket(
        socket::AddressFamily::Netlink,
        SockType::Raw,
        flags | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

/// Hears of changes.
#[derive(Debug)]
pub struct Monitor {
    socket: OwnedFd,
}

impl Monitor {
    /// Listens from now on. Read [`everything`] after this, so that nothing falls in between.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: open(GROUPS, SockFlag::SOCK_NONBLOCK)? })
    }

    /// What changed since the last call; empty where nothing did.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn read(&self) -> io::Result<Vec<Change>> {
        let mut buffer = vec![0; BUFFER];
        let mut changes = Vec::new();
        loop {
            match socket::recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => {
                    for message in messages(buffer.get(..length).unwrap_or_default()) {
                        changes.extend(change(message.payload));
                    }
                }
                Err(Errno::EAGAIN) => return Ok(changes),
                Err(Errno::ENOBUFS) => changes.push(Change::Missed),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages of a datagram; what cannot be read is passed over.
pub(super) fn messages(mut bytes: &[u8]) -> Vec<NetlinkMessage<RouteNetlinkMessage>> {
    let mut messages = Vec::new();
    while let Some(length) = bytes.get(..4).and_then(|length| length.try_into().ok()).map(u32::from_ne_bytes) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = bytes.get(..length).filter(|message| message.len() >= 16) else { break };
        if let Ok(message) = NetlinkMessage::deserialize(message) {
            messages.push(message);
        }
        // Messages are aligned to four bytes.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

fn change(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    let NetlinkPayload::InnerMessage(message) = payload else { return None };
    match message {
        RouteNetlinkMessage::NewLink(link) => self::link(link).map(Change::Link),
        // "Gone" of family bridge means: gone from the bridge.
        RouteNetlinkMessage::DelLink(link) if link.header.interface_family != AddressFamily::Bridge => {
            Some(Change::LinkGone(link.header.index))
        }
        RouteNetlinkMessage::NewAddress(address) => {
            let (ip, usable) = link_local(&address)?;
            let index = address.header.index;
            Some(if usable { Change::LinkLocal(index, ip) } else { Change::LinkLocalGone(index, ip) })
        }
        RouteNetlinkMessage::DelAddress(address) => {
            Some(Change::LinkLocalGone(address.header.index, link_local(&address)?.0))
        }
        _ => None,
    }
}

/// Messages of family bridge, and those about wireless events, tell only a part.
fn link(message: LinkMessage) -> Option<Link> {
    let partial = message.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::Wireless(_)));
    if partial || message.header.interface_family == AddressFamily::Bridge {
        return None;
    }
    let flags = message.header.flags;
    let has = |flag| flags.contains(flag);
    let mut link = Link {
        index: message.header.index,
        up: has(LinkFlags::Up),
        running: has(LinkFlags::Up) && has(LinkFlags::Running),
        noarp: has(LinkFlags::Noarp),
        broadcast: has(LinkFlags::Broadcast),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(octets) => link.mac = octets.try_into().ok().map(MacAddr),
            LinkAttribute::Controller(master) => link.enslaved = master != 0,
            _ => {}
        }
    }
    Some(link)
}

/// The link-local address in a message, and whether it may be used: neither being checked nor found in use.
fn link_local(message: &AddressMessage) -> Option<(Ipv6Addr, bool)> {
    let mut address = None;
    let mut unusable = message.header.flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(IpAddr::V6(ip)) => address = Some(*ip),
            AddressAttribute::Flags(flags) => {
                unusable |= flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
            }
            _ => {}
        }
    }
    address.filter(Ipv6Addr::is_unicast_link_local).map(|address| (address, !unusable))
}

/// Every interface and link-local address that there is.
///
/// # Errors
/// The kernel does not answer.
pub fn everything() -> io::Result<Vec<Change>> {
    let links = ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP)?;
    let mut addresses = AddressMessage::default();
    addresses.header.family = AddressFamily::Inet6;
    let addresses = ask(RouteNetlinkMessage::GetAddress(addresses), NLM_F_DUMP)?;
    Ok(links.into_iter().chain(addresses).filter_map(change).collect())
}

/// Sends a request and collects the answers to it.
pub(super) fn ask(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<NetlinkPayload<RouteNetlinkMessage>>> {
    let socket = open(0, SockFlag::empty())?;
    let mut request = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket::send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            result => result?,
        };
        for message in messages(buffer.get(..length).unwrap_or_default()) {
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                // Code zero is the acknowledgement that was asked for.
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                payload => answers.push(payload),
            }
        }
    }
}

/// Gives an interface an address of its own (`/32` or `/128`, no duplicate detection); no error if it has it.
///
/// # Errors
/// The process lacks CAP_NET_ADMIN, or the interface is gone.
pub fn add_address(interface: u32, address: IpAddr) -> io::Result<()> {
    let message = RouteNetlinkMessage::NewAddress(own_address(interface, address));
    ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(drop)
}

/// Takes it away again; no error if it is gone.
///
/// # Errors
/// The process lacks CAP_NET_ADMIN.
pub fn remove_address(interface: u32, address: IpAddr) -> io::Result<()> {
    let message = RouteNetlinkMessage::DelAddress(own_address(interface, address));
    match ask(message, NLM_F_ACK) {
        Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
        result => result.map(drop),
    }
}

fn own_address(interface: u32, address: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = interface;
    message.header.scope = AddressScope::Universe;
    (message.header.family, message.header.prefix_len) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes = vec![AddressAttribute::Address(address), AddressAttribute::Local(address)];
    if address.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message
}

/// How packets to an address leave this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface that they leave by.
    pub interface: u32,
    /// Another router forwards them: the address is not on that interface's link.
    pub has_gateway: bool,
}

/// The route to an address, from another where it must be a certain one.
///
/// # Errors
/// There is none.
pub fn route(to: IpAddr, from: Option<IpAddr>) -> io::Result<Route> {
    let attributes = look_up(to, from)?.map(|found| found.attributes).unwrap_or_default();
    let interface = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    let has_gateway =
        attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_)));
    let interface = interface.ok_or_else(|| io::Error::from(io::ErrorKind::NetworkUnreachable))?;
    Ok(Route { interface, has_gateway })
}

/// Whether packets to an address end here: some interface has it, or a local route says so. Where there is no route,
/// they do not.
pub fn is_local(address: IpAddr) -> bool {
    look_up(address, None).ok().flatten().is_some_and(|found| found.header.kind == RouteType::Local)
}

/// The route that the kernel takes.
fn look_up(to: IpAddr, from: Option<IpAddr>) -> io::Result<Option<RouteMessage>> {
    let (family, length) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    let address = |address: IpAddr| match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(address(to)));
    if let Some(from) = from {
        message.header.source_prefix_length = length;
        message.attributes.push(RouteAttribute::Source(address(from)));
    }
    let answers = ask(RouteNetlinkMessage::GetRoute(message), NLM_F_ACK)?;
    Ok(answers.into_iter().find_map(|answer| match answer {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(found)) => Some(found),
        _ => None,
    }))
}
