//! Tests of membership over the simulated network, with many seeds; a failure names its seed.
#![expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]

use proptest::prelude::*;

use super::*;
use crate::sim::{Datagram, Network};

struct Cluster {
    seed: u64,
    start: Instant,
    network: Network,
    hosts: BTreeMap<SocketAddr, Running>,
    names: BTreeMap<String, SocketAddr>,
    generation: u64,
}

struct Running {
    machine: Liveness,
    members: BTreeSet<String>,
    documents: BTreeMap<String, Arc<[u8]>>,
    conflicts: usize,
    dropped: usize,
    downs: usize,
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7946))
}

fn name(number: u8) -> String {
    format!("node-{number:02}")
}

impl Cluster {
    fn new(seed: u64, hosts: u8) -> Self {
        let start = Instant::now();
        let names = (1..=hosts).map(|number| (name(number), address(number))).collect();
        let network = Network::new(seed, start);
        let mut cluster = Self { seed, start, network, hosts: BTreeMap::new(), names, generation: 0 };
        (1..=hosts).for_each(|number| cluster.boot(number, &name(number), b"secret"));
        cluster
    }

    fn boot(&mut self, number: u8, name: &str, secret: &[u8]) {
        self.generation += 1000;
        self.boot_at(number, name, secret, self.generation + 1);
    }

    /// Starts a host whose clock shows this.
    fn boot_at(&mut self, number: u8, name: &str, secret: &[u8], generation: u64) {
        // Another one at every start, whatever the clock shows.
        self.generation += 1;
        let config = Config {
            name: name.to_owned(),
            address: address(number),
            secret: secret.to_vec(),
            generation,
            seed: self.seed * 1000 + self.generation,
        };
        let mut machine = Liveness::new(config, self.network.now()).unwrap();
        machine.handle(self.network.now(), Input::Peers(&self.names));
        machine.handle(self.network.now(), Input::Publish(format!("I am {name}, generation {generation}").as_bytes()));
        let running = Running {
            machine,
            members: BTreeSet::new(),
            documents: BTreeMap::new(),
            conflicts: 0,
            dropped: 0,
            downs: 0,
        };
        self.hosts.insert(address(number), running);
    }

    fn tell(&mut self, number: u8, input: Input<'_>) {
        let now = self.network.now();
        self.hosts.get_mut(&address(number)).unwrap().machine.handle(now, input);
        self.collect();
    }

    fn collect(&mut self) {
        for (from, host) in &mut self.hosts {
            while let Some(output) = host.machine.poll_output() {
                match output {
                    Output::Send { to, bytes } => {
                        assert!(bytes.len() <= DATAGRAM, "{} bytes", bytes.len());
                        self.network.send(Datagram { from: *from, to, bytes });
                    }
                    Output::Members(members) => {
                        host.downs += host.members.difference(&members).count();
                        host.members = members;
                    }
                    Output::Document { name, bytes } => drop(host.documents.insert(name, bytes)),
                    Output::Conflicts(conflicts) => host.conflicts = conflicts.len(),
                    Output::Dropped { .. } => host.dropped += 1,
                }
            }
        }
    }

    fn step(&mut self) {
        self.collect();
        let deadlines = self.hosts.values().filter_map(|host| host.machine.next_deadline());
        let next = deadlines.chain(self.network.next_arrival()).min().unwrap();
        for datagram in self.network.advance(next) {
            if let Some(host) = self.hosts.get_mut(&datagram.to) {
                let input = Input::Datagram { from: datagram.from, bytes: &datagram.bytes };
                host.machine.handle(self.network.now(), input);
            }
        }
        let now = self.network.now();
        self.hosts.values_mut().for_each(|host| host.machine.handle_timeout(now));
        self.collect();
    }

    fn run(&mut self, during: Duration) {
        let end = self.network.now() + during;
        while self.network.now() < end {
            self.step();
        }
    }

    /// Runs until something is so; returns how long that took in virtual time.
    fn until(&mut self, within: Duration, what: &str, so: impl Fn(&Self) -> bool) -> Duration {
        let start = self.network.now();
        while !so(self) {
            let passed = self.network.now() - start;
            assert!(passed < within, "seed {}: after {passed:?} it is not so that {what}", self.seed);
            self.step();
        }
        self.network.now() - start
    }

    fn all_see_all(&self) -> bool {
        let all: BTreeSet<String> = self.names.keys().cloned().collect();
        self.hosts.values().all(|host| host.members == all)
    }

    fn nobody_sees(&self, number: u8) -> bool {
        self.hosts.values().all(|host| !host.members.contains(&name(number)))
    }
}

const SEEDS: std::ops::Range<u64> = 0..30;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn hosts_find_one_another_and_hear_what_they_say() {
    for seed in SEEDS {
        for hosts in [1, 2, 3, 5, 16] {
            let mut cluster = Cluster::new(seed, hosts);
            cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
            cluster.until(seconds(2.0), "all have heard all", |cluster| {
                cluster.hosts.values().all(|host| host.documents.len() == usize::from(hosts) - 1)
            });
        }
    }
}

#[test]
fn a_host_that_dies_is_missed_and_the_others_are_not() {
    for seed in SEEDS {
        for hosts in [2, 3, 5] {
            let mut cluster = Cluster::new(seed, hosts);
            cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
            cluster.hosts.remove(&address(1));
            let took = cluster.until(seconds(4.0), "nobody sees it", |cluster| cluster.nobody_sees(1));
            assert!(took > seconds(0.3), "seed {seed}: no detection is as fast as {took:?}");
            assert!(cluster.hosts.values().all(|host| host.members.len() == usize::from(hosts) - 1), "seed {seed}");
        }
    }
}

#[test]
fn a_host_that_leaves_is_gone_at_once() {
    for seed in SEEDS {
        let mut cluster = Cluster::new(seed, 3);
        cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
        cluster.tell(1, Input::Leave);
        cluster.hosts.remove(&address(1));
        cluster.until(seconds(0.5), "nobody sees it", |cluster| cluster.nobody_sees(1));
    }
}

#[test]
fn a_host_that_restarts_comes_back_with_what_it_says_now() {
    for seed in SEEDS {
        let mut cluster = Cluster::new(seed, 3);
        cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
        cluster.run(seconds(2.0));
        cluster.hosts.remove(&address(2));
        cluster.run(seconds(0.5));
        cluster.boot(2, &name(2), b"secret");
        let says = format!("I am {}, generation {}", name(2), cluster.generation);
        cluster.until(seconds(5.0), "it is back", |cluster| {
            let heard =
                |host: &Running| host.documents.get(&name(2)).is_none_or(|says_now| **says_now == *says.as_bytes());
            cluster.all_see_all() && cluster.hosts.values().all(heard)
        });
    }
}

const NOW: u64 = 1_790_000_000_000;
const HOUR: u64 = 3_600_000;

/// Starts node 2 anew, and again, with these clocks; each time everybody meets it and hears what it says now.
fn restarts_with_clocks(clocks: &[u64], away: Duration) {
    for seed in SEEDS {
        let mut cluster = Cluster::new(seed, 3);
        cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
        for (count, clock) in clocks.iter().enumerate() {
            cluster.hosts.remove(&address(2));
            cluster.run(away);
            cluster.boot_at(2, &name(2), b"secret", *clock);
            let says = format!("start {count}");
            cluster.tell(2, Input::Publish(says.as_bytes()));
            cluster.until(seconds(5.0), &format!("it is back, the clock at {clock}"), |cluster| {
                let others = cluster.hosts.iter().filter(|(at, _)| **at != address(2));
                let heard = |host: &Running| host.documents.get(&name(2)).is_some_and(|now| **now == *says.as_bytes());
                cluster.all_see_all() && others.into_iter().all(|(_, host)| heard(host))
            });
            cluster.run(seconds(3.0));
            assert!(cluster.all_see_all(), "seed {seed}: it stays so");
        }
    }
}

#[test]
fn a_host_whose_clock_went_back_an_hour_comes_back() {
    for away in [0.2, 5.0] {
        restarts_with_clocks(&[NOW, NOW - HOUR, NOW - 2 * HOUR], seconds(away));
    }
}

#[test]
fn a_host_whose_clock_starts_in_1970_comes_back_each_time() {
    for away in [0.2, 5.0] {
        restarts_with_clocks(&[NOW, 0, 0, 0, 1, 0], seconds(away));
    }
}

#[test]
fn a_host_whose_clock_was_far_ahead_comes_back_when_it_is_right() {
    restarts_with_clocks(&[NOW * 3, NOW, NOW + HOUR], seconds(0.5));
}

#[test]
fn a_host_whose_clock_and_address_are_new_comes_back_once_its_former_life_is_over() {
    for seed in SEEDS {
        let mut cluster = Cluster::new(seed, 2);
        cluster.hosts.remove(&address(2));
        cluster.boot_at(2, &name(2), b"secret", NOW);
        cluster.until(seconds(5.0), "all see all", Cluster::all_see_all);
        cluster.hosts.remove(&address(2));
        cluster.boot_at(3, &name(2), b"secret", NOW - HOUR);
        cluster.until(seconds(10.0), "all see all", Cluster::all_see_all);
    }
}

#[test]
fn two_hosts_with_one_name_do_not_overtake_each_other() {
    let mut cluster = Cluster::new(1, 3);
    cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
    cluster.boot_at(4, &name(2), b"secret", NOW);
    cluster.until(seconds(5.0), "it is noticed", |cluster| cluster.hosts[&address(1)].conflicts == 1);
    cluster.run(seconds(60.0));
    assert_eq!(cluster.hosts[&address(1)].conflicts, 1);
    let of = |number| cluster.hosts[&address(number)].machine.own.generation;
    assert!(of(2) < NOW, "the earlier one never takes a generation later than {NOW}: {}", of(2));
    assert_eq!(of(4), NOW, "and the later one has no need to");
}

#[test]
fn a_network_that_was_cut_in_two_becomes_one_again() {
    for seed in SEEDS {
        let mut cluster = Cluster::new(seed, 5);
        cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
        for (a, b) in (1..=2).flat_map(|a| (3..=5).map(move |b| (address(a), address(b)))) {
            cluster.network.cut(a, b);
            cluster.network.cut(b, a);
        }
        cluster.until(seconds(6.0), "both sides see only themselves", |cluster| {
            let sizes: Vec<usize> = cluster.hosts.values().map(|host| host.members.len()).collect();
            sizes == [2, 2, 3, 3, 3]
        });
        cluster.run(seconds(10.0));
        cluster.network.heal();
        cluster.until(seconds(5.0), "all see all again", Cluster::all_see_all);
    }
}

#[test]
fn little_loss_kills_nobody_and_much_loss_still_lets_hosts_meet() {
    for seed in SEEDS {
        let mut cluster = Cluster::new(seed, 3);
        cluster.network.loss = 1;
        cluster.until(seconds(5.0), "all see all", Cluster::all_see_all);
        cluster.run(seconds(60.0));
        let downs: usize = cluster.hosts.values().map(|host| host.downs).sum();
        assert_eq!(downs, 0, "seed {seed}");
        let mut lossy = Cluster::new(seed, 5);
        lossy.network.loss = 20;
        lossy.until(seconds(20.0), "all see all", Cluster::all_see_all);
    }
}

#[test]
fn a_document_of_a_megabyte_arrives_through_loss() {
    let document: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    for seed in 0..5 {
        let mut cluster = Cluster::new(seed, 3);
        cluster.network.loss = 10;
        cluster.until(seconds(5.0), "all see all", Cluster::all_see_all);
        cluster.tell(1, Input::Publish(&document));
        cluster.until(seconds(30.0), "it has arrived", |cluster| {
            let others = cluster.hosts.iter().filter(|(at, _)| **at != address(1));
            others.into_iter().all(|(_, host)| host.documents.get(&name(1)).is_some_and(|has| **has == *document))
        });
    }
}

#[test]
fn a_short_document_takes_one_way_across_the_network() {
    let mut cluster = Cluster::new(1, 3);
    cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
    cluster.run(seconds(1.0));
    cluster.tell(1, Input::Publish(b"new"));
    let took = cluster.until(seconds(1.0), "it has arrived", |cluster| {
        let others = cluster.hosts.iter().filter(|(at, _)| **at != address(1));
        others.into_iter().all(|(_, host)| host.documents.get(&name(1)).is_some_and(|has| **has == *b"new"))
    });
    assert!(took <= Duration::from_millis(2), "{took:?}");
}

#[test]
fn a_host_with_another_secret_sees_nobody_and_is_seen_by_nobody() {
    let mut cluster = Cluster::new(1, 3);
    cluster.boot(3, &name(3), b"another");
    cluster.run(seconds(5.0));
    assert_eq!(cluster.hosts[&address(3)].members, BTreeSet::from([name(3)]));
    assert!(cluster.hosts[&address(3)].dropped > 0);
    assert_eq!(cluster.hosts[&address(1)].members, BTreeSet::from([name(1), name(2)]));
}

#[test]
fn two_hosts_with_one_name_are_told_of_until_one_is_gone() {
    let mut cluster = Cluster::new(1, 3);
    cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
    cluster.boot(4, &name(2), b"secret");
    cluster.until(seconds(5.0), "it is noticed", |cluster| cluster.hosts[&address(1)].conflicts == 1);
    cluster.hosts.remove(&address(4));
    cluster.until(seconds(10.0), "it is over", |cluster| cluster.hosts[&address(1)].conflicts == 0);
}

#[test]
fn repeated_and_damaged_datagrams_change_nothing() {
    let mut cluster = Cluster::new(1, 2);
    cluster.until(seconds(3.0), "all see all", Cluster::all_see_all);
    let now = cluster.network.now();
    let host = cluster.hosts.get_mut(&address(1)).unwrap();
    let mut other = Seal::new(b"secret", 77).unwrap();
    let good = other.seal(b"nonsense inside");
    for bytes in [&good[..], &good[..], &good[..30], b"", b"garbage"] {
        host.machine.handle(now, Input::Datagram { from: address(9), bytes });
    }
    cluster.collect();
    assert_eq!(cluster.hosts[&address(1)].dropped, 5);
    assert!(cluster.all_see_all());
    assert!(cluster.network.now() >= cluster.start);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), inside: bool) {
        let now = Instant::now();
        let config = Config { name: "a".into(), address: address(1), secret: b"s".to_vec(), generation: 1, seed: 1 };
        let mut machine = Liveness::new(config, now).unwrap();
        let bytes = if inside { Seal::new(b"s", 5).unwrap().seal(&bytes) } else { bytes };
        machine.handle(now, Input::Datagram { from: address(2), bytes: &bytes });
        while machine.poll_output().is_some() {}
    }
}
