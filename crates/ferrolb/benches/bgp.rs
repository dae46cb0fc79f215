//! What BGP costs without the network: from the routes that are desired to bytes for the socket, and received bytes to
//! nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use ferrolb_proto::bgp::session::config::Reach;
use ferrolb_proto::bgp::session::{
    Config, ConnectionId, Endpoints, Input, Output, Posture, Remote, Session, State, Transport,
};
use ferrolb_proto::bgp::wire::keepalive;
use ferrolb_proto::bgp::wire::open::{Capabilities, Open};
use ferrolb_proto::bgp::{Asn, Attributes, Community, Families, NextHops, Routes};

const ROUTES: u32 = 10_000;
const ID: ConnectionId = ConnectionId::Dialed(1);

fn main() {
    divan::main();
}

fn established() -> Session {
    let transport =
        Transport { remote: None, port: 179, source: None, device: None, password: None, reach: Reach::Direct };
    let config = Config {
        local_asn: Asn(64512),
        remote: Remote::External,
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        hold_interval: Duration::from_secs(90),
        keepalive_interval: None,
        connect_interval: None,
        families: Families::V4,
        posture: Posture::Dial,
        graceful_restart: None,
        restarting: false,
        extended_next_hop: false,
        extended_message: false,
        host_name: String::new(),
        receive_limit: None,
        transport,
    };
    let now = Instant::now();
    let mut session = Session::new(config, 1, now);
    session.handle(now, Input::Start);
    session.handle_timeout(now);
    let (local, remote) = ([198, 51, 100, 1].into(), [198, 51, 100, 2].into());
    session.handle(now, Input::Dialed(ID, Endpoints { local, remote, next_hops: NextHops::default() }));
    let capabilities = Capabilities { four_octet: Some(Asn(64513)), ..Capabilities::default() };
    let open = Open { asn: Asn(64513), hold_time: 90, router_id: Ipv4Addr::new(192, 0, 2, 2), capabilities };
    session.handle(now, Input::Bytes(ID, &open.emit()));
    session.handle(now, Input::Bytes(ID, &keepalive()));
    assert_eq!(session.state(), State::Established);
    written(&mut session);
    session
}

/// Takes everything the session wants written, as a socket that keeps up does.
fn written(session: &mut Session) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(output) = session.poll_output() {
        if let Output::Send(id, bytes) = output {
            session.handle(Instant::now(), Input::Sent(id, bytes.len()));
            all.extend(bytes);
        }
    }
    all
}

fn routes(distinct: bool) -> Routes {
    let one = Arc::new(Attributes { communities: [Community(1)].into(), ..Attributes::default() });
    let of = |number: u32| match distinct {
        true => Arc::new(Attributes { communities: [Community(number)].into(), ..Attributes::default() }),
        false => Arc::clone(&one),
    };
    (0..ROUTES).map(|number| (IpAddr::from((0x0a00_0000 + number).to_be_bytes()).into(), of(number))).collect()
}

/// Ten thousand routes, from what is desired to bytes for the socket; with one set of attributes, and with one for each.
#[divan::bench(args = [false, true])]
fn announce_all(bencher: Bencher<'_, '_>, distinct: bool) {
    let routes = Arc::new(routes(distinct));
    bencher.with_inputs(established).bench_values(|mut session| {
        session.handle(Instant::now(), Input::Routes(Arc::clone(&routes)));
        black_box(written(&mut session))
    });
}

/// One route among ten thousand comes and goes.
#[divan::bench]
fn change_one(bencher: Bencher<'_, '_>) {
    let all = Arc::new(routes(false));
    let mut fewer = routes(false);
    fewer.pop_last();
    let fewer = Arc::new(fewer);
    let mut session = established();
    session.handle(Instant::now(), Input::Routes(Arc::clone(&all)));
    written(&mut session);
    let mut turn = false;
    bencher.bench_local(|| {
        turn = !turn;
        let next = if turn { &fewer } else { &all };
        session.handle(Instant::now(), Input::Routes(Arc::clone(next)));
        let bytes = written(&mut session);
        assert!(!bytes.is_empty());
        bytes
    });
}

/// Ten thousand routes that a router announces to us are counted and dropped.
#[divan::bench]
fn receive_all(bencher: Bencher<'_, '_>) {
    let mut router = established();
    router.handle(Instant::now(), Input::Routes(Arc::new(routes(false))));
    let bytes = written(&mut router);
    let mut session = established();
    bencher.bench_local(|| {
        session.handle(Instant::now(), Input::Bytes(ID, black_box(&bytes)));
        assert_eq!(session.state(), State::Established);
    });
}
