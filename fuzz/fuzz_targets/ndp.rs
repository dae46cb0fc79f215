//! Neighbour solicitations from the wire: what is understood is understood without loss, its checksum is right by
//! another count, the kernel's filter and the parser agree, and only solicitations for addresses of ours are answered.
//!
//! The input is a frame. What follows its IPv6 packet is padding to the parser; here it lists addresses that we have,
//! sixteen bytes each. Each frame is also tried with its checksum put right: nothing would ever get past it otherwise.
#![no_main]

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ferrolb_proto::arp::filter::{self, RANGES};
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::ndp::{
    FRAME_LEN, ParseError, Solicitation, announcement, answer, parse, parse_advertisement, solicited_node,
};
use libfuzzer_sys::fuzz_target;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
/// Ethernet and IPv6 header.
const HEADERS: usize = 14 + 40;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let mut repaired = bytes.to_vec();
    if let Some(message) = message_of(bytes).filter(|message| message.len() >= 4) {
        let kept = u16::from_be_bytes([message[2], message[3]]);
        let rest = folded(sum(bytes, message) - u64::from(kept));
        repaired[HEADERS + 2..HEADERS + 4].copy_from_slice(&(!rest).to_be_bytes());
        assert_ne!(parse(&repaired), Err(ParseError::Checksum));
        check(&repaired);
    }
});

fn check(bytes: &[u8]) {
    let ours = ours(bytes);
    let targets: BTreeSet<u32> = ours.iter().map(|address| low(*address)).collect();
    let passes = filter::run(&filter::solicitations(&targets), bytes).expect("the kernel takes the program");
    match parse(bytes) {
        Ok(solicitation) => {
            has_right_checksum(bytes);
            survives_the_wire(&solicitation);
            assert!(targets.len() <= RANGES, "more addresses than the filter knows exactly");
            assert_eq!(passes, targets.contains(&low(solicitation.target)), "{solicitation:?}");
            is_answered_rightly(&solicitation, &ours);
        }
        Err(ParseError::Checksum) => {
            let message = message_of(bytes).expect("a message whose checksum is wrong");
            assert_ne!(folded(sum(bytes, message)), 0xffff, "the checksum is right");
        }
        Err(_) => {}
    }
    if let Ok(said) = parse_advertisement(bytes) {
        has_right_checksum(bytes);
        assert!(!said.target.is_multicast(), "a group is nobody's: {said:?}");
        assert!(parse(bytes).is_err(), "one frame is one message");
    }
    for address in &ours {
        is_advertisement(&announcement(OWN, *address), *address, ALL_NODES);
    }
}

fn low(address: Ipv6Addr) -> u32 {
    let [.., a, b, c, d] = address.octets();
    u32::from_be_bytes([a, b, c, d])
}

/// The ICMPv6 message, as long as the IPv6 header says.
fn message_of(frame: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*frame.get(18)?, *frame.get(19)?]));
    frame.get(HEADERS..HEADERS + length)
}

fn ours(frame: &[u8]) -> Vec<Ipv6Addr> {
    let end = message_of(frame).map_or(frame.len(), |message| HEADERS + message.len());
    let listed = frame.get(end..).unwrap_or_default().as_chunks::<16>().0.iter().take(8);
    let fixed = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xab12, 0x3456);
    // Groups are nobody's addresses.
    let mine = listed.map(|octets| Ipv6Addr::from(*octets)).filter(|address| !address.is_multicast());
    mine.chain([fixed]).collect()
}

/// The pseudo header and the message, added up as 16-bit words (RFC 8200 section 8.1).
fn sum(frame: &[u8], message: &[u8]) -> u64 {
    let words = |bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let odd = rest.first().map_or(0, |last| u64::from(*last) * 256);
        pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + odd
    };
    words(&frame[22..HEADERS]) + words(message) + message.len() as u64 + 58
}

/// In one's complement of 16 bits.
fn folded(sum: u64) -> u16 {
    match sum % 0xffff {
        0 if sum > 0 => 0xffff,
        rest => rest as u16,
    }
}

fn has_right_checksum(frame: &[u8]) {
    let message = message_of(frame).expect("a message");
    assert_eq!(folded(sum(frame, message)), 0xffff, "the checksum");
}

/// A frame built from what was read is read as the same.
fn survives_the_wire(solicitation: &Solicitation) {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(solicitation.target.octets());
    if let Some(mac) = solicitation.link_layer {
        message.extend([1, 1]);
        message.extend(mac.0);
    }
    let mut frame = [&solicitation.destination_mac.0[..], &solicitation.source_mac.0, &[0x86, 0xdd]].concat();
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend(solicitation.source.octets());
    frame.extend(solicitation.destination.octets());
    let checksum = !folded(sum(&[&frame[..], &message].concat(), &message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(message);
    assert_eq!(parse(&frame), Ok(*solicitation));
}

fn is_answered_rightly(solicitation: &Solicitation, ours: &[Ipv6Addr]) {
    let Solicitation { source, target, source_mac, destination_mac, link_layer, .. } = *solicitation;
    let Some(reply) = answer(solicitation, OWN, |address| ours.contains(&address)) else {
        let plain = solicitation.destination == solicited_node(target) && destination_mac.is_group();
        let asker = link_layer.unwrap_or(source_mac);
        let nobody = asker.is_group() || asker == MacAddr::ZERO || asker == OWN || source_mac == OWN;
        assert!(!plain || nobody || !ours.contains(&target), "no answer to {solicitation:?}");
        return;
    };
    assert!(ours.contains(&target), "we claim an address that we do not have: {solicitation:?}");
    if source.is_unspecified() {
        is_advertisement(&reply, target, ALL_NODES);
        assert_eq!((&reply[..6], reply[58] & 0x40), (&[0x33, 0x33, 0, 0, 0, 1][..], 0));
    } else {
        is_advertisement(&reply, target, source);
        let to = MacAddr(reply[..6].try_into().expect("six bytes"));
        assert_eq!((to, reply[58] & 0x40), (link_layer.unwrap_or(source_mac), 0x40));
        assert!(!to.is_group() && to != MacAddr::ZERO && to != OWN, "the answer goes to {to}");
    }
}

/// A valid advertisement (RFC 4861 section 7.1.2) that we have the address, from it to `to`.
fn is_advertisement(frame: &[u8; FRAME_LEN], address: Ipv6Addr, to: Ipv6Addr) {
    let message = message_of(frame).expect("a message");
    assert_eq!(HEADERS + message.len(), FRAME_LEN);
    assert_eq!((frame[20], frame[21], message[0], message[1]), (58, 255, 136, 0));
    assert_eq!((&frame[22..38], &frame[38..54]), (&address.octets()[..], &to.octets()[..]));
    assert_eq!(message[8..24], address.octets());
    assert_eq!((&frame[6..12], &message[24..26], &message[26..]), (&OWN.0[..], &[2, 1][..], &OWN.0[..]));
    has_right_checksum(frame);
    assert_eq!(parse(frame), Err(ParseError::NotSolicitation), "two of us never keep each other busy");
}
