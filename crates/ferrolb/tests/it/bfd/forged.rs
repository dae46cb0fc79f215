//! What is not from the router moves nothing: too far away, another discriminator, another interface, garbage.

use std::net::UdpSocket;
use std::num::NonZeroU32;

use ferrolb_proto::bfd::Packet;

use super::*;

/// A packet that would end the session, if it counted.
fn deadly(your_discriminator: u32) -> Packet {
    Packet {
        diagnostic: Diagnostic::NeighborSignaledDown,
        state: State::Down,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: NonZeroU32::new(666).unwrap(),
        your_discriminator,
        desired_min_tx: 1_000_000,
        required_min_rx: 1_000_000,
        required_min_echo_rx: 0,
    }
}

/// Sends to our port from a host's address, with this TTL.
fn send(host: &Host, from: &'static str, ttl: u32, bytes: Vec<u8>) {
    host.run(move || {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_ttl(ttl).unwrap();
        socket.send_to(&bytes, ("10.8.0.1", 3784)).unwrap();
    });
}

#[test]
fn what_is_forged_moves_nothing() {
    let net = Net::new();
    net.start_frr(&frr_peers(50));
    let stranger = Host::new();
    net.node.join("eth1", &stranger, "eth0");
    net.node.ip("address add 10.8.9.1/24 dev eth1");
    stranger.ip("address add 10.8.9.2/24 dev eth0");
    stranger.ip("address add 10.8.0.2/32 dev eth0");
    stranger.ip("route add 10.8.0.1/32 via 10.8.9.1 dev eth0 src 10.8.0.2");
    for interface in ["all", "eth0", "eth1"] {
        assert!(net.node.sh(&format!("sysctl -qw net.ipv4.conf.{interface}.rp_filter=0")).0);
    }
    net.router.ip("address add 10.8.0.3/24 dev eth0");
    let bfd = net.watch(&[(V4, every(50))]);
    eventually("it is up", || is_up(&bfd, V4));
    let counters = || bfd.counters()[&way(V4)];
    let unnamed = deadly(0).emit().to_vec();
    let before = counters();
    send(&net.router, "10.8.0.2", 254, unnamed.clone());
    eventually("what was forwarded is counted out", || counters().discarded == before.discarded + 1);
    let mut garbage = unnamed.clone();
    garbage[2] = 0;
    send(&net.router, "10.8.0.2", 255, garbage);
    eventually("garbage is counted out", || counters().discarded == before.discarded + 2);
    for length in [0, 1, 11, 12, 23] {
        send(&net.router, "10.8.0.2", 255, unnamed[..length].to_vec());
    }
    send(&net.router, "10.8.0.2", 255, vec![0xff; 1400]);
    for named in [1, 666, u32::MAX] {
        send(&net.router, "10.8.0.2", 255, deadly(named).emit().to_vec());
    }
    send(&net.router, "10.8.0.3", 255, unnamed.clone());
    send(&stranger, "10.8.0.2", 255, unnamed.clone());
    thread::sleep(500 * MS);
    assert!(is_up(&bfd, V4));
    assert_eq!((counters().down, seen(&bfd, V4).breaks), (0, 0));
    // The same from the router itself, by its interface and with its TTL, counts: BFD has no other proof.
    send(&net.router, "10.8.0.2", 255, unnamed);
    eventually("the router's own word counts", || counters().down == 1);
}
