//! Pings from the wire, of both families: what is understood is understood without loss, the kernel's filter and the
//! parser agree, only requests to addresses of ours are answered, and no answer is longer than its request.
//!
//! The input is a frame; where its last byte is even, its destination is an address of ours. Each frame is also
//! tried with its checksums put right: nothing would ever get past them otherwise.
#![no_main]

use std::collections::BTreeSet;
use std::net::IpAddr;

use ferrolb_proto::arp::filter;
use ferrolb_proto::echo::{Hosts, ParseError, Request, answer, parse};
use ferrolb_proto::ethernet::MacAddr;
use libfuzzer_sys::fuzz_target;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(repaired) = repaired(bytes) {
        assert_ne!(parse(&repaired), Err(ParseError::Checksum));
        check(&repaired);
    }
});

fn check(bytes: &[u8]) {
    let Ok(request) = parse(bytes) else { return };
    has_right_checksums(bytes);
    is_filtered_as_parsed(bytes, &request);
    let ours = bytes.last().is_some_and(|last| last % 2 == 0);
    let Some(reply) = answer(&request, OWN, |address| ours && address == request.destination()) else {
        let asker = request.source_mac;
        let nobody = asker.is_group() || asker == MacAddr::ZERO || asker == OWN;
        assert!(!ours || nobody || request.destination_mac != OWN, "no answer to {request:?}");
        return;
    };
    assert!(ours && request.destination_mac == OWN, "we answer for another: {request:?}");
    assert!(reply.len() <= bytes.len(), "an answer is longer than its request");
    assert_eq!((&reply[..6], &reply[6..12], &reply[12..14]), (&request.source_mac.0[..], &OWN.0[..], &bytes[12..14]));
    assert!(!request.source_mac.is_group(), "the answer goes to everybody");
    has_right_checksums(&reply);
    let at = match request.hosts {
        Hosts::V4 { source, destination, .. } => {
            assert_eq!((&reply[26..30], &reply[30..34]), (&destination.octets()[..], &source.octets()[..]));
            assert_eq!((reply[34], reply[35], &reply[18..20]), (0, 0, &bytes[18..20]));
            34
        }
        Hosts::V6 { source, destination } => {
            assert_eq!((&reply[22..38], &reply[38..54]), (&destination.octets()[..], &source.octets()[..]));
            assert_eq!((reply[54], reply[55]), (129, 0));
            54
        }
    };
    assert_eq!(reply[at + 4..], *request.content, "identifier, sequence number and data");
    // Two of us never keep each other busy.
    assert_eq!(parse(&reply), Err(ParseError::NotRequest));
}

/// What is understood passes the filter of its destination, and no other's.
fn is_filtered_as_parsed(bytes: &[u8], request: &Request<'_>) {
    let (low, program): (u32, fn(&BTreeSet<u32>) -> Vec<filter::Instruction>) = match request.destination() {
        IpAddr::V4(address) => (address.to_bits(), filter::echo_requests_v4),
        IpAddr::V6(address) => (address.to_bits() as u32, filter::echo_requests_v6),
    };
    let passes = |targets| filter::run(&program(&targets), bytes).expect("the kernel takes the program");
    assert!(passes(BTreeSet::from([low])), "the filter drops {request:?}");
    assert!(!passes(BTreeSet::from([low.wrapping_add(1)])), "the filter passes {request:?} for another");
    assert!(!passes(BTreeSet::new()), "the filter passes {request:?} for nobody");
}

/// Where the ICMP message is, by the lengths in the frame.
fn message(frame: &[u8]) -> Option<std::ops::Range<usize>> {
    let half = |at: usize| Some(usize::from(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?])));
    let range = if half(12)? == 0x0800 { 34..14 + half(16)? } else { 54..54 + half(18)? };
    (range.start + 4 <= range.end && range.end <= frame.len()).then_some(range)
}

/// Added up as 16-bit words, in one's complement (RFC 1071).
fn folded(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let (pairs, rest) = bytes.as_chunks::<2>();
    let odd = rest.first().map_or(0, |last| u64::from(*last) * 256);
    let sum = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum::<u64>() + odd;
    match sum % 0xffff {
        0 if sum > 0 => 0xffff,
        rest => rest as u16,
    }
}

fn sum(frame: &[u8], range: std::ops::Range<usize>) -> u16 {
    if range.start == 34 {
        return folded(&[&frame[range]]);
    }
    folded(&[&frame[22..54], &(range.len() as u32).to_be_bytes(), &[0, 0, 0, 58], &frame[range]])
}

fn has_right_checksums(frame: &[u8]) {
    let range = message(frame).expect("a message");
    assert!(range.start == 54 || folded(&[&frame[14..34]]) == 0xffff, "the header's checksum");
    assert_eq!(sum(frame, range), 0xffff, "the checksum");
}

fn repaired(bytes: &[u8]) -> Option<Vec<u8>> {
    let (range, mut frame) = (message(bytes)?, bytes.to_vec());
    if range.start == 34 {
        frame[24..26].fill(0);
        let header = !folded(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&header.to_be_bytes());
    }
    let at = range.start + 2;
    frame[at..at + 2].fill(0);
    let whole = !sum(&frame, range);
    frame[at..at + 2].copy_from_slice(&whole.to_be_bytes());
    Some(frame)
}
