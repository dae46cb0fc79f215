//! The speaker: watch → rules::plan → drivers, on every node.
//!
//! ```text
//! API server ─► objects ─┐                    ┌─► layer 2: what this node answers for
//! other speakers ────────┼─► decide (a pass) ─┼─► plan saved, for a start without an API server
//! wire ──────────────────┤                    ├─► routers: what they are told
//! routers ───────────────┘                    └─► events, log, metrics, status objects: what is really so
//! ```
//!
//! Everything that comes in only wakes the loop; every pass looks at everything anew. Nothing is announced before every
//! kind has been listed once, and on layer 2 before the other speakers have been met; from then on an API server that is away, a
//! configuration that does not load or a report that cannot be written changes nothing about what is announced. Who
//! answers for an address is claimed on the LAN ([`crate::drive::owners`]); here is who may.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ferrolb_rules::drain::Trigger;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::{self, Announcement, Candidates, Options, Plan};
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::View;
use tokio::sync::{mpsc, watch};

use crate::drive::answers;
use crate::drive::l2::links::Choice;
use crate::drive::l2::{self, Frames, L2, Promiscuous, Wire};
use crate::drive::membership::addresses_of;
use crate::drive::owners::{self, Failover};
use crate::k8s;
use crate::k8s::events::{Event, Events};
use crate::k8s::stores::Watches;
use crate::metrics::Metrics;

mod bgp;
mod decide;
mod exclusion;
mod joining;
mod key;
mod kube_proxy;
mod meeting;
mod narrate;
mod objects;
mod reports;
mod saved;
mod statuses;

use bgp::Bgp;
use decide::{Basis, Decider, Inputs};
use meeting::{Alive, Meeting};
use narrate::Narrator;
use objects::Objects;
use reports::Reports;
use saved::{Saved, Saver};

/// How far passes are apart at least, longer where one takes long, so that they never take all the time. The first change
/// after a while is looked at at once.
const DEBOUNCE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// What the command line says (spec §8.6, §8.7).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our namespace.
    pub namespace: String,
    /// How to reach the API server; none: as a pod, or by `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The node we speak for.
    pub node_name: String,
    /// Our own Pod, owner of the status objects that we write; none: no owner.
    pub pod_name: Option<String>,
    /// Serve only Services of this class.
    pub lb_class: Option<String>,
    /// Announce from nodes that carry the exclude label.
    pub ignore_exclude_lb: bool,
    /// Announce all the same where every node carries it (decision D2).
    pub announce_if_all_excluded: bool,
    /// What shows that a node is being emptied.
    pub drain_on: BTreeSet<Trigger>,
    /// Where membership listens; none: the node's InternalIP.
    pub ml_bind_addr: Option<IpAddr>,
    /// Membership's UDP port.
    pub ml_bind_port: u16,
    /// The label selector of the speakers' Pods; none: no membership, every node counts as alive.
    pub ml_labels: Option<String>,
    /// The directory with the file `secretkey`.
    pub ml_secret_key_path: Option<PathBuf>,
    /// The Secret that it comes from, to ask for while the file is not there; none: only the file counts.
    pub ml_secret_name: Option<String>,
    /// Where the last plan is kept for a restart without an API server (decision D21); none: nowhere.
    pub state_dir: Option<PathBuf>,
    /// How addresses find another node.
    pub failover: Failover,
    /// Where every frame is heard.
    pub promiscuous: Promiscuous,
    /// Pings are answered for what this node announces (decision D8).
    pub answer_ping: bool,
    /// The only interfaces to announce on; none: all that fit.
    pub interfaces: Option<BTreeSet<String>>,
    /// The file with the expression of interfaces to leave alone (`/etc/metallb/excludel2.yaml`).
    pub exclude_l2: PathBuf,
}

/// Runs until it is told to stop or cannot go on.
///
/// # Errors
/// What cannot be had at all: a configuration of the API client, the right to open packet sockets, a file of excluded
/// interfaces that can be read. Never an API server that does not answer.
pub async fn run(
    settings: Settings,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut speaker = Speaker::start(settings, metrics, ready).await?;
    loop {
        speaker.pass();
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = speaker.woken() => {}
        }
    }
    tracing::info!(op = "shutdown", "saying goodbye");
    speaker.stop().await;
    Ok(())
}

/// Everything that a running speaker holds.
struct Speaker {
    own: NodeName,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
    started_at: Instant,
    watches: Watches,
    /// Changes counted so far.
    counted: u64,
    objects: Objects,
    decider: Decider,
    meeting: Meeting,
    bgp: Bgp,
    l2: L2,
    wire: watch::Receiver<Arc<Wire>>,
    frames: Option<mpsc::UnboundedReceiver<Frames>>,
    frames_so_far: Frames,
    announced: Option<Arc<BTreeMap<IpAddr, Announcement>>>,
    /// What was saved before this start; forgotten once a plan is in force.
    saved: Option<Saved>,
    saver: Option<Saver<Saved>>,
    start_findings: Vec<Finding>,
    narrator: Narrator,
    events: Events,
    reports: Reports,
    namespace: String,
    /// Before then no pass for what the API server says.
    not_before: Instant,
}

/// What is to be announced now, and what it comes from.
struct Outcome {
    announce: Arc<BTreeMap<IpAddr, Announcement>>,
    /// Who may announce, where nodes claim addresses; none: not known.
    candidates: Option<BTreeMap<IpAddr, Candidates>>,
    /// The nodes whose address is known, and those that membership hears.
    nodes: (BTreeMap<NodeName, IpAddr>, BTreeSet<NodeName>),
    plan: Option<Plan>,
    /// What to think of the newest configuration; none where there was none to read.
    verdict: Option<Result<(), String>>,
    services: BTreeMap<ServiceKey, Arc<dyn View>>,
    findings: Vec<Finding>,
    ready: bool,
}

impl Speaker {
    async fn start(settings: Settings, metrics: Arc<Metrics>, ready: watch::Sender<bool>) -> anyhow::Result<Self> {
        let own = NodeName::new(settings.node_name.clone());
        let choice = match (&settings.interfaces, exclusion::read(&settings.exclude_l2)?) {
            (Some(names), _) => Choice::Only(names.clone()),
            (None, Some(excluded)) => Choice::AllBut(excluded),
            (None, None) => Choice::Fitting,
        };
        let how = l2::Use { choice, promiscuous: settings.promiscuous, answer_ping: settings.answer_ping };
        let mut l2 = L2::start(how).map_err(|error| l2::refused(&error))?;
        let client = k8s::connect(settings.kubeconfig.as_deref(), "metallb-speaker").await.context("the API server")?;
        let mut watches = Watches::default();
        let class = settings.lb_class.clone();
        let objects = Objects::follow(&mut watches, &client, &settings.namespace, class);
        let (saved, damaged) = saved::load(settings.state_dir.as_deref(), |directory| Saved::load(directory, &own));
        let (bgp, damaged_too) = Bgp::start(own.clone(), settings.state_dir.as_deref());
        let start_findings = damaged.into_iter().chain(damaged_too).collect();
        let saver = settings.state_dir.clone().map(|path| Saver::start(path, saved.clone().unwrap_or_default()));
        let options = Options {
            ignore_exclude_lb: settings.ignore_exclude_lb,
            announce_if_all_excluded: settings.announce_if_all_excluded,
            load_balancer_class: settings.lb_class.clone(),
            selectorless_is_ready: false,
            drain_on: settings.drain_on.clone(),
        };
        tracing::info!(op = "startup", node = %own, namespace = settings.namespace, "speaker");
        Ok(Self {
            decider: Decider::new(own.clone(), options),
            meeting: Meeting::new(
                own.clone(),
                meeting::by_upstreams_rule(&settings, &client),
                Some(claims(&settings, &own, &l2)),
            ),
            wire: l2.wire(),
            frames: l2.frames(),
            events: Events::start(client.clone(), "metallb-speaker", Some(own.to_string())),
            reports: Reports::start(&client, &settings.namespace, &own, settings.pod_name.clone()),
            started_at: Instant::now(),
            counted: 0,
            frames_so_far: Frames::new(),
            announced: None,
            narrator: Narrator::default(),
            not_before: Instant::now(),
            own,
            metrics,
            ready,
            watches,
            objects,
            namespace: settings.namespace,
            bgp,
            l2,
            saved,
            saver,
            start_findings,
        })
    }

    /// Returns when there may be something to do.
    async fn woken(&mut self) {
        let mut due = self.next_deadline();
        let mut changed = false;
        loop {
            let sleep = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.watches.changed(), if !changed => {
                    changed = true;
                    due = due.into_iter().chain([self.not_before]).min();
                }
                Ok(()) = self.wire.changed() => return,
                () = self.meeting.changed() => return,
                () = self.objects.passwords_changed() => return,
                () = self.bgp.changed() => return,
                () = self.bgp.counted() => self.bgp.count(&self.metrics),
                Some(frames) = next(&mut self.frames) => count(&self.metrics, &mut self.frames_so_far, frames),
                () = sleep => return,
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiting = (self.saved.is_some() || self.bgp.waits()) && !self.watches.are_synced();
        let api = waiting.then_some(self.started_at + decide::API_INTERVAL).filter(|at| *at > Instant::now());
        let telling = self.narrator.next_deadline().into_iter().chain(self.bgp.next_deadline());
        api.into_iter().chain(telling).chain(self.meeting.next_deadline()).chain(self.decider.next_deadline()).min()
    }

    /// Looks at everything and brings everything in line.
    fn pass(&mut self) {
        let begun = Instant::now();
        let changes = self.watches.changes();
        (self.counted..changes).for_each(|_| self.metrics.updated());
        self.counted = changes;
        let wire = self.wire.borrow_and_update().clone();
        let outcome = self.decide(&wire, begun);
        let nodes = outcome.nodes.clone();
        self.metrics.set_failover(self.meeting.owners().figures());
        let claims = self.meeting.owners().follow(outcome.candidates.as_ref(), nodes, &wire);
        if self.announced.as_ref() != Some(&outcome.announce) {
            if !claims {
                self.l2.announce(answers::wanted(&outcome.announce));
            }
            self.announced = Some(outcome.announce.clone());
        }
        self.tell(&outcome, &wire);
        self.ready.send_if_modified(|ready| std::mem::replace(ready, outcome.ready) != outcome.ready);
        self.not_before = Instant::now() + (begun.elapsed() * 4).clamp(DEBOUNCE.0, DEBOUNCE.1);
    }

    fn decide(&mut self, wire: &Wire, now: Instant) -> Outcome {
        let mut findings = self.start_findings.clone();
        if !self.watches.are_synced() {
            self.bgp.without_api(self.started_at, now);
            let basis = Basis::choose(false, false, self.saved.is_some(), self.started_at, now);
            let saved = self.saved.clone().filter(|_| basis == Basis::Saved).unwrap_or_default();
            let announce = match basis {
                Basis::Saved => self.without_api(&saved, now, &mut findings),
                _ => None,
            };
            return Outcome {
                candidates: announce.as_ref().map(|announce| self.alone(announce)),
                announce: announce.unwrap_or_default(),
                nodes: (known(&saved.nodes), BTreeSet::new()),
                plan: None,
                verdict: None,
                services: BTreeMap::new(),
                findings,
                ready: false,
            };
        }
        let nodes = self.objects.nodes();
        let addresses = addresses_of(nodes.values());
        let (alive, problems) = self.meeting.follow(addresses.clone(), now);
        findings.extend(problems);
        let owners = self.meeting.owners().known(nodes.keys().map(NodeName::as_str));
        let members = self.members(&alive, &nodes.keys().cloned().collect());
        let met = members.clone().unwrap_or_default();
        let services = self.objects.services();
        let inputs = Inputs {
            resources: self.objects.resources(),
            endpoints: self.objects.endpoints(&services),
            services: services.clone(),
            nodes,
            members,
            owners,
            interfaces: wire.interfaces.iter().map(|interface| interface.name.clone()).collect(),
        };
        let decision = self.decider.decide(inputs, now);
        self.metrics.set_config(decision.configured, decision.stale);
        self.bgp.decided(&decision, &services, addresses.get(&self.own).copied().flatten(), now);
        findings.extend(decision.findings);
        let listening = alive == Alive::Listening;
        let basis = Basis::choose(true, decision.configured, self.saved.is_some(), self.started_at, now);
        let mut plan = decision.plan;
        let (announce, candidates) = match (basis, &self.saved) {
            (Basis::SavedAndStill, Some(saved)) if !listening => {
                let still = decide::still(&saved.announce, &services);
                let alone = self.alone(&still);
                (Arc::new(still), alone)
            }
            _ => (Arc::new(std::mem::take(&mut plan.announce)), std::mem::take(&mut plan.candidates)),
        };
        if basis == Basis::Plan && !listening {
            self.saved = None;
            self.start_findings.clear();
            self.save(&announce);
        }
        Outcome {
            announce,
            candidates: (!listening).then_some(candidates),
            nodes: (known(&addresses), met),
            plan: Some(plan),
            verdict: Some(decision.verdict),
            services,
            findings,
            ready: !listening,
        }
    }

    /// This node as the only candidate for what it announced: who else may is not known without an API server.
    fn alone(&self, announce: &BTreeMap<IpAddr, Announcement>) -> BTreeMap<IpAddr, Candidates> {
        let own: Arc<[NodeName]> = [self.own.clone()].into();
        let candidates = |one: &Announcement| Candidates { nodes: own.clone(), interfaces: one.interfaces.clone() };
        announce.iter().map(|(address, one)| (*address, candidates(one))).collect()
    }

    /// What was announced before the restart (decision D21).
    fn without_api(
        &mut self,
        saved: &Saved,
        now: Instant,
        findings: &mut Vec<Finding>,
    ) -> Option<Arc<BTreeMap<IpAddr, Announcement>>> {
        let (alive, problems) = self.meeting.follow(saved.nodes.clone(), now);
        findings.extend(problems);
        let announce = saved.announce.clone();
        let message = format!(
            "no complete answer within {} s; announcing the {} addresses from before the restart",
            decide::API_INTERVAL.as_secs(),
            announce.len()
        );
        findings.push(Finding::new(Code::SavedPlanInForce, Severity::Warning, "API server", message));
        self.members(&alive, &saved.nodes.keys().cloned().collect());
        (alive != Alive::Listening).then_some(announce)
    }

    /// The members for the plan: nobody while still listening, so that nothing is announced.
    fn members(&mut self, alive: &Alive, nodes: &BTreeSet<NodeName>) -> Option<BTreeSet<NodeName>> {
        match alive {
            Alive::Everybody => {
                self.reports.alive(nodes);
                None
            }
            Alive::Listening => Some(BTreeSet::new()),
            Alive::These(members) => {
                self.reports.alive(members);
                self.narrator.members(&self.own, members.clone());
                Some(members.clone())
            }
        }
    }

    fn save(&mut self, announce: &Arc<BTreeMap<IpAddr, Announcement>>) {
        if let Some(saver) = &self.saver {
            let nodes = addresses_of(self.objects.nodes().values());
            saver.save(Saved::new(self.own.clone(), nodes, announce.clone()));
        }
    }

    /// Says what is really so.
    fn tell(&mut self, outcome: &Outcome, wire: &Wire) {
        let now = Instant::now();
        let answering = answers::answering(&outcome.announce, wire);
        let seen = self.bgp.seen();
        let told = self.bgp.told(&seen);
        self.l2.answer_pings_for(told.addresses.values().flatten().copied());
        let announced = Arc::new(answers::announced(&answering));
        let mut notices = self.narrator.announcements(&self.own, &announced, outcome.plan.as_ref(), now);
        let takeovers = self.meeting.owners().takeovers();
        notices.extend(Narrator::takeovers(&self.own, &outcome.announce, &takeovers));
        notices.extend(self.narrator.strangers(&self.own, &outcome.announce, wire));
        notices.extend(self.narrator.routes(&self.own, &told.addresses, |service| self.bgp.reason(service)));
        narrate::publish(&self.events, notices, |key| outcome.services.get(key).map(|service| &**service));
        self.metrics.set_announced(self.own.as_str(), "layer2", &announced);
        self.metrics.set_strangers(&wire.strangers);
        self.metrics.set_announced(self.own.as_str(), "bgp", &told.addresses);
        self.bgp.count(&self.metrics);
        if outcome.plan.is_some() {
            self.reports.statuses(Arc::new(answering));
            self.reports.told(told.peers);
        }
        if let Some(verdict) = &outcome.verdict {
            self.reports.opinion(verdict, self.narrator.sightings(&self.own, wire));
        }
        let mut findings = outcome.findings.clone();
        findings.extend(self.bgp.findings(&seen, &self.namespace));
        self.tell_peers(&findings, now);
        let failures = wire.failures.iter().map(|(interface, why)| {
            let message = format!("cannot answer on {interface}: {why}");
            Finding::new(Code::InterfaceMissing, Severity::Error, format!("interface/{interface}"), message)
        });
        self.narrator.findings(findings.into_iter().chain(failures));
    }

    /// What is wrong with a session, and lasts, is said where people look for it: on the BGPPeer.
    fn tell_peers(&mut self, findings: &[Finding], now: Instant) {
        for finding in self.bgp.lasting(findings, now) {
            let Some(about) = self.objects.reference(&finding.object) else { continue };
            let (code, own) = (finding.code, &self.own);
            let message = format!("node {own}: {}. {} ({code})", finding.message, finding.fix);
            self.events.publish(Event {
                about: about.into(),
                warning: true,
                reason: code.name(),
                message: message.into(),
            });
        }
    }

    /// Lets everything go: the others are told, then answers stop. Routers keep our routes where they agreed to, unless
    /// somebody is taking this node away.
    async fn stop(mut self) {
        let departure = self.watches.are_synced().then(|| plan::bgp::departure(&self.own, &self.objects.nodes()));
        let departure = departure.flatten();
        if let Some(why) = departure {
            tracing::info!(op = "shutdown", why, "routers are asked to find other ways");
        }
        tokio::join!(self.meeting.leave(), self.bgp.leave(departure));
        drop(self.l2);
    }
}

fn claims(settings: &Settings, own: &NodeName, l2: &L2) -> owners::Config {
    owners::Config {
        own: own.clone(),
        nodes_by_address: true,
        failover: settings.failover,
        port: settings.ml_bind_port,
        state_dir: settings.state_dir.clone(),
        answers: l2.orderer(),
        serves: kube_proxy::follow(),
    }
}

/// The nodes whose address is known.
fn known(nodes: &BTreeMap<NodeName, Option<IpAddr>>) -> BTreeMap<NodeName, IpAddr> {
    nodes.iter().filter_map(|(name, address)| Some((name.clone(), (*address)?))).collect()
}

async fn next(frames: &mut Option<mpsc::UnboundedReceiver<Frames>>) -> Option<Frames> {
    let Some(frames) = frames else { return std::future::pending().await };
    frames.recv().await
}

/// Adds frames to those so far, and tells.
fn count(metrics: &Metrics, so_far: &mut Frames, new: Frames) {
    for (address, frames) in new {
        *so_far.entry(address).or_default() += frames;
    }
    metrics.set_layer2(so_far);
}
