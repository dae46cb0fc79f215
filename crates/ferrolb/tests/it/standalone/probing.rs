//! `ferrolb probe` and `ferrolb pool scan` as a user runs them on the LAN: what is right is fine, and each way in which
//! the wire disagrees has its code.

use serde_json::Value;

use super::{FERROLB, POOL, Process, Site, service};
use crate::hosts::{Host, eventually};

const V4: &str = "192.168.1.200";
const V6: &str = "fd00::200";

/// A dual-stack Service, announced by one of two hosts, and a client with both families.
struct Announced {
    site: Site,
    processes: Vec<Process>,
    owner: usize,
}

fn announced() -> Announced {
    let site = Site::new(2);
    site.client.ip("addr add fd00::50/64 dev eth0 nodad");
    site.write("pool.yaml", &POOL.replace("192.168.1.220]", "192.168.1.220, 'fd00::200-fd00::20f', 'fd00:1::/64']"));
    let web = service("web", &format!("metallb.io/loadBalancerIPs: '{V4},{V6}'"));
    site.write(
        "web.yaml",
        &web.replace("{type:", "{ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], type:"),
    );
    let processes: Vec<Process> = (0..2).map(|host| site.start(host)).collect();
    eventually("both hosts name the same owner", || {
        let nodes = [0, 1].map(|host: usize| processes[host].service("web"));
        nodes.iter().all(|one| one["state"] == "announced") && nodes[0]["node"] == nodes[1]["node"]
    });
    let owner = usize::from(processes[0].service("web")["node"] == "b");
    Announced { site, processes, owner }
}

impl Announced {
    /// Asks on a host; who announces what is asked of the first process.
    fn ask(&self, on: &Host, line: &str) -> (Value, Option<i32>) {
        let line = format!("{FERROLB} {line} -o json --socket {}", self.processes[0].socket.display());
        let output = on.run(move || std::process::Command::new("sh").args(["-c", &line]).output().unwrap());
        let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (document, output.status.code())
    }

    /// Asks until the answer has this code, or none, and returns what was answered.
    fn await_code(&self, on: &Host, line: &str, code: Option<&str>, exit: i32) -> Value {
        let mut last = Value::Null;
        eventually(&format!("{line} says {code:?}"), || {
            let (document, code_of_exit) = self.ask(on, line);
            last = document;
            last[0]["findings"][0]["code"].as_str() == code && code_of_exit == Some(exit)
        });
        last
    }
}

#[test]
fn the_machine_that_announces_is_found_by_arp_and_by_neighbour_solicitations() {
    let all = announced();
    let mac = all.site.hosts[all.owner].mac("eth0");
    let (probed, exit) = all.ask(&all.site.client, "probe svc/web --port 0");
    assert_eq!(exit, Some(0), "{probed}");
    for (index, (address, protocol)) in [(V4, "ARP"), (V6, "NDP")].into_iter().enumerate() {
        let one = &probed[index];
        assert_eq!((&one["address"], &one["protocol"]), (&address.into(), &protocol.into()), "{probed}");
        assert_eq!(one["answers"].as_array().unwrap().len(), 1, "{probed}");
        assert_eq!(one["answers"][0]["mac"], mac.as_str());
        assert_eq!(one["answers"][0]["node"], super::name_of(all.owner));
    }
    // Nobody forwards what arrives: the announcement is right, and the connection is not taken.
    let (probed, exit) = all.ask(&all.site.client, &format!("probe {V4}"));
    assert_eq!((exit, &probed[0]["findings"][0]["code"]), (Some(1), &"LB1221".into()), "{probed}");
}

#[test]
fn whoever_cannot_ask_says_so_and_where_to_ask() {
    let all = announced();
    let owner = &all.site.hosts[all.owner];
    let same = all.await_code(owner, &format!("probe {V4} --port 0"), Some("LB1203"), 2);
    // The process that is asked runs on host a: that is where one is, and no other host to ask from.
    let fix = match all.owner {
        0 => format!("ask from b, there in the speaker's pod or on the host: ferrolb probe {V4}"),
        _ => "ask from another machine of the network: another node, or a computer on the LAN".to_owned(),
    };
    assert_eq!(same[0]["findings"][0]["fix"], fix.as_str());
    let off = all.await_code(&all.site.switch, &format!("probe {V4} --port 0"), Some("LB1204"), 2);
    assert!(off[0].get("answers").is_none(), "{off}");
    let free = all.await_code(&all.site.client, "probe 192.168.1.219 --port 0", Some("LB1202"), 1);
    assert_eq!(free[0]["answers"], Value::Array(Vec::new()));
}

#[test]
fn an_answer_that_is_lost_one_too_many_and_a_strangers_are_told_apart() {
    let all = announced();
    let (site, client) = (&all.site, &all.site.client);
    let line = format!("probe {V4} --port 0");
    all.await_code(client, &line, None, 0);
    // Stands for Wi-Fi and for switches that filter: the client's port passes nothing.
    site.switch.sh("bridge link set dev p50 state 0");
    all.await_code(client, &line, Some("LB1201"), 1);
    site.switch.sh("bridge link set dev p50 state 3");
    all.await_code(client, &line, None, 0);
    // The kernel of the host that does not announce answers too, as with kube-proxy in IPVS mode.
    let other = &site.hosts[1 - all.owner];
    other.ip(&format!("addr add {V4}/32 dev eth0"));
    let two = all.await_code(client, &line, Some("LB1211"), 1);
    assert_eq!(two[0]["answers"].as_array().unwrap().len(), 2, "{two}");
    assert!(two[0]["findings"][0]["message"].as_str().unwrap().starts_with(&super::name_of(1 - all.owner)), "{two}");
    other.ip(&format!("addr del {V4}/32 dev eth0"));
    all.await_code(client, &line, None, 0);
    site.switch.ip(&format!("addr add {V4}/24 dev br0"));
    let stranger = all.await_code(client, &line, Some("LB1213"), 1);
    assert!(stranger[0]["findings"][0]["message"].as_str().unwrap().contains(&site.switch.mac("br0")), "{stranger}");
    // Where a host cannot be identified, nobody is called a stranger.
    site.switch.ip(&format!("link set p{} down", 11 + (1 - all.owner)));
    all.await_code(client, &line, Some("LB1214"), 1);
}

#[test]
fn a_pool_is_scanned_in_both_families_and_says_what_it_cannot_ask_for() {
    let all = announced();
    let (site, client) = (&all.site, &all.site.client);
    // A pool has one interface's network, and this range nobody is in.
    client.ip("addr add fd00:1::50/64 dev eth0 nodad");
    let (scanned, exit) = all.ask(client, "pool scan pool");
    assert_eq!((exit, scanned["used"].as_array().map(Vec::len)), (Some(0), Some(2)), "{scanned}");
    assert_eq!(scanned["asked"], 21 + 16);
    assert_eq!(scanned["only_services_of"].as_array().map(Vec::len), Some(1), "{scanned}");
    site.switch.ip("addr add 192.168.1.219/24 dev br0");
    site.switch.ip("addr add fd00::20e/64 dev br0 nodad");
    let (scanned, exit) = all.ask(client, "scan pool");
    let used = scanned["used"].as_array().unwrap();
    let of = |address: &str| used.iter().find(|one| one["address"] == address).cloned().unwrap_or_default();
    assert_eq!(exit, Some(1), "{scanned}");
    for address in ["192.168.1.219", "fd00::20e"] {
        assert_eq!(of(address)["finding"]["code"], "LB1118", "{scanned}");
        assert_eq!(of(address)["macs"][0], site.switch.mac("br0").as_str());
    }
    assert_eq!(of(V4)["holder"], "Service/default/web");
    let (_, exit) = all.ask(client, "pool scan no-such-pool");
    assert_eq!(exit, Some(2));
}
