//! Tests of the names of values.

use serde_json::json;

use super::*;

fn fix_of(path: &str) -> Option<(Code, String)> {
    let parts: Vec<&str> = path.split('.').collect();
    finding(&parts, true, "values").map(|finding| (finding.code, finding.fix))
}

#[test]
fn a_name_with_dots_is_taken_apart_by_set_only_and_in_a_file_is_no_value() {
    let found = finding(&["frr-k8s.enabled"], true, "values").unwrap();
    assert_eq!(found.code, Code::UnknownValue);
    assert_eq!(found.fix, "write `enabled` below `frr-k8s`: in a file a dot is part of the name");
    let label = ["speaker", "nodeSelector", "node-role.kubernetes.io/control-plane"];
    assert_eq!(finding(&label, true, "values"), None, "labels are the user's");
}

#[test]
fn values_of_the_chart_are_known_and_groups_are_entered() {
    assert_eq!(standing(&["speaker"]), Standing::Group);
    assert_eq!(standing(&["speaker", "frr"]), Standing::Group);
    assert_eq!(standing(&["speaker", "frr", "enabled"]), Standing::Value);
    assert_eq!(standing(&["speaker", "nodeSelector"]), Standing::Value);
    assert_eq!(standing(&["speaker", "nodeSelector", "kubernetes.io/os"]), Standing::Value);
    assert_eq!(standing(&["speaker", "nodeSelectors"]), Standing::Unknown);
}

#[test]
fn the_first_users_two_unknown_values_are_explained() {
    let (code, fix) = fix_of("speaker.hostNetwork").unwrap();
    assert_eq!(code, Code::UnknownValue);
    assert!(fix.contains("always on the host's network"), "{fix}");
    let (code, fix) = fix_of("podSecurityPolicy").unwrap();
    assert_eq!(code, Code::UnknownValue);
    assert!(fix.contains("pod-security.kubernetes.io/enforce=privileged"), "{fix}");
}

/// The chart's own tests read the same list.
#[test]
fn a_wrong_name_is_answered_as_the_chart_answers_it() {
    let examples = include_str!("../../../../tests/chart/testdata/hints/hints.txt");
    for (name, wanted) in examples.lines().filter_map(|line| line.split_once(" = ")) {
        let hidden = name.replace("\\.", "\0");
        let parts: Vec<String> = hidden.split('.').map(|part| part.replace('\0', ".")).collect();
        let path: Vec<&str> = parts.iter().map(String::as_str).collect();
        let found = finding(&path, true, "values").unwrap_or_else(|| panic!("{name} is known"));
        assert_eq!((found.code, found.fix.as_str()), (Code::UnknownValue, wanted), "{name}");
    }
    assert!(examples.lines().count() > 30);
}

fn remarks_of(values: &serde_json::Value) -> Vec<String> {
    remarks(values).iter().map(|one| format!("{}: {}; {}", one.path.join("."), one.message, one.fix)).collect()
}

#[test]
fn images_of_metallb_are_known_wherever_they_were_copied_to() {
    for repository in [
        "quay.io/metallb/speaker",
        "harbor.local/quay.io/metallb/speaker",
        "docker.io/rancher/mirrored-metallb-speaker:v0.14.8",
        "bitnami/metallb-speaker",
        "localhost:5000/metallb/speaker@sha256:0",
    ] {
        let ours = concat!("ghcr.io/ferrolb/ferrolb:v", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            remarks_of(&json!({"speaker": {"image": {"repository": repository, "tag": "v0.14.8"}}})),
            [format!(
                "speaker.image.repository: {repository} is MetalLB's image, which this chart cannot run; \
                 FerroLB's is used, {ours}; remove speaker.image"
            )]
        );
    }
    for repository in ["harbor.local/metallb/ferrolb", "registry.example.org:5000/lb", "metallb.example.org/lb"] {
        assert_eq!(remarks_of(&json!({"controller": {"image": {"repository": repository}}})), [""; 0]);
    }
    let tag = remarks_of(&json!({"controller": {"image": {"tag": "v0.14.8"}}}));
    assert!(tag.len() == 1 && tag[0].contains("v0.14.8 looks like a version of MetalLB"), "{tag:?}");
    assert_eq!(remarks_of(&json!({"controller": {"image": {"tag": "v0.1.0"}}})), [""; 0]);
}

#[test]
fn a_speaker_that_is_not_root_and_a_probe_of_its_own_port_are_named() {
    for (context, name) in [(json!({"runAsUser": 1000}), "runAsUser"), (json!({"runAsNonRoot": true}), "runAsNonRoot")]
    {
        let said = remarks(&json!({"speaker": {"securityContext": context}}));
        assert_eq!((said.len(), said[0].severity), (1, Severity::Warning));
        assert_eq!(said[0].path.last().unwrap(), name);
    }
    let fine =
        json!({"speaker": {"securityContext": {"runAsUser": 0}}, "controller": {"securityContext": {"runAsUser": 9}}});
    assert_eq!(remarks_of(&fine), [""; 0]);
    assert_eq!(
        remarks_of(&json!({"controller": {"readinessProbe": {"port": "1"}}})),
        [
            "controller.readinessProbe.port: both probes use controller.livenessProbe.port (17472); remove controller.readinessProbe.port"
        ]
    );
    assert_eq!(remarks_of(&json!({"controller": {"readinessProbe": {"port": 17472}}})), [""; 0]);
}

#[test]
fn values_for_frr_are_notes_and_only_where_they_are_on() {
    let path = ["speaker", "frr", "enabled"];
    let found = finding(&path, true, "values").unwrap();
    assert_eq!((found.code, found.severity), (Code::ValueWithoutEffect, Severity::Note));
    assert_eq!(finding(&path, false, "values"), None);
}

#[test]
fn every_hint_is_about_a_value_that_does_not_exist_and_every_idle_value_does() {
    assert!(meant::table().count() > 10);
    for (wrong, _) in meant::table() {
        let parts: Vec<&str> = wrong.split('.').collect();
        assert_eq!(standing(&parts), Standing::Unknown, "{wrong}");
    }
    for (idle, _) in WITHOUT_EFFECT {
        let parts: Vec<&str> = idle.split('.').collect();
        assert_eq!(standing(&parts), Standing::Value, "{idle}");
    }
}

fn refusals_of(values: &serde_json::Value) -> Vec<(String, String)> {
    refused(values).into_iter().map(|one| (one.path.join("."), one.message)).collect()
}

#[test]
fn a_wrong_type_is_refused_with_its_name_and_what_it_must_be() {
    for (values, path, message) in [
        (json!({"speaker": {"logLevel": "loud"}}), "speaker.logLevel", "it may be all, debug, info, warn, error, none"),
        (json!({"speaker": {"frr": "yes"}}), "speaker.frr", "is the text \"yes\"; it must be a mapping"),
        (json!({"prometheus": {"metricsPort": "https"}}), "prometheus.metricsPort", "it must be a whole number"),
        (json!({"prometheus": {"metricsPort": 70000}}), "prometheus.metricsPort", "must be a number from 1 to 65535"),
        (
            json!({"controller": {"livenessProbe": {"port": "http"}}}),
            "controller.livenessProbe.port",
            "from 1 to 65535",
        ),
        (
            json!({"controller": {"tolerations": {"key": "a"}}}),
            "controller.tolerations",
            "is a mapping; it must be a list",
        ),
        (json!({"speaker": {"tolerations": ["edge"]}}), "speaker.tolerations.0", "it must be a mapping"),
        (json!({"speaker": {"nodeSelector": {"a": ["b"]}}}), "speaker.nodeSelector.a", "is a list; it must be a text"),
        (json!({"controller": {"labels": {"a": {}}}}), "controller.labels.a", "is a mapping"),
        (
            json!({"prometheus": {"prometheusRule": {"addressPoolUsage": {"thresholds": [{"labels": {}}]}}}}),
            "prometheus.prometheusRule.addressPoolUsage.thresholds.0",
            "has no percent",
        ),
        (
            json!({"prometheus": {"prometheusRule": {"addressPoolUsage": {"thresholds": [{"percent": 101}]}}}}),
            "prometheus.prometheusRule.addressPoolUsage.thresholds.0.percent",
            "from 0 to 100",
        ),
    ] {
        let found = refusals_of(&values);
        let [(at, why)] = found.as_slice() else { panic!("{values}: {found:?}") };
        assert!(at == path && why.contains(message), "{at}: {why}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_as_the_chart_does() {
    for (values, message, is_certain) in [
        (json!({"configInline": {"peers": []}}), "configInline is how MetalLB was configured before 0.13", true),
        (
            json!({"prometheus": {"rbacPrometheus": false, "podMonitor": {"enabled": true}, "serviceMonitor": {"enabled": true}}}),
            "are both true",
            true,
        ),
        (json!({"speaker": {"memberlist": {"enabled": false}, "nodeSelector": {"a": "b"}}}), "would elect nodes", true),
        (
            json!({"prometheus": {"podMonitor": {"enabled": true}, "namespace": "monitoring"}}),
            "prometheus.serviceAccount is empty",
            false,
        ),
    ] {
        let found = refused(&values);
        assert!(found.len() == 1 && found[0].message.contains(message), "{values}: {found:?}");
        assert_eq!(found[0].is_certain, is_certain, "{values}");
        assert!(!refusal(&found[0], "values").fix.is_empty());
    }
}

#[test]
fn what_the_api_server_would_refuse_or_could_never_run_is_refused() {
    for (values, message, is_certain) in [
        (json!({"speaker": {"image": {"repository": ""}}}), "speaker.image.repository is empty", true),
        (
            json!({"controller": {"resources": {"limits": {"memory": "128 MB"}}}}),
            "controller.resources.limits.memory is \"128 MB\", which is no quantity",
            true,
        ),
        (json!({"speaker": {"resources": {"requests": {"cpu": -1}}}}), "requests.cpu is \"-1\"", true),
        (
            json!({"controller": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}}),
            "controller.strategy has rollingUpdate, which the type Recreate does not allow",
            true,
        ),
        (
            json!({"speaker": {"updateStrategy": {"type": "Recreate"}}}),
            "speaker.updateStrategy.type is \"Recreate\"; it may be RollingUpdate or OnDelete",
            true,
        ),
        (
            json!({"prometheus": {"metricsPort": 7946}}),
            "prometheus.metricsPort and speaker.memberlist.mlBindPort are both 7946",
            false,
        ),
        (
            json!({"controller": {"enabled": false}, "prometheus": {"metricsPort": 1}, "speaker": {"livenessProbe": {"port": "1"}}}),
            "prometheus.metricsPort and speaker.livenessProbe.port are both 1",
            true,
        ),
    ] {
        let found = refused(&values);
        assert!(found.len() == 1 && found[0].message.contains(message), "{values}: {found:?}");
        assert_eq!((found[0].is_certain, found[0].fix.is_empty()), (is_certain, false), "{values}");
    }
    let everywhere = refused(&json!({"prometheus": {"metricsPort": 17472}}));
    assert_eq!(everywhere.len(), 2, "{everywhere:?}");
    for amount in ["100m", "1", "0.5", ".5", "1.", "128Mi", "1e3", "2E", "1E+2", "5Gi", "3k"] {
        assert_eq!(refused(&json!({"controller": {"resources": {"limits": {"cpu": amount}}}})), [], "{amount}");
    }
    for amount in ["", ".", "1.2.3", "m", "1mi", "1e", "1KB", "one", "-1"] {
        assert_eq!(refused(&json!({"controller": {"resources": {"limits": {"cpu": amount}}}})).len(), 1, "{amount}");
    }
    let fine = json!({
        "prometheus": {"metricsPort": 7946}, "speaker": {"memberlist": {"enabled": false}},
        "controller": {"resources": {"limits": {"memory": 134_217_728, "cpu": 1.5, "x": null}}, "strategy": {"type": "Recreate", "rollingUpdate": null}},
    });
    assert_eq!(refused(&fine), []);
}

#[test]
fn what_metallbs_chart_takes_is_taken() {
    let values = json!({
        "configInline": {}, "speaker": null, "banana": 1, "frr-k8s": "",
        "tls": {"curvePreferences": 29}, "networkpolicies": {"enabled": "true", "apiPort": "6443"},
        "prometheus": {"podMonitor": {"interval": 30, "tlsConfig": "", "annotations": []}, "prometheusRule": {"flapping": {"enabled": true}}},
        "controller": {
            "livenessProbe": {"port": "17472"}, "nodeSelector": {"ssd": true, "zone": 1, "none": null}, "labels": false,
            "image": {"tag": null, "pullPolicy": null}, "command": null,
        },
    });
    assert_eq!(refused(&values), []);
}
