//! What the types read and write: full objects come back unchanged, and whatever an API server takes is taken.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::api::{
    BFDProfile, BGPAdvertisement, BGPPeer, BGPPeerV1Beta1, Community, ConfigurationResult, ConfigurationState,
    DynamicAsn, IPAddressPool, L2Advertisement, ServiceBGPStatus, ServiceL2Status,
};

/// An object with this spec and status; either may be null, which leaves it out.
fn object(kind: &str, version: &str, spec: &Value, status: &Value) -> Value {
    let mut object = json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": kind,
        "metadata": {"name": "one", "namespace": "metallb-system"},
    });
    for (key, value) in [("spec", spec), ("status", status)] {
        if !value.is_null() {
            object[key] = value.clone();
        }
    }
    object
}

/// Reads an object, or says why not.
fn read<T: DeserializeOwned>(object: &Value) -> Result<T, String> {
    serde_json::from_value(object.clone()).map_err(|error| error.to_string())
}

/// Reads an object and writes it again; it must be the same as JSON and as YAML.
fn same<T: DeserializeOwned + Serialize + PartialEq + Debug>(object: &Value) -> T {
    let typed: T = read(object).unwrap();
    assert_eq!(&serde_json::to_value(&typed).unwrap(), object);
    let yaml = serde_saphyr::to_string(&typed).unwrap();
    assert_eq!(serde_saphyr::from_str::<T>(&yaml).unwrap(), typed);
    typed
}

/// A selector that uses everything.
fn selector() -> Value {
    json!({
        "matchLabels": {"rack": "a"},
        "matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["x", "y"]},
            {"key": "gpu", "operator": "Exists"},
        ],
    })
}

#[test]
fn pools_come_back_unchanged() {
    let spec = json!({
        "addresses": ["10.0.0.0/24", "fd00::1-fd00::9"], "autoAssign": false, "avoidBuggyIPs": true,
        "serviceAllocation": {
            "priority": -3, "namespaces": ["a"], "namespaceSelectors": [selector()], "serviceSelectors": [{}],
        },
    });
    let status = json!({"assignedIPv4": 1, "assignedIPv6": 2, "availableIPv4": 3, "availableIPv6": i64::MAX});
    let pool: IPAddressPool = same(&object("IPAddressPool", "v1beta1", &spec, &status));
    assert_eq!(pool.spec.auto_assign, Some(false));
    assert_eq!(pool.status.unwrap().available_ipv6, i64::MAX);
}

#[test]
fn advertisements_come_back_unchanged() {
    let spec = json!({
        "ipAddressPools": ["p"], "ipAddressPoolSelectors": [selector()], "nodeSelectors": [selector()],
        "interfaces": ["eth0"], "serviceSelectors": [selector()],
        "preferredNodeSelectors": [{"weight": 100, "preference": selector()}, {"weight": 1, "preference": {}}],
    });
    let l2: L2Advertisement = same(&object("L2Advertisement", "v1beta1", &spec, &json!({})));
    assert_eq!(l2.spec.preferred_node_selectors[0].weight, 100);

    let spec = json!({
        "aggregationLength": 24, "aggregationLengthV6": 64, "localPref": u32::MAX, "communities": ["large:1:2:3"],
        "ipAddressPools": ["p"], "ipAddressPoolSelectors": [selector()], "nodeSelectors": [selector()],
        "peers": ["tor"], "serviceSelectors": [selector()],
    });
    let bgp: BGPAdvertisement = same(&object("BGPAdvertisement", "v1beta1", &spec, &json!({})));
    assert_eq!(bgp.spec.aggregation_length_v6, Some(64));
    let spec = json!({"localPref": -1, "aggregationLengthV6": 3_000_000_000_u32});
    same::<BGPAdvertisement>(&object("BGPAdvertisement", "v1beta1", &spec, &Value::Null));

    let spec = json!({"communities": [{"name": "a", "value": "1:2"}, {"name": "b"}, {}]});
    let community: Community = same(&object("Community", "v1beta1", &spec, &Value::Null));
    assert_eq!(community.spec.communities.len(), 3);
}

#[test]
fn peers_and_profiles_come_back_unchanged() {
    let spec = json!({
        "myASN": 64512, "peerASN": u32::MAX, "localASN": 1, "dynamicASN": "external", "peerAddress": "10.0.0.1",
        "interface": "eth0", "sourceAddress": "10.0.0.2", "peerPort": 16384, "holdTime": "1m30s",
        "keepaliveTime": "30s", "connectTime": "10s", "routerID": "1.1.1.1", "nodeSelectors": [selector()],
        "password": "p", "passwordSecret": {"name": "s", "namespace": "n"}, "bfdProfile": "fast",
        "enableGracefulRestart": true, "ebgpMultiHop": true, "vrf": "red", "disableMP": false,
        "dualStackAddressFamily": true,
    });
    let peer: BGPPeer = same(&object("BGPPeer", "v1beta2", &spec, &json!({})));
    assert_eq!(peer.spec.dynamic_asn, Some(DynamicAsn::External));

    let legacy = json!({
        "matchLabels": {"rack": "a"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}],
    });
    let spec = json!({
        "myASN": 0, "peerASN": 0, "peerAddress": "", "sourceAddress": "10.0.0.2", "peerPort": 0, "holdTime": "0s",
        "keepaliveTime": "30s", "routerID": "1.1.1.1", "nodeSelectors": [legacy, {}], "password": "p",
        "bfdProfile": "fast", "ebgpMultiHop": false,
    });
    same::<BGPPeerV1Beta1>(&object("BGPPeer", "v1beta1", &spec, &json!({})));

    let spec = json!({
        "receiveInterval": 10, "transmitInterval": 60000, "detectMultiplier": 255, "echoInterval": 50,
        "echoMode": true, "passiveMode": false, "minimumTtl": 254,
    });
    same::<BFDProfile>(&object("BFDProfile", "v1beta1", &spec, &Value::Null));
}

#[test]
fn statuses_come_back_unchanged() {
    let about = json!({"node": "n", "serviceName": "s", "serviceNamespace": "ns"});
    let mut status = about.clone();
    status["interfaces"] = json!([{"name": "eth0"}]);
    same::<ServiceL2Status>(&object("ServiceL2Status", "v1beta1", &json!({}), &status));
    let mut status = about;
    status["peers"] = json!(["a", "b"]);
    same::<ServiceBGPStatus>(&object("ServiceBGPStatus", "v1beta1", &json!({}), &status));

    let condition = json!({
        "type": "poolReconcilerValid", "status": "False", "reason": "ConfigError", "message": "overlap",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    });
    let status = json!({"result": "Invalid", "errorSummary": "overlap", "conditions": [condition]});
    let state: ConfigurationState = same(&object("ConfigurationState", "v1beta1", &Value::Null, &status));
    assert_eq!(state.status.unwrap().result, Some(ConfigurationResult::Invalid));
}

#[test]
fn a_missing_or_null_spec_is_an_empty_one() {
    for spec in [json!({}), Value::Null] {
        let missing = object("any", "v1beta1", &spec, &Value::Null);
        assert_eq!(read::<L2Advertisement>(&missing).unwrap().spec, Default::default());
        assert_eq!(read::<BGPAdvertisement>(&missing).unwrap().spec, Default::default());
        assert_eq!(read::<Community>(&missing).unwrap().spec, Default::default());
        assert_eq!(read::<BFDProfile>(&missing).unwrap().spec, Default::default());
        read::<ServiceL2Status>(&missing).unwrap();
        read::<ServiceBGPStatus>(&missing).unwrap();
        read::<ConfigurationState>(&missing).unwrap();
        assert!(read::<IPAddressPool>(&missing).is_err());
    }
    let none = object("BGPPeer", "any", &Value::Null, &Value::Null);
    assert_eq!(read::<BGPPeer>(&none).unwrap().spec.my_asn, 0, "for the configuration to complain about");
    assert_eq!(read::<BGPPeerV1Beta1>(&none).unwrap().spec.my_asn, 0);
    let null = json!({"metadata": {"name": "one"}, "spec": null, "status": null});
    assert_eq!(read::<L2Advertisement>(&null).unwrap().spec, Default::default());
    assert!(read::<IPAddressPool>(&null).is_err());
}

#[test]
fn null_is_absent_and_what_is_unknown_is_ignored() {
    let spec = json!({
        "addresses": ["10.0.0.0/24"], "autoAssign": null, "new": 1,
        "serviceAllocation": {"priority": null, "namespaces": null, "serviceSelectors": null},
    });
    let pool: IPAddressPool = read(&object("IPAddressPool", "v1beta1", &spec, &json!({}))).unwrap();
    assert_eq!(pool.spec.auto_assign, None);
    assert_eq!(pool.status, Some(Default::default()), "stored before there were numbers");
    let spec = json!({
        "myASN": 1, "peerASN": null, "peerAddress": null, "nodeSelectors": [{"matchLabels": null}],
        "passwordSecret": {"name": null}, "dynamicASN": null, "peerPort": null, "connectTime": "rubbish",
    });
    let peer: BGPPeer = read(&object("BGPPeer", "v1beta2", &spec, &Value::Null)).unwrap();
    assert_eq!((peer.spec.peer_asn, peer.spec.peer_address.as_str()), (None, ""));
    assert_eq!(peer.spec.connect_time.as_deref(), Some("rubbish"), "for the configuration to complain about");
    let yaml = "metadata: {name: one}\nspec:\n  interfaces:\n  nodeSelectors:\n  - matchLabels:\n";
    let l2: L2Advertisement = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!((l2.spec.interfaces.len(), l2.spec.node_selectors.len()), (0, 1));
    let l2: L2Advertisement = serde_saphyr::from_str("metadata: {name: one}\n").unwrap();
    assert_eq!(l2.spec, Default::default());
    let l2: L2Advertisement = serde_saphyr::from_str("metadata: {name: one}\nspec:\n").unwrap();
    assert_eq!(l2.spec, Default::default());
}

#[test]
fn what_an_api_server_refuses_is_refused() {
    let pool = |spec: Value| read::<IPAddressPool>(&object("IPAddressPool", "v1beta1", &spec, &Value::Null));
    assert!(pool(json!({})).is_err());
    assert!(pool(json!({"addresses": null})).is_err());
    assert!(pool(json!({"addresses": "10.0.0.0/24"})).is_err());
    let peer = |spec: Value| read::<BGPPeer>(&object("BGPPeer", "v1beta2", &spec, &Value::Null));
    assert!(peer(json!({})).is_err());
    assert!(peer(json!({"myASN": u64::from(u32::MAX) + 1})).is_err());
    assert!(peer(json!({"myASN": 1, "dynamicASN": "auto"})).is_err());
    let l2 = |spec: Value| read::<L2Advertisement>(&object("L2Advertisement", "v1beta1", &spec, &Value::Null));
    assert!(l2(json!("eth0")).is_err());
    assert!(l2(json!({"preferredNodeSelectors": [{"weight": 1}]})).is_err());
}
