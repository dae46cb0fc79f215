//! `BGPAdvertisement`: which pools are announced by BGP, how and to whom (spec §1.5).
//!
//! The numbers are wider than what they mean needs: the schema does not bound them, so an API server takes any.

#![expect(clippy::duplicated_attributes, reason = "several columns have the same type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::absent::{null_is_default, spec_may_be_absent};
use super::{UnusedStatus, schema};

/// Which addresses are announced to which peers, and with which attributes.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    plural = "bgpadvertisements",
    namespaced,
    doc = "Announces the addresses of pools to BGP peers.",
    status = "UnusedStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(name = "IPAddressPool Selectors", type_ = "string", json_path = ".spec.ipAddressPoolSelectors"),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(name = "Node Selectors", type_ = "string", json_path = ".spec.nodeSelectors", priority = 10),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(!remote)]
#[schemars(extend("x-kubernetes-validations" = schema::no_aggregation_with_service_selectors()))]
pub struct BGPAdvertisementSpec {
    /// Length of the IPv4 prefix advertised, in bits, 1 to 32. Absent means 32, each address by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), extend("default" = 32, "format" = "int32"))]
    pub aggregation_length: Option<i64>,
    /// Length of the IPv6 prefix advertised, in bits, up to 128. Absent means 128, each address by itself.
    #[serde(default, rename = "aggregationLengthV6", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 128, "format" = "int32"))]
    pub aggregation_length_v6: Option<i64>,
    /// LOCAL_PREF, which peers of the same AS prefer the higher of. Absent means 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::int32")]
    pub local_pref: Option<i64>,
    /// Communities: `N:N`, `large:N:N:N`, or a name that a Community defines.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// Pools by name.
    #[serde(
        default,
        rename = "ipAddressPools",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ip_address_pools: Vec<String>,
    /// Pools by label. With no names and no selectors the advertisement is for every pool.
    #[serde(
        default,
        rename = "ipAddressPoolSelectors",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that act as next hop; empty means all.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// BGPPeers by name; empty means all. A name that no peer has is ignored.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Services by label; empty means all of the pool. Only together with whole addresses (32 and 128 bits).
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// FerroLB's own: MULTI_EXIT_DISC, of which peers of one other AS prefer the lower. Absent means that none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub med: Option<i64>,
    /// FerroLB's own: how many times more than once our AS stands in the path, 0 to 32; only towards other ASes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 32), extend("format" = "int32"))]
    pub as_path_prepend: Option<i64>,
    /// FerroLB's own: of Services with externalTrafficPolicy Local, routers are told how many ready endpoints each node
    /// has (link bandwidth), so that every endpoint gets the same share. Absent means that every node does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_by_local_endpoints: Option<bool>,
}

spec_may_be_absent!(BGPAdvertisementSpec);
