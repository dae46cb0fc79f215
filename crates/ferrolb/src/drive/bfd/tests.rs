//! Tests of what is watched and what is said of it; the rest is tried with real routers.

use std::time::Duration;

use ferrolb_rules::config::{Config, Distance, Resources};

use super::*;

fn object<T: serde::de::DeserializeOwned>(yaml: &str) -> Arc<T> {
    Arc::new(serde_saphyr::from_str(yaml).unwrap())
}

fn config() -> Config {
    let peer = |name: &str, spec: &str| {
        object(&format!(
            "metadata: {{name: {name}, namespace: metallb-system}}\n\
             spec: {{myASN: 64512, peerASN: 64513, {spec}}}"
        ))
    };
    let profile = |name: &str, millis: u32| {
        object(&format!("metadata: {{name: {name}, namespace: metallb-system}}\nspec: {{transmitInterval: {millis}}}"))
    };
    let resources = Resources {
        bfd_profiles: Some(vec![profile("fast", 50), profile("slow", 1000)]),
        bgp_peers: vec![
            peer("a", "peerAddress: 10.0.0.1, bfdProfile: fast"),
            peer("b", "peerAddress: 10.0.0.1, peerPort: 1179, bfdProfile: slow"),
            peer("c", "peerAddress: 10.0.0.1, sourceAddress: 10.0.0.9, bfdProfile: slow"),
            peer("d", "peerAddress: 10.0.0.2"),
            peer("elsewhere", "peerAddress: 10.0.0.3, bfdProfile: fast"),
        ],
        ..Resources::default()
    };
    config::parse(&resources).unwrap()
}

#[test]
fn peers_of_this_node_that_are_the_same_way_share_a_session() {
    let here = ["a", "b", "c", "d"].map(|name| (name.to_owned(), Arc::default()));
    let plan = BgpPlan { peers: here.into(), ..BgpPlan::default() };
    let wanted: Vec<(String, Option<IpAddr>, Duration)> = wanted(&config(), &plan)
        .into_iter()
        .map(|(way, settings)| (way.remote.to_string(), way.source, settings.transmit_interval))
        .collect();
    let (fast, slow) = (Duration::from_millis(50), Duration::from_secs(1));
    let source = "10.0.0.9".parse().ok();
    assert_eq!(wanted, [("10.0.0.1".to_owned(), None, fast), ("10.0.0.1".to_owned(), source, slow)]);
}

#[test]
fn a_way_that_is_not_watched_says_why() {
    let say = |state, remote_state, hindrance: Option<&str>| {
        let change = Change { state, remote_state, diagnostic: Diagnostic::None };
        let seen = Seen { change, breaks: 0, hindrance: hindrance.map(str::to_owned) };
        seen.finding("BGPPeer/router", "10.0.0.1".parse().unwrap()).map(|finding| (finding.code, finding.message))
    };
    let so = |why: &str| Some((Code::BfdSessionDown, format!("BFD does not watch the way to 10.0.0.1: {why}")));
    assert_eq!(say(State::Up, State::Up, None), None);
    assert_eq!(say(State::Down, State::Down, None), so("nothing is heard from the router"));
    assert_eq!(say(State::Down, State::AdminDown, None), so("the router has switched it off"));
    let deaf = so("the router is heard and does not say that it hears us");
    assert_eq!((say(State::Init, State::Down, None), say(State::Down, State::Up, None)), (deaf.clone(), deaf));
    assert_eq!(say(State::Down, State::Down, Some("a port is taken")), so("a port is taken"));
}

#[test]
fn a_thread_that_watches_nothing_any_more_ends_with_its_owner() {
    let mut bfd = Bfd::default();
    let way = Way { remote: "127.0.0.1".parse().unwrap(), source: None };
    let settings = config::Bfd {
        transmit_interval: Duration::from_millis(50),
        receive_interval: Duration::from_millis(50),
        detect_multiplier: 3,
        passive: true,
        distance: Distance::OneHop,
    };
    assert!(bfd.follow(&way).is_none());
    bfd.set(BTreeMap::from([(way, settings)]));
    let seen = bfd.follow(&way).unwrap();
    bfd.set(BTreeMap::new());
    assert!(bfd.follow(&way).is_none() && bfd.seen().is_empty() && bfd.counters().is_empty());
    drop(bfd);
    assert!(seen.has_changed().is_err(), "nobody is left to tell anything");
}
