//! What is written to status objects, and what is not.

use ferrolb_proto::ethernet::MacAddr;

use super::*;

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn own() -> NodeName {
    NodeName::new("a")
}

fn answering(last: u8) -> Answering {
    Answering {
        addresses: ["10.0.0.1".parse().unwrap()].into(),
        selected: false,
        links: [("eth0".to_owned(), MacAddr([2, 0, 0, 0, 0, last]))].into(),
    }
}

fn details(name: &str, last: u8) -> ServiceL2StatusDetails {
    ServiceL2Status::say(&own(), &key(name), &answering(last))
}

fn differs(wanted: &[(&str, u8)], there: &[Existing]) -> Vec<Write> {
    let wanted = wanted.iter().map(|(name, last)| (key(name), answering(*last))).collect();
    difference::<ServiceL2Status>(&own(), &wanted, there)
}

fn existing(name: &str, service: &str, details: Option<&ServiceL2StatusDetails>) -> Existing {
    let details = details.map(Print::of::<ServiceL2Status>);
    Existing { name: name.into(), service: Some(key(service)), details }
}

#[test]
fn each_service_that_is_answered_for_has_one_object_and_no_other_has() {
    let there = [existing("l2-1", "same", Some(&details("same", 1))), existing("l2-2", "over", None)];
    assert_eq!(differs(&[("new", 1), ("same", 1)], &there), [Write::Delete("l2-2".into()), Write::Create(key("new"))]);
}

#[test]
fn nothing_is_written_where_everything_is_right() {
    assert_eq!(differs(&[("same", 1)], &[existing("l2-1", "same", Some(&details("same", 1)))]), []);
}

#[test]
fn a_second_object_is_deleted_and_a_changed_one_is_set() {
    let there = [existing("l2-1", "x", Some(&details("x", 1))), existing("l2-2", "x", Some(&details("x", 2)))];
    let set = Write::Set("l2-1".into(), key("x"));
    assert_eq!(differs(&[("x", 2)], &there), [set, Write::Delete("l2-2".into())]);
}

#[test]
fn an_object_whose_immutable_fields_are_wrong_is_replaced() {
    let there = [existing("l2-1", "x", Some(&details("y", 1)))];
    assert_eq!(differs(&[("x", 1)], &there), [Write::Delete("l2-1".into()), Write::Create(key("x"))]);
}

#[test]
fn an_object_without_the_labels_of_a_service_is_left_alone() {
    let stranger = Existing { name: "l2-1".into(), service: None, details: None };
    assert_eq!(differs(&[], &[stranger]), []);
}

#[test]
fn what_was_written_counts_until_the_watch_shows_it() {
    let (mut remembered, now) = (Remembered::new(), Instant::now());
    let written = existing("l2-1", "x", Some(&details("x", 1)));
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
fn a_status_by_layer_2_says_where_and_names_interfaces_only_where_the_plan_does() {
    let one = answering(1);
    let said = |selected| ServiceL2Status::say(&own(), &key("x"), &Answering { selected, ..one.clone() });
    assert_eq!(ServiceL2Status::about(&said(true)), ["a", "x", "default"]);
    assert_eq!(said(true).interfaces, [InterfaceInfo { name: "eth0".to_owned() }]);
    assert_eq!(said(false).interfaces, []);
    assert_eq!(said(false).addresses, ["10.0.0.1"]);
    assert_eq!(said(false).answers, [Answer { interface: "eth0".to_owned(), mac: "02:00:00:00:00:01".to_owned() }]);
}

#[test]
fn a_status_by_bgp_names_the_peers_in_order() {
    let peers: Routers = Arc::new(BTreeSet::from(["tor-2".to_owned(), "tor-1".to_owned()]));
    let details = ServiceBGPStatus::say(&own(), &key("x"), &peers);
    assert_eq!(ServiceBGPStatus::about(&details), ["a", "x", "default"]);
    assert_eq!(details.peers, ["tor-1", "tor-2"]);
    let there = [Existing { name: "bgp-1".into(), service: Some(key("x")), details: None }];
    let wanted = BTreeMap::from([(key("x"), peers)]);
    let set = Write::Set("bgp-1".into(), key("x"));
    assert_eq!(difference::<ServiceBGPStatus>(&own(), &wanted, &there), [set]);
}
