//! What keeps a Service from its address lies with a host: the Service says what, on whichever host one asks.

use std::fs;

use serde_json::{Value, json};

use super::{Process, Site, service};
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
