//! Tests of the announcements' timing.
#![expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]

use super::*;

fn place(number: u32) -> Place {
    (1, IpAddr::from(number.to_be_bytes()))
}

/// Runs the machine by its own deadlines; returns what it sent, with milliseconds since the start.
fn run(machine: &mut Announcements, start: Instant, until: Duration) -> Vec<(u128, Place)> {
    let mut sent = Vec::new();
    let mut now = start;
    loop {
        while let Some(place) = machine.poll_output() {
            sent.push(((now - start).as_millis(), place));
        }
        match machine.next_deadline() {
            Some(at) if at <= start + until => {
                assert!(at > now || machine.next_deadline() == Some(at), "time goes on");
                now = now.max(at);
                machine.handle_timeout(now);
            }
            _ => return sent,
        }
    }
}

#[test]
fn an_address_is_announced_at_once_and_for_more_than_five_seconds() {
    let start = Instant::now();
    let mut machine = Announcements::new(start);
    machine.handle(start, Input::Start(place(1)));
    let times: Vec<u128> = run(&mut machine, start, Duration::from_secs(60)).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [0, 1100, 2200, 3300, 4400, 5500]);
    assert_eq!(machine.next_deadline(), None, "then there is nothing left to do");
}

#[test]
fn an_address_that_is_let_go_is_not_announced_any_more() {
    let start = Instant::now();
    let mut machine = Announcements::new(start);
    machine.handle(start, Input::Start(place(1)));
    machine.handle(start, Input::Start(place(2)));
    machine.handle(start, Input::Stop(place(1)));
    let sent = run(&mut machine, start, Duration::from_secs(60));
    assert!(sent.iter().all(|(_, sent)| *sent == place(2)), "{sent:?}");
    assert_eq!(sent.len(), 6);
}

#[test]
fn starting_again_starts_all_rounds_again() {
    let start = Instant::now();
    let mut machine = Announcements::new(start);
    machine.handle(start, Input::Start(place(1)));
    let before = run(&mut machine, start, Duration::from_millis(1500));
    assert_eq!(before.len(), 2);
    let later = start + Duration::from_millis(1500);
    machine.handle(later, Input::Start(place(1)));
    assert_eq!(run(&mut machine, later, Duration::from_secs(60)).len(), 6);
}

#[test]
fn ten_thousand_addresses_are_paced_and_first_rounds_go_first() {
    let start = Instant::now();
    let mut machine = Announcements::new(start);
    for number in 0..10_000 {
        machine.handle(start, Input::Start(place(number)));
    }
    let sent = run(&mut machine, start, Duration::from_secs(120));
    assert_eq!(sent.len(), 60_000);
    let mut seen = BTreeSet::new();
    let firsts: Vec<u128> = sent.iter().filter(|(_, place)| seen.insert(*place)).map(|(at, _)| *at).collect();
    assert!(*firsts.last().unwrap() <= 1000, "all are told within a second: {:?}", firsts.last());
    for window in 0..120_000 / 10 {
        let within = |at: &u128| *at >= window * 10 && *at < window * 10 + 10;
        let count = sent.iter().filter(|(at, _)| within(at)).count();
        assert!(count <= 200, "{count} announcements within 10 ms at {} ms", window * 10);
        if window * 10 > 60_000 {
            break;
        }
    }
    let last_of = |number| sent.iter().filter(|(_, sent)| *sent == place(number)).map(|(at, _)| *at).max().unwrap();
    assert!((0..10_000).step_by(997).all(|number| last_of(number) >= 5000));
}
