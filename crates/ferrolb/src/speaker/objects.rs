//! What the speaker follows, trimmed to what a plan reads: at 10,000 Services every string kept is a megabyte.

use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_rules::annotations::BGP_COMMUNITIES;
use ferrolb_rules::api::well_known::{
    ALLOCATED_FROM_POOL, ALLOW_SHARED_IP, DEPRECATED_ALLOW_SHARED_IP, SLICE_SERVICE_LABEL,
};
use ferrolb_rules::config::{BASIC_AUTH, Resources};
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::service::{self, Compact, View, is_load_balancer, key_of};
use ferrolb_rules::slice::Slice;
use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, Node, ObjectReference, Secret, Service, ServiceSpec, ServiceStatus,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Api, Client};

use crate::k8s::stores::{Configuration, Shelf, Watches, by_name};

/// Everything followed.
#[derive(Debug)]
pub(super) struct Objects {
    configuration: Configuration,
    /// Those that are ours to announce.
    services: Shelf<ServiceKey, Compact>,
    /// By their own names.
    slices: Shelf<ServiceKey, Slice>,
    /// The passwords of routers.
    secrets: Store<Secret>,
    /// Their watch is apart from the others: where it is not allowed, only peers with a `passwordSecret` wait for it.
    passwords: Watches,
    /// The Nodes, the same `Arc` as long as what is read of one is the same.
    nodes: BTreeMap<NodeName, Arc<Node>>,
}

impl Objects {
    /// Follows all of it; Services are those of this class.
    pub(super) fn follow(watches: &mut Watches, client: &Client, namespace: &str, class: Option<String>) -> Self {
        let options = service::Options { load_balancer_class: class, ..service::Options::default() };
        let ours = move |service: &Service| is_load_balancer(service) && options.handles(service);
        let ours = move |service: &Service| ours(service).then(|| Compact::of(service));
        // Slices without this label are of no Service.
        let labelled = watcher::Config::default().labels(SLICE_SERVICE_LABEL);
        let all = watcher::Config::default();
        // Other Secrets are none of our business, and may be large.
        let of_peers = watcher::Config::default().fields(&format!("type={BASIC_AUTH}"));
        let mut passwords = Watches::default();
        let secrets = passwords.follow(Api::namespaced(client.clone(), namespace), of_peers, trim_secret);
        Self {
            configuration: Configuration::follow(watches, client, namespace),
            services: watches.shelve(Api::all(client.clone()), all, trim_service, |service| key_of(service), ours),
            slices: watches.shelve(Api::all(client.clone()), labelled, |_| (), name_of, Slice::of),
            secrets,
            passwords,
            nodes: BTreeMap::new(),
        }
    }

    /// What the configuration is made of.
    pub(super) fn resources(&mut self) -> Resources {
        let nodes = self.nodes();
        let secrets = self.passwords.are_synced().then(|| by_name(&self.secrets));
        Resources { nodes: nodes.values().cloned().collect(), secrets, ..self.configuration.resources() }
    }

    /// Returns when a password changed, or all of them are known.
    pub(super) async fn passwords_changed(&mut self) {
        self.passwords.changed().await;
    }

    /// The object of ours that a finding names, for an Event.
    pub(super) fn reference(&self, object: &str) -> Option<ObjectReference> {
        self.configuration.reference(object)
    }

    /// The Nodes by name.
    pub(super) fn nodes(&mut self) -> BTreeMap<NodeName, Arc<Node>> {
        let mut before = std::mem::take(&mut self.nodes);
        for node in by_name(&self.configuration.nodes) {
            let Some(name) = node.metadata.name.clone().map(NodeName) else { continue };
            let old = before.remove(&name).filter(|old| reads_the_same(old, &node));
            self.nodes.insert(name, old.unwrap_or(node));
        }
        self.nodes.clone()
    }

    /// The Services of type LoadBalancer and of our class.
    pub(super) fn services(&self) -> BTreeMap<ServiceKey, Arc<dyn View>> {
        self.services.all(|service| service.clone() as Arc<dyn View>)
    }

    /// The EndpointSlices of these Services, always in the same order.
    pub(super) fn endpoints(
        &self,
        services: &BTreeMap<ServiceKey, Arc<dyn View>>,
    ) -> BTreeMap<ServiceKey, Vec<Arc<Slice>>> {
        let mut endpoints = BTreeMap::<ServiceKey, Vec<Arc<Slice>>>::new();
        self.slices.for_each(|slice| {
            if let Some((key, _)) = services.get_key_value(&slice.service) {
                endpoints.entry(key.clone()).or_insert_with(|| Vec::with_capacity(1)).push(slice.clone());
            }
        });
        endpoints
    }
}

/// A slice by its own name.
fn name_of(slice: &EndpointSlice) -> ServiceKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ServiceKey::new(text(&slice.metadata.namespace), text(&slice.metadata.name))
}

fn reads_the_same(a: &Node, b: &Node) -> bool {
    let (this, that) = (&a.metadata, &b.metadata);
    let goes = |node: &Node| node.metadata.deletion_timestamp.is_some();
    let metadata = this.labels == that.labels && this.annotations == that.annotations && goes(a) == goes(b);
    metadata && a.spec == b.spec && a.status == b.status
}

/// Only what names the object.
fn bare(metadata: &mut ObjectMeta) -> ObjectMeta {
    let all = std::mem::take(metadata);
    ObjectMeta { name: all.name, namespace: all.namespace, ..ObjectMeta::default() }
}

/// Labels (advertisements select by them), the annotations that a plan reads, type, class, traffic policy, addresses.
fn trim_service(service: &mut Service) {
    let labels = service.metadata.labels.take().filter(|labels| !labels.is_empty());
    let annotations = service.metadata.annotations.take().map(|mut annotations| {
        let read = [ALLOCATED_FROM_POOL, ALLOW_SHARED_IP, DEPRECATED_ALLOW_SHARED_IP, BGP_COMMUNITIES];
        annotations.retain(|key, _| read.contains(&key.as_str()));
        annotations
    });
    // Events name it.
    let uid = service.metadata.uid.take();
    let metadata = bare(&mut service.metadata);
    let spec = service.spec.take().unwrap_or_default();
    let load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
    service.spec = Some(ServiceSpec {
        type_: spec.type_,
        load_balancer_class: spec.load_balancer_class,
        external_traffic_policy: spec.external_traffic_policy.filter(|policy| policy == "Local"),
        ..ServiceSpec::default()
    });
    let status = service.status.take().and_then(|status| status.load_balancer).filter(|_| load_balancer);
    service.status = status.map(|mut load_balancer| {
        let plain = |entry: LoadBalancerIngress| LoadBalancerIngress { ip: entry.ip, ..LoadBalancerIngress::default() };
        load_balancer.ingress = load_balancer.ingress.map(|ingress| ingress.into_iter().map(plain).collect());
        load_balancer.ingress.iter_mut().for_each(Vec::shrink_to_fit);
        ServiceStatus { load_balancer: Some(load_balancer), ..ServiceStatus::default() }
    });
    service.metadata = ObjectMeta {
        labels: labels.filter(|_| load_balancer),
        annotations: annotations.filter(|annotations| load_balancer && !annotations.is_empty()),
        uid: uid.filter(|_| load_balancer),
        ..metadata
    };
}

/// The password, and what names it.
fn trim_secret(secret: &mut Secret) {
    secret.metadata = bare(&mut secret.metadata);
    if let Some(data) = &mut secret.data {
        data.retain(|key, _| key == "password");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn a_service_keeps_what_a_plan_reads_and_nothing_else() {
        let mut service: Service = parsed(
            "metadata: {name: web, namespace: default, labels: {app: web}, annotations: {metallb.io/allow-shared-ip: k, \
             kubectl.kubernetes.io/last-applied-configuration: long}}\n\
             spec: {type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerClass: c, ports: [{port: 80}], \
             clusterIP: 10.0.0.1, selector: {app: web}}\n\
             status: {loadBalancer: {ingress: [{ip: 192.168.1.2, ipMode: VIP}]}}",
        );
        trim_service(&mut service);
        let expected: Service = parsed(
            "metadata: {name: web, namespace: default, labels: {app: web}, annotations: {metallb.io/allow-shared-ip: k}}\n\
             spec: {type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerClass: c}\n\
             status: {loadBalancer: {ingress: [{ip: 192.168.1.2}]}}",
        );
        assert_eq!(service, expected);
    }

    #[test]
    fn a_service_of_another_type_keeps_hardly_anything() {
        let mut service: Service = parsed(
            "metadata: {name: web, namespace: default, labels: {app: web}}\nspec: {type: ClusterIP, clusterIP: 10.0.0.1}",
        );
        trim_service(&mut service);
        assert_eq!(service, parsed("metadata: {name: web, namespace: default}\nspec: {type: ClusterIP}"));
    }
}
