//! BFD of `ferrolb standalone` with a real router: FRR, with all that it needs for BFD, on the client's host.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Process, Site};
use crate::hosts::eventually;

/// A pool that is announced by BGP, and a profile by which a way is watched at short intervals.
pub(super) const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [203.0.113.0/24]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: all, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 50, transmitInterval: 50}
";
const ROUTE: &str = "203.0.113.0/32";

/// zebra, bfdd and bgpd, killed by their numbers when dropped.
struct Frr<'a>(&'a Site);

impl<'a> Frr<'a> {
    fn start(site: &'a Site) -> Self {
        let frr = Self(site);
        std::fs::create_dir(frr.path("")).unwrap();
        let bgp = "router bgp 64513\n bgp router-id 192.0.2.2\n no bgp ebgp-requires-policy\n\
            neighbor 192.168.1.11 remote-as 64512\n neighbor 192.168.1.11 passive\n\
            neighbor 192.168.1.11 timers 60 180\n neighbor 192.168.1.11 bfd\n neighbor 192.168.1.11 bfd profile fast\n";
        let bfd = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n";
        for (daemon, config) in [("zebra", ""), ("bfdd", bfd), ("bgpd", bgp)] {
            std::fs::write(frr.path(&format!("{daemon}.conf")), config).unwrap();
        }
        // They give up being root, and have to write here still.
        frr.0.on_client(&format!("chown -R frr:frr {0} && chmod 755 {0} {0}/..", frr.path("")));
        let own = frr.path("");
        for (daemon, more) in
            [("zebra", String::new()), ("bfdd", format!("--bfdctl {own}bfdd.sock")), ("bgpd", "-P 0".to_owned())]
        {
            let files = format!("-z {own}zserv --vty_socket {own} -i {own}{daemon}.pid -f {own}{daemon}.conf");
            frr.0.on_client(&format!("/usr/lib/frr/{daemon} -d {files} {more}"));
        }
        frr
    }

    fn path(&self, name: &str) -> String {
        self.0.files.path().join("frr").join(name).to_str().unwrap().to_owned()
    }

    fn vtysh(&self, commands: &[&str]) -> String {
        let commands: String = commands.iter().map(|command| format!(" -c '{command}'")).collect();
        self.0.on_client(&format!("vtysh --vty_socket {}{commands}", self.path("")))
    }

    fn has_route(&self) -> bool {
        self.vtysh(&["show bgp ipv4 unicast"]).contains(ROUTE)
    }

    fn is_established(&self) -> bool {
        self.vtysh(&["show bgp neighbors 192.168.1.11"]).contains("BGP state = Established")
    }

    fn bfd_says(&self, what: &str) -> bool {
        self.vtysh(&["show bfd peers"]).contains(what)
    }
}

impl Drop for Frr<'_> {
    fn drop(&mut self) {
        let _ = self.0.client.sh(&format!("cd {} && kill $(cat bgpd.pid bfdd.pid zebra.pid)", self.path("")));
    }
}

fn spec(more: &str) -> String {
    format!("peerASN: 64513, holdTime: 180s{more}")
}

/// A site with a peer that BFD watches.
fn site(more: &str) -> Site {
    Site::with_router(POOL, &spec(&format!(", bfdProfile: fast{more}")))
}

fn await_watched(process: &Process, frr: &Frr<'_>) {
    process.await_announced("web");
    eventually("BFD is up", || process.router()["bfd"] == "Up" && frr.bfd_says("Status: up"));
    eventually("FRR has the route", || frr.has_route());
}

#[test]
fn a_cut_ends_the_session_long_before_the_hold_time_and_it_comes_back() {
    let site = site("");
    let frr = Frr::start(&site);
    let process = site.start(0);
    await_watched(&process, &frr);
    assert_eq!(process.finding("LB1303"), None);
    let host = &site.hosts[0];
    let cut = "nft add table inet cut && nft 'add chain inet cut in { type filter hook prerouting priority -300; policy drop; }' \
               && nft 'add chain inet cut out { type filter hook postrouting priority 300; policy drop; }'";
    assert!(host.sh(cut).0);
    let cut_at = Instant::now();
    eventually("the session is over", || process.router()["established"] == false);
    let ours = cut_at.elapsed();
    println!("our session was seen to be over {ours:?} after the cut, hold time 180 s");
    assert!(ours < Duration::from_secs(3), "{ours:?}");
    let error = process.router()["last_error"].to_string();
    assert!(error.contains("BFD down") || error.contains("no connection"), "{error}");
    assert!(site.log(0).contains("bfdDown"), "{}", site.log(0));
    process.await_finding("LB1303");
    eventually("FRR has let the route go", || !frr.has_route());
    assert!(host.sh("nft delete table inet cut").0);
    await_watched(&process, &frr);
    eventually("nothing is left to be said", || process.finding("LB1303").is_none());
}

#[test]
fn bfd_that_the_router_switches_off_leaves_the_session_alone() {
    let site = site("");
    let frr = Frr::start(&site);
    let process = site.start(0);
    await_watched(&process, &frr);
    let peer = "peer 192.168.1.11 local-address 192.168.1.50 interface eth0";
    frr.vtysh(&["configure", "bfd", peer, "shutdown"]);
    let finding = process.await_finding("LB1303");
    assert!(finding["message"].as_str().unwrap().contains("switched it off"), "{finding}");
    thread::sleep(Duration::from_secs(1));
    assert_eq!((&process.router()["established"], &process.router()["bfd"]), (&Value::Bool(true), &"Down".into()));
    frr.vtysh(&["configure", "bfd", peer, "no shutdown"]);
    await_watched(&process, &frr);
    // What FRR does with its session when BFD is switched on again is its own affair.
    let log = site.log(0);
    assert!(!log.contains("bfdDown") && !log.contains("we ended it"), "{log}");
}

#[test]
fn a_profile_that_goes_ends_no_session_of_ours_and_one_that_is_missing_is_named() {
    let site = site("");
    let frr = Frr::start(&site);
    let process = site.start(0);
    await_watched(&process, &frr);
    site.write_router(&spec(""));
    eventually("we watch no longer", || process.router()["bfd"].is_null());
    eventually("FRR is told so", || frr.bfd_says("Remote diagnostics: administratively down") || !frr.is_established());
    site.write_router(&spec(", bfdProfile: fats"));
    process.await_finding("LB4310");
    // FRR ends its session when BFD is switched off at the other end, against RFC 5882 §3.2; it comes back unwatched.
    eventually("routes are announced without BFD", || process.router()["established"] == true && frr.has_route());
    assert!(process.router()["bfd"].is_null());
    assert!(!site.log(0).contains("bfdDown"), "{}", site.log(0));
    site.write_router(&spec(", bfdProfile: fast"));
    await_watched(&process, &frr);
    assert_eq!(process.finding("LB4310"), None);
}

#[test]
fn a_restart_switches_bfd_off_in_time_for_the_router_to_keep_the_routes() {
    let site = site(", enableGracefulRestart: true");
    let frr = Frr::start(&site);
    let process = site.start(0);
    await_watched(&process, &frr);
    process.end(Signal::SIGTERM);
    eventually("FRR sees that we are gone", || !frr.is_established());
    assert!(frr.bfd_says("Remote diagnostics: administratively down"), "{}", frr.vtysh(&["show bfd peers"]));
    // Longer than BFD would have taken to find out by itself.
    thread::sleep(Duration::from_secs(1));
    assert!(frr.has_route(), "the route is gone while we restart");
    let process = site.start(0);
    await_watched(&process, &frr);
}

#[test]
fn a_router_that_is_taken_out_of_the_files_is_asked_for_other_ways_before_bfd_ends() {
    let site = site("");
    let frr = Frr::start(&site);
    let process = site.start(0);
    await_watched(&process, &frr);
    std::fs::remove_file(site.manifests().join("peer.yaml")).unwrap();
    let asked = || frr.vtysh(&[&format!("show bgp ipv4 unicast {ROUTE}")]).contains("graceful-shutdown");
    eventually("the route asks for other ways", asked);
    eventually("the route is withdrawn", || !frr.has_route());
    let log = site.log(0);
    assert!(log.contains("we ended it: peer deconfigured") && !log.contains("bfdDown"), "{log}");
}
