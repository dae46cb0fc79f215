//! Tests of the picture: the troubles of a cluster, each with the code that the user is told.

use super::*;
use k8s_openapi::api::core::v1::ObjectReference;

use crate::fixtures::{l2, node, object, pool, service, with_status};
use crate::reason::Severity;

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers: \"\"";

/// A cluster with one pool, one advertisement, one node and one Service that works.
fn sound() -> Known {
    Known {
        resources: Resources {
            pools: vec![pool("p", "addresses: [192.168.1.200-192.168.1.220]")],
            l2_advertisements: vec![l2("a", "")],
            nodes: vec![node("nuc-1", "")],
            ..Resources::default()
        },
        services: vec![Arc::new(with_status(
            service("web", "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1]", ""),
            &["192.168.1.201"],
        ))],
        endpoints: vec![slice("web", "nuc-1", true)],
    }
}

fn slice(service: &str, node: &str, ready: bool) -> Arc<EndpointSlice> {
    Arc::new(object(&format!(
        "metadata: {{name: {service}-1, namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: IPv4\nendpoints: [{{addresses: [10.1.0.1], nodeName: {node}, conditions: {{ready: {ready}}}}}]"
    )))
}

fn web() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn obstacle(known: &Known, options: &Options) -> Option<Finding> {
    draw(known, options).obstacle(&web())
}

fn code(change: impl FnOnce(&mut Known)) -> Option<Code> {
    let mut known = sound();
    change(&mut known);
    obstacle(&known, &Options::default()).map(|finding| finding.code)
}

fn unassigned(known: &mut Known, spec: &str, annotations: &str) {
    let spec = format!("clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], {spec}");
    known.services = vec![Arc::new(service("web", &spec, annotations))];
}

#[test]
fn what_works_has_no_obstacle() {
    assert_eq!(code(|_| ()), None);
}

#[test]
fn each_trouble_on_the_way_to_an_address_has_its_code() {
    assert_eq!(
        code(|known| {
            unassigned(known, "", "");
            known.resources.pools.clear();
        }),
        Some(Code::NoPool)
    );
    assert_eq!(code(|known| unassigned(known, "loadBalancerClass: other", "")), Some(Code::OtherClass));
    assert_eq!(code(|known| unassigned(known, "loadBalancerIP: 10.9.9.9", "")), Some(Code::AddressNotInPool));
    assert_eq!(code(|known| unassigned(known, "loadBalancerIP: nonsense", "")), Some(Code::RequestInvalid));
    let typo = "metallb.io/address-pool: prodution";
    assert_eq!(code(|known| unassigned(known, "", typo)), Some(Code::UnknownPool));
    assert_eq!(
        code(|known| {
            unassigned(known, "", "");
            known.resources.pools = vec![pool("p", "addresses: [192.168.1.200/32], autoAssign: false")];
        }),
        Some(Code::NoFreeAddress)
    );
    assert_eq!(
        code(|known| unassigned(known, "", "")),
        Some(Code::NoAddress),
        "it could have one; the controller has not written it"
    );
}

#[test]
fn a_pool_that_is_for_others_and_one_that_an_older_one_holds_have_their_codes() {
    let others = pool("p", "addresses: [192.168.1.200/32], serviceAllocation: {namespaces: [other]}");
    let asking = |known: &mut Known| {
        unassigned(known, "", "metallb.io/address-pool: p");
        known.resources.pools = vec![others];
    };
    assert_eq!(code(asking), Some(Code::PoolNotCompatible));
    let mut known = sound();
    let range = "addresses: [192.168.1.200-192.168.1.220]";
    known.resources.pools = vec![pool("p", range), pool("a-older", range)];
    let mut service = (*known.services[0]).clone();
    service.metadata.annotations.get_or_insert_default().insert(annotations::ALLOCATED_FROM.to_owned(), "p".to_owned());
    known.services = vec![Arc::new(service)];
    let picture = draw(&known, &Options::default());
    assert_eq!(picture.obstacle(&web()), None);
    assert!(picture.outcomes[&web()].notes.iter().any(|note| note.code == Code::PoolOverlap), "{:?}", picture.outcomes);
}

#[test]
fn each_trouble_between_address_and_announcement_has_its_code() {
    assert_eq!(code(|known| known.resources.l2_advertisements.clear()), Some(Code::NoAdvertisement));
    assert_eq!(
        code(|known| known.resources.l2_advertisements = vec![l2("a", "ipAddressPools: [other]")]),
        Some(Code::NoAdvertisement)
    );
    assert_eq!(
        code(|known| known.resources.l2_advertisements = vec![l2("a", "nodeSelectors: [{matchLabels: {a: b}}]")]),
        Some(Code::NodeNotSelected)
    );
    assert_eq!(code(|known| known.endpoints.clear()), Some(Code::NoReadyEndpoints));
    assert_eq!(code(|known| known.endpoints = vec![slice("web", "nuc-1", false)]), Some(Code::NoReadyEndpoints));
    assert_eq!(code(|known| known.resources.nodes = vec![node("nuc-1", EXCLUDED)]), Some(Code::NodeExcluded));
    assert_eq!(
        code(|known| known.resources.pools = vec![pool("p", "addresses: [10.0.0.0/24]")]),
        Some(Code::AddressNotConfigured)
    );
    let local = |known: &mut Known| {
        let spec = "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], externalTrafficPolicy: Local";
        known.services = vec![Arc::new(with_status(service("web", spec, ""), &["192.168.1.201"]))];
        known.endpoints = vec![slice("web", "elsewhere", true)];
    };
    assert_eq!(code(local), Some(Code::NoLocalEndpoints));
}

#[test]
fn a_service_without_pods_is_told_which_pods_it_wants() {
    let mut known = sound();
    known.endpoints.clear();
    let finding = obstacle(&known, &Options::default()).unwrap();
    assert_eq!(finding.message, "none of its endpoints is ready; its selector is app=web");
    assert_eq!(finding.fix, "kubectl get pods -n default -l app=web");
}

#[test]
fn a_service_whose_pods_are_not_ready_is_told_their_names() {
    let mut known = sound();
    let mut slice = (*slice("web", "nuc-1", false)).clone();
    let one = slice.endpoints.first().cloned().unwrap();
    let pod = |number: usize| Endpoint {
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(format!("web-{number}")),
            ..ObjectReference::default()
        }),
        ..one.clone()
    };
    slice.endpoints = (1..=5).map(pod).collect();
    known.endpoints = vec![Arc::new(slice)];
    let finding = obstacle(&known, &Options::default()).unwrap();
    let words = "none of its endpoints is ready (web-1, web-2, web-3 and 2 more); its selector is app=web";
    assert_eq!(finding.message, words);
}

#[test]
fn every_node_excluded_announces_all_the_same_unless_that_is_switched_off() {
    let mut known = sound();
    known.resources.nodes = vec![node("nuc-1", EXCLUDED)];
    let strict = Options::default();
    let lenient = Options { announce_if_all_excluded: true, ..Options::default() };
    let ignoring = Options { ignore_exclude_lb: true, ..Options::default() };
    assert_eq!(obstacle(&known, &strict).map(|finding| finding.code), Some(Code::NodeExcluded));
    assert_eq!(obstacle(&known, &lenient), None);
    let warnings = draw(&known, &lenient).plan.service(&web()).unwrap().warnings();
    assert_eq!(warnings.first().map(|finding| finding.code), Some(Code::AllNodesExcluded));
    assert_eq!(obstacle(&known, &ignoring), None);
}

#[test]
fn nobody_alive_is_nobody_who_could_announce() {
    let options = Options { members: Some(BTreeSet::new()), ..Options::default() };
    assert_eq!(obstacle(&sound(), &options).map(|finding| finding.code), Some(Code::NoCandidate));
}

#[test]
fn files_are_not_asked_for_what_only_a_cluster_has() {
    let mut known = sound();
    known.resources.nodes.clear();
    known.endpoints.clear();
    known.resources.l2_advertisements = vec![l2("a", "nodeSelectors: [{matchLabels: {rack: one}}]")];
    known.services = vec![Arc::new(service("web", "externalTrafficPolicy: Local", ""))];
    let picture = draw(&known, &Options { files: true, as_if_applied: true, ..Options::default() });
    assert_eq!(picture.obstacle(&web()), None);
    let plan = picture.plan.service(&web()).unwrap();
    assert_eq!(*plan.addresses, ["192.168.1.200".parse::<IpAddr>().unwrap()]);
    assert_eq!(plan.owner, Some(NodeName::new(ANY_NODE)));
    assert!(picture.findings.is_empty(), "{:?}", picture.findings);
}

#[test]
fn a_configuration_that_does_not_load_is_said_and_draws_nothing() {
    let mut known = sound();
    known.resources.pools = vec![pool("p", "addresses: [192.168.1.300/24]")];
    let picture = draw(&known, &Options::default());
    assert!(!picture.loads && picture.config.pools.is_empty());
    let errors: Vec<(Code, Severity)> = picture.findings.iter().map(|one| (one.code, one.severity)).collect();
    assert_eq!(errors, [(Code::AddressRangeInvalid, Severity::Error)]);
}

/// The same cluster, where routers are told of the pool and the LAN is not.
fn routed(known: &mut Known) {
    known.resources.l2_advertisements.clear();
    known.resources.bgp_advertisements =
        vec![Arc::new(object("metadata: {name: all, namespace: metallb-system}\nspec: {}"))];
    known.resources.bgp_peers = vec![Arc::new(object(
        "metadata: {name: tor, namespace: metallb-system}\nspec: {myASN: 1, peerASN: 2, peerAddress: 10.9.0.1, \
         nodeSelectors: [{matchLabels: {kubernetes.io/hostname: nuc-1}}]}",
    ))];
}

#[test]
fn a_service_that_routers_are_told_of_is_announced() {
    assert_eq!(code(routed), None);
    let without = |known: &mut Known| {
        routed(known);
        known.resources.bgp_peers.clear();
    };
    assert_eq!(code(without), Some(Code::NoBgpPeer));
    let unready = |known: &mut Known| {
        routed(known);
        known.endpoints = vec![slice("web", "nuc-1", false)];
    };
    assert_eq!(code(unready), Some(Code::NoReadyEndpoints));
}

#[test]
fn what_one_protocol_cannot_do_the_other_may() {
    let both = |known: &mut Known| {
        let selecting = known.resources.l2_advertisements.clone();
        routed(known);
        known.resources.l2_advertisements = selecting;
        known.resources.nodes.push(node("nuc-2", ""));
    };
    assert_eq!(code(both), None);
    let nowhere = |known: &mut Known| {
        both(known);
        known.resources.l2_advertisements = vec![l2("a", "nodeSelectors: [{matchLabels: {no: node}}]")];
    };
    assert_eq!(code(nowhere), None, "on layer 2 no node is selected");
}

#[test]
fn in_files_a_peer_for_certain_nodes_counts_where_no_node_is_known() {
    let mut known = sound();
    routed(&mut known);
    (known.resources.nodes, known.endpoints) = (Vec::new(), Vec::new());
    unassigned(&mut known, "", "");
    let options = Options { files: true, as_if_applied: true, ..Options::default() };
    assert_eq!(obstacle(&known, &options), None);
    assert_eq!(draw(&known, &options).bgp[&web()].tellers.len(), 1);
}
