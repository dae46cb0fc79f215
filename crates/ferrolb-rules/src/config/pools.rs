//! Pools: address syntax and which Services a pool is for (spec §3.4, rules V23–V27).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::jiff::Timestamp;

use super::selector::{self, Selector};
use super::{Pool, Report, ServiceAllocation, object, refuse_duplicates};
use crate::api;
use crate::range::{AddressRange, Family, RangeError};
use crate::reason::Code;

/// A pool on its way to become part of a configuration.
pub(super) struct Parsed {
    /// The pool as far as it is known.
    pub(super) pool: Pool,
    /// How findings name it.
    pub(super) object: String,
    /// Its labels, for advertisements that select pools.
    pub(super) labels: BTreeMap<String, String>,
    /// When it was created; `None` is younger than any time (decision D3).
    pub(super) created: Option<Timestamp>,
}

/// Parses every pool, by name.
pub(super) fn parse(
    pools: &[Arc<api::IPAddressPool>],
    namespaces: &[Arc<Namespace>],
    report: &mut Report,
) -> BTreeMap<String, Parsed> {
    let mut parsed = BTreeMap::new();
    for pool in pools {
        let object = object("IPAddressPool", &pool.metadata);
        let name = pool.metadata.name.clone().unwrap_or_default();
        let allocation = pool.spec.service_allocation.as_ref();
        let entry = Parsed {
            pool: Pool {
                name: name.clone(),
                ranges: ranges(&pool.spec.addresses, &object, report),
                conflicts: Vec::new(),
                last_resort: router_anycast(&pool.spec.addresses),
                avoid_buggy_ips: pool.spec.avoid_buggy_ips.unwrap_or(false),
                auto_assign: pool.spec.auto_assign.unwrap_or(true),
                service_allocation: allocation.map(|spec| service_allocation(spec, namespaces, &object, report)),
                l2_advertisements: Vec::new(),
                bgp_advertisements: Vec::new(),
            },
            labels: pool.metadata.labels.clone().unwrap_or_default(),
            created: pool.metadata.creation_timestamp.as_ref().map(|time| time.0),
            object,
        };
        parsed.insert(name, entry);
    }
    parsed
}

/// The first address of each IPv6 network: every router on it answers there (RFC 4291, 2.6.1). A range between two
/// addresses says nothing of a network, and one of a /127 or /128 has no such address (RFC 6164).
fn router_anycast(addresses: &[String]) -> BTreeSet<IpAddr> {
    let networks = addresses.iter().filter(|text| text.contains('/'));
    let ranges = networks.filter_map(|text| AddressRange::parse(text).ok());
    ranges.filter(|range| range.family() == Family::V6 && range.size() > 2).map(|range| range.first()).collect()
}

fn ranges(addresses: &[String], object: &str, report: &mut Report) -> Vec<AddressRange> {
    if addresses.is_empty() {
        report.error(Code::PoolEmpty, object, "spec.addresses", "pool has no prefixes defined");
    }
    let mut ranges = Vec::new();
    for (index, text) in addresses.iter().enumerate() {
        match AddressRange::parse(text) {
            Ok(range) => ranges.push(range),
            Err(error) => {
                let fix = match &error {
                    RangeError::BareAddress(address, length) => format!("write {address}/{length}"),
                    RangeError::Reversed(text) => {
                        let (start, end) = text.split_once('-').unwrap_or((text, ""));
                        format!("write {}-{}", end.trim(), start.trim())
                    }
                    RangeError::MixedFamilies(_) => "write one entry for each family".to_owned(),
                    RangeError::InvalidCidr(_) | RangeError::InvalidEnd(..) => {
                        "write a CIDR such as 192.168.1.0/24 or a range such as 192.168.1.200-192.168.1.220".to_owned()
                    }
                };
                let field = format!("spec.addresses[{index}]");
                report.error_fix(Code::AddressRangeInvalid, object, &field, error.to_string(), fix);
            }
        }
    }
    ranges
}

fn service_allocation(
    spec: &api::ServiceAllocation,
    namespaces: &[Arc<Namespace>],
    object: &str,
    report: &mut Report,
) -> ServiceAllocation {
    let path = |field: &str| format!("spec.serviceAllocation.{field}");
    refuse_duplicates(report, object, &path("namespaces"), "in namespaces field", &spec.namespaces);
    let mut selectors =
        |field: &str, list: &[LabelSelector]| selector::parse_list(list, report, object, &path(field), field);
    let namespace_selectors = selectors("namespaceSelectors", &spec.namespace_selectors);
    let mut service_selectors = selectors("serviceSelectors", &spec.service_selectors);
    let by_namespace = !spec.namespaces.is_empty() || !spec.namespace_selectors.is_empty();
    if !by_namespace && spec.service_selectors.is_empty() {
        // A priority alone pins the pool to every Service (spec §3.4).
        service_selectors = vec![Selector::default()];
    }
    let selected = namespaces.iter().filter(|namespace| {
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        namespace_selectors.iter().any(|selector| selector.matches(&labels))
    });
    let names = selected.filter_map(|namespace| namespace.metadata.name.clone());
    let set: BTreeSet<String> = spec.namespaces.iter().cloned().chain(names).collect();
    ServiceAllocation {
        priority: spec.priority.unwrap_or_default(),
        namespaces: by_namespace.then_some(set),
        service_selectors,
    }
}
