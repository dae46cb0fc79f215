//! `BGPPeer` v1beta1: served and deprecated (spec §1.7), and its conversion to and from v1beta2 (spec §1.8).
//!
//! The conversion is upstream's to the letter, including what it loses: a timer that was left out comes out as `0s`
//! and a peer that is read and written back through v1beta1 has lost whatever only v1beta2 knows.

#![expect(clippy::duplicated_attributes, reason = "several columns have the same type")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::absent::{null_is_default, spec_may_be_absent};
use super::bgp_peer::{BGPPeer, BGPPeerSpec};
use super::{UnusedStatus, schema};

/// How to reach a BGP peer, with the fields of v1beta1.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPPeer",
    root = "BGPPeerV1Beta1",
    plural = "bgppeers",
    namespaced,
    storage = false,
    deprecated = "v1beta1 is deprecated, please use v1beta2",
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
pub struct BGPPeerV1Beta1Spec {
    /// AS number of our end.
    #[serde(rename = "myASN")]
    #[schemars(schema_with = "schema::asn")]
    pub my_asn: u32,
    /// AS number expected of the peer.
    #[serde(rename = "peerASN")]
    #[schemars(schema_with = "schema::asn")]
    pub peer_asn: u32,
    /// Address to dial.
    pub peer_address: String,
    /// Our address for the session. Absent means whatever the routes say.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub source_address: String,
    /// TCP port to dial, up to 16384. Absent or 0 means 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16384))]
    pub peer_port: Option<u16>,
    /// Hold timer as a Go duration, such as `90s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// Keepalive timer as a Go duration, such as `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
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
    pub node_selectors: Vec<LegacyNodeSelector>,
    /// TCP MD5 password in clear.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// Name of the BFDProfile for this session. Absent means no BFD.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub bfd_profile: String,
    /// The peer is more than one hop away. Absent means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
}

spec_may_be_absent!(BGPPeerV1Beta1Spec);

/// Selects nodes by labels; everything in it must hold. Empty selects all.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LegacyNodeSelector {
    /// Labels that must have exactly these values.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements, all of which must hold.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LegacyRequirement>,
}

/// One requirement on a label.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LegacyRequirement {
    /// The label looked at.
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: String,
    /// The values compared with; the schema wants at least one whatever the operator.
    #[schemars(length(min = 1))]
    pub values: Vec<String>,
}

/// What a timer that is not there becomes.
const NO_TIME: &str = "0s";

/// To the stored version. Status is not carried over; it is empty in both.
impl From<&BGPPeerV1Beta1> for BGPPeer {
    fn from(old: &BGPPeerV1Beta1) -> Self {
        let spec = BGPPeerSpec {
            my_asn: old.spec.my_asn,
            peer_asn: nonzero(Some(old.spec.peer_asn)),
            peer_address: old.spec.peer_address.clone(),
            source_address: old.spec.source_address.clone(),
            peer_port: nonzero(old.spec.peer_port),
            hold_time: Some(set_time(old.spec.hold_time.as_ref())),
            keepalive_time: Some(set_time(old.spec.keepalive_time.as_ref())),
            router_id: old.spec.router_id.clone(),
            node_selectors: old.spec.node_selectors.iter().map(modern).collect(),
            password: old.spec.password.clone(),
            bfd_profile: old.spec.bfd_profile.clone(),
            ebgp_multi_hop: old.spec.ebgp_multi_hop,
            ..BGPPeerSpec::default()
        };
        Self { metadata: old.metadata.clone(), spec, status: None }
    }
}

/// To the old version. Lost: localASN, dynamicASN, interface, connectTime, passwordSecret, enableGracefulRestart, vrf,
/// disableMP, dualStackAddressFamily. A peer without AS number or address gets 0 or an empty one.
impl From<&BGPPeer> for BGPPeerV1Beta1 {
    fn from(new: &BGPPeer) -> Self {
        let spec = BGPPeerV1Beta1Spec {
            my_asn: new.spec.my_asn,
            peer_asn: new.spec.peer_asn.unwrap_or_default(),
            peer_address: new.spec.peer_address.clone(),
            source_address: new.spec.source_address.clone(),
            peer_port: new.spec.peer_port,
            hold_time: Some(set_time(new.spec.hold_time.as_ref())),
            keepalive_time: Some(set_time(new.spec.keepalive_time.as_ref())),
            router_id: new.spec.router_id.clone(),
            node_selectors: new.spec.node_selectors.iter().map(legacy).collect(),
            password: new.spec.password.clone(),
            bfd_profile: new.spec.bfd_profile.clone(),
            ebgp_multi_hop: new.spec.ebgp_multi_hop,
        };
        Self { metadata: new.metadata.clone(), spec, status: None }
    }
}

/// Upstream leaves numbers that are 0 out of what it writes, so that 0 and absent are the same.
fn nonzero<T: Default + PartialEq>(number: Option<T>) -> Option<T> {
    number.filter(|number| *number != T::default())
}

/// The timer as written, or one of no length.
fn set_time(time: Option<&String>) -> String {
    time.map_or(NO_TIME, String::as_str).to_owned()
}

/// A selector of v1beta1 as one of v1beta2. What is empty is absent there.
fn modern(selector: &LegacyNodeSelector) -> LabelSelector {
    let expressions = selector.match_expressions.iter().map(|legacy| LabelSelectorRequirement {
        key: legacy.key.clone(),
        operator: legacy.operator.clone(),
        values: Some(legacy.values.clone()).filter(|values| !values.is_empty()),
    });
    LabelSelector {
        match_labels: Some(selector.match_labels.clone()).filter(|labels| !labels.is_empty()),
        match_expressions: Some(expressions.collect::<Vec<_>>()).filter(|expressions| !expressions.is_empty()),
    }
}

/// A selector of v1beta2 as one of v1beta1. Absent values become an empty list, which v1beta1 refuses if written back.
fn legacy(selector: &LabelSelector) -> LegacyNodeSelector {
    let expressions = selector.match_expressions.iter().flatten().map(|modern| LegacyRequirement {
        key: modern.key.clone(),
        operator: modern.operator.clone(),
        values: modern.values.clone().unwrap_or_default(),
    });
    LegacyNodeSelector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: expressions.collect(),
    }
}
