//! Tests of the messages: they survive the wire, fit a frame, and no bytes make the decoders panic.

use proptest::prelude::*;

use super::*;
use crate::seal::OVERHEAD;

fn stake() -> impl Strategy<Value = Stake> {
    (any::<IpAddr>(), any::<u32>(), any::<bool>()).prop_map(|(address, epoch, firm)| Stake { address, epoch, firm })
}

fn body() -> impl Strategy<Value = Body> {
    let node = any::<u64>().prop_map(NodeId);
    let stakes = || proptest::collection::vec(stake(), 0..STAKES);
    prop_oneof![
        (any::<(bool, bool, bool, bool, u16, u32, u64)>()).prop_map(
            |(ready, watch, lan, udp, members, count, digest)| {
                let heard_by = Paths { lan, udp };
                Body::Heartbeat(Heartbeat {
                    state: State::Running,
                    ready,
                    watch,
                    heard_by,
                    members,
                    digest: (count, digest),
                })
            }
        ),
        (node.clone(), any::<[u8; 6]>(), any::<u64>(), stakes())
            .prop_map(|(owner, mac, nonce, stakes)| Body::Claims(Claims { owner, mac, nonce, stakes })),
        stakes().prop_map(Body::Handover),
        (any::<u64>(), any::<bool>()).prop_map(|(nonce, everything)| Body::Query { nonce, everything }),
        node.prop_map(|node| Body::Silent { node, kernel: Kernel::Silent }),
        any::<u64>().prop_map(|nonce| Body::Challenge { nonce }),
        any::<u64>().prop_map(|nonce| Body::Response { nonce }),
        Just(Body::HeldDead),
        Just(Body::Probe),
        Just(Body::Here),
    ]
}

#[test]
fn the_bytes_of_a_probe_are_these() {
    let message = Message { sender: NodeId(300), to: Some(NodeId(2)), body: Body::Probe };
    assert_eq!(message.emit(), [1, 0xac, 0x02, 1, 2, 7]);
    assert_eq!(Message::parse(&[1, 0xac, 0x02, 1, 2, 7]), Ok(message));
}

#[test]
fn the_longest_claims_fit_a_frame() {
    let stake = Stake { address: std::net::Ipv6Addr::from_bits(u128::MAX).into(), epoch: u32::MAX, firm: true };
    let claims = Claims { owner: NodeId(u64::MAX), mac: [0xff; 6], nonce: u64::MAX, stakes: vec![stake; STAKES] };
    let message = Message { sender: NodeId(u64::MAX), to: None, body: Body::Claims(claims) };
    let length = message.emit().len() + OVERHEAD;
    assert!(length <= 1400, "{length} bytes");
}

#[test]
fn a_frame_is_padded_and_its_padding_is_not_part_of_it() {
    let (to, from) = (MacAddr::BROADCAST, MacAddr([2, 0, 0, 0, 0, 1]));
    let frame = emit_lan(to, from, b"sealed");
    assert_eq!(frame.len(), SHORTEST);
    assert_eq!(frame[..16], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 0, 6]);
    assert_eq!(parse_lan(&frame), Ok((from, &b"sealed"[..])));
    assert_eq!(parse_lan(&frame[..20]), Err(ParseError::CutOff));
    assert_eq!(parse_lan(&frame[..15]), Err(ParseError::NotOurs));
    let mut arp = frame;
    arp[13] = 6;
    assert_eq!(parse_lan(&arp), Err(ParseError::NotOurs));
}

proptest! {
    #[test]
    fn every_message_survives_the_wire(sender: u64, to: Option<u64>, body in body()) {
        let message = Message { sender: NodeId(sender), to: to.map(NodeId), body };
        let bytes = message.emit();
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
        for length in 0..bytes.len() {
            prop_assert!(Message::parse(&bytes[..length]).is_err(), "{} bytes of it", length);
        }
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_lan(&bytes).map(|(_, sealed)| Message::parse(sealed));
        if let Ok(message) = Message::parse(&bytes) {
            prop_assert_eq!(Message::parse(&message.emit()), Ok(message));
        }
    }
}
