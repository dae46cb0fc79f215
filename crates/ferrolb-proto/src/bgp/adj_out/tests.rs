//! Tests of what a router is told: a router that believes every UPDATE ends up with what is desired, in an order that
//! leaves no address without a route.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::bgp::wire::{HEADER_LEN, Inbox, MAX_LEN, MessageType};
use crate::bgp::{Asn, Community, Kind, NextHop};

fn class() -> Class {
    let v4 = Some(NextHop::V4(Ipv4Addr::new(198, 51, 100, 1)));
    let v6 = Some(NextHop::V6("2001:db8::1".parse().unwrap()));
    Class { kind: Kind::External, asn: Asn(64512), four_octet: true, v4, v6, max_len: MAX_LEN }
}

fn set(number: u32) -> Arc<Attributes> {
    Arc::new(Attributes { communities: [Community(number)].into(), ..Attributes::default() })
}

fn routes(entries: &[(&str, u32)]) -> Routes {
    entries.iter().map(|(prefix, number)| (prefix.parse().unwrap(), set(*number))).collect()
}

/// A router that believes everything: prefix to the one community of its route.
#[derive(Debug, Default, PartialEq)]
struct Believer {
    table: BTreeMap<IpNet, u32>,
    /// In the order of their coming: what each message was about.
    heard: Vec<String>,
}

fn read_prefixes(mut bytes: &[u8], v6: bool) -> Vec<IpNet> {
    let mut found = Vec::new();
    while let [len, rest @ ..] = bytes {
        let size = usize::from(len.div_ceil(8));
        let mut octets = [0; 16];
        octets[..size].copy_from_slice(&rest[..size]);
        let v4 = [octets[0], octets[1], octets[2], octets[3]];
        let address = if v6 { std::net::IpAddr::from(octets) } else { v4.into() };
        found.push(IpNet::new(address, *len).unwrap());
        bytes = &rest[size..];
    }
    found
}

impl Believer {
    fn hear(&mut self, stream: &[u8]) {
        let (mut inbox, mut chunk) = (Inbox::default(), stream);
        while let Some(message) = inbox.next(&mut chunk, MAX_LEN).unwrap() {
            let body = inbox.body().to_vec();
            match message {
                MessageType::Update => self.update(&body),
                MessageType::RouteRefresh => self.heard.push(format!("refresh {} {}", body[1], body[2])),
                other => panic!("{other:?}"),
            }
        }
    }

    fn update(&mut self, body: &[u8]) {
        let len = usize::from(body[0]) * 256 + usize::from(body[1]);
        let mut gone = read_prefixes(&body[2..2 + len], false);
        let rest = &body[2 + len..];
        let len = usize::from(rest[0]) * 256 + usize::from(rest[1]);
        let (mut attributes, mut come) = (&rest[2..2 + len], read_prefixes(&rest[2 + len..], false));
        let mut community = 0;
        while let [flags, code, more @ ..] = attributes {
            let wide = flags & 0x10 != 0;
            let (len, at) =
                if wide { (usize::from(more[0]) * 256 + usize::from(more[1]), 2) } else { (more[0].into(), 1) };
            let value = &more[at..at + len];
            match code {
                8 => community = u32::from_be_bytes(value.try_into().unwrap()),
                14 => come.extend(read_prefixes(&value[5 + usize::from(value[3])..], true)),
                15 => gone.extend(read_prefixes(&value[3..], true)),
                _ => {}
            }
            attributes = &more[at + len..];
        }
        match (come.len(), gone.len()) {
            (0, 0) => self.heard.push("end of rib".to_owned()),
            (0, count) => self.heard.push(format!("-{count}")),
            (count, _) => self.heard.push(format!("+{count}")),
        }
        self.table.extend(come.into_iter().map(|prefix| (prefix, community)));
        for prefix in gone {
            assert!(self.table.remove(&prefix).is_some(), "{prefix} was never announced");
        }
    }

    fn take(&mut self, adj_out: &mut AdjOut, messages: usize) {
        for _ in 0..messages {
            let mut bytes = Vec::new();
            let Some(_) = adj_out.put_next(&mut bytes, &class()) else { return };
            assert!(bytes.len() <= MAX_LEN && bytes.len() >= HEADER_LEN + 4, "{} bytes", bytes.len());
            self.hear(&bytes);
        }
    }
}

fn believed(routes: &Routes) -> BTreeMap<IpNet, u32> {
    routes.iter().map(|(prefix, set)| (*prefix, set.communities.first().unwrap().0)).collect()
}

#[test]
fn a_new_session_gets_everything_by_attributes_and_then_end_of_rib_of_each_family() {
    let desired = routes(&[("10.0.0.1/32", 1), ("10.0.0.2/32", 2), ("10.0.0.3/32", 1), ("2001:db8::1/128", 1)]);
    let (mut adj_out, mut router) = (AdjOut::start(Families::BOTH), Believer::default());
    adj_out.plan(&desired, Families::BOTH);
    assert_eq!((adj_out.left(), adj_out.is_idle()), (4, false));
    router.take(&mut adj_out, 100);
    assert_eq!(router.heard, ["+2", "+1", "end of rib", "+1", "end of rib"]);
    assert_eq!(router.table, believed(&desired));
    assert_eq!((adj_out.left(), adj_out.told(Family::V4), adj_out.is_idle()), (0, 3, true));
}

#[test]
fn a_change_of_one_route_is_one_message() {
    let desired = routes(&[("10.0.0.1/32", 1), ("10.0.0.2/32", 1)]);
    let (mut adj_out, mut router) = (AdjOut::start(Families::NONE), Believer::default());
    adj_out.plan(&desired, Families::BOTH);
    router.take(&mut adj_out, 100);
    router.heard.clear();
    let changed = routes(&[("10.0.0.1/32", 1), ("10.0.0.2/32", 7)]);
    adj_out.plan(&changed, Families::BOTH);
    router.take(&mut adj_out, 100);
    adj_out.plan(&changed, Families::BOTH);
    router.take(&mut adj_out, 100);
    assert_eq!((router.heard, router.table), (vec!["+1".to_owned()], believed(&changed)));
}

#[test]
fn a_withdrawal_goes_before_announcements_but_a_replacement_before_what_it_replaces() {
    let (mut adj_out, mut router) = (AdjOut::start(Families::NONE), Believer::default());
    adj_out.plan(&routes(&[("10.0.0.0/24", 1), ("192.0.2.1/32", 1), ("172.16.0.5/32", 1)]), Families::BOTH);
    router.take(&mut adj_out, 100);
    router.heard.clear();
    // The aggregate becomes one of its addresses, an address becomes an aggregate, and a Service is gone.
    let desired = routes(&[("10.0.0.7/32", 1), ("192.0.2.0/24", 1)]);
    adj_out.plan(&desired, Families::BOTH);
    router.take(&mut adj_out, 1);
    let text: Vec<String> = router.table.keys().map(ToString::to_string).collect();
    assert_eq!(text, ["10.0.0.0/24", "192.0.2.1/32"], "what nobody serves any more is withdrawn first");
    router.take(&mut adj_out, 1);
    assert_eq!(router.table.len(), 4, "old and new are both there for a while");
    router.take(&mut adj_out, 100);
    assert_eq!(
        (router.heard, router.table),
        (vec!["-1".to_owned(), "+2".to_owned(), "-2".to_owned()], believed(&desired))
    );
}

#[test]
fn what_comes_and_goes_before_it_is_sent_is_never_sent() {
    let (mut adj_out, mut router) = (AdjOut::start(Families::NONE), Believer::default());
    adj_out.plan(&routes(&[("10.0.0.1/32", 1)]), Families::BOTH);
    adj_out.plan(&Routes::new(), Families::BOTH);
    router.take(&mut adj_out, 100);
    assert_eq!(router.heard, Vec::<String>::new());
}

#[test]
fn a_refresh_sends_a_family_again_between_its_marks_and_the_other_not() {
    let desired = routes(&[("10.0.0.1/32", 1), ("2001:db8::1/128", 1)]);
    let (mut adj_out, mut router) = (AdjOut::start(Families::NONE), Believer::default());
    adj_out.plan(&desired, Families::BOTH);
    router.take(&mut adj_out, 100);
    router.heard.clear();
    for enhanced in [true, false] {
        adj_out.refresh(Family::V6, enhanced);
        adj_out.plan(&desired, Families::BOTH);
        router.take(&mut adj_out, 100);
    }
    assert_eq!(router.heard, ["refresh 2 1", "+1", "refresh 2 2", "+1"]);
    adj_out.refresh(Family::V4, true);
    adj_out.plan(&Routes::new(), Families::BOTH);
    router.take(&mut adj_out, 100);
    assert_eq!(router.table.len(), 0, "withdrawn while it was being refreshed");
}

#[test]
fn families_that_the_session_does_not_carry_are_left_out() {
    let (mut adj_out, mut router) = (AdjOut::start(Families::NONE), Believer::default());
    adj_out.plan(&routes(&[("10.0.0.1/32", 1), ("2001:db8::1/128", 1)]), Families::V6);
    router.take(&mut adj_out, 100);
    assert_eq!((router.table.len(), adj_out.told(Family::V6), adj_out.told(Family::V4)), (1, 1, 0));
}

#[test]
fn attributes_that_fill_a_message_are_named_and_what_was_announced_before_is_withdrawn() {
    let (mut adj_out, mut router) = (AdjOut::start(Families::NONE), Believer::default());
    let mut desired = routes(&[("10.0.0.1/32", 1), ("10.0.0.2/32", 1)]);
    adj_out.plan(&desired, Families::BOTH);
    router.take(&mut adj_out, 100);
    let prefix: IpNet = "10.0.0.1/32".parse().unwrap();
    let huge = Attributes { communities: (0..1100).map(Community).collect(), ..Attributes::default() };
    desired.insert(prefix, Arc::new(huge));
    adj_out.plan(&desired, Families::BOTH);
    let put = adj_out.put_next(&mut Vec::new(), &class()).unwrap();
    assert_eq!((put.too_large, adj_out.too_large().len()), (1, 1));
    router.take(&mut adj_out, 100);
    assert_eq!((router.table.len(), adj_out.has_told(&prefix), adj_out.left()), (1, false, 0));
    desired.insert(prefix, set(1));
    adj_out.plan(&desired, Families::BOTH);
    router.take(&mut adj_out, 100);
    assert_eq!((router.table.len(), adj_out.too_large().len()), (2, 0));
}

#[test]
fn ten_thousand_routes_fill_thirteen_messages() {
    let addresses =
        (0..10_000u32).map(|number| IpNet::from(std::net::IpAddr::from((0x0a00_0000 + number).to_be_bytes())));
    let desired: Routes = addresses.map(|prefix| (prefix, set(1))).collect();
    let (mut adj_out, mut router) = (AdjOut::start(Families::NONE), Believer::default());
    adj_out.plan(&desired, Families::BOTH);
    router.take(&mut adj_out, 100);
    assert_eq!((router.table.len(), router.heard.len()), (10_000, 13));
}

fn any_prefix() -> impl Strategy<Value = IpNet> {
    (0u8..8, prop::sample::select(vec![24u8, 30, 32]), any::<bool>()).prop_map(|(host, len, v6)| {
        let v6_len = len + 96;
        let text = if v6 { format!("2001:db8::{host}/{v6_len}") } else { format!("10.0.0.{host}/{len}") };
        text.parse::<IpNet>().unwrap().trunc()
    })
}

proptest! {
    #[test]
    fn whatever_is_desired_and_however_slow_the_router_it_believes_it_in_the_end(
        steps in prop::collection::vec(
            (prop::collection::btree_map(any_prefix(), 1u32..4, 0..12), 0usize..4, prop::option::weighted(0.2, any::<bool>())),
            1..12,
        ),
    ) {
        let (mut adj_out, mut router) = (AdjOut::start(Families::BOTH), Believer::default());
        let mut desired = Routes::new();
        for (wanted, messages, refresh) in steps {
            desired = wanted.iter().map(|(prefix, number)| (*prefix, set(*number))).collect();
            if let Some(enhanced) = refresh {
                adj_out.refresh(Family::V4, enhanced);
            }
            adj_out.plan(&desired, Families::BOTH);
            let covered_before: Vec<IpNet> = router.table.keys().copied().collect();
            for _ in 0..messages {
                router.take(&mut adj_out, 1);
                for prefix in desired.keys().filter(|prefix| covered_before.iter().any(|old| old.contains(*prefix))) {
                    let covered = router.table.keys().any(|known| known.contains(prefix));
                    prop_assert!(covered, "{prefix} is desired, had a route, and has none any more");
                }
            }
        }
        router.take(&mut adj_out, 1000);
        prop_assert_eq!(&router.table, &believed(&desired));
        prop_assert!(adj_out.is_idle());
    }
}
