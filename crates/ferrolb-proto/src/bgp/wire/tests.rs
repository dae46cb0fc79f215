//! Tests of the wire: golden messages both ways, what goes out is read back, every cut and flipped byte is survived.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::notification::{Cease, Notification};
use super::open::{Capabilities, GracefulRestart, Open};
use super::skim::Terms;
use super::update::{Class, attributes, put_announcement, put_end_of_rib, put_withdrawal};
use super::*;
use crate::bgp::{
    Asn, Attributes, Community, ExtendedCommunity, Families, Kind, LargeCommunity, NextHop, NextHops, Routes,
};

mod malformed;

/// Bytes as people write them.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

const MARK: &str = "ffffffffffffffffffffffffffffffff";
const NEXT_HOP: NextHop = NextHop::V4(Ipv4Addr::new(198, 51, 100, 1));
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn class(kind: Kind, asn: u32, four_octet: bool) -> Class {
    let v6 = Some(NextHop::V6Both(GLOBAL, LINK_LOCAL));
    Class { kind, asn: Asn(asn), four_octet, v4: Some(NEXT_HOP), v6, max_len: MAX_LEN }
}

fn terms(class: &Class) -> Terms {
    Terms { kind: class.kind, four_octet: class.four_octet, families: Families::BOTH }
}

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// One announcement of these prefixes.
fn announcement(set: &Attributes, class: &Class, prefixes: &[&str]) -> Vec<u8> {
    let prefixes: Vec<IpNet> = prefixes.iter().map(|text| prefix(text)).collect();
    let next_hop = class.next_hop(Family::of(&prefixes[0])).unwrap();
    let mut out = Vec::new();
    let block = attributes(set, class, next_hop);
    let packed = put_announcement(&mut out, &block, next_hop, &mut prefixes.iter().copied().peekable(), class.max_len);
    assert_eq!(packed, prefixes);
    out
}

/// The messages in a stream.
fn messages(mut stream: &[u8], max: usize) -> Vec<(MessageType, Vec<u8>)> {
    let (mut inbox, mut found) = (Inbox::default(), Vec::new());
    while let Some(message) = inbox.next(&mut stream, max).unwrap() {
        found.push((message, inbox.body().to_vec()));
    }
    assert!(stream.is_empty());
    found
}

#[test]
fn an_open_has_the_bytes_of_appendix_a4() {
    let capabilities =
        Capabilities { families: Some(Families::BOTH), four_octet: Some(Asn(64512)), ..Capabilities::default() };
    let open = Open { asn: Asn(64512), hold_time: 90, router_id: Ipv4Addr::new(192, 0, 2, 1), capabilities };
    let golden =
        hex(&format!("{MARK} 0031 01 04 fc00 005a c0000201 14 02 12 01 04 0001 0001 01 04 0002 0001 41 04 0000fc00"));
    assert_eq!(open.emit(), golden);
    assert_eq!(Open::parse(&golden[HEADER_LEN..]), Ok(open));
}

#[test]
fn an_update_has_the_bytes_of_appendix_a5() {
    let set = Attributes { communities: [Community(0xffff_ff02)].into(), ..Attributes::default() };
    let golden = hex(&format!(
        "{MARK} 0037 02 0000 001b 40010100 400206 0201 0000fc00 400304 c6336401 c00804 ffffff02 20 c000020a"
    ));
    let class = class(Kind::External, 64512, true);
    assert_eq!(announcement(&set, &class, &["192.0.2.10/32"]), golden);
    let skimmed = skim(&golden[HEADER_LEN..], &terms(&class));
    assert_eq!((skimmed.announced, skimmed.verdict), ([1, 0], Verdict::Fine));
}

#[test]
fn an_ibgp_route_has_an_empty_path_and_a_local_preference_and_attributes_in_order() {
    let set = Attributes {
        local_pref: Some(300),
        med: Some(7),
        prepend: 3,
        communities: [Community(0x0001_0002), Community::GRACEFUL_SHUTDOWN].into(),
        extended_communities: [ExtendedCommunity::link_bandwidth(Asn(64512), 1.0, true)].into(),
        large_communities: [LargeCommunity { global: 64512, first: 1, second: 2 }].into(),
    };
    let golden = "40010100 400200 400304c6336401 80040400000007 4005040000012c c00808 00010002 ffff0000 \
                  c01008 0004fc003f800000 c0200c 0000fc00 00000001 00000002";
    assert_eq!(attributes(&set, &class(Kind::Internal, 64512, true), NEXT_HOP), hex(golden));
}

#[test]
fn a_peer_of_two_octets_gets_as_trans_and_the_true_path_beside_it() {
    let class = class(Kind::External, 4_200_000_000, false);
    let set = Attributes { prepend: 1, ..Attributes::default() };
    let golden = "40010100 400206 0202 5ba05ba0 400304c6336401 c0110a 0202 fa56ea00fa56ea00";
    assert_eq!(attributes(&set, &class, NEXT_HOP), hex(golden));
    let small = Class { asn: Asn(64512), ..class };
    assert_eq!(attributes(&set, &small, NEXT_HOP), hex("40010100 400206 0202 fc00fc00 400304c6336401"));
}

#[test]
fn ipv6_is_announced_first_of_all_with_both_next_hops_and_withdrawn_in_its_own_attribute() {
    let class = class(Kind::External, 64512, true);
    let reach = "900e 0036 0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00 \
                 80 20010db8000100000000000000000010";
    let golden = format!("{MARK} 005e 02 0000 0047 {reach} 40010100 4002060201 0000fc00");
    assert_eq!(announcement(&Attributes::default(), &class, &["2001:db8:1::10/128"]), hex(&golden));
    let mut out = Vec::new();
    put_withdrawal(&mut out, &mut [prefix("2001:db8:1::/48")].into_iter().peekable(), MAX_LEN);
    assert_eq!(out, hex(&format!("{MARK} 0025 02 0000 000e 900f 000a 0002 01 30 20010db80001")));
}

#[test]
fn ipv4_with_an_ipv6_next_hop_goes_into_mp_reach() {
    let class = Class { v4: Some(NextHop::V6(LINK_LOCAL)), ..class(Kind::External, 64512, true) };
    let golden = "900e 001a 0001 01 10 fe800000000000000000000000000001 00 20 c000020a 40010100 40020602010000fc00";
    let bytes = announcement(&Attributes::default(), &class, &["192.0.2.10/32"]);
    assert_eq!(bytes, hex(&format!("{MARK} 0042 02 0000 002b {golden}")));
    assert_eq!(skim(&bytes[HEADER_LEN..], &terms(&class)).announced, [1, 0]);
}

#[test]
fn the_next_hop_is_our_end_of_the_session_or_the_interface_s_address_of_the_other_family() {
    let hops = NextHops { v4: Some([198, 51, 100, 1].into()), v6: Some(GLOBAL), link_local: Some(LINK_LOCAL) };
    let (over_v4, over_v6, over_link) = ("192.0.2.1".parse().unwrap(), GLOBAL.into(), LINK_LOCAL.into());
    let none = NextHops::default();
    assert_eq!(hops.choose(Family::V4, over_v4, false), Some(NextHop::V4([192, 0, 2, 1].into())));
    assert_eq!(hops.choose(Family::V4, over_v6, false), Some(NEXT_HOP));
    assert_eq!(hops.choose(Family::V4, over_v6, true), Some(NextHop::V6Both(GLOBAL, LINK_LOCAL)));
    assert_eq!(none.choose(Family::V4, over_v6, false), None, "no address, no route");
    assert_eq!(hops.choose(Family::V6, over_v4, false), Some(NextHop::V6Both(GLOBAL, LINK_LOCAL)));
    let link_local = NextHops { link_local: Some(LINK_LOCAL), ..none };
    assert_eq!(link_local.choose(Family::V6, over_v4, false), None, "a link-local address means nothing over IPv4");
    assert_eq!(none.choose(Family::V6, over_v6, false), Some(NextHop::V6(GLOBAL)));
    assert_eq!(none.choose(Family::V6, over_link, false), Some(NextHop::V6(LINK_LOCAL)));
    assert_eq!(hops.choose(Family::V6, over_link, false), Some(NextHop::V6Both(GLOBAL, LINK_LOCAL)));
}

#[test]
fn end_of_rib_and_refresh_have_these_bytes() {
    let mut out = Vec::new();
    put_end_of_rib(&mut out, Family::V4);
    put_end_of_rib(&mut out, Family::V6);
    put_refresh(&mut out, Family::V6, Refresh::Begin);
    let golden = format!("{MARK} 0017 02 0000 0000 {MARK} 001d 02 0000 0006 800f03 000201 {MARK} 0017 05 0002 01 01");
    assert_eq!(out, hex(&golden));
    let bodies = messages(&out, MAX_LEN);
    let judged = terms(&class(Kind::External, 1, true));
    assert_eq!(skim(&bodies[0].1, &judged).end_of_rib, Some(Family::V4));
    assert_eq!(skim(&bodies[1].1, &judged).end_of_rib, Some(Family::V6));
    assert_eq!(parse_refresh(&bodies[2].1, true), Ok(Some((Family::V6, Refresh::Begin))));
}

#[test]
fn a_refresh_of_another_family_is_passed_by_and_a_wrong_length_is_not() {
    assert_eq!(parse_refresh(&[0, 25, 0, 70], true), Ok(None));
    assert_eq!(parse_refresh(&[0, 1, 9, 1], true), Ok(None));
    let longer = [0, 1, 0, 1, 0x80];
    assert_eq!(parse_refresh(&longer, false), Err(Notification::with_data(1, 2, vec![0, 24])));
    let enhanced = parse_refresh(&longer, true).unwrap_err();
    assert_eq!((enhanced.code, enhanced.subcode, enhanced.data.len()), (7, 1, 24));
}

#[test]
fn a_shutdown_is_told_in_words_and_a_hard_reset_wraps_it() {
    let cease = Notification::cease_saying(Cease::AdministrativeShutdown, "draining node-a");
    assert_eq!(cease.emit(), hex(&format!("{MARK} 0025 03 06 02 0f 647261696e696e67206e6f64652d61")));
    let hard = Notification::parse(&cease.clone().hard().emit()[HEADER_LEN..]);
    assert_eq!((hard.code, hard.subcode), (6, 9));
    assert_eq!((hard.inner(), hard.text().as_deref()), (cease, Some("draining node-a")));
    assert_eq!(hard.to_string(), "administrative shutdown (6/9): \"draining node-a\"");
    assert_eq!(hard.clone().hard(), hard, "not twice");
}

#[test]
fn a_text_is_cut_where_a_character_ends_and_shown_on_one_line() {
    let cease = Notification::cease_saying(Cease::AdministrativeReset, &"ä".repeat(200));
    assert_eq!((cease.data[0], cease.data.len()), (254, 255));
    let odd = Notification::with_data(6, 2, b"\x05a\nb\x1bc rest".to_vec());
    assert_eq!(odd.text().as_deref(), Some("a b c"));
    assert_eq!(Notification::with_data(6, 2, vec![200, b'a']).text(), None, "longer than what is there");
    assert_eq!(Notification::cease_saying(Cease::BfdDown, "x"), Notification::cease(Cease::BfdDown));
}

#[test]
fn headers_are_judged_with_the_codes_of_rfc_4271() {
    let judged = |len: u16, kind: u8| {
        let mut header = [0xff; HEADER_LEN];
        header[16..18].copy_from_slice(&len.to_be_bytes());
        header[18] = kind;
        parse_header(&header, MAX_LEN)
    };
    let wrong_length = |len: u16| Err(Notification::with_data(1, 2, len.to_be_bytes().to_vec()));
    assert_eq!(judged(19, 4), Ok((MessageType::Keepalive, 19)));
    for (len, kind) in [(18, 4), (20, 4), (28, 1), (4097, 2), (22, 2), (20, 3), (0, 2)] {
        assert_eq!(judged(len, kind), wrong_length(len), "type {kind}");
    }
    assert_eq!(judged(19, 9), Err(Notification::with_data(1, 3, vec![9])));
    let mut zero = [0xff; HEADER_LEN];
    zero[15] = 0;
    assert_eq!(parse_header(&zero, MAX_LEN), Err(Notification::new(1, 1)));
    let mut extended = [0xff; HEADER_LEN];
    extended[16..].copy_from_slice(&[0x20, 0, 1]);
    assert!(parse_header(&extended, EXTENDED_MAX_LEN).is_err(), "an OPEN never grows");
    extended[18] = 2;
    assert_eq!(parse_header(&extended, EXTENDED_MAX_LEN), Ok((MessageType::Update, 0x2000)));
}

fn full_open() -> Open {
    let restart = GracefulRestart {
        restarted: true,
        notification: true,
        time: 120,
        families: Families::BOTH,
        forwarding: Families::V6,
    };
    let capabilities = Capabilities {
        families: Some(Families::BOTH),
        refresh: true,
        extended_next_hop: true,
        extended_message: true,
        graceful_restart: Some(restart),
        four_octet: Some(Asn(4_200_000_000)),
        enhanced_refresh: true,
        host_name: Some("node-a".to_owned()),
        link_local_next_hop: true,
        unknown: [222].into(),
    };
    Open { asn: Asn(4_200_000_000), hold_time: 90, router_id: [192, 0, 2, 1].into(), capabilities }
}

#[test]
fn an_open_with_every_capability_is_read_back_and_no_cut_of_it_is() {
    let open = full_open();
    let body = open.emit()[HEADER_LEN..].to_vec();
    assert_eq!(Open::parse(&body), Ok(open));
    for end in 0..body.len() {
        let refused = Open::parse(&body[..end]).unwrap_err();
        assert!(matches!((refused.code, refused.subcode), (1, 2) | (2, 0)), "cut at {end}: {refused}");
    }
}

#[test]
fn parameters_over_255_bytes_take_the_long_form() {
    let mut open = full_open();
    open.capabilities.unknown = (100..=250).collect();
    let bytes = open.emit();
    assert_eq!(bytes[28..30], [255, 255]);
    assert_eq!(Open::parse(&bytes[HEADER_LEN..]), Ok(open));
    let short = hex("04 fc00 005a c0000201 ff ff 0009 02 0006 4104 0000fc00");
    assert_eq!(Open::parse(&short).map(|open| open.asn), Ok(Asn(64512)), "the long form, without need");
}

#[test]
fn odd_opens_get_the_codes_that_routers_agree_on() {
    let refused = |text: &str| Open::parse(&hex(text)).map_err(|refused| (refused.code, refused.subcode));
    let cases = [
        ("version 3", "03 fc00 005a c0000201 00", (2, 1)),
        ("identifier 0.0.0.0", "04 fc00 005a 00000000 00", (2, 3)),
        ("hold time 2", "04 fc00 0002 c0000201 00", (2, 6)),
        ("AS 0", "04 0000 005a c0000201 00", (2, 2)),
        ("AS in the capability is another", "04 fc00 005a c0000201 08 0206 4104 0000fc01", (2, 2)),
        ("AS 0 in the capability", "04 5ba0 005a c0000201 08 0206 4104 00000000", (2, 2)),
        ("capability overruns", "04 fc00 005a c0000201 06 0204 4104 0000", (2, 0)),
        ("parameter overruns", "04 fc00 005a c0000201 04 0206 4104", (2, 0)),
        ("bytes behind the parameters", "04 fc00 005a c0000201 00 00", (2, 0)),
        ("parameter type 1", "04 fc00 005a c0000201 03 0101 00", (2, 4)),
        ("AS capability of two bytes", "04 fc00 005a c0000201 06 0204 4102 fc00", (2, 0)),
    ];
    for (what, bytes, code) in cases {
        assert_eq!(refused(bytes), Err(code), "{what}");
    }
    assert!(Open::parse(&hex("04 fc00 005a c0000201 00")).is_ok(), "no capabilities");
    let one_each = hex("04 fc00 0000 c0000201 10 0206 0104 00020001 0206 4104 0000fc00");
    assert_eq!(Open::parse(&one_each).unwrap().capabilities.families, Some(Families::V6));
}

#[test]
fn a_malformed_optional_capability_counts_as_absent() {
    let open = Open::parse(&hex("04 fc00 005a c0000201 0a 0208 4003 0078ff 4901ff")).unwrap();
    assert_eq!((open.capabilities.graceful_restart, open.capabilities.host_name), (None, None));
}

#[test]
fn a_stream_is_cut_into_messages_however_it_comes() {
    let mut stream = full_open().emit();
    stream.extend(keepalive());
    put_end_of_rib(&mut stream, Family::V6);
    let whole = messages(&stream, MAX_LEN);
    assert_eq!(whole.iter().map(|(kind, _)| *kind as u8).collect::<Vec<_>>(), [1, 4, 2]);
    let (mut inbox, mut found) = (Inbox::default(), Vec::new());
    for byte in &stream {
        let mut chunk = std::slice::from_ref(byte);
        while let Some(kind) = inbox.next(&mut chunk, MAX_LEN).unwrap() {
            found.push((kind, inbox.body().to_vec()));
        }
    }
    assert_eq!(found, whole);
}

fn any_v4() -> impl Strategy<Value = IpNet> {
    (any::<u32>(), 0u8..=32).prop_map(|(bits, len)| ipnet::Ipv4Net::new(bits.into(), len).unwrap().trunc().into())
}

fn any_v6() -> impl Strategy<Value = IpNet> {
    (any::<u128>(), 0u8..=128).prop_map(|(bits, len)| ipnet::Ipv6Net::new(bits.into(), len).unwrap().trunc().into())
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let communities = prop::collection::btree_set(any::<u32>().prop_map(Community), 0..80);
    let extended = prop::collection::btree_set(any::<[u8; 8]>().prop_map(ExtendedCommunity), 0..8);
    let large = any::<[u32; 3]>().prop_map(|[global, first, second]| LargeCommunity { global, first, second });
    let large = prop::collection::btree_set(large, 0..63);
    let numbers = (any::<Option<u32>>(), any::<Option<u32>>(), 0u8..=20);
    (numbers, communities, extended, large).prop_map(|((local_pref, med, prepend), communities, ext, large)| {
        Attributes { local_pref, med, prepend, communities, extended_communities: ext, large_communities: large }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_announced_is_read_back_in_full_messages(
        set in any_attributes(),
        v4 in prop::collection::btree_set(any_v4(), 0..900),
        v6 in prop::collection::btree_set(any_v6(), 0..300),
        internal: bool, four_octet: bool, asn in 1u32..,
    ) {
        let kind = if internal { Kind::Internal } else { Kind::External };
        let class = class(kind, asn, four_octet);
        let routes: Routes = v4.iter().chain(&v6).map(|prefix| (*prefix, Arc::new(set.clone()))).collect();
        let mut out = Vec::new();
        for family in Family::ALL {
            let next_hop = class.next_hop(family).unwrap();
            let block = attributes(&set, &class, next_hop);
            let mut prefixes = routes.keys().copied().filter(|prefix| Family::of(prefix) == family).peekable();
            while prefixes.peek().is_some() {
                prop_assert!(!put_announcement(&mut out, &block, next_hop, &mut prefixes, MAX_LEN).is_empty());
            }
        }
        let (mut announced, judged) = ([0, 0], terms(&class));
        for (message, body) in messages(&out, MAX_LEN) {
            let skimmed = skim(&body, &judged);
            prop_assert_eq!((message, &skimmed.verdict), (MessageType::Update, &Verdict::Fine));
            announced = [announced[0] + skimmed.announced[0], announced[1] + skimmed.announced[1]];
        }
        prop_assert_eq!(announced.map(|count| count as usize), [v4.len(), v6.len()]);
    }

    #[test]
    fn what_is_withdrawn_is_read_back(prefixes in prop::collection::btree_set(any_v6(), 1..700)) {
        let (mut out, mut left) = (Vec::new(), prefixes.iter().copied().peekable());
        while left.peek().is_some() {
            put_withdrawal(&mut out, &mut left, MAX_LEN);
        }
        let judged = terms(&class(Kind::External, 1, true));
        let counted = messages(&out, MAX_LEN).iter().map(|(_, body)| skim(body, &judged).withdrawn[1]).sum::<u32>();
        prop_assert_eq!(counted as usize, prefixes.len());
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), flag: bool) {
        let judged = Terms { kind: Kind::External, four_octet: flag, families: Families::BOTH };
        let _ = (skim(&bytes, &judged), Open::parse(&bytes), parse_refresh(&bytes, flag));
        let notification = Notification::parse(&bytes);
        prop_assert!(notification.data.len() <= 258 && !notification.to_string().contains(char::is_control));
    }

    #[test]
    fn flipped_bytes_in_a_true_update_never_panic_and_are_counted_within_its_length(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let class = class(Kind::External, 64512, true);
        let set = Attributes { med: Some(1), communities: [Community(7)].into(), ..Attributes::default() };
        let mut body = announcement(&set, &class, &["2001:db8::/32", "2001:db8:7::1/128"])[HEADER_LEN..].to_vec();
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let skimmed = skim(&body, &terms(&class));
        let counted: u32 = skimmed.announced.iter().chain(&skimmed.withdrawn).sum();
        prop_assert!(counted as usize <= body.len());
    }
}
