//! Tests of ARP: one golden frame both ways, what is answered and what is not, nothing panics.

use etherparse::{ArpOperation, ArpPacketSlice, Ethernet2HeaderSlice};
use proptest::prelude::*;

use super::*;

const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x50]);
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 201);

fn request() -> Frame {
    Frame {
        destination: MacAddr::BROADCAST,
        source: CLIENT,
        operation: Operation::Request,
        sender_mac: CLIENT,
        sender_ip: Ipv4Addr::new(192, 168, 1, 50),
        target_mac: MacAddr::ZERO,
        target_ip: ADDRESS,
    }
}

#[rustfmt::skip]
const GOLDEN: [u8; FRAME_LEN] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x50, 0x08, 0x06,
    0, 1, 8, 0, 6, 4, 0, 1,
    2, 0, 0, 0, 0, 0x50, 192, 168, 1, 50,
    0, 0, 0, 0, 0, 0, 192, 168, 1, 201,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn a_request_has_these_bytes() {
    assert_eq!(request().emit(), GOLDEN);
    assert_eq!(parse(&GOLDEN), Ok(request()));
    assert_eq!(parse(&GOLDEN[..42]), Ok(request()), "padding is not needed");
}

#[test]
fn another_implementation_reads_the_answer() {
    let bytes = answer(&request(), OWN, |_| true).unwrap().emit();
    let ethernet = Ethernet2HeaderSlice::from_slice(&bytes).unwrap();
    assert_eq!((ethernet.destination(), ethernet.source()), (CLIENT.0, OWN.0));
    let arp = ArpPacketSlice::from_slice(&bytes[14..]).unwrap();
    assert_eq!(arp.operation(), ArpOperation::REPLY);
    assert_eq!((arp.sender_hw_addr(), arp.sender_protocol_addr()), (&OWN.0[..], &ADDRESS.octets()[..]));
    assert_eq!((arp.target_hw_addr(), arp.target_protocol_addr()), (&CLIENT.0[..], &[192, 168, 1, 50][..]));
}

#[test]
fn only_requests_for_our_addresses_to_us_are_answered() {
    let answered = |change: fn(&mut Frame)| {
        let mut frame = request();
        change(&mut frame);
        answer(&frame, OWN, |ip| ip == ADDRESS).is_some()
    };
    assert!(answered(|_| {}));
    assert!(answered(|frame| frame.destination = OWN), "a unicast probe of a neighbour's kernel");
    assert!(answered(|frame| frame.sender_ip = Ipv4Addr::UNSPECIFIED), "RFC 5227 probe");
    assert!(answered(|frame| frame.sender_ip = ADDRESS), "somebody else announces it");
    assert!(!answered(|frame| frame.operation = Operation::Reply));
    assert!(!answered(|frame| frame.destination = MacAddr([2, 9, 9, 9, 9, 9])));
    assert!(!answered(|frame| frame.target_ip = Ipv4Addr::new(192, 168, 1, 202)));
    assert!(!answered(|frame| frame.sender_mac = MacAddr::BROADCAST));
    assert!(!answered(|frame| frame.sender_mac = MacAddr::ZERO));
    assert!(!answered(|frame| frame.sender_mac = OWN), "our own frame, come back");
}

#[test]
fn an_answer_in_the_name_of_another_tells_its_mac_address_and_comes_from_ours() {
    let request = parse(&GOLDEN).unwrap();
    let owner = MacAddr([2, 0, 0, 0, 0, 0x77]);
    let answer = answer(&request, OWN, |_| true).unwrap().on_behalf_of(owner);
    assert_eq!((answer.source, answer.sender_mac), (OWN, owner));
}

#[test]
fn announcements_come_in_both_forms_that_linux_accepts_at_once() {
    let [request, reply] = announcements(OWN, ADDRESS);
    for frame in [request, reply] {
        assert_eq!((frame.destination, frame.source, frame.sender_mac), (MacAddr::BROADCAST, OWN, OWN));
        assert_eq!((frame.sender_ip, frame.target_ip), (ADDRESS, ADDRESS));
    }
    assert_eq!(request.operation, Operation::Request);
    assert_eq!((reply.operation, reply.target_mac), (Operation::Reply, OWN));
}

#[test]
fn what_is_no_arp_for_ipv4_over_ethernet_is_refused() {
    let changed = |at: usize, value: u8| {
        let mut bytes = GOLDEN;
        bytes[at] = value;
        parse(&bytes)
    };
    assert_eq!(parse(&GOLDEN[..41]), Err(ParseError::TooShort));
    assert_eq!(changed(13, 0), Err(ParseError::OtherEtherType));
    for at in 14..20 {
        assert_eq!(changed(at, 0x77), Err(ParseError::OtherHardware), "byte {at}");
    }
    assert_eq!(changed(21, 3), Err(ParseError::OtherOperation(3)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(frame) = parse(&bytes) {
            let _ = answer(&frame, OWN, |_| true);
        }
    }

    #[test]
    fn what_is_emitted_is_parsed_back(source: [u8; 6], target: [u8; 6], from: [u8; 4], to: [u8; 4], reply: bool) {
        let frame = Frame {
            destination: MacAddr(target),
            source: MacAddr(source),
            operation: if reply { Operation::Reply } else { Operation::Request },
            sender_mac: MacAddr(source),
            sender_ip: from.into(),
            target_mac: MacAddr(target),
            target_ip: to.into(),
        };
        prop_assert_eq!(parse(&frame.emit()), Ok(frame));
    }
}
