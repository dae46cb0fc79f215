//! Every metric, by its exact name (spec §8.2, §8.3), and the text that Prometheus reads.
//!
//! State travels whole: whoever knows something hands over all of it, and series that are not in it any more go away.
//!
//! The text is written here, in Prometheus' own format 0.0.4. The usual crate writes OpenMetrics only, where every
//! counter must end in `_total`: `metallb_layer2_requests_received` and its like could not have their names there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ferrolb_proto::bfd;
use ferrolb_proto::bgp::session::report::Counters as Messages;
use ferrolb_rules::alloc::Counters;
use ferrolb_rules::reason::Code;

use crate::drive::answers::Announced as Addresses;
use crate::drive::l2::Stranger;
use crate::drive::segment::figures::{Figures, Spans};

mod process;
mod text;

use text::{Kind, Text};

/// How the text is announced: the format's name and version.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The commit that this program was built from, where the build said so.
pub const COMMIT: &str = match option_env!("FERROLB_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The branch that it was built from, where the build said so.
pub const BRANCH: &str = match option_env!("FERROLB_BRANCH") {
    Some(branch) => branch,
    None => "unknown",
};

/// How long the count of an address that is not announced here any more is kept: longer than alerts look back, so that an
/// address that goes to and fro is seen to.
const TAKEOVER_MEMORY: Duration = Duration::from_secs(3600);
/// Whose series are there only where there was a ping.
const PINGS_ANSWERED: &str = "pings_answered";

/// All metrics of one process.
#[derive(Debug, Default)]
pub struct Metrics {
    updates: AtomicU64,
    update_errors: AtomicU64,
    config_loaded: AtomicBool,
    config_stale: AtomicBool,
    pools: Mutex<BTreeMap<String, Counters>>,
    services: Mutex<BTreeMap<Code, usize>>,
    announced: Mutex<BTreeMap<String, Shown>>,
    takeovers: Mutex<BTreeMap<IpAddr, Takeovers>>,
    strangers: Mutex<BTreeMap<IpAddr, Vec<Stranger>>>,
    layer2: Mutex<BTreeMap<IpAddr, Layer2Frames>>,
    bgp: Mutex<BTreeMap<SocketAddr, BgpFigures>>,
    bfd: Mutex<BTreeMap<IpAddr, BfdSession>>,
    failover: Mutex<Option<Arc<Figures>>>,
}

/// What is announced by one protocol.
#[derive(Debug)]
struct Shown {
    node: String,
    addresses: Arc<Addresses>,
}

/// How often this node began to announce an address by layer 2, and when it last did or was seen to.
#[derive(Debug)]
struct Takeovers {
    count: u64,
    seen: Instant,
}

/// What there is to measure about a session with a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BgpFigures {
    /// It is established.
    pub up: bool,
    /// Prefixes that the router has been told.
    pub announced: usize,
    /// Prefixes that it is to be told.
    pub pending: usize,
    /// What was sent and received.
    pub counters: Messages,
}

/// Frames for one address since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer2Frames {
    /// Requests (ARP) and solicitations (NDP) for it.
    pub requests: u64,
    /// Answers to them.
    pub responses: u64,
    /// Unsolicited announcements.
    pub gratuitous: u64,
    /// Pings answered.
    pub pings: u64,
}

/// The BFD session that watches over the way to a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BfdSession {
    /// It is up.
    pub up: bool,
    /// What it has counted.
    pub counters: bfd::Counters,
}

impl Metrics {
    /// An object was processed (`metallb_k8s_client_updates_total`).
    pub fn updated(&self) {
        self.updates.fetch_add(1, Ordering::Relaxed);
    }

    /// Processing an object failed (`metallb_k8s_client_update_errors_total`).
    pub fn update_failed(&self) {
        self.update_errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a configuration has loaded at all, and whether the newest one did not
    /// (`metallb_k8s_client_config_loaded_bool`, `metallb_k8s_client_config_stale_bool`).
    pub fn set_config(&self, loaded: bool, stale: bool) {
        self.config_loaded.store(loaded, Ordering::Relaxed);
        self.config_stale.store(stale, Ordering::Relaxed);
    }

    /// The pools and their counters (`metallb_allocator_…`).
    pub fn set_pools(&self, pools: &BTreeMap<String, Counters>) {
        locked(&self.pools).clone_from(pools);
    }

    /// How many Services have what said against their announcement (`ferrolb_service_findings`).
    pub fn set_services(&self, counts: BTreeMap<Code, usize>) {
        *locked(&self.services) = counts;
    }

    /// What this node announces, per Service (`metallb_speaker_announced`), by `protocol` (`layer2` or `bgp`).
    pub fn set_announced(&self, node: &str, protocol: &str, announced: &Arc<Addresses>) {
        let announced = Shown { node: node.to_owned(), addresses: announced.clone() };
        let now: BTreeSet<IpAddr> = announced.addresses.values().flatten().copied().collect();
        let before = locked(&self.announced).insert(protocol.to_owned(), announced);
        if protocol == "layer2" {
            let before = before.iter().flat_map(|before| before.addresses.values().flatten()).copied().collect();
            self.count_takeovers(&before, &now, Instant::now());
        }
    }

    /// What another node takes and gives back at once is told to each of them in time, so each turn is counted somewhere.
    fn count_takeovers(&self, before: &BTreeSet<IpAddr>, now: &BTreeSet<IpAddr>, at: Instant) {
        let mut takeovers = locked(&self.takeovers);
        for address in now {
            let one = takeovers.entry(*address).or_insert(Takeovers { count: 0, seen: at });
            one.count += u64::from(!before.contains(address));
        }
        for address in before.union(now) {
            takeovers.entry(*address).and_modify(|one| one.seen = at);
        }
        takeovers.retain(|_, one| at.saturating_duration_since(one.seen) < TAKEOVER_MEMORY);
    }

    /// Devices that are no node and say that an address of ours is theirs (`metallb_layer2_address_conflict`).
    pub fn set_strangers(&self, strangers: &BTreeMap<IpAddr, Vec<Stranger>>) {
        locked(&self.strangers).clone_from(strangers);
    }

    /// Frames of layer 2 so far, per address (`metallb_layer2_requests_received`, `…responses_sent`,
    /// `…gratuitous_sent`, `…pings_answered`).
    pub fn set_layer2(&self, frames: &BTreeMap<IpAddr, Layer2Frames>) {
        locked(&self.layer2).clone_from(frames);
    }

    /// Where to look for how failover goes, where nodes claim addresses (`metallb_layer2_failover_…`).
    pub fn set_failover(&self, figures: Option<Arc<Figures>>) {
        *locked(&self.failover) = figures;
    }

    /// Sessions with routers, by the router's address and port (`metallb_bgp_…`).
    pub fn set_bgp(&self, sessions: &BTreeMap<SocketAddr, BgpFigures>) {
        locked(&self.bgp).clone_from(sessions);
    }

    /// The BFD sessions of this node, by the router's address (`metallb_bfd_…`).
    pub fn set_bfd(&self, sessions: &BTreeMap<IpAddr, BfdSession>) {
        locked(&self.bfd).clone_from(sessions);
    }

    /// Everything as Prometheus reads it, the kernel's figures about this process included.
    pub fn text(&self) -> String {
        let mut text = self.own_text();
        process::write(&mut text);
        text.finish()
    }

    /// Everything that we count ourselves, in order of name.
    fn own_text(&self) -> Text {
        let mut text = Text::default();
        let build = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("commit", COMMIT.to_owned())];
        text.family("ferrolb_build_info", Kind::Gauge, "What was built, always 1", [(build, 1)]);
        let services = locked(&self.services);
        let samples = services.iter().map(|(code, count)| ([("code", code.to_string())], *count));
        text.family("ferrolb_service_findings", Kind::Gauge, "Services with this said of their announcement", samples);
        drop(services);
        self.write_pools(&mut text);
        self.write_bfd(&mut text);
        self.write_bgp(&mut text);
        self.write_client(&mut text);
        self.write_strangers(&mut text);
        self.write_failover(&mut text);
        self.write_layer2(&mut text);
        self.write_announced(&mut text);
        text
    }

    fn write_pools(&self, text: &mut Text) {
        type Figure = fn(&Counters) -> i64;
        let families: [(&str, &str, Figure); 6] = [
            ("addresses_in_use_total", "Addresses of the pool that Services hold", |pool| {
                pool.assigned_v4.saturating_add(pool.assigned_v6)
            }),
            ("addresses_total", "Addresses that the pool has", |pool| pool.total_v4.saturating_add(pool.total_v6)),
            ("ipv4_addresses_in_use_total", "IPv4 addresses of the pool that Services hold", |pool| pool.assigned_v4),
            ("ipv4_addresses_total", "IPv4 addresses that the pool has", |pool| pool.total_v4),
            ("ipv6_addresses_in_use_total", "IPv6 addresses of the pool that Services hold", |pool| pool.assigned_v6),
            ("ipv6_addresses_total", "IPv6 addresses that the pool has", |pool| pool.total_v6),
        ];
        let pools = locked(&self.pools);
        for (name, help, figure) in families {
            let samples = pools.iter().map(|(pool, counters)| ([("pool", pool.clone())], figure(counters)));
            text.family(&format!("metallb_allocator_{name}"), Kind::Gauge, help, samples);
        }
    }

    /// The families of upstream's native mode have the router alone for a label; those that only its FRR mode has, the VRF
    /// too (spec §8.2, §8.3).
    fn write_bgp(&self, text: &mut Text) {
        type Figure = fn(&BgpFigures) -> u64;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let sessions = locked(&self.bgp);
        let native = |text: &mut Text, name: &str, kind, help: &str, figure: &dyn Fn(&BgpFigures) -> u64| {
            let samples = sessions.iter().map(|(peer, session)| ([("peer", peer.to_string())], figure(session)));
            text.family(&format!("metallb_bgp_{name}"), kind, help, samples);
        };
        native(text, "announced_prefixes_total", Kind::Gauge, "Prefixes that the router has been told", &|one| {
            count(one.announced)
        });
        native(text, "pending_prefixes_total", Kind::Gauge, "Prefixes that the router is to be told", &|one| {
            count(one.pending)
        });
        native(text, "session_up", Kind::Gauge, "1 while the session is established", &|one| u64::from(one.up));
        native(text, "updates_total", Kind::Counter, "UPDATEs sent to the router", &|one| one.counters.updates_sent);
        let families: [(&str, &str, Figure); 9] = [
            ("keepalives_received", "KEEPALIVEs received", |one| one.counters.keepalives_received),
            ("keepalives_sent", "KEEPALIVEs sent", |one| one.counters.keepalives_sent),
            ("notifications_sent", "NOTIFICATIONs sent", |one| one.counters.notifications_sent),
            ("opens_received", "OPENs received", |one| one.counters.opens_received),
            ("opens_sent", "OPENs sent", |one| one.counters.opens_sent),
            ("route_refresh_sent", "ROUTE-REFRESHs sent", |one| one.counters.refreshes_sent),
            ("total_received", "Messages received", |one| one.counters.received()),
            ("total_sent", "Messages sent", |one| one.counters.sent()),
            ("updates_total_received", "UPDATEs received", |one| one.counters.updates_received),
        ];
        for (name, help, figure) in families {
            let labels = |peer: &SocketAddr| [("peer", peer.to_string()), ("vrf", "default".to_owned())];
            let samples = sessions.iter().map(|(peer, session)| (labels(peer), figure(session)));
            text.family(&format!("metallb_bgp_{name}"), Kind::Counter, help, samples);
        }
    }

    /// As upstream's exporter beside FRR names them, where every session is in the default VRF.
    fn write_bfd(&self, text: &mut Text) {
        type Figure = fn(&BfdSession) -> u64;
        let families: [(&str, Kind, &str, Figure); 5] = [
            ("control_packet_input", Kind::Counter, "BFD control packets received", |one| one.counters.received),
            ("control_packet_output", Kind::Counter, "BFD control packets sent", |one| one.counters.sent),
            ("session_down_events", Kind::Counter, "Times the BFD session fell", |one| one.counters.down),
            ("session_up", Kind::Gauge, "1 while the BFD session with the router is up", |one| u64::from(one.up)),
            ("session_up_events", Kind::Counter, "Times the BFD session came up", |one| one.counters.up),
        ];
        let sessions = locked(&self.bfd);
        for (name, kind, help, figure) in families {
            let samples = sessions
                .iter()
                .map(|(peer, session)| ([("peer", peer.to_string()), ("vrf", "default".to_owned())], figure(session)));
            text.family(&format!("metallb_bfd_{name}"), kind, help, samples);
        }
    }

    fn write_client(&self, text: &mut Text) {
        let bool_of = |flag: &AtomicBool| u64::from(flag.load(Ordering::Relaxed));
        let families = [
            ("config_loaded_bool", Kind::Gauge, "1 once a configuration has loaded", bool_of(&self.config_loaded)),
            ("config_stale_bool", Kind::Gauge, "1 while the newest does not load", bool_of(&self.config_stale)),
            (
                "update_errors_total",
                Kind::Counter,
                "Objects whose processing failed",
                self.update_errors.load(Ordering::Relaxed),
            ),
            ("updates_total", Kind::Counter, "Objects processed", self.updates.load(Ordering::Relaxed)),
        ];
        for (name, kind, help, value) in families {
            text.family(&format!("metallb_k8s_client_{name}"), kind, help, [([], value)]);
        }
    }

    fn write_failover(&self, text: &mut Text) {
        let Some(figures) = locked(&self.failover).clone() else { return };
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed).to_string();
        let spans = |spans: &Spans| (spans.count().to_string(), spans.sum().as_secs_f64().to_string());
        let (detections, detection) = spans(&figures.detections);
        let (handovers, handover) = spans(&figures.handovers);
        let late = [("0.5", 500), ("0.999", 999), ("1", 1000)].map(|(quantile, per_mille)| {
            ([("quantile", quantile.to_owned())], figures.lateness.at_most(per_mille).as_secs_f64())
        });
        let family = |text: &mut Text, name: &str, kind, help: &str, value: String| {
            text.family(&format!("metallb_layer2_failover_{name}"), kind, help, [([], value)]);
        };
        let (counter, gauge) = (Kind::Counter, Kind::Gauge);
        let conflicts = "Addresses of this node that another had the better claim to";
        family(text, "conflicts_total", counter, conflicts, count(&figures.conflicts));
        family(text, "detection_seconds_total", counter, "Time from the last sign of life to that", detection);
        family(text, "detections_total", counter, "Nodes found dead", detections);
        family(text, "handover_seconds_total", counter, "Time from the first offer to that", handover);
        family(text, "handovers_total", counter, "Addresses of this node that others took as planned", handovers);
        let help = "How late at most this part of what was due was done, since the start";
        text.family("metallb_layer2_failover_lateness_seconds", gauge, help, late);
        family(text, "pauses_total", counter, "Times the process did not run for a while", count(&figures.pauses));
        let real_time = u64::from(figures.is_real_time.load(Ordering::Relaxed)).to_string();
        family(text, "realtime", gauge, "1 where the thread has real-time priority", real_time);
    }

    fn write_layer2(&self, text: &mut Text) {
        type Figure = fn(&Layer2Frames) -> u64;
        let families: [(&str, &str, Figure); 4] = [
            ("gratuitous_sent", "Unsolicited announcements sent for the address", |frames| frames.gratuitous),
            (PINGS_ANSWERED, "Pings for the address that were answered", |frames| frames.pings),
            ("requests_received", "ARP and NDP requests received for the address", |frames| frames.requests),
            ("responses_sent", "Answers sent to them", |frames| frames.responses),
        ];
        let addresses = locked(&self.layer2);
        for (name, help, figure) in families {
            // Most nodes answer no ping, and then ten thousand zeros would be read for nothing.
            let there = addresses.iter().filter(|(_, frames)| name != PINGS_ANSWERED || frames.pings > 0);
            let samples = there.map(|(ip, frames)| ([("ip", ip.to_string())], figure(frames)));
            text.family(&format!("metallb_layer2_{name}"), Kind::Counter, help, samples);
        }
        let takeovers = locked(&self.takeovers);
        let samples = takeovers.iter().map(|(ip, one)| ([("ip", ip.to_string())], one.count));
        let help = "Times this node began to answer for the address";
        text.family("metallb_layer2_takeovers_total", Kind::Counter, help, samples);
    }

    fn write_strangers(&self, text: &mut Text) {
        let strangers = locked(&self.strangers);
        let samples = strangers.iter().flat_map(|(ip, all)| {
            all.iter().filter(|one| !one.is_node).map(move |one| {
                let labels =
                    [("ip", ip.to_string()), ("interface", one.interface.clone()), ("mac", one.mac.to_string())];
                (labels, 1)
            })
        });
        let help = "Addresses of ours that a device says it has which is no node";
        text.family("metallb_layer2_address_conflict", Kind::Gauge, help, samples);
    }

    fn write_announced(&self, text: &mut Text) {
        let protocols = locked(&self.announced);
        let samples = protocols.iter().flat_map(|(protocol, Shown { node, addresses })| {
            addresses.iter().flat_map(move |(service, ips)| {
                ips.iter().map(move |ip| {
                    let labels = [
                        ("ip", ip.to_string()),
                        ("node", node.clone()),
                        ("protocol", protocol.clone()),
                        ("service", service.to_string()),
                    ];
                    (labels, 1)
                })
            })
        });
        text.family("metallb_speaker_announced", Kind::Gauge, "Addresses announced from this node", samples);
    }
}

/// What is inside, also after a panic of somebody who held it: each value is replaced whole.
fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ferrolb_proto::segment::{Event, NodeId};

    use super::*;

    fn counters(total_v4: i64, assigned_v4: i64, total_v6: i64) -> Counters {
        Counters { total_v4, assigned_v4, total_v6, ..Counters::default() }
    }

    fn figures() -> Arc<Figures> {
        let (figures, node, ip) = (Figures::default(), NodeId(1), "192.0.2.1".parse().unwrap());
        for event in [
            Event::Detected(node, Duration::from_millis(210)),
            Event::Detected(node, Duration::from_millis(190)),
            Event::HandedOver(ip, node, Some(Duration::from_millis(2))),
            Event::HandedOver(ip, node, None),
            Event::Beaten(ip, node),
            Event::Paused(Duration::from_secs(1)),
        ] {
            figures.note(&event);
        }
        figures.lateness.note(Duration::from_micros(900));
        Arc::new(figures)
    }

    #[test]
    fn the_whole_text_has_upstreams_names_types_and_labels() {
        let metrics = Metrics::default();
        metrics.updated();
        metrics.updated();
        metrics.update_failed();
        metrics.set_config(true, false);
        metrics.set_pools(&BTreeMap::from([("a".to_owned(), counters(10, 3, 0)), ("b".to_owned(), counters(1, 0, 4))]));
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let service = ferrolb_rules::names::ServiceKey::new("default", "web");
        metrics.set_announced("n1", "layer2", &Arc::new(BTreeMap::from([(service, [ip].into())])));
        metrics.set_services(BTreeMap::from([(Code::NodeExcluded, 2), (Code::TwoAnnouncers, 1)]));
        let frames = Layer2Frames { requests: 7, responses: 6, gratuitous: 5, pings: 4 };
        metrics.set_layer2(&BTreeMap::from([(ip, frames), ("2001:db8::1".parse().unwrap(), Layer2Frames::default())]));
        let counters =
            Messages { opens_sent: 1, opens_received: 1, updates_sent: 4, keepalives_sent: 9, ..Messages::default() };
        let session = BgpFigures { up: true, announced: 2, pending: 3, counters };
        metrics.set_bgp(&BTreeMap::from([("192.0.2.254:179".parse().unwrap(), session)]));
        let counters = bfd::Counters { sent: 9, received: 8, discarded: 1, up: 2, down: 1 };
        metrics.set_bfd(&BTreeMap::from([("10.0.0.1".parse().unwrap(), BfdSession { up: true, counters })]));
        metrics.set_failover(Some(figures()));
        let stranger = Stranger {
            interface: "eth0".to_owned(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            blocks: true,
            is_node: false,
        };
        metrics.set_strangers(&BTreeMap::from([(ip, vec![stranger])]));
        let expected =
            include_str!("metrics/golden.txt").replace("VERSION", env!("CARGO_PKG_VERSION")).replace("COMMIT", COMMIT);
        assert_eq!(metrics.own_text().finish(), expected);
    }

    #[test]
    fn series_go_away_with_what_they_are_about() {
        let metrics = Metrics::default();
        metrics.set_pools(&BTreeMap::from([("gone".to_owned(), counters(1, 1, 0))]));
        metrics.set_layer2(&BTreeMap::from([("192.0.2.1".parse().unwrap(), Layer2Frames::default())]));
        metrics.set_pools(&BTreeMap::new());
        metrics.set_layer2(&BTreeMap::new());
        let text = metrics.text();
        for family in ["metallb_allocator_", "metallb_layer2_", "metallb_speaker_announced"] {
            assert!(!text.contains(family), "{family} in:\n{text}");
        }
        assert!(text.contains("metallb_k8s_client_config_loaded_bool 0\n"), "{text}");
    }

    #[test]
    fn each_time_that_an_address_comes_is_counted_and_forgotten_long_after_it_went() {
        let (metrics, start) = (Metrics::default(), Instant::now());
        let (one, none) = (BTreeSet::from(["192.0.2.1".parse().unwrap()]), BTreeSet::new());
        for (before, now, seconds) in [(&none, &one, 0), (&one, &one, 5), (&one, &none, 9), (&none, &one, 3000)] {
            metrics.count_takeovers(before, now, start + Duration::from_secs(seconds));
        }
        metrics.count_takeovers(&one, &none, start + Duration::from_secs(3100));
        assert!(metrics.text().contains("metallb_layer2_takeovers_total{ip=\"192.0.2.1\"} 2\n"), "{}", metrics.text());
        metrics.count_takeovers(&none, &none, start + Duration::from_secs(3100) + TAKEOVER_MEMORY);
        assert!(!metrics.text().contains("takeovers"), "{}", metrics.text());
    }

    #[test]
    fn the_kernels_figures_about_this_process_are_there() {
        let text = Metrics::default().text();
        for name in [
            "process_cpu_seconds_total ",
            "process_open_fds ",
            "process_resident_memory_bytes ",
            "process_start_time_seconds ",
        ] {
            let line =
                text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}in:\n{text}"));
            let value: f64 = line.strip_prefix(name).unwrap().parse().unwrap();
            assert!(value >= 0.0 && (value > 0.0 || name.contains("cpu")), "{line}");
        }
    }
}
