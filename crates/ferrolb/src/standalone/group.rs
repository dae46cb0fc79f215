//! The group that the hosts form: membership, if there is a secret, and what the others say, read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ferrolb_rules::names::NodeName;
use ferrolb_rules::reason::{Code, Finding, Severity};

use super::Settings;
use super::peers::HostDocument;
use crate::drive::key::{self, KeyFile};
use crate::drive::membership::{self, Membership};
use crate::drive::segment::Port;

/// The group, or this host alone.
#[derive(Debug)]
pub(super) struct Group {
    own: NodeName,
    membership: Option<Membership>,
    key: Option<KeyFile>,
    nodes: BTreeMap<NodeName, Option<IpAddr>>,
    /// The documents that could be read, and the bytes that they were read from.
    read: BTreeMap<NodeName, (Arc<[u8]>, HostDocument)>,
}

impl Group {
    /// Nobody met yet; without a secret nobody ever will be.
    pub(super) fn new(own: NodeName, secret: Option<Vec<u8>>, settings: &Settings, segment: Option<Port>) -> Self {
        let file = settings.secret_file.clone().zip(secret.clone());
        let key = file.map(|(path, secret)| KeyFile::new(path, secret, Instant::now()));
        let start = |secret| Membership::new(own.clone(), secret, None, settings.port).with_segment(segment);
        let membership = secret.map(start);
        Self { own, membership, key, nodes: BTreeMap::new(), read: BTreeMap::new() }
    }

    /// Whether there is a secret and nevertheless nobody can be met.
    pub(super) fn is_hindered(&self) -> bool {
        self.membership.as_ref().is_some_and(|membership| !membership.is_running())
    }

    /// Whether starting failed for a reason that may pass.
    pub(super) fn wants_retry(&self) -> bool {
        self.membership.as_ref().is_some_and(Membership::wants_retry)
    }

    /// The hosts that the manifests name.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// The addresses of the hosts.
    pub(super) fn addresses(&self) -> BTreeMap<NodeName, IpAddr> {
        self.nodes.iter().filter_map(|(name, address)| Some((name.clone(), (*address)?))).collect()
    }

    /// Starts, restarts and informs membership as the Nodes say. Returns what is wrong.
    pub(super) fn follow(&mut self, nodes: BTreeMap<NodeName, Option<IpAddr>>) -> Vec<Finding> {
        self.nodes = nodes;
        if let Some(membership) = &mut self.membership {
            return membership.follow(&self.nodes);
        }
        let (severity, message) = if self.nodes.keys().any(|name| *name != self.own) {
            let message = "there is no --secret-file: this host decides alone, and the other hosts of the manifests would announce the same addresses";
            (Severity::Warning, message)
        } else {
            (Severity::Note, "there is no --secret-file: this host works alone, without failover")
        };
        vec![Finding::new(Code::MembershipOff, severity, format!("Node/{}", self.own), message)]
    }

    /// The live hosts.
    pub(super) fn alive(&mut self) -> BTreeSet<NodeName> {
        self.membership.as_mut().map(Membership::alive).unwrap_or_default()
    }

    /// What the other hosts said last, as far as it can be read.
    pub(super) fn documents(&mut self) -> BTreeMap<NodeName, HostDocument> {
        let newest = self.membership.as_mut().map(Membership::documents).unwrap_or_default();
        for (host, bytes) in newest {
            if self.read.get(&host).is_some_and(|(old, _)| *old == bytes) {
                continue;
            }
            match HostDocument::parse(&bytes) {
                Ok(document) => {
                    self.read.insert(host, (bytes, document));
                }
                // The last one that could be read stays: another version of the program, most likely.
                Err(error) => tracing::warn!(event = "membership", %host, %error, "cannot read what this host says"),
            }
        }
        self.read.iter().map(|(host, (_, document))| (host.clone(), document.clone())).collect()
    }

    /// Tells the others.
    pub(super) fn publish(&mut self, document: Vec<u8>) {
        if let Some(membership) = &mut self.membership {
            membership.publish(document);
        }
    }

    /// Returns when something changed, and the secret if it is another one; never for a host alone.
    pub(super) async fn changed(&mut self) -> Option<Vec<u8>> {
        tokio::select! {
            () = membership::changed(&mut self.membership) => None,
            secret = key::changed(&mut self.key) => {
                tracing::info!(event = "secret", "the shared secret has changed; the one before is understood for ten minutes more");
                if let Some(membership) = &mut self.membership {
                    membership.rotate(secret.clone());
                }
                Some(secret)
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn leave(self) {
        membership::leave(self.membership).await;
    }
}
