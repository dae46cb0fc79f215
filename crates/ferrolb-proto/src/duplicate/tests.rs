//! Tests of duplicate address detection and defence.
#![expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]

use proptest::prelude::*;

use super::*;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const NODE: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);

fn address(n: u16) -> IpAddr {
    IpAddr::from(std::net::Ipv4Addr::from_bits(0xc0a8_0000 + u32::from(n)))
}

fn machine() -> (Duplicate, Instant) {
    let mut machine = Duplicate::new(OWN, 1);
    machine.set_nodes([NODE]);
    (machine, Instant::now())
}

fn drain(machine: &mut Duplicate) -> Vec<Output> {
    std::iter::from_fn(|| machine.poll_output()).collect()
}

/// Lets time pass; returns what came out and when.
fn run(machine: &mut Duplicate, from: Instant, span: Duration) -> Vec<(Duration, Output)> {
    let mut all: Vec<_> = drain(machine).into_iter().map(|output| (Duration::ZERO, output)).collect();
    while let Some(at) = machine.next_deadline().filter(|at| *at <= from + span) {
        machine.handle_timeout(at);
        all.extend(drain(machine).into_iter().map(|output| (at - from, output)));
    }
    all
}

fn sighting(mac: MacAddr, probe: bool) -> Input {
    Input::Sighting { address: address(1), mac, probe }
}

#[test]
fn an_address_is_probed_three_times_and_free_within_half_a_second() {
    for seed in 0..100 {
        let (mut machine, now) = (Duplicate::new(OWN, seed), Instant::now());
        machine.handle(now, Input::Check(address(1)));
        let outputs = run(&mut machine, now, Duration::from_secs(5));
        let kinds: Vec<Output> = outputs.iter().map(|(_, output)| *output).collect();
        let probe = Output::Probe(address(1));
        assert_eq!(kinds, [probe, probe, probe, Output::Free(address(1))]);
        assert!(outputs[3].0 <= Duration::from_millis(500), "{:?}", outputs[3].0);
        assert!(outputs[1].0 >= Duration::from_millis(100));
    }
}

#[test]
fn an_address_that_is_in_use_is_not_free_until_its_user_is_gone() {
    let (mut machine, now) = machine();
    machine.handle(now, Input::Check(address(1)));
    machine.handle(now + Duration::from_millis(1), sighting(STRANGER, false));
    assert_eq!(drain(&mut machine), [Output::Probe(address(1)), Output::InUse(address(1), STRANGER)]);
    let outputs = run(&mut machine, now, Duration::from_secs(60));
    assert!(outputs.iter().all(|(at, _)| *at >= GONE_INTERVAL), "{outputs:?}");
    assert_eq!(outputs.first().map(|(_, output)| *output), Some(Output::Over(address(1))));
    assert_eq!(outputs.last().map(|(_, output)| *output), Some(Output::Free(address(1))));
}

#[test]
fn a_host_that_probes_at_the_same_time_has_it_and_a_node_of_ours_has_not() {
    let (mut machine, now) = machine();
    machine.handle(now, Input::Check(address(1)));
    machine.handle(now, sighting(NODE, true));
    machine.handle(now, sighting(OWN, false));
    assert_eq!(drain(&mut machine), [Output::Probe(address(1))]);
    machine.handle(now, sighting(NODE, false));
    assert_eq!(drain(&mut machine), []);
    machine.handle(now, sighting(STRANGER, true));
    assert_eq!(drain(&mut machine), [Output::InUse(address(1), STRANGER)]);
}

/// Answers every question as a node's kernel would. Returns what came out but the questions.
fn run_with_a_kernel_that_answers(machine: &mut Duplicate, from: Instant, span: Duration) -> Vec<(Duration, Output)> {
    let mut all = Vec::new();
    while let Some(at) = machine.next_deadline().filter(|at| *at <= from + span) {
        machine.handle_timeout(at);
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Probe(_) => machine.handle(at, sighting(NODE, false)),
                output => all.push((at - from, output)),
            }
        }
    }
    all
}

#[test]
fn a_node_whose_kernel_answers_for_what_another_announces_is_told_once_and_until_it_stops() {
    let (mut machine, now) = machine();
    machine.handle(now, Input::Watch(address(1)));
    machine.handle(now, sighting(NODE, false));
    machine.handle(now, Input::Answer(address(1)));
    machine.handle(now, Input::Answer(address(1)));
    let span = Duration::from_secs(100);
    let outputs = run_with_a_kernel_that_answers(&mut machine, now, span);
    assert_eq!(outputs.iter().map(|(_, output)| *output).collect::<Vec<_>>(), [Output::OwnNode(address(1), NODE)]);
    assert!(outputs[0].0 >= ASK_INTERVAL.0 + ASK_AGAIN_INTERVALS.0, "the first answer may be a node that lets go");
    let outputs = run(&mut machine, now + span, span);
    let told: Vec<Output> = outputs.into_iter().map(|(_, output)| output).collect();
    assert_eq!(told, [Output::Probe(address(1)), Output::OwnNodeOver(address(1))]);
    assert_eq!(machine.next_deadline(), None, "what was never answered is not asked again");
}

#[test]
fn one_answer_of_a_node_that_is_about_to_take_over_says_nothing() {
    let (mut machine, now) = machine();
    machine.handle(now, Input::Watch(address(1)));
    machine.handle(now, Input::Answer(address(1)));
    let at = machine.next_deadline().unwrap();
    machine.handle_timeout(at);
    machine.handle(at, sighting(NODE, false));
    machine.handle(at, sighting(NODE, false));
    let outputs = run(&mut machine, at, Duration::from_secs(100));
    let probe = Output::Probe(address(1));
    assert_eq!(outputs.into_iter().map(|(_, output)| output).collect::<Vec<_>>(), [probe, probe]);
    machine.handle(at, Input::Forget(address(1)));
    assert_eq!(machine.next_deadline(), None);
}

#[test]
fn a_storm_of_a_stranger_is_told_once_and_defended_against_once_in_ten_seconds() {
    let (mut machine, now) = machine();
    machine.handle(now, Input::Watch(address(1)));
    assert_eq!(drain(&mut machine), [], "what is taken over is not probed");
    let mut outputs = Vec::new();
    for n in 0..60_000 {
        machine.handle(now + Duration::from_millis(n), sighting(STRANGER, false));
        outputs.extend(drain(&mut machine));
    }
    assert_eq!(outputs.iter().filter(|output| **output == Output::Conflict(address(1), STRANGER)).count(), 1);
    assert_eq!(outputs.iter().filter(|output| **output == Output::Defend(address(1))).count(), 6);
    let later = run(&mut machine, now, Duration::from_secs(120));
    assert_eq!(later, [(Duration::from_millis(59_999) + GONE_INTERVAL, Output::Over(address(1)))]);
}

#[test]
fn ten_thousand_addresses_are_checked_a_few_at_a_time() {
    let (mut machine, now) = machine();
    for n in 0..10_000 {
        machine.handle(now, Input::Check(address(n)));
    }
    assert_eq!(drain(&mut machine).len(), AT_ONCE);
    let outputs = run(&mut machine, now, Duration::from_secs(60));
    assert_eq!(outputs.iter().filter(|(_, output)| matches!(output, Output::Free(_))).count(), 10_000);
    assert!(machine.next_deadline().is_none());
}

proptest! {
    #[test]
    fn whatever_is_seen_an_address_is_free_only_if_no_stranger_was_seen(
        steps in proptest::collection::vec((0u16..4, 0u8..7, 0u64..700), 0..60),
    ) {
        let (mut machine, mut now) = machine();
        let mut in_use = BTreeSet::new();
        for (n, what, wait) in steps {
            let address = address(n);
            machine.handle(now, match what {
                0 | 1 => Input::Check(address),
                2 => Input::Watch(address),
                3 => Input::Forget(address),
                6 => Input::Answer(address),
                _ => Input::Sighting { address, mac: if what == 4 { STRANGER } else { NODE }, probe: false },
            });
            now += Duration::from_millis(wait);
            machine.handle_timeout(now);
            for output in drain(&mut machine) {
                match output {
                    Output::InUse(address, _) => drop(in_use.insert(address)),
                    Output::Over(address) => drop(in_use.remove(&address)),
                    Output::Free(address) => prop_assert!(!in_use.contains(&address)),
                    _ => {}
                }
            }
            if what == 2 || what == 3 {
                in_use.remove(&address);
            }
            prop_assert!(machine.next_deadline().is_none_or(|at| at > now));
        }
    }
}
