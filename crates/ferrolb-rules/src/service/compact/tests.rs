//! What is kept is what was there, and looks the same.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::service::asks_the_same;

fn service(value: Value) -> Service {
    serde_json::from_value(value).unwrap()
}

/// The views of an object and of what was kept of it agree, and so do those of the object put together again.
fn assert_same_view(service: &Service) {
    let kept = compact(service);
    let again = kept.object().into_owned();
    for other in [&*kept as &dyn View, &again, &*compact(&again)] {
        assert_eq!(other.key(), service.key());
        assert_eq!(other.created(), service.created());
        let singles = |view: &dyn View| {
            [view.uid(), view.version(), view.type_(), view.class(), view.load_balancer_ip(), view.ip_family_policy()]
                .map(|text| text.map(str::to_owned))
        };
        assert_eq!(singles(other), singles(service));
        let lists = |view: &dyn View| {
            [view.cluster_ips(), view.ip_families(), view.status_ips()]
                .map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(lists(other), lists(service));
        assert_eq!(other.is_local(), service.is_local());
        assert_eq!((other.labels(), other.selector()), (service.labels(), service.selector()));
        assert_eq!(other.annotations(), service.annotations());
        for (name, value) in service.annotations() {
            assert_eq!(other.annotation(name), Some(value));
        }
        assert_eq!(other.annotation("nobody.has/this"), None);
        assert_eq!(other.ports(), service.ports());
    }
}

#[test]
fn everything_that_is_written_back_is_kept() {
    let metadata = json!({"name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7",
        "creationTimestamp": "2026-01-02T03:04:05Z", "generation": 3, "finalizers": ["x/y"],
        "labels": {"app": "web", "empty": ""}, "annotations": {"theirs": "long", "metallb.io/allow-shared-ip": ""},
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "p"}]});
    let condition = json!({"type": "metallb.io/Allocated", "status": "True", "reason": "Allocated", "message": "m",
        "lastTransitionTime": "2026-01-02T03:04:06Z"});
    for ingress in [
        json!([{"ip": "10.0.0.1"}]),
        json!([{"ip": "10.0.0.1", "ipMode": "VIP"}, {"ip": "fd00::1", "ipMode": "VIP"}]),
        json!([{"ip": "10.0.0.1", "ipMode": "VIP"}, {"ip": "fd00::1"}]),
        json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1", "ipMode": "VIP"}]),
        json!([{"ip": "10.0.0.1", "ipMode": "Proxy", "ports": [{"port": 80, "protocol": "TCP"}]}]),
        json!([{"hostname": "example.com"}]),
        json!([{"ip": ""}]),
    ] {
        let service = service(json!({"metadata": metadata, "spec": {"type": "LoadBalancer"},
            "status": {"conditions": [condition], "loadBalancer": {"ingress": ingress}}}));
        let again = compact(&service).object().into_owned();
        assert_eq!((&again.metadata, &again.status), (&service.metadata, &service.status));
        assert_same_view(&service);
    }
}

#[test]
fn the_smallest_service_is_kept() {
    assert_same_view(&Service::default());
    assert_same_view(&service(json!({"metadata": {"name": "a", "namespace": "b"}})));
    assert!(Compact::of(&service(json!({"metadata": {"name": "a"}, "status": {}}))).rest.is_none());
}

#[test]
fn a_service_asks_for_something_else_when_anything_differs_that_is_read_and_not_ours() {
    let base = json!({
        "metadata": {"name": "web", "namespace": "default", "resourceVersion": "1", "labels": {"app": "web"},
            "annotations": {"metallb.io/address-pool": "a", "metallb.io/ip-allocated-from-pool": "a"}},
        "spec": {"type": "LoadBalancer", "loadBalancerClass": "c", "loadBalancerIP": "10.0.0.1", "clusterIPs": ["10.96.0.1"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Local",
            "selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    let with = |path: &str, value: Value| {
        let mut changed = base.clone();
        *changed.pointer_mut(path).unwrap() = value;
        service(changed)
    };
    let before = compact(&service(base.clone()));
    for (path, value) in [
        ("/metadata/resourceVersion", json!("2")),
        ("/metadata/annotations/metallb.io~1ip-allocated-from-pool", json!("b")),
        ("/spec/ports/0", json!({"port": 80, "name": "http", "targetPort": 8080})),
    ] {
        assert!(asks_the_same(&before, &with(path, value)), "{path}");
    }
    for (path, value) in [
        ("/metadata/labels", json!({"app": "other"})),
        ("/metadata/annotations/metallb.io~1address-pool", json!("b")),
        ("/spec/type", json!("ClusterIP")),
        ("/spec/loadBalancerClass", json!("d")),
        ("/spec/loadBalancerIP", json!("10.0.0.2")),
        ("/spec/clusterIPs", json!(["10.96.0.2"])),
        ("/spec/ipFamilies", json!(["IPv6"])),
        ("/spec/ipFamilyPolicy", json!("PreferDualStack")),
        ("/spec/externalTrafficPolicy", json!("Cluster")),
        ("/spec/selector", json!({"app": "other"})),
        ("/spec/ports/0", json!({"port": 80, "protocol": "UDP"})),
    ] {
        assert!(!asks_the_same(&before, &with(path, value)), "{path}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zäß/.]{1,6}"]
}

fn texts() -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::of(prop::collection::vec(text(), 0..4))
}

fn pairs() -> impl Strategy<Value = Option<BTreeMap<String, String>>> {
    prop::option::of(prop::collection::btree_map("[a-zäß/.]{1,6}", text(), 0..4))
}

proptest! {
    #[test]
    fn any_service_looks_the_same_when_it_is_kept(
        (uid, version, kind, class, wanted, policy) in
            (text(), text(), text(), text(), text(), prop::option::of(text())),
        (cluster_ips, families, ips) in (texts(), texts(), prop::collection::vec(prop::option::of(text()), 0..3)),
        (labels, annotations, selector) in (pairs(), pairs(), pairs()),
        ports in prop::collection::vec((prop::option::of(prop_oneof![Just("TCP"), Just("UDP"), Just("QUIC")]), 1..9), 0..3),
        (local, single) in (any::<bool>(), prop::option::of(text())),
    ) {
        let ports: Vec<Value> = ports.iter().map(|(name, port)| json!({"protocol": name, "port": port})).collect();
        let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        assert_same_view(&service(json!({
            "metadata": {"name": "web", "namespace": "default", "uid": uid, "resourceVersion": version,
                "labels": labels, "annotations": annotations},
            "spec": {"type": kind, "loadBalancerClass": class, "loadBalancerIP": wanted, "ipFamilyPolicy": policy,
                "clusterIP": single, "clusterIPs": cluster_ips, "ipFamilies": families, "selector": selector,
                "ports": ports, "externalTrafficPolicy": if local { "Local" } else { "Cluster" }},
            "status": {"loadBalancer": {"ingress": ingress}},
        })));
    }
}
