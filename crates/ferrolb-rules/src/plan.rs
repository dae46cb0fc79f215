//! Snapshot → what this node announces, and why everything else is not announced (spec §5.6, §6.1–§6.3).
//!
//! The plan is made anew on every change. What is expensive is remembered by key: a Service whose objects are the same
//! (by pointer) keeps its judgement as long as the ground (configuration, nodes, members, options) is the same.
//!
//! Three steps: [`ground`] looks at the nodes once; [`judge`] looks at each Service and says, node by node, who may
//! announce it; here Services that share an address are brought together, so that one address never has two owners, and
//! the election is held. Left out on purpose: who *really* answers. That is for whoever watches the wire.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use smallvec::SmallVec;

use crate::config::Config;
use crate::drain::Trigger;
use crate::l2;
use crate::names::{NodeName, ServiceKey};
use crate::reason::Code;
use crate::service::View;
use crate::slice::Slice;

pub mod bgp;
mod ground;
mod judge;
mod outcome;
#[cfg(test)]
mod tests;

use ground::Ground;
use judge::Judgement;
pub use outcome::ServicePlan;

/// Everything a plan is made from.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The Services, with their status.
    pub services: BTreeMap<ServiceKey, Arc<dyn View>>,
    /// Their EndpointSlices.
    pub endpoints: BTreeMap<ServiceKey, Vec<Arc<Slice>>>,
    /// The Nodes.
    pub nodes: BTreeMap<NodeName, Arc<Node>>,
    /// The members that are alive; `None`: there is no membership, every Node counts (spec §6.1).
    pub members: Option<BTreeSet<NodeName>>,
    /// The node that the plan is for; an empty name: for none, by somebody who only wants to know.
    pub own: NodeName,
    /// The interfaces of the nodes, of each that tells which of its interfaces can announce. They have no part in the
    /// election (spec §6.1): they say why an elected node is silent.
    pub interfaces: BTreeMap<NodeName, BTreeSet<String>>,
    /// Per node, the Services that do not work there although nothing else says so.
    pub unhealthy: BTreeMap<NodeName, BTreeSet<ServiceKey>>,
    /// The nodes that say that none of their interfaces can announce. They are no candidates; upstream, where no node
    /// tells, elects them (spec §6.1).
    pub without_interface: BTreeSet<NodeName>,
    /// Whose each address is, where nodes claim addresses (`docs/l2-failover.md`) rather than being elected: who is alive
    /// then has no part in who may announce. `None`: the election decides.
    pub owners: Option<BTreeMap<IpAddr, NodeName>>,
    /// How to look at it all.
    pub options: Options,
}

/// How a snapshot is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The exclude label does not exclude.
    pub ignore_exclude_lb: bool,
    /// Where every node is excluded, none is (decision D2).
    pub announce_if_all_excluded: bool,
    /// Only Services of this class; none: only those without one.
    pub load_balancer_class: Option<String>,
    /// A Service with neither selector nor EndpointSlice counts as ready (decision D22).
    pub selectorless_is_ready: bool,
    /// What shows that a node is being emptied; nothing unless it is said.
    pub drain_on: BTreeSet<Trigger>,
}

/// What this node announces for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Only on these interfaces; `None` means on all.
    pub interfaces: Option<BTreeSet<String>>,
    /// The Services on it, in order; mostly one.
    pub services: SmallVec<[ServiceKey; 1]>,
}

/// Who may announce an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The nodes, best first.
    pub nodes: Arc<[NodeName]>,
    /// On these of this node's interfaces; `None` means on all.
    pub interfaces: Option<BTreeSet<String>>,
}

/// The plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What this node announces.
    pub announce: BTreeMap<IpAddr, Announcement>,
    /// Who may announce, where nodes claim addresses; else empty.
    pub candidates: BTreeMap<IpAddr, Candidates>,
    /// Every Service, with its owner or the reason why it has none, in order of key.
    pub services: Vec<Arc<ServicePlan>>,
}

impl Plan {
    /// One Service's part.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<ServicePlan>> {
        let place = self.services.binary_search_by(|plan| plan.service.cmp(key)).ok()?;
        self.services.get(place)
    }
}

/// Whether any advertisement of a configuration is for a Service with the addresses of its status.
pub fn is_advertised(service: &dyn View, config: &Config) -> bool {
    judge::is_advertised(service, config)
}

/// Makes plans, and remembers what went into the last one.
#[derive(Debug, Default)]
pub struct Planner {
    ground: Option<Arc<Ground>>,
    /// In order of key, as a snapshot's Services are: both are walked side by side, without looking anything up.
    remembered: Vec<Remembered>,
}

#[derive(Debug)]
struct Remembered {
    service: Arc<dyn View>,
    slices: Vec<Arc<Slice>>,
    judgement: Judgement,
    /// The candidates, best first, where nodes claim addresses.
    ranked: Option<Arc<[NodeName]>>,
    plan: Arc<ServicePlan>,
}

impl Remembered {
    fn is_of(&self, service: &Arc<dyn View>, slices: &[Arc<Slice>], claims: &Claims<'_>) -> bool {
        let owner = self.judgement.addresses.first().and_then(|address| claims.owner(*address));
        (claims.0.is_none() || self.judgement.code.is_some() || owner == self.plan.owner.as_ref())
            && Arc::ptr_eq(&self.service, service)
            && self.slices.len() == slices.len()
            && self.slices.iter().zip(slices).all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
    }
}

impl Planner {
    /// The plan for a snapshot.
    pub fn plan(&mut self, snapshot: &Snapshot) -> Plan {
        let ground = match &self.ground {
            Some(ground) if ground.still_holds(snapshot) => ground.clone(),
            _ => {
                self.remembered.clear();
                let ground = Arc::new(Ground::new(snapshot));
                self.ground = Some(ground.clone());
                ground
            }
        };
        self.look(snapshot, &ground);
        let services = self.remembered.iter().map(|one| one.plan.clone()).collect();
        let mut plan = Plan { services, ..Plan::default() };
        for one in self.remembered.iter().filter(|one| one.judgement.may_be_announced()) {
            for address in one.ranked.iter().flat_map(|_| one.judgement.addresses.iter()) {
                let nodes = one.ranked.clone().unwrap_or_default();
                add(&mut plan.candidates, *address, nodes, one.judgement.interfaces.as_deref());
            }
        }
        for group in groups(&self.remembered) {
            self.share(&group, &ground, snapshot, &mut plan);
        }
        announce(&snapshot.own, &mut plan);
        plan
    }

    /// Looks at every Service alone, at those that are the same not again.
    fn look(&mut self, snapshot: &Snapshot, ground: &Arc<Ground>) {
        let claims = Claims(snapshot.owners.as_ref());
        let mut before = std::mem::take(&mut self.remembered).into_iter().peekable();
        let mut endpoints = snapshot.endpoints.iter().peekable();
        self.remembered = (snapshot.services.iter())
            .map(|(key, service)| {
                while endpoints.next_if(|(other, _)| *other < key).is_some() {}
                let slices = endpoints.next_if(|(other, _)| *other == key).map(|(_, slices)| slices.as_slice());
                let slices = slices.unwrap_or_default();
                while before.next_if(|old| old.plan.service < *key).is_some() {}
                let old = before.next_if(|old| old.plan.service == *key);
                old.filter(|old| old.is_of(service, slices, &claims))
                    .unwrap_or_else(|| single(key, service, slices, ground, &claims))
            })
            .collect();
    }

    /// Services that share an address get one owner: a node that may announce them all, else one that may announce the
    /// most of them. Its preference is the sum of theirs; the address hashed is the least of their first ones.
    fn share(&self, group: &BTreeSet<usize>, ground: &Arc<Ground>, snapshot: &Snapshot, plan: &mut Plan) {
        let judged = || group.iter().filter_map(|index| Some((*index, self.remembered.get(*index)?)));
        let mut support = BTreeMap::<usize, (usize, i32)>::new();
        for (node, preference) in judged().flat_map(|(_, one)| one.judgement.candidates()) {
            let entry = support.entry(node).or_default();
            entry.0 += 1;
            entry.1 = entry.1.saturating_add(preference);
        }
        let most = support.values().map(|(count, _)| *count).max().unwrap_or_default();
        let best = support.into_iter().filter(|(_, (count, _))| *count == most);
        let candidates: Vec<(usize, i32)> = best.map(|(node, (_, preference))| (node, preference)).collect();
        let address = judged().filter_map(|(_, one)| one.judgement.addresses.first()).min();
        let claims = Claims(snapshot.owners.as_ref());
        let owner = address.and_then(|address| claims.decide(ground, &candidates, *address));
        let name = owner.and_then(|owner| ground.nodes.get(owner));
        if let (Some(_), Some(address)) = (claims.0, address) {
            let nodes = ground.rank(&candidates, *address);
            for address in judged().flat_map(|(_, one)| one.judgement.addresses.iter()) {
                if let Some(all) = plan.candidates.get_mut(address) {
                    all.nodes = nodes.clone();
                }
            }
        }
        for (index, one) in judged().filter(|(_, one)| one.plan.owner.as_ref() != name) {
            let shared = ServicePlan::new(one.plan.service.clone(), &one.judgement, owner, ground.clone());
            if let Some(entry) = plan.services.get_mut(index) {
                *entry = Arc::new(shared);
            }
        }
    }
}

/// Who owns what by claims; `None` where there is an election.
struct Claims<'a>(Option<&'a BTreeMap<IpAddr, NodeName>>);

impl Claims<'_> {
    fn owner(&self, address: IpAddr) -> Option<&NodeName> {
        self.0?.get(&address)
    }

    /// Where nobody claims an address: who would be elected and has none of the interfaces, and so says why. Nobody else
    /// knows that (spec §6.3).
    fn lacking(&self, ground: &Ground, judgement: &Judgement, address: IpAddr) -> Option<usize> {
        self.0?;
        let mut all = judgement.candidates();
        let preference = |node: &usize| judgement.preferences.get(node).copied().unwrap_or_default();
        all.extend(judgement.missing.keys().map(|node| (*node, preference(node))));
        ground.elect(&all, address).filter(|node| judgement.missing.contains_key(node))
    }

    /// The owner: who claims it, or who is elected.
    fn decide(&self, ground: &Ground, candidates: &[(usize, i32)], address: IpAddr) -> Option<usize> {
        match self.0 {
            Some(_) => ground.index(self.owner(address)?),
            None => ground.elect(candidates, address),
        }
    }
}

/// A Service looked at alone.
fn single(
    key: &ServiceKey,
    service: &Arc<dyn View>,
    slices: &[Arc<Slice>],
    ground: &Arc<Ground>,
    claims: &Claims<'_>,
) -> Remembered {
    let judgement = judge::judge(key, service, slices, ground);
    let (candidates, address) = (judgement.candidates(), judgement.addresses.first().copied());
    let owner = address.and_then(|address| {
        claims.decide(ground, &candidates, address).or_else(|| claims.lacking(ground, &judgement, address))
    });
    let ranked = claims.0.and(address).map(|address| ground.rank(&candidates, address));
    let plan = Arc::new(ServicePlan::new(key.clone(), &judgement, owner, ground.clone()));
    Remembered { service: service.clone(), slices: slices.to_vec(), judgement, ranked, plan }
}

/// Adds a Service's candidates for an address; interfaces are those of all its Services.
fn add(
    all: &mut BTreeMap<IpAddr, Candidates>,
    address: IpAddr,
    nodes: Arc<[NodeName]>,
    interfaces: Option<&BTreeSet<String>>,
) {
    use std::collections::btree_map::Entry;
    match all.entry(address) {
        Entry::Vacant(entry) => {
            entry.insert(Candidates { nodes, interfaces: interfaces.cloned() });
        }
        Entry::Occupied(mut entry) => {
            let before = entry.get_mut().interfaces.take();
            entry.get_mut().interfaces = before.zip(interfaces).map(|(mut ours, theirs)| {
                ours.extend(theirs.iter().cloned());
                ours
            });
        }
    }
}

/// The Services that hang together by addresses, where there is more than one, by their place.
fn groups(remembered: &[Remembered]) -> Vec<BTreeSet<usize>> {
    let mut first = HashMap::<IpAddr, usize>::with_capacity(remembered.len());
    let mut pairs = Vec::new();
    for (index, one) in remembered.iter().enumerate().filter(|(_, one)| one.judgement.may_be_announced()) {
        for address in one.judgement.addresses.iter() {
            if let Some(earlier) = first.insert(*address, index) {
                pairs.push((earlier, index));
            }
        }
    }
    let mut groups: Vec<BTreeSet<usize>> = Vec::new();
    let mut of = BTreeMap::<usize, usize>::new();
    for (a, b) in pairs {
        let mut group = BTreeSet::from([a, b]);
        for old in [of.get(&a), of.get(&b)].into_iter().flatten().copied().collect::<BTreeSet<usize>>() {
            group.extend(std::mem::take(&mut groups[old]));
        }
        of.extend(group.iter().map(|service| (*service, groups.len())));
        groups.push(group);
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// What this node owns, by address. An address that several Services have is announced on all their interfaces.
fn announce(own: &NodeName, plan: &mut Plan) {
    for service in &plan.services {
        if service.owner.as_ref() != Some(own) || service.code().is_some() {
            continue;
        }
        for address in service.addresses.iter() {
            let none_yet = || Announcement { interfaces: Some(BTreeSet::new()), ..Announcement::default() };
            let announcement = plan.announce.entry(*address).or_insert_with(none_yet);
            announcement.interfaces = match (announcement.interfaces.take(), service.interfaces.as_deref()) {
                (Some(mut ours), Some(theirs)) => {
                    ours.extend(theirs.iter().cloned());
                    Some(ours)
                }
                _ => None,
            };
            if announcement.services.last() != Some(&service.service) {
                announcement.services.push(service.service.clone());
            }
        }
    }
}

impl Ground {
    fn elect(&self, candidates: &[(usize, i32)], address: IpAddr) -> Option<usize> {
        let ballots =
            candidates.iter().filter_map(|(node, preference)| Some((*node, self.ballots.get(*node)?, *preference)));
        l2::elect(ballots, address)
    }

    /// All candidates, best first.
    fn rank(&self, candidates: &[(usize, i32)], address: IpAddr) -> Arc<[NodeName]> {
        let address = l2::AddressText::new(address);
        let ballots = candidates
            .iter()
            .filter_map(|(node, preference)| Some((*node, self.ballots.get(*node)?.rank(&address), *preference)));
        let mut ranked: Vec<_> =
            ballots.map(|(node, rank, preference)| (std::cmp::Reverse(preference), rank, node)).collect();
        ranked.sort_unstable();
        ranked.iter().filter_map(|(_, _, node)| self.nodes.get(*node).cloned()).collect()
    }

    fn node_code(&self, node: usize) -> Option<Code> {
        self.base.get(node).copied().flatten()
    }
}
