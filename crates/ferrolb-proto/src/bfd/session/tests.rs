//! Tests of BFD: the packet, the state machine pair by pair, and two sessions over a link that loses and delays.

use proptest::prelude::*;

use super::*;

mod pair;

const MS: Duration = Duration::from_millis(1);

fn config(discriminator: u32) -> Config {
    Config {
        discriminator: NonZeroU32::new(discriminator).unwrap(),
        desired_min_tx: 50 * MS,
        required_min_rx: 50 * MS,
        detect_multiplier: 3,
        passive: false,
        reach: Reach::SingleHop,
    }
}

/// What a router like FRR sends.
fn theirs(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: NonZeroU32::new(7).unwrap(),
        your_discriminator: 1,
        desired_min_tx: 300_000,
        required_min_rx: 300_000,
        required_min_echo_rx: 50_000,
    }
}

struct Bench {
    now: Instant,
    session: Session,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "a test has to begin somewhere in time")]
    fn new(config: Config) -> Self {
        let now = Instant::now();
        Self { now, session: Session::new(config, 1, now) }
    }

    fn up(config: Config) -> Self {
        let mut bench = Self::new(config);
        bench.receive(theirs(State::Down));
        bench.receive(theirs(State::Init));
        assert_eq!(bench.state(), State::Up);
        bench
    }

    fn state(&self) -> State {
        self.session.change().state
    }

    fn tell(&mut self, input: Input<'_>) -> Vec<Packet> {
        self.session.handle(self.now, input);
        self.sent()
    }

    fn receive(&mut self, packet: Packet) -> Vec<Packet> {
        self.tell(Input::Packet(&packet.emit(), 255))
    }

    fn sent(&mut self) -> Vec<Packet> {
        let mut sent = Vec::new();
        while let Some(output) = self.session.poll_output() {
            if let Output::Send(bytes) = output {
                sent.push(parse(&bytes).unwrap());
            }
        }
        sent
    }

    /// Lets time pass; what is sent on the way, and when.
    fn pass(&mut self, interval: Duration) -> Vec<(Instant, Packet)> {
        let (end, mut sent) = (self.now + interval, Vec::new());
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            sent.extend(self.sent().into_iter().map(|packet| (self.now, packet)));
        }
        self.now = end;
        sent
    }
}

#[test]
fn a_packet_has_these_bytes() {
    let packet = Packet { poll: true, diagnostic: Diagnostic::NeighborSignaledDown, ..theirs(State::Up) };
    #[rustfmt::skip]
    let golden = [
        0x23, 0xe0, 3, 24, 0, 0, 0, 7, 0, 0, 0, 1,
        0, 4, 0x93, 0xe0, 0, 4, 0x93, 0xe0, 0, 0, 0xc3, 0x50,
    ];
    assert_eq!(packet.emit(), golden);
    assert_eq!(parse(&golden), Ok(packet));
}

#[test]
fn packets_that_do_not_count_are_named() {
    let good = theirs(State::Up).emit();
    let spoiled = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        parse(&bytes).unwrap_err()
    };
    assert_eq!(spoiled(0, 0x40), ParseError::OtherVersion(2));
    assert_eq!(spoiled(1, 0xc1), ParseError::Multipoint);
    assert_eq!(spoiled(2, 0), ParseError::NoMultiplier);
    assert_eq!(spoiled(3, 23), ParseError::TooShort);
    assert_eq!(spoiled(3, 25), ParseError::TooShort, "longer than what came");
    assert_eq!(spoiled(7, 0), ParseError::NoDiscriminator);
    assert_eq!(spoiled(11, 0), ParseError::NotDown);
    assert_eq!(spoiled(1, 0xc4), ParseError::TooShort, "authentication takes two bytes more");
    let mut authenticated = good.to_vec();
    authenticated.extend([1, 2]);
    authenticated[1] |= 4;
    authenticated[3] = 26;
    assert_eq!(parse(&authenticated), Err(ParseError::Authenticated));
    for end in 0..LEN {
        assert_eq!(parse(&good[..end]), Err(ParseError::TooShort));
    }
}

#[test]
fn the_state_machine_is_that_of_rfc_5880() {
    use State::{AdminDown, Down, Init, Up};
    let table = [
        (Down, AdminDown, Down),
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Init, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Up, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
        (AdminDown, Down, AdminDown),
        (AdminDown, Up, AdminDown),
    ];
    for (ours, remote, then) in table {
        let mut bench = Bench::new(config(1));
        let on_the_way: &[State] = match ours {
            Down | AdminDown => &[],
            Init => &[Down],
            Up => &[Down, Init],
        };
        for state in on_the_way {
            bench.receive(theirs(*state));
        }
        if ours == AdminDown {
            bench.tell(Input::AdminDown(true));
        }
        assert_eq!(bench.state(), ours);
        bench.receive(theirs(remote));
        assert_eq!(bench.state(), then, "{ours:?} and {remote:?}");
    }
}

#[test]
fn silence_for_the_detection_time_brings_it_down_and_not_a_moment_less() {
    let mut bench = Bench::up(config(1));
    assert_eq!(bench.session.detection_interval(), Some(900 * MS), "their multiplier, the slower of both intervals");
    bench.pass(899 * MS);
    assert_eq!(bench.state(), State::Up);
    let sent = bench.pass(MS);
    let change = bench.session.change();
    assert_eq!((change.state, change.diagnostic), (State::Down, Diagnostic::DetectionTimeExpired));
    assert_eq!(change.path(), Path::Down);
    let (_, last) = sent.last().unwrap();
    assert_eq!((last.state, last.diagnostic), (State::Down, Diagnostic::DetectionTimeExpired), "said at once");
    assert_eq!((bench.session.counters().up, bench.session.counters().down), (1, 1));
}

#[test]
fn packets_go_out_once_a_second_while_not_up_and_as_agreed_when_up_with_jitter() {
    let mut bench = Bench::new(config(1));
    let slow = bench.pass(60_000 * MS);
    assert!((60..=81).contains(&slow.len()), "{}", slow.len());
    assert!(slow.iter().all(|(_, packet)| packet.desired_min_tx == 1_000_000 && packet.required_min_rx == 50_000));
    let mut bench = Bench::up(Config { desired_min_tx: 400 * MS, ..config(1) });
    let mut times = Vec::new();
    for _ in 0..100 {
        bench.receive(Packet { is_final: true, ..theirs(State::Up) });
        times.extend(bench.pass(200 * MS).into_iter().map(|(at, _)| at));
    }
    for pair in times.windows(2).skip(1) {
        let pause = pair[1] - pair[0];
        assert!(pause >= 300 * MS && pause <= 400 * MS, "{pause:?}");
    }
    let spread: std::collections::BTreeSet<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(spread.len() > 10, "always the same pause is no jitter");
}

#[test]
fn with_a_multiplier_of_one_packets_come_a_tenth_early_at_least() {
    let mut bench = Bench::up(Config { detect_multiplier: 1, desired_min_tx: 400 * MS, ..config(1) });
    let mut times = Vec::new();
    for _ in 0..100 {
        bench.receive(theirs(State::Up));
        times.extend(bench.pass(100 * MS).into_iter().map(|(at, _)| at));
    }
    assert!(times.windows(2).skip(1).all(|pair| pair[1] - pair[0] <= 360 * MS), "{times:?}");
}

#[test]
fn going_up_polls_until_answered_and_a_poll_is_answered_at_once() {
    let mut bench = Bench::new(config(1));
    bench.receive(theirs(State::Down));
    let sent = bench.receive(theirs(State::Init));
    assert!(sent.iter().any(|packet| packet.poll && packet.state == State::Up && packet.desired_min_tx == 50_000));
    assert!(bench.pass(400 * MS).iter().all(|(_, packet)| packet.poll));
    bench.receive(Packet { is_final: true, ..theirs(State::Up) });
    let sent = bench.pass(400 * MS);
    assert!(!sent.is_empty() && sent.iter().all(|(_, packet)| !packet.poll));
    let answer = bench.receive(Packet { poll: true, ..theirs(State::Up) });
    assert!(matches!(answer.as_slice(), [packet] if packet.is_final && !packet.poll), "{answer:?}");
}

#[test]
fn slower_intervals_count_only_when_the_router_knows_them() {
    let quick = Packet { desired_min_tx: 10_000, required_min_rx: 10_000, is_final: true, ..theirs(State::Up) };
    let mut bench = Bench::up(config(1));
    bench.receive(quick);
    assert_eq!(bench.session.transmit_interval(), Some(50 * MS));
    assert_eq!(bench.session.detection_interval(), Some(150 * MS));
    let sent = bench.tell(Input::Configure(Config { desired_min_tx: 200 * MS, required_min_rx: 20 * MS, ..config(1) }));
    assert!(matches!(sent.as_slice(), [packet] if packet.poll && packet.desired_min_tx == 200_000), "{sent:?}");
    assert_eq!(bench.session.transmit_interval(), Some(50 * MS), "the router still expects one every 50 ms");
    assert_eq!(bench.session.detection_interval(), Some(150 * MS), "and still sends one every 50 ms");
    bench.receive(quick);
    assert_eq!(bench.session.transmit_interval(), Some(200 * MS));
    assert_eq!(bench.session.detection_interval(), Some(60 * MS));
}

#[test]
fn a_change_during_a_poll_waits_for_a_poll_of_its_own() {
    let quick = Packet { desired_min_tx: 10_000, required_min_rx: 10_000, is_final: true, ..theirs(State::Up) };
    let mut bench = Bench::up(config(1));
    bench.receive(quick);
    bench.tell(Input::Configure(Config { desired_min_tx: 200 * MS, ..config(1) }));
    bench.tell(Input::Configure(Config { desired_min_tx: 5000 * MS, ..config(1) }));
    let sent = bench.receive(quick);
    assert_eq!(bench.session.transmit_interval(), Some(200 * MS), "more may not have arrived");
    assert!(matches!(sent.as_slice(), [packet] if packet.poll && packet.desired_min_tx == 5_000_000), "{sent:?}");
    assert_eq!(bench.receive(quick), []);
    assert_eq!(bench.session.transmit_interval(), Some(5000 * MS));
}

#[test]
fn faster_intervals_count_at_once() {
    let mut bench = Bench::up(Config { desired_min_tx: 300 * MS, required_min_rx: 300 * MS, ..config(1) });
    bench.receive(Packet { required_min_rx: 10_000, is_final: true, ..theirs(State::Up) });
    let (before, last) = (bench.now, bench.session.last_sent_at.unwrap());
    bench.tell(Input::Configure(Config { desired_min_tx: 20 * MS, required_min_rx: 600 * MS, ..config(1) }));
    assert_eq!(bench.session.transmit_interval(), Some(20 * MS));
    assert_eq!(bench.session.detection_interval(), Some(1800 * MS), "patience never waits");
    assert!(bench.session.next_deadline().unwrap() <= before.max(last) + 20 * MS);
}

#[test]
fn switched_off_it_says_so_and_the_way_is_not_called_dead() {
    let mut bench = Bench::up(config(1));
    let sent = bench.tell(Input::AdminDown(true));
    assert!(matches!(sent.as_slice(), [packet] if packet.state == State::AdminDown), "{sent:?}");
    assert_eq!(bench.session.change().path(), Path::Unknown);
    let again = bench.receive(theirs(State::Up));
    assert_eq!(again.len(), 1, "a router that missed it is told again");
    assert_eq!(bench.receive(theirs(State::Down)), []);
    bench.pass(10_000 * MS);
    assert_eq!(bench.state(), State::AdminDown);
    bench.tell(Input::AdminDown(false));
    bench.receive(theirs(State::Down));
    bench.receive(theirs(State::Up));
    assert_eq!(bench.session.change().path(), Path::Up);
}

#[test]
fn a_router_that_is_switched_off_is_not_called_dead() {
    let mut bench = Bench::up(config(1));
    bench.receive(Packet { your_discriminator: 0, ..theirs(State::AdminDown) });
    assert_eq!((bench.state(), bench.session.change().path()), (State::Down, Path::Unknown));
}

#[test]
fn a_packet_from_too_far_or_for_another_changes_nothing() {
    let mut bench = Bench::new(config(1));
    let bytes = theirs(State::Down).emit();
    let discarded = |bench: &mut Bench, bytes: &[u8], ttl| {
        bench.session.handle(bench.now, Input::Packet(bytes, ttl));
        bench.session.poll_output()
    };
    assert_eq!(discarded(&mut bench, &bytes, 254), Some(Output::Discarded(Discard::Ttl(254))));
    let other = Packet { your_discriminator: 9, ..theirs(State::Down) }.emit();
    assert_eq!(discarded(&mut bench, &other, 255), Some(Output::Discarded(Discard::OtherSession(9))));
    let short = Some(Output::Discarded(Discard::Malformed(ParseError::TooShort)));
    assert_eq!(discarded(&mut bench, &bytes[..20], 255), short);
    assert_eq!((bench.state(), bench.session.counters().discarded), (State::Down, 3));
    let mut far = Bench::new(Config { reach: Reach::Multihop(250), ..config(1) });
    far.tell(Input::Packet(&bytes, 249));
    assert_eq!(far.state(), State::Down);
    far.tell(Input::Packet(&bytes, 250));
    assert_eq!(far.state(), State::Init);
}

#[test]
fn a_passive_session_is_silent_until_it_hears_and_when_it_hears_no_more() {
    let mut bench = Bench::new(Config { passive: true, ..config(1) });
    assert_eq!(bench.pass(10_000 * MS), []);
    let sent = bench.receive(Packet { your_discriminator: 0, ..theirs(State::Down) });
    assert!(matches!(sent.as_slice(), [packet] if packet.state == State::Init && packet.your_discriminator == 7));
    bench.pass(60_000 * MS);
    assert_eq!((bench.state(), bench.pass(10_000 * MS)), (State::Down, vec![]));
}

#[test]
fn a_router_that_takes_no_packets_gets_none() {
    let mut bench = Bench::up(config(1));
    bench.receive(Packet { required_min_rx: 0, is_final: true, ..theirs(State::Up) });
    assert_eq!(bench.pass(800 * MS), []);
    bench.receive(theirs(State::Up));
    assert!(!bench.pass(800 * MS).is_empty());
}

#[test]
fn a_router_in_demand_mode_gets_polls_only() {
    let mut bench = Bench::up(config(1));
    let demanding = Packet { demand: true, is_final: true, ..theirs(State::Up) };
    bench.receive(demanding);
    assert_eq!(bench.pass(800 * MS), []);
    let sent = bench.tell(Input::Configure(Config { required_min_rx: 100 * MS, ..config(1) }));
    assert!(sent.is_empty() || sent[0].poll);
    bench.receive(Packet { demand: true, ..theirs(State::Up) });
    assert!(bench.pass(800 * MS).iter().all(|(_, packet)| packet.poll));
}
