//! A router whose address each node finds for itself: in a label of its Node, or as the gateway of its default route.
//!
//! One peer then stands for the router of every rack, where upstream needs a peer for each (decision 90). What a label says
//! is known here; a default route is the node's own affair.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::{Report, Router};
use crate::api::{BGPPeerSpec, IpFamily, PeerAddressSource};
use crate::names::NodeName;
use crate::range::Family;
use crate::reason::{Code, Finding, Severity};

/// What is wrong with it as it stands there.
pub(super) fn check(from: &PeerAddressSource, spec: &BGPPeerSpec) -> Result<(), String> {
    match (from.node_label.is_empty(), from.default_gateway) {
        (true, None) => Err("it has neither nodeLabel nor defaultGateway".to_owned()),
        (false, Some(_)) => Err("it has both nodeLabel and defaultGateway".to_owned()),
        (true, Some(_)) if !spec.vrf.is_empty() => {
            Err("the default route of a VRF is not looked at: use nodeLabel together with vrf".to_owned())
        }
        _ => Ok(()),
    }
}

/// Where the routers of the selected nodes are. Nodes whose label tells no address are taken out, with a finding.
pub(super) fn found(
    from: &PeerAddressSource,
    selected: &mut BTreeSet<NodeName>,
    nodes: &[Arc<Node>],
    object: &str,
    report: &mut Report,
) -> Router {
    match from.default_gateway {
        Some(IpFamily::IPv4) => return Router::Gateway(Family::V4),
        Some(IpFamily::IPv6) => return Router::Gateway(Family::V6),
        None => {}
    }
    let (mut routers, mut without) = (BTreeMap::new(), Vec::new());
    for (name, address) in on_nodes(from, nodes).into_iter().filter(|(name, _)| selected.contains(name)) {
        match address {
            Ok(address) => drop(routers.insert(name, address)),
            Err(why) => without.push((name, why)),
        }
    }
    if let Some((name, why)) = without.first() {
        let others = match without.len() - 1 {
            0 => String::new(),
            others => format!(", and so with {others} more"),
        };
        let message = format!("node {name} has no session, because {why}{others}");
        let finding = Finding::new(Code::PeerLabelUnusable, Severity::Warning, object, message);
        report.warn(finding.at_field("spec.peerAddressFrom.nodeLabel"));
    }
    selected.retain(|name| routers.contains_key(name));
    Router::Labelled(routers)
}

/// What the label says on each node, or why it says nothing; nothing where it is no matter of labels.
pub fn on_nodes(from: &PeerAddressSource, nodes: &[Arc<Node>]) -> BTreeMap<NodeName, Result<IpAddr, String>> {
    let label = from.node_label.as_str();
    let of = |node: &Arc<Node>| {
        let value = node.metadata.labels.as_ref().and_then(|labels| labels.get(label));
        let address = value.ok_or_else(|| format!("it has no label {label}"));
        let address = address.and_then(|text| {
            parse(text).ok_or_else(|| format!("its label {label} is {text:?}, which is no router's address"))
        });
        Some((NodeName(node.metadata.name.clone()?), address))
    };
    nodes.iter().filter(|_| !label.is_empty()).filter_map(of).collect()
}

/// The value of a label as an address: dashes stand for the colons that a label cannot have, as in the names of pods in
/// DNS. One that is a link's own says nothing without the link.
fn parse(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().or_else(|_| text.replace('-', ":").parse()).ok()?;
    let on_link = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    (!on_link && !address.is_unspecified() && !address.is_multicast()).then_some(address)
}

#[cfg(test)]
mod tests {
    use ferrolb_proto::bgp::Families;

    use super::*;
    use crate::config::{self, BgpPeer, Config, Resources};

    fn peers(from: &str, more: &str) -> Result<Config, config::Invalid> {
        let peer = format!(
            "metadata: {{name: tor, namespace: metallb-system}}\n\
             spec: {{myASN: 64512, peerASN: 64513, peerAddressFrom: {from}{more}}}"
        );
        let node = |(name, labels): (&str, &str)| {
            let text = format!("metadata: {{name: {name}, labels: {{{labels}}}}}");
            Arc::new(serde_saphyr::from_str(&text).unwrap())
        };
        let nodes =
            [("a", "tor: 10.0.1.1"), ("b", "tor: 2001-db8--1"), ("c", "tor: rack-3"), ("d", ""), ("e", "tor: fe80--1")];
        config::parse(&Resources {
            bgp_peers: vec![Arc::new(serde_saphyr::from_str(&peer).unwrap())],
            nodes: nodes.map(node).into(),
            ..Resources::default()
        })
    }

    fn families(peer: &BgpPeer, node: &str) -> Families {
        peer.families(&NodeName::new(node))
    }

    #[test]
    fn each_node_has_the_router_that_its_label_says_and_none_where_it_says_none() {
        let config = peers("{nodeLabel: tor}", "").unwrap();
        let peer = &config.bgp_peers["tor"];
        let address = |node: &str| peer.router.address(&NodeName::new(node)).map(|address| address.to_string());
        assert_eq!((address("a").as_deref(), address("b").as_deref()), (Some("10.0.1.1"), Some("2001:db8::1")));
        assert_eq!(peer.nodes, [NodeName::new("a"), NodeName::new("b")].into());
        assert_eq!((families(peer, "a"), families(peer, "b")), (Families::V4, Families::V6));
        let finding = config.findings.iter().find(|one| one.code == Code::PeerLabelUnusable).unwrap();
        assert_eq!(finding.field, "spec.peerAddressFrom.nodeLabel");
        let said = "node c has no session, because its label tor is \"rack-3\", which is no router's address, and so with 2 more";
        assert_eq!(finding.message, said);
        let both = peers("{nodeLabel: tor}", ", dualStackAddressFamily: true").unwrap();
        assert_eq!(families(&both.bgp_peers["tor"], "a"), Families::BOTH);
        let one = peers("{nodeLabel: tor}", ", nodeSelectors: [{matchLabels: {tor: 10.0.1.1}}]").unwrap();
        assert!(one.findings.iter().all(|one| one.code != Code::PeerLabelUnusable), "{:?}", one.findings);
    }

    #[test]
    fn the_default_gateway_is_left_to_the_node() {
        let config = peers("{defaultGateway: IPv6}", "").unwrap();
        let peer = &config.bgp_peers["tor"];
        assert_eq!((&peer.router, peer.nodes.len()), (&Router::Gateway(Family::V6), 5));
        assert_eq!((families(peer, "a"), peer.router.address(&NodeName::new("a"))), (Families::V6, None));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (from, more) in [
            ("{}", ""),
            ("{nodeLabel: tor, defaultGateway: IPv4}", ""),
            ("{nodeLabel: tor}", ", peerAddress: 10.0.0.1"),
            ("{nodeLabel: tor}", ", interface: eth0"),
            ("{defaultGateway: IPv4}", ", vrf: red"),
        ] {
            let findings = peers(from, more).unwrap_err().0;
            let said = (findings[0].code, findings[0].field.as_str());
            assert_eq!(said, (Code::PeerAddressInvalid, "spec.peerAddressFrom"), "{from}{more}");
        }
        assert!(peers("{nodeLabel: tor}", ", vrf: red").is_ok());
    }
}
