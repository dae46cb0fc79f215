//! What hosts tell one another, and who of them allocates.
//!
//! Each host publishes one document, whole: the table of assignments as it knows it, what it really announces, which
//! Services fail their health check there, and on which interfaces it can announce. Membership carries it; nothing here
//! needs an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::reason::Finding;
use ferrolb_rules::table::Table;
use serde::{Deserialize, Serialize};

use crate::drive::l2::Stranger;
use crate::state::InterfaceState;

/// How long a starting host listens for others before it believes to be alone: two rounds of joining and a bit.
const LISTEN_INTERVAL: Duration = Duration::from_millis(2500);
/// How long a live member may owe its document before a first allocation goes ahead without it.
const DOCUMENT_INTERVAL: Duration = Duration::from_secs(5);

/// What one host tells the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostDocument {
    /// The assignments as this host knows them.
    pub table: Table,
    /// What it answers for, with the interface and the MAC address it answers with.
    pub announced: BTreeMap<IpAddr, Vec<(String, MacAddr)>>,
    /// The Services whose health check fails there.
    pub unhealthy: BTreeSet<ServiceKey>,
    /// Its interfaces that answer; none told by an older version, which knows of no such thing.
    #[serde(default)]
    pub interfaces: Option<Vec<InterfaceState>>,
    /// What it answers for in another host's name, with the interface and the MAC address that it tells.
    #[serde(default)]
    pub stand_ins: BTreeMap<IpAddr, Vec<(String, MacAddr)>>,
    /// Strangers that it has seen, by the address of ours that they use.
    #[serde(default)]
    pub strangers: BTreeMap<IpAddr, Vec<Stranger>>,
    /// The objects that its files have: `Kind/namespace/name`.
    #[serde(default)]
    pub objects: BTreeSet<String>,
    /// Why it cannot allocate, if it cannot: code and message.
    #[serde(default)]
    pub hindrance: Option<String>,
}

impl HostDocument {
    /// The bytes that membership carries.
    pub fn emit(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads another host's document.
    ///
    /// # Errors
    /// It is of another version, or damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Who allocates, as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allocates {
    /// This host.
    Own,
    /// Another one.
    Other(NodeName),
    /// Not known yet: this host has just started and is still listening.
    Listening,
    /// Nobody, as far as this host is concerned: something keeps it from meeting the others, or from remembering what it
    /// would assign.
    Hindered(Box<Finding>),
}

/// Who is alive and what they said, since this host started.
#[derive(Debug)]
pub(super) struct Peers {
    own: NodeName,
    listen_until: Instant,
    document_until: Instant,
    /// The other hosts that the manifests name.
    expected: BTreeSet<NodeName>,
    /// The other hosts that are alive.
    alive: BTreeSet<NodeName>,
    documents: BTreeMap<NodeName, HostDocument>,
}

impl Peers {
    /// Starts listening. Without membership there is nobody to listen for.
    pub(super) fn new(own: NodeName, membership: bool, now: Instant) -> Self {
        let wait = |interval| if membership { now + interval } else { now };
        Self {
            own,
            listen_until: wait(LISTEN_INTERVAL),
            document_until: wait(DOCUMENT_INTERVAL),
            expected: BTreeSet::new(),
            alive: BTreeSet::new(),
            documents: BTreeMap::new(),
        }
    }

    /// The other hosts that the manifests name.
    pub(super) fn set_expected(&mut self, nodes: impl IntoIterator<Item = NodeName>) {
        self.expected = nodes.into_iter().filter(|name| *name != self.own).collect();
    }

    /// The members that are alive.
    pub(super) fn set_alive(&mut self, members: &BTreeSet<NodeName>) {
        self.alive = members.iter().filter(|name| **name != self.own).cloned().collect();
    }

    /// The newest documents of all hosts.
    pub(super) fn set_documents(&mut self, documents: BTreeMap<NodeName, HostDocument>) {
        self.documents = documents;
    }

    /// The document of a host that is alive.
    pub(super) fn document(&self, host: &NodeName) -> Option<&HostDocument> {
        self.documents.get(host).filter(|_| self.alive.contains(host))
    }

    /// Why a live host cannot allocate, as it says itself.
    pub(super) fn hindrance(&self, host: &NodeName) -> Option<String> {
        self.document(host)?.hindrance.clone()
    }

    /// Every document, of the dead too: their tables are still worth knowing.
    pub(super) fn documents(&self) -> impl Iterator<Item = (&NodeName, &HostDocument)> {
        self.documents.iter()
    }

    /// The live hosts, this one included; `None` while still listening, when nothing may be announced.
    pub(super) fn live(&self, now: Instant) -> Option<BTreeSet<NodeName>> {
        self.settled(now).then(|| self.alive.iter().chain([&self.own]).cloned().collect())
    }

    /// Who allocates: the first live host by name (decision D14).
    pub(super) fn allocates(&self, now: Instant) -> Allocates {
        if !self.settled(now) {
            return Allocates::Listening;
        }
        match self.alive.first() {
            Some(first) if *first < self.own => Allocates::Other(first.clone()),
            _ if now >= self.document_until || self.all_told(&self.alive) => Allocates::Own,
            _ => Allocates::Listening,
        }
    }

    /// When the answers above change by time alone.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        [self.listen_until, self.document_until].into_iter().filter(|at| *at > now).min()
    }

    fn settled(&self, now: Instant) -> bool {
        now >= self.listen_until || (self.expected.is_subset(&self.alive) && self.all_told(&self.expected))
    }

    fn all_told(&self, hosts: &BTreeSet<NodeName>) -> bool {
        hosts.iter().all(|host| self.documents.contains_key(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<NodeName> {
        list.iter().map(|name| NodeName::new(*name)).collect()
    }

    fn documents(list: &[&str]) -> BTreeMap<NodeName, HostDocument> {
        names(list).into_iter().map(|name| (name, HostDocument::default())).collect()
    }

    fn peers(own: &str, now: Instant) -> Peers {
        let mut peers = Peers::new(NodeName::new(own), true, now);
        peers.set_expected(names(&["a", "b", "c"]));
        peers
    }

    #[test]
    fn a_host_without_membership_allocates_at_once() {
        let now = Instant::now();
        let peers = Peers::new(NodeName::new("a"), false, now);
        assert_eq!(peers.allocates(now), Allocates::Own);
        assert_eq!(peers.live(now), Some(names(&["a"])));
    }

    #[test]
    fn a_starting_host_listens_before_it_believes_to_be_alone() {
        let now = Instant::now();
        let peers = peers("a", now);
        assert_eq!(peers.allocates(now), Allocates::Listening);
        assert_eq!(peers.live(now), None);
        assert_eq!(peers.allocates(now + LISTEN_INTERVAL), Allocates::Own);
    }

    #[test]
    fn the_first_live_host_by_name_allocates_once_everybody_was_heard() {
        let now = Instant::now();
        let (mut first, mut second) = (peers("a", now), peers("b", now));
        first.set_alive(&names(&["a", "b", "c"]));
        second.set_alive(&names(&["a", "b", "c"]));
        assert_eq!(first.allocates(now), Allocates::Listening, "the others' tables may hold what it must adopt");
        first.set_documents(documents(&["b", "c"]));
        second.set_documents(documents(&["a", "c"]));
        assert_eq!(first.allocates(now), Allocates::Own);
        assert_eq!(second.allocates(now), Allocates::Other(NodeName::new("a")));
    }

    #[test]
    fn a_successor_takes_over_when_the_first_dies() {
        let now = Instant::now();
        let mut second = peers("b", now);
        second.set_alive(&names(&["b", "c"]));
        second.set_documents(documents(&["a", "c"]));
        assert_eq!(second.allocates(now + LISTEN_INTERVAL), Allocates::Own);
    }

    #[test]
    fn a_member_that_never_tells_holds_up_allocation_for_a_bounded_time() {
        let now = Instant::now();
        let mut first = peers("a", now);
        first.set_alive(&names(&["a", "b"]));
        assert_eq!(first.allocates(now + LISTEN_INTERVAL), Allocates::Listening);
        assert_eq!(first.next_deadline(now + LISTEN_INTERVAL), Some(now + DOCUMENT_INTERVAL));
        assert_eq!(first.allocates(now + DOCUMENT_INTERVAL), Allocates::Own);
    }

    #[test]
    fn a_document_survives_its_journey() {
        let mut document = HostDocument::default();
        document.announced.insert("10.0.0.1".parse().unwrap(), vec![("eth0".to_owned(), MacAddr([2, 0, 0, 0, 0, 1]))]);
        document.unhealthy.insert(ServiceKey::new("default", "x"));
        document.interfaces = Some(vec![InterfaceState { name: "eth0".to_owned(), ..InterfaceState::default() }]);
        assert_eq!(HostDocument::parse(&document.emit()).unwrap(), document);
        let older = br#"{"table": {"version": {}, "entries": []}, "announced": {}, "unhealthy": []}"#;
        assert_eq!(HostDocument::parse(older).unwrap().interfaces, None);
        assert!(HostDocument::parse(b"{").is_err());
    }
}
