//! Tests of the segment machine: whole clusters in virtual time; a failure names its seed.
#![expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]

use super::*;
use crate::sim::cluster::Cluster;
use crate::sim::history::judge;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A cluster in which every address has an owner whose claim is firm.
fn settled(seed: u64, nodes: usize, addresses: u16, timing: Timing) -> Cluster {
    let mut cluster = Cluster::new(seed, nodes, addresses, timing, Instant::now());
    cluster.run(ms(3000));
    let plan = cluster.ranked(addresses);
    for address in plan.keys() {
        assert_eq!(cluster.answers(*address).len(), 1, "seed {seed}: {:?}", cluster.answers(*address));
    }
    cluster
}

#[test]
fn every_address_gets_one_owner_at_start() {
    for seed in 0..20 {
        for nodes in [1, 2, 3, 5, 10] {
            settled(seed, nodes, 10, Timing::DEFAULT);
        }
    }
}

#[test]
fn a_node_that_dies_is_replaced() {
    let mut took = Vec::new();
    for seed in 0..50 {
        let mut cluster = settled(seed, 3, 10, Timing::DEFAULT);
        cluster.run(ms(seed * 7 % 70));
        let at = cluster.elapsed();
        cluster.crash(0);
        cluster.run(ms(2000));
        let findings = judge(cluster.history(), at, cluster.elapsed());
        took.push(findings.longest_gap());
        assert!(findings.longest_dual() < ms(1), "seed {seed}: {findings:?}");
    }
    took.sort();
    println!("{:?} {:?} {:?}", took[0], took[25], took[49]);
}
