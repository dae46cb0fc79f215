//! Layer-2 advertisements: node sets, preferences, and which pools they are attached to (spec §3.4, rules V28, V31, V42).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::pools::Parsed;
use super::selector::{self, Selector};
use super::{L2Advertisement, Pool, Report, object, refuse_duplicates};
use crate::api;
use crate::names::NodeName;
use crate::reason::{Code, Finding, Severity};

/// An advertisement and the pools it asks for.
pub(super) struct Wanted {
    advertisement: Arc<L2Advertisement>,
    object: String,
    names: Vec<String>,
    selectors: Vec<Selector>,
}

/// Parses every advertisement, in order of name.
pub(super) fn parse(
    advertisements: &[Arc<api::L2Advertisement>],
    nodes: &[Arc<Node>],
    report: &mut Report,
) -> Vec<Wanted> {
    let mut sorted: Vec<_> = advertisements.iter().collect();
    sorted.sort_by_key(|advertisement| advertisement.metadata.name.clone());
    sorted.into_iter().map(|advertisement| parse_one(advertisement, nodes, report)).collect()
}

fn parse_one(advertisement: &api::L2Advertisement, nodes: &[Arc<Node>], report: &mut Report) -> Wanted {
    let object = object("L2Advertisement", &advertisement.metadata);
    let spec = &advertisement.spec;
    refuse_duplicates(report, &object, "spec.ipAddressPools", "of ipAddressPools", &spec.ip_address_pools);
    let mut list = |field: &str, selectors: &[_]| {
        selector::parse_list(selectors, report, &object, &format!("spec.{field}"), field)
    };
    let selectors = list("ipAddressPoolSelectors", &spec.ip_address_pool_selectors);
    let node_selectors = list("nodeSelectors", &spec.node_selectors);
    let mut service_selectors = list("serviceSelectors", &spec.service_selectors);
    service_selectors.sort_by_key(ToString::to_string);
    let selected: BTreeSet<NodeName> = nodes
        .iter()
        .filter(|node| Selector::any_matches(&node_selectors, &labels(node)))
        .filter_map(|node| node.metadata.name.clone().map(NodeName))
        .collect();
    if selected.is_empty() && !nodes.is_empty() {
        let message = format!("its nodeSelectors match none of the {} nodes, so nobody announces for it", nodes.len());
        report.warn(
            Finding::new(Code::NoNodeSelected, Severity::Warning, object.clone(), message)
                .at_field("spec.nodeSelectors"),
        );
    }
    let preferences = preferences(spec, nodes, &selected, &object, report);
    let interfaces = (!spec.interfaces.is_empty()).then(|| spec.interfaces.iter().cloned().collect());
    let advertisement = L2Advertisement {
        name: advertisement.metadata.name.clone().unwrap_or_default(),
        nodes: selected,
        interfaces,
        service_selectors,
        preferences,
    };
    Wanted { advertisement: Arc::new(advertisement), object, names: spec.ip_address_pools.clone(), selectors }
}

fn labels(node: &Node) -> BTreeMap<String, String> {
    node.metadata.labels.clone().unwrap_or_default()
}

/// Per node of the advertisement the sum of the weights that match it; only positive sums count.
fn preferences(
    spec: &api::L2AdvertisementSpec,
    nodes: &[Arc<Node>],
    selected: &BTreeSet<NodeName>,
    object: &str,
    report: &mut Report,
) -> BTreeMap<NodeName, i32> {
    let mut scores = BTreeMap::<NodeName, i32>::new();
    for (index, preference) in spec.preferred_node_selectors.iter().enumerate() {
        let field = format!("spec.preferredNodeSelectors[{index}]");
        if !(1..=100).contains(&preference.weight) {
            let message = format!("weight {} is not between 1 and 100", preference.weight);
            report.error(Code::OutOfRange, object, format!("{field}.weight"), message);
            continue;
        }
        match Selector::parse(&preference.preference) {
            Err(why) => {
                let message = format!("failed to parse preferred node selectors: {why}");
                report.error(Code::PreferenceInvalid, object, format!("{field}.preference"), message);
            }
            Ok(selector) => {
                for node in nodes.iter().filter(|node| selector.matches(&labels(node))) {
                    let name = NodeName(node.metadata.name.clone().unwrap_or_default());
                    if selected.contains(&name) {
                        let score = scores.entry(name).or_default();
                        *score = score.saturating_add(preference.weight);
                    }
                }
            }
        }
    }
    scores.retain(|_, score| *score > 0);
    scores
}

/// So many pools are named to whoever mistyped one.
const POOLS_NAMED: usize = 10;

/// Attaches advertisements to the pools they name or select; to all if they do neither.
pub(super) fn attach(advertisements: &[Wanted], pools: &mut BTreeMap<String, Parsed>, report: &mut Report) {
    let known: Vec<&str> = pools.keys().take(POOLS_NAMED).map(String::as_str).collect();
    let fix = match &known[..] {
        [] => "create the pool: there is none yet".to_owned(),
        known => {
            format!("correct the name in spec.ipAddressPools (there are: {}), or create the pool", known.join(", "))
        }
    };
    for wanted in advertisements {
        for name in wanted.names.iter().filter(|name| !pools.contains_key(*name)) {
            let message = format!("it names pool {name:?}, which does not exist");
            report.warn(
                Finding::new(Code::AdvertisedPoolMissing, Severity::Warning, wanted.object.clone(), message)
                    .at_field("spec.ipAddressPools")
                    .with_fix(fix.as_str()),
            );
        }
        let everything = wanted.names.is_empty() && wanted.selectors.is_empty();
        for parsed in pools.values_mut() {
            let named = wanted.names.contains(&parsed.pool.name);
            let selected = wanted.selectors.iter().any(|selector| selector.matches(&parsed.labels));
            if everything || named || selected {
                attach_one(&mut parsed.pool.l2_advertisements, &wanted.advertisement);
            }
        }
    }
    let silent = |pool: &Pool| pool.l2_advertisements.is_empty() && pool.bgp_advertisements.is_empty();
    for parsed in pools.values().filter(|parsed| silent(&parsed.pool)) {
        let message = format!(
            "no L2Advertisement selects this pool; Services with an address of {:?} will not be reachable",
            parsed.pool.name
        );
        report.warn(Finding::new(Code::PoolNotAdvertised, Severity::Warning, parsed.object.clone(), message).with_fix(
            format!(
                "add {:?} to spec.ipAddressPools of an L2Advertisement, or create one without ipAddressPools",
                parsed.pool.name
            ),
        ));
    }
}

/// Two advertisements that say the same are attached once, unless one has preferences: those add up (spec §3.4).
fn attach_one(attached: &mut Vec<Arc<L2Advertisement>>, new: &Arc<L2Advertisement>) {
    let same = |old: &Arc<L2Advertisement>| {
        old.nodes == new.nodes
            && old.interfaces == new.interfaces
            && old.service_selectors == new.service_selectors
            && old.preferences.is_empty()
            && new.preferences.is_empty()
    };
    if !attached.iter().any(same) {
        attached.push(new.clone());
    }
}
