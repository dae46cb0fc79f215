//! What nodes of a segment tell one another: the messages inside sealed datagrams, and the Ethernet frame around them.
//!
//! ```text
//! LAN: | to 6 | from 6 | 0x88b5 | length 2 | sealed datagram | padding |        UDP 7946: the sealed datagram alone
//! sealed: | version 1 | sender | to | one of Body |                             (postcard: varints, a tag per variant)
//! ```
//!
//! The length is there because Ethernet pads short frames, and padding would not open. New kinds of messages go to the
//! end of [`Body`]: an older program counts what it does not know and goes on.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::node::NodeId;
use crate::ethernet::MacAddr;

/// "Local experimental EtherType 1" (IEEE 802): no router or firewall has an opinion about it.
pub const ETHERTYPE: u16 = 0x88b5;
/// Destination, source, EtherType, length.
const HEADER: usize = 6 + 6 + 2 + 2;
/// The shortest frame that Ethernet carries, without its check sequence.
const SHORTEST: usize = 60;
/// The version of what is inside.
const VERSION: u8 = 1;
/// Stakes in one message: what fits a frame of 1500 bytes at 23 bytes each, sealed.
pub(super) const STAKES: usize = 56;

/// What a speaker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It does not know yet what is its own; it answers for nothing.
    Starting,
    /// It answers for its addresses.
    Running,
    /// It is about to stop and may come back; its node goes on forwarding.
    Restarting,
    /// It is about to stop and does not come back.
    Leaving,
}

/// What a look at a node's kernel gave (ICMP echo, ARP, NDP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kernel {
    /// It answers.
    Answers,
    /// It used to answer, and does not.
    Silent,
    /// It has never answered on any path: that says nothing.
    Unknown,
}

/// "I live." Any sealed message says that much; this one says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// See there.
    pub state: State,
    /// Ready to be handed addresses: its kube-proxy has answered since boot, where there is one.
    pub ready: bool,
    /// Addressed to a watcher: "count on hearing me".
    pub watch: bool,
    /// By which paths the receiver was heard lately.
    pub heard_by: Paths,
    /// Members heard lately, the sender included.
    pub members: u16,
    /// Number and digest of the addresses that the sender owns.
    pub digest: (u32, u64),
}

/// One address in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stake {
    /// Which.
    pub address: IpAddr,
    /// Grows with every move.
    pub epoch: u32,
    /// Not provisional: the owner hears more than half of the segment.
    pub firm: bool,
}

/// Addresses of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whose they are; another than the sender where it repeats what it knows.
    pub owner: NodeId,
    /// The MAC address that answers.
    pub mac: [u8; 6],
    /// The number from the query that this answers, or zero.
    pub nonce: u64,
    /// Which, at most as many as fit a frame.
    pub stakes: Vec<Stake>,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// I live.
    Heartbeat(Heartbeat),
    /// These addresses are this node's.
    Claims(Claims),
    /// Tell me your claims, and those of who cannot tell; an answer repeats the number.
    Query {
        /// Random, never zero.
        nonce: u64,
        /// I know nothing (start, pause): everybody answers. Otherwise only the one that it is sent to.
        everything: bool,
    },
    /// Take these addresses from me.
    Handover(Vec<Stake>),
    /// These addresses are not ours any more, nor anybody's.
    Released(Vec<IpAddr>),
    /// I watch this node, and this is what I find.
    Silent {
        /// Whom.
        node: NodeId,
        /// What its kernel does; its speaker is silent.
        kernel: Kernel,
    },
    /// To a node: we held you dead until this moment.
    HeldDead,
    /// Are you there?
    Probe,
    /// I am here.
    Here,
    /// I do not know your boot id: repeat this number, so that I know that you are not a recording.
    Challenge {
        /// Random, never zero.
        nonce: u64,
    },
    /// The number repeated.
    Response {
        /// From the challenge.
        nonce: u64,
    },
}

/// A message, from whom and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// From whom.
    pub sender: NodeId,
    /// To whom; everybody if `None`. Switches flood what they do not know, and some sockets hear everything.
    pub to: Option<NodeId>,
    /// What.
    pub body: Body,
}

/// The ways a message can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// An Ethernet frame of our own on the segment.
    Lan,
    /// UDP, port 7946, to the node's address.
    Udp,
}

/// A set of paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// [`Path::Lan`].
    pub lan: bool,
    /// [`Path::Udp`].
    pub udp: bool,
}

impl Paths {
    /// Both.
    pub const BOTH: Self = Self { lan: true, udp: true };

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Path> {
        [(self.lan, Path::Lan), (self.udp, Path::Udp)].into_iter().filter_map(|(has, path)| has.then_some(path))
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Another EtherType, or too short to have one.
    #[error("not a frame of a segment")]
    NotOurs,
    /// It ends before its length says so.
    #[error("cut off")]
    CutOff,
    /// Another version of this program, or garbage.
    #[error("not understood; another version of the program?")]
    NotUnderstood,
}

impl Message {
    /// Reads what was inside a sealed datagram.
    ///
    /// # Errors
    /// It is not understood.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let (version, rest) = bytes.split_first().ok_or(ParseError::CutOff)?;
        if *version != VERSION {
            return Err(ParseError::NotUnderstood);
        }
        match postcard::take_from_bytes::<Self>(rest) {
            Ok((message, [])) => Ok(message),
            _ => Err(ParseError::NotUnderstood),
        }
    }

    /// The bytes to seal.
    pub fn emit(&self) -> Vec<u8> {
        // It fails only for types that postcard cannot write, and these are none of them.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }
}

/// The Ethernet frame around a sealed datagram.
pub fn emit_lan(to: MacAddr, from: MacAddr, sealed: &[u8]) -> Vec<u8> {
    let length = u16::try_from(sealed.len()).unwrap_or(u16::MAX);
    let mut frame = Vec::with_capacity((HEADER + sealed.len()).max(SHORTEST));
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ETHERTYPE.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(sealed.get(..usize::from(length)).unwrap_or_default());
    frame.resize(frame.len().max(SHORTEST), 0);
    frame
}

/// The sender's MAC address, and the sealed datagram in a frame.
///
/// # Errors
/// Another EtherType, or cut off.
pub fn parse_lan(frame: &[u8]) -> Result<(MacAddr, &[u8]), ParseError> {
    let (header, rest) = frame.split_at_checked(HEADER).ok_or(ParseError::NotOurs)?;
    let [_, _, _, _, _, _, a, b, c, d, e, f, type_high, type_low, high, low] = *header else {
        return Err(ParseError::NotOurs);
    };
    if u16::from_be_bytes([type_high, type_low]) != ETHERTYPE {
        return Err(ParseError::NotOurs);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    Ok((MacAddr([a, b, c, d, e, f]), rest.get(..length).ok_or(ParseError::CutOff)?))
}

#[cfg(test)]
mod tests;
