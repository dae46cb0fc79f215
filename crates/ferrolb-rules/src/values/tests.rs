//! Tests of the names of values.

use super::*;

fn fix_of(path: &str) -> Option<(Code, String)> {
    let parts: Vec<&str> = path.split('.').collect();
    finding(&parts, true, "values").map(|finding| (finding.code, finding.fix))
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
