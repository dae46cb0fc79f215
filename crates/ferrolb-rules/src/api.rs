//! The kinds of API group `metallb.io`, exactly as upstream has them (spec §1), as Rust types.
//!
//! The CRD YAML is generated from these types ([`crds`]) and kept true by a snapshot test. Only types live here: what
//! they mean is decided in [`crate::config`].

pub mod community;
pub mod ip_address_pool;
pub mod l2_advertisement;

pub use community::{Community, CommunityAlias, CommunitySpec};
pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec, NodePreference};

/// The API group of every kind here.
pub const GROUP: &str = "metallb.io";
