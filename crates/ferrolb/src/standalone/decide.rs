//! From everything known to everything wanted, in one pass and without touching anything.
//!
//! The pass is made anew on every change: parse the configuration (or keep the last good one), let the allocator run if
//! this host is the one that allocates, give every Service the addresses that the table says, and plan who announces.
//! On the other hosts the allocator runs too, but only to say *why* a Service has no address: its picks are dropped.
//! The allocator itself is kept from pass to pass, because it remembers under which keys an address is shared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_rules::alloc::{Allocator, Counters};
use ferrolb_rules::annotations;
use ferrolb_rules::api;
use ferrolb_rules::config::{self, Config};
use ferrolb_rules::drain::Trigger;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::bgp::BgpPlan;
use ferrolb_rules::plan::{self, Plan, Planner, Snapshot};
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::{self, Outcome, key_of};
use ferrolb_rules::slice;
use ferrolb_rules::table::{Entry, Table};
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::kept::Elsewhere;
use super::peers::Allocates;
use crate::source::Objects;

/// What one pass is made from, beside the decider's own memory.
#[derive(Clone)]
pub(super) struct Inputs<'a> {
    /// The manifests.
    pub(super) objects: &'a Objects,
    /// The live hosts; `None` while still listening.
    pub(super) live: Option<BTreeSet<NodeName>>,
    /// Who allocates.
    pub(super) allocates: Allocates,
    /// Why the other host that allocates cannot, as it says.
    pub(super) hindrance: Option<String>,
    /// Addresses that are not announced, because a stranger on the LAN has them.
    pub(super) blocked: BTreeSet<IpAddr>,
    /// Those, and those of which that was so not long ago.
    pub(super) squatted: BTreeSet<IpAddr>,
    /// Per host, the Services whose health check fails there.
    pub(super) unhealthy: BTreeMap<NodeName, BTreeSet<ServiceKey>>,
    /// The interfaces that can announce, of every live host that tells.
    pub(super) interfaces: BTreeMap<NodeName, BTreeSet<String>>,
    /// What is missing here and other live hosts have.
    pub(super) elsewhere: Elsewhere,
    /// Whose each address is, where hosts claim them.
    pub(super) owners: Option<BTreeMap<IpAddr, NodeName>>,
    /// Wall-clock seconds since 1970, for the age of pools that tell none.
    pub(super) unix_seconds: i64,
}

/// What one pass ends with.
pub(super) struct Decision {
    /// The configuration in force.
    pub(super) config: Arc<Config>,
    /// The table to save and publish, if it changed.
    pub(super) table: Option<Table>,
    /// The Services of type LoadBalancer and those that were, with the addresses they have now.
    pub(super) services: BTreeMap<ServiceKey, Arc<Service>>,
    /// What this host announces, and why everything else is not announced.
    pub(super) plan: Plan,
    /// What this host tells routers.
    pub(super) bgp: BgpPlan,
    /// Why a Service has no address.
    pub(super) refusals: BTreeMap<ServiceKey, Finding>,
    /// Counts per pool, by the table in force.
    pub(super) counters: BTreeMap<String, Counters>,
    /// Configuration errors, soft conflicts, annotations that do nothing.
    pub(super) findings: Vec<Finding>,
    /// What else is worth knowing about a Service's addresses.
    pub(super) notes: BTreeMap<ServiceKey, Vec<Finding>>,
}

/// The memory between passes.
pub(super) struct Decider {
    own: NodeName,
    options: Options,
    table: Table,
    config: Option<Arc<Config>>,
    allocator: Allocator,
    planner: Planner,
    /// Services with their addresses filled in, so that an unchanged one stays the same object and its plan is not
    /// made again.
    dressed: BTreeMap<ServiceKey, Dressed>,
}

/// Assignments that stay: addresses and pool, by Service.
type Retained = BTreeMap<ServiceKey, (Vec<IpAddr>, String)>;

struct Dressed {
    raw: Arc<Service>,
    entry: Option<Entry>,
    service: Arc<Service>,
}

/// What the rules are told about standalone mode.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// Only Services of this class; none: Services without one.
    pub(super) load_balancer_class: Option<String>,
    /// Announce from nodes that carry the exclude label.
    pub(super) ignore_exclude_lb: bool,
    /// What shows that a host is being emptied.
    pub(super) drain_on: BTreeSet<Trigger>,
}

impl Decider {
    /// Starts from the saved table.
    pub(super) fn new(own: NodeName, options: Options, table: Table) -> Self {
        Self {
            own,
            options,
            table,
            config: None,
            allocator: Allocator::new(),
            planner: Planner::default(),
            dressed: BTreeMap::new(),
        }
    }

    /// The table as this host knows it.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Learns what another host's table knows better. Returns whether anything was new.
    pub(super) fn learn(&mut self, table: &Table) -> bool {
        self.table.merge(table)
    }

    /// Goes back to a table that could be saved.
    pub(super) fn restore(&mut self, table: Table) {
        self.table = table;
    }

    /// One pass.
    pub(super) fn decide(&mut self, inputs: &Inputs<'_>) -> Decision {
        let first_seen = self.ages(inputs.objects, inputs.unix_seconds);
        let (config, mut findings) = self.configure(inputs.objects, &first_seen, &inputs.squatted);
        let anew = self.picked_anew(inputs);
        let recorded = self.dress(inputs.objects, &anew);
        let retained = self.retained(&recorded, &config, &inputs.elsewhere);
        let outcomes = self.allocate(&recorded, &config, &retained, &anew);
        let changed = inputs.allocates == Allocates::Own && self.record(&outcomes, &retained, &first_seen);
        self.follow_table(&recorded, &retained, &BTreeSet::new());
        let counters = config.pools.keys().filter_map(|pool| Some((pool.clone(), self.allocator.counters(pool)?)));
        let counters = counters.collect();
        let refusals = self.refusals(&outcomes, inputs);
        let dressed_anew = changed || !anew.is_empty();
        let services = if dressed_anew { self.dress(inputs.objects, &BTreeSet::new()) } else { recorded };
        for service in &inputs.objects.services {
            findings.extend(annotations::findings(service, None));
        }
        let (plan, bgp) = self.plan(inputs, &config, &services);
        let table = changed.then(|| self.table.clone());
        let notes = outcomes.into_iter().filter(|(_, outcome)| !outcome.notes.is_empty());
        let notes = notes.map(|(key, outcome)| (key, outcome.notes)).collect();
        Decision { config, table, services, plan, bgp, refusals, counters, findings, notes }
    }

    /// The Services to which this host gave an address that turned out to be a stranger's: they get another one, if there
    /// is one. Those that asked for it wait for it (decision D4).
    fn picked_anew(&self, inputs: &Inputs<'_>) -> BTreeSet<ServiceKey> {
        if inputs.allocates != Allocates::Own || inputs.blocked.is_empty() {
            return BTreeSet::new();
        }
        let blocked = |key: &ServiceKey| {
            let entry = self.table.entry(key);
            entry.is_some_and(|entry| entry.addresses.iter().any(|address| inputs.blocked.contains(address)))
        };
        let unasked = inputs.objects.services.iter().filter(|service| !service::asks_for_addresses(*service));
        unasked.map(|service| key_of(service)).filter(blocked).collect()
    }

    /// When each pool without a creation time was first seen.
    fn ages(&self, objects: &Objects, now: i64) -> BTreeMap<String, i64> {
        objects
            .pools
            .iter()
            .filter(|pool| pool.metadata.creation_timestamp.is_none())
            .filter_map(|pool| pool.metadata.name.clone())
            .map(|name| (name.clone(), self.table.first_seen(&name).unwrap_or(now)))
            .collect()
    }

    /// Parses the configuration; one that does not load leaves the last good one in force.
    fn configure(
        &mut self,
        objects: &Objects,
        ages: &BTreeMap<String, i64>,
        squatted: &BTreeSet<IpAddr>,
    ) -> (Arc<Config>, Vec<Finding>) {
        let resources = config::Resources {
            malformed: Vec::new(),
            pools: objects.pools.iter().map(|pool| aged(pool, ages)).collect(),
            l2_advertisements: objects.l2_advertisements.clone(),
            bgp_advertisements: objects.bgp_advertisements.clone(),
            bgp_peers: objects.bgp_peers.clone(),
            bfd_profiles: objects.bfd_profiles.clone(),
            secrets: Some(objects.secrets.clone()),
            communities: objects.communities.clone(),
            namespaces: objects.namespaces.clone(),
            nodes: nodes(objects, &self.own),
        };
        match config::parse(&resources) {
            Ok(mut config) => {
                config.hand_out_last(squatted);
                let findings = config.findings.clone();
                let config = match &self.config {
                    Some(old) if **old == config => old.clone(),
                    _ => {
                        let config = Arc::new(config);
                        self.allocator.set_pools(&config);
                        config
                    }
                };
                self.config = Some(config.clone());
                (config, findings)
            }
            Err(invalid) => {
                let message = format!(
                    "failed to parse the configuration: {} errors; {}",
                    invalid.0.len(),
                    match self.config {
                        Some(_) => "the last good one stays in force",
                        None => "there is no earlier one, so nothing is handed out",
                    }
                );
                let mut findings =
                    vec![Finding::new(Code::ConfigurationStale, Severity::Error, "configuration", message)];
                findings.extend(invalid.0);
                (self.config.clone().unwrap_or_default(), findings)
            }
        }
    }

    /// Lets the allocator run over all Services, from what the table says.
    fn allocate(
        &mut self,
        recorded: &BTreeMap<ServiceKey, Arc<Service>>,
        config: &Arc<Config>,
        retained: &Retained,
        anew: &BTreeSet<ServiceKey>,
    ) -> Vec<(ServiceKey, Outcome)> {
        if self.config.is_none() {
            return Vec::new();
        }
        self.follow_table(recorded, retained, anew);
        for (key, (addresses, pool)) in retained.iter().filter(|(key, _)| !recorded.contains_key(*key)) {
            self.allocator.hold(key, addresses, pool);
        }
        let options = service::Options {
            load_balancer_class: self.options.load_balancer_class.clone(),
            assume_cluster_ips: true,
            ..service::Options::default()
        };
        let services = recorded.values().map(|service| &**service as &dyn service::View);
        service::converge_all(services, &mut self.allocator, Some(config), &options)
    }

    /// Makes the allocator forget what the table does not say: picks that were not ours to make, what another host
    /// decided otherwise, Services that are gone.
    fn follow_table(
        &mut self,
        services: &BTreeMap<ServiceKey, Arc<Service>>,
        retained: &Retained,
        anew: &BTreeSet<ServiceKey>,
    ) {
        let table = &self.table;
        let stray = self.allocator.allocations().filter(|(key, assigned)| {
            let entry = table.entry(key).map(|entry| &entry.addresses);
            entry != Some(&assigned.addresses)
                || anew.contains(*key)
                || !services.contains_key(*key) && !retained.contains_key(*key)
        });
        let stray: Vec<ServiceKey> = stray.map(|(key, _)| key.clone()).collect();
        for key in stray {
            self.allocator.release(&key);
        }
    }

    /// The assignments that are not ours to end: of Services, and from pools, that other live hosts have and this one
    /// lacks.
    fn retained(
        &self,
        services: &BTreeMap<ServiceKey, Arc<Service>>,
        config: &Config,
        elsewhere: &Elsewhere,
    ) -> Retained {
        let lacks = |key: &ServiceKey, entry: &Entry| {
            let service = !services.contains_key(key) && elsewhere.services.contains(key);
            service || !config.pools.contains_key(&entry.pool) && elsewhere.pools.contains(&entry.pool)
        };
        let entries = self.table.entries().filter(|(key, entry)| lacks(key, entry));
        entries.map(|(key, entry)| (key.clone(), (entry.addresses.clone(), entry.pool.clone()))).collect()
    }

    fn record(
        &mut self,
        outcomes: &[(ServiceKey, Outcome)],
        retained: &Retained,
        first_seen: &BTreeMap<String, i64>,
    ) -> bool {
        if self.config.is_none() {
            return false;
        }
        let decided = outcomes
            .iter()
            .filter_map(|(key, outcome)| Some((key.clone(), (outcome.addresses.clone(), outcome.pool.clone()?))))
            .filter(|(_, (addresses, _))| !addresses.is_empty());
        let mut assignments = retained.clone();
        assignments.extend(decided);
        self.table.record(&self.own, &assignments, first_seen)
    }

    /// Why Services have no address: the allocator's word, what keeps this host or the one that allocates from it, or
    /// that nobody has allocated yet.
    fn refusals(&self, outcomes: &[(ServiceKey, Outcome)], inputs: &Inputs<'_>) -> BTreeMap<ServiceKey, Finding> {
        let waiting = |key: &ServiceKey| {
            let whom = match (&inputs.allocates, &inputs.hindrance) {
                (Allocates::Own, _) => return None,
                (Allocates::Hindered(why), _) => {
                    let object = format!("Service/{key}");
                    let finding = Finding::new(why.code, Severity::Error, object, why.message.as_str());
                    return Some(finding.with_fix(why.fix.as_str()));
                }
                (Allocates::Other(host), Some(why)) => format!("host {host} allocates, and cannot: {why}"),
                (Allocates::Other(host), None) => format!("host {host} allocates and has not told its choice yet"),
                (Allocates::Listening, _) => "this host has just started and still listens for the others".to_owned(),
            };
            let fix = "wait ten seconds; if it stays, read the log of the host that has the ROLE in `ferrolb status`";
            Some(Finding::new(Code::NoAllocator, Severity::Note, format!("Service/{key}"), whom).with_fix(fix))
        };
        outcomes
            .iter()
            .filter(|(key, _)| self.table.entry(key).is_none())
            .filter_map(|(key, outcome)| {
                let refusal = match &outcome.refusal {
                    Some(refusal) => Some(refusal.clone()),
                    None if outcome.addresses.is_empty() => None,
                    None => waiting(key),
                };
                refusal.map(|refusal| (key.clone(), refusal))
            })
            .collect()
    }

    /// The Services with the addresses that the table says. A status that came with a manifest is dropped: files are
    /// what people want, the table is what is.
    fn dress(&mut self, objects: &Objects, anew: &BTreeSet<ServiceKey>) -> BTreeMap<ServiceKey, Arc<Service>> {
        let mut before = std::mem::take(&mut self.dressed);
        for raw in &objects.services {
            let key = key_of(raw);
            let entry = self.table.entry(&key).filter(|_| !anew.contains(&key));
            let dressed = match before.remove(&key) {
                Some(old) if old.entry.as_ref() == entry && (Arc::ptr_eq(&old.raw, raw) || *old.raw == **raw) => old,
                _ => Dressed { raw: raw.clone(), entry: entry.cloned(), service: Arc::new(with_entry(raw, entry)) },
            };
            self.dressed.insert(key, dressed);
        }
        self.dressed.iter().map(|(key, dressed)| (key.clone(), dressed.service.clone())).collect()
    }

    fn plan(
        &mut self,
        inputs: &Inputs<'_>,
        config: &Arc<Config>,
        services: &BTreeMap<ServiceKey, Arc<Service>>,
    ) -> (Plan, BgpPlan) {
        let endpoints = slice::by_service(inputs.objects.endpoint_slices.iter().map(|slice| &**slice));
        let nodes = nodes(inputs.objects, &self.own)
            .into_iter()
            .filter_map(|node| Some((NodeName::new(node.metadata.name.clone()?), node)))
            .collect();
        let options = ferrolb_rules::plan::Options {
            ignore_exclude_lb: self.options.ignore_exclude_lb,
            announce_if_all_excluded: true,
            load_balancer_class: self.options.load_balancer_class.clone(),
            selectorless_is_ready: true,
            drain_on: self.options.drain_on.clone(),
        };
        let snapshot = Snapshot {
            config: config.clone(),
            services: service::viewed(services),
            endpoints,
            nodes,
            // Still listening: nobody is known to live, so nobody announces.
            members: Some(inputs.live.clone().unwrap_or_default()),
            own: self.own.clone(),
            without_interface: without(&inputs.interfaces),
            interfaces: inputs.interfaces.clone(),
            unhealthy: inputs.unhealthy.clone(),
            owners: inputs.owners.clone(),
            options,
        };
        (self.planner.plan(&snapshot), plan::bgp::plan(&snapshot))
    }
}

/// The hosts that say that none of their interfaces can announce.
fn without(interfaces: &BTreeMap<NodeName, BTreeSet<String>>) -> BTreeSet<NodeName> {
    interfaces.iter().filter(|(_, able)| able.is_empty()).map(|(host, _)| host.clone()).collect()
}

fn with_entry(service: &Service, entry: Option<&Entry>) -> Service {
    let mut service = service.clone();
    let ingress = entry.map(|entry| {
        let ingress = |ip: &IpAddr| LoadBalancerIngress { ip: Some(ip.to_string()), ..LoadBalancerIngress::default() };
        entry.addresses.iter().map(ingress).collect()
    });
    let annotations = service.metadata.annotations.get_or_insert_default();
    match entry {
        Some(entry) => annotations.insert(annotations::ALLOCATED_FROM.to_owned(), entry.pool.clone()),
        None => annotations.remove(annotations::ALLOCATED_FROM),
    };
    service.status =
        Some(ServiceStatus { load_balancer: Some(LoadBalancerStatus { ingress }), ..ServiceStatus::default() });
    service
}

/// A pool that tells no age gets the one that the table knows.
fn aged(pool: &Arc<api::IPAddressPool>, ages: &BTreeMap<String, i64>) -> Arc<api::IPAddressPool> {
    let age = pool.metadata.name.as_ref().and_then(|name| ages.get(name));
    match age.and_then(|seconds| Timestamp::from_second(*seconds).ok()) {
        Some(time) if pool.metadata.creation_timestamp.is_none() => {
            let mut pool = (**pool).clone();
            pool.metadata.creation_timestamp = Some(Time(time));
            Arc::new(pool)
        }
        _ => pool.clone(),
    }
}

/// The Nodes of the manifests, and this host even where they forget it: alone on a bare machine nobody writes one.
fn nodes(objects: &Objects, own: &NodeName) -> Vec<Arc<Node>> {
    let mut nodes = objects.nodes.clone();
    if !nodes.iter().any(|node| node.metadata.name.as_deref() == Some(own.as_str())) {
        let mut node = Node::default();
        node.metadata.name = Some(own.to_string());
        node.metadata.labels = Some(BTreeMap::from([("kubernetes.io/hostname".to_owned(), own.to_string())]));
        nodes.push(Arc::new(node));
    }
    nodes
}

/// The health checks to make: those of every Service that has an address.
pub(super) fn checks(decision: &Decision) -> BTreeMap<ServiceKey, annotations::HealthCheck> {
    let served = decision.services.iter().filter(|(_, service)| service::is_load_balancer(*service));
    served.filter_map(|(key, service)| Some((key.clone(), annotations::health_check(service)?))).collect()
}

/// The addresses to bind: those that this host announces, of Services that ask for it.
pub(super) fn to_bind(decision: &Decision) -> BTreeSet<IpAddr> {
    let asks = |key: &ServiceKey| decision.services.get(key).is_some_and(|service| annotations::binds_to_lo(service));
    let announced = decision.plan.announce.iter();
    announced.filter(|(_, one)| one.services.iter().any(asks)).map(|(address, _)| *address).collect()
}
