//! The local socket that `ferrolb status` reads: connect, read one JSON document to the end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::state::State;

/// How long one reader may take. A reader that stops reading holds only its own connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A bound socket; dropping it removes the file.
pub(super) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Binds the socket, replacing one that a dead process left behind.
    ///
    /// # Errors
    /// Another process listens there, or the directory cannot be written.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process answers there; give each its own --socket",
            ));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Self { listener: UnixListener::bind(path)?, path: path.to_owned() })
    }

    /// Answers every connection with the newest state. Never ends.
    pub(super) async fn serve(&self, state: watch::Receiver<Arc<State>>) {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: wait for some to come free.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let state = state.borrow().clone();
            tokio::spawn(async move {
                if let Ok(text) = serde_json::to_vec(&*state) {
                    let _ = tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(&text)).await;
                }
            });
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
