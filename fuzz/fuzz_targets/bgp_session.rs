//! A BGP session under a script of anything that can happen to it: it never panics, never keeps more than a window of
//! unsent bytes, never has more than two connections, announces nothing before it is established, and never asks to be
//! woken at a time that is over.
//!
//! The input is the script: what happens, a number, and for bytes from the router their count and the bytes.
#![no_main]

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_proto::bfd::Path;
use ferrolb_proto::bgp::session::config::Reach;
use ferrolb_proto::bgp::session::{
    Config, ConnectionId, Endpoints, Input, Output, Posture, Remote, Session, State, Transport, WINDOW,
};
use ferrolb_proto::bgp::wire::notification::Cease;
use ferrolb_proto::bgp::wire::open::{Capabilities, GracefulRestart, Open};
use ferrolb_proto::bgp::wire::{Inbox, MAX_LEN, MessageType, keepalive};
use ferrolb_proto::bgp::{Asn, Attributes, Families, NextHops};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [flags, script @ ..] = bytes else { return };
    let mut world = World::new(*flags);
    let mut script = script;
    for _ in 0..64 {
        let [what, number, rest @ ..] = script else { break };
        script = world.step(*what, *number, rest);
        world.check();
    }
});

struct World {
    now: Instant,
    session: Session,
    flags: u8,
    open: BTreeSet<ConnectionId>,
    unsent: usize,
}

fn config(flags: u8) -> Config {
    let posture = [Posture::Dial, Posture::Listen, Posture::DialAndListen, Posture::DialAndListen];
    Config {
        local_asn: Asn(64512),
        remote: Remote::External,
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        hold_interval: Duration::from_secs(if flags & 4 == 0 { 90 } else { 0 }),
        keepalive_interval: None,
        connect_interval: None,
        families: Families::BOTH,
        posture: posture[usize::from(flags & 3)],
        graceful_restart: (flags & 8 != 0).then_some(Duration::from_secs(120)),
        restarting: flags & 16 != 0,
        extended_next_hop: flags & 32 != 0,
        extended_message: false,
        host_name: "node-a".to_owned(),
        receive_limit: (flags & 64 != 0).then_some(10),
        transport: Transport {
            remote: None,
            port: 179,
            source: None,
            device: None,
            password: None,
            reach: Reach::Default,
        },
    }
}

fn endpoints() -> Endpoints {
    let next_hops = NextHops { v4: None, v6: "2001:db8::1".parse().ok(), link_local: None };
    Endpoints { local: [198, 51, 100, 1].into(), remote: [198, 51, 100, 2].into(), next_hops }
}

fn their_open(number: u8) -> Open {
    let restart =
        GracefulRestart { notification: true, time: 120, families: Families::BOTH, ..GracefulRestart::default() };
    let capabilities = Capabilities {
        families: Some(Families::BOTH),
        refresh: true,
        enhanced_refresh: number & 1 == 0,
        four_octet: (number & 2 == 0).then_some(Asn(64513)),
        graceful_restart: (number & 4 == 0).then_some(restart),
        ..Capabilities::default()
    };
    Open { asn: Asn(64513), hold_time: 30, router_id: Ipv4Addr::new(number | 1, 0, 0, 1), capabilities }
}

impl World {
    fn new(flags: u8) -> Self {
        let now = Instant::now();
        let session = Session::new(config(flags), flags.into(), now);
        Self { now, session, flags, open: BTreeSet::new(), unsent: 0 }
    }

    fn step<'a>(&mut self, what: u8, number: u8, rest: &'a [u8]) -> &'a [u8] {
        let id = self.open.iter().nth(usize::from(number) % self.open.len().max(1)).copied();
        let id = id.unwrap_or(ConnectionId::Dialed(number.into()));
        match what % 16 {
            0 => self.tell(Input::Start),
            1 => self.tell(Input::Stop(Cease::AdministrativeShutdown, "x")),
            2 => self.tell(Input::Leave(Duration::from_secs(number.into()), "x")),
            3 => self.tell(Input::Drain(Duration::from_secs(number.into()), Cease::AdministrativeShutdown, "x")),
            4 => self.accept(number),
            5 => self.tell(Input::DialFailed(id, "no")),
            6 => self.close(id),
            7 => self.tell(Input::Bytes(id, &their_open(number).emit())),
            8 => self.tell(Input::Bytes(id, &keepalive())),
            9 => self.tell(Input::Routes(routes(number))),
            10 => self.tell(Input::Bfd(if number & 1 == 0 { Path::Up } else { Path::Down })),
            11 => self.tell(Input::Configure(config(self.flags ^ number & 12))),
            12 => self.sent(id, usize::from(number) * 256),
            13 => self.pass(Duration::from_secs(number.into())),
            14 => self.pass(Duration::from_millis(number.into())),
            _ => {
                let (bytes, rest) = rest.split_at(usize::from(number).min(rest.len()));
                self.tell(Input::Bytes(id, bytes));
                return rest;
            }
        }
        rest
    }

    fn accept(&mut self, number: u8) {
        let id = ConnectionId::Accepted(number.into());
        if self.open.insert(id) {
            self.tell(Input::Accepted(id, endpoints()));
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.open.remove(&id);
        self.tell(Input::Closed(id));
    }

    fn sent(&mut self, id: ConnectionId, count: usize) {
        let count = count.min(self.unsent);
        self.unsent -= count;
        self.tell(Input::Sent(id, count));
    }

    fn pass(&mut self, interval: Duration) {
        let end = self.now + interval;
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.drain();
            assert!(self.session.next_deadline().is_none_or(|next| next > self.now), "woken for nothing");
        }
        self.now = end;
    }

    fn tell(&mut self, input: Input<'_>) {
        self.session.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut dialed = None;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Dial(id) => dialed = Some(id),
                Output::Send(_, bytes) => self.look(&bytes),
                Output::Close(id) | Output::Abort(id) => {
                    self.open.remove(&id);
                    if self.open.is_empty() {
                        self.unsent = 0;
                    }
                }
                _ => {}
            }
        }
        if let Some(id) = dialed.filter(|_| self.flags & 128 == 0) {
            self.open.insert(id);
            self.tell(Input::Dialed(id, endpoints()));
        }
    }

    fn look(&mut self, bytes: &[u8]) {
        self.unsent += bytes.len();
        let (mut inbox, mut chunk) = (Inbox::default(), bytes);
        while let Some(message) = inbox.next(&mut chunk, MAX_LEN).expect("we write what we can read") {
            let counted = self.session.counters().established > 0;
            assert!(message != MessageType::Update || counted, "an UPDATE before the session was established");
        }
        assert!(inbox.is_empty() || chunk.is_empty());
    }

    fn check(&self) {
        assert!(self.open.len() <= 258, "{:?}", self.open);
        // One window, and what small messages every connection may have waiting.
        assert!(self.unsent <= WINDOW + 256 * 512, "{} bytes wait", self.unsent);
        let established = self.session.state() == State::Established;
        assert_eq!(self.session.negotiated().is_some(), established);
    }
}

fn routes(number: u8) -> Arc<ferrolb_proto::bgp::Routes> {
    let one = |last: u8| {
        let set = Attributes { med: Some(u32::from(last ^ number) & 3), ..Attributes::default() };
        (std::net::IpAddr::from([10, 0, number & 1, last]).into(), Arc::new(set))
    };
    Arc::new((0..number).map(one).collect())
}
