//! Tests of echo: a golden ping of either family, what is answered to whom, and that the kernel's filter agrees.

use std::collections::BTreeSet;

use etherparse::{Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, Ipv4HeaderSlice, Ipv6HeaderSlice};
use proptest::prelude::*;

use super::*;
use crate::arp::filter;

const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x50]);
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const ASKER_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);
const ADDRESS_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 201);
const ASKER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x50);
const ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xab12, 0x3456);

/// `ping -c 1 -s 4 -p 61626364 192.168.1.201`, padded by the wire.
const PING_V4: [u8; 60] = [
    2, 0, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 0x50, 8, 0, // Ethernet
    0x45, 0, 0, 32, 0x12, 0x34, 0x40, 0, 64, 1, 0xa4, 0x5d, 192, 168, 1, 50, 192, 168, 1, 201, // IPv4
    8, 0, 0xe7, 0xdb, 0x4b, 0x5c, 0, 1, 0x61, 0x62, 0x63, 0x64, // ICMP
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // padding
];
const PONG_V4: [u8; 46] = [
    2, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0x11, 8, 0, // Ethernet
    0x45, 0, 0, 32, 0x12, 0x34, 0x40, 0, 64, 1, 0xa4, 0x5d, 192, 168, 1, 201, 192, 168, 1, 50, // IPv4
    0, 0, 0xef, 0xdb, 0x4b, 0x5c, 0, 1, 0x61, 0x62, 0x63, 0x64, // ICMP
];

/// An echo request as a kernel builds it; what is wrong with it is done afterwards.
fn ping_v4(source: Ipv4Addr, destination: Ipv4Addr, class: u8, content: &[u8]) -> Vec<u8> {
    let message = [&[REQUEST_V4, 0, 0, 0][..], content].concat();
    let header = header_v4(u16::try_from(20 + message.len()).unwrap(), class, 0x1234, true, source, destination);
    repaired([&OWN.0[..], &CLIENT.0, &[8, 0], &header, &message].concat())
}

fn ping_v6(source: Ipv6Addr, destination: Ipv6Addr, class: u8, content: &[u8]) -> Vec<u8> {
    let message = [&[REQUEST_V6, 0, 0, 0][..], content].concat();
    let mut frame = [&OWN.0[..], &CLIENT.0, &[0x86, 0xdd, 0x60 | class >> 4, class << 4 | 0xa, 0xbc, 0xde]].concat();
    frame.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend([ICMP_V6, 64]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    repaired(frame)
}

/// With its checksums put right.
fn repaired(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[12] == 8 {
        frame[24..26].fill(0);
        let sum = checksum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        frame[36..38].fill(0);
        let sum = checksum(&[&frame[34..end]]);
        frame[36..38].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[56..58].fill(0);
        let address = |at: usize| Ipv6Addr::from(octets::<16>(&frame, at).unwrap());
        let sum = checksum_v6(address(22), address(38), &frame[54..]);
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

fn pings() -> [Vec<u8>; 2] {
    [ping_v4(ASKER_V4, ADDRESS_V4, 0, b"iiss data"), ping_v6(ASKER_V6, ADDRESS_V6, 0, b"iiss data")]
}

fn is_ours(address: IpAddr) -> bool {
    address == ADDRESS_V4 || address == ADDRESS_V6
}

fn answered(frame: &[u8]) -> Option<Vec<u8>> {
    answer(&parse(frame).unwrap(), OWN, is_ours)
}

/// Where an answer goes to, its class and its content, read by another implementation; its checksums are right.
fn read(frame: &[u8]) -> (MacAddr, IpAddr, IpAddr, u8, Vec<u8>) {
    let mac = MacAddr(frame[..6].try_into().unwrap());
    assert_eq!(frame[6..12], OWN.0);
    if frame[12..14] == [8, 0] {
        let header = Ipv4HeaderSlice::from_slice(&frame[14..]).unwrap();
        let message = &frame[34..];
        assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
        assert_eq!((usize::from(header.total_len()), header.ttl()), (frame.len() - 14, 64));
        assert!(!header.is_fragmenting_payload());
        let icmp = Icmpv4Slice::from_slice(message).unwrap();
        assert!(matches!(icmp.icmp_type(), Icmpv4Type::EchoReply(_)));
        assert_eq!(checksum(&[message]), 0);
        (mac, header.source_addr().into(), header.destination_addr().into(), frame[15], message[4..].to_vec())
    } else {
        let header = Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
        let message = &frame[54..];
        assert_eq!((usize::from(header.payload_length()), header.hop_limit()), (message.len(), 64));
        let icmp = Icmpv6Slice::from_slice(message).unwrap();
        assert!(matches!(icmp.icmp_type(), Icmpv6Type::EchoReply(_)));
        assert!(icmp.is_checksum_valid(header.source(), header.destination()));
        let class = header.traffic_class();
        (mac, header.source_addr().into(), header.destination_addr().into(), class, message[4..].to_vec())
    }
}

#[test]
fn a_ping_is_answered_byte_by_byte_as_a_kernel_would() {
    let request = parse(&PING_V4).unwrap();
    assert_eq!((request.destination_mac, request.source_mac, request.destination()), (OWN, CLIENT, ADDRESS_V4.into()));
    let hosts = Hosts::V4 { source: ASKER_V4, destination: ADDRESS_V4, identification: 0x1234, whole: true };
    assert_eq!((request.hosts, request.content), (hosts, &[0x4b, 0x5c, 0, 1, 0x61, 0x62, 0x63, 0x64][..]));
    assert_eq!(answered(&PING_V4).unwrap(), PONG_V4);
}

#[test]
fn identifier_sequence_number_data_and_class_come_back_and_the_bits_about_congestion_do_not() {
    for length in [0, 1, 55, 56, 1473, 9000] {
        let content: Vec<u8> = (0..4 + length).map(|n: usize| n.to_le_bytes()[0]).collect();
        let answer = answered(&ping_v4(ASKER_V4, ADDRESS_V4, 0xbb, &content)).unwrap();
        assert_eq!(read(&answer), (CLIENT, ADDRESS_V4.into(), ASKER_V4.into(), 0xb8, content.clone()));
        let answer = answered(&ping_v6(ASKER_V6, ADDRESS_V6, 0xbb, &content)).unwrap();
        assert_eq!(read(&answer), (CLIENT, ADDRESS_V6.into(), ASKER_V6.into(), 0xb8, content));
    }
}

#[test]
fn only_a_request_to_our_mac_address_and_an_address_of_ours_is_answered() {
    for ping in pings() {
        let request = parse(&ping).unwrap();
        assert_eq!(answer(&request, OWN, |_| false), None, "another's address");
        assert_eq!(answer(&request, CLIENT, |_| true), None, "heard on the way to another");
        for mac in [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])] {
            assert_eq!(answer(&Request { destination_mac: mac, ..request }, OWN, |_| true), None, "to everybody");
            assert_eq!(answer(&Request { source_mac: mac, ..request }, OWN, |_| true), None, "for everybody");
        }
        for mac in [OWN, MacAddr::ZERO] {
            assert_eq!(answer(&Request { source_mac: mac, ..request }, OWN, |_| true), None, "from {mac}");
        }
    }
}

#[test]
fn what_is_no_whole_and_plain_request_is_refused() {
    use ParseError::{Checksum, Fragment, NotRequest, Options, TooShort};
    let [v4, v6] = pings();
    // Where, what, and whether the checksums are right afterwards.
    let cases: [(&[u8], usize, u8, bool, ParseError); 17] = [
        (&v4, 12, 9, false, NotRequest),
        (&v4, 14, 0x65, true, NotRequest),
        (&v4, 14, 0x46, true, Options),
        (&v4, 16, 1, false, TooShort),
        (&v4, 17, 27, true, TooShort),
        (&v4, 20, 0x20, true, Fragment),
        (&v4, 21, 1, true, Fragment),
        (&v4, 23, 17, true, NotRequest),
        (&v4, 34, 0, true, NotRequest),
        (&v4, 35, 1, true, NotRequest),
        (&v4, 24, 0, false, Checksum),
        (&v4, 40, 0, false, Checksum),
        (&v6, 14, 0x40, true, NotRequest),
        (&v6, 20, 44, true, NotRequest),
        (&v6, 54, 129, true, NotRequest),
        (&v6, 60, 0, false, Checksum),
        (&v6, 18, 1, false, TooShort),
    ];
    for (frame, at, byte, right, error) in cases {
        let mut frame = frame.to_vec();
        frame[at] = byte;
        let frame = if right { repaired(frame) } else { frame };
        assert_eq!(parse(&frame).unwrap_err(), error, "{at} is {byte}");
    }
    for frame in [v4, v6] {
        for length in 0..frame.len() {
            assert_eq!(parse(&frame[..length]), Err(TooShort), "{length}");
        }
    }
}

#[test]
fn to_and_from_what_is_no_single_host_nothing_is_said() {
    for nobody in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.2.3", "255.255.255.255"] {
        let nobody: Ipv4Addr = nobody.parse().unwrap();
        assert_eq!(parse(&ping_v4(nobody, ADDRESS_V4, 0, b"iiss")), Err(ParseError::NoHost), "{nobody}");
        assert_eq!(parse(&ping_v4(ASKER_V4, nobody, 0, b"iiss")), Err(ParseError::NoHost), "{nobody}");
    }
    for nobody in ["::", "::1", "ff02::1", "::ffff:192.0.2.1"] {
        let nobody: Ipv6Addr = nobody.parse().unwrap();
        assert_eq!(parse(&ping_v6(nobody, ADDRESS_V6, 0, b"iiss")), Err(ParseError::NoHost), "{nobody}");
        assert_eq!(parse(&ping_v6(ASKER_V6, nobody, 0, b"iiss")), Err(ParseError::NoHost), "{nobody}");
    }
    assert_eq!(parse(&ping_v4(ADDRESS_V4, ADDRESS_V4, 0, b"iiss")), Err(ParseError::NoHost));
    assert_eq!(parse(&ping_v6(ADDRESS_V6, ADDRESS_V6, 0, b"iiss")), Err(ParseError::NoHost));
}

#[test]
fn an_answer_is_never_answered() {
    for ping in pings() {
        let answer = answered(&ping).unwrap();
        assert_eq!(parse(&answer), Err(ParseError::NotRequest));
    }
}

fn passes(frame: &[u8], ours_v4: &[Ipv4Addr], ours_v6: &[Ipv6Addr]) -> bool {
    let v4: BTreeSet<u32> = ours_v4.iter().map(|address| address.to_bits()).collect();
    let v6: BTreeSet<u32> =
        ours_v6.iter().map(|address| u32::try_from(address.to_bits() & 0xffff_ffff).unwrap()).collect();
    let program = match frame.get(12..14) {
        Some([0x86, 0xdd]) => filter::echo_requests_v6(&v6),
        _ => filter::echo_requests_v4(&v4),
    };
    filter::run(&program, frame).expect("the kernel takes the program")
}

#[test]
fn the_kernel_wakes_us_for_pings_of_our_addresses_and_for_nothing_else() {
    for ping in pings() {
        assert!(passes(&ping, &[ADDRESS_V4], &[ADDRESS_V6]));
        assert!(!passes(&ping, &[], &[]), "no address, no frame");
        assert!(!passes(&ping, &[ASKER_V4], &[ASKER_V6]));
        assert!(!passes(&answered(&ping).unwrap(), &[ASKER_V4], &[ASKER_V6]), "an answer");
    }
    let [v4, v6] = pings();
    for (frame, at, byte) in
        [(&v4, 14, 0x46), (&v4, 20, 0x20), (&v4, 21, 1), (&v4, 23, 17), (&v4, 34, 0), (&v6, 20, 6), (&v6, 54, 135)]
    {
        let mut frame = frame.clone();
        frame[at] = byte;
        assert!(!passes(&frame, &[ADDRESS_V4], &[ADDRESS_V6]), "{at} is {byte}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_nothing_panics_and_an_answer_is_a_right_one(
        start in 0usize..4, noise in proptest::collection::vec((0usize..100, any::<u8>()), 0..4),
        rest in proptest::collection::vec(any::<u8>(), 0..64), right in any::<bool>(),
    ) {
        let mut frame = pings()[start % 2].clone();
        for (at, byte) in noise {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        if start > 1 {
            frame = rest;
        } else if right && frame[12..14] == [8, 0] && usize::from(u16::from_be_bytes([frame[16], frame[17]])) + 14 <= frame.len()
            && frame[16..18] >= [0, 28][..] {
            frame = repaired(frame);
        }
        if let Ok(request) = parse(&frame) {
            let destination = request.destination();
            let (v4, v6) = match destination {
                IpAddr::V4(v4) => (vec![v4], vec![]),
                IpAddr::V6(v6) => (vec![], vec![v6]),
            };
            prop_assert!(passes(&frame, &v4, &v6), "the filter drops what is understood");
            if let Some(answer) = answer(&request, OWN, |_| true) {
                let (mac, from, _, _, content) = read(&answer);
                prop_assert_eq!((mac, from), (request.source_mac, destination));
                prop_assert_eq!(&content[..], request.content);
                prop_assert!(answer.len() <= frame.len(), "an answer is no longer than its request");
            }
        }
    }
}
