//! Tests of what is watched and what is said of it; the rest is tried with real routers.

use std::time::Duration;

use ferrolb_rules::config::Distance;

use super::*;

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
    let way = Way { remote: "127.0.0.1".parse().unwrap(), source: None, device: None };
    let settings = config::Bfd {
        transmit_interval: Duration::from_millis(50),
        receive_interval: Duration::from_millis(50),
        detect_multiplier: 3,
        passive: true,
        distance: Distance::OneHop,
    };
    assert!(bfd.follow(&way).is_none());
    bfd.set(BTreeMap::from([(way.clone(), settings)]));
    let seen = bfd.follow(&way).unwrap();
    bfd.set(BTreeMap::new());
    assert!(bfd.follow(&way).is_none() && bfd.seen().is_empty() && bfd.counters().is_empty());
    drop(bfd);
    assert!(seen.has_changed().is_err(), "nobody is left to tell anything");
}
