//! What the rules read of a Service, whoever keeps it and in what shape.
//!
//! The API's own type takes two and a half kilobytes for the smallest Service, in thirty pieces, and who follows a cluster
//! keeps ten thousand of them. So the rules look through a [`View`]. The API's type has one, and so has what
//! [`compact`](super::compact()) makes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceSpec};
use k8s_openapi::jiff::Timestamp;

use crate::annotations::ALLOCATED_FROM;
use crate::names::ServiceKey;

/// A Service as the rules see it. Texts that are empty and texts that are absent are the same.
pub trait View: Debug + Send + Sync {
    /// Namespace and name.
    fn key(&self) -> ServiceKey;
    /// `metadata.uid`.
    fn uid(&self) -> Option<&str>;
    /// `metadata.resourceVersion`.
    fn version(&self) -> Option<&str>;
    /// `metadata.creationTimestamp`.
    fn created(&self) -> Option<Timestamp>;
    /// The value of an annotation, be it empty.
    fn annotation(&self, name: &str) -> Option<&str>;
    /// Every annotation, by name.
    fn annotations(&self) -> Vec<(&str, &str)>;
    /// Every label.
    fn labels(&self) -> Cow<'_, BTreeMap<String, String>>;
    /// `spec.type`.
    fn type_(&self) -> Option<&str>;
    /// `spec.loadBalancerClass`.
    fn class(&self) -> Option<&str>;
    /// `spec.loadBalancerIP`.
    fn load_balancer_ip(&self) -> Option<&str>;
    /// `spec.clusterIPs`; where there are none, `spec.clusterIP`.
    fn cluster_ips(&self) -> Vec<&str>;
    /// `spec.ipFamilies`.
    fn ip_families(&self) -> Vec<&str>;
    /// `spec.ipFamilyPolicy`.
    fn ip_family_policy(&self) -> Option<&str>;
    /// Whether `spec.externalTrafficPolicy` is Local.
    fn is_local(&self) -> bool;
    /// `spec.selector`; empty where there is none.
    fn selector(&self) -> Cow<'_, BTreeMap<String, String>>;
    /// `spec.ports`: protocol, TCP where none is written, and number.
    fn ports(&self) -> Vec<(&str, i32)>;
    /// The addresses of its status, as written; entries with a hostname only are left out (spec §4.3, step 6).
    fn status_ips(&self) -> Vec<&str>;
    /// The Service as the API has it, as far as it was kept: to change and write its metadata and status.
    fn object(&self) -> Cow<'_, Service>;
}

/// Whether two versions of a Service ask for the same: they differ at most in their status, in what nobody here reads, and
/// in the annotation that the controller writes.
pub fn asks_the_same(a: &dyn View, b: &dyn View) -> bool {
    let single = |view: &dyn View| {
        [view.type_(), view.class(), view.load_balancer_ip(), view.ip_family_policy()]
            .map(|text| text.map(str::to_owned))
    };
    single(a) == single(b)
        && (a.cluster_ips(), a.ip_families(), a.is_local()) == (b.cluster_ips(), b.ip_families(), b.is_local())
        && a.ports() == b.ports()
        && a.selector() == b.selector()
        && a.labels() == b.labels()
        && theirs(a) == theirs(b)
}

/// The annotations that are not the controller's.
pub fn theirs(service: &dyn View) -> Vec<(&str, &str)> {
    let mut annotations = service.annotations();
    annotations.retain(|(name, _)| *name != ALLOCATED_FROM);
    annotations
}

fn there(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn all(list: Option<&Vec<String>>) -> Vec<&str> {
    list.into_iter().flatten().map(String::as_str).filter(|text| !text.is_empty()).collect()
}

fn map(map: Option<&BTreeMap<String, String>>) -> Cow<'_, BTreeMap<String, String>> {
    map.map_or_else(Cow::default, Cow::Borrowed)
}

/// The entries of a Service's status.
pub(super) fn ingress(service: &Service) -> &[LoadBalancerIngress] {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.as_deref()).unwrap_or_default()
}

fn spec<'a, T>(service: &'a Service, field: impl FnOnce(&'a ServiceSpec) -> Option<T>) -> Option<T> {
    service.spec.as_ref().and_then(field)
}

impl View for Service {
    fn key(&self) -> ServiceKey {
        let part = |text: &Option<String>| text.as_deref().unwrap_or_default().to_owned();
        ServiceKey::new(part(&self.metadata.namespace), part(&self.metadata.name))
    }

    fn uid(&self) -> Option<&str> {
        there(self.metadata.uid.as_ref())
    }

    fn version(&self) -> Option<&str> {
        there(self.metadata.resource_version.as_ref())
    }

    fn created(&self) -> Option<Timestamp> {
        self.metadata.creation_timestamp.as_ref().map(|time| time.0)
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    fn annotations(&self) -> Vec<(&str, &str)> {
        self.metadata.annotations.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        map(self.metadata.labels.as_ref())
    }

    fn type_(&self) -> Option<&str> {
        spec(self, |spec| there(spec.type_.as_ref()))
    }

    fn class(&self) -> Option<&str> {
        spec(self, |spec| there(spec.load_balancer_class.as_ref()))
    }

    fn load_balancer_ip(&self) -> Option<&str> {
        spec(self, |spec| there(spec.load_balancer_ip.as_ref()))
    }

    fn cluster_ips(&self) -> Vec<&str> {
        let list = all(spec(self, |spec| spec.cluster_ips.as_ref()));
        if list.is_empty() { spec(self, |spec| there(spec.cluster_ip.as_ref())).into_iter().collect() } else { list }
    }

    fn ip_families(&self) -> Vec<&str> {
        all(spec(self, |spec| spec.ip_families.as_ref()))
    }

    fn ip_family_policy(&self) -> Option<&str> {
        spec(self, |spec| there(spec.ip_family_policy.as_ref()))
    }

    fn is_local(&self) -> bool {
        spec(self, |spec| spec.external_traffic_policy.as_deref()) == Some("Local")
    }

    fn selector(&self) -> Cow<'_, BTreeMap<String, String>> {
        map(spec(self, |spec| spec.selector.as_ref()))
    }

    fn ports(&self) -> Vec<(&str, i32)> {
        let ports = spec(self, |spec| spec.ports.as_ref()).into_iter().flatten();
        ports.map(|port| (port.protocol.as_deref().unwrap_or("TCP"), port.port)).collect()
    }

    fn status_ips(&self) -> Vec<&str> {
        ingress(self).iter().filter_map(|entry| there(entry.ip.as_ref())).collect()
    }

    fn object(&self) -> Cow<'_, Service> {
        Cow::Borrowed(self)
    }
}

/// What is shared looks as what it is.
impl<V: View + ?Sized> View for Arc<V> {
    fn key(&self) -> ServiceKey {
        V::key(self)
    }

    fn uid(&self) -> Option<&str> {
        V::uid(self)
    }

    fn version(&self) -> Option<&str> {
        V::version(self)
    }

    fn created(&self) -> Option<Timestamp> {
        V::created(self)
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        V::annotation(self, name)
    }

    fn annotations(&self) -> Vec<(&str, &str)> {
        V::annotations(self)
    }

    fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        V::labels(self)
    }

    fn type_(&self) -> Option<&str> {
        V::type_(self)
    }

    fn class(&self) -> Option<&str> {
        V::class(self)
    }

    fn load_balancer_ip(&self) -> Option<&str> {
        V::load_balancer_ip(self)
    }

    fn cluster_ips(&self) -> Vec<&str> {
        V::cluster_ips(self)
    }

    fn ip_families(&self) -> Vec<&str> {
        V::ip_families(self)
    }

    fn ip_family_policy(&self) -> Option<&str> {
        V::ip_family_policy(self)
    }

    fn is_local(&self) -> bool {
        V::is_local(self)
    }

    fn selector(&self) -> Cow<'_, BTreeMap<String, String>> {
        V::selector(self)
    }

    fn ports(&self) -> Vec<(&str, i32)> {
        V::ports(self)
    }

    fn status_ips(&self) -> Vec<&str> {
        V::status_ips(self)
    }

    fn object(&self) -> Cow<'_, Service> {
        V::object(self)
    }
}
