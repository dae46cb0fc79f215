//! Who leaves on purpose says so first (RFC 8326, decision D18).
//!
//! A node that is taken out by its label, by what shows that it is being emptied, or by an advertisement that does not
//! select it any more, still forwards. Its
//! routes stay for [`FAREWELL`] with GRACEFUL_SHUTDOWN (and local preference 0 on iBGP), so that routers have gone over to
//! others before they are withdrawn. What cannot be kept (a Service without endpoints, or one that is deleted, or has
//! other addresses now) goes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_proto::bgp::Routes;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{BgpPlan, BgpService};
use crate::names::{NodeName, ServiceKey};
use crate::reason::Code;

/// How long routers have to find other ways.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// Taints of those who are about to delete a node, or say that it is off.
const TAINTS: [&str; 3] =
    ["ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "node.kubernetes.io/out-of-service"];

/// Which Services are leaving this node, and until when their routes stay.
#[derive(Clone, Debug, Default)]
pub struct Farewell {
    until: BTreeMap<ServiceKey, Instant>,
}

impl Farewell {
    /// Puts back into a new plan what was told `before` it and is to be told for a while yet.
    pub fn hold(&mut self, before: Option<&BgpPlan>, plan: &mut BgpPlan, now: Instant) {
        let leaving = |part: &BgpService| {
            matches!(part.code, Some(Code::NodeExcluded | Code::NodeNotSelected | Code::NodeDrained))
        };
        let mut until = BTreeMap::new();
        for (key, part) in plan.services.iter_mut().filter(|(_, part)| leaving(part)) {
            let Some(told) = before.and_then(|before| before.services.get(key)) else { continue };
            let end = self.until.get(key).copied().unwrap_or(now + FAREWELL);
            if told.leads.is_empty() || told.addresses != part.addresses || end <= now {
                continue;
            }
            for (peer, prefixes) in told.leads.by_router() {
                let routes = before.and_then(|before| before.peers.get(peer)).zip(plan.peers.get_mut(peer));
                if let Some((old, new)) = routes {
                    keep(&prefixes, old, new);
                }
            }
            *part = told.clone();
            until.insert(key.clone(), end);
        }
        self.until = until;
    }

    /// When the first of them are to be withdrawn.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.until.values().min().copied()
    }
}

fn keep(prefixes: &BTreeSet<IpNet>, old: &Routes, new: &mut Arc<Routes>) {
    let going: Vec<_> = prefixes.iter().filter(|prefix| !new.contains_key(*prefix)).collect();
    for (prefix, attributes) in going.into_iter().filter_map(|prefix| old.get_key_value(prefix)) {
        Arc::make_mut(new).insert(*prefix, Arc::new(attributes.draining()));
    }
}

/// Whether a taint says that its node is about to be deleted, or is off.
pub fn takes_away(taint: &Taint) -> bool {
    TAINTS.contains(&taint.key.as_str())
}

/// Why a node that is stopped now is not expected back, in words for the operators of its routers; `None`: as far as is
/// known, its program restarts and its kernel goes on forwarding. Where no Node is known at all, nothing is known.
pub fn departure(own: &NodeName, nodes: &BTreeMap<NodeName, Arc<Node>>) -> Option<&'static str> {
    let Some(node) = nodes.get(own) else { return (!nodes.is_empty()).then_some("the node is deleted") };
    if node.metadata.deletion_timestamp.is_some() {
        return Some("the node is being deleted");
    }
    let spec = node.spec.as_ref();
    let mut taints = spec.and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    if taints.any(takes_away) {
        return Some("the node is being taken away");
    }
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        return Some("the node is cordoned");
    }
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    ready.filter(|ready| ready.status != "True").map(|_| "the node is not ready")
}

#[cfg(test)]
mod tests {
    use ferrolb_proto::bgp::{Attributes, Community};

    use super::super::Leads;
    use super::*;
    use crate::fixtures::object;

    const SECOND: Duration = Duration::from_secs(1);

    fn part(address: &str, told: bool) -> BgpService {
        let prefix: IpNet = format!("{address}/32").parse().unwrap();
        let peers = if told { BTreeMap::from([("r".to_owned(), BTreeSet::from([prefix]))]) } else { BTreeMap::new() };
        BgpService { addresses: vec![address.parse().unwrap()], leads: Leads::of(peers), ..BgpService::default() }
    }

    fn plan(parts: &[(&str, BgpService)]) -> BgpPlan {
        let set = Arc::new(Attributes { local_pref: Some(7), ..Attributes::default() });
        let prefixes = parts.iter().flat_map(|(_, part)| part.leads.iter().map(|(prefix, _)| prefix));
        let routes: Routes = prefixes.map(|prefix| (*prefix, set.clone())).collect();
        let services = parts.iter().map(|(name, part)| (ServiceKey::new("default", *name), part.clone()));
        BgpPlan { peers: BTreeMap::from([("r".to_owned(), Arc::new(routes))]), services: services.collect() }
    }

    fn gone(address: &str, code: Code) -> BgpService {
        BgpService { code: Some(code), ..part(address, false) }
    }

    #[expect(clippy::disallowed_methods, reason = "a test has to begin somewhere in time")]
    fn some_time() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_excluded_node_asks_for_other_ways_and_withdraws_five_seconds_later() {
        let (now, mut farewell) = (some_time(), Farewell::default());
        let before = plan(&[("web", part("192.0.2.1", true))]);
        let new = plan(&[("web", gone("192.0.2.1", Code::NodeExcluded))]);
        let mut held = new.clone();
        farewell.hold(Some(&before), &mut held, now);
        let set = held.peers["r"].values().next().unwrap();
        assert_eq!((set.local_pref, set.communities.contains(&Community::GRACEFUL_SHUTDOWN)), (Some(0), true));
        assert_eq!(held.services, before.services);
        assert_eq!(farewell.next_deadline(), Some(now + FAREWELL));
        let mut later = new.clone();
        farewell.hold(Some(&held), &mut later, now + SECOND);
        assert_eq!((&later, farewell.next_deadline()), (&held, Some(now + FAREWELL)), "the time is not begun anew");
        let mut last = new.clone();
        farewell.hold(Some(&later), &mut last, now + FAREWELL);
        assert_eq!((&last, farewell.next_deadline()), (&new, None));
        let mut after = new.clone();
        farewell.hold(Some(&last), &mut after, now + 2 * FAREWELL);
        assert_eq!((&after, farewell.next_deadline()), (&new, None), "what is withdrawn does not come back");
    }

    #[test]
    fn a_node_that_is_taken_back_announces_as_before() {
        let (now, mut farewell) = (some_time(), Farewell::default());
        let before = plan(&[("web", part("192.0.2.1", true))]);
        let mut held = plan(&[("web", gone("192.0.2.1", Code::NodeNotSelected))]);
        farewell.hold(Some(&before), &mut held, now);
        let mut back = before.clone();
        farewell.hold(Some(&held), &mut back, now + SECOND);
        assert_eq!((&back, farewell.next_deadline()), (&before, None));
    }

    #[test]
    fn what_nobody_serves_any_more_goes_at_once() {
        let (now, before) = (some_time(), plan(&[("web", part("192.0.2.1", true))]));
        for parts in [
            vec![("web", gone("192.0.2.1", Code::NoReadyEndpoints))],
            vec![("web", gone("192.0.2.9", Code::NodeExcluded))],
            vec![],
        ] {
            let (new, mut farewell) = (plan(&parts), Farewell::default());
            let mut held = new.clone();
            farewell.hold(Some(&before), &mut held, now);
            assert_eq!((&held, farewell.next_deadline()), (&new, None), "{parts:?}");
        }
    }

    #[test]
    fn a_prefix_that_another_service_still_needs_is_announced_without_a_farewell() {
        let (now, mut farewell) = (some_time(), Farewell::default());
        let before = plan(&[("db", part("192.0.2.1", true)), ("web", part("192.0.2.1", true))]);
        let mut held = plan(&[("db", part("192.0.2.1", true)), ("web", gone("192.0.2.1", Code::NodeNotSelected))]);
        farewell.hold(Some(&before), &mut held, now);
        assert_eq!(held.peers, before.peers);
    }

    #[test]
    fn a_node_that_is_stopped_while_somebody_takes_it_away_is_not_expected_back() {
        let nodes = |yaml: &str| BTreeMap::from([(NodeName::new("a"), Arc::new(object::<Node>(yaml)))]);
        let why = |yaml: &str| departure(&NodeName::new("a"), &nodes(yaml));
        let ready = |status: &str| format!("{{status: {{conditions: [{{type: Ready, status: '{status}'}}]}}}}");
        assert_eq!(why("{}"), None);
        assert_eq!(why(&ready("True")), None);
        assert_eq!(why(&ready("False")), Some("the node is not ready"));
        assert_eq!(why(&ready("Unknown")), Some("the node is not ready"));
        assert_eq!(why("{spec: {unschedulable: true}}"), Some("the node is cordoned"));
        let taint = "{spec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}}";
        assert_eq!(why(taint), Some("the node is being taken away"));
        assert_eq!(why("{spec: {taints: [{key: gpu, effect: NoSchedule}]}}"), None);
        let deleted = "{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}";
        assert_eq!(why(deleted), Some("the node is being deleted"));
        assert_eq!(departure(&NodeName::new("b"), &nodes("{}")), Some("the node is deleted"));
        assert_eq!(departure(&NodeName::new("b"), &BTreeMap::new()), None, "nothing is known");
    }
}
