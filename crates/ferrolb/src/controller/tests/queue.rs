//! The order of writes, and what becomes of those that fail.

use super::*;

#[test]
fn addresses_go_before_conditions_and_conditions_wait_until_the_last_address_is_back() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.want(&key("words"), Distance::Conditions);
    queue.want(&key("address"), Distance::Addresses);
    assert_eq!(queue.next(now), Some(key("address")));
    queue.sent(&key("address"), "1", Distance::Addresses);
    assert_eq!(queue.next(now), None);
    queue.ended(&key("address"), Ending::Stored, Some("1"), now);
    assert_eq!(queue.next(now), Some(key("words")));
}

#[test]
fn who_is_behind_with_addresses_stays_so_until_the_last_one_is_out_and_a_few_at_a_time_are_not_behind() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.want(&key("a"), Distance::Addresses);
    assert_eq!(queue.next(now), Some(key("a")));
    queue.sent(&key("a"), "1", Distance::Addresses);
    assert!(!queue.is_behind());
    queue.want(&key("b"), Distance::Addresses);
    assert!(queue.is_behind());
    assert_eq!(queue.next(now), Some(key("b")));
    queue.sent(&key("b"), "1", Distance::Addresses);
    queue.ended(&key("a"), Ending::Stored, Some("2"), now);
    assert!(queue.is_behind());
    queue.ended(&key("b"), Ending::Stored, Some("2"), now);
    assert!(!queue.is_behind());
}

#[test]
fn a_failed_write_waits_twice_as_long_each_time_and_at_most_five_seconds() {
    let (mut queue, mut now) = (Queue::default(), Instant::now());
    queue.want(&key("a"), Distance::Addresses);
    let mut delays = Vec::new();
    for _ in 0..8 {
        assert_eq!(queue.next(now), Some(key("a")));
        queue.sent(&key("a"), "1", Distance::Addresses);
        queue.ended(&key("a"), Ending::Failed, Some("1"), now);
        assert_eq!(queue.next(now), None);
        let due = queue.next_deadline().unwrap();
        delays.push(due.duration_since(now).as_millis());
        now = due;
    }
    assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
}

#[test]
fn after_a_conflict_it_is_tried_again_on_the_next_version_and_not_before() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.want(&key("a"), Distance::Addresses);
    queue.next(now);
    queue.sent(&key("a"), "1", Distance::Addresses);
    queue.ended(&key("a"), Ending::Conflict, Some("1"), now);
    assert_eq!(queue.next(now + Duration::from_secs(60)), None);
    queue.seen(&key("a"), "2");
    assert_eq!(queue.next(now), Some(key("a")));
    queue.sent(&key("a"), "2", Distance::Addresses);
    queue.ended(&key("a"), Ending::Conflict, Some("3"), now);
    assert_eq!(queue.next(now), Some(key("a")), "the newer version is here already");
}

#[test]
fn a_service_is_unsettled_from_the_decision_until_the_watch_brings_the_write() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.want(&key("a"), Distance::Addresses);
    assert!(queue.is_unsettled(&key("a")));
    queue.next(now);
    queue.sent(&key("a"), "1", Distance::Addresses);
    queue.ended(&key("a"), Ending::Stored, Some("1"), now);
    assert!(queue.is_unsettled(&key("a")));
    assert!(queue.seen(&key("a"), "2"));
}

#[test]
fn what_waits_for_addresses_does_not_wake_the_loop_while_they_wait() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    assert_eq!(earliest(&[Some(later), None], &[Some(now)], false), Some(now));
    assert_eq!(earliest(&[Some(later), None], &[Some(now)], true), Some(later));
    assert_eq!(earliest(&[None], &[Some(now)], true), None);
}

#[test]
fn news_is_looked_at_soon_although_the_next_look_was_to_be_a_long_time_after() {
    let soon = Instant::now();
    let mut at = Some(soon + Duration::from_secs(10));
    not_later(&mut at, soon);
    assert_eq!(at, Some(soon));
    not_later(&mut at, soon + Duration::from_secs(1));
    assert_eq!(at, Some(soon), "a look that is due sooner stays");
    let mut never = None;
    not_later(&mut never, soon);
    assert_eq!(never, Some(soon));
}

#[test]
fn a_thousand_conditions_that_are_due_together_leave_the_server_free_for_an_address() {
    let (now, mut queue) = (Instant::now(), Queue::default());
    for number in 0..1000 {
        queue.want(&ServiceKey::new("default", format!("words-{number}")), Distance::Conditions);
    }
    let mut under_way = Vec::new();
    while let Some(key) = queue.next(now) {
        queue.sent(&key, "1", Distance::Conditions);
        under_way.push(key);
    }
    assert_eq!(under_way.len(), 4);
    let urgent = ServiceKey::new("default", "urgent");
    queue.want(&urgent, Distance::Addresses);
    assert_eq!(queue.next(now), Some(urgent), "an address goes at once");
    queue.forget(&ServiceKey::new("default", "urgent"));
    queue.ended(&under_way[0], Ending::Stored, Some("2"), now);
    assert!(queue.next(now).is_some(), "where one has ended the next one goes");
}
