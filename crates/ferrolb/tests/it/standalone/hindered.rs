//! What keeps a Service from its address lies with a host: the Service says what, on whichever host one asks.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{FERROLB, Process, Site, name_of, service};
use crate::hosts::eventually;

/// The first reason of the only Service.
fn reason(process: &Process) -> Value {
    process.state()["services"][0]["reasons"][0].clone()
}

#[test]
fn a_disk_that_keeps_nothing_is_the_reason_on_every_host() {
    let site = Site::new(2);
    let (a, b) = (site.start(0), site.start(1));
    eventually("both know each other", || {
        [&a, &b]
            .iter()
            .all(|process| process.state()["peers"].as_array().unwrap().iter().all(|peer| peer["alive"] == true))
    });
    let state = site.files.path().join("a/state");
    fs::rename(&state, site.files.path().join("a/away")).unwrap();
    // Where there is nothing, the directory would be made again.
    fs::write(&state, "no directory").unwrap();
    site.write("web.yaml", &service("web", ""));
    eventually("the host that allocates says why it does not", || reason(&a)["code"] == "LB0003");
    eventually("the other host says so too", || {
        let reason = reason(&b);
        let message = reason["message"].as_str().unwrap_or_default();
        reason["code"] == "LB0002" && message.starts_with("host a allocates, and cannot: LB0003 ")
    });
    fs::remove_file(&state).unwrap();
    fs::rename(site.files.path().join("a/away"), &state).unwrap();
    eventually("it has its address by itself", || a.state()["services"][0]["state"] == "announced");
}

#[test]
fn a_host_that_is_not_where_its_node_says_announces_nothing_and_says_why() {
    let site = Site::new(1);
    site.write("nodes.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nstatus: {addresses: [{type: InternalIP, address: 192.168.1.99}]}\n");
    site.write("web.yaml", &service("web", ""));
    let a = site.start(0);
    eventually("the Service says why", || reason(&a)["code"] == "LB0015");
    assert!(reason(&a)["message"].as_str().unwrap().contains("192.168.1.99"), "{}", reason(&a));
}

#[test]
fn a_host_that_is_gone_is_a_warning_until_it_is_back() {
    let site = Site::new(2);
    site.write("web.yaml", &service("web", ""));
    let (a, b) = (site.start(0), site.start(1));
    eventually("it is announced", || a.state()["services"][0]["state"] == "announced");
    assert!(!a.state().to_string().contains("LB1109"), "both are there");
    drop(b);
    let finding = a.await_finding("LB1109");
    assert_eq!((&finding["object"], &finding["severity"]), (&json!("Node/b"), &json!("warning")));
    assert!(finding["message"].as_str().unwrap().contains("192.168.1.12"), "{finding}");
    let status = a.status("table");
    let screen = String::from_utf8(status.stdout).unwrap();
    assert!(screen.ends_with("the Services are served; see the findings above\n"), "{screen}");
    assert_eq!(status.status.code(), Some(0), "everything is served");
    let _b = site.start(1);
    eventually("it is back", || !a.state()["findings"].to_string().contains("LB1109"));
}

#[test]
fn fixes_are_for_hosts_without_kubectl() {
    let site = Site::new(1);
    let text = service("web", "metallb.io/adress-pool: x");
    site.write(
        "web.yaml",
        &format!("{text}---\n{}", service("idle", "").replace("{type:", "{selector: {app: idle}, type:")),
    );
    let a = site.start(0);
    a.await_finding("LB2001");
    eventually("both have their state", || a.state()["services"].as_array().unwrap().len() == 2);
    let state = a.state().to_string();
    assert!(!state.contains("kubectl"), "{state}");
}

#[test]
fn a_host_that_no_node_tells_of_meets_nobody_and_says_so() {
    let site = Site::new(2);
    site.write("nodes.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: b}\nstatus: {addresses: [{type: InternalIP, address: 192.168.1.12}]}\n");
    site.write("web.yaml", &service("web", ""));
    let a = site.start(0);
    eventually("the Service says why", || reason(&a)["code"] == "LB0011");
    assert_eq!(a.await_finding("LB0011")["object"], "Node/a");
    // A Node without an address is no better.
    site.write("nodes.yaml", "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n");
    eventually("the address is what lacks", || {
        a.finding("LB0011")
            .is_some_and(|one| one["message"].as_str().unwrap().starts_with("its Node has no InternalIP"))
    });
}

#[test]
fn a_host_without_a_secret_is_told_that_it_is_alone_and_warned_where_it_is_not() {
    let site = Site::new(2);
    let (mut command, socket, own) = site.command(0, &site.files.path().join("secret"));
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let at = arguments.iter().position(|one| one == "--secret-file").unwrap();
    command = Command::new(FERROLB);
    command.args(&arguments[..at]).args(&arguments[at + 2..]).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(own.join("log")).unwrap());
    let a = site.run(0, command, socket);
    assert_eq!(a.await_finding("LB0012")["severity"], "warning", "b would announce the same");
    fs::remove_file(site.manifests().join("nodes.yaml")).unwrap();
    eventually("alone it is a note", || a.finding("LB0012").is_some_and(|one| one["severity"] == "note"));
    assert_eq!(a.status("table").status.code(), Some(0));
}

#[test]
fn two_hosts_of_one_name_are_named_with_both_addresses() {
    let site = Site::new(3);
    let a = site.start(0);
    // The third host takes itself for b, where it is.
    let theirs = site.files.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let node = |name, last| {
        format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nstatus: {{addresses: [{{type: InternalIP, address: 192.168.1.{last}}}]}}\n"
        )
    };
    fs::write(theirs.join("nodes.yaml"), node("a", 11) + &node("b", 13)).unwrap();
    let _b = site.start(1);
    let secret = site.files.path().join("secret");
    let (_, _, own) = site.command(2, &secret);
    let mut command = Command::new(FERROLB);
    command.args(["standalone", "--node-name", &name_of(1), "--manifests"]).arg(&theirs);
    command.arg("--state-dir").arg(own.join("state")).arg("--socket").arg(own.join("ferrolb.sock"));
    command.arg("--secret-file").arg(&secret).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _too = site.run(2, command, own.join("ferrolb.sock"));
    let finding = a.await_finding("LB0013");
    let message = finding["message"].as_str().unwrap();
    assert_eq!(finding["object"], "Node/b");
    assert!(message.contains("192.168.1.12") && message.contains("192.168.1.13"), "{message}");
}

#[test]
fn where_the_kernel_cannot_be_kept_from_answering_nothing_is_bound() {
    let site = Site::new(1);
    site.write("vip.yaml", &service("vip", "ferrolb.io/bind-address: lo"));
    let (command, socket, own) = site.command(0, &site.files.path().join("secret"));
    let mut sealed = Command::new("unshare");
    sealed.args(["--mount", "sh", "-c", "mount -o bind,ro /proc/sys /proc/sys && exec \"$0\" \"$@\""]);
    sealed.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null());
    sealed.stderr(fs::File::create(own.join("log")).unwrap());
    let a = site.run(0, sealed, socket);
    let finding = a.await_finding("LB1119");
    assert!(finding["message"].as_str().unwrap().contains("arp_ignore is 0 and cannot be set"), "{finding}");
    assert!(!site.hosts[0].sh("ip -o addr show dev lo").1.contains("192.168.1.200"), "nothing is bound");
}
