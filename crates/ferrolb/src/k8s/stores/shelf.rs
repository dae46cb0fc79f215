//! Objects of which only some matter, and of those only a part, by a key of the reader's own.
//!
//! A reflector's store keeps every object whole, under a reference that repeats its names, and a list replaces all of
//! them. A cluster has many more Services than load balancers, and lists anew whenever a watch was away for long: here
//! what does not matter is let go at the door, and what comes again unchanged stays the same `Arc`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use kube::runtime::watcher::Event;

/// What was kept, for readers.
#[derive(Debug)]
pub struct Shelf<I, V>(Arc<RwLock<BTreeMap<I, Arc<V>>>>);

impl<I, V> Default for Shelf<I, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<I: Ord + Clone, V> Shelf<I, V> {
    /// Everything kept, as it is now and as the reader wants it.
    pub fn all<T>(&self, each: impl Fn(&Arc<V>) -> T) -> BTreeMap<I, T> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(key, value)| (key.clone(), each(value))).collect()
    }

    /// Shows everything kept, in the order of keys.
    pub fn for_each(&self, mut each: impl FnMut(&Arc<V>)) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().for_each(&mut each);
    }

    /// Who fills it from a watch: `keep` says what is kept of an object, if anything.
    pub(super) fn filler<K, F: Fn(&K) -> Option<V>>(&self, key: fn(&K) -> I, keep: F) -> Filler<I, K, V, F> {
        Filler { shelf: Self(self.0.clone()), key, keep, listing: BTreeMap::new() }
    }
}

/// Keeps a [`Shelf`] up to date.
#[derive(Debug)]
pub(super) struct Filler<I, K, V, F> {
    shelf: Shelf<I, V>,
    key: fn(&K) -> I,
    keep: F,
    /// What a list has brought so far; until it is complete the shelf stays as it is.
    listing: BTreeMap<I, Arc<V>>,
}

impl<I: Ord + Clone, K, V: PartialEq, F: Fn(&K) -> Option<V>> Filler<I, K, V, F> {
    /// Takes in what a watch brought.
    pub(super) fn take_in(&mut self, event: &Event<K>) {
        let mut kept = self.shelf.0.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => self.listing = BTreeMap::new(),
            Event::InitApply(object) => {
                let key = (self.key)(object);
                if let Some(new) = (self.keep)(object) {
                    // With the old key too: readers share its text.
                    let (key, old) = match kept.get_key_value(&key) {
                        Some((key, old)) => (key.clone(), Some(old)),
                        None => (key, None),
                    };
                    self.listing.insert(key, same_or_new(old, new));
                }
            }
            Event::InitDone => *kept = std::mem::take(&mut self.listing),
            Event::Apply(object) => {
                let key = (self.key)(object);
                match (self.keep)(object) {
                    Some(new) => {
                        let value = same_or_new(kept.get(&key), new);
                        kept.insert(key, value);
                    }
                    None => {
                        kept.remove(&key);
                    }
                }
            }
            Event::Delete(object) => {
                kept.remove(&(self.key)(object));
            }
        }
    }
}

fn same_or_new<V: PartialEq>(old: Option<&Arc<V>>, new: V) -> Arc<V> {
    old.filter(|old| ***old == new).cloned().unwrap_or_else(|| Arc::new(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects are (key, value); those with value 0 do not matter.
    fn filled(events: &[Event<(u8, u8)>]) -> Shelf<u8, (u8, u8)> {
        let shelf = Shelf::default();
        take_in(&shelf, events);
        shelf
    }

    fn take_in(shelf: &Shelf<u8, (u8, u8)>, events: &[Event<(u8, u8)>]) {
        let mut filler = shelf.filler(|object: &(u8, u8)| object.0, |object| (object.1 > 0).then_some(*object));
        events.iter().for_each(|event| filler.take_in(event));
    }

    fn values(shelf: &Shelf<u8, (u8, u8)>) -> Vec<(u8, u8)> {
        shelf.all(|object| **object).into_values().collect()
    }

    #[test]
    fn what_does_not_matter_is_not_kept_and_let_go_when_it_ceases_to() {
        let shelf = filled(&[Event::Init, Event::InitApply((1, 1)), Event::InitApply((2, 0)), Event::InitDone]);
        assert_eq!(values(&shelf), [(1, 1)]);
        take_in(&shelf, &[Event::Apply((2, 7)), Event::Apply((1, 0))]);
        assert_eq!(values(&shelf), [(2, 7)]);
        take_in(&shelf, &[Event::Delete((2, 7))]);
        assert!(values(&shelf).is_empty());
    }

    #[test]
    fn a_list_changes_nothing_until_it_is_complete_and_then_everything() {
        let shelf = filled(&[Event::Apply((1, 1)), Event::Apply((2, 2)), Event::Init, Event::InitApply((3, 3))]);
        assert_eq!(values(&shelf), [(1, 1), (2, 2)]);
        let shelf = filled(&[Event::Apply((1, 1)), Event::Init, Event::InitApply((3, 3)), Event::InitDone]);
        assert_eq!(values(&shelf), [(3, 3)]);
        // A list that broke off is begun anew.
        let events = [Event::Init, Event::InitApply((1, 1)), Event::Init, Event::InitApply((2, 2)), Event::InitDone];
        assert_eq!(values(&filled(&events)), [(2, 2)]);
    }

    #[test]
    fn what_comes_again_unchanged_is_the_same_object() {
        let shelf = filled(&[Event::Apply((1, 1)), Event::Apply((2, 2))]);
        let before = shelf.all(Arc::clone);
        take_in(&shelf, &[Event::Init, Event::InitApply((1, 1)), Event::InitApply((2, 3)), Event::InitDone]);
        take_in(&shelf, &[Event::Apply((1, 1))]);
        let after = shelf.all(Arc::clone);
        assert!(Arc::ptr_eq(&before[&1], &after[&1]));
        assert_eq!(*after[&2], (2, 3));
    }
}
