//! The product's BFD against real daemons, bfdd of FRR and BIRD, each in a namespace of its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use ferrolb::drive::bfd::{Bfd, Seen, Way};
use ferrolb_proto::bfd::{Diagnostic, State};
use ferrolb_rules::config::{self, Distance};
use tempfile::TempDir;

use crate::hosts::{Host, eventually};

mod forged;

const MS: Duration = Duration::from_millis(1);
const V4: &str = "10.8.0.2";
const V6: &str = "fd08::2";

/// A node and a router, joined; the router's daemons run in a directory of their own.
struct Net {
    node: Host,
    router: Host,
    directory: TempDir,
}

impl Net {
    fn new() -> Self {
        let net = Self { node: Host::new(), router: Host::new(), directory: tempfile::tempdir().unwrap() };
        net.node.join("eth0", &net.router, "eth0");
        for (host, number) in [(&net.node, 1), (&net.router, 2)] {
            host.ip(&format!("address add 10.8.0.{number}/24 dev eth0"));
            host.ip(&format!("address add fd08::{number}/64 dev eth0 nodad"));
        }
        net
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command in the router's namespace; panics if it fails.
    fn on_router(&self, command: &str) -> String {
        let (well, text) = self.router.sh(command);
        assert!(well, "{command}: {text}");
        text
    }

    /// bfdd, and zebra that tells it of interfaces. `peers` are the lines below `bfd`.
    fn start_frr(&self, peers: &str) {
        std::fs::write(self.path("bfdd.conf"), format!("bfd\n{peers}")).unwrap();
        std::fs::write(self.path("zebra.conf"), "").unwrap();
        // They give up being root, and have to write here still.
        let directory = self.path("");
        self.on_router(&format!("chown -R frr:frr {directory}; chmod 755 {directory}"));
        let common = format!("-d -z {0}/zserv --vty_socket {0}", self.path(""));
        self.on_router(&format!("/usr/lib/frr/zebra {common} -i {0}/zebra.pid -f {0}/zebra.conf", self.path("")));
        let more = format!("--bfdctl {0}/bfdd.sock -i {0}/bfdd.pid -f {0}/bfdd.conf", self.path(""));
        self.on_router(&format!("/usr/lib/frr/bfdd {common} {more}"));
    }

    fn vtysh(&self, commands: &[&str]) -> String {
        let commands: String = commands.iter().map(|command| format!(" -c '{command}'")).collect();
        self.on_router(&format!("vtysh --vty_socket {}{commands}", self.path("")))
    }

    /// What FRR says of the session with one address of ours: a line of `show bfd peer`.
    fn frr(&self, ours: &str, what: &str) -> String {
        let shown = self.vtysh(&["show bfd peers"]);
        let mut lines = shown.lines().skip_while(|line| !line.contains(&format!("peer {ours} "))).skip(1);
        let line = lines.find(|line| line.trim().starts_with(what)).unwrap_or_default();
        line.trim().to_owned()
    }

    fn start_bird(&self, interval: u32) {
        let timing = format!("min rx interval {interval} ms; min tx interval {interval} ms; multiplier 3;");
        let config = format!(
            "router id 192.0.2.2;\nprotocol device {{}}\nprotocol bfd {{ interface \"*\" {{ {timing} }};\n\
             neighbor 10.8.0.1 dev \"eth0\"; neighbor fd08::1 dev \"eth0\"; }}\n"
        );
        std::fs::write(self.path("bird.conf"), config).unwrap();
        self.on_router(&format!("bird -c {0}/bird.conf -s {0}/bird.ctl -P {0}/bird.pid", self.path("")));
    }

    fn birdc(&self, command: &str) -> String {
        self.on_router(&format!("birdc -s {} '{command}'", self.path("bird.ctl")))
    }

    /// The product's driver on the node, watching ways to these routers.
    fn watch(&self, wanted: &[(&str, config::Bfd)]) -> Bfd {
        let wanted = ways(wanted);
        self.node.run(move || {
            let mut bfd = Bfd::default();
            bfd.set(wanted);
            bfd
        })
    }

    /// Drops everything that the node sends or gets, or no longer.
    fn cut(&self, cut: bool) {
        let command = if cut {
            "nft add table inet cut && nft 'add chain inet cut in { type filter hook prerouting priority -300; policy drop; }' \
             && nft 'add chain inet cut out { type filter hook postrouting priority 300; policy drop; }'"
        } else {
            "nft delete table inet cut"
        };
        let (well, text) = self.node.sh(command);
        assert!(well, "{text}");
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.router.sh(&format!("cd {} && kill $(cat bfdd.pid zebra.pid bird.pid)", self.path("")));
    }
}

fn ways(wanted: &[(&str, config::Bfd)]) -> BTreeMap<Way, config::Bfd> {
    wanted.iter().map(|(remote, settings)| (way(remote), *settings)).collect()
}

fn way(remote: &str) -> Way {
    Way { remote: remote.parse::<IpAddr>().unwrap(), source: None, device: None }
}

fn every(millis: u64) -> config::Bfd {
    config::Bfd {
        transmit_interval: Duration::from_millis(millis),
        receive_interval: Duration::from_millis(millis),
        detect_multiplier: 3,
        passive: false,
        distance: Distance::OneHop,
    }
}

fn seen(bfd: &Bfd, remote: &str) -> Seen {
    bfd.seen()[&way(remote)].clone()
}

fn is_up(bfd: &Bfd, remote: &str) -> bool {
    seen(bfd, remote).change.state == State::Up
}

fn frr_peers(millis: u32) -> String {
    let timing = format!("  receive-interval {millis}\n  transmit-interval {millis}\n  detect-multiplier 3\n !\n");
    format!(" peer 10.8.0.1\n{timing} peer fd08::1\n{timing}")
}

/// Polls finely until something is so, and says how long that took from `since`.
fn how_long(since: Instant, what: &str, mut so: impl FnMut() -> bool) -> Duration {
    while !so() {
        assert!(since.elapsed() < Duration::from_secs(10), "it never came about that {what}");
        thread::sleep(Duration::from_micros(500));
    }
    since.elapsed()
}

/// Up in both families at 10, 50 and 300 ms; cut and healed, each side finds out by itself.
fn up_cut_and_up_again(start: impl Fn(&Net, u32), router_is_up: impl Fn(&Net, &str) -> bool) {
    for millis in [10, 50, 300] {
        let net = Net::new();
        start(&net, millis);
        let interval = u64::from(millis);
        let bfd = net.watch(&[(V4, every(interval)), (V6, every(interval))]);
        let both = |net: &Net, up: bool| ["10.8.0.1", "fd08::1"].iter().all(|ours| router_is_up(net, ours) == up);
        eventually("both families are up", || is_up(&bfd, V4) && is_up(&bfd, V6));
        eventually("the router says so too", || both(&net, true));
        thread::sleep(Duration::from_secs(1));
        let breaks = || (seen(&bfd, V4).breaks, seen(&bfd, V6).breaks);
        // On a busy machine the router's daemon, which has no priority, is silent for 30 ms now and then.
        assert!(millis == 10 || breaks() == (0, 0), "{:?}: nothing falls by itself", breaks());
        eventually("all is well before the cut", || is_up(&bfd, V4) && is_up(&bfd, V6));
        let at = Instant::now();
        net.cut(true);
        let cut = at.elapsed();
        let ours = how_long(at, "our side is down", || !is_up(&bfd, V4) && !is_up(&bfd, V6));
        println!("{millis} ms x 3: our side is down {ours:?} after the cut, which itself took {cut:?}");
        assert!(ours < Duration::from_millis(interval * 3) + Duration::from_secs(1), "{ours:?}");
        assert_eq!(seen(&bfd, V4).change.diagnostic, Diagnostic::DetectionTimeExpired);
        eventually("the router's side is down", || both(&net, false));
        net.cut(false);
        eventually("both are up again", || is_up(&bfd, V4) && is_up(&bfd, V6) && both(&net, true));
        assert!(millis == 10 || breaks() == (1, 1), "{:?}", breaks());
        let lateness = bfd.lateness();
        println!("late {:?} at most in 99 of 100, {:?} in all", lateness.at_most(990), lateness.at_most(1000));
    }
}

#[test]
fn frr_and_we_come_up_and_find_out_that_the_way_is_cut() {
    up_cut_and_up_again(
        |net, millis| net.start_frr(&frr_peers(millis)),
        |net, ours| net.frr(ours, "Status:") == "Status: up",
    );
}

#[test]
fn bird_and_we_come_up_and_find_out_that_the_way_is_cut() {
    up_cut_and_up_again(Net::start_bird, |net, ours| {
        let shown = net.birdc("show bfd sessions");
        shown.lines().any(|line| line.starts_with(ours) && line.contains(" Up "))
    });
}

#[test]
fn our_end_and_a_shutdown_of_the_router_are_no_break() {
    let net = Net::new();
    net.start_frr(&frr_peers(50));
    let mut bfd = net.watch(&[(V4, every(50)), (V6, every(50))]);
    eventually("both are up", || is_up(&bfd, V4) && is_up(&bfd, V6));
    let frr_is_up = |ours: &str| net.frr(ours, "Status:") == "Status: up";
    eventually("FRR says so too", || frr_is_up("10.8.0.1") && frr_is_up("fd08::1"));
    net.vtysh(&["configure", "bfd", "peer fd08::1", "shutdown"]);
    eventually("we hear that it is switched off", || seen(&bfd, V6).change.remote_state == State::AdminDown);
    assert!(!is_up(&bfd, V6));
    assert_eq!(seen(&bfd, V6).breaks, 0);
    net.vtysh(&["configure", "bfd", "peer fd08::1", "no shutdown"]);
    eventually("it comes back", || is_up(&bfd, V6));
    bfd.set(ways(&[(V6, every(50))]));
    eventually("FRR takes our end for what it is", || {
        net.frr("10.8.0.1", "Status:") == "Status: down"
            && net.frr("10.8.0.1", "Diagnostics:") == "Diagnostics: neighbor signaled session down"
            && net.frr("10.8.0.1", "Remote diagnostics:") == "Remote diagnostics: administratively down"
    });
    assert_eq!(seen(&bfd, V6).breaks, 0);
    bfd.set(ways(&[(V4, every(50)), (V6, every(50))]));
    eventually("what is wanted again comes back", || is_up(&bfd, V4));
}

#[test]
fn other_timers_are_agreed_on_without_a_flap() {
    let net = Net::new();
    net.start_frr(&frr_peers(50));
    let mut bfd = net.watch(&[(V4, every(300))]);
    eventually("it is up", || is_up(&bfd, V4));
    eventually("FRR knows our timers", || {
        let shown = net.vtysh(&["show bfd peers"]);
        shown.matches("Transmission interval: 300ms").count() == 1
    });
    for millis in [20, 1000, 50] {
        bfd.set(ways(&[(V4, every(millis))]));
        let told = format!("Transmission interval: {millis}ms");
        eventually("FRR knows the new ones", || {
            let shown = net.vtysh(&["show bfd peers"]);
            let ours = shown.split("peer 10.8.0.1 ").nth(1).and_then(|rest| rest.split("peer ").next()).unwrap();
            ours.split("Remote timers:").nth(1).unwrap().contains(&told)
        });
        thread::sleep(300 * MS);
        assert!(is_up(&bfd, V4));
    }
    assert_eq!(seen(&bfd, V4).breaks, 0);
    let counters = bfd.counters()[&way(V4)];
    assert_eq!((counters.up, counters.down, counters.discarded), (1, 0, 0));
}

#[test]
fn a_router_behind_another_is_watched_over_several_hops() {
    let (net, middle) = (Net::new(), Host::new());
    net.node.join("eth1", &middle, "eth0");
    net.router.join("eth1", &middle, "eth1");
    net.node.ip("address add 10.8.1.1/24 dev eth1");
    middle.ip("address add 10.8.1.254/24 dev eth0");
    middle.ip("address add 10.8.2.254/24 dev eth1");
    net.router.ip("address add 10.8.2.2/24 dev eth1");
    net.node.ip("route add 10.8.2.0/24 via 10.8.1.254");
    net.router.ip("route add 10.8.1.0/24 via 10.8.2.254");
    assert!(middle.sh("sysctl -qw net.ipv4.ip_forward=1").0);
    net.start_frr(
        " peer 10.8.1.1 multihop local-address 10.8.2.2\n  receive-interval 50\n  transmit-interval 50\n !\n",
    );
    let far = |distance| ("10.8.2.2", config::Bfd { distance, ..every(50) });
    let mut bfd = net.watch(&[far(Distance::Several(255))]);
    thread::sleep(Duration::from_secs(2));
    assert!(!is_up(&bfd, "10.8.2.2"), "what comes through a router has no TTL of 255 any more");
    assert!(bfd.counters()[&way("10.8.2.2")].discarded > 0);
    bfd.set(ways(&[far(Distance::Several(254))]));
    eventually("it is up", || is_up(&bfd, "10.8.2.2"));
    drop(bfd);
    eventually("FRR is told that we go", || net.frr("10.8.1.1", "Status:") == "Status: down");
    let bfd = net.watch(&[far(Distance::AsRouted(1))]);
    eventually("the route tells that it is far", || is_up(&bfd, "10.8.2.2"));
    assert_eq!(seen(&bfd, "10.8.2.2").breaks, 0);
}

#[test]
fn a_port_that_is_taken_is_named_and_taken_up_when_it_is_free() {
    let net = Net::new();
    net.start_frr(&frr_peers(50));
    let squatter = net.node.run(|| std::net::UdpSocket::bind(("0.0.0.0", 3784)).unwrap());
    let bfd = net.watch(&[(V4, every(50))]);
    eventually("it says why", || {
        seen(&bfd, V4).hindrance.is_some_and(|why| why.starts_with("UDP port 3784 cannot be had: "))
    });
    drop(squatter);
    eventually("it is up", || is_up(&bfd, V4));
    assert_eq!(seen(&bfd, V4).hindrance, None);
}
