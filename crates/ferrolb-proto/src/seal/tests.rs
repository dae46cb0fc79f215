//! Tests of sealing: what opens, what does not, and what may come twice.

use proptest::prelude::*;

use super::*;

fn pair() -> (Seal, Seal) {
    (Seal::new(b"secret", 1).unwrap(), Seal::new(b"secret", 2).unwrap())
}

#[test]
fn what_is_sealed_opens_once() {
    let (mut a, mut b) = pair();
    let datagram = a.seal(b"hello");
    assert_eq!(datagram.len(), 5 + OVERHEAD);
    assert_eq!(b.open(&datagram).as_deref(), Ok(&b"hello"[..]));
    assert_eq!(b.open(&datagram), Err(OpenError::Replayed));
    assert_eq!(a.open(&datagram), Err(OpenError::Own));
}

#[test]
fn another_secret_opens_nothing_and_an_empty_one_is_refused() {
    let (mut a, _) = pair();
    assert_eq!(Seal::new(b"other", 2).unwrap().open(&a.seal(b"x")), Err(OpenError::OtherSecret));
    assert_eq!(Seal::new(b"", 1).err(), Some(SealError::EmptySecret));
}

#[test]
fn every_changed_byte_is_noticed() {
    let (mut a, mut b) = pair();
    let datagram = a.seal(b"hello");
    for at in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 1;
        assert!(b.open(&changed).is_err(), "byte {at}");
    }
    for length in 0..datagram.len() {
        assert!(b.open(&datagram[..length]).is_err(), "{length} bytes");
    }
    assert!(b.open(&datagram).is_ok(), "what did not open has changed nothing");
}

#[test]
fn datagrams_may_arrive_out_of_order_within_the_window() {
    let (mut a, mut b) = pair();
    let datagrams: Vec<Vec<u8>> = (0..300u32).map(|n| a.seal(&n.to_be_bytes())).collect();
    assert!(b.open(&datagrams[200]).is_ok());
    assert!(b.open(&datagrams[199]).is_ok());
    assert!(b.open(&datagrams[73]).is_ok(), "127 back");
    assert_eq!(b.open(&datagrams[72]), Err(OpenError::Replayed), "too old to tell");
    assert!(b.open(&datagrams[299]).is_ok());
    assert_eq!(b.open(&datagrams[199]), Err(OpenError::Replayed));
}

#[test]
fn a_restart_is_another_sender() {
    let (mut a, mut b) = pair();
    assert!(b.open(&a.seal(b"x")).is_ok());
    let mut again = Seal::new(b"secret", 3).unwrap();
    assert!(b.open(&again.seal(b"x")).is_ok());
}

#[test]
fn the_number_of_senders_remembered_is_bounded() {
    let mut b = Seal::new(b"secret", 0).unwrap();
    for boot in 1..2000 {
        assert!(b.open(&Seal::new(b"secret", boot).unwrap().seal(b"x")).is_ok());
    }
    assert_eq!(b.senders.len(), SENDERS);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]
fn while_secrets_change_everybody_understands_everybody_who_has_one_in_common() {
    let now = Instant::now();
    let old = Seal::new(b"old", 1).unwrap();
    let (mut both, mut other) = (Seal::new(b"old", 2).unwrap(), Seal::new(b"old", 3).unwrap());
    let (mut old, mut new) = (old, Seal::new(b"new", 4).unwrap());
    for seal in [&mut both, &mut other] {
        assert_eq!((seal.rotate(now, b"new"), seal.rotate(now, b"new")), (Ok(true), Ok(false)));
        assert_eq!(seal.rotate(now, b""), Err(SealError::EmptySecret));
    }
    let datagrams = both.seal_all(b"x");
    assert_eq!(datagrams.len(), 2, "newest first");
    let opened = |seal: &mut Seal| datagrams.iter().map(|one| seal.open(one)).collect::<Vec<_>>();
    assert_eq!(opened(&mut old), [Err(OpenError::OtherSecret), Ok(b"x".to_vec())]);
    assert_eq!(opened(&mut new), [Ok(b"x".to_vec()), Err(OpenError::OtherSecret)]);
    assert_eq!(opened(&mut other), [Ok(b"x".to_vec()), Err(OpenError::Twin)]);
    assert_eq!(opened(&mut both), [Err(OpenError::Own), Err(OpenError::Own)]);
    for seal in [&mut old, &mut new] {
        assert_eq!(seal.seal_all(b"y").len(), 1);
        let datagram = seal.seal(b"z");
        assert_eq!(both.open(&datagram).as_deref(), Ok(&b"z"[..]));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test begins some time; only differences count")]
fn an_older_secret_is_given_up_when_its_time_is_over_and_nobody_needs_it() {
    let now = Instant::now();
    let (mut a, mut late, mut b) =
        (Seal::new(b"old", 1).unwrap(), Seal::new(b"old", 2).unwrap(), Seal::new(b"old", 3).unwrap());
    a.rotate(now, b"new").unwrap();
    b.rotate(now, b"new").unwrap();
    let second = Duration::from_secs(1);
    assert!(!a.expire(now + OVERLAP - second));
    // One who has both is no reason to keep the older one, one who has only that is.
    assert!(b.seal_all(b"x").iter().any(|one| a.open(one).is_ok()));
    assert!(a.open(&late.seal(b"x")).is_ok());
    assert!(!a.expire(now + OVERLAP));
    assert!(!a.expire(now + OVERLAP + LAST_HEARD - second));
    assert!(b.seal_all(b"x").iter().any(|one| a.open(one).is_ok()));
    assert!(a.expire(now + OVERLAP + LAST_HEARD));
    assert_eq!(a.open(&late.seal(b"x")), Err(OpenError::OtherSecret));
    assert_eq!(a.seal_all(b"x").len(), 1);
    assert!(!a.expire(now + OVERLAP * 9), "the newest stays");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(pair().0.open(&bytes).is_err());
    }
}
