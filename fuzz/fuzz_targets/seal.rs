//! Sealed datagrams from the wire: what was not sealed with the secret never opens, what was opens once and to what it
//! was, and what does not open leaves no trace.
//!
//! The input is a datagram. It is also taken for a message to seal, and for the bits to change in what was sealed.
#![no_main]

use ferrolb_proto::seal::{OVERHEAD, OpenError, Seal};
use libfuzzer_sys::fuzz_target;

const SECRET: &[u8] = b"a secret that all share";

fuzz_target!(|bytes: &[u8]| {
    let mut ours = Seal::new(SECRET, 1).expect("a secret");
    let mut theirs = Seal::new(SECRET, 2).expect("a secret");
    if let Ok(message) = ours.open(bytes) {
        // The fuzzer sees what an earlier run sealed and gives it back. Nothing else opens: it is sealed to the same bytes.
        assert_eq!(theirs.seal(&message), bytes, "a datagram that nobody sealed");
        return;
    }
    let sealed = theirs.seal(bytes);
    assert_eq!(sealed.len(), bytes.len() + OVERHEAD);
    if let Some(changed) = changed(&sealed, bytes) {
        assert!(ours.open(&changed).is_err(), "a datagram that was changed on its way");
    }
    for length in [0, OVERHEAD - 1, sealed.len() - 1] {
        assert!(ours.open(&sealed[..length]).is_err(), "a datagram that was cut off");
    }
    assert_eq!(ours.open(&sealed).as_deref(), Ok(bytes), "what did not open must leave no trace");
    assert_eq!(ours.open(&sealed), Err(OpenError::Replayed));
    assert_eq!(theirs.open(&sealed), Err(OpenError::Own));
    let mut stranger = Seal::new(b"another secret", 3).expect("a secret");
    assert_eq!(stranger.open(&sealed), Err(OpenError::OtherSecret));
});

/// The datagram with the bits of the input turned over, from its begin on; none where that changes nothing.
fn changed(sealed: &[u8], bits: &[u8]) -> Option<Vec<u8>> {
    let changed: Vec<u8> =
        sealed.iter().enumerate().map(|(at, byte)| byte ^ bits.get(at).copied().unwrap_or_default()).collect();
    (changed != sealed).then_some(changed)
}
