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
//!
//! A secret can be changed while everybody runs. Hosts see the new one minutes apart, so whoever has both seals every
//! message under each of them, with one boot id and one sequence number: who has either understands, and who has both
//! takes the second for what it is, a twin. The older secret is given up ten minutes after the change, and not before
//! two minutes have passed without a sender that has no other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

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
/// Secrets in use at once.
const SECRETS: usize = 3;
/// How long a secret is used beside a newer one, at least. A kubelet takes up to two minutes to show a changed Secret.
const OVERLAP: Duration = Duration::from_secs(600);
/// And for so long after a sender was heard that has only this one.
const LAST_HEARD: Duration = Duration::from_secs(120);

/// Seals and opens.
pub struct Seal {
    purpose: Purpose,
    boot: u64,
    /// Newest first, never empty.
    secrets: Vec<Secret>,
    sequence: u64,
    senders: BTreeMap<u64, Sender>,
    /// Grows with every datagram opened: tells which sender was heard longest ago.
    turn: u64,
}

/// A shared secret, and what it makes of us.
struct Secret {
    secret: hmac::Key,
    id: [u8; 4],
    own: LessSafeKey,
    /// When it is given up; never, where it is the newest.
    ends_at: Option<Instant>,
    /// A sender that is not known to have a newer one was heard since this was last asked.
    needed: bool,
}

struct Sender {
    /// By the id of the secret.
    keys: BTreeMap<[u8; 4], LessSafeKey>,
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
    /// Opened already, under the other secret of a sender that has two.
    #[error("a twin under another secret")]
    Twin,
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
        let secrets = vec![Secret::new(purpose, secret, boot)?];
        Ok(Self { purpose, boot, secrets, sequence: 0, senders: BTreeMap::new(), turn: 0 })
    }

    /// Uses a newer secret from now on, and the one before for a while beside it. Returns whether that is a change.
    ///
    /// # Errors
    /// The secret is empty; then nothing changes.
    pub fn rotate(&mut self, now: Instant, secret: &[u8]) -> Result<bool, SealError> {
        if secret.is_empty() {
            return Err(SealError::EmptySecret);
        }
        let new = Secret::new(self.purpose, secret, self.boot)?;
        if self.secrets.first().is_some_and(|newest| newest.id == new.id) {
            return Ok(false);
        }
        self.secrets.retain(|known| known.id != new.id);
        for known in &mut self.secrets {
            known.ends_at.get_or_insert(now + OVERLAP);
        }
        self.secrets.insert(0, new);
        self.secrets.truncate(SECRETS);
        Ok(true)
    }

    /// Gives up secrets whose time is over. Returns whether there was one.
    pub fn expire(&mut self, now: Instant) -> bool {
        if self.secrets.len() < 2 {
            return false;
        }
        for secret in &mut self.secrets {
            if std::mem::take(&mut secret.needed) {
                secret.ends_at = secret.ends_at.map(|at| at.max(now + LAST_HEARD));
            }
        }
        let before = self.secrets.len();
        self.secrets.retain(|secret| secret.ends_at.is_none_or(|at| now < at));
        if self.secrets.len() == before {
            return false;
        }
        let known: Vec<[u8; 4]> = self.secrets.iter().map(|secret| secret.id).collect();
        self.senders.values_mut().for_each(|sender| sender.keys.retain(|id, _| known.contains(id)));
        true
    }

    /// Seals a message, once for every secret in use, newest first: all of it is to be sent.
    pub fn seal_all(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        self.sequence += 1;
        self.secrets.iter().map(|secret| self.under(secret, message)).collect()
    }

    /// Seals a message under the newest secret only.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        self.secrets.first().map(|secret| self.under(secret, message)).unwrap_or_default()
    }

    fn under(&self, secret: &Secret, message: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(message.len() + OVERHEAD);
        datagram.push(self.purpose as u8);
        datagram.extend(secret.id);
        datagram.extend(self.boot.to_be_bytes());
        datagram.extend(self.sequence.to_be_bytes());
        let mut body = message.to_vec();
        // It fails only for messages of more than 2^38 bytes; then nothing leaves unsealed.
        match secret.own.seal_in_place_append_tag(nonce(self.sequence), Aad::from(&datagram), &mut body) {
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
        let id = header.get(1..5).unwrap_or_default();
        let place = self.secrets.iter().position(|secret| secret.id == id).ok_or(OpenError::OtherSecret)?;
        if boot == self.boot {
            return Err(OpenError::Own);
        }
        let secret = self.secrets.get(place).ok_or(OpenError::OtherSecret)?;
        let known = self.senders.get(&boot);
        if known.is_some_and(|sender| sender.has_seen(sequence)) {
            return Err(if self.secrets.len() > 1 { OpenError::Twin } else { OpenError::Replayed });
        }
        let known_key = known.and_then(|sender| sender.keys.get(&secret.id));
        let new_key = if known_key.is_none() {
            Some(key_of(self.purpose, &secret.secret, boot).map_err(|_| OpenError::Forged)?)
        } else {
            None
        };
        let key = new_key.as_ref().or(known_key).ok_or(OpenError::Forged)?;
        let mut body = body.to_vec();
        let opened = key.open_in_place(nonce(sequence), Aad::from(header), &mut body);
        let length = opened.map_err(|_| OpenError::Forged)?.len();
        body.truncate(length);
        self.remember(boot, sequence, (place, new_key));
        Ok((boot, body))
    }

    fn remember(&mut self, boot: u64, sequence: u64, (place, new_key): (usize, Option<LessSafeKey>)) {
        self.turn += 1;
        if self.senders.len() >= SENDERS && !self.senders.contains_key(&boot) {
            let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.heard).map(|(boot, _)| *boot);
            oldest.and_then(|oldest| self.senders.remove(&oldest));
        }
        let unknown = Sender { keys: BTreeMap::new(), highest: sequence, seen: 0, heard: 0 };
        let sender = self.senders.entry(boot).or_insert(unknown);
        sender.note(sequence);
        sender.heard = self.turn;
        let Some(secret) = self.secrets.get(place) else { return };
        if let Some(key) = new_key {
            sender.keys.insert(secret.id, key);
        }
        let has_newer = self.secrets.iter().take(place).any(|newer| sender.keys.contains_key(&newer.id));
        if let Some(secret) = self.secrets.get_mut(place) {
            secret.needed |= !has_newer;
        }
    }
}

impl Secret {
    fn new(purpose: Purpose, secret: &[u8], boot: u64) -> Result<Self, SealError> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signed = hmac::sign(&secret, b"ferrolb key id 1");
        let mut id = [0; 4];
        id.copy_from_slice(signed.as_ref().get(..4).unwrap_or_default());
        Ok(Self { own: key_of(purpose, &secret, boot)?, secret, id, ends_at: None, needed: false })
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
