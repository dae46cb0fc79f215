//! Layer 2 on real interfaces: what a stranger's tools and a neighbour's kernel see.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ferrolb::drive::l2::{L2, Wanted, Wire};
use ferrolb::net::raw::PacketSocket;
use ferrolb_proto::arp::{self, Operation};

use crate::hosts::{Host, eventually};

/// A node that announces, and a client on the same wire.
struct Lan {
    node: Host,
    client: Host,
}

fn lan() -> Lan {
    let (node, client) = (Host::new(), Host::new());
    node.join("eth0", &client, "eth0");
    node.ip("addr add 192.168.1.11/24 dev eth0");
    client.ip("addr add 192.168.1.50/24 dev eth0");
    client.ip("addr add fd00::50/64 dev eth0 nodad");
    let lan = Lan { node, client };
    for host in [&lan.node, &lan.client] {
        eventually("the link-local address is usable", || {
            let (_, text) = host.sh("ip -6 addr show dev eth0 scope link");
            text.contains("fe80") && !text.contains("tentative")
        });
    }
    lan
}

fn wanted(addresses: &[&str]) -> Wanted {
    addresses.iter().map(|address| (address.parse().unwrap(), None)).collect()
}

fn start(node: &Host, restrict: Option<&str>) -> L2 {
    let restrict = restrict.map(|name| BTreeSet::from([name.to_owned()]));
    node.run(move || L2::start(restrict).unwrap())
}

fn wire(l2: &L2) -> Arc<Wire> {
    l2.wire().borrow().clone()
}

/// The client's kernel's entry for an address, after it tried to reach it.
pub(crate) fn neighbour(client: &Host, address: &str) -> String {
    let target: IpAddr = address.parse().unwrap();
    client.run(move || {
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // Whatever becomes of the packet: to send it, the kernel must resolve the address.
        let _ = std::net::UdpSocket::bind(any).unwrap().send_to(b"x", (target, 9));
    });
    sleep(Duration::from_millis(100));
    client.sh(&format!("ip neigh show {address} dev eth0")).1
}

/// Every ARP frame that the client sees for some time.
fn sniff(client: &Host, during: Duration) -> Vec<arp::Frame> {
    client.run(move || {
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        let everything = [ferrolb_proto::arp::filter::Instruction { code: 6, jt: 0, jf: 0, k: 0xffff }];
        let socket = PacketSocket::open(index, arp::ETHERTYPE, &everything).unwrap();
        let end = Instant::now() + during;
        let mut frames = Vec::new();
        let mut buffer = [0; 100];
        while Instant::now() < end {
            match socket.receive(&mut buffer).unwrap() {
                Some(length) => frames.push(arp::parse(&buffer[..length]).unwrap()),
                None => sleep(Duration::from_millis(1)),
            }
        }
        frames
    })
}

#[test]
fn strangers_tools_and_kernels_find_the_address_at_our_mac() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    l2.announce(wanted(&["192.168.1.201", "fd00::201"]));
    let own = lan.node.mac("eth0");
    eventually("both addresses are on the wire", || wire(&l2).announced.len() == 2);
    assert_eq!(lan.client.arping("192.168.1.201"), std::slice::from_ref(&own));
    assert_eq!(lan.client.arping("192.168.1.202"), Vec::<String>::new());
    assert!(neighbour(&lan.client, "192.168.1.201").contains(&own));
    assert!(neighbour(&lan.client, "fd00::201").contains(&own), "{}", neighbour(&lan.client, "fd00::201"));
    let (found, text) = lan.client.sh("ndisc6 -1 -r 1 -w 1000 fd00::201 eth0");
    assert!(found && text.to_lowercase().contains(&own), "{text}");
    let (found, _) = lan.client.sh("ndisc6 -1 -r 1 -w 300 fd00::202 eth0");
    assert!(!found, "nobody has that address");
    let state = wire(&l2);
    assert_eq!(state.interfaces.len(), 1);
    assert!(state.interfaces[0].arp && state.interfaces[0].ndp);
    assert_eq!(state.interfaces[0].mac.to_string(), own);
}

#[test]
fn a_neighbour_that_checks_by_unicast_finds_us_still_there() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    l2.announce(wanted(&["fd00::201"]));
    eventually("it is on the wire", || wire(&l2).announced.len() == 1);
    assert!(neighbour(&lan.client, "fd00::201").contains(&lan.node.mac("eth0")));
    // The kernel asks by unicast before it doubts: no solicitation to the group may be needed.
    lan.client.ip("neigh change fd00::201 dev eth0 nud probe");
    eventually("the entry is confirmed", || lan.client.sh("ip neigh show fd00::201 dev eth0").1.contains("REACHABLE"));
}

#[test]
fn duplicate_address_detection_of_a_stranger_finds_the_address_taken() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    l2.announce(wanted(&["fd00::201"]));
    eventually("it is on the wire", || wire(&l2).announced.len() == 1);
    lan.client.ip("addr add fd00::201/64 dev eth0");
    eventually("the kernel refuses the address", || lan.client.sh("ip -6 addr show dev eth0").1.contains("dadfailed"));
    assert!(lan.client.arping("192.168.1.201").is_empty());
}

#[test]
fn announcements_are_broadcast_in_both_forms_and_repeated_for_five_seconds() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    l2.announce(wanted(&["192.168.1.201"]));
    let address: std::net::Ipv4Addr = "192.168.1.201".parse().unwrap();
    let frames: Vec<arp::Frame> = sniff(&lan.client, Duration::from_millis(6500))
        .into_iter()
        .filter(|frame| frame.sender_ip == address)
        .collect();
    let count = |operation| frames.iter().filter(|frame| frame.operation == operation).count();
    // The first round may be over before the sniffer listens.
    assert!((5..=6).contains(&count(Operation::Request)), "{frames:?}");
    assert!((5..=6).contains(&count(Operation::Reply)), "{frames:?}");
    for frame in &frames {
        assert_eq!((frame.sender_ip, frame.target_ip), (address, address));
        assert_eq!(frame.destination, ferrolb_proto::ethernet::MacAddr::BROADCAST);
        if frame.operation == Operation::Reply {
            assert_eq!(frame.target_mac, frame.sender_mac, "the form that Linux accepts at once");
        }
    }
}

#[test]
fn an_address_that_is_let_go_is_not_answered_any_more() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    l2.announce(wanted(&["192.168.1.201", "192.168.1.202"]));
    eventually("both are on the wire", || wire(&l2).announced.len() == 2);
    l2.announce(wanted(&["192.168.1.202"]));
    eventually("one is left", || wire(&l2).announced.len() == 1);
    assert_eq!(lan.client.arping("192.168.1.201"), Vec::<String>::new());
    assert_eq!(lan.client.arping("192.168.1.202").len(), 1);
    drop(l2);
    assert_eq!(lan.client.arping("192.168.1.202"), Vec::<String>::new());
}

#[test]
fn an_address_is_announced_on_the_interfaces_named_and_on_no_other() {
    let lan = lan();
    let other = Host::new();
    lan.node.join("eth1", &other, "eth0");
    other.ip("addr add 192.168.1.51/24 dev eth0");
    let l2 = start(&lan.node, None);
    let only: Wanted = [("192.168.1.201".parse::<IpAddr>().unwrap(), Some(BTreeSet::from(["eth1".to_owned()])))].into();
    l2.announce(only);
    eventually("it is on the wire", || wire(&l2).announced.len() == 1);
    assert_eq!(lan.client.arping("192.168.1.201"), Vec::<String>::new());
    assert_eq!(other.arping("192.168.1.201"), [lan.node.mac("eth1")]);
}

#[test]
fn interfaces_are_followed_as_they_change() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    l2.announce(wanted(&["192.168.1.201", "fd00::201"]));
    eventually("both are on the wire", || wire(&l2).announced.len() == 2);

    // Another MAC address: told at once, and answered with.
    lan.node.ip("link set eth0 address 02:00:00:00:aa:01");
    eventually("the new MAC address is used", || lan.client.arping("192.168.1.201") == ["02:00:00:00:aa:01"]);
    eventually("the client's kernel knows it", || {
        neighbour(&lan.client, "192.168.1.201").contains("02:00:00:00:aa:01")
    });

    // Another name: the same interface.
    lan.node.ip("link set eth0 down");
    eventually("a link that is down answers nothing", || wire(&l2).announced.is_empty());
    lan.node.ip("link set eth0 name lan0");
    lan.node.ip("link set lan0 up");
    eventually("the renamed interface answers", || {
        wire(&l2).announced.values().any(|links| links.iter().any(|(name, _)| name == "lan0"))
    });
    eventually("solicitations are answered again", || wire(&l2).interfaces.iter().any(|interface| interface.ndp));
    assert!(lan.client.sh("ndisc6 -1 -r 3 -w 1000 fd00::201 eth0").0);

    // In a bridge the bridge answers, not its port.
    lan.node.ip("link add br0 type bridge");
    lan.node.ip("link set br0 up");
    lan.node.ip("link set lan0 master br0");
    eventually("the bridge answers and its port does not", || {
        let names: BTreeSet<String> =
            wire(&l2).announced.values().flat_map(|links| links.iter()).map(|(name, _)| name.clone()).collect();
        names == BTreeSet::from(["br0".to_owned()])
    });
    eventually("through the bridge it is one answer", || lan.client.arping("192.168.1.201") == [lan.node.mac("br0")]);
    lan.node.ip("link set lan0 nomaster");
    eventually("out of the bridge it answers again", || {
        wire(&l2).announced.values().any(|links| links.iter().any(|(name, _)| name == "lan0"))
    });
    lan.node.ip("link del lan0");
    eventually("an interface that is gone answers nothing", || {
        !wire(&l2).announced.values().any(|links| links.iter().any(|(name, _)| name == "lan0"))
    });
}

#[test]
fn a_link_local_address_that_comes_late_finds_the_groups_joined() {
    let (node, client) = (Host::new(), Host::new());
    node.sh("sysctl -qw net.ipv6.conf.all.addr_gen_mode=1 net.ipv6.conf.default.addr_gen_mode=1");
    node.join("eth0", &client, "eth0");
    node.sh("ip -6 addr flush dev eth0");
    let l2 = start(&node, None);
    l2.announce(wanted(&["fd00::201"]));
    eventually("the interface is there", || wire(&l2).interfaces.len() == 1);
    assert!(wire(&l2).announced.is_empty(), "without a link-local address there is nothing to answer from");
    node.ip("addr add fe80::11/64 dev eth0 nodad");
    client.ip("addr add fd00::50/64 dev eth0 nodad");
    eventually("the address is answered", || wire(&l2).announced.len() == 1);
    let (found, text) = client.sh("ndisc6 -1 -r 3 -w 1000 fd00::201 eth0");
    assert!(found, "{text}");
}

#[test]
fn only_named_interfaces_are_used_where_some_are_named() {
    let lan = lan();
    let other = Host::new();
    lan.node.join("veth7", &other, "eth0");
    let all = start(&lan.node, None);
    eventually("container interfaces are left alone", || {
        wire(&all).interfaces.iter().map(|interface| interface.name.as_str()).eq(["eth0"])
    });
    let named = start(&lan.node, Some("veth7"));
    eventually("a named one is used whatever its name", || {
        wire(&named).interfaces.iter().map(|interface| interface.name.as_str()).eq(["veth7"])
    });
}

#[test]
fn three_thousand_ipv6_addresses_are_all_found() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    let addresses: Vec<String> = (1..=3000u32).map(|n| format!("fd00::{:x}:{:x}", n % 7, n * 17 % 65_536)).collect();
    l2.announce(wanted(&addresses.iter().map(String::as_str).collect::<Vec<_>>()));
    eventually("all are on the wire", || wire(&l2).announced.len() >= 2_990);
    assert_eq!(wire(&l2).failures.len(), 0, "{:?}", wire(&l2).failures);
    let groups = lan.node.sh("grep -c ff02000000000000000000 /proc/net/igmp6").1.trim().parse::<u32>().unwrap();
    assert!(groups > 2_500, "{groups} groups joined");
    for address in addresses.iter().step_by(499) {
        let (found, text) = lan.client.sh(&format!("ndisc6 -1 -r 3 -w 1000 {address} eth0"));
        assert!(found, "{address}: {text}");
    }
}

#[test]
fn garbage_on_the_wire_changes_nothing() {
    let lan = lan();
    let l2 = start(&lan.node, None);
    l2.announce(wanted(&["192.168.1.201", "fd00::201"]));
    eventually("both are on the wire", || wire(&l2).announced.len() == 2);
    lan.client.run(|| {
        let index = nix::net::if_::if_nametoindex("eth0").unwrap();
        for ethertype in [arp::ETHERTYPE, ferrolb_proto::ndp::ETHERTYPE] {
            let socket = PacketSocket::open(index, ethertype, &[]).unwrap_or_else(|_| {
                let all = [ferrolb_proto::arp::filter::Instruction { code: 6, jt: 0, jf: 0, k: 0 }];
                PacketSocket::open(index, ethertype, &all).unwrap()
            });
            let mut state = 0x2545_f491_4f6c_dd1du64;
            for round in 0..2000usize {
                let mut frame: Vec<u8> = (0..14 + round % 90)
                    .map(|_| {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state.to_le_bytes()[0]
                    })
                    .collect();
                frame[..6].fill(0xff);
                frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
                // Let half of them look right to the kernel's filter.
                if round % 2 == 0 && frame.len() > 78 {
                    frame[20] = 58;
                    frame[54] = 135;
                    frame[74..78].copy_from_slice(&[0, 0, 2, 1]);
                }
                let _ = socket.send(&frame);
            }
        }
    });
    assert_eq!(lan.client.arping("192.168.1.201").len(), 1);
    assert!(lan.client.sh("ndisc6 -1 -r 3 -w 1000 fd00::201 eth0").0);
}
