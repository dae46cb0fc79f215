//! One Service, looked at on its own: may it be announced, and by which nodes (spec §5.3, §5.6, §6.1 steps 4–5)?

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Options;
use super::ground::Ground;
use crate::annotations;
use crate::config::{Config, L2Advertisement, Pool, Selector};
use crate::names::{NodeName, ServiceKey};
use crate::reason::Code;
use crate::service::{self, View, is_load_balancer, status_ips};
use crate::slice::{Backends, Slice};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// The addresses of its status.
    pub(super) addresses: Arc<[IpAddr]>,
    /// Their pool.
    pub(super) pool: Option<Arc<Pool>>,
    /// Why no node may announce it, whatever the node.
    pub(super) code: Option<Code>,
    /// Why nobody announces it as things are although somebody may: all who may are dead.
    pub(super) dark: Option<Code>,
    /// Per node of the ground, why that one may not; `None`: it may.
    pub(super) nodes: Vec<Option<Code>>,
    /// Per node, its preference where it has one.
    pub(super) preferences: BTreeMap<usize, i32>,
    /// On which interfaces this node would announce; `None` means all.
    pub(super) interfaces: Option<Arc<BTreeSet<String>>>,
    /// The nodes that have none of the interfaces that they would announce on, with these interfaces.
    pub(super) missing: BTreeMap<usize, Arc<BTreeSet<String>>>,
}

impl Judgement {
    fn refused(code: Code) -> Self {
        Self { code: Some(code), ..Self::default() }
    }

    pub(super) fn may_be_announced(&self) -> bool {
        self.code.is_none()
    }

    /// The nodes that may announce it, with their preferences.
    pub(super) fn candidates(&self) -> Vec<(usize, i32)> {
        let able = self.nodes.iter().enumerate().filter(|(_, code)| code.is_none());
        able.map(|(node, _)| (node, self.preferences.get(&node).copied().unwrap_or_default())).collect()
    }
}

/// Judges a Service.
pub(super) fn judge(key: &ServiceKey, service: &dyn View, slices: &[Arc<Slice>], ground: &Ground) -> Judgement {
    let options = service::Options {
        load_balancer_class: ground.options.load_balancer_class.clone(),
        ..service::Options::default()
    };
    if !is_load_balancer(service) {
        return Judgement::refused(Code::NotLoadBalancer);
    }
    if !options.handles(service) {
        return Judgement::refused(Code::OtherClass);
    }
    let parsed: Option<Arc<[IpAddr]>> = status_ips(service).map(|ip| ip.parse().ok()).collect();
    let addresses = match parsed {
        None => return Judgement::refused(Code::InvalidAddress),
        Some(addresses) if addresses.is_empty() => return Judgement::refused(Code::NoAddress),
        Some(addresses) => addresses,
    };
    let Some(pool) = pool_of(service, &addresses, &ground.config) else {
        return Judgement { addresses, ..Judgement::refused(Code::AddressNotConfigured) };
    };
    let matching = matching(service, &addresses, pool, &ground.config);
    let known = Judgement { addresses, pool: Some(pool.clone()), ..Judgement::default() };
    if matching.is_empty() {
        return Judgement { code: Some(Code::NoAdvertisement), ..known };
    }
    let endpoints = Endpoints::of(service, slices, &ground.options);
    if endpoints == Endpoints::None {
        return Judgement { code: Some(Code::NoReadyEndpoints), ..known };
    }
    let selecting = matching.iter().any(|advertisement| !advertisement.service_selectors.is_empty());
    if selecting && annotations::has_sharing_key(service) {
        return Judgement { code: Some(Code::SharedAddressWithServiceSelectors), ..known };
    }
    node_by_node(key, known, &matching, &endpoints, ground)
}

fn node_by_node(
    key: &ServiceKey,
    mut judgement: Judgement,
    matching: &[&Arc<L2Advertisement>],
    endpoints: &Endpoints,
    ground: &Ground,
) -> Judgement {
    let sick = |name: &NodeName| ground.unhealthy.get(name).is_some_and(|services| services.contains(key));
    let selected = |index| matching.iter().any(|advertisement| ground.selects(advertisement, index));
    judgement.nodes = (ground.nodes.iter().enumerate())
        .map(|(index, name)| {
            if let Some(code) = ground.node_code(index) {
                Some(code)
            } else if !selected(index) {
                Some(Code::NodeNotSelected)
            } else if matches!(endpoints, Endpoints::On(nodes) if !nodes.contains_key(name.as_str())) {
                Some(Code::NoLocalEndpoints)
            } else {
                sick(name).then_some(Code::HealthCheckFailing)
            }
        })
        .collect();
    for advertisement in matching {
        for (node, weight) in &advertisement.preferences {
            if let Some(index) = ground.index(node) {
                let sum = judgement.preferences.entry(index).or_default();
                *sum = sum.saturating_add(*weight);
            }
        }
    }
    judgement.interfaces = interfaces(matching, &ground.own).map(Arc::new);
    let missing = ground.interfaces.iter().filter_map(|(node, has)| {
        let wanted = interfaces(matching, node).filter(|wanted| wanted.is_disjoint(has))?;
        Some((ground.index(node)?, Arc::new(wanted)))
    });
    judgement.missing = missing.collect();
    if ground.claims {
        // Who has none of the interfaces cannot claim there; the election does not know that (spec §6.1).
        for index in judgement.missing.keys() {
            if let Some(code @ None) = judgement.nodes.get_mut(*index) {
                *code = Some(Code::InterfaceMissing);
            }
        }
        let dead = |index| (!ground.is_alive(index)).then_some(Code::NodeNotAlive);
        let now: Vec<_> =
            judgement.nodes.iter().enumerate().map(|(index, code)| code.or_else(|| dead(index))).collect();
        judgement.dark = now.iter().all(Option::is_some).then(|| one_reason(&now, selected));
    }
    drain(&mut judgement, ground);
    if judgement.nodes.iter().all(Option::is_some) {
        judgement.code = Some(one_reason(&judgement.nodes, selected));
    }
    judgement
}

/// A node that is being emptied is no candidate, as long as another is that lives: a drain moves addresses, and ends none.
fn drain(judgement: &mut Judgement, ground: &Ground) {
    let may = |index: usize| judgement.nodes.get(index).is_some_and(Option::is_none);
    let is_drained = |index: usize| ground.drained.get(index).copied().unwrap_or(false);
    let stays = |index: usize| may(index) && !is_drained(index) && ground.is_alive(index);
    if !(0..judgement.nodes.len()).any(stays) {
        return;
    }
    for (_, code) in judgement.nodes.iter_mut().enumerate().filter(|(index, _)| is_drained(*index)) {
        *code = code.or(Some(Code::NodeDrained));
    }
}

/// Where all nodes that are selected say the same, that is the reason; otherwise it is that no node is left. The dead
/// count only where there is nobody else, and are not all of the nodes.
fn one_reason(nodes: &[Option<Code>], selected: impl Fn(usize) -> bool) -> Code {
    let any_selected = (0..nodes.len()).any(&selected);
    let counts = |index: &usize| !any_selected || selected(*index);
    let codes = |of: &dyn Fn(&usize) -> bool| -> BTreeSet<Code> {
        (0..nodes.len()).filter(of).filter_map(|index| nodes.get(index).copied().flatten()).collect()
    };
    let mut reasons = codes(&counts);
    if reasons.len() > 1 || codes(&|_| true).len() == 1 {
        reasons.remove(&Code::NodeNotAlive);
    }
    match reasons.first() {
        Some(only) if reasons.len() == 1 => *only,
        _ => Code::NoCandidate,
    }
}

/// The pool that has all addresses: the recorded one if it does, else the one that hands them out, else any (upstream
/// does not look at avoidBuggyIPs here, spec §5.4).
pub(super) fn pool_of<'a>(service: &dyn View, addresses: &[IpAddr], config: &'a Config) -> Option<&'a Arc<Pool>> {
    let has_all = |pool: &&Arc<Pool>| has_all(pool, addresses);
    let hands_out = |pool: &&Arc<Pool>| {
        !pool.conflicts.iter().any(|conflict| addresses.iter().any(|address| conflict.range.contains(*address)))
    };
    let pools = &config.pools;
    let recorded = annotations::allocated_from(service).and_then(|name| pools.get(name)).filter(has_all);
    recorded.or_else(|| pools.values().filter(has_all).find(hands_out)).or_else(|| pools.values().find(has_all))
}

fn has_all(pool: &Pool, addresses: &[IpAddr]) -> bool {
    addresses.iter().all(|address| pool.ranges.iter().any(|range| range.contains(*address)))
}

/// The advertisements for a Service: those of its pool. Where its pool has none, those of every pool that has its addresses:
/// while a pool is renamed or split, the advertisements are with the new pools before the old one is gone (decision D3).
fn matching<'a>(
    service: &dyn View,
    addresses: &[IpAddr],
    pool: &'a Pool,
    config: &'a Config,
) -> Vec<&'a Arc<L2Advertisement>> {
    let labels = LazyCell::new(|| service.labels());
    let of = |pool: &'a Pool| {
        let all = pool.l2_advertisements.iter();
        all.filter(|advertisement| {
            let selectors = &advertisement.service_selectors;
            selectors.is_empty() || Selector::any_matches(selectors, &labels)
        })
    };
    let own: Vec<_> = of(pool).collect();
    if !own.is_empty() {
        return own;
    }
    let others = config.pools.values().filter(|other| has_all(other, addresses));
    let by_name: BTreeMap<&str, &Arc<L2Advertisement>> =
        others.flat_map(|other| of(other)).map(|advertisement| (advertisement.name.as_str(), advertisement)).collect();
    by_name.into_values().collect()
}

/// Whether any advertisement of a configuration is for a Service with these addresses.
pub(super) fn is_advertised(service: &dyn View, config: &Config) -> bool {
    let addresses: Vec<IpAddr> = status_ips(service).filter_map(|ip| ip.parse().ok()).collect();
    let pool = pool_of(service, &addresses, config);
    pool.is_some_and(|pool| !matching(service, &addresses, pool, config).is_empty())
}

/// A node's interfaces for a Service: the union over the advertisements that select the node (spec §6.3).
fn interfaces(matching: &[&Arc<L2Advertisement>], node: &NodeName) -> Option<BTreeSet<String>> {
    let mut union = BTreeSet::new();
    let mut selected = false;
    for advertisement in matching.iter().filter(|advertisement| advertisement.nodes.contains(node)) {
        selected = true;
        union.extend(advertisement.interfaces.as_ref()?.iter().cloned());
    }
    selected.then_some(union)
}

/// Where a Service's endpoints can serve.
#[derive(PartialEq)]
pub(super) enum Endpoints {
    None,
    Somewhere,
    /// Only these nodes may announce, each with so many endpoints: `externalTrafficPolicy: Local`.
    On(BTreeMap<String, u32>),
}

impl Endpoints {
    pub(super) fn of(service: &dyn View, slices: &[Arc<Slice>], options: &Options) -> Self {
        if options.selectorless_is_ready && slices.is_empty() && service.selector().is_empty() {
            return Self::Somewhere;
        }
        let mut serving = slices.iter().flat_map(|slice| slice.backends()).peekable();
        if serving.peek().is_none() {
            return Self::None;
        }
        if service.is_local() {
            return Self::On(count(serving));
        }
        Self::Somewhere
    }

    /// How many endpoints get the traffic that comes to this node; `None`: all get all of it.
    pub(super) fn on(&self, node: &str) -> Option<u32> {
        match self {
            Self::On(nodes) => nodes.get(node).copied(),
            Self::None | Self::Somewhere => None,
        }
    }
}

/// Per node, the endpoints that are ready; where none is, those that still serve.
fn count<'a>(serving: impl Iterator<Item = &'a Backends>) -> BTreeMap<String, u32> {
    let mut nodes: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for one in serving {
        let Some(node) = &one.node else { continue };
        let (ready, ending) = nodes.entry(node).or_default();
        *ready = ready.saturating_add(one.ready);
        *ending = ending.saturating_add(one.ending);
    }
    let get = |(ready, ending)| if ready > 0 { ready } else { ending };
    nodes.into_iter().map(|(node, counts)| (node.to_owned(), get(counts))).collect()
}
