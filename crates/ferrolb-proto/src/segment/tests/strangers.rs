//! Forged, repeated and damaged datagrams change nothing.

use proptest::prelude::*;

use super::*;
use crate::segment::frame::{Claims, Stake};

fn forged(secret: &[u8], sender: NodeId, body: Body) -> Vec<u8> {
    let mut seal = Seal::with_purpose(Purpose::Segment, secret, 4711).unwrap();
    seal.seal(&Message { sender, to: None, body }.emit())
}

fn grab(cluster: &Cluster) -> Body {
    let stakes =
        cluster.ranked(ADDRESSES).into_keys().map(|address| Stake { address, epoch: 1000, firm: true }).collect();
    Body::Claims(Claims { owner: cluster.id(1).unwrap(), mac: [6; 6], nonce: 0, stakes })
}

#[test]
fn claims_with_another_secret_or_of_a_dead_program_change_nothing() {
    let mut cluster = settled(1, 3, Timing::DEFAULT);
    let sender = cluster.id(1).unwrap();
    // The second opens: it is what somebody recorded long ago, from a boot that is no more.
    let recorded = forged(b"the secret of the simulator", sender, grab(&cluster));
    let frames = [forged(b"another secret", sender, grab(&cluster)), recorded, b"garbage".to_vec(), Vec::new()];
    let dropped = cluster.figures.dropped;
    let findings = after(&mut cluster, ms(2000), |cluster| {
        for frame in &frames {
            (0..3).for_each(|number| cluster.inject(number, Path::Lan, frame));
        }
    });
    assert_eq!(findings, Findings::default());
    assert!(cluster.figures.dropped >= dropped + 11, "they are counted");
    assert_owned(&cluster);
}

#[test]
fn whatever_is_repeated_later_changes_nothing() {
    let mut cluster = settled(2, 3, Timing::DEFAULT);
    cluster.record_frames(true);
    cluster.run(ms(500));
    cluster.crash(0);
    cluster.run(ms(2000));
    cluster.record_frames(false);
    let frames = cluster.recorded();
    assert!(frames.len() > 100);
    let findings = after(&mut cluster, ms(3000), |cluster| {
        for frame in &frames {
            [1, 2].into_iter().for_each(|number| cluster.inject(number, Path::Lan, frame));
        }
    });
    assert_eq!(findings, Findings::default());
    // Nor to a program that has never heard them.
    cluster.restart(1, ms(100));
    cluster.run(ms(1500));
    let findings = after(&mut cluster, ms(3000), |cluster| {
        frames.iter().for_each(|frame| cluster.inject(1, Path::Udp, frame));
    });
    assert_eq!(findings, Findings::default());
    assert_owned(&cluster);
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), trusted: bool) {
        let mut cluster = Cluster::new(3, 2, 3, Timing::DEFAULT, Instant::now());
        cluster.run(ms(300));
        let mut seal = Seal::with_purpose(Purpose::Segment, b"the secret of the simulator", 1).unwrap();
        let mut message = Message { sender: cluster.id(1).unwrap(), to: None, body: Body::Probe }.emit();
        if trusted {
            message.truncate(11);
        }
        message.extend(bytes);
        let sealed = seal.seal(&message);
        cluster.inject(0, Path::Lan, &sealed);
        cluster.run(ms(100));
        prop_assert!(cluster.runs(0));
    }
}
