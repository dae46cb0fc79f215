//! Who announces, and why nobody does.

use std::collections::BTreeMap;

use ferrolb_rules::slice::Slice;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::super::reports::{Passed, Protocol, Report, Reports};
use super::*;

struct Scene {
    reports: Reports,
    services: BTreeMap<ServiceKey, Arc<dyn View>>,
    config: Arc<config::Config>,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    start: Instant,
}

impl Scene {
    /// Service `a` with an address, a ready endpoint, and a ready speaker on node-a.
    fn new(node: &str) -> Self {
        let mut service = service("a", 1, "annotations: {metallb.io/ip-allocated-from-pool: p}", "");
        service.status = object("loadBalancer: {ingress: [{ip: 10.0.0.1}]}");
        let mut reports = Reports::new(None);
        reports.take_in_slices(Change::Applied(Arc::new(Slice::of(&object(
            "metadata: {name: a-1, namespace: default, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\nendpoints: [{addresses: [10.1.0.1], nodeName: node-a}]",
        )))));
        Self {
            reports,
            services: [(key("a"), compact(&service))].into(),
            config: configuration(&[("p", "10.0.0.1-10.0.0.9")], true),
            nodes: vec![Arc::new(object(node))],
            pods: vec![speaker("True")],
            start: Instant::now(),
        }
    }

    fn report(&mut self, node: &str) {
        self.report_as("l2-1", node);
    }

    fn report_as(&mut self, name: &str, node: &str) {
        let report = Report::layer2(object(&status(node, "").replace("name: one", &format!("name: {name}"))));
        self.reports.take_in_reports(Protocol::Layer2, Change::Applied(Arc::new(report)));
    }

    fn report_by_bgp(&mut self, node: &str, peers: &str) {
        let report = Report::bgp(object(&status(node, &format!(", peers: [{peers}]"))));
        self.reports.take_in_reports(Protocol::Bgp, Change::Applied(Arc::new(report)));
    }

    fn pass(&mut self, seconds: u64) -> Passed {
        let now = self.start + Duration::from_secs(seconds);
        self.reports.pass(&mut self.services, &self.config, self.nodes.clone(), &self.pods, &[], now)
    }

    fn said(&self) -> Option<(bool, &'static str, String)> {
        match self.reports.announced(&key("a")) {
            Announced::Said(verdict) => Some((verdict.holds, verdict.reason, verdict.message)),
            _ => None,
        }
    }
}

fn status(node: &str, more: &str) -> String {
    format!(
        "metadata: {{name: one, namespace: metallb-system, labels: {{metallb.io/node: {node}, metallb.io/service-name: a, metallb.io/service-namespace: default}}}}\nstatus: {{node: {node}, serviceName: a, serviceNamespace: default{more}}}"
    )
}

fn speaker(ready: &str) -> Arc<Pod> {
    Arc::new(object(&format!(
        "metadata: {{name: s, labels: {{app.kubernetes.io/name: metallb, app.kubernetes.io/component: speaker}}}}\nspec: {{nodeName: node-a, containers: []}}\nstatus: {{conditions: [{{type: Ready, status: '{ready}'}}]}}"
    )))
}

#[test]
fn what_a_live_speaker_reports_is_announced_and_what_a_dead_one_reported_is_not() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    scene.report("node-a");
    assert_eq!(scene.pass(0).changed, [key("a")]);
    assert_eq!(scene.said(), Some((true, "Announced", "announced by node-a".to_owned())));
    assert!(scene.pass(1).changed.is_empty());
    scene.pods = vec![speaker("False")];
    scene.pass(2);
    scene.pass(5);
    let (holds, reason, message) = scene.said().unwrap();
    assert_eq!((holds, reason), (false, "NoSpeaker"));
    assert!(message.starts_with("LB1130: "), "{message}");
}

#[test]
fn silence_becomes_a_condition_after_two_seconds_and_one_event_after_ten() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    assert!(scene.pass(0).said.is_empty());
    assert_eq!(scene.said(), None);
    scene.pass(2);
    assert_eq!(scene.said().map(|(holds, reason, _)| (holds, reason)), Some((false, "AnnouncerSilent")));
    let said = scene.pass(10).said;
    assert_eq!((said.len(), said[0].event.reason, said[0].event.warning), (1, "NotAnnounced", true));
    assert!(said[0].event.message.ends_with("(LB1131)"), "{}", said[0].event.message);
    assert!(scene.pass(20).said.is_empty());
    scene.report("node-a");
    scene.pass(21);
    assert_eq!(scene.said().map(|(holds, ..)| holds), Some(true));
}

#[test]
fn two_nodes_that_announce_at_once_are_named_once_it_has_lasted() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    scene.report("node-a");
    scene.report_as("l2-2", "node-b");
    let on_b = |pod: &Arc<Pod>| {
        let mut pod = Pod::clone(pod);
        pod.spec.as_mut().unwrap().node_name = Some("node-b".to_owned());
        Arc::new(pod)
    };
    scene.pods.push(on_b(&scene.pods[0]));
    scene.pass(0);
    assert_eq!(
        scene.said(),
        Some((true, "Announced", "announced by node-a and node-b".to_owned())),
        "they may hand over"
    );
    assert!(scene.pass(2).said.is_empty());
    let (holds, reason, message) = scene.said().unwrap();
    assert_eq!((holds, reason), (true, "TwoAnnouncers"));
    assert!(message.starts_with("LB1212: announced by node-a and node-b"), "{message}");
    let said = scene.pass(10).said;
    assert_eq!((said.len(), said[0].event.reason, said[0].event.warning), (1, "AnnouncedTwice", true));
    assert!(said[0].event.message.ends_with("(LB1212)"), "{}", said[0].event.message);
    assert!(scene.pass(20).said.is_empty());
}

#[test]
fn a_cluster_in_which_every_node_is_excluded_is_announced_with_a_warning() {
    let excluded = "metadata: {name: node-a, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}}";
    let mut scene = Scene::new(excluded);
    scene.report("node-a");
    scene.pass(0);
    let (holds, reason, message) = scene.said().unwrap();
    assert_eq!((holds, reason), (true, "AllNodesExcluded"));
    assert!(message.starts_with("LB1117: announced by node-a"), "{message}");
}

#[test]
fn where_speakers_are_told_not_to_announce_from_excluded_nodes_the_node_and_the_label_are_the_reason() {
    let excluded = "metadata: {name: node-a, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ''}}";
    let mut scene = Scene::new(excluded);
    let mut pod = Pod::clone(&scene.pods[0]);
    let told = vec!["speaker".to_owned(), "--announce-if-all-excluded=false".to_owned()];
    let container = k8s_openapi::api::core::v1::Container { args: Some(told), ..Default::default() };
    pod.spec.as_mut().unwrap().containers = vec![container];
    scene.pods = vec![Arc::new(pod)];
    scene.pass(0);
    scene.pass(2);
    assert_eq!(scene.said().map(|(holds, reason, _)| (holds, reason)), Some((false, "NodeExcluded")));
    assert!(scene.pass(10).said[0].event.message.ends_with("(LB1104)"));
}

#[test]
fn the_reason_is_the_plans_where_the_configuration_or_the_endpoints_are_the_cause() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    scene.config = configuration(&[("p", "10.0.0.1-10.0.0.9")], false);
    scene.pass(0);
    scene.pass(2);
    assert_eq!(scene.said().map(|(_, reason, _)| reason), Some("NoAdvertisement"));
    scene.config = configuration(&[("p", "10.0.0.1-10.0.0.9")], true);
    scene.reports.take_in_slices(Change::Listed(Vec::new()));
    scene.pass(3);
    assert_eq!(scene.said().map(|(_, reason, _)| reason), Some("NoReadyEndpoints"));
}

#[test]
fn where_speakers_are_no_pods_what_they_wrote_proves_that_they_live() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    scene.pods.clear();
    scene.report("node-a");
    scene.pass(0);
    assert_eq!(scene.said().map(|(holds, ..)| holds), Some(true));
}

#[test]
fn a_service_that_only_routers_are_told_of_is_announced_and_says_why_it_is_not() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    scene.config = by_bgp(true);
    scene.pass(0);
    scene.pass(2);
    let (_, reason, message) = scene.said().unwrap();
    assert_eq!(reason, "BgpSessionDown");
    assert!(message.contains("from node-a, and no router has been told: tor"), "{message}");
    scene.report_by_bgp("node-a", "tor");
    scene.pass(3);
    assert_eq!(scene.said(), Some((true, "Announced", "announced by node-a".to_owned())));
    scene.report_by_bgp("node-a", "");
    scene.config = by_bgp(false);
    scene.pass(4);
    scene.pass(6);
    assert_eq!(scene.said().map(|(_, reason, _)| reason), Some("NoBgpPeer"));
    scene.pods.clear();
    scene.config = by_bgp(true);
    scene.pass(7);
    assert_eq!(scene.said().map(|(_, reason, _)| reason), Some("NoSpeaker"));
}

#[test]
fn a_list_of_one_protocol_says_nothing_about_the_other() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    scene.report("node-a");
    scene.reports.take_in_reports(Protocol::Bgp, Change::Listed(Vec::new()));
    scene.pass(0);
    assert_eq!(scene.said().map(|(holds, ..)| holds), Some(true));
    scene.reports.take_in_reports(Protocol::Layer2, Change::Listed(Vec::new()));
    scene.pass(1);
    scene.pass(3);
    assert_eq!(scene.said().map(|(holds, ..)| holds), Some(false));
}

/// A pool that is announced by BGP alone, with a router or without one.
fn by_bgp(router: bool) -> Arc<config::Config> {
    let peer = || {
        Arc::new(object(
            "metadata: {name: tor, namespace: metallb-system}\nspec: {myASN: 1, peerASN: 2, peerAddress: 10.9.0.1}",
        ))
    };
    let resources = Resources {
        pools: vec![Arc::new(object(
            "metadata: {name: p, namespace: metallb-system}\nspec: {addresses: [10.0.0.1-10.0.0.9]}",
        ))],
        bgp_advertisements: vec![Arc::new(object("metadata: {name: all, namespace: metallb-system}\nspec: {}"))],
        bgp_peers: router.then(peer).into_iter().collect(),
        nodes: vec![Arc::new(object("metadata: {name: node-a}"))],
        ..Resources::default()
    };
    Arc::new(config::parse(&resources).unwrap())
}

#[test]
fn two_nodes_that_tell_routers_are_as_it_should_be() {
    let mut scene = Scene::new("metadata: {name: node-a}");
    scene.report("node-a");
    let report = Report::bgp(object(&status("node-b", ", peers: [tor]")));
    scene.reports.take_in_reports(Protocol::Bgp, Change::Applied(Arc::new(report)));
    let mut pod = Pod::clone(&scene.pods[0]);
    pod.spec.as_mut().unwrap().node_name = Some("node-b".to_owned());
    scene.pods.push(Arc::new(pod));
    scene.pass(0);
    assert!(scene.pass(10).said.is_empty());
    assert_eq!(scene.said(), Some((true, "Announced", "announced by node-a and node-b".to_owned())));
}
