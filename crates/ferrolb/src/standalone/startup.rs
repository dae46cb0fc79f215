//! What a host must have before it starts: its state directory, its socket, its secret. Each
//! that is missing ends the start with a finding that says which flag, why, and what to do; what is merely unwise is said
//! and used.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ferrolb_rules::reason::{Code, Finding, Severity};

use super::Settings;
use super::socket::StatusSocket;
use super::store::{Store, StoreError};
use crate::drive::membership;
use crate::drive::owners::Owners;

/// Shorter secrets can be guessed by trying, with what is overheard on the LAN to try against.
const SHORTEST_SECRET: usize = 16;
/// The right to read of those who are neither owner nor of the group, in a file's mode.
const READABLE_BY_OTHERS: u32 = 0o004;

/// The finding as the error that ends a start.
pub(super) fn refusal(finding: &Finding) -> anyhow::Error {
    anyhow::anyhow!("{finding}")
}

/// The state directory, for this process alone.
///
/// # Errors
/// It cannot be used, or another process has it.
pub(super) fn store(settings: &Settings) -> anyhow::Result<Store> {
    Store::open(&settings.state_dir).map_err(|error| unusable(&error))
}

/// The error of a program that does not start without its state.
pub(super) fn unusable(error: &StoreError) -> anyhow::Error {
    let code = if matches!(error, StoreError::InUse { .. }) { Code::StateInUse } else { Code::StateUnusable };
    refusal(&Finding::new(code, Severity::Error, "--state-dir", error.to_string()))
}

/// The socket for `ferrolb status`.
///
/// # Errors
/// It cannot be made.
pub(super) fn socket(settings: &Settings) -> anyhow::Result<StatusSocket> {
    let path = &settings.socket;
    StatusSocket::bind(path).map_err(|error| {
        let message = format!("{}: {error}", path.display());
        refusal(&Finding::new(Code::SocketUnusable, Severity::Error, "--socket", message))
    })
}

/// The shared secret, if there is to be one, and what is unwise about it.
///
/// # Errors
/// The file is missing, unreadable or empty.
pub(super) fn secret(settings: &Settings) -> anyhow::Result<(Option<Vec<u8>>, Vec<Finding>)> {
    let Some(path) = settings.secret_file.as_deref() else { return Ok((None, Vec::new())) };
    let secret = membership::read_secret(path).map_err(|error| unreadable(path, &error))?;
    let weak: Vec<Finding> = weaknesses(path, &secret);
    Ok((Some(secret), weak))
}

/// There is a newer secret: whoever claims by the old one takes it, and what is unwise about it is said instead.
pub(super) fn renewed(settings: &Settings, secret: &[u8], owners: &Owners, findings: &mut Vec<Finding>) {
    owners.rotate(secret);
    findings.retain(|finding| finding.code != Code::SecretWeak);
    findings.extend(settings.secret_file.as_deref().map(|path| weaknesses(path, secret)).unwrap_or_default());
}

fn unreadable(path: &Path, error: &io::Error) -> anyhow::Error {
    let message = format!("{}: {error}", path.display());
    refusal(&Finding::new(Code::SecretUnusable, Severity::Error, "--secret-file", message))
}

fn weaknesses(path: &Path, secret: &[u8]) -> Vec<Finding> {
    let warn = |message: String, fix: Option<String>| {
        let finding = Finding::new(Code::SecretWeak, Severity::Warning, "--secret-file", message);
        fix.map_or_else(|| finding.clone(), |fix| finding.clone().with_fix(fix))
    };
    let mut found = Vec::new();
    if secret.len() < SHORTEST_SECRET {
        let message = format!(
            "the secret in {} has {} bytes; below {SHORTEST_SECRET} it can be guessed",
            path.display(),
            secret.len()
        );
        found.push(warn(message, None));
    }
    let mode = fs::metadata(path).map(|found| found.permissions().mode()).unwrap_or_default();
    if mode & READABLE_BY_OTHERS != 0 {
        let (path, message) = (path.display(), "every user of this host may read the secret in");
        found.push(warn(format!("{message} {path}"), Some(format!("chmod o-rwx {path}"))));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_short_or_open_to_all_is_used_and_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "short\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let found = weaknesses(&path, b"short");
        assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::SecretWeak; 2]);
        assert!(found[0].message.contains("has 5 bytes"), "{}", found[0].message);
        assert!(found[1].fix.starts_with("chmod o-rwx "), "{}", found[1].fix);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(weaknesses(&path, &[b'x'; SHORTEST_SECRET]).is_empty());
    }
}
