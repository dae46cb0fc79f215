//! What is told on pools.

use super::super::pools::{Kept, status, status_of, told, waiting};
use super::*;

#[test]
fn a_pool_is_told_who_got_its_addresses_and_who_had_to_wait() {
    let mut world = World::new(&[("p", "192.168.1.1-192.168.1.2")]);
    world.apply(&service("a", 1, "", ""));
    world.decide();
    let said = world.book.take_said();
    let events: Vec<_> = told(&said, &world.book).into_iter().map(|told| (told.pool, told.event.message)).collect();
    assert_eq!(events, [("p".to_owned(), "192.168.1.1 -> default/a (1 of 2 IPv4 used)".to_owned())]);
    for name in ["b", "c"] {
        world.apply(&service(name, 1, "", ""));
    }
    world.decide();
    let said = world.book.take_said();
    let events = told(&said, &world.book);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!((events[1].event.reason, events[1].event.warning), ("PoolExhausted", true));
    assert!(events[1].event.message.starts_with("all 2 IPv4 addresses are in use; default/c waits"), "{events:?}");
}

#[test]
fn a_crowd_is_not_told_one_by_one() {
    let mut world = World::new(&[("p", "10.0.0.0/24")]);
    for number in 0..30 {
        world.apply(&service(&format!("s-{number}"), 1, "", ""));
    }
    world.decide();
    let said = world.book.take_said();
    assert!(said.iter().filter(|said| said.event.reason == "IPAllocated").count() == 30);
    assert_eq!(told(&said, &world.book), []);
}

#[test]
fn what_the_api_server_takes_away_is_not_written_again_and_again() {
    let mut world = World::new(&[("p", "10.0.0.0/24")]);
    world.decide();
    let pool: api::IPAddressPool =
        object("metadata: {name: p, namespace: metallb-system}\nspec: {addresses: [10.0.0.0/24]}");
    let (counters, config) = (world.book.counters_of("p").unwrap(), world.book.config().unwrap().clone());
    let at = |pool: &api::IPAddressPool, seconds| {
        status(pool, &counters, &config, Timestamp::from_second(seconds).unwrap()).unwrap()
    };
    let whole = at(&pool, 1);
    assert_eq!(Kept::of(&whole), Kept::default());
    // As MetalLB's own definition has it.
    let left =
        api::IPAddressPoolStatus { used: None, free: None, announced: String::new(), conditions: vec![], ..whole };
    let kept = Kept::of(&left);
    let stored = api::IPAddressPool { status: Some(left.clone()), ..pool };
    assert_ne!(at(&stored, 2), left);
    assert_eq!(kept.of_it(at(&stored, 2)), left);
}

#[test]
fn a_pool_that_waits_for_a_bad_one_is_told_so_until_it_is_in_force() {
    let mut world = World::new(&[("p", "10.0.0.0/24")]);
    let named = |name: &str| {
        let yaml = format!("metadata: {{name: {name}, namespace: metallb-system}}\nspec: {{addresses: [10.1.0.0/24]}}");
        Arc::new(object::<api::IPAddressPool>(&yaml))
    };
    let pools = ["p", "good", "bad"].map(named);
    assert_eq!(waiting(&pools, &world.book), []);
    world.book.hold_up(super::book::held_up(&["p", "good", "bad"]));
    let told = waiting(&pools, &world.book);
    let objects: Vec<&str> = told.iter().map(|finding| finding.object.as_str()).collect();
    assert_eq!(objects, ["IPAddressPool/metallb-system/good"]);
    assert!(told[0].message.starts_with("it is not in force because of LB4006 on IPAddressPool/metallb-system/bad"));
    let mut waits = api::IPAddressPool::clone(&pools[1]);
    waits.status = status_of(&waits, &world.book, Timestamp::UNIX_EPOCH);
    let conditions = &waits.status.as_ref().unwrap().conditions;
    assert_eq!(
        (conditions.len(), conditions[0].type_.as_str(), conditions[0].status.as_str()),
        (1, "InForce", "False")
    );
    assert!(conditions[0].message.starts_with("LB4006: it is not in force because of"), "{conditions:?}");
    assert_eq!(status_of(&waits, &world.book, Timestamp::now()), waits.status, "it is written once");
    assert_eq!(Kept::of(waits.status.as_ref().unwrap()), Kept::default());
    world.book.hold_up(None);
    world.book.configure(configuration(&[("p", "10.0.0.0/24"), ("good", "10.1.0.0/24")], true));
    let status = status_of(&waits, &world.book, Timestamp::now()).unwrap();
    assert!(status.conditions.iter().all(|condition| condition.type_ != "InForce"), "{status:?}");
}

/// A Service that names a pool waits for that one; and a pool of both families is full of one.
#[test]
fn only_the_pool_that_is_asked_is_told_that_it_is_full_and_of_which_family() {
    let mut world = World::new(&[("both", "10.0.0.1/32, 'fd00::/120'"), ("full", "10.0.9.1/32")]);
    let asks = |name: &str, version, pool: &str| {
        service(name, version, &format!("annotations: {{metallb.io/address-pool: {pool}}}"), "ipFamilies: [IPv4]")
    };
    for (name, pool) in [("a", "both"), ("b", "full")] {
        world.apply(&asks(name, 1, pool));
        world.decide();
    }
    let said = world.book.take_said();
    let messages: Vec<String> = told(&said, &world.book).into_iter().map(|told| told.event.message).collect();
    assert_eq!(messages, ["10.0.0.1 -> default/a (1 of 1 IPv4 used)", "10.0.9.1 -> default/b (1 of 1 IPv4 used)"]);
    world.apply(&asks("waits", 2, "both"));
    world.decide();
    let said = world.book.take_said();
    let events = told(&said, &world.book);
    let [only] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((only.pool.as_str(), only.event.reason), ("both", "PoolExhausted"));
    assert!(only.event.message.starts_with("all 1 IPv4 addresses are in use; default/waits waits"), "{events:?}");
}
