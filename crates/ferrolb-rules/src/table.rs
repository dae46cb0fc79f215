//! Who got which address, as hosts without an API server tell one another (decision D14).
//!
//! The first live host by name allocates. It writes what it decided into a [`Table`]; every host stores the table and
//! passes it on, so that a successor adopts it before it allocates. No clock tells which of two tables is newer: each
//! author counts its own changes, every entry carries the count that made it, and an entry that one table lacks although
//! it knows of that change was replaced or deleted there. (This is the add-wins set with version vectors of the CRDT
//! literature, so any order of merging any tables ends in the same one.) After a network that was cut in two while both
//! sides allocated, a Service can have two entries; then the older one counts until the allocator records anew. What
//! no longer fits (one address, two Services) is for the allocator to sort out, as with any recorded address that is no
//! longer allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::names::{NodeName, ServiceKey};

#[cfg(test)]
mod tests;

/// Every assignment, and what is needed to tell which of two tables is newer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// How many changes each author has made.
    version: BTreeMap<NodeName, u64>,
    /// When each pool without a `creationTimestamp` was first seen, in seconds since 1970: which of two overlapping
    /// pools is the older one (decision D3). Never forgotten, so a pool that comes back keeps its age.
    #[serde(default)]
    first_seen: BTreeMap<String, i64>,
    /// The assignments; more than one for a Service only after a cut. The least, which is the oldest, counts.
    #[serde(with = "entries")]
    entries: BTreeMap<ServiceKey, BTreeSet<Entry>>,
}

/// What one Service got.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The number of changes by all authors that the table had seen when this entry was made: the smaller, the older.
    pub since: u64,
    /// Who made it.
    pub author: NodeName,
    /// Which of its author's changes made it.
    pub change: u64,
    /// The addresses, in the order of the Service's status; never empty.
    pub addresses: Vec<IpAddr>,
    /// The pool that they come from.
    pub pool: String,
}

/// JSON has no maps keyed by two strings: entries travel as a list.
mod entries {
    use super::{BTreeMap, BTreeSet, Deserialize, Entry, Serialize, ServiceKey};

    #[derive(Serialize, Deserialize)]
    struct Row {
        service: ServiceKey,
        #[serde(flatten)]
        entry: Entry,
    }

    pub(super) fn serialize<S: serde::Serializer>(
        entries: &BTreeMap<ServiceKey, BTreeSet<Entry>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let rows = entries.iter().flat_map(|(service, set)| set.iter().map(move |entry| (service, entry)));
        serializer.collect_seq(rows.map(|(service, entry)| Row { service: service.clone(), entry: entry.clone() }))
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ServiceKey, BTreeSet<Entry>>, D::Error> {
        let mut entries = BTreeMap::<ServiceKey, BTreeSet<Entry>>::new();
        for row in Vec::<Row>::deserialize(deserializer)? {
            if row.entry.addresses.is_empty() {
                return Err(serde::de::Error::custom(format!("{} has an entry without addresses", row.service)));
            }
            entries.entry(row.service).or_default().insert(row.entry);
        }
        Ok(entries)
    }
}

impl Table {
    /// What a Service got.
    pub fn entry(&self, service: &ServiceKey) -> Option<&Entry> {
        self.entries.get(service).and_then(BTreeSet::first)
    }

    /// Every assignment that counts, in order of Service.
    pub fn entries(&self) -> impl Iterator<Item = (&ServiceKey, &Entry)> {
        self.entries.iter().filter_map(|(service, set)| Some((service, set.first()?)))
    }

    /// When a pool was first seen, in seconds since 1970.
    pub fn first_seen(&self, pool: &str) -> Option<i64> {
        self.first_seen.get(pool).copied()
    }

    /// Whether nobody has ever written to it.
    pub fn is_blank(&self) -> bool {
        self.version.is_empty()
    }

    /// The number of changes made by all authors together.
    pub fn changes(&self) -> u64 {
        self.version.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Replaces the assignments by what `author` has just decided, and notes the age of pools not seen before. Entries
    /// that stay the same keep their age. Returns whether anything changed; if not, the version stays too, so that
    /// nothing is told twice.
    pub fn record(
        &mut self,
        author: &NodeName,
        assignments: &BTreeMap<ServiceKey, (Vec<IpAddr>, String)>,
        first_seen: &BTreeMap<String, i64>,
    ) -> bool {
        let since = self.changes().saturating_add(1);
        let change = self.version.get(author).copied().unwrap_or_default().saturating_add(1);
        let mut entries = BTreeMap::new();
        for (service, (addresses, pool)) in assignments {
            let set = match (self.entries.get(service), self.entry(service)) {
                (Some(set), Some(old)) if set.len() == 1 && old.addresses == *addresses && old.pool == *pool => {
                    set.clone()
                }
                (_, old) => {
                    let since = old.filter(|old| old.addresses == *addresses).map_or(since, |old| old.since);
                    let (author, addresses, pool) = (author.clone(), addresses.clone(), pool.clone());
                    BTreeSet::from([Entry { since, author, change, addresses, pool }])
                }
            };
            entries.insert(service.clone(), set);
        }
        let new_pools = first_seen.keys().any(|pool| !self.first_seen.contains_key(pool));
        if entries == self.entries && !new_pools {
            return false;
        }
        for (pool, seconds) in first_seen {
            self.first_seen.entry(pool.clone()).or_insert(*seconds);
        }
        self.entries = entries;
        self.version.insert(author.clone(), change);
        true
    }

    /// Takes over whatever another host's table knows better. Returns whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        let services: BTreeSet<ServiceKey> = self.entries.keys().chain(other.entries.keys()).cloned().collect();
        let mut entries = BTreeMap::new();
        for service in services {
            let (ours, theirs) = (self.set(&service), other.set(&service));
            let kept: BTreeSet<Entry> = ours
                .iter()
                .filter(|entry| theirs.contains(entry) || !other.knows(entry))
                .chain(theirs.iter().filter(|entry| ours.contains(entry) || !self.knows(entry)))
                .cloned()
                .collect();
            if !kept.is_empty() {
                entries.insert(service, kept);
            }
        }
        self.entries = entries;
        for (author, count) in &other.version {
            let own = self.version.entry(author.clone()).or_default();
            *own = (*own).max(*count);
        }
        for (pool, theirs) in &other.first_seen {
            let ours = self.first_seen.entry(pool.clone()).or_insert(*theirs);
            *ours = (*ours).min(*theirs);
        }
        *self != before
    }

    fn set(&self, service: &ServiceKey) -> &BTreeSet<Entry> {
        static NONE: BTreeSet<Entry> = BTreeSet::new();
        self.entries.get(service).unwrap_or(&NONE)
    }

    /// Whether the change that made the entry is part of this table's history.
    fn knows(&self, entry: &Entry) -> bool {
        self.version.get(&entry.author).is_some_and(|count| *count >= entry.change)
    }
}
