//! A node and a router on a switch, a client behind the router, and the programs that run there.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::hosts::{Host, eventually};
use crate::switch;

pub(crate) const NODE: &str = "192.168.1.11";
pub(crate) const ROUTER: &str = "192.168.1.50";
/// The address of the first Service.
pub(crate) const ADDRESS: &str = "203.0.113.0";

/// The hosts, and a directory for the files of all.
pub(crate) struct Lab {
    pub(crate) node: Host,
    pub(crate) router: Host,
    pub(crate) client: Host,
    pub(crate) switch: Host,
    pub(crate) files: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let switch = switch::switch();
        let (node, router, client) = (plug(&switch, NODE), plug(&switch, ROUTER), Host::new());
        router.join("eth1", &client, "eth0");
        router.ip("addr add 10.9.0.1/24 dev eth1");
        client.ip("addr add 10.9.0.2/24 dev eth0");
        client.ip("route add default via 10.9.0.1");
        node.ip("route add 10.9.0.0/24 via 192.168.1.50");
        node.ip(&format!("addr add {ADDRESS}/32 dev lo"));
        assert!(router.sh("sysctl -qw net.ipv4.ip_forward=1").0);
        let files = tempfile::tempdir().unwrap();
        // FRR's daemons give up being root and have to write in it.
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(files.path().join("manifests")).unwrap();
        Self { node, router, client, switch, files }
    }

    /// One more host on the switch.
    pub(crate) fn plug(&self, address: &str) -> Host {
        plug(&self.switch, address)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.files.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a manifest whole or not at all.
    pub(crate) fn manifest(&self, name: &str, text: &str) {
        fs::write(self.path("new"), text).unwrap();
        fs::rename(self.path("new"), self.path(&format!("manifests/{name}"))).unwrap();
    }

    /// Everything but Services, with these peers.
    pub(crate) fn configure(&self, pool: &str, peers: &str) {
        self.manifest(
            "base.yaml",
            &format!(
                "apiVersion: v1\nkind: Node\nmetadata: {{name: a}}\n\
                 status: {{addresses: [{{type: InternalIP, address: {NODE}}}]}}\n---\n\
                 apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: pool, namespace: metallb-system}}\n\
                 spec: {{addresses: [{pool}]}}\n---\n\
                 apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {{name: all, namespace: metallb-system}}\n---\n\
                 apiVersion: metallb.io/v1beta1\nkind: BFDProfile\nmetadata: {{name: fast, namespace: metallb-system}}\n\
                 spec: {{receiveInterval: 50, transmitInterval: 50}}\n{peers}"
            ),
        );
    }

    /// The program on the node.
    pub(crate) fn start_ferrolb(&self) -> Program {
        let program = std::env::var("FERROLB_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ferrolb").to_owned());
        let mut command = Command::new(program);
        command.args(["standalone", "--node-name", "a", "--manifests"]).arg(self.path("manifests"));
        command.arg("--state-dir").arg(self.path("state")).arg("--socket").arg(self.path("socket"));
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Program(self.node.run(move || command.spawn().unwrap()))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Routers' daemons, in a directory of their own on this host.
    pub(crate) fn start_frr(&self, host: &Host, name: &str, bgp: &str) -> Frr {
        let directory = format!("{}/", self.path(name));
        fs::create_dir_all(&directory).unwrap();
        let bfd = "bfd\n profile fast\n  receive-interval 50\n  transmit-interval 50\n";
        for (daemon, config) in [("zebra", ""), ("bfdd", bfd), ("bgpd", bgp)] {
            fs::write(format!("{directory}{daemon}.conf"), config).unwrap();
        }
        assert!(host.sh(&format!("chown -R frr:frr {directory}")).0);
        let start = |(daemon, more): (&str, String)| {
            let files = format!(
                "-z {directory}zserv --vty_socket {directory} -i {directory}{daemon}.pid -f {directory}{daemon}.conf {more}"
            );
            let mut command = Command::new(format!("/usr/lib/frr/{daemon}"));
            command.args(files.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = host.run(move || command.spawn().unwrap());
            let vty = format!("{directory}{daemon}.vty");
            eventually("FRR's daemon runs", || fs::exists(&vty).unwrap());
            Program(child)
        };
        let daemons =
            [("zebra", String::new()), ("bfdd", format!("--bfdctl {directory}bfdd.sock")), ("bgpd", "-P 0".to_owned())];
        Frr { daemons: daemons.map(start).into(), directory }
    }

    /// BIRD on this host.
    pub(crate) fn start_bird(&self, host: &Host, name: &str, config: &str) -> Bird {
        let (file, control) = (self.path(&format!("{name}.conf")), self.path(&format!("{name}.ctl")));
        fs::write(&file, config).unwrap();
        let mut command = Command::new("bird");
        command.args(["-f", "-c", &file, "-s", &control, "-P", &self.path(&format!("{name}.pid"))]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = Program(host.run(move || command.spawn().unwrap()));
        eventually("BIRD listens", || UnixStream::connect(&control).is_ok());
        let mut bird = Bird { control: UnixStream::connect(&control).unwrap(), _program: program };
        bird.read();
        bird
    }
}

fn plug(switch: &Host, address: &str) -> Host {
    let number = address.strip_prefix("192.168.1.").unwrap().parse().unwrap();
    switch::plug(switch, number)
}

/// A BGPPeer of the node's.
pub(crate) fn peer(name: &str, address: &str, more: &str) -> String {
    format!(
        "---\napiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: {name}, namespace: metallb-system}}\n\
         spec: {{myASN: 64512, peerASN: 64513, peerAddress: {address}, connectTime: 1s{more}}}\n"
    )
}

/// These Services, one document each.
pub(crate) fn services(numbers: std::ops::Range<u32>) -> String {
    let one = |number| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number:05}}}\n\
             spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n"
        )
    };
    numbers.map(one).collect()
}

/// A program that runs; killed when dropped.
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn end(&mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
        self.0.wait().unwrap();
    }

    /// What it has in memory, in MB.
    pub(crate) fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// FRR: zebra, bfdd and bgpd.
pub(crate) struct Frr {
    pub(crate) daemons: Vec<Program>,
    directory: String,
}

impl Frr {
    pub(crate) fn vtysh(&self, command: &str) -> String {
        let output = Command::new("vtysh").args(["--vty_socket", &self.directory, "-c", command]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// BIRD, and a connection to it that asks quickly.
pub(crate) struct Bird {
    control: UnixStream,
    _program: Program,
}

impl Bird {
    /// Reads one answer: its last line has a space behind the number.
    fn read(&mut self) -> String {
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        loop {
            let count = self.control.read(&mut bytes).unwrap();
            assert!(count > 0, "BIRD is gone");
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            let last = text.lines().last().unwrap_or_default();
            if text.ends_with('\n') && last.as_bytes().get(4) == Some(&b' ') && !last.starts_with(' ') {
                return text;
            }
        }
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.control.write_all(format!("{command}\n").as_bytes()).unwrap();
        self.read()
    }

    /// How many routes it has.
    pub(crate) fn count(&mut self) -> u32 {
        let text = self.ask("show route table master4 protocol node count");
        let mut words = text.split_whitespace();
        let number = words.find(|word| word.contains("0014") || word.starts_with("1007")).unwrap_or_default();
        let number = number.split('-').next_back().unwrap_or_default();
        number.parse().ok().or_else(|| words.next()?.parse().ok()).unwrap_or_default()
    }
}

/// Changes of a host's routes, as they come.
pub(crate) struct Monitor {
    program: Child,
    lines: mpsc::Receiver<(Instant, String)>,
}

impl Monitor {
    pub(crate) fn start(host: &Host) -> Self {
        let mut command = Command::new("ip");
        command.args(["monitor", "route"]).stdout(Stdio::piped()).stdin(Stdio::null());
        let mut program = host.run(move || command.spawn().unwrap());
        let (tell, lines) = mpsc::channel();
        let output = program.stdout.take().unwrap();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.map(|line| tell.send((Instant::now(), line))).take_while(Result::is_ok).for_each(drop);
        });
        // Until it listens, nothing is to be missed.
        thread::sleep(Duration::from_millis(300));
        Self { program, lines }
    }

    /// When a line with these words comes.
    pub(crate) fn await_line(&self, words: &[&str]) -> Instant {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let (at, line) = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no change with {words:?}"));
            if words.iter().all(|word| line.contains(word)) {
                return at;
            }
        }
    }

    pub(crate) fn forget(&self) {
        while self.lines.try_recv().is_ok() {}
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
