//! Tests of neighbour discovery: a golden frame, what is answered to whom, every rule of RFC 4861 §7.1.1.

use etherparse::{Icmpv6Slice, Ipv6HeaderSlice};
use proptest::prelude::*;

use super::*;

const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x50]);
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const ASKER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x50);
const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xab12, 0x3456);

/// A solicitation as a neighbour's kernel builds it.
fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, option: Option<MacAddr>) -> Vec<u8> {
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(ADDRESS.octets());
    if let Some(mac) = option {
        message.extend([SOURCE_LINK_LAYER, 1]);
        message.extend(mac.0);
    }
    frame(source, destination, HOP_LIMIT, message)
}

fn frame(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, mut message: Vec<u8>) -> Vec<u8> {
    let sum = checksum(source, destination, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mac = if destination.is_multicast() { ethernet_group(destination) } else { OWN };
    let mut frame = [&mac.0[..], &CLIENT.0, &ETHERTYPE.to_be_bytes(), &[0x60, 0, 0, 0]].concat();
    frame.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend([ICMPV6, hop_limit]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    frame
}

fn group() -> Ipv6Addr {
    solicited_node(ADDRESS)
}

fn answered(bytes: &[u8]) -> Option<[u8; FRAME_LEN]> {
    answer(&parse(bytes).unwrap(), OWN, |address| address == ADDRESS)
}

/// Destination MAC, IPv6 destination and flags of an advertisement, read by another implementation.
fn read(frame: &[u8; FRAME_LEN]) -> (MacAddr, Ipv6Addr, u8) {
    let header = Ipv6HeaderSlice::from_slice(&frame[14..]).unwrap();
    let icmp = Icmpv6Slice::from_slice(&frame[54..]).unwrap();
    assert!(icmp.is_checksum_valid(header.source(), header.destination()), "checksum");
    assert_eq!((icmp.type_u8(), icmp.code_u8(), header.hop_limit()), (ADVERTISEMENT, 0, 255));
    assert_eq!((header.source_addr(), &frame[6..12]), (ADDRESS, &OWN.0[..]));
    assert_eq!(frame[62..78], ADDRESS.octets(), "target");
    assert_eq!(frame[78..86], [&[TARGET_LINK_LAYER, 1][..], &OWN.0].concat(), "target link-layer address");
    (MacAddr(frame[..6].try_into().unwrap()), header.destination_addr(), frame[58])
}

#[test]
fn the_group_of_an_address_is_its_low_24_bits() {
    assert_eq!(group().to_string(), "ff02::1:ff12:3456");
    assert_eq!(ethernet_group(group()), MacAddr([0x33, 0x33, 0xff, 0x12, 0x34, 0x56]));
}

#[test]
fn a_neighbour_that_asks_is_answered_with_the_solicited_flag() {
    let answer = answered(&solicitation(ASKER, group(), Some(CLIENT))).unwrap();
    assert_eq!(read(&answer), (CLIENT, ASKER, SOLICITED));
}

#[test]
fn a_neighbour_that_checks_is_answered_without_a_link_layer_option() {
    let answer = answered(&solicitation(ASKER, ADDRESS, None)).unwrap();
    assert_eq!(read(&answer), (CLIENT, ASKER, SOLICITED));
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let answer = answered(&solicitation(Ipv6Addr::UNSPECIFIED, group(), None)).unwrap();
    assert_eq!(read(&answer), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), ALL_NODES, OVERRIDE));
}

#[test]
fn an_announcement_goes_to_all_nodes_and_overrides() {
    assert_eq!(read(&announcement(OWN, ADDRESS)), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), ALL_NODES, OVERRIDE));
}

#[test]
fn what_is_not_for_us_is_not_answered() {
    let parsed = parse(&solicitation(ASKER, group(), Some(CLIENT))).unwrap();
    assert_eq!(answer(&parsed, OWN, |_| false), None);
    let elsewhere = Solicitation { destination_mac: MacAddr([2, 9, 9, 9, 9, 9]), ..parsed };
    assert_eq!(answer(&elsewhere, OWN, |_| true), None);
    let ours = Solicitation { source_mac: OWN, ..parsed };
    assert_eq!(answer(&ours, OWN, |_| true), None, "our own frame, come back");
    for asker in [MacAddr::BROADCAST, MacAddr::ZERO, OWN] {
        let claims = Solicitation { link_layer: Some(asker), ..parsed };
        assert_eq!(answer(&claims, OWN, |_| true), None, "an answer to {asker}");
        let comes_from = Solicitation { link_layer: None, source_mac: asker, ..parsed };
        assert_eq!(answer(&comes_from, OWN, |_| true), None, "an answer to {asker}");
    }
}

#[test]
fn an_answer_in_the_name_of_another_tells_its_mac_address_and_overrides_nothing() {
    let owner = MacAddr([2, 0, 0, 0, 0, 0x77]);
    for (asker, to) in [(ASKER, ASKER), (Ipv6Addr::UNSPECIFIED, ALL_NODES)] {
        let link_layer = (!asker.is_unspecified()).then_some(CLIENT);
        let parsed = parse(&solicitation(asker, group(), link_layer)).unwrap();
        let frame = on_behalf_of(answer(&parsed, OWN, |_| true).unwrap(), owner);
        assert_eq!(frame[6..12], OWN.0, "the frame comes from us");
        assert_eq!(frame[54 + 26..], owner.0);
        assert_eq!(frame[54 + 4] & OVERRIDE, 0);
        assert_eq!(checksum(ADDRESS, to, &frame[54..]), 0);
    }
}

#[test]
fn every_rule_for_a_valid_solicitation_is_checked() {
    let good = solicitation(ASKER, group(), Some(CLIENT));
    let message = |change: fn(&mut Vec<u8>)| {
        let mut message = good[54..].to_vec();
        message[2..4].fill(0);
        change(&mut message);
        parse(&frame(ASKER, group(), HOP_LIMIT, message))
    };
    assert_eq!(parse(&frame(ASKER, group(), 64, good[54..].to_vec())), Err(ParseError::HopLimit(64)));
    let mut broken = good.clone();
    broken[60] ^= 1;
    assert_eq!(parse(&broken), Err(ParseError::Checksum));
    assert_eq!(message(|message| message[1] = 1), Err(ParseError::Malformed), "code");
    assert_eq!(message(|message| message[8] = 0xff), Err(ParseError::Malformed), "the target is a group");
    assert_eq!(message(|message| message[25] = 0), Err(ParseError::Malformed), "an option of length zero");
    assert_eq!(message(|message| message[25] = 2), Err(ParseError::TooShort), "an option that is cut off");
    assert_eq!(message(|message| message[0] = ADVERTISEMENT), Err(ParseError::NotSolicitation));
    assert_eq!(parse(&solicitation(Ipv6Addr::UNSPECIFIED, ADDRESS, None)), Err(ParseError::Malformed));
    assert_eq!(parse(&solicitation(Ipv6Addr::UNSPECIFIED, group(), Some(CLIENT))), Err(ParseError::Malformed));
    for length in 0..good.len() {
        assert!(parse(&good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn unknown_options_are_passed_over() {
    let mut message = solicitation(ASKER, group(), None)[54..].to_vec();
    message[2..4].fill(0);
    message.extend([14, 1, 1, 2, 3, 4, 5, 6]);
    message.extend([SOURCE_LINK_LAYER, 1]);
    message.extend(CLIENT.0);
    assert_eq!(parse(&frame(ASKER, group(), HOP_LIMIT, message)).unwrap().link_layer, Some(CLIENT));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
        if let Ok(solicitation) = parse(&bytes) {
            let _ = answer(&solicitation, OWN, |_| true);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_changes_what_is_read(at in 12usize..86, value: u8) {
        let good = solicitation(ASKER, group(), Some(CLIENT));
        let mut changed = good.clone();
        changed[at] = value;
        // Flow label and traffic class are not looked at.
        prop_assume!(changed[at] != good[at] && !(14..18).contains(&at));
        prop_assert!(parse(&changed).is_err(), "byte {}", at);
    }
}
