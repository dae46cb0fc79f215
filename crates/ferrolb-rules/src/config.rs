//! Resources → one [`Config`]: the only validator. Controller, speaker, webhook, lint and CLI all call [`parse`].
//!
//! Everything wrong is reported at once, each finding with object, field, reason and fix (spec §3.4, §3.6, §3.7). A set
//! of resources with an error yields no configuration: the caller keeps the last good one (spec §3.9). Overlapping
//! pools are no error but a soft conflict (decision D3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api;
use crate::names::NodeName;
use crate::range::AddressRange;
use crate::reason::{Code, Finding, Severity};

mod bfd;
mod bgp;
mod communities;
mod l2;
mod node_addresses;
mod overlap;
mod peer_address;
mod peers;
mod pools;
mod selector;
#[cfg(test)]
mod tests;

pub use bfd::{Bfd, Distance};
pub use bgp::{BASIC_AUTH, BgpAdvertisement, BgpPeer, PeerPassword, Router, without_aliases};
pub use communities::CommunityValue;
pub use peer_address::on_nodes;
pub use peers::{check_bgp_advertisement, check_peer};

pub use selector::Selector;

/// What [`parse`] reads. Only objects of the configured namespace belong in it (decision D22).
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Every IPAddressPool.
    pub pools: Vec<Arc<api::IPAddressPool>>,
    /// Every L2Advertisement.
    pub l2_advertisements: Vec<Arc<api::L2Advertisement>>,
    /// Every BGPAdvertisement.
    pub bgp_advertisements: Vec<Arc<api::BGPAdvertisement>>,
    /// Every BGPPeer.
    pub bgp_peers: Vec<Arc<api::BGPPeer>>,
    /// Every BFDProfile.
    pub bfd_profiles: Vec<Arc<api::BFDProfile>>,
    /// The Secrets with passwords of peers. `None`: nobody looked at them; peers with a `passwordSecret` are taken as they
    /// are, and no session with them is opened.
    pub secrets: Option<Vec<Arc<Secret>>>,
    /// Every Community.
    pub communities: Vec<Arc<api::Community>>,
    /// Every Namespace known, for `namespaceSelectors`.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Every Node known, for `nodeSelectors` and for the addresses that are theirs.
    pub nodes: Vec<Arc<Node>>,
    /// What could not be read at all, each with its object. Errors keep the configuration from loading.
    pub malformed: Vec<Finding>,
}

/// A configuration that holds together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Pools by name.
    pub pools: BTreeMap<String, Arc<Pool>>,
    /// Routers to talk BGP to, by name; those that cannot be talked to yet are left out, with a finding.
    pub bgp_peers: BTreeMap<String, Arc<BgpPeer>>,
    /// Community aliases by name, for BGP advertisements.
    pub communities: BTreeMap<String, CommunityValue>,
    /// What is worth telling although it is no error: soft conflicts, pools that nobody advertises, names of nothing.
    pub findings: Vec<Finding>,
}

/// A pool, with the advertisements attached to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its address ranges in the order written; they do not overlap one another.
    pub ranges: Vec<AddressRange>,
    /// The parts that older pools hold: never handed out anew from here, though kept where already assigned (D3).
    pub conflicts: Vec<PoolConflict>,
    /// Addresses of it that are handed out unasked only when no other is free: those of nodes, and the first of an IPv6
    /// network, which belongs to its routers (RFC 4291, 2.6.1).
    pub last_resort: BTreeSet<IpAddr>,
    /// Skip IPv4 addresses ending in .0 and .255.
    pub avoid_buggy_ips: bool,
    /// Whether Services get addresses from it without asking for it.
    pub auto_assign: bool,
    /// Which Services it is for; `None` means all.
    pub service_allocation: Option<ServiceAllocation>,
    /// The layer-2 advertisements attached, in order of name.
    pub l2_advertisements: Vec<Arc<L2Advertisement>>,
    /// The BGP advertisements attached, in order of name.
    pub bgp_advertisements: Vec<Arc<BgpAdvertisement>>,
}

impl Pool {
    /// Whether it is for the Services of a namespace with these labels (spec §4.4, quirk Q-15 fixed).
    pub fn serves(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let Some(allocation) = &self.service_allocation else { return true };
        let namespaces = allocation.namespaces.as_ref();
        namespaces.is_none_or(|set| set.contains(namespace))
            && Selector::any_matches(&allocation.service_selectors, labels)
    }
}

impl Config {
    /// The findings that are a node's affair: all but those about peers that do not select it (spec §3.1).
    pub fn findings_on<'a>(&'a self, node: &'a NodeName) -> impl Iterator<Item = &'a Finding> {
        let is_elsewhere = |finding: &Finding| {
            // Peers are of one namespace, so the name alone tells which (decision D22).
            let name = finding.object.strip_prefix("BGPPeer/").and_then(|rest| rest.rsplit('/').next());
            name.and_then(|name| self.bgp_peers.get(name)).is_some_and(|peer| !peer.selects(node))
        };
        self.findings.iter().filter(move |finding| !is_elsewhere(finding))
    }

    /// Hands these addresses out last, in every pool that has them.
    pub fn hand_out_last(&mut self, addresses: &BTreeSet<IpAddr>) {
        for pool in self.pools.values_mut() {
            let has = |address: &&IpAddr| pool.ranges.iter().any(|range| range.contains(**address));
            let here: Vec<IpAddr> = addresses.iter().filter(has).copied().collect();
            if !here.is_empty() {
                Arc::make_mut(pool).last_resort.extend(here);
            }
        }
    }
}

/// A part of a pool that an older pool has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConflict {
    /// The older pool.
    pub with: String,
    /// The addresses in both.
    pub range: AddressRange,
}

/// Which Services a pool is for (spec §3.4, §4.4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceAllocation {
    /// Smaller positive numbers first; 0 after any positive one.
    pub priority: i64,
    /// The namespaces named or selected. `None`: no restriction by namespace. `Some(empty)`: declared, but matching
    /// nothing, so no Service fits (quirk Q-15 fixed).
    pub namespaces: Option<BTreeSet<String>>,
    /// Any of these matches the Service's labels; empty: no restriction by Service.
    pub service_selectors: Vec<Selector>,
}

/// A layer-2 advertisement, its node selectors resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct L2Advertisement {
    /// The object's name, for messages.
    pub name: String,
    /// The nodes that may announce.
    pub nodes: BTreeSet<NodeName>,
    /// The interfaces to announce on; `None` means all.
    pub interfaces: Option<BTreeSet<String>>,
    /// Any of these matches the Service's labels; empty: every Service of the pool.
    pub service_selectors: Vec<Selector>,
    /// Score per node, positive ones only, a subset of `nodes`.
    pub preferences: BTreeMap<NodeName, i32>,
}

/// The findings that keep a configuration from loading; never empty.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("failed to parse the configuration: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
pub struct Invalid(pub Vec<Finding>);

impl Invalid {
    /// All of them in one line.
    pub fn causes(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// Parses and validates.
///
/// # Errors
/// Every finding that makes the configuration unusable, in order of object name.
pub fn parse(resources: &Resources) -> Result<Config, Invalid> {
    let mut report = Report::default();
    let (errors, notes) = resources.malformed.iter().cloned().partition(|one| one.severity == Severity::Error);
    (report.errors, report.notes) = (errors, notes);
    let communities = communities::parse(&resources.communities, &mut report);
    let mut pools = pools::parse(&resources.pools, &resources.namespaces, &mut report);
    overlap::check(&mut pools, &mut report);
    node_addresses::check(&resources.nodes, &mut pools, &mut report);
    let advertisements = l2::parse(&resources.l2_advertisements, &resources.nodes, &mut report);
    let secrets = resources.secrets.as_deref();
    let mut bgp_peers = bgp::parse_peers(&resources.bgp_peers, secrets, &resources.nodes, &mut report);
    bfd::attach(&resources.bfd_profiles, &resources.bgp_peers, &mut bgp_peers, &mut report);
    let (all, peers) = (&resources.bgp_advertisements, &resources.bgp_peers);
    let by_bgp = bgp::parse_advertisements(all, peers, &resources.nodes, &communities, &mut report);
    bgp::attach(&by_bgp, &mut pools, &mut report);
    l2::attach(&advertisements, &mut pools, &mut report);
    report.finish().map(|findings| Config {
        pools: pools.into_iter().map(|(name, parsed)| (name, Arc::new(parsed.pool))).collect(),
        bgp_peers,
        communities,
        findings,
    })
}

/// Findings while parsing: errors keep the configuration from loading, the rest is passed on.
#[derive(Default)]
struct Report {
    errors: Vec<Finding>,
    notes: Vec<Finding>,
}

impl Report {
    fn error(&mut self, code: Code, object: &str, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Finding::new(code, Severity::Error, object, message).at_field(field));
    }

    fn error_fix(&mut self, code: Code, object: &str, field: &str, message: String, fix: String) {
        self.errors.push(Finding::new(code, Severity::Error, object, message).at_field(field).with_fix(fix));
    }

    fn warn(&mut self, finding: Finding) {
        self.notes.push(finding);
    }

    fn finish(mut self) -> Result<Vec<Finding>, Invalid> {
        let order = |a: &Finding, b: &Finding| (&a.object, &a.field, a).cmp(&(&b.object, &b.field, b));
        self.errors.sort_by(order);
        self.notes.sort_by(order);
        if self.errors.is_empty() { Ok(self.notes) } else { Err(Invalid(self.errors)) }
    }
}

/// `Kind/namespace/name`, as findings name objects.
fn object(kind: &str, metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or("(unnamed)");
    match metadata.namespace.as_deref() {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

/// Names in a list that stand there twice: upstream refuses them (V26, V28).
fn refuse_duplicates(report: &mut Report, object: &str, field: &str, what: &str, names: &[String]) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        if !seen.insert(name) {
            let message = format!("duplicate definition {what}: {name:?} is listed twice");
            report.error_fix(
                Code::DuplicateEntry,
                object,
                &format!("{field}[{index}]"),
                message,
                format!("remove one of the two {name:?}"),
            );
        }
    }
}
