//! Annotations, labels and names of objects that users and other programs know (spec §1.14, §1.11 to §1.13).
//!
//! No finalizer is among them: the product uses none (spec §1.1).

/// Prefix of every annotation and label that is ours (spec §1.14).
pub const PREFIX: &str = "metallb.io/";
/// Prefix that annotations had before; still read (spec §1.14).
pub const DEPRECATED_PREFIX: &str = "metallb.universe.tf/";

/// Service annotation, read: the pool to take addresses from (spec §1.14).
pub const ADDRESS_POOL: &str = "metallb.io/address-pool";
/// The same under the old prefix: read only when the new key is absent; there with an empty value it still wins (spec
/// §1.14).
pub const DEPRECATED_ADDRESS_POOL: &str = "metallb.universe.tf/address-pool";
/// Service annotation, read: one or two addresses asked for, separated by commas, spaces trimmed (spec §1.14).
pub const LOAD_BALANCER_IPS: &str = "metallb.io/loadBalancerIPs";
/// The same under the old prefix: read only when the new key is absent (spec §1.14).
pub const DEPRECATED_LOAD_BALANCER_IPS: &str = "metallb.universe.tf/loadBalancerIPs";
/// Service annotation, read: Services with the same value here may share addresses (spec §1.14).
pub const ALLOW_SHARED_IP: &str = "metallb.io/allow-shared-ip";
/// The same under the old prefix: read only when the new key is absent (spec §1.14).
pub const DEPRECATED_ALLOW_SHARED_IP: &str = "metallb.universe.tf/allow-shared-ip";
/// Service annotation, written: the pool that the addresses came from (spec §1.14).
pub const ALLOCATED_FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";
/// Service annotation, reserved: neither read nor written nor removed (spec §1.14).
pub const DEPRECATED_ALLOCATED_FROM_POOL: &str = "metallb.universe.tf/ip-allocated-from-pool";

/// Label, written, on the status of a Service: the node it is about (spec §1.11, §1.12).
pub const NODE_LABEL: &str = "metallb.io/node";
/// Label, written, on the status of a Service: the Service's name (spec §1.11, §1.12).
pub const SERVICE_NAME_LABEL: &str = "metallb.io/service-name";
/// Label, written, on the status of a Service: the Service's namespace (spec §1.11, §1.12).
pub const SERVICE_NAMESPACE_LABEL: &str = "metallb.io/service-namespace";
/// Label, written, on a ConfigurationState: [`CONTROLLER`] or [`SPEAKER`] (spec §1.13).
pub const COMPONENT_TYPE_LABEL: &str = "metallb.io/component-type";
/// Label, written, on a speaker's ConfigurationState: its node (spec §1.13).
pub const NODE_NAME_LABEL: &str = "metallb.io/node-name";

/// Node label, read: with any value it keeps the node from announcing anything (spec §1.14).
pub const EXCLUDE_NODE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// EndpointSlice label, read: the Service that the slice is of (spec §1.14).
pub const SLICE_SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The controller: component type, and name of its ConfigurationState (spec §1.13).
pub const CONTROLLER: &str = "controller";
/// A speaker: component type (spec §1.13).
pub const SPEAKER: &str = "speaker";
/// What the name of a speaker's ConfigurationState begins with; the node's name follows (spec §1.13).
pub const SPEAKER_STATE_PREFIX: &str = "speaker-";
/// What the generated name of a ServiceL2Status begins with (spec §1.11).
pub const L2_STATUS_PREFIX: &str = "l2-";
/// What the generated name of a ServiceBGPStatus begins with (spec §1.12).
pub const BGP_STATUS_PREFIX: &str = "bgp-";
/// What the name of the FRRConfiguration for a node begins with; the node's name follows (spec §1.14).
pub const FRR_CONFIGURATION_PREFIX: &str = "metallb-";

/// ConfigMap with text that is added to FRR's configuration (spec §1.14).
pub const BGP_EXTRAS_CONFIG_MAP: &str = "bgpextras";
/// Its key (spec §1.14).
pub const BGP_EXTRAS_KEY: &str = "extras";
/// ConfigMap with the interfaces that L2 never announces on (spec §1.14).
pub const EXCLUDE_L2_CONFIG_MAP: &str = "metallb-excludel2";
/// Its key (spec §1.14).
pub const EXCLUDE_L2_KEY: &str = "excludel2.yaml";
/// ConfigMap with settings of the membership protocol (spec §1.14).
pub const MEMBERLIST_CONFIG_MAP: &str = "metallb-memberlist-config";
/// Its key (spec §1.14).
pub const MEMBERLIST_CONFIG_KEY: &str = "config.json";
/// Key of the secret that members share, inside its Secret (spec §1.14).
pub const MEMBERLIST_SECRET_KEY: &str = "secretkey";
/// Secret with the certificate of the webhooks (spec §1.14).
pub const WEBHOOK_SECRET: &str = "metallb-webhook-cert";
/// Service that the API server calls webhooks by (spec §1.14).
pub const WEBHOOK_SERVICE: &str = "metallb-webhook-service";
/// ValidatingWebhookConfiguration that names the webhooks (spec §1.14).
pub const WEBHOOK_CONFIGURATION: &str = "metallb-webhook-configuration";
/// Path of the conversion webhook (spec §1.1).
pub const CONVERSION_PATH: &str = "/convert";
/// Namespace that the raw manifests install into; all configuration lives where the components run.
pub const DEFAULT_NAMESPACE: &str = "metallb-system";
