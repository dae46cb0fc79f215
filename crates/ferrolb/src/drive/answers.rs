//! What this node really answers for, per Service (decision D12): the plan, where the wire bears it out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::plan::Announcement;

use super::l2::{Wanted, Wire};

/// How a Service is answered for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// The addresses that are answered.
    pub addresses: BTreeSet<IpAddr>,
    /// The plan names interfaces, rather than all.
    pub selected: bool,
    /// The interfaces that the first of the addresses is answered on, with the MAC address.
    pub links: Vec<(String, MacAddr)>,
}

/// What goes to the responders.
pub fn wanted(announce: &BTreeMap<IpAddr, Announcement>) -> Wanted {
    announce.iter().map(|(address, one)| (*address, one.interfaces.clone())).collect()
}

/// What is announced and really answered.
pub fn answering(announce: &BTreeMap<IpAddr, Announcement>, wire: &Wire) -> BTreeMap<ServiceKey, Answering> {
    let mut services = BTreeMap::<ServiceKey, Answering>::new();
    for (address, one) in announce {
        let Some(links) = wire.announced.get(address) else { continue };
        for service in &one.services {
            let answering = services.entry(service.clone()).or_insert_with(|| {
                let mut links = links.clone();
                links.sort();
                Answering { addresses: BTreeSet::new(), selected: one.interfaces.is_some(), links }
            });
            answering.addresses.insert(*address);
        }
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn a_service_is_answered_for_only_where_the_wire_says_so() {
        let key = ServiceKey::new("default", "web");
        let (first, second): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let announcement = Announcement { interfaces: None, services: BTreeSet::from([key.clone()]) };
        let announce = BTreeMap::from([(first, announcement.clone()), (second, announcement)]);
        assert!(answering(&announce, &Wire::default()).is_empty());
        let links = vec![("eth1".to_owned(), mac(2)), ("eth0".to_owned(), mac(1))];
        let wire = Wire { announced: BTreeMap::from([(second, links)]), ..Wire::default() };
        let expected = Answering {
            addresses: BTreeSet::from([second]),
            selected: false,
            links: vec![("eth0".to_owned(), mac(1)), ("eth1".to_owned(), mac(2))],
        };
        assert_eq!(answering(&announce, &wire), BTreeMap::from([(key, expected)]));
    }
}
