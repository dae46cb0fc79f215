//! What a Service asks for: keys, ports and addresses, read from the object (spec §4.4, §4.6).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;

use crate::alloc::{Port, Request};
use crate::annotations;
use crate::names::ServiceKey;

/// A Service's key. Objects from an API server or a manifest always have both names.
pub fn key_of(service: &Service) -> ServiceKey {
    let metadata = &service.metadata;
    ServiceKey::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// What the allocator must know.
pub(super) fn of(service: &Service) -> Request {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let ports: BTreeSet<Port> = ports.map(|port| (protocol(port.protocol.as_deref()), port.port)).collect();
    Request {
        key: key_of(service),
        labels: service.metadata.labels.clone().unwrap_or_default(),
        sharing_key: annotations::sharing_key(service).to_owned(),
        backend_key: backend_key(service),
        ports: ports.into_iter().collect(),
    }
}

/// The protocols that there are cost no memory.
fn protocol(text: Option<&str>) -> Cow<'static, str> {
    match text {
        None | Some("TCP") => Cow::Borrowed("TCP"),
        Some("UDP") => Cow::Borrowed("UDP"),
        Some("SCTP") => Cow::Borrowed("SCTP"),
        Some(other) => Cow::Owned(other.to_owned()),
    }
}

/// The selector of a Service with `externalTrafficPolicy: Local`: such Services share an address only if the same pods
/// stand behind them.
fn backend_key(service: &Service) -> String {
    let Some(spec) = &service.spec else { return String::new() };
    if spec.external_traffic_policy.as_deref() != Some("Local") {
        return String::new();
    }
    let pairs = spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}

/// Why a request for addresses cannot be understood, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    #[error("service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP")]
    Both,
    #[error("invalid spec.loadBalancerIP {0:?}")]
    Field(String),
    #[error("invalid metallb.io/loadBalancerIPs: {0:?}")]
    Annotation(String),
    #[error("invalid metallb.io/loadBalancerIPs: {0:?} are not one address, or one of each family")]
    Number(String),
}

impl Unclear {
    pub(super) fn fix(&self) -> String {
        match self {
            Self::Both => "remove spec.loadBalancerIP or the annotation",
            Self::Field(_) => "write one address, such as 192.168.1.201",
            Self::Annotation(_) => "write addresses separated by commas, such as 192.168.1.201,fd00::201",
            Self::Number(_) => "write one address, or one of each family separated by a comma",
        }
        .to_owned()
    }
}

/// The addresses that a Service asks for, in the order written; `None` where it asks for none.
pub(super) fn addresses(service: &Service) -> Result<Option<Vec<IpAddr>>, Unclear> {
    let field = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_deref()).filter(|ip| !ip.is_empty());
    match (annotations::load_balancer_ips(service), field) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Unclear::Both),
        (None, Some(text)) => match text.trim().parse::<IpAddr>() {
            Ok(address) => Ok(Some(vec![address.to_canonical()])),
            Err(_) => Err(Unclear::Field(text.to_owned())),
        },
        (Some(text), None) => listed(text).map(Some),
    }
}

fn listed(text: &str) -> Result<Vec<IpAddr>, Unclear> {
    let parse = |part: &str| part.trim().parse::<IpAddr>().map(|address| address.to_canonical());
    let addresses: Vec<IpAddr> =
        text.split(',').map(parse).collect::<Result<_, _>>().map_err(|_| Unclear::Annotation(text.to_owned()))?;
    let families: BTreeSet<bool> = addresses.iter().map(IpAddr::is_ipv4).collect();
    if addresses.len() > 2 || families.len() != addresses.len() {
        return Err(Unclear::Number(text.to_owned()));
    }
    Ok(addresses)
}
