//! How fast, how much: figures in virtual time, printed, and limits that hold for every seed.

use super::*;

/// Outages of the addresses of a node that dies, one per try, sorted.
fn outages(nodes: usize, timing: Timing, tries: u64) -> Vec<Duration> {
    let mut took = Vec::new();
    for seed in 0..tries {
        let mut cluster = Cluster::new(seed, nodes, ADDRESSES, timing, Instant::now());
        // The moments are spread evenly over a heartbeat, however few the tries are: that is what most of it depends on.
        let moment = timing.interval * u32::try_from(seed).unwrap() / u32::try_from(tries).unwrap();
        cluster.run(ms(2600) + moment);
        let address = *cluster.ranked(ADDRESSES).keys().next().unwrap();
        let owner = owner_of(&cluster, address);
        let findings = after(&mut cluster, ms(800), |cluster| cluster.crash(owner));
        assert_eq!(findings.dual, [], "seed {seed}, {nodes} nodes");
        took.push(findings.longest_gap());
    }
    took.sort();
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// From the loss of power to the successor's announcement, 10 and 50 nodes are within a tenth of 3.
#[test]
fn an_outage_does_not_grow_with_the_number_of_nodes() {
    for (timing, name, limit) in [(Timing::DEFAULT, "default", ms(300)), (Timing::FAST, "fast", ms(90))] {
        let mut seen = Vec::new();
        for (nodes, tries) in [(2, 70), (3, 70), (10, 35), (50, 10)] {
            let took = outages(nodes, timing, tries);
            let [min, median, p99, max] = [0, 50, 99, 100].map(|percent| percentile(&took, percent));
            let mean = took.iter().sum::<Duration>() / u32::try_from(took.len()).unwrap();
            println!("{name}, {nodes} nodes: {min:?} {median:?} {p99:?} {max:?}, mean {mean:?}, of {tries}");
            assert!(max <= limit, "{name}, {nodes} nodes: {max:?}");
            seen.push((nodes, mean, max));
        }
        let (_, mean_of_3, max_of_3) = seen[1];
        for (nodes, mean, max) in &seen[2..] {
            let within = |figure: Duration, of_3: Duration| figure * 10 <= of_3 * 11 && figure * 10 >= of_3 * 9;
            assert!(within(*mean, mean_of_3), "{name}, {nodes} nodes: mean {mean:?}, {mean_of_3:?} at 3");
            assert!(within(*max, max_of_3), "{name}, {nodes} nodes: longest {max:?}, {max_of_3:?} at 3");
        }
    }
}

#[test]
fn what_a_node_sends_at_rest_does_not_grow_with_nodes_or_addresses() {
    let mut rates = Vec::new();
    for (nodes, addresses, seconds) in [(3, 10, 20), (50, 10, 5), (50, 1000, 5), (200, 10, 4)] {
        let mut cluster = Cluster::new(1, nodes, addresses, Timing::DEFAULT, Instant::now());
        cluster.run(ms(if nodes > 100 { 6000 } else { 5000 }));
        let before = cluster.figures;
        cluster.run(ms(1000) * seconds);
        let per = |count: u64| count as f64 / f64::from(seconds) / nodes as f64;
        let sent = per(cluster.figures.sent - before.sent);
        let received = per(cluster.figures.received - before.received);
        let bytes = per(cluster.figures.bytes - before.bytes);
        println!("{nodes} nodes, {addresses} addresses: {sent:.1} sent, {received:.1} received, {bytes:.0} bytes/s");
        rates.push((sent, received, bytes));
    }
    for (sent, received, bytes) in rates {
        assert!(sent < 90.0 && received < 160.0 && bytes * 8.0 < 100_000.0);
    }
}
