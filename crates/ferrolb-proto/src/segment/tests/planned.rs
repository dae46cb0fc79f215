//! Restarts move nothing, and planned moves lose nothing.

use std::sync::Arc;

use super::*;

#[test]
fn a_restart_moves_nothing_and_leaves_nobody_unanswered() {
    for seed in 0..40 {
        for nodes in [2, 3, 5] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            let pause = ms(50 + seed * 97 % 3000);
            let findings = after(&mut cluster, ms(4500), |cluster| cluster.restart(0, pause));
            assert_eq!(findings.total_moves(), 0, "seed {seed}, {nodes} nodes");
            assert_eq!(findings.dual, [], "seed {seed}, {nodes} nodes");
            assert!(findings.longest_gap() <= ms(50), "seed {seed}, {nodes} nodes: {findings:?}");
            assert_owned(&cluster);
        }
    }
}

#[test]
fn a_rollout_over_all_nodes_moves_nothing() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 5, Timing::DEFAULT);
        let findings = after(&mut cluster, ms(0), |cluster| {
            for number in 0..5 {
                cluster.restart(number, ms(1000));
                cluster.run(ms(2500));
            }
        });
        assert_eq!(findings.total_moves(), 0, "seed {seed}");
        assert!(findings.longest_gap() <= ms(50), "seed {seed}: {findings:?}");
        assert_owned(&cluster);
    }
}

/// Rolls all nodes out twice, each with an empty directory; `meanwhile` is told which one starts now.
fn roll(cluster: &mut Cluster, mut meanwhile: impl FnMut(&mut Cluster, Number)) -> Findings {
    after(cluster, ms(3000), |cluster| {
        for number in [0, 1, 2, 0, 1, 2] {
            cluster.replace(number, ms(1000));
            cluster.run(ms(1100));
            meanwhile(cluster, number);
            cluster.run(ms(2500));
        }
    })
}

fn pause(cluster: &mut Cluster, nodes: &[Number], span: Duration) {
    nodes.iter().for_each(|number| cluster.stop(*number));
    cluster.run(span);
    nodes.iter().for_each(|number| cluster.resume(*number));
}

#[test]
fn a_rollout_of_pods_that_know_nothing_moves_nothing_and_leaves_nobody_unanswered() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = roll(&mut cluster, |_, _| {});
        assert_eq!((findings.total_moves(), findings.longest_gap()), (0, ms(0)), "seed {seed}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_rollout_moves_nothing_though_the_others_get_no_processor_while_the_new_pod_asks() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let span = ms([150, 300, 600, 1500][seed as usize % 4]);
        let findings = roll(&mut cluster, |cluster, number| {
            let others: Vec<Number> = (0..3).filter(|other| *other != number).collect();
            pause(cluster, &others, span);
        });
        assert_eq!(findings.total_moves(), 0, "seed {seed}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_rollout_moves_nothing_though_the_new_pod_gets_no_processor_while_it_learns() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = roll(&mut cluster, |cluster, number| {
            for _ in 0..3 {
                cluster.run(ms(seed * 3 % 100));
                pause(cluster, &[number], ms([150, 300, 600][seed as usize % 3]));
            }
        });
        assert_eq!(findings.total_moves(), 0, "seed {seed}");
        // A pause may also fall into the time when it serves again.
        assert!(findings.longest_gap() <= ms(350), "seed {seed}: {findings:?}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_rollout_on_a_busy_machine_moves_nothing() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.delay = ms(200);
        (0..3).for_each(|number| cluster.starve(number, ms(60)));
        let findings = roll(&mut cluster, |_, _| {});
        assert_eq!(findings.total_moves(), 0, "seed {seed}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_new_pod_whose_cable_comes_late_takes_nothing() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = after(&mut cluster, ms(4000), |cluster| {
            cluster.replace(0, ms(100));
            cluster.run(ms(150));
            cluster.cable(0, false);
            cluster.run(ms(60));
            cluster.cable(0, false);
            cluster.run(ms(2500));
            cluster.cable(0, true);
        });
        assert!(findings.longest_dual() <= ms(145), "seed {seed}: {findings:?}");
        let others = [1, 2].map(|number| cluster.id(number).unwrap());
        for (address, nodes) in cluster.ranked(ADDRESSES).iter().filter(|(_, nodes)| others.contains(&nodes[0])) {
            assert_eq!(cluster.id(owner_of(&cluster, *address)), Some(nodes[0]), "seed {seed}");
        }
        assert_owned(&cluster);
    }
}

#[test]
fn who_starts_and_hears_nobody_waits_for_two_seconds_and_no_longer() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed, 3, ADDRESSES, Timing::DEFAULT, Instant::now());
        cluster.block(true, true);
        cluster.run(ms(1950));
        assert!((0..3).all(|number| cluster.segment(number).unwrap().claims().is_empty()), "seed {seed}");
        cluster.run(ms(500));
        assert!((0..3).all(|number| cluster.segment(number).unwrap().claims().len() == 10), "seed {seed}");
    }
}

/// Whoever claims an address for the first time may still be asking the LAN whether a stranger has it: nobody may answer
/// in the name of an owner that is up and can speak for itself.
fn nobody_answers_for_a_newcomer(cluster: &mut Cluster, seed: u64) {
    for _ in 0..1500 {
        cluster.run(ms(1));
        for segment in (0..3).filter_map(|number| cluster.segment(number)) {
            for (address, claim) in segment.claims() {
                let early = !claim.firm && segment.standing(claim.owner) == Standing::Up;
                let role = segment.role(address);
                assert!(!(early && matches!(role, Role::StandIn { .. })), "seed {seed}: {address}");
            }
        }
    }
}

#[test]
fn who_is_beaten_stops_at_once_and_answers_for_nobody() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed, 3, ADDRESSES, Timing::DEFAULT, Instant::now());
        cluster.block(true, true);
        cluster.run(ms(2500));
        cluster.block(false, false);
        nobody_answers_for_a_newcomer(&mut cluster, seed);
        assert_owned(&cluster);
    }
}

#[test]
fn at_the_first_start_of_all_nobody_answers_for_another() {
    for seed in 0..40 {
        let mut cluster = Cluster::new(seed, 3, ADDRESSES, Timing::DEFAULT, Instant::now());
        cluster.delay = ms(seed % 20);
        nobody_answers_for_a_newcomer(&mut cluster, seed);
        assert_owned(&cluster);
    }
}

#[test]
fn a_restart_of_all_at_once_moves_nothing() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = after(&mut cluster, ms(5000), |cluster| {
            (0..3).for_each(|number| cluster.kill(number));
            (0..3).for_each(|number| cluster.boot_after(number, ms(500 + seed * 31 % 400 * number as u64)));
        });
        assert_eq!(findings.total_moves(), 0, "seed {seed}");
        assert_eq!(findings.dual, [], "seed {seed}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_speaker_that_is_killed_moves_nothing_and_is_stood_in_for() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = after(&mut cluster, ms(8000), |cluster| {
            cluster.kill(0);
            cluster.boot_after(0, ms(5000));
        });
        assert_eq!(findings.total_moves(), 0, "seed {seed}");
        assert!(findings.longest_gap() <= ms(350), "seed {seed}: {findings:?}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_speaker_that_stays_away_loses_its_addresses_when_the_hold_off_is_over() {
    for seed in 0..10 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.kill(0);
        cluster.run(ms(29_000));
        let findings = after(&mut cluster, ms(3000), |_| {});
        assert!(findings.total_moves() > 0, "seed {seed}");
        assert!(findings.longest_gap() <= ms(250), "seed {seed}: {findings:?}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_node_that_dies_while_its_speaker_is_down_is_replaced() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.kill(0);
        cluster.run(ms(3000));
        cluster.crash(0);
        cluster.run(ms(1500));
        for address in cluster.ranked(ADDRESSES).keys() {
            let [(number, mac)] = cluster.answers(*address)[..] else { panic!("seed {seed}") };
            assert_eq!(mac.0[5], u8::try_from(number).unwrap(), "seed {seed}: its own MAC address");
        }
    }
}

#[test]
fn an_address_is_handed_over_when_the_plan_says_so() {
    for seed in 0..40 {
        for (nodes, loss) in [(2, 0), (3, 0), (5, 0), (3, 10)] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            cluster.loss = loss;
            let mut plan = cluster.ranked(ADDRESSES);
            let dropped = cluster.id(0).unwrap();
            for candidates in plan.values_mut() {
                *candidates = candidates.iter().copied().filter(|node| *node != dropped).collect::<Arc<[_]>>();
            }
            let findings = after(&mut cluster, ms(3000), |cluster| {
                for number in 0..nodes {
                    cluster.plan(number, &plan);
                    cluster.run(ms(seed * 13 % 200));
                }
            });
            assert_eq!(findings.gaps, [], "seed {seed}, {nodes} nodes");
            assert!(findings.longest_dual() <= ms(50), "seed {seed}, {nodes} nodes: {findings:?}");
            assert_owned(&cluster);
            for address in plan.keys() {
                assert_ne!(owner_of(&cluster, *address), 0, "seed {seed}");
            }
        }
    }
}

/// The plan without a node, in force everywhere.
fn dropped(cluster: &mut Cluster, number: Number) {
    let mut plan = cluster.ranked(ADDRESSES);
    let node = cluster.id(number).unwrap();
    for candidates in plan.values_mut() {
        *candidates = candidates.iter().copied().filter(|other| *other != node).collect::<Arc<[_]>>();
    }
    (0..cluster.len()).for_each(|number| cluster.plan(number, &plan));
}

#[test]
fn a_drained_node_that_goes_away_afterwards_is_missed_by_nobody() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = after(&mut cluster, ms(4000), |cluster| {
            dropped(cluster, 0);
            cluster.run(ms(1000 + seed * 17 % 70));
            cluster.restart(0, ms(100_000));
            cluster.run(ms(1500));
            cluster.crash(0);
        });
        assert_eq!(findings.gaps, [], "seed {seed}");
        assert!(findings.longest_dual() <= ms(50), "seed {seed}: {findings:?}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_drained_node_goes_on_answering_until_somebody_can_take_its_addresses() {
    for seed in 0..20 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = after(&mut cluster, ms(6000), |cluster| {
            // Both others restart while the node is drained.
            (1..3).for_each(|number| cluster.restart(number, ms(1500 + seed * 37 % 500)));
            cluster.run(ms(300));
            dropped(cluster, 0);
        });
        for address in cluster.ranked(ADDRESSES).keys() {
            assert_ne!(owner_of(&cluster, *address), 0, "seed {seed}: {findings:?}");
        }
        assert!(findings.longest_gap() <= ms(350), "seed {seed}: {findings:?}");
        assert!(findings.longest_dual() <= ms(50), "seed {seed}: {findings:?}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_node_that_is_shut_down_hands_everything_over_first() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let findings = after(&mut cluster, ms(2000), |cluster| cluster.leave(0));
        assert_eq!(findings.gaps, [], "seed {seed}");
        assert!(findings.longest_dual() <= ms(50), "seed {seed}: {findings:?}");
        assert!(!cluster.runs(0), "seed {seed}: it is done");
        assert_owned(&cluster);
    }
}

#[test]
fn a_node_that_returns_takes_nothing_and_is_handed_its_own_after_the_hold_down() {
    for seed in 0..10 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let before: Vec<Number> =
            cluster.ranked(ADDRESSES).keys().map(|address| owner_of(&cluster, *address)).collect();
        cluster.crash(0);
        cluster.run(ms(5000));
        let findings = after(&mut cluster, ms(50_000), |cluster| cluster.boot(0));
        assert_eq!(findings, Findings::default(), "seed {seed}: nothing happens during the hold-down");
        let findings = after(&mut cluster, ms(20_000), |_| {});
        assert_eq!(findings.gaps, [], "seed {seed}");
        assert!(findings.longest_dual() <= ms(50), "seed {seed}: {findings:?}");
        let now: Vec<Number> = cluster.ranked(ADDRESSES).keys().map(|address| owner_of(&cluster, *address)).collect();
        assert_eq!(now, before, "seed {seed}");
    }
}

#[test]
fn a_service_that_is_deleted_is_answered_for_by_nobody() {
    for seed in 0..10 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let mut plan = cluster.ranked(ADDRESSES);
        let (address, _) = plan.pop_first().unwrap();
        for number in 0..3 {
            cluster.plan(number, &plan);
            cluster.run(ms(100));
        }
        cluster.run(ms(3000));
        assert_eq!(cluster.answers(address), [], "seed {seed}");
        assert!((0..3).all(|number| !cluster.segment(number).unwrap().claims().contains_key(&address)), "seed {seed}");
    }
}
