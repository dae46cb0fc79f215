//! Which interfaces can announce (spec §6.3), from what netlink tells. No sockets here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
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

/// Why an interface cannot announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is not to be used, by its name.
    LeftOut,
    /// It is administratively down.
    Down,
    /// It belongs to a bridge, a bond or a VRF.
    Enslaved,
    /// It neither does ARP nor solicits neighbours: a tunnel, say.
    NoNeighbours,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeftOut => "is left out by its name",
            Self::Down => "is down",
            Self::Enslaved => "belongs to a bridge or bond",
            Self::NoNeighbours => "does no ARP",
        })
    }
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
        self.links.values().filter_map(|link| Some((link.index, self.judge(link).ok()?))).collect()
    }

    /// The interfaces that cannot announce, but for `lo`, and why.
    pub fn unfit(&self) -> BTreeMap<String, Unfit> {
        let others = self.links.values().filter(|link| link.name != "lo");
        others.filter_map(|link| Some((link.name.clone(), self.judge(link).err()?))).collect()
    }

    fn judge(&self, link: &Link) -> Result<Usable, Unfit> {
        if !self.choice.includes(&link.name) {
            return Err(Unfit::LeftOut);
        }
        let mac = link.mac.filter(|mac| *mac != MacAddr::ZERO && !mac.is_group()).ok_or(Unfit::NoNeighbours)?;
        if link.enslaved {
            return Err(Unfit::Enslaved);
        }
        if link.noarp {
            return Err(Unfit::NoNeighbours);
        }
        if !link.up {
            return Err(Unfit::Down);
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
        if usable.arp || usable.link_local.is_some() { Ok(usable) } else { Err(Unfit::NoNeighbours) }
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
        assert_eq!(links.unfit()["docker0"], Unfit::LeftOut);
        assert!(!links.unfit().contains_key("lo") && !links.unfit().contains_key("eth0"));
        type Fault = fn(&mut Link);
        let cases: [(Fault, Unfit); 5] = [
            (|link| link.up = false, Unfit::Down),
            (|link| link.enslaved = true, Unfit::Enslaved),
            (|link| link.noarp = true, Unfit::NoNeighbours),
            (|link| link.mac = None, Unfit::NoNeighbours),
            (|link| link.broadcast = false, Unfit::NoNeighbours),
        ];
        for (change, why) in cases {
            let mut changed = link(1, "eth0");
            change(&mut changed);
            links.apply(Change::Link(changed));
            assert_eq!((names(&links), links.unfit()["eth0"]), (vec!["br0".to_owned()], why));
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
