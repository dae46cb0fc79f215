//! Pings for announced addresses (`--answer-ping`, decision D8), by the `ping` that users type.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb::drive::l2::{Answers, L2, Use};

use crate::hosts::{Host, eventually};
use crate::switch::{plug, switch};

const V4: &str = "192.168.1.201";
const V6: &str = "fd00::201";

/// Two nodes and a client on one switch.
struct Lan {
    nodes: Vec<Host>,
    client: Host,
    _switch: Host,
}

fn lan() -> Lan {
    let switch = switch();
    let host = |number: u8| {
        let host = plug(&switch, number);
        host.ip(&format!("addr add fd00::{number}/64 dev eth0 nodad"));
        host
    };
    let lan = Lan { nodes: vec![host(11), host(12)], client: host(50), _switch: switch };
    for host in lan.nodes.iter().chain([&lan.client]) {
        eventually("the link-local address is usable", || {
            let (_, text) = host.sh("ip -6 addr show dev eth0 scope link");
            text.contains("fe80") && !text.contains("tentative")
        });
    }
    lan
}

fn start(node: &Host, answer_ping: bool) -> L2 {
    node.run(move || L2::start(Use { answer_ping, ..Use::default() }).unwrap())
}

fn announce(l2: &L2, addresses: &[&str]) {
    l2.announce(addresses.iter().map(|address| (address.parse().unwrap(), None)).collect());
    eventually("they are on the wire", || l2.wire().borrow().announced.len() == addresses.len());
}

/// What `ping` counts: sent, received. It says so itself where an answer comes twice, or is not what was sent.
fn ping(client: &Host, arguments: &str) -> (u32, u32) {
    let (_, text) = client.sh(&format!("ping -n -q -W 1 {arguments}"));
    for word in ["DUP!", "duplicate", "wrong data", "corrupted"] {
        assert!(!text.contains(word), "ping {arguments}:\n{text}");
    }
    counts(&text)
}

fn counts(text: &str) -> (u32, u32) {
    let counts = text.lines().find(|line| line.contains("packets transmitted"));
    let counts = counts.unwrap_or_else(|| panic!("no counts in:\n{text}"));
    let numbers: Vec<u32> = counts.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

/// The sockets of a node that hear all of IPv4.
fn sockets(node: &Host) -> usize {
    let (_, text) = node.sh("cat /proc/net/packet");
    text.lines().filter(|line| line.split_whitespace().nth(3) == Some("0800")).count()
}

#[test]
fn with_the_flag_the_owner_answers_each_ping_once_and_without_it_nobody_does() {
    let lan = lan();
    let silent = start(&lan.nodes[0], false);
    announce(&silent, &[V4, V6]);
    assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.1 {V4}")), (2, 0));
    assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.1 {V6}")), (2, 0));
    assert_eq!(sockets(&lan.nodes[0]), 0, "nothing is even filtered");
    drop(silent);
    let mut l2 = start(&lan.nodes[0], true);
    assert_eq!(sockets(&lan.nodes[0]), 0, "nor is it where nothing is announced");
    announce(&l2, &[V4, V6]);
    for address in [V4, V6] {
        assert_eq!(ping(&lan.client, &format!("-c 10 -i 0.05 {address}")), (10, 10));
        assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.05 -s 0 {address}")), (2, 2), "no data");
    }
    assert_eq!(ping(&lan.client, &format!("-c 3 -i 0.05 -s 1472 -M do -p 0123ff {V4}")), (3, 3), "all of the MTU");
    assert_eq!(ping(&lan.client, &format!("-c 3 -i 0.05 -s 1452 -M do -p 0123ff {V6}")), (3, 3), "all of the MTU");
    assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.05 -s 3000 {V4}")), (2, 0), "fragments");
    let mut told = l2.frames().unwrap();
    let mut pings = BTreeMap::<IpAddr, u64>::new();
    eventually("every ping is counted", || {
        while let Ok(frames) = told.try_recv() {
            frames.into_iter().for_each(|(address, frames)| *pings.entry(address).or_default() += frames.pings);
        }
        pings.values().eq([&15, &15])
    });
    announce(&l2, &[]);
    eventually("the sockets go with the addresses", || sockets(&lan.nodes[0]) == 0);
}

#[test]
fn who_does_not_own_the_address_says_nothing_and_after_a_move_the_new_owner_answers() {
    let lan = lan();
    let nodes: Vec<L2> = lan.nodes.iter().map(|node| start(node, true)).collect();
    announce(&nodes[0], &[V4, V6]);
    for address in [V4, V6] {
        assert_eq!(ping(&lan.client, &format!("-c 3 -i 0.05 {address}")), (3, 3));
    }
    // Asked all the same, as by a neighbour whose entry is old.
    for address in [V4, V6] {
        lan.client.ip(&format!("neigh replace {address} lladdr {} dev eth0", lan.nodes[1].mac("eth0")));
        assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.05 {address}")), (2, 0), "the other node");
    }
    // Who only stands in tells where the owner is, whose own kernel lives on; it does not speak for it.
    let index = lan.nodes[1].run(|| nix::net::if_::if_nametoindex("eth0").unwrap());
    let mac = lan.nodes[0].mac("eth0").parse().unwrap();
    let stand_ins = [V4, V6].map(|address| (address.parse().unwrap(), mac)).into();
    let answers = Answers { stand_ins, ..Answers::default() };
    nodes[1].orderer().answer(BTreeMap::from([(index, answers)]));
    eventually("it stands in", || nodes[1].wire().borrow().stand_ins.len() == 2);
    assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.05 {V4}")), (2, 0), "the one that stands in");
    announce(&nodes[0], &[]);
    let own = BTreeSet::from([V4, V6].map(|address| address.parse().unwrap()));
    nodes[1].orderer().answer(BTreeMap::from([(index, Answers { own, ..Answers::default() })]));
    eventually("it has moved", || nodes[1].wire().borrow().announced.len() == 2);
    for address in [V4, V6] {
        assert_eq!(ping(&lan.client, &format!("-c 3 -i 0.05 {address}")), (3, 3), "the new owner");
        lan.client.ip(&format!("neigh replace {address} lladdr {} dev eth0", lan.nodes[0].mac("eth0")));
        assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.05 {address}")), (2, 0), "the old owner");
    }
}

#[test]
fn where_the_kernel_answers_it_answers_alone() {
    let lan = lan();
    let l2 = start(&lan.nodes[0], true);
    announce(&l2, &[V4, V6]);
    // As kube-proxy does; not every kernel has its type of interface, dummy.
    lan.nodes[0].ip("link add kube-ipvs0 type bridge");
    let ways = ["addr {} ADDRESS dev lo", "addr {} ADDRESS dev kube-ipvs0", "route {} local ADDRESS dev lo"];
    for way in ways {
        for address in [V4, V6] {
            // Before, during, afterwards: one answer each, whoever gives it.
            let family = if address.contains(':') { "-6" } else { "-4" };
            let change = |what: &str| {
                lan.nodes[0].ip(&format!("{family} {}", way.replace("{}", what).replace("ADDRESS", address)));
            };
            assert_eq!(ping(&lan.client, &format!("-c 3 -i 0.05 {address}")), (3, 3), "{way}");
            change("add");
            assert_eq!(ping(&lan.client, &format!("-c 5 -i 0.05 {address}")), (5, 5), "{way}");
            change("del");
        }
    }
    assert_eq!(ping(&lan.client, &format!("-c 3 -i 0.05 {V4}")), (3, 3));
}

#[test]
fn a_flood_gets_a_hundred_answers_a_second_and_arp_is_answered_meanwhile() {
    let lan = lan();
    let l2 = start(&lan.nodes[0], true);
    announce(&l2, &[V4, V6]);
    assert_eq!(ping(&lan.client, &format!("-c 1 {V4}")), (1, 1));
    let (sent, received) = ping(&lan.client, &format!("-f -l 1000 -c 3000 -w 2 {V4}"));
    // A burst of a hundred, and then as many a second; ping waits for a while after the last one.
    assert!(sent >= 1000 && (95..=410).contains(&received), "{received} of {sent}");
    assert_eq!(lan.client.arping(V4), [lan.nodes[0].mac("eth0")]);
    assert_eq!(ping(&lan.client, &format!("-c 3 -i 0.05 {V6}")), (3, 3), "another address has its own limit");
}

#[test]
fn pings_come_through_a_bridge_and_to_addresses_that_routers_were_told() {
    let lan = lan();
    let node = &lan.nodes[0];
    let mut l2 = start(node, true);
    announce(&l2, &[V4]);
    lan.client.ip("route add 198.51.100.9 via 192.168.1.11");
    assert_eq!(ping(&lan.client, "-c 2 -i 0.05 198.51.100.9"), (2, 0), "no router was told");
    l2.answer_pings_for(["198.51.100.9".parse().unwrap()]);
    eventually("it is answered for", || ping(&lan.client, "-c 1 198.51.100.9") == (1, 1));
    l2.answer_pings_for([]);
    eventually("it is not any more", || ping(&lan.client, "-c 1 198.51.100.9") == (1, 0));
    assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.05 {V4}")), (2, 2));

    node.ip("link add br0 type bridge stp_state 0 forward_delay 0");
    node.ip("link set br0 up");
    node.ip("link set eth0 master br0");
    eventually("the bridge answers", || ping(&lan.client, &format!("-c 1 {V4}")) == (1, 1));
    assert_eq!(ping(&lan.client, &format!("-c 5 -i 0.05 {V4}")), (5, 5), "the bridge and not its port as well");
}

#[test]
fn a_node_that_forwards_answers_all_the_same_whatever_its_kernel_says_beside_it() {
    let lan = lan();
    let node = &lan.nodes[0];
    assert!(node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1").0);
    let l2 = start(node, true);
    announce(&l2, &[V4, V6]);
    // It looks for the address on the LAN, where nobody but itself has it: at once it says that the way is shorter, and
    // after three seconds that there is no way. The latter ends the ping.
    for address in [V4, V6] {
        let (_, text) = lan.client.sh(&format!("ping -n -w 5 -i 0.25 {address}"));
        let (sent, received) = counts(&text);
        assert!(sent >= 8 && received + 1 >= sent && !text.contains("DUP!"), "{text}");
    }
}

#[test]
fn a_changed_mac_address_and_a_link_that_was_down_are_followed() {
    let lan = lan();
    let node = &lan.nodes[0];
    let l2 = start(node, true);
    announce(&l2, &[V4]);
    assert_eq!(ping(&lan.client, &format!("-c 2 -i 0.05 {V4}")), (2, 2));
    node.ip("link set eth0 address 02:00:00:00:aa:01");
    eventually("the new MAC address is used", || ping(&lan.client, &format!("-c 1 {V4}")) == (1, 1));
    node.ip("link set eth0 down");
    node.ip("link set eth0 up");
    eventually("the link is back", || ping(&lan.client, &format!("-c 1 {V4}")) == (1, 1));
}
