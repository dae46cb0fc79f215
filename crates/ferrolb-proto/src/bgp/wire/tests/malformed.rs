//! Twenty-six malformed UPDATEs, and a few that only look so, with the verdict of RFC 7606 for each.

use super::*;

/// A route's attributes, each by its type, before one of them is spoiled.
fn sound() -> Vec<(u8, Vec<u8>)> {
    [(1, "40010100"), (2, "400206 0201 0000fc00"), (3, "400304c6336401")].map(|(code, text)| (code, hex(text))).to_vec()
}

fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(withdrawn.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(withdrawn);
    body.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    body.extend_from_slice(attributes);
    body.extend_from_slice(announced);
    body
}

/// A route for 192.0.2.10/32 whose attribute of the same type is replaced by this one, or which has it besides.
fn with(attribute: &str) -> Vec<u8> {
    let bytes = hex(attribute);
    let mut all = sound();
    match all.iter_mut().find(|(code, _)| *code == bytes[1]) {
        Some((_, place)) => *place = bytes,
        None => all.push((bytes[1], bytes)),
    }
    update(&[], &all.into_iter().flat_map(|(_, bytes)| bytes).collect::<Vec<u8>>(), &hex("20c000020a"))
}

/// The same route, with this attribute behind all others.
fn and(attribute: &str) -> Vec<u8> {
    let mut all: Vec<u8> = sound().into_iter().flat_map(|(_, bytes)| bytes).collect();
    all.extend(hex(attribute));
    update(&[], &all, &hex("20c000020a"))
}

fn without(missing: u8) -> Vec<u8> {
    let all = sound().into_iter().filter(|(code, _)| *code != missing).flat_map(|(_, bytes)| bytes);
    update(&[], &all.collect::<Vec<u8>>(), &hex("20c000020a"))
}

const EXTERNAL: Terms = Terms { kind: Kind::External, four_octet: true, families: Families::BOTH };
const INTERNAL: Terms = Terms { kind: Kind::Internal, ..EXTERNAL };

fn verdict(body: &[u8]) -> Verdict {
    skim(body, &EXTERNAL).verdict
}

#[test]
fn a_sound_route_is_fine() {
    let skimmed = skim(&with("40010100"), &EXTERNAL);
    assert_eq!((skimmed.announced, skimmed.verdict), ([1, 0], Verdict::Fine));
}

#[test]
fn faults_of_attributes_withdraw_their_routes() {
    let cases = [
        ("ORIGIN 5", with("40010105"), 1),
        ("ORIGIN of two bytes", with("4001020000"), 1),
        ("ORIGIN that claims to be optional", with("c0010100"), 1),
        ("AS_PATH segment that overruns", with("400206 0202 0000fc00"), 2),
        ("AS_PATH segment of no AS", with("400202 0200"), 2),
        ("AS_PATH segment of an unknown type", with("400206 0901 0000fc00"), 2),
        ("AS_PATH that ends within a segment", with("400207 0201 0000fc00 02"), 2),
        ("AS 0 in the path", with("40020a 0202 0000fc00 00000000"), 2),
        ("NEXT_HOP 0.0.0.0", with("400304 00000000"), 3),
        ("NEXT_HOP of five bytes", with("400305 c633640100"), 3),
        ("NEXT_HOP that is a group", with("400304 e0000001"), 3),
        ("no ORIGIN", without(1), 1),
        ("no AS_PATH", without(2), 2),
        ("no NEXT_HOP", without(3), 3),
        ("MULTI_EXIT_DISC of three bytes", with("800403 000000"), 4),
        ("community of three bytes", with("c00803 000000"), 8),
        ("no communities in COMMUNITIES", with("c00800"), 8),
        ("large community of eleven bytes", with("c0200b 0000000000000000000000"), 32),
        ("extended community of seven bytes", with("c01007 00000000000000"), 16),
        ("attribute that overruns the block", and("c008ff 0000"), 0),
        ("attribute without a length", and("c0"), 0),
        ("well-known attribute that nobody knows", with("40630100"), 99),
    ];
    for (what, body, code) in cases {
        assert_eq!(verdict(&body), Verdict::TreatAsWithdraw(code), "{what}");
        assert_eq!(skim(&body, &EXTERNAL).announced, [1, 0], "{what}");
    }
}

#[test]
fn attributes_that_do_not_matter_are_passed_by() {
    let cases = [
        ("LOCAL_PREF on eBGP", with("400504 00000064"), 5),
        ("ATOMIC_AGGREGATE with a byte in it", with("400601 00"), 6),
        ("AGGREGATOR of six bytes", with("c00706 fc00c0000201"), 7),
        ("AGGREGATOR with AS 0", with("c00708 00000000 c0000201"), 7),
        ("ORIGINATOR_ID on eBGP", with("800904 c0000201"), 9),
        ("CLUSTER_LIST on eBGP", with("800a04 c0000201"), 10),
        ("AS4_PATH where numbers have four octets", with("c01106 0201 0000fc00"), 17),
        ("communities twice", and("c00804 00000001 c00804 00000002"), 8),
    ];
    for (what, body, code) in cases {
        assert_eq!(verdict(&body), Verdict::Discard(code), "{what}");
    }
}

#[test]
fn what_is_none_of_our_business_is_fine() {
    let cases = [
        ("entropy label without content", with("e01c00")),
        ("tunnel encapsulation with garbage", with("c01703 ffffff")),
        ("prefix SID with garbage", with("c02803 ffffff")),
        ("ATTR_SET with garbage", with("c08002 ffff")),
        ("first AS is not the peer's", with("400206 0201 0000fbff")),
        ("empty path on eBGP", with("400200")),
        ("long length of a short attribute", with("50010001 00")),
        ("confederation segment", with("40020c 0301 0000fde8 0201 0000fc00")),
        ("another family's routes", with("900e 0005 4004 47 00 00")),
    ];
    for (what, body) in cases {
        assert_eq!(verdict(&body), Verdict::Fine, "{what}");
    }
}

#[test]
fn only_what_cannot_be_read_resets_the_session() {
    let reset = |subcode| Verdict::Reset(Notification::new(3, subcode));
    let reach = |rest: &str| format!("900e 00{:02x} {rest}", hex(rest).len());
    let next_hop = "20010db8000000000000000000000001";
    let cases = [
        ("prefix length 33", update(&[], &[], &hex("21c000020a00")), 10),
        ("prefix that is cut off", update(&[], &[], &hex("20c00002")), 10),
        ("withdrawn prefix length 33", update(&hex("21c000020a00"), &[], &[]), 10),
        ("withdrawn length that overruns", hex("0005 0000"), 1),
        ("attribute length that overruns", hex("0000 0005 4001"), 1),
        ("MP_REACH_NLRI twice", and("900e0005400447 0000 900e0005400447 0000"), 1),
        ("MP_REACH_NLRI of two bytes", with("800e02 0002"), 9),
        ("next hop of 15 bytes", with(&reach(&format!("0002 01 0f {} 00", &next_hop[2..]))), 9),
        ("next hop that overruns", with(&reach("0002 01 20 2001")), 9),
        ("IPv6 prefix length 129", with(&reach(&format!("0002 01 10 {next_hop} 00 81"))), 9),
        ("IPv6 prefix that is cut off", with(&reach(&format!("0002 01 10 {next_hop} 00 40 2001"))), 9),
        ("withdrawn IPv6 prefix that is cut off", with("800f05 0002 01 40 20"), 9),
    ];
    for (what, body, subcode) in cases {
        assert_eq!(verdict(&body), reset(subcode), "{what}");
    }
}

#[test]
fn the_strongest_fault_counts() {
    let mut attributes = hex("400601 00 40010105");
    attributes.extend(hex("400200 400304c6336401"));
    assert_eq!(verdict(&update(&[], &attributes, &hex("20c000020a"))), Verdict::TreatAsWithdraw(1));
    assert_eq!(verdict(&update(&[], &attributes, &hex("21c000020a"))), Verdict::Reset(Notification::new(3, 10)));
}

#[test]
fn ibgp_needs_a_local_preference_and_may_reflect() {
    let judged = |body: &[u8]| skim(body, &INTERNAL).verdict;
    assert_eq!(judged(&with("40010100")), Verdict::TreatAsWithdraw(5));
    assert_eq!(judged(&with("400504 00000064")), Verdict::Fine);
    assert_eq!(judged(&with("400503 000064")), Verdict::TreatAsWithdraw(5));
    assert_eq!(judged(&and("400504 00000064 800904 c0000201 800a04 c0000201")), Verdict::Fine);
    assert_eq!(judged(&and("400504 00000064 800a03 c00002")), Verdict::TreatAsWithdraw(10));
}

#[test]
fn numbers_of_two_octets_are_read_as_such() {
    let terms = Terms { four_octet: false, ..EXTERNAL };
    let judged = |body: &[u8]| skim(body, &terms).verdict;
    assert_eq!(judged(&with("400204 0201 fc00")), Verdict::Fine);
    assert_eq!(judged(&with("400206 0201 0000fc00")), Verdict::TreatAsWithdraw(2));
    let with_as4 = |as4: &str| {
        let attributes = hex(&format!("40010100 400204 0201 5ba0 400304c6336401 {as4}"));
        update(&[], &attributes, &hex("20c000020a"))
    };
    assert_eq!(judged(&with_as4("c01106 0201 fa56ea00")), Verdict::Fine);
    assert_eq!(judged(&with_as4("c01105 0201 fa56ea")), Verdict::Discard(17));
}

#[test]
fn withdrawals_need_no_attributes_and_are_no_end_of_rib() {
    let skimmed = skim(&update(&hex("20c000020a 18c00002"), &[], &[]), &EXTERNAL);
    assert_eq!((skimmed.withdrawn, skimmed.end_of_rib, skimmed.verdict), ([2, 0], None, Verdict::Fine));
    let mixed = skim(&with("800f03 0002 01"), &EXTERNAL);
    assert_eq!((mixed.announced, mixed.end_of_rib), ([1, 0], None));
}
