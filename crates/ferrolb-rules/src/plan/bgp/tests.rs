//! What is told to which router, as tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_proto::bgp::session::Remote;
use ferrolb_proto::bgp::session::config::{Password, Reach};
use ferrolb_proto::bgp::{Asn, Attributes, Families};
use k8s_openapi::api::core::v1::{Node, Secret, Service};

use super::*;
use crate::api;
use crate::config::{self, Config, Invalid, PeerPassword, Resources};
use crate::fixtures::{self, object, pool, service, with_status};
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
            peer("one", "peerASN: 64513, peerAddress: 10.0.0.1, dualStackAddressFamily: true"),
            peer("two", "peerASN: 64512, peerAddress: 10.0.0.2, dualStackAddressFamily: true"),
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
fn a_router_is_told_nothing_of_a_family_that_its_session_does_not_have() {
    let mut resources = resources(&[""]);
    resources.bgp_peers =
        vec![peer("v4", "peerASN: 64513, peerAddress: 10.0.0.1"), peer("v6", "peerASN: 64513, peerAddress: 'fd01::1'")];
    let config = config::parse(&resources).unwrap();
    let plan = plan(&snapshot(config, vec![web(&["192.0.2.10", "fd00::10"])]));
    assert_eq!(shown(&plan), ["v4 192.0.2.10/32 - ", "v6 fd00::10/128 - "]);
    let part = plan.services.values().next().unwrap();
    assert_eq!((part.leads.by_router().len(), part.addresses.len(), part.code), (2, 2, None));
}

#[test]
fn advertisements_say_to_whom_how_long_and_with_what() {
    let one =
        "peers: [one], localPref: 7, communities: [blue, big, '3:4'], aggregationLength: 26, aggregationLengthV6: 64";
    assert_eq!(shown(&planned(&[one])), ["one 192.0.2.0/26 7 1:2,3:4,1:2:3", "one fd00::/64 7 1:2,3:4,1:2:3"]);
    let both = planned(&["peers: [one], communities: ['1:1']", "peers: [one], communities: ['2:2']"]);
    assert_eq!(shown(&both)[0], "one 192.0.2.10/32 - 1:1,2:2");
    let told = both.services.values().next().unwrap().leads.by_router();
    assert_eq!((told["one"].len(), told.len()), (2, 1));
}

#[test]
fn how_good_a_way_is_can_be_said_to_other_ases() {
    let set = |advertisements: &[&str]| planned(advertisements).peers["one"].values().next().unwrap().clone();
    let said = set(&["med: 4294967295, asPathPrepend: 3"]);
    assert_eq!((said.med, said.prepend), (Some(u32::MAX), 3));
    let both = set(&["med: 20, communities: ['1:1']", "med: 10, asPathPrepend: 2", "communities: ['2:2']"]);
    assert_eq!((both.med, both.prepend, both.communities.len()), (Some(10), 2, 2));
    for spec in ["med: 4294967296", "med: -1", "asPathPrepend: 33", "asPathPrepend: -1"] {
        let Err(Invalid(findings)) = config::parse(&resources(&[spec])) else { panic!("{spec} is taken") };
        assert_eq!(findings.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::OutOfRange], "{spec}");
    }
}

#[test]
fn a_service_adds_communities_to_its_addresses_and_not_to_aggregates() {
    let config =
        config::parse(&resources(&["peers: [one], communities: ['1:1']", "peers: [two], aggregationLength: 24"]));
    let mut web = web(&["192.0.2.10"]);
    let own = ("ferrolb.io/bgp-communities".to_owned(), "64512:7, large:1:2:3".to_owned());
    web.metadata.annotations = Some([own].into());
    let plan = plan(&snapshot(config.unwrap(), vec![web]));
    assert_eq!(shown(&plan), ["one 192.0.2.10/32 - 1:1,64512:7,1:2:3", "two 192.0.2.0/24 - "]);
}

/// The link bandwidths that the first router is told on node `a`, by prefix, as so many endpoints.
fn weights(advertisement: &str, services: Vec<(Service, &str)>) -> Vec<(String, Option<f32>)> {
    let config = config::parse(&resources(&[advertisement])).unwrap();
    let mut snapshot = snapshot(config, services.iter().map(|(service, _)| service.clone()).collect());
    for (service, endpoints) in services {
        let slice = fixtures::slice(&format!("addressType: IPv4\nendpoints: [{endpoints}]"));
        snapshot.endpoints.insert(key_of(&service), vec![Arc::new(slice)]);
    }
    let routes = plan(&snapshot).peers["one"].clone();
    let weight = |set: &Attributes| {
        let [kind, sub, high, low, value @ ..] = set.extended_communities.first()?.0;
        assert_eq!((kind, sub, u16::from_be_bytes([high, low])), (0, 4, 64512), "transitive, and ours");
        Some(f32::from_be_bytes(value) / 125_000.0)
    };
    routes.iter().map(|(prefix, set)| (prefix.to_string(), weight(set))).collect()
}

fn local(name: &str, policy: &str, address: &str) -> Service {
    with_status(service(name, &format!("externalTrafficPolicy: {policy}"), ""), &[address])
}

#[test]
fn routers_are_told_how_many_ready_endpoints_a_node_has_where_that_is_asked_for() {
    let on =
        |node: &str, conditions: &str| format!("{{addresses: [10.1.1.1], nodeName: {node}, conditions: {conditions}}}");
    let (ready, ending) = ("{ready: true}", "{ready: false, serving: true}");
    let five = [on("a", ready), on("a", ready), on("b", ready), on("a", ending), on("a", "{ready: false}")].join(", ");
    let of = |advertisement: &str, policy: &str, endpoints: &str| {
        weights(advertisement, vec![(local("web", policy, "192.0.2.10"), endpoints)])[0].1
    };
    assert_eq!(of("weightByLocalEndpoints: true", "Local", &five), Some(2.0));
    assert_eq!(of("weightByLocalEndpoints: true", "Local", &on("a", ending)), Some(1.0), "it still serves");
    assert_eq!(of("weightByLocalEndpoints: true", "Cluster", &five), None, "every node reaches all of them");
    assert_eq!(of("", "Local", &five), None);
}

#[test]
fn weights_of_services_that_share_an_aggregate_add_up_and_one_without_ends_it() {
    let one = "{addresses: [10.1.1.1], nodeName: a}";
    let two = "{addresses: [10.1.1.1], nodeName: a}, {addresses: [10.1.1.2], nodeName: a}";
    let both = |policy: &str| {
        let (web, db) = (local("web", "Local", "192.0.2.10"), local("db", policy, "192.0.2.11"));
        weights("weightByLocalEndpoints: true, aggregationLength: 24", vec![(web, two), (db, one)])
    };
    assert_eq!(both("Local"), [("192.0.2.0/24".to_owned(), Some(3.0))]);
    assert_eq!(both("Cluster"), [("192.0.2.0/24".to_owned(), None)]);
}

#[test]
fn a_second_advertisement_of_a_service_does_not_double_its_endpoints() {
    let config = config::parse(&resources(&["weightByLocalEndpoints: true", "weightByLocalEndpoints: true"])).unwrap();
    let web = local("web", "Local", "192.0.2.10");
    let key = key_of(&web);
    let mut snapshot = snapshot(config, vec![web]);
    let slice = fixtures::slice("addressType: IPv4\nendpoints: [{addresses: [10.1.1.1], nodeName: a}]");
    snapshot.endpoints.insert(key, vec![Arc::new(slice)]);
    let routes = plan(&snapshot).peers["one"].clone();
    let set = routes.values().next().unwrap();
    let one = ferrolb_proto::bgp::ExtendedCommunity::link_bandwidth(Asn(64512), 125_000.0, true);
    assert_eq!(set.extended_communities, BTreeSet::from([one]));
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
        let slice =
            fixtures::slice(&format!("addressType: IPv4\nendpoints: [{{addresses: [10.1.1.1], nodeName: {node}}}]"));
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
    resources.secrets = Some(vec![Arc::new(object::<Secret>(secret))]);
    let config = config::parse(&resources).unwrap();
    let full = &config.bgp_peers["full"];
    assert_eq!((full.local_asn, full.remote), (Asn(64600), Remote::Number(Asn(64513))));
    assert_eq!((full.hold_interval.as_secs(), full.keepalive_interval.unwrap().as_secs()), (30, 10));
    assert_eq!(full.password, PeerPassword::Known(Password("geheim".to_owned())));
    assert_eq!((full.reach, full.families, full.graceful_restart), (Reach::Hops(255), Families::BOTH, true));
    let bare = &config.bgp_peers["bare"];
    assert_eq!((bare.remote, bare.reach, bare.families), (Remote::Internal, Reach::Default, Families::V4));
    assert_eq!((bare.hold_interval.as_secs(), bare.port), (180, 179));
    assert!(config.findings.iter().any(|finding| finding.code == Code::AdvertisedPeerMissing));
    resources.secrets = Some(Vec::new());
    let config = config::parse(&resources).unwrap();
    let passwords: Vec<_> = config.bgp_peers.values().map(|peer| peer.password.clone()).collect();
    assert_eq!(passwords, [PeerPassword::None, PeerPassword::Unknown], "the one waits, the other does not");
    assert!(config.findings.iter().any(|finding| finding.code == Code::PeerSecretUnusable));
    resources.secrets = None;
    let config = config::parse(&resources).unwrap();
    assert_eq!(config.bgp_peers["full"].password, PeerPassword::Unknown);
    assert!(config.findings.iter().all(|finding| finding.code != Code::PeerSecretUnusable), "nobody looked");
}

#[test]
fn what_is_wrong_with_a_peer_is_the_affair_of_the_nodes_that_it_selects() {
    let mut resources = resources(&["peers: [nobody]"]);
    let elsewhere = "nodeSelectors: [{matchLabels: {role: edge}}], passwordSecret: {name: key}";
    resources.bgp_peers = vec![peer("far", &format!("peerASN: 64513, peerAddress: 10.0.0.3, {elsewhere}"))];
    resources.nodes[1] = Arc::new(object::<Node>("metadata: {name: b, labels: {role: edge}}"));
    resources.secrets = Some(Vec::new());
    let on = |resources: &Resources, node: &str| -> Vec<Code> {
        let config = config::parse(resources).unwrap();
        config.findings_on(&NodeName::new(node)).map(|finding| finding.code).collect()
    };
    assert_eq!(on(&resources, "a"), [Code::AdvertisedPeerMissing], "what is about no peer is everybody's");
    assert_eq!(on(&resources, "b"), [Code::AdvertisedPeerMissing, Code::PeerSecretUnusable]);
    assert_eq!(config::parse(&resources).unwrap().findings.len(), 2, "who looks from outside sees everything");
    // A node that is selected and whose label tells no router has no session, and hears why.
    let labelled = "peerASN: 64513, peerAddressFrom: {nodeLabel: tor}, nodeSelectors: [{matchLabels: {role: edge}}]";
    resources.bgp_peers = vec![peer("far", labelled)];
    assert_eq!(on(&resources, "b"), [Code::AdvertisedPeerMissing, Code::PeerLabelUnusable]);
    assert_eq!(on(&resources, "a"), [Code::AdvertisedPeerMissing]);
}

#[test]
fn what_is_wrong_with_a_secret_is_said_in_words_that_upstreams_users_look_for() {
    let mut resources = resources(&[]);
    resources.bgp_peers = vec![peer("tor", "peerASN: 64513, peerAddress: 10.0.0.1, passwordSecret: {name: key}")];
    let metadata = "metadata: {name: key, namespace: metallb-system}";
    let basic = format!("{metadata}\ntype: kubernetes.io/basic-auth\nstringData: {{username: u}}");
    for (secrets, words) in [
        (vec![], "secret ref not found"),
        (vec![format!("{metadata}\ntype: Opaque")], "secret type mismatch"),
        (vec![basic], "password not specified in the secret"),
    ] {
        resources.secrets = Some(secrets.iter().map(|secret| Arc::new(object::<Secret>(secret))).collect());
        let config = config::parse(&resources).unwrap();
        let said = config.findings.iter().find(|finding| finding.code == Code::PeerSecretUnusable).unwrap();
        assert!(said.message.contains(words), "{said}");
    }
}

#[test]
fn a_router_is_at_an_address_perhaps_in_a_vrf_or_at_the_other_end_of_an_interface() {
    let mut resources = resources(&[]);
    let common = "peerASN: 64513";
    resources.bfd_profiles = vec![Arc::new(object("metadata: {name: fast, namespace: metallb-system}"))];
    resources.bgp_peers = vec![
        peer("vrf", &format!("{common}, peerAddress: 10.0.0.1, vrf: red, bfdProfile: fast")),
        peer("unnumbered", &format!("{common}, interface: eth0, vrf: red")),
        peer("plain", &format!("{common}, peerAddress: 10.0.0.1, bfdProfile: fast")),
    ];
    let config = config::parse(&resources).unwrap();
    let of = |name: &str| {
        let peer = &config.bgp_peers[name];
        (
            peer.router.address(&NodeName::new("a")).map(|address| address.to_string()),
            peer.device.clone(),
            peer.families,
        )
    };
    let at = Some("10.0.0.1".to_owned());
    assert_eq!(of("plain"), (at.clone(), None, Families::V4));
    assert_eq!(of("vrf"), (at, Some("red".to_owned()), Families::V4));
    assert_eq!(of("unnumbered"), (None, Some("eth0".to_owned()), Families::BOTH));
    assert_eq!((config.bgp_peers["plain"].bfd.is_some(), config.bgp_peers["vrf"].bfd), (true, None));
    let not_yet = config.findings.iter().filter(|one| one.code == Code::NotYet);
    assert_eq!(not_yet.map(|one| one.field.as_str()).collect::<Vec<_>>(), ["spec.bfdProfile"]);
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

#[test]
fn seen_from_outside_a_service_has_the_nodes_that_tell_of_it_and_the_reasons_of_the_others() {
    let config = config::parse(&resources(&["peers: [one]"])).unwrap();
    let local = with_status(service("web", "externalTrafficPolicy: Local", ""), &["192.0.2.10"]);
    let key = key_of(&local);
    let mut snapshot = snapshot(config, vec![local]);
    snapshot.nodes.insert(NodeName::new("b"), Arc::new(object::<Node>("metadata: {name: b}")));
    let seen = |snapshot: &Snapshot| outlook(&key, &*snapshot.services[&key], snapshot).unwrap();
    assert_eq!(seen(&snapshot).finding(&key).map(|finding| finding.code), Some(Code::NoReadyEndpoints));
    let slice = fixtures::slice("addressType: IPv4\nendpoints: [{addresses: [10.1.1.1], nodeName: b}]");
    snapshot.endpoints.insert(key.clone(), vec![Arc::new(slice)]);
    let tells = BTreeMap::from([(NodeName::new("b"), BTreeSet::from(["one".to_owned()]))]);
    let codes = BTreeMap::from([(NodeName::new("a"), Code::NoLocalEndpoints)]);
    assert_eq!(seen(&snapshot), Outlook { tellers: tells, codes });
    assert_eq!((seen(&snapshot).finding(&key), seen(&snapshot).untold(&key).code), (None, Code::BgpSessionDown));
    snapshot.members = Some(BTreeSet::from([NodeName::new("a")]));
    assert_eq!(seen(&snapshot).codes[&NodeName::new("b")], Code::NodeNotAlive);
    assert_eq!(seen(&snapshot).finding(&key).map(|finding| finding.code), Some(Code::NoLocalEndpoints));
}

#[test]
fn a_service_is_advertised_by_bgp_if_an_advertisement_of_its_pool_selects_it() {
    let config = |advertisement| config::parse(&resources(&[advertisement])).unwrap();
    let web = web(&["192.0.2.10"]);
    assert!(is_advertised(&web, &config("")));
    assert!(!is_advertised(&web, &config("serviceSelectors: [{matchLabels: {app: db}}]")));
    assert!(!is_advertised(&web, &config("ipAddressPools: [other]")));
}

#[test]
fn a_node_that_is_being_emptied_leaves_a_service_to_those_that_stay() {
    let config = config::parse(&resources(&[""])).unwrap();
    let mut snapshot = snapshot(config, vec![web(&["192.0.2.10"])]);
    let node =
        |name: &str, spec: &str| Arc::new(object::<Node>(&format!("metadata: {{name: {name}}}\nspec: {{{spec}}}")));
    snapshot.nodes.insert(NodeName::new("a"), node("a", "unschedulable: true"));
    snapshot.nodes.insert(NodeName::new("b"), node("b", ""));
    let key = ServiceKey::new("default", "web");
    let code = |snapshot: &Snapshot| plan(snapshot).services[&key].code;
    assert_eq!(code(&snapshot), None, "a cordoned node may serve for months");
    snapshot.options.drain_on = BTreeSet::from([crate::drain::Trigger::Cordon]);
    assert_eq!(code(&snapshot), Some(Code::NodeDrained));
    snapshot.members = Some(BTreeSet::from([NodeName::new("a")]));
    assert_eq!(code(&snapshot), None, "the other one is not alive");
    snapshot.members = None;
    snapshot.nodes.insert(NodeName::new("b"), node("b", "unschedulable: true"));
    assert_eq!(code(&snapshot), None, "nobody stays: a drain moves addresses, and ends none");
}
