//! BGP-4 for one who only announces: IPv4 and IPv6 unicast, one session per router, nothing learned.
//!
//! ```text
//! desired routes ──► adj_out: desired − sent ──► session ──► bytes ──► router
//!                                                   ▲
//! router ──► bytes ──► wire: frame, OPEN, skim ─────┘   (received routes are counted, limited and dropped)
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`wire`] | messages as bytes: framing, OPEN, UPDATE, NOTIFICATION, ROUTE-REFRESH |
//! | [`adj_out`] | what a router has been told and still has to be told, in an order that never blackholes |
//! | [`session`] | the state machine of one router: at most two connections, collision, timers, drain |
//!
//! RFCs: 4271, 1997, 2545, 2918, 4360, 4486, 4724, 4760, 5492, 6286, 6608, 6793, 7313, 7606, 7607, 8092, 8203, 8326,
//! 8538, 8654, 8950, 9003, 9072, 9384, 9687. Left out: best path, policy, a table of received routes, Add-Path,
//! confederations, route reflection, roles, every family but the two. TCP-MD5 (RFC 2385), GTSM (RFC 5082), addresses
//! and devices are the driver's: they are here only as [`session::Transport`], to be carried and compared.

#![deny(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub mod adj_out;
pub mod session;
pub mod wire;

/// The number of an autonomous system (RFC 6793).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Asn(pub u32);

impl Asn {
    /// Stands for a number that does not fit into two octets (RFC 6793 §9).
    pub const TRANS: Self = Self(23456);

    /// Nobody's number: 0 (RFC 7607), 23456, and the last ones of both ranges (RFC 7300).
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 0 | 23456 | 0xffff | u32::MAX)
    }

    /// What stands in two octets: the number, or [`Self::TRANS`].
    pub(crate) fn short(self) -> u16 {
        u16::try_from(self.0).unwrap_or(23456)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address family, always unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    V4,
    /// AFI 2, SAFI 1.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of a prefix.
    pub const fn of(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// The number of the address family (RFC 4760 §6).
    pub const fn afi(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    /// From address family and subsequent address family; `None` for what we do not speak.
    pub const fn from_numbers(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::V4),
            (2, 1) => Some(Self::V6),
            _ => None,
        }
    }
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Families {
    /// IPv4 unicast is in it.
    pub v4: bool,
    /// IPv6 unicast is in it.
    pub v6: bool,
}

impl Families {
    /// Neither.
    pub const NONE: Self = Self { v4: false, v6: false };
    /// IPv4 alone.
    pub const V4: Self = Self { v4: true, v6: false };
    /// IPv6 alone.
    pub const V6: Self = Self { v4: false, v6: true };
    /// Both.
    pub const BOTH: Self = Self { v4: true, v6: true };

    /// Whether the family is in it.
    pub const fn contains(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// Those in it, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { v4: self.v4 && other.v4, v6: self.v6 && other.v6 }
    }

    /// Puts a family in.
    pub const fn insert(&mut self, family: Family) {
        match family {
            Family::V4 => self.v4 = true,
            Family::V6 => self.v6 = true,
        }
    }
}

/// A standard community (RFC 1997).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Community(pub u32);

impl Community {
    /// "Prefer every other way: this one is going away" (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
    /// Not to leave the neighbouring AS (RFC 1997).
    pub const NO_EXPORT: Self = Self(0xffff_ff01);
    /// Not to be announced to anybody (RFC 1997).
    pub const NO_ADVERTISE: Self = Self(0xffff_ff02);
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A large community (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LargeCommunity {
    /// Whose it is.
    pub global: u32,
    /// First part of what it says.
    pub first: u32,
    /// Second part of what it says.
    pub second: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.first, self.second)
    }
}

/// An extended community as it is on the wire (RFC 4360).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// How much this way can carry, in bytes per second. It counts among ways with the same prefix only, so any unit
    /// will do that all of them use. Transitive, so that it survives the first eBGP hop.
    pub fn link_bandwidth(asn: Asn, bytes_per_second: f32, transitive: bool) -> Self {
        let [a, b] = asn.short().to_be_bytes();
        let [w, x, y, z] = bytes_per_second.to_be_bytes();
        Self([if transitive { 0x00 } else { 0x40 }, 0x04, a, b, w, x, y, z])
    }
}

/// What is said about a route, the same to every router. What depends on the session (next hop, path, whether local
/// preference is sent at all) is added when it is encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attributes {
    /// Sent on iBGP only, where absent means 100.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// How many times more than once our AS stands in the path; eBGP only.
    pub prepend: u8,
    /// Standard communities.
    pub communities: BTreeSet<Community>,
    /// Extended communities.
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Large communities.
    pub large_communities: BTreeSet<LargeCommunity>,
}

impl Attributes {
    /// The same route while its node is being emptied (RFC 8326): the community, and the lowest local preference.
    #[must_use]
    pub fn draining(&self) -> Self {
        let mut draining = self.clone();
        draining.communities.insert(Community::GRACEFUL_SHUTDOWN);
        draining.local_pref = Some(0);
        draining
    }
}

/// Everything that a router is to be told. Prefixes have no host bits set.
pub type Routes = BTreeMap<IpNet, Arc<Attributes>>;

/// Whether the peer is of our own AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// iBGP.
    Internal,
    /// eBGP.
    External,
}

/// The addresses of our end of a connection that routers can send traffic to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// IPv4 address of the interface.
    pub v4: Option<Ipv4Addr>,
    /// Global IPv6 address of the interface.
    pub v6: Option<Ipv6Addr>,
    /// Link-local address of the interface; only where the router is on the same link (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
}

/// A next hop as it is written into an UPDATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// In NEXT_HOP.
    V4(Ipv4Addr),
    /// In MP_REACH_NLRI, 16 bytes.
    V6(Ipv6Addr),
    /// In MP_REACH_NLRI, 32 bytes: global, then link-local (RFC 2545 §3).
    V6Both(Ipv6Addr, Ipv6Addr),
}

impl NextHops {
    /// The next hop for routes of a family on a session from our address `local`; `extended` if both ends have IPv4
    /// over IPv6 next hops (RFC 8950). `None` if there is none: then nothing of the family can be announced.
    pub fn choose(&self, family: Family, local: IpAddr, extended: bool) -> Option<NextHop> {
        let local = local.to_canonical();
        let (global, link_local) = match local {
            IpAddr::V6(address) if address.is_unicast_link_local() => (self.v6, Some(address)),
            IpAddr::V6(address) => (Some(address), self.link_local),
            IpAddr::V4(_) => (self.v6, self.link_local),
        };
        let v6 = match (global, link_local) {
            (Some(global), Some(link_local)) => Some(NextHop::V6Both(global, link_local)),
            (Some(address), None) => Some(NextHop::V6(address)),
            // Alone it means something only where the session itself runs over it.
            (None, Some(address)) => local.is_ipv6().then_some(NextHop::V6(address)),
            (None, None) => None,
        };
        match (family, local) {
            (Family::V6, _) => v6,
            (Family::V4, IpAddr::V4(address)) => Some(NextHop::V4(address)),
            (Family::V4, IpAddr::V6(_)) if extended => v6,
            (Family::V4, IpAddr::V6(_)) => self.v4.map(NextHop::V4),
        }
    }
}
