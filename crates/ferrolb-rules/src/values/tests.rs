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

#[test]
fn typing_mistakes_and_values_in_the_wrong_group_are_recognised() {
    for (wrong, right) in [
        ("ignore-exclude-lb", "speaker.ignoreExcludeLB"),
        ("speaker.ignoreExludeLB", "speaker.ignoreExcludeLB"),
        ("speaker.memberlist.mlbindport", "speaker.memberlist.mlBindPort"),
        ("speakers", "speaker"),
        ("loadbalancerclass", "loadBalancerClass"),
        ("nodeSelector", "controller.nodeSelector or speaker.nodeSelector"),
    ] {
        let (code, fix) = fix_of(wrong).unwrap();
        assert_eq!(code, Code::UnknownValue, "{wrong}");
        assert!(fix.contains(right), "{wrong}: {fix}");
    }
}

#[test]
fn what_is_far_from_everything_is_told_to_go() {
    assert_eq!(fix_of("blueberries").unwrap().1, "remove it; `helm show values` lists the values that exist");
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
    for (wrong, _) in MEANT {
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
