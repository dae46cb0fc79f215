//! A program that was kept from running says nothing until it has learned anew what is its own.

use super::*;

#[test]
fn a_stopped_speaker_is_stood_in_for_and_moves_nothing() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        let pause = ms([20, 100, 150, 210, 230, 250, 300, 500, 2000, 20_000][seed as usize % 10]);
        let findings = after(&mut cluster, ms(0), |cluster| {
            cluster.stop(0);
            cluster.run(pause);
            cluster.resume(0);
            cluster.run(ms(1500));
        });
        assert_eq!(findings.total_moves(), 0, "seed {seed}, {pause:?}");
        assert_eq!(findings.dual, [], "seed {seed}, {pause:?}");
        assert!(findings.longest_gap() <= ms(350), "seed {seed}, {pause:?}: {findings:?}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_speaker_that_was_stopped_for_longer_than_the_hold_off_wakes_up_silent() {
    for seed in 0..10 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.stop(0);
        cluster.run(ms(35_000));
        let findings = after(&mut cluster, ms(2000), |cluster| cluster.resume(0));
        assert_eq!(findings.dual, [], "seed {seed}: not a frame of the zombie");
        assert_eq!(findings.total_moves(), 0, "seed {seed}");
        assert_owned(&cluster);
    }
}

#[test]
fn a_node_that_slept_wakes_up_silent_where_its_clock_shows_it() {
    for seed in 0..40 {
        let mut cluster = settled(seed, 3, Timing::DEFAULT);
        cluster.suspend(0, true);
        cluster.run(ms(300 + seed * 457 % 20_000));
        let findings = after(&mut cluster, ms(2000), |cluster| cluster.resume(0));
        assert_eq!(findings.dual, [], "seed {seed}: not a frame of the zombie");
        assert_owned(&cluster);
    }
}

#[test]
fn a_node_that_slept_unknowingly_yields_at_the_first_frames_of_the_others() {
    for seed in 0..40 {
        for nodes in [2, 3, 5] {
            let mut cluster = settled(seed, nodes, Timing::DEFAULT);
            cluster.suspend(0, false);
            cluster.run(ms(300 + seed * 457 % 20_000));
            let findings = after(&mut cluster, ms(2000), |cluster| cluster.resume(0));
            assert!(findings.longest_dual() <= ms(140), "seed {seed}, {nodes} nodes: {findings:?}");
            assert_owned(&cluster);
        }
    }
}
