//! Who else has an address: the solicitation that asks (RFC 4862 §5.4.2), and the advertisements that answer or tell
//! (RFC 4861 §4.4, §7.1.2).

use std::net::Ipv6Addr;

use super::{
    ADVERTISEMENT, ETHERTYPE, HOP_LIMIT, ICMPV6, ParseError, SOLICITATION, TARGET_LINK_LAYER, checksum, envelope,
    ethernet_group, octets, options, solicited_node,
};
use crate::ethernet::MacAddr;

/// The length of a probe's frame: Ethernet, IPv6, 24 bytes, no option.
pub(super) const PROBE_LEN: usize = 14 + 40 + 24;

/// This address is at this MAC address, or wanted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The address.
    pub target: Ipv6Addr,
    /// Where it is: by the option, or else where the frame came from.
    pub mac: MacAddr,
}

/// Reads a frame.
///
/// # Errors
/// Says why it is not a valid advertisement.
pub fn parse_advertisement(frame: &[u8]) -> Result<Advertisement, ParseError> {
    let message = envelope(frame, ADVERTISEMENT)?.message;
    let target = Ipv6Addr::from(octets::<16>(message, 8)?);
    let link_layer = options(message.get(24..).ok_or(ParseError::TooShort)?, TARGET_LINK_LAYER)?;
    if message.get(1) != Some(&0) || target.is_multicast() {
        return Err(ParseError::Malformed);
    }
    Ok(Advertisement { target, mac: link_layer.unwrap_or(MacAddr(octets(frame, 6)?)) })
}

/// Reads a frame in which somebody who wants an address asks whether anybody has it (RFC 4862 §5.4.3): the address, and
/// where the frame came from. Our own comes back only from a network that is a loop.
///
/// # Errors
/// Says why it is no such solicitation.
pub fn parse_probe(frame: &[u8]) -> Result<Advertisement, ParseError> {
    let solicitation = super::parse(frame)?;
    if !solicitation.source.is_unspecified() {
        return Err(ParseError::NotSolicitation);
    }
    Ok(Advertisement { target: solicitation.target, mac: solicitation.source_mac })
}

/// "Has anybody this address?", asked by somebody who has none: duplicate address detection.
pub fn probe(own: MacAddr, address: Ipv6Addr) -> [u8; PROBE_LEN] {
    let group = solicited_node(address);
    let mut message = [0; 24];
    message[0] = SOLICITATION;
    message[8..].copy_from_slice(&address.octets());
    let sum = checksum(Ipv6Addr::UNSPECIFIED, group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [0; PROBE_LEN];
    let fields: [(usize, &[u8]); 7] = [
        (0, &ethernet_group(group).0),
        (6, &own.0),
        (12, &ETHERTYPE.to_be_bytes()),
        (14, &[0x60, 0, 0, 0]),
        (18, &[0, 24, ICMPV6, HOP_LIMIT]),
        (38, &group.octets()),
        (54, &message),
    ];
    for (at, field) in fields {
        frame[at..at + field.len()].copy_from_slice(field);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ndp::{announcement, answer, parse};

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0xab12, 0x3456);

    #[test]
    fn a_probe_is_a_valid_solicitation_that_is_answered_to_all() {
        let solicitation = parse(&probe(OWN, ADDRESS)).unwrap();
        assert_eq!((solicitation.target, solicitation.source), (ADDRESS, Ipv6Addr::UNSPECIFIED));
        let answer = answer(&solicitation, OTHER, |_| true).unwrap();
        assert_eq!(parse_advertisement(&answer), Ok(Advertisement { target: ADDRESS, mac: OTHER }));
    }

    #[test]
    fn a_probe_says_who_wants_the_address_and_other_solicitations_say_nothing() {
        assert_eq!(parse_probe(&probe(OTHER, ADDRESS)), Ok(Advertisement { target: ADDRESS, mac: OTHER }));
        assert_eq!(parse_probe(&announcement(OTHER, ADDRESS)), Err(ParseError::NotSolicitation));
        let mut asks = probe(OTHER, ADDRESS);
        asks[22..38].copy_from_slice(&Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets());
        asks[56..58].fill(0);
        let sum = checksum(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), solicited_node(ADDRESS), &asks[54..]);
        asks[56..58].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(parse_probe(&asks), Err(ParseError::NotSolicitation));
    }

    #[test]
    fn an_advertisement_without_an_option_is_where_it_came_from() {
        let mut frame = announcement(OTHER, ADDRESS).to_vec();
        frame.truncate(54 + 24);
        frame[19] = 24;
        frame[56..58].fill(0);
        let [source, destination] =
            [22, 38].map(|at| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()));
        let sum = checksum(source, destination, &frame[54..]);
        frame[56..58].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(parse_advertisement(&frame), Ok(Advertisement { target: ADDRESS, mac: OTHER }));
    }

    #[test]
    fn whatever_is_wrong_with_it_it_is_no_sighting() {
        let good = announcement(OTHER, ADDRESS);
        assert!(parse_advertisement(&good).is_ok());
        assert_eq!(parse_advertisement(&probe(OWN, ADDRESS)), Err(ParseError::NotSolicitation));
        for length in 0..good.len() {
            assert!(parse_advertisement(&good[..length]).is_err(), "{length}");
        }
        let mut routed = good;
        routed[21] = 254;
        assert_eq!(parse_advertisement(&routed), Err(ParseError::HopLimit(254)));
        let mut forged = good;
        forged[85] ^= 1;
        assert_eq!(parse_advertisement(&forged), Err(ParseError::Checksum));
    }
}
