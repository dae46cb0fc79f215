//! Tests of the segment machine: whole clusters in virtual time; a failure names its seed.
#![expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]

use super::*;
use crate::sim::cluster::{Cluster, Number};
use crate::sim::history::{Findings, judge};

mod cuts;
mod figures;
mod nemesis;
mod pauses;
mod planned;
mod rotation;
mod several;
mod strangers;

const ADDRESSES: u16 = 10;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A cluster in which every address has an owner whose claim is firm.
fn settled(seed: u64, nodes: usize, timing: Timing) -> Cluster {
    let mut cluster = Cluster::new(seed, nodes, ADDRESSES, timing, Instant::now());
    cluster.run(ms(2500 + seed % 70));
    assert_owned(&cluster);
    cluster
}

/// Exactly one answers for every address, and everybody who runs knows who.
fn assert_owned(cluster: &Cluster) {
    for address in cluster.ranked(ADDRESSES).keys() {
        let answers = cluster.answers(*address);
        let seed = cluster.seed();
        let known: Vec<Option<Claim>> =
            (0..cluster.len()).map(|n| cluster.segment(n)?.claims().get(address).copied()).collect();
        assert_eq!(answers.len(), 1, "seed {seed}, {address}: {answers:?}, known {known:?}");
        for number in (0..cluster.len()).filter(|number| cluster.runs(*number)) {
            let known = cluster.segment(number).unwrap().claims().get(address).map(|claim| claim.mac);
            assert_eq!(known, Some(answers[0].1), "seed {seed}, {address}: what node {number} knows");
        }
    }
}

fn owner_of(cluster: &Cluster, address: IpAddr) -> Number {
    cluster.answers(address)[0].0
}

/// Does something to a settled cluster, lets it go on, and judges what happened.
fn after(cluster: &mut Cluster, span: Duration, what: impl FnOnce(&mut Cluster)) -> Findings {
    let from = cluster.elapsed();
    what(cluster);
    cluster.run(span);
    judge(cluster.history(), from, cluster.elapsed())
}

#[test]
fn every_address_gets_one_owner_at_start() {
    for seed in 0..20 {
        for nodes in [1, 2, 3, 5, 10] {
            settled(seed, nodes, Timing::DEFAULT);
        }
    }
}

#[test]
fn a_node_that_dies_is_replaced_and_only_its_addresses_move() {
    for seed in 0..40 {
        for nodes in [2, 3, 5] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            let addresses: Vec<IpAddr> = cluster.ranked(ADDRESSES).into_keys().collect();
            let of_dead = addresses.iter().filter(|address| owner_of(&cluster, **address) == 0).count();
            let findings = after(&mut cluster, ms(2500), |cluster| cluster.crash(0));
            assert!(findings.longest_gap() <= ms(350), "seed {seed}, {nodes} nodes: {findings:?}");
            assert_eq!(findings.dual, [], "seed {seed}, {nodes} nodes");
            assert_eq!(findings.total_moves(), of_dead, "seed {seed}, {nodes} nodes");
            assert_owned(&cluster);
        }
    }
}

#[test]
fn two_nodes_that_die_together_are_replaced() {
    for seed in 0..40 {
        for nodes in [3, 5] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            let findings = after(&mut cluster, ms(2500), |cluster| {
                cluster.crash(0);
                cluster.crash(1);
            });
            assert!(findings.longest_gap() <= ms(420), "seed {seed}, {nodes} nodes: {findings:?}");
            assert_owned(&cluster);
        }
    }
}

#[test]
fn ten_percent_loss_kills_nobody_and_moves_nothing() {
    for (seed, nodes, minutes) in [(0, 2, 10), (1, 3, 10), (2, 5, 10), (3, 10, 2)] {
        let mut cluster = settled(seed, nodes, Timing::DEFAULT);
        cluster.loss = 10;
        let findings = after(&mut cluster, ms(minutes * 60_000), |_| {});
        assert_eq!(findings, Findings::default(), "{nodes} nodes");
        assert_eq!(cluster.figures.false_deaths, 0, "{nodes} nodes");
    }
}

#[test]
fn a_busy_processor_kills_nobody_and_moves_nothing() {
    for seed in 0..5 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        (0..3).for_each(|number| cluster.starve(number, ms(88)));
        let findings = after(&mut cluster, ms(60_000), |_| {});
        assert_eq!(findings.total_moves(), 0, "seed {seed}: {findings:?}");
        assert_eq!(cluster.figures.false_deaths, 0, "seed {seed}");
    }
}

#[test]
fn a_stuck_responder_is_a_speaker_that_is_down() {
    for seed in 0..10 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let address = *cluster.ranked(ADDRESSES).keys().next().unwrap();
        let owner = owner_of(&cluster, address);
        cluster.responding(owner, false);
        cluster.run(ms(500));
        assert_eq!(cluster.answers(address).len(), 2, "seed {seed}: the owner, as it believes, and its stand-in");
        let macs: BTreeSet<MacAddr> = cluster.answers(address).into_iter().map(|(_, mac)| mac).collect();
        assert_eq!(macs.len(), 1, "seed {seed}: both with the MAC address of the owner");
        cluster.responding(owner, true);
        cluster.run(ms(500));
        assert_owned(&cluster);
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let mut cluster = Cluster::new(seed, 5, ADDRESSES, Timing::DEFAULT, Instant::now());
        cluster.loss = 10;
        cluster.run(ms(1500));
        cluster.crash(1);
        cluster.run(ms(1500));
        (format!("{:?}", cluster.history()), cluster.figures)
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
