//! Tests of the checks: the first user's cluster, and every trouble that the API server can show.

use super::*;
use crate::fixtures::{namespace, node, object};

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers: \"\"";

fn pod(component: &str, ready: &str) -> Arc<Pod> {
    Arc::new(object(&format!(
        "metadata: {{name: metallb-{component}-1, labels: {{app.kubernetes.io/name: metallb, app.kubernetes.io/component: {component}}}}}\n\
         spec: {{nodeName: nuc-1, containers: [{{name: {component}, image: example.org/ferrolb}}]}}\n\
         status: {{phase: Pending, conditions: [{{type: Ready, status: \"{ready}\"}}], containerStatuses: \
         [{{name: a, image: i, imageID: i, ready: false, restartCount: 0, state: {{waiting: {{reason: ImagePullBackOff}}}}}}]}}"
    )))
}

fn workload(namespace: &str, name: &str, image: &str) -> Workload {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Workload { kind: "daemonset", namespace, name, images: vec![image.to_owned()] }
}

fn sound() -> Surroundings {
    Surroundings {
        version: "v1.32.3".to_owned(),
        namespace: "metallb-system".to_owned(),
        namespace_object: Some(namespace("metallb-system", "pod-security.kubernetes.io/enforce: privileged")),
        nodes: vec![node("a", ""), node("b", "")],
        pods: vec![pod("controller", "True"), pod("speaker", "True")],
        kube_proxy: Some("mode: \"\"\nipvs:\n  strictARP: false\n".to_owned()),
        objects: 2,
        ..Surroundings::default()
    }
}

fn codes(change: impl FnOnce(&mut Surroundings)) -> Vec<(Mark, Code)> {
    let mut seen = sound();
    change(&mut seen);
    check(&seen).into_iter().filter_map(|check| Some((check.mark, check.finding?.code))).collect()
}

#[test]
fn a_sound_cluster_has_nothing_to_fix() {
    assert_eq!(codes(|_| ()), []);
    let checks = check(&sound());
    assert!(checks.iter().all(|check| check.mark == Mark::Fine), "{checks:?}");
}

#[test]
fn each_trouble_of_the_surroundings_has_its_code() {
    let enforce = "pod-security.kubernetes.io/enforce: baseline";
    assert_eq!(
        codes(|seen| seen.namespace_object = Some(namespace("metallb-system", enforce))),
        [(Mark::Wrong, Code::PodSecurityForbids)]
    );
    assert_eq!(
        codes(|seen| seen.namespace_object = Some(namespace("metallb-system", ""))),
        [(Mark::Note, Code::PodSecurityForbids)]
    );
    assert_eq!(
        codes(|seen| seen.nodes = vec![node("nuc-1", EXCLUDED)]),
        [(Mark::Note, Code::AllNodesExcluded), (Mark::Note, Code::NoFailover)]
    );
    assert_eq!(
        codes(|seen| seen.nodes = vec![node("a", EXCLUDED), node("b", ""), node("c", "")]),
        [(Mark::Note, Code::NodeExcluded)]
    );
    let ipvs = "mode: ipvs\nipvs:\n  strictARP: false\n";
    assert_eq!(codes(|seen| seen.kube_proxy = Some(ipvs.to_owned())), [(Mark::Wrong, Code::StrictArpOff)]);
    let strict = "mode: \"ipvs\"\nipvs:\n  strictARP: true\n";
    assert_eq!(codes(|seen| seen.kube_proxy = Some(strict.to_owned())), []);
    let svclb = workload("kube-system", "svclb-traefik-1234", "rancher/klipper-lb");
    assert_eq!(codes(|seen| seen.workloads = vec![svclb]), [(Mark::Wrong, Code::RivalLoadBalancer)]);
    let vip = workload("kube-system", "vip", "ghcr.io/kube-vip/kube-vip:v1.0.0");
    assert_eq!(codes(|seen| seen.workloads = vec![vip]), [(Mark::Note, Code::RivalLoadBalancer)]);
    let frr = workload("metallb-system", "metallb-frr-k8s", "quay.io/metallb/frr-k8s");
    assert_eq!(codes(|seen| seen.workloads = vec![frr]), [(Mark::Note, Code::FrrK8sPresent)]);
    let left = |number| format!("metallb-system/metallb-node-{number}");
    assert_eq!(codes(|seen| seen.frr_configurations = (0..5).map(left).collect()), [(Mark::Note, Code::FrrK8sPresent)]);
    let webhook = |behind| ("metallb-webhook-configuration".to_owned(), behind);
    for behind in [Behind::Nothing, Behind::Nobody] {
        assert_eq!(codes(|seen| seen.strict_webhooks = vec![webhook(behind)]), [(Mark::Wrong, Code::WebhookLeftover)]);
    }
    assert_eq!(codes(|seen| seen.strict_webhooks = vec![webhook(Behind::Somebody)]), []);
    let asked = |asked: Asked| codes(|seen| seen.asked = Some(asked.clone()));
    assert_eq!(asked(Asked::Refused), []);
    assert_eq!(asked(Asked::Passed), [(Mark::Note, Code::WebhookNotReached)]);
    assert_eq!(asked(Asked::Failed("timeout".to_owned())), [(Mark::Wrong, Code::WebhookNotReached)]);
    assert_eq!(codes(|seen| seen.version = "v1.27.4+k3s1".to_owned()), [(Mark::Wrong, Code::KubernetesUntried)]);
    assert_eq!(codes(|seen| seen.version = "v1.30.0".to_owned()), [(Mark::Note, Code::KubernetesUntried)]);
}

/// Whatever it is called and labelled, as with charts of others.
#[test]
fn metallb_beside_us_and_a_second_ferrolb_are_told_with_what_to_do() {
    let theirs = || vec![workload("lb", "announcer", "quay.io/metallb/speaker:v0.14.8")];
    assert_eq!(codes(|seen| seen.workloads = theirs()), [(Mark::Wrong, Code::RivalLoadBalancer)]);
    let mut seen = Surroundings { workloads: theirs(), ..sound() };
    let told = |seen: &Surroundings| check(seen).into_iter().find(|check| check.finding.is_some()).unwrap();
    let finding = told(&seen).finding.unwrap();
    assert_eq!(
        finding.message,
        "daemonset lb/announcer runs MetalLB (quay.io/metallb/speaker:v0.14.8), which takes the same Services"
    );
    assert!(finding.fix.contains("remove it"), "{}", finding.fix);
    // Before an upgrade it is where it should be.
    (seen.before, seen.namespace) = (true, "lb".to_owned());
    assert_eq!(told(&seen).mark, Mark::Note);
    let ours = |namespace| workload(namespace, "metallb-speaker", "ghcr.io/ferrolb/ferrolb:v0.1.0");
    assert_eq!(codes(|seen| seen.workloads = vec![ours("metallb-system")]), []);
    assert_eq!(codes(|seen| seen.workloads = vec![ours("other")]), [(Mark::Wrong, Code::RivalLoadBalancer)]);
}

#[test]
fn a_pod_of_metallb_is_none_of_ours_whatever_its_labels_say() {
    let (ours, mut theirs) = (pod("speaker", "True"), pod("speaker", "True"));
    let containers = &mut Arc::make_mut(&mut theirs).spec.as_mut().unwrap().containers;
    containers[0].image = Some("quay.io/metallb/speaker:v0.16.1".to_owned());
    assert!(is_component(&ours, "speaker") && !is_component(&theirs, "speaker"));
}

#[test]
fn what_only_the_asking_machine_sees_counts_more_where_it_is_a_node() {
    let here = |node: Option<&str>, port: Port, wireless| Vantage {
        node: node.map(str::to_owned),
        ports: vec![("a".to_owned(), Port::Reached), ("b".to_owned(), port)],
        interfaces: vec![("wlan0".to_owned(), wireless)],
    };
    assert_eq!(codes(|seen| seen.here = here(Some("c"), Port::Reached, false)), []);
    assert_eq!(
        codes(|seen| seen.here = here(Some("c"), Port::Silent, true)),
        [(Mark::Wrong, Code::MembershipPortBlocked), (Mark::Note, Code::WirelessInterface)]
    );
    let unreachable = Port::Unreachable("No route to host".to_owned());
    assert_eq!(
        codes(|seen| seen.here = here(None, unreachable.clone(), true)),
        [(Mark::Note, Code::MembershipPortBlocked)],
        "the interfaces of a machine that is no node concern nobody"
    );
    let text = ports(&here(Some("c"), unreachable, false)).unwrap().text;
    assert_eq!(text, "UDP port 7946 is not reached from c: b (No route to host)");
}

#[test]
fn pods_that_are_not_ready_say_what_they_wait_for() {
    assert_eq!(codes(|seen| seen.pods.clear()), [(Mark::Wrong, Code::ControllerAway), (Mark::Wrong, Code::NoSpeaker)]);
    let mut seen = sound();
    seen.pods = vec![pod("controller", "True"), pod("speaker", "False")];
    let checks = check(&seen);
    let speaker = checks.iter().find(|check| check.group == "speaker").unwrap();
    assert_eq!(speaker.text, "0 of 1 ready on nuc-1 (ImagePullBackOff)");
    assert_eq!(speaker.finding.as_ref().map(|finding| finding.code), Some(Code::SpeakerIncomplete));
}

#[test]
fn the_first_users_cluster_before_installation() {
    let mut seen = sound();
    seen.before = true;
    seen.nodes = vec![node("nuc-1", EXCLUDED)];
    seen.kube_proxy = Some("mode: iptables\n".to_owned());
    let screen: Vec<String> = check(&seen).iter().map(ToString::to_string).collect();
    assert_eq!(screen.join("\n") + "\n" + &verdict(&check(&seen)), "\
kubernetes      ✓ v1.32.3, one node (nuc-1)
namespace       ✓ metallb-system allows privileged pods
node labels     ! every node has node.kubernetes.io/exclude-from-external-load-balancers; addresses are announced all the same  LB1117
                  fix  speaker.ignoreExcludeLB: true, or `kubectl label nodes --all node.kubernetes.io/exclude-from-external-load-balancers-`
failover        ! no failover: 1 eligible node  LB0057
                  fix  nothing, if one node is meant; else add nodes, or let more of them announce
kube-proxy      ✓ iptables mode
rivals          ✓ k3s servicelb is not present
today           ✓ 2 pools and advertisements are there already
7 checks: 5 fine, 2 notes, 0 must be fixed");
}

#[test]
fn values_that_do_nothing_are_notes() {
    assert_eq!(values(&[]).iter().map(|check| check.mark).collect::<Vec<_>>(), [Mark::Fine]);
    let finding = crate::values::finding(&["speaker", "hostNetwork"], true, "Application/argocd/metallb").unwrap();
    let other = Finding::new(Code::NoPool, Severity::Error, "x", "not about values");
    let checks = values(&[finding, other]);
    assert_eq!(checks.len(), 1);
    assert_eq!(
        checks[0].to_string(),
        "values          ! the chart has no value speaker.hostNetwork, so it does nothing  LB3001\n                  fix  remove it; the speaker is always on the host's network"
    );
}

#[test]
fn a_flag_is_read_from_the_words_that_a_container_is_started_with() {
    let pod: Pod =
        object("metadata: {name: s}\nspec: {containers: [{name: s, image: i, args: [--a=1, -b, '--c=', --long=x=y]}]}");
    let flag = |name| flag([&pod], name);
    assert_eq!([flag("a"), flag("b"), flag("c"), flag("long")], [Some("1"), Some(""), Some(""), Some("x=y")]);
    assert_eq!([flag("d"), flag("lon")], [None, None]);
}

#[test]
fn a_pool_that_lies_where_nobody_reads_it_is_named() {
    let message = "lies in namespace `default`; only `metallb-system` is read, so the object is ignored";
    let finding = Finding::new(Code::WrongNamespace, Severity::Warning, "IPAddressPool/default/p", message);
    let seen = Surroundings { elsewhere: vec![finding.clone()], ..sound() };
    let named: Vec<Check> = check(&seen).into_iter().filter(|check| check.finding.as_ref() == Some(&finding)).collect();
    let [only] = named.as_slice() else { panic!("{named:?}") };
    assert!(only.mark == Mark::Note && only.text == format!("IPAddressPool/default/p {message}"), "{only}");
}

#[test]
fn values_that_the_chart_refuses_and_files_that_cannot_be_read_must_be_put_right() {
    let refused = crate::values::refused(&serde_json::json!({"speaker": {"logLevel": "loud"}})).remove(0);
    let refused = crate::values::refusal(&refused, "values of the chart metallb");
    let broken = Finding::new(Code::ManifestInvalid, Severity::Error, "values.yaml", "the YAML is broken");
    let marks: Vec<Mark> = values(&[refused, broken]).iter().map(|check| check.mark).collect();
    assert_eq!(marks, [Mark::Wrong, Mark::Wrong]);
}

#[test]
fn the_flags_about_excluded_nodes_are_heeded() {
    let excluded = |seen: &mut Surroundings| seen.nodes = vec![node("a", EXCLUDED), node("b", EXCLUDED)];
    assert_eq!(codes(excluded), [(Mark::Note, Code::AllNodesExcluded)]);
    let ignored = |seen: &mut Surroundings| (excluded(seen), seen.ignore_exclude_lb = true).1;
    assert_eq!(codes(ignored), []);
    let silent = |seen: &mut Surroundings| (excluded(seen), seen.silent_if_all_excluded = true).1;
    assert_eq!(codes(silent), [(Mark::Wrong, Code::NodeExcluded)]);
    let one = |seen: &mut Surroundings| {
        seen.nodes = vec![node("a", EXCLUDED), node("b", "")];
        seen.ignore_exclude_lb = true;
    };
    assert_eq!(codes(one), [], "both may announce, so there is a failover");
}

#[test]
fn nothing_is_said_to_be_fine_that_may_not_be_looked_at() {
    let kinds = ["Node", "Pod", "DaemonSet", "Deployment", "ValidatingWebhookConfiguration", "Namespace"];
    let refusal = Finding::new(Code::AccessDenied, Severity::Error, "the API server", "you may not list them");
    let seen = Surroundings {
        nodes: Vec::new(),
        pods: Vec::new(),
        namespace_object: None,
        denied: kinds.map(str::to_owned).into(),
        refusal: Some(refusal),
        before: true,
        ..sound()
    };
    let checks = check(&seen);
    assert_eq!(checks[0].finding.as_ref().map(|finding| finding.code), Some(Code::AccessDenied), "it comes first");
    let fine: Vec<&str> = checks.iter().filter(|check| check.mark != Mark::Unknown).map(|check| check.group).collect();
    assert_eq!(fine, ["kubernetes", "kube-proxy"], "{checks:?}");
    assert!(!is_complete(&seen) && is_complete(&sound()));
}
