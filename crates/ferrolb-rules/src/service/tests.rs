//! Tests of the per-Service algorithm: the allocation part of spec Appendix D, one line each, and the fixes of §10.2.

use k8s_openapi::api::core::v1::Service;

use super::*;
use crate::fixtures::{namespace, parse, pool, service, with_status};

fn views(services: &[Service]) -> impl Iterator<Item = &dyn View> {
    services.iter().map(|service| service as &dyn View)
}

struct Bench {
    allocator: Allocator,
    config: Config,
    options: Options,
}

fn bench(pools: &[(&str, &str)]) -> Bench {
    let mut bench = Bench { allocator: Allocator::new(), config: Config::default(), options: Options::default() };
    bench.pools(pools);
    bench
}

impl Bench {
    fn pools(&mut self, pools: &[(&str, &str)]) {
        self.config = parse(pools.iter().map(|(name, spec)| pool(name, spec)).collect(), vec![], vec![]).unwrap();
        self.allocator.set_pools(&self.config);
    }

    fn run(&mut self, service: &Service) -> Outcome {
        converge(service, &mut self.allocator, Some(&self.config), &self.options)
    }

    fn gives(&mut self, service: &Service) -> Result<Vec<String>, (Code, String)> {
        let outcome = self.run(service);
        match outcome.refusal {
            Some(refusal) => Err((refusal.code, refusal.message)),
            None => Ok(outcome.addresses.iter().map(ToString::to_string).collect()),
        }
    }
}

const V4: &str = "clusterIPs: [10.96.0.1]";
const DUAL: &str = "clusterIPs: [10.96.0.1, 'fd00:96::1'], ipFamilyPolicy: RequireDualStack";
const PREFER: &str = "clusterIPs: [10.96.0.1, 'fd00:96::1'], ipFamilyPolicy: PreferDualStack";

fn ok(addresses: &[&str]) -> Result<Vec<String>, (Code, String)> {
    Ok(addresses.iter().map(|address| (*address).to_owned()).collect())
}

fn refused(result: Result<Vec<String>, (Code, String)>) -> (Code, String) {
    result.expect_err("it was to be refused")
}

#[test]
fn a_service_gets_the_lowest_address_and_says_so() {
    let mut bench = bench(&[("p", "addresses: [192.168.1.240-192.168.1.250]")]);
    let outcome = bench.run(&service("a", V4, ""));
    assert_eq!(outcome.addresses, ["192.168.1.240".parse::<IpAddr>().unwrap()]);
    assert_eq!(outcome.pool.as_deref(), Some("p"));
    let event = Event { warning: false, reason: "IPAllocated", message: "Assigned IP [\"192.168.1.240\"]".to_owned() };
    assert_eq!(outcome.events, [event]);
    assert!(!outcome.frees, "a first allocation unblocks nobody (quirk Q-10)");
    assert_eq!(bench.gives(&service("b", V4, "")), ok(&["192.168.1.241"]));
}

#[test]
fn addresses_are_asked_for_by_field_or_by_annotation_but_not_different_ones_by_both() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24, 'fc00::/120']")]);
    let field = "clusterIPs: [10.96.0.1], loadBalancerIP: 10.0.0.9";
    assert_eq!(bench.gives(&service("a", field, "")), ok(&["10.0.0.9"]));
    assert_eq!(bench.gives(&service("b", V4, "metallb.io/loadBalancerIPs: 10.0.0.8")), ok(&["10.0.0.8"]));
    assert_eq!(bench.gives(&service("c", V4, "metallb.universe.tf/loadBalancerIPs: 10.0.0.7")), ok(&["10.0.0.7"]));
    let order = "metallb.io/loadBalancerIPs: 'fc00::5, 10.0.0.5'";
    assert_eq!(bench.gives(&service("d", DUAL, order)), ok(&["fc00::5", "10.0.0.5"]));
    let (code, text) = refused(bench.gives(&service("e", field, "metallb.io/loadBalancerIPs: 10.0.0.1")));
    assert_eq!(code, Code::RequestInvalid);
    assert_eq!(text, "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP");
    let both = "clusterIPs: [10.96.0.1], loadBalancerIP: 10.0.0.4";
    assert_eq!(bench.gives(&service("g", both, "metallb.io/loadBalancerIPs: ' 10.0.0.4'")), ok(&["10.0.0.4"]));
    assert_eq!(refused(bench.gives(&service("h", both, "metallb.io/loadBalancerIPs: x"))).0, Code::RequestInvalid);
    for (annotation, expected) in [
        ("nonsense", Code::RequestInvalid),
        ("'10.0.0.1,10.0.0.2'", Code::RequestInvalid),
        ("'10.0.0.1,fc00::1,10.0.0.2'", Code::RequestInvalid),
        ("'fc00::1'", Code::FamilyMismatch),
        ("10.9.9.9", Code::AddressNotInPool),
        ("10.0.0.9", Code::SharingRefused),
    ] {
        let asks = service("f", V4, &format!("metallb.io/loadBalancerIPs: {annotation}"));
        assert_eq!(refused(bench.gives(&asks)).0, expected, "{annotation}");
    }
}

#[test]
fn a_request_and_a_pool_must_fit() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]"), ("q", "addresses: [10.0.1.0/24]")]);
    let asks = |pool: &str| {
        service("a", V4, &format!("metallb.io/loadBalancerIPs: 10.0.0.9, metallb.io/address-pool: {pool}"))
    };
    assert_eq!(bench.gives(&asks("p")), ok(&["10.0.0.9"]));
    let mut fresh = self::bench(&[("p", "addresses: [10.0.0.0/24]"), ("q", "addresses: [10.0.1.0/24]")]);
    let (code, text) = refused(fresh.gives(&asks("q")));
    assert_eq!(
        (code, text.as_str()),
        (Code::PoolMismatch, "[\"10.0.0.9\"] is not compatible with requested address pool q")
    );
}

#[test]
fn the_pool_annotation_moves_a_service_and_an_unknown_pool_is_named() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]"), ("q", "addresses: [10.0.1.0/24], autoAssign: false")]);
    assert_eq!(bench.gives(&service("a", V4, "")), ok(&["10.0.0.0"]));
    let moved = with_status(service("a", V4, "metallb.io/address-pool: q"), &["10.0.0.0"]);
    assert_eq!(bench.gives(&moved), ok(&["10.0.1.0"]));
    let (code, text) = refused(bench.gives(&service("b", V4, "metallb.universe.tf/address-pool: production-pool")));
    assert_eq!((code, text.as_str()), (Code::UnknownPool, "unknown pool \"production-pool\""));
    let known = ["default-pool".to_owned(), "home".to_owned()];
    let fix = |pool: &str| crate::alloc::Refusal::unknown_pool(pool, known.iter()).fix();
    assert!(fix("defualt-pool").starts_with("did you mean \"default-pool\"?"), "{}", fix("defualt-pool"));
    assert!(fix("production-pool").starts_with("create IPAddressPool \"production-pool\""), "nothing is near");
}

#[test]
fn who_asks_for_an_unknown_pool_is_told_how_to_find_one_that_lies_elsewhere() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    for on_hosts in [false, true] {
        bench.options.assume_cluster_ips = on_hosts;
        let refusal = bench.run(&service("a", V4, "metallb.io/address-pool: q")).refusal.unwrap();
        assert_eq!(refusal.fix.contains("kubectl get ipaddresspools -A"), !on_hosts, "{}", refusal.fix);
    }
}

/// Decision 1: a pool in good order waits for the one that is not, and is not unknown meanwhile.
#[test]
fn a_pool_that_waits_for_a_bad_one_is_said_to_wait_and_for_what() {
    let selector = "{matchExpressions: [{key: a, operator: Foo}]}";
    let spec = format!("addresses: [10.0.2.0/24], serviceAllocation: {{serviceSelectors: [{selector}]}}");
    let bad = pool("bad", &spec);
    let invalid = parse(vec![bad], vec![], vec![]).unwrap_err();
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    bench.options.held_up = HeldUp::new(&invalid, ["p", "bad", "good"].map(str::to_owned).into());
    let outcome = bench.run(&service("a", V4, "metallb.io/address-pool: good"));
    let refusal = outcome.refusal.unwrap();
    assert_eq!(refusal.code, Code::UnknownPool);
    let because = "pool \"good\" exists and is not in force because of LB4006 on IPAddressPool/metallb-system/bad spec.serviceAllocation.serviceSelectors[0]";
    assert!(refusal.message.starts_with(because), "{refusal}");
    assert_eq!(refusal.fix, invalid.0[0].fix);
    assert!(outcome.events[0].message.contains(because), "{:?}", outcome.events);
    let unknown = bench.run(&service("b", V4, "metallb.io/address-pool: typo")).refusal.unwrap();
    assert_eq!(unknown.message, "unknown pool \"typo\"");
    let kept = bench.run(&with_status(service("c", V4, "metallb.io/address-pool: good"), &["10.0.0.9"]));
    assert!(kept.notes[0].message.contains(because), "{:?}", kept.notes);
    // The first configuration was empty, and the first pool is the bad one.
    bench.pools(&[]);
    let none = bench.run(&service("d", V4, "")).refusal.unwrap();
    assert!(
        none.code == Code::NoPool && none.message.starts_with("no IPAddressPool is in force because of LB4006"),
        "{none}"
    );
}

/// G7: a rename reaches the pool first and the Services that name it later, or the other way round.
#[test]
fn a_pool_asked_for_that_does_not_exist_takes_no_address_away() {
    let mut bench = bench(&[("old", "addresses: [10.0.0.0/24]"), ("q", "addresses: [10.0.1.0/24]")]);
    let asks = |pool: &str| service("a", V4, &format!("metallb.io/address-pool: {pool}"));
    assert_eq!(bench.gives(&asks("old")), ok(&["10.0.0.0"]));
    let held = |pool: &str| with_status(asks(pool), &["10.0.0.0"]);
    let ahead = bench.run(&held("new"));
    assert_eq!((ahead.addresses, ahead.pool.as_deref()), (vec!["10.0.0.0".parse().unwrap()], Some("old")));
    assert_eq!(ahead.notes[0].code, Code::UnknownPool);
    assert_eq!(ahead.notes[0].message, "it keeps [\"10.0.0.0\"] of \"old\": unknown pool \"new\"");
    assert!(ahead.events[0].warning && ahead.events[0].reason == "UnknownPool", "{:?}", ahead.events);
    bench.pools(&[("new", "addresses: [10.0.0.0/24]"), ("q", "addresses: [10.0.1.0/24]")]);
    let behind = bench.run(&held("old"));
    assert_eq!((behind.addresses, behind.pool.as_deref()), (vec!["10.0.0.0".parse().unwrap()], Some("new")));
    assert_eq!(behind.notes[0].code, Code::UnknownPool);
    let done = bench.run(&held("new"));
    assert_eq!((done.pool.as_deref(), done.notes.len(), done.events.len()), (Some("new"), 0, 0));
    // A pool that exists is moved to, and who has nothing gets nothing.
    assert_eq!(bench.gives(&held("q")), ok(&["10.0.1.0"]));
    assert_eq!(refused(bench.gives(&service("b", V4, "metallb.io/address-pool: nowhere"))).0, Code::UnknownPool);
}

#[test]
fn a_pool_of_the_other_family_is_named_and_not_nil() {
    let mut bench = bench(&[("six", "addresses: ['fc00::/120']")]);
    let (code, text) = refused(bench.gives(&service("a", V4, "metallb.io/address-pool: six")));
    assert_eq!((code, text.as_str()), (Code::PoolExhausted, "no available IPs in pool \"six\""));
}

#[test]
fn a_status_that_is_not_allowed_is_repaired() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    let foreign = bench.run(&with_status(service("a", V4, ""), &["10.9.9.9"]));
    assert_eq!(foreign.addresses, ["10.0.0.0".parse::<IpAddr>().unwrap()]);
    assert_eq!(foreign.events[0].reason, "ClearAssignment");
    assert_eq!(
        foreign.events[0].message,
        "current IP for \"default/a\" not allowed by config, will attempt for new IP assignment: [\"10.9.9.9\"] is not allowed in config"
    );
    assert_eq!(foreign.notes[0].code, Code::AddressNotAllowed);
    for nonsense in [&["x"][..], &["10.0.0.1", "10.0.0.2"], &["10.0.0.1", "fc00::1", "fc00::2"]] {
        let outcome = bench.run(&with_status(service("b", V4, ""), nonsense));
        assert_eq!(outcome.events[0].reason, "nolbIPsIPFamily", "{nonsense:?}");
        assert_eq!(outcome.addresses.len(), 1, "{nonsense:?}");
    }
}

#[test]
fn another_type_gives_the_address_up() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    bench.run(&service("a", V4, ""));
    let mut changed = with_status(service("a", V4, ""), &["10.0.0.0"]);
    changed.spec.as_mut().unwrap().type_ = Some("ClusterIP".to_owned());
    let outcome = bench.run(&changed);
    assert_eq!((outcome.addresses, outcome.refusal, outcome.frees), (vec![], None, true));
    assert_eq!(bench.gives(&service("b", V4, "")), ok(&["10.0.0.0"]));
}

#[test]
fn only_the_configured_class_is_served_and_a_known_service_is_let_go() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    let other = service("a", "clusterIPs: [10.96.0.1], loadBalancerClass: other.io/lb", "");
    assert_eq!(refused(bench.gives(&other)).0, Code::OtherClass);
    bench.options.load_balancer_class = Some("other.io/lb".to_owned());
    assert_eq!(bench.gives(&other), ok(&["10.0.0.0"]));
    assert_eq!(refused(bench.gives(&service("b", V4, ""))).0, Code::OtherClass);
    let mut gone = with_status(other, &["10.0.0.0"]);
    gone.spec.as_mut().unwrap().type_ = Some("NodePort".to_owned());
    gone.spec.as_mut().unwrap().load_balancer_class = None;
    assert!(bench.run(&gone).frees, "Kubernetes clears the class with the type (quirk Q-9)");
}

#[test]
fn dual_stack_needs_two_cluster_ips_and_one_pool_with_both() {
    let mut bench = bench(&[("four", "addresses: [10.0.0.0/24]"), ("six", "addresses: ['fc00::/120']")]);
    let short = "clusterIPs: [10.96.0.1], ipFamilyPolicy: RequireDualStack";
    let outcome = bench.run(&service("a", short, ""));
    assert_eq!(outcome.events[0].reason, "not enough clusterips");
    assert_eq!(outcome.refusal.unwrap().code, Code::ClusterIpsMissing);
    assert_eq!(refused(bench.gives(&service("a", DUAL, ""))).0, Code::NoFreeAddress);
    assert_eq!(bench.gives(&service("b", PREFER, "")), ok(&["10.0.0.0"]));
    let six_first = format!("{PREFER}, ipFamilies: [IPv6, IPv4]");
    assert_eq!(bench.gives(&service("c", &six_first, "")), ok(&["fc00::1"]));
    let single = "clusterIPs: [10.96.0.1, 'fd00:96::1'], ipFamilyPolicy: SingleStack";
    assert_eq!(refused(bench.gives(&service("d", single, ""))).0, Code::FamilyMismatch);
    assert_eq!(refused(bench.gives(&service("e", "", ""))).0, Code::ClusterIpsMissing);
}

#[test]
fn a_pool_that_grows_a_family_extends_those_who_prefer_both_and_one_that_shrinks_replaces_both() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    assert_eq!(bench.gives(&service("a", PREFER, "")), ok(&["10.0.0.0"]));
    let outcome = bench.run(&with_status(service("a", PREFER, ""), &["10.0.0.0"]));
    assert_eq!(outcome.events[0].reason, "AdditionalAssignFailed");
    assert_eq!(outcome.notes[0].code, Code::SecondFamilyUnavailable);
    bench.pools(&[("p", "addresses: [10.0.0.0/24, 'fc00::/120']")]);
    let outcome = bench.run(&with_status(service("a", PREFER, ""), &["10.0.0.0"]));
    assert_eq!(outcome.events[0].message, "Assigned additional IP \"fc00::1\"");
    assert_eq!(outcome.addresses.len(), 2);
    bench.pools(&[("p", "addresses: [10.0.1.0/24]")]);
    let both = with_status(service("a", PREFER, ""), &["10.0.0.0", "fc00::1"]);
    assert_eq!(bench.gives(&both), ok(&["10.0.1.0"]));
}

#[test]
fn a_single_stack_service_that_prefers_both_does_not_oscillate() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24, 'fc00::/120']")]);
    let single = "clusterIPs: [10.96.0.1], ipFamilyPolicy: PreferDualStack";
    assert_eq!(bench.gives(&service("a", single, "")), ok(&["10.0.0.0"]));
    let again = bench.run(&with_status(service("a", single, ""), &["10.0.0.0"]));
    assert_eq!((again.addresses.len(), again.events), (1, vec![]), "quirk Q-14");
}

#[test]
fn the_order_of_a_request_is_kept() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24, 'fc00::/120']")]);
    let asks = service("a", DUAL, "metallb.io/loadBalancerIPs: 'fc00::5,10.0.0.5'");
    assert_eq!(bench.gives(&asks), ok(&["fc00::5", "10.0.0.5"]));
    let outcome = bench.run(&with_status(asks, &["fc00::5", "10.0.0.5"]));
    assert_eq!(outcome.addresses[0].to_string(), "fc00::5", "quirk Q-12");
    assert_eq!(outcome.events, []);
}

#[test]
fn a_request_that_makes_no_sense_leaves_the_address() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    bench.run(&service("a", V4, ""));
    let outcome = bench.run(&with_status(service("a", V4, "metallb.io/loadBalancerIPs: x"), &["10.0.0.0"]));
    assert_eq!(outcome.events[0].reason, "LoadBalancerFailed");
    assert_eq!(outcome.refusal.unwrap().code, Code::RequestInvalid);
    assert_eq!(outcome.addresses.len(), 1);
}

#[test]
fn without_pools_every_address_is_given_up_and_without_configuration_none() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24]")]);
    let holder = with_status(service("a", V4, ""), &["10.0.0.0"]);
    bench.run(&holder);
    let waiting = converge(&holder, &mut bench.allocator, None, &bench.options);
    assert_eq!((waiting.refusal, waiting.frees), (None, false));
    bench.pools(&[]);
    assert_eq!(refused(bench.gives(&holder)).0, Code::NoPool);
}

#[test]
fn keys_may_change_while_alone_and_a_change_of_policy_unblocks_another() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/32]")]);
    let key = "metallb.io/allow-shared-ip: k";
    let port = |spec: &str| format!("clusterIPs: [10.96.0.1], {spec}");
    let local = port("externalTrafficPolicy: Local");
    assert_eq!(bench.gives(&service("a", &local, key)), ok(&["10.0.0.0"]));
    let mut second = service("b", V4, key);
    second.spec.as_mut().unwrap().ports.as_mut().unwrap()[0].port = 81;
    assert_eq!(refused(bench.gives(&second)).0, Code::NoFreeAddress, "a Local and a Cluster Service do not share");
    let outcome = bench.run(&with_status(service("a", V4, key), &["10.0.0.0"]));
    assert!(outcome.frees, "others may get in now");
    assert_eq!(bench.gives(&second), ok(&["10.0.0.0"]));
    let changed = with_status(service("a", V4, "metallb.io/allow-shared-ip: other"), &["10.0.0.0"]);
    assert_eq!(refused(bench.gives(&changed)).0, Code::NoFreeAddress, "not alone any more");
}

#[test]
fn pinning_by_label_of_the_namespace_follows_the_label() {
    let resources = |label: &str| crate::config::Resources {
        pools: vec![pool(
            "p",
            "addresses: [10.0.0.0/24], serviceAllocation: {namespaceSelectors: [{matchLabels: {team: a}}]}",
        )],
        namespaces: vec![namespace("default", label)],
        ..crate::config::Resources::default()
    };
    let mut bench = bench(&[]);
    bench.config = crate::config::parse(&resources("team: b")).unwrap();
    bench.allocator.set_pools(&bench.config);
    assert_eq!(refused(bench.gives(&service("a", V4, ""))).0, Code::NoFreeAddress);
    bench.config = crate::config::parse(&resources("team: a")).unwrap();
    bench.allocator.set_pools(&bench.config);
    assert_eq!(bench.gives(&service("a", V4, "")), ok(&["10.0.0.0"]));
}

#[test]
fn after_a_restart_recorded_addresses_come_before_new_services_and_the_older_service_keeps() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/31]")]);
    let aged = |name: &str, created: &str| {
        let mut service = with_status(service(name, V4, ""), &["10.0.0.0"]);
        service.metadata.creation_timestamp = Some(crate::fixtures::object(&format!("{created:?}")));
        service
    };
    let services = [service("a", V4, ""), aged("b", "2026-02-01T00:00:00Z"), aged("c", "2026-01-01T00:00:00Z")];
    let outcomes = converge_all(views(&services), &mut bench.allocator, Some(&bench.config), &bench.options);
    let of = |name: &str| {
        let outcome = &outcomes.iter().find(|(key, _)| *key.name == *name).unwrap().1;
        outcome.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of("c"), ["10.0.0.0"], "the older one keeps it (decision D17)");
    assert_eq!(of("b"), ["10.0.0.1"], "it had an address, so it comes before the new one");
    assert_eq!(of("a"), Vec::<String>::new());
}

#[test]
fn at_a_start_particular_wishes_come_before_wishes_for_anything() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/31]"), ("q", "addresses: [10.0.1.0/31]")]);
    let asks = |name, ip: &str| service(name, &format!("clusterIPs: [10.96.0.1], loadBalancerIP: {ip}"), "");
    let services = [
        service("a", V4, ""),
        service("b", V4, "metallb.io/address-pool: p"),
        asks("c", "10.0.0.0"),
        service("d", V4, ""),
    ];
    let outcomes = converge_all(views(&services), &mut bench.allocator, Some(&bench.config), &bench.options);
    let mut given: Vec<(String, String)> =
        outcomes.iter().map(|(key, outcome)| (key.name.to_string(), outcome.addresses[0].to_string())).collect();
    given.sort();
    let wanted = [("a", "10.0.1.0"), ("b", "10.0.0.1"), ("c", "10.0.0.0"), ("d", "10.0.1.1")];
    assert_eq!(given, wanted.map(|(name, address)| (name.to_owned(), address.to_owned())));
}

#[test]
fn two_services_can_swap_their_addresses() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/31]")]);
    let asks = |name, ip: &str| service(name, &format!("clusterIPs: [10.96.0.1], loadBalancerIP: {ip}"), "");
    let services =
        [with_status(asks("a", "10.0.0.1"), &["10.0.0.0"]), with_status(asks("b", "10.0.0.0"), &["10.0.0.1"])];
    let outcomes = converge_all(views(&services), &mut bench.allocator, Some(&bench.config), &bench.options);
    let given: Vec<String> = outcomes.iter().map(|(_, outcome)| outcome.addresses[0].to_string()).collect();
    assert_eq!(given, ["10.0.0.1", "10.0.0.0"]);
}

#[test]
fn without_cluster_ips_a_manifest_says_its_families() {
    let mut bench = bench(&[("p", "addresses: [10.0.0.0/24, 'fc00::/120']")]);
    bench.options.assume_cluster_ips = true;
    assert_eq!(bench.gives(&service("a", "", "")), ok(&["10.0.0.0"]));
    assert_eq!(bench.gives(&service("b", "ipFamilies: [IPv6]", "")), ok(&["fc00::1"]));
    assert_eq!(bench.gives(&service("c", "ipFamilyPolicy: PreferDualStack", "")), ok(&["10.0.0.1", "fc00::2"]));
    assert_eq!(bench.gives(&service("d", "", "metallb.io/loadBalancerIPs: 'fc00::9'")), ok(&["fc00::9"]));
}

mod histories;
