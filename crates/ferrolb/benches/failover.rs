//! How long an address is away when the node that has it is unplugged, next to keepalived in the same run, as a prober on
//! the LAN sees it that sends a datagram every millisecond (metric A1); and what a neighbour sees when the program alone
//! is killed or told to stop while its node lives (A3).
//!
//! Hosts on one switch. Every node has the address on `lo` and answers no ARP for it by itself, as under kube-proxy: which
//! node gets the traffic is decided by ARP alone. FerroLB runs as `standalone`, keepalived with VRRP version 3 and
//! advertisements every 100 ms. Figures are printed with the load, nothing is asserted but that the address comes back:
//! `FERROLB_TRIES` says how often (30), `FERROLB_NODES` with how many nodes (3).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

#[path = "../tests/it/hosts.rs"]
mod hosts;
#[path = "../tests/it/switch.rs"]
mod switch;

use hosts::{Host, eventually};
use switch::{plug, switch};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 200);
/// Between two datagrams of the prober.
const INTERVAL: Duration = Duration::from_millis(1);
/// After a plug is back in, until the next one is pulled: everybody is met again.
const SETTLE: Duration = Duration::from_secs(3);

fn main() {
    // `cargo test --benches` calls this, too: the short form proves that it still works.
    let short = !std::env::args().any(|argument| argument == "--bench");
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (tries, nodes) = if short { (1, 3) } else { (number("FERROLB_TRIES", 30), number("FERROLB_NODES", 3)) };
    println!("{nodes} nodes, {tries} tries each; ms without an answer, as a prober every millisecond sees it");
    println!("{:<34} {:>7} {:>7} {:>7} {:>7}", "", "min", "median", "p95", "max");
    let programs: &[(&str, Kind)] = &[
        ("ferrolb --failover default", Kind::Ferrolb("default")),
        ("ferrolb --failover fast", Kind::Ferrolb("fast")),
        ("keepalived, advert_int 0.1", Kind::Keepalived),
    ];
    let programs = if short { &programs[..1] } else { programs };
    for (name, kind) in programs {
        if matches!(kind, Kind::Keepalived) && Command::new("keepalived").arg("--version").output().is_err() {
            println!("{name}: not installed (apt-get install keepalived), so there is nothing to compare with");
            continue;
        }
        let mut site = Site::new(nodes, *kind);
        print(&format!("{name}: node unplugged"), (0..tries).map(|_| site.unplug()).collect());
        for signal in [Signal::SIGKILL, Signal::SIGTERM].into_iter().filter(|_| !short) {
            let name = format!("{name}: {}", signal.as_str());
            print(&name, (0..tries.div_ceil(3)).map(|_| site.end_program(signal)).collect());
        }
    }
    println!("load average: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
}

fn print(name: &str, mut outages: Vec<Duration>) {
    outages.sort();
    let at = |share: usize| outages[(outages.len() * share / 100).min(outages.len() - 1)].as_millis();
    println!("{name:<44} {:>5} {:>7} {:>7} {:>7}", at(0), at(50), at(95), at(100));
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ferrolb(&'static str),
    Keepalived,
}

/// Nodes and a client on one switch.
struct Site {
    kind: Kind,
    nodes: Vec<Host>,
    programs: Vec<Child>,
    client: Host,
    switch: Host,
    files: TempDir,
}

impl Site {
    fn new(size: u8, kind: Kind) -> Self {
        let switch = switch();
        let nodes: Vec<Host> = (0..size).map(|index| plug(&switch, 1 + index)).collect();
        for node in &nodes {
            let (well, text) = node.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2");
            assert!(well, "{text}");
            node.ip(&format!("addr add {ADDRESS}/32 dev lo"));
        }
        let mut site = Self {
            kind,
            nodes,
            programs: Vec::new(),
            client: plug(&switch, 240),
            switch,
            files: tempfile::tempdir().unwrap(),
        };
        site.write_files();
        site.programs = (0..site.nodes.len()).map(|index| site.start(index)).collect();
        site.await_owner();
        site
    }

    fn write_files(&self) {
        let path = |name: &str| self.files.path().join(name);
        fs::create_dir(path("manifests")).unwrap();
        let node = |index: usize| {
            format!(
                "---\napiVersion: v1\nkind: Node\nmetadata: {{name: node-{index:02}}}\n\
                 status: {{addresses: [{{type: InternalIP, address: 192.168.1.{}}}]}}\n",
                index + 1
            )
        };
        let objects = format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: pool, namespace: metallb-system}}\n\
             spec: {{addresses: [{ADDRESS}/32]}}\n---\napiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n\
             metadata: {{name: all, namespace: metallb-system}}\n---\napiVersion: v1\nkind: Service\n\
             metadata: {{name: web}}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n"
        );
        let nodes: String = (0..self.nodes.len()).map(node).collect();
        fs::write(path("manifests/all.yaml"), objects + &nodes).unwrap();
        fs::write(path("secret"), "a secret that all of them share").unwrap();
        fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Starts a node's program.
    fn start(&self, index: usize) -> Child {
        let own = self.files.path().join(index.to_string());
        fs::create_dir_all(&own).unwrap();
        let mut command = match self.kind {
            Kind::Ferrolb(profile) => self.ferrolb(index, &own, profile),
            Kind::Keepalived => keepalived(index, &own),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(own.join("log")).unwrap());
        self.nodes[index].run(move || command.spawn().unwrap())
    }

    fn ferrolb(&self, index: usize, own: &Path, profile: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrolb"));
        command.args(["standalone", "--failover", profile, "--node-name", &format!("node-{index:02}")]);
        command.arg("--manifests").arg(self.files.path().join("manifests")).arg("--state-dir").arg(own.join("state"));
        command.arg("--socket").arg(own.join("socket")).arg("--secret-file").arg(self.files.path().join("secret"));
        command
    }

    /// The node that the client's kernel sends the address's packets to, by its MAC address.
    fn owner(&self) -> Option<usize> {
        let (_, entry) = self.client.sh(&format!("ip neigh show {ADDRESS} dev eth0"));
        self.nodes.iter().position(|node| {
            let (_, link) = node.sh("ip -o link show dev eth0");
            let mac = link.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a MAC address");
            entry.contains(mac)
        })
    }

    fn await_owner(&self) -> usize {
        eventually("somebody answers for the address", || {
            // Without an entry, so that the answer is a new one.
            self.client.sh(&format!("ip neigh flush to {ADDRESS} dev eth0"));
            self.client.run(answers)
        });
        self.owner().expect("the one that answered")
    }

    /// Pulls the plug of the node that has the address, waits until the address is answered again, and plugs it in again.
    fn unplug(&mut self) -> Duration {
        let owner = self.await_owner();
        let port = format!("p{}", owner + 1);
        let outage = self.outage(|| self.switch.ip(&format!("link set {port} down")));
        self.switch.ip(&format!("link set {port} up"));
        sleep(SETTLE);
        outage
    }

    /// Ends the program of the node that has the address; the node lives. What a neighbour loses whose entry is warm.
    fn end_program(&mut self, signal: Signal) -> Duration {
        let owner = self.await_owner();
        let pid = Pid::from_raw(i32::try_from(self.programs[owner].id()).unwrap());
        let outage = self.outage(|| kill(pid, signal).unwrap());
        self.programs[owner].wait().unwrap();
        self.programs[owner] = self.start(owner);
        sleep(SETTLE);
        outage
    }

    /// The longest time without an answer while something happens, and for three seconds more.
    fn outage(&self, happens: impl FnOnce()) -> Duration {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let prober = self.client.start(move || probe(&stopped));
        sleep(Duration::from_millis(300));
        happens();
        sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
        prober.recv().expect("the prober panicked")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for program in &mut self.programs {
            // SIGTERM, because keepalived has children that it ends itself.
            let _ = kill(Pid::from_raw(i32::try_from(program.id()).unwrap()), Signal::SIGTERM);
            let _ = program.wait();
        }
    }
}

fn keepalived(index: usize, own: &Path) -> Command {
    let configuration = format!(
        "global_defs {{\n  vrrp_version 3\n}}\nvrrp_instance web {{\n  state BACKUP\n  nopreempt\n  interface eth0\n  \
         virtual_router_id 51\n  priority {}\n  advert_int 0.1\n  virtual_ipaddress {{\n    {ADDRESS}/32\n  }}\n}}\n",
        100 + index
    );
    fs::write(own.join("keepalived.conf"), configuration).unwrap();
    let mut command = Command::new("keepalived");
    command.args(["--dont-fork", "--log-console", "--vrrp", "--use-file"]).arg(own.join("keepalived.conf"));
    command.arg("--pid").arg(own.join("pid")).arg("--vrrp_pid").arg(own.join("vrrp.pid"));
    command
}

fn raw() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap();
    socket.connect(&SocketAddrV4::new(ADDRESS, 0).into()).unwrap();
    socket
}

/// Whether one echo request is answered within a tenth of a second.
fn answers() -> bool {
    let mut socket = raw();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 256];
    socket.send(&echo_request(0)).is_ok()
        && socket.read(&mut buffer).is_ok_and(|length| echo_reply(&buffer[..length]).is_some())
}

/// Sends an echo request every millisecond until it is told to stop, and returns the longest time between the first request
/// that was not answered and the first one after it that was.
fn probe(stop: &AtomicBool) -> Duration {
    let mut socket = raw();
    socket.set_nonblocking(true).unwrap();
    let mut sent: Vec<(Instant, bool)> = Vec::new();
    let mut buffer = [0; 256];
    let begin = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let number = u16::try_from(sent.len() % 65_536).unwrap();
        sent.push((Instant::now(), false));
        // Refused where the kernel has given the neighbour up: a lost one.
        let _ = socket.send(&echo_request(number));
        let next = begin + INTERVAL * u32::try_from(sent.len()).unwrap();
        while let Some(wait) = next.checked_duration_since(Instant::now()) {
            sleep(wait.min(Duration::from_micros(500)));
        }
        while let Ok(length) = socket.read(&mut buffer) {
            if let Some(answered) = echo_reply(&buffer[..length]).and_then(|number| sent.get_mut(usize::from(number))) {
                answered.1 = true;
            }
        }
    }
    longest(&sent)
}

fn longest(sent: &[(Instant, bool)]) -> Duration {
    // The last ones may still be on their way.
    let sent = &sent[..sent.len().saturating_sub(20)];
    let mut longest = Duration::ZERO;
    let mut since: Option<Instant> = None;
    for (at, answered) in sent {
        match (answered, since) {
            (true, Some(begin)) => {
                longest = longest.max(at.duration_since(begin));
                since = None;
            }
            (false, None) => since = Some(*at),
            _ => {}
        }
    }
    assert!(since.is_none(), "the address never came back");
    longest
}

/// ICMP echo (RFC 792) with our mark as identifier.
fn echo_request(number: u16) -> [u8; 8] {
    let [high, low] = number.to_be_bytes();
    let mut packet = [8, 0, 0, 0, 0xfe, 0x0b, high, low];
    let sum = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let check = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    packet[2..4].copy_from_slice(&check.to_be_bytes());
    packet
}

/// The number of our request that a packet answers.
fn echo_reply(packet: &[u8]) -> Option<u16> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    match packet.get(header..header + 8)? {
        [0, 0, _, _, 0xfe, 0x0b, high, low] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}
