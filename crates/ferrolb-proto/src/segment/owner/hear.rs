//! Claims of others: which is believed, and what is said to those that are not. [Rules 3, 7, 8]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Claim, Claims, NodeId, Output, Owner, Phase, Standing, Watch};
use crate::ethernet::MacAddr;

/// Who knows better than a claim waits up to so long for its owner to say it.
const REMIND_INTERVAL: Duration = Duration::from_millis(15);
/// Digests may differ for so long: a claim may be on its way.
const DIFFER_INTERVAL: Duration = Duration::from_millis(150);
/// Between two questions to one node.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
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
}

impl Owner {
    /// Somebody tells claims: its own, or another's.
    pub(in crate::segment) fn heard(&mut self, now: Instant, from: NodeId, claims: &Claims, watch: &Watch) {
        let direct = from == claims.owner;
        for stake in &claims.stakes {
            let address = stake.address;
            let claim = Claim { owner: claims.owner, mac: MacAddr(claims.mac), epoch: stake.epoch, firm: stake.firm };
            self.entry(now, address);
            match self.weigh(address, &claim, direct, watch) {
                Verdict::Believe => self.believe(now, address, claim, watch),
                Verdict::Same => {
                    self.teller.forget_reminder(address);
                    if let Some(entry) = self.entries.get_mut(&address) {
                        entry.heard_at = now;
                    }
                }
                Verdict::Contradict => self.contradict(now, address),
                Verdict::Ignore => {}
            }
        }
    }

    fn weigh(&self, address: IpAddr, claim: &Claim, direct: bool, watch: &Watch) -> Verdict {
        let Some(known) = self.entries.get(&address).and_then(|entry| entry.claim) else { return Verdict::Believe };
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
        let known_is_mute = !alive(known.owner) || (known.owner == self.own && learning);
        match (better, direct) {
            (true, _) => Verdict::Believe,
            (false, true) if known_is_mute => Verdict::Believe,
            (false, true) => Verdict::Contradict,
            (false, false) => Verdict::Ignore,
        }
    }

    fn believe(&mut self, now: Instant, address: IpAddr, claim: Claim, watch: &Watch) {
        let was_ours = self.entries.get(&address).and_then(|entry| entry.claim).is_some_and(|c| c.owner == self.own);
        let offered = self.entries.get(&address).is_some_and(|entry| entry.offer.is_some());
        if was_ours && claim.owner != self.own {
            let output = if offered { Output::HandedOver } else { Output::Beaten };
            self.outputs.push_back(output(address, claim.owner));
        }
        self.teller.forget_reminder(address);
        let mac = if claim.owner == self.own { self.mac } else { claim.mac };
        self.set_claim(now, address, Some(Claim { mac, ..claim }));
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
        if self.phase != Phase::Learning {
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
            self.asked.remove(&node);
            return;
        }
        let (since, asked_at) = self.asked.entry(node).or_insert((now, None));
        let differs = now.saturating_duration_since(*since) >= DIFFER_INTERVAL;
        let may = asked_at.is_none_or(|at| now.saturating_duration_since(at) >= ASK_INTERVAL);
        if differs && may {
            let before = asked_at.replace(now);
            self.outputs.push_back(Output::Ask(node));
            if let Some(before) = before {
                self.forget_untold(now, node, before, watch);
            }
        }
    }

    /// It was asked, and did not name these: they are not its own any more.
    fn forget_untold(&mut self, now: Instant, node: NodeId, since: Instant, watch: &Watch) {
        let of_node = |claim: Option<Claim>| claim.is_some_and(|claim| claim.owner == node);
        if !self.entries.values().any(|entry| of_node(entry.claim) && entry.heard_at >= since) {
            return;
        }
        let untold: Vec<IpAddr> = self
            .entries
            .iter()
            .filter(|(_, entry)| of_node(entry.claim) && entry.heard_at < since)
            .map(|(address, _)| *address)
            .collect();
        self.released(now, node, &untold, watch);
    }
}
