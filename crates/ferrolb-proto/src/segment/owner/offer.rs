//! Planned moves: an address is offered until its taker is heard, and only then does the old owner stop. [Rules 4, 5]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Body, Claim, NodeId, Output, Owner, Phase, Stake, Watch, mix, number};

/// Between two offers to one node.
const OFFER_INTERVAL: Duration = Duration::from_millis(10);
/// So long one node is asked before the next one is.
const PATIENCE: Duration = Duration::from_millis(100);
/// When nobody took it, the offers begin anew after so long.
const AGAIN_INTERVAL: Duration = Duration::from_secs(1);
/// A return that was not taken is offered anew after so long.
const RETURN_AGAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A try to give an address away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    to: NodeId,
    /// How many candidates were asked in vain before.
    tried: usize,
    began_at: Instant,
    /// The first candidate was asked then.
    pub(super) first_at: Instant,
    /// The next offer, or when to begin anew.
    next_at: Instant,
    over: bool,
}

impl Owner {
    /// Offers an address of ours, if it should be another's. Returns when to call again.
    pub(super) fn offer(&mut self, now: Instant, address: IpAddr, watch: &Watch) -> Option<Instant> {
        let entry = self.entries.get(&address)?;
        let candidates = entry.candidates.clone()?;
        let leaves = self.phase == Phase::Draining || !candidates.contains(&self.own);
        let takers: Vec<NodeId> = if leaves {
            candidates.iter().copied().filter(|node| *node != self.own && watch.is_up(*node)).collect()
        } else {
            match self.better(address, &candidates, watch) {
                Some((_, at)) if at > now => return Some(at),
                better => better.map(|(node, _)| node).into_iter().collect(),
            }
        };
        let mut offer = match entry.offer {
            Some(offer) if now < offer.next_at => return Some(offer.next_at),
            Some(offer) if !offer.over => offer,
            _ => Offer { to: *takers.first()?, tried: 0, began_at: now, first_at: now, next_at: now, over: false },
        };
        if now.saturating_duration_since(offer.began_at) >= PATIENCE || !takers.contains(&offer.to) {
            let tried = offer.tried + 1;
            match takers.get(tried) {
                Some(to) => offer = Offer { to: *to, tried, began_at: now, ..offer },
                None => {
                    let wait = if leaves { AGAIN_INTERVAL } else { RETURN_AGAIN_INTERVAL };
                    offer = Offer { over: true, next_at: now + wait, ..offer };
                }
            }
        }
        if !offer.over {
            offer.next_at = now + OFFER_INTERVAL;
            let stake = self.entries.get(&address)?.claim?.stake(address);
            self.push_offer(offer.to, stake);
        }
        self.entries.get_mut(&address)?.offer = Some(offer);
        Some(offer.next_at)
    }

    /// Offers to one node travel together.
    fn push_offer(&mut self, to: NodeId, stake: Stake) {
        if let Some(Output::Send(node, Body::Handover(stakes))) = self.outputs.back_mut()
            && *node == to
            && stakes.len() < crate::segment::frame::STAKES
        {
            stakes.push(stake);
            return;
        }
        self.outputs.push_back(Output::Send(to, Body::Handover(vec![stake])));
    }

    /// Who would be preferred to us, and when it will have been back for long enough. Addresses go back one after the
    /// other.
    fn better(&self, address: IpAddr, candidates: &[NodeId], watch: &Watch) -> Option<(NodeId, Instant)> {
        let hold_down = self.timing.return_interval?;
        let count = u64::from(self.digest().0).max(100);
        let spread = Duration::from_millis(mix(number(address), 1) % (count * 10));
        let best = candidates.iter().take_while(|node| **node != self.own).find(|node| watch.is_up(**node))?;
        Some((*best, watch.ready_at(*best)? + hold_down + spread))
    }

    /// Another offers us addresses.
    pub(in crate::segment) fn offered(&mut self, now: Instant, from: NodeId, stakes: &[Stake], watch: &Watch) {
        for stake in stakes {
            let address = stake.address;
            let Some(entry) = self.entries.get_mut(&address) else { continue };
            let may = entry.candidates.as_ref().is_some_and(|nodes| nodes.contains(&self.own));
            let known = entry.claim;
            if self.phase != Phase::Serving || !may {
                continue;
            }
            match known {
                // It has not heard our claim yet.
                Some(claim) if claim.owner == self.own && claim.epoch > stake.epoch => self.teller.changed(address),
                // Somebody else has it by now.
                Some(claim) if claim.owner != from && claim.epoch > stake.epoch => {}
                _ => {
                    let epoch = stake.epoch.max(known.map_or(0, |claim| claim.epoch)).saturating_add(1);
                    self.set_claim(now, address, Some(Claim { owner: self.own, mac: self.mac, epoch, firm: true }));
                    self.entries.entry(address).and_modify(|entry| entry.is_first = false);
                    self.teller.changed(address);
                    self.outputs.push_back(Output::HandedOver(address, self.own, None));
                    self.settle(now, address, watch);
                }
            }
        }
    }
}
