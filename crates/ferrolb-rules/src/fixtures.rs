//! Objects for tests, written as the YAML that users write.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::de::DeserializeOwned;

use crate::config::{self, Config, Invalid, Resources};
use crate::names::ServiceKey;
use crate::slice::Slice;

/// Parses YAML into any kind.
pub(crate) fn object<T: DeserializeOwned>(yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// What is read of an EndpointSlice of Service default/x.
pub(crate) fn slice(yaml: &str) -> Slice {
    Slice::with(ServiceKey::new("default", "x"), "x-1", &object::<EndpointSlice>(yaml).endpoints)
}

/// A Service of type LoadBalancer: `spec` and `annotations` are the insides of YAML flow mappings.
pub(crate) fn service(name: &str, spec: &str, annotations: &str) -> Service {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    object(&format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}, annotations: {{{annotations}}}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}], selector: {{app: {name}}}, {spec}}}"
    ))
}

/// The same Service with these addresses in its status.
pub(crate) fn with_status(mut service: Service, addresses: &[&str]) -> Service {
    let ingress = addresses.iter().map(|ip| LoadBalancerIngress { ip: Some((*ip).to_owned()), ..Default::default() });
    let status = service.status.get_or_insert_default().load_balancer.get_or_insert_default();
    status.ingress = Some(ingress.collect());
    service
}

/// A pool: `spec` is the inside of a YAML flow mapping.
pub(crate) fn pool(name: &str, spec: &str) -> Arc<crate::api::IPAddressPool> {
    Arc::new(object(&format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}, namespace: metallb-system, labels: {{pool: {name}}}}}\nspec: {{{spec}}}"
    )))
}

/// An L2Advertisement: `spec` is the inside of a YAML flow mapping.
pub(crate) fn l2(name: &str, spec: &str) -> Arc<crate::api::L2Advertisement> {
    Arc::new(object(&format!(
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: {name}, namespace: metallb-system}}\nspec: {{{spec}}}"
    )))
}

/// A Node with labels, the inside of a YAML flow mapping.
pub(crate) fn node(name: &str, labels: &str) -> Arc<k8s_openapi::api::core::v1::Node> {
    Arc::new(object(&format!(
        "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{kubernetes.io/hostname: {name}, {labels}}}}}"
    )))
}

/// A Namespace with labels.
pub(crate) fn namespace(name: &str, labels: &str) -> Arc<k8s_openapi::api::core::v1::Namespace> {
    Arc::new(object(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}")))
}

/// Parses a configuration.
pub(crate) fn parse(
    pools: Vec<Arc<crate::api::IPAddressPool>>,
    l2_advertisements: Vec<Arc<crate::api::L2Advertisement>>,
    nodes: Vec<Arc<k8s_openapi::api::core::v1::Node>>,
) -> Result<Config, Invalid> {
    config::parse(&Resources { pools, l2_advertisements, nodes, ..Resources::default() })
}
