//! Tests of the election: the vectors of spec Appendix A.1.

use super::*;

fn ordered(address: &str, preferences: [i32; 3]) -> Vec<String> {
    let nodes = ["node-a", "node-b", "node-c"].into_iter().map(NodeName::new).zip(preferences);
    order(nodes, address.parse().unwrap()).into_iter().map(|node| node.0).collect()
}

#[test]
fn the_order_is_upstreams() {
    assert_eq!(ordered("192.168.1.240", [0; 3]), ["node-a", "node-c", "node-b"]);
    assert_eq!(ordered("192.168.1.241", [0; 3]), ["node-c", "node-a", "node-b"]);
    assert_eq!(ordered("fc00:f853:ccd:e799::1", [0; 3]), ["node-b", "node-a", "node-c"]);
}

#[test]
fn preferences_come_before_the_hash() {
    assert_eq!(ordered("192.168.1.240", [0, 60, 0]), ["node-b", "node-a", "node-c"]);
    assert_eq!(ordered("192.168.1.240", [0, 60, 60]), ["node-c", "node-b", "node-a"]);
}

#[test]
fn the_hash_is_of_node_and_address() {
    let rank = |node, address: &str| {
        let rank = Ballot::new(&NodeName::new(node)).rank(&AddressText::new(address.parse().unwrap()));
        rank[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(rank("node-a", "192.168.1.240"), "0905ce28e61d7edb");
    assert_eq!(rank("node-b", "192.168.1.241"), "fbd0fccea9ae7fd3");
    assert_eq!(rank("node-c", "fc00:f853:ccd:e799::1"), "cdf5c8f8a9916f4c");
    assert_eq!(rank("node-a", "::ffff:192.168.1.240"), "0905ce28e61d7edb");
}

#[test]
fn electing_finds_the_first_of_the_order() {
    let nodes: Vec<NodeName> = (0..50).map(|n| NodeName::new(format!("node-{n}"))).collect();
    let ballots: Vec<Ballot> = nodes.iter().map(Ballot::new).collect();
    for last in 0..100u8 {
        let address = IpAddr::from([10, 0, 0, last]);
        let preference = |index: usize| i32::from(index.is_multiple_of(7)) * i32::from(last % 2);
        let elected =
            elect(ballots.iter().enumerate().map(|(index, ballot)| (index, ballot, preference(index))), address);
        let first = order(nodes.iter().enumerate().map(|(index, node)| (node.clone(), preference(index))), address);
        assert_eq!(elected.map(|index| &nodes[index]), first.first());
    }
    assert_eq!(elect(std::iter::empty::<((), _, _)>(), IpAddr::from([10, 0, 0, 1])), None);
}
