//! Snapshot → what this node tells each router, and why it tells one nothing of a Service (spec §5.6, §7.2).
//!
//! Unlike on layer 2 there is no election: every node that may announces. What a router is told is keyed by prefix;
//! Services that share an address or an aggregate, and advertisements that overlap, come together here: communities add
//! up, and the greatest local preference counts. A prefix stays as long as one Service needs it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_proto::bgp::{Attributes, Families, Routes};
use ipnet::IpNet;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::Snapshot;
use super::ground::{excluded, network_unavailable};
use super::judge::{Endpoints, pool_of};
use crate::config::{BgpAdvertisement, Selector};
use crate::names::{NodeName, ServiceKey};
use crate::reason::{Code, Finding, Severity};
use crate::service::{self, View, is_load_balancer, status_ips};

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
    /// Per router, the prefixes that lead to the Service.
    pub peers: BTreeMap<String, BTreeSet<IpNet>>,
    /// Why this node tells nobody of it.
    pub code: Option<Code>,
    /// The routers of this node that are not told, and why.
    pub untold: BTreeMap<String, Code>,
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
    let mut routes: BTreeMap<&str, Routes> = here.map(|peer| (peer.name.as_str(), Routes::new())).collect();
    let mut services = BTreeMap::new();
    for (key, service) in &snapshot.services {
        let slices = snapshot.endpoints.get(key).map(Vec::as_slice).unwrap_or_default();
        let names: Vec<&str> = routes.keys().copied().collect();
        let Some((addresses, chosen)) = choose(key, service, slices, snapshot) else { continue };
        let part = match chosen {
            Err(code) => BgpService { code: Some(code), ..BgpService::default() },
            Ok(advertisements) => tell(&addresses, &advertisements, &names, &mut routes),
        };
        services.insert(key.clone(), part);
    }
    let peers = routes.into_iter().map(|(name, routes)| (name.to_owned(), Arc::new(routes))).collect();
    BgpPlan { peers, services }
}

type Chosen<'a> = Result<Vec<&'a Arc<BgpAdvertisement>>, Code>;

/// The addresses of a Service and the advertisements by which this node announces it, or why it does not; `None` where
/// BGP is not concerned with it.
fn choose<'a>(
    key: &ServiceKey,
    service: &dyn View,
    slices: &[Arc<EndpointSlice>],
    snapshot: &'a Snapshot,
) -> Option<(Vec<IpAddr>, Chosen<'a>)> {
    let class = snapshot.options.load_balancer_class.clone();
    let options = service::Options { load_balancer_class: class, assume_cluster_ips: false };
    if !is_load_balancer(service) || !options.handles(service) {
        return None;
    }
    let addresses: Vec<IpAddr> = status_ips(service).map(|ip| ip.parse().ok()).collect::<Option<_>>()?;
    let pool = pool_of(service, &addresses, &snapshot.config).filter(|_| !addresses.is_empty())?;
    if pool.bgp_advertisements.is_empty() {
        return None;
    }
    let labels = service.labels();
    let own = |one: &&Arc<BgpAdvertisement>| one.nodes.contains(&snapshot.own);
    let here: Vec<_> = pool.bgp_advertisements.iter().filter(own).collect();
    let matches = |one: &&Arc<BgpAdvertisement>| Selector::any_matches(&one.service_selectors, &labels);
    let matching: Vec<_> = here.iter().copied().filter(matches).collect();
    let code = if here.is_empty() {
        Some(Code::NodeNotSelected)
    } else if matching.is_empty() {
        Some(Code::NoAdvertisement)
    } else if contradict(&matching, &addresses) {
        Some(Code::LocalPrefConflict)
    } else {
        unable(key, service, slices, snapshot)
    };
    Some((addresses, code.map_or(Ok(matching), Err)))
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

/// Why this node may not announce a Service, whatever the advertisement (spec §5.6, steps 4–7).
fn unable(key: &ServiceKey, service: &dyn View, slices: &[Arc<EndpointSlice>], snapshot: &Snapshot) -> Option<Code> {
    let own = &snapshot.own;
    let node = |name: &NodeName| snapshot.nodes.get(name).map(|node| &**node);
    if node(own).is_some_and(network_unavailable) {
        return Some(Code::NodeNetworkUnavailable);
    }
    let all_excluded = || snapshot.nodes.values().all(|node| excluded(node));
    let options = &snapshot.options;
    if !options.ignore_exclude_lb
        && node(own).is_some_and(excluded)
        && !(options.announce_if_all_excluded && all_excluded())
    {
        return Some(Code::NodeExcluded);
    }
    match Endpoints::of(service, slices, options) {
        Endpoints::None => return Some(Code::NoReadyEndpoints),
        Endpoints::On(nodes) if !nodes.contains(own.as_str()) => return Some(Code::NoLocalEndpoints),
        Endpoints::On(_) | Endpoints::Somewhere => {}
    }
    let sick = snapshot.unhealthy.get(own).is_some_and(|services| services.contains(key));
    sick.then_some(Code::HealthCheckFailing)
}

/// Adds a Service's routes to those of the routers that its advertisements are for.
fn tell<'a>(
    addresses: &[IpAddr],
    advertisements: &[&Arc<BgpAdvertisement>],
    names: &[&'a str],
    routes: &mut BTreeMap<&'a str, Routes>,
) -> BgpService {
    let mut part = BgpService::default();
    for name in names {
        let Some(routes) = routes.get_mut(name) else { continue };
        let mut told = BTreeSet::new();
        for advertisement in advertisements.iter().filter(|advertisement| advertisement.is_for(name)) {
            for prefix in addresses.iter().filter_map(|address| cut(*address, advertisement)) {
                add(routes, prefix, &advertisement.attributes);
                told.insert(prefix);
            }
        }
        if told.is_empty() {
            part.untold.insert((*name).to_owned(), Code::NoBgpPeer);
        } else {
            part.peers.insert((*name).to_owned(), told);
        }
    }
    part.code = part.peers.is_empty().then_some(Code::NoBgpPeer);
    part
}

fn cut(address: IpAddr, advertisement: &BgpAdvertisement) -> Option<IpNet> {
    let length = if address.is_ipv4() { advertisement.length_v4 } else { advertisement.length_v6 };
    IpNet::new(address, length).ok().map(|prefix| prefix.trunc())
}

/// Puts a route to those that are there; one prefix is said once, with everything that anybody wants said of it.
fn add(routes: &mut Routes, prefix: IpNet, attributes: &Arc<Attributes>) {
    match routes.entry(prefix) {
        Entry::Vacant(entry) => {
            entry.insert(attributes.clone());
        }
        Entry::Occupied(mut entry) if entry.get() != attributes => {
            let mut both = (**entry.get()).clone();
            both.local_pref = both.local_pref.max(attributes.local_pref);
            both.communities.extend(&attributes.communities);
            both.large_communities.extend(&attributes.large_communities);
            entry.insert(Arc::new(both));
        }
        Entry::Occupied(_) => {}
    }
}

#[cfg(test)]
mod tests;
