//! Who is alive, and what everybody says: membership by SWIM (foca), plus one document per host.
//!
//! ```text
//! Peers, Publish, Leave ─►┌──────────┐─► Send (sealed datagrams)
//! sealed datagrams ──────►│ Liveness │─► Up, Down, Document, NameConflict, Dropped
//!                         └──────────┘
//! ```
//!
//! foca finds out who is alive; it neither encrypts nor tries again to join, so both are done here. A document is told
//! by its version; whoever does not have it yet asks for its pieces ([`document`]). Left out: the fast detection of a
//! dead node among watchers, which is a machine of its own. The contract is that of [`crate`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foca::{AccumulatingRuntime, Foca, OwnedNotification, PeriodicParams, PostcardCodec, Timer};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::seal::{OpenError, Seal, SealError};

mod document;
mod lives;
#[cfg(test)]
mod tests;

pub use document::MAX_DOCUMENT;
use document::{Documents, Message as DocumentMessage};
use lives::{Greeting, Lives};

/// Longest datagram: fits every link of 1500 bytes with room for an outer header.
const DATAGRAM: usize = 1400;
/// Between two looks at a random member.
const PROBE_PERIOD: Duration = Duration::from_millis(400);
/// How long an answer to such a look may take before others are asked to look.
const PROBE_RTT: Duration = Duration::from_millis(120);
/// How long a suspect has to say that it lives.
const SUSPICION: Duration = Duration::from_millis(1200);
/// Between two tries to meet those that are no members, and two reminders of what document we have.
const JOIN_INTERVAL: Duration = Duration::from_millis(800);
/// Two hosts that use one name are told of for so long after the last sign of them.
const CONFLICT_INTERVAL: Duration = Duration::from_secs(5);

/// What a host is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name; unique, and what everybody calls it.
    pub name: String,
    /// Where the others reach it.
    pub address: SocketAddr,
    /// The shared secret.
    pub secret: Vec<u8>,
    /// Better larger at every start of the same host: milliseconds since 1970 will do. Where it is not, because the clock
    /// went back, the others tell, and a later one is taken.
    pub generation: u64,
    /// Random, new at every start.
    pub seed: u64,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram came in.
    Datagram {
        /// From where.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The hosts that ought to be there, by name, without ourselves.
    Peers(&'a BTreeMap<String, SocketAddr>),
    /// What this host says from now on.
    Publish(&'a [u8]),
    /// There is a newer secret; the one before is used beside it for a while ([`Seal::rotate`]).
    Secret(&'a [u8]),
    /// Goodbye: the others hear of it at once.
    Leave,
}

/// What the machine wants, or has found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// Sealed bytes.
        bytes: Vec<u8>,
    },
    /// The set of live members, this host included, is different now.
    Members(BTreeSet<String>),
    /// A host says this now.
    Document {
        /// Who.
        name: String,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// The hosts that share a name at present, and where they are; empty when that is over.
    Conflicts(BTreeMap<String, BTreeSet<SocketAddr>>),
    /// A datagram was of no use.
    Dropped {
        /// From where.
        from: SocketAddr,
        /// Why.
        why: Dropped,
    },
}

/// Why a datagram was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// It did not open.
    #[error("{0}")]
    Sealed(#[from] OpenError),
    /// It opened and makes no sense: another version of this program.
    #[error("not understood; another version of the program?")]
    NotUnderstood,
}

/// A member as foca knows it. A later generation of the same name replaces an earlier one at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    name: String,
    address: SocketAddr,
    generation: u64,
}

impl foca::Identity for Identity {
    type Addr = String;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation.saturating_add(1), ..self.clone() })
    }

    fn addr(&self) -> String {
        self.name.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.generation, self.address) > (adversary.generation, adversary.address)
    }
}

/// What is inside a sealed datagram.
#[derive(Serialize, Deserialize)]
enum Message<'a> {
    Membership(#[serde(borrow)] &'a [u8]),
    #[serde(borrow)]
    Document(DocumentMessage<'a>),
    /// "This is who I am."
    Greeting(#[serde(borrow)] Greeting<'a>),
    /// "I know a generation of you that is as late, or later": with a clock that went back a host would be ignored.
    Later {
        name: &'a str,
        generation: u64,
    },
}

type Machine = Foca<Identity, PostcardCodec, SmallRng, foca::NoCustomBroadcast>;

/// Membership and documents of one host.
pub struct Liveness {
    own: Identity,
    seal: Seal,
    foca: Machine,
    runtime: AccumulatingRuntime<Identity>,
    rng: SmallRng,
    /// foca's timers, in order; every one is delivered, late if need be. The number keeps equal times apart.
    timers: BTreeMap<(Instant, u64), Timer<Identity>>,
    timer_count: u64,
    peers: BTreeMap<String, SocketAddr>,
    members: BTreeMap<String, SocketAddr>,
    documents: Documents,
    lives: Lives,
    /// Random, and so another one at every start.
    life: u64,
    /// When a name was heard from an address.
    heard: BTreeMap<String, BTreeMap<SocketAddr, Instant>>,
    conflicts: BTreeMap<String, BTreeSet<SocketAddr>>,
    join_at: Instant,
    left: bool,
    understood: bool,
    outputs: VecDeque<Output>,
}

impl Liveness {
    /// A host that knows nobody yet.
    ///
    /// # Errors
    /// The secret is empty.
    pub fn new(config: Config, now: Instant) -> Result<Self, SealError> {
        let Config { name, address, secret, generation, seed } = config;
        let own = Identity { name, address, generation };
        let mut rng = SmallRng::seed_from_u64(seed);
        let seal = Seal::new(&secret, rng.random())?;
        let foca = Foca::new(own.clone(), foca_config(), SmallRng::seed_from_u64(rng.random()), PostcardCodec);
        let life = rng.random();
        let mut liveness = Self {
            documents: Documents::new(own.name.clone(), own.generation),
            members: BTreeMap::from([(own.name.clone(), own.address)]),
            own,
            seal,
            foca,
            runtime: AccumulatingRuntime::new(),
            rng,
            timers: BTreeMap::new(),
            timer_count: 0,
            peers: BTreeMap::new(),
            lives: Lives::default(),
            life,
            heard: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            join_at: now,
            left: false,
            understood: false,
            outputs: VecDeque::new(),
        };
        liveness.tell_members();
        Ok(liveness)
    }

    /// Takes note.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { from, bytes } => self.datagram(now, from, bytes),
            Input::Peers(peers) => {
                self.peers =
                    peers.iter().filter(|(name, _)| **name != self.own.name).map(|(n, a)| (n.clone(), *a)).collect();
                self.join_at = self.join_at.min(now);
            }
            Input::Publish(document) => {
                self.documents.publish(document);
                self.remind();
            }
            // An empty one changes nothing.
            Input::Secret(secret) => _ = self.seal.rotate(now, secret),
            Input::Leave => {
                self.left = true;
                // Said three times: a goodbye that is lost costs the others a detection.
                let _ = self.foca.leave_cluster(&mut self.runtime);
                for _ in 0..2 {
                    let _ = self.foca.gossip(&mut self.runtime);
                }
            }
        }
        self.drain(now);
        self.handle_timeout(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            // An error here is about the timer's time being over, never about our state.
            let _ = self.foca.handle_timer(timer, &mut self.runtime);
            self.drain(now);
        }
        if !self.left && self.join_at <= now {
            self.seal.expire(now);
            self.join();
            self.remind();
            self.forget_conflicts(now);
            let jitter = self.rng.random_range(0..JOIN_INTERVAL.as_millis() as u64 / 2);
            self.join_at = now + JOIN_INTERVAL + Duration::from_millis(jitter);
            self.drain(now);
        }
        for (to, message) in self.documents.handle_timeout(now) {
            self.send_document(to, &message);
        }
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let join = (!self.left).then_some(self.join_at);
        [timer, join, self.documents.next_deadline()].into_iter().flatten().min()
    }

    /// The next thing to do or to know.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the datagram handed in last opened; once.
    pub const fn take_understood(&mut self) -> bool {
        std::mem::replace(&mut self.understood, false)
    }

    /// Tries to meet everybody who ought to be there and is not.
    fn join(&mut self) {
        self.greet();
        let missing = self.peers.iter().filter(|(name, _)| !self.members.contains_key(*name));
        for (name, address) in missing {
            let stranger = Identity { name: name.clone(), address: *address, generation: 0 };
            // An error would mean a datagram that is too large, and this one is small.
            let _ = self.foca.announce(stranger, &mut self.runtime);
        }
    }

    /// Tells everybody who we are: first, so that whoever knows a later generation of us says so before all else.
    fn greet(&mut self) {
        let (own, life) = (self.own.clone(), self.life);
        let greeting = Message::Greeting(Greeting { name: &own.name, generation: own.generation, life });
        let everybody: BTreeSet<SocketAddr> = self.peers.values().copied().filter(|to| *to != own.address).collect();
        everybody.into_iter().for_each(|to| self.send(to, &greeting));
    }

    /// Answers whoever starts anew with a generation that is not new.
    fn greeted(&mut self, now: Instant, from: SocketAddr, greeting: Greeting<'_>) {
        self.hear(now, greeting.name, from);
        if greeting.name == self.own.name {
            return;
        }
        // Two hosts with one name would overtake each other for ever: only the same host, or the heir of a dead one.
        if self.members.get(greeting.name).is_some_and(|at| *at != from) {
            return;
        }
        let member = self.foca.iter_membership_state().find(|member| member.id().name == greeting.name);
        let known = member.map(|member| member.id().generation).max(self.documents.generation_of(greeting.name));
        if let Some(generation) = self.lives.greeted(from, &greeting, known) {
            self.send(from, &Message::Later { name: greeting.name, generation });
        }
    }

    /// Goes on under a generation that is later than the one the others know.
    fn overtake(&mut self, now: Instant, name: &str, generation: u64) {
        let Some(later) =
            generation.checked_add(1).filter(|later| name == self.own.name && *later > self.own.generation)
        else {
            return;
        };
        self.set_generation(later);
        // An error would mean a datagram that is too large, and these are small.
        let _ = self.foca.change_identity(self.own.clone(), &mut self.runtime);
        self.join_at = now;
    }

    fn set_generation(&mut self, generation: u64) {
        self.own.generation = generation;
        self.documents.set_generation(generation);
    }

    /// Tells everybody which document we have.
    fn remind(&mut self) {
        let Some(message) = self.documents.offer() else { return };
        let mut everybody: BTreeSet<SocketAddr> = self.peers.values().chain(self.members.values()).copied().collect();
        everybody.remove(&self.own.address);
        for to in everybody {
            self.send_document(to, &message);
        }
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let dropped = |why| Output::Dropped { from, why };
        let opened = self.seal.open(bytes);
        self.understood |= matches!(opened, Ok(_) | Err(OpenError::Twin));
        let message = match opened {
            Ok(message) => message,
            Err(OpenError::Own | OpenError::Twin) => return,
            Err(error) => return self.outputs.push_back(dropped(error.into())),
        };
        match postcard::from_bytes::<Message<'_>>(&message) {
            Ok(Message::Membership(bytes)) => {
                // Errors are about the sender's knowledge (of an earlier life of ours, say) and mend themselves.
                let _ = self.foca.handle_data(bytes, &mut self.runtime);
            }
            Ok(Message::Document(message)) => {
                if let DocumentMessage::Offer { name, .. } = &message {
                    self.hear(now, name, from);
                }
                let handled = self.documents.handle(now, from, &message);
                for answer in handled.answers {
                    self.send_document(from, &answer);
                }
                if let Some((name, bytes)) = handled.complete {
                    self.outputs.push_back(Output::Document { name, bytes });
                }
            }
            Ok(Message::Greeting(greeting)) => self.greeted(now, from, greeting),
            Ok(Message::Later { name, generation }) => self.overtake(now, name, generation),
            Err(_) => self.outputs.push_back(dropped(Dropped::NotUnderstood)),
        }
    }

    /// Notes who speaks under which name.
    fn hear(&mut self, now: Instant, name: &str, from: SocketAddr) {
        let addresses = self.heard.entry(name.to_owned()).or_default();
        addresses.insert(from, now);
        addresses.retain(|_, at| now.duration_since(*at) < CONFLICT_INTERVAL);
        let own = (name == self.own.name).then_some(self.own.address);
        let users: BTreeSet<SocketAddr> = addresses.keys().copied().chain(own).collect();
        if users.len() > 1 && self.conflicts.get(name) != Some(&users) {
            self.conflicts.insert(name.to_owned(), users);
            self.outputs.push_back(Output::Conflicts(self.conflicts.clone()));
        }
    }

    fn forget_conflicts(&mut self, now: Instant) {
        let before = self.conflicts.len();
        for addresses in self.heard.values_mut() {
            addresses.retain(|_, at| now.duration_since(*at) < CONFLICT_INTERVAL);
        }
        self.heard.retain(|_, addresses| !addresses.is_empty());
        let own = &self.own;
        self.conflicts.retain(|name, _| {
            let users = self.heard.get(name).map_or(0, BTreeMap::len);
            users + usize::from(*name == own.name) > 1
        });
        if self.conflicts.len() != before {
            self.outputs.push_back(Output::Conflicts(self.conflicts.clone()));
        }
    }

    /// Passes on what foca wants.
    fn drain(&mut self, now: Instant) {
        while let Some((to, bytes)) = self.runtime.to_send() {
            self.send(to.address, &Message::Membership(&bytes));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timer_count += 1;
            self.timers.insert((now + after, self.timer_count), timer);
        }
        let mut changed = false;
        while let Some(notification) = self.runtime.to_notify() {
            changed |= self.notified(notification);
        }
        if changed {
            self.tell_members();
            // Whoever is new wants to know what we say.
            self.remind();
        }
    }

    fn notified(&mut self, notification: OwnedNotification<Identity>) -> bool {
        match notification {
            OwnedNotification::MemberUp(member) | OwnedNotification::Rename(_, member) => {
                self.members.insert(member.name, member.address) != Some(member.address)
            }
            OwnedNotification::MemberDown(member) => self.members.remove(&member.name).is_some(),
            OwnedNotification::Rejoin(own) => {
                self.set_generation(own.generation);
                false
            }
            _ => false,
        }
    }

    fn tell_members(&mut self) {
        self.outputs.push_back(Output::Members(self.members.keys().cloned().collect()));
    }

    fn send_document(&mut self, to: SocketAddr, message: &DocumentMessage<'_>) {
        self.send(to, &Message::Document(message.clone()));
    }

    fn send(&mut self, to: SocketAddr, message: &Message<'_>) {
        if let Ok(message) = postcard::to_allocvec(message) {
            let sealed = self.seal.seal_all(&message).into_iter();
            self.outputs.extend(sealed.map(|bytes| Output::Send { to, bytes }));
        }
    }
}

fn foca_config() -> foca::Config {
    let every = |frequency, members| {
        Some(PeriodicParams { frequency, num_members: NonZeroUsize::new(members).unwrap_or(NonZeroUsize::MIN) })
    };
    foca::Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_RTT,
        num_indirect_probes: NonZeroUsize::new(3).unwrap_or(NonZeroUsize::MIN),
        max_transmissions: NonZeroU8::new(10).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: SUSPICION,
        // A later generation replaces an earlier one at once: the dead need not be forgotten first.
        remove_down_after: None,
        max_packet_size: NonZeroUsize::new(DATAGRAM - crate::seal::OVERHEAD - 8).unwrap_or(NonZeroUsize::MIN),
        notify_down_members: true,
        periodic_announce: every(Duration::from_secs(30), 1),
        periodic_announce_to_down_members: every(Duration::from_secs(3), 2),
        periodic_gossip: every(Duration::from_millis(200), 3),
    }
}

impl std::fmt::Debug for Liveness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Liveness").field("own", &self.own).field("members", &self.members).finish_non_exhaustive()
    }
}
