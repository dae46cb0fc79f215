//! The shared secret changes while everybody runs, on one node after the other.

use super::*;

const NEW: &[u8] = b"another secret";

#[test]
fn a_secret_that_reaches_nodes_minutes_apart_moves_nothing_and_kills_nobody() {
    for seed in 0..10 {
        let mut cluster = settled(seed, 4, Timing::DEFAULT);
        cluster.loss = 5;
        let findings = after(&mut cluster, ms(1000), |cluster| {
            for number in 0..4 {
                cluster.rotate(number, NEW);
                cluster.run(ms(30_000));
            }
        });
        assert_eq!(findings, Findings::default(), "seed {seed}");
        assert_eq!(cluster.figures.false_deaths, 0, "seed {seed}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_node_that_dies_meanwhile_is_replaced_by_one_as_ever() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.rotate(1, NEW);
        cluster.run(ms(500 + seed * 37));
        let findings = after(&mut cluster, ms(3000), |cluster| cluster.crash(0));
        assert!(findings.longest_gap() <= ms(350), "seed {seed}: {findings:?}");
        assert_eq!(findings.dual, [], "seed {seed}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_new_pod_that_has_the_new_secret_only_is_understood_by_who_has_both() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        (0..3).for_each(|number| cluster.rotate(number, NEW));
        cluster.run(ms(100));
        let findings = after(&mut cluster, ms(5000), |cluster| cluster.replace(0, ms(300)));
        assert_eq!((findings.total_moves(), &findings.dual), (0, &Vec::new()), "seed {seed}: {findings:?}");
        assert_owned(&cluster);
    }
}

#[test]
fn the_older_secret_is_given_up_and_nobody_notices() {
    let mut cluster = settled(1, 3, Timing::DEFAULT);
    (0..3).for_each(|number| cluster.rotate(number, NEW));
    let findings = after(&mut cluster, ms(11 * 60_000), |_| {});
    assert_eq!(findings, Findings::default());
    let sent = cluster.figures.sent;
    cluster.run(ms(10_000));
    // At rest three nodes send 31 messages a second each; under two secrets it would be twice that.
    assert!(cluster.figures.sent - sent < 3 * 10 * 40, "{}", cluster.figures.sent - sent);
    assert_owned(&cluster);
}
