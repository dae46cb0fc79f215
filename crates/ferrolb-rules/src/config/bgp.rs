//! BGP peers and BGP advertisements: typed, their nodes resolved, attached to pools (spec §3.5, §3.6, rules V1–V18, V29–V38).
//!
//! A peer whose Secret is missing has no session until it is there; the others are kept: a password that comes late must
//! not stop what works (upstream refuses the whole configuration, spec §3.7 V16). What is wrong with a peer is the affair
//! of the nodes that it selects ([`super::Config::findings_on`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ferrolb_proto::bgp::session::Remote;
use ferrolb_proto::bgp::session::config::{Password, Reach};
use ferrolb_proto::bgp::{Asn, Attributes, Families};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Secret};

use super::bfd::Bfd;
use super::communities::CommunityValue;
use super::pools::Parsed;
use super::selector::{self, Selector};
use super::{Report, object, peer_address, peers};
use crate::api::{self, DynamicAsn};
use crate::names::NodeName;
use crate::range::Family;
use crate::reason::{Code, Finding, Severity};

/// What FRR takes where a peer has no timers, and so what upstream's users have (spec §7.7).
const HOLD: Duration = Duration::from_secs(180);

/// The type of the Secrets that passwords are in.
pub const BASIC_AUTH: &str = "kubernetes.io/basic-auth";

/// The TTL of sessions over several hops, as FRR's `ebgp-multihop` has it.
const MULTIHOP: u8 = 255;

/// What is known of a peer's password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerPassword {
    /// It has none.
    None,
    /// This one.
    Known(Password),
    /// It is to have one, and its Secret does not tell which, or was not looked at: no session is opened; one that there
    /// is goes on.
    Unknown,
}

/// Where a router is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Router {
    /// At this address.
    At(IpAddr),
    /// At the other end of the peer's device, by whatever link-local address it has there (unnumbered).
    OnLink,
    /// Where a label of each node says; nodes whose label says nothing have no session.
    Labelled(BTreeMap<NodeName, IpAddr>),
    /// The gateway of the node's default route of this family, which only the node itself knows.
    Gateway(Family),
}

impl Router {
    /// Its address as a node has it, where the configuration tells it.
    pub fn address(&self, node: &NodeName) -> Option<IpAddr> {
        match self {
            Self::At(address) => Some(*address),
            Self::Labelled(nodes) => nodes.get(node).copied(),
            Self::OnLink | Self::Gateway(_) => None,
        }
    }
}

/// A router to talk BGP to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpPeer {
    /// The object's name.
    pub name: String,
    /// Our AS as this router sees it: `localASN` where it is set.
    pub local_asn: Asn,
    /// The router's AS.
    pub remote: Remote,
    /// The router.
    pub router: Router,
    /// The interface or the VRF that the session is bound to.
    pub device: Option<String>,
    /// Its port.
    pub port: u16,
    /// Our address, where it must be a certain one.
    pub source: Option<IpAddr>,
    /// Our BGP identifier, where it is given.
    pub router_id: Option<Ipv4Addr>,
    /// The hold time to propose.
    pub hold_interval: Duration,
    /// Between two KEEPALIVEs; `None`: a third of the hold time.
    pub keepalive_interval: Option<Duration>,
    /// The longest pause between two tries.
    pub connect_interval: Option<Duration>,
    /// For TCP-MD5.
    pub password: PeerPassword,
    /// How far away it may be.
    pub reach: Reach,
    /// Whether it is asked to keep our routes over a restart.
    pub graceful_restart: bool,
    /// What is announced to it; for a node see [`BgpPeer::families`].
    pub families: Families,
    /// How BFD watches over the way to it; `None`: not at all.
    pub bfd: Option<Bfd>,
    /// The nodes that have a session with it.
    pub nodes: BTreeSet<NodeName>,
    /// The nodes that it selects too, and whose label tells no router: they have none.
    pub routerless: BTreeSet<NodeName>,
}

/// A BGP advertisement, its node selectors and community aliases resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BgpAdvertisement {
    /// The object's name, for messages.
    pub name: String,
    /// The nodes that may announce.
    pub nodes: BTreeSet<NodeName>,
    /// The peers to announce to, by name; empty: all.
    pub peers: BTreeSet<String>,
    /// The length that IPv4 addresses are cut to.
    pub length_v4: u8,
    /// The length that IPv6 addresses are cut to.
    pub length_v6: u8,
    /// Any of these matches the Service's labels; empty: every Service of the pool.
    pub service_selectors: Vec<Selector>,
    /// What is said with each route.
    pub attributes: Arc<Attributes>,
    /// Routers share traffic out by the endpoints that each node has, where traffic stays on the node.
    pub weighted: bool,
}

impl BgpPeer {
    /// Whether its selectors select a node: whether it is any affair of that node's (spec §3.1).
    pub fn selects(&self, node: &NodeName) -> bool {
        self.nodes.contains(node) || self.routerless.contains(node)
    }

    /// What a node's session carries: where each node has its own router, that has its own address.
    pub fn families(&self, node: &NodeName) -> Families {
        match (&self.router, self.router.address(node)) {
            (Router::Labelled(_), Some(IpAddr::V4(_))) => Families { v4: true, ..self.families },
            (Router::Labelled(_), Some(IpAddr::V6(_))) => Families { v6: true, ..self.families },
            _ => self.families,
        }
    }
}

impl BgpAdvertisement {
    /// Whether it is for a peer.
    pub fn is_for(&self, peer: &str) -> bool {
        self.peers.is_empty() || self.peers.contains(peer)
    }

    /// Whether it and another can both be for one address of these families: their local preferences do not contradict
    /// each other (rule V36).
    pub(crate) fn agrees_with(&self, other: &Self, families: Families) -> bool {
        let preference = |one: &Self| one.attributes.local_pref.unwrap_or_default();
        let (v4, v6) = (self.length_v4 != other.length_v4, self.length_v6 != other.length_v6);
        let apart = (families.v4 || families.v6) && (!families.v4 || v4) && (!families.v6 || v6);
        let both_named = !self.peers.is_empty() && !other.peers.is_empty();
        preference(self) == preference(other)
            || apart
            || (both_named && self.peers.is_disjoint(&other.peers))
            || self.nodes.is_disjoint(&other.nodes)
    }
}

/// Parses every peer, by name.
pub(super) fn parse_peers(
    all: &[Arc<api::BGPPeer>],
    secrets: Option<&[Arc<Secret>]>,
    nodes: &[Arc<Node>],
    report: &mut Report,
) -> BTreeMap<String, Arc<BgpPeer>> {
    let mut parsed = BTreeMap::new();
    for peer in all {
        let errors = peers::check_peer(peer);
        if errors.is_empty() {
            if let Some(peer) = parse_peer(peer, secrets, nodes, report) {
                parsed.insert(peer.name.clone(), Arc::new(peer));
            }
        } else {
            report.errors.extend(errors);
        }
    }
    parsed
}

fn parse_peer(
    peer: &api::BGPPeer,
    secrets: Option<&[Arc<Secret>]>,
    nodes: &[Arc<Node>],
    report: &mut Report,
) -> Option<BgpPeer> {
    let object = object("BGPPeer", &peer.metadata);
    let spec = &peer.spec;
    let selectors = selector::parse_list(&spec.node_selectors, report, &object, "spec.nodeSelectors", "nodeSelectors");
    let selected = selected(&selectors, nodes);
    let mut with_router = selected.clone();
    let (router, device) = match (spec.interface.as_str(), &spec.peer_address_from) {
        ("", None) => (Router::At(spec.peer_address.parse().ok()?), spec.vrf.as_str()),
        ("", Some(from)) => (peer_address::found(from, &mut with_router, nodes, &object, report), spec.vrf.as_str()),
        (interface, _) => (Router::OnLink, interface),
    };
    let device = (!device.is_empty()).then(|| device.to_owned());
    let password = password(peer, secrets, &object, report);
    let local_asn = Asn(spec.local_asn.unwrap_or(spec.my_asn));
    let remote = match (spec.peer_asn, spec.dynamic_asn) {
        (_, Some(DynamicAsn::Internal)) => Remote::Internal,
        (_, Some(DynamicAsn::External)) => Remote::External,
        (asn, None) => Remote::Number(Asn(asn.unwrap_or_default())),
    };
    let internal = remote == Remote::Internal || remote == Remote::Number(local_asn);
    let reach = match (internal, spec.ebgp_multi_hop.unwrap_or(false)) {
        (true, _) => Reach::Default,
        (false, true) => Reach::Hops(MULTIHOP),
        (false, false) => Reach::Direct,
    };
    let (hold_interval, keepalive_interval) = timers(spec);
    let families = match (spec.dual_stack_address_family, &router) {
        (Some(true), _) | (_, Router::OnLink) => Families::BOTH,
        (_, Router::Labelled(_)) => Families { v4: false, v6: false },
        (_, Router::At(IpAddr::V4(_)) | Router::Gateway(Family::V4)) => Families::V4,
        (_, Router::At(IpAddr::V6(_)) | Router::Gateway(Family::V6)) => Families::V6,
    };
    Some(BgpPeer {
        name: peer.metadata.name.clone().unwrap_or_default(),
        local_asn,
        remote,
        router,
        device,
        port: spec.peer_port.unwrap_or(179),
        source: spec.source_address.parse().ok(),
        router_id: spec.router_id.parse().ok(),
        hold_interval,
        keepalive_interval,
        connect_interval: spec.connect_time.as_deref().and_then(peers::span),
        password,
        reach,
        graceful_restart: spec.enable_graceful_restart.unwrap_or(false),
        families,
        bfd: None,
        routerless: &selected - &with_router,
        nodes: with_router,
    })
}

/// The password, and what is wrong with the Secret that it is in.
fn password(peer: &api::BGPPeer, secrets: Option<&[Arc<Secret>]>, object: &str, report: &mut Report) -> PeerPassword {
    let Some(reference) = &peer.spec.password_secret else {
        let written = &peer.spec.password;
        return if written.is_empty() { PeerPassword::None } else { PeerPassword::Known(Password(written.clone())) };
    };
    let Some(secrets) = secrets else { return PeerPassword::Unknown };
    // Looked up by name, in the namespace of the peer (spec §3.5).
    let namespace = peer.metadata.namespace.as_deref();
    let named = |secret: &&Arc<Secret>| {
        secret.metadata.name.as_deref() == Some(&reference.name) && secret.metadata.namespace.as_deref() == namespace
    };
    let missing = || format!("secret ref not found: there is no such Secret of type {BASIC_AUTH}");
    let found = secrets.iter().find(named).ok_or_else(missing).and_then(|secret| {
        let kind = secret.type_.as_deref().unwrap_or("Opaque");
        if kind != BASIC_AUTH {
            return Err(format!("secret type mismatch: it is of type {kind}, not {BASIC_AUTH}"));
        }
        let written = secret.string_data.as_ref().and_then(|data| data.get("password")).map(String::as_bytes);
        let stored = secret.data.as_ref().and_then(|data| data.get("password")).map(|bytes| bytes.0.as_slice());
        let bytes = written.or(stored).ok_or("password not specified in the secret: it has no key password")?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "its password is not text".to_owned())
    });
    match found {
        Ok(text) => PeerPassword::Known(Password(text)),
        Err(why) => {
            let message = format!("Secret {:?}: {why}; no session is opened", reference.name);
            let finding = Finding::new(Code::PeerSecretUnusable, Severity::Error, object, message);
            report.warn(finding.at_field("spec.passwordSecret"));
            PeerPassword::Unknown
        }
    }
}

/// Hold time, and keepalive time where it is given (spec §3.5).
fn timers(spec: &api::BGPPeerSpec) -> (Duration, Option<Duration>) {
    let read = |text: &Option<String>| text.as_deref().and_then(peers::span);
    match (read(&spec.hold_time), read(&spec.keepalive_time)) {
        (None, None) => (HOLD, None),
        (Some(hold), keepalive) => (Duration::from_secs(hold.as_secs()), keepalive),
        (None, Some(keepalive)) => (Duration::from_secs((keepalive * 3).as_secs()), Some(keepalive)),
    }
}

fn selected(selectors: &[Selector], nodes: &[Arc<Node>]) -> BTreeSet<NodeName> {
    let labels = |node: &Node| node.metadata.labels.clone().unwrap_or_default();
    let selected = nodes.iter().filter(|node| Selector::any_matches(selectors, &labels(node)));
    selected.filter_map(|node| node.metadata.name.clone().map(NodeName)).collect()
}

/// An advertisement without the communities that go by a name: where names may be defined later, or elsewhere (spec §2.2).
#[must_use]
pub fn without_aliases(advertisement: &Arc<api::BGPAdvertisement>) -> Arc<api::BGPAdvertisement> {
    let mut literal = advertisement.clone();
    if literal.spec.communities.iter().any(|text| !text.contains(':')) {
        Arc::make_mut(&mut literal).spec.communities.retain(|text| text.contains(':'));
    }
    literal
}

/// An advertisement and the pools it asks for.
pub(super) struct Wanted {
    advertisement: Arc<BgpAdvertisement>,
    object: String,
    names: Vec<String>,
    selectors: Vec<Selector>,
}

/// Parses every advertisement, in order of name.
pub(super) fn parse_advertisements(
    all: &[Arc<api::BGPAdvertisement>],
    peers: &[Arc<api::BGPPeer>],
    nodes: &[Arc<Node>],
    aliases: &BTreeMap<String, CommunityValue>,
    report: &mut Report,
) -> Vec<Wanted> {
    let known: BTreeSet<&str> = peers.iter().filter_map(|peer| peer.metadata.name.as_deref()).collect();
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by_key(|advertisement| advertisement.metadata.name.clone());
    let mut wanted = Vec::new();
    for advertisement in sorted {
        let errors = peers::check_bgp_advertisement(advertisement);
        if errors.is_empty() {
            let one = parse_advertisement(advertisement, nodes, aliases, report);
            for peer in one.advertisement.peers.iter().filter(|peer| !known.contains(peer.as_str())) {
                let message = format!("it names peer {peer:?}, which does not exist");
                let finding = Finding::new(Code::AdvertisedPeerMissing, Severity::Warning, &one.object, message);
                report.warn(finding.at_field("spec.peers"));
            }
            wanted.push(one);
        } else {
            report.errors.extend(errors);
        }
    }
    wanted
}

fn parse_advertisement(
    advertisement: &api::BGPAdvertisement,
    nodes: &[Arc<Node>],
    aliases: &BTreeMap<String, CommunityValue>,
    report: &mut Report,
) -> Wanted {
    let object = object("BGPAdvertisement", &advertisement.metadata);
    let spec = &advertisement.spec;
    let mut list = |field: &str, selectors: &[_]| {
        selector::parse_list(selectors, report, &object, &format!("spec.{field}"), field)
    };
    let selectors = list("ipAddressPoolSelectors", &spec.ip_address_pool_selectors);
    let node_selectors = list("nodeSelectors", &spec.node_selectors);
    let service_selectors = list("serviceSelectors", &spec.service_selectors);
    let mut attributes = Attributes {
        local_pref: spec.local_pref.and_then(|preference| u32::try_from(preference).ok()),
        med: spec.med.and_then(|med| u32::try_from(med).ok()),
        prepend: spec.as_path_prepend.and_then(|times| u8::try_from(times).ok()).unwrap_or_default(),
        ..Attributes::default()
    };
    for (index, text) in spec.communities.iter().enumerate() {
        // Aliases first: one whose name looks like a value counts (spec §3.6).
        match aliases.get(text).copied().map_or_else(|| CommunityValue::parse(text), Ok) {
            Ok(value) => value.add_to(&mut attributes),
            Err(why) => {
                let field = format!("spec.communities[{index}]");
                report.error(Code::CommunityUnknown, &object, field, format!("{why}, and no Community names it"));
            }
        }
    }
    let length = |length: Option<i64>, longest| length.and_then(|length| u8::try_from(length).ok()).unwrap_or(longest);
    let parsed = BgpAdvertisement {
        name: advertisement.metadata.name.clone().unwrap_or_default(),
        nodes: selected(&node_selectors, nodes),
        peers: spec.peers.iter().cloned().collect(),
        length_v4: length(spec.aggregation_length, 32),
        length_v6: length(spec.aggregation_length_v6, 128),
        service_selectors,
        attributes: Arc::new(attributes),
        weighted: spec.weight_by_local_endpoints.unwrap_or(false),
    };
    Wanted { advertisement: Arc::new(parsed), object, names: spec.ip_address_pools.clone(), selectors }
}

/// Attaches advertisements to the pools they name or select; to all if they do neither.
pub(super) fn attach(advertisements: &[Wanted], pools: &mut BTreeMap<String, Parsed>, report: &mut Report) {
    for wanted in advertisements {
        for name in wanted.names.iter().filter(|name| !pools.contains_key(*name)) {
            let message = format!("it names pool {name:?}, which does not exist");
            let finding = Finding::new(Code::AdvertisedPoolMissing, Severity::Warning, &wanted.object, message);
            report.warn(finding.at_field("spec.ipAddressPools"));
        }
        let everything = wanted.names.is_empty() && wanted.selectors.is_empty();
        for parsed in pools.values_mut() {
            let named = wanted.names.contains(&parsed.pool.name);
            let selected = wanted.selectors.iter().any(|selector| selector.matches(&parsed.labels));
            if everything || named || selected {
                refuse_strangers_addresses(wanted, parsed, report);
                refuse_contradiction(wanted, parsed, report);
                parsed.pool.bgp_advertisements.push(wanted.advertisement.clone());
            }
        }
    }
}

/// Rule V35: an aggregate larger than what the pool has in one piece would draw the traffic of addresses that are not the
/// pool's. Each address entry is looked at by itself; of a range, its largest block counts.
fn refuse_strangers_addresses(wanted: &Wanted, parsed: &Parsed, report: &mut Report) {
    let advertisement = &wanted.advertisement;
    for range in &parsed.pool.ranges {
        let (field, length) = match range.family() {
            Family::V4 => ("spec.aggregationLength", advertisement.length_v4),
            Family::V6 => ("spec.aggregationLengthV6", advertisement.length_v6),
        };
        let Some(largest) = range.prefixes().into_iter().min_by_key(IpNet::prefix_len) else { continue };
        if largest.prefix_len() > length {
            let message = format!(
                "invalid aggregation length {length}: prefix {largest} of pool {:?} is more specific than the aggregation length for addresses {range}",
                parsed.pool.name,
            );
            let fix = format!("write {field}: {} or more, or give the pool the whole /{length}", largest.prefix_len());
            report.error_fix(Code::AggregationInvalid, &wanted.object, field, message, fix);
        }
    }
}

/// Rule V36, where no selector of Services leaves it open who is meant.
fn refuse_contradiction(wanted: &Wanted, parsed: &Parsed, report: &mut Report) {
    let new = &wanted.advertisement;
    let has = |family| parsed.pool.ranges.iter().any(|range| range.family() == family);
    let families = Families { v4: has(Family::V4), v6: has(Family::V6) };
    let open = |one: &BgpAdvertisement| !one.service_selectors.is_empty();
    let attached = parsed.pool.bgp_advertisements.iter();
    let mut against = attached.filter(|old| !open(old) && !open(new) && !old.agrees_with(new, families));
    if let Some(old) = against.next() {
        let message = format!(
            "invalid localpref: on pool {:?} it says {} and BGPAdvertisement {:?} says {}, about the same prefixes to the same peers",
            parsed.pool.name,
            new.attributes.local_pref.unwrap_or_default(),
            old.name,
            old.attributes.local_pref.unwrap_or_default(),
        );
        report.error(Code::LocalPrefConflict, &wanted.object, "spec.localPref", message);
    }
}
