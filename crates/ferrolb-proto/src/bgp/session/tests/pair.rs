//! Two sessions of ours talk to each other over connections that are cut, split and delayed as a seed says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One end with its streams.
struct End {
    session: Session,
    /// Bytes on their way to this end, by its own connection id, with what the socket of the other has to be told.
    incoming: BTreeMap<ConnectionId, (Vec<u8>, ConnectionId)>,
    accepted: u64,
    established: bool,
}

struct Pair {
    now: Instant,
    rng: SmallRng,
    ends: [End; 2],
}

impl Pair {
    #[expect(clippy::disallowed_methods, reason = "a test has to begin somewhere in time")]
    fn new(seed: u64, posture: Posture) -> Self {
        let now = Instant::now();
        let end = |asn: u32, remote: u32, posture| {
            let router_id = Ipv4Addr::from(asn);
            let (local_asn, remote) = (Asn(asn), Remote::Number(Asn(remote)));
            let graceful_restart = seed.is_multiple_of(2).then_some(120 * SECOND);
            let config = Config { local_asn, remote, router_id, posture, graceful_restart, ..config() };
            let session = Session::new(config, seed + u64::from(asn), now);
            End { session, incoming: BTreeMap::new(), accepted: 0, established: false }
        };
        let ends = [end(64512, 64513, posture), end(64513, 64512, Posture::DialAndListen)];
        let mut pair = Self { now, rng: SmallRng::seed_from_u64(seed), ends };
        for at in 0..2 {
            pair.tell(at, Input::Start);
        }
        pair
    }

    fn tell(&mut self, at: usize, input: Input<'_>) {
        self.ends[at].session.handle(self.now, input);
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.ends[at].session.poll_output() {
            match output {
                Output::Dial(id) => {
                    self.ends[1 - at].accepted += 1;
                    let other = ConnectionId::Accepted(self.ends[1 - at].accepted);
                    self.ends[at].incoming.insert(id, (Vec::new(), other));
                    self.ends[1 - at].incoming.insert(other, (Vec::new(), id));
                    self.tell(1 - at, Input::Accepted(other, endpoints()));
                    self.tell(at, Input::Dialed(id, endpoints()));
                }
                Output::Send(id, bytes) => {
                    let other = self.ends[at].incoming.get(&id).map(|(_, other)| *other);
                    if let Some((queue, _)) = other.and_then(|other| self.ends[1 - at].incoming.get_mut(&other)) {
                        queue.extend(bytes);
                    }
                }
                Output::Close(id) | Output::Abort(id) => {
                    self.ends[at].incoming.remove(&id);
                }
                Output::Established(_) => {
                    assert!(!self.ends[at].established, "one session at a time");
                    self.ends[at].established = true;
                }
                Output::Down { established: true, .. } => self.ends[at].established = false,
                _ => {}
            }
        }
    }

    /// Delivers a piece of some stream, or lets time pass to the next deadline.
    fn step(&mut self) {
        let streams: Vec<(usize, ConnectionId)> =
            (0..2).flat_map(|at| self.ends[at].incoming.keys().map(move |id| (at, *id)).collect::<Vec<_>>()).collect();
        let mut idle = true;
        for (at, id) in streams {
            let Some((queue, other)) = self.ends[at].incoming.get_mut(&id) else { continue };
            let other = *other;
            let count = self.rng.random_range(0..=queue.len());
            let piece: Vec<u8> = queue.drain(..count).collect();
            let is_over = queue.is_empty() && !self.ends[1 - at].incoming.contains_key(&other);
            if !piece.is_empty() {
                idle = false;
                self.tell(1 - at, Input::Sent(other, piece.len()));
                self.tell(at, Input::Bytes(id, &piece));
            }
            if is_over && self.ends[at].incoming.remove(&id).is_some() {
                self.tell(at, Input::Closed(id));
            }
        }
        if idle {
            self.now += Duration::from_millis(200);
            for at in 0..2 {
                self.ends[at].session.handle_timeout(self.now);
                self.drain(at);
            }
        }
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// Ends early once there is one connection, established, over which so many routes have gone.
    fn run_until(&mut self, steps: usize, told: usize) {
        for _ in 0..steps {
            self.step();
            let settled = |end: &End| end.session.state() == State::Established && end.incoming.len() == 1;
            let adj_out = self.ends[0].session.adj_out();
            if self.ends.iter().all(settled) && adj_out.told(Family::V4) == told && adj_out.is_idle() {
                return;
            }
        }
    }

    /// The network loses every connection: both ends hear of it, or only one.
    fn cut(&mut self) {
        let both = self.rng.random_bool(0.5);
        for at in 0..if both { 2 } else { 1 } {
            for id in std::mem::take(&mut self.ends[at].incoming).into_keys() {
                self.tell(at, Input::Closed(id));
            }
        }
    }
}

fn some_routes(count: u32, med: u32) -> Arc<Routes> {
    let set = Arc::new(Attributes { med: Some(med), ..Attributes::default() });
    let prefix = |number: u32| std::net::IpAddr::from((0x0a00_0000 + number).to_be_bytes()).into();
    Arc::new((0..count).map(|number| (prefix(number), Arc::clone(&set))).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn two_of_us_agree_after_any_history_and_everything_is_told(
        seed: u64, listens: bool,
        history in prop::collection::vec((0u8..6, 0usize..30, 0u32..3000), 0..8),
    ) {
        let mut pair = Pair::new(seed, if listens { Posture::DialAndListen } else { Posture::Dial });
        let mut wanted = 0;
        for (what, steps, count) in history {
            match what {
                0 => pair.cut(),
                1 => pair.tell(0, Input::Stop(Cease::AdministrativeReset, "")),
                2 => pair.tell(1, Input::Bfd(if count % 2 == 0 { Path::Up } else { Path::Down })),
                3 => pair.tell(0, Input::Leave(SECOND, "x")),
                _ => {
                    wanted = count;
                    pair.tell(0, Input::Routes(some_routes(count, count % 3)));
                }
            }
            pair.run(steps);
        }
        for at in 0..2 {
            pair.tell(at, Input::Start);
        }
        pair.tell(0, Input::Routes(some_routes(wanted, 7)));
        pair.run_until(3000, wanted as usize);
        for end in &pair.ends {
            prop_assert_eq!(end.session.state(), State::Established, "{:?}", end.session.last_down());
            prop_assert_eq!(end.incoming.len(), 1, "one connection is left");
        }
        prop_assert_eq!(pair.ends[0].session.adj_out().told(Family::V4), wanted as usize);
        prop_assert_eq!(pair.ends[1].session.counters().treated_as_withdraw, 0);
    }

    #[test]
    fn no_input_in_any_order_makes_the_session_panic_or_grow(
        script in prop::collection::vec((0u8..12, any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)), 0..60),
    ) {
        let mut bench = Bench::new(Config { posture: Posture::DialAndListen, ..config() });
        for (what, number, bytes) in script {
            let id = if number % 2 == 0 { ConnectionId::Dialed(1 + u64::from(number / 64)) } else { ConnectionId::Accepted(number.into()) };
            match what {
                0 => bench.tell(Input::Start),
                1 => bench.tell(Input::Stop(Cease::AdministrativeShutdown, "x")),
                2 => bench.tell(Input::Drain(SECOND * number.into(), Cease::AdministrativeShutdown, "x")),
                3 => bench.tell(Input::Dialed(id, endpoints())),
                4 => bench.tell(Input::Accepted(ConnectionId::Accepted(number.into()), endpoints())),
                5 => bench.tell(Input::Bytes(id, &bytes)),
                6 => bench.tell(Input::Bytes(id, &their_open().emit())),
                7 => bench.tell(Input::Bytes(id, &keepalive())),
                8 => bench.tell(Input::Closed(id)),
                9 => bench.tell(Input::Routes(some_routes(number.into(), 0))),
                10 => bench.tell(Input::Leave(SECOND, "x")),
                _ => bench.at(SECOND * number.into()),
            }
            prop_assert!(bench.session.connections.len() <= 2);
        }
    }
}
