//! BGP of `ferrolb standalone` with routers of five makers at once: both families, inside and outside of the AS, passwords,
//! restarts; and with a router several hops away.

use nix::sys::signal::Signal;

use super::daemons::{Daemon, Maker, NODE_ASN, PASSWORD};
use super::{Process, Site};
use crate::hosts::{Host, eventually};

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [203.0.113.0/24, 'fd00:203::/120']}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
spec: {localPref: 150, communities: ['64512:7', 'large:64512:1:2']}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 50, transmitInterval: 50}
";
/// The addresses of the first two Services.
const FIRST: [&str; 2] = ["203.0.113.0/32", "fd00:203::1/128"];
const SECOND: [&str; 2] = ["203.0.113.1/32", "fd00:203::2/128"];

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{type: LoadBalancer, ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], ports: [{{port: 80}}]}}\n"
    )
}

fn peer(name: &str, asn: u32, spec: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
         spec: {{peerASN: {asn}, connectTime: 1s, dualStackAddressFamily: true, {spec}}}\n"
    )
}

/// The peers of every maker's router; sessions inside of its AS have this password.
fn peers(inner: &str) -> String {
    let both = |maker: &Maker| {
        let (asn, number) = (maker.asn(), maker.number());
        let common = "enableGracefulRestart: true, password: ";
        let outer = format!("myASN: {NODE_ASN}, peerAddress: 192.168.1.{number}, {common}{PASSWORD}");
        let inner = format!("myASN: {NODE_ASN}, localASN: {asn}, peerAddress: 'fd07::{number}', {common}{inner}");
        peer(&maker.peer(false), asn, &outer) + &peer(&maker.peer(true), asn, &inner)
    };
    Maker::ALL.iter().map(both).collect()
}

fn site() -> Site {
    let site = Site::new(1);
    site.hosts[0].ip("addr add fd07::11/64 dev eth0 nodad");
    site.write("pool.yaml", POOL);
    site.write("first.yaml", &service("first"));
    site
}

fn is_told(process: &Process, name: &str, prefixes: u64) -> bool {
    let router = process.router_named(name);
    router["established"] == true && router["told"] == prefixes
}

fn await_told(process: &Process, internal: bool, prefixes: u64) {
    for maker in Maker::ALL {
        let name = maker.peer(internal);
        eventually(&format!("{name} is told of {prefixes} prefixes"), || is_told(process, &name, prefixes));
    }
}

fn await_routes(routers: &[Daemon], prefixes: [&str; 2]) {
    for (router, prefix) in routers.iter().flat_map(|router| prefixes.map(|prefix| (router, prefix))) {
        eventually(&format!("{:?} has {prefix} twice", router.maker), || router.has(prefix));
    }
}

#[test]
fn routers_of_five_makers_take_both_families_inside_and_outside_of_the_as_and_keep_them_over_a_restart() {
    let site = site();
    site.write("peers.yaml", &peers("mistaken"));
    let routers = Maker::ALL.map(|maker| Daemon::start(&site, maker));
    let process = site.start(0);
    await_told(&process, false, 2);
    for maker in Maker::ALL {
        let name = maker.peer(true);
        let so = || process.router_named(&name)["last_error"].as_str().is_some_and(|error| error.contains("no answer"));
        eventually(&format!("{name} does not answer to a wrong password"), so);
    }
    let findings = process.state()["findings"].to_string();
    assert_eq!(findings.matches("the peer has a password").count(), 5, "{findings}");
    site.write("peers.yaml", &peers(PASSWORD));
    await_told(&process, true, 2);
    await_routes(&routers, FIRST);
    for router in &routers {
        for (prefix, hop) in FIRST.iter().zip(["192.168.1.11", "fd07::11"]) {
            let text = router.show(prefix);
            let words = [router.maker.words(false), router.maker.words(true), &[hop]].concat();
            for word in words {
                assert!(text.contains(word), "{:?} says no {word:?} of {prefix}: {text}", router.maker);
            }
        }
    }
    site.write("second.yaml", &service("second"));
    await_routes(&routers, SECOND);
    std::fs::remove_file(site.manifests().join("first.yaml")).unwrap();
    for (router, prefix) in routers.iter().flat_map(|router| FIRST.map(|prefix| (router, prefix))) {
        eventually(&format!("{:?} has {prefix} no more", router.maker), || router.has_lost(prefix));
    }
    assert!(!site.log(0).contains("sessionDown"), "{}", site.log(0));
    restart(&site, process, &routers);
}

/// Whoever keeps routes while we are away keeps ours, however we go, and lets go afterwards what is no more.
fn restart(site: &Site, mut process: Process, routers: &[Daemon]) {
    let keeping: Vec<&Daemon> = routers.iter().filter(|router| router.maker != Maker::ExaBgp).collect();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        process.end(signal);
        for (router, prefix) in keeping.iter().flat_map(|router| SECOND.map(|prefix| (router, prefix))) {
            eventually(&format!("{:?} sees that we are gone", router.maker), || router.is_left());
            assert!(router.has(prefix), "after {signal} {:?} dropped {prefix}: {}", router.maker, router.show(prefix));
        }
        process = site.start(0);
        await_told(&process, false, 2);
        await_told(&process, true, 2);
        await_routes(routers, SECOND);
    }
}

/// A router behind another host, which the site's first one reaches by a route.
struct Far<'a> {
    site: &'a Site,
    between: Host,
    far: Host,
}

impl<'a> Far<'a> {
    fn start(site: &'a Site) -> Self {
        let (between, far) = (site.plug(60), Host::new());
        between.ip("addr add fd07::60/64 dev eth0 nodad");
        between.join("eth1", &far, "eth0");
        for (host, device, number) in [(&between, "eth1", 1), (&far, "eth0", 70)] {
            host.ip(&format!("addr add 192.168.2.{number}/24 dev {device}"));
            host.ip(&format!("addr add fd08::{number}/64 dev {device} nodad"));
        }
        assert!(between.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1").0);
        far.ip("route add default via 192.168.2.1");
        far.ip("route add default via fd08::1");
        site.hosts[0].ip("route add 192.168.2.0/24 via 192.168.1.60");
        site.hosts[0].ip("route add fd08::/64 via fd07::60");
        let config = format!(
            "router id 192.168.2.70;\nprotocol device {{}}\n\
             protocol static {{ ipv4; route 192.168.1.0/24 via 192.168.2.1; }}\n\
             protocol static {{ ipv6; route fd07::/64 via fd08::1; }}\n\
             protocol bfd {{ multihop {{ interval 50 ms; multiplier 3; }}; }}\n\
             template bgp node {{ passive; multihop; bfd on; error wait time 1, 2;\n\
             ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }}; }}\n\
             protocol bgp v4 from node {{ local 192.168.2.70 as 64570; neighbor 192.168.1.11 as {NODE_ASN}; }}\n\
             protocol bgp v6 from node {{ local fd08::70 as 64570; neighbor fd07::11 as {NODE_ASN}; }}\n"
        );
        let router = Self { site, between, far };
        std::fs::write(router.path("conf"), config).unwrap();
        let (well, text) = router.far.sh(&format!(
            "bird -c {} -s {} -P {}",
            router.path("conf"),
            router.path("ctl"),
            router.path("pid")
        ));
        assert!(well, "{text}");
        router
    }

    fn path(&self, name: &str) -> String {
        self.site.files.path().join(format!("far-{name}")).to_str().unwrap().to_owned()
    }

    fn birdc(&self, command: &str) -> String {
        self.far.sh(&format!("birdc -s {} '{command}'", self.path("ctl"))).1
    }
}

impl Drop for Far<'_> {
    fn drop(&mut self) {
        let _ = self.far.sh(&format!("kill $(cat {})", self.path("pid")));
    }
}

fn far_peers(more: &str) -> String {
    let address = |name: &str, address: &str| {
        peer(name, 64570, &format!("myASN: {NODE_ASN}, peerAddress: '{address}', bfdProfile: fast{more}"))
    };
    address("far-v4", "192.168.2.70") + &address("far-v6", "fd08::70")
}

#[test]
fn a_router_two_hops_away_is_reached_if_the_peer_says_so_and_bfd_watches_it_over_both_families() {
    let site = site();
    let far = Far::start(&site);
    site.write("peers.yaml", &far_peers(""));
    let process = site.start(0);
    let names = ["far-v4", "far-v6"];
    for name in names {
        let so = || process.router_named(name)["last_error"].is_string();
        eventually(&format!("{name} is too far away for eBGP on one link"), so);
        assert_eq!(process.router_named(name)["established"], false);
    }
    site.write("peers.yaml", &far_peers(", ebgpMultiHop: true"));
    for name in names {
        eventually(&format!("{name} is told"), || is_told(&process, name, 2));
        eventually(&format!("{name} is watched"), || process.router_named(name)["bfd"] == "Up");
    }
    assert_eq!(far.birdc("show bfd sessions").matches(" Up ").count(), 2);
    for prefix in FIRST {
        let route = far.birdc(&format!("show route {prefix} all"));
        assert_eq!(route.matches("BGP.as_path: 64512").count(), 2, "{route}");
    }
    // What is between is cut: nobody's interface goes down.
    far.between.ip("link set eth1 down");
    for name in names {
        eventually(&format!("BFD ends {name}"), || process.router_named(name)["established"] == false);
    }
    assert_eq!(site.log(0).matches("bfdDown").count(), 2, "{}", site.log(0));
}
