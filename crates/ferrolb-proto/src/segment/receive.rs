//! What comes in: opened, judged by whom it is from, and given to the part that it is for.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::frame::{Body, Message, Path, Paths};
use super::{CUT_INTERVAL, Dropped, Event, NodeId, Output, Phase, Segment, Standing, Trusted};
use crate::seal::OpenError;

impl Segment {
    pub(super) fn datagram(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        let (boot, message) = match self.seal.open_from(bytes) {
            Ok(opened) => opened,
            Err(OpenError::Own | OpenError::Twin) => return,
            Err(error) => return self.dropped(error.into()),
        };
        let message = match Message::parse(&message) {
            Ok(message) => message,
            Err(error) => return self.dropped(error.into()),
        };
        if message.sender == self.own || message.to.is_some_and(|to| to != self.own) {
            return;
        }
        let node = message.sender;
        let asked = if let Phase::Learning(lesson) = &self.phase { Some(lesson.nonce) } else { None };
        let fresh = self.rng.random::<u64>() | 1;
        match self.trust.judge(now, (boot, node), &message.body, (asked, fresh)) {
            Trusted::Yes { new } => {
                if new {
                    self.watch.rebooted(node);
                }
                let standing = self.watch.standing(node);
                self.heard = Some(node);
                self.watch.heard(now, node, path);
                self.follow(now);
                self.trusted(now, &message, standing);
            }
            Trusted::Challenge(nonce) => {
                self.send(node, Paths::BOTH, Body::Challenge { nonce });
                self.stranger(now, node, &message.body);
            }
            Trusted::No => self.stranger(now, node, &message.body),
        }
    }

    fn dropped(&mut self, why: Dropped) {
        self.outputs.push_back(Output::Event(Event::Dropped(why)));
    }

    /// Two questions are answered to anybody with the secret: the answers tell nothing that a repetition could use.
    fn stranger(&mut self, now: Instant, node: NodeId, body: &Body) {
        match body {
            Body::Challenge { nonce } => self.send(node, Paths::BOTH, Body::Response { nonce: *nonce }),
            Body::Query { nonce, everything } => {
                let delay = self.delay(self.timing.interval / 2);
                self.owner.asked(now, node, *nonce, *everything, delay);
            }
            _ => self.dropped(Dropped::NotTrusted),
        }
    }

    fn delay(&mut self, up_to: Duration) -> Duration {
        Duration::from_micros(self.rng.random_range(0..=u64::try_from(up_to.as_micros()).unwrap_or_default()))
    }

    fn trusted(&mut self, now: Instant, message: &Message, standing: Standing) {
        let node = message.sender;
        match &message.body {
            Body::Heartbeat(beat) => {
                self.watch.heartbeat(now, node, beat, message.to.is_some());
                self.follow(now);
                self.owner.compare(now, node, beat.digest, &self.watch);
            }
            Body::Claims(claims) => {
                self.owner.heard(now, node, claims, &self.watch);
                if let Phase::Learning(lesson) = &mut self.phase
                    && lesson.nonce == claims.nonce
                    && claims.owner == node
                {
                    lesson.answered(now, node);
                }
            }
            Body::Handover(stakes) => self.owner.offered(now, node, stakes, &self.watch),
            Body::Released(addresses) => self.owner.released(now, node, addresses, &self.watch),
            Body::Silent { node: silent, .. } if *silent == self.own => self.watch.tell(),
            Body::Silent { node: silent, kernel } => {
                let delay = self.delay(self.timing.interval);
                self.watch.silent(now, node, (*silent, *kernel), delay);
            }
            Body::HeldDead => self.held_dead(now, node, standing),
            Body::Probe => self.send(node, Paths::BOTH, Body::Here),
            Body::Here | Body::Response { .. } => {}
            Body::Query { .. } | Body::Challenge { .. } => self.stranger(now, node, &message.body),
        }
    }

    /// Another node held us dead. If we held it dead as well, there was a cut, and claims decide. If not, we slept and
    /// did not notice: what we believe to own has another owner by now. [Rule 8]
    fn held_dead(&mut self, now: Instant, node: NodeId, standing: Standing) {
        self.outputs.push_back(Output::Event(Event::HeldDead(node)));
        let gone_lately = self.gone_at.get(&node).is_some_and(|at| now.saturating_duration_since(*at) < CUT_INTERVAL);
        let cut = gone_lately || matches!(standing, Standing::Gone { .. });
        if !cut && matches!(self.phase, Phase::Serving) {
            self.relearn(now, None);
        }
    }
}
