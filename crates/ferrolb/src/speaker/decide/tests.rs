//! Which configuration is in force, and what counts at a start.

use ferrolb_rules::api;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;

use super::*;

fn object<T: DeserializeOwned>(yaml: &str) -> Arc<T> {
    Arc::new(serde_saphyr::from_str(yaml).unwrap())
}

fn pool(name: &str, addresses: &str) -> Arc<api::IPAddressPool> {
    object(&format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{addresses: [{addresses}]}}"
    ))
}

fn resources(pools: Vec<Arc<api::IPAddressPool>>) -> Resources {
    let all = "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all, namespace: metallb-system}";
    Resources { pools, l2_advertisements: vec![object(all)], nodes: vec![node()], ..Resources::default() }
}

fn node() -> Arc<Node> {
    object("metadata: {name: a}")
}

fn service(ip: &str) -> Arc<dyn View> {
    object::<Service>(&format!(
        "metadata: {{name: web, namespace: default}}\nspec: {{type: LoadBalancer}}\nstatus: {{loadBalancer: {{ingress: [{{ip: {ip}}}]}}}}"
    ))
}

fn key() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn inputs(resources: Resources, ip: &str) -> Inputs {
    let slice: Arc<EndpointSlice> = object("addressType: IPv4\nendpoints: [{addresses: [10.1.0.1]}]");
    Inputs {
        resources,
        services: BTreeMap::from([(key(), service(ip))]),
        endpoints: BTreeMap::from([(key(), vec![Arc::new(Slice::with(key(), "web-1", &slice.endpoints))])]),
        nodes: BTreeMap::from([(NodeName::new("a"), node())]),
        members: Some(BTreeSet::from([NodeName::new("a")])),
        owners: None,
        interfaces: BTreeSet::from(["eth0".to_owned()]),
    }
}

fn decider() -> Decider {
    Decider::new(NodeName::new("a"), Options::default())
}

fn addresses(decision: &Decision) -> Vec<String> {
    decision.plan.announce.keys().map(ToString::to_string).collect()
}

fn codes(decision: &Decision) -> Vec<Code> {
    decision.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_configuration_that_does_not_load_leaves_the_last_good_one_in_force() {
    let (mut decider, now) = (decider(), Instant::now());
    let good = decider.decide(inputs(resources(vec![pool("p", "10.0.0.0/24")]), "10.0.0.1"), now);
    assert_eq!((addresses(&good), good.verdict.is_ok()), (vec!["10.0.0.1".to_owned()], true));
    let bad = decider.decide(inputs(resources(vec![pool("p", "nonsense")]), "10.0.0.1"), now);
    assert_eq!(addresses(&bad), ["10.0.0.1"]);
    assert!(bad.configured && bad.verdict.is_err());
    assert!(bad.findings[0].message.contains("failed to parse the configuration"), "{:?}", bad.findings);
}

#[test]
fn without_any_good_configuration_nothing_is_announced() {
    let bad = decider().decide(inputs(resources(vec![pool("p", "nonsense")]), "10.0.0.1"), Instant::now());
    assert!(addresses(&bad).is_empty() && !bad.configured);
}

#[test]
fn a_configuration_that_takes_an_announced_address_away_waits_until_the_service_was_moved() {
    let (mut decider, now) = (decider(), Instant::now());
    decider.decide(inputs(resources(vec![pool("p", "10.0.0.0/24")]), "10.0.0.1"), now);
    let moved = || resources(vec![pool("p", "10.0.1.0/24")]);
    let held = decider.decide(inputs(moved(), "10.0.0.1"), now);
    assert_eq!((addresses(&held), codes(&held)), (vec!["10.0.0.1".to_owned()], vec![Code::ConfigurationHeld]));
    assert!(held.verdict.is_err());
    assert_eq!(decider.next_deadline(), Some(now + HOLD_INTERVAL));
    let taken = decider.decide(inputs(moved(), "10.0.1.1"), now);
    assert_eq!((addresses(&taken), taken.verdict), (vec!["10.0.1.1".to_owned()], Ok(())));
    assert_eq!(decider.next_deadline(), None);
}

#[test]
fn a_service_that_nobody_moves_holds_up_the_configuration_for_a_bounded_time() {
    let (mut decider, now) = (decider(), Instant::now());
    decider.decide(inputs(resources(vec![pool("p", "10.0.0.0/24")]), "10.0.0.1"), now);
    let moved = resources(vec![pool("p", "10.0.1.0/24")]);
    decider.decide(inputs(moved.clone(), "10.0.0.1"), now);
    let later = decider.decide(inputs(moved, "10.0.0.1"), now + HOLD_INTERVAL);
    assert!(addresses(&later).is_empty() && later.verdict.is_ok());
    assert_eq!(later.plan.service(&key()).unwrap().code(), Some(Code::AddressNotConfigured));
    assert_eq!(decider.next_deadline(), None);
}

#[test]
fn a_pool_that_is_renamed_keeps_its_addresses_announced() {
    let (mut decider, now) = (decider(), Instant::now());
    decider.decide(inputs(resources(vec![pool("old", "10.0.0.0/24")]), "10.0.0.1"), now);
    assert_eq!(addresses(&decider.decide(inputs(resources(vec![]), "10.0.0.1"), now)), ["10.0.0.1"], "between the two");
    let renamed = decider.decide(inputs(resources(vec![pool("new", "10.0.0.0/24")]), "10.0.0.1"), now);
    assert_eq!((addresses(&renamed), renamed.verdict), (vec!["10.0.0.1".to_owned()], Ok(())));
}

#[test]
fn objects_that_are_new_and_mean_the_same_are_the_same_configuration() {
    let (mut decider, now) = (decider(), Instant::now());
    decider.decide(inputs(resources(vec![pool("p", "10.0.0.0/24")]), "10.0.0.1"), now);
    let first = decider.config.clone().unwrap();
    decider.decide(inputs(resources(vec![pool("p", "10.0.0.0/24")]), "10.0.0.1"), now);
    assert!(Arc::ptr_eq(&first, &decider.config.clone().unwrap()));
}

#[test]
fn what_counts_at_a_start_depends_on_what_is_known() {
    let since = Instant::now();
    let late = since + API_INTERVAL;
    let choose = |synced, configured, saved, now| Basis::choose(synced, configured, saved, since, now);
    assert_eq!(choose(false, false, true, since), Basis::Nothing, "the API server gets its time");
    assert_eq!(choose(false, false, true, late), Basis::Saved);
    assert_eq!(choose(false, false, false, late), Basis::Nothing, "nothing was saved");
    assert_eq!(choose(true, true, true, since), Basis::Plan);
    assert_eq!(choose(true, true, true, late), Basis::Plan);
    assert_eq!(choose(true, false, true, late), Basis::SavedAndStill);
    assert_eq!(choose(true, false, false, late), Basis::Plan);
}

#[test]
fn of_what_was_saved_only_what_services_still_have_goes_on() {
    let one = |name: &str| Announcement { interfaces: None, services: [ServiceKey::new("default", name)].into() };
    let address = |ip: &str| ip.parse::<IpAddr>().unwrap();
    let saved = BTreeMap::from([
        (address("10.0.0.1"), one("web")),
        (address("10.0.0.2"), one("web")),
        (address("10.0.0.3"), one("gone")),
    ]);
    let services = BTreeMap::from([(key(), service("10.0.0.1"))]);
    assert_eq!(still(&saved, &services), BTreeMap::from([(address("10.0.0.1"), one("web"))]));
}

#[test]
fn an_advertisement_that_is_replaced_is_missed_only_if_it_does_not_come_back() {
    let (mut decider, now) = (decider(), Instant::now());
    let pools = vec![pool("p", "10.0.0.0/24")];
    let advertised = resources(pools.clone());
    let unadvertised = || Resources { l2_advertisements: Vec::new(), ..resources(pools.clone()) };
    decider.decide(inputs(advertised.clone(), "10.0.0.1"), now);
    let gone = decider.decide(inputs(unadvertised(), "10.0.0.1"), now);
    assert_eq!((addresses(&gone), codes(&gone)), (vec!["10.0.0.1".to_owned()], vec![Code::ConfigurationHeld]));
    assert!(gone.verdict.is_ok());
    assert_eq!(decider.next_deadline(), Some(now + UNADVERTISED_INTERVAL));
    let back = decider.decide(inputs(advertised, "10.0.0.1"), now + Duration::from_secs(1));
    assert_eq!((addresses(&back), decider.next_deadline()), (vec!["10.0.0.1".to_owned()], None));
    // It goes for good.
    let later = now + Duration::from_secs(10);
    assert_eq!(addresses(&decider.decide(inputs(unadvertised(), "10.0.0.1"), later)), ["10.0.0.1"]);
    let over = decider.decide(inputs(unadvertised(), "10.0.0.1"), later + UNADVERTISED_INTERVAL);
    assert!(addresses(&over).is_empty(), "{:?}", over.plan.announce);
}

#[test]
fn a_bgp_advertisement_that_is_replaced_is_missed_only_if_it_does_not_come_back() {
    let (mut decider, now) = (decider(), Instant::now());
    let pools = vec![pool("p", "10.0.0.0/24")];
    let metadata = |name: &str| format!("metadata: {{name: {name}, namespace: metallb-system}}");
    let peer = format!("{}\nspec: {{myASN: 1, peerASN: 2, peerAddress: 10.9.0.1}}", metadata("tor"));
    let routed = |advertised: bool| Resources {
        l2_advertisements: Vec::new(),
        bgp_advertisements: advertised
            .then(|| object(&format!("{}\nspec: {{}}", metadata("all"))))
            .into_iter()
            .collect(),
        bgp_peers: vec![object(&peer)],
        ..resources(pools.clone())
    };
    let told = |decision: &Decision| decision.bgp.peers["tor"].len();
    let first = decider.decide(inputs(routed(true), "10.0.0.1"), now);
    assert_eq!((told(&first), codes(&first)), (1, vec![]));
    let gone = decider.decide(inputs(routed(false), "10.0.0.1"), now);
    assert_eq!((told(&gone), codes(&gone)), (1, vec![Code::ConfigurationHeld]));
    let over = decider.decide(inputs(routed(false), "10.0.0.1"), now + UNADVERTISED_INTERVAL);
    assert_eq!(told(&over), 0);
    let bad = decider.decide(inputs(Resources { pools: vec![pool("p", "nonsense")], ..routed(true) }, "10.0.0.1"), now);
    assert!(bad.verdict.is_err() && bad.bgp.peers.contains_key("tor"), "sessions outlive what does not load");
}

#[test]
fn a_secret_that_cannot_be_used_is_told_on_the_nodes_of_its_peer_and_everything_else_is_in_force() {
    let metadata = |name: &str| format!("metadata: {{name: {name}, namespace: metallb-system}}");
    let spec = "spec: {myASN: 1, peerASN: 2, peerAddress: 10.9.0.1";
    let guarded = format!("{spec}, passwordSecret: {{name: key}}, nodeSelectors: [{{matchLabels: {{role: edge}}}}]}}");
    let secret = format!("{}\ntype: kubernetes.io/basic-auth\nstringData: {{password: p}}", metadata("key"));
    let all = |pools, role: &str, secrets: Vec<_>| Resources {
        bgp_advertisements: vec![object(&format!("{}\nspec: {{}}", metadata("all")))],
        bgp_peers: vec![
            object(&format!("{}\n{guarded}", metadata("guarded"))),
            object(&format!("{}\n{spec}}}", metadata("tor"))),
        ],
        secrets: Some(secrets),
        nodes: vec![object(&format!("metadata: {{name: a, labels: {{role: {role}}}}}"))],
        ..resources(pools)
    };
    let p = || vec![pool("p", "10.0.0.0/24")];
    let (mut decider, now) = (decider(), Instant::now());
    let elsewhere = decider.decide(inputs(all(p(), "core", vec![]), "10.0.0.1"), now);
    assert_eq!((codes(&elsewhere), elsewhere.verdict), (vec![], Ok(())));
    // The node is relabelled.
    let here = decider.decide(inputs(all(p(), "edge", vec![]), "10.0.0.1"), now);
    assert_eq!(codes(&here), [Code::PeerSecretUnusable]);
    let said = here.verdict.clone().unwrap_err();
    assert!(said.contains("secret ref not found") && said.contains("BGPPeer/metallb-system/guarded"), "{said}");
    assert!(here.configured && !here.stale, "nothing older is in force");
    assert_eq!((addresses(&here).len(), here.bgp.peers["tor"].len()), (1, 1));
    // As long as that is in force because the newest has to wait for a moment, it is still so.
    let unadvertised = Resources { l2_advertisements: vec![], bgp_advertisements: vec![], ..all(p(), "edge", vec![]) };
    let held = decider.decide(inputs(unadvertised, "10.0.0.1"), now);
    assert_eq!((codes(&held)[0], held.verdict.is_err(), held.stale), (Code::ConfigurationHeld, true, false));
    let bad = decider.decide(inputs(all(vec![pool("p", "nonsense")], "edge", vec![]), "10.0.0.1"), now);
    assert!(bad.stale && !bad.verdict.unwrap_err().contains("secret ref"), "what does not load is said first");
    let mended = decider.decide(inputs(all(p(), "edge", vec![object(&secret)]), "10.0.0.1"), now);
    assert_eq!((codes(&mended), mended.verdict, mended.stale), (vec![], Ok(()), false));
}
