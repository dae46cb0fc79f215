//! What is told on pools.

use super::super::pools::{Kept, status, told};
use super::*;

#[test]
fn a_pool_is_told_who_got_its_addresses_and_who_had_to_wait() {
    let mut world = World::new(&[("p", "192.168.1.1-192.168.1.2")]);
    world.apply(&service("a", 1, "", ""));
    world.decide();
    let said = world.book.take_said();
    let events: Vec<_> = told(&said, &world.book).into_iter().map(|told| (told.pool, told.event.message)).collect();
    assert_eq!(events, [("p".to_owned(), "192.168.1.1 -> default/a (1 of 2 used)".to_owned())]);
    for name in ["b", "c"] {
        world.apply(&service(name, 1, "", ""));
    }
    world.decide();
    let said = world.book.take_said();
    let events = told(&said, &world.book);
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!((events[1].event.reason, events[1].event.warning), ("PoolExhausted", true));
    assert!(events[1].event.message.starts_with("all 2 addresses are in use; default/c waits"), "{events:?}");
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
