//! BFD profiles, and what a peer that names one gets of it (spec §1.9, rules V19 and V21).
//!
//! FRR's numbers stand in for those that are not written. A peer whose profile is missing has its session all the same,
//! unwatched and with a finding: a name that is wrong, or comes late, must not take routes away (upstream refuses the
//! whole configuration).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_proto::bgp::session::config::Reach;
use serde::{Deserialize, Serialize};

use super::{BgpPeer, Report, Router, object};
use crate::api::{self, BFDProfileSpec};
use crate::reason::{Code, Finding, Severity};

/// What FRR takes for both intervals, in milliseconds.
const INTERVAL: u32 = 300;
/// What FRR takes for the multiplier.
const MULTIPLIER: u32 = 3;
/// The least TTL over several hops that a session of FRR's bgpd has where none is written: any.
const ANY_TTL: u8 = 1;

/// How BFD watches over the way to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bfd {
    /// Between two packets of ours, once up.
    pub transmit_interval: Duration,
    /// Between two packets of the router, at least.
    pub receive_interval: Duration,
    /// How many packets in a row may be missing, as we ask the router to count ours.
    pub detect_multiplier: u8,
    /// The router begins.
    pub passive: bool,
    /// How far away it may be.
    pub distance: Distance,
}

/// How far away a router that BFD watches may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distance {
    /// On the same link (RFC 5881).
    OneHop,
    /// Further; packets that come with a smaller TTL do not count (RFC 5883).
    Several(u8),
    /// iBGP, which does not say: on the same link if the route to it has no gateway, else as above.
    AsRouted(u8),
}

/// Gives every peer what its profile says.
pub(super) fn attach(
    profiles: &[Arc<api::BFDProfile>],
    written: &[Arc<api::BGPPeer>],
    peers: &mut BTreeMap<String, Arc<BgpPeer>>,
    report: &mut Report,
) {
    for profile in profiles {
        check(profile, report);
    }
    for peer in written.iter().filter(|peer| !peer.spec.bfd_profile.is_empty()) {
        let (object, name) = (object("BGPPeer", &peer.metadata), &peer.spec.bfd_profile);
        let Some(profile) = profiles.iter().find(|profile| profile.metadata.name.as_ref() == Some(name)) else {
            let message =
                format!("there is no BFDProfile {name:?}: a dead router is noticed by the hold time, and not by BFD");
            let finding = Finding::new(Code::BfdProfileMissing, Severity::Warning, object, message);
            report.warn(finding.at_field("spec.bfdProfile"));
            continue;
        };
        if let Some(parsed) = peer.metadata.name.as_ref().and_then(|name| peers.get_mut(name)) {
            if parsed.device.is_some() && parsed.router != Router::OnLink {
                let message = "BFD does not watch sessions in a VRF yet: the hold time does";
                let finding = Finding::new(Code::NotYet, Severity::Warning, object, message);
                report.warn(finding.at_field("spec.bfdProfile"));
                continue;
            }
            let bfd = of(&profile.spec, parsed.reach);
            Arc::make_mut(parsed).bfd = Some(bfd);
        }
    }
}

fn of(spec: &BFDProfileSpec, reach: Reach) -> Bfd {
    let span = |millis: Option<u32>| Duration::from_millis(millis.unwrap_or(INTERVAL).into());
    let byte = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let least = spec.minimum_ttl.map_or(ANY_TTL, byte);
    Bfd {
        transmit_interval: span(spec.transmit_interval),
        receive_interval: span(spec.receive_interval),
        detect_multiplier: byte(spec.detect_multiplier.unwrap_or(MULTIPLIER)),
        passive: spec.passive_mode.unwrap_or(false),
        distance: match reach {
            Reach::Direct => Distance::OneHop,
            Reach::Hops(_) | Reach::Gtsm(_) => Distance::Several(least),
            Reach::Default => Distance::AsRouted(least),
        },
    }
}

/// What is wrong with a profile, and what of it does nothing.
fn check(profile: &api::BFDProfile, report: &mut Report) {
    let (object, spec) = (object("BFDProfile", &profile.metadata), &profile.spec);
    let fields = [
        ("spec.receiveInterval", spec.receive_interval, 10, 60_000),
        ("spec.transmitInterval", spec.transmit_interval, 10, 60_000),
        ("spec.detectMultiplier", spec.detect_multiplier, 2, 255),
        ("spec.echoInterval", spec.echo_interval, 10, 60_000),
        ("spec.minimumTtl", spec.minimum_ttl, 1, 254),
    ];
    for (field, value, least, most) in fields {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            let message = format!("invalid value {value}: must be in {least} to {most}");
            report.error(Code::OutOfRange, &object, field, message);
        }
    }
    if spec.echo_mode == Some(true) {
        let message = "this release sends no echo packets: control packets alone watch the way, at their own intervals";
        report.warn(Finding::new(Code::NotYet, Severity::Warning, object, message).at_field("spec.echoMode"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Invalid, Resources, parse};
    use crate::fixtures;

    fn profile(name: &str, spec: &str) -> Arc<api::BFDProfile> {
        Arc::new(fixtures::object(&format!(
            "apiVersion: metallb.io/v1beta1\nkind: BFDProfile\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
             spec: {{{spec}}}"
        )))
    }

    fn with(profiles: Vec<Arc<api::BFDProfile>>, peers: &[(&str, &str)]) -> Result<Config, Invalid> {
        let peer = |(name, spec): &(&str, &str)| {
            Arc::new(fixtures::object(&format!(
                "metadata: {{name: {name}, namespace: metallb-system}}\n\
                 spec: {{myASN: 64512, peerAddress: 10.0.0.1, bfdProfile: fast, {spec}}}"
            )))
        };
        parse(&Resources {
            bfd_profiles: profiles,
            bgp_peers: peers.iter().map(peer).collect(),
            ..Resources::default()
        })
    }

    #[test]
    fn a_peer_gets_what_its_profile_says_and_frrs_numbers_for_the_rest() {
        let peers = [
            ("direct", "peerASN: 64513"),
            ("far", "peerASN: 64513, ebgpMultiHop: true"),
            ("internal", "peerASN: 64512"),
        ];
        let config = with(vec![profile("fast", "")], &peers).unwrap();
        let bfd = |name: &str| config.bgp_peers[name].bfd.unwrap();
        let millis = Duration::from_millis(300);
        let expected = Bfd {
            transmit_interval: millis,
            receive_interval: millis,
            detect_multiplier: 3,
            passive: false,
            distance: Distance::OneHop,
        };
        assert_eq!(bfd("direct"), expected);
        assert_eq!(bfd("far").distance, Distance::Several(1));
        assert_eq!(bfd("internal").distance, Distance::AsRouted(1));
        assert_eq!(config.findings, []);
        let all =
            "receiveInterval: 20, transmitInterval: 10, detectMultiplier: 255, passiveMode: true, minimumTtl: 250";
        let config = with(vec![profile("fast", all)], &peers[1..2]).unwrap();
        let expected = Bfd {
            transmit_interval: Duration::from_millis(10),
            receive_interval: Duration::from_millis(20),
            detect_multiplier: 255,
            passive: true,
            distance: Distance::Several(250),
        };
        assert_eq!(config.bgp_peers["far"].bfd, Some(expected));
    }

    #[test]
    fn a_peer_whose_profile_is_missing_goes_unwatched_and_says_so() {
        let config = with(vec![profile("slow", "")], &[("direct", "peerASN: 64513")]).unwrap();
        assert_eq!(config.bgp_peers["direct"].bfd, None);
        let finding = &config.findings[0];
        assert_eq!((finding.code, finding.field.as_str()), (Code::BfdProfileMissing, "spec.bfdProfile"));
    }

    #[test]
    fn numbers_beyond_their_range_are_refused_and_echoes_are_only_named() {
        let spec = "receiveInterval: 9, transmitInterval: 60001, detectMultiplier: 1, echoInterval: 5, minimumTtl: 255";
        let wrong = with(vec![profile("fast", spec)], &[]).unwrap_err().0;
        let fields: Vec<&str> = wrong.iter().map(|finding| finding.field.as_str()).collect();
        let all = ["detectMultiplier", "echoInterval", "minimumTtl", "receiveInterval", "transmitInterval"];
        assert_eq!(fields, all.map(|name| format!("spec.{name}")));
        assert!(wrong.iter().all(|finding| finding.code == Code::OutOfRange), "{wrong:?}");
        let config = with(vec![profile("fast", "echoMode: true, echoInterval: 50")], &[]).unwrap();
        let finding = &config.findings[0];
        assert_eq!((finding.code, finding.field.as_str()), (Code::NotYet, "spec.echoMode"));
    }

    #[test]
    fn ipv6_routes_to_a_peer_with_echoes_are_no_error_because_none_are_sent() {
        let config = parse(&Resources {
            pools: vec![fixtures::pool("six", "addresses: ['fd00::/64']")],
            bgp_advertisements: vec![Arc::new(fixtures::object("metadata: {name: all, namespace: metallb-system}"))],
            bfd_profiles: vec![profile("fast", "echoMode: true")],
            bgp_peers: vec![Arc::new(fixtures::object(
                "metadata: {name: r, namespace: metallb-system}\n\
                 spec: {myASN: 64512, peerASN: 64513, peerAddress: 'fd00:1::1', bfdProfile: fast}",
            ))],
            ..Resources::default()
        });
        let codes: Vec<Code> = config.unwrap().findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::NotYet]);
    }
}
