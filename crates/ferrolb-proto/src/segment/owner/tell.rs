//! When claims are told: at 0, 10, 20 and 50 ms after a change, and in answer to questions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Body, Claims, NodeId, Output, Owner, Stake, Watch};
use crate::ethernet::MacAddr;
use crate::segment::frame::STAKES;

/// After a change, its claim is told again so long after it.
const REPEATS: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(20), Duration::from_millis(50)];
/// Claims that are contested are told anew so often: while that lasts, a change is repeated.
const CONTEST_INTERVAL: Duration = Duration::from_millis(50);
/// Between two full lists that single nodes ask for.
const LIST_INTERVAL: Duration = Duration::from_millis(250);

/// What is still to be said.
#[derive(Clone, Debug, Default)]
pub(super) struct Teller {
    changed: BTreeSet<IpAddr>,
    repeats: VecDeque<(Instant, BTreeSet<IpAddr>)>,
    /// Claims of others that somebody has to be reminded of, and when.
    reminders: BTreeMap<IpAddr, Instant>,
    answer: Option<Answer>,
    /// When our provisional claims were told anew last.
    contested_at: Option<Instant>,
    /// When a full list was told last.
    list_at: Option<Instant>,
}

/// An answer to a query.
#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Instant,
    nonce: u64,
    /// Who asked, if it knows nothing.
    about: Option<NodeId>,
    /// When it asked: what was told since then is not repeated.
    asked_at: Instant,
}

impl Teller {
    pub(super) fn clear(&mut self) {
        *self = Self { list_at: self.list_at, ..Self::default() };
    }

    /// This claim of ours is new.
    pub(super) fn changed(&mut self, address: IpAddr) {
        self.changed.insert(address);
    }

    /// These claims of ours are contested by a node that is back; for all that come back at once they are told once.
    pub(super) fn contested(&mut self, now: Instant, addresses: impl Iterator<Item = IpAddr>) {
        let lately = |at: Instant| now.saturating_duration_since(at) < CONTEST_INTERVAL;
        if !self.contested_at.is_some_and(lately) {
            self.contested_at = Some(now);
            self.changed.extend(addresses);
        }
    }

    /// Somebody claims an address with less right than its owner; one of those who know better says so then.
    pub(super) fn remind(&mut self, address: IpAddr, at: Instant) {
        self.reminders.entry(address).or_insert(at);
    }

    pub(super) fn forget_reminder(&mut self, address: IpAddr) {
        self.reminders.remove(&address);
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let repeat = self.repeats.iter().map(|(at, _)| *at).min();
        let reminder = self.reminders.values().min().copied();
        [repeat, reminder, self.answer.map(|answer| answer.at)].into_iter().flatten().min()
    }
}

impl Owner {
    /// Somebody asks. `delay` is random, so that not everybody answers at once. [Rule 7]
    pub(in crate::segment) fn asked(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        everything: bool,
        delay: Duration,
    ) {
        if self.phase == super::Phase::Learning {
            // Who is asking itself has no answer. That there is nothing to tell is one: who starts waits for it.
            if everything && self.digests.is_empty() {
                let claims = Claims { owner: self.own, mac: self.mac.0, nonce, stakes: Vec::new() };
                self.outputs.push_back(Output::Send(from, Body::Claims(claims)));
            }
            return;
        }
        if everything {
            self.teller.answer = Some(Answer { at: now + delay, nonce, about: Some(from), asked_at: now });
        } else if self.teller.answer.is_none_or(|answer| answer.nonce == 0) {
            // What was told just now, it may not have heard. All ask once a second: who were not answered because another
            // had been would not be answered the next time either.
            let soonest = self.teller.list_at.map_or(now, |at| at + LIST_INTERVAL);
            self.teller.answer = Some(Answer { at: soonest.max(now + delay), nonce, about: None, asked_at: now });
        }
    }

    /// Tells everybody all that is ours after so long, unless that was done just now.
    pub(in crate::segment) fn tell_list(&mut self, now: Instant, after: Duration) {
        let learning = self.phase == super::Phase::Learning;
        let lately = |at: Instant| now.saturating_duration_since(at) < self.timing.interval * 3;
        if !learning && self.teller.answer.is_none() && !self.teller.list_at.is_some_and(lately) {
            self.teller.answer = Some(Answer { at: now + after, nonce: 0, about: None, asked_at: now });
        }
    }

    /// A node is heard again that was gone: what it claims may contest ours, and the second begins anew. [Rule 2]
    pub(in crate::segment) fn reunited(&mut self, now: Instant) {
        let provisional = |claim: super::Claim| claim.owner == self.own && !claim.firm;
        for entry in self.entries.values_mut().filter(|entry| entry.claim.is_some_and(provisional)) {
            entry.quiet_at = now;
        }
        // And told again: who knows better has to hear of them before they are firm.
        let contested = self.entries.iter().filter(|(_, entry)| entry.claim.is_some_and(provisional));
        self.teller.contested(now, contested.map(|(address, _)| *address));
    }

    pub(super) fn tell_due(&mut self, now: Instant, watch: &Watch) {
        if self.phase == super::Phase::Learning {
            self.teller.clear();
            return;
        }
        let changed = std::mem::take(&mut self.teller.changed);
        if !changed.is_empty() {
            self.tell_own(&changed, 0);
            for after in REPEATS {
                self.teller.repeats.push_back((now + after, changed.clone()));
            }
        }
        let repeats = std::mem::take(&mut self.teller.repeats);
        for (at, addresses) in repeats {
            if at <= now {
                self.tell_own(&addresses, 0);
            } else {
                self.teller.repeats.push_back((at, addresses));
            }
        }
        if let Some(answer) = self.teller.answer.take_if(|answer| answer.at <= now) {
            self.answer(now, answer, watch);
        }
        let due: BTreeSet<IpAddr> =
            self.teller.reminders.iter().filter(|(_, at)| **at <= now).map(|(address, _)| *address).collect();
        self.teller.reminders.retain(|address, _| !due.contains(address));
        self.tell_others(due.into_iter(), 0);
    }

    fn tell_own(&mut self, addresses: &BTreeSet<IpAddr>, nonce: u64) {
        let stakes: Vec<Stake> = addresses.iter().filter_map(|address| self.own_stake(*address)).collect();
        self.tell_stakes(self.own, self.mac, &stakes, nonce);
    }

    fn own_stake(&self, address: IpAddr) -> Option<Stake> {
        let claim = self.entries.get(&address)?.claim?;
        (claim.owner == self.own).then(|| claim.stake(address))
    }

    fn tell_stakes(&mut self, owner: NodeId, mac: MacAddr, stakes: &[Stake], nonce: u64) {
        for stakes in stakes.chunks(STAKES) {
            let claims = Claims { owner, mac: mac.0, nonce, stakes: stakes.to_vec() };
            self.outputs.push_back(Output::Tell(Body::Claims(claims)));
        }
    }

    /// Claims of other owners, grouped by them.
    fn tell_others(&mut self, addresses: impl Iterator<Item = IpAddr>, nonce: u64) {
        let mut groups: BTreeMap<(NodeId, [u8; 6]), Vec<Stake>> = BTreeMap::new();
        for address in addresses {
            if let Some(claim) = self.entries.get(&address).and_then(|entry| entry.claim) {
                groups.entry((claim.owner, claim.mac.0)).or_default().push(claim.stake(address));
            }
        }
        for ((owner, mac), stakes) in groups {
            self.tell_stakes(owner, MacAddr(mac), &stakes, nonce);
        }
    }

    fn answer(&mut self, now: Instant, answer: Answer, watch: &Watch) {
        self.teller.list_at = Some(now);
        let own: BTreeSet<IpAddr> = self.addresses_of(|owner| owner == self.own);
        if own.is_empty() {
            // An answer all the same: who asks knows then that it was heard.
            let claims = Claims { owner: self.own, mac: self.mac.0, nonce: answer.nonce, stakes: Vec::new() };
            self.outputs.push_back(Output::Tell(Body::Claims(claims)));
        }
        self.tell_own(&own, answer.nonce);
        let Some(asker) = answer.about else { return };
        // What the asker owned, and what belongs to those who cannot tell, unless another has told it since.
        let silent = |owner: NodeId| owner != self.own && (owner == asker || !watch.is_up(owner));
        let unheard = self.addresses_of(silent);
        let unheard: Vec<IpAddr> = unheard
            .into_iter()
            .filter(|address| self.entries.get(address).is_some_and(|entry| entry.heard_at < answer.asked_at))
            .collect();
        self.tell_others(unheard.into_iter(), answer.nonce);
    }

    fn addresses_of(&self, wanted: impl Fn(NodeId) -> bool) -> BTreeSet<IpAddr> {
        let claimed = |entry: &super::Entry| entry.claim.is_some_and(|claim| wanted(claim.owner));
        self.entries.iter().filter(|(_, entry)| claimed(entry)).map(|(address, _)| *address).collect()
    }
}
