//! Who answers for an address: claims, handover, standing in. The rules are those of `docs/l2-failover.md`, by number.
//!
//! ```text
//! plan, standing of nodes, claims, handovers ─►┌───────┐─► claims, handovers, queries
//!                                              │ Owner │─► Role(address), Announce(address)
//!                                              └───────┘
//! ```
//!
//! For every address the best claim known is kept. What we do about it is computed anew whenever something that it
//! depends on changes ([`Owner::settle`]); nothing is remembered but the claim and deadlines. Who is alive is told by
//! [`Watch`]; time and the order of nodes are arguments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frame::{Body, Claims, Stake};
use super::node::{NodeId, mix};
use super::timing::Timing;
use super::watch::{Standing, Watch};
use crate::ethernet::MacAddr;

mod behalf;
mod hear;
mod offer;
mod tell;

use hear::Doubt;
use offer::Offer;
use tell::Teller;

/// Plans may differ for so long before one of them takes an address from an owner whose speaker is down.
const PLAN_INTERVAL: Duration = Duration::from_secs(1);

/// Who may answer for each address of the plan, best first.
pub type Plan = BTreeMap<IpAddr, Arc<[NodeId]>>;

/// What we do about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    Silent,
    /// It is ours: we answer, with our MAC address.
    Owner,
    /// We answer with its owner's MAC address, as ARP sender or in the NDP option, without the override flag; our own is
    /// the Ethernet source only. Nothing is announced unasked.
    StandIn {
        /// Whose it is.
        owner: NodeId,
        /// Where it is.
        mac: MacAddr,
    },
}

/// Whose an address is, as far as we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub owner: NodeId,
    /// The MAC address that answers.
    pub mac: MacAddr,
    /// Grows with every move.
    pub epoch: u32,
    /// Not provisional.
    pub firm: bool,
}

impl Claim {
    /// The better of two claims is the larger: epoch, then firm over provisional, then a hash.
    fn order(&self, address: IpAddr) -> (u32, bool, u64) {
        (self.epoch, self.firm, mix(number(address), self.owner.0))
    }

    fn stake(&self, address: IpAddr) -> Stake {
        Stake { address, epoch: self.epoch, firm: self.firm }
    }

    /// Its part of the digest.
    fn digest(&self, address: IpAddr) -> u64 {
        mix(number(address), u64::from(self.epoch) << 1 | u64::from(self.firm))
    }
}

fn number(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => {
            let [a, b] = [v6.to_bits() >> 64, v6.to_bits() & u128::from(u64::MAX)];
            mix(u64::try_from(a).unwrap_or_default(), u64::try_from(b).unwrap_or_default())
        }
    }
}

/// What the owner machine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// To one node.
    Send(NodeId, Body),
    /// To everybody.
    Tell(Body),
    /// Ask this node for its claims.
    Ask(NodeId),
    /// What we do about an address is this now.
    Role(IpAddr, Role),
    /// Tell the neighbours where it is.
    Announce(IpAddr),
    /// Two claims met, and this one lost.
    Beaten(IpAddr, NodeId),
    /// An address was handed to us, or by us so long after it was offered first.
    HandedOver(IpAddr, NodeId, Option<Duration>),
}

/// What is known of one address.
#[derive(Clone, Debug)]
struct Entry {
    /// Candidates, best first; `None`: not in the plan.
    candidates: Option<Arc<[NodeId]>>,
    claim: Option<Claim>,
    /// What another claims with less right than the owner that we know of, and when it said so last.
    rival: Option<(Claim, Instant)>,
    /// When the claim was heard last, from anybody, and from its owner.
    heard_at: Instant,
    told_at: Option<Instant>,
    /// Our own was defended then.
    defended_at: Option<Instant>,
    role: Role,
    /// It is ours, and none of us is known to have had it before.
    is_first: bool,
    /// We go on answering in the name of its owner until then.
    lingers_until: Option<Instant>,
    /// Nobody has it since then.
    free_at: Instant,
    /// Our own claim is uncontested since then.
    quiet_at: Instant,
    /// We are trying to give it to another.
    offer: Option<Offer>,
    /// When something is due.
    due_at: Option<Instant>,
}

impl Entry {
    fn new(now: Instant) -> Self {
        Self {
            candidates: None,
            claim: None,
            rival: None,
            heard_at: now,
            told_at: None,
            defended_at: None,
            role: Role::Silent,
            is_first: false,
            lingers_until: None,
            free_at: now,
            quiet_at: now,
            offer: None,
            due_at: None,
        }
    }
}

/// What we may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// At start and after a pause: we answer for nothing, and believe any live claim.
    Learning,
    /// Everything.
    Serving,
    /// We hand over what we have, and take nothing.
    Draining,
}

/// Ownership of the addresses of one segment, as one node sees it.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    own: NodeId,
    mac: MacAddr,
    timing: Timing,
    phase: Phase,
    /// When we began to learn last: what was known before may be old.
    learning_since: Instant,
    entries: BTreeMap<IpAddr, Entry>,
    due: BTreeSet<(Instant, IpAddr)>,
    /// Number and digest of the addresses of each owner.
    revision: u64,
    digests: BTreeMap<NodeId, (u32, u64)>,
    /// Whose word is missing, or differs from what we know.
    doubts: BTreeMap<NodeId, Doubt>,
    teller: Teller,
    outputs: VecDeque<Output>,
}

impl Owner {
    /// Knows what was saved, and answers for nothing yet.
    pub(super) fn new(
        own: NodeId,
        mac: MacAddr,
        timing: Timing,
        saved: &BTreeMap<IpAddr, Claim>,
        now: Instant,
    ) -> Self {
        let mut owner = Self {
            own,
            mac,
            timing,
            phase: Phase::Learning,
            learning_since: now,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            revision: 0,
            digests: BTreeMap::new(),
            doubts: BTreeMap::new(),
            teller: Teller::default(),
            outputs: VecDeque::new(),
        };
        for (address, claim) in saved {
            let mac = if claim.owner == own { mac } else { claim.mac };
            owner.entry(now, *address);
            owner.set_claim(now, *address, Some(Claim { mac, ..*claim }));
        }
        owner
    }

    /// The plan is this now.
    pub(super) fn plan(&mut self, now: Instant, plan: &Plan, watch: &Watch) {
        let unplanned: Vec<IpAddr> =
            self.entries.keys().filter(|address| !plan.contains_key(address)).copied().collect();
        let mut released = Vec::new();
        for address in unplanned {
            let Some(entry) = self.entries.get_mut(&address) else { continue };
            // Own claims that were saved wait for the first plan; later nothing that is not planned is kept.
            if entry.candidates.take().is_some() && entry.claim.is_some_and(|claim| claim.owner == self.own) {
                self.set_claim(now, address, None);
                released.push(address);
            }
            self.settle(now, address, watch);
        }
        for chunk in released.chunks(super::frame::STAKES) {
            self.outputs.push_back(Output::Tell(Body::Released(chunk.to_vec())));
        }
        for (address, candidates) in plan {
            let entry = self.entry(now, *address);
            if entry.candidates.is_none() && entry.claim.is_none() {
                entry.free_at = entry.free_at.max(now);
            }
            entry.candidates = Some(Arc::clone(candidates));
            self.settle(now, *address, watch);
        }
    }

    /// Answers for nothing until [`Self::serve`].
    pub(super) fn learn(&mut self, now: Instant, watch: &Watch) {
        self.phase = Phase::Learning;
        self.learning_since = now;
        self.teller.clear();
        self.settle_all(now, watch);
    }

    /// Knows what there is to know: answers for what is its own.
    pub(super) fn serve(&mut self, now: Instant, watch: &Watch) {
        self.phase = Phase::Serving;
        for entry in self.entries.values_mut().filter(|entry| entry.claim.is_none()) {
            entry.free_at = entry.free_at.max(now);
        }
        self.settle_all(now, watch);
    }

    /// Hands over everything.
    pub(super) fn drain(&mut self, now: Instant, watch: &Watch) {
        self.phase = Phase::Draining;
        self.settle_all(now, watch);
    }

    /// A node's standing is another.
    pub(super) fn settle_all(&mut self, now: Instant, watch: &Watch) {
        let addresses: Vec<IpAddr> = self.entries.keys().copied().collect();
        for address in addresses {
            self.settle(now, address, watch);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, watch: &Watch) {
        while let Some((_, address)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            if let Some(entry) = self.entries.get_mut(&address) {
                entry.due_at = None;
            }
            self.settle(now, address, watch);
        }
        self.tell_due(now, watch);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.teller.next_deadline()).min()
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Number and digest of our own addresses.
    pub(super) fn digest(&self) -> (u32, u64) {
        self.digests.get(&self.own).copied().unwrap_or_default()
    }

    /// Who owns addresses, as far as we know.
    pub(super) fn owners(&self) -> impl Iterator<Item = NodeId> {
        self.digests.keys().copied()
    }

    /// Every claim known: what is saved.
    pub(super) fn claims(&self) -> BTreeMap<IpAddr, Claim> {
        self.entries.iter().filter_map(|(address, entry)| Some((*address, entry.claim?))).collect()
    }

    /// Grows with every change of what [`Self::claims`] says.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether an address is ours, and none of us is known to have had it before.
    pub(super) fn is_first(&self, address: IpAddr) -> bool {
        self.entries.get(&address).is_some_and(|entry| entry.is_first)
    }

    /// Whether nothing is ours, nor answered for in the name of one that has just taken it.
    pub(super) fn is_rid_of_all(&self) -> bool {
        self.digest().0 == 0 && self.entries.values().all(|entry| entry.lingers_until.is_none())
    }

    /// What we do about an address.
    pub(super) fn role(&self, address: IpAddr) -> Role {
        self.entries.get(&address).map_or(Role::Silent, |entry| entry.role)
    }

    fn entry(&mut self, now: Instant, address: IpAddr) -> &mut Entry {
        self.entries.entry(address).or_insert_with(|| Entry::new(now))
    }

    /// The one place where a claim changes: digests follow it.
    fn set_claim(&mut self, now: Instant, address: IpAddr, claim: Option<Claim>) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        entry.heard_at = now;
        entry.told_at = None;
        let old = std::mem::replace(&mut entry.claim, claim);
        if old == claim {
            return;
        }
        self.revision += 1;
        entry.offer = None;
        entry.quiet_at = now;
        if claim.is_none() {
            entry.free_at = now;
        }
        if let Some(old) = old {
            let known = self.digests.entry(old.owner).or_default();
            *known = (known.0.saturating_sub(1), known.1.wrapping_sub(old.digest(address)));
            if known.0 == 0 {
                self.digests.remove(&old.owner);
            }
        }
        if let Some(claim) = claim {
            let known = self.digests.entry(claim.owner).or_default();
            *known = (known.0.saturating_add(1), known.1.wrapping_add(claim.digest(address)));
        }
    }

    fn wake(&mut self, address: IpAddr, at: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if entry.due_at != at {
            if let Some(old) = std::mem::replace(&mut entry.due_at, at) {
                self.due.remove(&(old, address));
            }
            if let Some(at) = at {
                self.due.insert((at, address));
            }
        }
    }

    /// What to do about an address, from everything known now. [Rules 1, 2, 4, 6]
    fn settle(&mut self, now: Instant, address: IpAddr, watch: &Watch) {
        let lingered = self.entries.get_mut(&address).and_then(|entry| entry.lingers_until.take());
        let Some(entry) = self.entries.get(&address) else { return };
        let planned = entry.candidates.is_some();
        let (role, due_at) = match entry.claim {
            Some(claim) if claim.owner == self.own => (self.own_role(), self.keep(now, address, watch)),
            Some(claim) => match watch.standing(claim.owner) {
                Standing::Up => self.linger(now, address, &claim, lingered),
                Standing::Unknown => (Role::Silent, None),
                Standing::Down { since, .. } if self.is_dropped(entry, claim.owner) => {
                    let stand_in = self.stand_in(address, entry, &claim, watch);
                    (stand_in, self.take(now, address, since + PLAN_INTERVAL, watch))
                }
                Standing::Down { .. } => (self.stand_in(address, entry, &claim, watch), None),
                Standing::Gone { since } => (Role::Silent, self.take(now, address, since, watch)),
            },
            None if !planned => {
                self.forget(address);
                return;
            }
            None => {
                let since = entry.free_at;
                (Role::Silent, self.take(now, address, since, watch))
            }
        };
        // Taking it may have made it ours.
        let ours = self.entries.get(&address).and_then(|entry| entry.claim).is_some_and(|c| c.owner == self.own);
        self.set_role(address, if ours { self.own_role() } else { role });
        self.wake(address, due_at);
    }

    fn own_role(&self) -> Role {
        if self.phase == Phase::Learning { Role::Silent } else { Role::Owner }
    }

    /// The plan has the address, and its owner no longer among those who may answer for it.
    fn is_dropped(&self, entry: &Entry, owner: NodeId) -> bool {
        self.phase == Phase::Serving && entry.candidates.as_ref().is_some_and(|nodes| !nodes.contains(&owner))
    }

    fn set_role(&mut self, address: IpAddr, role: Role) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if std::mem::replace(&mut entry.role, role) == role {
            return;
        }
        self.outputs.push_back(Output::Role(address, role));
        if role == Role::Owner {
            self.outputs.push_back(Output::Announce(address));
            self.teller.changed(address);
        }
    }

    fn forget(&mut self, address: IpAddr) {
        self.set_role(address, Role::Silent);
        self.wake(address, None);
        self.entries.remove(&address);
    }

    /// Nobody has it since then: we take it when our turn comes. Returns when that is. [Rule 2]
    fn take(&mut self, now: Instant, address: IpAddr, since: Instant, watch: &Watch) -> Option<Instant> {
        let entry = self.entries.get(&address)?;
        let candidates = entry.candidates.as_ref()?;
        if self.phase != Phase::Serving {
            return None;
        }
        // Who is about to start waits for its turn like the others: all start together, and one of them takes it.
        let mut live = candidates.iter().filter(|node| watch.is_present(**node));
        let rank = u32::try_from(live.position(|node| *node == self.own)?).unwrap_or(u32::MAX);
        let at = since + self.timing.interval.saturating_mul(rank);
        if at > now {
            return Some(at);
        }
        // Always provisional: at this moment we cannot tell the death of one from a cut, and after a second we can.
        // Whose speaker is down and whom the plan dropped can hand nothing over: that move is as planned as a handover.
        let planned = entry.claim.is_some_and(|claim| watch.is_present(claim.owner));
        let is_first = entry.claim.is_none();
        let epoch = entry.claim.map_or(1, |claim| claim.epoch.saturating_add(u32::from(planned)));
        self.set_claim(now, address, Some(Claim { owner: self.own, mac: self.mac, epoch, firm: planned }));
        self.entries.entry(address).and_modify(|entry| entry.is_first = is_first);
        self.teller.changed(address);
        self.keep(now, address, watch)
    }

    /// What is due for an address of ours: it turns firm, or is offered to another.
    fn keep(&mut self, now: Instant, address: IpAddr, watch: &Watch) -> Option<Instant> {
        if self.phase == Phase::Learning {
            return None;
        }
        let firm_at = self.turn_firm(now, address, watch);
        let offer_at = self.offer(now, address, watch);
        [firm_at, offer_at].into_iter().flatten().min()
    }

    fn turn_firm(&mut self, now: Instant, address: IpAddr, watch: &Watch) -> Option<Instant> {
        let entry = self.entries.get(&address)?;
        let claim = entry.claim.filter(|claim| !claim.firm)?;
        // Long enough for everybody on a large segment to have been heard or missed.
        let members = watch.member_count();
        let span = self.timing.firm_interval.max(self.timing.digest_interval(members) * 5 / 2);
        let at = entry.quiet_at + if members > 50 { span } else { self.timing.firm_interval };
        if at > now {
            return Some(at);
        }
        if watch.heard_count(now) * 2 <= members {
            return Some(now + self.timing.firm_interval / 4);
        }
        self.set_claim(now, address, Some(Claim { epoch: claim.epoch.saturating_add(1), firm: true, ..claim }));
        self.teller.changed(address);
        None
    }
}
