//! Membership from the point of view of a host: started once its own address is known, restarted if that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ferrolb_rules::names::NodeName;
use ferrolb_rules::reason::{Code, Finding, Severity};
use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;

use super::peers::HostDocument;
use crate::drive::liveness::{Config, Liveness};
use crate::source::Objects;

/// Every Node and its InternalIP, where it tells one.
pub(super) fn nodes(objects: &Objects) -> BTreeMap<NodeName, Option<IpAddr>> {
    let entry = |node: &Arc<Node>| Some((NodeName::new(node.metadata.name.clone()?), internal_ip(node)));
    objects.nodes.iter().filter_map(entry).collect()
}

fn internal_ip(node: &Node) -> Option<IpAddr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP")?.address.parse().ok()
}

/// Membership, running or not.
pub(super) struct Membership {
    own: NodeName,
    secret: Option<Vec<u8>>,
    port: u16,
    nodes: BTreeMap<NodeName, Option<IpAddr>>,
    running: Option<Running>,
    failure: Option<String>,
    /// What this host says, for a machine that starts later.
    document: Option<Vec<u8>>,
}

struct Running {
    liveness: Liveness,
    listen: SocketAddr,
    members: watch::Receiver<BTreeSet<NodeName>>,
    documents: watch::Receiver<BTreeMap<NodeName, Arc<[u8]>>>,
    conflicts: watch::Receiver<BTreeMap<NodeName, Vec<IpAddr>>>,
    strangers: watch::Receiver<BTreeSet<IpAddr>>,
    /// The documents that could be read, and the bytes that they were read from.
    read: BTreeMap<NodeName, (Arc<[u8]>, HostDocument)>,
    peers: BTreeMap<String, SocketAddr>,
}

impl Membership {
    /// Not running yet; without a secret it never will.
    pub(super) fn new(own: NodeName, secret: Option<Vec<u8>>, port: u16) -> Self {
        Self { own, secret, port, nodes: BTreeMap::new(), running: None, failure: None, document: None }
    }

    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether starting failed for a reason that may pass.
    pub(super) const fn wants_retry(&self) -> bool {
        self.failure.is_some()
    }

    /// The addresses of the hosts.
    pub(super) fn addresses(&self) -> BTreeMap<NodeName, IpAddr> {
        self.nodes.iter().filter_map(|(name, address)| Some((name.clone(), (*address)?))).collect()
    }

    /// Starts, restarts and informs the machine as the Nodes say. Returns what is wrong.
    pub(super) fn follow(&mut self, nodes: &BTreeMap<NodeName, Option<IpAddr>>) -> Vec<Finding> {
        self.nodes.clone_from(nodes);
        let object = format!("Node/{}", self.own);
        let Some(secret) = &self.secret else {
            let others = nodes.keys().any(|name| *name != self.own);
            let (severity, message) = if others {
                let message = "there is no --secret-file: this host decides alone, and the other hosts of the manifests would announce the same addresses";
                (Severity::Warning, message)
            } else {
                (Severity::Note, "there is no --secret-file: this host works alone, without failover")
            };
            return vec![Finding::new(Code::MembershipOff, severity, object, message)];
        };
        let Some(address) = nodes.get(&self.own).copied().flatten() else {
            let what = if nodes.contains_key(&self.own) {
                "its Node has no InternalIP"
            } else {
                "there is no Node of this name"
            };
            let message = format!("{what} in the manifests, so the other hosts cannot be met and nothing is announced");
            self.running = None;
            return vec![Finding::new(Code::NodeUnknown, Severity::Error, object, message)];
        };
        let listen = SocketAddr::new(address, self.port);
        if self.running.as_ref().is_none_or(|running| running.listen != listen) {
            self.running = None;
            let config = Config { name: self.own.to_string(), listen, secret: secret.clone() };
            match Liveness::start(config) {
                Ok(liveness) => {
                    self.failure = None;
                    if let Some(document) = &self.document {
                        liveness.publish(document.clone());
                    }
                    self.running = Some(Running::new(liveness, listen));
                }
                Err(error) => self.failure = Some(format!("membership cannot listen on UDP {listen}: {error}")),
            }
        }
        let mut findings: Vec<Finding> = self
            .failure
            .iter()
            .map(|failure| Finding::new(Code::NodeUnknown, Severity::Error, object.clone(), failure.clone()))
            .collect();
        if let Some(running) = &mut self.running {
            let peers = nodes.iter().filter(|(name, _)| **name != self.own);
            let peers =
                peers.filter_map(|(name, address)| Some((name.to_string(), SocketAddr::new((*address)?, self.port))));
            running.tell_peers(peers.collect());
            for (name, addresses) in &*running.conflicts.borrow_and_update() {
                let message = format!("two hosts call themselves {name}: {addresses:?}");
                findings.push(Finding::new(Code::NodeNameTaken, Severity::Error, format!("Node/{name}"), message));
            }
            let strangers = running.strangers.borrow_and_update();
            // Anybody can send us noise; what counts is a host that ought to be one of us.
            for (name, address) in nodes.iter().filter(|(_, at)| at.is_some_and(|at| strangers.contains(&at))) {
                let address = address.map(|address| address.to_string()).unwrap_or_default();
                let message =
                    format!("{name} ({address}) uses another secret: it and this host do not hear each other");
                findings.push(Finding::new(Code::SecretMismatch, Severity::Error, format!("Node/{name}"), message));
            }
        }
        findings
    }

    /// The live hosts.
    pub(super) fn alive(&mut self) -> BTreeSet<NodeName> {
        self.running.as_mut().map(|running| running.members.borrow_and_update().clone()).unwrap_or_default()
    }

    /// What the other hosts said last, as far as it can be read.
    pub(super) fn documents(&mut self) -> BTreeMap<NodeName, HostDocument> {
        let Some(running) = &mut self.running else { return BTreeMap::new() };
        let newest = running.documents.borrow_and_update().clone();
        for (host, bytes) in newest {
            if running.read.get(&host).is_some_and(|(old, _)| *old == bytes) {
                continue;
            }
            match HostDocument::parse(&bytes) {
                Ok(document) => {
                    running.read.insert(host, (bytes, document));
                }
                // The last one that could be read stays: another version of the program, most likely.
                Err(error) => tracing::warn!(event = "membership", %host, %error, "cannot read what this host says"),
            }
        }
        running.read.iter().map(|(host, (_, document))| (host.clone(), document.clone())).collect()
    }

    /// Tells the others.
    pub(super) fn publish(&mut self, document: Vec<u8>) {
        if let Some(running) = &self.running {
            running.liveness.publish(document.clone());
        }
        self.document = Some(document);
    }

    /// Returns when something changed; never where it does not run.
    pub(super) async fn changed(&mut self) {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        tokio::select! {
            Ok(()) = running.members.changed() => {}
            Ok(()) = running.documents.changed() => {}
            Ok(()) = running.conflicts.changed() => {}
            Ok(()) = running.strangers.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// Says goodbye.
    pub(super) async fn leave(self) {
        if let Some(running) = self.running {
            running.liveness.leave().await;
        }
    }
}

impl Running {
    fn new(liveness: Liveness, listen: SocketAddr) -> Self {
        Self {
            members: liveness.members(),
            documents: liveness.documents(),
            conflicts: liveness.conflicts(),
            strangers: liveness.strangers(),
            read: BTreeMap::new(),
            peers: BTreeMap::new(),
            liveness,
            listen,
        }
    }

    fn tell_peers(&mut self, peers: BTreeMap<String, SocketAddr>) {
        if self.peers != peers {
            self.liveness.set_peers(peers.clone());
            self.peers = peers;
        }
    }
}
