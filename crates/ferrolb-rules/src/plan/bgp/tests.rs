//! What is told to which router, as tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_proto::bgp::session::Remote;
use ferrolb_proto::bgp::session::config::{Password, Reach};
use ferrolb_proto::bgp::{Asn, Families};
use k8s_openapi::api::core::v1::{Node, Secret, Service};

use super::*;
use crate::api;
use crate::config::{self, Config, Invalid, Resources};
use crate::fixtures::{object, pool, service, with_status};
use crate::plan::Options;
use crate::service::key_of;

fn peer(name: &str, spec: &str) -> Arc<api::BGPPeer> {
    Arc::new(object(&format!(
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
         spec: {{myASN: 64512, {spec}}}"
    )))
}

fn advertisement(name: &str, spec: &str) -> Arc<api::BGPAdvertisement> {
    Arc::new(object(&format!(
        "apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
         spec: {{{spec}}}"
    )))
}

fn resources(advertisements: &[&str]) -> Resources {
    let named = advertisements.iter().enumerate().map(|(index, spec)| advertisement(&format!("ad{index}"), spec));
    Resources {
        pools: vec![pool("pool", "addresses: [192.0.2.0/24, 'fd00::/64']")],
        bgp_peers: vec![
            peer("one", "peerASN: 64513, peerAddress: 10.0.0.1"),
            peer("two", "peerASN: 64512, peerAddress: 10.0.0.2"),
            peer("far", "peerASN: 64513, peerAddress: 10.0.0.3, nodeSelectors: [{matchLabels: {role: edge}}]"),
        ],
        bgp_advertisements: named.collect(),
        communities: vec![Arc::new(object(
            "metadata: {name: c}\nspec: {communities: [{name: blue, value: '1:2'}, {name: big, value: 'large:1:2:3'}]}",
        ))],
        nodes: vec![Arc::new(object::<Node>("metadata: {name: a}")), Arc::new(object::<Node>("metadata: {name: b}"))],
        ..Resources::default()
    }
}

fn snapshot(config: Config, services: Vec<Service>) -> Snapshot {
    let options = Options { selectorless_is_ready: true, ..Options::default() };
    let services = services.into_iter().map(|service| (key_of(&service), Arc::new(service) as Arc<dyn View>)).collect();
    let nodes = BTreeMap::from([(NodeName::new("a"), Arc::new(object::<Node>("metadata: {name: a}")))]);
    Snapshot { config: Arc::new(config), services, own: NodeName::new("a"), nodes, options, ..Snapshot::default() }
}

fn web(addresses: &[&str]) -> Service {
    let mut web = with_status(service("web", "", ""), addresses);
    web.spec.as_mut().unwrap().selector = None;
    web
}

fn planned(advertisements: &[&str]) -> BgpPlan {
    let config = config::parse(&resources(advertisements)).unwrap();
    plan(&snapshot(config, vec![web(&["192.0.2.10", "fd00::10"])]))
}

/// `peer prefix localpref communities`, one line each.
fn shown(plan: &BgpPlan) -> Vec<String> {
    let line = |peer: &String, (prefix, set): (&IpNet, &Arc<Attributes>)| {
        let standard = set.communities.iter().map(ToString::to_string);
        let communities: Vec<String> = standard.chain(set.large_communities.iter().map(ToString::to_string)).collect();
        let preference = set.local_pref.map_or_else(|| "-".to_owned(), |preference| preference.to_string());
        format!("{peer} {prefix} {preference} {}", communities.join(","))
    };
    plan.peers.iter().flat_map(|(peer, routes)| routes.iter().map(move |route| line(peer, route))).collect()
}

#[test]
fn every_router_of_the_node_is_told_every_address() {
    let routes = ["one 192.0.2.10/32 - ", "one fd00::10/128 - ", "two 192.0.2.10/32 - ", "two fd00::10/128 - "];
    assert_eq!(shown(&planned(&[""])), routes);
    assert_eq!(shown(&planned(&[])), [""; 0]);
}

#[test]
fn advertisements_say_to_whom_how_long_and_with_what() {
    let one =
        "peers: [one], localPref: 7, communities: [blue, big, '3:4'], aggregationLength: 26, aggregationLengthV6: 64";
    assert_eq!(shown(&planned(&[one])), ["one 192.0.2.0/26 7 1:2,3:4,1:2:3", "one fd00::/64 7 1:2,3:4,1:2:3"]);
    let both = planned(&["peers: [one], communities: ['1:1']", "peers: [one], communities: ['2:2']"]);
    assert_eq!(shown(&both)[0], "one 192.0.2.10/32 - 1:1,2:2");
    assert_eq!(both.services.values().next().unwrap().untold["two"], Code::NoBgpPeer);
}

#[test]
fn what_keeps_this_node_from_announcing_has_a_code() {
    let code = |plan: &BgpPlan| plan.services.values().next().and_then(|one| one.code);
    assert_eq!(code(&planned(&["peers: [far]"])), Some(Code::NoBgpPeer));
    assert_eq!(code(&planned(&["nodeSelectors: [{matchLabels: {role: edge}}]"])), Some(Code::NodeNotSelected));
    assert_eq!(code(&planned(&["serviceSelectors: [{matchLabels: {app: db}}]"])), Some(Code::NoAdvertisement));
    let selecting = "localPref: 5, serviceSelectors: [{matchLabels: {app: web}}]";
    assert_eq!(code(&planned(&["localPref: 7", selecting])), Some(Code::LocalPrefConflict));
    let config = config::parse(&resources(&[""])).unwrap();
    let of = |service: Service| code(&plan(&snapshot(config.clone(), vec![service])));
    assert_eq!(of(with_status(service("web", "", ""), &["192.0.2.10"])), Some(Code::NoReadyEndpoints));
    assert_eq!(of(web(&["192.0.2.10"])), None);
}

#[test]
fn local_traffic_is_announced_where_an_endpoint_is() {
    let config = config::parse(&resources(&[""])).unwrap();
    for (node, code) in [("a", None), ("b", Some(Code::NoLocalEndpoints))] {
        let local = with_status(service("web", "externalTrafficPolicy: Local", ""), &["192.0.2.10"]);
        let key = key_of(&local);
        let mut snapshot = snapshot(config.clone(), vec![local]);
        let slice = object(&format!("addressType: IPv4\nendpoints: [{{addresses: [10.1.1.1], nodeName: {node}}}]"));
        snapshot.endpoints.insert(key.clone(), vec![Arc::new(slice)]);
        assert_eq!(plan(&snapshot).services[&key].code, code, "{node}");
    }
}

#[test]
fn local_preferences_that_contradict_each_other_do_not_load() {
    let code = |advertisements: &[&str]| match config::parse(&resources(advertisements)) {
        Ok(_) => None,
        Err(Invalid(findings)) => Some(findings[0].code),
    };
    let conflict = Some(Code::LocalPrefConflict);
    assert_eq!(code(&["localPref: 100", "localPref: 200"]), conflict);
    assert_eq!(code(&["localPref: 100, peers: [one]", "localPref: 200"]), conflict);
    assert_eq!(code(&["localPref: 100, aggregationLength: 24", "localPref: 200"]), conflict, "IPv6 is left");
    assert_eq!(code(&["localPref: 100, peers: [one]", "localPref: 200, peers: [two]"]), None);
    let (short, host) = ("localPref: 100, aggregationLength: 24, aggregationLengthV6: 64", "localPref: 200");
    assert_eq!(code(&[short, host]), None);
    assert_eq!(code(&["communities: [red]"]), Some(Code::CommunityUnknown));
}

#[test]
fn a_peer_is_what_upstream_makes_of_it() {
    let mut resources = resources(&["peers: [nobody]"]);
    let spec = "peerASN: 64513, localASN: 64600, peerAddress: 'fd01::1', peerPort: 1790, sourceAddress: 'fd01::2', \
        routerID: 1.2.3.4, keepaliveTime: 10s, connectTime: 5s, ebgpMultiHop: true, dualStackAddressFamily: true, \
        enableGracefulRestart: true, passwordSecret: {name: key}";
    resources.bgp_peers = vec![peer("full", spec), peer("bare", "dynamicASN: internal, peerAddress: 10.0.0.1")];
    let secret = "metadata: {name: key, namespace: metallb-system}\ntype: kubernetes.io/basic-auth\nstringData: {password: geheim}";
    resources.secrets = vec![Arc::new(object::<Secret>(secret))];
    let config = config::parse(&resources).unwrap();
    let full = &config.bgp_peers["full"];
    assert_eq!((full.local_asn, full.remote), (Asn(64600), Remote::Number(Asn(64513))));
    assert_eq!((full.hold_interval.as_secs(), full.keepalive_interval.unwrap().as_secs()), (30, 10));
    assert_eq!(full.password, Some(Password("geheim".to_owned())));
    assert_eq!((full.reach, full.families, full.graceful_restart), (Reach::Hops(255), Families::BOTH, true));
    let bare = &config.bgp_peers["bare"];
    assert_eq!((bare.remote, bare.reach, bare.families), (Remote::Internal, Reach::Default, Families::V4));
    assert_eq!((bare.hold_interval.as_secs(), bare.port), (180, 179));
    assert!(config.findings.iter().any(|finding| finding.code == Code::AdvertisedPeerMissing));
    resources.secrets.clear();
    let config = config::parse(&resources).unwrap();
    assert!(!config.bgp_peers.contains_key("full") && config.bgp_peers.contains_key("bare"));
    assert!(config.findings.iter().any(|finding| finding.code == Code::PeerSecretUnusable));
}

#[test]
fn fields_of_a_later_release_are_named_and_their_peer_is_left_out() {
    let mut resources = resources(&[]);
    let common = "peerASN: 64513";
    resources.bgp_peers = vec![
        peer("vrf", &format!("{common}, peerAddress: 10.0.0.1, vrf: red")),
        peer("unnumbered", &format!("{common}, interface: eth0")),
        peer("plain", &format!("{common}, peerAddress: 10.0.0.1")),
    ];
    let config = config::parse(&resources).unwrap();
    assert_eq!(config.bgp_peers.keys().collect::<Vec<_>>(), ["plain"]);
    let fields: Vec<&str> =
        config.findings.iter().filter(|one| one.code == Code::NotYet).map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["spec.interface", "spec.vrf"]);
}

#[test]
fn an_aggregate_larger_than_what_a_pool_has_in_one_piece_is_refused() {
    for (addresses, lengths, refused) in [
        ("[192.0.2.0/24]", "aggregationLength: 26", None),
        ("[192.0.2.0/24]", "aggregationLength: 24", None),
        ("[192.0.2.0/28]", "aggregationLength: 26", Some("spec.aggregationLength")),
        // The largest block of .240 to .250 is a /29.
        ("[192.0.2.240-192.0.2.250]", "aggregationLength: 29", None),
        ("[192.0.2.240-192.0.2.250]", "aggregationLength: 28", Some("spec.aggregationLength")),
        ("[192.0.2.0/24, 198.51.100.7/32]", "aggregationLength: 25", Some("spec.aggregationLength")),
        ("['fd00::/64']", "aggregationLength: 24", None),
        ("['fd00::/64']", "aggregationLengthV6: 64", None),
        ("['fd00::/96']", "aggregationLengthV6: 64", Some("spec.aggregationLengthV6")),
    ] {
        let pools = vec![pool("pool", &format!("addresses: {addresses}"))];
        let errors = config::parse(&Resources { pools, ..resources(&[lengths]) }).err().map(|invalid| invalid.0);
        let found = errors.unwrap_or_default();
        assert!(found.iter().all(|finding| finding.code == Code::AggregationInvalid), "{found:?}");
        let fields: Vec<_> = found.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(fields, Vec::from_iter(refused), "{addresses} {lengths}");
    }
}
