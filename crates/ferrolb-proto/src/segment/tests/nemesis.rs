//! Everything at random: crashes, kills, restarts, pauses, cuts, loss, plans that differ. Then peace, and one owner.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::sim::history::{Record, Span};

/// So many histories; more with `FERROLB_SEEDS`.
const SEEDS: u64 = 10_000;

fn strike(cluster: &mut Cluster, rng: &mut SmallRng) {
    let number = rng.random_range(0..cluster.len());
    let other = (number + rng.random_range(1..cluster.len())) % cluster.len();
    match rng.random_range(0..14) {
        0 => cluster.crash(number),
        1 => cluster.kill(number),
        2 => cluster.restart(number, ms(rng.random_range(0..1500))),
        3 => cluster.stop(number),
        4 => cluster.suspend(number, true),
        5 => cluster.suspend(number, false),
        6 => cluster.cut_off(&[number]),
        // Two nodes with a one-way cut are a documented limit.
        7 if cluster.len() > 2 => cluster.cut(number, other),
        8 => cluster.loss = rng.random_range(0..15),
        9 => cluster.starve(number, ms(rng.random_range(0..60))),
        10 => cluster.block(true, false),
        11 => cluster.block(false, true),
        12 => (0..cluster.len()).for_each(|number| cluster.kill(number)),
        _ => {
            let mut plan = cluster.ranked(ADDRESSES);
            let without = cluster.id(other);
            for candidates in plan.values_mut() {
                *candidates = candidates.iter().copied().filter(|node| Some(*node) != without).collect();
            }
            cluster.plan(number, &plan);
        }
    }
}

fn relieve(cluster: &mut Cluster, rng: &mut SmallRng) {
    let number = rng.random_range(0..cluster.len());
    match rng.random_range(0..3) {
        0 => cluster.heal(),
        1 => cluster.resume(number),
        _ => {
            if !cluster.runs(number) && !cluster.is_paused(number) {
                cluster.boot(number);
            }
        }
    }
}

fn peace(cluster: &mut Cluster) {
    cluster.heal();
    cluster.loss = 0;
    cluster.block(false, false);
    for number in 0..cluster.len() {
        cluster.starve(number, ms(0));
        cluster.resume(number);
        if !cluster.runs(number) {
            cluster.boot(number);
        }
        let plan = cluster.ranked(ADDRESSES);
        cluster.plan(number, &plan);
    }
}

/// Two owners are excused until a second after the last cut that was made or mended, or path that was blocked, and for
/// two intervals otherwise; a busy processor and the network take their own time.
fn is_excused(span: &Span, history: &[(Duration, Record)], lateness: Duration) -> bool {
    let touched =
        |record: &Record| matches!(record, Record::Healed | Record::Cut { .. } | Record::Fault { what: "block", .. });
    let end = span.from + span.lasted;
    let last = history.iter().filter(|(at, record)| touched(record) && *at < end).map(|(at, _)| *at).max();
    let since_last = last.map_or(Duration::MAX, |at| end - at);
    span.lasted <= ms(145) + lateness * 2 || since_last <= ms(1100)
}

fn history(seed: u64) {
    if std::env::var_os("FERROLB_VERBOSE").is_some() {
        println!("seed {seed}");
    }
    let mut rng = SmallRng::seed_from_u64(seed);
    let nodes = [2, 3, 3, 4, 5][rng.random_range(0..5)];
    let mut cluster = Cluster::new(seed, nodes, ADDRESSES, Timing::DEFAULT, Instant::now());
    let verbose = std::env::var_os("FERROLB_VERBOSE").is_some();
    cluster.run(ms(rng.random_range(0..2000)));
    for _ in 0..rng.random_range(1..5) {
        strike(&mut cluster, &mut rng);
        cluster.run(ms(rng.random_range(0..700)));
        relieve(&mut cluster, &mut rng);
        cluster.run(ms(rng.random_range(0..700)));
    }
    let at = cluster.elapsed();
    peace(&mut cluster);
    cluster.run(ms(3000));
    if verbose {
        cluster.history().iter().for_each(|(at, record)| println!("{at:?} {record:?}"));
    }
    assert_owned(&cluster);
    let findings = judge(cluster.history(), Duration::ZERO, cluster.elapsed());
    let bad: Vec<&Span> = findings.dual.iter().filter(|span| !is_excused(span, cluster.history(), ms(60))).collect();
    assert!(bad.is_empty(), "seed {seed}: two owners: {bad:?}");
    let calm = judge(cluster.history(), at + ms(2000), cluster.elapsed());
    assert_eq!(calm, Findings::default(), "seed {seed}: nothing happens any more");
    let moves = findings.moves.values().max().copied().unwrap_or_default();
    let epochs = cluster.segment(0).unwrap().claims().values().map(|claim| claim.epoch).max().unwrap_or_default();
    assert!(epochs as usize <= 2 * (moves + 2), "seed {seed}: epoch {epochs} after {moves} moves");
}

#[test]
fn whatever_happens_there_is_one_owner_in_the_end_and_never_two_for_long() {
    let seeds = std::env::var_os("FERROLB_SEEDS").and_then(|seeds| seeds.to_str()?.parse().ok()).unwrap_or(SEEDS);
    let from = std::env::var_os("FERROLB_SEED").and_then(|seed| seed.to_str()?.parse().ok()).unwrap_or(0);
    // Each history is one thread's own; the two halves share nothing.
    let failures: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || {
                let run = |seed: &u64| std::panic::catch_unwind(|| history(*seed)).is_err();
                (from..from + seeds).filter(|seed| seed % 2 == half).filter(run).take(20).collect::<Vec<_>>()
            })
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).map(|seed| seed.to_string()).collect()
    });
    assert!(failures.is_empty(), "seeds that failed: {}", failures.join(" "));
}
