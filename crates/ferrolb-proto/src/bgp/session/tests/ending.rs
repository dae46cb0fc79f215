//! How a session ends: shutdown, restart, drain, BFD, a changed configuration, and what the router does.

use super::*;

fn graceful() -> Config {
    Config { graceful_restart: Some(120 * SECOND), ..config() }
}

#[test]
fn a_shutdown_says_why_and_does_not_come_back() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Stop(Cease::AdministrativeShutdown, "maintenance"));
    assert_eq!(bench.notification().unwrap().text().as_deref(), Some("maintenance"));
    assert!(bench.events.contains(&Output::Close(OURS)));
    bench.at(1000 * SECOND);
    assert_eq!((bench.session.state(), bench.session.next_deadline()), (State::Idle, None));
    bench.tell(Input::Start);
    bench.at(Duration::ZERO);
    assert_eq!(bench.session.state(), State::Connect);
}

#[test]
fn a_router_with_the_n_bit_gets_a_hard_reset_or_it_would_keep_our_routes() {
    for (notification, expected) in [(true, (6, 9)), (false, (6, 3))] {
        let mut bench = Bench::established(graceful(), &with_restart(notification));
        bench.tell(Input::Stop(Cease::PeerDeconfigured, ""));
        assert_eq!(bench.codes(), Some(expected));
        assert_eq!(bench.notification().unwrap().inner(), Notification::cease(Cease::PeerDeconfigured));
    }
    let mut unasked = Bench::established(config(), &with_restart(true));
    unasked.tell(Input::Stop(Cease::PeerDeconfigured, ""));
    assert_eq!(unasked.codes(), Some((6, 3)), "we did not offer graceful restart");
}

#[test]
fn a_restart_closes_without_a_word_where_the_router_keeps_our_routes() {
    let mut kept = Bench::established(graceful(), &with_restart(true));
    kept.types();
    kept.tell(Input::Leave(SECOND, "restart"));
    assert_eq!((kept.types(), kept.last_down()), (vec![], Some(&Reason::Left)));
    assert!(kept.events.contains(&Output::Close(OURS)));
    let mut lost = Bench::established(graceful(), &their_open());
    lost.tell(Input::Leave(SECOND, "restart"));
    assert_eq!(lost.codes(), Some((6, 2)), "this router was told nothing, so there is nothing to wait for");
}

#[test]
fn a_restart_is_a_drain_where_the_router_keeps_nothing() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Routes(one_route()));
    bench.written.clear();
    bench.tell(Input::Leave(SECOND, "restart"));
    assert_eq!((bench.types(), bench.session.state()), (vec![Update], State::Established));
    bench.at(SECOND);
    assert_eq!((bench.codes(), bench.session.state()), (Some((6, 2)), State::Idle));
    assert_eq!(bench.notification().unwrap().text().as_deref(), Some("restart"));
    assert_eq!(bench.session.next_deadline(), None, "it does not come back by itself");
}

#[test]
fn a_drain_for_a_peer_that_is_configured_no_more_says_so() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Routes(one_route()));
    bench.tell(Input::Drain(SECOND, Cease::PeerDeconfigured, ""));
    bench.at(SECOND);
    assert_eq!(bench.codes(), Some((6, 3)));
}

#[test]
fn a_drain_asks_for_other_ways_then_withdraws_then_ends() {
    let internal = Config { remote: Remote::Internal, ..config() };
    let mut open = their_open();
    open.asn = Asn(64512);
    open.capabilities.four_octet = Some(Asn(64512));
    let mut bench = Bench::established(internal, &open);
    bench.tell(Input::Routes(one_route()));
    bench.written.clear();
    bench.tell(Input::Drain(10 * SECOND, Cease::AdministrativeShutdown, "node-a is drained"));
    let (_, _, body) = &bench.written[0];
    let contains = |needle: &[u8]| body.windows(needle.len()).any(|window| window == needle);
    assert!(contains(&[0xc0, 8, 4, 0xff, 0xff, 0, 0]), "GRACEFUL_SHUTDOWN in {body:x?}");
    assert!(contains(&[0x40, 5, 4, 0, 0, 0, 0]), "local preference 0 in {body:x?}");
    bench.written.clear();
    bench.at(9 * SECOND);
    assert_eq!((bench.types(), bench.session.state()), (vec![], State::Established));
    bench.at(SECOND);
    let (_, first, body) = &bench.written[0];
    assert_eq!((*first, body.as_slice()), (Update, &[0, 5, 32, 192, 0, 2, 10, 0, 0][..]));
    assert_eq!(bench.notification().unwrap().text().as_deref(), Some("node-a is drained"));
    assert_eq!((bench.events.last(), bench.session.state()), (Some(&Output::State(State::Idle)), State::Idle));
    assert!(bench.events.contains(&Output::Drained));
}

#[test]
fn a_drain_ends_only_when_the_router_has_every_withdrawal() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Routes(one_route()));
    bench.stuck = true;
    bench.written.clear();
    bench.tell(Input::Drain(Duration::ZERO, Cease::AdministrativeShutdown, ""));
    bench.at(Duration::ZERO);
    assert_eq!((bench.codes(), bench.session.state()), (None, State::Established));
    let waiting = bench.written.iter().map(|(_, _, body)| body.len() + HEADER_LEN).sum();
    bench.tell(Input::Sent(OURS, waiting));
    assert_eq!((bench.codes(), bench.session.state()), (Some((6, 2)), State::Idle));
}

#[test]
fn a_drain_ends_with_a_plain_cease_for_there_is_nothing_left_to_keep() {
    let mut bench = Bench::established(graceful(), &with_restart(true));
    bench.tell(Input::Routes(one_route()));
    bench.tell(Input::Drain(SECOND, Cease::AdministrativeShutdown, "bye"));
    bench.at(SECOND);
    assert_eq!((bench.codes(), bench.notification().unwrap().text().as_deref()), (Some((6, 2)), Some("bye")));
}

#[test]
fn a_drain_can_be_called_off() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Routes(one_route()));
    bench.tell(Input::Drain(10 * SECOND, Cease::AdministrativeShutdown, ""));
    bench.written.clear();
    bench.tell(Input::Start);
    assert_eq!(bench.types(), [Update]);
    bench.at(60 * SECOND);
    assert_eq!((bench.session.state(), bench.session.adj_out().told(Family::V4)), (State::Established, 1));
}

#[test]
fn a_drain_without_a_session_is_over_at_once() {
    let mut bench = Bench::new(config());
    bench.tell(Input::Drain(10 * SECOND, Cease::AdministrativeShutdown, ""));
    assert!(bench.events.contains(&Output::Drained));
    assert_eq!(bench.session.next_deadline(), None);
}

#[test]
fn bfd_down_ends_the_session_but_only_after_it_was_up() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Bfd(Path::Down));
    bench.tell(Input::Bfd(Path::Up));
    bench.tell(Input::Bfd(Path::Unknown));
    bench.tell(Input::Bfd(Path::Down));
    assert_eq!(bench.session.state(), State::Established, "a peer that is switched off is not a dead router");
    bench.tell(Input::Bfd(Path::Up));
    bench.tell(Input::Bfd(Path::Down));
    assert_eq!((bench.codes(), bench.session.state()), (Some((6, 10)), State::Active));
}

#[test]
fn a_router_that_bfd_saw_die_is_left_alone_until_bfd_sees_it_again_or_a_minute_is_over() {
    let dead = || {
        let mut bench = Bench::established(config(), &their_open());
        bench.tell(Input::Bfd(Path::Up));
        bench.tell(Input::Bfd(Path::Down));
        bench.at(59 * SECOND);
        assert_eq!(bench.session.state(), State::Active);
        bench
    };
    for path in [Path::Up, Path::Unknown] {
        let mut seen = dead();
        seen.tell(Input::Bfd(path));
        assert_eq!(seen.session.state(), State::Connect, "{path:?}");
    }
    let mut unseen = dead();
    unseen.at(2 * SECOND);
    assert_eq!(unseen.session.state(), State::Connect, "it may have come back without BFD");
}

#[test]
fn an_unnumbered_router_that_bfd_saw_die_is_tried_soon_because_bfd_comes_after_the_session() {
    let mut unnumbered = config();
    unnumbered.transport.remote = None;
    let mut bench = Bench::established(unnumbered, &their_open());
    bench.tell(Input::Bfd(Path::Up));
    bench.tell(Input::Bfd(Path::Down));
    assert_eq!(bench.session.state(), State::Active);
    bench.at(5 * SECOND);
    assert_eq!(bench.session.state(), State::Connect);
}

#[test]
fn only_a_change_that_demands_it_starts_the_session_anew_and_says_so() {
    let reset_by = |change: fn(&mut Config)| {
        let mut bench = Bench::established(config(), &their_open());
        let mut new = config();
        change(&mut new);
        bench.tell(Input::Configure(new));
        let field = bench.events.iter().find_map(|event| match event {
            Output::Reset(field) => Some(*field),
            _ => None,
        });
        assert_eq!(bench.session.state() == State::Established, field.is_none());
        field
    };
    assert_eq!(reset_by(|config| config.hold_interval = 30 * SECOND), None);
    assert_eq!(reset_by(|config| config.keepalive_interval = Some(SECOND)), None);
    assert_eq!(reset_by(|config| config.connect_interval = Some(SECOND)), None);
    assert_eq!(reset_by(|config| config.posture = Posture::DialAndListen), None);
    assert_eq!(reset_by(|config| config.host_name.clear()), None);
    assert_eq!(reset_by(|config| config.remote = Remote::External), None, "the router that is there fits");
    assert_eq!(reset_by(|config| config.remote = Remote::Internal), Some("peerASN"));
    assert_eq!(reset_by(|config| config.local_asn = Asn(1)), Some("localASN"));
    assert_eq!(reset_by(|config| config.families = Families::V4), Some("families"));
    assert_eq!(reset_by(|config| config.transport.password = Some(Password("x".to_owned()))), Some("password"));
    assert_eq!(reset_by(|config| config.transport.reach = Reach::Hops(4)), Some("ebgpMultiHop"));
}

#[test]
fn a_new_keepalive_interval_counts_at_once() {
    let mut bench = Bench::established(config(), &their_open());
    bench.types();
    bench.tell(Input::Configure(Config { keepalive_interval: Some(SECOND), ..config() }));
    bench.at(5 * SECOND);
    assert!(bench.types().len() >= 5);
}

#[test]
fn a_new_password_dials_anew_at_once_while_the_router_keeps_our_routes() {
    let mut bench = Bench::established(graceful(), &with_restart(true));
    bench.types();
    let mut new = graceful();
    new.transport.password = Some(Password("x".to_owned()));
    bench.tell(Input::Configure(new));
    assert_eq!(bench.types(), []);
    bench.at(Duration::ZERO);
    assert_eq!(bench.session.state(), State::Connect);
}

#[test]
fn a_notification_is_shown_and_never_answered() {
    let mut bench = Bench::established(config(), &their_open());
    bench.types();
    let said = Notification::cease_saying(Cease::AdministrativeShutdown, "rack move");
    bench.receive(&said.emit());
    assert_eq!((bench.types(), bench.last_down()), (vec![], Some(&Reason::Received(said))));
    let shown = bench.last_down().unwrap().to_string();
    assert_eq!(shown, "the router ended it: administrative shutdown (6/2): \"rack move\"");
    assert!(bench.events.contains(&Output::Close(OURS)));
}

#[test]
fn after_a_new_session_the_router_is_told_everything_again() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Routes(one_route()));
    bench.tell(Input::Closed(OURS));
    assert_eq!(bench.session.adj_out().told(Family::V4), 0);
    bench.at(SECOND);
    let second = ConnectionId::Dialed(2);
    bench.types();
    bench.tell(Input::Dialed(second, endpoints()));
    bench.tell(Input::Bytes(second, &their_open().emit()));
    bench.tell(Input::Bytes(second, &keepalive()));
    assert_eq!(bench.types(), [OpenMessage, Keepalive, Update]);
}
