//! OPEN: who speaks, and what both ends can do.
//!
//! Capabilities that we know are kept as they were meant, others by number only. Both forms of optional parameters are
//! read (RFC 9072); the long form is written only where the short one is full. Sources: RFC 4271 §4.2 and §6.2, RFC 5492,
//! RFC 6793, and the RFC named at each capability.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::notification::Notification;
use super::{MessageType, Reader, frame, put_u16_at};
use crate::bgp::{Asn, Families, Family};

/// Longest name that is sent or kept (the length of a label of DNS).
const MAX_NAME: usize = 63;
/// The optional parameter that holds capabilities.
const CAPABILITIES: u8 = 2;

/// Graceful restart (RFC 4724 §3, RFC 8538 §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// The R-bit: the sender has just restarted.
    pub restarted: bool,
    /// The N-bit: NOTIFICATIONs are survived too.
    pub notification: bool,
    /// How long the sender's routes are to be kept after it went away, in seconds; 12 bits.
    pub time: u16,
    /// Families in it.
    pub families: Families,
    /// Of these, the families whose forwarding went on: the F-bit.
    pub forwarding: Families,
}

/// What one end can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// 1, multiprotocol (RFC 4760). `None`: not said, which means IPv4.
    pub families: Option<Families>,
    /// 2, route refresh (RFC 2918).
    pub refresh: bool,
    /// 5, IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// 6, messages of up to 65535 bytes (RFC 8654).
    pub extended_message: bool,
    /// 64, graceful restart.
    pub graceful_restart: Option<GracefulRestart>,
    /// 65, the AS number in four octets (RFC 6793).
    pub four_octet: Option<Asn>,
    /// 70, enhanced route refresh (RFC 7313).
    pub enhanced_refresh: bool,
    /// 73, the name of the host (draft-walton-bgp-hostname-capability).
    pub host_name: Option<String>,
    /// 77, link-local addresses alone as next hops (draft-ietf-idr-linklocal-capability).
    pub link_local_next_hop: bool,
    /// Numbers of the others; nothing is done with them.
    pub unknown: BTreeSet<u8>,
}

/// An OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS. On the wire twice: in two octets, and in the capability if there is one.
    pub asn: Asn,
    /// Proposed hold time in seconds; 0, or at least 3.
    pub hold_time: u16,
    /// The sender's BGP identifier.
    pub router_id: Ipv4Addr,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl Open {
    /// Reads the body of an OPEN.
    ///
    /// # Errors
    /// The NOTIFICATION that the peer is owed (RFC 4271 §6.2). Whether AS and identifier are the expected ones is for
    /// the session to judge.
    pub fn parse(body: &[u8]) -> Result<Self, Notification> {
        let mut reader = Reader(body);
        let short = Notification::with_data(1, 2, Vec::new());
        let (Some(version), Some(asn), Some(hold_time), Some(id)) =
            (reader.u8(), reader.u16(), reader.u16(), reader.array::<4>())
        else {
            return Err(short);
        };
        if version != 4 {
            return Err(Notification::with_data(2, 1, vec![0, 4]));
        }
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::new(2, 6));
        }
        if id == [0; 4] {
            return Err(Notification::new(2, 3));
        }
        let capabilities = parse_parameters(reader)?;
        let asn = agreed_asn(asn, capabilities.four_octet)?;
        Ok(Self { asn, hold_time, router_id: id.into(), capabilities })
    }

    /// The bytes of the message.
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut capabilities = Vec::new();
        self.capabilities.put(&mut capabilities);
        frame(&mut out, MessageType::Open, |out| {
            out.push(4);
            out.extend_from_slice(&self.asn.short().to_be_bytes());
            out.extend_from_slice(&self.hold_time.to_be_bytes());
            out.extend_from_slice(&self.router_id.octets());
            match u8::try_from(capabilities.len()) {
                Ok(0) => out.push(0),
                Ok(len) if len <= 253 => out.extend_from_slice(&[len + 2, CAPABILITIES, len]),
                _ => {
                    let len = u16::try_from(capabilities.len()).unwrap_or(0);
                    out.extend_from_slice(&[255, 255]);
                    out.extend_from_slice(&(len + 3).to_be_bytes());
                    out.push(CAPABILITIES);
                    out.extend_from_slice(&len.to_be_bytes());
                }
            }
            out.extend_from_slice(&capabilities);
        });
        out
    }
}

/// Both places of the AS number must agree (RFC 6793 §4.2.2, RFC 7607).
fn agreed_asn(short: u16, long: Option<Asn>) -> Result<Asn, Notification> {
    let asn = long.unwrap_or(Asn(u32::from(short)));
    let agree = asn.short() == short || (short == 23456 && long.is_some());
    if asn.0 == 0 || short == 0 || !agree { Err(Notification::new(2, 2)) } else { Ok(asn) }
}

fn parse_parameters(mut reader: Reader<'_>) -> Result<Capabilities, Notification> {
    let malformed = || Notification::new(2, 0);
    let len = usize::from(reader.u8().ok_or_else(malformed)?);
    let long = len != 0 && reader.0.first() == Some(&255);
    let len = if long {
        reader.u8();
        usize::from(reader.u16().ok_or_else(malformed)?)
    } else {
        len
    };
    if reader.0.len() != len {
        return Err(malformed());
    }
    let mut capabilities = Capabilities::default();
    while !reader.is_empty() {
        let kind = reader.u8().ok_or_else(malformed)?;
        let len = if long { reader.u16().map(usize::from) } else { reader.u8().map(usize::from) };
        let value = len.and_then(|len| reader.take(len)).ok_or_else(malformed)?;
        if kind != CAPABILITIES {
            return Err(Notification::new(2, 4));
        }
        capabilities.add_all(value).ok_or_else(malformed)?;
    }
    Ok(capabilities)
}

impl Capabilities {
    /// `None` if a length does not add up.
    fn add_all(&mut self, value: &[u8]) -> Option<()> {
        let mut reader = Reader(value);
        while !reader.is_empty() {
            let code = reader.u8()?;
            let len = usize::from(reader.u8()?);
            self.add(code, Reader(reader.take(len)?))?;
        }
        Some(())
    }

    fn add(&mut self, code: u8, mut value: Reader<'_>) -> Option<()> {
        match code {
            1 => {
                let [a, b, _, safi] = *value.0 else { return None };
                let families = self.families.get_or_insert_default();
                if let Some(family) = Family::from_numbers(u16::from_be_bytes([a, b]), safi) {
                    families.insert(family);
                }
            }
            2 => self.refresh = true,
            5 => self.extended_next_hop |= offers_v4_over_v6(value),
            6 => self.extended_message = true,
            64 => self.graceful_restart = parse_graceful_restart(value).or(self.graceful_restart),
            65 => {
                let asn = Asn(value.u32()?);
                self.four_octet = value.is_empty().then_some(asn);
                self.four_octet?;
            }
            70 => self.enhanced_refresh = true,
            73 => self.host_name = parse_host_name(value),
            77 => self.link_local_next_hop = true,
            _ => {
                self.unknown.insert(code);
            }
        }
        Some(())
    }

    fn put(&self, out: &mut Vec<u8>) {
        for family in self.families.unwrap_or_default().iter() {
            let [a, b] = family.afi().to_be_bytes();
            out.extend_from_slice(&[1, 4, a, b, 0, 1]);
        }
        for (code, is_set) in [(2, self.refresh), (6, self.extended_message)] {
            if is_set {
                out.extend_from_slice(&[code, 0]);
            }
        }
        if self.extended_next_hop {
            out.extend_from_slice(&[5, 6, 0, 1, 0, 1, 0, 2]);
        }
        if let Some(restart) = self.graceful_restart {
            put_graceful_restart(out, restart);
        }
        if let Some(asn) = self.four_octet {
            out.extend_from_slice(&[65, 4]);
            out.extend_from_slice(&asn.0.to_be_bytes());
        }
        if self.enhanced_refresh {
            out.extend_from_slice(&[70, 0]);
        }
        if let Some(name) = &self.host_name {
            let name = name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or_default();
            let len = u8::try_from(name.len()).unwrap_or(0);
            out.extend_from_slice(&[73, len + 2, len]);
            out.extend_from_slice(name.as_bytes());
            out.push(0);
        }
        if self.link_local_next_hop {
            out.extend_from_slice(&[77, 0]);
        }
        for code in &self.unknown {
            out.extend_from_slice(&[*code, 0]);
        }
    }
}

/// One entry of "these routes may have next hops of that family".
fn offers_v4_over_v6(value: Reader<'_>) -> bool {
    value.0.as_chunks::<6>().0.contains(&[0, 1, 0, 1, 0, 2])
}

fn parse_graceful_restart(mut value: Reader<'_>) -> Option<GracefulRestart> {
    let head = value.u16()?;
    let mut restart = GracefulRestart {
        restarted: head & 0x8000 != 0,
        notification: head & 0x4000 != 0,
        time: head & 0x0fff,
        ..GracefulRestart::default()
    };
    let (entries, rest) = value.0.as_chunks::<4>();
    for [a, b, safi, flags] in entries {
        if let Some(family) = Family::from_numbers(u16::from_be_bytes([*a, *b]), *safi) {
            restart.families.insert(family);
            if flags & 0x80 != 0 {
                restart.forwarding.insert(family);
            }
        }
    }
    rest.is_empty().then_some(restart)
}

fn put_graceful_restart(out: &mut Vec<u8>, restart: GracefulRestart) {
    let start = out.len();
    let bits = u16::from(restart.restarted) << 15 | u16::from(restart.notification) << 14;
    out.extend_from_slice(&[64, 0, 0, 0]);
    put_u16_at(out, start + 2, bits | restart.time & 0x0fff);
    for family in restart.families.iter() {
        let [a, b] = family.afi().to_be_bytes();
        out.extend_from_slice(&[a, b, 1, u8::from(restart.forwarding.contains(family)) << 7]);
    }
    let len = u8::try_from(out.len() - start - 2).unwrap_or(2);
    if let Some(place) = out.get_mut(start + 1) {
        *place = len;
    }
}

/// The name without its domain, where it is text that can be shown.
fn parse_host_name(mut value: Reader<'_>) -> Option<String> {
    let len = usize::from(value.u8()?);
    let name = String::from_utf8_lossy(value.take(len)?);
    let shown = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    shown.then(|| name.into_owned())
}
