//! `ferrolb standalone`: controller and speaker in one process, over a directory of manifests (decision D14).
//!
//! ```text
//! manifests ─┐                       ┌─► table of assignments, saved before anybody hears of it
//! members ───┼─► decide (one pass) ──┼─► layer 2: what this host answers for
//! documents ─┤                       ├─► document for the other hosts
//! health ────┘                       └─► state for `ferrolb status`
//! ```
//!
//! Everything that comes in only wakes the loop; every pass looks at everything anew. Nothing that is wrong with what
//! comes in stops what is announced: a manifest that breaks keeps its last good content, a configuration that does not
//! load leaves the last good one in force, a disk that refuses leaves the last saved table in force.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use ferrolb_rules::drain::Trigger;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::reason::{Code, Finding, Severity};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::drive::answers;
use crate::drive::l2::{self, L2, Promiscuous, Wire};
use crate::drive::membership::addresses_of;
use crate::drive::owners::{self, Failover, Owners};
use crate::drive::routers::{self, Routers};
use crate::source::{self, Loaded, Loader};
use crate::state::{PeerState, State};
use crate::{http, page};

mod bgp;
mod bound;
mod decide;
mod group;
mod health;
mod interfaces;
mod kept;
mod narrate;
mod peers;
mod report;
mod socket;
mod startup;
mod store;
mod strangers;
mod timeline;

use bound::Bound;
use decide::{Decider, Decision, Inputs};
use group::Group;
use health::HealthChecks;
use kept::{Kept, Looked};
use narrate::Narrator;
pub use peers::HostDocument;
use peers::{Allocates, Peers};
use store::{Store, StoreError};
use timeline::Timeline;

/// How long to wait before trying again what the machine refused: saving, binding a port.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of manifests.
    pub manifests: PathBuf,
    /// This host's name.
    pub node_name: String,
    /// Where assignments are kept.
    pub state_dir: PathBuf,
    /// The local socket.
    pub socket: PathBuf,
    /// The file with the shared secret; none: no membership.
    pub secret_file: Option<PathBuf>,
    /// The only interfaces to announce on.
    pub interfaces: Option<BTreeSet<String>>,
    /// The namespace of the `metallb.io` kinds.
    pub namespace: String,
    /// The UDP port of membership.
    pub port: u16,
    /// Serve only Services of this class.
    pub load_balancer_class: Option<String>,
    /// Announce from excluded nodes.
    pub ignore_exclude_lb: bool,
    /// What shows that a host is being emptied.
    pub drain_on: BTreeSet<Trigger>,
    /// How addresses find another host.
    pub failover: Failover,
    /// Where every frame is heard.
    pub promiscuous: Promiscuous,
    /// Pings are answered for what this host announces (decision D8).
    pub answer_ping: bool,
    /// Where to serve the web page; none: nowhere.
    pub web_page: Option<SocketAddr>,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What cannot be had at all: the state directory, the socket, the secret, the right to open packet sockets, the port of
/// the web page.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut host = Host::start(settings).await?;
    let serve = {
        let (socket, state) = (host.socket.take(), host.state.subscribe());
        async move {
            match socket {
                Some(socket) => socket.serve(state).await,
                None => std::future::pending().await,
            }
        }
    };
    tokio::pin!(serve);
    let (_close, closing) = watch::channel(false);
    if let Some(address) = host.settings.web_page {
        let routes = page::routes(page::Source::Process(host.state.subscribe()), address);
        tokio::spawn(http::serve(page::listen(address).await?, None, routes, closing));
    }
    loop {
        host.pass();
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut serve => break,
            () = host.woken() => {}
        }
    }
    tracing::info!(event = "shutdown", "saying goodbye");
    host.stop().await;
    Ok(())
}

/// Everything that a running host holds.
struct Host {
    own: NodeName,
    settings: Settings,
    store: Store,
    socket: Option<socket::StatusSocket>,
    manifests: watch::Receiver<Loaded>,
    l2: L2,
    owners: Owners,
    routers: Routers,
    parting: bgp::Parting,
    wire: watch::Receiver<Arc<Wire>>,
    health: HealthChecks,
    unhealthy: watch::Receiver<BTreeSet<ServiceKey>>,
    group: Group,
    peers: Peers,
    kept: Kept,
    decider: Decider,
    bound: Bound,
    narrator: Narrator,
    state: watch::Sender<Arc<State>>,
    timeline: Timeline,
    published: Option<HostDocument>,
    start_findings: Vec<Finding>,
    /// Addresses that a stranger had, and when it was seen last.
    squatted: strangers::Squatted,
    retry_at: Option<Instant>,
}

impl Host {
    async fn start(settings: Settings) -> anyhow::Result<Self> {
        let own = NodeName::new(settings.node_name.clone());
        let (secret, mut start_findings) = startup::secret(&settings)?;
        let store = startup::store(&settings)?;
        let table = match store.table() {
            Ok(table) => table,
            Err(error @ StoreError::Damaged { .. }) => {
                start_findings.push(Finding::new(Code::StateUnusable, Severity::Warning, "state", error.to_string()));
                ferrolb_rules::table::Table::default()
            }
            Err(error) => return Err(startup::unusable(&error)),
        };
        let bound = Bound::start(store.bound_path());
        let socket = startup::socket(&settings)?;
        let (choice, promiscuous) = (settings.interfaces.clone().into(), settings.promiscuous);
        let how = l2::Use { choice, promiscuous, answer_ping: settings.answer_ping };
        let mut l2 = L2::start(how).map_err(|error| l2::refused(&error))?;
        let owners = match &secret {
            Some(secret) => Owners::start(claims(&settings, &own, &l2), secret).context("claiming addresses")?,
            None => Owners::elected(own.clone()),
        };
        // There are no metrics here: without a receiver nothing is counted, and nothing piles up.
        drop(l2.frames());
        let loader = Loader::new(settings.manifests.clone(), settings.namespace.clone(), Some(store.manifests_path()));
        let manifests = source::watch(loader).await;
        let health = HealthChecks::new();
        let options = decide::Options {
            load_balancer_class: settings.load_balancer_class.clone(),
            ignore_exclude_lb: settings.ignore_exclude_lb,
            drain_on: settings.drain_on.clone(),
        };
        tracing::info!(event = "start", node = %own, manifests = %settings.manifests.display(), "standalone");
        Ok(Self {
            decider: Decider::new(own.clone(), options, table),
            kept: Kept::default(),
            peers: Peers::new(own.clone(), secret.is_some(), Instant::now()),
            group: Group::new(own.clone(), secret, &settings, owners.port()),
            wire: l2.wire(),
            unhealthy: health.unhealthy(),
            state: watch::Sender::default(),
            timeline: Timeline::default(),
            published: None,
            retry_at: None,
            narrator: Narrator::default(),
            socket: Some(socket),
            own,
            settings,
            store,
            manifests,
            l2,
            owners,
            routers: Routers::default(),
            parting: bgp::Parting::default(),
            health,
            bound,
            start_findings,
            squatted: strangers::Squatted::default(),
        })
    }

    /// Returns when there may be something to do.
    async fn woken(&mut self) {
        let deadlines = [self.peers.next_deadline(Instant::now()), self.retry_at, self.parting.next_deadline()];
        let sleep = async {
            match deadlines.into_iter().flatten().min() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok(()) = self.manifests.changed() => {}
            Ok(()) = self.wire.changed() => {}
            Ok(()) = self.unhealthy.changed() => {}
            () = self.owners.changed() => {}
            secret = self.group.changed() => if let Some(secret) = secret {
                startup::renewed(&self.settings, &secret, &self.owners, &mut self.start_findings);
            },
            () = self.routers.changed() => {}
            () = sleep => {}
        }
    }

    /// Looks at everything and brings everything in line.
    fn pass(&mut self) {
        self.retry_at = None;
        let mut loaded = self.manifests.borrow_and_update().clone();
        let wire = self.wire.borrow_and_update().clone();
        let unhealthy = self.unhealthy.borrow_and_update().clone();
        let mut findings = loaded.findings.clone();
        findings.extend(self.start_findings.iter().cloned());
        let Looked { objects, names, elsewhere, findings: missing } = self.keep(&loaded);
        loaded.objects = objects;
        findings.extend(missing);
        self.meet(&loaded, &mut findings);
        let (allocates, live) = self.roles(&findings);
        let hindrance = match &allocates {
            Allocates::Other(host) => self.peers.hindrance(host),
            _ => None,
        };
        let strangers = self.strangers(&wire);
        let inputs = Inputs {
            objects: &loaded.objects,
            live: live.clone(),
            allocates: allocates.clone(),
            hindrance,
            blocked: strangers::squatted(&strangers),
            squatted: self.squatted.note(&strangers, Instant::now()),
            unhealthy: self.sick(&unhealthy),
            interfaces: self.able(&wire),
            elsewhere,
            owners: self.owners.known(loaded.objects.nodes.iter().filter_map(|node| node.metadata.name.as_deref())),
            unix_seconds: unix_seconds(),
        };
        let before = self.decider.table().clone();
        let mut decision = self.decider.decide(&inputs);
        let mut hindrance = None;
        if let Some(table) = &decision.table
            && let Err(error) = self.store.save(table)
        {
            // Nobody may hear of what a crash would forget: back to what is saved, and try again soon.
            let finding = Finding::new(Code::StateUnusable, Severity::Error, "state", error.to_string());
            findings.push(finding.clone());
            self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
            self.decider.restore(before);
            hindrance = Some(format!("{} {}", finding.code, finding.message));
            decision = self.decider.decide(&Inputs { allocates: Allocates::Hindered(Box::new(finding)), ..inputs });
        }
        self.parting.hold(&mut decision.bgp, Instant::now());
        decision.findings = decision.findings.into_iter().map(|finding| loaded.places.point(finding)).collect();
        let document = HostDocument {
            table: self.decider.table().clone(),
            announced: wire.announced.iter().map(|(address, links)| (*address, links.to_vec())).collect(),
            unhealthy,
            interfaces: Some(wire.interfaces.clone()),
            stand_ins: wire.stand_ins.clone(),
            strangers: wire.strangers.clone(),
            objects: names,
            hindrance,
        };
        self.act(&decision, &wire, live.as_ref(), &mut findings);
        if self.published.as_ref() != Some(&document) {
            self.group.publish(document.emit());
            self.published = Some(document);
        }
        self.tell(&decision, &wire, &allocates, live.as_ref(), findings);
    }

    /// What is in force: what the files say, and what they said where another live host still has it.
    fn keep(&mut self, loaded: &Loaded) -> Looked {
        self.hear();
        let others = self.peers.documents().filter(|(host, _)| self.peers.document(host).is_some());
        self.kept.look(&loaded.objects, others.map(|(host, document)| (host, &document.objects)))
    }

    /// Membership: who ought to be there, who is, and what they say.
    fn meet(&mut self, loaded: &Loaded, findings: &mut Vec<Finding>) {
        let nodes = addresses_of(&loaded.objects.nodes);
        self.peers.set_expected(nodes.keys().cloned());
        findings.extend(self.group.follow(nodes));
        if self.group.wants_retry() {
            self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
        }
        self.hear();
        let mut learned = false;
        for (_, document) in self.peers.documents() {
            learned |= self.decider.learn(&document.table);
        }
        if learned && let Err(error) = self.store.save(self.decider.table()) {
            // What others told can be told again; it is used all the same.
            findings.push(Finding::new(Code::StateUnusable, Severity::Error, "state", error.to_string()));
            self.retry_at = Some(Instant::now() + RETRY_INTERVAL);
        }
    }

    /// What the others say by now.
    fn hear(&mut self) {
        self.peers.set_alive(&self.group.alive());
        self.peers.set_documents(self.group.documents());
    }

    /// Who allocates, and who is alive as far as can be told.
    fn roles(&self, findings: &[Finding]) -> (Allocates, Option<BTreeSet<NodeName>>) {
        if self.group.is_hindered() {
            let alone = |finding: &&Finding| matches!(finding.code, Code::NodeUnknown | Code::MembershipDeaf);
            let why = findings.iter().find(alone).cloned();
            return (why.map_or(Allocates::Listening, |why| Allocates::Hindered(Box::new(why))), None);
        }
        let now = Instant::now();
        (self.peers.allocates(now), self.peers.live(now))
    }

    /// Per live host, what does not work there.
    fn sick(&self, own: &BTreeSet<ServiceKey>) -> BTreeMap<NodeName, BTreeSet<ServiceKey>> {
        let others = self.peers.documents().filter(|(host, _)| self.peers.document(host).is_some());
        let mut sick: BTreeMap<NodeName, BTreeSet<ServiceKey>> =
            others.map(|(host, document)| (host.clone(), document.unhealthy.clone())).collect();
        sick.insert(self.own.clone(), own.clone());
        sick
    }

    /// Per live host that tells, the interfaces that can announce there.
    fn able(&self, wire: &Wire) -> BTreeMap<NodeName, BTreeSet<String>> {
        let others = self.peers.documents().filter(|(host, _)| self.peers.document(host).is_some());
        let told = others.filter_map(|(host, document)| Some((host.clone(), document.interfaces.as_deref()?)));
        let own = (self.own.clone(), wire.interfaces.as_slice());
        told.chain([own]).map(|(host, list)| (host, interfaces::able(list))).collect()
    }

    /// Who uses addresses of ours and is none of us, as the live hosts see it.
    fn strangers(&self, wire: &Wire) -> strangers::Seen {
        let documents = self.peers.documents().filter(|(host, _)| self.peers.document(host).is_some());
        strangers::seen(&self.own, wire, documents)
    }

    /// Does what was decided.
    fn act(
        &mut self,
        decision: &Decision,
        wire: &Wire,
        live: Option<&BTreeSet<NodeName>>,
        findings: &mut Vec<Finding>,
    ) {
        // Bound before it is announced, unbound after it is let go: traffic that comes finds the address.
        findings.extend(self.bound.set(decide::to_bind(decision), wire));
        let nodes = (self.group.addresses(), live.cloned().unwrap_or_default());
        if !self.owners.follow(live.map(|_| &decision.plan.candidates), nodes, wire) {
            self.l2.announce(answers::wanted(&decision.plan.announce));
        }
        let address = self.group.addresses().get(&self.own).copied();
        let configs = self.routers.configured(&decision.config, &decision.bgp, &self.own, address);
        self.routers.follow(configs, &decision.bgp);
        self.health.set(&decide::checks(decision));
        findings.extend(interfaces::findings(&self.own, self.settings.interfaces.as_ref(), wire));
    }

    /// Writes the state document and the log.
    fn tell(
        &mut self,
        decision: &Decision,
        wire: &Wire,
        allocates: &Allocates,
        live: Option<&BTreeSet<NodeName>>,
        mut findings: Vec<Finding>,
    ) {
        let mut announced = report::Announced::new();
        for (address, links) in &wire.announced {
            announced.entry(*address).or_default().insert(self.own.clone(), links.to_vec());
        }
        for (host, document) in self.peers.documents().filter(|(host, _)| self.peers.document(host).is_some()) {
            for (address, links) in &document.announced {
                announced.entry(*address).or_default().insert(host.clone(), links.clone());
            }
        }
        let documents = self.peers.documents().filter(|(host, _)| self.peers.document(host).is_some());
        let standing_in = documents.flat_map(|(_, document)| &document.stand_ins).chain(&wire.stand_ins);
        for (address, links) in standing_in {
            // It is the owner that is told, and the owner's host that forwards.
            if let Some(owner) = self.owners.of(address) {
                announced.entry(*address).or_default().entry(owner.clone()).or_insert_with(|| links.clone());
            }
        }
        let (strangers, seen) = (self.strangers(wire), self.routers.seen());
        findings.extend(self.routers.findings(&seen, &self.settings.namespace));
        let services = decision.bgp.services.keys();
        self.l2.answer_pings_for(services.flat_map(|key| routers::reached(&decision.bgp, &seen, key)));
        let mut state = report::report(report::Facts {
            strangers: &strangers,
            own: &self.own,
            decision,
            announced: &announced,
            able: &self.able(wire),
            settings: &self.settings,
            settled: live.is_some() && self.settings.secret_file.is_some(),
            peers: self.peer_states(allocates, live),
            interfaces: wire.interfaces.clone(),
            seen: &seen,
            findings,
        });
        self.timeline.note(&mut state, &self.own, &self.owners.takeovers());
        self.narrator.narrate(&self.own, decision, wire, &state);
        self.state.send_replace(Arc::new(state));
    }

    fn peer_states(&self, allocates: &Allocates, live: Option<&BTreeSet<NodeName>>) -> Vec<PeerState> {
        let addresses = self.group.addresses();
        let names: BTreeSet<&NodeName> =
            self.group.hosts().chain(live.into_iter().flatten()).chain([&self.own]).collect();
        let state = |name: &NodeName| PeerState {
            name: name.to_string(),
            address: addresses.get(name).copied(),
            alive: *name == self.own || live.is_some_and(|live| live.contains(name)),
            own: *name == self.own,
            allocator: match allocates {
                Allocates::Own => *name == self.own,
                Allocates::Other(other) => other == name,
                Allocates::Listening | Allocates::Hindered(_) => false,
            },
        };
        names.into_iter().map(state).collect()
    }

    /// Lets everything go: answers stop, addresses bound are taken back, the others are told.
    async fn stop(self) {
        // What is bound here is unbound below, and nobody could be served here any more: the addresses must go. Otherwise
        // this host goes on forwarding, and who comes back finds its addresses where they were (decision D18).
        let departure = (!self.bound.is_empty()).then_some("the addresses are taken off this host");
        tokio::join!(self.owners.end(departure.is_none()), self.routers.leave(departure));
        self.group.leave().await;
        drop(self.l2);
        self.bound.release();
        tracing::debug!(socket = %self.settings.socket.display(), "closed");
    }
}

fn claims(settings: &Settings, own: &NodeName, l2: &L2) -> owners::Config {
    owners::Config {
        own: own.clone(),
        nodes_by_address: false,
        failover: settings.failover,
        port: settings.port,
        state_dir: Some(settings.state_dir.clone()),
        answers: l2.orderer(),
        // Whatever serves here is looked at by health checks, Service by Service.
        serves: watch::channel(true).1,
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
