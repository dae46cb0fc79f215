//! Addresses of nodes that lie in a pool: a Service there would take the node's own traffic. Single-node labs give out
//! the node's address on purpose, so it is no error, but it is the last one that a pool hands out unasked.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::Report;
use super::pools::Parsed;
use crate::reason::{Code, Finding, Severity};

/// Nodes that one finding names.
const NAMED: usize = 5;

/// Notes the addresses of nodes in the pools that have them, and warns once a pool.
pub(super) fn check(nodes: &[Arc<Node>], pools: &mut BTreeMap<String, Parsed>, report: &mut Report) {
    let taken: BTreeMap<IpAddr, &str> = nodes.iter().flat_map(|node| addresses(node)).collect();
    for Parsed { pool, object, .. } in pools.values_mut() {
        let inside = |address: &IpAddr| pool.ranges.iter().position(|range| range.contains(*address));
        let mut found: Vec<(IpAddr, &str, usize)> =
            taken.iter().filter_map(|(address, node)| Some((*address, *node, inside(address)?))).collect();
        found.sort_by_key(|(address, _, entry)| (*entry, *address));
        let Some((_, _, entry)) = found.first() else { continue };
        let named: Vec<String> =
            found.iter().take(NAMED).map(|(address, node, _)| format!("{address} of node {node}")).collect();
        let more = found.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "the pool has addresses of nodes: {}{more}; a Service gets one only if it asks for it or nothing else is free",
            named.join(", ")
        );
        let finding = Finding::new(Code::NodeAddressInPool, Severity::Warning, object.as_str(), message)
            .at_field(format!("spec.addresses[{entry}]"))
            .with_fix("leave the addresses of nodes out of the pool, unless that is what you want");
        report.warn(finding);
        pool.last_resort.extend(found.iter().map(|(address, ..)| *address));
    }
}

/// A node's own addresses; what is none is named where the node stands.
fn addresses(node: &Node) -> impl Iterator<Item = (IpAddr, &str)> {
    let name = node.metadata.name.as_deref().unwrap_or("(unnamed)");
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let internal = addresses.filter(|entry| entry.type_ == "InternalIP");
    internal.filter_map(move |entry| Some((entry.address.parse::<IpAddr>().ok()?.to_canonical(), name)))
}
