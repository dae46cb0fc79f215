//! What each host says, whole: told by version and digest, fetched in pieces by whoever does not have it yet.
//!
//! The receiver drives: it asks for the pieces that it lacks, a few at a time, until it has them all and the digest is
//! right. A lost datagram costs one more question. Documents are opaque bytes here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ring::digest;
use serde::{Deserialize, Serialize};

/// Longest document, in bytes: ten thousand Services take about two million.
pub const MAX_DOCUMENT: usize = 16 * 1024 * 1024;
/// Bytes in one piece.
const PIECE: usize = 1100;
/// Pieces asked for at once.
const AT_ONCE: usize = 32;
/// How long to wait for them before asking again.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// After so many questions without any answer the sender is taken for gone; its next offer starts anew.
const PATIENCE: u32 = 50;

/// Of two documents of a host the one with the larger version counts: the host's generation, then a count.
pub(super) type Version = (u64, u64);
type Digest = [u8; 32];

/// What hosts say to one another about documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message<'a> {
    /// "This is what I say": the document itself where it is short.
    Offer {
        name: Cow<'a, str>,
        version: Version,
        length: u32,
        digest: Digest,
        #[serde(borrow)]
        whole: Option<Cow<'a, [u8]>>,
    },
    /// "Give me these pieces."
    Ask { version: Version, pieces: Cow<'a, [u32]> },
    /// "Here is one."
    Piece {
        version: Version,
        number: u32,
        #[serde(borrow)]
        bytes: Cow<'a, [u8]>,
    },
}

/// What came of a message.
#[derive(Debug, Default)]
pub(super) struct Handled {
    /// To send back to where it came from.
    pub(super) answers: Vec<Message<'static>>,
    /// A document that is complete now, and whose.
    pub(super) complete: Option<(String, Arc<[u8]>)>,
}

/// Our document, those that we have, and those that we are fetching.
#[derive(Debug)]
pub(super) struct Documents {
    name: String,
    generation: u64,
    count: u64,
    own: Option<(Arc<[u8]>, Digest)>,
    have: BTreeMap<String, Version>,
    fetching: BTreeMap<String, Fetch>,
}

#[derive(Debug)]
struct Fetch {
    from: SocketAddr,
    version: Version,
    length: usize,
    digest: Digest,
    pieces: BTreeMap<u32, Vec<u8>>,
    ask_at: Instant,
    asked: u32,
}

fn digest_of(bytes: &[u8]) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}

impl Documents {
    pub(super) fn new(name: String, generation: u64) -> Self {
        Self { name, generation, count: 0, own: None, have: BTreeMap::new(), fetching: BTreeMap::new() }
    }

    /// The host goes on under a later generation: what it says counts for more than whatever it said before.
    pub(super) const fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The latest generation of a host that a document came from.
    pub(super) fn generation_of(&self, name: &str) -> Option<u64> {
        self.have.get(name).map(|(generation, _)| *generation)
    }

    /// Replaces what this host says. Longer than [`MAX_DOCUMENT`] is not told; nobody would take it.
    pub(super) fn publish(&mut self, document: &[u8]) {
        if document.len() <= MAX_DOCUMENT {
            self.count += 1;
            self.own = Some((document.into(), digest_of(document)));
        }
    }

    /// What to tell everybody, where there is anything.
    pub(super) fn offer(&self) -> Option<Message<'static>> {
        let (document, digest) = self.own.as_ref()?;
        Some(Message::Offer {
            name: self.name.clone().into(),
            version: (self.generation, self.count),
            length: u32::try_from(document.len()).ok()?,
            digest: *digest,
            whole: (document.len() <= PIECE).then(|| document.to_vec().into()),
        })
    }

    pub(super) fn handle(&mut self, now: Instant, from: SocketAddr, message: &Message<'_>) -> Handled {
        match message {
            Message::Offer { name, version, length, digest, whole } => {
                self.offered(now, from, name, *version, (*length, *digest), whole.as_deref())
            }
            Message::Ask { version, pieces } => Handled { answers: self.asked(*version, pieces), complete: None },
            Message::Piece { version, number, bytes } => self.piece(now, from, *version, *number, bytes),
        }
    }

    fn offered(
        &mut self,
        now: Instant,
        from: SocketAddr,
        name: &str,
        version: Version,
        (length, digest): (u32, Digest),
        whole: Option<&[u8]>,
    ) -> Handled {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let known = self.have.get(name).copied().max(self.fetching.get(name).map(|fetch| fetch.version));
        if name == self.name || known.is_some_and(|known| known >= version) || length > MAX_DOCUMENT {
            return Handled::default();
        }
        if let Some(whole) = whole.filter(|whole| whole.len() == length && digest_of(whole) == digest) {
            return self.complete(name.to_owned(), version, whole.into());
        }
        let fetch =
            Fetch { from, version, length, digest, pieces: BTreeMap::new(), ask_at: now + ASK_INTERVAL, asked: 1 };
        let answers = fetch.ask().into_iter().collect();
        self.fetching.insert(name.to_owned(), fetch);
        Handled { answers, complete: None }
    }

    fn asked(&self, version: Version, pieces: &[u32]) -> Vec<Message<'static>> {
        let Some((document, _)) = self.own.as_ref().filter(|_| version == (self.generation, self.count)) else {
            // Of another version: the next offer says which one there is.
            return self.offer().into_iter().collect();
        };
        let piece = |number: &u32| {
            let start = usize::try_from(*number).ok()?.checked_mul(PIECE)?;
            let bytes = document.get(start..document.len().min(start.checked_add(PIECE)?))?;
            Some(Message::Piece { version, number: *number, bytes: bytes.to_vec().into() })
        };
        pieces.iter().take(AT_ONCE).filter_map(piece).collect()
    }

    fn piece(&mut self, now: Instant, from: SocketAddr, version: Version, number: u32, bytes: &[u8]) -> Handled {
        let fetch = self.fetching.iter_mut().find(|(_, fetch)| fetch.from == from && fetch.version == version);
        let Some((name, fetch)) = fetch else { return Handled::default() };
        if bytes.len() != fetch.length_of(number) {
            return Handled::default();
        }
        fetch.pieces.insert(number, bytes.to_vec());
        fetch.asked = 0;
        if fetch.pieces.len() < fetch.count() {
            // The last of those asked for: the next ones, without waiting.
            let more = fetch.pieces.len() % AT_ONCE == 0;
            if more {
                fetch.ask_at = now + ASK_INTERVAL;
            }
            return Handled { answers: fetch.ask().filter(|_| more).into_iter().collect(), complete: None };
        }
        let name = name.clone();
        let Some(fetch) = self.fetching.remove(&name) else { return Handled::default() };
        let document: Vec<u8> = fetch.pieces.into_values().flatten().collect();
        if digest_of(&document) != fetch.digest {
            return Handled::default();
        }
        self.complete(name, fetch.version, document.into())
    }

    fn complete(&mut self, name: String, version: Version, document: Arc<[u8]>) -> Handled {
        self.fetching.remove(&name);
        self.have.insert(name.clone(), version);
        Handled { answers: Vec::new(), complete: Some((name, document)) }
    }

    /// Asks again for what did not come. Returns to whom to say what.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<(SocketAddr, Message<'static>)> {
        self.fetching.retain(|_, fetch| fetch.asked < PATIENCE);
        let due = self.fetching.values_mut().filter(|fetch| fetch.ask_at <= now);
        due.filter_map(|fetch| {
            fetch.ask_at = now + ASK_INTERVAL;
            fetch.asked += 1;
            Some((fetch.from, fetch.ask()?))
        })
        .collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.fetching.values().map(|fetch| fetch.ask_at).min()
    }
}

impl Fetch {
    fn count(&self) -> usize {
        self.length.div_ceil(PIECE)
    }

    fn length_of(&self, number: u32) -> usize {
        let start = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(PIECE);
        self.length.saturating_sub(start).min(PIECE)
    }

    /// The question for the first pieces that are missing.
    fn ask(&self) -> Option<Message<'static>> {
        let all = 0..u32::try_from(self.count()).unwrap_or(u32::MAX);
        let missing: Vec<u32> = all.filter(|number| !self.pieces.contains_key(number)).take(AT_ONCE).collect();
        (!missing.is_empty()).then(|| Message::Ask { version: self.version, pieces: missing.into() })
    }
}
