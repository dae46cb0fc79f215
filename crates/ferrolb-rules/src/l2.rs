//! Which node answers for an address: upstream's election (spec §6.2, decision D9).
//!
//! Every node computes the same order from the same inputs, so nobody has to ask anybody: higher preference first, then
//! the smaller SHA-256 of `node#address`. Removing a loser changes nothing; a new node changes only what it wins.

use std::cmp::Reverse;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::names::NodeName;

#[cfg(test)]
mod tests;

/// A node's place among those with the same preference: the smaller, the better.
pub type Rank = [u8; 32];

/// A node's name, hashed once for all the addresses that it stands for election for.
#[derive(Clone, Debug)]
pub struct Ballot {
    state: Sha256,
}

impl Ballot {
    /// Prepares a node.
    pub fn new(node: &NodeName) -> Self {
        let mut state = Sha256::new();
        state.update(node.as_str().as_bytes());
        state.update(b"#");
        Self { state }
    }

    /// The node's rank for an address. The address is hashed as text: dotted quad, or RFC 5952; IPv4-mapped addresses
    /// print as dotted quad.
    pub fn rank(&self, address: &AddressText) -> Rank {
        let mut state = self.state.clone();
        state.update(address.0.as_bytes());
        state.finalize().into()
    }
}

/// An address as the election sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressText(String);

impl AddressText {
    /// Prints an address.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical().to_string())
    }
}

/// The first of the candidates, each with its ballot and its preference (0 where it has none).
pub fn elect<'a, K: Copy>(candidates: impl Iterator<Item = (K, &'a Ballot, i32)>, address: IpAddr) -> Option<K> {
    let address = AddressText::new(address);
    candidates
        .map(|(key, ballot, preference)| (Reverse(preference), ballot.rank(&address), key))
        .min_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)))
        .map(|(_, _, key)| key)
}

/// All candidates, best first.
pub fn order(candidates: impl Iterator<Item = (NodeName, i32)>, address: IpAddr) -> Vec<NodeName> {
    let address = AddressText::new(address);
    let mut ranked: Vec<_> =
        candidates.map(|(node, preference)| (Reverse(preference), Ballot::new(&node).rank(&address), node)).collect();
    ranked.sort();
    ranked.into_iter().map(|(_, _, node)| node).collect()
}
