//! A thousand random histories of configurations and Services, as a controller lives through them: nobody gets what
//! somebody may not share, a valid address never changes, and the order in which Services arrive does not matter.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use k8s_openapi::api::core::v1::Service;

use super::*;

/// What a Service looks like at one moment.
#[derive(Clone, Debug, PartialEq)]
struct Shape {
    port: i32,
    sharing: u8,
    local: bool,
    asks: Option<u8>,
    pool: Option<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Pools([Option<(u8, u8)>; 2]),
    Set(u8, Shape),
    Delete(u8),
    Restart,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (
        80..82i32,
        0..3u8,
        any::<bool>(),
        proptest::option::weighted(0.3, 0..12u8),
        proptest::option::weighted(0.2, 0..2u8),
    )
        .prop_map(|(port, sharing, local, asks, pool)| Shape { port, sharing, local, asks, pool })
}

fn steps() -> impl Strategy<Value = Step> {
    let span = || proptest::option::weighted(0.9, (0..6u8, 1..7u8));
    prop_oneof![
        2 => (span(), span()).prop_map(|(a, b)| Step::Pools([a, b])),
        6 => (0..8u8, shapes()).prop_map(|(name, shape)| Step::Set(name, shape)),
        2 => (0..8u8).prop_map(Step::Delete),
        1 => Just(Step::Restart),
    ]
}

/// Pool `a` lies in 10.0.0.x, pool `b` in 10.0.1.x.
fn pools(spans: [Option<(u8, u8)>; 2]) -> Config {
    let pools = spans.iter().enumerate().filter_map(|(index, span)| {
        let (first, length) = (*span)?;
        let range = format!("addresses: [10.0.{index}.{first}-10.0.{index}.{}]", first + length - 1);
        Some(pool(["a", "b"][index], &range))
    });
    parse(pools.collect(), vec![], vec![]).unwrap()
}

fn build(name: u8, shape: &Shape, status: &[IpAddr]) -> Service {
    static PLAIN: LazyLock<Service> = LazyLock::new(|| service("plain", V4, ""));
    let mut service = PLAIN.clone();
    service.metadata.name = Some(format!("s{name}"));
    let annotations = service.metadata.annotations.get_or_insert_default();
    if shape.sharing > 0 {
        annotations.insert("metallb.io/allow-shared-ip".to_owned(), format!("k{}", shape.sharing));
    }
    if let Some(asks) = shape.asks {
        annotations.insert("metallb.io/loadBalancerIPs".to_owned(), format!("10.0.{}.{}", asks % 2, asks / 2));
    }
    if let Some(pool) = shape.pool {
        annotations.insert("metallb.io/address-pool".to_owned(), ["a", "b"][usize::from(pool)].to_owned());
    }
    let spec = service.spec.as_mut().unwrap();
    spec.external_traffic_policy = shape.local.then(|| "Local".to_owned());
    spec.ports.as_mut().unwrap()[0].port = shape.port;
    let texts: Vec<String> = status.iter().map(ToString::to_string).collect();
    with_status(service, &texts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[derive(Default)]
struct World {
    config: Config,
    services: BTreeMap<u8, (Shape, Vec<IpAddr>)>,
    allocator: Allocator,
}

impl World {
    /// As a controller keeps them.
    fn objects(&self) -> Vec<Arc<dyn View>> {
        self.services.iter().map(|(name, (shape, status))| compact(&build(*name, shape, status))).collect()
    }

    fn converge(&mut self) {
        let objects = self.objects();
        let all = objects.iter().map(|service| &**service);
        let outcomes = converge_all(all, &mut self.allocator, Some(&self.config), &Options::default());
        for (key, outcome) in outcomes {
            let name: u8 = key.name[1..].parse().unwrap();
            self.services.get_mut(&name).unwrap().1 = outcome.addresses;
        }
    }

    fn shareable(a: &Shape, b: &Shape) -> bool {
        a.sharing > 0 && a.sharing == b.sharing && a.local == b.local && a.port != b.port
    }

    fn in_pool(&self, address: IpAddr) -> Option<&str> {
        let mut pools = self.config.pools.values();
        pools.find(|pool| pool.ranges.iter().any(|range| range.contains(address))).map(|pool| pool.name.as_str())
    }

    /// Whether a Service may have an address, whatever the others do.
    fn allowed(&self, shape: &Shape, address: IpAddr) -> bool {
        let wanted = shape.asks.map(|asks| IpAddr::from([10, 0, asks % 2, asks / 2]));
        let pool = shape.pool.map(|pool| ["a", "b"][usize::from(pool)]);
        let home = self.in_pool(address);
        // A pool that does not exist takes nothing away.
        let fits = pool.is_none_or(|pool| home == Some(pool) || !self.config.pools.contains_key(pool));
        home.is_some() && wanted.is_none_or(|wanted| wanted == address) && fits
    }
}

fn check(before: &BTreeMap<u8, (Shape, Vec<IpAddr>)>, world: &World) -> Result<(), TestCaseError> {
    for (name, (shape, addresses)) in &world.services {
        for address in addresses {
            prop_assert!(world.allowed(shape, *address), "s{} has {}", name, address);
            for (other, (theirs, held)) in &world.services {
                let legal = other == name || !held.contains(address) || World::shareable(shape, theirs);
                prop_assert!(legal, "s{} and s{} both have {}", name, other, address);
            }
        }
        // What it had stays, if it is still allowed and it is the same Service.
        if let Some((old, had)) = before.get(name).filter(|(old, had)| old == shape && !had.is_empty())
            && had.iter().all(|address| world.allowed(old, *address))
        {
            prop_assert_eq!(addresses, had, "s{} lost a valid address", name);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn valid_addresses_stay_and_are_never_given_twice(history in proptest::collection::vec(steps(), 1..30)) {
        let mut world = World { config: pools([Some((0, 3)), Some((0, 3))]), ..World::default() };
        world.allocator.set_pools(&world.config);
        for step in history {
            let before = world.services.clone();
            match step {
                Step::Pools(spans) => {
                    world.config = pools(spans);
                    world.allocator.set_pools(&world.config);
                }
                Step::Set(name, shape) => world.services.entry(name).or_insert((shape.clone(), vec![])).0.clone_from(&shape),
                Step::Delete(name) => {
                    world.services.remove(&name);
                    world.allocator.release(&ServiceKey::new("default", format!("s{name}")));
                }
                Step::Restart => {
                    world.allocator = Allocator::new();
                    world.allocator.set_pools(&world.config);
                }
            }
            world.converge();
            check(&before, &world)?;
            let settled = world.services.clone();
            world.converge();
            prop_assert_eq!(&world.services, &settled, "a second pass changes nothing");
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_change_the_outcome(
        shapes in proptest::collection::btree_map(0..8u8, shapes(), 1..8),
        seed in any::<u64>(),
    ) {
        let config = pools([Some((0, 3)), Some((0, 3))]);
        let run = |objects: &[Service]| {
            let mut allocator = Allocator::new();
            allocator.set_pools(&config);
            let outcomes = converge_all(views(objects), &mut allocator, Some(&config), &Options::default());
            outcomes.into_iter().map(|(key, outcome)| (key, outcome.addresses)).collect::<BTreeMap<_, _>>()
        };
        let mut objects: Vec<Service> = shapes.iter().map(|(name, shape)| build(*name, shape, &[])).collect();
        let first = run(&objects);
        let turn = usize::try_from(seed % objects.len() as u64).unwrap();
        objects.rotate_left(turn);
        objects.reverse();
        prop_assert_eq!(run(&objects), first);
    }
}
