//! What is said of a prefix, while it is not known yet who else has something to say of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use ferrolb_proto::bgp::{Asn, Attributes, ExtendedCommunity, Routes};
use ipnet::IpNet;

/// What a ready endpoint stands for in a link bandwidth: 1 Mbit/s, in bytes per second. Only proportions count, and a router
/// that keeps them in 32 bits has room for thirty thousand endpoints.
const PER_ENDPOINT: f32 = 125_000.0;

/// What is said of one prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) attributes: Arc<Attributes>,
    /// The endpoints on this node, where it is weighted by them.
    pub(super) weight: Option<u32>,
}

/// What is said of each prefix.
pub(super) type Sayings = BTreeMap<IpNet, Said>;

/// Adds what another Service says.
pub(super) fn add(sayings: &mut Sayings, prefix: IpNet, said: &Said) {
    let sum = |a: Option<u32>, b: Option<u32>| Some(a?.saturating_add(b?));
    merge(sayings, prefix, said, sum);
}

/// Adds what another advertisement says of the same Service: its endpoints are no more for that.
pub(super) fn add_again(sayings: &mut Sayings, prefix: IpNet, said: &Said) {
    merge(sayings, prefix, said, Option::max);
}

/// One prefix is said once, with everything that anybody wants said of it.
fn merge(sayings: &mut Sayings, prefix: IpNet, said: &Said, weigh: fn(Option<u32>, Option<u32>) -> Option<u32>) {
    match sayings.entry(prefix) {
        Entry::Vacant(entry) => {
            entry.insert(said.clone());
        }
        Entry::Occupied(mut entry) => {
            let there = entry.get_mut();
            there.weight = weigh(there.weight, said.weight);
            if there.attributes != said.attributes {
                both(Arc::make_mut(&mut there.attributes), &said.attributes);
            }
        }
    }
}

fn both(attributes: &mut Attributes, others: &Attributes) {
    attributes.local_pref = attributes.local_pref.max(others.local_pref);
    attributes.med = attributes.med.into_iter().chain(others.med).min();
    attributes.prepend = attributes.prepend.max(others.prepend);
    attributes.communities.extend(&others.communities);
    attributes.large_communities.extend(&others.large_communities);
}

/// The routes, with weights as routers take them: a link bandwidth of our AS, transitive, or eBGP would not carry it.
pub(super) fn routes(sayings: Sayings, asn: Asn) -> Routes {
    let mut weighted: BTreeMap<(Arc<Attributes>, u32), Arc<Attributes>> = BTreeMap::new();
    let route = |(prefix, said): (IpNet, Said)| {
        let Some(weight) = said.weight else { return (prefix, said.attributes) };
        let set = weighted.entry((said.attributes, weight)).or_insert_with_key(|(attributes, weight)| {
            let mut set = Attributes::clone(attributes);
            set.extended_communities.insert(ExtendedCommunity::link_bandwidth(asn, bandwidth(*weight), true));
            Arc::new(set)
        });
        (prefix, set.clone())
    };
    sayings.into_iter().map(route).collect()
}

fn bandwidth(endpoints: u32) -> f32 {
    f32::from(u16::try_from(endpoints).unwrap_or(u16::MAX)) * PER_ENDPOINT
}
