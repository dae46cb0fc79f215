//! Tests of ranges: spec §3.4 and Appendix A.6.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<String, RangeError> {
    AddressRange::parse(text).map(|range| range.to_string())
}

#[test]
fn cidrs_and_ranges_are_spans_with_both_ends() {
    for (text, span) in [
        ("192.168.1.0/24", "192.168.1.0-192.168.1.255"),
        ("192.168.1.77/24", "192.168.1.0-192.168.1.255"),
        ("10.0.0.1/32", "10.0.0.1-10.0.0.1"),
        (" 192.168.1.200 - 192.168.1.220 ", "192.168.1.200-192.168.1.220"),
        ("fc00::/127", "fc00::-fc00::1"),
        ("::ffff:10.0.0.1-::ffff:10.0.0.2", "10.0.0.1-10.0.0.2"),
        ("::ffff:10.0.0.77/120", "10.0.0.0-10.0.0.255"),
        ("::ffff:0:0/96", "0.0.0.0-255.255.255.255"),
        ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
    ] {
        assert_eq!(parse(text).as_deref(), Ok(span), "{text}");
    }
}

#[test]
fn what_is_no_range_says_why() {
    for (text, part) in [
        ("", "invalid CIDR"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("fc00::1", "fc00::1/128"),
        ("10.0.0.0/33", "invalid CIDR"),
        ("10.0.0/24", "invalid CIDR"),
        ("192.168.009.1/32", "invalid CIDR"),
        ("192.168.010.1-192.168.010.9", "is not an IP address"),
        ("10.0.0.0/+24", "invalid CIDR"),
        ("10.0.0.0/", "invalid CIDR"),
        ("10.0.0.0/24/24", "invalid CIDR"),
        ("10.0.0.5-10.0.0.1", "the start lies after the end"),
        ("10.0.0.1-fc00::1", "one end is IPv4, the other IPv6"),
        ("::fffe:0:0/95", "one end is IPv4, the other IPv6"),
        ("192.168.1.200-220", "\"220\" is not an IP address"),
        ("10.0.0.1-10.0.0.2-10.0.0.3", "is not an IP address"),
        ("pool", "invalid CIDR"),
    ] {
        let error = AddressRange::parse(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn ranges_expand_as_in_the_appendix() {
    for (text, expected) in [
        ("192.168.9.1-192.168.9.5", &["192.168.9.1/32", "192.168.9.2/31", "192.168.9.4/31"][..]),
        ("192.168.1.240-192.168.1.250", &["192.168.1.240/29", "192.168.1.248/31", "192.168.1.250/32"]),
        ("10.0.0.250-10.0.1.5", &["10.0.0.250/31", "10.0.0.252/30", "10.0.1.0/30", "10.0.1.4/31"]),
    ] {
        let prefixes: Vec<String> =
            AddressRange::parse(text).unwrap().prefixes().iter().map(ToString::to_string).collect();
        assert_eq!(prefixes, expected, "{text}");
    }
}

#[test]
fn sizes_saturate() {
    let size = |text| AddressRange::parse(text).unwrap().size();
    assert_eq!(size("192.168.1.200-192.168.1.220"), 21);
    assert_eq!(size("0.0.0.0/0"), 1 << 32);
    assert_eq!(size("::/0"), u128::MAX);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,40}") {
        let _ = AddressRange::parse(&text);
    }

    #[test]
    fn a_printed_range_is_the_same_range(a in any::<u128>(), b in any::<u128>()) {
        let range = AddressRange::V6 { first: a.min(b).into(), last: a.max(b).into() };
        // Mapped addresses are read as IPv4 on purpose.
        prop_assume!(range.first().to_canonical() == range.first() && range.last().to_canonical() == range.last());
        prop_assert_eq!(AddressRange::parse(&range.to_string()), Ok(range));
    }

    #[test]
    fn overlap_is_having_an_address_in_common(a in 0u32..40, b in 0u32..40, c in 0u32..40, d in 0u32..40) {
        let range = |a: u32, b: u32| AddressRange::V4 { first: a.min(b).into(), last: a.max(b).into() };
        let (one, two) = (range(a, b), range(c, d));
        let common = (0..40u32).map(|n| IpAddr::V4(n.into())).any(|ip| one.contains(ip) && two.contains(ip));
        prop_assert_eq!(one.overlaps(&two), common);
    }
}
