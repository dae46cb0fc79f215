//! Two sessions over a simulated link.

use std::net::SocketAddr;

use super::*;
use crate::sim::{Datagram, Network};

/// Two ends; each is its own address in the network.
struct Pair {
    network: Network,
    ends: [Session; 2],
    addresses: [SocketAddr; 2],
    downs: [u32; 2],
}

impl Pair {
    #[expect(clippy::disallowed_methods, reason = "a test has to begin somewhere in time")]
    fn new(seed: u64, configs: [Config; 2]) -> Self {
        let now = Instant::now();
        let ends = configs.map(|config| Session::new(config, seed ^ u64::from(config.discriminator.get()), now));
        let addresses = ["192.0.2.1:3784", "192.0.2.2:3784"].map(|text| text.parse().unwrap());
        Self { network: Network::new(seed, now), ends, addresses, downs: [0; 2] }
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.ends[at].poll_output() {
            match output {
                Output::Send(bytes) => {
                    let (from, to) = (self.addresses[at], self.addresses[1 - at]);
                    self.network.send(Datagram { from, to, bytes: bytes.to_vec() });
                }
                Output::Changed(change) => self.downs[at] += u32::from(change.state == State::Down),
                Output::Discarded(why) => panic!("{why}"),
            }
        }
    }

    fn tell(&mut self, at: usize, input: Input<'_>) {
        let now = self.network.now();
        self.ends[at].handle(now, input);
        self.drain(at);
    }

    fn pass(&mut self, interval: Duration) {
        let end = self.network.now() + interval;
        loop {
            let deadlines = self.ends.iter().filter_map(Session::next_deadline);
            let next = deadlines.chain(self.network.next_arrival()).min().map_or(end, |at| at.min(end));
            let arrived = self.network.advance(next);
            for datagram in arrived {
                let at = usize::from(datagram.to == self.addresses[1]);
                self.tell(at, Input::Packet(&datagram.bytes, 255));
            }
            for at in 0..2 {
                self.ends[at].handle_timeout(self.network.now());
                self.drain(at);
            }
            if next >= end {
                return;
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].change().state, self.ends[1].change().state]
    }
}

fn both(interval: Duration) -> [Config; 2] {
    [1, 2].map(|number| Config { desired_min_tx: interval, required_min_rx: interval, ..config(number) })
}

const UP: [State; 2] = [State::Up; 2];

#[test]
fn two_of_us_are_up_within_a_slow_interval_and_stay_so() {
    for interval in [10 * MS, 50 * MS, 300 * MS] {
        let mut pair = Pair::new(5, both(interval));
        pair.pass(1100 * MS);
        assert_eq!(pair.states(), UP);
        pair.pass(60_000 * MS);
        assert_eq!((pair.states(), pair.downs), (UP, [0, 0]));
        assert_eq!(pair.ends[0].detection_interval(), Some(3 * interval));
        assert_eq!(pair.ends[0].transmit_interval(), Some(interval));
    }
}

#[test]
fn a_dead_link_is_noticed_by_both_within_three_intervals() {
    for (ways, interval) in [(1, 10 * MS), (2, 50 * MS), (2, 300 * MS)] {
        let mut pair = Pair::new(9, both(interval));
        pair.pass(5_000 * MS);
        pair.network.cut(pair.addresses[0], pair.addresses[1]);
        if ways == 2 {
            pair.network.cut(pair.addresses[1], pair.addresses[0]);
        }
        // What is on its way arrives within a millisecond; from then on the detection time counts.
        pair.pass(3 * interval + 2 * MS);
        assert_eq!(pair.states()[1], State::Down);
        pair.pass(2 * MS);
        assert_eq!(pair.states()[0], State::Down, "told by the other, or not hearing it either");
        pair.network.heal();
        pair.pass(5_000 * MS);
        assert_eq!(pair.states(), UP);
    }
}

#[test]
fn switching_off_is_seen_as_such_though_the_link_loses_a_third_of_it() {
    let mut pair = Pair::new(3, both(50 * MS));
    pair.pass(5_000 * MS);
    pair.network.loss = 33;
    pair.tell(0, Input::AdminDown(true));
    pair.pass(1_000 * MS);
    assert_eq!(pair.ends[1].change().path(), Path::Unknown, "{:?}", pair.ends[1].change());
}

fn any_interval() -> impl Strategy<Value = Duration> {
    prop::sample::select(vec![10 * MS, 30 * MS, 50 * MS, 300 * MS, 1000 * MS, 5000 * MS])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_change_of_timers_ever_makes_a_working_link_look_dead(
        seed: u64,
        changes in prop::collection::vec((0usize..2, any_interval(), any_interval(), 2u8..5, 0u32..3000), 1..12),
    ) {
        let mut pair = Pair::new(seed, both(50 * MS));
        pair.pass(3_000 * MS);
        // The network may let a packet overtake another, which can bring a session down while it comes up.
        pair.downs = [0; 2];
        for (at, desired_min_tx, required_min_rx, detect_multiplier, pause) in changes {
            let config = Config { desired_min_tx, required_min_rx, detect_multiplier, ..*pair.ends[at].config() };
            pair.tell(at, Input::Configure(config));
            pair.pass(MS * pause);
            prop_assert_eq!((pair.states(), pair.downs), (UP, [0, 0]));
        }
        pair.pass(30_000 * MS);
        prop_assert_eq!((pair.states(), pair.downs), (UP, [0, 0]));
        let slower = pair.ends[0].config().desired_min_tx.max(pair.ends[1].config().required_min_rx);
        prop_assert_eq!(pair.ends[0].transmit_interval(), Some(slower));
    }

    #[test]
    fn whatever_the_link_did_both_are_up_when_it_works(
        seed: u64, loss in 0u32..90, delay in 0u32..200, rounds in 0usize..6, passive: bool,
    ) {
        let mut configs = both(50 * MS);
        configs[0].passive = passive;
        let mut pair = Pair::new(seed, configs);
        pair.network.loss = loss;
        pair.network.delay = MS * delay;
        for round in 0..rounds {
            pair.pass(700 * MS);
            pair.tell(round % 2, Input::AdminDown(round % 3 == 0));
        }
        pair.network.loss = 0;
        pair.network.delay = MS;
        for at in 0..2 {
            pair.tell(at, Input::AdminDown(false));
        }
        pair.pass(10_000 * MS);
        prop_assert_eq!(pair.states(), UP);
    }

    #[test]
    fn no_packet_makes_it_panic_or_send_faster_than_it_may(
        packets in prop::collection::vec((prop::array::uniform24(any::<u8>()), any::<bool>(), 0u32..2000), 0..80),
    ) {
        let mut bench = Bench::new(config(1));
        for (mut bytes, fix, pause) in packets {
            if fix {
                bytes[0] = 0x20 | bytes[0] & 0x1f;
                bytes[1] &= 0xfa;
                bytes[3] = 24;
                bytes[8..12].copy_from_slice(&[0, 0, 0, 1]);
            }
            let answers = bench.tell(Input::Packet(&bytes, 255)).len();
            prop_assert!(answers <= 3, "{answers} packets for one");
            let sent = bench.pass(MS * pause).len();
            prop_assert!(sent <= 3 + usize::try_from(pause / 37).unwrap(), "{sent} in {pause} ms");
        }
    }
}
