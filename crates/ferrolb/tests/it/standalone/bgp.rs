//! BGP of `ferrolb standalone` with a real router: BIRD on the client's host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::signal::Signal;

use super::{Site, service};
use crate::hosts::eventually;

/// A peer but for its spec.
pub(super) const PEER: &str =
    "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: router, namespace: metallb-system}\n";
pub(super) const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [203.0.113.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
spec: {localPref: 150, communities: ['64512:7', 'large:64512:1:2']}
";

/// BIRD, killed by its number when dropped.
struct Router<'a>(&'a Site);

impl<'a> Router<'a> {
    fn start(site: &'a Site, more: &str) -> Self {
        let router = Self(site);
        let config = format!(
            "router id 192.168.1.50;\nprotocol device {{}}\nprotocol direct {{ ipv4; ipv6; }}\n\
             protocol bgp node {{ local 192.168.1.50 as 64512; neighbor 192.168.1.11 as 64512; hold time 9;\n\
             error wait time 1, 2; {more} ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }}; }}\n"
        );
        std::fs::write(router.path("bird.conf"), config).unwrap();
        router.0.on_client(&format!("bird -c {0}/bird.conf -s {0}/bird.ctl -P {0}/bird.pid", router.path("")));
        router
    }

    fn path(&self, name: &str) -> String {
        self.0.files.path().join(name).to_str().unwrap().to_owned()
    }

    fn birdc(&self, command: &str) -> String {
        self.0.on_client(&format!("birdc -s {} '{command}'", self.path("bird.ctl")))
    }

    fn has(&self, prefix: &str) -> bool {
        self.birdc("show route").contains(prefix)
    }
}

impl Drop for Router<'_> {
    fn drop(&mut self) {
        let _ = self.0.client.sh(&format!("kill $(cat {})", self.path("bird.pid")));
    }
}

fn site(peer: &str) -> Site {
    Site::with_router(POOL, &spec(peer))
}

fn spec(more: &str) -> String {
    format!("peerASN: 64512, holdTime: 9s{more}")
}

#[test]
fn a_service_is_a_route_in_the_router_until_it_is_deleted() {
    let site = site("");
    let router = Router::start(&site, "");
    let process = site.start(0);
    assert_eq!(process.await_announced("web")["routers"][0], "router");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
    let route = router.birdc("show route 203.0.113.0/32 all");
    for part in ["via 192.168.1.11", "BGP.local_pref: 150", "(64512,7)", "(64512, 1, 2)"] {
        assert!(route.contains(part), "no {part:?} in {route}");
    }
    assert_eq!(process.router()["state"], "Established");
    let changed_at = Instant::now();
    site.write("late.yaml", &service("late", ""));
    eventually("the second route is there", || router.has("203.0.113.1/32"));
    println!("from the file to the router's table, as seen through birdc: {:?}", changed_at.elapsed());
    std::fs::remove_file(site.manifests().join("web.yaml")).unwrap();
    eventually("the first route is withdrawn", || !router.has("203.0.113.0/32"));
    assert!(router.has("203.0.113.1/32"));
    drop(router);
    process.await_finding("LB1301");
    let router = Router::start(&site, "");
    eventually("the routes are back", || router.has("203.0.113.1/32"));
}

#[test]
fn a_wrong_password_is_found_and_the_right_one_makes_the_session() {
    let site = site(", password: wrong");
    let router = Router::start(&site, "password \"right\";");
    let process = site.start(0);
    let finding = process.await_finding("LB1301");
    assert!(finding["message"].as_str().unwrap().contains("password"), "{finding}");
    assert!(!router.has("203.0.113.0/32"));
    assert_eq!(process.service("web")["reasons"][0]["code"], "LB1301");
    site.write_router(&spec(", password: right"));
    process.await_announced("web");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
}

#[test]
fn under_graceful_restart_the_router_keeps_the_routes_while_the_program_is_away() {
    let site = site(", enableGracefulRestart: true");
    let router = Router::start(&site, "");
    let process = site.start(0);
    process.await_announced("web");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
    process.end(Signal::SIGTERM);
    eventually("BIRD sees that we are gone", || !router.birdc("show protocols node").contains("Established"));
    assert!(router.has("203.0.113.0/32"), "the route is gone while we restart");
    let process = site.start(0);
    process.await_announced("web");
    assert!(router.has("203.0.113.0/32"));
}

#[test]
fn without_graceful_restart_the_router_hears_of_the_end_before_the_routes_go() {
    let site = site("");
    let router = Router::start(&site, "");
    let process = site.start(0);
    process.await_announced("web");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
    let (heard, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let route = router.birdc("show route all");
                heard.fetch_or(route.contains("(65535,0)") && route.contains("local_pref: 0"), Ordering::Relaxed);
            }
        });
        process.end(Signal::SIGTERM);
        stop.store(true, Ordering::Relaxed);
    });
    assert!(heard.load(Ordering::Relaxed), "the router was not asked for other ways");
    assert!(!router.has("203.0.113.0/32"));
    let said = router.birdc("show protocols all node");
    assert!(said.contains("the speaker restarts"), "{said}");
}

#[test]
fn a_host_that_takes_its_addresses_off_leaves_no_route_behind_even_under_graceful_restart() {
    let site = site(", enableGracefulRestart: true");
    let layer2 = "---\napiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: all, namespace: metallb-system}\n";
    site.write("pool.yaml", &format!("{POOL}{layer2}"));
    site.write("web.yaml", &service("web", "ferrolb.io/bind-address: lo"));
    let router = Router::start(&site, "");
    let process = site.start(0);
    process.await_announced("web");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
    eventually("the host has the address", || site.hosts[0].sh("ip address show dev lo").1.contains("203.0.113.0/32"));
    process.end(Signal::SIGTERM);
    assert!(!router.has("203.0.113.0/32"), "nobody is there who would take the traffic");
}

#[test]
fn a_router_that_is_taken_out_of_the_files_is_asked_for_other_ways_first() {
    let site = site("");
    let router = Router::start(&site, "");
    let process = site.start(0);
    process.await_announced("web");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
    std::fs::remove_file(site.manifests().join("peer.yaml")).unwrap();
    eventually("the route asks for other ways", || router.birdc("show route all").contains("(65535,0)"));
    eventually("the route is withdrawn", || !router.has("203.0.113.0/32"));
}

#[test]
fn an_address_that_comes_or_goes_while_the_session_stands_is_a_next_hop_or_is_none_any_more() {
    let site = site(", dualStackAddressFamily: true");
    site.write("pool.yaml", &POOL.replace("[203.0.113.0/24]", "[203.0.113.0/24, 'fd00:203::/120']"));
    let both = "spec: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], ";
    site.write("web.yaml", &service("web", "").replace("spec: {", both));
    let router = Router::start(&site, "");
    site.client.ip("addr add fd00:1::50/64 dev eth0 nodad");
    let process = site.start(0);
    let has_v6 = || router.birdc("show route table master6").contains("fd00:203::");
    eventually("BIRD has the IPv4 route", || router.has("203.0.113.0/32"));
    process.await_finding("LB1302");
    assert!(!has_v6(), "there is no next hop for it");
    site.hosts[0].ip("addr add fd00:1::11/64 dev eth0 nodad");
    eventually("BIRD has the IPv6 route", has_v6);
    eventually("nothing is wrong any more", || process.finding("LB1302").is_none());
    site.hosts[0].ip("addr del fd00:1::11/64 dev eth0");
    eventually("the IPv6 route is withdrawn", || !has_v6());
    process.await_finding("LB1302");
    assert!(router.has("203.0.113.0/32"));
    assert_eq!(process.router()["state"], "Established");
}

/// A VRF is a device that sockets are bound to. Kernels without VRFs bind to any other device just the same.
#[test]
fn the_session_of_a_peer_in_a_vrf_is_bound_to_its_device() {
    let site = site(", vrf: red");
    let router = Router::start(&site, "");
    let process = site.start(0);
    let finding = process.await_finding("LB1301");
    assert!(finding["message"].as_str().unwrap().contains("No such device"), "{finding}");
    site.write_router(&spec(", vrf: eth0"));
    process.await_announced("web");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
    let (_, connections) = site.hosts[0].sh("ss -Htn state established dport = 179");
    assert!(connections.contains("192.168.1.11%eth0:"), "{connections}");
}

#[test]
fn the_router_is_where_a_label_of_the_node_or_its_default_route_says() {
    let site = Site::with_router(POOL, &spec(""));
    let from = |source: &str| {
        let spec =
            format!("{{myASN: 64512, peerASN: 64512, holdTime: 9s, connectTime: 1s, peerAddressFrom: {source}}}");
        site.write("peer.yaml", &format!("{PEER}spec: {spec}\n"));
    };
    from("{nodeLabel: example.com/tor}");
    let router = Router::start(&site, "");
    let process = site.start(0);
    let finding = process.await_finding("LB4311");
    assert!(finding["message"].as_str().unwrap().contains("node a has no session"), "{finding}");
    let label = "apiVersion: v1\nkind: Node\nmetadata: {name: a, labels: {example.com/tor: 192.168.1.50}}\n\
        status: {addresses: [{type: InternalIP, address: 192.168.1.11}]}\n";
    site.write("nodes.yaml", label);
    process.await_announced("web");
    eventually("BIRD has the route", || router.has("203.0.113.0/32"));
    assert_eq!((process.finding("LB4311"), &process.router()["address"]), (None, &"192.168.1.50".into()));
    from("{defaultGateway: IPv4}");
    let finding = process.await_finding("LB1304");
    assert!(finding["message"].as_str().unwrap().contains("no IPv4 default route"), "{finding}");
    assert!(router.has("203.0.113.0/32"), "a session that there is goes on");
    let gateway = |address: &str| site.hosts[0].ip(&format!("route replace default via {address}"));
    gateway("192.168.1.50");
    eventually("the default route is noticed", || process.finding("LB1304").is_none());
    assert!(!site.log(0).contains("sessionReset"), "it is the same router: {}", site.log(0));
    gateway("192.168.1.51");
    eventually("another router is tried", || process.router()["address"] == "192.168.1.51");
    eventually("the first one is left", || !router.has("203.0.113.0/32"));
    gateway("192.168.1.50");
    eventually("BIRD has the route again", || router.has("203.0.113.0/32"));
    site.hosts[0].ip("route del default");
    process.await_finding("LB1304");
    assert_eq!(process.router()["established"], true);
}
