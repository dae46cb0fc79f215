//! Links that go away and come back, and a network that is cut in two, as a client sees it that never stops asking.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use super::*;

const VIP: &str = "192.168.1.200";
const PORT: u16 = 9000;

/// Three hosts, one address bound to whoever owns it, and which of them owns it first.
fn site() -> (Site, Vec<Process>, usize) {
    let site = Site::new(3);
    site.write("vip.yaml", &service("vip", "ferrolb.io/bind-address: lo"));
    let processes: Vec<Process> = (0..3).map(|host| site.start(host)).collect();
    let node = processes[0].await_announced("vip")["node"].as_str().unwrap().to_owned();
    let owner = (0..3).find(|host| name_of(*host) == node).unwrap();
    site.hosts.iter().for_each(echo);
    // The rounds of announcements that follow the start are over.
    sleep(Duration::from_secs(6));
    let questions = Questions::start(&site);
    sleep(Duration::from_millis(500));
    let (asked, lost) = questions.end();
    assert!(lost < asked, "the client gets there");
    (site, processes, owner)
}

impl Site {
    fn cable(&self, host: usize, state: &str) {
        self.switch.ip(&format!("link set p{} {state}", 11 + host));
    }

    /// The MAC address that the client sends to at present.
    fn sends_to(&self) -> String {
        let (_, text) = self.client.sh(&format!("ip neigh show {VIP} dev eth0"));
        text.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or_default().to_owned()
    }
}

/// Asks the address a hundred times a second by UDP; whoever has it sends each question back.
struct Questions {
    asking: Arc<AtomicBool>,
    thread: JoinHandle<(usize, usize)>,
}

impl Questions {
    fn start(site: &Site) -> Self {
        let asking = Arc::new(AtomicBool::new(true));
        let goes_on = asking.clone();
        // A thread begins in the namespace of the one that starts it.
        let thread = site.client.run(|| {
            spawn(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                let (mut asked, mut answered, mut buffer) = (0_usize, BTreeSet::new(), [0; 8]);
                let mut ask_at = Instant::now();
                let mut end = None;
                while end.is_none_or(|end| Instant::now() < end) {
                    if end.is_none() && Instant::now() >= ask_at {
                        ask_at += Duration::from_millis(10);
                        // Not sent is lost as well.
                        let _ = socket.send_to(&asked.to_be_bytes(), (VIP, PORT));
                        asked += 1;
                    }
                    if socket.recv_from(&mut buffer).is_ok() {
                        answered.insert(buffer);
                    }
                    if end.is_none() && !goes_on.load(Ordering::Relaxed) {
                        end = Some(Instant::now() + Duration::from_millis(500));
                    }
                }
                (asked, asked - answered.len())
            })
        });
        Self { asking, thread }
    }

    /// How many were asked, and how many had no answer.
    fn end(self) -> (usize, usize) {
        self.asking.store(false, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Sends back what comes to this host, for the rest of the test.
fn echo(host: &Host) {
    host.run(|| {
        let socket = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        spawn(move || {
            let mut buffer = [0; 8];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
    });
}

#[test]
fn the_link_of_a_host_that_owns_nothing_comes_back_and_no_client_notices() {
    let (site, _processes, owner) = site();
    let mac = site.hosts[owner].mac("eth0");
    for other in (0..3).filter(|host| *host != owner) {
        let questions = Questions::start(&site);
        sleep(Duration::from_millis(500));
        site.cable(other, "down");
        sleep(Duration::from_secs(5));
        site.cable(other, "up");
        let end = Instant::now() + Duration::from_secs(8);
        let mut elsewhere = 0;
        while Instant::now() < end {
            elsewhere += u32::from(site.sends_to() != mac);
            sleep(Duration::from_millis(20));
        }
        let (asked, lost) = questions.end();
        println!("other {other}: {lost} of {asked} lost, {elsewhere} looks elsewhere");
        assert_eq!(elsewhere, 0, "the client never sends to another host");
        assert!(asked > 500 && lost == 0, "{lost} of {asked} questions had no answer");
        assert_eq!(site.client.arping(VIP), std::slice::from_ref(&mac));
    }
}

#[test]
fn the_owner_whose_link_comes_back_finds_another_and_leaves_it_in_peace() {
    let (site, _processes, owner) = site();
    let mac = site.hosts[owner].mac("eth0");
    let questions = Questions::start(&site);
    site.cable(owner, "down");
    eventually("another host takes over", || !site.sends_to().is_empty() && site.sends_to() != mac);
    let taker = site.sends_to();
    sleep(Duration::from_secs(2));
    site.cable(owner, "up");
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        assert_eq!(site.sends_to(), taker, "who took it keeps it");
        sleep(Duration::from_millis(20));
    }
    let (asked, lost) = questions.end();
    println!("owner: {lost} of {asked} lost");
    // A hundred questions a second: what is lost is the time until another host has taken over.
    assert!(lost < 100, "{lost} of {asked} questions had no answer");
    assert_eq!(site.client.arping(VIP), [taker], "nobody else answers");
}

#[test]
fn a_network_that_was_cut_in_two_has_one_owner_again() {
    let (site, _processes, owner) = site();
    let others: Vec<usize> = (0..3).filter(|host| *host != owner).collect();
    // The two that own nothing on another switch, with their carrier; the client stays with the owner.
    let switch = &site.switch;
    switch.ip("link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    switch.ip("link set br1 up");
    others.iter().for_each(|host| switch.ip(&format!("link set p{} master br1", 11 + host)));
    let has = |host: usize| site.hosts[host].sh("ip -o addr show dev lo").1.contains(VIP);
    eventually("the other half has an owner of its own", || others.iter().any(|host| has(*host)));
    sleep(Duration::from_secs(6));
    let questions = Questions::start(&site);
    others.iter().for_each(|host| switch.ip(&format!("link set p{} master br0", 11 + host)));
    // The larger half has become sure of itself; the smaller one gives way.
    let merged = Instant::now();
    let left = || (0..3).filter(|host| has(*host)).collect::<Vec<_>>();
    eventually("one owner is left", || left().len() == 1);
    let mac = site.hosts[left()[0]].mac("eth0");
    eventually("the client sends to it", || site.sends_to() == mac);
    println!("merge: sent to the only owner {:?} after the merge", merged.elapsed());
    assert!(merged.elapsed() < Duration::from_secs(3));
    sleep(Duration::from_secs(3));
    let (asked, lost) = questions.end();
    println!("merge: {lost} of {asked} lost");
    assert_eq!(site.sends_to(), mac);
    assert_eq!(site.client.arping(VIP), [mac], "nobody else answers");
}
