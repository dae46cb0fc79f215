//! Devices on the LAN that are none of us and use an address of ours (decision D4).

use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use super::{Process, Site, service};
use crate::hosts::eventually;
use crate::l2::neighbour;

const V4: &str = "192.168.1.205";
const V6: &str = "fd00::205";

fn dual(name: &str) -> String {
    service(name, &format!("metallb.io/loadBalancerIPs: '{V4},{V6}'"))
        .replace("{type:", "{ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], type:")
}

fn write_pools(site: &Site) {
    site.write("pool.yaml", &super::POOL.replace("192.168.1.220]", "192.168.1.220, 'fd00::200-fd00::220']"));
}

/// Waits until every host says why the Service is not announced, and returns the reason.
fn blocked(processes: &[&Process], mac: &str) {
    for process in processes {
        eventually("a host says who has the address", || {
            let reason = process.service("web")["reasons"][0].clone();
            reason["code"] == "LB1118" && reason["message"].as_str().unwrap().contains(mac)
        });
        assert_ne!(process.service("web")["state"], "announced");
    }
}

#[test]
fn an_address_that_a_stranger_has_is_not_announced_until_the_stranger_is_gone() {
    let site = Site::new(2);
    write_pools(&site);
    site.client.ip(&format!("addr add {V4}/24 dev eth0"));
    let (a, b) = (site.start(0), site.start(1));
    eventually("they know each other", || !a.state().to_string().contains("LB1109"));
    site.write("web.yaml", &service("web", &format!("metallb.io/loadBalancerIPs: {V4}")));
    blocked(&[&a, &b], &site.client.mac("eth0"));
    let (_, seen) =
        site.switch.sh(&format!("timeout 1 tcpdump -c 1 -nni br0 arp src {V4} or arp host {V4} 2>/dev/null"));
    assert!(!seen.contains("Reply"), "nobody of us announces it: {seen}");
    site.client.ip(&format!("addr del {V4}/24 dev eth0"));
    let long = std::time::Instant::now();
    while a.service("web")["state"] != "announced" {
        assert!(long.elapsed() < Duration::from_secs(45), "{}", a.service("web"));
        sleep(Duration::from_millis(200));
    }
    eventually("the reason is gone", || a.service("web")["reasons"] == json!([]));
}

#[test]
fn over_ipv6_a_stranger_is_found_as_well() {
    let site = Site::new(1);
    write_pools(&site);
    site.client.ip(&format!("addr add {V6}/64 dev eth0 nodad"));
    let a = site.start(0);
    site.write("web.yaml", &dual("web"));
    blocked(&[&a], &site.client.mac("eth0"));
    assert!(a.service("web")["reasons"][0]["message"].as_str().unwrap().contains(V6));
}

#[test]
fn a_stranger_that_comes_later_is_named_and_told_off() {
    let site = Site::new(2);
    write_pools(&site);
    site.write("web.yaml", &dual("web"));
    let (a, b) = (site.start(0), site.start(1));
    a.await_announced("web");
    site.client.ip(&format!("addr add {V4}/24 dev eth0"));
    let (well, text) = site.client.sh(&format!("arping -U -c 1 -w 1 -I eth0 -S {V4} {V4} || true"));
    assert!(well, "{text}");
    for process in [&a, &b] {
        let finding = process.await_finding("LB1213");
        let message = finding["message"].as_str().unwrap();
        assert!(message.contains(&site.client.mac("eth0")) && message.contains(V4), "{finding}");
        assert_eq!((&finding["object"], &finding["severity"]), (&json!("Service/default/web"), &json!("warning")));
    }
    assert_eq!(a.service("web")["state"], "announced", "it is defended, not given up");
}

#[test]
fn nobody_of_us_is_a_stranger() {
    nobody_is(&["--failover", "default"]);
}

#[test]
fn without_claims_nobody_is_called_a_stranger() {
    nobody_is(&["--failover", "off"]);
}

fn nobody_is(arguments: &[&str]) {
    let site = Site::new(3);
    write_pools(&site);
    site.write("web.yaml", &dual("web"));
    let processes: Vec<Process> = (0..3).map(|host| site.start_with(host, arguments)).collect();
    for process in &processes {
        process.await_announced("web");
    }
    let owner = processes[0].service("web")["node"].as_str().unwrap().bytes().next().unwrap() - b'a';
    site.switch.ip(&format!("link set p{} down", 11 + owner));
    let others: Vec<&Process> =
        processes.iter().enumerate().filter(|(host, _)| *host != usize::from(owner)).map(|(_, one)| one).collect();
    eventually("another host has it", || {
        let now = others[0].service("web");
        now["state"] == "announced" && now["node"].as_str().unwrap().bytes().next() != Some(b'a' + owner)
    });
    assert!(neighbour(&site.client, V4).contains("lladdr"));
    site.switch.ip(&format!("link set p{} up", 11 + owner));
    sleep(Duration::from_secs(4));
    for process in &processes {
        let state = process.state().to_string();
        assert!(!state.contains("LB1213") && !state.contains("LB1118"), "{state}");
    }
}

#[test]
fn a_host_with_another_secret_takes_nothing_that_is_announced() {
    let site = Site::new(2);
    let other = site.files.path().join("other");
    super::private(&other, "not the same secret, and long enough");
    site.write("web.yaml", &service("web", "metallb.io/loadBalancerIPs: 192.168.1.200"));
    let a = site.start(0);
    a.await_announced("web");
    let b = site.start_with_secret(1, &other);
    assert_eq!(b.await_finding("LB0014")["object"], "Node/a");
    blocked(&[&b], &site.hosts[0].mac("eth0"));
    for _ in 0..10 {
        assert_eq!(site.client.arping("192.168.1.200"), [site.hosts[0].mac("eth0")], "one of the two answers");
    }
    assert_eq!(a.service("web")["state"], "announced");
}

#[test]
fn of_two_hosts_that_cannot_hear_each_other_one_announces_in_the_end() {
    let site = Site::new(2);
    let other = site.files.path().join("other");
    super::private(&other, "not the same secret, and long enough");
    site.write("web.yaml", &service("web", "metallb.io/loadBalancerIPs: 192.168.1.200"));
    let (a, b) = (site.start(0), site.start_with_secret(1, &other));
    let announce = || [&a, &b].iter().filter(|one| one.service("web")["state"] == "announced").count();
    let begin = std::time::Instant::now();
    while announce() != 1 {
        assert!(begin.elapsed() < Duration::from_secs(90), "{} {}", a.service("web"), b.service("web"));
        sleep(Duration::from_millis(200));
    }
    sleep(Duration::from_secs(2));
    assert_eq!(announce(), 1);
}

#[test]
fn what_is_picked_automatically_is_picked_anew_and_skips_what_a_stranger_has() {
    let site = Site::new(2);
    site.client.ip("addr add 192.168.1.200/24 dev eth0");
    let (a, b) = (site.start(0), site.start(1));
    eventually("they know each other", || !a.state().to_string().contains("LB1109"));
    site.write("web.yaml", &service("web", ""));
    for process in [&a, &b] {
        eventually("it has the next address", || process.service("web")["addresses"] == json!(["192.168.1.201"]));
        process.await_announced("web");
    }
}
