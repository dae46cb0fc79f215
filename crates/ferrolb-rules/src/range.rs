//! Address ranges as users write them: `192.168.1.0/24` or `192.168.1.200-192.168.1.220`, both ends included.
//!
//! The parsed form is one inclusive span of one family, so that "mixed family" and "start after end" cannot exist
//! behind the parser (spec §3.4, quirk Q-5).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

#[cfg(test)]
mod tests;

/// The IP family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

impl Family {
    /// The family of an address. IPv4-mapped IPv6 addresses count as IPv6 here; parsers unmap them first.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An inclusive span of addresses of one family. `first <= last` always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressRange {
    /// IPv4 addresses from `first` to `last`, both included.
    V4 {
        /// The lowest address.
        first: Ipv4Addr,
        /// The highest address.
        last: Ipv4Addr,
    },
    /// IPv6 addresses from `first` to `last`, both included.
    V6 {
        /// The lowest address.
        first: Ipv6Addr,
        /// The highest address.
        last: Ipv6Addr,
    },
}

/// Why a text is not an address range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither a CIDR nor two addresses with a dash between them.
    #[error("invalid CIDR {0:?}: write a CIDR such as 192.168.1.0/24 or a range such as 192.168.1.200-192.168.1.220")]
    InvalidCidr(String),
    /// A single address without a prefix length.
    #[error("invalid CIDR {0:?}: a single address is written {0}/{1}")]
    BareAddress(String, u8),
    /// One side of the dash is no address.
    #[error("invalid IP range {0:?}: {1:?} is not an IP address; both ends are written in full")]
    InvalidEnd(String, String),
    /// The ends are swapped.
    #[error("invalid IP range {0:?}: the start lies after the end")]
    Reversed(String),
    /// IPv4 on one side and IPv6 on the other.
    #[error("invalid IP range {0:?}: one end is IPv4, the other IPv6")]
    MixedFamilies(String),
}

impl AddressRange {
    /// Parses a CIDR (host bits are masked off) or an inclusive range (spec §3.4).
    ///
    /// # Errors
    /// Says which of the forms was tried and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        let text = text.trim();
        match text.split_once('-') {
            Some((start, end)) => Self::parse_ends(text, start.trim(), end.trim()),
            None => Self::parse_cidr(text),
        }
    }

    fn parse_ends(text: &str, start: &str, end: &str) -> Result<Self, RangeError> {
        let parse =
            |part: &str| part.parse::<IpAddr>().map_err(|_| RangeError::InvalidEnd(text.to_owned(), part.to_owned()));
        Self::between(text, parse(start)?, parse(end)?)
    }

    fn parse_cidr(text: &str) -> Result<Self, RangeError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Err(RangeError::BareAddress(text.to_owned(), if address.is_ipv4() { 32 } else { 128 }));
        }
        // The standard library's parser refuses leading zeros, which some programs read as octal; ipnet's takes them.
        let net = text.split_once('/').and_then(|(address, length)| {
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            IpNet::new(address.parse().ok()?, length.parse().ok().filter(|_| digits)?).ok()
        });
        match net {
            Some(net) => Self::between(text, net.network(), net.broadcast()),
            None => Err(RangeError::InvalidCidr(text.to_owned())),
        }
    }

    /// Both forms meet here: an IPv4-mapped address is an IPv4 address, whichever form it is written in.
    fn between(text: &str, first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        let range = match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Self::V4 { first, last },
            (IpAddr::V6(first), IpAddr::V6(last)) => Self::V6 { first, last },
            _ => return Err(RangeError::MixedFamilies(text.to_owned())),
        };
        if range.first() > range.last() { Err(RangeError::Reversed(text.to_owned())) } else { Ok(range) }
    }

    /// The lowest address.
    pub const fn first(&self) -> IpAddr {
        match self {
            Self::V4 { first, .. } => IpAddr::V4(*first),
            Self::V6 { first, .. } => IpAddr::V6(*first),
        }
    }

    /// The highest address.
    pub const fn last(&self) -> IpAddr {
        match self {
            Self::V4 { last, .. } => IpAddr::V4(*last),
            Self::V6 { last, .. } => IpAddr::V6(*last),
        }
    }

    /// The family of every address in it.
    pub const fn family(&self) -> Family {
        match self {
            Self::V4 { .. } => Family::V4,
            Self::V6 { .. } => Family::V6,
        }
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first() <= address && address <= self.last()
    }

    /// Whether the two ranges have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first() <= other.last() && other.first() <= self.last()
    }

    /// The number of addresses, saturating at `u128::MAX` for all of IPv6.
    pub const fn size(&self) -> u128 {
        match self {
            Self::V4 { first, last } => (last.to_bits() as u128) - (first.to_bits() as u128) + 1,
            Self::V6 { first, last } => (last.to_bits() - first.to_bits()).saturating_add(1),
        }
    }

    /// The minimal ordered list of aligned prefixes that make up the range (spec §3.4, appendix A.6).
    pub fn prefixes(&self) -> Vec<IpNet> {
        match self {
            Self::V4 { first, last } => ipnet::Ipv4Subnets::new(*first, *last, 0).map(IpNet::V4).collect(),
            Self::V6 { first, last } => ipnet::Ipv6Subnets::new(*first, *last, 0).map(IpNet::V6).collect(),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first(), self.last())
    }
}
