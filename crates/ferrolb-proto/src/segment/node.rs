//! Who a node is to the others of a segment, and the order in which nodes come for something.

use ring::digest;
use serde::{Deserialize, Serialize};

/// A node, by its name. 64 bits of SHA-256: short on the wire, and no two nodes of a cluster ever share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The node with this name.
    pub fn of(name: &str) -> Self {
        let hash = digest::digest(&digest::SHA256, name.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(hash.as_ref().get(..8).unwrap_or(&[0; 8]));
        Self(u64::from_be_bytes(first))
    }
}

/// Mixes two numbers so that every bit of either shows in every bit of the result (the finaliser of SplitMix64). Not a
/// secret: an order that all nodes compute alike is all that is asked of it.
pub(super) const fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `count` nodes that come first for `whom` (rendezvous hashing): when one is lost, only its place is filled anew.
pub(super) fn first_for(whom: NodeId, nodes: impl Iterator<Item = NodeId>, count: usize) -> Vec<NodeId> {
    let mut order: Vec<(u64, NodeId)> =
        nodes.filter(|node| *node != whom).map(|node| (mix(whom.0, node.0), node)).collect();
    order.sort_unstable();
    order.truncate(count);
    order.into_iter().map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_goes_changes_only_its_own_place() {
        let nodes: Vec<NodeId> = (0..50).map(|n| NodeId::of(&format!("node-{n}"))).collect();
        let whom = nodes[7];
        let before = first_for(whom, nodes.iter().copied(), 4);
        assert_eq!(before.len(), 4);
        assert!(!before.contains(&whom));
        let after = first_for(whom, nodes.iter().copied().filter(|node| *node != before[1]), 4);
        assert_eq!([after[0], after[1], after[2]], [before[0], before[2], before[3]]);
    }

    #[test]
    fn everybody_is_watched_and_nobody_watches_too_many() {
        let nodes: Vec<NodeId> = (0..50).map(|n| NodeId::of(&format!("node-{n}"))).collect();
        let mut watching = std::collections::BTreeMap::<NodeId, usize>::new();
        for whom in &nodes {
            first_for(*whom, nodes.iter().copied(), 4).into_iter().for_each(|w| *watching.entry(w).or_default() += 1);
        }
        assert!(watching.values().all(|count| *count <= 14), "{watching:?}");
    }
}
