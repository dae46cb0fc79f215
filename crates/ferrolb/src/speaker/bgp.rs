//! BGP in the speaker: sessions that follow the plan, and what is really so of them.
//!
//! There is no election and nobody to meet first: as soon as everything has been read once, each node tells its routers
//! what it announces. Until then, and where neither a configuration nor a plan from before the restart is known, sessions
//! are left as they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan;
use ferrolb_rules::plan::bgp::Farewell;
use ferrolb_rules::reason::{Code, Finding};
use ferrolb_rules::service::View;

use super::decide::{Basis, Decision};
use super::saved::{self, Routing, Saver};
use crate::drive::answers::Announced;
use crate::drive::routers::{self, AllSeen, Routers};
use crate::metrics::Metrics;

/// How long something must be wrong with a session before it is told on the BGPPeer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sessions, what they are to say, and what was saved of it.
pub(super) struct Bgp {
    own: NodeName,
    routers: Routers,
    /// What is in force; none: nothing is known yet.
    routing: Option<Arc<Routing>>,
    /// What was saved before this start; forgotten once a plan is in force.
    saved: Option<Routing>,
    saver: Option<Saver<Arc<Routing>>>,
    /// What leaves this node on purpose, and is told so first.
    farewell: Farewell,
    /// What is wrong with sessions, since when, and whether it was told.
    troubles: BTreeMap<(String, Code), (Instant, bool)>,
}

/// What routers have been told.
#[derive(Default)]
pub(super) struct Told {
    /// Per Service the addresses that some router was told of.
    pub(super) addresses: Arc<Announced>,
    /// Per Service the peers that were told everything of it.
    pub(super) peers: Arc<BTreeMap<ServiceKey, plan::bgp::Routers>>,
}

impl Bgp {
    /// Starts with what was saved, which is read from the directory.
    pub(super) fn start(own: NodeName, state_dir: Option<&Path>) -> (Self, Option<Finding>) {
        let (saved, finding) = saved::load(state_dir, |directory| Routing::load(directory, &own));
        let last = Arc::new(saved.clone().unwrap_or_default());
        let saver = state_dir.map(|directory| Saver::start(directory.to_owned(), last));
        let (routers, farewell) = (Routers::default(), Farewell::default());
        (Self { own, routers, routing: None, saved, saver, farewell, troubles: BTreeMap::new() }, finding)
    }

    /// Whether what was saved may still be needed.
    pub(super) const fn waits(&self) -> bool {
        self.saved.is_some()
    }

    /// Before everything has been read: what was saved counts once the API server had its time.
    pub(super) fn without_api(&mut self, since: Instant, now: Instant) {
        if let (Basis::Saved, Some(saved)) =
            (Basis::choose(false, false, self.saved.is_some(), since, now), &self.saved)
            && self.routing.is_none()
        {
            self.follow(Arc::new(saved.clone()));
        }
    }

    /// Brings sessions in line with a pass. `address` is this node's.
    pub(super) fn decided(
        &mut self,
        decision: &Decision,
        services: &BTreeMap<ServiceKey, Arc<dyn View>>,
        address: Option<IpAddr>,
        now: Instant,
    ) {
        if let (false, Some(saved)) = (decision.configured, &self.saved) {
            self.follow(Arc::new(saved.still(services)));
            return;
        }
        let configs = self.routers.configured(&decision.config, &decision.bgp, &self.own, address);
        let mut plan = decision.bgp.clone();
        self.farewell.hold(self.routing.as_ref().map(|routing| &routing.plan), &mut plan, now);
        self.follow(Arc::new(Routing { node: self.own.clone(), configs, plan }));
        self.saved = None;
        if let (Some(saver), Some(routing)) = (&self.saver, &self.routing) {
            // As sessions are, so that one whose password is not known any more comes back too.
            let configs = self.routers.configs().clone();
            saver.save(Arc::new(Routing { configs, ..Routing::clone(routing) }));
        }
    }

    fn follow(&mut self, routing: Arc<Routing>) {
        if self.routing.as_ref() != Some(&routing) {
            self.routers.follow(routing.configs.clone(), &routing.plan);
            self.routing = Some(routing);
        } else {
            self.routers.look_for_ways(&routing.plan);
        }
    }

    /// Returns when something is different.
    pub(super) async fn changed(&self) {
        self.routers.changed().await;
    }

    /// Returns when something was counted.
    pub(super) async fn counted(&self) {
        self.routers.counted().await;
    }

    /// Tells what there is to measure.
    pub(super) fn count(&self, metrics: &Metrics) {
        metrics.set_bgp(&self.routers.figures());
        metrics.set_bfd(&self.routers.ways());
    }

    /// What is so.
    pub(super) fn seen(&self) -> AllSeen {
        self.routers.seen()
    }

    /// What routers have been told.
    pub(super) fn told(&self, seen: &AllSeen) -> Told {
        let Some(routing) = &self.routing else { return Told::default() };
        let (mut reached, mut told) = (Announced::new(), BTreeMap::new());
        for key in routing.plan.services.keys() {
            let addresses = routers::reached(&routing.plan, seen, key);
            if !addresses.is_empty() {
                reached.insert(key.clone(), addresses.into_iter().collect());
            }
            let peers = routers::told(&routing.plan, seen, key);
            if !peers.is_empty() {
                told.insert(key.clone(), peers);
            }
        }
        Told { addresses: Arc::new(reached), peers: Arc::new(told) }
    }

    /// Why this node tells nobody of a Service.
    pub(super) fn reason(&self, key: &ServiceKey) -> String {
        let part = self.routing.as_ref().and_then(|routing| routing.plan.services.get(key));
        match part.map(|part| part.code) {
            None => "serviceDeleted".to_owned(),
            Some(Some(code)) => format!("{code} {}", code.name()),
            Some(None) => format!("{} {}", Code::BgpSessionDown, Code::BgpSessionDown.name()),
        }
    }

    /// What is wrong with sessions. Peers are objects of `namespace`.
    pub(super) fn findings(&self, seen: &AllSeen, namespace: &str) -> Vec<Finding> {
        self.routers.findings(seen, namespace)
    }

    /// Of these findings those about sessions that have lasted for long enough to be told on the BGPPeer, each once.
    pub(super) fn lasting<'a>(&mut self, findings: &'a [Finding], now: Instant) -> Vec<&'a Finding> {
        let ours = [
            Code::BgpSessionDown,
            Code::BgpRouteUntold,
            Code::BfdSessionDown,
            Code::PeerSecretUnusable,
            Code::BfdProfileMissing,
            Code::NoDefaultGateway,
            Code::PeerLabelUnusable,
        ];
        let mut before = std::mem::take(&mut self.troubles);
        let mut due = Vec::new();
        for finding in findings.iter().filter(|finding| ours.contains(&finding.code)) {
            let key = (finding.object.clone(), finding.code);
            if self.troubles.contains_key(&key) {
                continue;
            }
            let (since, told) = before.remove(&key).unwrap_or((now, false));
            let tells = !told && now >= since + PATIENCE;
            if tells {
                due.push(finding);
            }
            self.troubles.insert(key, (since, told || tells));
        }
        due
    }

    /// When something has lasted for long enough: a trouble, or a farewell.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let troubles = self.troubles.values().filter(|(_, told)| !told).map(|(since, _)| *since + PATIENCE);
        troubles.chain(self.farewell.next_deadline()).min()
    }

    /// Ends every session: for a restart, or for good where there is a reason (decision D18).
    pub(super) async fn leave(self, departure: Option<&'static str>) {
        self.routers.leave(departure).await;
    }
}

#[cfg(test)]
mod tests {
    use ferrolb_rules::reason::Severity;

    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_a_session_is_told_once_and_only_if_it_lasts() {
        let (mut bgp, _) = Bgp::start(NodeName::new("a"), None);
        let now = Instant::now();
        let down = |why: &str| vec![Finding::new(Code::BgpSessionDown, Severity::Error, "BGPPeer/m/r", why)];
        assert!(bgp.lasting(&down("refused"), now).is_empty());
        assert_eq!(bgp.next_deadline(), Some(now + PATIENCE));
        assert!(bgp.lasting(&[], now + Duration::from_secs(1)).is_empty(), "it is up");
        assert!(bgp.lasting(&down("refused"), now + PATIENCE).is_empty(), "a new trouble, which has its time too");
        let (lasting, later) = (down("no answer"), now + 2 * PATIENCE);
        assert_eq!(bgp.lasting(&lasting, later), lasting.iter().collect::<Vec<_>>());
        assert!(bgp.lasting(&down("refused"), later + PATIENCE).is_empty(), "the same trouble in other words");
        assert_eq!(bgp.next_deadline(), None);
    }
}
