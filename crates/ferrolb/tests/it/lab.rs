//! `ferrolb lab` as a user runs it: the story, a stranger's tools in its shell, and what is left afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use ferrolb_proto::ethernet::MacAddr;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};

use crate::hosts::eventually;

const FERROLB: &str = env!("CARGO_BIN_EXE_ferrolb");

/// What the laptop's own tools see, compared below with what the nodes say.
const STRANGERS: &str = include_str!("lab/strangers.sh");

fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn lab(arguments: &[&str]) -> Command {
    // A script's background ignores SIGINT, and whatever it starts inherits that: then nobody could press Ctrl-C.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", FERROLB, "lab"]).args(arguments);
    command
}

/// Runs a script in the lab's shell; it must end well.
fn in_shell(script: &str) -> String {
    let output = output(lab(&["--shell", "--", "bash", "-c", script]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    said
}

fn assert_is_a_full_story(output: &Output) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!((output.status.code(), &object["ok"]), (Some(0), &json!(true)), "{object:#}\n{errors}");
    let steps = object["steps"].as_array().unwrap();
    assert!(steps.len() >= 20 && steps.iter().all(|step| step["ok"] == true), "{object:#}");
    let services = object["services"].as_array().unwrap();
    let traefik = services.iter().find(|service| service["name"] == "traefik").unwrap();
    assert_eq!(traefik["addresses"], json!(["192.168.1.201"]));
    assert!(traefik["mac"].as_str().unwrap().parse::<MacAddr>().is_ok());
    let pools = object["pools"].as_array().unwrap();
    let pool = pools.iter().find(|pool| pool["name"] == "default-pool").unwrap();
    assert_eq!((&pool["total"], &pool["assigned"], &pool["available"]), (&json!(21), &json!(2), &json!(19)));
    assert_ne!(object["failover"]["from"], object["failover"]["to"]);
    assert!(object["failover"]["outage_ms"].as_u64().unwrap() > 0, "a node was off and nobody noticed");
    assert!(object["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "LB2001"));
}

#[test]
fn the_story_is_one_json_object_with_addresses_owners_and_the_outage() {
    assert_is_a_full_story(&output(lab(&["--json"])));
}

#[test]
fn the_other_story_has_two_routers_and_says_what_clients_behind_them_saw() {
    let output = output(lab(&["--story", "bgp", "--json"]));
    let errors = String::from_utf8_lossy(&output.stderr);
    if !geteuid().is_root() || !may_change_user() {
        assert_eq!((output.status.code(), errors.contains("needs root")), (Some(2), true), "{errors}");
        return;
    }
    let object: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    assert_eq!((output.status.code(), &object["ok"]), (Some(0), &json!(true)), "{object:#}\n{errors}");
    let measures = object["measures"].as_array().unwrap();
    let of = |name: &str| measures.iter().filter(|one| one["name"] == name).count();
    for name in ["crash", "drain", "weights", "router-restart"] {
        assert_eq!(of(name), 2, "{object:#}");
        assert!(object["steps"].as_array().unwrap().iter().any(|step| step["name"] == name), "{object:#}");
    }
    // What is planned costs nobody a connection.
    for one in measures.iter().filter(|one| one["name"] == "drain" || one["name"] == "weights") {
        assert!(one["failed"] == 0 && one["requests"].as_u64() > Some(0), "{object:#}");
    }
}

#[test]
fn it_needs_no_root_where_user_namespaces_are_allowed() {
    // A copy that everybody can read: the build directory may be below a home directory.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("ferrolb");
    fs::copy(FERROLB, &copy).unwrap();
    let mut command = if geteuid().is_root() && may_change_user() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy);
        command
    } else {
        Command::new(&copy)
    };
    command.args(["lab", "--json"]).current_dir("/");
    assert_is_a_full_story(&output(command));
}

/// Root of a user namespace with one user in it cannot become another; it is an ordinary user already.
fn may_change_user() -> bool {
    fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().nth(2) != Some("1")
}

#[test]
fn arping_ndisc6_tcpdump_and_the_kernel_agree_with_status() {
    let said = in_shell(STRANGERS);
    let mut claims = BTreeMap::<&str, BTreeMap<&str, BTreeSet<MacAddr>>>::new();
    for line in said.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [witness, address, mac] = fields[..] else { panic!("not WITNESS ADDRESS MAC: {line:?}") };
        let mac = mac.to_lowercase().parse().unwrap_or_else(|_| panic!("no MAC address: {line:?}"));
        claims.entry(address).or_default().entry(witness).or_default().insert(mac);
    }
    // Three of the user's Services, and four of our own with two addresses each.
    assert_eq!(claims.len(), 11, "{said}");
    for (address, witnesses) in &claims {
        let macs: BTreeSet<MacAddr> = witnesses.values().flatten().copied().collect();
        assert_eq!(macs.len(), 1, "{address} is at more than one MAC address: {witnesses:?}");
        let asked = if address.contains(':') { "ndisc6" } else { "arping" };
        let mut expected = vec![asked, "neighbour", "status-of-node-a", "status-of-node-b", "status-of-node-c"];
        // What was announced before the capture began is not in it.
        if address.starts_with("192.168.1.10") || address.contains(':') {
            expected.push("tcpdump");
        }
        expected.sort_unstable();
        assert_eq!(witnesses.keys().copied().filter(|name| expected.contains(name)).collect::<Vec<_>>(), expected);
    }
    let owners: BTreeSet<&MacAddr> = claims.values().flat_map(|witnesses| witnesses.values().flatten()).collect();
    assert!(owners.len() > 1, "eleven addresses all ended up on one node: {claims:?}");
}

/// Starts a lab that waits in its shell, and waits until it is there. Returns it and a process of it as this machine
/// sees it.
fn waiting_lab(mark: &Path) -> (Running, Vec<i32>) {
    let script = format!("touch {}; exec sleep 600", mark.display());
    let mut command = lab(&["--shell", "--", "bash", "-c", &script]);
    let lab = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually("the lab is up", || mark.exists());
    let inside = descendants(lab.pid().as_raw());
    assert!(inside.len() >= 5, "process 1, three nodes and the shell: {inside:?}");
    (lab, inside)
}

/// Every process that this one has begun, and that those have begun. The kernel keeps children by thread.
fn descendants(of: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{of}/task")).unwrap().map(|thread| thread.unwrap().path());
    let lists = threads.map(|thread| fs::read_to_string(thread.join("children")).unwrap_or_default());
    let children: Vec<i32> =
        lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()).collect();
    children.iter().flat_map(|child| [vec![*child], descendants(*child)].concat()).collect()
}

/// A program that does not outlive a failed test.
struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn runs(pid: i32) -> bool {
    // Somebody who has ended and was not waited for does not run.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn interfaces_and_mounts() -> (String, String) {
    let interfaces = output({
        let mut command = Command::new("ip");
        command.args(["-o", "link"]);
        command
    });
    (String::from_utf8(interfaces.stdout).unwrap(), fs::read_to_string("/proc/self/mounts").unwrap())
}

#[test]
fn ctrl_c_and_a_crash_leave_nothing_behind() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let before = interfaces_and_mounts();
        let directory = tempfile::tempdir().unwrap();
        let (mut lab, inside) = waiting_lab(&directory.path().join("up"));
        assert_eq!(interfaces_and_mounts(), before, "the lab shows outside of it");
        kill(lab.pid(), signal).unwrap();
        assert!(!lab.0.wait().unwrap().success());
        eventually("every process of the lab is gone", || !inside.iter().any(|pid| runs(*pid)));
        assert_eq!(interfaces_and_mounts(), before, "after {signal}");
    }
}

#[test]
fn a_failed_command_in_the_shell_is_the_lab_s_own_exit_code() {
    assert_eq!(output(lab(&["--shell", "--", "sh", "-c", "exit 7"])).status.code(), Some(7));
}
