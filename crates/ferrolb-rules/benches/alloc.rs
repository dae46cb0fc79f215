//! How long one allocation takes: a crowded /16, an IPv6 /64 and an empty /28 are to be equally quick (at most 1 µs).
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ferrolb_rules::alloc::{Allocator, Families, Request};
use ferrolb_rules::config::{Config, Pool};
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::range::{AddressRange, Family};

fn main() {
    divan::main();
}

fn request(name: &str) -> Request {
    Request {
        key: ServiceKey::new("default", name),
        labels: BTreeMap::new(),
        sharing_key: String::new(),
        backend_key: String::new(),
        ports: vec![("TCP".into(), 80)],
    }
}

fn allocator(range: &str, family: Family, taken: u32) -> Allocator {
    let ranges = vec![AddressRange::parse(range).unwrap()];
    let pool = Pool { name: "p".to_owned(), ranges, auto_assign: true, ..Pool::default() };
    let pools = BTreeMap::from([("p".to_owned(), Arc::new(pool))]);
    let mut allocator = Allocator::new();
    allocator.set_pools(&Config { pools, ..Config::default() });
    for number in 0..taken {
        allocator.allocate(&request(&format!("taken-{number}")), Families::One(family)).unwrap();
    }
    // Every third one goes again, so that the free addresses are full of holes.
    for number in (0..taken).step_by(3) {
        allocator.release(&ServiceKey::new("default", format!("taken-{number}")));
    }
    allocator
}

const CASES: [(&str, Family, u32); 4] = [
    ("10.0.0.0/28", Family::V4, 0),
    ("10.0.0.0/16", Family::V4, 60_000),
    ("fd00::/64", Family::V6, 0),
    ("fd00::/64", Family::V6, 60_000),
];

/// One allocation; what the one before got is released between two samples, off the clock.
#[divan::bench(args = CASES, sample_count = 20_000, sample_size = 1)]
fn allocate(bencher: divan::Bencher<'_, '_>, case: (&str, Family, u32)) {
    let (range, family, taken) = case;
    let allocator = RefCell::new(allocator(range, family, taken));
    let request = request("new");
    bencher
        .with_inputs(|| drop(allocator.borrow_mut().release(&request.key)))
        .bench_local_values(|()| allocator.borrow_mut().allocate(&request, Families::One(family)).unwrap());
}

/// One allocation and its release.
#[divan::bench(args = CASES, sample_count = 20_000, sample_size = 1)]
fn allocate_and_release(bencher: divan::Bencher<'_, '_>, case: (&str, Family, u32)) {
    let (range, family, taken) = case;
    let mut allocator = allocator(range, family, taken);
    let request = request("new");
    bencher.bench_local(|| {
        allocator.allocate(&request, Families::One(family)).unwrap();
        allocator.release(&request.key)
    });
}
