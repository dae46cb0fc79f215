//! Which routers are told which prefixes of a Service, in little memory: a node has thousands of Services and a few routers,
//! and nearly always all of them are told the same. So sets of routers are shared between Services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

/// Routers, by the names of their peers.
pub type Routers = Arc<BTreeSet<String>>;

/// The prefixes that lead to a Service, in order, each with the routers that are told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leads(Box<[(IpNet, Routers)]>);

impl Leads {
    /// From the prefixes that each router is told.
    pub fn of(by_router: BTreeMap<String, BTreeSet<IpNet>>) -> Self {
        let mut by_prefix: BTreeMap<IpNet, BTreeSet<String>> = BTreeMap::new();
        for (router, prefixes) in by_router {
            for prefix in prefixes {
                by_prefix.entry(prefix).or_default().insert(router.clone());
            }
        }
        Self(by_prefix.into_iter().map(|(prefix, routers)| (prefix, Arc::new(routers))).collect())
    }

    /// Whether nobody is told anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each prefix with its routers.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Routers)> {
        self.0.iter().map(|(prefix, routers)| (prefix, routers))
    }

    /// Those of the prefixes that are wanted.
    #[must_use]
    pub fn filtered(&self, wanted: impl Fn(&IpNet) -> bool) -> Self {
        Self(self.0.iter().filter(|(prefix, _)| wanted(prefix)).cloned().collect())
    }

    /// The other way round: per router, the prefixes that it is told.
    pub fn by_router(&self) -> BTreeMap<&str, BTreeSet<IpNet>> {
        let mut by_router: BTreeMap<&str, BTreeSet<IpNet>> = BTreeMap::new();
        for (prefix, routers) in self.iter() {
            for router in &**routers {
                by_router.entry(router).or_default().insert(*prefix);
            }
        }
        by_router
    }

    /// The routers that have been told all that they are to be told of it; `has` says whether one has been told a prefix.
    pub fn told(&self, has: impl Fn(&str, &IpNet) -> bool) -> Routers {
        let Some((_, first)) = self.iter().next() else { return Routers::default() };
        let alike = self.iter().all(|(_, routers)| routers == first);
        if alike && first.iter().all(|router| self.iter().all(|(prefix, _)| has(router, prefix))) {
            return Arc::clone(first);
        }
        let mut told = self.by_router();
        told.retain(|router, prefixes| prefixes.iter().all(|prefix| has(router, prefix)));
        Arc::new(told.into_keys().map(str::to_owned).collect())
    }
}

/// Sets of routers that there are already.
#[derive(Debug, Default)]
pub(super) struct Shared<'a>(BTreeMap<BTreeSet<&'a str>, Routers>);

impl<'a> Shared<'a> {
    /// Puts a Service's prefixes together.
    pub(super) fn leads(&mut self, by_prefix: BTreeMap<IpNet, BTreeSet<&'a str>>) -> Leads {
        let lead = |(prefix, names): (IpNet, BTreeSet<&'a str>)| {
            let routers = self
                .0
                .entry(names)
                .or_insert_with_key(|names| Arc::new(names.iter().map(|name| (*name).to_owned()).collect()));
            (prefix, Arc::clone(routers))
        };
        Leads(by_prefix.into_iter().map(lead).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(parts: &[(&str, &[&str])]) -> Leads {
        let part = |(router, prefixes): &(&str, &[&str])| {
            ((*router).to_owned(), prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect())
        };
        Leads::of(parts.iter().map(part).collect())
    }

    #[test]
    fn who_was_told_everything_of_a_service_is_found() {
        let both = leads(&[("a", &["192.0.2.1/32"]), ("b", &["192.0.2.1/32"])]);
        assert_eq!(both.by_router().len(), 2);
        let all = both.told(|_, _| true);
        assert!(Arc::ptr_eq(&all, both.iter().next().unwrap().1), "one set for all");
        assert_eq!(*both.told(|router, _| router == "a"), BTreeSet::from(["a".to_owned()]));
        let apart = leads(&[("a", &["192.0.2.1/32", "fd00::1/128"]), ("b", &["fd00::1/128"])]);
        let v6 = |_: &str, prefix: &IpNet| prefix.addr().is_ipv6();
        assert_eq!(*apart.told(v6), BTreeSet::from(["b".to_owned()]), "one of two prefixes is not everything");
        assert!(Leads::default().told(|_, _| true).is_empty());
    }

    #[test]
    fn services_that_the_same_routers_are_told_of_share_their_set() {
        let mut shared = Shared::default();
        let mut one =
            |address: &str| shared.leads(BTreeMap::from([(address.parse().unwrap(), BTreeSet::from(["a", "b"]))]));
        let (first, second) = (one("192.0.2.1/32"), one("192.0.2.2/32"));
        assert!(Arc::ptr_eq(&first.0[0].1, &second.0[0].1));
    }
}
