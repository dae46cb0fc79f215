//! Membership from the point of view of a host: started once its own address is known, restarted if that changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use ferrolb_rules::names::NodeName;
use ferrolb_rules::reason::{Code, Finding, Severity};
use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;

use super::liveness::{Config, Liveness};
use super::segment::Port;

/// What to do about a key that differs, in a cluster.
const CLUSTER_FIX: &str = "wait two minutes: the speakers take a changed key from the mounted Secret; if it is still so then, restart them: \
                           `kubectl rollout restart -n metallb-system daemonset/metallb-speaker`";

/// Every Node and its InternalIP, where it tells one.
pub fn addresses_of<'a>(nodes: impl IntoIterator<Item = &'a Arc<Node>>) -> BTreeMap<NodeName, Option<IpAddr>> {
    let entry = |node: &Arc<Node>| Some((NodeName::new(node.metadata.name.clone()?), internal_ip(node)));
    nodes.into_iter().filter_map(entry).collect()
}

fn internal_ip(node: &Node) -> Option<IpAddr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|address| address.type_ == "InternalIP")?.address.parse().ok()
}

/// The secret in a file, without the line end that editors leave.
///
/// # Errors
/// It cannot be read, or is empty.
pub fn read_secret(path: &Path) -> io::Result<Vec<u8>> {
    secret_in(fs::read(path)?).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file is empty"))
}

/// The secret without the line end that editors put behind it; none where nothing else is there.
pub fn secret_in(mut secret: Vec<u8>) -> Option<Vec<u8>> {
    while secret.last().is_some_and(u8::is_ascii_whitespace) {
        secret.pop();
    }
    Some(secret).filter(|secret| !secret.is_empty())
}

/// Membership, running or not.
#[derive(Debug)]
pub struct Membership {
    own: NodeName,
    /// Oldest first: what has become newer while the process runs comes behind.
    secrets: Vec<Vec<u8>>,
    /// The secret is the one of a cluster's speakers, not a file that somebody wrote.
    is_cluster: bool,
    /// Where to listen, if not at the address of the own Node.
    bind: Option<IpAddr>,
    port: u16,
    /// Who shares the socket.
    segment: Option<Port>,
    running: Option<Running>,
    /// Why it cannot listen, and what to do.
    failure: Option<(String, String)>,
    /// What this host says, for a machine that starts later.
    document: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Running {
    liveness: Liveness,
    listen: SocketAddr,
    members: watch::Receiver<BTreeSet<NodeName>>,
    documents: watch::Receiver<BTreeMap<NodeName, Arc<[u8]>>>,
    conflicts: watch::Receiver<BTreeMap<NodeName, Vec<IpAddr>>>,
    strangers: watch::Receiver<BTreeSet<IpAddr>>,
    understood: watch::Receiver<BTreeSet<IpAddr>>,
    peers: BTreeMap<String, SocketAddr>,
}

impl Membership {
    /// Not running yet. It listens at `bind`, or at the InternalIP of the own Node.
    pub fn new(own: NodeName, secret: Vec<u8>, bind: Option<IpAddr>, port: u16) -> Self {
        let secrets = vec![secret];
        Self {
            own,
            secrets,
            is_cluster: false,
            bind,
            port,
            segment: None,
            running: None,
            failure: None,
            document: None,
        }
    }

    /// Its secret is the Secret that the speakers of a cluster share.
    #[must_use]
    pub fn of_a_cluster(self) -> Self {
        Self { is_cluster: true, ..self }
    }

    /// There is a newer secret; the one before is used beside it for a while.
    pub fn rotate(&mut self, secret: Vec<u8>) {
        if let Some(running) = &self.running {
            running.liveness.rotate(secret.clone());
        }
        self.secrets.push(secret);
        let too_many = self.secrets.len().saturating_sub(2);
        self.secrets.drain(..too_many);
    }

    /// Shares its socket.
    #[must_use]
    pub fn with_segment(self, segment: Option<Port>) -> Self {
        Self { segment, ..self }
    }

    /// Whether the others can be met.
    pub const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether starting failed for a reason that may pass.
    pub const fn wants_retry(&self) -> bool {
        self.failure.is_some()
    }

    /// Starts, restarts and informs the machine as the Nodes say. Returns what is wrong.
    pub fn follow(&mut self, nodes: &BTreeMap<NodeName, Option<IpAddr>>) -> Vec<Finding> {
        let object = format!("Node/{}", self.own);
        let Some(address) =
            self.bind.filter(|bind| !bind.is_unspecified()).or_else(|| nodes.get(&self.own).copied().flatten())
        else {
            let what = if nodes.contains_key(&self.own) {
                "its Node has no InternalIP"
            } else {
                "there is no Node of this name"
            };
            let message = format!("{what}, so the other hosts cannot be met and nothing is announced");
            self.running = None;
            return vec![Finding::new(Code::NodeUnknown, Severity::Error, object, message)];
        };
        let listen = SocketAddr::new(address, self.port);
        if self.running.as_ref().is_none_or(|running| running.listen != listen) {
            self.running = None;
            let (secret, segment) = (self.secrets.first().cloned().unwrap_or_default(), self.segment.clone());
            let config = Config { name: self.own.to_string(), listen, secret, segment };
            match Liveness::start(config) {
                Ok(liveness) => {
                    self.failure = None;
                    self.secrets.iter().skip(1).for_each(|secret| liveness.rotate(secret.clone()));
                    if let Some(document) = &self.document {
                        liveness.publish(document.clone());
                    }
                    self.running = Some(Running::new(liveness, listen));
                }
                Err(error) => self.failure = Some(deaf(&self.own, listen, &error)),
            }
        }
        let mut findings: Vec<Finding> = self
            .failure
            .iter()
            .map(|(why, fix)| {
                Finding::new(Code::MembershipDeaf, Severity::Error, object.clone(), why.as_str()).with_fix(fix.as_str())
            })
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
        }
        findings.extend(self.foreign(nodes).iter().map(|name| {
            let address = nodes.get(name).copied().flatten().map(|address| address.to_string()).unwrap_or_default();
            mismatch(name, &address, self.is_cluster)
        }));
        findings
    }

    /// The hosts that speak to us, and with another secret.
    pub fn foreign(&mut self, nodes: &BTreeMap<NodeName, Option<IpAddr>>) -> BTreeSet<NodeName> {
        // Anybody can send us noise; what counts is a host that ought to be one of us.
        self.running.as_mut().map(|one| among(nodes, &one.strangers.borrow_and_update())).unwrap_or_default()
    }

    /// The hosts that were understood since membership runs: what others say of a host does not count.
    pub fn understood(&mut self, nodes: &BTreeMap<NodeName, Option<IpAddr>>) -> BTreeSet<NodeName> {
        self.running.as_mut().map(|one| among(nodes, &one.understood.borrow_and_update())).unwrap_or_default()
    }

    /// The live hosts.
    pub fn alive(&mut self) -> BTreeSet<NodeName> {
        self.running.as_mut().map(|running| running.members.borrow_and_update().clone()).unwrap_or_default()
    }

    /// What the other hosts said last, the dead ones too.
    pub fn documents(&mut self) -> BTreeMap<NodeName, Arc<[u8]>> {
        self.running.as_mut().map(|running| running.documents.borrow_and_update().clone()).unwrap_or_default()
    }

    /// Tells the others.
    pub fn publish(&mut self, document: Vec<u8>) {
        if let Some(running) = &self.running {
            running.liveness.publish(document.clone());
        }
        self.document = Some(document);
    }

    async fn changed(&mut self) {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        tokio::select! {
            Ok(()) = running.members.changed() => {}
            Ok(()) = running.documents.changed() => {}
            Ok(()) = running.conflicts.changed() => {}
            Ok(()) = running.strangers.changed() => {}
            Ok(()) = running.understood.changed() => {}
            else => std::future::pending().await,
        }
    }

    async fn leave(self) {
        if let Some(running) = self.running {
            running.liveness.leave().await;
        }
    }
}

/// The hosts that have one of these addresses.
fn among(nodes: &BTreeMap<NodeName, Option<IpAddr>>, addresses: &BTreeSet<IpAddr>) -> BTreeSet<NodeName> {
    let those = nodes.iter().filter(|(_, at)| at.is_some_and(|at| addresses.contains(&at)));
    those.map(|(name, _)| name.clone()).collect()
}

/// A host seals with another secret.
fn mismatch(name: &NodeName, address: &str, is_cluster: bool) -> Finding {
    let object = format!("Node/{name}");
    if !is_cluster {
        let message = format!("{name} ({address}) uses another secret: it and this host do not hear each other");
        return Finding::new(Code::SecretMismatch, Severity::Error, object, message);
    }
    let message = format!(
        "the speaker on {name} ({address}) has another key than this one: the Secret that they share was changed, or deleted and made \
         anew. Which of them starts announces nothing until it understands the other"
    );
    Finding::new(Code::SecretMismatch, Severity::Error, object, message).with_fix(CLUSTER_FIX)
}

/// Why nobody can be met at this address, and what to do.
fn deaf(own: &NodeName, listen: SocketAddr, error: &io::Error) -> (String, String) {
    let (address, port) = (listen.ip(), listen.port());
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => (
            format!("this host does not have {address}, the InternalIP of Node {own}, so the others cannot be met"),
            "correct the InternalIP or --node-name: `ip -brief addr` shows what this host has".to_owned(),
        ),
        io::ErrorKind::AddrInUse => (
            format!("another program listens on UDP {listen} already, so the others cannot be met"),
            format!("stop the other program (`ss -ulpn 'sport = :{port}'`), or set another --ml-bindport on all hosts"),
        ),
        _ => {
            let why = format!("membership cannot listen on UDP {listen}: {error}");
            (why, Code::MembershipDeaf.explanation().fix.to_owned())
        }
    }
}

/// Returns when something changed; never where there is no membership.
pub async fn changed(membership: &mut Option<Membership>) {
    match membership {
        Some(membership) => membership.changed().await,
        None => std::future::pending().await,
    }
}

/// Says goodbye, where somebody would hear it.
pub async fn leave(membership: Option<Membership>) {
    if let Some(membership) = membership {
        membership.leave().await;
    }
}

impl Running {
    fn new(liveness: Liveness, listen: SocketAddr) -> Self {
        Self {
            members: liveness.members(),
            documents: liveness.documents(),
            conflicts: liveness.conflicts(),
            strangers: liveness.strangers(),
            understood: liveness.understood(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_of_another_host_and_a_port_that_is_taken_are_told_apart() {
        let own = NodeName::new("a");
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        // 192.0.2.1 is for documentation (RFC 5737): nobody has it.
        for (address, why) in [("192.0.2.1", "does not have 192.0.2.1"), ("127.0.0.1", "another program listens")] {
            let mut membership = Membership::new(own.clone(), b"secret".to_vec(), None, port);
            let findings = membership.follow(&BTreeMap::from([(own.clone(), address.parse().ok())]));
            assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::MembershipDeaf]);
            assert!(findings[0].message.contains(why), "{}", findings[0]);
            assert!(membership.wants_retry());
        }
    }
}
