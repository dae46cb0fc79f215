//! What a BGP peer or a BGP advertisement can be wrong about by itself (spec §3.5, rules V1–V15, V29–V34, V37).
//!
//! Rules that need other objects (Secrets, pools, a second advertisement) are in [`super::bgp`].

use std::net::IpAddr;
use std::time::Duration;

use super::communities::CommunityValue;
use super::{Report, object, peer_address, refuse_duplicates, selector};
use crate::api;
use crate::api::DynamicAsn;
use crate::reason::{Code, Finding};

/// A hold time is 16 bits of seconds (RFC 4271 §4.2).
const LONGEST_HOLD: i128 = 65_535 * SECOND;
const SECOND: i128 = 1_000_000_000;
/// How often more than once our AS may stand in a path. Longer ones are taken for a mistake by many routers.
const LONGEST_PREPEND: i64 = 32;

/// What is wrong with a peer as it stands there.
pub fn check_peer(peer: &api::BGPPeer) -> Vec<Finding> {
    let object = object("BGPPeer", &peer.metadata);
    let mut report = Report::default();
    numbers(&peer.spec, &object, &mut report);
    addresses(&peer.spec, &object, &mut report);
    timers(&peer.spec, &object, &mut report);
    selector::parse_list(&peer.spec.node_selectors, &mut report, &object, "spec.nodeSelectors", "nodeSelectors");
    if !peer.spec.password.is_empty() && peer.spec.password_secret.is_some() {
        report.error(
            Code::PeerPasswordTwice,
            &object,
            "spec.password",
            "can not have both password and secret ref: the password stands here and in passwordSecret",
        );
    }
    report.errors
}

fn numbers(spec: &api::BGPPeerSpec, object: &str, report: &mut Report) {
    let mut wrong = |field: &str, message: &str| report.error(Code::PeerAsInvalid, object, field, message);
    let peer = spec.peer_asn.filter(|asn| *asn != 0);
    if spec.my_asn == 0 {
        wrong("spec.myASN", "missing local ASN: it is 0");
    }
    match (peer, spec.dynamic_asn) {
        (None, None) => wrong("spec.peerASN", "missing peer ASN and dynamicASN: one of them must be there"),
        (Some(_), Some(_)) => wrong("spec.dynamicASN", "both peer ASN and dynamicASN specified"),
        _ => {}
    }
    let same = peer == Some(spec.my_asn) || spec.dynamic_asn == Some(DynamicAsn::Internal);
    if same && spec.ebgp_multi_hop == Some(true) {
        wrong(
            "spec.ebgpMultiHop",
            "invalid ebgp-multihop parameter set for an ibgp peer: both ends have one AS number",
        );
    }
}

fn addresses(spec: &api::BGPPeerSpec, object: &str, report: &mut Report) {
    let mut wrong = |field: &str, message: String| report.error(Code::PeerAddressInvalid, object, field, message);
    match (spec.peer_address.is_empty(), spec.interface.is_empty(), &spec.peer_address_from) {
        (true, true, None) => wrong("spec.peerAddress", "peer has no Address or Interface specified".to_owned()),
        (false, false, _) => wrong("spec.interface", "peer has both Address and Interface specified".to_owned()),
        (true, true, Some(from)) => {
            if let Err(why) = peer_address::check(from, spec) {
                wrong("spec.peerAddressFrom", why);
            }
        }
        (.., Some(_)) => {
            wrong("spec.peerAddressFrom", "it stands beside peerAddress or interface: keep one of them".to_owned());
        }
        (.., None) => {}
    }
    for (field, what, text) in [
        ("spec.peerAddress", "invalid BGPPeer address", &spec.peer_address),
        ("spec.sourceAddress", "invalid source IP", &spec.source_address),
    ] {
        if !text.is_empty() && text.parse::<IpAddr>().is_err() {
            wrong(field, format!("{what} {text:?}: it is not an IP address"));
        }
    }
    if !spec.router_id.is_empty() && !matches!(spec.router_id.parse(), Ok(IpAddr::V4(_))) {
        wrong(
            "spec.routerID",
            format!("invalid router ID {:?}: it is not in the form of an IPv4 address", spec.router_id),
        );
    }
}

fn timers(spec: &api::BGPPeerSpec, object: &str, report: &mut Report) {
    let mut wrong = |field: &str, message: String| report.error(Code::PeerTimerInvalid, object, field, message);
    let mut read = |field: &str, text: &Option<String>| {
        let text = text.as_ref()?;
        let parsed = duration(text);
        if parsed.is_none() {
            wrong(field, format!("{text:?} is not a duration"));
        }
        parsed
    };
    let hold = read("spec.holdTime", &spec.hold_time);
    let keepalive = read("spec.keepaliveTime", &spec.keepalive_time);
    read("spec.connectTime", &spec.connect_time);
    if let Some(hold) = hold.map(|hold| hold / SECOND * SECOND)
        && hold != 0
        && !(3 * SECOND..=LONGEST_HOLD).contains(&hold)
    {
        wrong("spec.holdTime", format!("invalid hold time: {} s is neither 0 nor 3 to 65535", hold / SECOND));
    }
    if let (Some(hold), Some(keepalive)) = (hold, keepalive)
        && keepalive > hold
    {
        wrong("spec.keepaliveTime", "invalid keepaliveTime: it is longer than holdTime".to_owned());
    }
}

/// A Go duration as a span; a negative one is none.
pub(super) fn span(text: &str) -> Option<Duration> {
    duration(text).and_then(|nanoseconds| u64::try_from(nanoseconds).ok()).map(Duration::from_nanos)
}

/// A Go duration in nanoseconds: numbers with units, `1h2m3.5s`, or `0` without one.
fn duration(text: &str) -> Option<i128> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND,
            "m" => 60 * SECOND,
            "h" => 3600 * SECOND,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty())
            || whole.len() > 18
            || !fraction.chars().all(|c| c.is_ascii_digit())
        {
            return None;
        }
        total += if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? } * unit;
        let fraction = fraction.get(..fraction.len().min(9)).unwrap_or_default();
        if !fraction.is_empty() {
            total += fraction.parse::<i128>().ok()? * unit / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        }
        rest = tail;
    }
    (!text.is_empty() && text != "-" && text != "+").then_some(sign * total)
}

/// What is wrong with a BGP advertisement as it stands there.
pub fn check_bgp_advertisement(advertisement: &api::BGPAdvertisement) -> Vec<Finding> {
    let object = object("BGPAdvertisement", &advertisement.metadata);
    let spec = &advertisement.spec;
    let mut report = Report::default();
    refuse_duplicates(&mut report, &object, "spec.ipAddressPools", "of ipAddressPools", &spec.ip_address_pools);
    refuse_duplicates(&mut report, &object, "spec.peers", "of peers", &spec.peers);
    refuse_duplicates(&mut report, &object, "spec.communities", "of community", &spec.communities);
    for (field, list) in [
        ("ipAddressPoolSelectors", &spec.ip_address_pool_selectors),
        ("nodeSelectors", &spec.node_selectors),
        ("serviceSelectors", &spec.service_selectors),
    ] {
        selector::parse_list(list, &mut report, &object, &format!("spec.{field}"), field);
    }
    // Without a colon it is the name of an alias, which may be defined later.
    for (index, literal) in spec.communities.iter().enumerate().filter(|(_, text)| text.contains(':')) {
        if let Err(why) = CommunityValue::parse(literal) {
            report.error(Code::CommunityInvalid, &object, format!("spec.communities[{index}]"), why);
        }
    }
    aggregation(spec, &object, &mut report);
    for (field, number, most) in
        [("spec.med", spec.med, i64::from(u32::MAX)), ("spec.asPathPrepend", spec.as_path_prepend, LONGEST_PREPEND)]
    {
        if let Some(number) = number.filter(|number| !(0..=most).contains(number)) {
            report.error(Code::OutOfRange, &object, field, format!("invalid value {number}: must be in 0 to {most}"));
        }
    }
    report.errors
}

fn aggregation(spec: &api::BGPAdvertisementSpec, object: &str, report: &mut Report) {
    let lengths = [
        ("spec.aggregationLength", spec.aggregation_length, 32),
        ("spec.aggregationLengthV6", spec.aggregation_length_v6, 128),
    ];
    for (field, length, longest) in lengths {
        let Some(length) = length else { continue };
        if !(1..=longest).contains(&length) {
            let message = format!("invalid aggregation length {length}: it is not between 1 and {longest}");
            report.error(Code::AggregationInvalid, object, field, message);
        } else if length != longest && !spec.service_selectors.is_empty() {
            let message = format!("serviceSelectors and {} {length} are mutually exclusive", &field[5..]);
            report.error(Code::AggregationInvalid, object, field, message);
        }
    }
}
