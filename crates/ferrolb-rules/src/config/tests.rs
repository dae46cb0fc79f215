//! Tests of the validator: rules of spec §3.4, §3.6, §3.7 for pools, layer 2 and communities; decision D3.

use super::*;
use crate::fixtures::{l2, namespace, node, object, parse, pool};
use crate::range::Family;

fn errors(pools: &[(&str, &str)], advertisements: &[&str]) -> Vec<(Code, String, String)> {
    let pools = pools.iter().map(|(name, spec)| pool(name, spec)).collect();
    let advertisements = advertisements.iter().enumerate().map(|(n, spec)| l2(&format!("l2-{n}"), spec)).collect();
    let findings = parse(pools, advertisements, vec![node("node-a", "")]).expect_err("it was to be refused").0;
    findings.into_iter().map(|finding| (finding.code, finding.field, finding.message)).collect()
}

fn codes(pools: &[(&str, &str)], advertisements: &[&str]) -> Vec<Code> {
    errors(pools, advertisements).into_iter().map(|(code, ..)| code).collect()
}

#[test]
fn the_users_own_configuration_loads() {
    let config = parse(
        vec![pool("default-pool", "addresses: [192.168.1.200-192.168.1.220]")],
        vec![l2("default-advertisement", "ipAddressPools: [default-pool]")],
        vec![node("nuc-1", "")],
    )
    .unwrap();
    let pool = &config.pools["default-pool"];
    assert_eq!(pool.ranges.iter().map(AddressRange::size).sum::<u128>(), 21);
    assert_eq!(pool.ranges[0].family(), Family::V4);
    assert!(pool.auto_assign && !pool.avoid_buggy_ips);
    assert_eq!(pool.l2_advertisements[0].nodes, BTreeSet::from([NodeName::new("nuc-1")]));
    assert_eq!(config.findings, []);
}

#[test]
fn every_mistake_is_named_with_object_field_and_fix() {
    let mistakes = errors(
        &[("p", "addresses: [192.168.1.220-192.168.1.200, 10.0.0.1, 'fc00::1-10.0.0.1', x]"), ("q", "addresses: []")],
        &[],
    );
    let found: Vec<(Code, &str)> = mistakes.iter().map(|(code, field, _)| (*code, field.as_str())).collect();
    assert_eq!(
        found,
        [
            (Code::AddressRangeInvalid, "spec.addresses[0]"),
            (Code::AddressRangeInvalid, "spec.addresses[1]"),
            (Code::AddressRangeInvalid, "spec.addresses[2]"),
            (Code::AddressRangeInvalid, "spec.addresses[3]"),
            (Code::PoolEmpty, "spec.addresses"),
        ]
    );
    let invalid = parse(vec![pool("p", "addresses: [10.0.0.1]")], vec![], vec![]).unwrap_err();
    assert_eq!(
        invalid.0[0].to_string(),
        "LB4002 IPAddressPool/metallb-system/p spec.addresses[0]: invalid CIDR \"10.0.0.1\": a single address is written 10.0.0.1/32. Fix: write 10.0.0.1/32"
    );
}

#[test]
fn ranges_of_one_pool_must_not_overlap() {
    let mistakes = errors(&[("p", "addresses: [10.0.0.0/24, 10.0.1.0/24, 10.0.0.128-10.0.0.130]")], &[]);
    assert_eq!(mistakes.len(), 1);
    assert_eq!((mistakes[0].0, mistakes[0].1.as_str()), (Code::RangesOverlap, "spec.addresses[2]"));
}

#[test]
fn overlapping_pools_are_a_soft_conflict_that_the_older_one_wins() {
    let aged = |name: &str, spec: &str, created: Option<&str>| {
        let mut pool = (*pool(name, spec)).clone();
        pool.metadata.creation_timestamp = created.map(|time| object(&format!("{time:?}")));
        Arc::new(pool)
    };
    let both = |first: Option<&str>, second: Option<&str>| {
        let pools =
            vec![aged("a", "addresses: [10.0.0.0/24]", first), aged("b", "addresses: [10.0.0.128-10.0.1.5]", second)];
        parse(pools, vec![l2("all", "")], vec![]).unwrap()
    };
    let younger = |config: &Config| {
        let name = config.pools.values().find(|pool| !pool.conflicts.is_empty()).map(|pool| pool.name.clone());
        (name, config.findings.iter().map(|finding| finding.code).collect::<Vec<_>>())
    };
    let (old, new) = (Some("2026-01-01T00:00:00Z"), Some("2026-02-01T00:00:00Z"));
    let expect = |name: &str| (Some(name.to_owned()), vec![Code::PoolsOverlap]);
    assert_eq!(younger(&both(old, new)), expect("b"));
    assert_eq!(younger(&both(new, old)), expect("a"));
    assert_eq!(younger(&both(None, new)), expect("a"), "no time is younger than any");
    assert_eq!(younger(&both(old, old)), expect("b"), "a tie goes by name");
    let conflict = &both(old, new).pools["b"].conflicts[0];
    assert_eq!((conflict.with.as_str(), conflict.range.to_string().as_str()), ("a", "10.0.0.128-10.0.0.255"));
}

#[test]
fn duplicates_and_selectors_are_checked_everywhere() {
    let twice = "{matchLabels: {a: b}}, {matchLabels: {a: b}}";
    let wrong = "{matchExpressions: [{key: a, operator: Near, values: [b]}]}";
    let empty = "{matchExpressions: [{key: a, operator: In, values: []}]}";
    let address = "addresses: [10.0.0.0/24]";
    for (spec, code) in [
        (format!("{address}, serviceAllocation: {{namespaces: [x, x]}}"), Code::DuplicateEntry),
        (format!("{address}, serviceAllocation: {{namespaceSelectors: [{twice}]}}"), Code::DuplicateEntry),
        (format!("{address}, serviceAllocation: {{serviceSelectors: [{wrong}]}}"), Code::SelectorInvalid),
        (format!("{address}, serviceAllocation: {{serviceSelectors: [{empty}]}}"), Code::SelectorInvalid),
    ] {
        assert_eq!(codes(&[("p", &spec)], &[]), [code], "{spec}");
    }
    for (spec, code) in [
        ("ipAddressPools: [p, p]".to_owned(), Code::DuplicateEntry),
        (format!("ipAddressPoolSelectors: [{wrong}]"), Code::SelectorInvalid),
        (format!("nodeSelectors: [{twice}]"), Code::DuplicateEntry),
        (format!("serviceSelectors: [{wrong}]"), Code::SelectorInvalid),
        ("preferredNodeSelectors: [{weight: 0, preference: {}}]".to_owned(), Code::OutOfRange),
        ("preferredNodeSelectors: [{weight: 101, preference: {}}]".to_owned(), Code::OutOfRange),
        (format!("preferredNodeSelectors: [{{weight: 5, preference: {wrong}}}]"), Code::PreferenceInvalid),
    ] {
        assert_eq!(codes(&[("p", address)], &[&spec]), [code], "{spec}");
    }
}

#[test]
fn what_does_nothing_is_told_and_does_not_keep_the_configuration_from_loading() {
    let config = parse(
        vec![pool("p", "addresses: [10.0.0.0/24]"), pool("lonely", "addresses: [10.1.0.0/24]")],
        vec![l2("a", "ipAddressPools: [p, gone], nodeSelectors: [{matchLabels: {no: body}}]")],
        vec![node("node-a", "")],
    )
    .unwrap();
    let mut codes: Vec<Code> = config.findings.iter().map(|finding| finding.code).collect();
    codes.sort();
    assert_eq!(codes, [Code::PoolNotAdvertised, Code::AdvertisedPoolMissing, Code::NoNodeSelected]);
    let missing = config.findings.iter().find(|finding| finding.code == Code::AdvertisedPoolMissing);
    assert!(missing.is_some_and(|finding| finding.fix.contains("there are: ")), "{missing:?}");
}

#[test]
fn advertisements_are_attached_by_name_by_label_or_to_all() {
    let attached = |spec: &str| {
        let pools = vec![pool("p", "addresses: [10.0.0.0/24]"), pool("q", "addresses: [10.1.0.0/24]")];
        let config = parse(pools, vec![l2("a", spec)], vec![]).unwrap();
        let with = config.pools.values().filter(|pool| !pool.l2_advertisements.is_empty());
        with.map(|pool| pool.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(attached(""), ["p", "q"]);
    assert_eq!(attached("ipAddressPools: [q]"), ["q"]);
    assert_eq!(attached("ipAddressPoolSelectors: [{matchLabels: {pool: p}}]"), ["p"]);
    assert_eq!(attached("ipAddressPools: [q], ipAddressPoolSelectors: [{matchLabels: {pool: p}}]"), ["p", "q"]);
}

#[test]
fn the_same_advertisement_twice_counts_once_unless_it_prefers() {
    let count = |spec: &str| {
        let pools = vec![pool("p", "addresses: [10.0.0.0/24]")];
        parse(pools, vec![l2("a", spec), l2("b", spec)], vec![node("n", "")]).unwrap().pools["p"]
            .l2_advertisements
            .len()
    };
    assert_eq!(count("interfaces: [eth0]"), 1);
    assert_eq!(count("preferredNodeSelectors: [{weight: 5, preference: {}}]"), 2);
}

#[test]
fn preferences_only_count_inside_the_advertisements_nodes() {
    let spec = "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: a}}], preferredNodeSelectors: [{weight: 5, preference: {}}, {weight: 6, preference: {}}]";
    let config =
        parse(vec![pool("p", "addresses: [10.0.0.0/24]")], vec![l2("x", spec)], vec![node("a", ""), node("b", "")]);
    let preferences = &config.unwrap().pools["p"].l2_advertisements[0].preferences;
    assert_eq!(preferences, &BTreeMap::from([(NodeName::new("a"), 11)]));
}

#[test]
fn namespaces_are_resolved_and_a_priority_alone_pins_to_everybody() {
    let allocation = |spec: &str| {
        let resources = Resources {
            pools: vec![pool("p", &format!("addresses: [10.0.0.0/24], serviceAllocation: {{{spec}}}"))],
            namespaces: vec![namespace("one", "team: a"), namespace("two", "team: b")],
            ..Resources::default()
        };
        let pool = super::parse(&resources).unwrap().pools["p"].clone();
        let allocation = pool.service_allocation.clone().unwrap();
        (allocation.namespaces.map(|set| set.into_iter().collect::<Vec<_>>()), allocation.service_selectors.len())
    };
    let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(allocation("namespaces: [x], namespaceSelectors: [{matchLabels: {team: a}}]"), (some(&["one", "x"]), 0));
    assert_eq!(allocation("namespaceSelectors: [{matchLabels: {team: c}}]"), (some(&[]), 0), "quirk Q-15");
    assert_eq!(allocation("priority: 5"), (None, 1));
}

#[test]
fn communities_are_parsed_and_aliases_are_unique() {
    for (text, value) in [
        ("65000:100", Some(CommunityValue::Standard(65000, 100))),
        ("large:1:2:4294967295", Some(CommunityValue::Large(1, 2, 4_294_967_295))),
        ("65536:1", None),
        ("1", None),
        ("small:1:2:3", None),
        ("large:1:2", None),
        ("", None),
    ] {
        assert_eq!(CommunityValue::parse(text).ok(), value, "{text}");
    }
    let community = |name: &str, value: &str| {
        Arc::new(object::<api::Community>(&format!(
            "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{communities: [{{name: alias, value: {value:?}}}]}}"
        )))
    };
    let parse = |communities| super::parse(&Resources { communities, ..Resources::default() });
    assert_eq!(parse(vec![community("a", "1:2")]).unwrap().communities["alias"], CommunityValue::Standard(1, 2));
    let twice = parse(vec![community("b", "1:2"), community("a", "1:2")]).unwrap_err();
    assert_eq!((twice.0[0].code, twice.0[0].object.as_str()), (Code::CommunityDuplicate, "Community/metallb-system/b"));
    assert_eq!(parse(vec![community("a", "x")]).unwrap_err().0[0].code, Code::CommunityInvalid);
}

#[test]
fn addresses_of_nodes_and_of_routers_are_the_last_that_a_pool_hands_out() {
    let node = |name: &str, address: &str| {
        let yaml =
            format!("metadata: {{name: {name}}}\nstatus: {{addresses: [{{type: InternalIP, address: {address}}}]}}");
        std::sync::Arc::new(object::<Node>(&yaml))
    };
    let addresses = "[10.0.0.0/24, 10.0.9.0/31, 'fd20::/64', 'fd21::/127', 'fd22::-fd22::ff']";
    let pool = format!("metadata: {{name: p, namespace: m}}\nspec: {{addresses: {addresses}}}");
    let resources = Resources {
        pools: vec![std::sync::Arc::new(object(&pool))],
        nodes: vec![node("a", "10.0.9.1"), node("b", "10.0.0.5"), node("c", "not.an.ip"), node("d", "172.16.0.1")],
        ..Resources::default()
    };
    let config = super::parse(&resources).unwrap();
    let last: Vec<String> = config.pools["p"].last_resort.iter().map(ToString::to_string).collect();
    assert_eq!(last, ["10.0.0.5", "10.0.9.1", "fd20::"]);
    let finding = config.findings.iter().find(|finding| finding.code == Code::NodeAddressInPool).unwrap();
    assert_eq!((finding.severity, finding.field.as_str()), (Severity::Warning, "spec.addresses[0]"));
    assert!(finding.message.contains("10.0.0.5 of node b, 10.0.9.1 of node a;"), "{finding}");
}
