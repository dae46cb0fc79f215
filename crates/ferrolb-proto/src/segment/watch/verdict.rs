//! From silence to a verdict: when a node is looked at, what its silence means, and whose word is needed.
//!
//! | kernel | speaker | verdict |
//! |---|---|---|
//! | silent | silent | dead, if two say so, or if we hear none of its other watchers either |
//! | answers | silent | speaker down: nothing moves during the hold-off, its watchers look at its kernel every interval |
//! | any | answers | alive |
//! | never heard, and owns nothing that we know of | | unknown: never judged |

use std::time::Duration;

use super::{Burst, Instant, Kernel, NodeId, Output, Peer, Standing, State, Timing, WATCHERS, Watch, first_for};
use crate::segment::frame::{Body, Paths};

/// A watcher's word counts for so long.
const VOICE_INTERVAL: Duration = Duration::from_millis(1500);
/// While a speaker is down, its watchers say so again so often.
const REPEAT_INTERVAL: Duration = Duration::from_millis(500);
/// An echo answered in that time shows that this kernel answers echo.
const ECHO_INTERVAL: Duration = Duration::from_secs(60);
/// Who is no watcher waits so long for a second voice before it looks itself.
const SECOND_VOICE_INTERVAL: Duration = Duration::from_millis(60);

impl Watch {
    /// Whether we watch it: it counts on us, or it owns addresses and we are among the first for it.
    fn watches(&self, node: NodeId, peer: &Peer) -> bool {
        peer.counts_on_us || (self.owners.contains(&node) && self.first_of.contains(&node))
    }

    /// Does what is due for every peer, and finds out when to look again.
    pub(super) fn check(&mut self, now: Instant) {
        let nodes: Vec<NodeId> = self.peers.keys().copied().collect();
        let mut judged = false;
        for node in &nodes {
            judged |= self.check_one(now, *node);
        }
        if judged {
            self.judge_all(now);
        }
        let due = nodes.iter().filter_map(|node| self.due_at(now, *node)).min();
        let latest = now + Duration::from_secs(1);
        self.check_at = due.map_or(latest, |at| at.min(latest)).max(now + Duration::from_millis(1));
    }

    /// When something is due for this peer.
    fn due_at(&self, now: Instant, node: NodeId) -> Option<Instant> {
        let peer = self.peers.get(&node)?;
        if let Some(burst) = peer.burst {
            return Some(burst.next_at);
        }
        let watched = self.watches(node, peer);
        let heartbeat = match peer.standing {
            Standing::Up if watched => peer.heard_at.map(|at| at + self.timing.silence_interval()),
            Standing::Down { until, .. } if watched => Some(until.min(now + self.timing.interval)),
            Standing::Down { until, .. } => Some(until),
            Standing::Unknown if watched => Some(now + self.timing.silence_interval()),
            _ => None,
        };
        let kernel = watched.then_some(peer.kernel_try_at);
        [heartbeat, kernel].into_iter().flatten().min()
    }

    /// Returns whether our own word about it is new.
    fn check_one(&mut self, now: Instant, node: NodeId) -> bool {
        let Some(peer) = self.peers.get(&node) else { return false };
        let watched = self.watches(node, peer);
        let silent_for = peer.heard_at.map(|at| now.saturating_duration_since(at));
        let silence = self.timing.silence_interval();
        match peer.standing {
            _ if peer.burst.is_some() => return self.look(now, node),
            Standing::Up if watched && silent_for.is_some_and(|span| span >= silence) => self.suspect(now, node),
            Standing::Unknown if watched && !peer.voices.contains_key(&self.own) => self.suspect(now, node),
            Standing::Down { until, .. } if until <= now => {
                self.set_standing(node, Standing::Gone { since: now });
                self.peers.entry(node).and_modify(|peer| peer.dead = false);
            }
            Standing::Down { .. } if watched => self.nurse(now, node),
            _ => {}
        }
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        if watched && peer.kernel_try_at <= now {
            peer.kernel_try_at = now + super::KERNEL_TRY_INTERVAL;
            self.outputs.push_back(Output::ProbeKernel(node));
        }
        false
    }

    /// A speaker that is down: is its kernel still there? And the others are told again.
    fn nurse(&mut self, now: Instant, node: NodeId) {
        let silence = self.timing.silence_interval();
        let Some(peer) = self.peers.get_mut(&node) else { return };
        self.outputs.push_back(Output::ProbeKernel(node));
        let sign_at = peer.kernel_heard_at().max(peer.heard_at);
        let knows = peer.kernel_heard_at().is_some();
        if knows && sign_at.is_some_and(|at| now.saturating_duration_since(at) >= silence) {
            self.suspect(now, node);
        } else if peer.say_at.is_some_and(|at| at <= now) {
            peer.say_at = Some(now + REPEAT_INTERVAL);
            self.outputs.push_back(Output::Tell(Body::Silent { node, kernel: Kernel::Answers }));
        }
    }

    /// Somebody is back who was cut off, and may hold dead whose speakers are only down. Who went down by its own word was
    /// never looked at, so nobody has said so of it.
    pub(super) fn say_who_is_down(&mut self, now: Instant) {
        let silence = self.timing.silence_interval();
        let silent = |at: Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= silence);
        for (node, peer) in &self.peers {
            let down = matches!(peer.standing, Standing::Down { .. }) && silent(peer.heard_at);
            if down && self.watches(*node, peer) && !silent(peer.kernel_heard_at()) {
                self.outputs.push_back(Output::Tell(Body::Silent { node: *node, kernel: Kernel::Answers }));
            }
        }
    }

    /// Begins a burst of looks at it.
    fn suspect(&mut self, now: Instant, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node).filter(|peer| peer.burst.is_none()) {
            peer.burst = Some(Burst { began_at: now, rounds: 0, next_at: now });
            self.look(now, node);
        }
    }

    /// One look; after the last one, our word. Returns whether that is new.
    fn look(&mut self, now: Instant, node: NodeId) -> bool {
        let Timing { rounds, round_interval, .. } = self.timing;
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        let Some(burst) = peer.burst.as_mut().filter(|burst| burst.next_at <= now) else { return false };
        if burst.rounds < rounds {
            burst.rounds += 1;
            burst.next_at = now + round_interval;
            self.outputs.push_back(Output::Send(node, Paths::BOTH, Body::Probe));
            self.outputs.push_back(Output::ProbeKernel(node));
            return false;
        }
        let began_at = burst.began_at;
        let kernel = kernel(peer, began_at);
        peer.burst = None;
        peer.say_at = (kernel == Kernel::Answers).then(|| now + REPEAT_INTERVAL);
        peer.voices.insert(self.own, (kernel, now));
        // Three times: two voices are needed, and a word that is lost is a detection that is late.
        for _ in 0..3 {
            self.outputs.push_back(Output::Tell(Body::Silent { node, kernel }));
        }
        true
    }

    /// Another node finds this one silent. `delay` is random, for those who are no watchers.
    pub(in crate::segment) fn silent(
        &mut self,
        now: Instant,
        from: NodeId,
        (node, kernel): (NodeId, Kernel),
        delay: Duration,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.voices.insert(from, (kernel, now));
        let quiet = peer.heard_at.is_none_or(|at| now.saturating_duration_since(at) >= self.timing.interval);
        let open = matches!(peer.standing, Standing::Up | Standing::Down { .. });
        let Some(peer) = self.peers.get(&node) else { return };
        if quiet && open && peer.burst.is_none() && !peer.voices.contains_key(&self.own) {
            let wait = if self.watches(node, peer) { Duration::ZERO } else { SECOND_VOICE_INTERVAL + delay };
            if kernel != Kernel::Answers || wait.is_zero() {
                let burst = Burst { began_at: now, rounds: 0, next_at: now + wait };
                self.peers.entry(node).and_modify(|peer| peer.burst = Some(burst));
                self.check_at = self.check_at.min(now + wait);
            }
        }
        self.judge_all(now);
    }

    /// One verdict can be the last word that another was waiting for.
    fn judge_all(&mut self, now: Instant) {
        while let Some((node, standing)) = self.peers.iter().find_map(|(node, peer)| {
            let next = self.judge(now, *node, peer)?;
            let differs = std::mem::discriminant(&next) != std::mem::discriminant(&peer.standing);
            differs.then_some((*node, next))
        }) {
            self.set_standing(node, standing);
            let Some(peer) = self.peers.get_mut(&node) else { continue };
            peer.dead = peer.is_gone();
            if let Some(at) = peer.heard_at.filter(|_| peer.dead) {
                self.outputs.push_back(Output::Detected(node, now.saturating_duration_since(at)));
            }
        }
    }

    fn set_standing(&mut self, node: NodeId, standing: Standing) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if peer.is_gone() {
            // Not by its own word: it was we who were cut off, and others may know its claims better than we do.
            self.outputs.push_back(Output::Revived(node));
        }
        peer.standing = standing;
        peer.up_at = None;
        if matches!(standing, Standing::Gone { .. }) {
            peer.burst = None;
            peer.say_at = None;
            peer.hears_us = None;
            self.watchers_stale = true;
        }
        self.outputs.push_back(Output::Changed(node));
    }

    /// What the voices say, if they say anything.
    fn judge(&self, now: Instant, node: NodeId, peer: &Peer) -> Option<Standing> {
        if peer.voices.is_empty() || (peer.is_gone() && !peer.dead) {
            return None;
        }
        let counted = |who: NodeId| who == self.own || !matches!(self.standing(who), Standing::Gone { .. });
        let (mut voices, mut answers) = (0, 0);
        for (who, (kernel, at)) in &peer.voices {
            if now.saturating_duration_since(*at) < VOICE_INTERVAL && counted(*who) {
                voices += 1;
                answers += usize::from(*kernel == Kernel::Answers);
            }
        }
        if answers > 0 {
            let hold_off = self.hold_off(peer.state);
            let quiet = peer.heard_at.is_none_or(|at| now.saturating_duration_since(at) >= self.timing.interval);
            // Dead to us, and its kernel answers others: it was we who were cut off.
            let judged = !matches!(peer.standing, Standing::Down { .. });
            return (judged && quiet).then(|| Standing::Down { since: now, until: now + hold_off });
        }
        if peer.is_gone() {
            return None;
        }
        let alone = peer.voices.contains_key(&self.own) && self.hears_no_other_watcher(now, node);
        (voices >= 2 || alone).then_some(Standing::Gone { since: now })
    }

    pub(super) fn hold_off(&self, state: State) -> Duration {
        match state {
            State::Restarting => self.timing.restart_hold_off_interval,
            _ => self.timing.hold_off_interval,
        }
    }

    /// None of its other watchers is heard by us either: then our word must do.
    fn hears_no_other_watcher(&self, now: Instant, node: NodeId) -> bool {
        let window = self.timing.digest_interval(self.member_count()) * 5 / 2;
        let everybody = self.peers.keys().copied().chain([self.own]);
        first_for(node, everybody, WATCHERS).into_iter().filter(|watcher| *watcher != self.own).all(|watcher| {
            self.peers.get(&watcher).is_none_or(|peer| {
                let silent = peer.voices.contains_key(&self.own);
                silent || peer.heard_at.is_none_or(|at| now.saturating_duration_since(at) >= window)
            })
        })
    }
}

/// What the looks since then say of its kernel.
fn kernel(peer: &Peer, since: Instant) -> Kernel {
    let answered = |at: Option<Instant>| match at {
        Some(at) if at >= since => Kernel::Answers,
        Some(_) => Kernel::Silent,
        None => Kernel::Unknown,
    };
    let echo_works = peer.echo_at.is_some_and(|at| at + ECHO_INTERVAL >= since);
    if echo_works { answered(peer.echo_at) } else { answered(peer.neighbour_at) }
}
