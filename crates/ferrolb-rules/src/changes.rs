//! What becomes of every Service if other objects were in force: kept, new, changed, lost (`ferrolb plan`).
//!
//! Two [pictures](crate::picture) are compared, the present one and the one to come. An address that stays while nobody
//! announces it any more is a loss too: that is how an address is lost without anybody noticing.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;

use crate::annotations;
use crate::api::IPAddressPool;
use crate::names::ServiceKey;
use crate::picture::{Known, Picture};
use crate::reason::{Code, Finding};
use crate::service::{is_load_balancer, key_of};

#[cfg(test)]
mod tests;

/// What becomes of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It loses its address, or nobody announces it any more.
    Lose,
    /// It gets another address.
    Change,
    /// It has no address now, and will have none.
    Pending,
    /// It gets an address that it does not have now, or is announced at last.
    New,
    /// It goes, and its address becomes free.
    Gone,
    /// It keeps its address; announced by nobody, it is so before and after.
    Keep,
}

impl Verdict {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lose => "lose",
            Self::Change => "change",
            Self::Pending => "pending",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Keep => "keep",
        }
    }
}

/// One Service's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// `namespace/name`.
    pub service: String,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Its addresses now.
    pub from: Vec<IpAddr>,
    /// Its addresses then.
    pub to: Vec<IpAddr>,
    /// The pool that it will belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Why it is not served then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Finding>,
    /// It comes with the files.
    #[serde(skip)]
    comes: bool,
}

impl Change {
    /// Whether somebody should look before this is merged: an address is lost or changes, or a Service that comes will not
    /// be served. What is not served before and after is none of the files' doing.
    pub const fn is_bad(&self) -> bool {
        match self.verdict {
            Verdict::Lose | Verdict::Change => true,
            Verdict::Pending | Verdict::New => self.comes && self.reason.is_some(),
            Verdict::Gone | Verdict::Keep => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |addresses: &[IpAddr]| match addresses {
            [] => "no address".to_owned(),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        };
        write!(f, "{:<8} {}  ", self.verdict.word(), self.service)?;
        if self.from == self.to || self.verdict == Verdict::Gone {
            write!(f, "{}", list(&self.from))?;
        } else {
            write!(f, "{} -> {}", list(&self.from), list(&self.to))?;
        }
        match &self.pool {
            Some(pool) if !self.to.is_empty() => write!(f, "  ({pool})"),
            _ => Ok(()),
        }
    }
}

/// Compares what is with what would be; the worst first, then by name.
pub fn compare(now: &Picture, then: &Picture) -> Vec<Change> {
    let ours = |picture: &Picture| -> BTreeSet<ServiceKey> {
        let mine =
            picture.services.iter().filter(|(key, service)| is_ours(picture, key) && is_load_balancer(&***service));
        mine.map(|(key, _)| key.clone()).collect()
    };
    let (before, after) = (ours(now), ours(then));
    let mut changes: Vec<Change> =
        before.union(&after).map(|key| one(key, now, then, before.contains(key), after.contains(key))).collect();
    changes.sort_by(|a, b| (a.verdict, &a.service).cmp(&(b.verdict, &b.service)));
    changes
}

fn is_ours(picture: &Picture, key: &ServiceKey) -> bool {
    picture.plan.service(key).and_then(|plan| plan.code()) != Some(Code::OtherClass)
}

fn one(key: &ServiceKey, now: &Picture, then: &Picture, was: bool, will_be: bool) -> Change {
    let addresses = |picture: &Picture| picture.plan.service(key).map(|plan| plan.addresses.to_vec());
    let from = if was { addresses(now).unwrap_or_default() } else { Vec::new() };
    let to = if will_be { addresses(then).unwrap_or_default() } else { Vec::new() };
    let reason = if will_be { then.obstacle(key) } else { None };
    let served_now = was && !from.is_empty() && now.obstacle(key).is_none();
    let verdict = if !will_be {
        Verdict::Gone
    } else if !from.is_empty() && to.is_empty() || served_now && reason.is_some() {
        Verdict::Lose
    } else if to.is_empty() {
        Verdict::Pending
    } else if !from.is_empty() && from != to {
        Verdict::Change
    } else if served_now || !from.is_empty() && reason.is_some() {
        Verdict::Keep
    } else {
        Verdict::New
    };
    let pool = then.plan.service(key).and_then(|plan| plan.pool().map(str::to_owned));
    Change { service: key.to_string(), verdict, from, to, pool, reason, comes: !was }
}

/// The objects that are there once `files` have been applied to `present`. With `prune`, objects of metallb.io that
/// no file has go; Services stay, because files hardly ever have all of them.
///
/// A Service keeps its status and what only a cluster gives it.
pub fn apply(present: &Known, files: &Known, prune: bool) -> Known {
    let mut then = present.clone();
    let (to, from) = (&mut then.resources, &files.resources);
    overlay(&mut to.pools, &from.pools, prune, |one| one.metadata.name.clone(), aged);
    overlay(&mut to.l2_advertisements, &from.l2_advertisements, prune, |one| one.metadata.name.clone(), newest);
    overlay(&mut to.bgp_advertisements, &from.bgp_advertisements, prune, |one| one.metadata.name.clone(), newest);
    overlay(&mut to.bgp_peers, &from.bgp_peers, prune, |one| one.metadata.name.clone(), newest);
    overlay(&mut to.bfd_profiles, &from.bfd_profiles, prune, |one| one.metadata.name.clone(), newest);
    overlay(&mut to.communities, &from.communities, prune, |one| one.metadata.name.clone(), newest);
    overlay(&mut to.namespaces, &from.namespaces, false, |one| one.metadata.name.clone(), newest);
    overlay(&mut to.nodes, &from.nodes, false, |one| one.metadata.name.clone(), newest);
    overlay(&mut then.services, &files.services, false, |one| key_of(one), with_what_is);
    let slice = |one: &EndpointSlice| (one.metadata.namespace.clone(), one.metadata.name.clone());
    overlay(&mut then.endpoints, &files.endpoints, false, slice, newest);
    then
}

/// The Services of files that are not there yet.
pub fn to_come(present: &Known, files: &Known) -> BTreeSet<ServiceKey> {
    let keys = |known: &Known| -> BTreeSet<ServiceKey> { known.services.iter().map(|one| key_of(one)).collect() };
    &keys(files) - &keys(present)
}

fn newest<T>(new: &Arc<T>, _old: &T) -> Arc<T> {
    new.clone()
}

/// A pool keeps its age: of two that overlap, the older one wins.
fn aged(new: &Arc<IPAddressPool>, old: &IPAddressPool) -> Arc<IPAddressPool> {
    let mut new = (**new).clone();
    new.metadata.creation_timestamp = old.metadata.creation_timestamp.clone();
    Arc::new(new)
}

/// A Service keeps what files do not have: its status, its age, and what the cluster gave it.
fn with_what_is(new: &Arc<Service>, old: &Service) -> Arc<Service> {
    let mut new = (**new).clone();
    new.metadata.creation_timestamp = old.metadata.creation_timestamp.clone();
    new.status = old.status.clone();
    if let Some(recorded) = annotations::allocated_from(old) {
        let all = new.metadata.annotations.get_or_insert_default();
        all.insert(annotations::ALLOCATED_FROM.to_owned(), recorded.to_owned());
    }
    if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
        new.cluster_ip = old.cluster_ip.clone();
        new.cluster_ips = old.cluster_ips.clone();
        new.ip_families = new.ip_families.take().or_else(|| old.ip_families.clone());
        new.ip_family_policy = new.ip_family_policy.take().or_else(|| old.ip_family_policy.clone());
    }
    Arc::new(new)
}

fn overlay<T, K: Ord>(
    present: &mut Vec<Arc<T>>,
    files: &[Arc<T>],
    prune: bool,
    key: impl Fn(&T) -> K,
    merge: impl Fn(&Arc<T>, &T) -> Arc<T>,
) {
    let named: BTreeSet<K> = files.iter().map(|one| key(one)).collect();
    let old = std::mem::take(present);
    present.extend(files.iter().map(|new| match old.iter().find(|old| key(old) == key(new)) {
        Some(old) => merge(new, old),
        None => new.clone(),
    }));
    if !prune {
        present.extend(old.into_iter().filter(|old| !named.contains(&key(old))));
    }
}
