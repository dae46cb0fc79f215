//! Claims of others: which is believed, and what is said to those that are not. [Rules 3, 7, 8]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Claim, Claims, NodeId, Output, Owner, Phase, Role, Standing, Watch};
use crate::ethernet::MacAddr;

/// Who knows better than a claim waits up to so long for its owner to say it.
const REMIND_INTERVAL: Duration = Duration::from_millis(15);
/// Between two announcements of an address of ours that another claims with less right.
const DEFEND_INTERVAL: Duration = Duration::from_millis(50);
/// Digests may differ for so long: a claim may be on its way.
const DIFFER_INTERVAL: Duration = Duration::from_millis(150);
/// Between two questions to one node.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// A claim of less right than the owner's is remembered for so long, in case that owner denies that it is one.
const RIVAL_INTERVAL: Duration = Duration::from_secs(3);
/// What its owner let go of is taken by nobody for so long: the others' plans may lag.
const RELEASE_INTERVAL: Duration = Duration::from_secs(2);

/// What to do with a claim that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Believe,
    /// It is what we know.
    Same,
    /// We know better, and say so.
    Contradict,
    Ignore,
    /// Another says so of a node that we hear ourselves: that node is asked.
    Ask,
}

/// A node whose word is missing, or differs from what we know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    since: Instant,
    asked_at: Option<Instant>,
    /// When it last began to tell all that is its own.
    list_at: Option<Instant>,
}

impl Owner {
    /// Somebody tells claims: its own, or another's.
    pub(in crate::segment) fn heard(&mut self, now: Instant, from: NodeId, claims: &Claims, watch: &Watch) {
        let direct = from == claims.owner;
        // Who is starting does not know yet what is its own, and may say so.
        let lists = direct && claims.nonce != 0 && watch.is_up(from);
        if let Some(doubt) = self.doubts.get_mut(&from).filter(|_| lists) {
            doubt.list_at = Some(now);
        }
        for stake in &claims.stakes {
            let address = stake.address;
            let claim = Claim { owner: claims.owner, mac: MacAddr(claims.mac), epoch: stake.epoch, firm: stake.firm };
            self.entry(now, address);
            match self.weigh(now, address, &claim, direct, watch) {
                Verdict::Believe => self.believe(now, address, claim, watch),
                Verdict::Same => {
                    self.teller.forget_reminder(address);
                    if let Some(entry) = self.entries.get_mut(&address) {
                        entry.heard_at = now;
                    }
                }
                Verdict::Contradict => {
                    self.entries.entry(address).and_modify(|entry| entry.rival = Some((claim, now)));
                    self.contradict(now, address);
                }
                Verdict::Ask => self.ask(now, claims.owner),
                Verdict::Ignore => {}
            }
            if let Some(entry) = self.entries.get_mut(&address).filter(|entry| direct && entry.claim == Some(claim)) {
                entry.told_at = Some(now);
            }
        }
    }

    fn weigh(&self, now: Instant, address: IpAddr, claim: &Claim, direct: bool, watch: &Watch) -> Verdict {
        // What another says of a node that we hear may be old: that node knows better.
        let hearsay = !direct && watch.is_up(claim.owner) && !self.is_mute(now, claim.owner, watch);
        let entry = self.entries.get(&address);
        let Some((entry, known)) = entry.and_then(|entry| Some((entry, entry.claim?))) else {
            return if hearsay && claim.owner != self.own { Verdict::Ask } else { Verdict::Believe };
        };
        if known == *claim {
            return Verdict::Same;
        }
        let better = claim.order(address) > known.order(address);
        let learning = self.phase == Phase::Learning;
        let alive = |node: NodeId| node == self.own || !matches!(watch.standing(node), Standing::Gone { .. });
        if known.owner == claim.owner {
            return match (better, direct) {
                (true, _) => Verdict::Believe,
                // The MAC address of its interface was changed.
                (false, true) if known.epoch == claim.epoch => Verdict::Believe,
                (false, true) => Verdict::Contradict,
                (false, false) => Verdict::Ignore,
            };
        }
        if !direct && !alive(claim.owner) {
            return Verdict::Ignore;
        }
        if claim.owner == self.own {
            // Others believe that it is ours. It is, if we do not know of a live owner.
            let up = known.owner != self.own && watch.is_up(known.owner);
            return if better && (learning || !up) { Verdict::Believe } else { Verdict::Ignore };
        }
        // What nobody has repeated since we began to learn is as old as our pause: whoever lives knows better.
        let stale = learning && (known.owner == self.own || entry.heard_at <= self.learning_since);
        let known_is_mute = !alive(known.owner) || stale;
        match (better, direct) {
            (true, _) if hearsay => Verdict::Ask,
            (true, _) => Verdict::Believe,
            (false, true) if known_is_mute => Verdict::Believe,
            (false, true) => Verdict::Contradict,
            (false, false) => Verdict::Ignore,
        }
    }

    fn believe(&mut self, now: Instant, address: IpAddr, claim: Claim, watch: &Watch) {
        let was_ours = self.entries.get(&address).and_then(|entry| entry.claim).is_some_and(|c| c.owner == self.own);
        let offer = self.entries.get(&address).and_then(|entry| entry.offer);
        if was_ours && claim.owner != self.own {
            self.outputs.push_back(match offer {
                Some(offer) => {
                    Output::HandedOver(address, claim.owner, Some(now.saturating_duration_since(offer.first_at)))
                }
                None => Output::Beaten(address, claim.owner),
            });
            if offer.is_none() {
                // Whoever is beaten stops at once: the winner may still be asking the LAN whether a stranger has it.
                self.set_role(address, Role::Silent);
            }
        }
        self.teller.forget_reminder(address);
        let mac = if claim.owner == self.own { self.mac } else { claim.mac };
        self.set_claim(now, address, Some(Claim { mac, ..claim }));
        self.entries.entry(address).and_modify(|entry| entry.is_first = false);
        self.settle(now, address, watch);
    }

    /// The owner itself announces again at once; the others wait whether it does.
    fn contradict(&mut self, now: Instant, address: IpAddr) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        let ours = entry.claim.is_some_and(|claim| claim.owner == self.own);
        if !ours {
            self.teller.remind(address, now + REMIND_INTERVAL);
            return;
        }
        entry.quiet_at = now;
        let lately = entry.defended_at.is_some_and(|at| now.saturating_duration_since(at) < DEFEND_INTERVAL);
        if self.phase != Phase::Learning && !lately {
            entry.defended_at = Some(now);
            self.teller.changed(address);
            self.outputs.push_back(Output::Announce(address));
        }
    }

    /// An owner has let go of these.
    pub(in crate::segment) fn released(&mut self, now: Instant, from: NodeId, addresses: &[IpAddr], watch: &Watch) {
        for address in addresses {
            let claim = self.entries.get(address).and_then(|entry| entry.claim);
            if claim.is_some_and(|claim| claim.owner == from) {
                self.set_claim(now, *address, None);
                if let Some(entry) = self.entries.get_mut(address) {
                    entry.free_at = now + RELEASE_INTERVAL;
                }
                self.settle(now, *address, watch);
            }
        }
    }

    /// A node says how many addresses it has, and their digest: if we know something else, it is asked.
    pub(in crate::segment) fn compare(&mut self, now: Instant, node: NodeId, digest: (u32, u64), watch: &Watch) {
        if self.digests.get(&node).copied().unwrap_or_default() == digest {
            self.doubts.remove(&node);
            return;
        }
        let doubt = *self.doubts.entry(node).or_insert(Doubt { since: now, asked_at: None, list_at: None });
        if now.saturating_duration_since(doubt.since) < DIFFER_INTERVAL {
            return;
        }
        if let (Some(asked_at), Some(list_at)) = (doubt.asked_at, doubt.list_at)
            && now.saturating_duration_since(list_at) >= DIFFER_INTERVAL
        {
            self.forget_untold(now, node, asked_at, watch);
        }
        self.ask(now, node);
    }

    fn ask(&mut self, now: Instant, node: NodeId) {
        let doubt = self.doubts.entry(node).or_insert(Doubt { since: now, asked_at: None, list_at: None });
        if doubt.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= ASK_INTERVAL) {
            doubt.asked_at = Some(now);
            doubt.list_at = None;
            self.outputs.push_back(Output::Ask(node));
        }
    }

    /// It was asked, and is not heard any more: what others say of it must do.
    fn is_mute(&self, now: Instant, node: NodeId, watch: &Watch) -> bool {
        let asked_at = self.doubts.get(&node).and_then(|doubt| doubt.asked_at);
        let patience = self.timing.interval;
        asked_at.is_some_and(|at| {
            now.saturating_duration_since(at) >= patience && watch.heard_at(node).is_none_or(|heard| heard < at)
        })
    }

    /// It was asked, and did not name these: they are not its own any more.
    fn forget_untold(&mut self, now: Instant, node: NodeId, since: Instant, watch: &Watch) {
        let untold = |entry: &super::Entry| {
            entry.claim.is_some_and(|claim| claim.owner == node) && entry.told_at.is_none_or(|at| at < since)
        };
        let untold: Vec<IpAddr> =
            self.entries.iter().filter(|(_, entry)| untold(entry)).map(|(address, _)| *address).collect();
        // It did not let go of them, it never had them: they belong to who claims them with less right, or are free at once.
        for address in untold {
            let rival = self.entries.get_mut(&address).and_then(|entry| entry.rival.take());
            let lately = |at: Instant| now.saturating_duration_since(at) < RIVAL_INTERVAL;
            let next = rival.filter(|(claim, at)| lately(*at) && watch.is_up(claim.owner) && claim.owner != node);
            self.set_claim(now, address, next.map(|(claim, _)| claim));
            self.settle(now, address, watch);
        }
    }
}
