//! NOTIFICATION: why a session ends, in codes and, since RFC 9003, in a person's words.
//!
//! Sources: RFC 4271 §4.5 and §6, RFC 4486, RFC 6608, RFC 7313, RFC 8538 (hard reset), RFC 9003, RFC 9384, RFC 9687.

use std::fmt;

use super::{MessageType, Reader, frame};

/// What is kept of a peer's data: a hard reset around the longest text.
const MAX_DATA: usize = 2 + 1 + 255;

/// Why a session is ended without an error (RFC 4486, RFC 8538, RFC 9384).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cease {
    /// More prefixes than allowed.
    MaximumPrefixes = 1,
    /// Somebody switched it off.
    AdministrativeShutdown = 2,
    /// The peer is not configured any more.
    PeerDeconfigured = 3,
    /// Somebody restarted it.
    AdministrativeReset = 4,
    /// We accept no connection now.
    ConnectionRejected = 5,
    /// The configuration changed so that the session has to start anew.
    OtherConfigurationChange = 6,
    /// The other of two connections was kept.
    ConnectionCollision = 7,
    /// Not enough memory, or the like.
    OutOfResources = 8,
    /// Not to be survived by graceful restart; holds the true reason.
    HardReset = 9,
    /// BFD saw the peer die.
    BfdDown = 10,
}

/// A NOTIFICATION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The error code.
    pub code: u8,
    /// The error subcode.
    pub subcode: u8,
    /// The data, by code and subcode; of a peer's at most 258 bytes.
    pub data: Vec<u8>,
}

impl Notification {
    /// Without data.
    pub const fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Vec::new() }
    }

    /// With data.
    pub const fn with_data(code: u8, subcode: u8, data: Vec<u8>) -> Self {
        Self { code, subcode, data }
    }

    /// "Hold timer expired".
    pub const HOLD_TIMER: Self = Self::new(4, 0);
    /// "Send hold timer expired" (RFC 9687).
    pub const SEND_HOLD_TIMER: Self = Self::new(8, 0);

    /// A Cease without text.
    pub const fn cease(why: Cease) -> Self {
        Self::new(6, why as u8)
    }

    /// A Cease with a text for the operator at the other end, cut to 255 bytes where characters end (RFC 9003). Only
    /// administrative shutdown and reset carry one.
    pub fn cease_saying(why: Cease, text: &str) -> Self {
        let carries = matches!(why, Cease::AdministrativeShutdown | Cease::AdministrativeReset);
        if text.is_empty() || !carries {
            return Self::cease(why);
        }
        let text = text.get(..text.floor_char_boundary(255)).unwrap_or_default();
        let mut data = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
        data.extend_from_slice(text.as_bytes());
        Self::with_data(6, why as u8, data)
    }

    /// The same as a hard reset, so that a peer with the N-bit does not keep our routes (RFC 8538 §3.1).
    #[must_use]
    pub fn hard(self) -> Self {
        if self.code == 6 && self.subcode == Cease::HardReset as u8 {
            return self;
        }
        let mut data = vec![self.code, self.subcode];
        data.extend(self.data);
        Self::with_data(6, Cease::HardReset as u8, data)
    }

    /// Reads the body of a NOTIFICATION. The framing has seen to it that both codes are there.
    pub fn parse(body: &[u8]) -> Self {
        let mut reader = Reader(body);
        let (code, subcode) = (reader.u8().unwrap_or(0), reader.u8().unwrap_or(0));
        let data = reader.0.get(..MAX_DATA).unwrap_or(reader.0);
        Self::with_data(code, subcode, data.to_vec())
    }

    /// The bytes of the message.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let data = self.data.get(..super::MAX_LEN - 21).unwrap_or(&self.data);
        frame(&mut out, MessageType::Notification, |out| {
            out.extend_from_slice(&[self.code, self.subcode]);
            out.extend_from_slice(data);
        });
        out
    }

    /// What a hard reset holds; itself for everything else.
    #[must_use]
    pub fn inner(&self) -> Self {
        match (self.code, self.subcode, self.data.as_slice()) {
            (6, 9, [code, subcode, data @ ..]) => Self::with_data(*code, *subcode, data.to_vec()),
            _ => self.clone(),
        }
    }

    /// What the operator at the other end says (RFC 9003): on one line, without control characters.
    pub fn text(&self) -> Option<String> {
        let inner = self.inner();
        let (6, 2 | 4, [len, rest @ ..]) = (inner.code, inner.subcode, inner.data.as_slice()) else { return None };
        let text = String::from_utf8_lossy(rest.get(..usize::from(*len))?);
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        (!text.is_empty()).then(|| text.chars().map(printable).collect())
    }

    /// What the codes mean, in words.
    pub fn meaning(&self) -> &'static str {
        match self.code {
            1 => header_error(self.subcode),
            2 => open_error(self.subcode),
            3 => update_error(self.subcode),
            4 => "hold timer expired: nothing was heard for the whole hold time",
            5 => state_error(self.subcode),
            6 => cease(self.subcode),
            7 => "route refresh message with a wrong length",
            8 => "send hold timer expired: nothing could be sent",
            _ => "unknown error code",
        }
    }
}

const fn header_error(subcode: u8) -> &'static str {
    match subcode {
        1 => "message header: connection not synchronised (wrong marker)",
        2 => "message header: bad message length",
        3 => "message header: unknown message type",
        _ => "message header error",
    }
}

const fn open_error(subcode: u8) -> &'static str {
    match subcode {
        1 => "OPEN refused: unsupported version",
        2 => "OPEN refused: wrong AS number",
        3 => "OPEN refused: bad BGP identifier (router id)",
        4 => "OPEN refused: unsupported optional parameter",
        5 => "OPEN refused: authentication failure",
        6 => "OPEN refused: unacceptable hold time",
        7 => "OPEN refused: unsupported capability",
        11 => "OPEN refused: role mismatch",
        _ => "OPEN refused",
    }
}

const fn update_error(subcode: u8) -> &'static str {
    match subcode {
        1 => "UPDATE refused: malformed attribute list",
        2 => "UPDATE refused: unrecognised well-known attribute",
        3 => "UPDATE refused: missing well-known attribute",
        4 => "UPDATE refused: wrong attribute flags",
        5 => "UPDATE refused: wrong attribute length",
        6 => "UPDATE refused: invalid ORIGIN",
        8 => "UPDATE refused: invalid NEXT_HOP",
        9 => "UPDATE refused: optional attribute error",
        10 => "UPDATE refused: invalid network field",
        11 => "UPDATE refused: malformed AS_PATH",
        _ => "UPDATE refused",
    }
}

const fn state_error(subcode: u8) -> &'static str {
    match subcode {
        1 => "unexpected message in state OpenSent",
        2 => "unexpected message in state OpenConfirm",
        3 => "unexpected message in state Established",
        _ => "finite state machine error",
    }
}

const fn cease(subcode: u8) -> &'static str {
    match subcode {
        1 => "maximum number of prefixes reached",
        2 => "administrative shutdown",
        3 => "peer deconfigured",
        4 => "administrative reset",
        5 => "connection rejected",
        6 => "other configuration change",
        7 => "connection collision resolution",
        8 => "out of resources",
        9 => "hard reset",
        10 => "BFD down",
        _ => "cease",
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        write!(f, "{} ({}/{})", inner.meaning(), self.code, self.subcode)?;
        match self.text() {
            Some(text) => write!(f, ": {text:?}"),
            None => Ok(()),
        }
    }
}
