//! Where the objects come from when there is no API server: a directory of ordinary Kubernetes YAML (decision D14).
//!
//! [`Loader`] reads the directory once, [`watch`] goes on reading it. What a file said when it was last good stays in
//! force while it is broken, across restarts too; a file that is deleted takes its objects with it. Everything that is
//! not as it should be becomes a [`Finding`] with file, line and column, and nothing here decides what pools and
//! Services mean: that is `ferrolb-rules`.

use std::sync::Arc;

use ferrolb_rules::api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use ferrolb_rules::reason::Finding;
use k8s_openapi::api::core::v1::{Namespace, Node, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

mod dir;

pub use dir::{
    Loader, Object, Parsed, Placed, Places, Review, Written, collect, parse, review, subdomain_fault, watch,
};

/// Every object in force, each kind in order of namespace and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Services of every namespace.
    pub services: Vec<Arc<Service>>,
    /// EndpointSlices of every namespace.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// Nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Namespaces.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Secrets of every namespace.
    pub secrets: Vec<Arc<Secret>>,
    /// IPAddressPools of the configured namespace.
    pub pools: Vec<Arc<IPAddressPool>>,
    /// L2Advertisements of the configured namespace.
    pub l2_advertisements: Vec<Arc<L2Advertisement>>,
    /// BGPPeers of the configured namespace.
    pub bgp_peers: Vec<Arc<BGPPeer>>,
    /// BGPAdvertisements of the configured namespace.
    pub bgp_advertisements: Vec<Arc<BGPAdvertisement>>,
    /// BFDProfiles of the configured namespace.
    pub bfd_profiles: Vec<Arc<BFDProfile>>,
    /// Communities of the configured namespace.
    pub communities: Vec<Arc<Community>>,
}

/// What the directory says at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The objects in force. The same `Arc` as before while nothing changes.
    pub objects: Arc<Objects>,
    /// What is wrong, skipped or worth knowing, in order of file and place.
    pub findings: Vec<Finding>,
    /// Where the objects stand.
    pub places: Arc<Places>,
}
