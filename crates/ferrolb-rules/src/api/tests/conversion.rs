//! The conversion of BGPPeer between its versions (spec §1.8).

use serde_json::{Value, json};

use crate::api::{BGPPeer, BGPPeerV1Beta1};

/// A peer of v1beta1 with this spec, converted, as JSON.
fn forward(spec: &Value) -> Value {
    let old: BGPPeerV1Beta1 =
        serde_json::from_value(json!({"metadata": {"name": "tor", "labels": {"a": "b"}}, "spec": spec})).unwrap();
    serde_json::to_value(BGPPeer::from(&old)).unwrap()
}

/// A peer of v1beta2 with this spec, converted, as JSON.
fn back(spec: &Value) -> Value {
    let new: BGPPeer =
        serde_json::from_value(json!({"metadata": {"name": "tor", "labels": {"a": "b"}}, "spec": spec, "status": {}}))
            .unwrap();
    serde_json::to_value(BGPPeerV1Beta1::from(&new)).unwrap()
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
fn timers_that_are_not_there_become_zero() {
    let spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1"});
    for converted in [forward(&spec), back(&spec)] {
        assert_eq!(converted["spec"]["holdTime"], "0s");
        assert_eq!(converted["spec"]["keepaliveTime"], "0s");
        assert!(converted["spec"].get("peerPort").is_none(), "left to the default of the schema");
    }
}

#[test]
fn a_port_of_zero_is_left_to_the_default() {
    let converted = forward(&json!({"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "peerPort": 0}));
    assert!(converted["spec"].get("peerPort").is_none());
}

#[test]
fn what_only_the_new_version_has_is_lost() {
    let mut spec = shared();
    let only_new = json!({
        "localASN": 3, "dynamicASN": "internal", "interface": "eth0", "connectTime": "5s",
        "passwordSecret": {"name": "s"}, "enableGracefulRestart": true, "vrf": "red", "disableMP": true,
        "dualStackAddressFamily": true,
    });
    spec.as_object_mut().unwrap().extend(only_new.as_object().unwrap().clone());
    assert_eq!(back(&spec)["spec"], shared());
}

#[test]
fn a_peer_without_number_or_address_still_converts() {
    let selector = json!({"matchExpressions": [{"key": "gpu", "operator": "Exists"}]});
    let old = back(&json!({"myASN": 1, "dynamicASN": "external", "interface": "eth0", "nodeSelectors": [selector]}));
    assert_eq!((&old["spec"]["peerASN"], &old["spec"]["peerAddress"]), (&json!(0), &json!("")));
    assert_eq!(old["spec"]["nodeSelectors"][0]["matchExpressions"][0]["values"], json!([]));
    let again: BGPPeerV1Beta1 = serde_json::from_value(old).unwrap();
    let again = serde_json::to_value(BGPPeer::from(&again)).unwrap();
    assert!(again["spec"].get("peerASN").is_none());
    assert_eq!(again["spec"]["nodeSelectors"], json!([selector]));
}
