//! Loading: every file's newest content where it is good, its last good content where it is not.
//!
//! A file that says what it said before is not parsed again, and an object that is equal to the one in force keeps its
//! `Arc`, so whoever compares pointers sees only what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ferrolb_rules::reason::{Code, Finding, Location, Severity};

use super::document::{Parsed, Placed, parse};
use super::half::{self, Cut};
use super::last_good::{Store, Texts};
use super::object::{Object, ObjectKey};
use super::pointed::Places;
use super::read::{self, Bytes, Fault, Listing};
use crate::source::{Loaded, Objects};

/// Reads a directory of manifests, again and again.
#[derive(Debug)]
pub struct Loader {
    directory: PathBuf,
    namespace: String,
    store: Option<Store>,
    restored: bool,
    files: BTreeMap<PathBuf, Manifest>,
    in_force: HashMap<ObjectKey, Object>,
    objects: Arc<Objects>,
    places: Arc<Places>,
    directories: BTreeSet<PathBuf>,
}

/// One file.
#[derive(Debug, Default)]
struct Manifest {
    /// What it said when it was last good.
    good: Option<Content>,
    /// What it says now, where that is not good.
    broken: Option<Content>,
    /// Why it cannot be read now.
    unreadable: Option<Fault>,
    /// What it says now, where that looks half written.
    held: Option<Held>,
}

/// A content that looks half written, and until when it is waited for the rest.
#[derive(Debug)]
struct Held {
    content: Content,
    cut: Cut,
    until: Option<Instant>,
}

/// A file's bytes and what they say.
#[derive(Debug)]
struct Content {
    bytes: Vec<u8>,
    parsed: Parsed,
}

impl Loader {
    /// A loader of `directory`. `namespace` is the one that kinds of metallb.io are read from, and `last_good` a file
    /// that keeps the last good content across restarts.
    pub fn new(directory: PathBuf, namespace: String, last_good: Option<PathBuf>) -> Self {
        let store = last_good.map(|path| Store::new(path, &directory));
        Self {
            directory,
            namespace,
            store,
            restored: false,
            files: BTreeMap::new(),
            in_force: HashMap::new(),
            objects: Arc::default(),
            places: Arc::default(),
            directories: BTreeSet::new(),
        }
    }

    /// Reads the directory as it is now.
    pub fn load(&mut self) -> Loaded {
        self.load_at(Instant::now())
    }

    /// When a file that looks half written is to be taken as it is, at the soonest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.files.values().filter_map(|manifest| manifest.held.as_ref()?.until).min()
    }

    pub(super) fn load_at(&mut self, now: Instant) -> Loaded {
        if !self.restored {
            self.restored = true;
            self.restore();
        }
        let mut listing = read::list(&self.directory);
        self.files.retain(|path, _| listing.files.contains(path) || listing.may_have(path));
        for path in &listing.files {
            self.refresh(path, now);
        }
        let mut findings = std::mem::take(&mut listing.findings);
        findings.extend(self.files.iter().flat_map(|(path, manifest)| manifest.findings(path)));
        findings.extend(self.assemble());
        findings.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        let texts = self.texts();
        if let Some(store) = &mut self.store {
            findings.extend(store.save(texts));
        }
        self.directories = self.directories_of(listing);
        Loaded { objects: Arc::clone(&self.objects), findings, places: Arc::clone(&self.places) }
    }

    /// The directory of manifests.
    pub(super) fn root(&self) -> &Path {
        &self.directory
    }

    /// Every directory in which a change could change what is loaded, after [`Loader::load`].
    pub(super) fn directories(&self) -> &BTreeSet<PathBuf> {
        &self.directories
    }

    fn restore(&mut self) {
        let texts = self.store.as_mut().map(Store::restore).unwrap_or_default();
        for (name, text) in texts {
            let path = self.directory.join(name);
            let bytes = text.into_bytes();
            let parsed = parse(&path.to_string_lossy(), &bytes, &self.namespace);
            if parsed.is_good() {
                let good = Some(Content { bytes, parsed });
                self.files.insert(path, Manifest { good, ..Manifest::default() });
            }
        }
    }

    fn refresh(&mut self, path: &Path, now: Instant) {
        match read::bytes(path) {
            Bytes::Gone => {
                self.files.remove(path);
            }
            Bytes::Unreadable(fault) => self.files.entry(path.to_owned()).or_default().unreadable = Some(fault),
            Bytes::Read(bytes) => {
                let manifest = self.files.entry(path.to_owned()).or_default();
                manifest.unreadable = None;
                if bytes.trim_ascii().is_empty() && manifest.has_objects() {
                    // A full disk or a writer that is interrupted leaves this behind; nobody deletes objects so.
                    manifest.unreadable =
                        Some(Fault::new("it has become empty", "write it again, or delete it to remove its objects"));
                } else if manifest.good.as_ref().is_some_and(|good| good.bytes == bytes) {
                    manifest.broken = None;
                    manifest.held = None;
                } else if manifest.held.as_ref().is_some_and(|held| held.content.bytes == bytes) {
                    manifest.broken = None;
                    manifest.take_if_due(now);
                } else if manifest.broken.as_ref().is_none_or(|broken| broken.bytes != bytes) {
                    let parsed = parse(&path.to_string_lossy(), &bytes, &self.namespace);
                    manifest.take(Content { bytes, parsed }, now);
                }
            }
        }
    }

    /// Puts the objects of all files together, and says which are defined twice.
    fn assemble(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut places = Places::default();
        let mut chosen: BTreeMap<ObjectKey, (Object, &Location)> = BTreeMap::new();
        let contents = self.files.values().filter_map(|manifest| manifest.good.as_ref());
        for Placed { object, location, fields } in contents.flat_map(|content| &content.parsed.objects) {
            let key = object.key();
            if let Some((_, first)) = chosen.get(&key) {
                findings.push(duplicate(object, first, location));
                continue;
            }
            let kept = self.in_force.get(&key).filter(|before| *before == object).unwrap_or(object);
            places.insert(kept.title(), location, fields);
            chosen.insert(key, (kept.clone(), location));
        }
        let objects: Objects = chosen.values().map(|(object, _)| object.clone()).collect();
        let in_force = chosen.into_iter().map(|(key, (object, _))| (key, object)).collect();
        self.in_force = in_force;
        if *self.places != places {
            self.places = Arc::new(places);
        }
        if *self.objects != objects {
            self.objects = Arc::new(objects);
        }
        findings
    }

    fn texts(&self) -> Texts {
        let name = |path: &Path| Some(path.strip_prefix(&self.directory).ok()?.to_str()?.to_owned());
        let text = |manifest: &Manifest| String::from_utf8(manifest.good.as_ref()?.bytes.clone()).ok();
        self.files.iter().filter_map(|(path, manifest)| Some((name(path)?, text(manifest)?))).collect()
    }

    fn directories_of(&self, listing: Listing) -> BTreeSet<PathBuf> {
        let real = |file: &PathBuf| std::fs::canonicalize(file).ok()?.parent().map(Path::to_owned);
        let is_link = |file: &&PathBuf| file.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let targets: BTreeSet<PathBuf> = listing.files.iter().filter(is_link).filter_map(real).collect();
        listing.directories.into_iter().chain(targets).collect()
    }
}

impl Manifest {
    fn take(&mut self, content: Content, now: Instant) {
        self.held = None;
        if !content.parsed.is_good() {
            self.broken = Some(content);
            return;
        }
        self.broken = None;
        match self.good.as_ref().and_then(|good| good.cut_off_in(&content)) {
            Some(cut) => self.held = Some(Held { content, cut, until: cut.patience().map(|span| now + span) }),
            None => self.good = Some(content),
        }
    }

    fn take_if_due(&mut self, now: Instant) {
        if let Some(held) = self.held.take_if(|held| held.until.is_some_and(|until| until <= now)) {
            self.good = Some(held.content);
        }
    }

    fn has_objects(&self) -> bool {
        self.good.as_ref().is_some_and(|good| !good.parsed.objects.is_empty())
    }

    /// What to say of this file: why it cannot be read, or else what its newest content has.
    fn findings(&self, path: &Path) -> Vec<Finding> {
        let consequence = match self.good {
            Some(_) => "what the file said when it was last good stays in force",
            None => "the file was never good, so none of its objects exist",
        };
        if let Some(Fault { why, fix }) = &self.unreadable {
            let file = path.display().to_string();
            let finding = Finding::new(
                Code::ManifestUnreadable,
                Severity::Error,
                file.as_str(),
                format!("the file cannot be read: {why}; {consequence}"),
            );
            return vec![finding.with_fix(*fix).at(Location { file, line: 1, column: 1 })];
        }
        if let Some(held) = &self.held {
            return vec![held.finding(path)];
        }
        let Some(content) = self.broken.as_ref().or(self.good.as_ref()) else { return Vec::new() };
        let mut findings = content.parsed.findings.clone();
        for finding in findings.iter_mut().filter(|finding| finding.severity == Severity::Error) {
            finding.message = format!("{}; {consequence}", finding.message);
        }
        findings
    }
}

impl Content {
    fn cut_off_in(&self, new: &Self) -> Option<Cut> {
        let text = |content: &Self| String::from_utf8_lossy(&content.bytes).into_owned();
        half::cut((&text(self), &self.parsed), (&text(new), &new.parsed))
    }
}

impl Held {
    fn finding(&self, path: &Path) -> Finding {
        let file = path.display().to_string();
        let text = String::from_utf8_lossy(&self.content.bytes);
        let line = u32::try_from(text.lines().count()).unwrap_or(u32::MAX).max(1);
        let (until, fix) = match self.cut.patience() {
            Some(span) => (
                format!("; if nothing comes for {} s, it counts as it is", span.as_secs()),
                "write the whole file; if this is the whole file, just wait",
            ),
            None => (String::new(), "write the whole file, or delete it to remove its objects"),
        };
        let message = format!(
            "the file ends here, {}, and went on before, as if it were half written; what it said before stays in force{until}",
            self.cut.place()
        );
        Finding::new(Code::ManifestUnreadable, Severity::Warning, file.as_str(), message).with_fix(fix).at(Location {
            file,
            line,
            column: 1,
        })
    }
}

fn duplicate(object: &Object, first: &Location, second: &Location) -> Finding {
    let message = format!("is defined at {first} and again at {second}; only the first counts");
    Finding::new(Code::DuplicateObject, Severity::Warning, object.title(), message)
        .with_fix(format!("delete one of the two: {first} or {second}"))
        .at(second.clone())
}

fn sort_key(finding: &Finding) -> (Option<(&Path, u32, u32)>, &Finding) {
    let place = finding.location.as_ref().map(|place| (Path::new(&place.file), place.line, place.column));
    (place, finding)
}
