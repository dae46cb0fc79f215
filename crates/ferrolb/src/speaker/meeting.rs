//! Meeting the other speakers: waits for the shared secret, starts membership, and says who is alive (spec §6.7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ferrolb_rules::names::NodeName;
use ferrolb_rules::reason::{Code, Finding, Severity};
use kube::Client;

use super::Settings;
use super::joining::{Heard, Joining};
use super::key::{self, Asked, KeyFile};
use crate::drive::membership::{self, Membership};
use crate::drive::owners::{self, Owners};
use crate::k8s::memberlist_secret;

/// Between two looks for the secret, and two tries to listen.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Who is alive, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Alive {
    /// There is no membership: every Node counts.
    Everybody,
    /// Not known yet.
    Listening,
    /// These, this node included.
    These(BTreeSet<NodeName>),
}

/// How to meet.
pub(super) struct Config {
    /// The directory with the file `secretkey`.
    pub(super) secret: PathBuf,
    /// What to ask while that file is not there.
    pub(super) asked: Option<Asked>,
    /// Where to listen; none: at the node's InternalIP.
    pub(super) bind: Option<IpAddr>,
    /// The UDP port of all speakers.
    pub(super) port: u16,
}

/// Membership, as soon as it can be had.
pub(super) struct Meeting {
    own: NodeName,
    config: Option<Config>,
    /// How to claim addresses, until that has begun.
    claims: Option<owners::Config>,
    owners: Owners,
    membership: Option<Membership>,
    key: Option<KeyFile>,
    /// The secret, asked for at the API server.
    told: Option<Vec<u8>>,
    joining: Joining,
    /// The address of the own Node, even where its Node object is gone for a while.
    own_address: Option<IpAddr>,
    retry_at: Option<Instant>,
}

impl Meeting {
    /// Nobody met yet; without a configuration nobody ever will be.
    pub(super) fn new(own: NodeName, config: Option<Config>, claims: Option<owners::Config>) -> Self {
        Self {
            joining: Joining::new(own.clone()),
            owners: Owners::elected(own.clone()),
            own,
            config,
            claims,
            membership: None,
            key: None,
            told: None,
            own_address: None,
            retry_at: None,
        }
    }

    /// Who claims what, where there is membership.
    pub(super) const fn owners(&mut self) -> &mut Owners {
        &mut self.owners
    }

    /// Starts and informs membership, and says who is alive and what is wrong. Call it only when there is something to
    /// announce: from the first answer on, the others step back for this node.
    pub(super) fn follow(
        &mut self,
        mut nodes: BTreeMap<NodeName, Option<IpAddr>>,
        now: Instant,
    ) -> (Alive, Vec<Finding>) {
        self.retry_at = None;
        let Some(config) = &mut self.config else { return (Alive::Everybody, Vec::new()) };
        if self.membership.is_none() {
            match key::read(&config.secret).or_else(|error| self.told.take().ok_or(error)) {
                Ok(secret) => {
                    if let Some(claims) = self.claims.take() {
                        self.owners = Owners::start(claims, &secret).unwrap_or_else(|error| {
                            tracing::error!(op = "startup", %error, "addresses cannot be claimed; the election decides");
                            Owners::elected(self.own.clone())
                        });
                    }
                    config.asked = None;
                    self.key = Some(KeyFile::new(config.secret.clone(), secret.clone(), now));
                    let membership = Membership::new(self.own.clone(), secret, config.bind, config.port);
                    self.membership = Some(membership.of_a_cluster().with_segment(self.owners.port()));
                }
                Err(error) => {
                    self.retry_at = Some(now + RETRY_INTERVAL);
                    let path = key::file(&config.secret);
                    let message = format!("{}: {error}; waiting for it, and announcing nothing", path.display());
                    let object = format!("Node/{}", self.own);
                    // With every first start it is so for a moment, where the pod does not wait for the mount.
                    let severity = if config.asked.is_some() { Severity::Warning } else { Severity::Error };
                    let finding = Finding::new(Code::MembershipKeyMissing, severity, object, message);
                    return (Alive::Listening, vec![finding]);
                }
            }
        }
        let Some(membership) = &mut self.membership else { return (Alive::Listening, Vec::new()) };
        // A Node object that is deleted by mistake does not silence its node.
        self.own_address = nodes.get(&self.own).copied().flatten().or(self.own_address);
        nodes.insert(self.own.clone(), self.own_address);
        let findings = membership.follow(&nodes);
        if membership.wants_retry() {
            self.retry_at = Some(now + RETRY_INTERVAL);
        }
        if !membership.is_running() {
            return (Alive::Listening, findings);
        }
        let alive = membership.alive();
        let heard = Heard { understood: membership.understood(&nodes), foreign: membership.foreign(&nodes) };
        let expected = nodes.into_iter().filter(|(_, address)| address.is_some()).map(|(name, _)| name).collect();
        let live = self.joining.live(&alive, &expected, &heard, now);
        (live.map_or(Alive::Listening, Alive::These), findings)
    }

    /// When to look again although nothing was heard.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.joining.next_deadline()).min()
    }

    /// Returns when something changed; never without membership.
    pub(super) async fn changed(&mut self) {
        // Nobody asks who has found the file.
        let waits = self.membership.is_none() && self.retry_at.is_some();
        let asked = self.config.as_mut().map(|config| &mut config.asked);
        tokio::select! {
            () = membership::changed(&mut self.membership) => {}
            () = self.owners.changed() => {}
            secret = key::told(asked), if waits => {
                tracing::info!(event = "secret", "the file with the shared secret is not there yet; the Secret itself was read");
                self.told = Some(secret);
            }
            secret = key::changed(&mut self.key) => {
                tracing::info!(event = "secret", "the shared secret has changed; the one before is understood for ten minutes more");
                self.owners.rotate(&secret);
                if let Some(membership) = &mut self.membership {
                    membership.rotate(secret);
                }
            }
        }
    }

    /// Says goodbye: the others stand in until this node's speaker is back (decision D18).
    pub(super) async fn leave(self) {
        self.owners.end(true).await;
        membership::leave(self.membership).await;
    }
}

/// How to meet the other speakers: by upstream's rule (spec §6.7) where both labels and a secret are given.
pub(super) fn by_upstreams_rule(settings: &Settings, client: &Client) -> Option<Config> {
    let asked = settings.ml_secret_name.clone().map(|name| -> Asked {
        Box::pin(memberlist_secret::awaited(client.clone(), settings.namespace.clone(), name))
    });
    let secret = settings.ml_labels.as_ref().and(settings.ml_secret_key_path.clone());
    if secret.is_none() {
        tracing::info!(
            op = "startup",
            component = "Memberlist",
            "off: without --ml-labels and --ml-secret-key-path every node counts as alive"
        );
    }
    Some(Config { secret: secret?, asked, bind: settings.ml_bind_addr, port: settings.ml_bind_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(list: &[&str]) -> BTreeMap<NodeName, Option<IpAddr>> {
        list.iter().map(|name| (NodeName::new(*name), Some(IpAddr::from([127, 0, 0, 1])))).collect()
    }

    #[test]
    fn without_membership_every_node_counts() {
        let mut meeting = Meeting::new(NodeName::new("a"), None, None);
        assert_eq!(meeting.follow(nodes(&["a", "b"]), Instant::now()), (Alive::Everybody, Vec::new()));
        assert_eq!(meeting.next_deadline(), None);
    }

    #[tokio::test]
    async fn a_secret_that_comes_late_is_waited_for_and_said_with_a_code() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { secret: directory.path().to_owned(), asked: None, bind: None, port: 0 };
        let (mut meeting, now) = (Meeting::new(NodeName::new("a"), Some(config), None), Instant::now());
        let (alive, findings) = meeting.follow(nodes(&["a"]), now);
        assert_eq!((alive, findings[0].code), (Alive::Listening, Code::MembershipKeyMissing));
        assert_eq!(meeting.next_deadline(), Some(now + RETRY_INTERVAL));
        std::fs::write(directory.path().join("secretkey"), "a secret\n").unwrap();
        let (alive, findings) = meeting.follow(nodes(&["a"]), now + RETRY_INTERVAL);
        assert_eq!((alive, findings), (Alive::These(BTreeSet::from([NodeName::new("a")])), Vec::new()));
    }

    #[tokio::test]
    async fn until_there_is_a_file_the_secret_itself_does_and_the_same_in_the_file_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let asked: Asked = Box::pin(std::future::ready(b"a secret".to_vec()));
        let config = Config { secret: directory.path().to_owned(), asked: Some(asked), bind: None, port: 0 };
        let (mut meeting, now) = (Meeting::new(NodeName::new("a"), Some(config), None), Instant::now());
        assert_eq!(meeting.follow(nodes(&["a"]), now).0, Alive::Listening);
        meeting.changed().await;
        let met = meeting.follow(nodes(&["a"]), now);
        assert_eq!(met, (Alive::These(BTreeSet::from([NodeName::new("a")])), Vec::new()));
        std::fs::write(directory.path().join("secretkey"), "a secret\n").unwrap();
        meeting.key.as_mut().unwrap().due();
        let looked = tokio::time::timeout(Duration::from_millis(50), key::changed(&mut meeting.key)).await;
        assert!(looked.is_err(), "the same key is no other one");
    }

    #[tokio::test]
    async fn who_has_the_file_asks_nobody() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secretkey"), "of the file").unwrap();
        let asked: Asked = Box::pin(std::future::ready(b"of the Secret".to_vec()));
        let config = Config { secret: directory.path().to_owned(), asked: Some(asked), bind: None, port: 0 };
        let (mut meeting, now) = (Meeting::new(NodeName::new("a"), Some(config), None), Instant::now());
        assert!(matches!(meeting.follow(nodes(&["a"]), now).0, Alive::These(_)));
        assert_eq!(meeting.told, None);
        assert!(meeting.config.is_some_and(|config| config.asked.is_none()));
    }

    #[tokio::test]
    async fn a_node_object_that_disappears_does_not_silence_its_node() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secretkey"), "a secret").unwrap();
        let config = Config { secret: directory.path().to_owned(), asked: None, bind: None, port: 0 };
        let (mut meeting, now) = (Meeting::new(NodeName::new("a"), Some(config), None), Instant::now());
        assert!(matches!(meeting.follow(nodes(&["a"]), now).0, Alive::These(_)));
        assert!(matches!(meeting.follow(nodes(&[]), now).0, Alive::These(_)));
    }
}
