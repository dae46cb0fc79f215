//! Why something did not happen: every `LBnnnn` code, once.
//!
//! A code is stable for ever: documentation, alerts and people's notes hang on it. The number is fixed, the name is
//! CamelCase as Kubernetes reasons are, the summary says what happened, the fix says what to do, and the long text
//! (shown by `ferrolb explain LBnnnn`, offline) has a wrong and a right example.
//!
//! | range | subject | table |
//! |---|---|---|
//! | LB00xx | the program itself: manifests, state, configuration as a whole | `reason/system.rs`, from LB0020 `reason/cluster.rs`, from LB0023 `reason/speaker.rs`, from LB0031 `reason/flags.rs` |
//! | LB004x | the webhooks | `reason/webhooks.rs` |
//! | LB005x | the cluster around us | `reason/surroundings.rs` |
//! | LB006x | what a start needs, and whom to ask | `reason/startup.rs` |
//! | LB10xx | a Service has no address | `reason/pending.rs`, from LB1008 `reason/refused.rs` |
//! | LB11xx | an address is not announced | `reason/announce.rs`, from LB1111 `reason/wire.rs`, from LB1130 `reason/reporting.rs` |
//! | LB12xx | what the wire says | `reason/sightings.rs` |
//! | LB13xx | a route is not with a router | `reason/bgp.rs` |
//! | LB20xx | annotations on Services | `reason/annotations.rs` |
//! | LB30xx | values of the chart | `reason/values.rs` |
//! | LB40xx | pools | `reason/config.rs` |
//! | LB41xx | layer-2 advertisements | `reason/advertise.rs` |
//! | LB42xx | communities | `reason/advertise.rs` |
//! | LB43xx | BGP peers, their timers, passwords and profiles | `reason/peers.rs` |
//!
//! A [`Finding`] is a code applied to an object. Events, conditions, logs, status and the CLI all print findings; none
//! of them has texts of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

mod advertise;
mod annotations;
mod announce;
mod bgp;
mod cluster;
mod config;
mod finding;
mod flags;
mod hosts;
mod peers;
mod pending;
mod refused;
mod reporting;
mod sightings;
mod speaker;
mod startup;
mod surroundings;
mod system;
#[cfg(test)]
mod tests;
mod values;
mod webhooks;
mod wire;

pub use finding::{Finding, Location, Severity};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal,)+) => {
        /// One stable reason. Displays as `LBnnnn`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Code {
            /// Every code, in ascending order of number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The CamelCase name, as used for event and condition reasons.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

codes! {
    /// The newest configuration does not load; the last good one stays active (spec §3.9).
    ConfigurationStale = 1,
    /// No live host allocates addresses.
    NoAllocator = 2,
    /// The saved state cannot be read or written.
    StateUnusable = 3,
    /// A manifest is not valid YAML or does not fit its kind; its last good content stays in force.
    ManifestInvalid = 4,
    /// A manifest cannot be read: permissions, not UTF-8, too large, a link that leads in a circle.
    ManifestUnreadable = 5,
    /// A kind this program does not use; the object is skipped.
    UnknownKind = 6,
    /// Two manifests define the same object; the first by file name counts.
    DuplicateObject = 7,
    /// One of our kinds outside the configured namespace; it is ignored (decision D22).
    WrongNamespace = 8,
    /// A field that the kind does not have; it does nothing.
    UnknownField = 9,
    /// Known, valid, but not implemented yet in this release.
    NotYet = 10,
    /// The node this process runs as has no Node object, or one without an InternalIP.
    NodeUnknown = 11,
    /// Standalone without a secret: the hosts form no group, and this one decides alone.
    MembershipOff = 12,
    /// Two hosts run under the same node name.
    NodeNameTaken = 13,
    /// Another host seals its datagrams with another secret; the two do not hear each other.
    SecretMismatch = 14,
    /// Membership cannot listen: the address is not this host's, or the port is taken.
    MembershipDeaf = 15,
    /// This host's manifests lack what another live host's have.
    ManifestsDiffer = 16,
    /// The API server does not serve one of our kinds: its CRD is not installed.
    KindMissing = 20,
    /// The API server refuses what we must read or write.
    AccessDenied = 21,
    /// The API server does not answer, or not with what was asked for.
    ApiServerAway = 22,
    /// The secret that speakers share is not there yet.
    MembershipKeyMissing = 23,
    /// The API server does not answer at start; what was saved is in force (decision D21).
    SavedPlanInForce = 24,
    /// A configuration waits that would take an announced address away (spec §3.9).
    ConfigurationHeld = 25,
    /// The file of interfaces to leave alone cannot be used.
    ExclusionInvalid = 26,
    /// A stored object of ours does not fit its kind: it was stored under another definition.
    ObjectMalformed = 27,
    /// A flag or variable that is unknown, or whose value makes no sense.
    FlagInvalid = 31,
    /// A flag or variable that is accepted and does nothing.
    FlagWithoutEffect = 32,
    /// A port to serve on is taken, or may not be used.
    PortNotFree = 33,
    /// The webhooks have no certificate, and none could be made.
    WebhookCertificateMissing = 41,
    /// The webhooks' certificate authority could not be made known to the API server.
    WebhookNotTrusted = 42,
    /// The API server does not get through to the webhooks.
    WebhookNotReached = 43,
    /// Pod Security refuses the speaker's pods.
    PodSecurityForbids = 51,
    /// No controller is ready.
    ControllerAway = 52,
    /// A node lacks a ready speaker.
    SpeakerIncomplete = 53,
    /// kube-proxy in IPVS mode lets every node answer ARP.
    StrictArpOff = 54,
    /// Another load balancer takes the same Services.
    RivalLoadBalancer = 55,
    /// A webhook with `failurePolicy: Fail` that nobody answers.
    WebhookLeftover = 56,
    /// One node only may announce.
    NoFailover = 57,
    /// Kubernetes is older than what is supported (decision D23).
    KubernetesUntried = 58,
    /// Objects of frr-k8s are in the cluster; nothing here reads or writes them.
    FrrK8sPresent = 59,
    /// A node's port for membership is not reached.
    MembershipPortBlocked = 60,
    /// The local socket for `ferrolb status` cannot be made.
    SocketUnusable = 61,
    /// Nobody answers to `ferrolb status` and its like.
    NoAnswer = 62,
    /// The file with the shared secret is missing, unreadable or empty.
    SecretUnusable = 63,
    /// The shared secret is short, or everybody on the host may read it.
    SecretWeak = 64,
    /// The process may not open packet sockets.
    PrivilegeMissing = 65,
    /// Another process uses the state directory.
    StateInUse = 66,

    /// No IPAddressPool is configured.
    NoPool = 1001,
    /// The requested pool has no free address of the needed family.
    PoolExhausted = 1002,
    /// No pool that may serve this Service automatically has a free address.
    NoFreeAddress = 1003,
    /// The Service asks for a pool that does not exist.
    UnknownPool = 1004,
    /// The pool's `serviceAllocation` excludes this Service.
    PoolNotCompatible = 1005,
    /// The requested addresses do not fit the Service's IP families.
    FamilyMismatch = 1006,
    /// The request for addresses cannot be understood.
    RequestInvalid = 1007,
    /// The address is held by a Service that it may not be shared with.
    SharingRefused = 1008,
    /// The address is shared, but another Service on it has the same port.
    PortInUse = 1009,
    /// The Service needs two cluster IPs, or has none.
    ClusterIpsMissing = 1010,
    /// The Service belongs to another load balancer's class.
    OtherClass = 1011,
    /// The requested address belongs to no pool, or to no single pool.
    AddressNotInPool = 1012,
    /// The requested address lies outside the requested pool.
    PoolMismatch = 1013,
    /// The address recorded in the Service's status is no longer allowed; it is given up.
    AddressNotAllowed = 1014,
    /// PreferDualStack: the second address could not be had.
    SecondFamilyUnavailable = 1015,
    /// The address comes from a pool whose part is held by an older, overlapping pool.
    PoolOverlap = 1016,
    /// Somebody else writes other addresses into the Service's status, again and again.
    RivalWriter = 1017,

    /// No L2Advertisement selects the pool or the Service.
    NoAdvertisement = 1101,
    /// No endpoint of the Service is ready.
    NoReadyEndpoints = 1102,
    /// `externalTrafficPolicy: Local` and no ready endpoint on this node.
    NoLocalEndpoints = 1103,
    /// The node carries the exclude-from-external-load-balancers label.
    NodeExcluded = 1104,
    /// The node's network is unavailable.
    NodeNetworkUnavailable = 1105,
    /// None of the selected interfaces exists on the node.
    InterfaceMissing = 1106,
    /// A sharable address together with an advertisement that selects services.
    SharedAddressWithServiceSelectors = 1107,
    /// Another node is the better candidate.
    NotElected = 1108,
    /// Membership says that the node is gone.
    NodeNotAlive = 1109,
    /// No matching advertisement selects this node.
    NodeNotSelected = 1110,
    /// The Service's address belongs to no pool of the running configuration.
    AddressNotConfigured = 1111,
    /// The Service's status holds something that is not an address.
    InvalidAddress = 1112,
    /// The Service has no address yet.
    NoAddress = 1113,
    /// The Service is not of type LoadBalancer.
    NotLoadBalancer = 1114,
    /// The Service's health check fails on this node.
    HealthCheckFailing = 1115,
    /// No node may announce the address at all.
    NoCandidate = 1116,
    /// Every node is excluded; announced all the same (decision D2).
    AllNodesExcluded = 1117,
    /// The address is used by another device on the network.
    AddressInUse = 1118,
    /// The interface's kernel would answer for the bound address on its own.
    ArpIgnoreUnset = 1119,
    /// No BGP peer that an advertisement is for has a session with this node.
    NoBgpPeer = 1120,
    /// The node is being emptied, and hands its addresses over.
    NodeDrained = 1121,
    /// No speaker runs at all.
    NoSpeaker = 1130,
    /// A node is to announce the address and does not report that it does.
    AnnouncerSilent = 1131,

    /// Nobody answers for the address on the network of the machine that asks.
    NobodyAnswers = 1201,
    /// No Service has the address, and nobody answers for it.
    AddressUnclaimed = 1202,
    /// The machine that asks is the one that announces the address.
    AskedFromOwner = 1203,
    /// The machine that asks is not on the network of the address.
    OffTheNetwork = 1204,
    /// The interface that addresses are answered on is Wi-Fi.
    WirelessInterface = 1205,
    /// A node answers for an address that it does not announce.
    NodeAnswersUnasked = 1211,
    /// Two nodes announce the address at once, and both answer.
    TwoAnnouncers = 1212,
    /// An address that is announced is used by another device, too.
    ForeignClaim = 1213,
    /// A machine answers, and it cannot be told whose it is.
    AnswerUnidentified = 1214,
    /// The right machine answers, and a TCP port takes no connection.
    ConnectionFails = 1221,

    /// A BGP session is not established.
    BgpSessionDown = 1301,
    /// A route cannot be announced in an established session.
    BgpRouteUntold = 1302,
    /// The BFD session that watches over the way to a router is not up.
    BfdSessionDown = 1303,
    /// The router is the default gateway, and the node has none.
    NoDefaultGateway = 1304,

    /// An annotation that looks like ours and is not.
    UnknownAnnotation = 2001,
    /// An annotation that the controller writes; it is not read.
    OutputAnnotation = 2002,
    /// A deprecated name that still works.
    DeprecatedAnnotation = 2003,
    /// An annotation whose value makes no sense; it is ignored.
    AnnotationInvalid = 2004,
    /// An output annotation that another manager holds at a value that is not true.
    ForeignOutputAnnotation = 2005,

    /// A value that the chart does not have.
    UnknownValue = 3001,
    /// A value of the chart that does nothing here.
    ValueWithoutEffect = 3002,
    /// The chart refuses these values: a wrong type, or a contradiction.
    ValueRefused = 3003,

    /// A pool without any address.
    PoolEmpty = 4001,
    /// An entry of `addresses` that is neither a CIDR nor a range.
    AddressRangeInvalid = 4002,
    /// Two entries of one pool overlap.
    RangesOverlap = 4003,
    /// Two pools overlap; the younger one hands out only the rest (decision D3).
    PoolsOverlap = 4004,
    /// A value listed twice where once is meant.
    DuplicateEntry = 4005,
    /// A label selector that cannot be understood.
    SelectorInvalid = 4006,
    /// A number outside its range.
    OutOfRange = 4007,
    /// A pool that no advertisement selects.
    PoolNotAdvertised = 4008,
    /// A pool has an address that is a node's own.
    NodeAddressInPool = 4009,
    /// An advertisement names a pool that does not exist.
    AdvertisedPoolMissing = 4101,
    /// A preferred node selector that cannot be understood.
    PreferenceInvalid = 4102,
    /// An advertisement's node selectors match no node.
    NoNodeSelected = 4103,
    /// A community value that is neither `A:B` nor `large:A:B:C`.
    CommunityInvalid = 4201,
    /// A community alias defined twice.
    CommunityDuplicate = 4202,
    /// A BGP advertisement has a community that is neither a value nor a name.
    CommunityUnknown = 4203,
    /// A peer's AS numbers are missing or contradict each other.
    PeerAsInvalid = 4301,
    /// A peer has no usable address, or a router ID that is none.
    PeerAddressInvalid = 4302,
    /// A timer of a peer is out of range or no duration.
    PeerTimerInvalid = 4303,
    /// A peer has a password in two places.
    PeerPasswordTwice = 4304,
    /// A BGP advertisement's aggregation length makes no sense.
    AggregationInvalid = 4305,
    /// A BFD profile is to be deleted that a peer names.
    ProfileInUse = 4306,
    /// Two BGP advertisements say different local preferences about one prefix.
    LocalPrefConflict = 4307,
    /// The Secret with a peer's password cannot be used.
    PeerSecretUnusable = 4308,
    /// A BGP advertisement names a peer that does not exist.
    AdvertisedPeerMissing = 4309,
    /// The BFD profile that a peer names does not exist.
    BfdProfileMissing = 4310,
    /// The label that a peer's address is taken from is missing on a node, or no address.
    PeerLabelUnusable = 4311,
}

/// What `ferrolb explain` prints for a code, and where every surface takes its words from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The code explained.
    pub code: Code,
    /// What happened, in one line without a full stop.
    pub summary: &'static str,
    /// What to do, in one line; a command where possible.
    pub fix: &'static str,
    /// The whole story, with a wrong and a right example. Plain text, wrapped at 100 columns.
    pub long: &'static str,
}

/// The tables of texts, in the order of their codes.
const TABLES: &[&[Explanation]] = &[
    system::TABLE,
    cluster::TABLE,
    speaker::TABLE,
    flags::TABLE,
    webhooks::TABLE,
    surroundings::TABLE,
    startup::TABLE,
    pending::TABLE,
    refused::TABLE,
    announce::TABLE,
    wire::TABLE,
    reporting::TABLE,
    sightings::TABLE,
    bgp::TABLE,
    annotations::TABLE,
    values::TABLE,
    config::TABLE,
    advertise::TABLE,
    peers::TABLE,
];

impl Code {
    /// The number after `LB`.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code's texts.
    pub fn explanation(self) -> &'static Explanation {
        let mut entries = TABLES.iter().flat_map(|table| table.iter());
        entries.find(|entry| entry.code == self).unwrap_or(&system::UNEXPLAINED)
    }

    /// What to do on a host without Kubernetes.
    pub fn fix_on_hosts(self) -> &'static str {
        let own = hosts::FIXES.iter().find(|(code, _)| *code == self).map(|(_, fix)| *fix);
        own.unwrap_or_else(|| self.explanation().fix)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LB{:04}", self.number())
    }
}

/// The text is not the number of a known code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a known code; codes look like LB1104, and `ferrolb explain` lists them all")]
pub struct UnknownCode(pub String);

impl FromStr for Code {
    type Err = UnknownCode;

    /// Accepts `LB1104`, `lb1104` and `1104`, and the name `NodeExcluded`.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let text = text.trim();
        let digits = text.strip_prefix("LB").or_else(|| text.strip_prefix("lb")).unwrap_or(text);
        let number = digits.parse::<u16>().ok();
        Self::ALL
            .iter()
            .copied()
            .find(|code| Some(code.number()) == number || code.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
