//! What a router has been told, what it is to be told, and the UPDATEs between the two.
//!
//! The difference is computed whole whenever the desired routes change, so a withdrawal replaces an announcement that has
//! not left yet, and the other way round; bytes are made only when the connection has room. A router that takes nothing
//! costs memory for the difference, never for messages.
//!
//! # Order
//!
//! 1. Withdrawals. Each is a promise that cannot be kept any more: until it is out, traffic goes where nobody answers.
//! 2. Announcements, those with the same attributes together.
//! 3. Withdrawals of prefixes that overlap an announced one (an aggregate that is replaced by what it covered, or the
//!    other way round): there, withdrawing first would leave addresses without any route for a while.
//!
//! After a family's announcements comes its End-of-RIB (RFC 4724), or the end of the refresh it belongs to (RFC 7313).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ipnet::IpNet;

use super::wire::update::{Class, attributes, put_announcement, put_end_of_rib, put_withdrawal};
use super::wire::{Refresh, put_refresh};
use super::{Attributes, Families, Family, Routes};

#[cfg(test)]
mod tests;

/// How far a refresh is that the router asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refreshing {
    /// Its beginning has not been said yet.
    Asked,
    /// Its end has not been said yet.
    Begun,
}

/// What prefixes of one UPDATE have in common.
type Alike = (Family, Arc<Attributes>);

/// What one UPDATE, or a marker, made of the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// Prefixes announced.
    pub announced: usize,
    /// Prefixes withdrawn.
    pub withdrawn: usize,
    /// Prefixes that cannot be announced, because their attributes fill a message.
    pub too_large: usize,
    /// It was a ROUTE-REFRESH.
    pub refresh: bool,
}

/// The routes of one session.
#[derive(Clone, Debug, Default)]
pub struct AdjOut {
    /// What the router knows; `None` where it has to be told again.
    sent: BTreeMap<IpNet, Option<Arc<Attributes>>>,
    early: BTreeSet<IpNet>,
    announce: BTreeMap<Alike, VecDeque<IpNet>>,
    late: BTreeSet<IpNet>,
    end_of_rib: Families,
    refreshing: BTreeMap<Family, Refreshing>,
    /// The attributes in hand, encoded.
    block: Option<(Arc<Attributes>, Vec<u8>)>,
    too_large: BTreeSet<IpNet>,
}

impl AdjOut {
    /// A new session: the router knows nothing. `end_of_rib` names the families whose first full set gets its marker.
    pub fn start(end_of_rib: Families) -> Self {
        Self { end_of_rib, ..Self::default() }
    }

    /// Computes what is left to be told. Routes of other families than these are left out.
    pub fn plan(&mut self, desired: &Routes, families: Families) {
        self.announce.clear();
        self.too_large.retain(|prefix| desired.contains_key(prefix));
        let carried = desired.iter().filter(|(prefix, _)| families.contains(Family::of(prefix)));
        // Neighbours mostly have the same attributes, and to compare these takes longer than all the rest.
        let mut run: Option<(Alike, VecDeque<IpNet>)> = None;
        for (prefix, attributes) in
            carried.filter(|(prefix, attributes)| !Self::sent_as(&self.sent, prefix, attributes))
        {
            match &mut run {
                Some(((family, set), run)) if *family == Family::of(prefix) && Arc::ptr_eq(set, attributes) => {
                    run.push_back(*prefix);
                }
                _ => {
                    put_run(&mut self.announce, run.take());
                    run = Some(((Family::of(prefix), Arc::clone(attributes)), VecDeque::from([*prefix])));
                }
            }
        }
        put_run(&mut self.announce, run);
        self.plan_withdrawals(desired, families);
        self.block = None;
    }

    fn plan_withdrawals(&mut self, desired: &Routes, families: Families) {
        let gone = |prefix: &&IpNet| !desired.contains_key(*prefix) || !families.contains(Family::of(prefix));
        let gone: Vec<IpNet> = self.sent.keys().filter(gone).copied().collect();
        if gone.is_empty() {
            (self.late, self.early) = (BTreeSet::new(), BTreeSet::new());
            return;
        }
        let announced: BTreeSet<IpNet> = self.announce.values().flatten().copied().collect();
        (self.late, self.early) = gone.into_iter().partition(|prefix| overlaps(&announced, prefix));
    }

    fn sent_as(sent: &BTreeMap<IpNet, Option<Arc<Attributes>>>, prefix: &IpNet, attributes: &Arc<Attributes>) -> bool {
        let same = |sent: &Arc<Attributes>| Arc::ptr_eq(sent, attributes) || sent == attributes;
        sent.get(prefix).is_some_and(|sent| sent.as_ref().is_some_and(same))
    }

    /// The router wants everything of a family again; to be followed by [`Self::plan`]. `enhanced`: between two marks.
    pub fn refresh(&mut self, family: Family, enhanced: bool) {
        for (_, told) in self.sent.iter_mut().filter(|(prefix, _)| Family::of(prefix) == family) {
            *told = None;
        }
        if enhanced {
            self.refreshing.entry(family).or_insert(Refreshing::Asked);
        }
    }

    /// Nothing is left to be told.
    pub fn is_idle(&self) -> bool {
        self.left() == 0 && self.end_of_rib == Families::NONE && self.refreshing.is_empty()
    }

    /// How many prefixes are left to be told.
    pub fn left(&self) -> usize {
        self.early.len() + self.late.len() + self.announce.values().map(VecDeque::len).sum::<usize>()
    }

    /// The router has been told nothing, and there is nothing to tell.
    pub fn is_untouched(&self) -> bool {
        self.sent.is_empty() && self.left() == 0
    }

    /// How many prefixes of a family the router has been told.
    pub fn told(&self, family: Family) -> usize {
        self.sent.keys().filter(|prefix| Family::of(prefix) == family).count()
    }

    /// Whether the router has been told of a prefix, with any attributes.
    pub fn has_told(&self, prefix: &IpNet) -> bool {
        self.sent.contains_key(prefix)
    }

    /// Prefixes left out because their attributes leave no room for them in a message.
    pub const fn too_large(&self) -> &BTreeSet<IpNet> {
        &self.too_large
    }

    /// Appends the next message, of at most `class.max_len` bytes, and takes what is in it as told. `None` when nothing
    /// is left. After a change of the class comes [`Self::plan`].
    pub fn put_next(&mut self, out: &mut Vec<u8>, class: &Class) -> Option<Put> {
        if let Some(withdrawn) = put_withdrawals(&mut self.early, &mut self.sent, out, class.max_len) {
            return Some(Put { withdrawn, ..Put::default() });
        }
        for family in Family::ALL {
            if self.begin_refresh(out, family) || self.end_family(out, family) {
                return Some(Put { refresh: true, ..Put::default() });
            }
            if !self.has_announcements(family) && self.end_of_rib.contains(family) {
                self.end_of_rib = without(self.end_of_rib, family);
                put_end_of_rib(out, family);
                return Some(Put::default());
            }
            if self.has_announcements(family) {
                return Some(self.put_announcements(out, class));
            }
        }
        let withdrawn = put_withdrawals(&mut self.late, &mut self.sent, out, class.max_len)?;
        Some(Put { withdrawn, ..Put::default() })
    }

    fn has_announcements(&self, family: Family) -> bool {
        self.announce.first_key_value().is_some_and(|((first, _), _)| *first == family)
    }

    fn begin_refresh(&mut self, out: &mut Vec<u8>, family: Family) -> bool {
        let Some(phase @ Refreshing::Asked) = self.refreshing.get_mut(&family) else { return false };
        *phase = Refreshing::Begun;
        put_refresh(out, family, Refresh::Begin);
        true
    }

    fn end_family(&mut self, out: &mut Vec<u8>, family: Family) -> bool {
        let over = !self.has_announcements(family) && self.refreshing.remove(&family).is_some();
        if over {
            put_refresh(out, family, Refresh::End);
        }
        over
    }

    /// One message out of the first bucket.
    fn put_announcements(&mut self, out: &mut Vec<u8>, class: &Class) -> Put {
        let Some(mut bucket) = self.announce.first_entry() else { return Put::default() };
        let (family, set) = bucket.key();
        let (family, set) = (*family, Arc::clone(set));
        let mut packed = Vec::new();
        if let Some(next_hop) = class.next_hop(family) {
            let known = self.block.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &set));
            if !known {
                self.block = Some((Arc::clone(&set), attributes(&set, class, next_hop)));
            }
            let block = self.block.as_ref().map(|(_, block)| block.as_slice()).unwrap_or_default();
            let mut prefixes = bucket.get().iter().copied().peekable();
            packed = put_announcement(out, block, next_hop, &mut prefixes, class.max_len);
        }
        for prefix in &packed {
            self.too_large.remove(prefix);
            self.sent.insert(*prefix, Some(Arc::clone(&set)));
        }
        bucket.get_mut().drain(..packed.len());
        if packed.is_empty() {
            return self.leave_out();
        }
        if bucket.get().is_empty() {
            bucket.remove();
            self.block = None;
        }
        Put { announced: packed.len(), ..Put::default() }
    }

    /// The first bucket's attributes leave no room for a prefix: what the router knew of these prefixes is withdrawn, or
    /// it would go on believing what is not so any more.
    fn leave_out(&mut self) -> Put {
        let (_, prefixes) =
            self.announce.pop_first().unwrap_or_else(|| ((Family::V4, Arc::default()), VecDeque::new()));
        self.block = None;
        let too_large = prefixes.len();
        for prefix in prefixes {
            if self.sent.contains_key(&prefix) {
                self.early.insert(prefix);
            }
            self.too_large.insert(prefix);
        }
        Put { too_large, ..Put::default() }
    }
}

/// Puts prefixes with the same attributes to those that there are already.
fn put_run(announce: &mut BTreeMap<Alike, VecDeque<IpNet>>, run: Option<(Alike, VecDeque<IpNet>)>) {
    if let Some((key, prefixes)) = run {
        announce.entry(key).or_default().extend(prefixes);
    }
}

const fn without(families: Families, family: Family) -> Families {
    match family {
        Family::V4 => Families { v4: false, ..families },
        Family::V6 => Families { v6: false, ..families },
    }
}

/// One message of withdrawals of one family. A set holds IPv4 before IPv6, so its beginning is of one family.
fn put_withdrawals(
    waiting: &mut BTreeSet<IpNet>,
    sent: &mut BTreeMap<IpNet, Option<Arc<Attributes>>>,
    out: &mut Vec<u8>,
    max_len: usize,
) -> Option<usize> {
    let family = waiting.first().map(Family::of)?;
    let mut prefixes = waiting.iter().copied().take_while(|prefix| Family::of(prefix) == family).peekable();
    let packed = put_withdrawal(out, &mut prefixes, max_len);
    for prefix in &packed {
        waiting.remove(prefix);
        sent.remove(prefix);
    }
    Some(packed.len())
}

/// Whether a prefix covers one of the set or is covered by one.
fn overlaps(set: &BTreeSet<IpNet>, prefix: &IpNet) -> bool {
    // Sorted by address, then by length: what a prefix covers comes right behind it.
    let covers = set.range(prefix..).next().is_some_and(|next| prefix.contains(next));
    let mut wider = prefix.supernet();
    while let Some(above) = wider {
        if covers || set.contains(&above) {
            return true;
        }
        wider = above.supernet();
    }
    covers
}
