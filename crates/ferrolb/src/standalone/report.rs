//! The state document, made from what was decided and from what is really on the wire (decision D12).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::ServicePlan;
use ferrolb_rules::reason::{Code, Finding, Severity};
use k8s_openapi::api::core::v1::Service;

use super::decide::Decision;
use super::strangers::{self, Seen};
use super::{Settings, bgp};
use crate::drive::routers::{self, AllSeen};
use crate::state::{
    self, InterfaceState, Names, PeerState, PoolState, Progress, ReasonState, ServiceState, StandaloneState, State,
};

/// Who really answers for an address: host, then interface and MAC address of each answer.
pub(super) type Announced = BTreeMap<IpAddr, BTreeMap<NodeName, Vec<(String, MacAddr)>>>;

/// What the report is made from.
pub(super) struct Facts<'a> {
    /// This host.
    pub(super) own: &'a NodeName,
    /// What the command line says.
    pub(super) settings: &'a Settings,
    /// What was decided last.
    pub(super) decision: &'a Decision,
    /// What is on the wire, as the hosts say.
    pub(super) announced: &'a Announced,
    /// Devices that use addresses of ours and are none of us.
    pub(super) strangers: &'a Seen,
    /// Per live host that tells, the interfaces that can announce there.
    pub(super) able: &'a BTreeMap<NodeName, BTreeSet<String>>,
    /// Whether this host has listened long enough to know who is alive.
    pub(super) settled: bool,
    /// The hosts.
    pub(super) peers: Vec<PeerState>,
    /// This host's interfaces.
    pub(super) interfaces: Vec<InterfaceState>,
    /// What routers were told.
    pub(super) seen: &'a AllSeen,
    /// Findings from outside the pass: manifests, sockets, disks.
    pub(super) findings: Vec<Finding>,
}

/// Makes the document.
pub(super) fn report(facts: Facts<'_>) -> State {
    let decision = facts.decision;
    let services: Vec<ServiceState> = decision
        .services
        .iter()
        .filter(|(key, service)| concerns_us(service, decision.plan.service(key).map(|plan| &**plan)))
        .map(|(key, service)| service_state(key, service, &facts))
        .collect();
    let mut findings = facts.findings.clone();
    findings.extend(services.iter().flat_map(|service| {
        let key = ServiceKey::new(&service.namespace, &service.name);
        strangers::conflicts(&key, &service.addresses, facts.strangers)
    }));
    findings.extend(facts.peers.iter().filter(|peer| facts.settled && !peer.alive).map(gone));
    findings.extend(decision.findings.iter().cloned());
    // Services of another class have no row, and are not passed over in silence either.
    findings.extend(decision.refusals.values().filter(|refusal| refusal.code == Code::OtherClass).cloned());
    for finding in &mut findings {
        on_hosts(finding.code, &mut finding.fix);
    }
    findings.sort();
    findings.dedup();
    let served = services.iter().all(|service| service.state == Progress::Announced);
    let ok = served && findings.iter().all(|finding| finding.severity != Severity::Error);
    State {
        node: facts.own.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ok,
        as_if_applied: false,
        standalone: Some(StandaloneState {
            manifests: std::path::absolute(&facts.settings.manifests).unwrap_or_default(),
            namespace: facts.settings.namespace.clone(),
            load_balancer_class: facts.settings.load_balancer_class.clone(),
            ignore_exclude_lb: facts.settings.ignore_exclude_lb,
            asks_first: facts.settings.secret_file.is_some(),
        }),
        pools: decision
            .config
            .pools
            .values()
            .map(|pool| PoolState::of(pool, decision.counters.get(&pool.name).copied().unwrap_or_default()))
            .collect(),
        services,
        routers: bgp::rows(facts.own, decision, facts.seen),
        peers: facts.peers,
        interfaces: facts.interfaces,
        findings,
        timeline: None,
    }
}

/// A host that ought to be there and is not: everything is served, and one failure less is survived.
fn gone(peer: &PeerState) -> Finding {
    let (message, fix) = match peer.address {
        Some(address) => (
            format!("no word from host {} ({address}); what it announced is with the other hosts", peer.name),
            format!("look at that host and its ferrolb; if it is gone for good, remove Node {}", peer.name),
        ),
        None => (
            format!("host {} cannot be met: its Node has no InternalIP", peer.name),
            format!("write status.addresses into Node {}, or remove it if it runs no ferrolb", peer.name),
        ),
    };
    Finding::new(Code::NodeNotAlive, Severity::Warning, format!("Node/{}", peer.name), message).with_fix(fix)
}

/// Says what to do without a cluster, where nobody has said anything better than the code's general advice.
fn on_hosts(code: Code, fix: &mut String) {
    if code.gives(fix) {
        code.fix_on_hosts().clone_into(fix);
    }
}

/// Services that are ours to serve: of type LoadBalancer and of our class.
fn concerns_us(service: &Service, plan: Option<&ServicePlan>) -> bool {
    let load_balancer = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
    let other_class = plan.and_then(ServicePlan::code) == Some(Code::OtherClass);
    load_balancer && !other_class
}

fn service_state(key: &ServiceKey, service: &Service, facts: &Facts<'_>) -> ServiceState {
    let decision = facts.decision;
    let plan = decision.plan.service(key);
    let addresses = plan.map(|plan| plan.addresses.to_vec()).unwrap_or_default();
    let answer = addresses.iter().find_map(|address| answer(facts.announced.get(address)?, plan?.owner.as_ref()));
    let silent: Vec<IpAddr> =
        addresses.iter().filter(|address| !facts.announced.contains_key(*address)).copied().collect();
    let routers = routers::told(&decision.bgp, facts.seen, key);
    let state = match (&answer, addresses.is_empty()) {
        (_, false) if !routers.is_empty() => Progress::Announced,
        (Some(_), false) if silent.is_empty() => Progress::Announced,
        (_, true) => Progress::Pending,
        _ => Progress::Allocated,
    };
    let (node, links) = answer.map(|(node, links)| (Some(node.to_string()), links.clone())).unwrap_or_default();
    let node = node.or_else(|| (!routers.is_empty()).then(|| facts.own.to_string()));
    ServiceState {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        pool: plan.and_then(|plan| plan.pool()).map(str::to_owned),
        state,
        node,
        mac: links.first().map(|(_, mac)| *mac),
        interfaces: links.into_iter().map(|(name, _)| name).collect(),
        try_urls: if state == Progress::Announced { state::urls(service, &addresses) } else { Vec::new() },
        routers: Names(routers),
        since: None,
        reasons: reasons(key, state, &silent, facts).into_iter().map(in_words_for_hosts).collect(),
        addresses,
    }
}

/// The host that answers: the planned owner if it does, else whoever does.
fn answer<'a>(
    hosts: &'a BTreeMap<NodeName, Vec<(String, MacAddr)>>,
    owner: Option<&NodeName>,
) -> Option<(&'a NodeName, &'a Vec<(String, MacAddr)>)> {
    owner.and_then(|owner| hosts.get_key_value(owner)).or_else(|| hosts.iter().next())
}

fn in_words_for_hosts(mut reason: ReasonState) -> ReasonState {
    on_hosts(reason.code, &mut reason.fix);
    reason
}

fn reasons(key: &ServiceKey, state: Progress, silent: &[IpAddr], facts: &Facts<'_>) -> Vec<ReasonState> {
    let decision = facts.decision;
    let mut reasons = Vec::new();
    let of = |finding: &Finding, node: Option<String>| ReasonState {
        code: finding.code,
        node,
        message: finding.message.clone(),
        fix: finding.fix.clone(),
    };
    if let Some(refusal) = decision.refusals.get(key) {
        reasons.push(of(refusal, None));
        return reasons;
    }
    let notes = decision.notes.get(key).into_iter().flatten();
    let Some(plan) = decision.plan.service(key) else { return reasons };
    if state == Progress::Announced {
        reasons.extend(plan.warnings().iter().chain(notes).map(|finding| of(finding, None)));
        return reasons;
    }
    let by_bgp = decision.bgp.services.get(key).filter(|_| plan.code() == Some(Code::NoAdvertisement));
    if let Some(part) = by_bgp {
        let waits = || {
            let routers: Vec<&str> = part.leads.by_router().into_keys().collect();
            let message = format!("it is to be announced by BGP, and no router has been told: {}", routers.join(", "));
            Finding::new(Code::BgpSessionDown, Severity::Error, format!("Service/{key}"), message)
        };
        reasons.push(of(&part.finding(key).unwrap_or_else(waits), None));
        return reasons;
    }
    let headline = plan.finding().or_else(|| strangers::block(key, silent, facts.strangers));
    let headline = headline.unwrap_or_else(|| not_on_the_wire(key, plan, silent, facts));
    reasons.push(of(&headline, None));
    reasons.extend(plan.node_findings().map(|(node, finding)| of(&finding, Some(node.to_string()))));
    reasons
}

/// Why a Service is not announced although somebody is to do it: nobody can say more than that he is silent.
fn not_on_the_wire(key: &ServiceKey, plan: &ServicePlan, silent: &[IpAddr], facts: &Facts<'_>) -> Finding {
    let owner = plan.owner.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
    let addresses: Vec<String> = silent.iter().map(ToString::to_string).collect();
    let interfaces = plan.owner.as_ref().and_then(|owner| facts.able.get(owner)).map_or_else(String::new, |able| {
        let names: Vec<&str> = able.iter().map(String::as_str).collect();
        format!("; its interfaces that can announce: {}", names.join(", "))
    });
    let message =
        format!("{owner} is to announce {} and does not say that it does{interfaces}", addresses.join(" and "));
    let fix = format!("wait a moment; if it stays, look at `ferrolb status` and the log of ferrolb on {owner}");
    Finding::new(Code::AnnouncerSilent, Severity::Note, format!("Service/{key}"), message).with_fix(fix)
}
