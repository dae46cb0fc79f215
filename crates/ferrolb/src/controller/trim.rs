//! What is kept of objects: with ten thousand of each, every field counts.

use ferrolb_rules::annotations;
use ferrolb_rules::service::{is_load_balancer, status_ips};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Metadata of a Service that we may write to is kept whole, since it is written back. Of others only the name is.
pub(super) fn service(service: &mut Service) {
    let ours = is_load_balancer(service)
        || annotations::allocated_from(service).is_some()
        || status_ips(service).next().is_some();
    let Some(spec) = service.spec.take() else { return };
    if !ours {
        service.metadata = named(std::mem::take(&mut service.metadata));
        service.status = None;
        service.spec = Some(ServiceSpec { type_: spec.type_, ..ServiceSpec::default() });
        return;
    }
    let mut ports = spec.ports;
    for port in ports.iter_mut().flatten() {
        (port.name, port.app_protocol, port.target_port, port.node_port) = (None, None, None, None);
        // What is the default is not kept in words: at ten thousand Services each of these is a quarter of a megabyte.
        port.protocol = port.protocol.take().filter(|protocol| protocol != "TCP");
    }
    let cluster_ips = tightened(spec.cluster_ips).filter(|ips| !ips.is_empty());
    if let Some(status) = &mut service.status {
        tight(&mut status.conditions);
        if let Some(load_balancer) = &mut status.load_balancer {
            tight(&mut load_balancer.ingress);
        }
    }
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    service.spec = Some(ServiceSpec {
        type_: spec.type_,
        load_balancer_class: spec.load_balancer_class,
        load_balancer_ip: spec.load_balancer_ip,
        // The same as the first of the list, where there is one.
        cluster_ip: spec.cluster_ip.filter(|_| cluster_ips.is_none()),
        cluster_ips,
        ip_families: tightened(spec.ip_families),
        ip_family_policy: spec.ip_family_policy,
        external_traffic_policy: spec.external_traffic_policy.filter(|_| local),
        // Only with Local does the selector decide anything (spec §4.6).
        selector: spec.selector.filter(|_| local),
        ports: tightened(ports),
        ..ServiceSpec::default()
    });
}

/// A list that was read has room for four at least, and nearly all have one.
fn tight<T>(list: &mut Option<Vec<T>>) {
    if let Some(list) = list {
        list.shrink_to_fit();
    }
}

fn tightened<T>(mut list: Option<Vec<T>>) -> Option<Vec<T>> {
    tight(&mut list);
    list
}

/// Where it runs, what it is, with which flags, and whether it is ready.
pub(super) fn pod(pod: &mut Pod) {
    let labels = pod.metadata.labels.take();
    let deletion = pod.metadata.deletion_timestamp.take();
    pod.metadata = named(std::mem::take(&mut pod.metadata));
    (pod.metadata.labels, pod.metadata.deletion_timestamp) = (labels, deletion);
    if let Some(spec) = pod.spec.take() {
        let containers = spec.containers.into_iter().filter(|one| one.args.is_some());
        let containers = containers.map(|one| Container { args: one.args, ..Container::default() }).collect();
        pod.spec = Some(PodSpec { node_name: spec.node_name, containers, ..PodSpec::default() });
    }
    if let Some(status) = pod.status.take() {
        let mut conditions = status.conditions.unwrap_or_default();
        conditions.retain(|condition| condition.type_ == "Ready");
        pod.status.get_or_insert_default().conditions = Some(conditions);
    }
}

fn named(metadata: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    }
}
