//! The last plan on disk, for a start without an API server (decision D21).
//!
//! What is saved is what this node announces and where the other speakers are; beside it, in a file of their own that
//! only the owner may read because there may be passwords in it, sessions and routes ([`routing`]). A file that cannot be
//! read counts as none. Writing is left to a task: the disk must not hold up an announcement.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::Announcement;
use ferrolb_rules::reason::{Code, Finding, Severity};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::watch;

use crate::durable::{self, Readers};

mod routing;

pub(super) use routing::Routing;

/// The version of its content.
const VERSION: u32 = 1;
/// Between two writes, so that a busy cluster does not wear out the disk.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Something that is kept over a restart.
pub(super) trait Kept: Clone + PartialEq + Send + Sync + 'static {
    /// The file in the state directory.
    const FILE: &'static str;
    /// Who may read it.
    const READERS: Readers;

    /// As it is written.
    fn text(&self) -> serde_json::Result<Vec<u8>>;
}

/// What a speaker knows again after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    version: u32,
    /// The node that it is about.
    pub(super) node: NodeName,
    /// Every Node with its InternalIP.
    pub(super) nodes: BTreeMap<NodeName, Option<IpAddr>>,
    /// What this node announces, or announced.
    #[serde(with = "written")]
    pub(super) announce: Arc<BTreeMap<IpAddr, Announcement>>,
}

/// Addresses with their [`Announcement`]s, as they are written: a Service is `namespace/name`.
mod written {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Written {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interfaces: Option<BTreeSet<String>>,
        services: Vec<String>,
    }

    pub(super) fn serialize<S: Serializer>(
        announce: &BTreeMap<IpAddr, Announcement>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(announce.iter().map(|(address, one)| {
            let services = one.services.iter().map(ToString::to_string).collect();
            (address, Written { interfaces: one.interfaces.clone(), services })
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<BTreeMap<IpAddr, Announcement>>, D::Error> {
        let key = |text: &String| text.split_once('/').map(|(namespace, name)| ServiceKey::new(namespace, name));
        let read = |one: Written| Announcement {
            interfaces: one.interfaces,
            services: one.services.iter().filter_map(key).collect(),
        };
        let written = BTreeMap::<IpAddr, Written>::deserialize(deserializer)?;
        Ok(Arc::new(written.into_iter().map(|(address, one)| (address, read(one))).collect()))
    }
}

impl Kept for Saved {
    const FILE: &'static str = "speaker-plan.json";
    const READERS: Readers = Readers::All;

    fn text(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

impl Saved {
    pub(super) fn new(
        node: NodeName,
        nodes: BTreeMap<NodeName, Option<IpAddr>>,
        announce: Arc<BTreeMap<IpAddr, Announcement>>,
    ) -> Self {
        Self { version: VERSION, node, nodes, announce }
    }

    /// Reads what was saved for this node; none where nothing was.
    ///
    /// # Errors
    /// The file is there and cannot be used.
    pub(super) fn load(directory: &Path, node: &NodeName) -> io::Result<Option<Self>> {
        let Some(text) = read::<Self>(directory)? else { return Ok(None) };
        let saved: Self = serde_json::from_slice(&text)?;
        Ok((saved.version == VERSION && saved.node == *node).then_some(saved))
    }
}

/// What was saved before this start; one that cannot be read counts as none, and is said.
pub(super) fn load<T>(
    state_dir: Option<&Path>,
    read: impl FnOnce(&Path) -> io::Result<Option<T>>,
) -> (Option<T>, Option<Finding>) {
    match state_dir.map(read) {
        None => (None, None),
        Some(Ok(saved)) => (saved, None),
        Some(Err(error)) => {
            let message = format!("what was saved before the restart cannot be read: {error}");
            (None, Some(Finding::new(Code::StateUnusable, Severity::Warning, "state", message)))
        }
    }
}

/// The bytes of what was kept; none where nothing was.
fn read<T: Kept>(directory: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(directory.join(T::FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Where to hand what is to be kept.
#[derive(Debug)]
pub(super) struct Saver<T> {
    newest: watch::Sender<T>,
}

impl<T: Kept> Saver<T> {
    /// Starts the task. `last` is what is on disk.
    pub(super) fn start(directory: PathBuf, last: T) -> Self {
        let (newest, plans) = watch::channel(last);
        tokio::spawn(write(directory, plans));
        Self { newest }
    }

    /// Saves this soon, unless it is saved already.
    pub(super) fn save(&self, saved: T) {
        self.newest.send_if_modified(|last| {
            let different = *last != saved;
            if different {
                *last = saved;
            }
            different
        });
    }
}

async fn write<T: Kept>(directory: PathBuf, mut plans: watch::Receiver<T>) {
    let mut failing = false;
    while plans.changed().await.is_ok() {
        let saved = plans.borrow_and_update().clone();
        let path = directory.join(T::FILE);
        let directory = directory.clone();
        let written = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(directory)?;
            durable::replace(&path, &saved.text()?, T::READERS)
        });
        match written.await {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) if !failing => {
                failing = true;
                let file = T::FILE;
                tracing::warn!(op = "save", file, %error, "the plan cannot be saved: a restart without the API server would announce nothing");
            }
            _ => {}
        }
        tokio::time::sleep(WRITE_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(node: &str) -> Saved {
        let announcement = Announcement {
            interfaces: Some(BTreeSet::from(["eth0".to_owned()])),
            services: [ServiceKey::new("default", "web")].into(),
        };
        let announce = BTreeMap::from([("192.168.1.2".parse().unwrap(), announcement)]);
        let nodes = BTreeMap::from([(NodeName::new(node), Some("192.168.1.11".parse().unwrap()))]);
        Saved::new(NodeName::new(node), nodes, Arc::new(announce))
    }

    #[tokio::test]
    async fn a_saved_plan_is_there_after_a_restart_and_only_for_its_node() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep");
        assert_eq!(Saved::load(&path, &NodeName::new("a")).unwrap(), None);
        Saver::start(path.clone(), Saved::default()).save(saved("a"));
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if path.join(Saved::FILE).exists() {
                break;
            }
        }
        let read = Saved::load(&path, &NodeName::new("a")).unwrap().unwrap();
        assert_eq!(read, saved("a"));
        assert_eq!(read.announce, saved("a").announce);
        assert_eq!(Saved::load(&path, &NodeName::new("b")).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_another_version_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let node = NodeName::new("a");
        fs::write(directory.path().join(Saved::FILE), b"{\"version\":1").unwrap();
        assert!(Saved::load(directory.path(), &node).is_err());
        let other = Saved { version: VERSION + 1, ..saved("a") };
        fs::write(directory.path().join(Saved::FILE), serde_json::to_vec(&other).unwrap()).unwrap();
        assert_eq!(Saved::load(directory.path(), &node).unwrap(), None);
    }
}
