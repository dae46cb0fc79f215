//! ARP over Ethernet for IPv4 (RFC 826): is this request for an address of ours, and what do we answer?
//!
//! ```text
//! neighbour ── who has 192.168.1.201? ──► [kernel filter] ──► parse ──► answer ──► neighbour
//!           ◄── both forms of announcement, broadcast ────────────────  announce
//! ```
//!
//! Frames here are whole: Ethernet header, 28 bytes of ARP, padding to the 60 bytes that Ethernet asks for. Left out:
//! conflict detection (RFC 5227), ARP for anything but IPv4 over Ethernet, VLAN tags (the kernel's business). Sources:
//! RFC 826, RFC 5227 §3 for announcements, spec §6.4 and §6.6.

use std::net::Ipv4Addr;

use crate::ethernet::MacAddr;

pub mod filter;
#[cfg(test)]
mod tests;

/// The EtherType of ARP.
pub const ETHERTYPE: u16 = 0x0806;
/// The length of every frame emitted here, without the frame check sequence.
pub const FRAME_LEN: usize = 60;
/// Ethernet header and ARP packet; shorter frames are no ARP.
const MIN_LEN: usize = 14 + 28;
/// Hardware type Ethernet, protocol type IPv4, their lengths 6 and 4.
const FIXED: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// "Who has the target address?"
    Request,
    /// "The sender has the sender address."
    Reply,
}

/// An ARP packet in its Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Ethernet destination.
    pub destination: MacAddr,
    /// Ethernet source.
    pub source: MacAddr,
    /// Request or reply.
    pub operation: Operation,
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's protocol address; 0.0.0.0 in a probe.
    pub sender_ip: Ipv4Addr,
    /// The target's hardware address; means nothing in a request.
    pub target_mac: MacAddr,
    /// The address asked for, or the one answered to.
    pub target_ip: Ipv4Addr,
}

/// Why bytes are no ARP frame that we understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Fewer than 42 bytes.
    #[error("too short for an ARP frame")]
    TooShort,
    /// Another EtherType.
    #[error("not an ARP frame")]
    OtherEtherType,
    /// Not IPv4 over Ethernet.
    #[error("not ARP for IPv4 over Ethernet")]
    OtherHardware,
    /// Neither request nor reply (RARP and the like).
    #[error("unknown ARP operation {0}")]
    OtherOperation(u16),
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ParseError> {
    bytes.get(at..at + N).and_then(|slice| slice.try_into().ok()).ok_or(ParseError::TooShort)
}

/// Reads a frame. Bytes after the ARP packet are padding.
///
/// # Errors
/// Says why it is not understood.
pub fn parse(bytes: &[u8]) -> Result<Frame, ParseError> {
    if bytes.len() < MIN_LEN {
        return Err(ParseError::TooShort);
    }
    if u16::from_be_bytes(octets(bytes, 12)?) != ETHERTYPE {
        return Err(ParseError::OtherEtherType);
    }
    if octets::<6>(bytes, 14)? != FIXED {
        return Err(ParseError::OtherHardware);
    }
    let operation = match u16::from_be_bytes(octets(bytes, 20)?) {
        1 => Operation::Request,
        2 => Operation::Reply,
        other => return Err(ParseError::OtherOperation(other)),
    };
    Ok(Frame {
        destination: MacAddr(octets(bytes, 0)?),
        source: MacAddr(octets(bytes, 6)?),
        operation,
        sender_mac: MacAddr(octets(bytes, 22)?),
        sender_ip: octets(bytes, 28)?.into(),
        target_mac: MacAddr(octets(bytes, 32)?),
        target_ip: octets(bytes, 38)?.into(),
    })
}

impl Frame {
    /// The bytes of the frame, padded with zeros.
    pub fn emit(&self) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        let operation = match self.operation {
            Operation::Request => 1u16,
            Operation::Reply => 2,
        };
        let fields: [(usize, &[u8]); 9] = [
            (0, &self.destination.0),
            (6, &self.source.0),
            (12, &ETHERTYPE.to_be_bytes()),
            (14, &FIXED),
            (20, &operation.to_be_bytes()),
            (22, &self.sender_mac.0),
            (28, &self.sender_ip.octets()),
            (32, &self.target_mac.0),
            (38, &self.target_ip.octets()),
        ];
        for (at, field) in fields {
            bytes[at..at + field.len()].copy_from_slice(field);
        }
        bytes
    }
}

/// The answer to a frame that came in on the interface with this MAC address; `None` where none is due. Probes
/// (sender 0.0.0.0) and announcements of others are answered like any request (spec §6.4).
pub fn answer(frame: &Frame, own: MacAddr, is_ours: impl FnOnce(Ipv4Addr) -> bool) -> Option<Frame> {
    let to_us = frame.destination == MacAddr::BROADCAST || frame.destination == own;
    // An answer goes to the sender's hardware address: where that is nobody's, it would go to everybody.
    let answerable = !frame.sender_mac.is_group() && frame.sender_mac != MacAddr::ZERO && frame.sender_mac != own;
    if frame.operation != Operation::Request || !to_us || !answerable || !is_ours(frame.target_ip) {
        return None;
    }
    Some(Frame {
        destination: frame.sender_mac,
        source: own,
        operation: Operation::Reply,
        sender_mac: own,
        sender_ip: frame.target_ip,
        target_mac: frame.sender_mac,
        target_ip: frame.sender_ip,
    })
}

impl Frame {
    /// The same answer in the name of another: its MAC address is the one that is told, our own is only where the frame
    /// comes from, so that switches learn nothing wrong (`docs/l2-failover.md`, rule 6).
    #[must_use]
    pub const fn on_behalf_of(self, owner: MacAddr) -> Self {
        Self { sender_mac: owner, ..self }
    }
}

/// "Has anybody this address?", asked by somebody who has none (RFC 5227 §2.1.1).
pub const fn probe(own: MacAddr, address: Ipv4Addr) -> Frame {
    Frame {
        destination: MacAddr::BROADCAST,
        source: own,
        operation: Operation::Request,
        sender_mac: own,
        sender_ip: Ipv4Addr::UNSPECIFIED,
        target_mac: MacAddr::ZERO,
        target_ip: address,
    }
}

/// "The address is at this MAC address", in the request form and in the reply form, broadcast. Both are forms that Linux
/// accepts at once, however fresh its entry is: the target hardware address of the reply form is the sender's own. With
/// the broadcast address there, as upstream writes it, Linux ignores it for a second after the last change.
pub fn announcements(own: MacAddr, address: Ipv4Addr) -> [Frame; 2] {
    let form = |operation, target_mac| Frame {
        destination: MacAddr::BROADCAST,
        source: own,
        operation,
        sender_mac: own,
        sender_ip: address,
        target_mac,
        target_ip: address,
    };
    [form(Operation::Request, MacAddr::ZERO), form(Operation::Reply, own)]
}
