//! The addresses of one range as numbers, and which of them are free.
//!
//! Addresses are kept as `u128` of either family. A range that avoids `.0` and `.255` is counted in a space where those
//! do not exist, so that "the lowest free address" never has to step over them one by one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rangemap::RangeInclusiveSet;

use crate::range::{AddressRange, Family};

/// How addresses of a range are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Every IPv4 address.
    V4,
    /// IPv4 without those that end in .0 or .255: 254 numbers for each /24.
    V4NotBuggy,
    /// Every IPv6 address.
    V6,
}

impl Numbering {
    pub(super) const fn of(family: Family, avoid_buggy: bool) -> Self {
        match (family, avoid_buggy) {
            (Family::V4, false) => Self::V4,
            (Family::V4, true) => Self::V4NotBuggy,
            (Family::V6, _) => Self::V6,
        }
    }

    /// The number of an address; `None` where it has none.
    pub(super) fn number(self, address: IpAddr) -> Option<u128> {
        match (self, address) {
            (Self::V4, IpAddr::V4(address)) => Some(u128::from(address.to_bits())),
            (Self::V4NotBuggy, IpAddr::V4(address)) => {
                let (high, low) = split(address);
                (1..255).contains(&low).then(|| high * 254 + low - 1)
            }
            (Self::V6, IpAddr::V6(address)) => Some(address.to_bits()),
            _ => None,
        }
    }

    /// The address with a number that [`Self::number`] gave.
    pub(super) fn address(self, number: u128) -> IpAddr {
        let v4 = |bits: u128| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)));
        match self {
            Self::V4 => v4(number),
            Self::V4NotBuggy => v4((number / 254) * 256 + number % 254 + 1),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }

    /// The numbers of a range, both ends included; `None` where the range has no usable address.
    pub(super) fn span(self, range: &AddressRange) -> Option<(u128, u128)> {
        let (first, last) = match (self, range) {
            (Self::V4NotBuggy, AddressRange::V4 { first, last }) => (round_up(*first), round_down(*last)?),
            _ => (self.number(range.first())?, self.number(range.last())?),
        };
        (first <= last).then_some((first, last))
    }
}

fn split(address: Ipv4Addr) -> (u128, u128) {
    let bits = u128::from(address.to_bits());
    (bits / 256, bits % 256)
}

/// The number of the first usable address at or after this one.
fn round_up(address: Ipv4Addr) -> u128 {
    let (high, low) = split(address);
    if low == 255 { (high + 1) * 254 } else { high * 254 + low.saturating_sub(1) }
}

/// The number of the last usable address at or before this one.
fn round_down(address: Ipv4Addr) -> Option<u128> {
    let (high, low) = split(address);
    match low {
        0 => (high * 254).checked_sub(1),
        255 => Some(high * 254 + 253),
        low => Some(high * 254 + low - 1),
    }
}

/// One entry of a pool's `addresses`: the lowest free number is found in O(log n) however many are taken.
#[derive(Clone, Debug)]
pub(super) struct Space {
    numbering: Numbering,
    /// Free and ours to hand out.
    free: RangeInclusiveSet<u128>,
    /// What the range has but an older pool hands out.
    held_elsewhere: RangeInclusiveSet<u128>,
    /// Every usable number of the range, if there is any.
    all: Option<(u128, u128)>,
}

impl Space {
    /// All of a range free, but for what older pools hold.
    pub(super) fn new<'a>(
        range: &AddressRange,
        avoid_buggy: bool,
        conflicts: impl Iterator<Item = &'a AddressRange>,
    ) -> Self {
        let numbering = Numbering::of(range.family(), avoid_buggy);
        let all = numbering.span(range);
        let mut free = RangeInclusiveSet::new();
        let mut held_elsewhere = RangeInclusiveSet::new();
        if let Some((first, last)) = all {
            free.insert(first..=last);
            for conflict in conflicts.filter(|conflict| conflict.overlaps(range)) {
                if let Some((start, end)) = numbering.span(conflict) {
                    let (start, end) = (start.max(first), end.min(last));
                    if start <= end {
                        free.remove(start..=end);
                        held_elsewhere.insert(start..=end);
                    }
                }
            }
        }
        Self { numbering, free, held_elsewhere, all }
    }

    pub(super) const fn family(&self) -> Family {
        match self.numbering {
            Numbering::V4 | Numbering::V4NotBuggy => Family::V4,
            Numbering::V6 => Family::V6,
        }
    }

    /// The lowest free address.
    pub(super) fn lowest(&self) -> Option<IpAddr> {
        self.free.first().map(|range| self.numbering.address(*range.start()))
    }

    /// Whether nothing is left.
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Whether the address lies in the range and is usable, free or not.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.all, self.numbering.number(address)) {
            (Some((first, last)), Some(number)) => (first..=last).contains(&number),
            _ => false,
        }
    }

    /// Takes an address out of the free ones.
    pub(super) fn take(&mut self, address: IpAddr) {
        if let Some(number) = self.numbering.number(address) {
            self.free.remove(number..=number);
        }
    }

    /// Puts an address back, unless an older pool hands it out.
    pub(super) fn put_back(&mut self, address: IpAddr) {
        if let Some(number) = self.numbering.number(address)
            && self.contains(address)
            && !self.held_elsewhere.contains(&number)
        {
            self.free.insert(number..=number);
        }
    }

    /// Whether the address is handed out by an older pool.
    pub(super) fn is_held_elsewhere(&self, address: IpAddr) -> bool {
        self.numbering.number(address).is_some_and(|number| self.held_elsewhere.contains(&number))
    }

    /// How many addresses it has, and how many of them an older pool hands out. Saturating.
    pub(super) fn size(&self) -> (u128, u128) {
        let count = |first: u128, last: u128| (last - first).saturating_add(1);
        let all = self.all.map_or(0, |(first, last)| count(first, last));
        let elsewhere = self.held_elsewhere.iter().map(|range| count(*range.start(), *range.end()));
        (all, elsewhere.fold(0, u128::saturating_add))
    }
}
