//! The annotations of a Service: which are read, and which do nothing (spec §1.14, decision D13).
//!
//! A Service is never refused and never edited because of an annotation. What does nothing is said once, with what to
//! write instead. Of the two names that an annotation has, the one under `metallb.io/` wins where it is present, even
//! with an empty value.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

use crate::config::CommunityValue;
use crate::reason::{Code, Finding, Severity};
use crate::service::View;

#[cfg(test)]
mod tests;

/// The prefix of every annotation of today's MetalLB.
const PREFIX: &str = "metallb.io/";
/// The prefix that MetalLB used before; still read.
const OLD_PREFIX: &str = "metallb.universe.tf/";
/// The prefix of what only FerroLB has.
const OWN_PREFIX: &str = "ferrolb.io/";

const ADDRESS_POOL: &str = "address-pool";
const LOAD_BALANCER_IPS: &str = "loadBalancerIPs";
const ALLOW_SHARED_IP: &str = "allow-shared-ip";
const IP_ALLOCATED_FROM_POOL: &str = "ip-allocated-from-pool";
const INPUTS: [&str; 3] = [ADDRESS_POOL, LOAD_BALANCER_IPS, ALLOW_SHARED_IP];

/// What the controller writes: the pool that a Service's address comes from.
pub const ALLOCATED_FROM: &str = "metallb.io/ip-allocated-from-pool";
/// The field managers of controllers that write it: ours, and upstream's program.
const CONTROLLERS: [&str; 2] = ["metallb-controller", "controller"];
/// How to find out, on a host without Kubernetes, whether the Service works there.
pub const HEALTH_CHECK: &str = "ferrolb.io/health-check";
/// Bind the address to an interface of the host while it owns it; the only value is `lo`.
pub const BIND_ADDRESS: &str = "ferrolb.io/bind-address";
/// Communities that the routes to the Service's addresses carry beside those of the advertisement, separated by commas.
pub const BGP_COMMUNITIES: &str = "ferrolb.io/bgp-communities";

/// Further than this a name is no typing mistake but another name.
const TYPO_DISTANCE: usize = 3;
/// The same for the domain before it, which is shorter and has more neighbours.
const DOMAIN_DISTANCE: usize = 2;

fn input<'a>(service: &'a dyn View, name: &str) -> Option<&'a str> {
    service.annotation(&format!("{PREFIX}{name}")).or_else(|| service.annotation(&format!("{OLD_PREFIX}{name}")))
}

/// The pool asked for; none where the annotation is absent or empty.
pub fn address_pool(service: &dyn View) -> Option<&str> {
    input(service, ADDRESS_POOL).filter(|pool| !pool.is_empty())
}

/// The addresses asked for, as written; none where the annotation is absent or empty.
pub fn load_balancer_ips(service: &dyn View) -> Option<&str> {
    input(service, LOAD_BALANCER_IPS).filter(|text| !text.is_empty())
}

/// The sharing key; empty where there is none.
pub fn sharing_key(service: &dyn View) -> &str {
    input(service, ALLOW_SHARED_IP).unwrap_or_default()
}

/// Whether a sharing annotation stands there, whatever its value (spec §5.6).
pub fn has_sharing_key(service: &dyn View) -> bool {
    input(service, ALLOW_SHARED_IP).is_some()
}

/// The pool that was recorded by the controller.
pub fn allocated_from(service: &dyn View) -> Option<&str> {
    service.annotation(ALLOCATED_FROM)
}

/// Who holds [`ALLOCATED_FROM`] instead of the controller: the field manager that applies a manifest with it (decision
/// D13). None where nobody else does, or where it is not there. Upstream's controller is no stranger: its word is taken
/// over.
pub fn holder(service: &dyn View) -> Option<String> {
    allocated_from(service)?;
    holder_in(&service.object().metadata).map(str::to_owned)
}

/// Whether somebody else than the controller holds [`ALLOCATED_FROM`] on the object with this metadata.
pub fn is_held(metadata: &ObjectMeta) -> bool {
    let there = metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ALLOCATED_FROM));
    there && holder_in(metadata).is_some()
}

fn holder_in(metadata: &ObjectMeta) -> Option<&str> {
    metadata.managed_fields.iter().flatten().find_map(holds)
}

/// The manager of an entry of `metadata.managedFields`, if he holds [`ALLOCATED_FROM`] and is no load balancer's
/// controller.
pub fn holds(entry: &ManagedFieldsEntry) -> Option<&str> {
    let annotations = entry.fields_v1.as_ref()?.0.get("f:metadata")?.get("f:annotations")?;
    annotations.get(format!("f:{ALLOCATED_FROM}"))?;
    entry.manager.as_deref().filter(|manager| !CONTROLLERS.contains(manager))
}

/// What is to be said where another program holds [`ALLOCATED_FROM`] at another pool than the addresses are of.
pub(crate) fn held_elsewhere(service: &dyn View, pool: &str) -> Option<Finding> {
    let recorded = allocated_from(service).filter(|recorded| *recorded != pool)?;
    let manager = holder(service)?;
    let message = format!("{ALLOCATED_FROM} says {recorded:?} and {manager:?} holds it there; the pool is {pool:?}");
    let object = format!("Service/{}", service.key());
    let fix = format!("take {ALLOCATED_FROM} out of what {manager:?} applies");
    let finding = Finding::new(Code::ForeignOutputAnnotation, Severity::Warning, object, message);
    Some(finding.at_field(format!("metadata.annotations[{ALLOCATED_FROM:?}]")).with_fix(fix))
}

/// How to ask whether a Service works on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// A TCP connection can be opened.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// `GET` answers with a status from 200 to 299.
    Http {
        /// Name or address.
        host: String,
        /// Port, 80 where none is written.
        port: u16,
        /// Path and query, beginning with a slash.
        path: String,
    },
}

impl HealthCheck {
    /// Parses `tcp://HOST:PORT` or `http://HOST[:PORT][/PATH]`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let forms = "write tcp://127.0.0.1:8080 or http://127.0.0.1:8080/healthz";
        let invalid = |why: &str| format!("{text:?}: {why}; {forms}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| invalid("it has no scheme"))?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port.parse::<u16>().ok().filter(|port| *port > 0);
                (host, Some(port.ok_or_else(|| invalid("the port is no number from 1 to 65535"))?))
            }
            _ => (authority, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(invalid("it has no host"));
        }
        if path.contains(|c: char| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
            return Err(invalid("the path holds characters that a URL must escape"));
        }
        match (scheme, port) {
            ("tcp", Some(port)) => Ok(Self::Tcp { host, port }),
            ("tcp", None) => Err(invalid("a TCP check needs a port")),
            ("http", port) => Ok(Self::Http { host, port: port.unwrap_or(80), path: path.to_owned() }),
            _ => Err(invalid("the scheme is neither tcp nor http")),
        }
    }
}

/// The health check of a Service; none where the annotation is absent, or makes no sense (which [`findings`] says).
pub fn health_check(service: &dyn View) -> Option<HealthCheck> {
    HealthCheck::parse(service.annotation(HEALTH_CHECK)?).ok()
}

/// Whether the Service's addresses are to be bound to `lo` while this host owns them.
pub fn binds_to_lo(service: &dyn View) -> bool {
    service.annotation(BIND_ADDRESS) == Some("lo")
}

/// The communities of a Service's own; what makes no sense is left out (which [`findings`] says).
pub fn communities(service: &dyn View) -> Vec<CommunityValue> {
    let text = service.annotation(BGP_COMMUNITIES).unwrap_or_default();
    each_community(text).filter_map(|one| CommunityValue::parse(one).ok()).collect()
}

fn each_community(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty())
}

/// What is to be said about a Service's annotations. `written` is the pool that the controller has recorded, where it
/// writes annotations at all.
pub fn findings(service: &dyn View, written: Option<&str>) -> Vec<Finding> {
    let object = format!("Service/{}", service.key());
    let annotations = service.annotations().into_iter();
    annotations
        .filter_map(|(key, value)| {
            let (code, message, fix) = judge(key, value, service, written)?;
            let field = format!("metadata.annotations[{key:?}]");
            let severity = if code == Code::DeprecatedAnnotation { Severity::Note } else { Severity::Warning };
            Some(Finding::new(code, severity, object.clone(), message).at_field(field).with_fix(fix))
        })
        .collect()
}

/// What is to be said about an annotation that stands somewhere else than on a Service: in the values of a chart that
/// makes one. `all` are those beside it.
pub fn finding_of(key: &str, value: &str, all: &BTreeMap<String, String>, object: &str) -> Option<Finding> {
    let mut service = Service::default();
    service.metadata.annotations = Some(all.clone());
    let (code, message, fix) = judge(key, value, &service, None)?;
    let severity = if code == Code::DeprecatedAnnotation { Severity::Note } else { Severity::Warning };
    Some(Finding::new(code, severity, object, message).at_field(key).with_fix(fix))
}

type Judgement = Option<(Code, String, String)>;

fn judge(key: &str, value: &str, service: &dyn View, written: Option<&str>) -> Judgement {
    if let Some(name) = key.strip_prefix(PREFIX) {
        return match name {
            IP_ALLOCATED_FROM_POOL if written == Some(value) => None,
            // Who has the Service's pool at hand says it better (LB2005).
            IP_ALLOCATED_FROM_POOL if holder(service).is_some() => None,
            IP_ALLOCATED_FROM_POOL => Some(output(key)),
            name if INPUTS.contains(&name) => None,
            name => Some(unknown(key, name)),
        };
    }
    if let Some(name) = key.strip_prefix(OLD_PREFIX) {
        return match name {
            IP_ALLOCATED_FROM_POOL => Some(output(key)),
            name if INPUTS.contains(&name) => Some(deprecated(key, name, service)),
            name => Some(unknown(key, name)),
        };
    }
    if let Some(name) = key.strip_prefix(OWN_PREFIX) {
        return own(key, name, value);
    }
    let (domain, name) = key.split_once('/')?;
    (domain.contains("metallb") || is_mistyped(domain, name)).then(|| unknown(key, name))
}

/// Whether a domain is nearly one of ours, with a name that is nearly one of ours: `metalb.io/loadBalancerIPs`. Either alone
/// is another product's.
fn is_mistyped(domain: &str, name: &str) -> bool {
    let near = |prefix: &str| strsim::damerau_levenshtein(prefix.trim_end_matches('/'), domain) <= DOMAIN_DISTANCE;
    [PREFIX, OLD_PREFIX, OWN_PREFIX].into_iter().any(near) && nearest(name).is_some()
}

fn output(key: &str) -> (Code, String, String) {
    let message = format!("{key} is written by the controller and not read");
    let fix = "remove it; to choose a pool, use the annotation metallb.io/address-pool".to_owned();
    (Code::OutputAnnotation, message, fix)
}

fn deprecated(key: &str, name: &str, service: &dyn View) -> (Code, String, String) {
    let new = format!("{PREFIX}{name}");
    if service.annotation(&new).is_some() {
        let message = format!("{key} does nothing, because {new} is there too and wins");
        return (Code::DeprecatedAnnotation, message, format!("remove {key}"));
    }
    (Code::DeprecatedAnnotation, format!("{key} is the old name and still works"), format!("write {new} instead"))
}

fn own(key: &str, name: &str, value: &str) -> Judgement {
    match key {
        HEALTH_CHECK => {
            let why = HealthCheck::parse(value).err()?;
            let message = format!("no health check is made: {why}");
            Some((Code::AnnotationInvalid, message, "correct the value".to_owned()))
        }
        BIND_ADDRESS if value == "lo" => None,
        BIND_ADDRESS => {
            let message = format!("the address is not bound: {value:?} is not a value of {BIND_ADDRESS}");
            Some((Code::AnnotationInvalid, message, format!("write {BIND_ADDRESS}: lo, or remove it")))
        }
        BGP_COMMUNITIES => {
            let why = each_community(value).find_map(|one| CommunityValue::parse(one).err())?;
            let fix = "write A:B or large:A:B:C, more of them with commas; names of Communities do not count here";
            Some((Code::AnnotationInvalid, format!("a community is left out: {why}"), fix.to_owned()))
        }
        _ => Some(unknown(key, name)),
    }
}

/// An annotation that nobody reads, with the nearest thing that somebody does.
fn unknown(key: &str, name: &str) -> (Code, String, String) {
    let message = format!("{key} is not an annotation of MetalLB and does nothing");
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let fix = match letters.as_str() {
        "loadbalancerclass" => {
            "did you mean the field spec.loadBalancerClass? Without --lb-class no Service needs it: remove the annotation"
                .to_owned()
        }
        "loadbalancerip" => {
            format!("did you mean the annotation {PREFIX}{LOAD_BALANCER_IPS} or the field spec.loadBalancerIP?")
        }
        _ => match nearest(name) {
            Some(near) => format!("did you mean {near}? Otherwise remove it"),
            None => "remove it".to_owned(),
        },
    };
    (Code::UnknownAnnotation, message, fix)
}

fn nearest(name: &str) -> Option<String> {
    let own = [HEALTH_CHECK, BIND_ADDRESS, BGP_COMMUNITIES];
    let own = own.into_iter().filter_map(|key| Some((key.split_once('/')?.1, key.to_owned())));
    let inputs = INPUTS.into_iter().map(|input| (input, format!("{PREFIX}{input}")));
    inputs
        .chain(own)
        .map(|(known, key)| (strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase()), key))
        .filter(|(distance, _)| *distance <= TYPO_DISTANCE)
        .min()
        .map(|(_, key)| key)
}
