//! Another reader of the RFCs reads what we write, and judges what we judge.
//!
//! It is a dev-dependency of one exact version, so that a change of its mind is a change that somebody makes here. Where
//! it and we differ on purpose, the test says so by name.

use bytes::Bytes;
use rustbgpd_wire::attribute::PathAttribute;
use rustbgpd_wire::validate::{ErrorDisposition, validate_update_attributes};
use rustbgpd_wire::{Capability, Message, decode_message};

use super::malformed::{INTERNAL, everything_malformed};
use super::*;

/// Where it differs: our verdict, and its own. What an iBGP attribute has to do with eBGP, it leaves to its caller; it knows
/// attributes and families that we pass by as unknown, and confederations, which we put up with.
const DIFFERENT: [(&str, u8, u8); 8] = [
    ("LOCAL_PREF on eBGP", 1, 0),
    ("ORIGINATOR_ID on eBGP", 1, 0),
    ("CLUSTER_LIST on eBGP", 1, 0),
    ("tunnel encapsulation with garbage", 0, 2),
    ("prefix SID with garbage", 0, 1),
    ("ATTR_SET with garbage", 0, 2),
    ("confederation segment", 0, 2),
    ("another family's routes", 0, 3),
];

fn their_reading(message: &[u8]) -> Result<Message, String> {
    decode_message(&mut Bytes::copy_from_slice(message), 4096).map_err(|error| error.to_string())
}

/// How strong a verdict is: fine, discard, treat as withdraw, reset.
fn our_rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Fine => 0,
        Verdict::Discard(_) => 1,
        Verdict::TreatAsWithdraw(_) => 2,
        Verdict::Reset(_) => 3,
    }
}

fn their_rank(body: &[u8], terms: &Terms) -> u8 {
    let mut message = Vec::new();
    frame(&mut message, MessageType::Update, |out| out.extend_from_slice(body));
    let Ok(Message::Update(update)) = their_reading(&message) else { return 3 };
    let internal = terms.kind == Kind::Internal;
    let Ok(parsed) = update.parse_revised(terms.four_octet, internal, false, &[]) else { return 3 };
    let worst = parsed.malformed.iter().map(|fault| match fault.disposition {
        ErrorDisposition::AttributeDiscard => 1,
        ErrorDisposition::TreatAsWithdraw => 2,
        _ => 3,
    });
    let in_body = !parsed.update.announced.is_empty();
    let reach = |attribute: &PathAttribute| matches!(attribute, PathAttribute::MpReachNlri(_));
    let has_routes = in_body || parsed.update.attributes.iter().any(reach);
    let valid = validate_update_attributes(&parsed.update.attributes, has_routes, in_body, !internal);
    worst.max().unwrap_or(0).max(if valid.is_ok() { 0 } else { 2 })
}

#[test]
fn it_judges_every_malformed_update_as_we_do() {
    let judged = everything_malformed().into_iter().map(|(what, body)| {
        let terms = &malformed::EXTERNAL;
        (what, our_rank(&skim(&body, terms).verdict), their_rank(&body, terms))
    });
    let different: Vec<_> = judged.filter(|(_, ours, theirs)| ours != theirs).collect();
    assert_eq!(different, DIFFERENT);
}

#[test]
fn it_reads_our_open_with_every_capability() {
    let Ok(Message::Open(open)) = their_reading(&full_open().emit()) else { panic!("no OPEN") };
    assert_eq!((open.my_as, open.four_byte_as(), open.hold_time), (23456, 4_200_000_000, 90));
    let found = |wanted: fn(&Capability) -> bool| open.capabilities.iter().filter(|found| wanted(found)).count();
    assert_eq!(found(|capability| matches!(capability, Capability::MultiProtocol { .. })), 2);
    for wanted in [
        Capability::RouteRefresh,
        Capability::EnhancedRouteRefresh,
        Capability::ExtendedMessage,
        Capability::LinkLocalNextHop,
        Capability::FourOctetAs { asn: 4_200_000_000 },
    ] {
        assert!(open.capabilities.contains(&wanted), "{wanted:?}");
    }
    assert_eq!(found(|capability| matches!(capability, Capability::ExtendedNextHop(entries) if entries.len() == 1)), 1);
    let restart = |capability: &Capability| {
        matches!(capability, Capability::GracefulRestart { restart_state: true, notification: true, restart_time: 120, families }
            if families.len() == 2 && !families[0].forwarding_preserved && families[1].forwarding_preserved)
    };
    assert_eq!(open.capabilities.iter().filter(|capability| restart(capability)).count(), 1);
}

#[test]
fn it_reads_our_notifications_and_refreshes() {
    let cease = Notification::cease_saying(Cease::AdministrativeShutdown, "draining");
    let Ok(Message::Notification(read)) = their_reading(&cease.emit()) else { panic!("no NOTIFICATION") };
    assert_eq!((read.code.as_u8(), read.subcode, &read.data[..]), (6, 2, &cease.data[..]));
    let mut refresh = Vec::new();
    put_refresh(&mut refresh, Family::V6, Refresh::End);
    assert!(matches!(their_reading(&refresh), Ok(Message::RouteRefresh(_))));
    assert_eq!(their_reading(&keepalive()), Ok(Message::Keepalive));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_reads_every_route_of_ours_as_we_meant_it(
        set in any_attributes(),
        v4 in prop::collection::btree_set(any_v4(), 1..50),
        v6 in prop::collection::btree_set(any_v6(), 1..50),
        internal: bool, four_octet: bool, asn in 1u32..,
    ) {
        let kind = if internal { Kind::Internal } else { Kind::External };
        let class = class(kind, asn, four_octet);
        for prefixes in [v4, v6] {
            let texts: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            let message = announcement(&set, &class, &texts.iter().map(String::as_str).collect::<Vec<_>>());
            let Ok(Message::Update(update)) = their_reading(&message) else { panic!("no UPDATE") };
            let parsed = update.parse(four_octet, false, &[]).expect("it is read");
            let reach = parsed.attributes.iter().find_map(|attribute| match attribute {
                PathAttribute::MpReachNlri(reach) => Some(reach.announced.len()),
                _ => None,
            });
            prop_assert_eq!(parsed.announced.len() + reach.unwrap_or(0), prefixes.len());
            let in_body = !parsed.announced.is_empty();
            prop_assert!(validate_update_attributes(&parsed.attributes, true, in_body, !internal).is_ok());
            let communities: Vec<u32> = set.communities.iter().map(|community| community.0).collect();
            let has = |wanted: &PathAttribute| parsed.attributes.contains(wanted);
            prop_assert_eq!(has(&PathAttribute::Communities(communities)), !set.communities.is_empty());
            prop_assert_eq!(set.med.is_some(), set.med.is_some_and(|med| has(&PathAttribute::Med(med))));
            prop_assert_eq!(internal, has(&PathAttribute::LocalPref(set.local_pref.unwrap_or(100))));
        }
    }

    #[test]
    fn nothing_resets_a_session_of_ours_that_would_not_reset_one_of_its(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        v6: bool, internal: bool,
    ) {
        let kind = if internal { Kind::Internal } else { Kind::External };
        let class = class(kind, 64512, true);
        let set = Attributes { med: Some(1), communities: [Community(7)].into(), ..Attributes::default() };
        let prefixes = if v6 { ["2001:db8::/32", "2001:db8:7::1/128"] } else { ["10.0.0.0/8", "192.0.2.10/32"] };
        let mut body = announcement(&set, &class, &prefixes)[HEADER_LEN..].to_vec();
        for (at, byte) in flips {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let terms = if internal { INTERNAL } else { malformed::EXTERNAL };
        let (ours, theirs) = (our_rank(&skim(&body, &terms).verdict), their_rank(&body, &terms));
        // The other way round does not hold: families that nobody has agreed on are no reason to us.
        prop_assert!(ours < 3 || theirs == 3, "we say {}, it says {}: {:02x?}", ours, theirs, body);
    }
}
