//! Which interfaces can announce (spec §6.3), from what netlink tells. No sockets here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use ferrolb_proto::ethernet::MacAddr;
use regex::Regex;

use crate::net::netlink::{Change, Link};

/// Names that begin like this belong to containers and tunnels, and are left alone unless they are named: upstream's
/// default list.
const LEFT_ALONE: [&str; 13] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "cali",
    "tunl",
    "flannel",
    "kube-ipvs",
    "cni",
    "nodelocaldns",
    "lxc",
];

/// An interface that can announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// There is a carrier.
    pub running: bool,
    /// ARP can be answered.
    pub arp: bool,
    /// Neighbour solicitations can be answered, from this address.
    pub link_local: Option<Ipv6Addr>,
}

/// Which interfaces may announce at all, by their names.
#[derive(Clone, Debug, Default)]
pub enum Choice {
    /// All but `lo` and those of containers and tunnels.
    #[default]
    Fitting,
    /// These, whatever their names.
    Only(BTreeSet<String>),
    /// All whose name this expression does not match anywhere (spec §6.3).
    AllBut(Regex),
}

impl Choice {
    fn includes(&self, name: &str) -> bool {
        match self {
            Self::Fitting => name != "lo" && !LEFT_ALONE.iter().any(|prefix| name.starts_with(prefix)),
            Self::Only(names) => names.contains(name),
            Self::AllBut(excluded) => !excluded.is_match(name),
        }
    }
}

impl From<Option<BTreeSet<String>>> for Choice {
    /// The interfaces that were named, or all that fit.
    fn from(names: Option<BTreeSet<String>>) -> Self {
        names.map_or(Self::Fitting, Self::Only)
    }
}

/// All interfaces, as far as netlink has told.
#[derive(Clone, Debug, Default)]
pub struct Links {
    choice: Choice,
    links: BTreeMap<u32, Link>,
    link_local: BTreeMap<u32, BTreeSet<Ipv6Addr>>,
}

impl Links {
    /// Nothing known yet.
    pub fn new(choice: Choice) -> Self {
        Self { choice, ..Self::default() }
    }

    /// Forgets everything, before everything is read anew.
    pub fn clear(&mut self) {
        self.links.clear();
        self.link_local.clear();
    }

    /// Takes note of a change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Link(link) => {
                self.links.insert(link.index, link);
            }
            Change::LinkGone(index) => {
                self.links.remove(&index);
                self.link_local.remove(&index);
            }
            Change::LinkLocal(index, address) => {
                self.link_local.entry(index).or_default().insert(address);
            }
            Change::LinkLocalGone(index, address) => {
                if let Some(addresses) = self.link_local.get_mut(&index) {
                    addresses.remove(&address);
                }
            }
            Change::Missed => {}
        }
    }

    /// The interfaces that can announce, by index.
    pub fn usable(&self) -> BTreeMap<u32, Usable> {
        self.links.values().filter_map(|link| Some((link.index, self.judge(link)?))).collect()
    }

    fn judge(&self, link: &Link) -> Option<Usable> {
        let mac = link.mac.filter(|mac| *mac != MacAddr::ZERO && !mac.is_group())?;
        if !self.choice.includes(&link.name) || !link.up || link.enslaved || link.noarp {
            return None;
        }
        let link_local = self.link_local.get(&link.index).and_then(BTreeSet::first).copied();
        let usable = Usable {
            index: link.index,
            name: link.name.clone(),
            mac,
            running: link.running,
            arp: link.broadcast,
            link_local,
        };
        (usable.arp || usable.link_local.is_some()).then_some(usable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
            up: true,
            running: true,
            broadcast: true,
            ..Link::default()
        }
    }

    fn names(links: &Links) -> Vec<String> {
        links.usable().into_values().map(|usable| usable.name).collect()
    }

    #[test]
    fn an_interface_that_is_up_and_free_is_used() {
        let mut links = Links::new(Choice::Fitting);
        for (index, name) in ["lo", "eth0", "docker0", "veth12", "cali7", "br0", "cni0", "lxcbr0"].iter().enumerate() {
            links.apply(Change::Link(link(u32::try_from(index).unwrap(), name)));
        }
        assert_eq!(names(&links), ["eth0", "br0"]);
        for change in [
            |link: &mut Link| link.up = false,
            |link: &mut Link| link.enslaved = true,
            |link: &mut Link| link.noarp = true,
            |link: &mut Link| link.mac = None,
            |link: &mut Link| link.broadcast = false,
        ] {
            let mut changed = link(1, "eth0");
            change(&mut changed);
            links.apply(Change::Link(changed));
            assert_eq!(names(&links), ["br0"]);
            links.apply(Change::Link(link(1, "eth0")));
        }
        links.apply(Change::LinkGone(1));
        assert_eq!(names(&links), ["br0"]);
    }

    #[test]
    fn named_interfaces_are_the_only_ones_and_are_used_whatever_their_name() {
        let mut links = Links::new(Choice::Only(BTreeSet::from(["veth1".to_owned()])));
        links.apply(Change::Link(link(1, "eth0")));
        links.apply(Change::Link(link(2, "veth1")));
        assert_eq!(names(&links), ["veth1"]);
    }

    #[test]
    fn an_expression_excludes_wherever_it_matches_and_replaces_the_list_of_names_left_alone() {
        let mut links = Links::new(Choice::AllBut(Regex::new("(^docker.*)|(wan)").unwrap()));
        for (index, name) in ["docker0", "eth-wan1", "eth0", "veth1"].iter().enumerate() {
            links.apply(Change::Link(link(u32::try_from(index).unwrap(), name)));
        }
        assert_eq!(names(&links), ["eth0", "veth1"]);
    }

    #[test]
    fn solicitations_need_a_link_local_address_and_a_rename_keeps_it() {
        let mut links = Links::new(Choice::Fitting);
        let address: Ipv6Addr = "fe80::1".parse().unwrap();
        links.apply(Change::Link(link(1, "eth0")));
        assert_eq!(links.usable()[&1].link_local, None);
        links.apply(Change::LinkLocal(1, address));
        links.apply(Change::Link(link(1, "lan0")));
        assert_eq!((links.usable()[&1].link_local, names(&links)), (Some(address), vec!["lan0".to_owned()]));
        links.apply(Change::LinkLocalGone(1, address));
        assert_eq!(links.usable()[&1].link_local, None);
    }
}
