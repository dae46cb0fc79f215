//! The document that `status` shows and that the lab reads: what is really so, not what was intended (decision D12).
//!
//! One set of names for `ferrolb status -o json`, the local socket, and `ferrolb lab --json`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::alloc::Counters;
use ferrolb_rules::config::Pool;
use ferrolb_rules::range::Family;
use ferrolb_rules::reason::{Code, Finding};
use k8s_openapi::api::core::v1::Service;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Everything one process knows, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The node that this process runs as.
    pub node: String,
    /// The program's version.
    pub version: String,
    /// Whether everything is fine: no Service without an address or announcement, no finding of severity error.
    pub ok: bool,
    /// It is told from files: what would be so if they were applied. `announced` then means that nothing which files tell
    /// is in the way; whether a speaker runs and an address is free, no file knows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_if_applied: bool,
    /// How a standalone process was started, as far as others must know; none in a cluster and from files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standalone: Option<StandaloneState>,
    /// Pools, in order of name.
    pub pools: Vec<PoolState>,
    /// Services of type LoadBalancer, in order of namespace and name.
    pub services: Vec<ServiceState>,
    /// The other hosts and this one, in order of name.
    pub peers: Vec<PeerState>,
    /// The routers that this node, or a cluster's nodes, talk BGP to, in order of name.
    #[serde(default)]
    pub routers: Vec<RouterState>,
    /// The interfaces that this node answers on.
    pub interfaces: Vec<InterfaceState>,
    /// Who began to announce what, the newest first; none: that may not be read, or nobody keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Vec<Turn>>,
    /// What the configuration and the manifests have that does nothing, is wrong, or is worth knowing.
    pub findings: Vec<Finding>,
}

/// How a standalone process was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandaloneState {
    /// The directory of manifests: what Services ask for stands there.
    pub manifests: PathBuf,
    /// The namespace of the `metallb.io` kinds.
    pub namespace: String,
    /// Only Services of this class are served; none: only those without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Excluded nodes announce, too.
    #[serde(default)]
    pub ignore_exclude_lb: bool,
    /// The LAN is asked before an address is announced; a host without a secret file does not.
    #[serde(default)]
    pub asks_first: bool,
}

/// One pool. The counts saturate at 2^63−1 (spec §4.9).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolState {
    /// The pool's name.
    pub name: String,
    /// Its ranges as written, for people.
    pub ranges: Vec<String>,
    /// Addresses of both families that can be handed out at all.
    pub total: u64,
    /// Distinct addresses in use.
    pub assigned: u64,
    /// `total` minus `assigned`.
    pub available: u64,
    /// The same, one entry per family that the pool has.
    pub families: Vec<FamilyCount>,
    /// The advertisements that announce it.
    pub advertised_by: Vec<String>,
    /// The same, with how each of them does.
    #[serde(default)]
    pub advertisements: Vec<AdvertisementState>,
}

/// An advertisement that announces a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertisementState {
    /// Its name.
    pub name: String,
    /// `layer2` or `bgp`.
    pub protocol: String,
    /// The interfaces that it is limited to; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
}

/// A pool's counts for one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyCount {
    /// The family counted.
    pub family: Family,
    /// Addresses that can be handed out at all.
    pub total: u64,
    /// Distinct addresses in use.
    pub assigned: u64,
    /// `total` minus `assigned`.
    pub available: u64,
}

/// How far a Service has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It has no address.
    #[default]
    Pending,
    /// It has an address that nobody announces.
    Allocated,
    /// A node announces it.
    Announced,
}

/// One Service of type LoadBalancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceState {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// Its addresses, in the order of its status.
    pub addresses: Vec<IpAddr>,
    /// The pool that they come from.
    pub pool: Option<String>,
    /// How far it has come.
    pub state: Progress,
    /// The node that announces it.
    pub node: Option<String>,
    /// The MAC address that answers for it.
    pub mac: Option<MacAddr>,
    /// The interfaces it is announced on.
    pub interfaces: Vec<String>,
    /// The routers that this node has told everything that leads to it, by the names of their peers.
    #[serde(default)]
    pub routers: Names,
    /// Since when it is as it is, in the form of RFC 3339, where its conditions tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What to try from another machine.
    #[serde(rename = "try")]
    pub try_urls: Vec<String>,
    /// Why it is not served, or what else to know; the first is the one to look at.
    pub reasons: Vec<ReasonState>,
}

/// One reason, on one node or for the Service as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonState {
    /// Which reason.
    pub code: Code,
    /// The node it is about; none: the Service as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What happened.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// Another host, or this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerState {
    /// The node's name.
    pub name: String,
    /// Its address, where its Node object tells one.
    pub address: Option<IpAddr>,
    /// Whether membership counts it as alive.
    pub alive: bool,
    /// Whether it is this host.
    pub own: bool,
    /// Whether it is the one that allocates addresses (decision D14).
    pub allocator: bool,
}

/// A router that this node, or a cluster's nodes, talk BGP to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterState {
    /// The name of its BGPPeer.
    pub name: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// In a cluster, the addresses that nodes' labels say, where each node has its own router.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Where the session stands, in the words of RFC 4271.
    pub state: String,
    /// Whether routes can go over it.
    pub established: bool,
    /// How many prefixes it is to be told.
    pub prefixes: usize,
    /// How many it has been told.
    pub told: usize,
    /// Why the session, or the last try, ended; none while it is established.
    pub last_error: Option<String>,
    /// In a cluster, the nodes that have told it of a Service; each has its own session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// In a cluster, how many Services it has been told of; what it was told of them only the speakers know.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub services: usize,
    /// Where the BFD session stands, in the words of RFC 5880; none where BFD does not watch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<String>,
}

/// Names in order; thousands of Services share one set of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Arc<BTreeSet<String>>);

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeSet::deserialize(deserializer).map(|names| Self(Arc::new(names)))
    }
}

/// A node began to announce a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// When, in the form of RFC 3339, in UTC.
    pub at: String,
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The node.
    pub node: String,
    /// `layer2` or `bgp`.
    pub protocol: String,
    /// From whom it was taken over, and how long that took, where a node had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One interface of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceState {
    /// The interface's name.
    pub name: String,
    /// Its present MAC address.
    pub mac: MacAddr,
    /// Whether it has a carrier; without one nothing that it says is heard.
    #[serde(default)]
    pub carrier: bool,
    /// Whether ARP requests are answered on it.
    pub arp: bool,
    /// Whether neighbour solicitations are answered on it.
    pub ndp: bool,
}

impl PoolState {
    /// A pool with what its counters say, each family that it has by itself.
    pub fn of(pool: &Pool, counters: Counters) -> Self {
        let families: Vec<FamilyCount> = [Family::V4, Family::V6]
            .into_iter()
            .filter(|family| pool.ranges.iter().any(|range| range.family() == *family))
            .map(|family| FamilyCount::of(family, counters))
            .collect();
        // The counters of an IPv6 pool end at what upstream's can hold; so does the sum.
        let sum = |field: fn(&FamilyCount) -> u64| {
            families.iter().map(field).fold(0, u64::saturating_add).min(i64::MAX as u64)
        };
        let layer2 = pool.l2_advertisements.iter().map(|one| AdvertisementState {
            name: one.name.clone(),
            protocol: "layer2".to_owned(),
            interfaces: one.interfaces.iter().flatten().cloned().collect(),
        });
        let bgp = pool.bgp_advertisements.iter().map(|one| AdvertisementState {
            name: one.name.clone(),
            protocol: "bgp".to_owned(),
            interfaces: Vec::new(),
        });
        let advertisements: Vec<AdvertisementState> = layer2.chain(bgp).collect();
        Self {
            name: pool.name.clone(),
            ranges: pool.ranges.iter().map(ToString::to_string).collect(),
            total: sum(|count| count.total),
            assigned: sum(|count| count.assigned),
            available: sum(|count| count.available),
            advertised_by: advertisements.iter().map(|one| one.name.clone()).collect(),
            advertisements,
            families,
        }
    }
}

impl FamilyCount {
    fn of(family: Family, counters: Counters) -> Self {
        let unsigned = |count: i64| u64::try_from(count).unwrap_or_default();
        let (total, assigned, available) = match family {
            Family::V4 => (counters.total_v4, counters.assigned_v4, counters.available_v4),
            Family::V6 => (counters.total_v6, counters.assigned_v6, counters.available_v6),
        };
        Self { family, total: unsigned(total), assigned: unsigned(assigned), available: unsigned(available) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What to type on another machine. HTTP is a guess that is right where it matters: 80 and 443.
pub fn urls(service: &Service, addresses: &[IpAddr]) -> Vec<String> {
    let Some(address) = addresses.first() else { return Vec::new() };
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    ports
        .filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
        .take(3)
        .map(|port| match port.port {
            80 => format!("http://{host}/"),
            443 => format!("https://{host}/"),
            other => format!("{host}:{other}"),
        })
        .collect()
}
