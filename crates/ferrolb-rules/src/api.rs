//! The kinds of API group `metallb.io`, exactly as upstream has them (spec §1), as Rust types.
//!
//! The CRD YAML is generated from these types ([`crds()`]) and kept true by a snapshot test. Only types live here: what
//! they mean is decided in [`crate::config`]. A type refuses only what an API server would refuse, so that whatever a
//! cluster holds can be read and complained about in words.
//!
//! A comment on a type or field is also its description in the CRD, which is what `kubectl explain` prints.

mod absent;
pub mod bfd_profile;
pub mod bgp_advertisement;
pub mod bgp_peer;
pub mod bgp_peer_v1beta1;
pub mod community;
pub mod configuration_state;
pub mod conversion;
mod crds;
pub mod ip_address_pool;
pub mod l2_advertisement;
mod schema;
pub mod service_bgp_status;
pub mod service_l2_status;
#[cfg(test)]
mod tests;
pub mod well_known;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bfd_profile::{BFDProfile, BFDProfileSpec};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec};
pub use bgp_peer::{BGPPeer, BGPPeerSpec, DynamicAsn, IpFamily, PeerAddressSource, SecretReference};
pub use bgp_peer_v1beta1::{BGPPeerV1Beta1, BGPPeerV1Beta1Spec, LegacyNodeSelector, LegacyRequirement};
pub use community::{Community, CommunityAlias, CommunitySpec};
pub use configuration_state::{
    ConfigurationResult, ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus,
};
pub use crds::crds;
pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec, NodePreference};
pub use service_bgp_status::{ServiceBGPStatus, ServiceBGPStatusDetails, ServiceBGPStatusSpec};
pub use service_l2_status::{Answer, InterfaceInfo, ServiceL2Status, ServiceL2StatusDetails, ServiceL2StatusSpec};

/// The API group of every kind here (spec §1.1).
pub const GROUP: &str = "metallb.io";

/// Nothing: the kind has a status only for form's sake.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct UnusedStatus {}
