//! UPDATE, out: attributes are encoded once per set of attributes, and prefixes packed behind them until a message is full.
//!
//! Announcements and withdrawals never share a message. IPv4 with an IPv4 next hop goes into the body, everything else
//! into MP_REACH_NLRI, which stands first in its message (RFC 7606 §5.1). Sources: RFC 4271 §4.3, RFC 4760, RFC 2545,
//! RFC 6793 §4.2.2, RFC 8950.

use std::iter::Peekable;

use ipnet::IpNet;

use super::{HEADER_LEN, MessageType, frame, put_u16_at};
use crate::bgp::{Asn, Attributes, Families, Family, Kind, NextHop};

/// Optional; transitive; length in two octets.
const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;
/// An UPDATE with nothing in it.
const EMPTY_UPDATE: usize = HEADER_LEN + 4;
/// Local preference where nobody asked for one (what routers use themselves).
const DEFAULT_LOCAL_PREF: u32 = 100;

/// What all UPDATEs of a session have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// iBGP or eBGP.
    pub kind: Kind,
    /// Our AS as this peer sees it.
    pub asn: Asn,
    /// Whether AS numbers have four octets on this session.
    pub four_octet: bool,
    /// Next hop of IPv4 routes; `None`: they are not announced here.
    pub v4: Option<NextHop>,
    /// Next hop of IPv6 routes; `None`: they are not announced here.
    pub v6: Option<NextHop>,
    /// The longest message.
    pub max_len: usize,
}

impl Class {
    /// Where routes of the family are sent.
    pub const fn next_hop(&self, family: Family) -> Option<NextHop> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// The families that are announced.
    pub const fn families(&self) -> Families {
        Families { v4: self.v4.is_some(), v6: self.v6.is_some() }
    }
}

fn put_attribute(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(len) => out.extend_from_slice(&[flags, code, len]),
        Err(_) => {
            out.extend_from_slice(&[flags | EXTENDED_LENGTH, code]);
            out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}

/// One AS_SEQUENCE of our own number.
fn path(asn: Asn, prepend: u8, four_octet: bool) -> Vec<u8> {
    let count = prepend.saturating_add(1);
    let mut value = vec![2, count];
    for _ in 0..count {
        if four_octet {
            value.extend_from_slice(&asn.0.to_be_bytes());
        } else {
            value.extend_from_slice(&asn.short().to_be_bytes());
        }
    }
    value
}

/// The attributes of a set for a session, in the order of their types, all but MP_REACH_NLRI.
pub fn attributes(set: &Attributes, class: &Class, next_hop: NextHop) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    put_attribute(&mut out, TRANSITIVE, 1, &[0]);
    let external = class.kind == Kind::External;
    let as_path = if external { path(class.asn, set.prepend, class.four_octet) } else { Vec::new() };
    put_attribute(&mut out, TRANSITIVE, 2, &as_path);
    if let NextHop::V4(address) = next_hop {
        put_attribute(&mut out, TRANSITIVE, 3, &address.octets());
    }
    if let Some(med) = set.med {
        put_attribute(&mut out, OPTIONAL, 4, &med.to_be_bytes());
    }
    if !external {
        put_attribute(&mut out, TRANSITIVE, 5, &set.local_pref.unwrap_or(DEFAULT_LOCAL_PREF).to_be_bytes());
    }
    let communities: Vec<u8> = set.communities.iter().flat_map(|community| community.0.to_be_bytes()).collect();
    put_set(&mut out, 8, &communities);
    put_set(&mut out, 16, &set.extended_communities.iter().flat_map(|community| community.0).collect::<Vec<u8>>());
    if external && !class.four_octet && class.asn.0 > u32::from(u16::MAX) {
        put_attribute(&mut out, OPTIONAL | TRANSITIVE, 17, &path(class.asn, set.prepend, true));
    }
    let parts = set.large_communities.iter().flat_map(|large| [large.global, large.first, large.second]);
    put_set(&mut out, 32, &parts.flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
    out
}

/// Communities of a kind; nothing where there are none.
fn put_set(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    if !value.is_empty() {
        put_attribute(out, OPTIONAL | TRANSITIVE, code, value);
    }
}

/// Fills a length field: the count of everything behind it.
fn put_len_at(out: &mut [u8], at: usize) {
    let len = out.len().saturating_sub(at + 2);
    put_u16_at(out, at, u16::try_from(len).unwrap_or(u16::MAX));
}

/// How many bytes a prefix takes.
fn prefix_len(prefix: IpNet) -> usize {
    1 + usize::from(prefix.prefix_len().div_ceil(8))
}

fn put_prefix(out: &mut Vec<u8>, prefix: IpNet) {
    out.push(prefix.prefix_len());
    let len = prefix_len(prefix) - 1;
    match prefix.network() {
        std::net::IpAddr::V4(address) => out.extend_from_slice(address.octets().get(..len).unwrap_or_default()),
        std::net::IpAddr::V6(address) => out.extend_from_slice(address.octets().get(..len).unwrap_or_default()),
    }
}

/// Appends prefixes while they fit into so many bytes; returns those that did.
fn put_prefixes(out: &mut Vec<u8>, prefixes: &mut Peekable<impl Iterator<Item = IpNet>>, room: usize) -> Vec<IpNet> {
    let end = out.len() + room;
    let mut packed = Vec::new();
    while let Some(prefix) = prefixes.next_if(|prefix| out.len() + prefix_len(*prefix) <= end) {
        put_prefix(out, prefix);
        packed.push(prefix);
    }
    packed
}

/// Appends one message that announces as many of the prefixes, all of one family, as fit behind `block`, which comes
/// from [`attributes`]. Returns those prefixes; none, and nothing appended, if the attributes leave no room for any.
pub fn put_announcement(
    out: &mut Vec<u8>,
    block: &[u8],
    next_hop: NextHop,
    prefixes: &mut Peekable<impl Iterator<Item = IpNet>>,
    max_len: usize,
) -> Vec<IpNet> {
    let Some(family) = prefixes.peek().map(Family::of) else { return Vec::new() };
    let start = out.len();
    let mut packed = Vec::new();
    frame(out, MessageType::Update, |out| {
        out.extend_from_slice(&[0, 0, 0, 0]);
        if let (Family::V4, NextHop::V4(_)) = (family, next_hop) {
            out.extend_from_slice(block);
            put_len_at(out, start + HEADER_LEN + 2);
            packed = put_prefixes(out, prefixes, max_len.saturating_sub(EMPTY_UPDATE + block.len()));
        } else {
            let reach = out.len();
            out.extend_from_slice(&[OPTIONAL | EXTENDED_LENGTH, 14, 0, 0]);
            out.extend_from_slice(&family.afi().to_be_bytes());
            out.push(1);
            put_next_hop(out, next_hop);
            out.push(0);
            let used = out.len() - start + block.len();
            packed = put_prefixes(out, prefixes, max_len.saturating_sub(used));
            put_len_at(out, reach + 2);
            out.extend_from_slice(block);
            put_len_at(out, reach - 2);
        }
    });
    if packed.is_empty() {
        out.truncate(start);
    }
    packed
}

fn put_next_hop(out: &mut Vec<u8>, next_hop: NextHop) {
    match next_hop {
        NextHop::V4(address) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        NextHop::V6(address) => {
            out.push(16);
            out.extend_from_slice(&address.octets());
        }
        NextHop::V6Both(global, link_local) => {
            out.push(32);
            out.extend_from_slice(&global.octets());
            out.extend_from_slice(&link_local.octets());
        }
    }
}

/// Appends one message that withdraws as many of the prefixes, all of one family, as fit; returns those.
pub fn put_withdrawal(
    out: &mut Vec<u8>,
    prefixes: &mut Peekable<impl Iterator<Item = IpNet>>,
    max_len: usize,
) -> Vec<IpNet> {
    let Some(family) = prefixes.peek().map(Family::of) else { return Vec::new() };
    let start = out.len() + HEADER_LEN;
    let mut packed = Vec::new();
    frame(out, MessageType::Update, |out| match family {
        Family::V4 => {
            out.extend_from_slice(&[0, 0]);
            packed = put_prefixes(out, prefixes, max_len.saturating_sub(EMPTY_UPDATE));
            put_len_at(out, start);
            out.extend_from_slice(&[0, 0]);
        }
        Family::V6 => {
            out.extend_from_slice(&[0, 0, 0, 0, OPTIONAL | EXTENDED_LENGTH, 15, 0, 0, 0, 2, 1]);
            packed = put_prefixes(out, prefixes, max_len.saturating_sub(EMPTY_UPDATE + 7));
            put_len_at(out, start + 2);
            put_len_at(out, start + 6);
        }
    });
    packed
}

/// Appends End-of-RIB (RFC 4724 §2).
pub fn put_end_of_rib(out: &mut Vec<u8>, family: Family) {
    frame(out, MessageType::Update, |out| match family {
        Family::V4 => out.extend_from_slice(&[0, 0, 0, 0]),
        Family::V6 => out.extend_from_slice(&[0, 0, 0, 6, OPTIONAL, 15, 3, 0, 2, 1]),
    });
}
