//! The BFD control packet (RFC 5880 §4.1): 24 bytes, without authentication.

use std::num::NonZeroU32;

/// Bytes of a packet.
pub const LEN: usize = 24;

/// The state of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Switched off.
    AdminDown = 0,
    /// The other end is not heard, or has just said that it does not hear us.
    #[default]
    Down = 1,
    /// The other end is heard.
    Init = 2,
    /// Both ends hear each other.
    Up = 3,
}

/// Why a session went down last (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Diagnostic {
    /// It did not, so far.
    #[default]
    None,
    /// Nothing was heard for the detection time.
    DetectionTimeExpired,
    /// An echo did not come back.
    EchoFailed,
    /// The other end said that it is down.
    NeighborSignaledDown,
    /// The forwarding plane was reset.
    ForwardingPlaneReset,
    /// The path is known to be down.
    PathDown,
    /// A path further on is down.
    ConcatenatedPathDown,
    /// Switched off.
    AdministrativelyDown,
    /// The way back is known to be down.
    ReverseConcatenatedPathDown,
    /// Not assigned.
    Other(u8),
}

impl Diagnostic {
    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::DetectionTimeExpired,
            2 => Self::EchoFailed,
            3 => Self::NeighborSignaledDown,
            4 => Self::ForwardingPlaneReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            8 => Self::ReverseConcatenatedPathDown,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::DetectionTimeExpired => 1,
            Self::EchoFailed => 2,
            Self::NeighborSignaledDown => 3,
            Self::ForwardingPlaneReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdministrativelyDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            Self::Other(number) => number & 0x1f,
        }
    }
}

/// A control packet. Intervals are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender went down last.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// Asks for an answer.
    pub poll: bool,
    /// Is that answer.
    pub is_final: bool,
    /// The sender's BFD outlives its control plane.
    pub control_plane_independent: bool,
    /// The sender does not want packets at intervals.
    pub demand: bool,
    /// How many of its packets may be missing.
    pub detect_multiplier: u8,
    /// The sender's discriminator.
    pub my_discriminator: NonZeroU32,
    /// Ours, as the sender knows it; 0 where it does not yet.
    pub your_discriminator: u32,
    /// The sender would send so often at most.
    pub desired_min_tx: u32,
    /// The sender can take packets so often; 0: none at all.
    pub required_min_rx: u32,
    /// The sender can take echoes so often; 0: none.
    pub required_min_echo_rx: u32,
}

/// Why bytes are no packet that counts (RFC 5880 §6.8.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Shorter than it says, or than any can be.
    #[error("too short for a BFD packet")]
    TooShort,
    /// Not version 1.
    #[error("BFD version {0}, not 1")]
    OtherVersion(u8),
    /// With authentication, which none of our sessions has.
    #[error("BFD packet with authentication")]
    Authenticated,
    /// Detection multiplier 0.
    #[error("BFD detection multiplier 0")]
    NoMultiplier,
    /// The multipoint bit is set.
    #[error("BFD packet for several receivers")]
    Multipoint,
    /// My Discriminator is 0.
    #[error("BFD packet without the sender's discriminator")]
    NoDiscriminator,
    /// Your Discriminator is 0, in a state in which the sender must know it.
    #[error("BFD packet without the receiver's discriminator in state Init or Up")]
    NotDown,
}

/// Reads a packet. Bytes behind its length are passed by.
///
/// # Errors
/// Says why it does not count.
pub fn parse(bytes: &[u8]) -> Result<Packet, ParseError> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(ParseError::TooShort)?;
    let (words, _) = rest.as_chunks::<4>();
    let [first, flags, detect_multiplier, len] = *head;
    if first >> 5 != 1 {
        return Err(ParseError::OtherVersion(first >> 5));
    }
    let authenticated = flags & 0x04 != 0;
    let least = if authenticated { LEN + 2 } else { LEN };
    let [mine, yours, tx, rx, echo, ..] = *words else { return Err(ParseError::TooShort) };
    if usize::from(len) < least || usize::from(len) > bytes.len() {
        return Err(ParseError::TooShort);
    }
    if detect_multiplier == 0 {
        return Err(ParseError::NoMultiplier);
    }
    if flags & 0x01 != 0 {
        return Err(ParseError::Multipoint);
    }
    let state = match flags >> 6 {
        0 => State::AdminDown,
        1 => State::Down,
        2 => State::Init,
        _ => State::Up,
    };
    let my_discriminator = NonZeroU32::new(u32::from_be_bytes(mine)).ok_or(ParseError::NoDiscriminator)?;
    let your_discriminator = u32::from_be_bytes(yours);
    if your_discriminator == 0 && state > State::Down {
        return Err(ParseError::NotDown);
    }
    if authenticated {
        return Err(ParseError::Authenticated);
    }
    Ok(Packet {
        diagnostic: Diagnostic::from_number(first & 0x1f),
        state,
        poll: flags & 0x20 != 0,
        is_final: flags & 0x10 != 0,
        control_plane_independent: flags & 0x08 != 0,
        demand: flags & 0x02 != 0,
        detect_multiplier,
        my_discriminator,
        your_discriminator,
        desired_min_tx: u32::from_be_bytes(tx),
        required_min_rx: u32::from_be_bytes(rx),
        required_min_echo_rx: u32::from_be_bytes(echo),
    })
}

impl Packet {
    /// The bytes of the packet.
    pub fn emit(&self) -> [u8; LEN] {
        let bit = |is_set: bool, at: u8| u8::from(is_set) << at;
        let flags = (self.state as u8) << 6
            | bit(self.poll, 5)
            | bit(self.is_final, 4)
            | bit(self.control_plane_independent, 3)
            | bit(self.demand, 1);
        let mut bytes = [0; LEN];
        let words = [
            u32::from_be_bytes([1 << 5 | self.diagnostic.number(), flags, self.detect_multiplier, 24]),
            self.my_discriminator.get(),
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        bytes
    }
}
