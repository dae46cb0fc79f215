//! Who gets which address, in which order, and with how many writes.

use std::net::IpAddr;

use super::*;

fn recorded(name: &str, version: u32, address: &str) -> Service {
    let mut service = service(name, version, "annotations: {metallb.io/ip-allocated-from-pool: p}", "");
    service.status = object(&format!("loadBalancer: {{ingress: [{{ip: {address}, ipMode: VIP}}]}}"));
    service
}

#[test]
fn a_service_is_written_once_and_its_echo_changes_nothing() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("a", 1, "", ""));
    world.settle();
    assert_eq!((world.address("a").as_str(), world.writes), ("10.0.0.1", 1));
    world.settle();
    assert_eq!(world.writes, 1);
    let events: Vec<String> = world.book.take_said().into_iter().map(|said| said.event.message).collect();
    assert_eq!(events, ["Assigned IP [\"10.0.0.1\"]"]);
}

#[test]
fn recorded_addresses_are_taken_back_before_anything_is_handed_out() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.3")]);
    let list = [service("new", 1, "", ""), recorded("old", 2, "10.0.0.1"), recorded("older", 3, "10.0.0.3")];
    world.bring(Change::Listed(list.iter().map(Compact::of).map(Arc::new).collect()));
    world.settle();
    assert_eq!(
        [world.address("new"), world.address("old"), world.address("older")],
        ["10.0.0.2", "10.0.0.1", "10.0.0.3"]
    );
}

#[test]
fn an_address_on_its_way_is_given_to_nobody_else_even_if_its_service_changes_meanwhile() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&recorded("low", 1, "10.0.0.1"));
    world.settle();
    world.apply(&service("a", 10, "", ""));
    world.decide();
    let (a, written) = world.send().unwrap();
    // A lower address becomes free, and the Service is edited, before its write has come back.
    world.bring(Change::Deleted(Arc::new(Compact::of(&recorded("low", 1, "10.0.0.1")))));
    world.apply(&service("a", 11, "labels: {x: y}", ""));
    world.decide();
    world.apply(&service("b", 12, "", ""));
    world.decide();
    // The edit came first: the write is refused, and made again on the newer version.
    world.ended(&a, Ending::Conflict);
    drop(written);
    world.settle();
    assert_eq!((world.address("a").as_str(), world.address("b").as_str()), ("10.0.0.2", "10.0.0.1"));
}

#[test]
fn a_stored_write_whose_echo_is_late_is_not_repeated() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("a", 1, "", ""));
    world.decide();
    let (a, written) = world.send().unwrap();
    world.ended(&a, Ending::Stored);
    world.decide();
    assert!(world.send().is_none());
    world.apply(&written);
    world.settle();
    assert_eq!((world.address("a").as_str(), world.writes), ("10.0.0.1", 1));
}

#[test]
fn whoever_was_refused_gets_the_address_that_becomes_free() {
    let mut world = World::new(&[("p", "10.0.0.1/32")]);
    world.apply(&recorded("a", 1, "10.0.0.1"));
    world.apply(&service("b", 2, "", ""));
    world.settle();
    assert_eq!(world.address("b"), "");
    let refusal = world.book.wanted(&key("b"), Announced::Unknown).unwrap().allocated.unwrap();
    assert_eq!((refusal.holds, refusal.reason), (false, "NoFreeAddress"));
    assert!(refusal.message.starts_with("LB1003: "), "{}", refusal.message);
    world.bring(Change::Deleted(Arc::new(Compact::of(&recorded("a", 1, "10.0.0.1")))));
    world.settle();
    assert_eq!(world.address("b"), "10.0.0.1");
}

#[test]
fn a_renamed_pool_keeps_addresses_and_corrects_the_annotation() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&recorded("a", 1, "10.0.0.5"));
    world.settle();
    world.book.configure(configuration(&[("renamed", "10.0.0.1-10.0.0.9")], true));
    world.settle();
    assert_eq!(world.address("a"), "10.0.0.5");
    let annotation = world.book.services[&key("a")].annotation("metallb.io/ip-allocated-from-pool");
    assert_eq!(annotation, Some("renamed"));
}

#[test]
fn without_any_configuration_nothing_is_touched() {
    let mut world = World::new(&[("p", "10.0.0.1/32")]);
    world.book = Book::new(Options::default());
    world.apply(&recorded("a", 1, "10.9.9.9"));
    world.settle();
    assert_eq!((world.address("a").as_str(), world.writes), ("10.9.9.9", 0));
}

#[test]
fn services_of_another_class_are_left_alone_and_a_service_that_was_ours_is_cleaned() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("other", 1, "", "loadBalancerClass: example.com/lb"));
    world.settle();
    assert!(!world.book.services.contains_key(&key("other")));
    world.apply(&service("a", 2, "", ""));
    world.settle();
    let mut changed = service("a", 200, "annotations: {metallb.io/ip-allocated-from-pool: p}", "");
    changed.spec.as_mut().unwrap().type_ = Some("ClusterIP".to_owned());
    world.apply(&changed);
    world.settle();
    assert!(!world.book.services.contains_key(&key("a")), "nothing is left of it");
    world.apply(&service("b", 300, "", ""));
    world.settle();
    assert_eq!(world.address("b"), "10.0.0.1");
}

#[test]
fn annotations_are_spoken_of_once_for_each_change() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("a", 1, "annotations: {metallb.universe.tf/address-pool: p}", ""));
    world.settle();
    let about = |world: &mut World| {
        let said = world.book.take_said();
        said.into_iter()
            .filter(|said| said.event.reason == "deprecatedAnnotation")
            .map(|said| said.event.message)
            .collect::<Vec<_>>()
    };
    let message = "Service uses deprecated annotation metallb.universe.tf/address-pool; write metallb.io/address-pool instead (LB2003)";
    assert_eq!(about(&mut world), [message]);
    world.settle();
    assert_eq!(about(&mut world), [""; 0]);
}

#[test]
fn an_annotation_that_another_program_holds_is_left_to_it_and_said_once() {
    let held = "annotations: {metallb.io/ip-allocated-from-pool: git}, managedFields: [{manager: argocd-controller, \
                fieldsV1: {'f:metadata': {'f:annotations': {'f:metallb.io/ip-allocated-from-pool': {}}}}}]";
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("a", 1, held, ""));
    world.decide();
    let (a, mut written) = world.send().unwrap();
    assert_eq!(written.metadata.annotations.as_ref().unwrap()["metallb.io/ip-allocated-from-pool"], "git");
    assert_eq!(written.metadata.managed_fields, None, "these are the API server's to write");
    written.metadata.managed_fields = service("a", 1, held, "").metadata.managed_fields;
    world.ended(&a, Ending::Stored);
    world.apply(&written);
    world.settle();
    assert_eq!((world.address("a").as_str(), world.writes), ("10.0.0.1", 1));
    let reasons: Vec<&str> = world.book.take_said().into_iter().map(|said| said.event.reason).collect();
    assert_eq!(reasons, ["IPAllocated", "ForeignOutputAnnotation"]);
    let allocated = world.book.wanted(&key("a"), Announced::Unknown).unwrap().allocated.unwrap();
    assert!(allocated.holds && allocated.message.starts_with("LB2005: "), "{}", allocated.message);

    // It lets go: the true value is written.
    written.metadata.managed_fields = None;
    written.metadata.annotations = None;
    written.metadata.resource_version = Some("900".to_owned());
    world.apply(&written);
    world.settle();
    let service = world.book.services[&key("a")].object().into_owned();
    assert_eq!(service.metadata.annotations.unwrap()["metallb.io/ip-allocated-from-pool"], "p");
}

#[test]
fn a_served_service_that_asks_for_what_it_cannot_have_gives_up_its_address_once() {
    for asks in ["metallb.io/loadBalancerIPs: 192.0.2.7", "metallb.io/loadBalancerIPs: 'fc00::1'"] {
        let mut world = World::new(&[("p", "10.0.0.1-10.0.0.1")]);
        world.apply(&recorded("a", 1, "10.0.0.1"));
        world.settle();
        world.apply(&service("waits", 2, "", ""));
        world.settle();
        assert_eq!(world.address("waits"), "");
        let mut changed = recorded("a", 3, "10.0.0.1");
        let (annotation, value) = asks.split_once(": ").unwrap();
        let annotations = changed.metadata.annotations.get_or_insert_default();
        annotations.insert(annotation.to_owned(), value.trim_matches('\'').to_owned());
        world.apply(&changed);
        world.settle();
        assert_eq!([world.address("a"), world.address("waits")], ["", "10.0.0.1"], "{asks}");
        let told = world.book.take_said().into_iter().filter(|said| said.service == key("a")).count();
        assert!((1..4).contains(&told), "{asks}: {told} events");
    }
}

#[test]
fn a_served_service_that_asks_for_a_pool_that_does_not_exist_keeps_its_address_and_is_told_once() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.1")]);
    world.apply(&recorded("a", 1, "10.0.0.1"));
    world.settle();
    let mut changed = recorded("a", 2, "10.0.0.1");
    let annotations = changed.metadata.annotations.get_or_insert_default();
    annotations.insert("metallb.io/address-pool".to_owned(), "typo".to_owned());
    world.book.take_said();
    for _ in 0..3 {
        world.apply(&changed);
        world.settle();
        assert_eq!(world.address("a"), "10.0.0.1");
    }
    let said = world.book.take_said();
    let told: Vec<_> = said.iter().map(|said| said.event.reason).collect();
    assert_eq!(told, ["UnknownPool"]);
}

#[test]
fn a_service_that_is_made_anew_between_two_looks_is_another_one() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("a", 1, "uid: first", ""));
    world.settle();
    assert_eq!(world.book.take_gone(), []);
    world.apply(&service("a", 50, "uid: second", ""));
    assert_eq!(world.book.take_gone(), [key("a")]);
    world.settle();
    assert_eq!((world.address("a").as_str(), world.writes), ("10.0.0.1", 2));
}

#[test]
fn a_configuration_without_a_pool_for_an_address_that_is_held_would_evict_somebody() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("a", 1, "", ""));
    world.settle();
    let would = |pools: &[(&str, &str)]| world.book.would_evict(&configuration(pools, true));
    assert!(would(&[("p", "10.0.0.2-10.0.0.9")]));
    assert!(!would(&[("p", "10.0.0.2-10.0.0.9"), ("q", "10.0.0.1-10.0.0.1")]), "it has moved");
}

pub(super) fn held_up(pools: &[&str]) -> Option<HeldUp> {
    let bad = "metadata: {name: bad, namespace: metallb-system}\n\
               spec: {addresses: [10.0.0.1/32], serviceAllocation: {serviceSelectors: [{matchExpressions: [{key: a, operator: Foo}]}]}}";
    let resources = Resources { pools: vec![Arc::new(object(bad))], ..Resources::default() };
    HeldUp::new(&config::parse(&resources).unwrap_err(), pools.iter().map(|&pool| pool.to_owned()).collect())
}

const BAD: &str = "LB4006 on IPAddressPool/metallb-system/bad spec.serviceAllocation.serviceSelectors[0]";

/// Decision 1: all or nothing; but who gets nothing is told why.
#[test]
fn without_any_configuration_who_waits_is_told_what_holds_it_up_and_who_has_something_is_not_touched() {
    let mut world = World::new(&[]);
    world.book = Book::new(Options::default());
    world.book.hold_up(held_up(&["bad"]));
    world.apply(&recorded("old", 1, "10.9.9.9"));
    world.apply(&service("new", 2, "", ""));
    world.settle();
    world.settle();
    assert_eq!((world.address("old").as_str(), world.address("new").as_str(), world.writes), ("10.9.9.9", "", 1));
    let conditions = world.book.services[&key("new")].object().into_owned().status.unwrap().conditions.unwrap();
    let [condition] = conditions.as_slice() else { panic!("{conditions:?}") };
    assert_eq!((condition.type_.as_str(), condition.status.as_str()), (ALLOCATED, "False"));
    assert_eq!(condition.reason, "SelectorInvalid");
    let because = format!("LB4006: no configuration is in force because of {BAD}");
    assert!(condition.message.starts_with(&because), "{}", condition.message);
    let said = world.book.take_said();
    assert_eq!((said.len(), said[0].service.clone(), said[0].event.reason), (1, key("new"), "AllocationFailed"));
    assert!(said[0].event.message.contains(BAD), "{said:?}");
    // As soon as it is mended it is served.
    world.book.hold_up(None);
    world.book.configure(configuration(&[("p", "10.9.9.0-10.9.9.9")], true));
    world.settle();
    assert_eq!([world.address("old"), world.address("new")], ["10.9.9.9", "10.9.9.0"]);
    assert!(world.book.refusal(&key("new")).is_none());
}

#[test]
fn who_asks_for_a_pool_that_waits_for_a_bad_one_is_told_so_then_and_when_that_changes() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
    world.apply(&service("a", 1, "annotations: {metallb.io/address-pool: good}", ""));
    world.settle();
    let allocated =
        |world: &World| world.book.wanted(&key("a"), Announced::Unknown).unwrap().allocated.unwrap().message;
    assert!(allocated(&world).starts_with("LB1004: unknown pool \"good\""), "{}", allocated(&world));
    world.book.hold_up(held_up(&["bad", "good", "p"]));
    world.settle();
    let waits = format!("LB1004: pool \"good\" exists and is not in force because of {BAD}");
    assert!(allocated(&world).starts_with(&waits), "{}", allocated(&world));
    let told: Vec<String> = world.book.take_said().into_iter().map(|said| said.event.message).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains(BAD), "{told:?}");
    world.book.hold_up(None);
    world.book.configure(configuration(&[("p", "10.0.0.1-10.0.0.9"), ("good", "10.0.1.0/24")], true));
    world.settle();
    assert_eq!(world.address("a"), "10.0.1.0");
}

/// A Service as its watch brings it after somebody wrote other addresses into its status.
fn edit(world: &mut World, name: &str, address: &str) -> String {
    let mut edited = world.book.services[&key(name)].object().into_owned();
    let ingress = object(&format!("loadBalancer: {{ingress: [{{ip: {address}}}]}}"));
    edited.status = Some(k8s_openapi::api::core::v1::ServiceStatus {
        conditions: edited.status.take().and_then(|status| status.conditions),
        ..ingress
    });
    world.version += 1;
    edited.metadata.resource_version = Some(world.version.to_string());
    world.book.take_said();
    world.apply(&edited);
    world.settle();
    world.address(name)
}

/// Spec §4.8: editing the status to another valid address of a pool makes the controller adopt it.
#[test]
fn another_address_that_somebody_writes_into_the_status_is_adopted_and_said() {
    let mut world = World::new(&[("p", "10.0.0.1-10.0.0.2"), ("q", "10.0.1.0/24")]);
    for name in ["a", "b"] {
        world.apply(&service(name, 1, "annotations: {metallb.io/address-pool: p}", ""));
        world.settle();
    }
    world.apply(&service("waits", 2, "annotations: {metallb.io/address-pool: p}", ""));
    world.settle();
    world.apply(&service("c", 3, "", ""));
    world.settle();
    assert_eq!([world.address("a"), world.address("waits"), world.address("c")], ["10.0.0.1", "", "10.0.1.0"]);
    assert_eq!(edit(&mut world, "c", "10.0.1.7"), "10.0.1.7");
    assert_eq!(world.book.allocation(&key("c")).unwrap().addresses, ["10.0.1.7".parse::<IpAddr>().unwrap()]);
    let said = world.book.take_said();
    let told: Vec<_> = said.iter().map(|said| (said.event.reason, said.event.message.as_str())).collect();
    assert_eq!(told, [("IPAllocated", "Assigned IP [\"10.0.1.7\"]: somebody wrote it into the status")]);
    let writes = world.writes;
    world.settle();
    assert_eq!(world.writes, writes, "and it stays");
    // What somebody else has, or no pool has, or the Service does not ask for, is put back, and said once.
    for (address, why) in [("10.0.0.2", "can't change sharing key"), ("172.16.0.1", "is not allowed in config")] {
        assert_eq!(edit(&mut world, "a", address), "10.0.0.1");
        let said = world.book.take_said();
        let [said] = said.as_slice() else { panic!("{said:?}") };
        assert!(said.event.warning && said.event.message.contains(why), "{said:?}");
        assert!(said.event.message.contains("it keeps [\"10.0.0.1\"]"), "{said:?}");
        assert_eq!(edit(&mut world, "a", address), "10.0.0.1");
        assert_eq!(world.book.take_said(), []);
    }
    assert_eq!((edit(&mut world, "a", "10.0.1.9"), world.address("waits")), ("10.0.0.1".to_owned(), String::new()));
}

#[test]
fn a_stale_echo_of_our_own_is_no_edit() {
    for ended_first in [true, false] {
        let mut world = World::new(&[("p", "10.0.0.1-10.0.0.9")]);
        world.apply(&service("a", 1, "", ""));
        world.decide();
        let (a, written) = world.send().unwrap();
        // Before its echo comes the Service is to have another address.
        world.book.configure(configuration(&[("q", "10.0.1.0/24")], true));
        world.decide();
        assert_eq!(world.book.allocation(&a).unwrap().pool, "q");
        if ended_first {
            world.ended(&a, Ending::Stored);
            world.apply(&written);
        } else {
            world.apply(&written);
            world.ended(&a, Ending::Stored);
        }
        world.settle();
        assert_eq!(world.address("a"), "10.0.1.0");
        assert!(world.book.take_said().iter().all(|said| !said.event.message.contains("somebody")));
    }
}
