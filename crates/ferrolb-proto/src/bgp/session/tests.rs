//! Tests of the session: against a script of messages here, against itself over a simulated stream in `pair`.

use std::net::Ipv4Addr;

use super::*;
use crate::bgp::wire::notification::Cease;
use crate::bgp::wire::open::{Capabilities, GracefulRestart, Open};
use crate::bgp::wire::{HEADER_LEN, Inbox, MAX_LEN, MessageType, Refresh, Verdict, keepalive, put_refresh};
use crate::bgp::{Asn, Attributes, Community, Families, Family, Kind};

mod collision;
mod ending;
mod pair;
mod timers;

const SECOND: Duration = Duration::from_secs(1);
const OURS: ConnectionId = ConnectionId::Dialed(1);

fn config() -> Config {
    Config {
        local_asn: Asn(64512),
        remote: Remote::Number(Asn(64513)),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        hold_interval: Duration::from_secs(90),
        keepalive_interval: None,
        connect_interval: None,
        families: Families::BOTH,
        posture: Posture::Dial,
        graceful_restart: None,
        restarting: false,
        extended_next_hop: false,
        extended_message: false,
        host_name: "node-a".to_owned(),
        receive_limit: None,
        transport: Transport {
            remote: Some([198, 51, 100, 2].into()),
            port: 179,
            source: None,
            device: None,
            password: None,
            reach: Reach::Direct,
        },
    }
}

use super::config::{Password, Reach};

fn endpoints() -> Endpoints {
    let v6 = "2001:db8::1".parse().ok();
    let next_hops = NextHops { v4: Some([198, 51, 100, 1].into()), v6, link_local: None };
    Endpoints { local: [198, 51, 100, 1].into(), remote: [198, 51, 100, 2].into(), next_hops }
}

/// What a router like FRR answers.
fn their_open() -> Open {
    let capabilities = Capabilities {
        families: Some(Families::BOTH),
        refresh: true,
        enhanced_refresh: true,
        four_octet: Some(Asn(64513)),
        host_name: Some("router".to_owned()),
        unknown: [71, 128].into(),
        ..Capabilities::default()
    };
    Open { asn: Asn(64513), hold_time: 180, router_id: Ipv4Addr::new(198, 51, 100, 2), capabilities }
}

fn with_restart(notification: bool) -> Open {
    let mut open = their_open();
    let families = Families::BOTH;
    open.capabilities.graceful_restart =
        Some(GracefulRestart { restarted: false, notification, time: 120, families, forwarding: families });
    open
}

/// A session with its clock; what it wants written is taken by the socket at once unless `stuck`.
struct Bench {
    now: Instant,
    session: Session,
    stuck: bool,
    written: Vec<(ConnectionId, MessageType, Vec<u8>)>,
    events: Vec<Output>,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "a test has to begin somewhere in time")]
    fn new(config: Config) -> Self {
        let now = Instant::now();
        let session = Session::new(config, 1, now);
        let mut bench = Self { now, session, stuck: false, written: Vec::new(), events: Vec::new() };
        bench.tell(Input::Start);
        bench.at(Duration::ZERO);
        bench
    }

    /// Dialed, with both OPENs out.
    fn open(config: Config) -> Self {
        let mut bench = Self::new(config);
        assert!(bench.events.contains(&Output::Dial(OURS)));
        bench.tell(Input::Dialed(OURS, endpoints()));
        bench
    }

    /// Established, with routes not yet known.
    fn established(config: Config, open: &Open) -> Self {
        let mut bench = Self::open(config);
        bench.receive(&open.emit());
        bench.receive(&keepalive());
        assert_eq!(bench.session.state(), State::Established);
        bench
    }

    fn tell(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        self.drain();
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.tell(Input::Bytes(OURS, bytes));
    }

    /// Lets time pass, with everything that falls due on the way.
    fn at(&mut self, later: Duration) {
        let end = self.now + later;
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            let Output::Send(id, bytes) = output else {
                self.events.push(output);
                continue;
            };
            let (mut inbox, mut chunk) = (Inbox::default(), bytes.as_slice());
            while let Some(message) = inbox.next(&mut chunk, MAX_LEN).unwrap() {
                self.written.push((id, message, inbox.body().to_vec()));
            }
            if !self.stuck {
                self.session.handle(self.now, Input::Sent(id, bytes.len()));
            }
        }
    }

    /// Lets time pass until the session dials.
    fn next_dial(&mut self) -> ConnectionId {
        self.events.clear();
        for _ in 0..10 {
            if let Some(Output::Dial(id)) = self.events.last() {
                return *id;
            }
            let due = self.session.next_deadline().expect("it goes on");
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            while let Some(output) = self.session.poll_output() {
                self.events.extend(matches!(output, Output::Dial(_)).then_some(output));
            }
        }
        panic!("it does not dial");
    }

    fn types(&mut self) -> Vec<MessageType> {
        self.written.drain(..).map(|(_, message, _)| message).collect()
    }

    fn notification(&self) -> Option<Notification> {
        let (_, _, body) = self.written.iter().rev().find(|(_, kind, _)| *kind == MessageType::Notification)?;
        Some(Notification::parse(body))
    }

    fn codes(&self) -> Option<(u8, u8)> {
        self.notification().map(|notification| (notification.code, notification.subcode))
    }

    fn last_down(&self) -> Option<&Reason> {
        self.session.last_down()
    }
}

fn routes(entries: &[(&str, Attributes)]) -> Arc<Routes> {
    Arc::new(entries.iter().map(|(prefix, set)| (prefix.parse().unwrap(), Arc::new(set.clone()))).collect())
}

fn one_route() -> Arc<Routes> {
    routes(&[("192.0.2.10/32", Attributes::default())])
}

use MessageType::{Keepalive, Open as OpenMessage, RouteRefresh, Update};

#[test]
fn a_session_opens_as_rfc_4271_has_it_and_announces() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.session.state(), State::Connect);
    bench.tell(Input::Dialed(OURS, endpoints()));
    assert_eq!((bench.session.state(), bench.types()), (State::OpenSent, vec![OpenMessage]));
    bench.receive(&their_open().emit());
    assert_eq!((bench.session.state(), bench.types()), (State::OpenConfirm, vec![Keepalive]));
    bench.tell(Input::Routes(one_route()));
    assert_eq!(bench.types(), [], "no UPDATE before Established");
    bench.receive(&keepalive());
    assert_eq!((bench.session.state(), bench.types()), (State::Established, vec![Update]));
    let agreed = bench.session.negotiated().unwrap();
    assert_eq!((agreed.hold_interval, agreed.keepalive_interval), (90 * SECOND, 30 * SECOND));
    assert_eq!((agreed.kind, agreed.families, agreed.four_octet), (Kind::External, Families::BOTH, true));
    assert_eq!((agreed.host_name.as_deref(), agreed.keeps_routes()), (Some("router"), false));
    let told = bench.events.iter().filter(|event| matches!(event, Output::Established(_))).count();
    assert_eq!((told, bench.session.adj_out().told(Family::V4)), (1, 1));
}

#[test]
fn our_open_says_what_we_can_do() {
    let restart = Config { graceful_restart: Some(120 * SECOND), restarting: true, ..config() };
    let bench = Bench::open(restart);
    let open = Open::parse(&bench.written[0].2).unwrap();
    let capabilities = open.capabilities;
    assert_eq!((open.asn, open.hold_time, open.router_id), (Asn(64512), 90, Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!((capabilities.families, capabilities.four_octet), (Some(Families::BOTH), Some(Asn(64512))));
    assert!(capabilities.refresh && capabilities.enhanced_refresh && !capabilities.extended_message);
    assert_eq!(capabilities.host_name.as_deref(), Some("node-a"));
    let restart = capabilities.graceful_restart.unwrap();
    assert_eq!((restart.restarted, restart.notification, restart.time), (true, true, 120));
    assert_eq!(restart.forwarding, Families::BOTH, "the kernel forwards while we are away");
}

#[test]
fn a_restart_is_said_until_the_session_is_there_or_its_time_is_over() {
    let restarting = Config { graceful_restart: Some(120 * SECOND), restarting: true, ..config() };
    let says_so = |bench: &Bench| {
        let (_, _, body) = bench.written.iter().rev().find(|(_, kind, _)| *kind == OpenMessage).unwrap();
        Open::parse(body).unwrap().capabilities.graceful_restart.unwrap().restarted
    };
    let mut late = Bench::new(restarting.clone());
    late.tell(Input::DialFailed(OURS, "refused"));
    late.at(130 * SECOND);
    let id = late.next_dial();
    late.tell(Input::Dialed(id, endpoints()));
    assert!(!says_so(&late));
    let mut again = Bench::established(restarting, &with_restart(true));
    assert!(says_so(&again));
    again.tell(Input::Closed(OURS));
    again.at(SECOND);
    again.tell(Input::Dialed(ConnectionId::Dialed(2), endpoints()));
    assert!(!says_so(&again));
}

#[test]
fn nothing_is_told_before_it_is_known_what_is_wanted() {
    let mut bench = Bench::established(config(), &with_restart(true));
    bench.types();
    bench.receive(&{
        let mut refresh = Vec::new();
        put_refresh(&mut refresh, Family::V4, Refresh::Request);
        refresh
    });
    assert_eq!(bench.types(), [], "an End-of-RIB now would end every route we had before a restart");
    bench.tell(Input::Routes(Arc::default()));
    assert_eq!(bench.types(), [RouteRefresh, RouteRefresh, Update, Update]);
}

#[test]
fn a_router_without_graceful_restart_gets_no_end_of_rib() {
    let mut bench = Bench::established(config(), &their_open());
    bench.types();
    bench.tell(Input::Routes(Arc::default()));
    assert_eq!(bench.types(), []);
}

#[test]
fn opens_that_do_not_fit_are_refused_with_their_code() {
    let refused = |change: fn(&mut Open)| {
        let mut open = their_open();
        change(&mut open);
        let mut bench = Bench::open(config());
        bench.receive(&open.emit());
        assert_eq!(bench.session.state(), State::Active);
        bench.codes()
    };
    let other_as = |open: &mut Open| {
        open.asn = Asn(64514);
        open.capabilities.four_octet = Some(Asn(64514));
    };
    assert_eq!(refused(other_as), Some((2, 2)));
    assert_eq!(refused(|open| open.hold_time = 2), Some((2, 6)));
    assert_eq!(refused(|open| open.router_id = Ipv4Addr::UNSPECIFIED), Some((2, 3)));
}

#[test]
fn the_same_identifier_is_refused_on_ibgp_only() {
    let mut open = their_open();
    open.router_id = config().router_id;
    let mut external = Bench::open(config());
    external.receive(&open.emit());
    assert_eq!(external.session.state(), State::OpenConfirm);
    open.asn = Asn(64512);
    open.capabilities.four_octet = Some(Asn(64512));
    let mut internal = Bench::open(Config { remote: Remote::Internal, ..config() });
    internal.receive(&open.emit());
    assert_eq!(internal.codes(), Some((2, 3)));
}

#[test]
fn a_dynamic_as_takes_who_is_inside_or_outside() {
    for (remote, fits) in [(Remote::External, true), (Remote::Internal, false)] {
        let mut bench = Bench::open(Config { remote, ..config() });
        bench.receive(&their_open().emit());
        assert_eq!(bench.session.state() == State::OpenConfirm, fits, "{remote:?}");
    }
}

#[test]
fn a_message_in_the_wrong_state_is_answered_with_its_type() {
    let mut opening = Bench::open(config());
    opening.receive(&keepalive());
    assert_eq!(opening.notification(), Some(Notification::with_data(5, 1, vec![4])));
    let mut confirming = Bench::open(config());
    confirming.receive(&their_open().emit());
    confirming.receive(&their_open().emit());
    assert_eq!(confirming.notification(), Some(Notification::with_data(5, 2, vec![1])));
    let mut established = Bench::established(config(), &their_open());
    established.receive(&their_open().emit());
    assert_eq!(established.notification(), Some(Notification::with_data(5, 3, vec![1])));
}

#[test]
fn a_router_that_knows_no_capabilities_is_asked_without() {
    let mut bench = Bench::open(config());
    bench.receive(&Notification::new(2, 4).emit());
    bench.at(2 * SECOND);
    bench.written.clear();
    let second = ConnectionId::Dialed(2);
    bench.tell(Input::Dialed(second, endpoints()));
    assert_eq!(Open::parse(&bench.written[0].2).unwrap().capabilities, Capabilities::default());
    let plain = Open { capabilities: Capabilities::default(), ..their_open() };
    bench.tell(Input::Bytes(second, &plain.emit()));
    bench.tell(Input::Bytes(second, &keepalive()));
    let agreed = bench.session.negotiated().unwrap();
    assert_eq!((agreed.families, agreed.four_octet, agreed.refresh), (Families::V4, false, false));
    let missing = Output::Unannounced(report::Unannounced::NotAgreed(Family::V6));
    assert!(bench.events.contains(&missing), "{:?}", bench.events);
}

#[test]
fn a_family_without_a_next_hop_is_not_announced_until_there_is_one() {
    let no_next_hop = Output::Unannounced(report::Unannounced::NoNextHop(Family::V6));
    let mut bench = Bench::new(config());
    bench.tell(Input::Dialed(OURS, Endpoints { next_hops: NextHops::default(), ..endpoints() }));
    bench.receive(&their_open().emit());
    bench.receive(&keepalive());
    assert!(bench.events.contains(&no_next_hop));
    bench.tell(Input::Routes(routes(&[("2001:db8::1/128", Attributes::default())])));
    assert_eq!(bench.session.adj_out().told(Family::V6), 0);
    bench.types();
    bench.events.clear();
    bench.tell(Input::NextHops(endpoints().next_hops));
    assert_eq!((bench.types(), bench.session.adj_out().told(Family::V6)), (vec![Update], 1), "an address has come");
    let other = NextHops { v6: "2001:db8::2".parse().ok(), ..endpoints().next_hops };
    bench.tell(Input::NextHops(other));
    assert_eq!(bench.types(), [Update], "another next hop is another route");
    bench.tell(Input::NextHops(other));
    assert_eq!(bench.types(), []);
    bench.tell(Input::NextHops(NextHops::default()));
    assert_eq!((bench.types(), bench.session.adj_out().told(Family::V6)), (vec![Update], 0));
    assert_eq!(bench.events, [no_next_hop]);
}

#[test]
fn received_routes_are_counted_limited_and_dropped() {
    let mut update = Vec::new();
    let class = bench_class();
    let hop = class.v4.unwrap();
    let block = crate::bgp::wire::update::attributes(&Attributes::default(), &class, hop);
    let prefixes = ["10.0.0.1/32", "10.0.0.2/32"].map(|text| text.parse().unwrap());
    crate::bgp::wire::update::put_announcement(&mut update, &block, hop, &mut prefixes.into_iter().peekable(), MAX_LEN);
    let mut free = Bench::established(config(), &their_open());
    for _ in 0..3 {
        free.receive(&update);
    }
    assert_eq!((free.session.state(), free.session.counters().prefixes_received), (State::Established, [6, 0]));
    let mut limited = Bench::established(Config { receive_limit: Some(3), ..config() }, &their_open());
    limited.receive(&update);
    assert_eq!(limited.session.state(), State::Established);
    limited.receive(&update);
    assert_eq!(limited.notification(), Some(Notification::with_data(6, 1, vec![0, 1, 1, 0, 0, 0, 3])));
}

fn bench_class() -> crate::bgp::wire::update::Class {
    let v4 = Some(crate::bgp::NextHop::V4(Ipv4Addr::new(198, 51, 100, 2)));
    let kind = Kind::External;
    crate::bgp::wire::update::Class { kind, asn: Asn(64513), four_octet: true, v4, v6: None, max_len: MAX_LEN }
}

#[test]
fn a_faulty_route_is_counted_and_told_once_and_never_resets() {
    let mut bench = Bench::established(config(), &their_open());
    let body = [0, 0, 0, 4, 0x40, 1, 1, 9, 32, 10, 0, 0, 1];
    let mut bytes = Vec::new();
    crate::bgp::wire::frame(&mut bytes, Update, |out| out.extend_from_slice(&body));
    for _ in 0..100 {
        bench.receive(&bytes);
    }
    let told = bench.events.iter().filter(|event| matches!(event, Output::Malformed(Verdict::TreatAsWithdraw(1))));
    assert_eq!((told.count(), bench.session.counters().treated_as_withdraw), (1, 100));
    assert_eq!(bench.session.state(), State::Established);
    let unreadable = [0, 0, 0, 0, 33, 10, 0, 0, 1, 0];
    bytes.clear();
    crate::bgp::wire::frame(&mut bytes, Update, |out| out.extend_from_slice(&unreadable));
    bench.receive(&bytes);
    assert_eq!((bench.session.state(), bench.codes()), (State::Active, Some((3, 10))));
}

#[test]
fn a_refresh_is_answered_and_one_for_an_unknown_family_is_not() {
    let mut bench = Bench::established(config(), &their_open());
    bench.tell(Input::Routes(one_route()));
    bench.types();
    let refresh = |family| {
        let mut bytes = Vec::new();
        put_refresh(&mut bytes, family, Refresh::Request);
        bytes
    };
    bench.receive(&refresh(Family::V4));
    assert_eq!(bench.types(), [RouteRefresh, Update, RouteRefresh]);
    let mut unknown = refresh(Family::V4);
    unknown[HEADER_LEN + 3] = 70;
    bench.receive(&unknown);
    assert_eq!((bench.types(), bench.session.state()), (vec![], State::Established));
}

#[test]
fn passwords_are_never_printed() {
    let mut secret = config();
    secret.transport.password = Some(Password("open sesame".to_owned()));
    assert!(!format!("{secret:?}").contains("sesame"));
    let session = Session::new(secret, 1, Bench::new(config()).now);
    assert!(!format!("{session:?}").contains("sesame"));
}
