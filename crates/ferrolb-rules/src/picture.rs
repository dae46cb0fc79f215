//! Everything at once, seen from outside: what a set of objects comes to.
//!
//! Controller and speakers follow changes; whoever asks once (`ferrolb status`, `why`, `plan`, `lint`) has a list of
//! objects and wants to know what follows from it. [`draw`] runs the same rules over that list, in the same order, and
//! forgets everything afterwards. What files never have (cluster IPs, nodes, endpoints) is assumed where
//! [`Options::files`] says so, so that nothing is reported missing that only a cluster could have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceStatus};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::alloc::{Allocator, Counters};
use crate::annotations;
use crate::config::{self, Config, Resources};
use crate::drain::Trigger;
use crate::names::{NodeName, ServiceKey};
use crate::plan::bgp::Outlook;
use crate::plan::{self, Plan, Planner, Snapshot};
use crate::reason::{Code, Finding};
use crate::service::{self, Outcome, View, key_of};
use crate::slice::{self, Slice};

/// How many pods are named of those that are not ready.
const FEW: usize = 3;

#[cfg(test)]
mod tests;

/// The name of the node that is assumed where files have none.
pub const ANY_NODE: &str = "any-node";

/// The objects that are looked at.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Pools, advertisements, namespaces and nodes.
    pub resources: Resources,
    /// Every Service.
    pub services: Vec<Arc<Service>>,
    /// Every EndpointSlice.
    pub endpoints: Vec<Arc<EndpointSlice>>,
}

/// How they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only Services of this class; none: only those without one.
    pub load_balancer_class: Option<String>,
    /// The exclude label does not exclude.
    pub ignore_exclude_lb: bool,
    /// Where every node is excluded, none is (decision D2).
    pub announce_if_all_excluded: bool,
    /// What shows that a node is being emptied.
    pub drain_on: BTreeSet<Trigger>,
    /// The nodes with a live speaker; `None`: every node counts.
    pub members: Option<BTreeSet<NodeName>>,
    /// The objects are files: what only a cluster has is assumed.
    pub files: bool,
    /// Services that only files have yet: what a cluster would give them is assumed.
    pub to_come: BTreeSet<ServiceKey>,
    /// Services get the addresses that they would get; without it they have those of their status.
    pub as_if_applied: bool,
}

/// What the objects come to.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// The configuration; empty where it does not load.
    pub config: Arc<Config>,
    /// Whether it loads.
    pub loads: bool,
    /// What is wrong with the configuration, or worth knowing about it.
    pub findings: Vec<Finding>,
    /// Per Service of type LoadBalancer and of our class, what the allocator says.
    pub outcomes: BTreeMap<ServiceKey, Outcome>,
    /// Every Service, with its addresses.
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
    /// Who is to announce what on layer 2, and why not.
    pub plan: Plan,
    /// The same by BGP, per Service that it is concerned with.
    pub bgp: BTreeMap<ServiceKey, Outlook>,
    /// Counts per pool.
    pub counters: BTreeMap<String, Counters>,
    /// The EndpointSlices of each Service.
    slices: BTreeMap<ServiceKey, Vec<Arc<EndpointSlice>>>,
}

impl Picture {
    /// Why a Service is not served, as far as objects tell: the first reason in the order of the rules. `None` for one
    /// that somebody is to announce, and for one that does not exist.
    pub fn obstacle(&self, key: &ServiceKey) -> Option<Finding> {
        let plan = self.plan.service(key)?;
        let refusal = || self.outcomes.get(key).and_then(|outcome| outcome.refusal.clone());
        let finding = plan::bgp::obstacle(plan, self.bgp.get(key))?;
        Some(match finding.code {
            Code::NoAddress | Code::OtherClass => refusal().unwrap_or(finding),
            Code::NoReadyEndpoints => self.with_endpoints(key, finding),
            _ => finding,
        })
    }

    /// Says which pods a Service has and wants, where none of them is ready.
    fn with_endpoints(&self, key: &ServiceKey, mut finding: Finding) -> Finding {
        let spec = self.services.get(key).and_then(|service| service.spec.as_ref());
        let selector = spec.and_then(|spec| spec.selector.clone()).unwrap_or_default();
        let pods = self.slices.get(key).map(|slices| pods_of(slices)).unwrap_or_default();
        if !pods.is_empty() {
            let some: Vec<&str> = pods.iter().take(FEW).map(String::as_str).collect();
            let rest = match pods.len().saturating_sub(FEW) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            finding.message = format!("{} ({}{rest})", finding.message, some.join(", "));
        }
        if !selector.is_empty() {
            let pairs: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let pairs = pairs.join(",");
            finding.message = format!("{}; its selector is {pairs}", finding.message);
            finding.fix = format!("kubectl get pods -n {} -l {pairs}", key.namespace);
        }
        finding
    }
}

/// Runs the rules over a set of objects.
pub fn draw(known: &Known, options: &Options) -> Picture {
    let resources = if options.files { assumed(&known.resources) } else { known.resources.clone() };
    let (config, loads, findings) = match config::parse(&resources) {
        Ok(config) => {
            let findings = config.findings.clone();
            (Arc::new(config), true, findings)
        }
        Err(invalid) => (Arc::default(), false, invalid.0),
    };
    let mut allocator = Allocator::new();
    allocator.set_pools(&config);
    let service_options = service::Options {
        load_balancer_class: options.load_balancer_class.clone(),
        assume_cluster_ips: options.files,
        to_come: options.to_come.clone(),
        ..service::Options::default()
    };
    let all = known.services.iter().map(|service| &**service as &dyn View);
    let outcomes: BTreeMap<ServiceKey, Outcome> =
        service::converge_all(all, &mut allocator, loads.then_some(&*config), &service_options).into_iter().collect();
    let dressed = |service: &Arc<Service>| match outcomes.get(&key_of(service)) {
        Some(outcome) if options.as_if_applied => Arc::new(with_outcome(service, outcome)),
        _ => service.clone(),
    };
    let services: BTreeMap<ServiceKey, Arc<Service>> =
        known.services.iter().map(|service| (key_of(service), dressed(service))).collect();
    let snapshot = snapshot(known, &config, &resources.nodes, &services, options);
    let plan = Planner::default().plan(&snapshot);
    let outlooks = snapshot.services.iter();
    let bgp = outlooks
        .filter_map(|(key, service)| Some((key.clone(), plan::bgp::outlook(key, &**service, &snapshot)?)))
        .collect();
    let counters = config.pools.keys().filter_map(|pool| Some((pool.clone(), allocator.counters(pool)?))).collect();
    Picture { config, loads, findings, outcomes, services, plan, bgp, counters, slices: by_service(&known.endpoints) }
}

/// What plans do not need is needed to name pods.
fn by_service(slices: &[Arc<EndpointSlice>]) -> BTreeMap<ServiceKey, Vec<Arc<EndpointSlice>>> {
    let mut services = BTreeMap::<ServiceKey, Vec<Arc<EndpointSlice>>>::new();
    for slice in slices {
        if let Some(service) = slice::service_of(slice) {
            services.entry(service).or_default().push(slice.clone());
        }
    }
    services
}

/// The names of the pods that EndpointSlices point at.
fn pods_of(slices: &[Arc<EndpointSlice>]) -> BTreeSet<String> {
    let targets = slices.iter().flat_map(|slice| &slice.endpoints).filter_map(|endpoint| endpoint.target_ref.as_ref());
    let pods = targets.filter(|target| target.kind.as_deref() == Some("Pod"));
    pods.filter_map(|target| target.name.clone()).collect()
}

fn snapshot(
    known: &Known,
    config: &Arc<Config>,
    nodes: &[Arc<Node>],
    services: &BTreeMap<ServiceKey, Arc<Service>>,
    options: &Options,
) -> Snapshot {
    let mut endpoints = slice::by_service(known.endpoints.iter().map(|slice| &**slice));
    let everywhere = ready_everywhere(nodes);
    let slice = |key: &ServiceKey| (key.clone(), vec![Arc::new(Slice::with(key.clone(), ANY_NODE, &everywhere))]);
    if options.files && known.endpoints.is_empty() {
        endpoints = services.keys().map(slice).collect();
    }
    let bare: Vec<_> = options.to_come.iter().filter(|key| !endpoints.contains_key(*key)).map(slice).collect();
    endpoints.extend(bare);
    let named = nodes.iter().filter_map(|node| Some((NodeName::new(node.metadata.name.clone()?), node.clone())));
    Snapshot {
        config: config.clone(),
        services: service::viewed(services),
        endpoints,
        nodes: named.collect(),
        members: options.members.clone(),
        options: plan::Options {
            ignore_exclude_lb: options.ignore_exclude_lb,
            announce_if_all_excluded: options.announce_if_all_excluded,
            load_balancer_class: options.load_balancer_class.clone(),
            selectorless_is_ready: options.files,
            drain_on: options.drain_on.clone(),
        },
        ..Snapshot::default()
    }
}

/// The resources with one node, where files tell none; what selects nodes then selects that one.
fn assumed(resources: &Resources) -> Resources {
    let mut resources = resources.clone();
    if resources.nodes.is_empty() {
        let mut node = Node::default();
        node.metadata.name = Some(ANY_NODE.to_owned());
        resources.nodes.push(Arc::new(node));
        for advertisement in &mut resources.l2_advertisements {
            if !advertisement.spec.node_selectors.is_empty() {
                Arc::make_mut(advertisement).spec.node_selectors.clear();
            }
        }
        for advertisement in &mut resources.bgp_advertisements {
            if !advertisement.spec.node_selectors.is_empty() {
                Arc::make_mut(advertisement).spec.node_selectors.clear();
            }
        }
        for peer in &mut resources.bgp_peers {
            if !peer.spec.node_selectors.is_empty() {
                Arc::make_mut(peer).spec.node_selectors.clear();
            }
        }
    }
    resources
}

fn ready_everywhere(nodes: &[Arc<Node>]) -> Vec<Endpoint> {
    let endpoint = |node: &Arc<Node>| Endpoint { node_name: node.metadata.name.clone(), ..Endpoint::default() };
    nodes.iter().map(endpoint).collect()
}

/// The Service as it would be once the controller had written its status.
fn with_outcome(service: &Service, outcome: &Outcome) -> Service {
    with_addresses(service, &outcome.addresses, outcome.pool.as_deref())
}

/// The Service with these addresses in its status, from this pool.
pub fn with_addresses(service: &Service, addresses: &[IpAddr], pool: Option<&str>) -> Service {
    let mut service = service.clone();
    let ingress = |ip: &IpAddr| LoadBalancerIngress { ip: Some(ip.to_string()), ..LoadBalancerIngress::default() };
    let ingress = (!addresses.is_empty()).then(|| addresses.iter().map(ingress).collect());
    let status = service.status.take().unwrap_or_default();
    service.status = Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus { ingress }), ..status });
    if let Some(pool) = pool {
        let annotations = service.metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::ALLOCATED_FROM.to_owned(), pool.to_owned());
    }
    service
}
