//! What a Service asks for: keys, ports and addresses, read from the object (spec §4.4, §4.6).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use super::View;
use crate::alloc::{Port, Request};
use crate::annotations;

/// What the allocator must know.
pub(super) fn of(service: &dyn View) -> Request {
    let ports: BTreeSet<Port> =
        service.ports().into_iter().map(|(name, number)| (protocol(Some(name)), number)).collect();
    Request {
        key: service.key(),
        labels: service.labels().into_owned(),
        sharing_key: annotations::sharing_key(service).to_owned(),
        backend_key: backend_key(service),
        ports: ports.into_iter().collect(),
    }
}

/// The protocols that there are cost no memory.
pub(super) fn protocol(text: Option<&str>) -> Cow<'static, str> {
    match text {
        None | Some("TCP") => Cow::Borrowed("TCP"),
        Some("UDP") => Cow::Borrowed("UDP"),
        Some("SCTP") => Cow::Borrowed("SCTP"),
        Some(other) => Cow::Owned(other.to_owned()),
    }
}

/// The selector of a Service with `externalTrafficPolicy: Local`: such Services share an address only if the same pods
/// stand behind them.
fn backend_key(service: &dyn View) -> String {
    if !service.is_local() {
        return String::new();
    }
    let selector = service.selector();
    selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
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
            Self::Both => "they say different things: remove spec.loadBalancerIP or the annotation",
            Self::Field(_) => "write one address, such as 192.168.1.201",
            Self::Annotation(_) => "write addresses separated by commas, such as 192.168.1.201,fd00::201",
            Self::Number(_) => "write one address, or one of each family separated by a comma",
        }
        .to_owned()
    }
}

/// The addresses that a Service asks for, in the order written; `None` where it asks for none.
pub(super) fn addresses(service: &dyn View) -> Result<Option<Vec<IpAddr>>, Unclear> {
    match (annotations::load_balancer_ips(service), service.load_balancer_ip()) {
        (None, None) => Ok(None),
        // Said twice is no contradiction (decision 68); upstream refuses it.
        (Some(text), Some(field)) => match (listed(text), single(field)) {
            (Ok(listed), Ok(single)) if listed == [single] => Ok(Some(listed)),
            _ => Err(Unclear::Both),
        },
        (None, Some(field)) => single(field).map(|address| Some(vec![address])),
        (Some(text), None) => listed(text).map(Some),
    }
}

fn single(text: &str) -> Result<IpAddr, Unclear> {
    text.trim().parse::<IpAddr>().map(|address| address.to_canonical()).map_err(|_| Unclear::Field(text.to_owned()))
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
