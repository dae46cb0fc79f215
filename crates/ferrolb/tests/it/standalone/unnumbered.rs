//! BGP of `ferrolb standalone` over an interface without addresses, with FRR at the other end: each learns the other's
//! link-local address from router advertisements, and IPv4 routes have IPv6 next hops (RFC 8950).

use std::fs;
use std::time::{Duration, Instant};

use super::Site;
use super::bfd::POOL;
use super::bgp::PEER;
use crate::hosts::{Host, eventually};

/// FRR at the other end of the host's `eth1`, with a kernel to program; its daemons are killed by their numbers.
struct Far<'a> {
    site: &'a Site,
    host: Host,
}

impl<'a> Far<'a> {
    fn plug(site: &'a Site) -> Self {
        let far = Self { site, host: Host::new() };
        site.hosts[0].join("eth1", &far.host, "eth0");
        fs::create_dir(far.path("")).unwrap();
        far
    }

    fn start(&self) {
        let bgp = "router bgp 64513\n bgp router-id 192.0.2.2\n no bgp ebgp-requires-policy\n\
            neighbor eth0 interface remote-as 64512\n neighbor eth0 timers 3 9\n\
            neighbor eth0 bfd\n neighbor eth0 bfd profile fast\n\
            address-family ipv6 unicast\n neighbor eth0 activate\n exit-address-family\n";
        let bfd = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n";
        for (daemon, config) in [("zebra", ""), ("bfdd", bfd), ("bgpd", bgp)] {
            fs::write(self.path(&format!("{daemon}.conf")), config).unwrap();
        }
        let own = self.path("");
        self.sh(&format!("chown -R frr:frr {own} && chmod 755 {own} {own}/.."));
        let ctl = format!("--bfdctl {own}bfdd.sock");
        for (daemon, more) in [("zebra", ""), ("bfdd", ctl.as_str()), ("bgpd", "-P 0")] {
            let files = format!("-z {own}zserv --vty_socket {own} -i {own}{daemon}.pid -f {own}{daemon}.conf");
            self.sh(&format!("/usr/lib/frr/{daemon} -d {files} {more}"));
        }
    }

    /// Ends the daemons, and waits until they are gone: who comes next takes over their files.
    fn stop(&self) {
        let gone =
            "for pid in $all; do for _ in $(seq 100); do kill -0 $pid 2>/dev/null || break; sleep 0.05; done; done";
        let _ = self
            .host
            .sh(&format!("cd {} && all=$(cat bgpd.pid bfdd.pid zebra.pid) && kill $all; {gone}", self.path("")));
    }

    fn path(&self, name: &str) -> String {
        self.site.files.path().join("far").join(name).to_str().unwrap().to_owned()
    }

    fn sh(&self, command: &str) -> String {
        let (well, text) = self.host.sh(command);
        assert!(well, "{command}: {text}");
        text
    }

    fn kernel_has(&self, words: &[&str]) -> bool {
        let text = self.sh("ip route && ip -6 route");
        text.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

impl Drop for Far<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn link_local(host: &Host, device: &str) -> String {
    let (_, text) = host.sh(&format!("ip -6 -o address show dev {device} scope link"));
    text.split_whitespace().find_map(|word| word.strip_suffix("/64")).unwrap().to_owned()
}

#[test]
fn a_router_is_found_at_the_other_end_of_an_interface_and_takes_routes_of_both_families() {
    let site = Site::new(1);
    site.write("pool.yaml", &POOL.replace("[203.0.113.0/24]", "[203.0.113.0/24, 'fd00:203::/120']"));
    let both = "ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]";
    let spec = format!("spec: {{type: LoadBalancer, {both}, ports: [{{port: 80}}]}}");
    site.write("web.yaml", &format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n{spec}\n"));
    let spec = "{myASN: 64512, peerASN: 64513, interface: eth1, connectTime: 1s, holdTime: 9s, bfdProfile: fast}";
    site.write("peer.yaml", &format!("{PEER}spec: {spec}\n"));
    let process = site.start(0);
    let finding = process.await_finding("LB1301");
    assert!(finding["message"].as_str().unwrap().contains("interface eth1: "), "there is none yet: {finding}");
    let far = Far::plug(&site);
    eventually("nobody is heard there", || {
        process.router()["last_error"].as_str().is_some_and(|error| error.contains("no router is heard"))
    });
    far.start();
    process.await_announced("web");
    let (ours, theirs) = (link_local(&site.hosts[0], "eth1"), link_local(&far.host, "eth0"));
    for prefix in ["203.0.113.0", "fd00:203::1"] {
        eventually(&format!("FRR's kernel sends {prefix} to us"), || far.kernel_has(&[prefix, &ours, "dev eth0"]));
    }
    assert_eq!(process.router()["address"], theirs.as_str());
    assert!(!far.kernel_has(&["default"]), "we are nobody's default router");
    eventually("nothing is left to be said", || process.finding("LB1301").is_none());
    eventually("BFD watches over the link", || process.router()["bfd"] == "Up");
    let cut = "nft add table inet cut && nft 'add chain inet cut in { type filter hook prerouting priority -300; policy drop; }' \
        && nft 'add chain inet cut out { type filter hook postrouting priority 300; policy drop; }'";
    assert!(site.hosts[0].sh(cut).0);
    let cut_at = Instant::now();
    eventually("BFD ends the session", || process.router()["established"] == false);
    assert!(cut_at.elapsed() < Duration::from_secs(3), "{:?}, and the hold time is 9 s", cut_at.elapsed());
    assert!(site.log(0).contains("bfdDown"), "{}", site.log(0));
    assert!(site.hosts[0].sh("nft delete table inet cut").0);
    eventually("and both come back", || process.router()["established"] == true && process.router()["bfd"] == "Up");
    far.stop();
    eventually("the session is over", || process.router()["established"] == false);
    far.start();
    eventually("it comes back by itself", || process.router()["established"] == true);
    eventually("and so do the routes", || far.kernel_has(&["203.0.113.0", &ours]));
    // The same router, found by the default route that leads to it.
    site.hosts[0].ip(&format!("-6 route replace default via {theirs} dev eth1"));
    let spec = "{myASN: 64512, peerASN: 64513, peerAddressFrom: {defaultGateway: IPv6}, connectTime: 1s, holdTime: 9s, \
        dualStackAddressFamily: true, bfdProfile: fast}";
    site.write("peer.yaml", &format!("{PEER}spec: {spec}\n"));
    eventually("the session is a new one", || site.log(0).contains("sessionReset"));
    eventually("the router is there", || process.router()["established"] == true && process.router()["bfd"] == "Up");
    eventually("and has the routes", || {
        far.kernel_has(&["203.0.113.0", &ours]) && far.kernel_has(&["fd00:203::1", &ours])
    });
    assert!(!site.log(0).contains("malformed"), "{}", site.log(0));
}
