//! Sealed datagrams: whoever does not have the shared secret can neither read, forge nor repeat them.
//!
//! ```text
//! | purpose 1 | key id 4 | boot id 8 | sequence 8 | ChaCha20-Poly1305 ciphertext and tag |
//! ```
//!
//! Every start of a program has its own random boot id, and from secret and boot id its own key. So the sequence number
//! alone can be the nonce, and no nonce is ever used twice under one key, however often a host restarts. The header is
//! authenticated. A receiver remembers for each sender what it has seen (a sliding window as in RFC 4303 §3.4.3). It
//! remembers a bounded number of senders; a sender forgotten could be replayed, which its protocol must stand: here
//! membership, whose messages carry generations of their own.

use std::collections::BTreeMap;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

#[cfg(test)]
mod tests;

/// What the datagrams carry. It is their first byte and goes into the key, so one port can serve both and neither can
/// be replayed as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Membership and documents ([`crate::liveness`]).
    Gossip = 1,
    /// Who answers on a segment ([`crate::segment`]).
    Segment = 2,
}

const HEADER: usize = 1 + 4 + 8 + 8;
/// What sealing adds to a message.
pub const OVERHEAD: usize = HEADER + 16;
/// Datagrams that may arrive out of order.
const WINDOW: u64 = 128;
/// Senders remembered.
const SENDERS: usize = 1024;

/// Seals and opens.
pub struct Seal {
    purpose: Purpose,
    secret: hmac::Key,
    key_id: [u8; 4],
    boot: u64,
    own: LessSafeKey,
    sequence: u64,
    senders: BTreeMap<u64, Sender>,
    /// Grows with every datagram opened: tells which sender was heard longest ago.
    turn: u64,
}

struct Sender {
    key: LessSafeKey,
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u128,
    heard: u64,
}

/// Why there is nothing to seal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The secret is empty.
    #[error("the shared secret is empty")]
    EmptySecret,
    /// The cipher refused the key, which it never does for one of its own length.
    #[error("the cipher does not take the key")]
    Cipher,
}

/// Why a datagram does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than any sealed datagram, or of another version.
    #[error("not one of our datagrams")]
    NotOurs,
    /// Sealed with another secret.
    #[error("sealed with another secret")]
    OtherSecret,
    /// Changed on its way, or forged.
    #[error("forged or damaged")]
    Forged,
    /// Seen before, or too old to tell.
    #[error("a repetition")]
    Replayed,
    /// Our own, come back.
    #[error("our own datagram")]
    Own,
}

impl Seal {
    /// Prepares sealing of gossip with a secret of any length. `boot` is random and new at every start.
    ///
    /// # Errors
    /// The secret is empty.
    pub fn new(secret: &[u8], boot: u64) -> Result<Self, SealError> {
        Self::with_purpose(Purpose::Gossip, secret, boot)
    }

    /// As [`Self::new`], for datagrams that carry something else.
    ///
    /// # Errors
    /// The secret is empty.
    pub fn with_purpose(purpose: Purpose, secret: &[u8], boot: u64) -> Result<Self, SealError> {
        if secret.is_empty() {
            return Err(SealError::EmptySecret);
        }
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let id = hmac::sign(&secret, b"ferrolb key id 1");
        let mut key_id = [0; 4];
        key_id.copy_from_slice(id.as_ref().get(..4).unwrap_or_default());
        let own = key_of(purpose, &secret, boot)?;
        Ok(Self { purpose, secret, key_id, boot, own, sequence: 0, senders: BTreeMap::new(), turn: 0 })
    }

    /// Seals a message.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        let mut datagram = Vec::with_capacity(message.len() + OVERHEAD);
        datagram.push(self.purpose as u8);
        datagram.extend(self.key_id);
        datagram.extend(self.boot.to_be_bytes());
        datagram.extend(self.sequence.to_be_bytes());
        let mut body = message.to_vec();
        // It fails only for messages of more than 2^38 bytes; then nothing leaves unsealed.
        match self.own.seal_in_place_append_tag(nonce(self.sequence), Aad::from(&datagram), &mut body) {
            Ok(()) => datagram.extend(body),
            Err(_) => datagram.clear(),
        }
        datagram
    }

    /// Opens a datagram. What does not open changes nothing.
    ///
    /// # Errors
    /// Says why not.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.open_from(datagram).map(|(_, message)| message)
    }

    /// As [`Self::open`], and says which boot id sealed it.
    ///
    /// # Errors
    /// Says why not.
    pub fn open_from(&mut self, datagram: &[u8]) -> Result<(u64, Vec<u8>), OpenError> {
        let (header, body) = datagram.split_at_checked(HEADER).ok_or(OpenError::NotOurs)?;
        let number = |at: usize| header.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let (Some(boot), Some(sequence)) = (number(5), number(13)) else { return Err(OpenError::NotOurs) };
        if header.first() != Some(&(self.purpose as u8)) || body.len() < 16 {
            return Err(OpenError::NotOurs);
        }
        if header.get(1..5) != Some(&self.key_id) {
            return Err(OpenError::OtherSecret);
        }
        if boot == self.boot {
            return Err(OpenError::Own);
        }
        let known = self.senders.get(&boot);
        if known.is_some_and(|sender| sender.has_seen(sequence)) {
            return Err(OpenError::Replayed);
        }
        let new_key = if known.is_none() {
            Some(key_of(self.purpose, &self.secret, boot).map_err(|_| OpenError::Forged)?)
        } else {
            None
        };
        let key = new_key.as_ref().or(known.map(|sender| &sender.key)).ok_or(OpenError::Forged)?;
        let mut body = body.to_vec();
        let opened = key.open_in_place(nonce(sequence), Aad::from(header), &mut body);
        let length = opened.map_err(|_| OpenError::Forged)?.len();
        body.truncate(length);
        self.remember(boot, sequence, new_key);
        Ok((boot, body))
    }

    fn remember(&mut self, boot: u64, sequence: u64, new_key: Option<LessSafeKey>) {
        self.turn += 1;
        if let Some(key) = new_key {
            if self.senders.len() >= SENDERS {
                let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.heard).map(|(boot, _)| *boot);
                oldest.and_then(|oldest| self.senders.remove(&oldest));
            }
            self.senders.insert(boot, Sender { key, highest: sequence, seen: 1, heard: self.turn });
        } else if let Some(sender) = self.senders.get_mut(&boot) {
            sender.note(sequence);
            sender.heard = self.turn;
        }
    }
}

impl Sender {
    fn has_seen(&self, sequence: u64) -> bool {
        match self.highest.checked_sub(sequence) {
            None => false,
            Some(back) => back >= WINDOW || self.seen & (1 << back) != 0,
        }
    }

    fn note(&mut self, sequence: u64) {
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.seen = if ahead >= WINDOW { 0 } else { self.seen << ahead };
            self.highest = sequence;
        }
        self.seen |= 1 << (self.highest - sequence);
    }
}

fn nonce(sequence: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&sequence.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn key_of(purpose: Purpose, secret: &hmac::Key, boot: u64) -> Result<LessSafeKey, SealError> {
    let mut context = hmac::Context::with_key(secret);
    context.update(match purpose {
        Purpose::Gossip => b"ferrolb datagram key 1",
        Purpose::Segment => b"ferrolb segment key 1 ",
    });
    context.update(&boot.to_be_bytes());
    let key = UnboundKey::new(&CHACHA20_POLY1305, context.sign().as_ref()).map_err(|_| SealError::Cipher)?;
    Ok(LessSafeKey::new(key))
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("boot", &self.boot).field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
