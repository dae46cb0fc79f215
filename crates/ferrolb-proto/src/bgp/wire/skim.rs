//! UPDATE, in: how many prefixes it announces and withdraws, and what RFC 7606 says about its faults. Nothing is kept.
//!
//! The three regions of the message are cut out by its two length fields first; each is then read inside its bounds only,
//! so that a fault in one never makes bytes of another mean something else. Because no received route is installed,
//! "treat as withdraw" and "discard" need nothing done; they are told apart to be counted and shown. The session is
//! reset only where the RFC demands it: lengths that do not add up, prefixes that cannot be read. Known attributes that
//! say nothing about whether *we* can go on (aggregator, tunnels, prefix SID and the like) are passed by as unknown.

use super::Reader;
use super::notification::Notification;
use crate::bgp::{Families, Family, Kind};

/// What is wrong with an UPDATE; the strongest of all its faults, the first of equals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// This attribute is passed by (RFC 7606 §2, "attribute discard").
    Discard(u8),
    /// Its routes count as withdrawn, because of this attribute.
    TreatAsWithdraw(u8),
    /// The session cannot go on.
    Reset(Notification),
}

/// What is known about an UPDATE once it has been passed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skimmed {
    /// Prefixes announced: IPv4, IPv6.
    pub announced: [u32; 2],
    /// Prefixes withdrawn: IPv4, IPv6.
    pub withdrawn: [u32; 2],
    /// It is the End-of-RIB of this family.
    pub end_of_rib: Option<Family>,
    /// Its faults.
    pub verdict: Verdict,
}

/// What an UPDATE is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where it comes from.
    pub kind: Kind,
    /// Whether AS numbers have four octets on this session.
    pub four_octet: bool,
    /// What the session carries; the rest is passed by unread.
    pub families: Families,
}

/// Well-known attributes have neither bit that says optional; transitive ones are passed on.
const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// Looks through the body of an UPDATE.
pub fn skim(body: &[u8], terms: &Terms) -> Skimmed {
    let skimmed = Skimmed { announced: [0; 2], withdrawn: [0; 2], end_of_rib: None, verdict: Verdict::Fine };
    let mut skimmer =
        Skimmer { terms: *terms, skimmed, seen: [0; 4], reach: false, attributes: 0, empty_unreach: None };
    if let Err(notification) = skimmer.run(body) {
        skimmer.skimmed.verdict = Verdict::Reset(notification);
    }
    skimmer.skimmed
}

struct Skimmer {
    terms: Terms,
    skimmed: Skimmed,
    /// One bit for every attribute type seen so far.
    seen: [u64; 4],
    /// MP_REACH_NLRI had prefixes.
    reach: bool,
    attributes: u32,
    /// MP_UNREACH_NLRI had none.
    empty_unreach: Option<Family>,
}

/// The three regions of an UPDATE's body: withdrawn routes, attributes, announced routes.
fn regions(body: &[u8]) -> Option<[&[u8]; 3]> {
    let mut reader = Reader(body);
    let len = reader.u16()?;
    let withdrawn = reader.take(usize::from(len))?;
    let len = reader.u16()?;
    let attributes = reader.take(usize::from(len))?;
    Some([withdrawn, attributes, reader.0])
}

impl Skimmer {
    fn run(&mut self, body: &[u8]) -> Result<(), Notification> {
        let [withdrawn, attributes, announced] = regions(body).ok_or(Notification::new(3, 1))?;
        let invalid = || Notification::new(3, 10);
        self.skimmed.withdrawn[0] += count_prefixes(withdrawn, 32).ok_or_else(invalid)?;
        let in_body = count_prefixes(announced, 32).ok_or_else(invalid)?;
        self.skimmed.announced[0] += in_body;
        let mut reader = Reader(attributes);
        while !reader.is_empty() {
            let Some((flags, code, value)) = next_attribute(&mut reader) else {
                // The prefixes are known by the length field, so this is no reason to reset (RFC 7606 §4).
                self.fault(Verdict::TreatAsWithdraw(0));
                break;
            };
            self.attribute(flags, code, value)?;
        }
        if in_body > 0 || self.reach {
            self.look_for_missing(in_body > 0);
        }
        self.skimmed.end_of_rib = match self.attributes {
            0 if body.len() == 4 => Some(Family::V4),
            1 if self.empty_unreach.is_some() && body.len() == 4 + attributes.len() => self.empty_unreach,
            _ => None,
        };
        Ok(())
    }

    /// Keeps the strongest fault, the first of equals.
    fn fault(&mut self, verdict: Verdict) {
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Fine => 0,
            Verdict::Discard(_) => 1,
            Verdict::TreatAsWithdraw(_) => 2,
            Verdict::Reset(_) => 3,
        };
        if rank(&verdict) > rank(&self.skimmed.verdict) {
            self.skimmed.verdict = verdict;
        }
    }

    fn has(&self, code: u8) -> bool {
        self.seen.get(usize::from(code / 64)).is_some_and(|bits| bits & 1 << (code % 64) != 0)
    }

    /// Whether it is the first of its kind.
    fn note(&mut self, code: u8) -> bool {
        let first = !self.has(code);
        if let Some(bits) = self.seen.get_mut(usize::from(code / 64)) {
            *bits |= 1 << (code % 64);
        }
        first
    }

    fn attribute(&mut self, flags: u8, code: u8, value: &[u8]) -> Result<(), Notification> {
        self.attributes = self.attributes.saturating_add(1);
        if !self.note(code) {
            // Two of these would make the prefixes ambiguous (RFC 7606 §3 g); of others the first counts.
            if matches!(code, 14 | 15) {
                return Err(Notification::new(3, 1));
            }
            self.fault(Verdict::Discard(code));
            return Ok(());
        }
        if wrong_flags(flags, code) {
            self.fault(Verdict::TreatAsWithdraw(code));
        }
        match code {
            14 => self.reach(value),
            15 => self.unreach(value),
            _ => {
                self.fault(self.judge(flags, code, value));
                Ok(())
            }
        }
    }

    /// Everything that holds no prefixes (RFC 7606 §7).
    fn judge(&self, flags: u8, code: u8, value: &[u8]) -> Verdict {
        let external = self.terms.kind == Kind::External;
        let is_set_of = |size: usize| !value.is_empty() && value.len().is_multiple_of(size);
        let withdraw_unless = |fine: bool| if fine { Verdict::Fine } else { Verdict::TreatAsWithdraw(code) };
        let discard_unless = |fine: bool| if fine { Verdict::Fine } else { Verdict::Discard(code) };
        match code {
            1 => withdraw_unless(matches!(value, [0..=2])),
            2 => withdraw_unless(is_path(value, self.terms.four_octet)),
            3 => withdraw_unless(is_next_hop(value)),
            4 => withdraw_unless(value.len() == 4),
            5 | 9 | 10 if external => Verdict::Discard(code),
            5 | 9 => withdraw_unless(value.len() == 4),
            10 => withdraw_unless(is_set_of(4)),
            6 => discard_unless(value.is_empty()),
            7 => discard_unless(is_aggregator(value, self.terms.four_octet)),
            8 => withdraw_unless(is_set_of(4)),
            16 => withdraw_unless(is_set_of(8)),
            // Only speakers of two octets may send these (RFC 6793 §6).
            17 => discard_unless(!self.terms.four_octet && is_path(value, true)),
            18 => discard_unless(!self.terms.four_octet && value.len() == 8),
            25 => withdraw_unless(is_set_of(20)),
            32 => withdraw_unless(is_set_of(12)),
            // Well-known, but not known to us. RFC 7606 leaves open whether to reset; we install nothing and do not.
            _ => withdraw_unless(flags & OPTIONAL != 0),
        }
    }

    fn reach(&mut self, value: &[u8]) -> Result<(), Notification> {
        let bad = || Notification::new(3, 9);
        let mut reader = Reader(value);
        let (afi, safi) = reader.u16().zip(reader.u8()).ok_or_else(bad)?;
        let len = reader.u8().ok_or_else(bad)?;
        let next_hop = reader.take(usize::from(len)).ok_or_else(bad)?;
        reader.u8().ok_or_else(bad)?;
        let Some(family) = self.carried(afi, safi) else { return Ok(()) };
        let fits = match family {
            Family::V4 => matches!(next_hop.len(), 4 | 16 | 32),
            Family::V6 => matches!(next_hop.len(), 16 | 32),
        };
        if !fits {
            return Err(bad());
        }
        let count = count_prefixes(reader.0, bits(family)).ok_or_else(bad)?;
        self.reach |= count > 0;
        add(&mut self.skimmed.announced, family, count);
        Ok(())
    }

    fn unreach(&mut self, value: &[u8]) -> Result<(), Notification> {
        let bad = || Notification::new(3, 9);
        let mut reader = Reader(value);
        let (afi, safi) = reader.u16().zip(reader.u8()).ok_or_else(bad)?;
        let Some(family) = self.carried(afi, safi) else { return Ok(()) };
        let count = count_prefixes(reader.0, bits(family)).ok_or_else(bad)?;
        add(&mut self.skimmed.withdrawn, family, count);
        self.empty_unreach = (count == 0).then_some(family);
        Ok(())
    }

    /// The family, if the session carries it.
    fn carried(&self, afi: u16, safi: u8) -> Option<Family> {
        Family::from_numbers(afi, safi).filter(|family| self.terms.families.contains(*family))
    }

    /// What a message with routes must have (RFC 7606 §3 d).
    fn look_for_missing(&mut self, in_body: bool) {
        let internal = self.terms.kind == Kind::Internal;
        let needed = [(1, true), (2, true), (3, in_body), (5, internal)];
        if let Some((code, _)) = needed.into_iter().find(|(code, needed)| *needed && !self.has(*code)) {
            self.fault(Verdict::TreatAsWithdraw(code));
        }
    }
}

const fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

const fn add(counts: &mut [u32; 2], family: Family, count: u32) {
    let [v4, v6] = counts;
    match family {
        Family::V4 => *v4 += count,
        Family::V6 => *v6 += count,
    }
}

fn next_attribute<'a>(reader: &mut Reader<'a>) -> Option<(u8, u8, &'a [u8])> {
    let (flags, code) = (reader.u8()?, reader.u8()?);
    let len = if flags & EXTENDED_LENGTH == 0 { u16::from(reader.u8()?) } else { reader.u16()? };
    Some((flags, code, reader.take(usize::from(len))?))
}

/// `None` where a length is too large or the last prefix is cut off.
fn count_prefixes(bytes: &[u8], bits: u8) -> Option<u32> {
    let mut reader = Reader(bytes);
    let mut count = 0;
    while !reader.is_empty() {
        let len = reader.u8().filter(|len| *len <= bits)?;
        reader.take(usize::from(len.div_ceil(8)))?;
        count += 1;
    }
    Some(count)
}

/// Optional and transitive as the attribute's definition has them; of unknown ones nothing is known.
const fn wrong_flags(flags: u8, code: u8) -> bool {
    let expected = match code {
        1..=3 | 5 | 6 => TRANSITIVE,
        4 | 9 | 10 | 14 | 15 => OPTIONAL,
        7 | 8 | 16 | 17 | 18 | 25 | 32 => OPTIONAL | TRANSITIVE,
        _ => return false,
    };
    flags & (OPTIONAL | TRANSITIVE) != expected
}

/// Segments with a known type, of at least one AS, to the very end; nobody's AS in none (RFC 7606 §7.2, RFC 7607).
fn is_path(value: &[u8], four_octet: bool) -> bool {
    let size = if four_octet { 4 } else { 2 };
    let mut reader = Reader(value);
    while !reader.is_empty() {
        let (Some(1..=4), Some(count @ 1..)) = (reader.u8(), reader.u8()) else { return false };
        let Some(numbers) = reader.take(usize::from(count) * size) else { return false };
        if numbers.chunks_exact(size).any(|number| number.iter().all(|byte| *byte == 0)) {
            return false;
        }
    }
    true
}

/// Four octets that can be a host's address (RFC 7606 §7.3, RFC 4271 §6.3).
const fn is_next_hop(value: &[u8]) -> bool {
    matches!(value, [1..=126 | 128..=223, _, _, _])
}

/// AS and address; the AS is not nobody's (RFC 7606 §7.7, RFC 7607).
fn is_aggregator(value: &[u8], four_octet: bool) -> bool {
    let size = if four_octet { 4 } else { 2 };
    value.len() == size + 4 && value.iter().take(size).any(|byte| *byte != 0)
}
