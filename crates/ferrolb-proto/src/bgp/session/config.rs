//! What a session is configured with, and which change of it demands a new session.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bgp::{Asn, Families};

/// Which AS the peer may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remote {
    /// This one.
    Number(Asn),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

impl Remote {
    /// Whether a peer of this AS is the right one, ours being `local`.
    pub fn admits(self, remote: Asn, local: Asn) -> bool {
        match self {
            Self::Number(asn) => asn == remote,
            Self::Internal => remote == local,
            Self::External => remote != local,
        }
    }
}

/// Who connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Posture {
    /// We do.
    #[default]
    Dial,
    /// Either does; of two connections one is kept.
    DialAndListen,
    /// The router does.
    Listen,
}

impl Posture {
    /// Whether we connect.
    pub const fn dials(self) -> bool {
        matches!(self, Self::Dial | Self::DialAndListen)
    }

    /// Whether the router may connect.
    pub const fn listens(self) -> bool {
        matches!(self, Self::Listen | Self::DialAndListen)
    }
}

/// How far away the router may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The system's default TTL: iBGP.
    #[default]
    Default,
    /// On the same link: packets are sent with TTL 1, which is what eBGP means where nothing else is said.
    Direct,
    /// So many hops at most: packets are sent with this TTL.
    Hops(u8),
    /// GTSM (RFC 5082): sent with TTL 255, and received only if they come from at most so many hops away.
    Gtsm(u8),
}

/// A password for TCP-MD5 (RFC 2385). Never printed; who serializes it keeps it where only its owner reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What the driver needs to make a connection. The session only carries it, and sees that a change of it is a new session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transport {
    /// The router; `None` on an unnumbered session, where it is learned on the interface.
    pub remote: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Our address, where it must be a certain one.
    pub source: Option<IpAddr>,
    /// The interface of an unnumbered session, or the VRF, that sockets are bound to.
    pub device: Option<String>,
    /// For TCP-MD5.
    pub password: Option<Password>,
    /// How far away the router may be.
    pub reach: Reach,
}

/// What a session is configured with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Our AS as this router sees it: `localASN` where it is set, alone in the path (no-prepend, replace-as).
    pub local_asn: Asn,
    /// The router's AS.
    pub remote: Remote,
    /// Our BGP identifier; not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// Proposed hold time, in whole seconds up to 65535; zero: neither end watches the other. A change counts from the
    /// next session on.
    pub hold_interval: Duration,
    /// Between two KEEPALIVEs; `None`, or more than a third of the agreed hold time: that third.
    pub keepalive_interval: Option<Duration>,
    /// The longest pause between two tries; `None`: 5 s, and 60 s where the router refuses us.
    pub connect_interval: Option<Duration>,
    /// What is announced.
    pub families: Families,
    /// Who connects.
    pub posture: Posture,
    /// How long the router is to keep our routes when we are gone, up to 4095 s; `None`: no graceful restart.
    pub graceful_restart: Option<Duration>,
    /// This is a restart: OPENs say so while that time lasts.
    pub restarting: bool,
    /// Offer IPv4 routes with IPv6 next hops (RFC 8950). Implied by nothing; set it on unnumbered sessions.
    pub extended_next_hop: bool,
    /// Offer messages of up to 65535 bytes (RFC 8654).
    pub extended_message: bool,
    /// Our name, which operators see at the router; empty: not sent.
    pub host_name: String,
    /// How many prefixes of a family the router may announce in a session, repetitions included, before it is ended
    /// (RFC 4486). Nothing of it is kept, so there is no need for a limit.
    pub receive_limit: Option<u32>,
    /// For the driver.
    pub transport: Transport,
}

impl Config {
    /// The first field whose change cannot take effect in the session that is running, with a peer of AS `remote`.
    pub fn demands_reset(&self, new: &Self, remote: Option<Asn>) -> Option<&'static str> {
        let admitted = remote.is_none_or(|remote| new.remote.admits(remote, new.local_asn));
        let (old_transport, new_transport) = (&self.transport, &new.transport);
        [
            ("localASN", self.local_asn != new.local_asn),
            ("peerASN", self.remote != new.remote && !(remote.is_some() && admitted)),
            ("routerID", self.router_id != new.router_id),
            ("families", self.families != new.families),
            ("enableGracefulRestart", self.graceful_restart != new.graceful_restart),
            ("extendedNextHop", self.extended_next_hop != new.extended_next_hop),
            ("extendedMessage", self.extended_message != new.extended_message),
            ("peerAddress", old_transport.remote != new_transport.remote),
            ("peerPort", old_transport.port != new_transport.port),
            ("sourceAddress", old_transport.source != new_transport.source),
            ("interface", old_transport.device != new_transport.device),
            ("password", old_transport.password != new_transport.password),
            ("ebgpMultiHop", old_transport.reach != new_transport.reach),
        ]
        .into_iter()
        .find_map(|(field, changed)| changed.then_some(field))
    }

    /// The hold time in an OPEN.
    pub(super) fn hold_time(&self) -> u16 {
        u16::try_from(self.hold_interval.as_secs()).unwrap_or(u16::MAX)
    }

    /// Between two KEEPALIVEs with an agreed hold time; zero: none are sent.
    pub(super) fn keepalive(&self, hold: Duration) -> Duration {
        let third = hold / 3;
        self.keepalive_interval.filter(|interval| !interval.is_zero()).map_or(third, |interval| interval.min(third))
    }
}
