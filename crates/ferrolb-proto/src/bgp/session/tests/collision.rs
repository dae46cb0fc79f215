//! Two connections to one router: which stays (RFC 4271 §6.8, RFC 6286, RFC 4724 §4.2).

use super::*;

const THEIRS: ConnectionId = ConnectionId::Accepted(1);

fn listening() -> Config {
    Config { posture: Posture::DialAndListen, ..config() }
}

fn id_of(number: u8) -> Open {
    Open { router_id: Ipv4Addr::new(number, 0, 0, 1), ..their_open() }
}

/// Both connections open; the OPENs come in this order. Returns which connection was told to yield.
fn collide(open: &Open, order: [ConnectionId; 2]) -> ConnectionId {
    let mut bench = Bench::open(listening());
    bench.tell(Input::Accepted(THEIRS, endpoints()));
    for id in order {
        bench.tell(Input::Bytes(id, &open.emit()));
    }
    assert_eq!(bench.session.state(), State::OpenConfirm, "one stays");
    let notified: Vec<_> = bench.written.iter().filter(|(_, kind, _)| *kind == MessageType::Notification).collect();
    let [(id, _, body)] = notified.as_slice() else { panic!("{notified:?}") };
    assert_eq!(body[..], [6, 7]);
    let (yielded, stays) = (*id, if *id == OURS { THEIRS } else { OURS });
    bench.tell(Input::Bytes(stays, &keepalive()));
    assert_eq!(bench.session.state(), State::Established);
    yielded
}

#[test]
fn the_connection_of_the_larger_identifier_stays_whichever_open_comes_first() {
    for order in [[OURS, THEIRS], [THEIRS, OURS]] {
        assert_eq!(collide(&id_of(200), order), OURS, "theirs is larger, so what they dialed stays");
        assert_eq!(collide(&id_of(10), order), THEIRS);
        let same = Open { router_id: config().router_id, ..their_open() };
        assert_eq!(collide(&same, order), OURS, "the same identifier: their AS number is larger");
    }
}

#[test]
fn an_established_session_is_not_taken_over() {
    let mut bench = Bench::established(listening(), &their_open());
    bench.tell(Input::Accepted(THEIRS, endpoints()));
    assert_eq!((bench.codes(), bench.session.state()), (Some((6, 5)), State::Established));
    assert!(bench.events.contains(&Output::Close(THEIRS)));
    bench.tell(Input::Bytes(THEIRS, &their_open().emit()));
    assert_eq!(bench.session.state(), State::Established);
}

#[test]
fn a_router_that_restarts_takes_over_with_its_open_and_not_before() {
    let config = Config { graceful_restart: Some(120 * SECOND), ..listening() };
    let mut bench = Bench::established(config, &with_restart(true));
    bench.tell(Input::Routes(one_route()));
    bench.tell(Input::Accepted(THEIRS, endpoints()));
    assert_eq!(bench.session.state(), State::Established);
    bench.written.clear();
    bench.tell(Input::Bytes(THEIRS, &with_restart(true).emit()));
    assert_eq!((bench.last_down(), bench.codes()), (Some(&Reason::Replaced), None));
    bench.tell(Input::Bytes(THEIRS, &keepalive()));
    assert_eq!((bench.session.state(), bench.session.adj_out().told(Family::V4)), (State::Established, 1));
    bench.at(30 * SECOND);
    assert!(!bench.events.iter().skip(3).any(|event| matches!(event, Output::Dial(ConnectionId::Dialed(2)))));
}

#[test]
fn who_only_dials_accepts_nobody_and_who_only_listens_dials_nobody() {
    let mut dialing = Bench::new(config());
    dialing.tell(Input::Accepted(THEIRS, endpoints()));
    assert_eq!(dialing.codes(), Some((6, 5)));
    let mut passive = Bench::new(Config { posture: Posture::Listen, ..config() });
    passive.at(1000 * SECOND);
    assert_eq!((passive.session.state(), passive.events.len()), (State::Active, 1), "{:?}", passive.events);
    passive.tell(Input::Accepted(THEIRS, endpoints()));
    passive.tell(Input::Bytes(THEIRS, &their_open().emit()));
    passive.tell(Input::Bytes(THEIRS, &keepalive()));
    assert_eq!(passive.session.state(), State::Established);
}

#[test]
fn a_router_that_connects_again_before_opening_replaces_its_first_try() {
    let mut bench = Bench::new(Config { posture: Posture::Listen, ..config() });
    bench.tell(Input::Accepted(THEIRS, endpoints()));
    let second = ConnectionId::Accepted(2);
    bench.tell(Input::Accepted(second, endpoints()));
    assert!(bench.events.contains(&Output::Close(THEIRS)));
    bench.tell(Input::Bytes(second, &their_open().emit()));
    assert_eq!(bench.session.state(), State::OpenConfirm);
}

#[test]
fn a_dial_under_way_is_given_up_once_the_router_s_connection_stands() {
    let mut bench = Bench::new(listening());
    bench.tell(Input::Accepted(THEIRS, endpoints()));
    bench.tell(Input::Bytes(THEIRS, &their_open().emit()));
    bench.tell(Input::Bytes(THEIRS, &keepalive()));
    assert!(bench.events.contains(&Output::Close(OURS)));
    bench.tell(Input::Closed(THEIRS));
    bench.at(SECOND);
    assert!(bench.events.contains(&Output::Dial(ConnectionId::Dialed(2))), "and tried again when that is gone");
}
