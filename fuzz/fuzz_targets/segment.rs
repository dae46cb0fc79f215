//! Frames and messages of a segment: what is understood is understood without loss, and a machine that is told it by
//! somebody with the secret, but whom it does not trust, is not impressed.
//!
//! The input is a frame if it has our EtherType, and otherwise what is inside a sealed datagram.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::seal::{Purpose, Seal};
use ferrolb_proto::segment::frame::{Message, Path, emit_lan, parse_lan};
use ferrolb_proto::segment::{Config, Input, NodeId, Output, Plan, Role, Segment, Timing};
use libfuzzer_sys::fuzz_target;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const SECRET: &[u8] = b"secret";

fuzz_target!(|bytes: &[u8]| {
    let inner = match parse_lan(bytes) {
        Ok((from, sealed)) => {
            assert!(sealed.len() + 16 <= bytes.len());
            assert_eq!(parse_lan(&emit_lan(MacAddr::BROADCAST, from, sealed)), Ok((from, sealed)));
            sealed
        }
        Err(_) => bytes,
    };
    if let Ok(message) = Message::parse(inner) {
        assert_eq!(Message::parse(&message.emit()), Ok(message));
    }
    is_not_impressed(inner);
});

/// A node alone with its one address keeps it, whatever a stranger says.
fn is_not_impressed(inner: &[u8]) {
    let (own, other) = (NodeId(2), NodeId(5));
    let mut now = Instant::now();
    let config = Config {
        own,
        mac: OWN,
        secret: SECRET.to_vec(),
        boot: 1,
        seed: 1,
        timing: Timing::DEFAULT,
        saved: BTreeMap::new(),
    };
    let mut segment = Segment::new(config, now).expect("a secret");
    let address = std::net::IpAddr::from([192, 168, 1, 201]);
    let plan: Plan = BTreeMap::from([(address, [own, other].into())]);
    segment.handle(now, Input::Members(&BTreeSet::from([own, other])));
    segment.handle(now, Input::Plan(&plan));
    while segment.role(address) != Role::Owner {
        now = segment.next_deadline().expect("it is awake").max(now + Duration::from_millis(1));
        segment.handle_timeout(now);
    }
    let sealed = Seal::with_purpose(Purpose::Segment, SECRET, 77).expect("a secret").seal(inner);
    for path in [Path::Lan, Path::Udp] {
        segment.handle(now, Input::Datagram { path, bytes: &sealed });
        segment.handle(now, Input::Datagram { path, bytes: inner });
    }
    assert_eq!(segment.role(address), Role::Owner);
    let sends = std::iter::from_fn(|| segment.poll_output()).filter(|output| matches!(output, Output::Send { .. }));
    assert!(sends.count() < 200);
}
