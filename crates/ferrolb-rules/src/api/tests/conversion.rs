//! The conversion of BGPPeer between its versions (spec §1.8).

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::conversion::{KEPT_FIELDS, answer};
use crate::api::{BGPPeer, BGPPeerV1Beta1};

fn read<T: serde::de::DeserializeOwned>(spec: &Value) -> T {
    serde_json::from_value(json!({"metadata": {"name": "tor", "labels": {"a": "b"}}, "spec": spec})).unwrap()
}

/// A peer of v1beta1 with this spec, converted, as JSON.
fn forward(spec: &Value) -> Value {
    serde_json::to_value(BGPPeer::from(&read::<BGPPeerV1Beta1>(spec))).unwrap()
}

/// A peer of v1beta2 with this spec, converted, as JSON.
fn back(spec: &Value) -> Value {
    serde_json::to_value(BGPPeerV1Beta1::from(&read::<BGPPeer>(spec))).unwrap()
}

/// A peer of v1beta2, as v1beta1, and back; what is done to it on the way is `change`.
fn round(spec: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut old = back(spec);
    change(&mut old);
    let old: BGPPeerV1Beta1 = serde_json::from_value(old).unwrap();
    serde_json::to_value(BGPPeer::from(&old)).unwrap()
}

/// All that both versions have.
fn shared() -> Value {
    let expression = json!({"key": "k", "operator": "Like", "values": ["v"]});
    json!({
        "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "sourceAddress": "10.0.0.2", "peerPort": 1790,
        "holdTime": "90s", "keepaliveTime": "30s", "routerID": "1.1.1.1", "password": "p", "bfdProfile": "fast",
        "ebgpMultiHop": true,
        "nodeSelectors": [{"matchLabels": {"rack": "a"}, "matchExpressions": [expression]}, {}],
    })
}

/// A peer that uses everything that only v1beta2 has.
fn modern() -> Value {
    json!({
        "myASN": 1, "localASN": 3, "dynamicASN": "internal", "interface": "eth0", "connectTime": "5s",
        "holdTime": "0s", "keepaliveTime": "0s",
        "passwordSecret": {"name": "s"}, "enableGracefulRestart": false, "vrf": "red", "disableMP": true,
        "dualStackAddressFamily": true,
    })
}

#[test]
fn what_both_have_survives_both_ways() {
    let new = forward(&shared());
    assert_eq!(new["apiVersion"], "metallb.io/v1beta2");
    assert_eq!(new["metadata"], json!({"name": "tor", "labels": {"a": "b"}}));
    assert_eq!(new["spec"], shared());
    let old = back(&shared());
    assert_eq!(old["apiVersion"], "metallb.io/v1beta1");
    assert_eq!(old["kind"], "BGPPeer");
    assert_eq!(old["metadata"], new["metadata"]);
    assert_eq!(old["spec"], shared());
    assert!(old.get("status").is_none());
}

#[test]
fn timers_that_are_not_there_stay_away() {
    let spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1"});
    assert_eq!(forward(&spec)["spec"], spec);
    assert_eq!(back(&spec)["spec"], spec);
    let mut written_by_a_program = spec.clone();
    written_by_a_program["holdTime"] = json!("0s");
    written_by_a_program["keepaliveTime"] = json!("0h0m0s");
    assert_eq!(forward(&written_by_a_program)["spec"], spec, "v1beta1 cannot tell zero from absent");
}

#[test]
fn a_port_of_zero_is_left_to_the_default() {
    let converted = forward(&json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "peerPort": 0}));
    assert!(converted["spec"].get("peerPort").is_none());
}

#[test]
fn what_only_the_new_version_has_survives_a_visit_to_the_old_one() {
    let old = back(&modern());
    assert!(old["spec"].get("vrf").is_none());
    assert!(old["metadata"]["annotations"][KEPT_FIELDS].as_str().unwrap().contains(r#""vrf":"red""#), "{old}");
    let again = round(&modern(), |_| ());
    assert_eq!(again["spec"], modern());
    assert_eq!(again["metadata"], json!({"name": "tor", "labels": {"a": "b"}}), "the annotation is not stored");
}

#[test]
fn a_peer_that_the_old_version_can_say_gets_no_annotation() {
    let mut spec = shared();
    spec["disableMP"] = json!(false);
    spec["dualStackAddressFamily"] = json!(false);
    assert!(back(&spec)["metadata"].get("annotations").is_none());
}

#[test]
fn what_is_written_as_the_old_version_wins_over_what_was_kept() {
    let changed = round(&modern(), |old| {
        old["spec"]["peerASN"] = json!(7);
        old["spec"]["peerAddress"] = json!("10.0.0.9");
        old["spec"]["password"] = json!("p");
        old["spec"]["holdTime"] = json!("90s");
    });
    let spec = &changed["spec"];
    assert_eq!(
        (&spec["peerASN"], &spec["peerAddress"], &spec["password"]),
        (&json!(7), &json!("10.0.0.9"), &json!("p"))
    );
    for gone in ["dynamicASN", "interface", "passwordSecret"] {
        assert!(spec.get(gone).is_none(), "{gone} would contradict what was written");
    }
    assert_eq!((&spec["holdTime"], &spec["vrf"]), (&json!("90s"), &json!("red")));
}

#[test]
fn an_annotation_that_makes_no_sense_breaks_nothing_and_stays() {
    let spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1"});
    let converted = round(&spec, |old| old["metadata"]["annotations"] = json!({KEPT_FIELDS: "{]"}));
    assert_eq!(converted["spec"], spec);
    assert_eq!(converted["metadata"]["annotations"][KEPT_FIELDS], "{]");
}

#[test]
fn a_peer_without_number_or_address_still_converts() {
    let selector = json!({"matchExpressions": [{"key": "gpu", "operator": "Exists"}]});
    let spec = json!({"myASN": 1, "dynamicASN": "external", "interface": "eth0", "nodeSelectors": [selector]});
    let old = back(&spec);
    assert_eq!((&old["spec"]["peerASN"], &old["spec"]["peerAddress"]), (&json!(0), &json!("")));
    assert_eq!(old["spec"]["nodeSelectors"][0]["matchExpressions"][0]["values"], json!([]));
    assert_eq!(round(&spec, |_| ())["spec"], spec);
}

/// A review of these objects.
fn review(version: &str, desired: &str, objects: &Value) -> Value {
    answer(&json!({
        "apiVersion": format!("apiextensions.k8s.io/{version}"), "kind": "ConversionReview",
        "request": {"uid": "u-1", "desiredAPIVersion": desired, "objects": objects},
    }))
    .unwrap()
}

#[test]
fn a_review_is_answered_in_its_own_version_with_all_objects_in_order() {
    let peer = |version: &str, name: &str| {
        json!({"apiVersion": version, "kind": "BGPPeer", "spec": shared(), "status": {"seen": 1},
            "metadata": {"name": name, "uid": "x", "managedFields": [{"manager": "m"}], "unknown": true}})
    };
    for version in ["v1", "v1beta1"] {
        let objects = json!([peer("metallb.io/v1beta1", "a"), peer("metallb.io/v1beta2", "b")]);
        let answer = review(version, "metallb.io/v1beta2", &objects);
        assert_eq!(answer["apiVersion"], format!("apiextensions.k8s.io/{version}"));
        assert_eq!(answer["kind"], "ConversionReview");
        assert_eq!(answer["response"]["uid"], "u-1");
        assert_eq!(answer["response"]["result"], json!({"status": "Success"}));
        let wanted = json!([peer("metallb.io/v1beta2", "a"), peer("metallb.io/v1beta2", "b")]);
        assert_eq!(answer["response"]["convertedObjects"], wanted);
    }
}

#[test]
fn what_cannot_be_converted_fails_with_a_name_and_a_reason() {
    let wrong = json!([{"apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": {"name": "tor"},
        "spec": {"myASN": "one"}}]);
    let response = review("v1", "metallb.io/v1beta2", &wrong)["response"].clone();
    assert_eq!((&response["uid"], &response["result"]["status"]), (&json!("u-1"), &json!("Failure")));
    let message = response["result"]["message"].as_str().unwrap();
    assert!(message.contains("\"tor\"") && message.contains("v1beta1"), "{message}");
    for (version, kind) in [("metallb.io/v1beta3", "BGPPeer"), ("metallb.io/v1beta1", "Community")] {
        let object = json!([{"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": shared()}]);
        let response = review("v1", "metallb.io/v1beta2", &object)["response"].clone();
        assert_eq!(response["result"]["status"], "Failure", "{version} {kind}");
    }
    assert!(answer(&json!({"kind": "AdmissionReview"})).is_err());
    assert!(answer(&json!([])).is_err());
}

proptest! {
    #[test]
    fn reading_as_the_old_version_and_writing_back_changes_nothing(
        asn in prop::option::of(1u32..), dynamic in any::<bool>(), address in "(10\\.0\\.0\\.1)?", interface in "(eth0)?",
        hold in prop::option::of("0s|3s|90s"), keep in prop::option::of("0s|1s"), connect in prop::option::of("5s"),
        local in prop::option::of(1u32..), graceful in prop::option::of(any::<bool>()), vrf in "(red)?",
        secret in any::<bool>(), multihop in prop::option::of(any::<bool>()),
    ) {
        let mut spec = json!({"myASN": 1});
        let mut set = |key: &str, value: Value| if !value.is_null() && value != "" { spec[key] = value; };
        set("peerASN", json!(asn));
        if asn.is_none() && dynamic { set("dynamicASN", json!("external")); }
        set("peerAddress", json!(address));
        if address.is_empty() { set("interface", json!(interface)); }
        if address.is_empty() && interface.is_empty() { set("peerAddressFrom", json!({"nodeLabel": "tor"})); }
        set("holdTime", json!(hold));
        set("keepaliveTime", json!(keep));
        set("connectTime", json!(connect));
        set("localASN", json!(local));
        set("enableGracefulRestart", json!(graceful));
        set("vrf", json!(vrf));
        if secret { set("passwordSecret", json!({"name": "s", "namespace": "n"})); }
        set("ebgpMultiHop", json!(multihop));
        prop_assert_eq!(&round(&spec, |_| ())["spec"], &spec);
    }
}
