//! What a plan reads of an EndpointSlice (spec §1.14, §5.3): on which nodes endpoints serve, and how many.
//!
//! A slice is kept for each Service, in every speaker and in the controller. Whole, as the client's type has it, one with a
//! single endpoint takes 1.6 kB; there may be ten thousand.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::api::well_known::SLICE_SERVICE_LABEL;
use crate::names::ServiceKey;

/// An EndpointSlice, without the endpoints that get no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The Service that it is of.
    pub service: ServiceKey,
    /// Its own name, in the Service's namespace.
    pub name: Box<str>,
    /// In order of node.
    backends: Box<[Backends]>,
}

/// The endpoints on one node that serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backends {
    /// The node; endpoints outside the cluster have none.
    pub(crate) node: Option<Box<str>>,
    /// Ready.
    pub(crate) ready: u32,
    /// On their way out, and still serving.
    pub(crate) ending: u32,
}

impl Slice {
    /// What is read of this one; `None` for one that is of no Service.
    pub fn of(slice: &EndpointSlice) -> Option<Self> {
        let service = service_of(slice)?;
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        Some(Self::with(service, name, &slice.endpoints))
    }

    /// One with these endpoints.
    pub fn with(service: ServiceKey, name: &str, endpoints: &[Endpoint]) -> Self {
        let mut backends: Vec<Backends> = Vec::new();
        for endpoint in endpoints.iter().filter(|endpoint| serves(endpoint)) {
            let node = endpoint.node_name.as_deref();
            let place = backends.binary_search_by(|one| one.node.as_deref().cmp(&node)).unwrap_or_else(|place| {
                backends.insert(place, Backends { node: node.map(Box::from), ready: 0, ending: 0 });
                place
            });
            if let Some(one) = backends.get_mut(place) {
                let counter = if is_ready(endpoint) { &mut one.ready } else { &mut one.ending };
                *counter = counter.saturating_add(1);
            }
        }
        Self { service, name: name.into(), backends: backends.into() }
    }

    pub(crate) fn backends(&self) -> &[Backends] {
        &self.backends
    }
}

/// The Service that an EndpointSlice is of, by its label.
pub fn service_of(slice: &EndpointSlice) -> Option<ServiceKey> {
    let name = slice.metadata.labels.as_ref()?.get(SLICE_SERVICE_LABEL)?;
    Some(ServiceKey::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// All that are of a Service, by Service, each list in the order given.
pub fn by_service<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> BTreeMap<ServiceKey, Vec<Arc<Slice>>> {
    let mut services = BTreeMap::<ServiceKey, Vec<Arc<Slice>>>::new();
    for slice in slices.into_iter().filter_map(Slice::of) {
        services.entry(slice.service.clone()).or_default().push(Arc::new(slice));
    }
    services
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// Ready, or terminating but still serving (spec §5.3).
fn serves(endpoint: &Endpoint) -> bool {
    is_ready(endpoint) || endpoint.conditions.as_ref().and_then(|conditions| conditions.serving) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;

    #[test]
    fn a_slice_keeps_per_node_how_many_endpoints_are_ready_and_how_many_only_serve() {
        let slice: EndpointSlice = object(
            "metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web, other: x}}\n\
             addressType: IPv4\nports: [{port: 80}]\nendpoints:\n\
             - {addresses: [10.0.0.3], nodeName: b, conditions: {ready: true}}\n\
             - {addresses: [10.0.0.1], nodeName: a, conditions: {ready: false, serving: true}}\n\
             - {addresses: [10.0.0.2], nodeName: a}\n\
             - {addresses: [10.0.0.5], nodeName: a}\n\
             - {addresses: [10.0.0.7]}\n\
             - {addresses: [10.0.0.4], nodeName: c, conditions: {ready: false}}",
        );
        let kept = Slice::of(&slice).unwrap();
        assert_eq!((kept.service.to_string().as_str(), &*kept.name), ("default/web", "web-1"));
        let kept: Vec<_> = kept.backends.iter().map(|one| (one.node.as_deref(), one.ready, one.ending)).collect();
        assert_eq!(kept, [(None, 1, 0), (Some("a"), 2, 1), (Some("b"), 1, 0)]);
    }

    #[test]
    fn a_slice_of_no_service_is_none() {
        assert_eq!(
            Slice::of(&object("metadata: {name: x, namespace: default}\naddressType: IPv4\nendpoints: []")),
            None
        );
    }
}
