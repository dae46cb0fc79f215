//! Tests of admission, request by request (spec §2.2).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Kind, Known, LONGEST_WARNING, Verdict, answer, judge};
use crate::config::Resources;
use crate::fixtures::object;

const HOME: &str = "metallb-system";

fn pool(name: &str, addresses: &str) -> Value {
    object(&format!(
        "{{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {{name: {name}, namespace: {HOME}}}, \
         spec: {{addresses: [{addresses}]}}}}"
    ))
}

fn peer(spec: &str) -> Value {
    object(&format!(
        "{{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {{name: tor, namespace: {HOME}}}, spec: {{{spec}}}}}"
    ))
}

/// Pools `name: addresses`, and one advertisement for all of them if there is any.
fn known(pools: &[(&str, &str)]) -> Known {
    let everything = format!(
        "{{metadata: {{name: all, namespace: {HOME}, creationTimestamp: '2020-01-01T00:00:00Z'}}, spec: {{}}}}"
    );
    let parse = |(name, addresses): &(&str, &str)| {
        let mut pool = pool(name, addresses);
        pool["metadata"]["creationTimestamp"] = json!("2020-01-01T00:00:00Z");
        Arc::new(serde_json::from_value(pool).unwrap())
    };
    let resources = Resources {
        pools: pools.iter().map(parse).collect(),
        l2_advertisements: vec![Arc::new(object(&everything))],
        ..Resources::default()
    };
    Known { resources }
}

fn request(operation: &str, object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!({"uid": "u", "operation": operation, "name": metadata["name"], "namespace": metadata["namespace"],
        "object": object})
}

fn create(kind: Kind, object: &Value, known: &Known) -> Verdict {
    judge(kind, &request("CREATE", object), HOME, known).unwrap()
}

#[test]
fn a_good_pool_is_accepted_without_a_word() {
    let verdict = create(Kind::IpAddressPool, &pool("p", "10.0.0.0/24"), &known(&[("other", "10.1.0.0/24")]));
    assert_eq!(verdict, Verdict::default());
}

#[test]
fn a_bad_pool_is_refused_with_code_field_and_fix_and_all_of_it_at_once() {
    let bad = pool("p", "192.168.1.5, 192.168.1.9-192.168.1.1");
    let refused = create(Kind::IpAddressPool, &bad, &known(&[])).refused;
    assert_eq!(refused.len(), 2);
    assert!(refused[0].starts_with("LB4002 IPAddressPool/metallb-system/p spec.addresses[0]: "), "{}", refused[0]);
    assert!(refused[0].ends_with("Fix: write 192.168.1.5/32"), "{}", refused[0]);
    assert!(refused[1].ends_with("Fix: write 192.168.1.1-192.168.1.9"), "{}", refused[1]);
}

#[test]
fn an_overlap_is_a_warning_and_no_refusal() {
    let verdict = create(Kind::IpAddressPool, &pool("new", "10.0.0.0/25"), &known(&[("old", "10.0.0.0/24")]));
    assert_eq!(verdict.refused, [""; 0]);
    assert_eq!(verdict.warnings.len(), 1);
    assert!(
        verdict.warnings[0].starts_with("LB4004 ") && verdict.warnings[0].contains("old"),
        "{:?}",
        verdict.warnings
    );
}

#[test]
fn a_pool_replaces_the_one_of_its_name_and_does_not_overlap_itself() {
    let known = known(&[("p", "10.0.0.0/24")]);
    let verdict = judge(Kind::IpAddressPool, &request("UPDATE", &pool("p", "10.0.0.0/25")), HOME, &known).unwrap();
    assert_eq!(verdict, Verdict::default());
}

#[test]
fn what_was_wrong_before_does_not_keep_others_from_being_written() {
    let known = known(&[("broken", "10.0.0.0")]);
    let verdict = create(Kind::IpAddressPool, &pool("fine", "10.1.0.0/24"), &known);
    assert_eq!(verdict.refused, [""; 0]);
    assert!(verdict.warnings.iter().any(|text| text.starts_with("LB0001 ")), "{:?}", verdict.warnings);
    let again = judge(Kind::IpAddressPool, &request("UPDATE", &pool("broken", "10.0.0.0")), HOME, &known).unwrap();
    assert_eq!(again.refused.len(), 1, "it is still wrong itself");
}

#[test]
fn an_alias_that_is_defined_already_is_refused() {
    let community = |name: &str| json!({"metadata": {"name": name, "namespace": HOME}, "spec": {"communities": [{"name": "c", "value": "1:2"}]}});
    let mut known = Known::default();
    known.resources.communities = vec![Arc::new(serde_json::from_value(community("zebra")).unwrap())];
    let refused = create(Kind::Community, &community("aardvark"), &known).refused;
    assert_eq!(refused.len(), 1);
    assert!(refused[0].starts_with("LB4202 "), "{refused:?}");
}

#[test]
fn a_pool_that_nobody_advertises_is_a_warning_unless_bgp_does() {
    let mut known = Known::default();
    let warnings = create(Kind::IpAddressPool, &pool("p", "10.0.0.0/24"), &known).warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("LB4008 "), "{warnings:?}");
    known.resources.bgp_advertisements =
        vec![Arc::new(object(&format!("{{metadata: {{name: b, namespace: {HOME}}}, spec: {{}}}}")))];
    assert_eq!(create(Kind::IpAddressPool, &pool("p", "10.0.0.0/24"), &known), Verdict::default());
}

#[test]
fn an_advertisement_of_a_pool_that_is_not_there_is_a_warning() {
    let advertisement = json!({"metadata": {"name": "l2", "namespace": HOME}, "spec": {"ipAddressPools": ["nope"]}});
    let verdict = create(Kind::L2Advertisement, &advertisement, &known(&[]));
    assert_eq!(verdict.refused, [""; 0]);
    assert!(verdict.warnings.len() == 1 && verdict.warnings[0].starts_with("LB4101 "), "{:?}", verdict.warnings);
}

#[test]
fn an_object_is_created_in_our_namespace_only_but_may_be_changed_where_it_is() {
    let mut elsewhere = pool("p", "10.0.0.0/24");
    elsewhere["metadata"]["namespace"] = json!("default");
    let created = create(Kind::IpAddressPool, &elsewhere, &known(&[]));
    assert!(created.refused[0].contains("resource must be created in metallb-system namespace"), "{created:?}");
    assert!(created.refused[0].starts_with("LB0008 "), "{created:?}");
    let updated = judge(Kind::IpAddressPool, &request("UPDATE", &elsewhere), HOME, &known(&[])).unwrap();
    assert_eq!(updated.refused, [""; 0]);
    assert!(updated.warnings[0].starts_with("LB0008 "), "{updated:?}");
}

#[test]
fn an_object_on_its_way_out_is_always_accepted() {
    let mut bad = pool("p", "nonsense");
    bad["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(judge(Kind::IpAddressPool, &request("UPDATE", &bad), HOME, &known(&[])).unwrap(), Verdict::default());
    for kind in [Kind::IpAddressPool, Kind::BgpPeer, Kind::Community] {
        assert_eq!(judge(kind, &request("DELETE", &Value::Null), HOME, &known(&[])).unwrap(), Verdict::default());
    }
}

#[test]
fn a_bad_peer_is_refused_and_disable_mp_does_not_excuse_it() {
    for (spec, code) in [
        ("myASN: 0, peerASN: 2, peerAddress: 10.0.0.1", "LB4301"),
        ("myASN: 1, peerAddress: 10.0.0.1", "LB4301"),
        ("myASN: 1, peerASN: 2, dynamicASN: internal, peerAddress: 10.0.0.1", "LB4301"),
        ("myASN: 1, peerASN: 1, ebgpMultiHop: true, peerAddress: 10.0.0.1", "LB4301"),
        ("myASN: 1, peerASN: 2", "LB4302"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, interface: eth0", "LB4302"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.400", "LB4302"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, sourceAddress: eth0", "LB4302"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, routerID: 'fd00::1'", "LB4302"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 2500ms", "LB4303"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 70000s", "LB4303"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: soon", "LB4303"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 30s, keepaliveTime: 1m30s", "LB4303"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, password: p, passwordSecret: {name: s}", "LB4304"),
        ("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, nodeSelectors: [{}, {}]", "LB4005"),
    ] {
        let mut object = peer(spec);
        let refused = create(Kind::BgpPeer, &object, &Known::default()).refused;
        assert!(refused.len() == 1 && refused[0].starts_with(code), "{spec}: {refused:?}");
        object["spec"]["disableMP"] = json!(true);
        let verdict = create(Kind::BgpPeer, &object, &Known::default());
        assert_eq!(verdict.refused.len(), 1, "{spec}");
        assert!(verdict.warnings.iter().any(|text| text.starts_with("disable mp is deprecated")), "{verdict:?}");
    }
}

#[test]
fn good_peers_are_accepted_in_both_versions() {
    for spec in [
        "myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 90s, keepaliveTime: 30s, routerID: 1.1.1.1",
        "myASN: 1, dynamicASN: external, interface: eth0, holdTime: 0s",
        "myASN: 1, peerASN: 2, peerAddress: 'fd00::1', holdTime: 1m30.5s, ebgpMultiHop: true",
        "myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 999ms",
    ] {
        let mut object = peer(spec);
        assert_eq!(create(Kind::BgpPeer, &object, &Known::default()).refused, [""; 0], "{spec}");
        if !spec.contains("interface") {
            object["apiVersion"] = json!("metallb.io/v1beta1");
            assert_eq!(create(Kind::BgpPeer, &object, &Known::default()).refused, [""; 0], "{spec}");
        }
    }
}

#[test]
fn a_bgp_advertisement_is_refused_for_what_is_wrong_with_it_and_not_for_what_may_come_later() {
    let advertisement =
        |spec: &str| object::<Value>(&format!("{{metadata: {{name: b, namespace: {HOME}}}, spec: {{{spec}}}}}"));
    for (spec, code) in [
        ("aggregationLength: 33", "LB4305"),
        ("aggregationLengthV6: 0", "LB4305"),
        ("aggregationLength: 24, serviceSelectors: [{}]", "LB4305"),
        ("peers: [a, a]", "LB4005"),
        ("communities: ['1:1', '1:1']", "LB4005"),
        ("communities: ['99999999:1']", "LB4201"),
        ("nodeSelectors: [{matchExpressions: [{key: k, operator: Foo}]}]", "LB4006"),
    ] {
        let refused = create(Kind::BgpAdvertisement, &advertisement(spec), &Known::default()).refused;
        assert!(refused.len() == 1 && refused[0].starts_with(code), "{spec}: {refused:?}");
    }
    let good = advertisement("aggregationLength: 24, communities: [alias, '1:1', 'large:1:2:3'], peers: [a, b]");
    let verdict = create(Kind::BgpAdvertisement, &good, &Known::default());
    assert_eq!(verdict.refused, [""; 0]);
    assert!(verdict.warnings.iter().all(|text| text.starts_with("LB4309 ")), "{:?}", verdict.warnings);
}

#[test]
fn a_peer_is_warned_of_what_is_missing_or_not_done_yet_and_of_nothing_else() {
    let plain = "myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, passwordSecret: {name: comes-later}";
    assert_eq!(create(Kind::BgpPeer, &peer(plain), &Known::default()), Verdict::default());
    let elsewhere = peer(&format!("{plain}, vrf: red"));
    assert_eq!(create(Kind::BgpPeer, &elsewhere, &Known::default()), Verdict::default());
    let verdict = create(Kind::BgpPeer, &peer(&format!("{plain}, bfdProfile: comes-later")), &Known::default());
    assert!(verdict.refused.is_empty() && verdict.warnings.len() == 1, "{verdict:?}");
    assert!(verdict.warnings[0].starts_with("LB4310 "), "{verdict:?}");
}

#[test]
fn advertisements_whose_local_preferences_contradict_each_other_are_refused() {
    let advertisement = |name: &str, preference: u32| {
        object::<Value>(&format!(
            "{{metadata: {{name: {name}, namespace: {HOME}}}, spec: {{localPref: {preference}, communities: [alias]}}}}"
        ))
    };
    let mut known = known(&[("p", "10.0.0.0/24")]);
    known.resources.nodes = vec![Arc::new(object("{metadata: {name: n}}"))];
    known.resources.bgp_advertisements = vec![Arc::new(serde_json::from_value(advertisement("low", 1)).unwrap())];
    let refused = create(Kind::BgpAdvertisement, &advertisement("high", 2), &known).refused;
    assert!(refused.len() == 1 && refused[0].starts_with("LB4307 "), "{refused:?}");
    assert_eq!(create(Kind::BgpAdvertisement, &advertisement("low", 2), &known).refused, [""; 0], "it is replaced");
}

#[test]
fn a_profile_that_a_peer_names_cannot_be_deleted() {
    let mut known = Known::default();
    let user = peer("myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: fast");
    known.resources.bgp_peers = vec![Arc::new(serde_json::from_value(user).unwrap())];
    let delete = |name: &str, namespace: &str| {
        let request = json!({"uid": "u", "operation": "DELETE", "name": name, "namespace": namespace, "object": null});
        judge(Kind::BfdProfile, &request, HOME, &known).unwrap().refused
    };
    let refused = delete("fast", HOME);
    assert!(refused.len() == 1 && refused[0].starts_with("LB4306 "), "{refused:?}");
    assert!(refused[0].contains("failed to delete BFDProfile fast, used by BGPPeer tor"), "{refused:?}");
    assert_eq!(delete("slow", HOME), [""; 0]);
    assert_eq!(delete("fast", "default"), [""; 0], "a profile elsewhere is not the one that is used");
}

#[test]
fn warnings_are_short_and_on_one_line() {
    let many = (0..60).map(|n| format!("'10.{n}.0.0/24'")).collect::<Vec<_>>().join(", ");
    let verdict = create(Kind::IpAddressPool, &pool(&"long-".repeat(40), &many), &known(&[("old", &many)]));
    assert!(!verdict.warnings.is_empty());
    for warning in verdict.warnings {
        assert!(warning.chars().count() <= LONGEST_WARNING && !warning.contains(char::is_control), "{warning}");
    }
}

#[test]
fn reviews_are_answered_with_their_uid_and_nonsense_is_a_bad_request() {
    let review = |object: &Value| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request("CREATE", object)});
    let answered = answer(Kind::IpAddressPool, &review(&pool("p", "10.0.0.0/24")), HOME, &known(&[])).unwrap();
    assert_eq!(
        answered,
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": "u", "allowed": true}})
    );
    let refused = answer(Kind::IpAddressPool, &review(&pool("p", "x")), HOME, &known(&[])).unwrap();
    assert_eq!(refused["response"]["allowed"], false);
    assert_eq!(refused["response"]["status"]["code"], 403);
    let mut unreadable = pool("p", "x");
    unreadable["spec"]["addresses"] = json!(7);
    let refused = answer(Kind::IpAddressPool, &review(&unreadable), HOME, &known(&[])).unwrap();
    assert_eq!((&refused["response"]["allowed"], &refused["response"]["status"]["code"]), (&json!(false), &json!(400)));
    assert!(answer(Kind::IpAddressPool, &json!({"kind": "ConversionReview"}), HOME, &known(&[])).is_err());
    assert!(answer(Kind::IpAddressPool, &Value::Null, HOME, &known(&[])).is_err());
}
