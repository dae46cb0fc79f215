//! The last good content of every file, kept across restarts, so that a file that breaks before a restart loses
//! nothing.
//!
//! One JSON document, replaced as a whole. It may hold Secrets, so nobody else can read it. A damaged one is set aside
//! and costs nothing while every file is good.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ferrolb_rules::reason::{Code, Finding, Severity};
use serde::{Deserialize, Serialize};

use crate::durable;

/// The layout of the document.
const VERSION: u32 = 1;

/// Texts by path within the directory.
pub(super) type Texts = BTreeMap<String, String>;

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    /// The directory that the paths are within; the content of another one says nothing.
    directory: String,
    files: Texts,
}

/// Where the last good content is kept.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    directory: String,
    /// What the file on the disk says, as far as known.
    saved: Option<Texts>,
    /// The file was damaged when the program started.
    damaged: Option<Finding>,
}

impl Store {
    pub(super) fn new(path: PathBuf, directory: &Path) -> Self {
        Self { path, directory: directory.to_string_lossy().into_owned(), saved: None, damaged: None }
    }

    /// Reads what was saved by an earlier process; nothing, where that is impossible.
    pub(super) fn restore(&mut self) -> Texts {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Texts::new(),
            Err(error) => {
                self.damaged = Some(self.finding(
                    format!("the last good manifests cannot be read: {error}; broken files have none now"),
                    "make the file readable for the user that ferrolb runs as",
                ));
                return Texts::new();
            }
        };
        match serde_json::from_slice::<Document>(&bytes) {
            Ok(document) if document.version == VERSION && document.directory == self.directory => {
                self.saved = Some(document.files.clone());
                document.files
            }
            Ok(_) => Texts::new(),
            Err(error) => {
                let aside = self.path.with_extension("damaged");
                let whither = match fs::rename(&self.path, &aside) {
                    Ok(()) => format!("set aside as {}", aside.display()),
                    Err(error) => format!("left in place ({error})"),
                };
                self.damaged = Some(self.finding(
                    format!("the last good manifests are damaged ({error}) and {whither}; broken files have none now"),
                    "correct the manifests that have errors; where there are none, nothing is lost",
                ));
                Texts::new()
            }
        }
    }

    /// Writes the texts where they differ from what is saved. The findings say what does not work.
    pub(super) fn save(&mut self, texts: Texts) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.damaged.iter().cloned().collect();
        if self.saved.as_ref() == Some(&texts) || (self.saved.is_none() && texts.is_empty()) {
            return findings;
        }
        match self.write(texts.clone()) {
            Ok(()) => self.saved = Some(texts),
            Err(error) => findings.push(self.finding(
                format!("the last good manifests cannot be saved: {error}; after a restart, broken files have none"),
                "make the state directory a writable directory on a local disk with free space",
            )),
        }
        findings
    }

    fn write(&self, files: Texts) -> io::Result<()> {
        let document = Document { version: VERSION, directory: self.directory.clone(), files };
        let bytes = serde_json::to_vec(&document)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        durable::replace(&self.path, &bytes, durable::Readers::Owner)
    }

    fn finding(&self, message: String, fix: &str) -> Finding {
        Finding::new(Code::StateUnusable, Severity::Warning, self.path.display().to_string(), message).with_fix(fix)
    }
}
