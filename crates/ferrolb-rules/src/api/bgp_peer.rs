//! `BGPPeer` v1beta2, the version that is stored: a router that speakers talk BGP to (spec §1.6).
//!
//! Durations are Go duration strings such as `90s` or `1m30s`, kept as written: the API server takes any string, what
//! it means is for [`crate::config`] to say.

#![expect(clippy::duplicated_attributes, reason = "several columns have the same type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::absent::{null_is_default, spec_may_be_absent};
use super::{UnusedStatus, schema};

/// How to reach a BGP peer.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    namespaced,
    doc = "A router that speakers open a BGP session to.",
    status = "UnusedStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop"),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase", remote = "Self")]
#[schemars(!remote)]
#[schemars(extend("x-kubernetes-validations" = schema::one_peer()))]
pub struct BGPPeerSpec {
    /// AS number of our end.
    #[serde(rename = "myASN")]
    #[schemars(schema_with = "schema::asn")]
    pub my_asn: u32,
    /// AS number expected of the peer. Either this or dynamicASN.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::asn")]
    pub peer_asn: Option<u32>,
    /// AS number shown to this peer in place of ours.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::nonzero_asn")]
    pub local_asn: Option<u32>,
    /// Take the peer's AS number as it comes, if it is ours (internal) or another (external). Either this or peerASN.
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    pub dynamic_asn: Option<DynamicAsn>,
    /// Address to dial. Either this or interface.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub peer_address: String,
    /// Interface to peer over without addresses (unnumbered). Either this or peerAddress.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Our address for the session. Absent means whatever the routes say.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub source_address: String,
    /// TCP port to dial, 1 to 16384. Absent means 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384), extend("default" = 179))]
    pub peer_port: Option<u16>,
    /// Hold timer as a Go duration, such as `90s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// Keepalive timer as a Go duration, such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// Time between attempts to connect as a Go duration; whole seconds, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::connect_time()))]
    pub connect_time: Option<String>,
    /// BGP identifier that we send, in the form of an IPv4 address.
    #[serde(
        default,
        rename = "routerID",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub router_id: String,
    /// Nodes that open this session; empty means all.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// TCP MD5 password in clear. Either this or passwordSecret.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// Secret that holds the TCP MD5 password. Either this or password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretReference>,
    /// Name of the BFDProfile for this session. Absent means no BFD.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub bfd_profile: String,
    /// Keep forwarding while the session restarts. Cannot be changed while set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = schema::graceful_restart_immutable()))]
    pub enable_graceful_restart: Option<bool>,
    /// The peer is more than one hop away. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// Linux VRF that the session runs in.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub vrf: String,
    /// Deprecated and without effect.
    #[serde(default, rename = "disableMP", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub disable_mp: Option<bool>,
    /// Exchange routes of both address families on this one session. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub dual_stack_address_family: Option<bool>,
    /// FerroLB's own: where each node finds the address to dial, so that one peer is for all of them. In place of
    /// peerAddress and interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_address_from: Option<PeerAddressSource>,
}

spec_may_be_absent!(BGPPeerSpec);

/// Which AS number a peer may have when none is given: `internal`, ours (iBGP), or `external`, any other (eBGP).
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DynamicAsn {
    /// Only ours.
    Internal,
    /// Only another than ours.
    External,
}

/// Where a node finds the address of its router; one of the two.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerAddressSource {
    /// Label of the Node whose value is the address. In an IPv6 address dashes stand for colons: a label takes none.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub node_label: String,
    /// The gateway of the node's default route of this family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_gateway: Option<IpFamily>,
}

/// An address family, as Services have them.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum IpFamily {
    /// IPv4.
    IPv4,
    /// IPv6.
    IPv6,
}

/// A Secret by name. It is looked up in the namespace of the configuration, whatever `namespace` says.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct SecretReference {
    /// Name of the Secret, of type `kubernetes.io/basic-auth`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Not used.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}
