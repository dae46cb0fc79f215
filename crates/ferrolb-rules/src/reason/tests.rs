//! Tests of the table of reasons: that it is whole, that its texts have their shape, and that its examples are true.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::config;

/// Numbers from the first to the last, and the table that has their texts.
const RANGES: &[(u16, u16, &[Explanation])] = &[
    (1, 19, system::TABLE),
    (20, 22, cluster::TABLE),
    (23, 30, speaker::TABLE),
    (31, 39, flags::TABLE),
    (40, 49, webhooks::TABLE),
    (51, 60, surroundings::TABLE),
    (61, 69, startup::TABLE),
    (1001, 1007, pending::TABLE),
    (1008, 1099, refused::TABLE),
    (1101, 1110, announce::TABLE),
    (1111, 1129, wire::TABLE),
    (1130, 1199, reporting::TABLE),
    (1200, 1299, sightings::TABLE),
    (1301, 1399, super::bgp::TABLE),
    (2001, 2999, annotations::TABLE),
    (3001, 3999, super::values::TABLE),
    (4001, 4099, super::config::TABLE),
    (4101, 4299, advertise::TABLE),
    (4301, 4399, peers::TABLE),
];

fn entries() -> impl Iterator<Item = &'static Explanation> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// What stands indented under a heading, without its indentation.
fn example(long: &str, heading: &str) -> String {
    let lines = long.lines().skip_while(|line| *line != heading).skip(1);
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    block.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The manifests of an example; none where it shows commands or settings.
fn manifests(text: &str) -> Option<Vec<Value>> {
    let manifest = text.starts_with("apiVersion:");
    manifest.then(|| text.split("\n---\n").map(|one| serde_saphyr::from_str(one).unwrap()).collect())
}

fn of_kind<T: DeserializeOwned>(objects: &[Value], kind: &str) -> Vec<Arc<T>> {
    let wanted = objects.iter().filter(|object| object["kind"] == kind);
    wanted.map(|object| Arc::new(serde_json::from_value(object.clone()).unwrap())).collect()
}

/// What objects of BGP say about themselves, in words that do not need the other objects.
fn alone(objects: &[Value]) -> Vec<Finding> {
    let peers = of_kind(objects, "BGPPeer");
    let advertisements = of_kind(objects, "BGPAdvertisement");
    let peers = peers.iter().flat_map(|peer| config::check_peer(peer));
    peers.chain(advertisements.iter().flat_map(|one| config::check_bgp_advertisement(one))).collect()
}

fn resources(objects: &[Value]) -> config::Resources {
    config::Resources {
        pools: of_kind(objects, "IPAddressPool"),
        l2_advertisements: of_kind(objects, "L2Advertisement"),
        bgp_advertisements: of_kind(objects, "BGPAdvertisement"),
        bgp_peers: of_kind(objects, "BGPPeer"),
        bfd_profiles: of_kind(objects, "BFDProfile"),
        communities: of_kind(objects, "Community"),
        nodes: of_kind(objects, "Node"),
        ..config::Resources::default()
    }
}

#[test]
fn every_code_has_exactly_one_explanation() {
    let mut count = BTreeMap::<Code, usize>::new();
    for entry in entries() {
        *count.entry(entry.code).or_default() += 1;
    }
    for code in Code::ALL {
        assert_eq!(count.get(code), Some(&1), "{code} {}", code.name());
        assert_eq!(code.explanation().code, *code);
        assert!(!std::ptr::eq(code.explanation(), &system::UNEXPLAINED), "{code}");
    }
    assert_eq!(count.len(), Code::ALL.len());
}

#[test]
fn every_code_is_explained_in_the_table_of_its_range_in_order() {
    for code in Code::ALL {
        let (_, _, table) = RANGES.iter().find(|(low, high, _)| (*low..=*high).contains(&code.number())).unwrap();
        assert!(table.iter().any(|entry| entry.code == *code), "{code} is in another table");
    }
    assert!(entries().map(|entry| entry.code).is_sorted());
}

#[test]
fn numbers_and_names_are_unique_and_numbers_ascend() {
    assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn summaries_and_fixes_are_one_plain_line() {
    for entry in entries() {
        for (what, text) in [("summary", entry.summary), ("fix", entry.fix)] {
            assert!(!text.is_empty(), "{} has no {what}", entry.code);
            assert_eq!(text.lines().count(), 1, "{} {what}", entry.code);
            assert_eq!(text, text.trim(), "{} {what}", entry.code);
            assert!(!text.ends_with('.'), "{} {what} ends with a full stop", entry.code);
            // The label's name alone has 55, and both ways to be rid of it belong there.
            let limit =
                if text.contains("node.kubernetes.io/exclude-from-external-load-balancers") { 120 } else { 110 };
            assert!(text.chars().count() <= limit, "{} {what} is too long for a terminal", entry.code);
        }
        assert!(entry.summary.starts_with(char::is_uppercase), "{} {}", entry.code, entry.summary);
    }
}

#[test]
fn long_texts_have_their_shape() {
    for Explanation { code, long, .. } in entries() {
        let story = long.lines().take_while(|line| *line != "Wrong:").count();
        assert!((8..=25).contains(&story), "{code}: {story} lines before the examples");
        assert!(long.lines().count() <= 40, "{code}: {} lines in all", long.lines().count());
        for line in long.lines() {
            assert!(line.chars().count() <= 100, "{code}: {line}");
            assert_eq!(line, line.trim_end(), "{code}: blanks at the end of a line");
            assert!(!line.contains('\t'), "{code}: a tab");
        }
        let order: Vec<&str> = long.lines().filter(|line| matches!(*line, "Wrong:" | "Right:")).collect();
        assert_eq!(order, ["Wrong:", "Right:"], "{code}");
        assert!(long.contains("\nSee it: "), "{code} does not say how to see it");
        assert!(long.contains("\nWhat to do"), "{code} does not say what to do");
        assert_ne!(example(long, "Wrong:"), "", "{code}");
        assert_ne!(example(long, "Right:"), "", "{code}");
        assert_ne!(example(long, "Wrong:"), example(long, "Right:"), "{code}");
    }
}

#[test]
fn codes_that_texts_mention_exist() {
    for Explanation { code, long, fix, .. } in entries() {
        for word in long.split(|c: char| !c.is_alphanumeric()).chain(fix.split(|c: char| !c.is_alphanumeric())) {
            let number = word.strip_prefix("LB").filter(|rest| rest.chars().all(|c| c.is_ascii_digit()));
            if number.is_some() {
                assert!(word.parse::<Code>().is_ok(), "{code} mentions {word}");
            }
        }
    }
}

#[test]
fn manifests_in_examples_parse() {
    let mut parsed = 0;
    for Explanation { code, long, .. } in entries() {
        for heading in ["Wrong:", "Right:"] {
            let text = example(long, heading);
            if (*code, heading) == (Code::ManifestInvalid, "Wrong:") {
                assert!(serde_saphyr::from_str::<Value>(&text).is_err(), "{text}");
                continue;
            }
            for object in manifests(&text).unwrap_or_default() {
                assert!(object["kind"].is_string() && object["metadata"]["name"].is_string(), "{code} {object}");
                parsed += 1;
            }
        }
    }
    assert!(parsed > 80, "{parsed}");
}

#[test]
fn right_examples_are_manifests_of_their_kinds() {
    for Explanation { code, long, .. } in entries() {
        let Some(objects) = manifests(&example(long, "Right:")) else { continue };
        let _ = resources(&objects);
        let services = of_kind::<k8s_openapi::api::core::v1::Service>(&objects, "Service");
        for object in objects.iter().filter(|object| object["apiVersion"].as_str().unwrap().starts_with("metallb.io/"))
        {
            assert_eq!(object["metadata"]["namespace"], "metallb-system", "{code}");
        }
        for service in services {
            let kind = service.spec.as_ref().unwrap().type_.as_deref();
            assert_eq!(kind, Some("LoadBalancer"), "{code}");
        }
    }
}

#[test]
fn right_examples_load_and_wrong_ones_of_the_configuration_have_their_code() {
    for Explanation { code, long, .. } in entries() {
        let Some(right) = manifests(&example(long, "Right:")) else { continue };
        let loaded = config::parse(&resources(&right));
        let mut findings =
            loaded.unwrap_or_else(|invalid| panic!("{code}: the right example does not load: {invalid}")).findings;
        findings.extend(alone(&right));
        assert!(findings.iter().all(|finding| finding.code != *code), "{code}: {findings:?}");
        if code.number() >= 4000 {
            let wrong = manifests(&example(long, "Wrong:")).unwrap();
            let mut findings = match config::parse(&resources(&wrong)) {
                Ok(config) => config.findings,
                Err(invalid) => invalid.0,
            };
            findings.extend(alone(&wrong));
            assert!(findings.iter().any(|finding| finding.code == *code), "{code}: {findings:?}");
        }
    }
}

#[test]
fn a_code_is_read_from_its_number_and_from_its_name() {
    for text in ["LB1104", "lb1104", "1104", "NodeExcluded", "nodeexcluded", " LB1104 "] {
        assert_eq!(text.parse(), Ok(Code::NodeExcluded), "{text}");
    }
    for text in ["LB0012", "lb12", "12"] {
        assert_eq!(text.parse(), Ok(Code::MembershipOff), "{text}");
    }
    for code in Code::ALL {
        assert_eq!(code.to_string().parse(), Ok(*code));
        assert_eq!(code.name().parse(), Ok(*code));
    }
}

#[test]
fn what_is_no_code_is_refused_with_a_hint() {
    for text in ["", "LB", "LB9999", "LB99999", "LB-1", "XX1104", "NodeExcludedd", "LB1104x"] {
        assert_eq!(text.parse::<Code>(), Err(UnknownCode(text.to_owned())), "{text}");
    }
    let message = "LB9999".parse::<Code>().unwrap_err().to_string();
    assert_eq!(message, "\"LB9999\" is not a known code; codes look like LB1104, and `ferrolb explain` lists them all");
}

#[test]
fn codes_and_findings_survive_json() {
    for code in Code::ALL {
        let json = serde_json::to_string(code).unwrap();
        assert_eq!(json, format!("\"{code}\""));
        assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
    }
    assert!(serde_json::from_str::<Code>("\"LB9999\"").is_err());
    let bare = Finding::new(Code::NoPool, Severity::Error, "Service/default/web", "there is no IPAddressPool");
    let json = serde_json::to_value(&bare).unwrap();
    assert_eq!(json["code"], "LB1001");
    assert_eq!(json["severity"], "error");
    assert!(json.get("field").is_none() && json.get("location").is_none());
    let full = bare.clone().at_field("spec").at(Location { file: "a.yaml".to_owned(), line: 3, column: 5 });
    for finding in [bare, full] {
        let json = serde_json::to_string(&finding).unwrap();
        assert_eq!(serde_json::from_str::<Finding>(&json).unwrap(), finding);
    }
}

#[test]
fn a_finding_says_where_what_and_how() {
    let bare = Finding::new(Code::PoolEmpty, Severity::Error, "IPAddressPool/p", "it is empty").with_fix("fill it");
    assert_eq!(bare.to_string(), "LB4001 IPAddressPool/p: it is empty. Fix: fill it");
    let field = bare.clone().at_field("spec.addresses");
    assert_eq!(field.to_string(), "LB4001 IPAddressPool/p spec.addresses: it is empty. Fix: fill it");
    let location = Location { file: "pool.yaml".to_owned(), line: 7, column: 3 };
    assert_eq!(
        bare.at(location.clone()).to_string(),
        "pool.yaml:7:3: LB4001 IPAddressPool/p: it is empty. Fix: fill it"
    );
    assert_eq!(
        field.at(location).to_string(),
        "pool.yaml:7:3: LB4001 IPAddressPool/p spec.addresses: it is empty. Fix: fill it"
    );
}

#[test]
fn a_finding_has_the_fix_of_its_code_unless_it_is_told_another() {
    let finding = Finding::new(Code::NoPool, Severity::Error, "Service/default/web", "no");
    assert_eq!(finding.fix, Code::NoPool.explanation().fix);
    assert_eq!(finding.with_fix("other").fix, "other");
}

/// A command with names in it can be pasted; and it is the code's own advice all the same.
#[test]
fn the_fix_of_a_finding_on_a_service_has_its_names() {
    let finding = Finding::new(Code::NoReadyEndpoints, Severity::Error, "Service/shop/web", "no");
    let command = "`kubectl get endpointslices -n shop -l kubernetes.io/service-name=web`";
    assert!(finding.fix.contains(command), "{}", finding.fix);
    for (code, fix) in TABLES.iter().flat_map(|table| table.iter()).map(|entry| (entry.code, entry.fix)) {
        let finding = Finding::new(code, Severity::Error, "Service/shop/web", "no");
        assert!(!finding.fix.contains("-n NS") && !finding.fix.contains("NAME"), "{}", finding.fix);
        assert!(code.gives(&finding.fix) && code.gives(fix), "{fix}");
        assert!(!code.gives("look at another thing"));
    }
    assert!(Code::NodeExcluded.gives(&Code::NodeExcluded.explanation().fix.replace("NODE", "n1")));
}

/// Codes that only a cluster can say: their fix may be a command of kubectl's.
const CLUSTER_ONLY: [Code; 16] = [
    Code::ForeignOutputAnnotation,
    Code::KindMissing,
    Code::ApiServerAway,
    Code::MembershipKeyMissing,
    Code::SavedPlanInForce,
    Code::ObjectMalformed,
    Code::WebhookCertificateMissing,
    Code::PodSecurityForbids,
    Code::ControllerAway,
    Code::SpeakerIncomplete,
    Code::StrictArpOff,
    Code::WebhookLeftover,
    Code::ProfileInUse,
    Code::NoSpeaker,
    Code::NoFailover,
    Code::RivalLoadBalancer,
];

#[test]
fn a_host_without_kubernetes_is_told_nothing_that_only_a_cluster_has() {
    for code in Code::ALL {
        let on_hosts = code.fix_on_hosts();
        let foreign = ["kubectl", "DaemonSet", "Helm"].iter().any(|word| on_hosts.contains(word));
        assert!(!foreign || CLUSTER_ONLY.contains(code), "{code}: {on_hosts}");
        assert!(on_hosts.len() <= 110, "{code}: {} characters", on_hosts.len());
    }
}
