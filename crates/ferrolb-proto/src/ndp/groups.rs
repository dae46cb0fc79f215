//! Which multicast groups an interface must be in, spread over sockets.
//!
//! A neighbour asks in the solicited-node group of an address, so the interface must be a member (and tell switches that
//! snoop, which the kernel does for a socket that joins). One socket can join about 2,300 groups before the kernel's
//! `net.core.optmem_max` is used up, hence many sockets with a bounded number each. Addresses with the same low 24 bits
//! have the same group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use super::solicited_node;

/// Groups that one socket joins.
pub const PER_SOCKET: usize = 1000;

/// What to do with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Join the group with the socket of this number; it may be the socket's first.
    Join(usize, Ipv6Addr),
    /// Leave it.
    Leave(usize, Ipv6Addr),
}

/// The groups joined.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    joined: BTreeMap<Ipv6Addr, usize>,
    members: BTreeMap<usize, usize>,
}

impl Groups {
    /// Changes over to the groups of these addresses. Returns what to do, leaves first.
    pub fn set<'a>(&mut self, addresses: impl Iterator<Item = &'a Ipv6Addr>) -> Vec<Change> {
        let wanted: BTreeSet<Ipv6Addr> = addresses.map(|address| solicited_node(*address)).collect();
        let gone: Vec<(Ipv6Addr, usize)> = self
            .joined
            .iter()
            .filter(|(group, _)| !wanted.contains(*group))
            .map(|(group, socket)| (*group, *socket))
            .collect();
        let mut changes = Vec::new();
        for (group, socket) in gone {
            self.forget(group);
            changes.push(Change::Leave(socket, group));
        }
        for group in wanted {
            if !self.joined.contains_key(&group) {
                let socket = self.roomy();
                self.joined.insert(group, socket);
                *self.members.entry(socket).or_default() += 1;
                changes.push(Change::Join(socket, group));
            }
        }
        changes
    }

    /// A join that failed: it is tried again with the next change.
    pub fn forget(&mut self, group: Ipv6Addr) {
        if let Some(count) = self.joined.remove(&group).and_then(|socket| self.members.get_mut(&socket)) {
            *count = count.saturating_sub(1);
        }
    }

    /// The first socket that has room.
    fn roomy(&self) -> usize {
        let full = |socket: &usize| self.members.get(socket).is_some_and(|count| *count >= PER_SOCKET);
        (0..).find(|socket| !full(socket)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> Ipv6Addr {
        Ipv6Addr::from_bits((0xfd00 << 112) | u128::from(number))
    }

    #[test]
    fn a_group_is_joined_once_for_all_its_addresses_and_left_with_the_last() {
        let mut groups = Groups::default();
        let (one, twin) = (address(1), Ipv6Addr::from_bits((0xfc00 << 112) | 1));
        let group = solicited_node(one);
        assert_eq!(groups.set([&one, &twin].into_iter()), [Change::Join(0, group)]);
        assert_eq!(groups.set([&twin].into_iter()), []);
        assert_eq!(groups.set([].into_iter()), [Change::Leave(0, group)]);
    }

    #[test]
    fn ten_thousand_groups_take_ten_sockets_and_room_is_used_again() {
        let mut groups = Groups::default();
        let all: Vec<Ipv6Addr> = (0..10_000).map(address).collect();
        let joins = groups.set(all.iter());
        let per_socket =
            |socket| joins.iter().filter(|join| matches!(join, Change::Join(of, _) if *of == socket)).count();
        assert_eq!((0..11).map(per_socket).collect::<Vec<_>>(), [vec![PER_SOCKET; 10], vec![0]].concat());
        assert_eq!(groups.set(all[1..].iter()), [Change::Leave(0, solicited_node(all[0]))]);
        assert_eq!(groups.set(all.iter()), [Change::Join(0, solicited_node(all[0]))]);
    }

    #[test]
    fn a_failed_join_is_tried_again() {
        let mut groups = Groups::default();
        groups.set([&address(1)].into_iter());
        groups.forget(solicited_node(address(1)));
        assert_eq!(groups.set([&address(1)].into_iter()), [Change::Join(0, solicited_node(address(1)))]);
    }
}
