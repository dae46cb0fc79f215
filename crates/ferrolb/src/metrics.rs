//! Every metric, by its exact name (spec §8.2).
//!
//! State travels whole: whoever knows something hands over all of it, and series that are not in it any more go away.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ferrolb_rules::alloc::Counters;
use ferrolb_rules::names::ServiceKey;

/// The commit that this program was built from, where the build said so.
pub const COMMIT: &str = match option_env!("FERROLB_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// All metrics of one process.
#[derive(Debug, Default)]
pub struct Metrics {}

impl Metrics {
    /// An object was processed (`metallb_k8s_client_updates_total`).
    pub fn updated(&self) {}

    /// Processing an object failed (`metallb_k8s_client_update_errors_total`).
    pub fn update_failed(&self) {}

    /// Whether a configuration has loaded at all, and whether the newest one did not
    /// (`metallb_k8s_client_config_loaded_bool`, `metallb_k8s_client_config_stale_bool`).
    pub fn set_config(&self, _loaded: bool, _stale: bool) {}

    /// The pools and their counters (`metallb_allocator_…`).
    pub fn set_pools(&self, _pools: &BTreeMap<String, Counters>) {}

    /// What this node announces, per Service (`metallb_speaker_announced`), by `protocol` (`layer2` or `bgp`).
    pub fn set_announced(&self, _node: &str, _protocol: &str, _announced: &BTreeMap<ServiceKey, BTreeSet<IpAddr>>) {}

    /// Frames of layer 2 so far, per address (`metallb_layer2_requests_received`, `…responses_sent`,
    /// `…gratuitous_sent`).
    pub fn set_layer2(&self, _frames: &BTreeMap<IpAddr, Layer2Frames>) {}
}

/// Frames for one address since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer2Frames {
    /// Requests (ARP) and solicitations (NDP) for it.
    pub requests: u64,
    /// Answers to them.
    pub responses: u64,
    /// Unsolicited announcements.
    pub gratuitous: u64,
}
