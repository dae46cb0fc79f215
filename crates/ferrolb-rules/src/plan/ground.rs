//! What a plan stands on: the nodes, looked at once for all Services (spec §5.2, §6.1 steps 1–3).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::{Options, Snapshot};
use crate::config::{Config, L2Advertisement};
use crate::drain::is_drained;
use crate::l2::Ballot;
use crate::names::{NodeName, ServiceKey};
use crate::reason::Code;

/// The label that takes a node out (spec §1.14); its value does not matter.
pub(super) const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The nodes and everything else that all Services have in common.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) config: Arc<Config>,
    pub(super) options: Options,
    pub(super) own: NodeName,
    pub(super) interfaces: BTreeMap<NodeName, BTreeSet<String>>,
    pub(super) unhealthy: BTreeMap<NodeName, BTreeSet<ServiceKey>>,
    without_interface: BTreeSet<NodeName>,
    /// Every Node and every member, by name.
    pub(super) nodes: Vec<NodeName>,
    /// Per node, why it can announce nothing at all.
    pub(super) base: Vec<Option<Code>>,
    /// Per node, its half of the election's hash.
    pub(super) ballots: Vec<Ballot>,
    /// Per node, whether it is being emptied.
    pub(super) drained: Vec<bool>,
    /// Every node is excluded, and so none is (decision D2).
    pub(super) all_excluded: bool,
    /// Per advertisement, by where it lies in memory (the configuration above keeps it there), which nodes it selects.
    selected: HashMap<usize, Vec<bool>>,
    members: Option<BTreeSet<NodeName>>,
    /// Nodes claim addresses.
    pub(super) claims: bool,
    objects: BTreeMap<NodeName, Arc<Node>>,
}

impl Ground {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        // Whoever plans without being a node himself (the controller, to say why) has no name.
        let own = Some(&snapshot.own).filter(|own| !own.as_str().is_empty());
        let names: BTreeSet<&NodeName> =
            snapshot.nodes.keys().chain(snapshot.members.iter().flatten()).chain(own).collect();
        let nodes: Vec<NodeName> = names.into_iter().cloned().collect();
        let claims = snapshot.owners.is_some();
        // Nobody is known to live while it is still listened for: nobody may announce then. Otherwise whoever claims
        // addresses sees for himself who is alive.
        let see = claims && snapshot.members.as_ref().is_some_and(|members| !members.is_empty());
        let judge = |name: &NodeName, labels: bool| {
            let node = snapshot.nodes.get(name).map(|node| &**node);
            if !see && snapshot.members.as_ref().is_some_and(|members| !members.contains(name)) {
                return Some(Code::NodeNotAlive);
            }
            if node.is_some_and(network_unavailable) {
                return Some(Code::NodeNetworkUnavailable);
            }
            if snapshot.without_interface.contains(name) {
                return Some(Code::InterfaceMissing);
            }
            (labels && node.is_some_and(excluded)).then_some(Code::NodeExcluded)
        };
        let labels = !snapshot.options.ignore_exclude_lb;
        let mut base: Vec<Option<Code>> = nodes.iter().map(|name| judge(name, labels)).collect();
        let none_left = base.iter().all(Option::is_some) && base.contains(&Some(Code::NodeExcluded));
        let all_excluded = none_left && snapshot.options.announce_if_all_excluded;
        if all_excluded {
            base = nodes.iter().map(|name| judge(name, false)).collect();
        }
        let is_emptied =
            |name| snapshot.nodes.get(name).is_some_and(|node| is_drained(node, &snapshot.options.drain_on));
        let drained = nodes.iter().map(is_emptied).collect();
        let advertisements = snapshot.config.pools.values().flat_map(|pool| &pool.l2_advertisements);
        let selects = |one: &Arc<L2Advertisement>| nodes.iter().map(|node| one.nodes.contains(node)).collect();
        let selected = advertisements.map(|one| (Arc::as_ptr(one).addr(), selects(one))).collect();
        Self {
            selected,
            config: snapshot.config.clone(),
            options: snapshot.options.clone(),
            own: snapshot.own.clone(),
            interfaces: snapshot.interfaces.clone(),
            unhealthy: snapshot.unhealthy.clone(),
            without_interface: snapshot.without_interface.clone(),
            ballots: nodes.iter().map(Ballot::new).collect(),
            nodes,
            base,
            drained,
            all_excluded,
            members: snapshot.members.clone(),
            claims,
            objects: snapshot.nodes.clone(),
        }
    }

    /// Whether a new snapshot stands on the same ground. Objects are compared by pointer: whoever watches them makes a
    /// new one only where something changed.
    pub(super) fn still_holds(&self, snapshot: &Snapshot) -> bool {
        let same_nodes = self.objects.len() == snapshot.nodes.len()
            && self.objects.iter().zip(&snapshot.nodes).all(|((a, old), (b, new))| a == b && Arc::ptr_eq(old, new));
        Arc::ptr_eq(&self.config, &snapshot.config)
            && same_nodes
            && self.members == snapshot.members
            && self.claims == snapshot.owners.is_some()
            && self.own == snapshot.own
            && self.interfaces == snapshot.interfaces
            && self.unhealthy == snapshot.unhealthy
            && self.without_interface == snapshot.without_interface
            && self.options == snapshot.options
    }

    /// Whether a node is alive, as far as is known.
    pub(super) fn is_alive(&self, node: usize) -> bool {
        let name = self.nodes.get(node);
        self.members.as_ref().zip(name).is_none_or(|(members, name)| members.contains(name))
    }

    /// Whether an advertisement selects a node.
    pub(super) fn selects(&self, advertisement: &Arc<L2Advertisement>, node: usize) -> bool {
        let selected = self.selected.get(&Arc::as_ptr(advertisement).addr()).and_then(|nodes| nodes.get(node));
        selected.copied().unwrap_or(false)
    }

    pub(super) fn index(&self, node: &NodeName) -> Option<usize> {
        self.nodes.binary_search(node).ok()
    }
}

pub(super) fn network_unavailable(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|condition| condition.type_ == "NetworkUnavailable" && condition.status == "True")
}

pub(super) fn excluded(node: &Node) -> bool {
    node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDE))
}
