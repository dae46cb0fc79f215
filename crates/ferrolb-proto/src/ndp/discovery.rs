//! Two routers on a link find each other by router advertisements (RFC 4861 §4.1, §4.2), so that neither has to know the
//! other's address: what unnumbered BGP peers by.
//!
//! ```text
//! advertisement, solicitation ──►┌───────────┐──► advertisements of ours, solicitations
//!                                │ Discovery │
//!                                └───────────┘──► the router's link-local address
//! ```
//!
//! We advertise ourselves with a lifetime of zero: "here I am, but send me nothing". FRR dials whoever advertises, whatever
//! the lifetime, and nobody makes a default router of us (RFC 4861 §6.3.4). Of those that are heard, one that lets itself be
//! used as a router goes before one that does not, because nodes like us are of the second kind; among equals the first
//! stays as long as it is heard.
//!
//! Messages are here without their IPv6 header: a raw ICMPv6 socket takes and gives them so, and its kernel puts in and
//! checks the checksum. Left out: prefixes, MTU, everything that hosts learn from routers; the kernel does that.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::{ALL_NODES, HOP_LIMIT, SOURCE_LINK_LAYER, options};
use crate::ethernet::MacAddr;

/// ICMPv6 types.
pub const ROUTER_SOLICITATION: u8 = 133;
/// See [`ROUTER_SOLICITATION`].
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// `ff02::2`.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Between two advertisements of ours, as FRR sends them on unnumbered sessions.
const ADVERTISE_INTERVAL: Duration = Duration::from_secs(10);
/// Not sooner than so long after the last, whoever asks (RFC 4861 §10, `MIN_DELAY_BETWEEN_RAS`).
const CALM_INTERVAL: Duration = Duration::from_secs(3);
/// Between two solicitations while no router is heard: the first pause, and the longest.
const SOLICIT_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_SOLICIT_INTERVAL: Duration = Duration::from_secs(10);
/// A router that is heard no more is forgotten after its lifetime, and not sooner than this: three advertisements of FRR's.
const SHORTEST_LIFE: Duration = Duration::from_secs(30);

/// What the discovery is told.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Where it came from.
    pub source: Ipv6Addr,
    /// How far it can have come.
    pub hop_limit: u8,
    /// The message, from its type on.
    pub bytes: &'a [u8],
}

/// What it wants done, or has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this to this group, with hop limit 255 and the interface's link-local address as source.
    Send(Ipv6Addr, Vec<u8>),
    /// The router at the other end is this one now, or nobody is there.
    Router(Option<Ipv6Addr>),
}

/// What is known of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    address: Ipv6Addr,
    /// It lets itself be used as a router.
    routes: bool,
    ends_at: Instant,
}

/// One link.
#[derive(Debug)]
pub struct Discovery {
    own: MacAddr,
    router: Option<Heard>,
    advertised_at: Option<Instant>,
    advertise_at: Instant,
    solicit_at: Option<Instant>,
    solicit_interval: Duration,
    outputs: VecDeque<Output>,
}

impl Discovery {
    /// A link on which nothing has been heard yet. `own` is our MAC address on it.
    pub const fn new(own: MacAddr, now: Instant) -> Self {
        Self {
            own,
            router: None,
            advertised_at: None,
            advertise_at: now,
            solicit_at: Some(now),
            solicit_interval: SOLICIT_INTERVAL,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a message. What is malformed, or comes from another link, does nothing (RFC 4861 §6.1).
    pub fn handle(&mut self, now: Instant, message: Message<'_>) {
        let Message { source, hop_limit, bytes } = message;
        let [kind, 0, ..] = *bytes else { return };
        if hop_limit != HOP_LIMIT {
            return;
        }
        match kind {
            ROUTER_SOLICITATION if bytes.get(8..).is_some_and(|rest| options(rest, SOURCE_LINK_LAYER).is_ok()) => {
                self.advertise_soon(now);
                self.handle_timeout(now);
            }
            ROUTER_ADVERTISEMENT if source.is_unicast_link_local() => {
                let Some(lifetime) = lifetime(bytes) else { return };
                self.hear(now, source, lifetime);
                // It may have just been started, and dials nobody whom it has not heard since.
                if self.router.is_some_and(|router| router.address == source) {
                    self.advertise_soon(now);
                }
            }
            _ => {}
        }
    }

    fn advertise_soon(&mut self, now: Instant) {
        let calm = self.advertised_at.map_or(now, |at| at + CALM_INTERVAL);
        self.advertise_at = self.advertise_at.min(calm.max(now));
    }

    fn hear(&mut self, now: Instant, address: Ipv6Addr, lifetime: Duration) {
        let heard = Heard { address, routes: !lifetime.is_zero(), ends_at: now + lifetime.max(SHORTEST_LIFE) };
        let known = self.router.map(|router| (router.address, router.routes));
        let better = known.is_none_or(|(known, routes)| known == address || (heard.routes && !routes));
        if better {
            self.router = Some(heard);
            self.solicit_at = None;
            if known.is_none_or(|(known, _)| known != address) {
                self.outputs.push_back(Output::Router(Some(address)));
            }
        }
    }

    /// Does what is due. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.router.is_some_and(|router| router.ends_at <= now) {
            self.router = None;
            self.outputs.push_back(Output::Router(None));
            (self.solicit_at, self.solicit_interval) = (Some(now), SOLICIT_INTERVAL);
        }
        if self.advertise_at <= now {
            (self.advertised_at, self.advertise_at) = (Some(now), now + ADVERTISE_INTERVAL);
            self.outputs.push_back(Output::Send(ALL_NODES, advertisement(self.own)));
        }
        if self.solicit_at.is_some_and(|at| at <= now) {
            self.solicit_at = Some(now + self.solicit_interval);
            self.solicit_interval = (self.solicit_interval * 2).min(LONGEST_SOLICIT_INTERVAL);
            self.outputs.push_back(Output::Send(ALL_ROUTERS, solicitation(self.own)));
        }
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        let ends_at = self.router.map(|router| router.ends_at);
        [Some(self.advertise_at), self.solicit_at, ends_at].into_iter().flatten().min()
    }

    /// What is to be done, or has been found out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// How long an advertisement's sender lets itself be used as a router; `None` if it is malformed.
fn lifetime(bytes: &[u8]) -> Option<Duration> {
    let [high, low] = *bytes.get(6..8)?.first_chunk::<2>()?;
    options(bytes.get(16..)?, SOURCE_LINK_LAYER).ok()?;
    Some(Duration::from_secs(u64::from(u16::from_be_bytes([high, low]))))
}

/// "Here I am": every field unspecified, lifetime zero. The kernel puts in the checksum.
fn advertisement(own: MacAddr) -> Vec<u8> {
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0];
    message.extend_from_slice(&[0; 12]);
    message.extend_from_slice(&[SOURCE_LINK_LAYER, 1]);
    message.extend_from_slice(&own.0);
    message
}

/// "Who is there?"
fn solicitation(own: MacAddr) -> Vec<u8> {
    let mut message = vec![ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0, SOURCE_LINK_LAYER, 1];
    message.extend_from_slice(&own.0);
    message
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const SISTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    /// An advertisement as FRR sends it: lifetime, a prefix option, the MAC address.
    fn advertised(lifetime: u16) -> Vec<u8> {
        let mut bytes = advertisement(OWN);
        bytes[6..8].copy_from_slice(&lifetime.to_be_bytes());
        bytes.extend_from_slice(&[3, 4, 64, 0xc0]);
        bytes.extend_from_slice(&[0; 28]);
        bytes
    }

    fn hear(discovery: &mut Discovery, now: Instant, source: Ipv6Addr, bytes: &[u8]) -> Vec<Output> {
        discovery.handle(now, Message { source, hop_limit: 255, bytes });
        std::iter::from_fn(|| discovery.poll_output()).collect()
    }

    fn wait(discovery: &mut Discovery, now: Instant) -> Vec<Output> {
        discovery.handle_timeout(now);
        std::iter::from_fn(|| discovery.poll_output()).collect()
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn started(now: Instant) -> Discovery {
        let mut discovery = Discovery::new(OWN, now);
        let said = wait(&mut discovery, now);
        let kinds: Vec<(Ipv6Addr, u8)> = said
            .iter()
            .map(|one| match one {
                Output::Send(to, bytes) => (*to, bytes[0]),
                other @ Output::Router(_) => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, [(ALL_NODES, ROUTER_ADVERTISEMENT), (ALL_ROUTERS, ROUTER_SOLICITATION)]);
        discovery
    }

    #[test]
    fn we_say_that_we_are_there_and_that_nothing_is_to_be_sent_to_us() {
        let message = advertisement(OWN);
        assert_eq!((message.len(), lifetime(&message)), (24, Some(Duration::ZERO)));
        assert_eq!(options(&message[16..], SOURCE_LINK_LAYER), Ok(Some(OWN)));
    }

    #[test]
    fn the_router_that_is_heard_is_told_once_and_forgotten_when_it_falls_silent() {
        let start = Instant::now();
        let mut discovery = started(start);
        assert_eq!(hear(&mut discovery, start, ROUTER, &advertised(30)), [Output::Router(Some(ROUTER))]);
        assert_eq!(hear(&mut discovery, at(start, 9), ROUTER, &advertised(30)), []);
        assert!(!wait(&mut discovery, at(start, 38)).contains(&Output::Router(None)));
        let said = wait(&mut discovery, at(start, 39));
        assert_eq!(said[0], Output::Router(None));
        assert!(matches!(&said[1], Output::Send(ALL_ROUTERS, _)), "it is looked for again");
    }

    #[test]
    fn a_router_that_says_something_is_told_soon_that_we_are_there() {
        let start = Instant::now();
        let mut discovery = Discovery::new(OWN, start);
        wait(&mut discovery, start);
        hear(&mut discovery, at(start, 4), ROUTER, &advertised(30));
        let sent = |outputs: Vec<Output>| outputs.iter().any(|one| matches!(one, Output::Send(ALL_NODES, _)));
        assert!(sent(wait(&mut discovery, at(start, 4))), "it may have just been started");
        hear(&mut discovery, at(start, 5), ROUTER, &advertised(30));
        assert!(!sent(wait(&mut discovery, at(start, 6))), "but not more often than every three seconds");
        assert!(sent(wait(&mut discovery, at(start, 7))));
    }

    #[test]
    fn one_that_routes_goes_before_one_like_us() {
        let start = Instant::now();
        let mut discovery = started(start);
        assert_eq!(hear(&mut discovery, start, SISTER, &advertised(0)), [Output::Router(Some(SISTER))]);
        assert_eq!(hear(&mut discovery, start, ROUTER, &advertised(30)), [Output::Router(Some(ROUTER))]);
        assert_eq!(hear(&mut discovery, start, SISTER, &advertised(0)), []);
        assert_eq!(hear(&mut discovery, start, SISTER, &advertised(1800)), [], "the first of two stays");
    }

    #[test]
    fn who_asks_is_answered_but_not_more_often_than_every_three_seconds() {
        let start = Instant::now();
        let mut discovery = started(start);
        let asks = solicitation(OWN);
        hear(&mut discovery, start, ROUTER, &advertised(30));
        assert_eq!(hear(&mut discovery, at(start, 1), ROUTER, &asks), []);
        assert_eq!(wait(&mut discovery, at(start, 2)), []);
        let said = [Output::Send(ALL_NODES, advertisement(OWN))];
        assert_eq!(wait(&mut discovery, at(start, 3)), said);
        assert_eq!(hear(&mut discovery, at(start, 7), Ipv6Addr::UNSPECIFIED, &asks), said);
        assert_eq!(wait(&mut discovery, at(start, 16)), []);
        assert_eq!(wait(&mut discovery, at(start, 17)), said);
    }

    #[test]
    fn what_comes_from_elsewhere_or_is_malformed_is_nobody() {
        let start = Instant::now();
        let mut discovery = started(start);
        let good = advertised(30);
        discovery.handle(start, Message { source: ROUTER, hop_limit: 254, bytes: &good });
        assert_eq!(discovery.poll_output(), None, "it passed a router");
        let global = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
        assert_eq!(hear(&mut discovery, start, global, &good), []);
        for end in 0..good.len() {
            let whole = [16, 24].contains(&end);
            let said = hear(&mut Discovery::new(OWN, start), start, ROUTER, &good[..end]);
            assert_eq!(!said.is_empty(), whole, "{end}");
        }
        let mut loops = good.clone();
        loops[25] = 0;
        assert_eq!(hear(&mut discovery, start, ROUTER, &loops), [], "an option of length zero");
    }
}
