//! From objects to the document that `status`, `why`, `ip` and `wait` speak about, as a standalone process makes it of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_rules::api::{BGPPeer, ConfigurationResult};
use ferrolb_rules::config::on_nodes;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::picture::{ANY_NODE, Picture};
use ferrolb_rules::plan::{ServicePlan, bgp};
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::is_load_balancer;
use ferrolb_rules::sighting::{self, Sightings};
use ferrolb_rules::surroundings::{is_component, is_ready, metallb_image};
use k8s_openapi::api::core::v1::Service;

use super::cluster::{Announcer, Cluster};
use crate::controller::{ALLOCATED, ANNOUNCED};
use crate::state::{Names, PeerState, PoolState, Progress, ReasonState, RouterState, ServiceState, State};

/// What a cluster is: who announces is what speakers report, not what is planned (decision D12).
pub fn of_cluster(picture: &Picture, cluster: &Cluster) -> State {
    let trouble = Trouble::of(picture, cluster);
    let service = |(key, service)| {
        let by = cluster.announced.get(key).map(Vec::as_slice).unwrap_or_default();
        of_service(picture, key, service, by, |plan| trouble.of_service(picture, plan))
    };
    let mut findings = cluster.findings.clone();
    findings.extend(picture.findings.iter().cloned());
    findings.extend(annotations(picture));
    findings.extend(trouble.controller.clone());
    findings.extend(metallb(cluster));
    findings.extend(cluster.announced.iter().filter_map(|(key, by)| twice(key, by)));
    let announced = cluster.announced.keys().filter_map(|key| picture.plan.service(key));
    findings
        .extend(announced.filter_map(|plan| sighting::finding(&plan.service, &plan.addresses, &trouble.seen, true)));
    findings.extend(cluster.states.iter().filter_map(|state| {
        let status = state.status.as_ref().filter(|status| status.result == Some(ConfigurationResult::Invalid))?;
        let name = state.metadata.name.as_deref().unwrap_or_default();
        let object = format!("ConfigurationState/{name}");
        Some(Finding::new(Code::ConfigurationStale, Severity::Error, object, status.error_summary.clone()))
    }));
    let services = ours(picture).map(service).collect();
    State { routers: routers(cluster), ..finish(picture, services, peers(cluster), findings) }
}

/// MetalLB's own pods run where ours would be: the addresses and whoever announces them are its affair.
fn metallb(cluster: &Cluster) -> Option<Finding> {
    let (pod, image) = cluster.pods.iter().find_map(|pod| Some((pod, metallb_image(pod)?)))?;
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let message = format!("MetalLB runs here ({image}): what is told here of nodes is what its speakers report");
    let fix = "nothing, before the change to FerroLB; after it, uninstall what is left of MetalLB (its pools can stay)";
    let finding = Finding::new(Code::RivalLoadBalancer, Severity::Warning, format!("Pod/{name}"), message);
    Some(finding.with_fix(fix))
}

/// Two nodes report that they announce it on layer 2: for a moment one takes over from the other; for longer they do not hear each
/// other.
fn twice(key: &ServiceKey, by: &[Announcer]) -> Option<Finding> {
    // By BGP every node announces.
    let on_layer2 = |one: &&Announcer| one.routers.is_empty() || one.mac.is_some() || !one.interfaces.is_empty();
    let names: std::collections::BTreeSet<&str> = by.iter().filter(on_layer2).map(|one| one.node.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let message = format!("{} announce it at once, so they do not hear each other", names.join(" and "));
    (names.len() > 1).then(|| Finding::new(Code::TwoAnnouncers, Severity::Error, format!("Service/{key}"), message))
}

/// What files would come to.
pub fn of_files(picture: &Picture, mut findings: Vec<Finding>) -> State {
    let service = |(key, service)| {
        let plan = picture.plan.service(key).filter(|_| picture.obstacle(key).is_none());
        let owner = plan.and_then(|plan| plan.owner.clone()).map(|node| (node, Vec::new()));
        let tellers = picture.bgp.get(key).filter(|_| plan.is_some()).map(|outlook| outlook.tellers.clone());
        let tellers = tellers.into_iter().flatten().map(|(node, peers)| (node, peers.into_iter().collect()));
        let mut by = BTreeMap::<NodeName, Vec<String>>::new();
        by.extend(owner);
        by.extend(tellers);
        let by: Vec<Announcer> =
            by.into_iter().map(|(node, routers)| Announcer { node, routers, ..Announcer::default() }).collect();
        of_service(picture, key, service, &by, |_| picture.obstacle(key))
    };
    let mut services: Vec<ServiceState> = ours(picture).map(service).collect();
    // The node that is assumed where files have none is nobody's business.
    services.iter_mut().filter(|one| one.node.as_deref() == Some(ANY_NODE)).for_each(|one| one.node = None);
    // A Service's own trouble stands with the Service; not that of one which could not even be read.
    let listed: BTreeSet<String> =
        services.iter().map(|one| format!("Service/{}/{}", one.namespace, one.name)).collect();
    findings.retain(|finding| !listed.contains(&finding.object) || !(1000..2000).contains(&finding.code.number()));
    State { as_if_applied: true, ..finish(picture, services, Vec::new(), findings) }
}

fn finish(picture: &Picture, services: Vec<ServiceState>, peers: Vec<PeerState>, mut findings: Vec<Finding>) -> State {
    findings.sort();
    findings.dedup();
    let served = services.iter().all(|service| service.state == Progress::Announced);
    State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ok: served && findings.iter().all(|finding| finding.severity != Severity::Error),
        pools: picture
            .config
            .pools
            .values()
            .map(|pool| PoolState::of(pool, picture.counters.get(&pool.name).copied().unwrap_or_default()))
            .collect(),
        services,
        peers,
        findings,
        ..State::default()
    }
}

fn ours(picture: &Picture) -> impl Iterator<Item = (&ServiceKey, &Service)> {
    let other_class = |key| picture.plan.service(key).and_then(|plan| plan.code()) == Some(Code::OtherClass);
    let services = picture.services.iter().map(|(key, service)| (key, &**service));
    services.filter(move |(key, service)| is_load_balancer(*service) && !other_class(key))
}

fn annotations(picture: &Picture) -> Vec<Finding> {
    let services = picture.services.values().filter(|service| is_load_balancer(*service));
    let written = |service: &Service| ferrolb_rules::annotations::allocated_from(service).map(str::to_owned);
    services.flat_map(|service| ferrolb_rules::annotations::findings(service, written(service).as_deref())).collect()
}

/// What keeps everything from working, whatever the Service; and what speakers see, by address.
struct Trouble {
    controller: Option<Finding>,
    nobody_lives: bool,
    seen: Sightings,
}

impl Trouble {
    fn of(picture: &Picture, cluster: &Cluster) -> Self {
        let mut controllers = cluster.pods.iter().filter(|pod| is_component(pod, "controller")).peekable();
        let runs_as_pods = cluster.pods.iter().any(|pod| is_component(pod, "speaker")) || controllers.peek().is_some();
        let ready = controllers.any(|pod| is_ready(pod));
        let away = || {
            let message = "no controller is ready, so nobody gives addresses; what is announced stays";
            Finding::new(Code::ControllerAway, Severity::Error, "Deployment/metallb-controller", message)
        };
        let members =
            picture.plan.services.is_empty() || cluster.options.members.as_ref().is_some_and(|it| !it.is_empty());
        let seen = sighting::of_states(&cluster.states, cluster.options.members.as_ref());
        Self { controller: (runs_as_pods && !ready).then(away), nobody_lives: !members, seen }
    }

    /// Why a Service is not announced. What lies in the configuration or at the endpoints is true whoever lives.
    fn of_service(&self, picture: &Picture, plan: &ServicePlan) -> Option<Finding> {
        let object = || format!("Service/{}", plan.service);
        if !picture.loads && !plan.addresses.is_empty() {
            let message = "the newest configuration does not load; the last good one stays in force";
            return Some(Finding::new(Code::ConfigurationStale, Severity::Error, object(), message));
        }
        match picture.obstacle(&plan.service) {
            Some(finding) if finding.code == Code::NoAddress && self.controller.is_some() => self.controller.clone(),
            Some(finding) if finding.code == Code::NoAddress => {
                let message = "it can have an address, and the controller has not written one yet";
                Some(Finding { message: message.to_owned(), ..finding })
            }
            Some(finding) if self.nobody_lives && matches!(finding.code, Code::NoCandidate | Code::NodeNotAlive) => {
                Some(Finding::new(Code::NoSpeaker, Severity::Error, object(), "no speaker is running and ready"))
            }
            Some(finding) => Some(finding),
            None => sighting::finding(&plan.service, &plan.addresses, &self.seen, false)
                .or_else(|| Some(bgp::silence(plan, picture.bgp.get(&plan.service)))),
        }
    }
}

fn of_service(
    picture: &Picture,
    key: &ServiceKey,
    service: &Service,
    by: &[Announcer],
    why: impl FnOnce(&ServicePlan) -> Option<Finding>,
) -> ServiceState {
    let plan = picture.plan.service(key);
    let addresses = plan.map(|plan| plan.addresses.to_vec()).unwrap_or_default();
    let state = match (addresses.is_empty(), by) {
        (true, _) => Progress::Pending,
        (false, []) => Progress::Allocated,
        (false, _) => Progress::Announced,
    };
    let reason = |finding: &Finding, node: Option<String>| ReasonState {
        code: finding.code,
        node,
        message: finding.message.clone(),
        fix: finding.fix.clone(),
    };
    let mut reasons = Vec::new();
    if let Some(plan) = plan {
        if state == Progress::Announced {
            let notes = picture.outcomes.get(key).map(|outcome| outcome.notes.clone()).unwrap_or_default();
            reasons.extend(plan.warnings().iter().chain(&notes).map(|finding| reason(finding, None)));
        } else {
            reasons.extend(why(plan).iter().map(|finding| reason(finding, None)));
            let by_bgp = picture.bgp.get(key).filter(|_| plan.code() == Some(Code::NoAdvertisement));
            let nodes: Vec<_> = match by_bgp {
                Some(outlook) => outlook.node_findings(key).collect(),
                None => plan.node_findings().collect(),
            };
            let nodes = nodes.into_iter().filter(|(node, _)| node.as_str() != ANY_NODE);
            reasons.extend(nodes.map(|(node, finding)| reason(&finding, Some(node.to_string()))));
        }
    }
    let first = by.iter().find(|one| one.mac.is_some()).or(by.first());
    let routers: BTreeSet<String> = by.iter().flat_map(|one| &one.routers).cloned().collect();
    ServiceState {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        pool: plan.and_then(|plan| plan.pool()).map(str::to_owned),
        state,
        node: (!by.is_empty()).then(|| by.iter().map(|one| one.node.to_string()).collect::<Vec<_>>().join(" and ")),
        mac: first.and_then(|one| one.mac),
        interfaces: first.map(|one| one.interfaces.clone()).unwrap_or_default(),
        routers: Names(Arc::new(routers)),
        since: since(service, state),
        try_urls: if state == Progress::Announced { crate::state::urls(service, &addresses) } else { Vec::new() },
        reasons,
        addresses,
    }
}

/// Since when it is so, by the condition that says it.
fn since(service: &Service, state: Progress) -> Option<String> {
    let (type_, holds) = match state {
        Progress::Pending => (ALLOCATED, "False"),
        Progress::Allocated => (ANNOUNCED, "False"),
        Progress::Announced => (ANNOUNCED, "True"),
    };
    let conditions = service.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|one| one.type_ == type_ && one.status == holds)?;
    Some(condition.last_transition_time.0.to_string())
}

/// The routers, and which nodes have told them of a Service. How a session stands that nothing was told by, only its
/// speaker knows.
fn routers(cluster: &Cluster) -> Vec<RouterState> {
    let router = |peer: &std::sync::Arc<BGPPeer>| {
        let name = peer.metadata.name.clone().unwrap_or_default();
        let by = cluster.announced.values().flatten().filter(|one| one.routers.contains(&name));
        let nodes: BTreeSet<String> = by.map(|one| one.node.to_string()).collect();
        let told = |all: &&Vec<Announcer>| all.iter().any(|one| one.routers.contains(&name));
        let from = peer.spec.peer_address_from.as_ref();
        let labelled = from.map(|from| on_nodes(from, &cluster.known.resources.nodes)).unwrap_or_default();
        let addresses: BTreeSet<IpAddr> = labelled.into_values().filter_map(Result::ok).collect();
        RouterState {
            address: peer.spec.peer_address.parse().ok(),
            addresses: addresses.into_iter().collect(),
            state: if nodes.is_empty() { "unknown" } else { "Established" }.to_owned(),
            established: !nodes.is_empty(),
            services: cluster.announced.values().filter(told).count(),
            nodes: nodes.into_iter().collect(),
            name,
            ..RouterState::default()
        }
    };
    cluster.known.resources.bgp_peers.iter().map(router).collect()
}

/// The nodes, and whether their speaker is ready.
fn peers(cluster: &Cluster) -> Vec<PeerState> {
    let members = cluster.options.members.as_ref();
    let peer = |node: &std::sync::Arc<k8s_openapi::api::core::v1::Node>| {
        let name = node.metadata.name.clone().unwrap_or_default();
        let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref()).into_iter().flatten();
        let internal = addresses.into_iter().find(|address| address.type_ == "InternalIP");
        PeerState {
            alive: members.is_some_and(|members| members.iter().any(|member| member.as_str() == name)),
            address: internal.and_then(|address| address.address.parse().ok()),
            name,
            ..PeerState::default()
        }
    };
    cluster.known.resources.nodes.iter().map(peer).collect()
}
