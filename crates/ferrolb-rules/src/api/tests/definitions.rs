//! The generated definitions against the tables of spec §1, transcribed by hand.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::{crds, well_known};

/// One line for each kind and version: names, storage, deprecation (spec §1.1).
const NAMES: &str = "\
BFDProfile bfdprofiles bfdprofile BFDProfileList v1beta1
BGPAdvertisement bgpadvertisements bgpadvertisement BGPAdvertisementList v1beta1
BGPPeer bgppeers bgppeer BGPPeerList v1beta1 deprecated, v1beta2
Community communities community CommunityList v1beta1
ConfigurationState configurationstates configurationstate ConfigurationStateList v1beta1
IPAddressPool ipaddresspools ipaddresspool IPAddressPoolList v1beta1
L2Advertisement l2advertisements l2advertisement L2AdvertisementList v1beta1
ServiceBGPStatus servicebgpstatuses servicebgpstatus ServiceBGPStatusList v1beta1
ServiceL2Status servicel2statuses servicel2status ServiceL2StatusList v1beta1";

/// Kind, version, columns as `name type path`, with `@priority` where there is one.
const COLUMNS: &[(&str, &str, &[&str])] = &[
    ("BFDProfile", "v1beta1", BFD_COLUMNS),
    ("BGPAdvertisement", "v1beta1", &[POOLS, SELECTORS, "Peers string .spec.peers", NODES]),
    ("BGPPeer", "v1beta1", PEER_COLUMNS),
    ("BGPPeer", "v1beta2", PEER_COLUMNS),
    ("Community", "v1beta1", &[]),
    (
        "ConfigurationState",
        "v1beta1",
        &[
            "Result string .status.result",
            "ErrorSummary string .status.errorSummary",
            "Age date .metadata.creationTimestamp",
        ],
    ),
    (
        "IPAddressPool",
        "v1beta1",
        &[
            "Auto Assign boolean .spec.autoAssign",
            "Avoid Buggy IPs boolean .spec.avoidBuggyIPs",
            "Addresses string .spec.addresses",
            "Used integer .status.used",
            "Free integer .status.free",
            "Announced string .status.announced",
            "Age date .metadata.creationTimestamp",
        ],
    ),
    ("L2Advertisement", "v1beta1", &[POOLS, SELECTORS, "Interfaces string .spec.interfaces", NODES]),
    ("ServiceBGPStatus", "v1beta1", &["Node string .status.node", SERVICE, NAMESPACE]),
    (
        "ServiceL2Status",
        "v1beta1",
        &[
            "Allocated Node string .status.node",
            SERVICE,
            NAMESPACE,
            "IP string .status.addresses",
            "MAC string .status.answers[*].mac",
            "Since date .metadata.creationTimestamp",
        ],
    ),
];
const POOLS: &str = "IPAddressPools string .spec.ipAddressPools";
const SELECTORS: &str = "IPAddressPool Selectors string .spec.ipAddressPoolSelectors";
const NODES: &str = "Node Selectors string .spec.nodeSelectors @10";
const SERVICE: &str = "Service Name string .status.serviceName";
const NAMESPACE: &str = "Service Namespace string .status.serviceNamespace";
const BFD_COLUMNS: &[&str] = &[
    "Passive Mode boolean .spec.passiveMode",
    "Transmit Interval integer .spec.transmitInterval",
    "Receive Interval integer .spec.receiveInterval",
    "Multiplier integer .spec.detectMultiplier",
];
const PEER_COLUMNS: &[&str] = &[
    "Address string .spec.peerAddress",
    "ASN string .spec.peerASN",
    "BFD Profile string .spec.bfdProfile",
    "Multi Hops string .spec.ebgpMultiHop",
];

/// Every field of every kind: `!` required, then format, bounds, default, values, number of CEL rules.
const FIELDS: &[(&str, &str, &str)] = &[
    ("BFDProfile", "v1beta1", include_str!("fields/bfd_profile.txt")),
    ("BGPAdvertisement", "v1beta1", include_str!("fields/bgp_advertisement.txt")),
    ("BGPPeer", "v1beta1", include_str!("fields/bgp_peer_v1beta1.txt")),
    ("BGPPeer", "v1beta2", include_str!("fields/bgp_peer.txt")),
    ("Community", "v1beta1", include_str!("fields/community.txt")),
    ("ConfigurationState", "v1beta1", include_str!("fields/configuration_state.txt")),
    ("IPAddressPool", "v1beta1", include_str!("fields/ip_address_pool.txt")),
    ("L2Advertisement", "v1beta1", include_str!("fields/l2_advertisement.txt")),
    ("ServiceBGPStatus", "v1beta1", include_str!("fields/service_bgp_status.txt")),
    ("ServiceL2Status", "v1beta1", include_str!("fields/service_l2_status.txt")),
];

/// Every version of every kind: kind, version's name, the version.
fn versions() -> Vec<(String, String, Value)> {
    let mut versions = Vec::new();
    for crd in crds() {
        for version in &crd.spec.versions {
            versions.push((crd.spec.names.kind.clone(), version.name.clone(), serde_json::to_value(version).unwrap()));
        }
    }
    versions
}

/// The schema of one version.
fn schema(kind: &str, version: &str) -> Value {
    let found = versions().into_iter().find(|(k, v, _)| k == kind && v == version).unwrap();
    found.2["schema"]["openAPIV3Schema"].clone()
}

/// What one schema node says, in one line.
fn describe(node: &Value) -> String {
    let mut line = node["type"].as_str().unwrap().to_owned();
    if let Some(format) = node["format"].as_str() {
        line += &format!(" {format}");
    }
    for (name, key) in [("min", "minimum"), ("max", "maximum")] {
        if let Some(bound) = node[key].as_f64() {
            line += &format!(" {name}={bound}");
        }
    }
    for (name, key) in [("min", "minItems"), ("min", "minLength"), ("max", "maxLength"), ("default", "default")] {
        if !node[key].is_null() {
            line += &format!(" {name}={}", node[key]);
        }
    }
    if let Some(values) = node["enum"].as_array() {
        line += &format!(" {}", values.iter().map(|value| value.as_str().unwrap()).collect::<Vec<_>>().join("|"));
    }
    for key in ["x-kubernetes-map-type", "x-kubernetes-list-type"] {
        line += &node[key].as_str().map(|kind| format!(" {kind}")).unwrap_or_default();
    }
    line += &node["x-kubernetes-validations"].as_array().map(|r| format!(" rules={}", r.len())).unwrap_or_default();
    line
}

/// All that a schema has, one line for each field; label selectors are looked at by a test of their own.
fn outline(path: &str, node: &Value, required: bool, lines: &mut BTreeSet<String>) {
    let mark = if required { "!" } else { "" };
    if !node["properties"]["matchLabels"].is_null() && node["x-kubernetes-map-type"] == "atomic" {
        lines.insert(format!("{path}{mark} selector"));
        return;
    }
    if !path.is_empty() {
        lines.insert(format!("{path}{mark} {}", describe(node)));
    }
    let wanted = |name: &str| node["required"].as_array().is_some_and(|list| list.iter().any(|entry| entry == name));
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        outline(&format!("{path}{dot}{name}"), child, wanted(name), lines);
    }
    if node["items"].is_object() {
        outline(&format!("{path}[]"), &node["items"], false, lines);
    }
    if node["additionalProperties"].is_object() {
        outline(&format!("{path}{{}}"), &node["additionalProperties"], false, lines);
    }
}

/// Calls `look` with every node of a schema.
fn walk(node: &Value, look: &mut impl FnMut(&Value)) {
    look(node);
    let nested = [&node["items"], &node["additionalProperties"]].into_iter().filter(|child| child.is_object());
    for child in nested.chain(node["properties"].as_object().into_iter().flat_map(|map| map.values())) {
        walk(child, look);
    }
}

#[test]
fn names_versions_and_scope() {
    let mut lines = Vec::new();
    for crd in crds() {
        let names = &crd.spec.names;
        assert_eq!(crd.metadata.name, Some(format!("{}.metallb.io", names.plural)));
        assert_eq!(crd.spec.group, crate::api::GROUP);
        assert_eq!(crd.spec.scope, "Namespaced");
        assert_eq!((&names.short_names, &names.categories, &crd.metadata.labels), (&None, &None, &None));
        let versions = crd.spec.versions.iter().map(|version| {
            assert!(version.served);
            let deprecated = version.deprecated.is_some_and(|deprecated| deprecated);
            assert_eq!(version.storage, !deprecated, "{}", names.kind);
            format!("{}{}", version.name, if deprecated { " deprecated" } else { "" })
        });
        let versions = versions.collect::<Vec<_>>().join(", ");
        let (singular, list) = (names.singular.as_deref().unwrap(), names.list_kind.as_deref().unwrap());
        lines.push(format!("{} {} {singular} {list} {versions}", names.kind, names.plural));
    }
    assert_eq!(lines.join("\n"), NAMES);
}

#[test]
fn every_version_has_a_status_subresource_and_no_scale() {
    for (kind, _, version) in versions() {
        assert_eq!(version["subresources"], serde_json::json!({"status": {}}), "{kind}");
    }
}

#[test]
fn printer_columns() {
    let found: Vec<_> = versions();
    assert_eq!(found.len(), COLUMNS.len());
    for ((kind, name, version), (wanted_kind, wanted_name, wanted)) in found.iter().zip(COLUMNS) {
        assert_eq!((kind.as_str(), name.as_str()), (*wanted_kind, *wanted_name));
        let columns = version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default();
        let columns: Vec<_> = columns
            .iter()
            .map(|column| {
                let text = |key: &str| column[key].as_str().unwrap().to_owned();
                let priority = column["priority"].as_i64().map(|number| format!(" @{number}")).unwrap_or_default();
                format!("{} {} {}{priority}", text("name"), text("type"), text("jsonPath"))
            })
            .collect();
        assert_eq!(columns, *wanted, "{kind}");
    }
}

#[test]
fn every_field_is_as_the_spec_has_it() {
    let mut wrong = String::new();
    for (kind, version, wanted) in FIELDS {
        let mut lines = BTreeSet::new();
        outline("", &schema(kind, version), false, &mut lines);
        let wanted: BTreeSet<_> = wanted.lines().map(str::to_owned).collect();
        for line in wanted.difference(&lines) {
            wrong += &format!("\n{kind} {version} lacks {line}");
        }
        for line in lines.difference(&wanted) {
            wrong += &format!("\n{kind} {version} has   {line}");
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn schemas_are_structural_and_described() {
    for (kind, version, _) in versions() {
        walk(&schema(&kind, &version), &mut |node| {
            assert!(node["type"].is_string(), "{kind}: {node}");
            for key in ["nullable", "title", "$ref", "anyOf", "oneOf", "allOf", "not"] {
                assert!(node[key].is_null(), "{kind}: {key} in {node}");
            }
            let unknown = node["x-kubernetes-preserve-unknown-fields"] == true;
            assert!(!unknown && node["additionalProperties"] != false, "{kind}: {node}");
            if let Some(text) = node["description"].as_str() {
                assert!(!text.contains('\n') && !text.contains("spec §") && !text.contains("[`"), "{kind}: {text}");
            }
            for (name, child) in node["properties"].as_object().into_iter().flatten() {
                let described = name == "status" || name == "spec" || child["description"].is_string();
                assert!(described, "{kind}: {name} has no description");
            }
        });
    }
}

#[test]
fn selectors_are_atomic_and_take_any_operator() {
    let schema = schema("IPAddressPool", "v1beta1");
    let pool = &schema["properties"]["spec"]["properties"]["serviceAllocation"]["properties"];
    let selector = &pool["serviceSelectors"]["items"];
    assert_eq!(selector["x-kubernetes-map-type"], "atomic");
    assert_eq!(selector["properties"]["matchLabels"]["additionalProperties"]["type"], "string");
    let expressions = &selector["properties"]["matchExpressions"];
    assert_eq!(expressions["x-kubernetes-list-type"], "atomic");
    assert_eq!(expressions["items"]["required"], serde_json::json!(["key", "operator"]));
    assert_eq!(expressions["items"]["properties"]["values"]["x-kubernetes-list-type"], "atomic");
    assert!(expressions["items"]["properties"]["operator"]["enum"].is_null());
    assert!(selector["required"].is_null());
}

/// The rules of one node as `rule -> message`.
fn rules(node: &Value) -> Vec<(&str, &str)> {
    let list = node["x-kubernetes-validations"].as_array().unwrap();
    list.iter().map(|rule| (rule["rule"].as_str().unwrap(), rule["message"].as_str().unwrap())).collect()
}

#[test]
fn cel_rules_and_their_messages() {
    let peer = schema("BGPPeer", "v1beta2");
    let peer = &peer["properties"]["spec"]["properties"];
    assert_eq!(
        rules(&peer["enableGracefulRestart"]),
        [("self == oldSelf", "EnableGracefulRestart cannot be changed after creation")]
    );
    let messages: Vec<_> = rules(&peer["connectTime"]).into_iter().map(|(_, message)| message).collect();
    assert_eq!(
        messages,
        ["connect time should be between 1 seconds to 65535", "connect time should contain a whole number of seconds"]
    );
    let advertisement = schema("BGPAdvertisement", "v1beta1");
    let [(rule, message)] = rules(&advertisement["properties"]["spec"])[..] else { panic!("one rule") };
    assert_eq!(
        message,
        "serviceSelectors and aggregationLength are mutually exclusive, can only be used together with default \
         aggregationLength (32) and aggregationLengthV6 (128)"
    );
    for part in ["size(self.serviceSelectors) == 0", "self.aggregationLength == 32", "self.aggregationLengthV6 == 128"]
    {
        assert!(rule.contains(part), "{rule}");
    }
    for kind in ["ServiceL2Status", "ServiceBGPStatus"] {
        let status = schema(kind, "v1beta1");
        for field in ["node", "serviceName", "serviceNamespace"] {
            let field = &status["properties"]["status"]["properties"][field];
            assert_eq!(rules(field), [("self == oldSelf", "Value is immutable")], "{kind}");
        }
    }
}

#[test]
fn only_peers_are_converted() {
    for crd in crds() {
        let conversion = serde_json::to_value(&crd.spec.conversion).unwrap();
        if crd.spec.names.kind != "BGPPeer" {
            assert!(conversion.is_null());
            continue;
        }
        let wanted = serde_json::json!({
            "strategy": "Webhook",
            "webhook": {
                "clientConfig": {
                    "service": {"name": "metallb-webhook-service", "namespace": "metallb-system", "path": "/convert"},
                },
                "conversionReviewVersions": ["v1", "v1beta1"],
            },
        });
        assert_eq!(conversion, wanted);
        let warning = crd.spec.versions[0].deprecation_warning.as_deref();
        assert_eq!(warning, Some("v1beta1 is deprecated, please use v1beta2"));
    }
}

#[test]
fn well_known_strings_are_under_their_prefixes() {
    use well_known::{DEPRECATED_PREFIX, PREFIX};
    let pairs = [
        (well_known::ADDRESS_POOL, well_known::DEPRECATED_ADDRESS_POOL),
        (well_known::LOAD_BALANCER_IPS, well_known::DEPRECATED_LOAD_BALANCER_IPS),
        (well_known::ALLOW_SHARED_IP, well_known::DEPRECATED_ALLOW_SHARED_IP),
        (well_known::ALLOCATED_FROM_POOL, well_known::DEPRECATED_ALLOCATED_FROM_POOL),
    ];
    for (new, old) in pairs {
        let name = new.strip_prefix(PREFIX);
        assert!(name.is_some() && name == old.strip_prefix(DEPRECATED_PREFIX), "{new} {old}");
    }
}
