//! What survives a restart: the table of assignments, written before anybody hears of it.
//!
//! One JSON file in the state directory, replaced by writing beside it, syncing and renaming: after a crash there is the
//! old file or the new one, never half of one. A file that cannot be read is set aside, not overwritten: it may be the
//! only record of who had which address. The directory belongs to one process at a time: a lock that ends with the
//! process keeps a second one from undoing what the first assigned.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use ferrolb_rules::table::Table;

use crate::durable;

/// The state directory of one process.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    /// Held for as long as the store is.
    _lock: File,
}

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The directory or a file in it cannot be used.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("another process uses {path}", path = path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The table is there and is not one.
    #[error("{path} is not a table of assignments ({source}); it was set aside as {aside}", path = path.display(), aside = aside.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is now.
        aside: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Store {
    /// Opens the directory, creating it where it is missing, and keeps it for this process.
    ///
    /// # Errors
    /// It cannot be created or written, or another process has it.
    pub(super) fn open(directory: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Io { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        let probe = directory.join(".writable");
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(failed)?;
        let lock = File::options().create(true).append(true).open(directory.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { directory: directory.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: directory.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The saved table; a blank one where none was ever saved.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged (then it has been set aside).
    pub(super) fn table(&self) -> Result<Table, StoreError> {
        let path = self.table_path();
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Table::default()),
            Err(source) => return Err(StoreError::Io { path, source }),
            Ok(text) => text,
        };
        serde_json::from_slice(&text).map_err(|source| {
            let aside = path.with_extension("damaged");
            match fs::rename(&path, &aside) {
                Ok(()) => StoreError::Damaged { path, aside, source },
                Err(source) => StoreError::Io { path, source },
            }
        })
    }

    /// Saves the table durably.
    ///
    /// # Errors
    /// The disk refuses; the old table is then still there.
    pub(super) fn save(&self, table: &Table) -> Result<(), StoreError> {
        let path = self.table_path();
        let write = || durable::replace(&path, &serde_json::to_vec_pretty(table)?, durable::Readers::All);
        write().map_err(|source| StoreError::Io { path: path.clone(), source })
    }

    /// Where leftovers that need undoing after a crash are noted (addresses bound to `lo`).
    pub(super) fn bound_path(&self) -> PathBuf {
        self.directory.join("bound-addresses.json")
    }

    /// Where the last good content of manifests is kept, so that a file broken before a restart loses nothing.
    pub(super) fn manifests_path(&self) -> PathBuf {
        self.directory.join("last-good-manifests.json")
    }

    fn table_path(&self) -> PathBuf {
        self.directory.join("assignments.json")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ferrolb_rules::names::{NodeName, ServiceKey};

    use super::*;

    fn table() -> Table {
        let mut table = Table::default();
        let assignment = (vec!["10.0.0.1".parse().unwrap()], "pool".to_owned());
        table.record(
            &NodeName::new("a"),
            &BTreeMap::from([(ServiceKey::new("default", "x"), assignment)]),
            &BTreeMap::new(),
        );
        table
    }

    #[test]
    fn a_saved_table_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        Store::open(directory.path()).unwrap().save(&table()).unwrap();
        assert_eq!(Store::open(directory.path()).unwrap().table().unwrap(), table());
    }

    #[test]
    fn the_directory_belongs_to_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path()).unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert!(matches!(&error, StoreError::InUse { path } if path == directory.path()), "{error}");
        drop(first);
        Store::open(directory.path()).unwrap();
    }

    #[test]
    fn a_new_directory_has_a_blank_table() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("deep/er")).unwrap();
        assert!(store.table().unwrap().is_blank());
    }

    #[test]
    fn a_damaged_table_is_set_aside_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        fs::write(directory.path().join("assignments.json"), b"{\"version\":").unwrap();
        let error = store.table().unwrap_err().to_string();
        assert!(error.contains("assignments.damaged"), "{error}");
        assert!(store.table().unwrap().is_blank(), "the next start is not stuck on it");
        assert!(directory.path().join("assignments.damaged").exists(), "nothing is thrown away");
    }
}
