//! What is a difference, and what a write keeps.

use super::*;

fn wanted(addresses: &[&str]) -> Wanted {
    Wanted {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        pool: Some("p".to_owned()),
        allocated: Some(Verdict::yes("Allocated", "fine".to_owned())),
        announced: Announced::Unknown,
    }
}

#[test]
fn what_the_api_server_adds_is_kept_and_no_difference() {
    let mut before = service("a", 1, "annotations: {metallb.io/ip-allocated-from-pool: p}", "");
    before.status =
        object("loadBalancer: {ingress: [{ip: 10.0.0.1, ipMode: Proxy, ports: [{port: 80, protocol: TCP}]}]}");
    assert_eq!(wanted(&["10.0.0.1"]).distance(&before), Distance::Conditions);
    let (_, status) = wanted(&["10.0.0.1", "fd00::1"]).apply(&before, Timestamp::UNIX_EPOCH);
    let ingress = status.load_balancer.unwrap().ingress.unwrap();
    assert_eq!(ingress[0], before.status.unwrap().load_balancer.unwrap().ingress.unwrap()[0]);
    assert_eq!((ingress[1].ip.as_deref(), &ingress[1].ip_mode), (Some("fd00::1"), &None));
}

#[test]
fn a_write_makes_the_difference_go_away_and_keeps_what_others_wrote() {
    let mut before = service("a", 1, "annotations: {theirs: kept}, finalizers: [x/y]", "");
    before.status = object(
        "conditions: [{type: theirs, status: 'True', reason: R, message: m, lastTransitionTime: '2024-01-01T00:00:00Z'}]",
    );
    let wanted = wanted(&["10.0.0.1"]);
    assert_eq!(wanted.distance(&before), Distance::Addresses);
    let (metadata, status) = wanted.apply(&before, Timestamp::UNIX_EPOCH);
    let types: Vec<&str> =
        status.conditions.as_ref().unwrap().iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["theirs", ALLOCATED]);
    assert_eq!(
        (metadata.annotations.as_ref().unwrap()["theirs"].as_str(), metadata.finalizers.as_ref().unwrap().len()),
        ("kept", 1)
    );
    let after = Service { metadata, status: Some(status), spec: before.spec };
    assert_eq!(wanted.distance(&after), Distance::None);
    let (metadata, status) = Wanted::default().apply(&after, Timestamp::UNIX_EPOCH);
    assert!(!metadata.annotations.unwrap().contains_key("metallb.io/ip-allocated-from-pool"));
    assert_eq!((status.load_balancer.unwrap().ingress, status.conditions.unwrap().len()), (None, 1));
}

#[test]
fn the_time_of_transition_changes_with_the_status_only() {
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let mut conditions = Vec::new();
    let verdict = |holds, message: &str| Verdict { holds, reason: "R", message: message.to_owned() };
    assert!(verdict(true, "a").put(ANNOUNCED, &mut conditions, None, at(1)));
    assert!(!verdict(true, "a").put(ANNOUNCED, &mut conditions, None, at(2)));
    assert!(verdict(true, "b").put(ANNOUNCED, &mut conditions, None, at(3)));
    assert_eq!(conditions[0].last_transition_time.0, at(1));
    assert!(verdict(false, "b").put(ANNOUNCED, &mut conditions, None, at(4)));
    assert_eq!((conditions.len(), conditions[0].last_transition_time.0), (1, at(4)));
}

#[test]
fn in_a_crowd_the_first_words_about_a_service_wait_and_no_others() {
    let conditions = |service: &Service| {
        let (_, status) = wanted(&["10.0.0.1"]).without_first_words(service).apply(service, Timestamp::UNIX_EPOCH);
        assert!(status.load_balancer.unwrap().ingress.is_some());
        let types: Vec<String> = status.conditions.unwrap_or_default().into_iter().map(|one| one.type_).collect();
        types
    };
    assert_eq!(conditions(&service("new", 1, "", "")), [""; 0]);
    let mut refused = service("refused", 1, "", "");
    refused.status = object(
        "conditions: [{type: metallb.io/Allocated, status: 'False', reason: R, message: m, lastTransitionTime: '2024-01-01T00:00:00Z'}]",
    );
    assert_eq!(conditions(&refused), [ALLOCATED], "what was said must not be untrue for a moment");
}
