//! Which files a directory has, and their bytes. Nothing here blocks on a pipe, follows a link for ever, or reads
//! more than a manifest can sensibly hold.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ferrolb_rules::reason::{Code, Finding, Severity};

/// A larger file is no manifest.
pub(super) const MAX_BYTES: u64 = 8 << 20;
/// Directories within directories.
const MAX_DEPTH: usize = 16;
/// Files and directories, altogether.
const MAX_ENTRIES: usize = 10_000;
/// What manifests are called.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What a walk over the directory found.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Manifests, in order of path.
    pub(super) files: BTreeSet<PathBuf>,
    /// Directories that were read, to be watched.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Places that could not be looked into: what was known of them stays.
    pub(super) blind: Vec<PathBuf>,
    /// Why.
    pub(super) findings: Vec<Finding>,
    entries: usize,
}

impl Listing {
    /// Whether a file that was not found may be there all the same.
    pub(super) fn may_have(&self, file: &Path) -> bool {
        self.blind.iter().any(|place| file.starts_with(place))
    }

    fn give_up(&mut self, place: &Path, message: String, fix: &str) {
        let finding = Finding::new(Code::ManifestUnreadable, Severity::Error, place.display().to_string(), message);
        self.findings.push(if fix.is_empty() { finding } else { finding.with_fix(fix) });
        self.blind.push(place.to_owned());
    }
}

/// Finds every manifest below `root`, links followed, hidden names left out.
pub(super) fn list(root: &Path) -> Listing {
    let mut listing = Listing::default();
    match fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => descend(root, &metadata, &mut Vec::new(), &mut listing),
        Ok(_) => listing.give_up(
            root,
            "the place for manifests is not a directory; what was read before stays in force".to_owned(),
            "give --manifests the directory that the manifests are in",
        ),
        Err(error) => listing.give_up(
            root,
            format!("the directory of manifests cannot be read: {error}; what was read before stays in force"),
            "create the directory and make it readable, or correct --manifests",
        ),
    }
    listing
}

fn descend(directory: &Path, metadata: &Metadata, above: &mut Vec<(u64, u64)>, listing: &mut Listing) {
    let identity = (metadata.dev(), metadata.ino());
    if above.contains(&identity) {
        let message = "the link leads in a circle, back to a directory that it lies in".to_owned();
        return listing.give_up(directory, message, "remove the link");
    }
    if above.len() >= MAX_DEPTH {
        let message = format!("more than {MAX_DEPTH} directories within one another; what is below is not read");
        return listing.give_up(directory, message, "move the manifests further up");
    }
    let names = match names(directory) {
        Ok(names) => names,
        Err(error) => {
            let message = format!("the directory cannot be read: {error}; what was read from it stays in force");
            return listing.give_up(directory, message, "make the directory readable: `chmod a+rx DIR`");
        }
    };
    listing.directories.insert(directory.to_owned());
    above.push(identity);
    for name in names {
        if listing.entries >= MAX_ENTRIES {
            if listing.entries == MAX_ENTRIES {
                listing.entries += 1;
                let message = format!("more than {MAX_ENTRIES} files and directories; the rest is not read");
                listing.give_up(directory, message, "keep only manifests in the directory");
            } else {
                listing.blind.push(directory.to_owned());
            }
            break;
        }
        listing.entries += 1;
        let path = directory.join(&name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => descend(&path, &metadata, above, listing),
            // What is wrong with a file is said when it is read.
            Ok(_) | Err(_) if is_manifest(&path) => {
                listing.files.insert(path);
            }
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                listing.give_up(&path, "the link leads in a circle".to_owned(), "remove the link");
            }
            // It may be a link to a directory that is away for a moment.
            Err(_) => listing.blind.push(path),
            Ok(_) => {}
        }
    }
    above.pop();
}

fn names(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)?.take(4 * MAX_ENTRIES) {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|it| EXTENSIONS.contains(&it))
}

/// What to do about a link that leads to no file.
const BROKEN_LINK: &str = "let the link lead to the manifest, or remove it";

/// A file's bytes, or why they cannot be had.
pub(super) enum Bytes {
    Read(Vec<u8>),
    /// The file went away since it was listed.
    Gone,
    Unreadable(Fault),
}

/// Why a file cannot be read, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) why: String,
    pub(super) fix: &'static str,
}

impl Fault {
    pub(super) fn new(why: impl Into<String>, fix: &'static str) -> Self {
        Self { why: why.into(), fix }
    }

    fn of(error: &io::Error) -> Self {
        let fix = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "make the file readable for the user that runs ferrolb: `chmod a+r FILE`"
            }
            io::ErrorKind::Other => "keep only plain files of manifests in the directory; move this one elsewhere",
            io::ErrorKind::FileTooLarge => "split the file, or move it elsewhere if it is no manifest",
            _ => "see that `cat FILE` works for the user that runs ferrolb",
        };
        Self::new(error.to_string(), fix)
    }
}

/// Reads a file, if it is a plain one of sensible size.
pub(super) fn bytes(path: &Path) -> Bytes {
    match plain(path).and_then(|file| fill(&file)) {
        Ok(bytes) => Bytes::Read(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                Bytes::Unreadable(Fault::new("the link leads nowhere", BROKEN_LINK))
            } else {
                Bytes::Gone
            }
        }
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            Bytes::Unreadable(Fault::new("the link leads in a circle", BROKEN_LINK))
        }
        Err(error) => Bytes::Unreadable(Fault::of(&error)),
    }
}

fn plain(path: &Path) -> io::Result<File> {
    // Opening a device can do things, so the name is asked first and the open file again.
    check(&fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

fn check(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else if metadata.len() > MAX_BYTES {
        return Err(too_large());
    } else if kind.is_file() {
        return Ok(());
    } else {
        "something else"
    };
    Err(io::Error::other(format!("it is {what} and not a file")))
}

fn fill(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES { Err(too_large()) } else { Ok(bytes) }
}

fn too_large() -> io::Error {
    let why = format!("it is larger than {} MiB, more than a manifest can be", MAX_BYTES >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, why)
}
