//! Which addresses a Service gets (spec §4.3–§4.9).
//!
//! The allocator is the only thing here with a memory, and that is rebuilt from recorded addresses at every start. It
//! keeps three things in step: the free numbers of each pool ([`space`]), who uses each address with which sharing key
//! and ports, and what each Service has. Finding the lowest free address costs O(log n) in the number of holes.
//!
//! Rules that users rely on: lowest address first, IPv4 first, one pool for a Service, an address stays while a pool
//! has it. Left out on purpose: anything that looks at the Service object itself; that is [`crate::service`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Config;
use crate::names::ServiceKey;
use crate::range::Family;

mod pool;
mod refusal;
mod space;
#[cfg(test)]
mod tests;

use pool::{PoolState, Reserve};
pub use refusal::{Refusal, quoted};

/// A port on an address: protocol name and number.
pub type Port = (Cow<'static, str>, i32);

/// What the allocator must know of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub key: ServiceKey,
    /// Its labels, for pools that select Services.
    pub labels: BTreeMap<String, String>,
    /// The value of `metallb.io/allow-shared-ip`; empty: shares with nobody.
    pub sharing_key: String,
    /// The selector where `externalTrafficPolicy` is Local, else empty (spec §4.6).
    pub backend_key: String,
    /// The Service's ports, sorted, none of them twice.
    pub ports: Vec<Port>,
}

impl Request {
    /// The keys that decide with whom it may share.
    pub fn sharing(&self) -> (String, String) {
        (self.sharing_key.clone(), self.backend_key.clone())
    }

    /// Whether it may share an address with a user of these keys.
    fn shares_with(&self, sharing_key: &str, backend_key: &str) -> bool {
        !self.sharing_key.is_empty() && self.sharing_key == sharing_key && self.backend_key == backend_key
    }
}

/// Which families a Service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// One address of this family.
    One(Family),
    /// One of each, from one pool, or nothing.
    Both,
    /// One of each if a pool has both, else one, of the primary family if it can be had.
    Prefer {
        /// The family of `spec.ipFamilies[0]`.
        primary: Family,
    },
}

/// What a Service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The pool.
    pub pool: String,
    /// The addresses in the order of the Service's status.
    pub addresses: Vec<IpAddr>,
}

/// A pool's counts, saturating at 2^63−1 (spec §4.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// IPv4 addresses that the pool has.
    pub total_v4: i64,
    /// Distinct IPv4 addresses in use.
    pub assigned_v4: i64,
    /// IPv4 addresses that can still be handed out from here; those that an older pool holds are not.
    pub available_v4: i64,
    /// IPv6 addresses that the pool has.
    pub total_v6: i64,
    /// Distinct IPv6 addresses in use.
    pub assigned_v6: i64,
    /// IPv6 addresses that can still be handed out from here.
    pub available_v6: i64,
}

#[derive(Clone, Debug)]
struct Allocation {
    request: Request,
    assigned: Assigned,
}

/// One address and its users, who all have the same keys. Nearly always that is one user of a few ports, ten thousand
/// times over: so they are sorted lists of just their size, not trees.
#[derive(Clone, Debug, Default)]
struct Use {
    sharing_key: String,
    backend_key: String,
    users: Vec<ServiceKey>,
    ports: Vec<(Port, ServiceKey)>,
}

impl Use {
    fn add(&mut self, request: &Request) {
        if let Err(place) = self.users.binary_search(&request.key) {
            self.users.reserve_exact(1);
            self.users.insert(place, request.key.clone());
        }
        self.ports.reserve_exact(request.ports.len());
        for port in &request.ports {
            match self.ports.binary_search_by(|(other, _)| other.cmp(port)) {
                Ok(place) => self.ports[place].1 = request.key.clone(),
                Err(place) => self.ports.insert(place, (port.clone(), request.key.clone())),
            }
        }
    }

    fn remove(&mut self, service: &ServiceKey) {
        self.users.retain(|user| user != service);
        self.ports.retain(|(_, user)| user != service);
    }

    fn user_of(&self, port: &Port) -> Option<&ServiceKey> {
        let place = self.ports.binary_search_by(|(other, _)| other.cmp(port)).ok()?;
        self.ports.get(place).map(|(_, user)| user)
    }
}

/// Shared addresses by (pool, sharing key, backend key), in the order of (range, address).
type SharedIndex = BTreeMap<(String, String, String), BTreeSet<(usize, IpAddr)>>;

/// Hands out addresses and remembers to whom.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    pools: BTreeMap<String, PoolState>,
    /// Pools with a `serviceAllocation`, best priority first, then by name.
    pinned: Vec<Arc<str>>,
    /// The others that serve without being asked, by name.
    automatic: Vec<Arc<str>>,
    allocations: BTreeMap<ServiceKey, Box<Allocation>>,
    uses: HashMap<IpAddr, Use>,
    shared: SharedIndex,
}

impl Allocator {
    /// No pools, nothing assigned.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a new set of pools. Assigned addresses stay while one pool has all of a Service's; the others are
    /// released, and their Services returned (spec §4.7).
    pub fn set_pools(&mut self, config: &Config) -> Vec<ServiceKey> {
        self.pools = config.pools.iter().map(|(name, pool)| (name.clone(), PoolState::new(pool.clone()))).collect();
        let automatic = |pool: &PoolState| pool.config.auto_assign;
        let mut pinned: Vec<(bool, i64, Arc<str>)> = Vec::new();
        self.automatic.clear();
        for (name, pool) in self.pools.iter().filter(|(_, pool)| automatic(pool)) {
            match &pool.config.service_allocation {
                // Smaller positive numbers first, then everything that has none.
                Some(allocation) => pinned.push((allocation.priority <= 0, allocation.priority, name.as_str().into())),
                None => self.automatic.push(name.as_str().into()),
            }
        }
        pinned.sort();
        self.pinned = pinned.into_iter().map(|(_, _, name)| name).collect();
        self.uses.clear();
        self.shared.clear();
        let mut released = Vec::new();
        for (key, allocation) in std::mem::take(&mut self.allocations) {
            let pool = self.home(&allocation.assigned.addresses, &[Some(&allocation.assigned.pool)], None);
            match pool {
                Some(pool) => self.record(allocation.request, Assigned { pool, ..allocation.assigned }),
                None => released.push(key),
            }
        }
        released
    }

    /// What a Service has.
    pub fn allocation(&self, service: &ServiceKey) -> Option<&Assigned> {
        self.allocations.get(service).map(|allocation| &allocation.assigned)
    }

    /// What every Service has.
    pub fn allocations(&self) -> impl Iterator<Item = (&ServiceKey, &Assigned)> {
        self.allocations.iter().map(|(key, allocation)| (key, &allocation.assigned))
    }

    /// What the Service was when it got its addresses, without its labels: they are large, and read only then.
    pub fn request(&self, service: &ServiceKey) -> Option<&Request> {
        self.allocations.get(service).map(|allocation| &allocation.request)
    }

    /// Who uses an address.
    pub fn users(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.uses.get(&address).into_iter().flat_map(|usage| usage.users.iter())
    }

    /// A pool's counts; `None` for a pool that does not exist.
    pub fn counters(&self, pool: &str) -> Option<Counters> {
        self.pools.get(pool).map(PoolState::counters)
    }

    /// Whether there is any pool.
    pub fn has_pools(&self) -> bool {
        !self.pools.is_empty()
    }

    /// Keeps addresses from everybody else for a Service of which nothing else is known. What another Service has, or no
    /// pool has, cannot be kept.
    pub fn hold(&mut self, service: &ServiceKey, addresses: &[IpAddr], pool: &str) {
        if self.allocation(service).is_none() {
            let (labels, ports) = (BTreeMap::new(), Vec::new());
            let (sharing_key, backend_key) = (String::new(), String::new());
            let request = Request { key: service.clone(), labels, sharing_key, backend_key, ports };
            let _ = self.assign(&request, addresses, &[Some(pool)]);
        }
    }

    /// Frees what a Service has. Returns it.
    pub fn release(&mut self, service: &ServiceKey) -> Option<Assigned> {
        let Allocation { assigned, .. } = *self.allocations.remove(service)?;
        for address in &assigned.addresses {
            let Some(usage) = self.uses.get_mut(address) else { continue };
            usage.remove(service);
            if usage.users.is_empty() {
                self.free(*address, &assigned.pool);
            }
        }
        Some(assigned)
    }

    fn free(&mut self, address: IpAddr, pool: &str) {
        let Some(usage) = self.uses.remove(&address) else { return };
        if let Some(state) = self.pools.get_mut(pool) {
            state.count(address, -1);
            if let Some(place) = state.place(address) {
                let key = (pool.to_owned(), usage.sharing_key, usage.backend_key);
                if let Some(set) = self.shared.get_mut(&key) {
                    set.remove(&(place, address));
                    if set.is_empty() {
                        self.shared.remove(&key);
                    }
                }
            }
        }
        for state in self.pools.values_mut() {
            state.put_back(address);
        }
    }

    /// Gives a Service exactly these addresses (spec §4.5). Of several pools that have them all, the first of `prefer`
    /// that does is taken, then the one that hands them out.
    ///
    /// # Errors
    /// The first condition that does not hold; what the Service had before stays.
    pub fn assign(
        &mut self,
        request: &Request,
        addresses: &[IpAddr],
        prefer: &[Option<&str>],
    ) -> Result<Assigned, Refusal> {
        let pool =
            self.home(addresses, prefer, Some(request)).ok_or_else(|| Refusal::NotInConfig(addresses.to_vec()))?;
        if !self.pools.get(&pool).is_some_and(|state| state.is_compatible(request)) {
            return Err(Refusal::NotCompatible(pool));
        }
        match addresses {
            [_] => {}
            [a, b] if Family::of(*a) != Family::of(*b) => {}
            [_, _] => return Err(Refusal::SameFamily(addresses.to_vec())),
            _ => return Err(Refusal::MoreThanTwo(addresses.to_vec())),
        }
        for address in addresses {
            self.check_sharing(request, *address)?;
        }
        let assigned = Assigned { pool, addresses: addresses.to_vec() };
        self.release(&request.key);
        self.record(request.clone(), assigned.clone());
        Ok(assigned)
    }

    /// The pool that a set of addresses belongs to: a preferred one that has them all, else the one that hands them
    /// out, else any that has them all. Pools that may serve the request come first.
    fn home(&self, addresses: &[IpAddr], prefer: &[Option<&str>], request: Option<&Request>) -> Option<String> {
        let has_all = |state: &PoolState| {
            !addresses.is_empty() && addresses.iter().all(|address| state.place(*address).is_some())
        };
        let preferred = prefer.iter().flatten().filter_map(|name| self.pools.get_key_value(*name));
        let handing_out =
            self.pools.iter().filter(|(_, state)| addresses.iter().all(|address| !state.is_held_elsewhere(*address)));
        let candidates =
            || preferred.clone().chain(handing_out.clone()).chain(&self.pools).filter(|(_, state)| has_all(state));
        let serves = |state: &PoolState| request.is_none_or(|request| state.is_compatible(request));
        candidates().find(|(_, state)| serves(state)).or_else(|| candidates().next()).map(|(name, _)| name.clone())
    }

    fn check_sharing(&self, request: &Request, address: IpAddr) -> Result<(), Refusal> {
        let Some(usage) = self.uses.get(&address) else { return Ok(()) };
        if !request.shares_with(&usage.sharing_key, &usage.backend_key) {
            let others: Vec<ServiceKey> = usage.users.iter().filter(|user| **user != request.key).cloned().collect();
            if !others.is_empty() {
                return Err(Refusal::Sharing { service: request.key.clone(), address, others });
            }
        }
        for port in &request.ports {
            if let Some(other) = usage.user_of(port).filter(|user| **user != request.key) {
                let (protocol, port) = port.clone();
                return Err(Refusal::PortInUse {
                    address,
                    protocol: protocol.into_owned(),
                    port,
                    other: other.clone(),
                });
            }
        }
        Ok(())
    }

    /// Notes an assignment that was checked before, of a Service that has nothing.
    fn record(&mut self, request: Request, assigned: Assigned) {
        for address in &assigned.addresses {
            let usage = self.uses.entry(*address).or_default();
            if usage.users.is_empty() {
                usage.sharing_key.clone_from(&request.sharing_key);
                usage.backend_key.clone_from(&request.backend_key);
                for state in self.pools.values_mut() {
                    state.take(*address);
                }
                if let Some(state) = self.pools.get_mut(&assigned.pool) {
                    state.count(*address, 1);
                    if let (Some(place), false) = (state.place(*address), request.sharing_key.is_empty()) {
                        let key = (assigned.pool.clone(), request.sharing_key.clone(), request.backend_key.clone());
                        self.shared.entry(key).or_default().insert((place, *address));
                    }
                }
            }
            usage.add(&request);
        }
        let kept = Allocation { request: Request { labels: BTreeMap::new(), ..request }, assigned };
        self.allocations.insert(kept.request.key.clone(), Box::new(kept));
    }

    /// Chooses addresses from one pool that was asked for by name (spec §4.4, step 2).
    ///
    /// # Errors
    /// The pool does not exist, does not serve the Service, or has nothing left; what the Service had is released.
    pub fn allocate_from(&mut self, pool: &str, request: &Request, families: Families) -> Result<Assigned, Refusal> {
        self.release(&request.key);
        let state = self.pools.get(pool).ok_or_else(|| self.unknown_pool(pool))?;
        if !state.is_compatible(request) {
            return Err(Refusal::NotCompatible(pool.to_owned()));
        }
        let exhausted = |dual, family| Refusal::PoolExhausted { pool: pool.to_owned(), dual, family };
        let (v4, v6) = self.lowest_usable(pool, request, families, Reserve::Used);
        let addresses = match families {
            Families::One(family) => vec![one(family, v4, v6).ok_or_else(|| exhausted(false, Some(family)))?],
            Families::Both => match (v4, v6) {
                (Some(v4), Some(v6)) => vec![v4, v6],
                (None, Some(_)) => return Err(exhausted(true, Some(Family::V4))),
                (Some(_), None) => return Err(exhausted(true, Some(Family::V6))),
                (None, None) => return Err(exhausted(true, None)),
            },
            Families::Prefer { .. } => Some(v4.into_iter().chain(v6).collect::<Vec<_>>())
                .filter(|addresses| !addresses.is_empty())
                .ok_or_else(|| exhausted(false, None))?,
        };
        let assigned = Assigned { pool: pool.to_owned(), addresses };
        self.record(request.clone(), assigned.clone());
        Ok(assigned)
    }

    /// Chooses addresses from whichever pool serves without being asked: pinned pools by priority, then the others by
    /// name (spec §4.4, step 3).
    ///
    /// # Errors
    /// No pool has what is needed; what the Service had is released.
    pub fn allocate(&mut self, request: &Request, families: Families) -> Result<Assigned, Refusal> {
        self.release(&request.key);
        let stages = [&self.pinned, &self.automatic];
        let chosen = stages.iter().find_map(|names| {
            let chosen = self.choose(names, request, families, Reserve::Kept);
            chosen.or_else(|| self.choose(names, request, families, Reserve::Used))
        });
        let assigned = chosen.ok_or(Refusal::NoFreeAddress)?;
        self.record(request.clone(), assigned.clone());
        Ok(assigned)
    }

    fn choose(&self, names: &[Arc<str>], request: &Request, needs: Families, reserve: Reserve) -> Option<Assigned> {
        let mut fallback: [Option<Assigned>; 2] = [None, None];
        for name in names {
            if !self.pools.get(&**name).is_some_and(|state| state.is_compatible(request)) {
                continue;
            }
            let (v4, v6) = self.lowest_usable(name, request, needs, reserve);
            let assigned = |addresses: Vec<IpAddr>| Some(Assigned { pool: name.to_string(), addresses });
            match needs {
                Families::One(family) => {
                    if let Some(address) = one(family, v4, v6) {
                        return assigned(vec![address]);
                    }
                }
                Families::Both | Families::Prefer { .. } => {
                    if let (Some(v4), Some(v6)) = (v4, v6) {
                        return assigned(vec![v4, v6]);
                    }
                }
            }
            if let Families::Prefer { primary } = needs {
                for address in v4.into_iter().chain(v6) {
                    let rank = usize::from(Family::of(address) != primary);
                    if fallback[rank].is_none() {
                        fallback[rank] = assigned(vec![address]);
                    }
                }
            }
        }
        let [primary, other] = fallback;
        primary.or(other)
    }

    /// One more address of `family` for a Service that has one, from the same pool (spec §4.3, step 12).
    ///
    /// # Errors
    /// The pool has none; what the Service has stays.
    pub fn add_family(&mut self, request: &Request, family: Family) -> Result<Assigned, Refusal> {
        let Some(held) = self.allocation(&request.key).cloned() else {
            return Err(Refusal::NoFreeAddress);
        };
        let (v4, v6) = self.lowest_usable(&held.pool, request, Families::One(family), Reserve::Used);
        let refusal = || Refusal::PoolExhausted { pool: held.pool.clone(), dual: true, family: Some(family) };
        let address = one(family, v4, v6).ok_or_else(refusal)?;
        let mut addresses = held.addresses.clone();
        addresses.push(address);
        self.assign(request, &addresses, &[Some(&held.pool)])
    }

    /// The lowest usable address of each needed family: free, or in use by Services it may share with.
    fn lowest_usable(
        &self,
        pool: &str,
        request: &Request,
        families: Families,
        reserve: Reserve,
    ) -> (Option<IpAddr>, Option<IpAddr>) {
        let Some(state) = self.pools.get(pool) else { return (None, None) };
        let needed = |family| !matches!(families, Families::One(only) if only != family);
        let lowest = |family| {
            if !needed(family) {
                return None;
            }
            let free = state.lowest(family);
            let shared = self.lowest_shared(pool, request, family, free);
            let usable = shared.or(free).map(|(_, address)| address);
            usable.or_else(|| state.last_resort(family).filter(|_| reserve == Reserve::Used))
        };
        (lowest(Family::V4), lowest(Family::V6))
    }

    /// A shared address that may be joined and lies before the lowest free one.
    fn lowest_shared(
        &self,
        pool: &str,
        request: &Request,
        family: Family,
        free: Option<(usize, IpAddr)>,
    ) -> Option<(usize, IpAddr)> {
        if request.sharing_key.is_empty() {
            return None;
        }
        let key = (pool.to_owned(), request.sharing_key.clone(), request.backend_key.clone());
        self.shared
            .get(&key)?
            .iter()
            .take_while(|place| free.is_none_or(|free| **place < free))
            .find(|(_, address)| Family::of(*address) == family && self.check_sharing(request, *address).is_ok())
            .copied()
    }
}

fn one(family: Family, v4: Option<IpAddr>, v6: Option<IpAddr>) -> Option<IpAddr> {
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}
