//! Hold, keepalive, send hold, and the pauses between tries.

use super::*;

#[test]
fn silence_for_the_hold_time_ends_the_session_and_keepalives_prevent_it() {
    let mut bench = Bench::established(config(), &their_open());
    for _ in 0..10 {
        bench.at(80 * SECOND);
        bench.receive(&keepalive());
    }
    assert_eq!(bench.session.state(), State::Established);
    bench.at(89 * SECOND);
    assert_eq!(bench.session.state(), State::Established);
    bench.at(SECOND);
    assert_eq!((bench.codes(), bench.session.counters().dropped), (Some((4, 0)), 1));
}

#[test]
fn keepalives_leave_every_third_of_the_hold_time_at_the_latest() {
    let mut bench = Bench::established(Config { hold_interval: 9 * SECOND, ..config() }, &their_open());
    bench.types();
    for _ in 0..10 {
        bench.at(3 * SECOND);
        let sent = bench.types();
        assert!(sent == [Keepalive] || sent == [Keepalive, Keepalive], "{sent:?}");
        bench.receive(&keepalive());
    }
}

#[test]
fn a_hold_time_of_zero_means_no_timers_at_all() {
    let mut bench = Bench::established(Config { hold_interval: Duration::ZERO, ..config() }, &their_open());
    bench.types();
    assert_eq!(bench.session.next_deadline(), None);
    bench.at(100_000 * SECOND);
    assert_eq!((bench.session.state(), bench.types()), (State::Established, vec![]));
}

#[test]
fn a_router_that_never_opens_is_given_up() {
    let mut silent = Bench::open(config());
    silent.at(241 * SECOND);
    assert_eq!(silent.codes(), Some((4, 0)));
    let mut half = Bench::open(Config { hold_interval: Duration::ZERO, ..config() });
    half.receive(&their_open().emit());
    half.at(241 * SECOND);
    assert_eq!(half.codes(), Some((4, 0)), "OPEN, but no KEEPALIVE, and no hold time");
}

#[test]
fn a_router_that_takes_nothing_costs_bounded_memory_and_is_ended_at_last() {
    let mut bench = Bench::established(config(), &their_open());
    bench.stuck = true;
    let distinct = (0..20_000u32).map(|number| {
        let set = Attributes { communities: [Community(number)].into(), ..Attributes::default() };
        (ipnet::IpNet::from(std::net::IpAddr::from((0x0a00_0000 + number).to_be_bytes())), Arc::new(set))
    });
    bench.tell(Input::Routes(Arc::new(distinct.collect())));
    let bytes = |bench: &Bench| bench.written.iter().map(|(_, _, body)| body.len() + HEADER_LEN).sum::<usize>();
    let waiting = bytes(&bench);
    assert!(waiting <= WINDOW && waiting > WINDOW - 2 * MAX_LEN, "{waiting}");
    assert!(bench.session.adj_out().left() > 10_000);
    // It still says that it lives, so only the send hold timer can tell.
    for _ in 0..8 {
        bench.at(59 * SECOND);
        bench.receive(&keepalive());
    }
    assert_eq!((bytes(&bench), bench.session.state()), (waiting, State::Established), "not even KEEPALIVEs pile up");
    bench.at(9 * SECOND);
    assert_eq!(bench.last_down(), Some(&Reason::Sent(Notification::SEND_HOLD_TIMER)));
    assert!(bench.events.contains(&Output::Abort(OURS)));
}

#[test]
fn a_slow_router_gets_everything_and_is_not_ended() {
    let mut bench = Bench::established(config(), &their_open());
    bench.stuck = true;
    let many = (0..50_000u32).map(|number| {
        let set = Attributes { med: Some(number), ..Attributes::default() };
        (ipnet::IpNet::from(std::net::IpAddr::from((0x0a00_0000 + number).to_be_bytes())), Arc::new(set))
    });
    bench.tell(Input::Routes(Arc::new(many.collect())));
    let mut taken = 0;
    while bench.session.adj_out().left() > 0 {
        bench.at(50 * SECOND);
        bench.receive(&keepalive());
        bench.tell(Input::Sent(OURS, 40_000));
        taken += 40_000;
        assert!(taken < 10_000_000, "it never ends");
    }
    assert_eq!((bench.session.state(), bench.session.adj_out().told(Family::V4)), (State::Established, 50_000));
}

/// The times at which the session dials while every try fails, over so long.
fn dials(config: Config, fail: impl Fn(&mut Bench, ConnectionId), over: Duration) -> Vec<Duration> {
    let mut bench = Bench::new(config);
    let (start, mut times) = (bench.now, Vec::new());
    while bench.now - start < over {
        let dialed = bench.events.drain(..).rev().find_map(|event| match event {
            Output::Dial(id) => Some(id),
            _ => None,
        });
        if let Some(id) = dialed {
            times.push(bench.now - start);
            fail(&mut bench, id);
        }
        let due = bench.session.next_deadline().expect("it goes on");
        bench.at(due.saturating_duration_since(bench.now));
    }
    times
}

#[test]
fn an_unreachable_router_is_tried_after_one_second_and_never_less_than_every_five() {
    let refuse = |bench: &mut Bench, id| bench.tell(Input::DialFailed(id, "refused"));
    let times = dials(config(), refuse, 120 * SECOND);
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] <= SECOND && pauses[0] >= SECOND * 3 / 4, "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 5 * SECOND) && pauses.len() > 20, "{pauses:?}");
}

#[test]
fn a_router_that_refuses_us_is_tried_ever_more_rarely_up_to_a_minute() {
    let refuse = |bench: &mut Bench, id| {
        bench.tell(Input::Dialed(id, endpoints()));
        bench.tell(Input::Bytes(id, &Notification::new(2, 2).emit()));
    };
    let times = dials(config(), refuse, 600 * SECOND);
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().rev().take(5).all(|pause| *pause >= 45 * SECOND && *pause <= 60 * SECOND), "{pauses:?}");
    let quick = Config { connect_interval: Some(3 * SECOND), ..config() };
    let times = dials(quick, refuse, 600 * SECOND);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= 3 * SECOND), "as configured");
}

#[test]
fn a_router_that_notifies_in_a_loop_after_establishing_is_not_hammered() {
    let fail = |bench: &mut Bench, id| {
        bench.tell(Input::Dialed(id, endpoints()));
        bench.tell(Input::Bytes(id, &their_open().emit()));
        bench.tell(Input::Bytes(id, &keepalive()));
        bench.tell(Input::Bytes(id, &Notification::cease(Cease::AdministrativeReset).emit()));
    };
    let times = dials(config(), fail, 600 * SECOND);
    assert!(times.len() < 20, "{times:?}");
}

#[test]
fn a_session_that_lasted_is_tried_again_within_a_second() {
    let mut bench = Bench::new(config());
    for number in 1..5 {
        bench.tell(Input::DialFailed(ConnectionId::Dialed(number), "refused"));
        bench.next_dial();
    }
    let id = ConnectionId::Dialed(5);
    bench.tell(Input::Dialed(id, endpoints()));
    bench.tell(Input::Bytes(id, &their_open().emit()));
    bench.tell(Input::Bytes(id, &keepalive()));
    assert_eq!(bench.session.state(), State::Established);
    bench.at(40 * SECOND);
    bench.events.clear();
    bench.tell(Input::Closed(id));
    bench.at(SECOND);
    assert!(bench.events.iter().any(|event| matches!(event, Output::Dial(_))));
}

#[test]
fn a_connection_that_does_not_come_about_is_given_up_and_tried_again() {
    let mut bench = Bench::new(config());
    bench.at(7 * SECOND);
    assert!(bench.events.contains(&Output::Close(OURS)));
    assert!(bench.events.contains(&Output::Dial(ConnectionId::Dialed(2))));
    bench.tell(Input::Dialed(OURS, endpoints()));
    assert_eq!(bench.events.last(), Some(&Output::Close(OURS)), "too late");
}

#[test]
fn bfd_tells_that_the_router_is_back_and_it_is_dialed_at_once() {
    let mut bench = Bench::new(config());
    bench.tell(Input::DialFailed(OURS, "no route to host"));
    bench.events.clear();
    bench.tell(Input::Bfd(Path::Up));
    assert!(bench.events.contains(&Output::Dial(ConnectionId::Dialed(2))));
}
