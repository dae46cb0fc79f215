//! Snapshot → what this node tells each router, and why it tells one nothing of a Service (spec §5.6, §7.2).
//!
//! Unlike on layer 2 there is no election: every node that may announces. What a router is told is keyed by prefix;
//! Services that share an address or an aggregate, and advertisements that overlap, come together here: communities add
//! up, and the greatest local preference counts, the smallest MED, the longest path. A prefix stays as long as one Service
//! needs it. Weights of Services that share a prefix add up; where one of them has none, the prefix has none either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Snapshot;
use super::ground::{excluded, network_unavailable};
use super::judge::{Endpoints, pool_of};
use crate::annotations;
use crate::config::{BgpAdvertisement, BgpPeer, CommunityValue, Config, Selector};
use crate::drain::is_drained;
use crate::names::{NodeName, ServiceKey};
use crate::reason::{Code, Finding, Severity};
use crate::service::{self, View, is_load_balancer, status_ips};
use ferrolb_proto::bgp::{Families, Family, Routes};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

mod leads;
mod leaving;
mod outlook;
mod saying;

pub use leads::{Leads, Routers};
pub use leaving::{FAREWELL, Farewell, departure, takes_away};
pub use outlook::{Outlook, obstacle, outlook, silence};
use saying::{Said, Sayings};

/// What this node tells its routers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BgpPlan {
    /// Per router of this node, by the name of its peer, everything that it is told.
    pub peers: BTreeMap<String, Arc<Routes>>,
    /// Per Service that a BGP advertisement concerns, which routers are told which prefixes.
    pub services: BTreeMap<ServiceKey, BgpService>,
}

/// One Service's part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BgpService {
    /// The addresses of its status.
    pub addresses: Vec<IpAddr>,
    /// The prefixes that lead to the Service, and who is told of them.
    pub leads: Leads,
    /// Why this node tells nobody of it.
    pub code: Option<Code>,
}

impl BgpService {
    /// Why this node tells nobody, with words.
    pub fn finding(&self, key: &ServiceKey) -> Option<Finding> {
        let code = self.code?;
        let message = format!("this node does not announce it by BGP: {}", code.explanation().summary);
        Some(Finding::new(code, Severity::Error, format!("Service/{key}"), message))
    }
}

/// The plan for a snapshot's own node.
pub fn plan(snapshot: &Snapshot) -> BgpPlan {
    let here = snapshot.config.bgp_peers.values().filter(|peer| peer.nodes.contains(&snapshot.own));
    let here: Vec<&BgpPeer> = here.map(|peer| &**peer).collect();
    let mut routes: BTreeMap<&str, Sayings> = here.iter().map(|peer| (peer.name.as_str(), Sayings::new())).collect();
    let (mut services, mut shared) = (BTreeMap::new(), leads::Shared::default());
    let by_bgp = snapshot.config.pools.values().any(|pool| !pool.bgp_advertisements.is_empty());
    let all_excluded = all_excluded(snapshot);
    for (key, service) in snapshot.services.iter().filter(|_| by_bgp) {
        let Some(concern) = Concern::of(key, &**service, snapshot) else { continue };
        let part = match concern.on(&snapshot.own, key, snapshot, all_excluded) {
            Err(code) => BgpService { code: Some(code), ..BgpService::default() },
            Ok(advertisements) => {
                let own = &snapshot.own;
                let told = tell(&concern, &concern.said(&advertisements, own), (own, &here), &mut routes);
                let leads = shared.leads(told);
                BgpService { code: leads.is_empty().then_some(Code::NoBgpPeer), leads, ..BgpService::default() }
            }
        };
        services.insert(key.clone(), BgpService { addresses: concern.addresses, ..part });
    }
    let mut peers: BTreeMap<String, Arc<Routes>> = BTreeMap::new();
    for peer in here {
        let told = saying::routes(routes.remove(peer.name.as_str()).unwrap_or_default(), peer.local_asn);
        // Routers that are told the same share it.
        let same = peers.values().find(|other| ***other == told).cloned();
        peers.insert(peer.name.clone(), same.unwrap_or_else(|| Arc::new(told)));
    }
    BgpPlan { peers, services }
}

/// Whether any BGP advertisement of a configuration is for a Service with the addresses of its status.
pub fn is_advertised(service: &dyn View, config: &Config) -> bool {
    let addresses: Vec<IpAddr> = status_ips(service).filter_map(|ip| ip.parse().ok()).collect();
    let advertisements = pool_of(service, &addresses, config).map(|pool| pool.bgp_advertisements.as_slice());
    let advertisements = advertisements.unwrap_or_default();
    if advertisements.is_empty() {
        return false;
    }
    let labels = service.labels();
    advertisements.iter().any(|one| Selector::any_matches(&one.service_selectors, &labels))
}

/// What is so of a Service that BGP is concerned with, whatever the node.
struct Concern<'a> {
    addresses: Vec<IpAddr>,
    /// The advertisements of its pool; at least one.
    all: &'a [Arc<BgpAdvertisement>],
    /// Of these, those that select the Service.
    matching: Vec<&'a Arc<BgpAdvertisement>>,
    endpoints: Endpoints,
    /// What its own annotation says.
    communities: Vec<CommunityValue>,
}

impl<'a> Concern<'a> {
    fn of(key: &ServiceKey, service: &dyn View, snapshot: &'a Snapshot) -> Option<Self> {
        let class = snapshot.options.load_balancer_class.clone();
        let options = service::Options { load_balancer_class: class, ..service::Options::default() };
        if !is_load_balancer(service) || !options.handles(service) {
            return None;
        }
        let addresses: Vec<IpAddr> = status_ips(service).map(|ip| ip.parse().ok()).collect::<Option<_>>()?;
        let pool = pool_of(service, &addresses, &snapshot.config).filter(|_| !addresses.is_empty())?;
        let all = pool.bgp_advertisements.as_slice();
        if all.is_empty() {
            return None;
        }
        let labels = service.labels();
        let matching = all.iter().filter(|one| Selector::any_matches(&one.service_selectors, &labels)).collect();
        let slices = snapshot.endpoints.get(key).map(Vec::as_slice).unwrap_or_default();
        let endpoints = Endpoints::of(service, slices, &snapshot.options);
        Some(Self { addresses, all, matching, endpoints, communities: annotations::communities(service) })
    }

    /// What is said of each prefix by which advertisement.
    fn said<'b>(&self, advertisements: &[&'b Arc<BgpAdvertisement>], node: &NodeName) -> Vec<Wording<'b>> {
        let of = |advertisement: &&'b Arc<BgpAdvertisement>| {
            let weight = advertisement.weighted.then(|| self.endpoints.on(node.as_str())).flatten();
            let all = Said { attributes: advertisement.attributes.clone(), weight };
            let mut own = all.clone();
            if !self.communities.is_empty() {
                let attributes = Arc::make_mut(&mut own.attributes);
                self.communities.iter().for_each(|community| community.add_to(attributes));
            }
            Wording { advertisement, all, own }
        };
        advertisements.iter().map(of).collect()
    }

    /// The advertisements by which a node announces the Service, or why it does not (spec §5.6).
    fn able(
        &self,
        node: &NodeName,
        key: &ServiceKey,
        snapshot: &Snapshot,
        all_excluded: bool,
    ) -> Result<Vec<&'a Arc<BgpAdvertisement>>, Code> {
        if !self.all.iter().any(|one| one.nodes.contains(node)) {
            return Err(Code::NodeNotSelected);
        }
        let matching: Vec<_> = self.matching.iter().copied().filter(|one| one.nodes.contains(node)).collect();
        if matching.is_empty() {
            return Err(Code::NoAdvertisement);
        }
        if contradict(&matching, &self.addresses) {
            return Err(Code::LocalPrefConflict);
        }
        let object = snapshot.nodes.get(node).map(|node| &**node);
        if object.is_some_and(network_unavailable) {
            return Err(Code::NodeNetworkUnavailable);
        }
        if !snapshot.options.ignore_exclude_lb && !all_excluded && object.is_some_and(excluded) {
            return Err(Code::NodeExcluded);
        }
        match &self.endpoints {
            Endpoints::None => return Err(Code::NoReadyEndpoints),
            Endpoints::On(nodes) if !nodes.contains_key(node.as_str()) => return Err(Code::NoLocalEndpoints),
            Endpoints::On(_) | Endpoints::Somewhere => {}
        }
        let sick = snapshot.unhealthy.get(node).is_some_and(|services| services.contains(key));
        if sick { Err(Code::HealthCheckFailing) } else { Ok(matching) }
    }

    /// The same, and a node that is being emptied leaves it to those that stay, if there are any (decision 57).
    fn on(
        &self,
        node: &NodeName,
        key: &ServiceKey,
        snapshot: &Snapshot,
        all_excluded: bool,
    ) -> Result<Vec<&'a Arc<BgpAdvertisement>>, Code> {
        let able = self.able(node, key, snapshot, all_excluded)?;
        let drained = |node: &Node| is_drained(node, &snapshot.options.drain_on);
        if snapshot.nodes.get(node).is_some_and(|node| drained(node)) {
            let alive = |name: &NodeName| snapshot.members.as_ref().is_none_or(|members| members.contains(name));
            let stays = |(name, node): (&NodeName, &Arc<Node>)| {
                alive(name) && !drained(node) && self.able(name, key, snapshot, all_excluded).is_ok()
            };
            if snapshot.nodes.iter().any(stays) {
                return Err(Code::NodeDrained);
            }
        }
        Ok(able)
    }
}

/// Whether every node carries the label that excludes it, and it therefore counts for none (decision D2).
fn all_excluded(snapshot: &Snapshot) -> bool {
    snapshot.options.announce_if_all_excluded && snapshot.nodes.values().all(|node| excluded(node))
}

/// Whether local preferences contradict each other for these addresses (rule V36, for one Service).
fn contradict(matching: &[&Arc<BgpAdvertisement>], addresses: &[IpAddr]) -> bool {
    let families = Families { v4: addresses.iter().any(IpAddr::is_ipv4), v6: addresses.iter().any(IpAddr::is_ipv6) };
    let mut rest = matching;
    while let Some((one, others)) = rest.split_first() {
        if others.iter().any(|other| !one.agrees_with(other, families)) {
            return true;
        }
        rest = others;
    }
    false
}

/// How an advertisement speaks of a Service: of an aggregate, and of its addresses alone.
struct Wording<'a> {
    advertisement: &'a BgpAdvertisement,
    all: Said,
    own: Said,
}

/// Adds a Service's routes to those of the routers that its advertisements are for. Of a family that a session does not
/// have, its router is told nothing. Returns who is told of which prefix.
fn tell<'a>(
    concern: &Concern<'_>,
    wordings: &[Wording<'_>],
    (node, peers): (&NodeName, &[&'a BgpPeer]),
    routes: &mut BTreeMap<&'a str, Sayings>,
) -> BTreeMap<IpNet, BTreeSet<&'a str>> {
    let mut all: BTreeMap<IpNet, BTreeSet<&'a str>> = BTreeMap::new();
    for peer in peers {
        let Some(routes) = routes.get_mut(peer.name.as_str()) else { continue };
        let families = peer.families(node);
        let mut told = Sayings::new();
        for wording in wordings.iter().filter(|wording| wording.advertisement.is_for(&peer.name)) {
            let prefixes = concern.addresses.iter().filter_map(|address| cut(*address, wording.advertisement));
            for prefix in prefixes.filter(|prefix| families.contains(Family::of(prefix))) {
                let whole = prefix.prefix_len() == prefix.max_prefix_len();
                saying::add_again(&mut told, prefix, if whole { &wording.own } else { &wording.all });
            }
        }
        for (prefix, said) in told {
            all.entry(prefix).or_default().insert(peer.name.as_str());
            saying::add(routes, prefix, &said);
        }
    }
    all
}

fn cut(address: IpAddr, advertisement: &BgpAdvertisement) -> Option<IpNet> {
    let length = if address.is_ipv4() { advertisement.length_v4 } else { advertisement.length_v6 };
    IpNet::new(address, length).ok().map(|prefix| prefix.trunc())
}

#[cfg(test)]
mod tests;
