//! ARP frames from the wire: what is understood is understood without loss, the kernel's filter and the parser agree,
//! and only requests for addresses of ours are answered.
//!
//! The input is a frame. What follows its ARP packet is padding to the parser; here it says which addresses we have:
//! five bytes each, the first address and how many more, every second one, so that few bytes make many ranges.
#![no_main]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ferrolb_proto::arp::filter::{self, RANGES};
use ferrolb_proto::arp::{Frame, Operation, ParseError, announcements, answer, parse};
use ferrolb_proto::ethernet::MacAddr;
use libfuzzer_sys::fuzz_target;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
/// Ethernet header and ARP packet.
const LEN: usize = 14 + 28;

fuzz_target!(|bytes: &[u8]| {
    let ours = ours(bytes.get(LEN..).unwrap_or_default());
    let passes = filter::run(&filter::arp_requests(&ours), bytes).expect("the kernel takes the program");
    match parse(bytes) {
        Ok(frame) => {
            survives_the_wire(bytes, &frame);
            is_filtered_as_parsed(&frame, &ours, passes);
            is_answered_rightly(&frame, &ours);
        }
        // The filter reads neither EtherType nor hardware type; everything else that it lets pass is understood.
        Err(ParseError::OtherEtherType | ParseError::OtherHardware) => {}
        Err(error) => assert!(!passes, "the filter passes what is refused: {error}"),
    }
    if let Some(address) = ours.first() {
        for frame in announcements(OWN, (*address).into()) {
            assert_eq!(parse(&frame.emit()), Ok(frame));
            assert_eq!(answer(&frame, OWN, |_| true), None, "we answer our own announcement");
        }
    }
});

fn ours(padding: &[u8]) -> BTreeSet<u32> {
    let some = padding.as_chunks::<5>().0.iter().take(4).flat_map(|[a, b, c, d, more]| {
        let first = u32::from_be_bytes([*a, *b, *c, *d]);
        (0..=u32::from(*more)).map(move |number| first.wrapping_add(2 * number))
    });
    some.chain([Ipv4Addr::new(192, 168, 1, 201).to_bits()]).collect()
}

/// Emitting gives back the bytes that were parsed, but for the padding.
fn survives_the_wire(bytes: &[u8], frame: &Frame) {
    let again = frame.emit();
    assert_eq!(again[..LEN], bytes[..LEN]);
    assert_eq!(parse(&again), Ok(*frame));
}

/// Exactly the requests for our addresses pass; with too many ranges perhaps more, but never less.
fn is_filtered_as_parsed(frame: &Frame, ours: &BTreeSet<u32>, passes: bool) {
    let wanted = frame.operation == Operation::Request && ours.contains(&frame.target_ip.to_bits());
    if ours.len() <= RANGES {
        assert_eq!(passes, wanted, "{frame:?}");
    } else {
        assert!(passes || !wanted, "the filter drops a request for us: {frame:?}");
        assert!(!passes || frame.operation == Operation::Request, "the filter passes a reply: {frame:?}");
    }
}

fn is_answered_rightly(frame: &Frame, ours: &BTreeSet<u32>) {
    let is_ours = |address: Ipv4Addr| ours.contains(&address.to_bits());
    let Some(reply) = answer(frame, OWN, is_ours) else {
        let plain = frame.operation == Operation::Request && frame.destination == MacAddr::BROADCAST;
        let asker = frame.sender_mac;
        let nobody = asker.is_group() || asker == MacAddr::ZERO || asker == OWN;
        assert!(!plain || nobody || !is_ours(frame.target_ip), "no answer to {frame:?}");
        return;
    };
    assert_eq!(frame.operation, Operation::Request);
    assert_eq!((reply.operation, reply.source, reply.sender_mac), (Operation::Reply, OWN, OWN));
    assert!(is_ours(reply.sender_ip), "we claim an address that we do not have: {reply:?}");
    assert_eq!((reply.sender_ip, reply.target_ip), (frame.target_ip, frame.sender_ip));
    assert_eq!((reply.destination, reply.target_mac), (frame.sender_mac, frame.sender_mac));
    assert!(!reply.destination.is_group(), "the answer goes to everybody");
    assert_eq!(parse(&reply.emit()), Ok(reply));
    // Two of us never keep each other busy.
    assert_eq!(answer(&reply, reply.destination, |_| true), None);
}
