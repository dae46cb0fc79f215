//! What a session tells: where it stands, what was agreed on, why it went down, and what it has counted.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::ConnectionId;
use crate::bgp::wire::Verdict;
use crate::bgp::wire::notification::{Cease, Notification};
use crate::bgp::wire::open::GracefulRestart;
use crate::bgp::{Asn, Families, Family, Kind};

/// Where a session stands (RFC 4271 §8.2.2); of two connections the one that is further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not started, or stopped.
    Idle,
    /// A TCP connection is on its way.
    Connect,
    /// Between two tries, or waiting for the router to connect.
    Active,
    /// OPEN is out.
    OpenSent,
    /// The router's OPEN is in.
    OpenConfirm,
    /// Routes can go out.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What both ends agreed on, and what the router says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The router's AS.
    pub remote_asn: Asn,
    /// The router's BGP identifier.
    pub remote_id: Ipv4Addr,
    /// iBGP or eBGP.
    pub kind: Kind,
    /// The smaller of both; zero: none.
    pub hold_interval: Duration,
    /// Between two KEEPALIVEs of ours; zero: none.
    pub keepalive_interval: Duration,
    /// Both ends speak these.
    pub families: Families,
    /// AS numbers have four octets.
    pub four_octet: bool,
    /// The router can be asked, and may ask, for routes again.
    pub refresh: bool,
    /// Refreshes have a beginning and an end (RFC 7313).
    pub enhanced_refresh: bool,
    /// Messages may have 65535 bytes.
    pub extended_message: bool,
    /// IPv4 routes may have IPv6 next hops.
    pub extended_next_hop: bool,
    /// The router's graceful restart; `None` where it has none.
    pub remote_restart: Option<GracefulRestart>,
    /// We offered graceful restart.
    pub local_restart: bool,
    /// The router's name.
    pub host_name: Option<String>,
    /// Capabilities of the router that we do nothing with.
    pub other_capabilities: BTreeSet<u8>,
}

impl Negotiated {
    /// The router keeps our routes when the connection is lost.
    pub fn keeps_routes(&self) -> bool {
        self.local_restart && self.remote_restart.is_some()
    }

    /// It keeps them after a NOTIFICATION too, unless that is a hard reset (RFC 8538).
    pub fn keeps_routes_after_notification(&self) -> bool {
        self.local_restart && self.remote_restart.is_some_and(|restart| restart.notification)
    }
}

/// Why a session, or an attempt at one, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No TCP connection came about.
    Unreachable(String),
    /// The router closed the connection, or the network did.
    Closed,
    /// The router said this.
    Received(Notification),
    /// We said this.
    Sent(Notification),
    /// This field of the configuration changed.
    Reconfigured(&'static str),
    /// Another connection to the same router was kept.
    Collision,
    /// The router restarted and came back on a new connection (RFC 4724 §5).
    Replaced,
    /// We left so that the router keeps our routes.
    Left,
}

impl Reason {
    /// The router and we do not agree, so that trying again soon would change nothing. Silence is no disagreement.
    pub(super) const fn is_discord(&self) -> bool {
        match self {
            Self::Received(_) => true,
            Self::Sent(said) => !matches!((said.code, said.subcode), (4 | 8, _) | (6, 10)),
            _ => false,
        }
    }

    /// BFD saw the way to the router break, here or at the other end.
    pub(super) const fn is_dead_way(&self) -> bool {
        matches!(self, Self::Sent(said) if said.code == 6 && said.subcode == Cease::BfdDown as u8)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::Closed => f.write_str("the connection was closed without a reason"),
            Self::Received(notification) => write!(f, "the router ended it: {notification}"),
            Self::Sent(notification) => write!(f, "we ended it: {notification}"),
            Self::Reconfigured(field) => write!(f, "{field} changed, which takes a new session"),
            Self::Collision => f.write_str("another connection to the same router was kept"),
            Self::Replaced => f.write_str("the router restarted and connected anew"),
            Self::Left => f.write_str("we restart; the router keeps our routes meanwhile"),
        }
    }
}

/// Why something that is desired is not announced in an established session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unannounced {
    /// The router does not speak this family.
    NotAgreed(Family),
    /// We have no address that can be the next hop of this family.
    NoNextHop(Family),
    /// The attributes of so many prefixes leave no room for them in a message.
    TooLarge(usize),
}

/// What a session wants done, or has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection as [`super::Transport`] says, and give it this id.
    Dial(ConnectionId),
    /// Write these bytes, and say with [`super::Input::Sent`] how many the socket took.
    Send(ConnectionId, Vec<u8>),
    /// Write what is left, for 1 s at most, then close; or give up dialing. The id is not heard of again.
    Close(ConnectionId),
    /// Close at once and throw away what is left: nothing can be written any more.
    Abort(ConnectionId),
    /// The state is another now.
    State(State),
    /// The session is established.
    Established(Box<Negotiated>),
    /// Something that is desired cannot be announced in this session.
    Unannounced(Unannounced),
    /// A session (`established`), or an attempt at one, has ended.
    Down {
        /// Why.
        reason: Reason,
        /// Whether it had been established.
        established: bool,
    },
    /// The session starts anew because this field of the configuration changed.
    Reset(&'static str),
    /// The router sends UPDATEs with faults that need nothing done; told at most once in 10 s.
    Malformed(Verdict),
    /// A drain is over: nothing is announced here any more, and the session is stopped.
    Drained,
}

/// What a session has counted since it was made. Messages by type; prefixes of received routes by family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// OPENs out.
    pub opens_sent: u64,
    /// OPENs in.
    pub opens_received: u64,
    /// UPDATEs out.
    pub updates_sent: u64,
    /// UPDATEs in.
    pub updates_received: u64,
    /// KEEPALIVEs out.
    pub keepalives_sent: u64,
    /// KEEPALIVEs in.
    pub keepalives_received: u64,
    /// NOTIFICATIONs out.
    pub notifications_sent: u64,
    /// NOTIFICATIONs in.
    pub notifications_received: u64,
    /// ROUTE-REFRESHs out.
    pub refreshes_sent: u64,
    /// ROUTE-REFRESHs in.
    pub refreshes_received: u64,
    /// Prefixes announced to us and dropped: IPv4, IPv6. Repetitions count.
    pub prefixes_received: [u64; 2],
    /// Prefixes withdrawn by the router: IPv4, IPv6.
    pub prefixes_withdrawn: [u64; 2],
    /// UPDATEs whose routes count as withdrawn by RFC 7606.
    pub treated_as_withdraw: u64,
    /// UPDATEs of which an attribute was passed by for its faults.
    pub attributes_discarded: u64,
    /// Times the session was established.
    pub established: u64,
    /// Times an established session ended.
    pub dropped: u64,
}

impl Counters {
    /// All messages out.
    pub const fn sent(&self) -> u64 {
        self.opens_sent + self.updates_sent + self.keepalives_sent + self.notifications_sent + self.refreshes_sent
    }

    /// All messages in.
    pub const fn received(&self) -> u64 {
        self.opens_received
            + self.updates_received
            + self.keepalives_received
            + self.notifications_received
            + self.refreshes_received
    }
}
