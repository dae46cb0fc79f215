//! A Service in a quarter of the memory.
//!
//! Its texts lie in one piece behind each other; what nobody reads but who writes the Service back (conditions, owners,
//! finalizers) is kept as JSON. [`View`] shows the one, [`View::object`] puts both together again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::request::protocol;
use super::view::{View, ingress};
use crate::alloc::Port;
use crate::names::ServiceKey;

#[cfg(test)]
mod tests;

/// See [`Compact::of`].
pub fn compact(service: &Service) -> Arc<dyn View> {
    Arc::new(Compact::of(service))
}

/// The texts that a Service has once or not at all, in the order in which they stand.
#[derive(Clone, Copy)]
enum Single {
    Uid,
    Version,
    Type,
    Class,
    LoadBalancerIp,
    Policy,
}
const SINGLES: usize = 6;

/// The lists of texts behind them; of a map every other text is a value.
#[derive(Clone, Copy)]
enum List {
    ClusterIps,
    Families,
    StatusIps,
    Labels,
    Annotations,
    Selector,
}
const LISTS: usize = 6;

/// What was kept of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Compact {
    key: ServiceKey,
    created: Option<Timestamp>,
    local: bool,
    /// Where the rest has no entries of the status: the addresses have `ipMode: VIP`, as the API server adds it.
    vip: bool,
    ports: Box<[Port]>,
    texts: Box<str>,
    /// Where each text ends.
    ends: Box<[u32]>,
    /// Where each list ends, in texts.
    lists: [u32; LISTS],
    rest: Option<Box<[u8]>>,
}

/// What only who writes it back reads.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Rest {
    metadata: ObjectMeta,
    status: Option<ServiceStatus>,
}

impl Compact {
    /// Keeps a Service: all of its metadata and status, and of its spec what a [`View`] shows.
    pub fn of(service: &Service) -> Self {
        let singles = [
            service.uid(),
            service.version(),
            service.type_(),
            service.class(),
            service.load_balancer_ip(),
            service.ip_family_policy(),
        ];
        let (labels, selector) = (service.labels(), service.selector());
        let pairs = |map: &'_ BTreeMap<String, String>| -> Vec<String> {
            map.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect()
        };
        let (labels, selector) = (pairs(&labels), pairs(&selector));
        let annotations: Vec<&str> =
            service.annotations().into_iter().flat_map(|(name, value)| [name, value]).collect();
        let lists: [Vec<&str>; LISTS] = [
            service.cluster_ips(),
            service.ip_families(),
            service.status_ips(),
            labels.iter().map(String::as_str).collect(),
            annotations,
            selector.iter().map(String::as_str).collect(),
        ];
        let (mut texts, mut ends) = (String::new(), Vec::new());
        let mut put = |text: &str| {
            texts.push_str(text);
            ends.push(small(texts.len()));
        };
        singles.iter().for_each(|text| put(text.unwrap_or_default()));
        lists.iter().flatten().for_each(|text| put(text));
        let mut end = SINGLES;
        let lists = lists.map(|list| {
            end += list.len();
            small(end)
        });
        let (rest, vip) = rest(service);
        Self {
            key: service.key(),
            created: service.created(),
            local: service.is_local(),
            vip,
            ports: service.ports().into_iter().map(|(name, number)| (protocol(Some(name)), number)).collect(),
            texts: texts.into_boxed_str(),
            ends: ends.into_boxed_slice(),
            lists,
            rest,
        }
    }

    fn text(&self, place: usize) -> &str {
        let end = |place: usize| self.ends.get(place).map_or(0, |end| *end as usize);
        let begin = place.checked_sub(1).map_or(0, end);
        self.texts.get(begin..end(place)).unwrap_or_default()
    }

    fn single(&self, which: Single) -> Option<&str> {
        Some(self.text(which as usize)).filter(|text| !text.is_empty())
    }

    fn list(&self, which: List) -> impl Iterator<Item = &str> {
        let end = |list: usize| self.lists.get(list).map_or(SINGLES, |end| *end as usize);
        let begin = (which as usize).checked_sub(1).map_or(SINGLES, end);
        (begin..end(which as usize)).map(|place| self.text(place))
    }

    fn pairs(&self, which: List) -> impl Iterator<Item = (&str, &str)> {
        let (names, values) = (self.list(which).step_by(2), self.list(which).skip(1).step_by(2));
        names.zip(values)
    }

    fn map(&self, which: List) -> BTreeMap<String, String> {
        self.pairs(which).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn metadata(&self, rest: ObjectMeta) -> ObjectMeta {
        let owned = |which| self.single(which).map(str::to_owned);
        let map = |which| Some(self.map(which)).filter(|map| !map.is_empty());
        let name = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        ObjectMeta {
            name: name(&self.key.name),
            namespace: name(&self.key.namespace),
            uid: owned(Single::Uid),
            resource_version: owned(Single::Version),
            creation_timestamp: self.created.map(Time),
            labels: map(List::Labels),
            annotations: map(List::Annotations),
            ..rest
        }
    }

    fn spec(&self) -> ServiceSpec {
        let owned = |which| self.single(which).map(str::to_owned);
        let list = |which| Some(self.list(which).map(str::to_owned).collect()).filter(|list: &Vec<_>| !list.is_empty());
        let port = |(protocol, number): &Port| ServicePort {
            protocol: Some(protocol.to_string()),
            port: *number,
            ..ServicePort::default()
        };
        ServiceSpec {
            type_: owned(Single::Type),
            load_balancer_class: owned(Single::Class),
            load_balancer_ip: owned(Single::LoadBalancerIp),
            cluster_ips: list(List::ClusterIps),
            ip_families: list(List::Families),
            ip_family_policy: owned(Single::Policy),
            external_traffic_policy: self.local.then(|| "Local".to_owned()),
            selector: Some(self.map(List::Selector)).filter(|map| !map.is_empty()),
            ports: Some(self.ports.iter().map(port).collect()).filter(|ports: &Vec<_>| !ports.is_empty()),
            ..ServiceSpec::default()
        }
    }

    fn status(&self, rest: Option<ServiceStatus>) -> Option<ServiceStatus> {
        let entry = |ip: &str| LoadBalancerIngress {
            ip: Some(ip.to_owned()),
            ip_mode: self.vip.then(|| "VIP".to_owned()),
            ..LoadBalancerIngress::default()
        };
        let ingress: Vec<LoadBalancerIngress> = self.list(List::StatusIps).map(entry).collect();
        if ingress.is_empty() || rest.as_ref().is_some_and(|status| status.load_balancer.is_some()) {
            return rest;
        }
        Some(ServiceStatus {
            load_balancer: Some(LoadBalancerStatus { ingress: Some(ingress) }),
            ..rest.unwrap_or_default()
        })
    }
}

/// A length, or a number of texts, of an object that has at most a few megabytes.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What lies in no text, and whether the entries of the status are all of them plain with `ipMode: VIP`.
fn rest(service: &Service) -> (Option<Box<[u8]>>, bool) {
    let entries = ingress(service);
    let vip = entries.first().is_some_and(|entry| entry.ip_mode.is_some());
    let plain = |entry: &LoadBalancerIngress| {
        let mode = entry.ip_mode.as_deref();
        let address = entry.ip.as_deref().is_some_and(|ip| !ip.is_empty());
        address && entry.hostname.is_none() && entry.ports.is_none() && mode == vip.then_some("VIP")
    };
    let status = service.status.as_ref().map(|status| ServiceStatus {
        load_balancer: status.load_balancer.clone().filter(|_| !entries.iter().all(plain)),
        conditions: status.conditions.clone(),
    });
    let metadata = ObjectMeta {
        name: None,
        namespace: None,
        uid: None,
        resource_version: None,
        creation_timestamp: None,
        labels: None,
        annotations: None,
        ..service.metadata.clone()
    };
    let rest = Rest { metadata, status: status.filter(|status| *status != ServiceStatus::default()) };
    // Writing into memory what was read from JSON cannot fail.
    let json = (rest != Rest::default()).then(|| serde_json::to_vec(&rest).unwrap_or_default());
    (json.map(Vec::into_boxed_slice), vip)
}

impl View for Compact {
    fn key(&self) -> ServiceKey {
        self.key.clone()
    }

    fn uid(&self) -> Option<&str> {
        self.single(Single::Uid)
    }

    fn version(&self) -> Option<&str> {
        self.single(Single::Version)
    }

    fn created(&self) -> Option<Timestamp> {
        self.created
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.pairs(List::Annotations).find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    fn annotations(&self) -> Vec<(&str, &str)> {
        self.pairs(List::Annotations).collect()
    }

    fn labels(&self) -> Cow<'_, BTreeMap<String, String>> {
        Cow::Owned(self.map(List::Labels))
    }

    fn type_(&self) -> Option<&str> {
        self.single(Single::Type)
    }

    fn class(&self) -> Option<&str> {
        self.single(Single::Class)
    }

    fn load_balancer_ip(&self) -> Option<&str> {
        self.single(Single::LoadBalancerIp)
    }

    fn cluster_ips(&self) -> Vec<&str> {
        self.list(List::ClusterIps).collect()
    }

    fn ip_families(&self) -> Vec<&str> {
        self.list(List::Families).collect()
    }

    fn ip_family_policy(&self) -> Option<&str> {
        self.single(Single::Policy)
    }

    fn is_local(&self) -> bool {
        self.local
    }

    fn selector(&self) -> Cow<'_, BTreeMap<String, String>> {
        Cow::Owned(self.map(List::Selector))
    }

    fn ports(&self) -> Vec<(&str, i32)> {
        self.ports.iter().map(|(protocol, number)| (protocol.as_ref(), *number)).collect()
    }

    fn status_ips(&self) -> Vec<&str> {
        self.list(List::StatusIps).collect()
    }

    fn object(&self) -> Cow<'_, Service> {
        let rest: Option<Rest> = self.rest.as_deref().and_then(|json| serde_json::from_slice(json).ok());
        let Rest { metadata, status } = rest.unwrap_or_default();
        Cow::Owned(Service { metadata: self.metadata(metadata), spec: Some(self.spec()), status: self.status(status) })
    }
}
