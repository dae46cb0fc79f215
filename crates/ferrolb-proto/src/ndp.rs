//! Neighbour discovery for IPv6 (RFC 4861): is this solicitation for an address of ours, and what do we answer?
//!
//! Frames here are whole, Ethernet and IPv6 header included. That is on purpose: a neighbour that checks whether we are
//! still there sends its solicitation to the address itself (RFC 4861 §7.3.3). The address is not one of the kernel's, so
//! the kernel forwards or drops such a packet, and no ICMPv6 socket ever sees it. On the wire it is there.
//!
//! Who the router on a link is, for BGP without addresses, is in [`discovery`]. Left out: redirects, our own duplicate
//! address detection, secure NDP. Sources: RFC 4861 §4.3, §4.4, §7.1, §7.2; RFC 4443 §2.3 for the checksum; spec §6.5.

use std::net::Ipv6Addr;

use crate::ethernet::MacAddr;

pub mod discovery;
pub mod groups;
mod sighting;
#[cfg(test)]
mod tests;

pub use sighting::{Advertisement, parse_advertisement, parse_probe, probe};

/// The EtherType of IPv6.
pub const ETHERTYPE: u16 = 0x86dd;
/// The length of an advertisement's frame: Ethernet, IPv6, 24 bytes, one option of 8.
pub const FRAME_LEN: usize = 14 + 40 + 32;
/// ICMPv6 types.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Options of NDP.
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Nobody further away than our own link can send a packet that arrives with it (RFC 4861 §7.1.1).
const HOP_LIMIT: u8 = 255;
/// IPv6 next header of ICMPv6.
const ICMPV6: u8 = 58;
/// Flags of an advertisement.
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// `ff02::1`.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// A neighbour solicitation in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Ethernet source.
    pub source_mac: MacAddr,
    /// Ethernet destination.
    pub destination_mac: MacAddr,
    /// Who asks; unspecified in duplicate address detection.
    pub source: Ipv6Addr,
    /// The solicited-node group, or the address itself.
    pub destination: Ipv6Addr,
    /// The address asked for.
    pub target: Ipv6Addr,
    /// The asker's MAC address, where it tells it.
    pub link_layer: Option<MacAddr>,
}

/// Why a frame is no valid solicitation (RFC 4861 §7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The frame ends too early, or a length in it says so.
    #[error("too short for a neighbour solicitation")]
    TooShort,
    /// Not IPv6, not ICMPv6 right after the header, or another ICMPv6 type.
    #[error("not the kind of neighbour message that is looked for")]
    NotSolicitation,
    /// It has passed a router.
    #[error("hop limit {0} instead of 255: it comes from another link")]
    HopLimit(u8),
    /// The checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// Target a group, code not zero, an option of length zero, or addresses that contradict one another.
    #[error("malformed neighbour solicitation")]
    Malformed,
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ParseError> {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).ok_or(ParseError::TooShort)
}

/// Reads a frame.
///
/// # Errors
/// Says why it is not a valid solicitation.
pub fn parse(frame: &[u8]) -> Result<Solicitation, ParseError> {
    let Envelope { source, destination, message } = envelope(frame, SOLICITATION)?;
    let target = Ipv6Addr::from(octets::<16>(message, 8)?);
    let link_layer = options(message.get(24..).ok_or(ParseError::TooShort)?, SOURCE_LINK_LAYER)?;
    let group = solicited_node(target);
    let probe_is_wrong = source.is_unspecified() && (destination != group || link_layer.is_some());
    if message.get(1) != Some(&0) || target.is_multicast() || probe_is_wrong || source.is_multicast() {
        return Err(ParseError::Malformed);
    }
    Ok(Solicitation {
        source_mac: MacAddr(octets(frame, 6)?),
        destination_mac: MacAddr(octets(frame, 0)?),
        source,
        destination,
        target,
        link_layer,
    })
}

/// A neighbour message, and whose packet it came in.
struct Envelope<'a> {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: &'a [u8],
}

/// What every neighbour message has in common (RFC 4861 §7.1).
fn envelope(frame: &[u8], kind: u8) -> Result<Envelope<'_>, ParseError> {
    if u16::from_be_bytes(octets(frame, 12)?) != ETHERTYPE {
        return Err(ParseError::NotSolicitation);
    }
    let header: [u8; 40] = octets(frame, 14)?;
    if header[0] >> 4 != 6 || header[6] != ICMPV6 {
        return Err(ParseError::NotSolicitation);
    }
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = frame.get(54..54 + length).ok_or(ParseError::TooShort)?;
    if *message.first().ok_or(ParseError::TooShort)? != kind {
        return Err(ParseError::NotSolicitation);
    }
    if header[7] != HOP_LIMIT {
        return Err(ParseError::HopLimit(header[7]));
    }
    let source = Ipv6Addr::from(octets::<16>(&header, 8)?);
    let destination = Ipv6Addr::from(octets::<16>(&header, 24)?);
    if checksum(source, destination, message) != 0 {
        return Err(ParseError::Checksum);
    }
    Ok(Envelope { source, destination, message })
}

/// Walks over the options; returns the link-layer address of the kind looked for. Others are passed over.
fn options(mut bytes: &[u8], wanted: u8) -> Result<Option<MacAddr>, ParseError> {
    let mut link_layer = None;
    while let [kind, length, ..] = *bytes {
        let length = usize::from(length) * 8;
        if length == 0 {
            return Err(ParseError::Malformed);
        }
        let option = bytes.get(..length).ok_or(ParseError::TooShort)?;
        if kind == wanted {
            link_layer = Some(MacAddr(octets(option, 2)?));
        }
        bytes = bytes.get(length..).unwrap_or_default();
    }
    if bytes.is_empty() { Ok(link_layer) } else { Err(ParseError::TooShort) }
}

/// The solicited-node group of an address: `ff02::1:ff` and its low 24 bits (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let low = address.to_bits() & 0xff_ffff;
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | low)
}

/// The Ethernet group of an IPv6 group (RFC 2464 §7).
fn ethernet_group(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The frame that answers a solicitation; `None` where none is due. A solicitation without a link-layer option is
/// answered to where it came from; duplicate address detection is answered to all nodes, because its sender has no
/// address yet (RFC 4861 §7.2.4).
///
/// The source is the address itself, as in the answers of a kernel that has it: tools such as ndisc6 take an answer for
/// a global address from no other source.
pub fn answer(
    solicitation: &Solicitation,
    own: MacAddr,
    is_ours: impl FnOnce(Ipv6Addr) -> bool,
) -> Option<[u8; FRAME_LEN]> {
    let Solicitation { source, destination, target, .. } = *solicitation;
    let to_us = solicitation.destination_mac == own || solicitation.destination_mac.is_group();
    let asks = destination == solicited_node(target) || destination == target;
    if !to_us || !asks || solicitation.source_mac == own || !is_ours(target) {
        return None;
    }
    if source.is_unspecified() {
        return Some(announcement(own, target));
    }
    let mac = solicitation.link_layer.unwrap_or(solicitation.source_mac);
    // As with ARP: to a group address the answer would go to everybody, and so it would to one that is nobody's.
    let answerable = !mac.is_group() && mac != MacAddr::ZERO && mac != own;
    answerable.then(|| advertisement(own, target, source, mac, SOLICITED))
}

/// "The address is at this MAC address", to all nodes, overriding what they know (RFC 4861 §7.2.6).
pub fn announcement(own: MacAddr, address: Ipv6Addr) -> [u8; FRAME_LEN] {
    advertisement(own, address, ALL_NODES, ethernet_group(ALL_NODES), OVERRIDE)
}

/// The same answer in the name of another: its MAC address is in the option, the override flag is not set, and our own
/// MAC address is only where the frame comes from (`docs/l2-failover.md`, rule 6).
#[must_use]
pub fn on_behalf_of(mut answer: [u8; FRAME_LEN], owner: MacAddr) -> [u8; FRAME_LEN] {
    let (header, message) = answer.split_at_mut(54);
    let address = |at: usize| Ipv6Addr::from(octets::<16>(header, at).unwrap_or_default());
    message[2..4].fill(0);
    message[4] &= !OVERRIDE;
    message[26..32].copy_from_slice(&owner.0);
    let sum = checksum(address(22), address(38), message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    answer
}

/// An advertisement in its frame, from the address itself to `to` at `mac`.
fn advertisement(own: MacAddr, target: Ipv6Addr, to: Ipv6Addr, mac: MacAddr, flags: u8) -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    let mut message = [0; 32];
    let fields: [(usize, &[u8]); 5] =
        [(0, &[ADVERTISEMENT, 0]), (4, &[flags]), (8, &target.octets()), (24, &[TARGET_LINK_LAYER, 1]), (26, &own.0)];
    for (at, field) in fields {
        message[at..at + field.len()].copy_from_slice(field);
    }
    let sum = checksum(target, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let fields: [(usize, &[u8]); 8] = [
        (0, &mac.0),
        (6, &own.0),
        (12, &ETHERTYPE.to_be_bytes()),
        (14, &[0x60, 0, 0, 0]),
        (18, &[0, 32, ICMPV6, HOP_LIMIT]),
        (22, &target.octets()),
        (38, &to.octets()),
        (54, &message),
    ];
    for (at, field) in fields {
        frame[at..at + field.len()].copy_from_slice(field);
    }
    frame
}

/// The checksum to put into a message whose checksum field is zero; zero for a message that has the right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| {
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from)).sum::<u64>()
    };
    let mut sum = words(&source.octets()) + words(&destination.octets()) + words(message);
    sum += message.len() as u64 + u64::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
