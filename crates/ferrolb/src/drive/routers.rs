//! From the plan to sessions with routers, and from what they were told to what is said about it: the same with and without
//! Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ferrolb_proto::bfd::Path;
use ferrolb_proto::bgp::session::report::Unannounced;
use ferrolb_proto::bgp::session::{Config, Posture, State, Transport};
use ferrolb_rules::config::{self, BgpPeer, PeerPassword, Router};
use ferrolb_rules::names::{NodeName, ServiceKey};
use ferrolb_rules::plan;
use ferrolb_rules::plan::bgp::BgpPlan;
use ferrolb_rules::range::Family;
use ferrolb_rules::reason::{Code, Finding, Severity};
use serde::{Deserialize, Serialize};

use super::bfd::{self, Bfd, Way};
use super::bgp::{Bgp, Seen, Wanted};
use super::gateways::{self, Gateways};
use crate::metrics::{BfdSession, BgpFigures};

/// How long a router keeps our routes while we are away, as FRR asks for it.
const RESTART: Duration = Duration::from_secs(120);

/// BFD outlives BGP for so long, so that a router has taken note of the one before it hears of the other.
const BFD_STAYS_INTERVAL: Duration = Duration::from_millis(300);

/// What is so, by the name of the peer.
pub type AllSeen = BTreeMap<String, Seen>;

/// How a session is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The session itself.
    pub session: Config,
    /// How BFD watches over the way to the router; `None`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<config::Bfd>,
}

/// How each session is configured, by the name of the peer.
pub type Configs = BTreeMap<String, Configured>;

/// The sessions of a plan, but for those whose password or router is not known. `address` is the node's own, of which its BGP
/// identifier is made where none is written.
pub fn configs(
    config: &config::Config,
    plan: &BgpPlan,
    own: &NodeName,
    address: Option<IpAddr>,
    gateways: &gateways::Found,
) -> Configs {
    let peers = plan.peers.keys().filter_map(|name| config.bgp_peers.get(name));
    let configured = |peer: &BgpPeer| {
        let session = session(peer, own, address, gateways)?;
        Some(Configured { session, bfd: peer.bfd })
    };
    peers.filter_map(|peer| Some((peer.name.clone(), configured(peer)?))).collect()
}

/// All sessions of this node, and how they were configured last.
#[derive(Default)]
pub struct Routers {
    bfd: Bfd,
    bgp: Bgp,
    configs: Configs,
    gateways: Gateways,
    /// The peers whose router is a default gateway that this node has not.
    adrift: BTreeMap<String, Family>,
}

impl Routers {
    /// How the sessions of a plan are to be configured, as far as it is known: see [`configs`].
    pub fn configured(
        &mut self,
        config: &config::Config,
        plan: &BgpPlan,
        own: &NodeName,
        address: Option<IpAddr>,
    ) -> Configs {
        let peers = plan.peers.keys().filter_map(|name| config.bgp_peers.get(name));
        let by_route = peers.filter_map(|peer| match peer.router {
            Router::Gateway(family) => Some((peer.name.clone(), family)),
            _ => None,
        });
        let mut by_route: BTreeMap<String, Family> = by_route.collect();
        let found = if by_route.is_empty() { gateways::Found::new() } else { self.gateways.find() };
        by_route.retain(|_, family| !found.contains_key(family));
        self.adrift = by_route;
        configs(config, plan, own, address, &found)
    }

    /// Brings sessions in line with a plan. One that there is and whose password or router is not known any more goes on as
    /// it was: what holds a Secret up for a moment, or a default route, is no reason to take routes away.
    pub fn follow(&mut self, mut configs: Configs, plan: &BgpPlan) {
        let before = std::mem::take(&mut self.configs);
        for (name, config) in before.into_iter().filter(|(name, _)| plan.peers.contains_key(name)) {
            configs.entry(name).or_insert(config);
        }
        let seen = self.seen();
        self.bfd.set(ways(&configs, &seen));
        let wanted = configs.iter().filter_map(|(name, config)| {
            let routes = Arc::clone(plan.peers.get(name)?);
            let bfd = way(name, config, &seen).and_then(|(way, _)| self.bfd.follow(&way));
            Some((name.clone(), Wanted { config: config.session.clone(), routes, bfd }))
        });
        self.bgp.set(wanted.collect());
        self.configs = configs;
    }

    /// Watches the ways to routers that have been found since, where the configuration does not tell their addresses.
    pub fn look_for_ways(&mut self, plan: &BgpPlan) {
        let found_out = |config: &Configured| config.bfd.is_some() && config.session.transport.remote.is_none();
        if self.configs.values().any(found_out) {
            self.follow(self.configs.clone(), plan);
        }
    }

    /// How each session is configured.
    pub const fn configs(&self) -> &Configs {
        &self.configs
    }

    /// What is so.
    pub fn seen(&self) -> AllSeen {
        self.bgp.seen()
    }

    /// Returns when something is different.
    pub async fn changed(&self) {
        tokio::select! {
            () = self.bgp.changed() => {}
            () = self.gateways.changed() => {}
        }
    }

    /// Returns when something was counted.
    pub async fn counted(&self) {
        self.bgp.counted().await;
    }

    /// What there is to measure, by the router's address and port.
    pub fn figures(&self) -> BTreeMap<SocketAddr, BgpFigures> {
        let seen = self.seen();
        let counters = self.bgp.counters().into_iter();
        let figures = counters.filter_map(|(name, (counters, pending))| {
            let transport = &self.configs.get(&name)?.session.transport;
            let seen = seen.get(&name);
            let announced = seen.map_or(0, |seen| seen.told.len());
            let figures = BgpFigures { up: is_up(seen), announced, pending, counters };
            let remote = transport.remote.or_else(|| seen?.remote)?;
            Some((SocketAddr::new(remote, transport.port), figures))
        });
        figures.collect()
    }

    /// What there is to measure of BFD, by the router's address.
    pub fn ways(&self) -> BTreeMap<IpAddr, BfdSession> {
        let (seen, counters) = (self.bfd.seen(), self.bfd.counters());
        let is_up = |way| seen.get(way).is_some_and(|seen| seen.path() == Path::Up);
        counters
            .iter()
            .map(|(way, counters)| (way.remote, BfdSession { up: is_up(way), counters: *counters }))
            .collect()
    }

    /// What is wrong with sessions. Peers are objects of `namespace`.
    pub fn findings(&self, seen: &AllSeen, namespace: &str) -> Vec<Finding> {
        let adrift = self.adrift.iter().map(|(name, family)| {
            let message = format!("no session: this node has no {family} default route with a gateway");
            let object = format!("BGPPeer/{namespace}/{name}");
            Finding::new(Code::NoDefaultGateway, Severity::Error, object, message)
        });
        adrift.chain(findings(&self.configs, seen, namespace)).collect()
    }

    /// Ends every session, for a restart, or for good where there is a reason (decision D18). In this order: FRR takes
    /// even an end of BFD that is announced for our death, and drops the routes that it would keep.
    pub async fn leave(self, departure: Option<&'static str>) {
        self.bgp.leave(departure).await;
        tokio::time::sleep(BFD_STAYS_INTERVAL).await;
        self.bfd.leave().await;
    }
}

/// The ways that BFD is to watch. Of peers that share one the first by name says how.
fn ways(configs: &Configs, seen: &AllSeen) -> bfd::Wanted {
    let mut ways = bfd::Wanted::new();
    for (way, settings) in configs.iter().filter_map(|(name, config)| way(name, config, seen)) {
        ways.entry(way).or_insert(settings);
    }
    ways
}

/// The way to a peer's router, as configured or as found, where BFD is to watch it.
fn way(name: &str, config: &Configured, seen: &AllSeen) -> Option<(Way, config::Bfd)> {
    let found = seen.get(name).and_then(|seen| seen.remote);
    Way::of(&config.session.transport, found).zip(config.bfd)
}

fn session(peer: &BgpPeer, own: &NodeName, address: Option<IpAddr>, gateways: &gateways::Found) -> Option<Config> {
    let (remote, device) = match peer.router {
        Router::Gateway(family) => {
            let gateway = gateways.get(&family)?;
            (Some(gateway.address), gateway.device.clone())
        }
        _ => (peer.router.address(own), peer.device.clone()),
    };
    let password = match &peer.password {
        PeerPassword::None => None,
        PeerPassword::Known(password) => Some(password.clone()),
        PeerPassword::Unknown => return None,
    };
    Some(Config {
        local_asn: peer.local_asn,
        remote: peer.remote,
        router_id: peer.router_id.unwrap_or_else(|| identifier(own, address)),
        hold_interval: peer.hold_interval,
        keepalive_interval: peer.keepalive_interval,
        connect_interval: peer.connect_interval,
        families: peer.families(own),
        posture: Posture::Dial,
        graceful_restart: peer.graceful_restart.then_some(RESTART),
        restarting: peer.graceful_restart,
        // Both ends have IPv6 for certain, and IPv4 addresses perhaps not.
        extended_next_hop: match peer.router {
            Router::OnLink => true,
            Router::Gateway(_) => device.is_some(),
            Router::At(_) | Router::Labelled(_) => false,
        },
        extended_message: false,
        host_name: own.to_string(),
        receive_limit: None,
        transport: Transport { remote, port: peer.port, source: peer.source, device, password, reach: peer.reach },
    })
}

/// The node's IPv4 address; where it has none, a number that is made of its name and stays the same (FNV-1a).
fn identifier(own: &NodeName, address: Option<IpAddr>) -> Ipv4Addr {
    if let Some(IpAddr::V4(address)) = address {
        return address;
    }
    let hash =
        own.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Ipv4Addr::from(hash.max(1))
}

/// Whether routes can go over a session.
pub fn is_up(seen: Option<&Seen>) -> bool {
    seen.is_some_and(|seen| seen.state == State::Established)
}

fn findings(configs: &Configs, seen: &AllSeen, namespace: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, config) in configs {
        let Some(seen) = seen.get(name) else { continue };
        let object = format!("BGPPeer/{namespace}/{name}");
        if let (false, Some(why)) = (is_up(Some(seen)), &seen.last_down) {
            let transport = &config.session.transport;
            let silence = transport.password.is_some() && why.starts_with("no connection: no answer");
            let hint = if silence {
                "; the peer has a password: if the router has none or another, its kernel drops what we send without a word"
            } else {
                ""
            };
            let address = transport.remote.or(seen.remote).map(|address| address.to_string());
            let address = address.or_else(|| transport.device.clone()).unwrap_or_default();
            let message = format!("no session with {address}: {why}{hint}");
            findings.push(Finding::new(Code::BgpSessionDown, Severity::Error, object.clone(), message));
        }
        let router = config.session.transport.remote.or(seen.remote);
        findings.extend(seen.way.as_ref().zip(router).and_then(|(way, router)| way.finding(&object, router)));
        findings.extend(seen.unannounced.iter().map(|one| untold(&object, *one)));
    }
    findings
}

/// Why something does not go over an established session.
fn untold(object: &str, why: Unannounced) -> Finding {
    let message = match why {
        Unannounced::NotAgreed(family) => format!("the router does not speak IP{family:?} on this session"),
        Unannounced::NoNextHop(family) => {
            format!("the interface to the router has no IP{family:?} address to be the next hop")
        }
        Unannounced::TooLarge(count) => format!("the attributes of {count} prefixes are too large for a message"),
    };
    Finding::new(Code::BgpRouteUntold, Severity::Warning, object, message)
}

/// The routers that were told everything that leads to these addresses of a Service.
pub fn told(plan: &BgpPlan, seen: &AllSeen, key: &ServiceKey) -> plan::bgp::Routers {
    let Some(part) = plan.services.get(key) else { return plan::bgp::Routers::default() };
    part.leads.told(|name, prefix| seen.get(name).is_some_and(|one| one.told.contains(prefix)))
}

/// The addresses of a Service that some router was told of.
pub fn reached(plan: &BgpPlan, seen: &AllSeen, key: &ServiceKey) -> BTreeSet<IpAddr> {
    let Some(part) = plan.services.get(key) else { return BTreeSet::new() };
    let known = |peer: &String, prefix: &ipnet::IpNet| seen.get(peer).is_some_and(|seen| seen.told.contains(prefix));
    let prefixes = part.leads.iter().filter(|(prefix, peers)| peers.iter().any(|peer| known(peer, prefix)));
    let prefixes: Vec<_> = prefixes.map(|(prefix, _)| prefix).collect();
    let reached = |address: &&IpAddr| prefixes.iter().any(|prefix| prefix.contains(*address));
    part.addresses.iter().filter(reached).copied().collect()
}

#[cfg(test)]
mod tests {
    use ferrolb_proto::bgp::session::Remote;
    use ferrolb_proto::bgp::session::config::{Password, Reach};
    use ferrolb_proto::bgp::{Asn, Families, Family as Carried};
    use ferrolb_rules::config::Resources;
    use serde::de::DeserializeOwned;

    use super::*;

    fn object<T: DeserializeOwned>(yaml: &str) -> Arc<T> {
        Arc::new(serde_saphyr::from_str(yaml).unwrap())
    }

    #[test]
    fn what_a_session_cannot_carry_is_said_with_the_family() {
        let finding = untold("BGPPeer/metallb-system/router", Unannounced::NotAgreed(Carried::V6));
        assert_eq!(finding.code, Code::BgpRouteUntold);
        assert_eq!(finding.message, "the router does not speak IPV6 on this session");
    }

    #[test]
    fn the_identifier_is_the_nodes_address_or_made_of_its_name() {
        let own = NodeName::new("a");
        let address = Ipv4Addr::new(192, 168, 1, 11);
        assert_eq!(identifier(&own, Some(address.into())), address);
        assert_eq!(identifier(&own, None), identifier(&own, None));
        assert_ne!(identifier(&own, None), Ipv4Addr::UNSPECIFIED);
    }

    #[tokio::test]
    async fn a_session_whose_password_is_not_known_any_more_goes_on_as_it_was() {
        let peer = BgpPeer {
            name: "tor".to_owned(),
            local_asn: Asn(1),
            remote: Remote::Number(Asn(2)),
            router: Router::At("127.0.0.1".parse().unwrap()),
            device: None,
            port: 1,
            source: None,
            router_id: None,
            hold_interval: Duration::from_secs(9),
            keepalive_interval: None,
            connect_interval: None,
            password: PeerPassword::Known(Password("geheim".to_owned())),
            reach: Reach::Default,
            graceful_restart: false,
            families: Families::V4,
            bfd: None,
            nodes: BTreeSet::new(),
            routerless: BTreeSet::new(),
        };
        let config = |peer: BgpPeer| config::Config {
            bgp_peers: BTreeMap::from([("tor".to_owned(), Arc::new(peer))]),
            ..config::Config::default()
        };
        let plan = BgpPlan { peers: BTreeMap::from([("tor".to_owned(), Arc::default())]), ..BgpPlan::default() };
        let own = NodeName::new("a");
        let known = configs(&config(peer.clone()), &plan, &own, None, &gateways::Found::new());
        let unknown = configs(
            &config(BgpPeer { password: PeerPassword::Unknown, ..peer }),
            &plan,
            &own,
            None,
            &gateways::Found::new(),
        );
        assert_eq!((known.len(), unknown.len()), (1, 0));
        let mut routers = Routers::default();
        routers.follow(unknown.clone(), &plan);
        assert!(routers.seen().is_empty(), "without its password no session is opened");
        routers.follow(known.clone(), &plan);
        routers.follow(unknown.clone(), &plan);
        assert_eq!((routers.configs(), routers.seen().len()), (&known, 1));
        routers.follow(unknown, &BgpPlan::default());
        assert!(routers.seen().is_empty() && routers.configs().is_empty());
    }

    #[test]
    fn peers_that_are_the_same_way_share_a_bfd_session() {
        let peer = |name: &str, spec: &str| {
            object(&format!(
                "metadata: {{name: {name}, namespace: metallb-system}}\nspec: {{myASN: 64512, peerASN: 64513, {spec}}}"
            ))
        };
        let profile = |name: &str, millis: u32| {
            object(&format!(
                "metadata: {{name: {name}, namespace: metallb-system}}\nspec: {{transmitInterval: {millis}}}"
            ))
        };
        let resources = Resources {
            bfd_profiles: vec![profile("fast", 50), profile("slow", 1000)],
            bgp_peers: vec![
                peer("a", "peerAddress: 10.0.0.1, bfdProfile: fast"),
                peer("b", "peerAddress: 10.0.0.1, peerPort: 1179, bfdProfile: slow"),
                peer("c", "peerAddress: 10.0.0.1, sourceAddress: 10.0.0.9, bfdProfile: slow"),
                peer("d", "peerAddress: 10.0.0.2"),
                peer("elsewhere", "peerAddress: 10.0.0.3, bfdProfile: fast"),
            ],
            ..Resources::default()
        };
        let config = config::parse(&resources).unwrap();
        let here = ["a", "b", "c", "d"].map(|name| (name.to_owned(), Arc::default()));
        let plan = BgpPlan { peers: here.into(), ..BgpPlan::default() };
        let wanted: Vec<(String, Option<IpAddr>, Duration)> =
            ways(&configs(&config, &plan, &NodeName::new("n"), None, &gateways::Found::new()), &AllSeen::new())
                .into_iter()
                .map(|(way, settings)| (way.remote.to_string(), way.source, settings.transmit_interval))
                .collect();
        let (fast, slow) = (Duration::from_millis(50), Duration::from_secs(1));
        let source = "10.0.0.9".parse().ok();
        assert_eq!(wanted, [("10.0.0.1".to_owned(), None, fast), ("10.0.0.1".to_owned(), source, slow)]);
    }
}
