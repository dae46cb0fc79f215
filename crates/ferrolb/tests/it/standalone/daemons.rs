//! Routers of five makers as Debian 12 has them: each in a namespace of its own on the site's switch, in the foreground, with
//! its sockets and files in a directory of the site.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use serde_json::Value;

use super::{Process, Site, plug};
use crate::hosts::{Host, eventually};

/// The AS of a node; a router's is 64500 and its number.
pub(super) const NODE_ASN: u32 = 64512;
/// The password of every session with a router.
pub(super) const PASSWORD: &str = "rosebud";

/// Who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    Bird,
    Frr,
    GoBgp,
    OpenBgpd,
    ExaBgp,
}

use Maker::{Bird, ExaBgp, Frr, GoBgp, OpenBgpd};

impl Maker {
    pub(super) const ALL: [Self; 5] = [Bird, Frr, GoBgp, OpenBgpd, ExaBgp];

    /// Its host's number on the switch.
    pub(super) const fn number(self) -> u8 {
        match self {
            Bird => 60,
            Frr => 61,
            GoBgp => 62,
            OpenBgpd => 63,
            ExaBgp => 64,
        }
    }

    /// Its AS.
    pub(super) fn asn(self) -> u32 {
        64500 + u32::from(self.number())
    }

    /// The name of the peer that it is over IPv4, of another AS, or over IPv6, of its own.
    pub(super) fn peer(self, internal: bool) -> String {
        format!("{self:?}-{}", if internal { "in" } else { "out" }).to_lowercase()
    }

    /// What it says about a route of ours besides the next hop: path or local preference, and communities. ExaBGP logs
    /// none of them.
    pub(super) fn words(self, internal: bool) -> &'static [&'static str] {
        match (self, internal) {
            (Bird, true) => &["BGP.as_path: \n", "BGP.local_pref: 150", "(64512,7)", "(64512, 1, 2)"],
            (Bird, false) => &["BGP.as_path: 64512\n", "BGP.local_pref: 100", "(64512,7)", "(64512, 1, 2)"],
            (Frr, true) => &["  Local\n", "localpref 150", "Community: 64512:7", "Large Community: 64512:1:2"],
            (Frr, false) => &["  64512\n", "external", "Community: 64512:7", "Large Community: 64512:1:2"],
            (GoBgp, true) => &["\"as_paths\":[]", "{\"type\":5,\"value\":150}", "[4227858439]", "\"LocalData2\":2"],
            (GoBgp, false) => &["\"asns\":[64512]", "[4227858439]", "\"LocalData1\":1,\"LocalData2\":2"],
            (OpenBgpd, true) => &["localpref 150", "internal", "Communities: 64512:7", "Communities: 64512:1:2"],
            (OpenBgpd, false) => &["\n    64512\n", "external", "Communities: 64512:7", "Communities: 64512:1:2"],
            (ExaBgp, _) => &["next-hop"],
        }
    }
}

/// A router, ended when dropped.
pub(super) struct Daemon {
    pub(super) maker: Maker,
    host: Host,
    directory: PathBuf,
    running: Vec<Child>,
}

impl Daemon {
    /// A router with a session over IPv4 with the site's first host, of another AS, and one over IPv6, of its own AS; both
    /// with a password, both for both families. It waits to be called.
    pub(super) fn start(site: &Site, maker: Maker) -> Self {
        let host = site.plug(maker.number());
        host.ip(&format!("addr add fd07::{}/64 dev eth0 nodad", maker.number()));
        let directory = site.files.path().join(format!("{maker:?}").to_lowercase());
        fs::create_dir(&directory).unwrap();
        // FRR's daemons give up being root and have to write in it, ExaBGP's has to read in it.
        for directory in [site.files.path(), &directory] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut daemon = Self { maker, host, directory, running: Vec::new() };
        match maker {
            Bird => daemon.start_bird(),
            Frr => daemon.start_frr(),
            GoBgp => daemon.start_gobgp(),
            OpenBgpd => daemon.start_openbgpd(),
            ExaBgp => daemon.start_exabgp(),
        }
        daemon
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        super::private(&self.directory.join(name), text);
    }

    fn run(&mut self, command: &str) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut words = command.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        command.env("exabgp.tcp.bind", format!("192.168.1.{0} fd07::{0}", self.maker.number()));
        for (name, value) in [("cli", "false"), ("api.cli", "false"), ("log.routes", "true"), ("log.level", "DEBUG")] {
            command.env(format!("exabgp.{name}"), value);
        }
        self.running.push(self.host.run(move || command.spawn().unwrap()));
    }

    fn start_bird(&mut self) {
        let config = format!(
            "router id 192.168.1.60;\nprotocol device {{}}\nprotocol direct {{ ipv4; ipv6; }}\n\
             template bgp node {{ passive; password \"{PASSWORD}\"; error wait time 1, 2;\n\
             ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }}; }}\n\
             protocol bgp outer from node {{ local 192.168.1.60 as 64560; neighbor 192.168.1.11 as {NODE_ASN}; }}\n\
             protocol bgp inner from node {{ local fd07::60 as 64560; neighbor fd07::11 as 64560; }}\n"
        );
        self.write("conf", &config);
        self.run(&format!("bird -f -c {0} -s {1} -P {2}", self.path("conf"), self.path("ctl"), self.path("pid")));
    }

    fn start_frr(&mut self) {
        let config = format!(
            "router bgp 64561\n bgp router-id 192.168.1.61\n no bgp ebgp-requires-policy\n\
             neighbor 192.168.1.11 remote-as {NODE_ASN}\n neighbor fd07::11 remote-as 64561\n\
             neighbor 192.168.1.11 passive\n neighbor fd07::11 passive\n\
             neighbor 192.168.1.11 password {PASSWORD}\n neighbor fd07::11 password {PASSWORD}\n\
             address-family ipv4 unicast\n neighbor fd07::11 activate\n exit-address-family\n\
             address-family ipv6 unicast\n neighbor 192.168.1.11 activate\n neighbor fd07::11 activate\n"
        );
        self.write("bgpd.conf", &config);
        self.write("zebra.conf", "");
        let (well, text) = self.host.sh(&format!("chown -R frr:frr {}", self.path("")));
        assert!(well, "{text}");
        let own = self.path("");
        for daemon in ["zebra", "bgpd"] {
            let files = format!("-z {own}zserv --vty_socket {own} -i {own}{daemon}.pid -f {own}{daemon}.conf");
            self.run(&format!("/usr/lib/frr/{daemon} -P 0 {files}"));
            eventually("FRR's daemon runs", || self.directory.join(format!("{daemon}.vty")).exists());
        }
    }

    fn start_gobgp(&mut self) {
        let family = |name: &str| {
            format!(
                "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{name}-unicast\"\n\
                 [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n"
            )
        };
        let neighbor = |address: &str, asn: u32| {
            format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {asn}\n\
                 auth-password = \"{PASSWORD}\"\n[neighbors.transport.config]\npassive-mode = true\n\
                 [neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 20\n{}{}",
                family("ipv4"),
                family("ipv6")
            )
        };
        let global = "[global.config]\nas = 64562\nrouter-id = \"192.168.1.62\"\n";
        let neighbors = neighbor("192.168.1.11", NODE_ASN) + &neighbor("fd07::11", 64562);
        self.write("conf", &format!("{global}{neighbors}"));
        self.run(&format!("gobgpd -f {} -t toml --api-hosts 127.0.0.1:50051 --pprof-disable", self.path("conf")));
    }

    fn start_openbgpd(&mut self) {
        let neighbor = |address: &str, asn: u32| {
            format!(
                "neighbor {address} {{\nremote-as {asn}\npassive\ntcp md5sig password \"{PASSWORD}\"\n\
                 announce IPv4 unicast\nannounce IPv6 unicast\n}}\n"
            )
        };
        let config = format!(
            "socket \"{}\"\nAS 64563\nrouter-id 192.168.1.63\nfib-update no\nlisten on 192.168.1.63\nlisten on fd07::63\n\
             {}{}allow from any\n",
            self.path("ctl"),
            neighbor("192.168.1.11", NODE_ASN),
            neighbor("fd07::11", 64563)
        );
        self.write("conf", &config);
        // Where its parts lock themselves up.
        fs::create_dir_all("/run/openbgpd").unwrap();
        self.run(&format!("/usr/sbin/bgpd -d -f {}", self.path("conf")));
    }

    fn start_exabgp(&mut self) {
        let neighbor = |ours: &str, address: &str, asn: u32| {
            format!(
                "neighbor {address} {{ router-id 192.168.1.64; local-address {ours}; local-as 64564; peer-as {asn};\n\
                 passive true; listen 179; md5-password '{PASSWORD}'; family {{ ipv4 unicast; ipv6 unicast; }} }}\n"
            )
        };
        let both = neighbor("192.168.1.64", "192.168.1.11", NODE_ASN) + &neighbor("fd07::64", "fd07::11", 64564);
        fs::write(self.path("conf"), both).unwrap();
        self.run(&format!("exabgp {}", self.path("conf")));
    }

    /// What the router says about a prefix; of ExaBGP, which keeps none, what it has logged about it.
    pub(super) fn show(&self, prefix: &str) -> String {
        let v6 = prefix.contains(':');
        let command = match self.maker {
            Bird => format!("birdc -s {} 'show route {prefix} all'", self.path("ctl")),
            Frr => {
                let family = if v6 { "ipv6" } else { "ipv4" };
                format!("vtysh --vty_socket {} -c 'show bgp {family} unicast {prefix}'", self.path(""))
            }
            GoBgp => format!("gobgp -j -p 50051 global rib {}", if v6 { "-a ipv6" } else { "" }),
            OpenBgpd => format!("bgpctl -s {} show rib detail {prefix}", self.path("ctl")),
            ExaBgp => format!("grep -E 'UPDATE #.* nlri .* {prefix}' {}", self.path("log")),
        };
        self.host.sh(&command).1
    }

    /// Whether it has this prefix over both sessions, or has it no more.
    pub(super) fn has(&self, prefix: &str) -> bool {
        let text = self.show(prefix);
        let routes = match self.maker {
            Bird => text.matches("BGP.origin").count(),
            Frr => text.matches("Origin IGP").count(),
            GoBgp => text.matches(&format!("\"nlri\":{{\"prefix\":\"{prefix}\"}}")).count(),
            OpenBgpd => text.matches(&format!("entry for {prefix}")).count(),
            ExaBgp => announced_last(&text),
        };
        routes == 2
    }

    /// Whether it was told that the prefix is no more, over both sessions.
    pub(super) fn has_lost(&self, prefix: &str) -> bool {
        match self.maker {
            ExaBgp => announced_last(&self.show(prefix)) == 0,
            _ => !self.show(prefix).contains(prefix),
        }
    }

    /// Whether it sees no session with us any more.
    pub(super) fn is_left(&self) -> bool {
        let (ask, established) = match self.maker {
            Bird => (format!("birdc -s {} show protocols", self.path("ctl")), "Established"),
            Frr => (format!("vtysh --vty_socket {} -c 'show bgp neighbors'", self.path("")), "BGP state = Established"),
            GoBgp => ("gobgp -p 50051 neighbor".to_owned(), "Establ"),
            OpenBgpd => (format!("bgpctl -s {} show neighbor", self.path("ctl")), "state = Established"),
            ExaBgp => ("ss -Htn state established sport = 179".to_owned(), ":179"),
        };
        let (well, text) = self.host.sh(&ask);
        well && !text.contains(established)
    }
}

/// On how many sessions ExaBGP's last line about a prefix is an announcement. Lines have time, process, session, message.
fn announced_last(log: &str) -> usize {
    let last: BTreeMap<&str, &str> = log.lines().filter_map(|line| Some((line.split('|').nth(2)?, line))).collect();
    last.into_values().filter(|line| line.contains("next-hop")).count()
}

impl Site {
    /// One more host on the switch.
    pub(super) fn plug(&self, number: u8) -> Host {
        plug(&self.switch, number)
    }
}

impl Process {
    /// The row of the router with this name.
    pub(super) fn router_named(&self, name: &str) -> Value {
        let state = self.state();
        let routers = state["routers"].as_array().unwrap();
        routers.iter().find(|router| router["name"] == name).cloned().unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
        }
        for child in &mut self.running {
            let _ = child.wait();
        }
    }
}
