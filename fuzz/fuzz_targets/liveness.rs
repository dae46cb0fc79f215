//! What hosts say to one another, from a host that has the secret and means no good: membership and documents stand
//! whatever comes, no machine is kept busy, and what it says can be opened by the others.
//!
//! The input is a conversation: each part begins with the hundredths of a second that pass before it, two bytes with its
//! length, and then is a message as it is before it is sealed.
#![no_main]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ferrolb_proto::liveness::{Config, Input, Liveness, MAX_DOCUMENT, Output};
use ferrolb_proto::seal::Seal;
use libfuzzer_sys::fuzz_target;

const SECRET: &[u8] = b"secret";
/// A datagram must fit every link, and a document's piece must not be cut.
const DATAGRAM: usize = 1472;
/// Pieces of a document that one question may ask for, and something for membership.
const ANSWERS: usize = 32 + 64;

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 7946))
}

fuzz_target!(|bytes: &[u8]| {
    let mut now = Instant::now();
    let config =
        Config { name: "node-01".to_owned(), address: address(1), secret: SECRET.to_vec(), generation: 1000, seed: 7 };
    let mut machine = Liveness::new(config, now).expect("a secret");
    let peers = BTreeMap::from([("node-02".to_owned(), address(2))]);
    machine.handle(now, Input::Peers(&peers));
    machine.handle(now, Input::Publish(&[b'x'; 5000]));
    let (mut theirs, mut others) = (Seal::new(SECRET, 8).expect("a secret"), Seal::new(SECRET, 9).expect("a secret"));
    drain(&mut machine, &mut others);
    let mut rest = bytes;
    while let Some(([pause, high, low], more)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (message, more) = more.split_at(length);
        rest = more;
        now += Duration::from_millis(10) * u32::from(*pause);
        machine.handle_timeout(now);
        drain(&mut machine, &mut others);
        machine.handle(now, Input::Datagram { from: address(2), bytes: message });
        machine.handle(now, Input::Datagram { from: address(2), bytes: &theirs.seal(message) });
        let sent = drain(&mut machine, &mut others);
        assert!(sent <= ANSWERS, "{sent} datagrams in answer to one");
    }
    comes_to_rest(&mut machine, now, &mut others);
});

/// Time alone moves every deadline on: nothing is due again at once, for ever.
fn comes_to_rest(machine: &mut Liveness, now: Instant, others: &mut Seal) {
    for _ in 0..1000 {
        match machine.next_deadline() {
            Some(at) if at <= now => machine.handle_timeout(now),
            _ => return,
        }
        drain(machine, others);
    }
    panic!("a deadline that does not move");
}

/// Checks everything that came out, and says how many datagrams there were.
fn drain(machine: &mut Liveness, others: &mut Seal) -> usize {
    let mut sent = 0;
    while let Some(output) = machine.poll_output() {
        match output {
            Output::Send { bytes, .. } => {
                sent += 1;
                assert!(bytes.len() <= DATAGRAM, "{} bytes", bytes.len());
                others.open(&bytes).expect("the others open what we seal");
            }
            Output::Document { name, bytes } => {
                assert!(name != "node-01" && bytes.len() <= MAX_DOCUMENT, "{name} says {} bytes", bytes.len());
            }
            Output::Members(members) => assert!(members.contains("node-01"), "we are one of the living"),
            Output::Conflicts(_) | Output::Dropped { .. } => {}
        }
    }
    sent
}
