//! What the network does: paths that are blocked, cuts, one-way cuts, and what happens when they heal.

use super::*;

#[test]
fn one_blocked_path_changes_nothing() {
    for seed in 0..20 {
        for nodes in [2, 3, 5] {
            for lan in [true, false] {
                let mut cluster = settled(seed, nodes, Timing::DEFAULT);
                let findings = after(&mut cluster, ms(5000), |cluster| {
                    cluster.block(lan, !lan);
                });
                assert_eq!(findings, Findings::default(), "seed {seed}, {nodes} nodes, LAN blocked: {lan}");
                assert_eq!(cluster.figures.false_deaths, 0, "seed {seed}, {nodes} nodes, LAN blocked: {lan}");
                let findings = after(&mut cluster, ms(3000), |cluster| cluster.crash(0));
                assert!(findings.longest_gap() <= ms(350), "seed {seed}, {nodes} nodes, LAN: {lan}: {findings:?}");
                assert_owned(&cluster);
            }
        }
    }
}

#[test]
fn a_cluster_starts_with_one_path_blocked() {
    for seed in 0..20 {
        for lan in [true, false] {
            let mut cluster = Cluster::new(seed, 3, ADDRESSES, Timing::DEFAULT, Instant::now());
            cluster.block(lan, !lan);
            cluster.run(ms(4000));
            assert_owned(&cluster);
        }
    }
}

#[test]
fn a_cut_that_heals_leaves_one_owner_within_a_second() {
    for seed in 0..40 {
        for (nodes, side) in [(2, vec![0]), (3, vec![0]), (4, vec![0, 1]), (5, vec![0, 1])] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            let before: Vec<Number> =
                cluster.ranked(ADDRESSES).keys().map(|address| owner_of(&cluster, *address)).collect();
            cluster.cut_off(&side);
            cluster.run(ms(500 + seed * 211 % 5000));
            let findings = after(&mut cluster, ms(3000), Cluster::heal);
            assert!(findings.longest_dual() <= ms(1000), "seed {seed}, {nodes} nodes: {findings:?}");
            assert_owned(&cluster);
            let now: Vec<Number> =
                cluster.ranked(ADDRESSES).keys().map(|address| owner_of(&cluster, *address)).collect();
            if std::env::var_os("FERROLB_VERBOSE").is_some() && before != now {
                cluster.history().iter().for_each(|(at, record)| println!("{at:?} {record:?}"));
            }
            // Only a minority can lose what it had, to a majority that had become sure of itself.
            for (then, now) in before.iter().zip(&now) {
                let minority = side.contains(then) && side.len() * 2 < nodes;
                assert!(then == now || minority, "seed {seed}, {nodes} nodes: {before:?} {now:?}");
            }
        }
    }
}

#[test]
fn a_one_way_cut_beside_a_third_node_moves_nothing() {
    for seed in 0..40 {
        for nodes in [3, 5] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            let findings = after(&mut cluster, ms(10_000), |cluster| cluster.cut(0, 1));
            assert_eq!(findings.total_moves(), 0, "seed {seed}, {nodes} nodes: {findings:?}");
            cluster.heal();
            cluster.run(ms(2000));
            assert_owned(&cluster);
        }
    }
}

#[test]
fn a_node_that_only_sends_or_only_hears_is_replaced_and_heals() {
    for seed in 0..20 {
        for sends in [true, false] {
            let mut cluster = settled(seed, 3, Timing::DEFAULT);
            for other in [1, 2] {
                if sends { cluster.cut(other, 0) } else { cluster.cut(0, other) }
            }
            cluster.run(ms(3000));
            let findings = after(&mut cluster, ms(3000), Cluster::heal);
            assert!(findings.longest_dual() <= ms(1000), "seed {seed}, sends {sends}: {findings:?}");
            assert_owned(&cluster);
        }
    }
}

#[test]
fn a_link_that_flaps_ends_with_one_owner_and_moves_only_what_hangs_on_it() {
    for seed in 0..10 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let addresses: Vec<IpAddr> = cluster.ranked(ADDRESSES).into_keys().collect();
        let before: Vec<Number> = addresses.iter().map(|address| owner_of(&cluster, *address)).collect();
        for flap in 0..20 {
            cluster.cut_off(&[0]);
            cluster.run(ms(100 + (seed * 37 + flap * 389) % 2000));
            cluster.heal();
            cluster.run(ms(100 + (seed * 53 + flap * 631) % 2000));
        }
        cluster.run(ms(3000));
        assert_owned(&cluster);
        for (address, owner) in addresses.iter().zip(before) {
            assert!(owner == 0 || owner == owner_of(&cluster, *address), "seed {seed}");
        }
    }
}

#[test]
fn a_node_whose_cable_was_out_takes_nothing_and_disturbs_nobody() {
    for seed in 0..40 {
        for nodes in [2, 3, 5] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            let owners = |cluster: &Cluster| -> Vec<Number> {
                cluster.ranked(ADDRESSES).keys().map(|address| owner_of(cluster, *address)).collect()
            };
            cluster.cable(0, false);
            for address in cluster.ranked(ADDRESSES).keys() {
                assert!(
                    cluster.answers(*address).iter().all(|(number, _)| *number != 0),
                    "seed {seed}: silent at once"
                );
            }
            cluster.run(ms(400 + seed * 211 % 5000));
            let before = owners(&cluster);
            assert!(!before.contains(&0), "seed {seed}, {nodes} nodes: {before:?}");
            let findings = after(&mut cluster, ms(3000), |cluster| cluster.cable(0, true));
            assert_eq!(findings.longest_dual(), ms(0), "seed {seed}, {nodes} nodes: {findings:?}");
            assert!(findings.longest_gap() <= ms(0), "seed {seed}, {nodes} nodes: {findings:?}");
            assert_owned(&cluster);
        }
    }
}

#[test]
fn a_cable_that_is_out_for_a_moment_moves_nothing() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let owners = |cluster: &Cluster| -> Vec<Number> {
            cluster.ranked(ADDRESSES).keys().map(|address| owner_of(cluster, *address)).collect()
        };
        let before = owners(&cluster);
        cluster.cable(0, false);
        cluster.run(ms(seed * 7 % 140));
        cluster.cable(0, true);
        cluster.run(ms(3000));
        assert_eq!(owners(&cluster), before, "seed {seed}");
    }
}
