//! `IPAddressPool`: addresses that Services may get (spec §1.3). The one kind that must have a `spec`.

#![expect(clippy::duplicated_attributes, reason = "several columns have the same type")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::absent::null_is_default;
use super::schema;

/// Which addresses a pool has and who may use them.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    plural = "ipaddresspools",
    namespaced,
    doc = "Addresses that Services of type LoadBalancer may get.",
    status = "IPAddressPoolStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn(name = "Auto Assign", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "Avoid Buggy IPs", type_ = "boolean", json_path = ".spec.avoidBuggyIPs"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Used", type_ = "integer", json_path = ".status.used"),
    printcolumn(name = "Free", type_ = "integer", json_path = ".status.free"),
    printcolumn(name = "Announced", type_ = "string", json_path = ".status.announced"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    crates(kube_core = "::kube_core")
)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// CIDRs (`10.0.0.0/24`) or inclusive ranges (`10.0.0.5-10.0.0.9`), both families mixed freely.
    #[schemars(schema_with = "schema::addresses")]
    pub addresses: Vec<String>,
    /// Whether the pool may be used without being asked for by name. Absent means true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub auto_assign: Option<bool>,
    /// Skip IPv4 addresses that end in .0 or .255. Absent means false.
    #[serde(default, rename = "avoidBuggyIPs", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub avoid_buggy_ips: Option<bool>,
    /// Pins the pool to namespaces or Services. Absent means that every Service may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

/// Which Services a pool is for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Lower positive numbers are preferred; 0 or absent is least preferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub priority: Option<i64>,
    /// Namespaces by exact name.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Namespaces by label; any selector may match.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label; any selector may match.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
}

/// How much of a pool is in use. The schema wants all four numbers; objects stored before there were any have none.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolStatus {
    /// Distinct IPv4 addresses in use.
    #[serde(default, rename = "assignedIPv4")]
    #[schemars(!default)]
    pub assigned_ipv4: i64,
    /// Distinct IPv6 addresses in use.
    #[serde(default, rename = "assignedIPv6")]
    #[schemars(!default)]
    pub assigned_ipv6: i64,
    /// IPv4 capacity minus those in use.
    #[serde(default, rename = "availableIPv4")]
    #[schemars(!default)]
    pub available_ipv4: i64,
    /// IPv6 capacity minus those in use.
    #[serde(default, rename = "availableIPv6")]
    #[schemars(!default)]
    pub available_ipv6: i64,
    /// Addresses of either family in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<i64>,
    /// Addresses of either family that can still be given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
    /// How the addresses are announced: `L2`, `BGP`, both, or `-` for not at all.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub announced: String,
    /// Whether an older pool has some of its addresses (`Conflict`), whether anybody announces them (`Advertised`), and, where
    /// something holds it up, that it is not in force (`InForce`).
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}
