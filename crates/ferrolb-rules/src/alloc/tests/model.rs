//! The naive model: pools are lists of addresses, and every question is answered by walking over all of them.

use proptest::prelude::*;

use super::super::*;
use crate::config::Pool;
use crate::range::AddressRange;
use crate::reason::Code;

/// One step of a history.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Pools(Vec<Pool>),
    Allocate(Request, Families),
    From(String, Request, Families),
    Assign(Request, Vec<IpAddr>),
    Release(ServiceKey),
}

/// What a step ends with.
pub(super) type Ended = Result<Vec<IpAddr>, Code>;

pub(super) fn apply(allocator: &mut Allocator, step: &Step) -> Ended {
    let ended = |result: Result<Assigned, Refusal>| match result {
        Ok(assigned) => Ok(assigned.addresses),
        Err(refusal) => Err(refusal.code()),
    };
    match step {
        Step::Pools(pools) => {
            let pools = pools.iter().map(|pool| (pool.name.clone(), Arc::new(pool.clone()))).collect();
            allocator.set_pools(&Config { pools, ..Config::default() });
            Ok(Vec::new())
        }
        Step::Allocate(request, families) => ended(allocator.allocate(request, *families)),
        Step::From(pool, request, families) => ended(allocator.allocate_from(pool, request, *families)),
        Step::Assign(request, addresses) => ended(allocator.assign(request, addresses, &[])),
        Step::Release(key) => Ok(allocator.release(key).map(|assigned| assigned.addresses).unwrap_or_default()),
    }
}

#[derive(Default)]
pub(super) struct Model {
    pools: Vec<Pool>,
    held: BTreeMap<ServiceKey, (Request, Vec<IpAddr>)>,
}

impl Model {
    pub(super) fn apply(&mut self, step: &Step) -> Ended {
        match step {
            Step::Pools(pools) => {
                self.pools.clone_from(pools);
                self.pools.sort_by(|a, b| a.name.cmp(&b.name));
                let pools = self.pools.clone();
                self.held.retain(|_, (_, addresses)| pools.iter().any(|pool| has_all(pool, addresses)));
                Ok(Vec::new())
            }
            Step::Allocate(request, families) => {
                self.held.remove(&request.key);
                let pools: Vec<Pool> = self.pools.iter().filter(|pool| pool.auto_assign).cloned().collect();
                let found = [Reserve::Kept, Reserve::Used].into_iter().find_map(|reserve| {
                    let found = pools.iter().find_map(|pool| self.pick(pool, request, *families, reserve));
                    found.or_else(|| match families {
                        Families::Prefer { primary } => {
                            let other = if *primary == Family::V4 { Family::V6 } else { Family::V4 };
                            [*primary, other].into_iter().find_map(|family| {
                                pools.iter().find_map(|pool| self.pick(pool, request, Families::One(family), reserve))
                            })
                        }
                        _ => None,
                    })
                });
                self.take(request, found.ok_or(Code::NoFreeAddress)?)
            }
            Step::From(name, request, families) => {
                self.held.remove(&request.key);
                let pool = self.pools.iter().find(|pool| pool.name == *name).cloned().ok_or(Code::UnknownPool)?;
                let single = |family| self.pick(&pool, request, Families::One(family), Reserve::Used);
                let found = match families {
                    Families::Prefer { .. } => {
                        let all: Vec<IpAddr> =
                            [Family::V4, Family::V6].into_iter().filter_map(single).flatten().collect();
                        (!all.is_empty()).then_some(all)
                    }
                    families => self.pick(&pool, request, *families, Reserve::Used),
                };
                self.take(request, found.ok_or(Code::PoolExhausted)?)
            }
            Step::Assign(request, addresses) => {
                if !self.pools.iter().any(|pool| has_all(pool, addresses)) {
                    return Err(Code::AddressNotInPool);
                }
                for address in addresses {
                    self.refusal(*address, request).map_or(Ok(()), Err)?;
                }
                self.take(request, addresses.clone())
            }
            Step::Release(key) => Ok(self.held.remove(key).map(|(_, addresses)| addresses).unwrap_or_default()),
        }
    }

    fn take(&mut self, request: &Request, addresses: Vec<IpAddr>) -> Ended {
        self.held.insert(request.key.clone(), (request.clone(), addresses.clone()));
        Ok(addresses)
    }

    fn users(&self, address: IpAddr) -> impl Iterator<Item = &Request> {
        self.held.values().filter(move |(_, addresses)| addresses.contains(&address)).map(|(request, _)| request)
    }

    fn refusal(&self, address: IpAddr, request: &Request) -> Option<Code> {
        let others = || self.users(address).filter(|other| other.key != request.key);
        let alike = |other: &Request| {
            !request.sharing_key.is_empty()
                && request.sharing_key == other.sharing_key
                && request.backend_key == other.backend_key
        };
        if others().any(|other| !alike(other)) {
            return Some(Code::SharingRefused);
        }
        others().any(|other| other.ports.iter().any(|port| request.ports.contains(port))).then_some(Code::PortInUse)
    }

    fn pick(&self, pool: &Pool, request: &Request, families: Families, reserve: Reserve) -> Option<Vec<IpAddr>> {
        let lowest = |family: Family| {
            let ranges = pool.ranges.iter().filter(|range| range.family() == family);
            let all: Vec<IpAddr> = ranges.flat_map(|range| usable(pool, range)).collect();
            let usable = || all.iter().copied().filter(|address| self.refusal(*address, request).is_none());
            let spare = |address: &IpAddr| pool.last_resort.contains(address) && self.users(*address).next().is_none();
            let first = usable().find(|address| !spare(address));
            first.or_else(|| usable().next().filter(|_| reserve == Reserve::Used))
        };
        match families {
            Families::One(family) => lowest(family).map(|address| vec![address]),
            Families::Both | Families::Prefer { .. } => Some(vec![lowest(Family::V4)?, lowest(Family::V6)?]),
        }
    }

    /// What both must agree on, and what must hold for ever: nobody has what somebody else may not share.
    pub(super) fn check(&self, ours: &Allocator) -> Result<(), TestCaseError> {
        for (key, (request, addresses)) in &self.held {
            prop_assert_eq!(ours.allocation(key).map(|assigned| &assigned.addresses), Some(addresses));
            for address in addresses {
                prop_assert_eq!(self.refusal(*address, request), None, "{} has {}", key, address);
            }
        }
        prop_assert_eq!(ours.allocations.len(), self.held.len());
        let mut assigned = 0;
        for pool in &self.pools {
            let counters = ours.counters(&pool.name).unwrap_or_default();
            assigned += counters.assigned_v4 + counters.assigned_v6;
            let total: usize = pool.ranges.iter().map(|range| usable(pool, range).count()).sum();
            prop_assert_eq!(counters.total_v4 + counters.total_v6, i64::try_from(total).unwrap());
        }
        let distinct: BTreeSet<&IpAddr> = self.held.values().flat_map(|(_, addresses)| addresses).collect();
        prop_assert_eq!(usize::try_from(assigned).unwrap(), distinct.len());
        Ok(())
    }
}

fn has_all(pool: &Pool, addresses: &[IpAddr]) -> bool {
    addresses.iter().all(|address| pool.ranges.iter().any(|range| usable(pool, range).any(|other| other == *address)))
}

fn usable(pool: &Pool, range: &AddressRange) -> impl Iterator<Item = IpAddr> + use<> {
    let avoid = pool.avoid_buggy_ips;
    let (first, last) = match range {
        AddressRange::V4 { first, last } => (u128::from(first.to_bits()), u128::from(last.to_bits())),
        AddressRange::V6 { first, last } => (first.to_bits(), last.to_bits()),
    };
    let v4 = range.family() == Family::V4;
    (first..=last)
        .map(move |bits| {
            if v4 { IpAddr::from(u32::try_from(bits).unwrap().to_be_bytes()) } else { IpAddr::from(bits.to_be_bytes()) }
        })
        .filter(move |address| !(avoid && matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))))
}

/// Histories over few addresses, so that they collide: pools change, Services come, ask, share and go.
pub(super) fn histories() -> impl Strategy<Value = Vec<Step>> {
    (pools(), proptest::collection::vec(steps(), 1..40)).prop_map(|(pools, mut steps)| {
        steps.insert(0, Step::Pools(pools));
        steps
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => pools().prop_map(Step::Pools),
        8 => (requests(), families()).prop_map(|(request, families)| Step::Allocate(request, families)),
        3 => ("[abcx]", requests(), families()).prop_map(|(pool, request, families)| Step::From(pool, request, families)),
        6 => (requests(), addresses()).prop_map(|(request, addresses)| Step::Assign(request, addresses)),
        3 => (0..12u8).prop_map(|n| Step::Release(ServiceKey::new("default", format!("s{n}")))),
    ]
}

fn families() -> impl Strategy<Value = Families> {
    prop_oneof![
        6 => Just(Families::One(Family::V4)),
        2 => Just(Families::One(Family::V6)),
        1 => Just(Families::Both),
        1 => Just(Families::Prefer { primary: Family::V4 }),
        1 => Just(Families::Prefer { primary: Family::V6 }),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    (0..12u8, 0..3u8, 0..2u8, 80..83i32).prop_map(|(name, key, backend, port)| Request {
        key: ServiceKey::new("default", format!("s{name}")),
        labels: BTreeMap::new(),
        sharing_key: if key == 0 { String::new() } else { format!("k{key}") },
        backend_key: if backend == 0 { String::new() } else { "app=x".to_owned() },
        ports: vec![("TCP".into(), port)],
    })
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let v4 = (252..264u32).prop_map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
    let v6 = (0..6u128).prop_map(|n| IpAddr::from(((0xfc00 << 112) + n).to_be_bytes()));
    prop_oneof![
        4 => v4.clone().prop_map(|address| vec![address]),
        1 => v6.clone().prop_map(|address| vec![address]),
        1 => (v4, v6).prop_map(|(v4, v6)| vec![v4, v6]),
    ]
}

/// Up to three pools that do not overlap, cut out of 10.0.0.252–10.0.1.7 and fc00::–fc00::5.
fn pools() -> impl Strategy<Value = Vec<Pool>> {
    (proptest::collection::vec(0..4u8, 12), proptest::collection::vec(0..4u8, 6), 0..8u8, 0..8u8, 0..32u8).prop_map(
        |(owners4, owners6, auto, avoid, spare)| {
            let spans = |owners: &[u8], owner: u8, show: &dyn Fn(usize) -> String| -> Vec<AddressRange> {
                let indexes = owners.iter().enumerate().filter(|(_, of)| **of == owner).map(|(index, _)| index);
                indexes.map(|index| AddressRange::parse(&format!("{0}-{0}", show(index))).unwrap()).collect()
            };
            (0..3u8)
                .map(|owner| {
                    let v4 =
                        |n: usize| IpAddr::from((0x0a00_00fc + u32::try_from(n).unwrap()).to_be_bytes()).to_string();
                    let mut ranges = spans(&owners4, owner, &v4);
                    ranges.extend(spans(&owners6, owner, &|n| format!("fc00::{n:x}")));
                    Pool {
                        name: char::from(b'a' + owner).to_string(),
                        ranges,
                        auto_assign: auto & (1 << owner) != 0,
                        avoid_buggy_ips: avoid & (1 << owner) != 0,
                        last_resort: ["10.0.0.253", "10.0.1.1", "10.0.1.2", "fc00::", "fc00::3"]
                            .iter()
                            .zip(0..8u32)
                            .filter(|(_, bit)| spare & (1 << bit) != 0)
                            .map(|(text, _)| text.parse().unwrap())
                            .collect(),
                        ..Pool::default()
                    }
                })
                .filter(|pool| !pool.ranges.is_empty())
                .collect()
        },
    )
}
