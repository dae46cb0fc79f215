//! What is said when something changes, once: log lines with upstream's keys (spec §8.5) and events on Services (spec
//! §5.5).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan::{Announcement, Plan};
use ferrolb_rules::reason::{Code, Finding};
use ferrolb_rules::service::View;
use ferrolb_rules::sighting::Sighting;

use crate::drive::answers::Announced;
use crate::drive::l2::{Stranger, Wire};
use crate::drive::owners::Takeover;
use crate::findings::Said;
use crate::k8s::events::{About, Event, Events, TOOK_OVER};

/// How long a missing interface must be missed before it is said.
const PATIENCE: Duration = Duration::from_secs(1);

/// Upstream's reason for an Event that says that an address cannot be announced.
const FAILED: &str = "announceFailed";

/// Something to tell on a Service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    service: ServiceKey,
    warning: bool,
    reason: &'static str,
    message: String,
}

impl Notice {
    fn assigned(service: &ServiceKey, message: String) -> Self {
        Self { service: service.clone(), warning: false, reason: "nodeAssigned", message }
    }

    fn failed(service: &ServiceKey, message: String) -> Self {
        Self { service: service.clone(), warning: true, reason: FAILED, message }
    }
}

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    /// What was announced, by protocol.
    announced: BTreeMap<&'static str, Arc<Announced>>,
    /// The Services whose interfaces are missing here, with their addresses, since when, and whether it was said.
    failed: BTreeMap<ServiceKey, (Arc<[IpAddr]>, Instant, bool)>,
    alive: BTreeSet<NodeName>,
    /// Who was said to use an address of ours.
    strangers: BTreeSet<(IpAddr, Stranger)>,
    findings: Said,
}

impl Narrator {
    /// Says which Services are answered for now. Returns the events.
    pub(super) fn announcements(
        &mut self,
        own: &NodeName,
        announced: &Arc<Announced>,
        plan: Option<&Plan>,
        now: Instant,
    ) -> Vec<Notice> {
        let mut events = self.changes(own, "layer2", announced.clone(), |service| reason(own, service, plan));
        if let Some(plan) = plan {
            events.extend(self.failures(own, plan, now));
        }
        events
    }

    /// Says of which Services routers have been told now, and `why` of no more. Returns the events.
    pub(super) fn routes(
        &mut self,
        own: &NodeName,
        told: &Arc<Announced>,
        why: impl Fn(&ServiceKey) -> String,
    ) -> Vec<Notice> {
        self.changes(own, "bgp", told.clone(), why)
    }

    fn changes(
        &mut self,
        own: &NodeName,
        protocol: &'static str,
        announced: Arc<Announced>,
        why: impl Fn(&ServiceKey) -> String,
    ) -> Vec<Notice> {
        let before = self.announced.remove(protocol).unwrap_or_default();
        let mut events = Vec::new();
        for (service, ips) in &*announced {
            if before.get(service) == Some(ips) {
                continue;
            }
            let ips = texts(ips);
            tracing::info!(event = "serviceAnnounced", %service, ?ips, node = %own, protocol, "service has IP, announcing");
            if !before.contains_key(service) {
                let message = format!("announcing from node \"{own}\" with protocol \"{protocol}\"");
                events.push(Notice::assigned(service, message));
            }
        }
        for (service, ips) in before.iter().filter(|(service, _)| !announced.contains_key(*service)) {
            let reason = why(service);
            let ips = texts(ips);
            tracing::info!(event = "serviceWithdrawn", %service, ?ips, reason, protocol, "withdrawing service announcement");
        }
        self.announced.insert(protocol, announced);
        events
    }

    /// When something has lasted for long enough to be said.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.failed.values().filter(|(_, _, said)| !said).map(|(_, since, _)| *since + PATIENCE).min()
    }

    /// Services that are this node's to announce, and it has none of their interfaces. Where nodes claim addresses, another
    /// one that has it needs a moment.
    fn failures(&mut self, own: &NodeName, plan: &Plan, now: Instant) -> Vec<Notice> {
        let ours = plan.services.iter().filter(|one| one.owner.as_ref() == Some(own));
        let mut events = Vec::new();
        let mut failed = BTreeMap::new();
        for one in ours.filter(|one| one.code() == Some(Code::InterfaceMissing)) {
            let (service, ips) = (&one.service, &one.addresses);
            let before = self.failed.remove(service).filter(|(before, ..)| before == ips);
            let (_, since, said) = before.unwrap_or_else(|| (ips.clone(), now, false));
            let says = !said && now >= since + PATIENCE;
            for ip in ips.iter().filter(|_| says) {
                let message = format!(
                    "the interfaces specified by LB IP \"{ip}\" doesn't exist in assigned node \"{own}\" with protocol \"layer2\""
                );
                tracing::warn!(op = "announce", %service, %ip, code = %Code::InterfaceMissing, message);
                events.push(Notice::failed(service, message));
            }
            failed.insert(service.clone(), (ips.clone(), since, said || says));
        }
        self.failed = failed;
        events
    }

    /// Says who uses addresses of ours: strangers (decision D4), and nodes that were not told to.
    pub(super) fn strangers(
        &mut self,
        own: &NodeName,
        announce: &BTreeMap<IpAddr, Announcement>,
        wire: &Wire,
    ) -> Vec<Notice> {
        let now: BTreeSet<(IpAddr, Stranger)> = wire
            .strangers
            .iter()
            .flat_map(|(address, list)| list.iter().map(|stranger| (*address, stranger.clone())))
            .collect();
        let mut events = Vec::new();
        for (address, stranger) in now.difference(&self.strangers) {
            let (code, words) = (stranger.code(), stranger.words(*address, own.as_str()));
            let message = match stranger.is_node {
                // Here the cause is of the cluster's own making, and there is a remedy.
                true => format!("{words}. {} ({code})", code.explanation().fix),
                false => format!("{words} ({code})"),
            };
            for service in announce.get(address).into_iter().flat_map(|one| &one.services) {
                let reason = if stranger.is_node { code.name() } else { FAILED };
                events.push(Notice { service: service.clone(), warning: true, reason, message: message.clone() });
            }
        }
        self.strangers = now;
        events
    }

    /// Says which addresses were taken over from nodes that had failed, and how long that took.
    pub(super) fn takeovers(
        own: &NodeName,
        announce: &BTreeMap<IpAddr, Announcement>,
        takeovers: &[Takeover],
    ) -> Vec<Notice> {
        let mut events = Vec::new();
        for one in takeovers {
            let (address, from, unheard) = (one.address, &one.from, one.unheard.as_millis());
            tracing::warn!(event = "tookOver", %address, %from, node = %own, unheard_ms = unheard, "taken over from a node that has failed");
            for service in announce.get(&address).into_iter().flat_map(|one| &one.services) {
                let message = one.to_string();
                events.push(Notice { service: service.clone(), warning: false, reason: TOOK_OVER, message });
            }
        }
        events
    }

    /// Who else answers for addresses of ours, and for which we lack an interface: for whoever looks from outside.
    pub(super) fn sightings(&self, own: &NodeName, wire: &Wire) -> BTreeSet<Sighting> {
        let all = wire.strangers.iter().flat_map(|(address, list)| list.iter().map(move |one| (*address, one)));
        let strangers =
            all.map(|(address, one)| Sighting { code: one.code(), words: one.words(address, own.as_str()) });
        let said = self.failed.values().filter(|(.., said)| *said).flat_map(|(ips, ..)| ips.iter());
        let missing = said.map(|ip| Sighting {
            code: Code::InterfaceMissing,
            words: format!(
                "{ip} is {own}'s to announce, and it has none of the interfaces that the advertisement names"
            ),
        });
        strangers.chain(missing).collect()
    }

    /// Says who came and went.
    pub(super) fn members(&mut self, own: &NodeName, alive: BTreeSet<NodeName>) {
        for node in alive.difference(&self.alive).filter(|node| *node != own) {
            tracing::info!(component = "Memberlist", event = "memberJoined", %node, "node is alive");
        }
        for node in self.alive.difference(&alive).filter(|node| *node != own) {
            tracing::warn!(component = "Memberlist", event = "memberLeft", %node, "node is gone");
        }
        self.alive = alive;
    }

    /// Says what is wrong.
    pub(super) fn findings(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.say(findings.into_iter().collect());
    }
}

fn reason(own: &NodeName, service: &ServiceKey, plan: Option<&Plan>) -> String {
    let Some(plan) = plan.and_then(|plan| plan.service(service)) else { return "serviceDeleted".to_owned() };
    let here = plan.node_codes().find(|(node, _)| *node == own).map(|(_, code)| code);
    here.or(plan.code()).map_or_else(|| "notOnTheWire".to_owned(), |code| format!("{code} {}", code.name()))
}

/// Publishes events on Services.
pub(super) fn publish<'a>(
    events: &Events,
    notices: Vec<Notice>,
    service: impl Fn(&ServiceKey) -> Option<&'a dyn View>,
) {
    for Notice { service: key, warning, reason, message } in notices {
        let about = About::service(&key, service(&key).and_then(View::uid));
        events.publish(Event { about, warning, reason, message: message.into() });
    }
}

/// Addresses as texts, for the log.
fn texts(ips: &[IpAddr]) -> Vec<String> {
    ips.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_told_on_change_and_not_on_every_pass() {
        let own = NodeName::new("a");
        let (mut narrator, now) = (Narrator::default(), Instant::now());
        let web = ServiceKey::new("default", "web");
        let answering = Arc::new(Announced::from([(web, ["10.0.0.1".parse().unwrap()].into())]));
        let said = narrator.announcements(&own, &answering, None, now);
        let expected = "announcing from node \"a\" with protocol \"layer2\"".to_owned();
        assert_eq!(said, [Notice::assigned(&ServiceKey::new("default", "web"), expected)]);
        assert!(narrator.announcements(&own, &answering, None, now).is_empty());
        assert!(narrator.announcements(&own, &Arc::default(), None, now).is_empty());
        assert_eq!(narrator.announcements(&own, &answering, None, now).len(), 1, "back again is a change");
        let told = answering;
        let said = narrator.routes(&own, &told, |_| String::new());
        let expected = "announcing from node \"a\" with protocol \"bgp\"".to_owned();
        assert_eq!(said, [Notice::assigned(&ServiceKey::new("default", "web"), expected)], "each protocol by itself");
        assert!(narrator.routes(&own, &told, |_| String::new()).is_empty());
    }

    #[test]
    fn who_else_answers_is_told_once_on_the_service_with_the_remedy_where_there_is_one() {
        let (own, address): (_, IpAddr) = (NodeName::new("a"), "10.0.0.1".parse().unwrap());
        let services = [ServiceKey::new("default", "web")].into();
        let announce = BTreeMap::from([(address, Announcement { services, ..Announcement::default() })]);
        let one = |blocks, is_node| Stranger {
            interface: "eth0".to_owned(),
            mac: "02:00:00:00:00:09".parse().unwrap(),
            blocks,
            is_node,
        };
        let mut narrator = Narrator::default();
        for (stranger, reason, code) in [
            (one(false, true), "NodeAnswersUnasked", "LB1211"),
            (one(false, false), "announceFailed", "LB1213"),
            (one(true, false), "announceFailed", "LB1118"),
        ] {
            let wire = Wire { strangers: BTreeMap::from([(address, vec![stranger])]), ..Wire::default() };
            let said = narrator.strangers(&own, &announce, &wire);
            assert_eq!((said.len(), said[0].reason, said[0].warning), (1, reason, true));
            let message = &said[0].message;
            assert!(message.contains("10.0.0.1") && message.ends_with(&format!("({code})")), "{message}");
            assert_eq!(message.contains("strictARP"), code == "LB1211", "{message}");
            assert!(narrator.strangers(&own, &announce, &wire).is_empty(), "once");
            assert_eq!(narrator.sightings(&own, &wire).first().map(|one| one.code.to_string()).as_deref(), Some(code));
        }
    }

    #[test]
    fn a_failover_is_told_on_each_service_of_the_address_with_how_long_it_took() {
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let key = |name: &str| ServiceKey::new("default", name);
        let services = BTreeSet::from([key("web"), key("dns")]);
        let announcement = Announcement { services: services.iter().cloned().collect(), ..Announcement::default() };
        let announce = BTreeMap::from([(address, announcement)]);
        let takeover = Takeover { address, from: NodeName::new("b"), unheard: Duration::from_micros(231_400) };
        let said = Narrator::takeovers(&NodeName::new("a"), &announce, &[takeover]);
        let message = "10.0.0.1 taken over from b, which had not been heard for 231 ms; the LAN was told".to_owned();
        let notice = |service: &ServiceKey| Notice {
            service: service.clone(),
            warning: false,
            reason: TOOK_OVER,
            message: message.clone(),
        };
        assert_eq!(said, services.iter().map(notice).collect::<Vec<_>>());
    }
}
