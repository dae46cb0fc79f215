//! Claims on disk, so that who restarts knows what was whose (`docs/l2-failover.md`, rule 7).
//!
//! Written by a task, whole, at most once a second: the disk must not hold up an answer. A file that cannot be read
//! counts as none: then the others are asked, as at a first start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::segment::{Claim, NodeId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Claims, Ownership};
use crate::durable;

/// The file in a state directory.
const FILE: &str = "claims.json";
/// The version of its content.
const VERSION: u32 = 1;
/// Between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Saved {
    version: u32,
    interfaces: BTreeMap<String, BTreeMap<IpAddr, SavedClaim>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SavedClaim {
    /// See [`NodeId`].
    owner: u64,
    mac: MacAddr,
    epoch: u32,
    firm: bool,
}

/// What was saved in this directory; nothing where nothing was.
///
/// # Errors
/// The file is there and cannot be read.
pub fn load(directory: &Path) -> io::Result<Claims> {
    let text = match fs::read(directory.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claims::new()),
        result => result?,
    };
    let saved: Saved = serde_json::from_slice(&text)?;
    if saved.version != VERSION {
        return Ok(Claims::new());
    }
    let claim = |one: SavedClaim| Claim { owner: NodeId(one.owner), mac: one.mac, epoch: one.epoch, firm: one.firm };
    let claims =
        |of: BTreeMap<IpAddr, SavedClaim>| of.into_iter().map(|(address, one)| (address, claim(one))).collect();
    Ok(saved.interfaces.into_iter().map(|(name, of)| (name, claims(of))).collect())
}

/// Saves claims from now on, until nobody changes them any more.
pub async fn keep(directory: PathBuf, mut ownership: watch::Receiver<Arc<Ownership>>) {
    let mut failing = false;
    let mut last = None;
    while ownership.changed().await.is_ok() {
        let now = ownership.borrow_and_update().clone();
        // What has not been learned yet would overwrite what was known before.
        if !now.learned || last.as_ref() == Some(&now.claims) {
            continue;
        }
        let path = directory.join(FILE);
        let saved = emit(&now.claims);
        let written = tokio::task::spawn_blocking(move || durable::replace(&path, &saved, durable::Readers::All));
        match written.await {
            Ok(Ok(())) => {
                failing = false;
                last = Some(now.claims.clone());
            }
            Ok(Err(error)) if !failing => {
                failing = true;
                tracing::warn!(event = "save", %error, "claims cannot be saved: after a restart of all hosts at once addresses may move");
            }
            _ => {}
        }
        tokio::time::sleep(WRITE_INTERVAL).await;
    }
}

fn emit(claims: &Claims) -> Vec<u8> {
    let claim = |one: &Claim| SavedClaim { owner: one.owner.0, mac: one.mac, epoch: one.epoch, firm: one.firm };
    let saved = |of: &BTreeMap<IpAddr, Claim>| of.iter().map(|(address, one)| (*address, claim(one))).collect();
    let interfaces = claims.iter().map(|(name, of)| (name.clone(), saved(of))).collect();
    // It fails only for types that JSON cannot write, and these are none of them.
    serde_json::to_vec(&Saved { version: VERSION, interfaces }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_back_and_damage_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()).unwrap(), Claims::new());
        let claim = Claim { owner: NodeId::of("a"), mac: MacAddr([2, 0, 0, 0, 0, 1]), epoch: 7, firm: true };
        let claims = Claims::from([("eth0".to_owned(), BTreeMap::from([("10.0.0.1".parse().unwrap(), claim)]))]);
        fs::write(directory.path().join(FILE), emit(&claims)).unwrap();
        assert_eq!(load(directory.path()).unwrap(), claims);
        fs::write(directory.path().join(FILE), b"{\"version\":1").unwrap();
        assert!(load(directory.path()).is_err());
        fs::write(directory.path().join(FILE), b"{\"version\":2,\"interfaces\":{}}").unwrap();
        assert_eq!(load(directory.path()).unwrap(), Claims::new(), "of another version");
    }
}
