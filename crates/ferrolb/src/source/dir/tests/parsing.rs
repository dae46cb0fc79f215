//! One file's bytes.

use ferrolb_rules::reason::{Code, Severity};

use super::super::Object;
use super::{POOL, SERVICE, codes, parse, read};

#[test]
fn every_kind_that_is_used_is_read() {
    let cases = [
        ("v1", "Service", "{ports: [{port: 80}]}", true),
        ("v1", "Node", "{podCIDR: 10.0.0.0/24}", false),
        ("v1", "Namespace", "{}", false),
        ("metallb.io/v1beta1", "IPAddressPool", "{addresses: [10.0.0.0/24]}", true),
        ("metallb.io/v1beta1", "L2Advertisement", "{ipAddressPools: [p]}", true),
        ("metallb.io/v1beta2", "BGPPeer", "{myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1}", true),
        ("metallb.io/v1beta1", "BGPAdvertisement", "{peers: [p]}", true),
        ("metallb.io/v1beta1", "Community", "{communities: [{name: a, value: '1:2'}]}", true),
    ];
    for (version, kind, spec, namespaced) in cases {
        let text = format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: it, namespace: metallb-system}}\nspec: {spec}\n"
        );
        let parsed = read(&text);
        assert_eq!(parsed.findings, [], "{kind}");
        let expected = if namespaced { format!("{kind}/metallb-system/it") } else { format!("{kind}/it") };
        assert_eq!(parsed.objects[0].object.title(), expected);
    }
}

#[test]
fn a_secret_and_a_slice_are_read_with_their_own_fields() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: Opaque\ndata: {password: aGFsbG8=}\n";
    let Object::Secret(secret) = &read(secret).objects[0].object.clone() else { panic!("no Secret") };
    assert_eq!(secret.data.as_ref().unwrap()["password"].0, b"hallo");
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: e\n  labels: \
        {kubernetes.io/service-name: web}\naddressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\nports: []\n";
    assert_eq!(read(slice).findings, []);
    let lone = slice.replace("kubernetes.io/service-name", "app");
    let parsed = read(&lone);
    assert_eq!(codes(&parsed.findings), [(Code::ManifestInvalid, Severity::Warning)]);
    assert_eq!(parsed.objects.len(), 1);
}

#[test]
fn a_wrong_value_is_reported_at_its_own_line_and_column_with_its_field() {
    let second = |text: &str| format!("# a comment\n{SERVICE}---\n\n---\n{text}");
    let head = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\n";
    let cases: [(String, &str, (u32, u32), &str); 10] = [
        (format!("{head}spec:\n  addresses: 5\n"), "spec.addresses", (5, 14), "expected a list, found the number 5"),
        (format!("{head}spec:\n  addresses: [a, 7]\n"), "spec.addresses[1]", (5, 18), "expected text"),
        (format!("{head}spec:\n  autoAssign: true\n"), "spec.addresses", (5, 3), "required and missing"),
        (head.to_owned(), "spec", (1, 1), "required and missing"),
        (format!("{head}spec:\n"), "spec", (1, 1), "required and missing"),
        (format!("{head}spec:\n  addresses: []\n  autoAssign: often\n"), "spec.autoAssign", (6, 15), "true or false"),
        (second(&format!("{head}spec: {{addresses: {{}}}}\n")), "spec.addresses", (15, 19), "found a mapping"),
        (SERVICE.replace("port: 80", "port: x"), "spec.ports[0].port", (7, 12), "a whole number"),
        (
            SERVICE.replace("port: 80", "port: 80000000000"),
            "spec.ports[0].port",
            (7, 12),
            "a whole number from -2147483648",
        ),
        (
            SERVICE.replace("{name: web}", "{name: web, annotations: {a.b/c: 1}}"),
            "metadata.annotations[\"a.b/c\"]",
            (3, 44),
            "quotes",
        ),
    ];
    for (text, field, place, message) in cases {
        let parsed = read(&text);
        let finding = &parsed.findings[0];
        assert_eq!((finding.code, finding.severity), (Code::ManifestInvalid, Severity::Error), "{text}");
        assert_eq!(finding.field, field, "{text}");
        let location = finding.location.as_ref().unwrap();
        assert_eq!((location.line, location.column), place, "{text}\n{finding}");
        assert!(finding.message.contains(message), "{finding}");
    }
}

#[test]
fn broken_yaml_is_reported_on_one_line_with_its_place() {
    for text in ["a: [1, 2\nb: }", "a: b: c", "a:\n\t- b", "{", "a: 1\na: 2", "*x", "%YAML 9\n---\nfoo", "\"open"] {
        let parsed = read(text);
        assert_eq!(codes(&parsed.findings), [(Code::ManifestInvalid, Severity::Error)], "{text}");
        let finding = &parsed.findings[0];
        assert!(finding.location.is_some(), "{finding}");
        assert!(!finding.message.contains('\n') && !finding.message.contains("at line"), "{finding}");
        assert!(!finding.message.contains("Policy"), "{finding}");
    }
}

#[test]
fn bytes_that_are_not_text_are_reported_where_they_are() {
    let cases: [(&[u8], (u32, u32)); 6] = [
        (b"a: b\nc: \xff\n", (2, 4)),
        (b"\0", (1, 1)),
        (b"a\n\nb\0\xff", (3, 2)),
        (b"\x7fELF\xfe\0", (1, 5)),
        (b"a\r\nb\rc\0", (3, 2)),
        ("\u{feff}\u{e9}\0".as_bytes(), (1, 2)),
    ];
    for (bytes, place) in cases {
        let parsed = parse("f", bytes, "n");
        assert_eq!(codes(&parsed.findings), [(Code::ManifestUnreadable, Severity::Error)]);
        let location = parsed.findings[0].location.as_ref().unwrap();
        assert_eq!((location.line, location.column), place);
    }
}

#[test]
fn unknown_fields_are_reported_with_what_was_meant_and_the_object_loads() {
    let cases = [
        (
            POOL.replace("addresses:", "auto-assign: false\n  addresses:"),
            "spec.auto-assign",
            Some("autoAssign"),
            (5, 3),
        ),
        (POOL.replace("spec:", "spek: 1\nspec:"), "spek", Some("spec"), (4, 1)),
        (SERVICE.replace("type:", "colour: red\n  type:"), "spec.colour", None, (5, 3)),
        (SERVICE.replace("port: 80", "port: 80, nodeprt: 1"), "spec.ports[0].nodeprt", Some("nodePort"), (7, 16)),
    ];
    for (text, field, meant, place) in cases {
        let parsed = read(&text);
        assert_eq!(codes(&parsed.findings), [(Code::UnknownField, Severity::Warning)], "{text}");
        let finding = &parsed.findings[0];
        let location = finding.location.as_ref().unwrap();
        assert_eq!((finding.field.as_str(), (location.line, location.column)), (field, place));
        match meant {
            Some(meant) => assert!(finding.message.contains(&format!("did you mean `{meant}`")), "{finding}"),
            None => assert!(!finding.message.contains("did you mean"), "{finding}"),
        }
        assert_eq!(parsed.objects.len(), 1);
    }
}

#[test]
fn values_that_come_back_differently_are_no_unknown_fields() {
    let node = "\
apiVersion: v1
kind: Node
metadata:
  name: n1
  uid: abc-1234
  creationTimestamp: null
  resourceVersion: \"5\"
  annotations:
  labels: {}
  managedFields: [{manager: kubectl, operation: Update, time: 2026-01-02T03:04:05Z, fieldsV1: {f:metadata: {}}}]
spec: {taints: [], unschedulable: null}
status:
  capacity: {cpu: 4, memory: 8Gi, pods: \"110\", share: 0.5}
  conditions: [{type: Ready, status: \"True\", lastHeartbeatTime: 2026-01-02T03:04:05.123456Z}]
  addresses: [{type: InternalIP, address: 10.0.0.1}]
";
    let service = "\
apiVersion: v1
kind: Service
metadata: {name: s, namespace: apps, creationTimestamp: \"2026-01-02T03:04:05Z\", finalizers: []}
spec:
  selector: {}
  externalIPs:
  ports: [{port: 80, targetPort: 8080}, {port: 81, targetPort: http, name: b}]
  ipFamilies: [IPv4]
status: {loadBalancer: {}}
";
    let advertisement = "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: a, namespace: \
        metallb-system}\nspec:\n  ipAddressPools:\n  nodeSelectors: []\nstatus: {}\n";
    for text in [node, service, advertisement] {
        let parsed = read(text);
        assert_eq!(parsed.findings, [], "{text}");
        assert_eq!(parsed.objects.len(), 1);
    }
}

#[test]
fn an_advertisement_or_community_may_leave_out_its_spec() {
    for kind in ["L2Advertisement", "Community"] {
        for spec in ["", "spec:\n", "spec: {}\n"] {
            let text = format!(
                "apiVersion: metallb.io/v1beta1\nkind: {kind}\nmetadata: {{name: a, namespace: metallb-system}}\n{spec}"
            );
            assert_eq!(read(&text).findings, [], "{text}");
            assert_eq!(read(&text).objects.len(), 1, "{text}");
        }
    }
}

#[test]
fn a_peer_of_the_old_version_is_read_as_an_api_server_would_store_it() {
    let old = "apiVersion: metallb.io/v1beta1\nkind: BGPPeer\nmetadata: {name: tor, namespace: metallb-system}\n\
        spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, holdTime: 9s, peerPort: 0,\n  \
        nodeSelectors: [{matchLabels: {rack: a}}], holdtime: 3s}\n";
    let parsed = read(old);
    let fields: Vec<&str> = parsed.findings.iter().map(|finding| finding.field.as_str()).collect();
    assert_eq!(fields, ["spec.holdtime"], "{:?}", parsed.findings);
    let Object::BGPPeer(peer) = &parsed.objects[0].object else { panic!("{:?}", parsed.objects[0].object) };
    let spec = &peer.spec;
    assert_eq!((spec.peer_asn, spec.hold_time.as_deref(), spec.peer_port), (Some(64513), Some("9s"), None));
    let labels = spec.node_selectors[0].match_labels.as_ref().unwrap();
    assert_eq!(labels["rack"], "a");
}

#[test]
fn kinds_that_are_not_used_are_named_and_what_was_meant_is_said() {
    use Code::{ManifestInvalid, NotYet, UnknownKind};
    use Severity::{Error, Note, Warning};
    let cases = [
        ("apps/v1", "Deployment", UnknownKind, Note, "Deployment of apps/v1"),
        ("argoproj.io/v1alpha1", "Application", UnknownKind, Note, "Application"),
        ("v1", "Pod", UnknownKind, Note, "Pod of v1"),
        ("metallb.io/v1beta1", "ServiceL2Status", NotYet, Warning, "neither read nor written"),
        ("metallb.io/v1alpha1", "AddressPool", UnknownKind, Warning, "no longer exists"),
        ("metallb.io/v1beta1", "Wonder", UnknownKind, Warning, "no kind Wonder"),
        ("metallb.io/v1beta1", "IpAddressPool", UnknownKind, Error, "does not exist"),
        ("metallb.io/v1alpha1", "IPAddressPool", UnknownKind, Error, "does not exist"),
        ("v1", "L2Advertisement", UnknownKind, Error, "does not exist"),
        ("v1", "service", UnknownKind, Error, "does not exist"),
        ("apps/v1", "Service", UnknownKind, Warning, "is of v1"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", UnknownKind, Warning, "discovery.k8s.io/v1"),
    ];
    for (version, kind, code, severity, message) in cases {
        let parsed = read(&format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n"));
        assert_eq!(codes(&parsed.findings), [(code, severity)], "{version} {kind}");
        let finding = &parsed.findings[0];
        assert!(finding.message.contains(message), "{finding}");
        assert!(finding.object.starts_with(&format!("{kind}/")), "{finding}");
        assert_eq!(parsed.objects.len(), 0);
    }
    for (text, field) in [
        ("kind: Service\nmetadata: {name: x}\n", "apiVersion"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "kind"),
        ("apiVersion: v1\nkind: 5\n", "kind"),
        ("foo: bar\n", "kind"),
        ("- a\n", ""),
        ("hello\n", ""),
    ] {
        let parsed = read(text);
        assert_eq!(codes(&parsed.findings), [(ManifestInvalid, Error)], "{text}");
        assert_eq!(parsed.findings[0].field, field, "{text}");
    }
}

#[test]
fn names_are_required_and_follow_rfc_1123() {
    let long = "a".repeat(254);
    for (metadata, field) in [
        ("{}", "metadata.name"),
        ("{name: \"\"}", "metadata.name"),
        ("{generateName: x-}", "metadata.name"),
        ("{name: Web}", "metadata.name"),
        ("{name: a_b}", "metadata.name"),
        ("{name: -a}", "metadata.name"),
        ("{name: a..b}", "metadata.name"),
        ("{name: 123}", "metadata.name"),
        (&format!("{{name: {long}}}"), "metadata.name"),
        ("{name: a, namespace: a.b}", "metadata.namespace"),
        ("{name: a, namespace: Ä}", "metadata.namespace"),
        ("5", "metadata"),
    ] {
        let parsed = read(&SERVICE.replace("{name: web}", metadata));
        assert_eq!(codes(&parsed.findings), [(Code::ManifestInvalid, Severity::Error)], "{metadata}");
        assert_eq!(parsed.findings[0].field, field);
    }
    for name in ["a", "a-b.c", "\"1\"", &"a".repeat(253)] {
        assert_eq!(read(&SERVICE.replace("{name: web}", &format!("{{name: {name}}}"))).findings, [], "{name}");
    }
}

#[test]
fn our_kinds_count_in_the_configured_namespace_only() {
    for (metadata, counts) in [
        ("{name: pool}", false),
        ("{name: pool, namespace: }", false),
        ("{name: pool, namespace: default}", false),
        ("{name: pool, namespace: metallb-system}", true),
    ] {
        let parsed = read(&POOL.replace("{name: pool, namespace: metallb-system}", metadata));
        assert_eq!(parsed.objects.len(), usize::from(counts), "{metadata}");
        if !counts {
            assert_eq!(codes(&parsed.findings), [(Code::WrongNamespace, Severity::Warning)], "{metadata}");
            assert!(parsed.findings[0].fix.contains("namespace: metallb-system"), "{}", parsed.findings[0]);
        }
    }
    let in_default = parse("f", POOL.replace(", namespace: metallb-system", "").as_bytes(), "default");
    assert_eq!(in_default.findings, []);
    assert_eq!(in_default.objects[0].object.title(), "IPAddressPool/default/pool");
    assert_eq!(read(SERVICE).objects[0].object.title(), "Service/default/web");
}

#[test]
fn lists_json_comments_empty_documents_and_byte_order_marks_are_read() {
    let item = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let as_item = |text: &str| format!("- \n{}", item(text));
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}{}", as_item(POOL), as_item(SERVICE));
    assert_eq!(read(&list).findings, []);
    assert_eq!(read(&list).objects.len(), 2);
    let place = &read(&list).objects[1].location;
    assert_eq!((place.line, place.column), (11, 3));
    let typed = "apiVersion: v1\nkind: ServiceList\nmetadata: {}\n\
                 items: [{metadata: {name: a}, spec: {}}, {metadata: {name: b}, spec: {}}]";
    assert_eq!(read(typed).objects.len(), 2);
    let nested = format!("{{apiVersion: v1, kind: List, items: [{typed}]}}", typed = "{apiVersion: v1, kind: List}");
    assert_eq!(read(&nested).objects.len(), 0);
    let json =
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Namespace\",\n\t\"metadata\": {\n\t\t\"name\": \"n\"\n\t}\n}\n";
    assert_eq!(read(json).findings, []);
    for text in ["", "\n", "# nothing\n", "---\n", "---\n---\n# c\n---\n", "\u{feff}"] {
        let parsed = read(text);
        assert_eq!((parsed.objects.len(), parsed.findings), (0, vec![]), "{text:?}");
    }
    let many = format!("\u{feff}# head\r\n---\r\n{}---\n---\n{POOL}...\n", SERVICE.replace('\n', "\r\n"));
    assert_eq!(read(&many).findings, []);
    assert_eq!(read(&many).objects.len(), 2);
}

#[test]
fn anchors_and_merge_keys_are_understood_and_point_to_where_they_are_used() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: web, labels: &labels {app: web}}
spec:
  selector:
    <<: *labels
    tier: front
  ports: *labels
";
    let parsed = read(text);
    let location = parsed.findings[0].location.as_ref().unwrap();
    assert_eq!((parsed.findings[0].field.as_str(), location.line, location.column), ("spec.ports", 8, 10));
    let Object::Service(service) = &read(&text.replace("  ports: *labels\n", "")).objects[0].object.clone() else {
        panic!("no Service")
    };
    let selector = service.spec.as_ref().unwrap().selector.clone().unwrap();
    assert_eq!(
        selector.into_iter().collect::<Vec<_>>(),
        [("app", "web"), ("tier", "front")].map(|(a, b)| (a.into(), b.into()))
    );
}

#[test]
fn plain_words_are_booleans_as_for_kubectl_and_in_quotes_they_are_text() {
    let text = POOL.replace("addresses:", "autoAssign: no\n  avoidBuggyIPs: On\n  addresses:").replace("pool", "\"n\"");
    let Object::IPAddressPool(pool) = &read(&text).objects[0].object.clone() else { panic!("no pool") };
    assert_eq!((pool.spec.auto_assign, pool.spec.avoid_buggy_ips), (Some(false), Some(true)));
    assert_eq!(pool.metadata.name.as_deref(), Some("n"));
}

#[test]
fn values_of_the_wrong_type_are_refused_as_an_api_server_refuses_them() {
    let pool = |field: &str| POOL.replace("  addresses:", &format!("  {field}\n  addresses:"));
    let service = |field: &str| SERVICE.replace("  type:", &format!("  {field}\n  type:"));
    for (text, field) in [
        (pool("autoAssign: \"no\""), "spec.autoAssign"),
        (pool("autoAssign: 'true'"), "spec.autoAssign"),
        (pool("autoAssign: 0"), "spec.autoAssign"),
        (pool("avoidBuggyIPs: maybe"), "spec.avoidBuggyIPs"),
        (pool("serviceAllocation: {priority: \"5\"}"), "spec.serviceAllocation.priority"),
        (pool("serviceAllocation: {priority: yes}"), "spec.serviceAllocation.priority"),
        (pool("serviceAllocation: {namespaces: a}"), "spec.serviceAllocation.namespaces"),
        (POOL.replace("name: pool", "name: n"), "metadata.name"),
        (POOL.replace("name: pool", "name: pool, labels: {a: on}"), "metadata.labels.a"),
        (POOL.replace("name: pool", "name: pool, annotations: {a: 1.5}"), "metadata.annotations.a"),
        (SERVICE.replace("port: 80", "port: \"80\""), "spec.ports[0].port"),
        (SERVICE.replace("port: 80", "port: 80.5"), "spec.ports[0].port"),
        (SERVICE.replace("port: 80", "port: 99999999999"), "spec.ports[0].port"),
        (SERVICE.replace("port: 80", "port: true"), "spec.ports[0].port"),
        (SERVICE.replace("targetPort: http", "targetPort: [1]"), "spec.ports[0].targetPort"),
        (SERVICE.replace("targetPort: http", "targetPort: true"), "spec.ports[0].targetPort"),
        (service("allocateLoadBalancerNodePorts: \"false\""), "spec.allocateLoadBalancerNodePorts"),
        (service("loadBalancerIP: 1"), "spec.loadBalancerIP"),
        (service("ipFamilies: IPv4"), "spec.ipFamilies"),
        (service("selector: [a]"), "spec.selector"),
        (service("selector: {app: y}"), "spec.selector.app"),
    ] {
        let parsed = read(&text);
        assert_eq!(codes(&parsed.findings), [(Code::ManifestInvalid, Severity::Error)], "{text}");
        assert_eq!(parsed.findings[0].field, field, "{}", parsed.findings[0]);
        assert!(parsed.findings[0].location.as_ref().unwrap().line >= 3, "{}", parsed.findings[0]);
    }
}

#[test]
fn a_fault_of_a_service_is_placed_at_its_own_field_in_every_style() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: web}\n  spec:\n    type: LoadBalancer\n    ports:\n    - port: 80\n    - port: 99999\n";
    let json = "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"web\"},\n \"spec\": {\"ports\": [{\"port\": 80},\n  {\"port\": 0}]}}";
    for (text, field, place) in [
        (format!("{POOL}---\n{}", SERVICE.replace("port: 80", "port: 0")), "spec.ports[0].port", (13, 12)),
        (list.to_owned(), "spec.ports[1].port", (11, 13)),
        (json.to_owned(), "spec.ports[1].port", (3, 12)),
        (SERVICE.replace("LoadBalancer", "Loadbalancer"), "spec.type", (5, 9)),
        (SERVICE.replace("  ports:\n  - {port: 80, targetPort: http}\n", ""), "spec.ports", (5, 3)),
    ] {
        let parsed = read(&text);
        let finding = &parsed.findings[0];
        assert_eq!((finding.code, finding.severity), (Code::ManifestInvalid, Severity::Error), "{text}");
        assert_eq!(finding.field, field, "{text}");
        let location = finding.location.as_ref().unwrap();
        assert_eq!((location.line, location.column), place, "{finding}");
    }
}

#[test]
fn values_that_a_cluster_would_refuse_are_named_and_disturb_nothing() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nendpoints:\n- addresses: [10.0.0.1, nowhere]\n- addresses: ['fd00::1']\nports: [{port: 0}]\n";
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nstatus:\n  addresses:\n  - {type: Hostname, address: a}\n  - {type: InternalIP, address: not.an.ip}\n";
    for (text, expected) in [
        (SERVICE.replace("targetPort: http", "targetPort: 99999999"), vec![("spec.ports[0].targetPort", 7)]),
        (SERVICE.replace("targetPort: http", "targetPort: -1"), vec![("spec.ports[0].targetPort", 7)]),
        (SERVICE.replace("targetPort: http", "targetPort: Not_A_Name"), vec![("spec.ports[0].targetPort", 7)]),
        (SERVICE.replace("targetPort: http", "targetPort: \"80\""), vec![("spec.ports[0].targetPort", 7)]),
        (SERVICE.replace("targetPort: http", "nodePort: 70000"), vec![("spec.ports[0].nodePort", 7)]),
        (SERVICE.replace("spec:\n", "spec:\n  healthCheckNodePort: -5\n"), vec![("spec.healthCheckNodePort", 5)]),
        (
            SERVICE.replace("spec:\n", "spec:\n  loadBalancerSourceRanges: [x]\n"),
            vec![("spec.loadBalancerSourceRanges[0]", 5)],
        ),
        (
            slice.to_owned(),
            vec![("endpoints[0].addresses[1]", 6), ("endpoints[1].addresses[0]", 7), ("ports[0].port", 8)],
        ),
        (node.to_owned(), vec![("status.addresses[1].address", 7)]),
        (SERVICE.to_owned(), vec![]),
    ] {
        let parsed = read(&text);
        assert_eq!(parsed.objects.len(), 1, "{text}");
        assert!(parsed.findings.iter().all(|it| (it.code, it.severity) == (Code::ManifestInvalid, Severity::Warning)));
        assert!(parsed.findings.iter().all(|it| !it.fix.is_empty()));
        let found = parsed.findings.iter().map(|it| (it.field.as_str(), it.location.as_ref().unwrap().line));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn a_value_that_may_be_a_secret_is_never_repeated() {
    let peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: tor, namespace: metallb-system}\n\
                spec:\n  myASN: 64512\n  peerASN: 64513\n  peerAddress: 10.0.0.1\n";
    let old = peer.replace("v1beta2", "v1beta1");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    for text in [
        format!("{peer}  password: 12345678\n"),
        format!("{peer}  password: [12345678]\n"),
        format!("{old}  password: 12345678\n"),
        format!("{peer}  passwordSecret: '12345678'\n"),
        format!("{peer}  passwordSecret: {{name: 12345678}}\n"),
        format!("{secret}stringData: {{password: 12345678}}\n"),
        format!("{secret}data: {{anything: 12345678}}\n"),
        format!("{secret}data: '12345678'\n"),
    ] {
        let parsed = read(&text);
        assert_eq!(parsed.findings.len(), 1, "{text}");
        let finding = &parsed.findings[0];
        assert_eq!((finding.code, finding.severity), (Code::ManifestInvalid, Severity::Error), "{text}");
        assert!(!finding.to_string().contains("12345678"), "{finding}");
        assert!(!finding.message.is_empty() && finding.location.is_some(), "{finding}");
    }
    let parsed = read(&format!("{peer}  password: 12345678\n"));
    assert!(parsed.findings[0].message.contains("expected text"), "{}", parsed.findings[0]);
    assert!(parsed.findings[0].message.contains("needs quotes"), "{}", parsed.findings[0]);
}

#[test]
fn a_word_of_several_is_read_and_another_is_named_with_its_place() {
    let peer = |more: &str| {
        let text = format!(
            "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: a, namespace: metallb-system}}\nspec: {{myASN: 1, {more}}}\n"
        );
        read(&text)
    };
    let parsed = peer("dynamicASN: internal, peerAddressFrom: {defaultGateway: IPv6}");
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    let parsed = peer("dynamicASN: inside");
    assert_eq!(
        (parsed.findings[0].code, parsed.findings[0].field.as_str()),
        (Code::ManifestInvalid, "spec.dynamicASN")
    );
    assert!(parsed.findings[0].message.contains("inside"), "{:?}", parsed.findings);
}
