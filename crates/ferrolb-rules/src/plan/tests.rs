//! Tests of the plan: the layer-2 part of spec Appendix D, reason by reason, and one owner for each address.

use k8s_openapi::api::core::v1::Service;

use super::*;
use crate::drain::Trigger;
use crate::fixtures::{l2, node, object, parse, pool, service, with_status};

fn slice(service: &str, endpoints: &str) -> Arc<Slice> {
    let slice = object(&format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-1, namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nendpoints: {endpoints}"
    ));
    Arc::new(Slice::of(&slice).unwrap())
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn names(list: &[&str]) -> BTreeSet<NodeName> {
    list.iter().map(|name| NodeName::new(*name)).collect()
}

/// Three nodes, one pool 192.168.1.240/28, an advertisement, Service `x` with .240 and ready endpoints everywhere.
/// Upstream's formula makes node-a the owner of .240, then c, then b.
fn snapshot(advertisements: &[&str]) -> Snapshot {
    let nodes = ["node-a", "node-b", "node-c"].map(|name| node(name, ""));
    let mut snapshot = Snapshot {
        members: Some(names(&["node-a", "node-b", "node-c"])),
        own: NodeName::new("node-a"),
        interfaces: BTreeMap::from([(NodeName::new("node-a"), BTreeSet::from(["eth0".to_owned(), "eth1".to_owned()]))]),
        nodes: nodes.iter().map(|node| (NodeName::new(node.metadata.name.clone().unwrap()), node.clone())).collect(),
        ..Snapshot::default()
    };
    configure(&mut snapshot, advertisements);
    add(&mut snapshot, service("x", "", ""), &["192.168.1.240"]);
    snapshot
}

fn configure(snapshot: &mut Snapshot, advertisements: &[&str]) {
    let advertisements =
        advertisements.iter().enumerate().map(|(index, spec)| l2(&format!("l2-{index}"), spec)).collect();
    let pools = vec![pool("p", "addresses: [192.168.1.240/28, 'fc00:f853:ccd:e799::/120']")];
    snapshot.config = Arc::new(parse(pools, advertisements, snapshot.nodes.values().cloned().collect()).unwrap());
}

fn add(snapshot: &mut Snapshot, service: Service, addresses: &[&str]) {
    let name = service.metadata.name.clone().unwrap();
    let endpoints = "[{addresses: [10.1.0.1], nodeName: node-a}, {addresses: [10.1.0.2], nodeName: node-b}, {addresses: [10.1.0.3], nodeName: node-c}]";
    snapshot.endpoints.insert(key(&name), vec![slice(&name, endpoints)]);
    snapshot.services.insert(key(&name), Arc::new(with_status(service, addresses)));
}

fn owner(snapshot: &Snapshot, service: &str) -> Result<String, Code> {
    let plan = Planner::default().plan(snapshot);
    let service = &plan.service(&key(service)).unwrap();
    match service.code() {
        Some(code) => Err(code),
        None => Ok(service.owner.clone().expect("an owner, or a reason").0),
    }
}

fn node_code(snapshot: &Snapshot, node: &str) -> Option<Code> {
    let plan = Planner::default().plan(snapshot);
    plan.service(&key("x")).unwrap().node_codes().find(|(name, _)| name.as_str() == node).map(|(_, code)| code)
}

fn relabel(snapshot: &mut Snapshot, name: &str, labels: &str) {
    snapshot.nodes.insert(NodeName::new(name), node(name, labels));
}

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers: ''";

#[test]
fn the_elected_node_announces_and_the_others_say_why_not() {
    let snapshot = snapshot(&[""]);
    let plan = Planner::default().plan(&snapshot);
    let address: IpAddr = "192.168.1.240".parse().unwrap();
    let announcement = Announcement { interfaces: None, services: [key("x")].into() };
    assert_eq!(plan.announce, BTreeMap::from([(address, announcement)]));
    let codes: Vec<_> =
        plan.service(&key("x")).unwrap().node_codes().map(|(node, code)| (node.as_str(), code)).collect();
    assert_eq!(codes, [("node-b", Code::NotElected), ("node-c", Code::NotElected)]);
    let elsewhere = Snapshot { own: NodeName::new("node-b"), ..snapshot };
    assert_eq!(Planner::default().plan(&elsewhere).announce, BTreeMap::new());
}

#[test]
fn every_reason_has_its_code() {
    let mut bare = snapshot(&[]);
    assert_eq!(owner(&bare, "x"), Err(Code::NoAdvertisement));
    configure(&mut bare, &[""]);
    bare.endpoints.clear();
    assert_eq!(owner(&bare, "x"), Err(Code::NoReadyEndpoints));
    for (addresses, code) in [
        (&[][..], Code::NoAddress),
        (&["nonsense"], Code::InvalidAddress),
        (&["10.9.9.9"], Code::AddressNotConfigured),
        (&["192.168.1.240", "10.9.9.9"], Code::AddressNotConfigured),
    ] {
        add(&mut bare, service("x", "", ""), addresses);
        assert_eq!(owner(&bare, "x"), Err(code), "{addresses:?}");
    }
    add(&mut bare, service("x", "loadBalancerClass: other", ""), &["192.168.1.240"]);
    assert_eq!(owner(&bare, "x"), Err(Code::OtherClass));
    let mut internal = service("x", "", "");
    internal.spec.as_mut().unwrap().type_ = Some("ClusterIP".to_owned());
    add(&mut bare, internal, &["192.168.1.240"]);
    assert_eq!(owner(&bare, "x"), Err(Code::NotLoadBalancer));
}

#[test]
fn dead_excluded_and_unreachable_nodes_are_no_candidates() {
    let mut dead = snapshot(&[""]);
    dead.members = Some(names(&["node-b", "node-c"]));
    assert_eq!(owner(&dead, "x").as_deref(), Ok("node-c"));
    assert_eq!(node_code(&dead, "node-a"), Some(Code::NodeNotAlive));

    let mut excluded = snapshot(&[""]);
    relabel(&mut excluded, "node-a", EXCLUDE);
    configure(&mut excluded, &[""]);
    assert_eq!(owner(&excluded, "x").as_deref(), Ok("node-c"));
    assert_eq!(node_code(&excluded, "node-a"), Some(Code::NodeExcluded));
    excluded.options.ignore_exclude_lb = true;
    assert_eq!(owner(&excluded, "x").as_deref(), Ok("node-a"));

    let mut unreachable = snapshot(&[""]);
    let yaml = "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nstatus: {conditions: [{type: NetworkUnavailable, status: 'True'}, {type: Ready, status: 'False'}]}";
    unreachable.nodes.insert(NodeName::new("node-a"), Arc::new(object(yaml)));
    assert_eq!(node_code(&unreachable, "node-a"), Some(Code::NodeNetworkUnavailable));
}

#[test]
fn a_node_that_is_being_emptied_is_no_candidate_where_that_was_asked_for() {
    let mut drained = snapshot(&[""]);
    let cordoned = "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nspec: {unschedulable: true}";
    drained.nodes.insert(NodeName::new("node-a"), Arc::new(object(cordoned)));
    assert_eq!(owner(&drained, "x").as_deref(), Ok("node-a"), "a cordoned node may serve for months");
    drained.options.drain_on = BTreeSet::from([Trigger::Cordon]);
    assert_eq!(owner(&drained, "x").as_deref(), Ok("node-c"));
    assert_eq!(node_code(&drained, "node-a"), Some(Code::NodeDrained));
    // Where nodes claim, the owner hands over to those who are left.
    drained.owners = Some(BTreeMap::from([("192.168.1.240".parse().unwrap(), NodeName::new("node-a"))]));
    let plan = Planner::default().plan(&drained);
    let candidates: Vec<_> = plan.candidates.values().map(|one| one.nodes.to_vec()).collect();
    assert_eq!(candidates, [["node-c", "node-b"].map(NodeName::new).to_vec()]);
}

#[test]
fn an_address_stays_on_a_node_that_is_being_emptied_while_there_is_nowhere_to_go() {
    let emptied = "apiVersion: v1\nkind: Node\nmetadata: {name: node-a, annotations: {ferrolb.io/drain: ''}}";
    let drain = |snapshot: &mut Snapshot| {
        snapshot.options.drain_on = BTreeSet::from([Trigger::Annotation]);
        snapshot.nodes.insert(NodeName::new("node-a"), Arc::new(object(emptied)));
    };
    for owners in [None, Some(BTreeMap::from([("192.168.1.240".parse().unwrap(), NodeName::new("node-a"))]))] {
        let mut local = Snapshot { owners: owners.clone(), ..snapshot(&[""]) };
        add(&mut local, service("x", "externalTrafficPolicy: Local", ""), &["192.168.1.240"]);
        local.endpoints.insert(key("x"), vec![slice("x", "[{addresses: [10.1.0.1], nodeName: node-a}]")]);
        drain(&mut local);
        assert_eq!(owner(&local, "x").as_deref(), Ok("node-a"), "only it has an endpoint");
        let mut alone = Snapshot { owners, members: Some(names(&["node-a"])), ..snapshot(&[""]) };
        drain(&mut alone);
        assert_eq!(owner(&alone, "x").as_deref(), Ok("node-a"), "the others are dead");
    }
}

#[test]
fn where_all_nodes_are_excluded_it_is_announced_loudly_or_not_at_all() {
    let mut all = snapshot(&[""]);
    for name in ["node-a", "node-b", "node-c"] {
        relabel(&mut all, name, EXCLUDE);
    }
    configure(&mut all, &[""]);
    assert_eq!(owner(&all, "x"), Err(Code::NodeExcluded));
    all.options.announce_if_all_excluded = true;
    assert_eq!(owner(&all, "x").as_deref(), Ok("node-a"));
    let plan = Planner::default().plan(&all);
    assert_eq!(plan.service(&key("x")).unwrap().warnings()[0].code, Code::AllNodesExcluded);
}

#[test]
fn local_traffic_stays_where_ready_endpoints_are() {
    let mut local = snapshot(&[""]);
    add(&mut local, service("x", "externalTrafficPolicy: Local", ""), &["192.168.1.240"]);
    for (endpoints, expected) in [
        ("[{addresses: [10.1.0.2], nodeName: node-b}]", Ok("node-b")),
        ("[{addresses: [10.1.0.2], nodeName: node-b, conditions: {ready: false}}]", Err(Code::NoReadyEndpoints)),
        ("[{addresses: [10.1.0.2], nodeName: node-b, conditions: {ready: false, serving: true}}]", Ok("node-b")),
        ("[{addresses: [10.1.0.2]}]", Err(Code::NoLocalEndpoints)),
    ] {
        local.endpoints.insert(key("x"), vec![slice("x", endpoints)]);
        assert_eq!(owner(&local, "x").as_deref(), expected.as_ref().copied(), "{endpoints}");
    }
    local.endpoints.insert(key("x"), vec![slice("x", "[{addresses: [10.1.0.2], nodeName: node-b}]")]);
    assert_eq!(node_code(&local, "node-a"), Some(Code::NoLocalEndpoints));
}

#[test]
fn a_service_without_selector_or_endpoints_is_ready_where_nobody_makes_endpoints() {
    let mut bare = snapshot(&[""]);
    let mut selectorless = service("x", "", "");
    selectorless.spec.as_mut().unwrap().selector = None;
    bare.services.insert(key("x"), Arc::new(with_status(selectorless, &["192.168.1.240"])));
    bare.endpoints.clear();
    assert_eq!(owner(&bare, "x"), Err(Code::NoReadyEndpoints));
    bare.options.selectorless_is_ready = true;
    assert_eq!(owner(&bare, "x").as_deref(), Ok("node-a"));
    bare.endpoints.insert(key("x"), vec![slice("x", "[]")]);
    assert_eq!(owner(&bare, "x"), Err(Code::NoReadyEndpoints), "somebody said that there is none");
}

#[test]
fn advertisements_select_nodes_services_and_preferences_that_add_up() {
    let only_b = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: node-b}}]";
    let selected = snapshot(&[only_b]);
    assert_eq!(owner(&selected, "x").as_deref(), Ok("node-b"));
    assert_eq!(node_code(&selected, "node-a"), Some(Code::NodeNotSelected));
    assert_eq!(owner(&snapshot(&["serviceSelectors: [{matchLabels: {app: y}}]"]), "x"), Err(Code::NoAdvertisement));
    let prefer = |node: &str, weight: u8| {
        format!(
            "preferredNodeSelectors: [{{weight: {weight}, preference: {{matchLabels: {{kubernetes.io/hostname: {node}}}}}}}]"
        )
    };
    assert_eq!(owner(&snapshot(&[&prefer("node-b", 60)]), "x").as_deref(), Ok("node-b"));
    let added = snapshot(&[&prefer("node-b", 30), &prefer("node-b", 31), &prefer("node-c", 60)]);
    assert_eq!(owner(&added, "x").as_deref(), Ok("node-b"));
    let mut gone = snapshot(&[&prefer("node-b", 60)]);
    gone.members = Some(names(&["node-a", "node-c"]));
    assert_eq!(owner(&gone, "x").as_deref(), Ok("node-a"), "a preference never makes a dead node eligible");
}

#[test]
fn interfaces_are_the_union_and_a_missing_one_is_said() {
    let announced = |advertisements: &[&str]| {
        let plan = Planner::default().plan(&snapshot(advertisements));
        let found = plan.announce.values().next().map(|announcement| announcement.interfaces.clone());
        (found, plan.service(&key("x")).unwrap().code())
    };
    let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(
        announced(&["interfaces: [eth0]", "interfaces: [eth1, eth9]"]),
        (Some(set(&["eth0", "eth1", "eth9"])), None)
    );
    assert_eq!(announced(&["interfaces: [eth0]", ""]), (Some(None), None));
    assert_eq!(announced(&["interfaces: [wlan0]"]), (None, Some(Code::InterfaceMissing)), "quirk Q-21");
    let elsewhere = Snapshot { own: NodeName::new("node-b"), ..snapshot(&["interfaces: [wlan0]"]) };
    assert_eq!(owner(&elsewhere, "x"), Err(Code::InterfaceMissing), "whoever knows what the elected node has says so");
}

#[test]
fn a_node_that_says_that_it_has_no_interface_is_no_candidate() {
    let mut cut_off = snapshot(&[""]);
    cut_off.without_interface = names(&["node-a"]);
    assert_eq!(owner(&cut_off, "x").as_deref(), Ok("node-c"));
    assert_eq!(node_code(&cut_off, "node-a"), Some(Code::InterfaceMissing));
    cut_off.without_interface = names(&["node-a", "node-b", "node-c"]);
    assert_eq!(owner(&cut_off, "x"), Err(Code::InterfaceMissing));
    let plan = Planner::default().plan(&cut_off);
    let message = plan.service(&key("x")).unwrap().finding().unwrap().message;
    assert!(message.contains("node-a LB1106 InterfaceMissing, node-b LB1106"), "{message}");
}

#[test]
fn a_message_reads_as_a_sentence_and_names_what_must_be_changed() {
    let message = |snapshot: &Snapshot| {
        let plan = Planner::default().plan(snapshot);
        plan.service(&key("x")).unwrap().finding().unwrap().message
    };
    assert_eq!(
        message(&snapshot(&["nodeSelectors: [{matchLabels: {zone: nowhere}}]"])),
        "no node may announce it: no advertisement for this address selects this node (node-a LB1110 NodeNotSelected, \
         node-b LB1110 NodeNotSelected, node-c LB1110 NodeNotSelected)"
    );
    let mut excluded = snapshot(&[""]);
    excluded.options.announce_if_all_excluded = false;
    ["node-a", "node-b", "node-c"].iter().for_each(|name| relabel(&mut excluded, name, EXCLUDE));
    assert_eq!(
        message(&excluded),
        "no node may announce it: all that could carry the label node.kubernetes.io/exclude-from-external-load-balancers \
         (node-a LB1104 NodeExcluded, node-b LB1104 NodeExcluded, node-c LB1104 NodeExcluded)"
    );
    assert_eq!(message(&snapshot(&[])), "no L2Advertisement selects pool \"p\" for this Service");
    assert_eq!(
        message(&snapshot(&["serviceSelectors: [{matchLabels: {app: y}}]"])),
        "no L2Advertisement selects pool \"p\" for this Service: the serviceSelectors of l2-0 do not match its labels"
    );
}

#[test]
fn the_headline_is_what_is_wrong_with_the_nodes_that_are_selected() {
    let only_b = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: node-b}}]";
    let mut selected = snapshot(&[only_b]);
    selected.members = Some(names(&["node-a", "node-c"]));
    assert_eq!(owner(&selected, "x"), Err(Code::NodeNotAlive), "not that the others are not selected");
    selected.members = Some(names(&["node-a", "node-b", "node-c"]));
    selected.unhealthy.insert(NodeName::new("node-b"), BTreeSet::from([key("x")]));
    assert_eq!(owner(&selected, "x"), Err(Code::HealthCheckFailing));
    let nobody = snapshot(&["nodeSelectors: [{matchLabels: {zone: nowhere}}]"]);
    assert_eq!(owner(&nobody, "x"), Err(Code::NodeNotSelected));
    // While a host listens for the others, it knows of nobody who lives: that is no fault of any of them.
    let listening = Snapshot { members: Some(BTreeSet::new()), ..snapshot(&[""]) };
    assert_eq!(owner(&listening, "x"), Err(Code::NoCandidate));
}

#[test]
fn a_shared_address_and_service_selectors_do_not_go_together() {
    let mut shared = snapshot(&["serviceSelectors: [{matchLabels: {app: x}}]"]);
    add(&mut shared, service("x", "", "metallb.io/allow-shared-ip: ''"), &["192.168.1.240"]);
    assert_eq!(owner(&shared, "x"), Err(Code::SharedAddressWithServiceSelectors));
}

#[test]
fn an_address_has_one_owner_even_if_its_services_differ() {
    let mut shared = snapshot(&[""]);
    add(&mut shared, service("y", "", ""), &["192.168.1.240"]);
    add(&mut shared, service("z", "", ""), &["fc00:f853:ccd:e799::1", "192.168.1.241"]);
    add(&mut shared, service("w", "", ""), &["192.168.1.241"]);
    shared.unhealthy.insert(NodeName::new("node-a"), BTreeSet::from([key("y")]));
    shared.unhealthy.insert(NodeName::new("node-c"), BTreeSet::from([key("w")]));
    let plan = Planner::default().plan(&shared);
    let of = |name: &str| plan.service(&key(name)).unwrap().owner.clone().unwrap().0;
    assert_eq!((of("x"), of("y")), ("node-c".to_owned(), "node-c".to_owned()));
    assert_eq!(of("z"), of("w"));
    assert_ne!(of("w"), "node-c");
}

#[test]
fn a_failing_health_check_moves_the_address() {
    let mut sick = snapshot(&[""]);
    sick.unhealthy.insert(NodeName::new("node-a"), BTreeSet::from([key("x")]));
    assert_eq!(owner(&sick, "x").as_deref(), Ok("node-c"));
    assert_eq!(node_code(&sick, "node-a"), Some(Code::HealthCheckFailing));
}

#[test]
fn without_membership_every_node_counts_and_a_deleted_one_does_not() {
    let mut off = snapshot(&[""]);
    off.members = None;
    assert_eq!(owner(&off, "x").as_deref(), Ok("node-a"));
    off.nodes.remove(&NodeName::new("node-a"));
    off.own = NodeName::new("node-b");
    configure(&mut off, &[""]);
    assert_eq!(owner(&off, "x").as_deref(), Ok("node-c"), "quirk Q-18");
}

#[test]
fn an_unchanged_service_keeps_its_plan_and_a_changed_one_does_not() {
    let mut planner = Planner::default();
    let mut snapshot = snapshot(&[""]);
    add(&mut snapshot, service("y", "", ""), &["192.168.1.241"]);
    let before = planner.plan(&snapshot);
    add(&mut snapshot, service("y", "", ""), &["192.168.1.242"]);
    let after = planner.plan(&snapshot);
    assert!(Arc::ptr_eq(before.service(&key("x")).unwrap(), after.service(&key("x")).unwrap()));
    assert!(!Arc::ptr_eq(before.service(&key("y")).unwrap(), after.service(&key("y")).unwrap()));
    snapshot.services.remove(&key("x"));
    assert!(planner.plan(&snapshot).service(&key("x")).is_none());
}

#[test]
fn while_a_pool_is_renamed_the_advertisement_of_the_new_one_is_for_its_addresses_too() {
    let mut snapshot = snapshot(&[]);
    assert_eq!(owner(&snapshot, "x"), Err(Code::NoAdvertisement));
    let pools = || {
        let both = ["p", "renamed"];
        both.map(|name| pool(name, "addresses: [192.168.1.240/28]"))
            .into_iter()
            .chain([pool("z", "addresses: [10.0.0.0/8]")])
    };
    let with = |snapshot: &mut Snapshot, named: &str| {
        let advertisement = l2("l2", &format!("ipAddressPools: [{named}]"));
        let nodes = snapshot.nodes.values().cloned().collect();
        snapshot.config = Arc::new(parse(pools().collect(), vec![advertisement], nodes).unwrap());
    };
    with(&mut snapshot, "renamed");
    assert_eq!(owner(&snapshot, "x"), Ok("node-a".to_owned()));
    // A pool that does not have the address lends it nothing.
    with(&mut snapshot, "z");
    assert_eq!(owner(&snapshot, "x"), Err(Code::NoAdvertisement));
    assert!(!is_advertised(&snapshot.services[&key("x")], &snapshot.config));
}

#[test]
fn where_nodes_claim_addresses_the_claim_says_who_announces_and_the_dead_are_candidates() {
    let address: IpAddr = "192.168.1.240".parse().unwrap();
    let mut snapshot = Snapshot { owners: Some(BTreeMap::new()), ..snapshot(&[""]) };
    snapshot.members = Some(names(&["node-a", "node-c"]));
    let mut planner = Planner::default();
    let unclaimed = planner.plan(&snapshot);
    let ranked: Vec<&str> = unclaimed.candidates[&address].nodes.iter().map(NodeName::as_str).collect();
    assert_eq!(ranked, ["node-a", "node-c", "node-b"], "upstream's order, whoever is alive");
    assert_eq!((unclaimed.service(&key("x")).unwrap().owner.as_ref(), unclaimed.announce.len()), (None, 0));
    snapshot.owners = Some(BTreeMap::from([(address, NodeName::new("node-c"))]));
    let claimed = planner.plan(&snapshot);
    let service = claimed.service(&key("x")).unwrap();
    assert_eq!(service.owner, Some(NodeName::new("node-c")), "the same planner sees it");
    let codes: Vec<_> = service.node_codes().map(|(node, code)| (node.as_str(), code)).collect();
    assert_eq!(codes, [("node-a", Code::NotElected), ("node-b", Code::NodeNotAlive)]);
    snapshot.own = NodeName::new("node-c");
    assert_eq!(planner.plan(&snapshot).announce.len(), 1);
    snapshot.members = Some(BTreeSet::new());
    snapshot.owners = Some(BTreeMap::new());
    assert!(planner.plan(&snapshot).candidates.is_empty(), "nobody, while it is still listened for");
}

#[test]
fn services_that_share_an_address_have_the_same_candidates() {
    let address: IpAddr = "192.168.1.240".parse().unwrap();
    let mut snapshot = Snapshot { owners: Some(BTreeMap::new()), ..snapshot(&[""]) };
    add(&mut snapshot, service("y", "externalTrafficPolicy: Local", ""), &["192.168.1.240"]);
    snapshot.endpoints.insert(key("y"), vec![slice("y", "[{addresses: [10.1.0.2], nodeName: node-b}]")]);
    let plan = Planner::default().plan(&snapshot);
    let ranked: Vec<&str> = plan.candidates[&address].nodes.iter().map(NodeName::as_str).collect();
    assert_eq!(ranked, ["node-b"], "the one that can serve both");
}

#[test]
fn where_nobody_claims_the_node_that_would_be_first_and_lacks_the_interface_says_so() {
    let address: IpAddr = "192.168.1.240".parse().unwrap();
    let mut snapshot = Snapshot { owners: Some(BTreeMap::new()), ..snapshot(&["interfaces: [wlan0]"]) };
    let plan = Planner::default().plan(&snapshot);
    let service = plan.service(&key("x")).unwrap();
    assert_eq!(
        (service.owner.as_ref().map(NodeName::as_str), service.code()),
        (Some("node-a"), Some(Code::InterfaceMissing))
    );
    assert!(service.finding().unwrap().message.contains("wlan0"), "{}", service.finding().unwrap());
    let ranked: Vec<&str> = plan.candidates[&address].nodes.iter().map(NodeName::as_str).collect();
    assert_eq!(ranked, ["node-c", "node-b"], "those that may have it");
    snapshot.owners = Some(BTreeMap::from([(address, NodeName::new("node-b"))]));
    let plan = Planner::default().plan(&snapshot);
    let service = plan.service(&key("x")).unwrap();
    assert_eq!((service.owner.as_ref().map(NodeName::as_str), service.code()), (Some("node-b"), None));
}
