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

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::config::Config;
use crate::l2;
use crate::names::{NodeName, ServiceKey};
use crate::reason::Code;

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
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
    /// Their EndpointSlices.
    pub endpoints: BTreeMap<ServiceKey, Vec<Arc<EndpointSlice>>>,
    /// The Nodes.
    pub nodes: BTreeMap<NodeName, Arc<Node>>,
    /// The members that are alive; `None`: there is no membership, every Node counts (spec §6.1).
    pub members: Option<BTreeSet<NodeName>>,
    /// The node that the plan is for.
    pub own: NodeName,
    /// Its interfaces.
    pub own_interfaces: BTreeSet<String>,
    /// Per node, the Services that do not work there although nothing else says so.
    pub unhealthy: BTreeMap<NodeName, BTreeSet<ServiceKey>>,
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
}

/// What this node announces for an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Only on these interfaces; `None` means on all.
    pub interfaces: Option<BTreeSet<String>>,
    /// The Services on it.
    pub services: BTreeSet<ServiceKey>,
}

/// The plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What this node announces.
    pub announce: BTreeMap<IpAddr, Announcement>,
    /// Every Service, with its owner or the reason why it has none.
    pub services: BTreeMap<ServiceKey, Arc<ServicePlan>>,
}

/// Makes plans, and remembers what went into the last one.
#[derive(Debug, Default)]
pub struct Planner {
    ground: Option<Arc<Ground>>,
    remembered: HashMap<ServiceKey, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    service: Arc<Service>,
    slices: Vec<Arc<EndpointSlice>>,
    judgement: Arc<Judgement>,
    plan: Arc<ServicePlan>,
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
        if self.remembered.len() > snapshot.services.len() {
            self.remembered.retain(|key, _| snapshot.services.contains_key(key));
        }
        let mut plan = Plan::default();
        let mut users = HashMap::<IpAddr, Vec<&ServiceKey>>::new();
        let services = snapshot.services.iter().map(|(key, service)| {
            let (judgement, service_plan) = self.single(key, service, snapshot, &ground);
            if judgement.may_be_announced() {
                for address in &judgement.addresses {
                    users.entry(*address).or_default().push(key);
                }
            }
            (key.clone(), service_plan)
        });
        plan.services = services.collect();
        for group in groups(&users) {
            self.share(&group, &ground, &mut plan);
        }
        announce(&snapshot.own, &mut plan);
        plan
    }

    /// A Service looked at alone.
    fn single(
        &mut self,
        key: &ServiceKey,
        service: &Arc<Service>,
        snapshot: &Snapshot,
        ground: &Arc<Ground>,
    ) -> (Arc<Judgement>, Arc<ServicePlan>) {
        let slices = snapshot.endpoints.get(key).map(Vec::as_slice).unwrap_or_default();
        let same = |old: &&Remembered| {
            Arc::ptr_eq(&old.service, service)
                && old.slices.len() == slices.len()
                && old.slices.iter().zip(slices).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if let Some(old) = self.remembered.get(key).filter(same) {
            return (old.judgement.clone(), old.plan.clone());
        }
        let judgement = Arc::new(judge::judge(key, service, slices, ground));
        let owner = judgement.addresses.first().and_then(|address| ground.elect(&judgement.candidates(), *address));
        let plan = Arc::new(ServicePlan::new(key.clone(), &judgement, owner, ground.clone()));
        let remembered = Remembered {
            service: service.clone(),
            slices: slices.to_vec(),
            judgement: judgement.clone(),
            plan: plan.clone(),
        };
        self.remembered.insert(key.clone(), remembered);
        (judgement, plan)
    }

    /// Services that share an address get one owner: a node that may announce them all, else one that may announce the
    /// most of them. Its preference is the sum of theirs; the address hashed is the least of their first ones.
    fn share(&self, group: &[&ServiceKey], ground: &Arc<Ground>, plan: &mut Plan) {
        let judged: Vec<&Remembered> = group.iter().filter_map(|key| self.remembered.get(*key)).collect();
        let mut support = BTreeMap::<usize, (usize, i32)>::new();
        for (node, preference) in judged.iter().flat_map(|one| one.judgement.candidates()) {
            let entry = support.entry(node).or_default();
            entry.0 += 1;
            entry.1 = entry.1.saturating_add(preference);
        }
        let most = support.values().map(|(count, _)| *count).max().unwrap_or_default();
        let candidates: Vec<(usize, i32)> = support
            .into_iter()
            .filter(|(_, (count, _))| *count == most)
            .map(|(node, (_, preference))| (node, preference))
            .collect();
        let address = judged.iter().filter_map(|one| one.judgement.addresses.first()).min();
        let owner = address.and_then(|address| ground.elect(&candidates, *address));
        for one in judged {
            if one.plan.owner.as_ref() != owner.and_then(|owner| ground.nodes.get(owner)) {
                let key = one.plan.service.clone();
                let shared = ServicePlan::new(key.clone(), &one.judgement, owner, ground.clone());
                plan.services.insert(key, Arc::new(shared));
            }
        }
    }
}

/// The Services that hang together by addresses, where there is more than one.
fn groups<'a>(users: &HashMap<IpAddr, Vec<&'a ServiceKey>>) -> Vec<Vec<&'a ServiceKey>> {
    let shared: BTreeSet<&Vec<&'a ServiceKey>> = users.values().filter(|keys| keys.len() > 1).collect();
    let mut groups: Vec<BTreeSet<&'a ServiceKey>> = Vec::new();
    let mut of = BTreeMap::<&'a ServiceKey, usize>::new();
    for keys in shared {
        let touched: BTreeSet<usize> = keys.iter().filter_map(|key| of.get(*key).copied()).collect();
        let mut group: BTreeSet<&'a ServiceKey> = keys.iter().copied().collect();
        for index in touched {
            group.extend(std::mem::take(&mut groups[index]));
        }
        for key in &group {
            of.insert(*key, groups.len());
        }
        groups.push(group);
    }
    groups.into_iter().filter(|group| !group.is_empty()).map(|group| group.into_iter().collect()).collect()
}

/// What this node owns, by address. An address that several Services have is announced on all their interfaces.
fn announce(own: &NodeName, plan: &mut Plan) {
    for (key, service) in &plan.services {
        if service.owner.as_ref() != Some(own) || service.code().is_some() {
            continue;
        }
        for address in &service.addresses {
            let announcement = plan.announce.entry(*address);
            let interfaces = service.interfaces.clone();
            let announcement = match announcement {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(Announcement { interfaces, services: BTreeSet::new() })
                }
                std::collections::btree_map::Entry::Occupied(entry) => {
                    let announcement = entry.into_mut();
                    announcement.interfaces = match (announcement.interfaces.take(), interfaces) {
                        (Some(mut ours), Some(theirs)) => {
                            ours.extend(theirs);
                            Some(ours)
                        }
                        _ => None,
                    };
                    announcement
                }
            };
            announcement.services.insert(key.clone());
        }
    }
}

impl Ground {
    fn elect(&self, candidates: &[(usize, i32)], address: IpAddr) -> Option<usize> {
        let ballots = candidates.iter().filter_map(|(node, preference)| Some((*node, self.ballots.get(*node)?, *preference)));
        l2::elect(ballots, address)
    }

    fn node_code(&self, node: usize) -> Option<Code> {
        self.base.get(node).copied().flatten()
    }
}
