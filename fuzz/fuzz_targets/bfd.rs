//! BFD packets from a router: what is understood is understood without loss, and no sequence of packets and pauses makes
//! a session panic, send faster than it may, or ask to be woken at a time that is over.
//!
//! The input is a list of 28 bytes each: a pause in milliseconds, the TTL, what else happens, and a packet.
#![no_main]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ferrolb_proto::bfd::{Config, Input, Output, Reach, Session, State, parse};
use libfuzzer_sys::fuzz_target;

fn config(number: u8) -> Config {
    let intervals = [10, 50, 300, 1000].map(Duration::from_millis);
    Config {
        discriminator: NonZeroU32::MIN,
        desired_min_tx: intervals[usize::from(number & 3)],
        required_min_rx: intervals[usize::from(number >> 2 & 3)],
        detect_multiplier: 1 + (number >> 4 & 3),
        passive: number & 64 != 0,
        reach: if number & 128 == 0 { Reach::SingleHop } else { Reach::Multihop(200) },
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [first, steps @ ..] = bytes else { return };
    let mut now = Instant::now();
    let mut session = Session::new(config(*first), 1, now);
    // A router that never answers a poll is sent packets as fast as ever.
    let mut shortest = config(*first).desired_min_tx;
    for step in steps.as_chunks::<28>().0 {
        let [high, low, ttl, what, packet @ ..] = *step;
        let interval = Duration::from_millis(u64::from(u16::from_be_bytes([high, low])));
        shortest = shortest.min(session.config().desired_min_tx);
        pass(&mut session, &mut now, interval, shortest.mul_f64(0.75));
        match what {
            0..200 => receive(&mut session, now, packet, ttl),
            200..230 => session.handle(now, Input::Configure(config(packet[0]))),
            _ => session.handle(now, Input::AdminDown(what & 1 == 0)),
        }
        assert!(drain(&mut session) <= 4, "many packets at once");
    }
});

fn receive(session: &mut Session, now: Instant, mut packet: [u8; 24], ttl: u8) {
    if let Ok(read) = parse(&packet) {
        packet[3] = 24;
        assert_eq!(read.emit(), packet);
    }
    // Nothing would ever get further otherwise.
    if packet[8..11] == [0, 0, 0] {
        packet[11] &= 1;
    }
    session.handle(now, Input::Packet(&packet, ttl | 0xf0));
}

fn pass(session: &mut Session, now: &mut Instant, interval: Duration, shortest: Duration) {
    let (end, mut sent) = (*now + interval, 0);
    while let Some(due) = session.next_deadline().filter(|due| *due <= end) {
        *now = due.max(*now);
        session.handle_timeout(*now);
        sent += drain(session);
        assert!(session.next_deadline().is_none_or(|next| next > *now), "woken for nothing");
    }
    let most = 4 + interval.as_nanos() / shortest.as_nanos();
    assert!(sent as u128 <= most, "{sent} packets in {interval:?}, {most} at most");
    *now = end;
}

fn drain(session: &mut Session) -> usize {
    let mut sent = 0;
    while let Some(output) = session.poll_output() {
        if let Output::Send(bytes) = output {
            let packet = parse(&bytes).expect("we write what we can read");
            assert!(!(packet.poll && packet.is_final));
            assert!(packet.state == State::Up || packet.desired_min_tx >= 1_000_000);
            sent += 1;
        }
    }
    sent
}
