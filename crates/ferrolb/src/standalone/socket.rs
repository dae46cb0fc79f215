//! The local socket that `ferrolb status` reads: connect, read one JSON document to the end.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::state::State;

/// How long one reader may take. A reader that stops reading holds only its own connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes that the path of a socket may have: `sun_path` of unix(7) less its end.
const LONGEST_PATH: usize = 107;

/// A bound socket; dropping it removes the file.
pub(super) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Binds the socket, replacing one that a dead process left behind.
    ///
    /// # Errors
    /// Another process listens there, something else than a socket is there, the path is too long, or the directory
    /// cannot be made or written.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let length = path.as_os_str().len();
        if length > LONGEST_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the path has {length} bytes, and a socket's may have {LONGEST_PATH}"),
            ));
        }
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there already"));
        }
        match std::fs::symlink_metadata(path) {
            // Left behind by a process that died.
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => {
                let message = "something is there that is no socket, and it is left alone";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
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
