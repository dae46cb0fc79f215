//! The secret that all speakers share: in a file that the kubelet mounts, and until that is there in the Secret itself.
//!
//! The controller makes the Secret, and our pods do not wait for it: a kubelet that finds none looks again after half a
//! second, one, two, four, and so on, which on a fresh cluster was the longest part of a first start (decision 87).

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use ferrolb_rules::api::well_known::MEMBERLIST_SECRET_KEY;

use crate::drive::membership::read_secret;

/// Between two looks whether the secret has changed: the kubelet exchanges the mounted file up to two minutes after the Secret.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Asking the API server: it answers once there is a Secret.
pub(super) type Asked = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// The file with the secret, and what was in it.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    secret: Vec<u8>,
    look_at: Instant,
}

impl KeyFile {
    pub(super) fn new(path: PathBuf, secret: Vec<u8>, now: Instant) -> Self {
        Self { path, secret, look_at: now + LOOK_INTERVAL }
    }

    /// The secret, as soon as there is another one. A file that cannot be read is as good as unchanged: who has deleted the
    /// Secret has not ended what runs.
    async fn changed(&mut self) -> Vec<u8> {
        loop {
            tokio::time::sleep_until(self.look_at.into()).await;
            self.look_at = Instant::now() + LOOK_INTERVAL;
            let Ok(secret) = read(&self.path) else { continue };
            if secret != self.secret {
                self.secret.clone_from(&secret);
                return secret;
            }
        }
    }
}

/// See [`KeyFile::changed`]; never without one.
pub(super) async fn changed(file: &mut Option<KeyFile>) -> Vec<u8> {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}

/// What the API server has told; never where nobody asks.
pub(super) async fn told(asked: Option<&mut Option<Asked>>) -> Vec<u8> {
    let Some(asked) = asked else { return std::future::pending().await };
    let Some(answer) = asked else { return std::future::pending().await };
    let secret = answer.await;
    *asked = None;
    secret
}

/// What is in the file now.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_secret(&file(path))
}

/// The file itself, where a directory is named as upstream does.
pub(super) fn file(path: &Path) -> PathBuf {
    if path.is_file() { path.to_owned() } else { path.join(MEMBERLIST_SECRET_KEY) }
}

#[cfg(test)]
impl KeyFile {
    /// As if it were time to look.
    pub(super) fn due(&mut self) {
        self.look_at = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_changed_secret_is_read_once_and_one_that_is_gone_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secretkey");
        let (path, look_at) = (directory.path().to_owned(), Instant::now());
        let mut key = KeyFile { path, secret: b"old".to_vec(), look_at };
        std::fs::write(&file, "new\n").unwrap();
        assert_eq!(key.changed().await, b"new");
        for text in [Some("new"), Some(""), None] {
            match text {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            key.look_at = Instant::now();
            let looked = tokio::time::timeout(Duration::from_millis(50), key.changed()).await;
            assert!(looked.is_err(), "{text:?}");
        }
    }
}
