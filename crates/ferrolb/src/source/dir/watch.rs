//! Reading the directory whenever it changes, and every thirty seconds in any case.
//!
//! Watched are directories, not files: an editor puts a new file in place of the old one, and a ConfigMap swaps the
//! link `..data`. The kernel reports our own reading too, so only changes count. After each load the directories found
//! are compared with those watched; if one is new, or another one of the same name, the directory is read once more,
//! because something may have changed before the watch was in place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch as channel};
use tokio::time::{Instant, sleep_until, timeout};

use super::loader::Loader;
use crate::source::Loaded;

/// So long must it be quiet before the directory is read.
const QUIET: Duration = Duration::from_millis(50);
/// So long is it waited for quiet at most.
const PATIENCE: Duration = Duration::from_millis(500);
/// So often is the directory read without a cause.
const RESCAN: Duration = Duration::from_secs(30);
/// The same, where the kernel reports no changes.
const RESCAN_BLIND: Duration = Duration::from_secs(5);

/// Loads the directory, and goes on doing so in the background until every receiver is gone. A value is sent only when
/// something is different.
pub async fn watch(loader: Loader) -> channel::Receiver<Loaded> {
    let Some((lookout, loaded)) = off_thread(move || Lookout { eyes: Eyes::new(loader.root()), loader }.load()).await
    else {
        return channel::channel(Loaded { objects: Arc::default(), findings: Vec::new(), places: Arc::default() }).1;
    };
    let (sender, receiver) = channel::channel(loaded);
    tokio::spawn(follow(lookout, sender));
    receiver
}

async fn follow(mut lookout: Lookout, sender: channel::Sender<Loaded>) {
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = lookout.eyes.next_change(lookout.loader.due()) => {}
        }
        let Some((back, loaded)) = off_thread(move || lookout.load()).await else { return };
        lookout = back;
        sender.send_if_modified(|before| {
            let different = *before != loaded;
            if different {
                *before = loaded;
            }
            different
        });
    }
}

/// Runs what may block on a thread that may. `None` when the runtime shuts down.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "reading manifests ended early; changes are no longer seen")).ok()
}

/// Who reads, and who says when.
struct Lookout {
    eyes: Eyes,
    loader: Loader,
}

impl Lookout {
    fn load(mut self) -> (Self, Loaded) {
        let loaded = self.loader.load();
        if self.eyes.turn_to(self.loader.directories()) {
            self.eyes.changed.notify_one();
        }
        (self, loaded)
    }
}

/// What is watched.
struct Eyes {
    root: PathBuf,
    watcher: Option<RecommendedWatcher>,
    /// The directories watched, with device and inode.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Those of them that lie elsewhere, where links lead to.
    elsewhere: Arc<Mutex<BTreeSet<PathBuf>>>,
    changed: Arc<Notify>,
}

impl Eyes {
    fn new(root: &Path) -> Self {
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let elsewhere = Arc::new(Mutex::new(BTreeSet::new()));
        let changed = Arc::new(Notify::new());
        let (heard, places, below) = (Arc::clone(&changed), Arc::clone(&elsewhere), root.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error means that something was lost: better once too often.
            if event.map_or(true, |event| matters(&event, &below, &places)) {
                heard.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "the kernel reports no changes of manifests; reading every 5 s"),
            )
            .ok();
        let mut eyes = Self { root, watcher, watched: BTreeMap::new(), elsewhere, changed };
        eyes.turn_to(&BTreeSet::new());
        eyes
    }

    /// Waits for a change and for quiet after it, or for the time to read anyhow: `due`, where something is.
    async fn next_change(&self, due: Option<std::time::Instant>) {
        let rescan = if self.watcher.is_some() { RESCAN } else { RESCAN_BLIND };
        let rescan = due.map_or(rescan, |due| rescan.min(due.saturating_duration_since(std::time::Instant::now())));
        if timeout(rescan, self.changed.notified()).await.is_err() {
            return;
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(end.min(Instant::now() + QUIET)) => return,
            }
        }
    }

    /// Watches exactly these directories, and what leads to them. Says whether one of them is new.
    fn turn_to(&mut self, directories: &BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let mut wanted: BTreeSet<PathBuf> = directories.iter().map(absolute).collect();
        *self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner) =
            wanted.iter().filter(|path| !path.starts_with(&self.root)).cloned().collect();
        wanted.insert(self.root.clone());
        // The nearest directory above that exists: there the root is made, or put in place of the old one.
        wanted.extend(self.root.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned));
        let mut now = BTreeMap::new();
        let mut new = false;
        for path in wanted {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            let before = self.watched.get(&path);
            if before != Some(&identity) {
                if before.is_some() {
                    // It is gone already where the old directory is.
                    let _ = watcher.unwatch(&path);
                }
                if let Err(error) = watcher.watch(&path, RecursiveMode::NonRecursive) {
                    tracing::warn!(%error, path = %path.display(), "changes here are seen only every 30 s");
                    continue;
                }
                new = true;
            }
            now.insert(path, identity);
        }
        for path in self.watched.keys().filter(|path| !now.contains_key(*path)) {
            let _ = watcher.unwatch(path);
        }
        self.watched = now;
        new
    }
}

/// Whether an event can change what is loaded. Our own reading cannot.
fn matters(event: &Event, root: &Path, elsewhere: &Mutex<BTreeSet<PathBuf>>) -> bool {
    if event.need_rescan() {
        return true;
    }
    if let EventKind::Access(access) = event.kind
        && access != AccessKind::Close(AccessMode::Write)
    {
        return false;
    }
    let elsewhere = elsewhere.lock().unwrap_or_else(PoisonError::into_inner);
    event.paths.iter().any(|path| {
        let parent = path.parent().is_some_and(|parent| elsewhere.contains(parent));
        path.starts_with(root) || root.starts_with(path) || parent || elsewhere.contains(path)
    })
}
