//! `ferrolb standalone` as a user runs it: real processes on hosts with a switch between them, a directory of manifests,
//! and `ferrolb status`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hosts::{Host, eventually};
use crate::l2::neighbour;
use crate::switch::{plug, switch};

mod bad_routers;
mod bfd;
mod bgp;
mod daemons;
mod differing;
mod flaps;
mod hindered;
mod interfaces;
mod interop;
mod page;
mod probing;
mod starting;
mod strangers;
mod unnumbered;

const FERROLB: &str = env!("CARGO_BIN_EXE_ferrolb");

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec: {addresses: [192.168.1.200-192.168.1.220]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
";

fn service(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n"
    )
}

/// Writes a file that its owner alone may read.
fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Hosts `a`, `b`, … and a client on one switch, with one directory of manifests for all.
struct Site {
    hosts: Vec<Host>,
    client: Host,
    switch: Host,
    files: TempDir,
}

impl Site {
    /// One host with a Service, and a BGP peer `router` on the client's host; `spec` is its spec.
    fn with_router(pool: &str, spec: &str) -> Self {
        let site = Self::new(1);
        site.write("pool.yaml", pool);
        site.write_router(spec);
        site.write("web.yaml", &service("web", ""));
        site
    }

    fn write_router(&self, spec: &str) {
        let spec = format!("{{myASN: 64512, peerAddress: 192.168.1.50, connectTime: 1s, {spec}}}");
        self.write("peer.yaml", &format!("{}spec: {spec}\n", bgp::PEER));
    }

    /// What a command on the client's host says; it must go well.
    fn on_client(&self, command: &str) -> String {
        let (well, text) = self.client.sh(command);
        assert!(well, "{command}: {text}");
        text
    }

    fn new(size: u8) -> Self {
        let switch = switch();
        let hosts: Vec<Host> = (0..size).map(|index| plug(&switch, 11 + index)).collect();
        let client = plug(&switch, 50);
        let site = Self { hosts, client, switch, files: tempfile::tempdir().unwrap() };
        fs::create_dir(site.manifests()).unwrap();
        let node = |index: u8| {
            format!(
                "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {}}}\n\
                 status: {{addresses: [{{type: InternalIP, address: 192.168.1.{}}}]}}\n",
                name_of(index.into()),
                11 + index
            )
        };
        site.write("nodes.yaml", &(0..size).map(node).collect::<String>());
        site.write("pool.yaml", POOL);
        private(&site.files.path().join("secret"), "a secret that all share");
        site
    }

    fn manifests(&self) -> PathBuf {
        self.files.path().join("manifests")
    }

    /// Writes a manifest the way careful programs do: whole or not at all.
    fn write(&self, name: &str, text: &str) {
        let new = self.files.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.manifests().join(name)).unwrap();
    }

    /// Starts the program on a host, with the state that its last run left.
    fn start(&self, host: usize) -> Process {
        self.start_with_secret(host, &self.files.path().join("secret"))
    }

    fn start_with_secret(&self, host: usize, secret: &Path) -> Process {
        let (mut command, socket, own) = self.command(host, secret);
        command.stderr(fs::File::create(own.join("log")).unwrap());
        self.run(host, command, socket)
    }

    /// The command line, the socket in it, and the host's own directory.
    fn command(&self, host: usize, secret: &Path) -> (Command, PathBuf, PathBuf) {
        self.command_on(host, secret, &self.manifests())
    }

    fn command_on(&self, host: usize, secret: &Path, manifests: &Path) -> (Command, PathBuf, PathBuf) {
        let own = self.files.path().join(name_of(host));
        fs::create_dir_all(&own).unwrap();
        let socket = own.join("ferrolb.sock");
        let mut command = Command::new(FERROLB);
        command.args(["standalone", "--node-name", &name_of(host)]);
        command.arg("--manifests").arg(manifests).arg("--state-dir").arg(own.join("state"));
        command.arg("--socket").arg(&socket).arg("--secret-file").arg(secret);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        (command, socket, own)
    }

    /// Starts the program on a host with more arguments.
    fn start_with(&self, host: usize, arguments: &[&str]) -> Process {
        let (mut command, socket, own) = self.command(host, &self.files.path().join("secret"));
        command.args(arguments).stderr(fs::File::create(own.join("log")).unwrap());
        self.run(host, command, socket)
    }

    fn log(&self, host: usize) -> String {
        fs::read_to_string(self.files.path().join(name_of(host)).join("log")).unwrap()
    }

    fn run(&self, host: usize, mut command: Command, socket: PathBuf) -> Process {
        let child = self.hosts[host].run(move || command.spawn().unwrap());
        let process = Process { child, socket };
        eventually("the program answers", || process.try_state().is_some());
        process
    }
}

fn name_of(host: usize) -> String {
    char::from(b'a' + u8::try_from(host).unwrap()).to_string()
}

/// A running program; killed when dropped.
struct Process {
    child: Child,
    socket: PathBuf,
}

impl Process {
    /// The first router's row.
    fn router(&self) -> Value {
        self.state()["routers"][0].clone()
    }

    fn status(&self, format: &str) -> Output {
        Command::new(FERROLB).args(["status", "-o", format, "--socket"]).arg(&self.socket).output().unwrap()
    }

    /// Another verb's answer, and its exit code.
    fn ask(&self, args: &[&str]) -> (String, Option<i32>) {
        let output = Command::new(FERROLB).args(args).arg("--socket").arg(&self.socket).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    }

    fn try_state(&self) -> Option<Value> {
        serde_json::from_slice(&self.status("json").stdout).ok()
    }

    fn state(&self) -> Value {
        self.try_state().expect("the program answers")
    }

    fn service(&self, name: &str) -> Value {
        let state = self.state();
        let services = state["services"].as_array().unwrap();
        services.iter().find(|service| service["name"] == name).cloned().unwrap_or_default()
    }

    fn await_announced(&self, name: &str) -> Value {
        eventually(&format!("{name} is announced"), || self.service(name)["state"] == "announced");
        self.service(name)
    }

    fn finding(&self, code: &str) -> Option<Value> {
        let state = self.state();
        state["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code).cloned()
    }

    fn await_finding(&self, code: &str) -> Value {
        eventually(&format!("{code} is found"), || self.finding(code).is_some());
        self.finding(code).unwrap()
    }

    fn end(mut self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.success(), signal == Signal::SIGTERM, "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn addresses_outlive_a_crash_and_a_stop_and_come_to_no_newcomer() {
    let site = Site::new(1);
    site.write("m.yaml", &service("m", ""));
    let mut process = site.start(0);
    assert_eq!(process.await_announced("m")["addresses"], json!(["192.168.1.200"]));
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        process.end(signal);
        // A newcomer that is first in every order must not get what the other had.
        site.write("a.yaml", &service("a", ""));
        process = site.start(0);
        assert_eq!(process.await_announced("a")["addresses"], json!(["192.168.1.201"]));
        assert_eq!(process.await_announced("m")["addresses"], json!(["192.168.1.200"]));
    }
    assert_eq!(site.client.arping("192.168.1.200"), [site.hosts[0].mac("eth0")]);
}

#[test]
fn a_broken_file_is_named_with_its_line_and_disturbs_nothing() {
    let site = Site::new(1);
    site.write("web.yaml", &service("web", ""));
    let process = site.start(0);
    process.await_announced("web");
    site.write("web.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web\nspec: [\n");
    let finding = process.await_finding("LB0004");
    assert!(finding["location"]["file"].as_str().unwrap().ends_with("web.yaml"), "{finding}");
    assert!(finding["location"]["line"].as_u64().unwrap() >= 3, "{finding}");
    assert_eq!(process.service("web")["state"], "announced");
    assert_eq!(process.status("json").status.code(), Some(1), "a finding is worth an exit code");
    // Half a file can be whole YAML: a Service that ends before its spec.
    site.write("web.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n");
    eventually("the missing spec is found", || {
        process.finding("LB0004").is_some_and(|finding| finding["field"] == "spec")
    });
    assert_eq!(process.service("web")["state"], "announced");
    // Not even a restart loses what the file said when it was good.
    process.end(Signal::SIGKILL);
    let process = site.start(0);
    assert_eq!(process.await_announced("web")["addresses"], json!(["192.168.1.200"]));
    assert_eq!(site.client.arping("192.168.1.200").len(), 1);
}

#[test]
fn a_configuration_with_errors_leaves_the_last_good_one_in_force() {
    let site = Site::new(1);
    site.write("web.yaml", &service("web", ""));
    let process = site.start(0);
    process.await_announced("web");
    site.write("pool.yaml", &POOL.replace("192.168.1.200-192.168.1.220", "192.168.1.220-192.168.1.200, 1.2.3.0/40"));
    process.await_finding("LB4002");
    site.write("late.yaml", &service("late", ""));
    assert_eq!(process.await_announced("late")["addresses"], json!(["192.168.1.201"]));
    assert_eq!(process.service("web")["state"], "announced");
    site.write("pool.yaml", POOL);
    eventually("all is well again", || process.status("json").status.code() == Some(0));
}

#[test]
fn when_the_host_that_allocates_dies_the_next_one_goes_on_from_its_table() {
    let site = Site::new(3);
    site.write("one.yaml", &service("one", ""));
    let mut processes: Vec<Process> = (0..3).map(|host| site.start(host)).collect();
    for process in &processes {
        assert_eq!(process.await_announced("one")["addresses"], json!(["192.168.1.200"]));
        let state = process.state();
        let allocators = state["peers"].as_array().unwrap().iter().filter(|peer| peer["allocator"] == true);
        assert_eq!(allocators.map(|peer| &peer["name"]).collect::<Vec<_>>(), ["a"]);
    }
    processes.remove(0).end(Signal::SIGKILL);
    site.write("first.yaml", &service("first", ""));
    for process in &processes {
        assert_eq!(process.await_announced("first")["addresses"], json!(["192.168.1.201"]));
        assert_eq!(process.service("one")["addresses"], json!(["192.168.1.200"]));
    }
    let owner = processes[0].service("one")["mac"].as_str().unwrap().to_owned();
    assert_eq!(site.client.arping("192.168.1.200"), [owner]);
}

#[test]
fn the_address_goes_where_the_health_check_succeeds() {
    let site = Site::new(2);
    site.write("web.yaml", &service("web", "ferrolb.io/health-check: 'tcp://127.0.0.1:8080'"));
    let processes: Vec<Process> = (0..2).map(|host| site.start(host)).collect();
    eventually("nobody announces what works nowhere", || {
        processes.iter().all(|process| process.service("web")["state"] == "allocated")
    });
    let reasons = processes[0].service("web")["reasons"].clone();
    assert!(reasons.as_array().unwrap().iter().any(|reason| reason["code"] == "LB1115"), "{reasons}");
    for host in [1, 0] {
        // The listener is gone at the end of its turn.
        let listener = site.hosts[host].run(|| std::net::TcpListener::bind("127.0.0.1:8080").unwrap());
        eventually(&format!("host {} announces it", name_of(host)), || {
            processes.iter().all(|process| process.service("web")["node"] == name_of(host))
        });
        // Who had it answers in its name for 0.1 s, and arping tells the MAC address that a frame came from.
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert_eq!(site.client.arping("192.168.1.200"), [site.hosts[host].mac("eth0")]);
        drop(listener);
    }
}

#[test]
fn an_address_bound_to_lo_is_there_while_owned_and_taken_back_after_a_crash() {
    let site = Site::new(2);
    site.write("vip.yaml", &service("vip", "ferrolb.io/bind-address: lo"));
    let mut processes: Vec<Process> = (0..2).map(|host| site.start(host)).collect();
    let has = |host: usize| site.hosts[host].sh("ip -o addr show dev lo").1.contains("192.168.1.200/32");
    let owner = |process: &Process| usize::from(process.await_announced("vip")["node"] == "b");
    let first = owner(&processes[0]);
    eventually("the owner has it", || has(first) && !has(1 - first));
    assert_eq!(site.hosts[first].sh("cat /proc/sys/net/ipv4/conf/all/arp_ignore").1.trim(), "1");
    assert_eq!(site.client.arping("192.168.1.200"), [site.hosts[first].mac("eth0")]);
    // It works: somebody listens on it, and the client gets there.
    let listener = site.hosts[first].run(|| std::net::TcpListener::bind("192.168.1.200:80").unwrap());
    let reached = site.client.run(|| {
        let limit = std::time::Duration::from_secs(5);
        std::net::TcpStream::connect_timeout(&"192.168.1.200:80".parse().unwrap(), limit).is_ok()
    });
    assert!(reached);
    drop(listener);
    // A host that is stopped takes it off, and so hands it over.
    processes.remove(first).end(Signal::SIGTERM);
    eventually("the other host takes over", || has(1 - first) && !has(first));
    let again = site.start(first);
    let second = 1 - first;
    assert_eq!(again.await_announced("vip")["node"], name_of(second));
    assert_eq!(site.client.arping("192.168.1.200"), [site.hosts[second].mac("eth0")]);
    // A process that crashes leaves it bound, and its host goes on serving: the other answers in its name.
    processes.remove(0).end(Signal::SIGKILL);
    eventually("the other stands in", || !site.client.arping("192.168.1.200").is_empty());
    site.client.ip("neigh flush dev eth0");
    let entry = neighbour(&site.client, "192.168.1.200");
    assert!(entry.contains(&site.hosts[second].mac("eth0")), "{entry}");
    assert!(has(second) && !has(first), "nobody took it back: the process crashed");
    // What a crash left is taken back at the next start, here of a host that is told to do nothing any more.
    fs::remove_file(site.manifests().join("vip.yaml")).unwrap();
    let _too = site.start(second);
    eventually("what was left is taken back", || !has(first) && !has(second));
}

#[test]
fn hosts_with_different_secrets_do_not_hear_each_other_and_say_so() {
    let site = Site::new(2);
    let other = site.files.path().join("other");
    private(&other, "not the same secret");
    let (a, b) = (site.start(0), site.start_with_secret(1, &other));
    for (process, other) in [(&a, "Node/b"), (&b, "Node/a")] {
        assert_eq!(process.await_finding("LB0014")["object"], other);
        assert_eq!(process.status("json").status.code(), Some(1));
    }
    let peers = a.state()["peers"].clone();
    assert!(peers.as_array().unwrap().iter().any(|peer| peer["name"] == "b" && peer["alive"] == false), "{peers}");
    // The file is looked at while the host runs (decision 78): they meet, and nobody restarts anything.
    private(&other, "a secret that all share");
    eventually("they hear each other", || {
        [&a, &b].iter().all(|process| {
            let state = process.state();
            !state.to_string().contains("LB0014")
                && state["peers"].as_array().unwrap().iter().all(|peer| peer["alive"] == true)
        })
    });
}

#[test]
fn a_service_of_another_class_is_left_alone_and_said_so_in_one_line() {
    let site = Site::new(1);
    site.write("web.yaml", &service("web", "").replace("{type:", "{loadBalancerClass: example.org/other, type:"));
    let process = site.start(0);
    let finding = process.await_finding("LB1011");
    assert_eq!((&finding["object"], &finding["severity"]), (&json!("Service/default/web"), &json!("note")));
    assert!(finding["message"].as_str().unwrap().contains("example.org/other"), "{finding}");
    assert_eq!(process.state()["services"], json!([]));
    assert_eq!(process.status("table").status.code(), Some(0), "it is no fault");
    assert_eq!(process.ask(&["why", "web", "-o", "name"]), ("LB1011\n".to_owned(), Some(1)));
}

#[test]
fn a_state_directory_that_cannot_be_used_is_refused_once_with_a_code() {
    let site = Site::new(1);
    let file = site.files.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let mut command = Command::new(FERROLB);
    command.args(["standalone", "--node-name", "a", "--manifests"]).arg(site.manifests());
    command.arg("--socket").arg(site.files.path().join("s")).arg("--state-dir").arg(file.join("state"));
    let output = site.hosts[0].run(move || command.output().unwrap());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("LB0003") && text.contains("--state-dir"), "{text}");
    assert_eq!(text.matches("os error").count(), 1, "{text}");
}

#[test]
fn status_comes_in_every_format_and_its_exit_code_tells() {
    let site = Site::new(1);
    site.write("web.yaml", &service("web", ""));
    let process = site.start(0);
    process.await_announced("web");
    let text = |format| String::from_utf8(process.status(format).stdout).unwrap();
    assert_eq!(text("name"), "service/default/web\n");
    assert!(text("yaml").contains("192.168.1.200"));
    assert!(text("table").contains("default/web") && text("table").contains("announced"));
    assert_eq!(process.status("table").status.code(), Some(0));
    site.write("other.yaml", &service("other", "metallb.io/address-pool: nowhere"));
    eventually("a Service that is not served is worth an exit code", || {
        process.status("table").status.code() == Some(1) && text("table").contains("LB1004")
    });
    let socket = process.socket.clone();
    process.end(Signal::SIGTERM);
    let nobody = Command::new(FERROLB).args(["status", "--socket"]).arg(socket).output().unwrap();
    assert_eq!(nobody.status.code(), Some(2));
    assert!(String::from_utf8(nobody.stderr).unwrap().contains("`ferrolb standalone` does not run here"));
}

#[test]
fn a_reader_of_the_log_that_goes_away_takes_nothing_with_it() {
    let site = Site::new(1);
    site.write("web.yaml", &service("web", ""));
    let (mut command, socket, _) = site.command(0, &site.files.path().join("secret"));
    command.stderr(Stdio::piped());
    let mut process = site.run(0, command, socket);
    process.await_announced("web");
    drop(process.child.stderr.take());
    // Every change is worth a line, which nobody can read any more.
    site.write("later.yaml", &service("later", ""));
    assert_eq!(process.await_announced("later")["addresses"], json!(["192.168.1.201"]));
    assert_eq!(site.client.arping("192.168.1.200").len(), 1);
}

#[test]
fn a_process_tells_why_who_and_what_would_change() {
    let site = Site::new(1);
    site.write("web.yaml", &service("web", ""));
    site.write("lost.yaml", &service("lost", "metallb.io/address-pool: elsewhere"));
    let process = site.start(0);
    process.await_announced("web");
    let (why, code) = process.ask(&["why", "svc/web"]);
    assert_eq!(code, Some(0), "{why}");
    assert!(why.contains("  ✓ that node answers for it                   a\n"), "{why}");
    assert_eq!(process.ask(&["why", "lost", "-o", "name"]), ("LB1004\n".to_owned(), Some(1)));
    let (ip, code) = process.ask(&["ip", "192.168.1.200"]);
    assert_eq!(code, Some(0));
    let mac = site.hosts[0].mac("eth0");
    assert!(ip.contains(&format!("announced by a on eth0, MAC address {mac}")), "{ip}");
    let smaller = site.files.path().join("smaller.yaml");
    fs::write(&smaller, POOL.replace("192.168.1.200-", "192.168.1.210-")).unwrap();
    let (plan, code) = process.ask(&["plan", "-f", smaller.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert!(plan.contains("change   default/web  192.168.1.200 -> 192.168.1.210  (pool)"), "{plan}");
    // From the LAN, another host asks the wire.
    let mut probe = Command::new(FERROLB);
    probe.args(["probe", "192.168.1.200", "--port=0"]).arg("--socket").arg(&process.socket);
    let probe = site.client.run(move || probe.output().unwrap());
    let text = String::from_utf8(probe.stdout).unwrap();
    assert_eq!(probe.status.code(), Some(0), "{text}");
    assert!(text.contains(&format!("answered by 1 MAC address, {mac} (a)")), "{text}");
    let mut scan = Command::new(FERROLB);
    scan.args(["scan", "192.168.1.0/27", "-o", "name"]).arg("--socket").arg(&process.socket);
    let scan = site.client.run(move || scan.output().unwrap());
    let text = String::from_utf8(scan.stdout).unwrap();
    assert_eq!(
        (text.as_str(), scan.status.code()),
        ("192.168.1.11\n", Some(1)),
        "a host of the LAN is a stranger to pools"
    );
}
