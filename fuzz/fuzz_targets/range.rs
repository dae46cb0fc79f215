//! Address ranges as users write them: what is understood is a range that holds its own rules, and is printed so that
//! it is understood as the same.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrolb_rules::range::{AddressRange, Family};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // The manifests that ranges come from are UTF-8; other bytes never get here.
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    match AddressRange::parse(text) {
        Ok(range) => {
            assert_eq!(AddressRange::parse(&range.to_string()), Ok(range), "{text:?}");
            assert_eq!(AddressRange::parse(text.trim()), Ok(range), "{text:?}");
            has_its_ends(range);
            is_its_prefixes(range);
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("invalid ") && !message.contains(char::is_control), "{message:?}");
        }
    }
    Corpus::Keep
});

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with this number, where the family has one.
fn address(family: Family, number: u128) -> Option<IpAddr> {
    match family {
        Family::V4 => u32::try_from(number).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        Family::V6 => Some(Ipv6Addr::from_bits(number).into()),
    }
}

fn has_its_ends(range: AddressRange) {
    let (family, first, last) = (range.family(), number(range.first()), number(range.last()));
    assert_eq!((Family::of(range.first()), Family::of(range.last())), (family, family));
    assert!(first <= last, "{range}");
    assert_eq!(range.size(), (last - first).saturating_add(1), "{range}");
    let middle = address(family, first + (last - first) / 2).expect("an address between two");
    for inside in [range.first(), middle, range.last()] {
        // A mapped address is the IPv4 address, so an IPv6 range must neither begin nor end with one.
        assert!(range.contains(inside) && Family::of(inside) == family, "{inside} in {range}");
    }
    for end in [range.first(), range.last()] {
        assert_eq!(end.to_canonical(), end, "{range}");
    }
    let outside = [first.checked_sub(1), last.checked_add(1)];
    for near in outside.into_iter().flatten().filter_map(|number| address(family, number)) {
        assert!(!range.contains(near), "{near} in {range}");
    }
    let stranger = match family {
        Family::V4 => IpAddr::V6(Ipv6Addr::from_bits(first)),
        Family::V6 => IpAddr::V4(Ipv4Addr::from_bits(first as u32)),
    };
    assert!(!range.contains(stranger), "{stranger} in {range}");
    assert!(range.overlaps(&range));
}

/// The prefixes follow one another without gap from the first address to the last.
fn is_its_prefixes(range: AddressRange) {
    let prefixes = range.prefixes();
    assert!(!prefixes.is_empty() && prefixes.len() <= 254, "{} prefixes of {range}", prefixes.len());
    let mut next = Some(number(range.first()));
    for prefix in &prefixes {
        assert_eq!(Some(number(prefix.network())), next, "{prefix} of {range}");
        assert_eq!(prefix.addr(), prefix.network(), "{prefix} of {range}");
        next = number(prefix.broadcast()).checked_add(1);
    }
    assert_eq!(prefixes.last().map(|prefix| prefix.broadcast()), Some(range.last()), "{range}");
}
