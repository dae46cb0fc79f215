//! Whether the kernel of another node answers, though its speaker may not: ICMP echo to the node's address.
//!
//! One raw socket per family for all interfaces; an answer tells its node by its source. ARP is asked on the interface
//! itself ([`super::machine`]).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Longer than any echo reply of ours with its IP header.
const PACKET: usize = 128;
/// Packets read in one turn: somebody else's flood of pings must not keep the thread here.
const TURN: usize = 256;
/// Types of messages: request and reply, in ICMP (RFC 792) and in ICMPv6 (RFC 4443 §4).
const V4: (u8, u8) = (8, 0);
const V6: (u8, u8) = (128, 129);

/// Asks by echo.
#[derive(Debug)]
pub(super) struct Echo {
    /// Raw sockets in the clothes of UDP: what is wanted of them is an address with every packet.
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// Tells our replies from those to other programs.
    id: u16,
    sequence: u16,
}

impl Echo {
    /// Opens what the kernel gives: where it gives nothing, echo says nothing about anybody.
    pub(super) fn open(id: u16) -> Self {
        let open = |domain, protocol| -> io::Result<UdpSocket> {
            let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        let v4 = open(Domain::IPV4, Protocol::ICMPV4).ok();
        let v6 = open(Domain::IPV6, Protocol::ICMPV6).ok();
        Self { v4, v6, id, sequence: 0 }
    }

    /// The sockets to wait for.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        self.v4.iter().chain(&self.v6)
    }

    /// Asks. What cannot be sent is as good as unanswered.
    pub(super) fn ask(&mut self, node: IpAddr) {
        self.sequence = self.sequence.wrapping_add(1);
        let (socket, kind) = match node {
            IpAddr::V4(_) => (&self.v4, V4.0),
            IpAddr::V6(_) => (&self.v6, V6.0),
        };
        if let Some(socket) = socket {
            let _ = socket.send_to(&request(kind, self.id, self.sequence), SocketAddr::new(node, 0));
        }
    }

    /// Who has answered since the last time.
    pub(super) fn heard(&self) -> Vec<IpAddr> {
        let mut heard = Vec::new();
        let mut buffer = [0; PACKET];
        for (socket, v4) in self.v4.iter().map(|socket| (socket, true)).chain(self.v6.iter().map(|v6| (v6, false))) {
            for _ in 0..TURN {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { break };
                let packet = buffer.get(..length).unwrap_or_default();
                // Only in IPv4 a raw socket tells the header, which is so many times four bytes long.
                let header = if v4 { packet.first().map_or(0, |first| usize::from(first & 0xf) * 4) } else { 0 };
                let kind = if v4 { V4.1 } else { V6.1 };
                if is_reply(packet.get(header..).unwrap_or_default(), kind, self.id) {
                    heard.push(from.ip());
                }
            }
        }
        heard
    }
}

/// An echo request without data. In ICMPv6 the kernel writes the checksum anew.
fn request(kind: u8, id: u16, sequence: u16) -> [u8; 8] {
    let [id_high, id_low] = id.to_be_bytes();
    let [sequence_high, sequence_low] = sequence.to_be_bytes();
    let sum = u32::from(u16::from_be_bytes([kind, 0])) + u32::from(id) + u32::from(sequence);
    let sum = (sum & 0xffff) + (sum >> 16);
    let [sum_high, sum_low] = (!u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or_default()).to_be_bytes();
    [kind, 0, sum_high, sum_low, id_high, id_low, sequence_high, sequence_low]
}

fn is_reply(message: &[u8], kind: u8, id: u16) -> bool {
    matches!(*message, [first, 0, _, _, high, low, ..] if first == kind && u16::from_be_bytes([high, low]) == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_makes_the_words_add_up_to_ones() {
        for (kind, id, sequence) in [(8, 0, 0), (8, 0xffff, 0xffff), (8, 0x1234, 7), (128, 0xf800, 0x0800)] {
            let message = request(kind, id, sequence);
            let words = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
            let sum: u32 = words.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{kind} {id} {sequence}");
        }
    }

    #[test]
    fn only_replies_with_our_number_count() {
        assert!(is_reply(&[0, 0, 9, 9, 0x12, 0x34, 0, 1], 0, 0x1234));
        assert!(!is_reply(&[8, 0, 9, 9, 0x12, 0x34, 0, 1], 0, 0x1234), "a request");
        assert!(!is_reply(&[0, 0, 9, 9, 0x12, 0x35, 0, 1], 0, 0x1234), "another program's");
        assert!(!is_reply(&[0, 0, 9, 9], 0, 0x1234), "cut off");
    }
}
