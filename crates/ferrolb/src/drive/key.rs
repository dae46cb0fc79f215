//! The file with the shared secret, looked at again and again: a secret is changed by changing the file (decision 78).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferrolb_rules::api::well_known::MEMBERLIST_SECRET_KEY;

use super::membership::read_secret;

/// Between two looks: kubelets exchange a mounted file up to two minutes after the Secret, people write files host by host.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The file with the secret, and what was in it.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    secret: Vec<u8>,
    look_at: Instant,
}

impl KeyFile {
    /// A file, or the directory of a mounted Secret, in which this secret was read now.
    pub fn new(path: PathBuf, secret: Vec<u8>, now: Instant) -> Self {
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

/// The secret, as soon as there is another one; never without a file.
pub async fn changed(file: &mut Option<KeyFile>) -> Vec<u8> {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}

/// What is in the file now.
///
/// # Errors
/// It cannot be read, or is empty.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_secret(&file(path))
}

/// The file itself, where a directory is named as upstream does.
pub fn file(path: &Path) -> PathBuf {
    if path.is_file() { path.to_owned() } else { path.join(MEMBERLIST_SECRET_KEY) }
}

#[cfg(test)]
impl KeyFile {
    /// As if it were time to look.
    pub(crate) fn due(&mut self) {
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
