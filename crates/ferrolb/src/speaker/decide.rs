//! From everything known to everything wanted, in one pass and without touching anything.
//!
//! Three questions: which configuration is in force, what the plan is, and whether it is the plan that counts or what
//! was saved before a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::config::{self, Config, Resources};
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::bgp::BgpPlan;
use ferrolb_rules::plan::{self, Announcement, Options, Plan, Planner, Snapshot};
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::{View, status_ips};
use ferrolb_rules::slice::Slice;
use k8s_openapi::api::core::v1::Node;
use smallvec::SmallVec;

#[cfg(test)]
mod tests;

/// How long a configuration waits that would take away an announced address. The controller gives a new address within
/// milliseconds; a minute is enough for it to be restarted and to get its lease back, and for a pool that is renamed in
/// two steps. After that the configuration counts as it stands: a Service that nobody moves (a status that somebody
/// else wrote) must not hold up everybody's configuration for ever, as it does upstream.
pub(super) const HOLD_INTERVAL: Duration = Duration::from_secs(60);
/// How long a configuration waits that has no advertisement any more for what is announced: what is replaced, or renamed
/// together with its pool, is gone for a moment only.
pub(super) const UNADVERTISED_INTERVAL: Duration = Duration::from_secs(2);
/// How long to wait for the API server before what was saved counts (decision D21).
pub(super) const API_INTERVAL: Duration = Duration::from_secs(3);

/// What one pass is made from.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// What the configuration is made of.
    pub(super) resources: Resources,
    /// The Services of type LoadBalancer.
    pub(super) services: BTreeMap<ServiceKey, Arc<dyn View>>,
    /// Their EndpointSlices.
    pub(super) endpoints: BTreeMap<ServiceKey, Vec<Arc<Slice>>>,
    /// The Nodes.
    pub(super) nodes: BTreeMap<NodeName, Arc<Node>>,
    /// The live members; `None`: no membership, every Node counts.
    pub(super) members: Option<BTreeSet<NodeName>>,
    /// Whose each address is, where nodes claim them.
    pub(super) owners: Option<BTreeMap<IpAddr, NodeName>>,
    /// This node's interfaces that can announce.
    pub(super) interfaces: BTreeSet<String>,
}

/// What one pass ends with.
#[derive(Debug)]
pub(super) struct Decision {
    /// What this node announces on layer 2, and why everything else is not announced.
    pub(super) plan: Plan,
    /// What it tells routers.
    pub(super) bgp: BgpPlan,
    /// The configuration in force; empty where none is.
    pub(super) config: Arc<Config>,
    /// Configuration errors and what else is worth knowing about it.
    pub(super) findings: Vec<Finding>,
    /// What is wrong with the newest configuration, as far as it is this node's affair.
    pub(super) verdict: Result<(), String>,
    /// Whether an older configuration is in force than the newest, or none.
    pub(super) stale: bool,
    /// Whether any configuration is in force.
    pub(super) configured: bool,
}

/// The memory between passes.
#[derive(Debug)]
pub(super) struct Decider {
    own: NodeName,
    options: Options,
    config: Option<Arc<Config>>,
    /// What the newest configuration was made of, and what became of it.
    parsed: Option<(Resources, Parsed)>,
    planner: Planner,
    /// The Services that somebody announces on layer 2, by the last plan.
    announced: BTreeSet<ServiceKey>,
    /// The Services that this node tells routers of, by the last plan.
    told: BTreeSet<ServiceKey>,
    hold_until: Option<Instant>,
    /// Since when a configuration waits.
    held_since: Option<Instant>,
}

#[derive(Clone, Debug)]
enum Parsed {
    Good(Arc<Config>),
    Bad(Vec<Finding>),
}

impl Decider {
    pub(super) fn new(own: NodeName, options: Options) -> Self {
        Self {
            own,
            options,
            config: None,
            parsed: None,
            planner: Planner::default(),
            announced: BTreeSet::new(),
            told: BTreeSet::new(),
            hold_until: None,
            held_since: None,
        }
    }

    /// One pass.
    pub(super) fn decide(&mut self, inputs: Inputs, now: Instant) -> Decision {
        let (loaded, findings) = self.configure(&inputs.resources, &inputs.services, now);
        let config = self.config.clone().unwrap_or_default();
        let stale = loaded.is_err();
        let verdict = loaded.and_then(|()| every_peer_can_be_had(&config, &self.own));
        let snapshot = Snapshot {
            config: config.clone(),
            services: inputs.services,
            endpoints: inputs.endpoints,
            nodes: inputs.nodes,
            members: inputs.members,
            own: self.own.clone(),
            interfaces: BTreeMap::from([(self.own.clone(), inputs.interfaces)]),
            unhealthy: BTreeMap::new(),
            without_interface: BTreeSet::new(),
            owners: inputs.owners,
            options: self.options.clone(),
        };
        let (plan, bgp) = (self.planner.plan(&snapshot), plan::bgp::plan(&snapshot));
        let announced = plan.services.iter().filter(|service| service.owner.is_some() && service.code().is_none());
        self.announced = announced.map(|service| service.service.clone()).collect();
        let told = bgp.services.iter().filter(|(_, part)| !part.leads.is_empty());
        self.told = told.map(|(service, _)| service.clone()).collect();
        Decision { plan, bgp, config, findings, verdict, stale, configured: self.config.is_some() }
    }

    /// When the answer changes by time alone.
    pub(super) const fn next_deadline(&self) -> Option<Instant> {
        self.hold_until
    }

    /// Takes the newest configuration, if it can be used and takes no address away that is announced (spec §3.9).
    fn configure(
        &mut self,
        resources: &Resources,
        services: &BTreeMap<ServiceKey, Arc<dyn View>>,
        now: Instant,
    ) -> (Result<(), String>, Vec<Finding>) {
        let new = match self.parse(resources) {
            Parsed::Bad(errors) => {
                (self.hold_until, self.held_since) = (None, None);
                return self.stale(errors);
            }
            Parsed::Good(new) => new,
        };
        if let Some((interval, message)) = self.taken_away(&new, services) {
            let since = *self.held_since.get_or_insert(now);
            if now < since + interval {
                self.hold_until = Some(since + interval);
                let finding =
                    Finding::new(Code::ConfigurationHeld, Severity::Warning, "configuration", message.clone());
                // What is back in a moment is no state of the configuration that anybody has to know.
                let verdict = if interval < HOLD_INTERVAL { Ok(()) } else { Err(message) };
                return (verdict, vec![finding]);
            }
        }
        self.held_since = None;
        self.hold_until = None;
        let findings = new.findings_on(&self.own).cloned().collect();
        self.config = Some(new);
        (Ok(()), findings)
    }

    /// The configuration that these resources make; the same `Arc` as before where they mean the same.
    fn parse(&mut self, resources: &Resources) -> Parsed {
        if let Some((old, parsed)) = &self.parsed
            && same(old, resources)
        {
            return parsed.clone();
        }
        let parsed = match config::parse(resources) {
            Ok(config) => {
                let last = match &self.parsed {
                    Some((_, Parsed::Good(last))) => Some(last),
                    _ => None,
                };
                let equal = last.into_iter().chain(&self.config).find(|old| ***old == config).cloned();
                Parsed::Good(equal.unwrap_or_else(|| Arc::new(config)))
            }
            Err(invalid) => Parsed::Bad(invalid.0),
        };
        self.parsed = Some((resources.clone(), parsed.clone()));
        parsed
    }

    fn stale(&self, errors: Vec<Finding>) -> (Result<(), String>, Vec<Finding>) {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        let consequence = match self.config {
            Some(_) => "the last good one stays in force",
            None => "there is no earlier one",
        };
        let message = format!("failed to parse the configuration: {} errors; {consequence}", errors.len());
        let mut findings = vec![Finding::new(Code::ConfigurationStale, Severity::Error, "configuration", message)];
        findings.extend(errors);
        (Err(first), findings)
    }

    /// What a new configuration would take away from what is announced, in words, and how long that has to last.
    fn taken_away(
        &self,
        new: &Arc<Config>,
        services: &BTreeMap<ServiceKey, Arc<dyn View>>,
    ) -> Option<(Duration, String)> {
        if self.config.as_ref().is_none_or(|old| Arc::ptr_eq(old, new)) {
            return None;
        }
        let of = |keys: &BTreeSet<ServiceKey>| -> Vec<(ServiceKey, Arc<dyn View>)> {
            keys.iter().filter_map(|key| Some((key.clone(), services.get(key)?.clone()))).collect()
        };
        let (answered, told) = (of(&self.announced), of(&self.told));
        let homeless: BTreeMap<_, _> =
            answered.iter().chain(&told).filter(|(_, service)| !is_housed(&**service, new)).cloned().collect();
        if !homeless.is_empty() {
            let what = "no pool of it has the addresses of";
            return Some((HOLD_INTERVAL, held(what, &homeless)));
        }
        let unanswered = answered.into_iter().filter(|(_, service)| !plan::is_advertised(&**service, new));
        let untold = told.into_iter().filter(|(_, service)| !plan::bgp::is_advertised(&**service, new));
        let unadvertised: BTreeMap<_, _> = unanswered.chain(untold).collect();
        let what = "no advertisement of it is for";
        (!unadvertised.is_empty()).then(|| (UNADVERTISED_INTERVAL, held(what, &unadvertised)))
    }
}

/// A peer of this node whose Secret cannot be used is an invalid configuration here, and on no other node, as with upstream
/// (spec §3.7 V16–V18, §3.10); unlike there everything else is in force.
fn every_peer_can_be_had(config: &Config, own: &NodeName) -> Result<(), String> {
    let mut unusable = config.findings_on(own).filter(|finding| finding.code == Code::PeerSecretUnusable);
    unusable.next().map_or(Ok(()), |finding| Err(finding.to_string()))
}

fn held(what: &str, services: &BTreeMap<ServiceKey, Arc<dyn View>>) -> String {
    let list = |(key, service): (&ServiceKey, &Arc<dyn View>)| {
        format!("{key} ({})", status_ips(&**service).collect::<Vec<_>>().join(", "))
    };
    let named: Vec<String> = services.iter().take(3).map(list).collect();
    let more = if services.len() > named.len() { " and others" } else { "" };
    format!("new configuration rejected for now: {what} {}{more}, which are announced", named.join(", "))
}

/// Whether a single pool of a configuration has all addresses of a Service.
fn is_housed(service: &dyn View, config: &Config) -> bool {
    let ips: Vec<IpAddr> = status_ips(service).filter_map(|ip| ip.parse().ok()).collect();
    let mut pools = config.pools.values();
    pools.any(|pool| ips.iter().all(|ip| pool.ranges.iter().any(|range| range.contains(*ip))))
}

/// Whether two sets of resources are the same objects.
fn same(a: &Resources, b: &Resources) -> bool {
    fn all<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
    }
    all(&a.pools, &b.pools)
        && all(&a.l2_advertisements, &b.l2_advertisements)
        && all(&a.bgp_advertisements, &b.bgp_advertisements)
        && all(&a.bgp_peers, &b.bgp_peers)
        && all(&a.bfd_profiles, &b.bfd_profiles)
        && a.secrets.is_some() == b.secrets.is_some()
        && all(a.secrets.as_deref().unwrap_or_default(), b.secrets.as_deref().unwrap_or_default())
        && all(&a.communities, &b.communities)
        && all(&a.namespaces, &b.namespaces)
        && all(&a.nodes, &b.nodes)
        && a.malformed == b.malformed
}

/// What counts at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Nothing yet: too little is known.
    Nothing,
    /// What was saved before the restart: the API server does not answer.
    Saved,
    /// What was saved, where the Services still have these addresses: no configuration could be loaded since.
    SavedAndStill,
    /// The plan.
    Plan,
}

impl Basis {
    /// Chooses. `configured` says whether a configuration is in force, `since` when the speaker started.
    pub(super) fn choose(synced: bool, configured: bool, saved: bool, since: Instant, now: Instant) -> Self {
        match (synced, configured, saved) {
            (true, true, _) | (true, false, false) => Self::Plan,
            (true, false, true) => Self::SavedAndStill,
            (false, _, true) if now >= since + API_INTERVAL => Self::Saved,
            (false, ..) => Self::Nothing,
        }
    }
}

/// Of what was saved, what Services still have in their status.
pub(super) fn still(
    saved: &BTreeMap<IpAddr, Announcement>,
    services: &BTreeMap<ServiceKey, Arc<dyn View>>,
) -> BTreeMap<IpAddr, Announcement> {
    let has = |key: &ServiceKey, address: IpAddr| {
        services.get(key).is_some_and(|service| status_ips(service).any(|ip| ip.parse() == Ok(address)))
    };
    let mut kept = BTreeMap::new();
    for (address, one) in saved {
        let services: SmallVec<[ServiceKey; 1]> =
            one.services.iter().filter(|key| has(key, *address)).cloned().collect();
        if !services.is_empty() {
            kept.insert(*address, Announcement { interfaces: one.interfaces.clone(), services });
        }
    }
    kept
}
