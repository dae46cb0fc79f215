//! BGP messages as bytes: where one ends (framing), and what is in it.
//!
//! | file | message |
//! |---|---|
//! | [`open`] | OPEN and its capabilities, both ways |
//! | [`update`] | UPDATE, out: attributes encoded once per set, prefixes packed behind them |
//! | [`skim`](mod@skim) | UPDATE, in: counted and judged by RFC 7606, nothing kept |
//! | [`notification`] | NOTIFICATION, both ways, and what its codes mean |
//!
//! KEEPALIVE and ROUTE-REFRESH are small enough to be here. Decoders take checked slices only and allocate nothing in
//! proportion to what a peer sends.

use std::mem;

use crate::bgp::Family;
use crate::bgp::wire::notification::Notification;

pub mod notification;
pub mod open;
pub mod skim;
#[cfg(test)]
mod tests;
pub mod update;

pub use skim::{Skimmed, Verdict, skim};

/// Marker, length and type.
pub const HEADER_LEN: usize = 19;
/// The longest message where nothing else was agreed on (RFC 4271 §4.1).
pub const MAX_LEN: usize = 4096;
/// The longest message with RFC 8654. OPEN and KEEPALIVE never grow.
pub const EXTENDED_MAX_LEN: usize = 65535;
/// Sixteen ones.
const MARKER: [u8; 16] = [0xff; 16];

/// The five types of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageType {
    /// RFC 4271 §4.2.
    Open = 1,
    /// RFC 4271 §4.3.
    Update = 2,
    /// RFC 4271 §4.5.
    Notification = 3,
    /// RFC 4271 §4.4.
    Keepalive = 4,
    /// RFC 2918.
    RouteRefresh = 5,
}

impl MessageType {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Open),
            2 => Some(Self::Update),
            3 => Some(Self::Notification),
            4 => Some(Self::Keepalive),
            5 => Some(Self::RouteRefresh),
            _ => None,
        }
    }

    /// Whether a message of this type can be so long, header included. A ROUTE-REFRESH is judged when it is parsed.
    const fn fits(self, len: usize, max: usize) -> bool {
        match self {
            Self::Open => len >= 29 && len <= MAX_LEN,
            Self::Update => len >= 23 && len <= max,
            Self::Notification => len >= 21 && len <= max,
            Self::Keepalive => len == HEADER_LEN,
            Self::RouteRefresh => len >= HEADER_LEN && len <= max,
        }
    }
}

/// Reads the header of a message: its type, and its length with the header.
///
/// # Errors
/// The NOTIFICATION that the peer is owed (RFC 4271 §6.1).
pub fn parse_header(header: &[u8; HEADER_LEN], max: usize) -> Result<(MessageType, usize), Notification> {
    let [marker @ .., high, low, number] = header;
    if *marker != MARKER {
        return Err(Notification::new(1, 1));
    }
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let bad_length = || Notification::with_data(1, 2, vec![*high, *low]);
    if !(HEADER_LEN..=max).contains(&len) {
        return Err(bad_length());
    }
    let message = MessageType::from_number(*number).ok_or_else(|| Notification::with_data(1, 3, vec![*number]))?;
    if message.fits(len, max) { Ok((message, len)) } else { Err(bad_length()) }
}

/// A connection's bytes on their way to becoming messages. Holds at most one message.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    complete: bool,
}

impl Inbox {
    /// Takes bytes off `chunk` up to the end of one message. `Some` says that a message is complete, and is in
    /// [`Self::body`] until the next call; `None` that the chunk is used up.
    ///
    /// # Errors
    /// The NOTIFICATION that the peer is owed; what follows in the stream cannot be read any more.
    pub fn next(&mut self, chunk: &mut &[u8], max: usize) -> Result<Option<MessageType>, Notification> {
        if mem::take(&mut self.complete) {
            self.bytes.clear();
        }
        self.fill(chunk, HEADER_LEN);
        let Some(header) = self.bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let (message, len) = parse_header(header, max)?;
        self.fill(chunk, len);
        self.complete = self.bytes.len() == len;
        Ok(self.complete.then_some(message))
    }

    /// What follows the header of the message.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// Bytes held.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte is held.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn fill(&mut self, chunk: &mut &[u8], to: usize) {
        let wanted = to.saturating_sub(self.bytes.len()).min(chunk.len());
        let (taken, rest) = chunk.split_at_checked(wanted).unwrap_or((chunk, &[]));
        self.bytes.extend_from_slice(taken);
        *chunk = rest;
    }
}

/// Puts a message behind `out`: its body is what `body` appends, and must leave it below 65517 bytes.
pub(crate) fn frame(out: &mut Vec<u8>, message: MessageType, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0, 0, message as u8]);
    body(out);
    let len = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    put_u16_at(out, start + 16, len);
}

/// A KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN);
    frame(&mut out, MessageType::Keepalive, |_| {});
    out
}

/// What a ROUTE-REFRESH says (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// "Send me everything again."
    Request = 0,
    /// "From here on I send everything again."
    Begin = 1,
    /// "That was everything."
    End = 2,
}

/// Appends a ROUTE-REFRESH.
pub fn put_refresh(out: &mut Vec<u8>, family: Family, what: Refresh) {
    frame(out, MessageType::RouteRefresh, |out| {
        out.extend_from_slice(&family.afi().to_be_bytes());
        out.extend_from_slice(&[what as u8, 1]);
    });
}

/// Reads the body of a ROUTE-REFRESH. `None`: a family or a kind that we do not know, to be ignored.
///
/// # Errors
/// The NOTIFICATION that a wrong length is owed: with Enhanced Route Refresh it has a code of its own (RFC 7313 §5).
pub fn parse_refresh(body: &[u8], enhanced: bool) -> Result<Option<(Family, Refresh)>, Notification> {
    let [a, b, kind, safi] = *body else {
        let mut whole = Vec::with_capacity(HEADER_LEN + body.len());
        frame(&mut whole, MessageType::RouteRefresh, |out| out.extend_from_slice(body));
        let len = whole.get(16..18).unwrap_or_default().to_vec();
        return Err(if enhanced { Notification::with_data(7, 1, whole) } else { Notification::with_data(1, 2, len) });
    };
    let what = match kind {
        0 => Refresh::Request,
        1 => Refresh::Begin,
        2 => Refresh::End,
        _ => return Ok(None),
    };
    Ok(Family::from_numbers(u16::from_be_bytes([a, b]), safi).map(|family| (family, what)))
}

/// Overwrites two bytes that are there already.
pub(crate) fn put_u16_at(out: &mut [u8], at: usize, value: u16) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Bytes being read from the front. Nothing is taken when too few are left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
