//! How long a plan takes for 10,000 Services and 50 nodes: from nothing (at most 100 ms), after one change (at most
//! 5 ms), and after a node died.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ferrolb_rules::api;
use ferrolb_rules::config::{self, Resources};
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::{Planner, Snapshot};
use ferrolb_rules::service::{View, compact};
use ferrolb_rules::slice::Slice;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, from_value, json};

const SERVICES: u32 = 10_000;
const NODES: usize = 50;

fn main() {
    divan::main();
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(from_value(value).unwrap())
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + number)
}

/// As a speaker keeps it.
fn service(number: u32, generation: u32) -> Arc<dyn View> {
    let service: Service = from_value(json!({
        "metadata": {"name": format!("service-{number}"), "namespace": "default", "generation": generation,
            "labels": {"app": "x"}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": "x"}},
        "status": {"loadBalancer": {"ingress": [{"ip": address(number)}]}},
    }))
    .unwrap();
    compact(&service)
}

fn slice(number: u32) -> Option<Arc<Slice>> {
    let node = format!("node-{}", number as usize % NODES);
    let slice: Arc<EndpointSlice> = object(json!({
        "metadata": {"name": format!("service-{number}-x"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": format!("service-{number}")}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.1"], "nodeName": node, "conditions": {"ready": true}}],
    }));
    Slice::of(&slice).map(Arc::new)
}

fn snapshot() -> Snapshot {
    let nodes: Vec<Arc<Node>> =
        (0..NODES).map(|number| object(json!({"metadata": {"name": format!("node-{number}")}}))).collect();
    let pool: Arc<api::IPAddressPool> = object(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": "p"},
        "spec": {"addresses": ["10.0.0.0/16"]}}));
    let advertisement: Arc<api::L2Advertisement> = object(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": {"name": "a"}, "spec": {}}));
    let resources = Resources {
        pools: vec![pool],
        l2_advertisements: vec![advertisement],
        nodes: nodes.clone(),
        ..Resources::default()
    };
    let name = |number: u32| ServiceKey::new("default", format!("service-{number}"));
    Snapshot {
        config: Arc::new(config::parse(&resources).unwrap()),
        services: (0..SERVICES).map(|number| (name(number), service(number, 1))).collect(),
        endpoints: (0..SERVICES).map(|number| (name(number), slice(number).into_iter().collect())).collect(),
        members: Some((0..NODES).map(|number| NodeName::new(format!("node-{number}"))).collect()),
        own: NodeName::new("node-7"),
        interfaces: BTreeMap::from([(NodeName::new("node-7"), BTreeSet::from(["eth0".to_owned()]))]),
        nodes: nodes.into_iter().map(|node| (NodeName::new(node.metadata.name.clone().unwrap()), node)).collect(),
        ..Snapshot::default()
    }
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn from_nothing(bencher: divan::Bencher<'_, '_>) {
    let snapshot = snapshot();
    bencher.bench_local(|| Planner::default().plan(&snapshot).announce.len());
}

#[divan::bench(sample_count = 50, sample_size = 1)]
fn after_one_service_changed(bencher: divan::Bencher<'_, '_>) {
    let mut snapshot = snapshot();
    let mut planner = Planner::default();
    planner.plan(&snapshot);
    let mut generation = 1;
    bencher.bench_local(|| {
        generation += 1;
        snapshot.services.insert(ServiceKey::new("default", "service-5"), service(5, generation));
        planner.plan(&snapshot).announce.len()
    });
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn after_a_node_died(bencher: divan::Bencher<'_, '_>) {
    let mut snapshot = snapshot();
    let mut planner = Planner::default();
    planner.plan(&snapshot);
    let mut alive = true;
    bencher.bench_local(|| {
        alive = !alive;
        let node = NodeName::new("node-9");
        let members = snapshot.members.as_mut().unwrap();
        if alive {
            members.insert(node)
        } else {
            members.remove(&node)
        };
        planner.plan(&snapshot).announce.len()
    });
}
