//! What happens to nodes and to the network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::{Cluster, Config, Happening, Input, NodeId, Number, Plan, Record, Segment, State};

/// The secret of every simulated cluster.
pub(super) const SECRET: &[u8] = b"the secret of the simulator";

impl Cluster {
    /// Starts the speaker of a node, and the node if it has no power.
    pub fn boot(&mut self, number: Number) {
        // Whatever ran there, asleep or not, is over.
        self.speaker_ends(number, State::SpeakerDown);
        let (boot, seed) = (self.rng.random(), self.rng.random());
        let members: BTreeSet<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        let (now, timing) = (self.now, self.timing);
        let Some(node) = self.nodes.get_mut(number) else { return };
        let config = Config {
            own: node.id,
            mac: node.mac,
            secret: node.secret.clone(),
            boot,
            seed,
            timing,
            saved: std::mem::take(&mut node.saved),
        };
        let replaced = std::mem::take(&mut node.replaced);
        let config = if replaced { Config { saved: BTreeMap::new(), ..config } } else { config };
        node.state = State::Up;
        node.restart_at = None;
        node.segment = Segment::new(config, now - node.lag).ok();
        let plan = node.plan.clone();
        self.record(Record::Runs { node: number, runs: true });
        self.call(number, Some(Input::Members(&members)));
        self.tell_alive();
        self.call(number, Some(Input::Plan(&plan)));
        self.call(number, Some(Input::Ready(true)));
    }

    /// What membership, which has its own ways, says of the speakers that run.
    fn tell_alive(&mut self) {
        let alive: BTreeSet<NodeId> =
            self.nodes.iter().filter(|node| node.segment.is_some()).map(|node| node.id).collect();
        for number in 0..self.nodes.len() {
            self.call(number, Some(Input::Alive(&alive)));
        }
    }

    pub(super) fn speaker_ends(&mut self, number: Number, state: State) {
        let Some(node) = self.nodes.get_mut(number) else { return };
        if let Some(segment) = node.segment.take() {
            node.saved = segment.claims();
        }
        node.state = state;
        let answered = std::mem::take(&mut node.answers);
        node.socket.clear();
        node.wake_at = None;
        for address in answered.into_keys() {
            self.record(Record::Answers { node: number, address, mac: None });
        }
        self.record(Record::Runs { node: number, runs: false });
    }

    /// The node loses its power. What its speaker had saved stays.
    pub fn crash(&mut self, number: Number) {
        self.record(Record::Fault { node: Some(number), what: "crash" });
        self.speaker_ends(number, State::Dead);
    }

    /// What the speaker of a node had saved is lost.
    pub fn wipe(&mut self, number: Number) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.saved.clear();
        }
    }

    /// The speaker dies (SIGKILL); the node lives.
    pub fn kill(&mut self, number: Number) {
        self.record(Record::Fault { node: Some(number), what: "kill" });
        self.speaker_ends(number, State::SpeakerDown);
    }

    /// The speaker is told to stop (SIGTERM), and starts anew so long after it has.
    pub fn restart(&mut self, number: Number, after: Duration) {
        self.record(Record::Fault { node: Some(number), what: "restart" });
        self.call(number, Some(Input::Restart));
        let at = self.now + Duration::from_millis(100) + after;
        self.boot_at(number, at);
    }

    /// The same, but what it had saved is lost: a rollout makes a new pod, with an empty directory.
    pub fn replace(&mut self, number: Number, after: Duration) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.replaced = true;
        }
        self.restart(number, after);
    }

    /// The speaker of a node starts after so long.
    pub fn boot_after(&mut self, number: Number, after: Duration) {
        self.boot_at(number, self.now + after);
    }

    fn boot_at(&mut self, number: Number, at: Instant) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.restart_at = Some(at);
            self.push(at, Happening::Boot(number));
        }
    }

    /// The node is shut down.
    pub fn leave(&mut self, number: Number) {
        self.record(Record::Fault { node: Some(number), what: "leave" });
        self.call(number, Some(Input::Leave));
    }

    /// The speaker gets no processor any more (SIGSTOP).
    pub fn stop(&mut self, number: Number) {
        self.pause(number, State::Stopped, "stop");
    }

    /// The whole node stands still; its clock may go on or not.
    pub fn suspend(&mut self, number: Number, seen_by_clock: bool) {
        self.pause(number, State::Suspended { seen_by_clock, since: self.now }, "suspend");
    }

    fn pause(&mut self, number: Number, state: State, what: &'static str) {
        if let Some(node) = self.nodes.get_mut(number).filter(|node| node.is_running()) {
            node.state = state;
            node.wake_at = None;
            self.record(Record::Fault { node: Some(number), what });
            self.record(Record::Runs { node: number, runs: false });
        }
    }

    /// The node, or its speaker, goes on. Its program reads what waits in its socket, then its clock.
    pub fn resume(&mut self, number: Number) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number) else { return };
        match node.state {
            State::Suspended { seen_by_clock: false, since } => node.lag += now - since,
            State::Suspended { .. } | State::Stopped => {}
            _ => return,
        }
        node.state = State::Up;
        self.call(number, None);
        // What its answers are now is recorded after its first look at the clock: before, it has answered nothing.
        self.record(Record::Fault { node: Some(number), what: "resume" });
        self.record(Record::Runs { node: number, runs: true });
        while let Some((path, bytes)) = self.nodes.get_mut(number).and_then(|node| node.socket.pop_front()) {
            self.call(number, Some(Input::Datagram { path, bytes: &bytes }));
        }
    }

    /// From now on its timers are up to so late.
    pub fn starve(&mut self, number: Number, lateness: Duration) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.lateness = lateness;
        }
    }

    /// Its loops that answer for addresses turn, or do not.
    pub fn responding(&mut self, number: Number, responding: bool) {
        self.call(number, Some(Input::Responding(responding)));
    }

    /// Its cable is out, and it knows, or in again: nothing passes meanwhile.
    pub fn cable(&mut self, number: Number, plugged: bool) {
        if plugged {
            self.cut.retain(|(from, to)| *from != number && *to != number);
            self.record(Record::Healed);
        } else {
            self.cut_off(&[number]);
        }
        self.call(number, Some(Input::Carrier(plugged)));
    }

    /// From now on everything that is sent is recorded, or nothing.
    pub fn record_frames(&mut self, records: bool) {
        self.records = records;
    }

    /// What was sent meanwhile.
    pub fn recorded(&mut self) -> Vec<std::rc::Rc<[u8]>> {
        std::mem::take(&mut self.recorded)
    }

    /// Nothing passes from one to the other any more.
    pub fn cut(&mut self, from: Number, to: Number) {
        self.cut.insert((from, to));
        self.record(Record::Cut { from, to });
    }

    /// Frames of our EtherType, or UDP 7946, are dropped everywhere from now on.
    pub fn block(&mut self, lan: bool, udp: bool) {
        (self.lan_blocked, self.udp_blocked) = (lan, udp);
        self.record(Record::Fault { node: None, what: "block" });
    }

    /// Nothing passes between these and all others.
    pub fn cut_off(&mut self, side: &[Number]) {
        let others: Vec<Number> = (0..self.nodes.len()).filter(|number| !side.contains(number)).collect();
        for (a, b) in side.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
            self.cut(a, b);
            self.cut(b, a);
        }
    }

    /// All links work again.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.record(Record::Healed);
    }

    /// A node plans this from now on.
    pub fn plan(&mut self, number: Number, plan: &Plan) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.plan.clone_from(plan);
        }
        self.record(Record::Fault { node: Some(number), what: "plan" });
        self.call(number, Some(Input::Plan(plan)));
    }

    /// The secret of a node changes: its file has another one now, and what runs there is told.
    pub fn rotate(&mut self, number: Number, secret: &[u8]) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.secret = secret.to_vec();
        }
        self.call(number, Some(Input::Secret(secret)));
    }

    /// Somebody sends these bytes to a node.
    pub fn inject(&mut self, number: Number, path: crate::segment::frame::Path, bytes: &[u8]) {
        self.call(number, Some(Input::Datagram { path, bytes }));
    }

    /// Whether a speaker is there that does not get to run.
    pub fn is_paused(&self, number: Number) -> bool {
        let paused = |state| matches!(state, State::Stopped | State::Suspended { .. });
        self.nodes.get(number).is_some_and(|node| paused(node.state))
    }

    /// Whether a speaker runs there.
    pub fn runs(&self, number: Number) -> bool {
        self.nodes.get(number).is_some_and(super::Node::is_running)
    }
}
