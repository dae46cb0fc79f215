//! What an API server refuses in a Service, as far as we read it: nobody else checks a manifest on a host without one, and
//! a misspelt word would otherwise quietly mean something else.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

/// The first field that is wrong, and what is wrong with it; `None` for a Service that a cluster would take.
pub(super) fn wrong(service: &Service) -> Option<(String, String)> {
    let Some(spec) = &service.spec else {
        return Some(("spec".to_owned(), "a Service has a spec; is the file only half written?".to_owned()));
    };
    word("spec.type", spec.type_.as_deref(), &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])
        .or_else(|| word("spec.externalTrafficPolicy", spec.external_traffic_policy.as_deref(), &["Cluster", "Local"]))
        .or_else(|| {
            let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
            word("spec.ipFamilyPolicy", spec.ip_family_policy.as_deref(), &policies)
        })
        .or_else(|| {
            let families = spec.ip_families.iter().flatten().enumerate();
            families
                .into_iter()
                .find_map(|(index, family)| word(&format!("spec.ipFamilies[{index}]"), Some(family), &["IPv4", "IPv6"]))
        })
        .or_else(|| match spec.ip_families.as_deref() {
            Some([first, second]) if first == second => {
                Some(("spec.ipFamilies[1]".to_owned(), format!("{first} stands here twice")))
            }
            _ => None,
        })
        .or_else(|| ports(spec))
}

/// A word that is none of those that count; an empty one counts as absent.
fn word(field: &str, value: Option<&str>, valid: &[&str]) -> Option<(String, String)> {
    let value = value.filter(|value| !value.is_empty() && !valid.contains(value))?;
    Some((field.to_owned(), format!("{value:?} is none of {}; capitals count", valid.join(", "))))
}

fn ports(spec: &ServiceSpec) -> Option<(String, String)> {
    if spec.type_.as_deref() == Some("LoadBalancer") && spec.ports.as_ref().is_none_or(Vec::is_empty) {
        return Some(("spec.ports".to_owned(), "a Service of type LoadBalancer has at least one port".to_owned()));
    }
    let mut seen = BTreeSet::new();
    spec.ports.iter().flatten().enumerate().find_map(|(index, port)| {
        let field = format!("spec.ports[{index}]");
        let protocol = port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP");
        number(&field, port)
            .or_else(|| word(&format!("{field}.protocol"), Some(protocol), &["TCP", "UDP", "SCTP"]))
            .or_else(|| {
                let twice = !seen.insert((protocol.to_owned(), port.port));
                twice.then(|| (field.clone(), format!("{protocol} port {} stands here twice", port.port)))
            })
    })
}

fn number(field: &str, port: &ServicePort) -> Option<(String, String)> {
    let wrong = !(1..=65535).contains(&port.port);
    wrong.then(|| (format!("{field}.port"), format!("{} is no port; ports are 1 to 65535", port.port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_in(spec: &str) -> Option<(String, String)> {
        let text = format!("metadata: {{name: a}}\n{spec}");
        wrong(&serde_saphyr::from_str(&text).unwrap())
    }

    #[test]
    fn what_a_cluster_takes_is_right() {
        for spec in [
            "spec: {type: LoadBalancer, ports: [{port: 80}, {port: 80, protocol: UDP}]}",
            "spec: {type: LoadBalancer, externalTrafficPolicy: Local, ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack, ports: [{port: 80}]}",
            "spec: {}",
            "spec: {type: ExternalName, externalName: example.org}",
        ] {
            assert_eq!(wrong_in(spec), None, "{spec}");
        }
    }

    #[test]
    fn what_a_cluster_refuses_is_named_by_its_field() {
        for (spec, field) in [
            ("", "spec"),
            ("spec: {type: Loadbalancer}", "spec.type"),
            ("spec: {externalTrafficPolicy: local}", "spec.externalTrafficPolicy"),
            ("spec: {ipFamilyPolicy: DualStack}", "spec.ipFamilyPolicy"),
            ("spec: {ipFamilies: [IPv4, IPv5]}", "spec.ipFamilies[1]"),
            ("spec: {ipFamilies: [IPv4, IPv4]}", "spec.ipFamilies[1]"),
            ("spec: {type: LoadBalancer}", "spec.ports"),
            ("spec: {type: LoadBalancer, ports: []}", "spec.ports"),
            ("spec: {ports: [{port: 80}, {port: 0}]}", "spec.ports[1].port"),
            ("spec: {ports: [{port: 99999}]}", "spec.ports[0].port"),
            ("spec: {ports: [{port: 80, protocol: XXX}]}", "spec.ports[0].protocol"),
            ("spec: {ports: [{port: 80}, {port: 80, protocol: TCP}]}", "spec.ports[1]"),
        ] {
            assert_eq!(wrong_in(spec).map(|(field, _)| field).as_deref(), Some(field), "{spec}");
        }
    }
}
