//! Tests of the allocator: tables of spec §4.9 and Appendix A.7, D3's soft conflict, and a naive model that does the
//! same by walking over every address.

use proptest::prelude::*;

use super::*;
use crate::config::{Pool, PoolConflict, ServiceAllocation};
use crate::range::AddressRange;
use crate::reason::Code;

mod model;

fn range(text: &str) -> AddressRange {
    AddressRange::parse(text).unwrap()
}

fn pool(name: &str, ranges: &[&str]) -> Pool {
    let ranges = ranges.iter().map(|text| range(text)).collect();
    Pool { name: name.to_owned(), ranges, auto_assign: true, ..Pool::default() }
}

fn config(pools: Vec<Pool>) -> Config {
    Config { pools: pools.into_iter().map(|pool| (pool.name.clone(), Arc::new(pool))).collect(), ..Config::default() }
}

fn allocator(pools: Vec<Pool>) -> Allocator {
    let mut allocator = Allocator::new();
    assert_eq!(allocator.set_pools(&config(pools)), []);
    allocator
}

fn request(name: &str) -> Request {
    Request {
        key: ServiceKey::new("default", name),
        labels: BTreeMap::new(),
        sharing_key: String::new(),
        backend_key: String::new(),
        ports: vec![("TCP".into(), 80)],
    }
}

fn sharing(name: &str, key: &str, port: i32) -> Request {
    Request { sharing_key: key.to_owned(), ports: vec![("TCP".into(), port)], ..request(name) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(allocator: &mut Allocator, request: &Request) -> Result<String, Code> {
    let assigned = allocator.allocate(request, Families::One(Family::V4)).map_err(|refusal| refusal.code())?;
    Ok(assigned.addresses[0].to_string())
}

#[test]
fn the_lowest_free_address_comes_first_and_comes_back_first() {
    let mut allocator = allocator(vec![pool("p", &["10.0.0.0/29"])]);
    for (name, address) in [("a", "10.0.0.0"), ("b", "10.0.0.1"), ("c", "10.0.0.2")] {
        assert_eq!(v4(&mut allocator, &request(name)).as_deref(), Ok(address));
    }
    allocator.release(&ServiceKey::new("default", "b"));
    assert_eq!(v4(&mut allocator, &request("d")).as_deref(), Ok("10.0.0.1"));
}

#[test]
fn ranges_are_walked_in_the_order_written() {
    let mut allocator = allocator(vec![pool("p", &["10.0.1.0/31", "10.0.0.0/31"])]);
    let given: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| v4(&mut allocator, &request(name)).unwrap()).collect();
    assert_eq!(given, ["10.0.1.0", "10.0.1.1", "10.0.0.0", "10.0.0.1"]);
    assert_eq!(v4(&mut allocator, &request("e")), Err(Code::NoFreeAddress));
}

#[test]
fn capacity_is_counted_as_in_the_appendix() {
    let huge = i64::MAX;
    for (ranges, avoid, v4, v6) in [
        (&["1.2.3.0/24"][..], false, 256, 0),
        (&["1.2.3.0/24"], true, 254, 0),
        (&["1.2.3.0/24", "2.3.4.128/25"], true, 381, 0),
        (&["1.2.0.0/23"], true, 508, 0),
        (&["1.2.3.0/31", "1000::/127"], true, 1, 2),
        (&["1.2.3.0/24", "2.3.4.128/25", "1000::/64"], true, 381, huge),
        (&["1000::/64", "2000::/64"], false, 0, huge),
        (&["::/0"], false, 0, huge),
        (&["10.0.0.255/32"], true, 0, 0),
        (&["192.168.1.200-192.168.1.220"], false, 21, 0),
    ] {
        let allocator = allocator(vec![Pool { avoid_buggy_ips: avoid, ..pool("p", ranges) }]);
        let counters = allocator.counters("p").unwrap();
        assert_eq!((counters.total_v4, counters.total_v6), (v4, v6), "{ranges:?} {avoid}");
        assert_eq!((counters.available_v4, counters.available_v6), (v4, v6), "{ranges:?} {avoid}");
    }
}

#[test]
fn buggy_addresses_are_skipped_and_belong_to_nobody() {
    let buggy = Pool { avoid_buggy_ips: true, ..pool("p", &["10.0.0.254-10.0.1.1"]) };
    let mut allocator = allocator(vec![buggy]);
    assert_eq!(v4(&mut allocator, &request("a")).as_deref(), Ok("10.0.0.254"));
    assert_eq!(v4(&mut allocator, &request("b")).as_deref(), Ok("10.0.1.1"));
    assert_eq!(v4(&mut allocator, &request("c")), Err(Code::NoFreeAddress));
    let refused = allocator.assign(&request("c"), &[ip("10.0.1.0")], &[]).unwrap_err();
    assert_eq!(refused.to_string(), "[\"10.0.1.0\"] is not allowed in config");
}

#[test]
fn what_is_better_kept_is_handed_out_last_and_kept_by_whom_it_has() {
    let spare = |addresses: &[&str]| addresses.iter().map(|text| ip(text)).collect();
    let first = Pool { last_resort: spare(&["10.0.0.0"]), ..pool("a", &["10.0.0.0/31"]) };
    let mut allocator = allocator(vec![first, pool("b", &["10.0.1.0/32"])]);
    assert_eq!(allocator.counters("a").unwrap().available_v4, 2, "it can be had, so it counts");
    let given: Vec<_> = ["a", "b", "c"].iter().map(|name| v4(&mut allocator, &request(name)).unwrap()).collect();
    assert_eq!(given, ["10.0.0.1", "10.0.1.0", "10.0.0.0"]);
    allocator.release(&ServiceKey::new("default", "c"));
    allocator.release(&ServiceKey::new("default", "b"));
    assert_eq!(v4(&mut allocator, &request("d")).as_deref(), Ok("10.0.1.0"));
    assert!(allocator.assign(&sharing("e", "k", 80), &[ip("10.0.0.0")], &[]).is_ok(), "who asks for it gets it");
    assert_eq!(v4(&mut allocator, &sharing("f", "k", 81)).as_deref(), Ok("10.0.0.0"), "who shares it, too");
    let counters = allocator.counters("a").unwrap();
    assert_eq!((counters.total_v4, counters.assigned_v4, counters.available_v4), (2, 2, 0));
}

#[test]
fn shared_addresses_are_counted_once() {
    let mut allocator = allocator(vec![pool("p", &["10.0.0.0/30"])]);
    assert_eq!(v4(&mut allocator, &sharing("a", "k", 80)).as_deref(), Ok("10.0.0.0"));
    assert_eq!(v4(&mut allocator, &sharing("b", "k", 81)).as_deref(), Ok("10.0.0.0"));
    assert_eq!(v4(&mut allocator, &sharing("c", "k", 80)).as_deref(), Ok("10.0.0.1"), "its port is taken on the first");
    assert_eq!(allocator.counters("p").unwrap().assigned_v4, 2);
    allocator.release(&ServiceKey::new("default", "a"));
    assert_eq!(allocator.counters("p").unwrap().assigned_v4, 2, "b is still there");
    allocator.release(&ServiceKey::new("default", "b"));
    assert_eq!(allocator.counters("p").unwrap().assigned_v4, 1);
}

#[test]
fn sharing_is_refused_in_upstreams_words() {
    let mut allocator = allocator(vec![pool("p", &["10.0.0.0/30"])]);
    let address = [ip("10.0.0.0")];
    allocator.assign(&sharing("a", "k", 80), &address, &[]).unwrap();
    let text = |result: Result<Assigned, Refusal>| result.unwrap_err().to_string();
    assert_eq!(
        text(allocator.assign(&sharing("b", "other", 81), &address, &[])),
        "can't change sharing key for \"default/b\", address also in use by default/a"
    );
    assert_eq!(
        text(allocator.assign(&sharing("b", "k", 80), &address, &[])),
        "port TCP/80 is already in use on \"10.0.0.0\""
    );
    let local = Request { backend_key: "app=x".to_owned(), ..sharing("b", "k", 81) };
    assert!(allocator.assign(&local, &address, &[]).is_err(), "another backend");
    allocator.assign(&sharing("a", "new", 80), &address, &[]).expect("alone, it may change its key");
}

#[test]
fn pinned_pools_come_first_by_priority() {
    let pinned = |name: &str, range: &str, priority, namespace: &str| Pool {
        service_allocation: Some(ServiceAllocation {
            priority,
            namespaces: Some(BTreeSet::from([namespace.to_owned()])),
            service_selectors: Vec::new(),
        }),
        ..pool(name, &[range])
    };
    let mut allocator = allocator(vec![
        pool("a-free", &["10.0.0.0/32"]),
        pinned("b", "10.0.1.0/32", 0, "default"),
        pinned("c", "10.0.2.0/32", 20, "default"),
        pinned("d", "10.0.3.0/32", 10, "default"),
        pinned("e", "10.0.4.0/32", 1, "elsewhere"),
    ]);
    let given: Vec<_> = ["1", "2", "3", "4"].iter().map(|name| v4(&mut allocator, &request(name)).unwrap()).collect();
    assert_eq!(given, ["10.0.3.0", "10.0.2.0", "10.0.1.0", "10.0.0.0"]);
    assert_eq!(v4(&mut allocator, &request("5")), Err(Code::NoFreeAddress));
    let refusal = allocator.allocate_from("e", &request("5"), Families::One(Family::V4)).unwrap_err();
    assert_eq!(refusal.to_string(), "pool e not compatible for ip assignment");
}

#[test]
fn a_namespace_selector_that_matches_nothing_excludes_everybody() {
    let allocation = ServiceAllocation { namespaces: Some(BTreeSet::new()), ..ServiceAllocation::default() };
    let mut allocator = allocator(vec![Pool { service_allocation: Some(allocation), ..pool("p", &["10.0.0.0/30"]) }]);
    assert_eq!(v4(&mut allocator, &request("a")), Err(Code::NoFreeAddress));
    assert!(allocator.assign(&request("a"), &[ip("10.0.0.1")], &[]).is_err());
}

#[test]
fn dual_stack_takes_both_from_one_pool_or_what_the_policy_allows() {
    let pools =
        || vec![pool("a", &["10.0.0.0/30"]), pool("b", &["10.0.1.0/30", "fc00::/126"]), pool("c", &["fd00::/126"])];
    let mut both = allocator(pools());
    let assigned = both.allocate(&request("x"), Families::Both).unwrap();
    assert_eq!((assigned.pool.as_str(), assigned.addresses), ("b", vec![ip("10.0.1.0"), ip("fc00::")]));
    let mut single = allocator(vec![pool("a", &["10.0.0.0/30"]), pool("c", &["fd00::/126"])]);
    assert_eq!(single.allocate(&request("x"), Families::Both).unwrap_err(), Refusal::NoFreeAddress);
    let prefer = |primary| Families::Prefer { primary };
    assert_eq!(single.allocate(&request("x"), prefer(Family::V6)).unwrap().addresses, [ip("fd00::")]);
    assert_eq!(single.allocate(&request("x"), prefer(Family::V4)).unwrap().addresses, [ip("10.0.0.0")]);
    let refusal = single.allocate_from("a", &request("x"), Families::Both).unwrap_err();
    assert_eq!(refusal.to_string(), "no available IPs in pool \"a\" for dual IPFamily");
}

#[test]
fn a_renamed_pool_keeps_its_addresses_and_a_shrunk_one_does_not() {
    let mut allocator = allocator(vec![pool("old", &["10.0.0.0/30"])]);
    allocator.assign(&request("a"), &[ip("10.0.0.3")], &[]).unwrap();
    assert_eq!(allocator.set_pools(&config(vec![pool("new", &["10.0.0.0/30"])])), []);
    assert_eq!(allocator.allocation(&ServiceKey::new("default", "a")).unwrap().pool, "new");
    assert_eq!(allocator.counters("new").unwrap().assigned_v4, 1);
    let lost = allocator.set_pools(&config(vec![pool("new", &["10.0.0.0/31"])]));
    assert_eq!(lost, [ServiceKey::new("default", "a")]);
    assert_eq!(allocator.counters("new").unwrap().assigned_v4, 0);
}

#[test]
fn the_younger_of_two_overlapping_pools_hands_out_the_rest_and_nothing_moves() {
    let young = |conflict: bool| Pool {
        conflicts: conflict
            .then(|| PoolConflict { with: "b-old".to_owned(), range: range("10.0.0.0-10.0.0.1") })
            .into_iter()
            .collect(),
        ..pool("a-young", &["10.0.0.0/30"])
    };
    let mut allocator = allocator(vec![young(true), Pool { auto_assign: false, ..pool("b-old", &["10.0.0.0/31"]) }]);
    assert_eq!(v4(&mut allocator, &request("a")).as_deref(), Ok("10.0.0.2"));
    let old = allocator.allocate_from("b-old", &request("b"), Families::One(Family::V4)).unwrap();
    assert_eq!(old.addresses, [ip("10.0.0.0")]);
    assert_eq!(allocator.counters("a-young").unwrap().available_v4, 1);
    assert_eq!(allocator.set_pools(&config(vec![young(false)])), [], "when the older goes, its Services stay");
    assert_eq!(allocator.allocation(&ServiceKey::new("default", "b")).unwrap().pool, "a-young");
    assert_eq!(v4(&mut allocator, &request("c")).as_deref(), Ok("10.0.0.1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// A thousand histories of allocations, requests, releases and changes of pools go as in the naive model.
    #[test]
    fn any_history_goes_as_in_the_naive_model(history in model::histories()) {
        let mut ours = Allocator::new();
        let mut naive = model::Model::default();
        for step in history {
            let expected = naive.apply(&step);
            prop_assert_eq!(model::apply(&mut ours, &step), expected, "{:?}", step);
            naive.check(&ours)?;
        }
    }
}
