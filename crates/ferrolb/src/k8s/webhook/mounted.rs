//! The certificate from files, where rotation is somebody else's (`--disable-cert-rotation`, `--cert-dir`; spec §2.3).
//!
//! A Secret that is mounted changes by a link that is put in place of another one. So the directory is watched, and
//! read every thirty seconds in any case.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::certificates::Data;

const RESCAN: Duration = Duration::from_secs(30);

/// A directory with `tls.crt` and `tls.key`.
pub(super) struct Mounted {
    changed: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
}

impl Mounted {
    /// Watches the directory, if the kernel lets us.
    pub(super) fn watch(directory: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let heard = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is reported too.
            let read = event.is_ok_and(|event| match event.kind {
                EventKind::Access(access) => access != AccessKind::Close(AccessMode::Write),
                _ => false,
            });
            if !read {
                heard.notify_one();
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::info!(op = "webhook", %error, directory = %directory.display(), "changes are seen only every 30 s");
        }
        Self { changed, _watcher: watcher.ok() }
    }

    /// Returns when something may have changed.
    pub(super) async fn changed(&self) {
        // Whether by the kernel or by the clock: it is read anyhow.
        let _ = timeout(RESCAN, self.changed.notified()).await;
    }
}

/// What is in the directory; files that are not there are left out.
pub(super) fn read(directory: &Path) -> Data {
    ["tls.crt", "tls.key"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), fs::read(directory.join(name)).ok()?)))
        .collect()
}
