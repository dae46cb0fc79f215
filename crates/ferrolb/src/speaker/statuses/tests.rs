//! What is written to status objects, and what is not.

use super::*;

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn details(name: &str, mac: &str) -> ServiceL2StatusDetails {
    ServiceL2StatusDetails {
        node: "a".to_owned(),
        service_name: name.to_owned(),
        service_namespace: "default".to_owned(),
        interfaces: Vec::new(),
        answers: vec![Answer { interface: "eth0".to_owned(), mac: mac.to_owned() }],
        addresses: vec!["10.0.0.1".to_owned()],
    }
}

fn existing(name: &str, service: &str, details: Option<&ServiceL2StatusDetails>) -> Existing {
    let details = details.map(Print::of::<ServiceL2Status>);
    Existing { name: name.into(), service: Some(key(service)), details }
}

#[test]
fn each_service_that_is_answered_for_has_one_object_and_no_other_has() {
    let wanted = BTreeMap::from([(key("new"), details("new", "m")), (key("same"), details("same", "m"))]);
    let there = [existing("l2-1", "same", Some(&details("same", "m"))), existing("l2-2", "over", None)];
    assert_eq!(
        difference::<ServiceL2Status>(&wanted, &there),
        [Write::Delete("l2-2".into()), Write::Create(key("new"), details("new", "m"))]
    );
}

#[test]
fn nothing_is_written_where_everything_is_right() {
    let wanted = BTreeMap::from([(key("same"), details("same", "m"))]);
    assert_eq!(difference::<ServiceL2Status>(&wanted, &[existing("l2-1", "same", Some(&details("same", "m")))]), []);
}

#[test]
fn a_second_object_is_deleted_and_a_changed_one_is_set() {
    let wanted = BTreeMap::from([(key("x"), details("x", "new"))]);
    let there = [existing("l2-1", "x", Some(&details("x", "old"))), existing("l2-2", "x", Some(&details("x", "new")))];
    let set = Write::Set("l2-1".into(), details("x", "new"));
    assert_eq!(difference::<ServiceL2Status>(&wanted, &there), [set, Write::Delete("l2-2".into())]);
}

#[test]
fn an_object_whose_immutable_fields_are_wrong_is_replaced() {
    let wanted = BTreeMap::from([(key("x"), details("x", "m"))]);
    let there = [existing("l2-1", "x", Some(&details("y", "m")))];
    assert_eq!(
        difference::<ServiceL2Status>(&wanted, &there),
        [Write::Delete("l2-1".into()), Write::Create(key("x"), details("x", "m"))]
    );
}

#[test]
fn an_object_without_the_labels_of_a_service_is_left_alone() {
    let stranger = Existing { name: "l2-1".into(), service: None, details: None };
    assert_eq!(difference::<ServiceL2Status>(&BTreeMap::new(), &[stranger]), []);
}

#[test]
fn what_was_written_counts_until_the_watch_shows_it() {
    let (mut remembered, now) = (Remembered::new(), Instant::now());
    let written = existing("l2-1", "x", Some(&details("x", "m")));
    remembered.wrote("l2-1".into(), Some(written.clone()), now);
    remembered.wrote("l2-2".into(), None, now);
    let shown = vec![existing("l2-1", "x", None), existing("l2-2", "y", None)];
    assert_eq!(remembered.apply(shown, now), std::slice::from_ref(&written));
    assert_eq!(remembered.apply(vec![written.clone()], now), [written]);
    assert!(remembered.objects.is_empty(), "shown at last");
    assert_eq!(remembered.apply(Vec::new(), now), [], "a later deletion by somebody else is seen");
}

#[test]
fn what_the_watch_never_shows_is_forgotten() {
    let (mut remembered, now) = (Remembered::new(), Instant::now());
    remembered.wrote("l2-1".into(), Some(existing("l2-1", "x", None)), now);
    assert_eq!(remembered.apply(Vec::new(), now + REMEMBER), []);
}

#[test]
fn interfaces_are_named_in_order_and_only_where_the_plan_names_them() {
    let mac = ferrolb_proto::ethernet::MacAddr([2, 0, 0, 0, 0, 1]);
    let links = vec![("eth0".to_owned(), mac), ("eth1".to_owned(), mac)];
    let answering = |selected| {
        BTreeMap::from([(key("x"), Answering { selected, links: links.clone().into(), ..Answering::default() })])
    };
    let names = |selected| {
        let wanted = wanted(&NodeName::new("a"), &answering(selected));
        let interfaces = wanted[&key("x")].interfaces.iter();
        (interfaces.map(|one| one.name.clone()).collect::<Vec<_>>(), wanted[&key("x")].answers.len())
    };
    assert_eq!(names(true), (vec!["eth0".to_owned(), "eth1".to_owned()], 2));
    assert_eq!(names(false), (vec![], 2));
}

#[test]
fn a_status_by_bgp_names_the_peers_in_order() {
    let peers = Arc::new(BTreeSet::from(["tor-2".to_owned(), "tor-1".to_owned()]));
    let wanted = told(&NodeName::new("a"), &BTreeMap::from([(key("x"), peers)]));
    let details = &wanted[&key("x")];
    assert_eq!(ServiceBGPStatus::about(details), ["a", "x", "default"]);
    assert_eq!(details.peers, ["tor-1", "tor-2"]);
    let there = [Existing { name: "bgp-1".into(), service: Some(key("x")), details: None }];
    let set = Write::Set("bgp-1".into(), details.clone());
    assert_eq!(difference::<ServiceBGPStatus>(&wanted, &there), [set]);
}
