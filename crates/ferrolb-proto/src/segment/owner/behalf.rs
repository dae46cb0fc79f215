//! Answering in the name of another: of an owner whose speaker is down, and for a moment of one that has just begun. [Rule 6]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Claim, Entry, Owner, Phase, Role, Watch, mix, number};

/// Who has answered for an address that is another's now goes on for so long, in the other's name: until the claim has
/// become an answer there, nobody is left unanswered, and no second MAC address is told.
const LINGER_INTERVAL: Duration = Duration::from_millis(100);

impl Owner {
    /// Its owner's speaker is down: the first live speaker answers for it, candidates first. [Rule 6]
    pub(super) fn stand_in(&self, address: IpAddr, entry: &Entry, claim: &Claim, watch: &Watch) -> Role {
        let candidates = entry.candidates.iter().flat_map(|nodes| nodes.iter().copied());
        let first = candidates.filter(|node| *node != claim.owner).find(|node| watch.is_up(*node));
        let anybody = || watch.up().chain([self.own]).min_by_key(|node| mix(number(address), node.0));
        let may = self.phase != Phase::Learning;
        if may && first.or_else(anybody) == Some(self.own) {
            Role::StandIn { owner: claim.owner, mac: claim.mac }
        } else {
            Role::Silent
        }
    }

    /// It is another's, whose speaker runs. `before`: what was said of [`Entry::lingers_until`] so far. What was claimed a
    /// moment ago for the first time is left alone: the claimer may still be asking the LAN whether a stranger has it.
    pub(super) fn linger(
        &mut self,
        now: Instant,
        address: IpAddr,
        claim: &Claim,
        before: Option<Instant>,
    ) -> (Role, Option<Instant>) {
        let until = before.unwrap_or(now + LINGER_INTERVAL);
        let entry = self.entries.get_mut(&address).filter(|entry| entry.role != Role::Silent && until > now);
        match entry.filter(|_| claim.firm && self.phase != Phase::Learning) {
            Some(entry) => {
                entry.lingers_until = Some(until);
                (Role::StandIn { owner: claim.owner, mac: claim.mac }, Some(until))
            }
            None => (Role::Silent, None),
        }
    }
}
