//! Bidirectional Forwarding Detection: is the way to a router alive, told within a few packets (RFC 5880)?
//!
//! ```text
//! packets with their TTL, AdminDown, Configure ─►┌─────────┐─► Send (24 bytes)
//!                                                │ Session │─► Changed (state, diagnostic)
//!                              the time ────────►└─────────┘
//! ```
//!
//! Asynchronous mode over IPv4 and IPv6: single hop (RFC 5881, TTL 255 or dropped) and multihop (RFC 5883, a least TTL);
//! what it means to BGP is [`Path`] (RFC 5882). Left out: demand mode of our own (a router that asks for it is heeded),
//! echo, authentication. [`packet`] is the wire, [`session`] the machine.
//!
//! # What the driver owes
//!
//! Ports 3784 and 4784, a source port of its own per session from 49152 up, TTL 255 on everything sent. A packet belongs
//! to the session whose discriminator it names, or, where it names none, to the one with its source and interface. The
//! driver reads everything that waits in the socket before it calls `handle_timeout`, so that its own lateness never
//! makes a router look dead.

#![deny(clippy::indexing_slicing)]

pub mod packet;
pub mod session;

pub use packet::{Diagnostic, Packet, ParseError, State, parse};
pub use session::{Change, Config, Counters, Discard, Input, Output, Reach, Session};

/// What BFD knows about a way, as far as whoever uses it is concerned (RFC 5882 §3.2 and §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// It works.
    Up,
    /// It does not.
    Down,
    /// Nobody looks: not yet, or switched off at either end. No reason to end anything.
    #[default]
    Unknown,
}
