//! ICMP echo for addresses that are announced (RFC 792, RFC 4443 §4): is this ping for one of ours, and what do we answer?
//!
//! ```text
//! client ── echo request for 192.168.1.201 ──► [kernel filter] ──► parse ──► Limits ──► answer ──► client
//! ```
//!
//! The address belongs to no interface, so the kernel does not answer, and no ICMP socket ever sees the request. Frames
//! here are whole, as with NDP, and the answer goes back to the MAC address that the request came from: a neighbour's or
//! its router's. Nothing is looked up, so nothing can be made to wait.
//!
//! Left out on purpose: fragments and IP options or extension headers (a ping needs neither), requests to or from a
//! group or a broadcast address, and every other kind of ICMP. An answer is as long as its request, and [`Limits`] says
//! how many there are, so nobody is flooded by us in another's name. Sources: RFC 792; RFC 1122 §3.2.2.6; RFC 1812
//! §4.3.2.5 for the type of service; RFC 4443 §2.3, §4.1, §4.2; RFC 6864 §4 for the identification.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ethernet::MacAddr;

mod limit;
#[cfg(test)]
mod tests;

pub use limit::{ALL_PER_SECOND, EACH_PER_SECOND, Limits};

/// The EtherType of IPv4; that of IPv6 is [`crate::ndp::ETHERTYPE`].
pub const ETHERTYPE_V4: u16 = 0x0800;
/// Longer frames are not read: more than a jumbo frame is on no Ethernet, and a shorter MTU is the kernel's to enforce.
pub const MAX_LEN: usize = 9216;

/// Ethernet header, IPv4 header without options, IPv6 header, and the part of ICMP before identifier and sequence number.
const ETHERNET: usize = 14;
const V4: usize = 20;
const V6: usize = 40;
const ICMP: usize = 4;
/// Protocol numbers.
const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;
/// Types: request and reply of ICMP, and of ICMPv6.
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;
/// How far an answer may go: what kernels give their own.
const HOP_LIMIT: u8 = 64;
/// The six bits of the type of service or traffic class that are not for congestion (RFC 2474, RFC 3168).
const DSCP: u8 = 0xfc;
/// Do not fragment; more fragments, or not the first one.
const WHOLE: u16 = 0x4000;
const FRAGMENT: u16 = 0x3fff;

/// An echo request in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Ethernet destination.
    pub destination_mac: MacAddr,
    /// Ethernet source: the asker, or the router that it asks through.
    pub source_mac: MacAddr,
    /// Who asks, and whom. Of one family.
    pub hosts: Hosts,
    /// Type of service or traffic class.
    pub class: u8,
    /// Identifier, sequence number and data: given back as they are.
    pub content: &'a [u8],
}

/// Source and destination of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// By IPv4.
    V4 {
        /// Who asks.
        source: Ipv4Addr,
        /// Who is asked.
        destination: Ipv4Addr,
        /// The packet's identification.
        identification: u16,
        /// It must not be fragmented.
        whole: bool,
    },
    /// By IPv6.
    V6 {
        /// Who asks.
        source: Ipv6Addr,
        /// Who is asked.
        destination: Ipv6Addr,
    },
}

impl Request<'_> {
    /// Who is asked.
    pub fn destination(&self) -> IpAddr {
        match self.hosts {
            Hosts::V4 { destination, .. } => destination.into(),
            Hosts::V6 { destination, .. } => destination.into(),
        }
    }
}

/// Why a frame is no echo request that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The frame ends before the packet does, or a length in it is too small.
    #[error("too short for an echo request")]
    TooShort,
    /// Neither IPv4 nor IPv6, not ICMP right after the header, or something other than an echo request.
    #[error("not an echo request")]
    NotRequest,
    /// Part of a longer packet.
    #[error("a fragment")]
    Fragment,
    /// The IPv4 header has options.
    #[error("IP options")]
    Options,
    /// The header's or the message's checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// Source or destination is no single host's, or both are the same.
    #[error("to or from an address that is no host's")]
    NoHost,
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ParseError> {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).ok_or(ParseError::TooShort)
}

/// Reads a frame of either family. Bytes after the packet are padding.
///
/// # Errors
/// Says why it is not answered, whomever it is for.
pub fn parse(frame: &[u8]) -> Result<Request<'_>, ParseError> {
    let (hosts, class, message) = match u16::from_be_bytes(octets(frame, 12)?) {
        ETHERTYPE_V4 => packet_v4(frame)?,
        crate::ndp::ETHERTYPE => packet_v6(frame)?,
        _ => return Err(ParseError::NotRequest),
    };
    let content = message.get(ICMP..).filter(|content| content.len() >= 4).ok_or(ParseError::TooShort)?;
    let (destination_mac, source_mac) = (MacAddr(octets(frame, 0)?), MacAddr(octets(frame, 6)?));
    Ok(Request { destination_mac, source_mac, hosts, class, content })
}

/// What is asked by IPv4: hosts, type of service, the ICMP message.
fn packet_v4(frame: &[u8]) -> Result<(Hosts, u8, &[u8]), ParseError> {
    let header: [u8; V4] = octets(frame, ETHERNET)?;
    if header[0] >> 4 != 4 || header[9] != ICMP_V4 {
        return Err(ParseError::NotRequest);
    }
    if header[0] != 0x45 {
        return Err(ParseError::Options);
    }
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if word(6) & FRAGMENT != 0 {
        return Err(ParseError::Fragment);
    }
    let packet = frame.get(ETHERNET..ETHERNET + usize::from(word(2))).ok_or(ParseError::TooShort)?;
    let message = packet.get(V4..).ok_or(ParseError::TooShort)?;
    if octets::<2>(message, 0)? != [REQUEST_V4, 0] {
        return Err(ParseError::NotRequest);
    }
    if checksum(&[&header]) != 0 || checksum(&[message]) != 0 {
        return Err(ParseError::Checksum);
    }
    let (source, destination): (Ipv4Addr, Ipv4Addr) =
        (octets::<4>(&header, 12)?.into(), octets::<4>(&header, 16)?.into());
    // All of 0.0.0.0/8 is "this network" (RFC 1122 §3.2.1.3). A network's own broadcast address is not known here; an
    // answer to it goes to the one MAC address that asked.
    let host = |address: Ipv4Addr| {
        let nobody =
            address.octets()[0] == 0 || address.is_loopback() || address.is_multicast() || address.is_broadcast();
        !nobody
    };
    if !host(source) || !host(destination) || source == destination {
        return Err(ParseError::NoHost);
    }
    Ok((Hosts::V4 { source, destination, identification: word(4), whole: word(6) & WHOLE != 0 }, header[1], message))
}

/// The same by IPv6, where ICMP follows right after the header.
fn packet_v6(frame: &[u8]) -> Result<(Hosts, u8, &[u8]), ParseError> {
    let header: [u8; V6] = octets(frame, ETHERNET)?;
    if header[0] >> 4 != 6 || header[6] != ICMP_V6 {
        return Err(ParseError::NotRequest);
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = frame.get(ETHERNET + V6..ETHERNET + V6 + length).ok_or(ParseError::TooShort)?;
    if octets::<2>(message, 0)? != [REQUEST_V6, 0] {
        return Err(ParseError::NotRequest);
    }
    let (source, destination): (Ipv6Addr, Ipv6Addr) =
        (octets::<16>(&header, 8)?.into(), octets::<16>(&header, 24)?.into());
    if checksum_v6(source, destination, message) != 0 {
        return Err(ParseError::Checksum);
    }
    let host = |address: Ipv6Addr| {
        let nobody = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        !nobody && address.to_ipv4_mapped().is_none()
    };
    if !host(source) || !host(destination) || source == destination {
        return Err(ParseError::NoHost);
    }
    Ok((Hosts::V6 { source, destination }, header[0] << 4 | header[1] >> 4, message))
}

/// The frame that answers a request which came in on the interface with this MAC address; `None` where none is due: for
/// another's MAC address or everybody's, or for an address that is not ours.
///
/// The answer carries the request's class (RFC 1812 §4.3.2.5) but for the bits about congestion, and by IPv4 also its
/// identification and whether it may be fragmented: it is as unique as the asker made it, and no count is kept here.
pub fn answer(request: &Request<'_>, own: MacAddr, is_ours: impl FnOnce(IpAddr) -> bool) -> Option<Vec<u8>> {
    let asker = request.source_mac;
    let answerable = !asker.is_group() && asker != MacAddr::ZERO && asker != own;
    if request.destination_mac != own || !answerable || !is_ours(request.destination()) {
        return None;
    }
    let length = ICMP + request.content.len();
    let mut message = Vec::with_capacity(length);
    message.extend([if matches!(request.hosts, Hosts::V4 { .. }) { REPLY_V4 } else { REPLY_V6 }, 0, 0, 0]);
    message.extend(request.content);
    let class = request.class & DSCP;
    let mut frame = Vec::with_capacity(ETHERNET + V6 + length);
    frame.extend(asker.0);
    frame.extend(own.0);
    let sum = match request.hosts {
        Hosts::V4 { source, destination, identification, whole } => {
            frame.extend(ETHERTYPE_V4.to_be_bytes());
            frame.extend(header_v4(
                u16::try_from(V4 + length).ok()?,
                class,
                identification,
                whole,
                destination,
                source,
            ));
            checksum(&[&message])
        }
        Hosts::V6 { source, destination } => {
            frame.extend(crate::ndp::ETHERTYPE.to_be_bytes());
            frame.extend([0x60 | class >> 4, class << 4, 0, 0]);
            frame.extend(u16::try_from(length).ok()?.to_be_bytes());
            frame.extend([ICMP_V6, HOP_LIMIT]);
            frame.extend(destination.octets());
            frame.extend(source.octets());
            checksum_v6(destination, source, &message)
        }
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    frame.extend(message);
    Some(frame)
}

fn header_v4(length: u16, class: u8, identification: u16, whole: bool, from: Ipv4Addr, to: Ipv4Addr) -> [u8; V4] {
    let mut header = [0; V4];
    let fields: [(usize, &[u8]); 6] = [
        (0, &[0x45, class]),
        (2, &length.to_be_bytes()),
        (4, &identification.to_be_bytes()),
        (6, &(if whole { WHOLE } else { 0 }).to_be_bytes()),
        (8, &[HOP_LIMIT, ICMP_V4]),
        (12, &[from.octets(), to.octets()].concat()),
    ];
    for (at, field) in fields {
        header[at..at + field.len()].copy_from_slice(field);
    }
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// The Internet checksum (RFC 1071) to put where there are zeros; zero where the right one is in place. Every part but
/// the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = |bytes: &[u8]| {
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from)).sum::<u64>()
    };
    let mut sum: u64 = parts.iter().map(|part| words(part)).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// With the pseudo header of RFC 8200 §8.1.
fn checksum_v6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    checksum(&[&source.octets(), &destination.octets(), &length, &[0, 0, 0, ICMP_V6], message])
}
