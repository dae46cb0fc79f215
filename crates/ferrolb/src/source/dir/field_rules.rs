//! Values that an API server refuses and that we can do without: a target port that is none, an endpoint that has no
//! address. Each is a warning at its own line, and nothing else is disturbed, so that no upgrade of ours withdraws what
//! worked beside such a value. What we cannot do without is an error, in [`super::service_rules`].

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names::label_fault;
use super::object::Object;
use super::tree::shorten;

/// A value that an API server would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    /// Where, as findings name fields.
    pub(super) field: String,
    /// What is wrong with it, and what that means here.
    pub(super) message: String,
    /// What to write instead.
    pub(super) fix: &'static str,
}

const NUMBER: &str = "write a number from 1 to 65535";
const ADDRESS: &str = "write one IP address in full, such as 192.168.1.10 or fd00::10, without a prefix length";
const REFUSED: &str = "an API server refuses this";

/// Every such value of an object, in the order of its fields.
pub(super) fn remarks(object: &Object) -> Vec<Remark> {
    let mut remarks = Vec::new();
    match object {
        Object::Service(service) => of_service(service, &mut remarks),
        Object::EndpointSlice(slice) => of_slice(slice, &mut remarks),
        Object::Node(node) => of_node(node, &mut remarks),
        _ => {}
    }
    remarks
}

fn of_service(service: &Service, remarks: &mut Vec<Remark>) {
    let Some(spec) = &service.spec else { return };
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        of_port(&format!("spec.ports[{index}]"), port, remarks);
    }
    if let Some(number) = spec.health_check_node_port.filter(|number| *number != 0) {
        let local = spec.external_traffic_policy.as_deref() == Some("Local");
        let field = "spec.healthCheckNodePort".to_owned();
        if !is_port(number) {
            let message = format!("{number} is no port; {REFUSED}, and it is ignored here");
            remarks.push(Remark { field, message, fix: NUMBER });
        } else if !local {
            let message = format!("only a Service with externalTrafficPolicy: Local has one; {REFUSED}");
            remarks.push(Remark { field, message, fix: "remove it, or write `externalTrafficPolicy: Local`" });
        }
    }
    for (index, text) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        if text.trim().parse::<ipnet::IpNet>().is_err() {
            let field = format!("spec.loadBalancerSourceRanges[{index}]");
            let message = format!("{:?} is no range of addresses; {REFUSED}", shorten(text));
            remarks.push(Remark { field, message, fix: "write it as a CIDR, such as 192.168.1.0/24" });
        }
    }
}

fn of_port(field: &str, port: &ServicePort, remarks: &mut Vec<Remark>) {
    let why = match &port.target_port {
        Some(IntOrString::Int(number)) if !is_port(*number) => Some(format!("{number} is no port")),
        Some(IntOrString::String(name)) => {
            port_name_fault(name).map(|why| format!("{:?} is no name of a port: {why}", shorten(name)))
        }
        _ => None,
    };
    if let Some(why) = why {
        let message = format!("{why}; {REFUSED}, and traffic for port {} may reach no pod", port.port);
        let fix = "write a number from 1 to 65535, or the name that the container gives its port";
        remarks.push(Remark { field: format!("{field}.targetPort"), message, fix });
    }
    if let Some(number) = port.node_port.filter(|number| *number != 0 && !is_port(*number)) {
        let message = format!("{number} is no port; {REFUSED}, and it is ignored here");
        let fix = "remove it, and one is chosen; or write a number from 30000 to 32767";
        remarks.push(Remark { field: format!("{field}.nodePort"), message, fix });
    }
    if let Some(why) = port.name.as_deref().filter(|name| !name.is_empty()).and_then(label_fault) {
        let message = format!("it is no name of a port: {why}; {REFUSED}");
        remarks.push(Remark { field: format!("{field}.name"), message, fix: "correct the name, or remove it" });
    }
}

fn of_slice(slice: &EndpointSlice, remarks: &mut Vec<Remark>) {
    let kind = slice.address_type.as_str();
    if !["IPv4", "IPv6", "FQDN"].contains(&kind) {
        let message = format!("{:?} is none of IPv4, IPv6, FQDN; capitals count; {REFUSED}", shorten(kind));
        let fix = "write `addressType: IPv4` or `addressType: IPv6`";
        remarks.push(Remark { field: "addressType".to_owned(), message, fix });
    }
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        for (place, text) in endpoint.addresses.iter().enumerate() {
            let why = match (kind, text.parse::<IpAddr>()) {
                ("FQDN", _) | ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => continue,
                ("IPv4" | "IPv6", Ok(_)) => format!("{text} is no {kind} address, as addressType says it is"),
                (_, Ok(_)) => continue,
                (_, Err(_)) => format!("{:?} is no IP address", shorten(text)),
            };
            let message = format!("{why}; {REFUSED}, and nothing can be sent there");
            let field = format!("endpoints[{index}].addresses[{place}]");
            remarks.push(Remark { field, message, fix: ADDRESS });
        }
    }
    for (index, port) in slice.ports.iter().flatten().enumerate() {
        if let Some(number) = port.port.filter(|number| !is_port(*number)) {
            let message = format!("{number} is no port; {REFUSED}");
            remarks.push(Remark { field: format!("ports[{index}].port"), message, fix: NUMBER });
        }
    }
}

fn of_node(node: &Node, remarks: &mut Vec<Remark>) {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    for (index, entry) in addresses.into_iter().flatten().enumerate() {
        if matches!(entry.type_.as_str(), "InternalIP" | "ExternalIP") && entry.address.parse::<IpAddr>().is_err() {
            let message =
                format!("{:?} is no IP address, so this {} is not known here", shorten(&entry.address), entry.type_);
            remarks.push(Remark { field: format!("status.addresses[{index}].address"), message, fix: ADDRESS });
        }
    }
}

fn is_port(number: i32) -> bool {
    (1..=65535).contains(&number)
}

/// Why a text is no name of a container's port (RFC 6335), if it is none.
fn port_name_fault(name: &str) -> Option<&'static str> {
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 15 {
        Some("it has 1 to 15 characters")
    } else if !name.chars().all(sound) {
        Some("lower-case letters, digits and `-` are allowed")
    } else if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Some("it has at least one letter; a number is written without quotes")
    } else if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        Some("`-` stands between letters or digits, one at a time")
    } else {
        None
    }
}
