//! What this node really answers for, per Service (decision D12): the plan, where the wire bears it out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::plan::Announcement;
use smallvec::SmallVec;

use super::l2::{AnsweredOn, Wanted, Wire};

/// How a Service is answered for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answering {
    /// The addresses that are answered, in order.
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// The plan names interfaces, rather than all.
    pub selected: bool,
    /// The interfaces that the first of the addresses is answered on, with the MAC address.
    pub links: AnsweredOn,
}

/// Services with the addresses that are announced, in order.
pub type Announced = BTreeMap<ServiceKey, SmallVec<[IpAddr; 1]>>;

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
            let answering = services.entry(service.clone()).or_insert_with(|| Answering {
                addresses: SmallVec::new(),
                selected: one.interfaces.is_some(),
                links: links.clone(),
            });
            answering.addresses.push(*address);
        }
    }
    services
}

/// The addresses alone.
pub fn announced(answering: &BTreeMap<ServiceKey, Answering>) -> Announced {
    answering.iter().map(|(service, one)| (service.clone(), one.addresses.clone())).collect()
}

#[cfg(test)]
mod tests {
    use ferrolb_proto::ethernet::MacAddr;

    use super::*;

    fn mac(last: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn a_service_is_answered_for_only_where_the_wire_says_so() {
        let key = ServiceKey::new("default", "web");
        let (first, second): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let announcement = Announcement { interfaces: None, services: [key.clone()].into() };
        let announce = BTreeMap::from([(first, announcement.clone()), (second, announcement)]);
        assert!(answering(&announce, &Wire::default()).is_empty());
        let links: AnsweredOn = [("eth0".to_owned(), mac(1)), ("eth1".to_owned(), mac(2))].into();
        let wire = Wire { announced: BTreeMap::from([(second, links.clone())]), ..Wire::default() };
        let expected = Answering { addresses: [second].into(), selected: false, links };
        assert_eq!(answering(&announce, &wire), BTreeMap::from([(key, expected)]));
    }
}
