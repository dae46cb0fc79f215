//! Tests of the table of assignments.

use proptest::prelude::*;

use super::*;

fn node(name: &str) -> NodeName {
    NodeName::new(name)
}

fn service(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn assignments(list: &[(&str, &str)]) -> BTreeMap<ServiceKey, (Vec<IpAddr>, String)> {
    list.iter().map(|(name, ip)| (service(name), (vec![ip.parse().unwrap()], "pool".to_owned()))).collect()
}

fn recorded(author: &str, list: &[(&str, &str)]) -> Table {
    let mut table = Table::default();
    assert!(table.record(&node(author), &assignments(list), &BTreeMap::new()));
    table
}

#[test]
fn a_newer_table_of_the_same_author_replaces_the_older_one_as_a_whole() {
    let old = recorded("a", &[("x", "10.0.0.1"), ("y", "10.0.0.2")]);
    let mut new = old.clone();
    assert!(new.record(&node("a"), &assignments(&[("x", "10.0.0.1")]), &BTreeMap::new()));
    let mut merged = old.clone();
    assert!(merged.merge(&new));
    assert_eq!(merged, new, "the deleted entry of y must not come back");
    assert!(!new.merge(&old), "an older table teaches nothing");
}

#[test]
fn recording_the_same_again_is_no_change() {
    let mut table = recorded("a", &[("x", "10.0.0.1")]);
    let before = table.clone();
    assert!(!table.record(&node("b"), &assignments(&[("x", "10.0.0.1")]), &BTreeMap::new()));
    assert_eq!(table, before);
}

#[test]
fn a_successor_adopts_and_goes_on_from_there() {
    let first = recorded("a", &[("x", "10.0.0.1")]);
    let mut successor = Table::default();
    assert!(successor.merge(&first));
    assert!(successor.record(&node("b"), &assignments(&[("x", "10.0.0.1"), ("y", "10.0.0.2")]), &BTreeMap::new()));
    let mut returned = first;
    assert!(returned.merge(&successor), "the returning host learns what happened while it was away");
    assert_eq!(returned.entry(&service("y")).map(|e| e.addresses.len()), Some(1));
}

#[test]
fn two_tables_from_a_cut_network_keep_every_service() {
    let shared = recorded("a", &[("x", "10.0.0.1")]);
    let (mut left, mut right) = (shared.clone(), shared);
    let both = |own: &str, new: &str, x: &str| assignments(&[("x", x), (own, "10.0.0.2"), ("new", new)]);
    assert!(left.record(&node("a"), &both("l", "10.0.0.3", "10.0.0.1"), &BTreeMap::new()));
    assert!(right.record(&node("b"), &both("r", "10.0.0.4", "10.0.0.9"), &BTreeMap::new()));
    let mut one = left.clone();
    assert!(one.merge(&right));
    let mut other = right;
    assert!(other.merge(&left));
    assert_eq!(one, other, "both sides end with the same table");
    assert_eq!(one.entries().count(), 4, "one entry counts for each Service");
    let address = |name: &str| one.entry(&service(name)).map(|entry| entry.addresses[0].to_string());
    assert_eq!(address("x").as_deref(), Some("10.0.0.9"), "only one side changed it, so the change stands");
    assert_eq!(address("new").as_deref(), Some("10.0.0.3"), "both sides made one: the same pick everywhere");
    assert!(address("l").is_some() && address("r").is_some());
}

#[test]
fn a_table_survives_json() {
    let table = recorded("a", &[("x", "10.0.0.1"), ("y", "fd00::1")]);
    let text = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
}

proptest! {
    #[test]
    fn any_order_of_merging_ends_in_the_same_table(
        steps in prop::collection::vec((0usize..3, 0usize..4, 1u8..20, prop::option::of(0usize..3)), 1..30),
    ) {
        // Three hosts record and sometimes merge; at the end everybody merges everybody, in two orders.
        let names = [node("a"), node("b"), node("c")];
        let mut hosts = [Table::default(), Table::default(), Table::default()];
        for (host, key, octet, learn_from) in steps {
            let mut next: BTreeMap<_, _> = hosts[host].entries().map(|(k, e)| (k.clone(), (e.addresses.clone(), e.pool.clone()))).collect();
            next.insert(service(&format!("s{key}")), (vec![IpAddr::from([10, 0, 0, octet])], "p".to_owned()));
            hosts[host].record(&names[host], &next, &BTreeMap::new());
            if let Some(other) = learn_from {
                let other = hosts[other].clone();
                hosts[host].merge(&other);
            }
        }
        let mut forward = hosts[0].clone();
        forward.merge(&hosts[1]);
        forward.merge(&hosts[2]);
        let mut backward = hosts[2].clone();
        backward.merge(&hosts[1]);
        backward.merge(&hosts[0]);
        prop_assert_eq!(&forward, &backward);
        prop_assert!(!forward.merge(&hosts[1]), "merging what is known changes nothing");
    }
}
