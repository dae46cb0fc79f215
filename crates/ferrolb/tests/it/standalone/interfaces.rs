//! Hosts whose interfaces are missing, down, or not those that an advertisement names.

use super::*;

#[test]
fn a_host_without_a_usable_interface_leaves_the_address_to_another_and_says_so() {
    let site = Site::new(2);
    site.write("web.yaml", &service("web", ""));
    let (a, b) = (site.start(0), site.start(1));
    let elected = usize::from(a.await_announced("web")["node"] == "b");
    let (elected_process, other_process) = if elected == 0 { (a, b) } else { (b, a) };
    elected_process.end(Signal::SIGTERM);
    let cut_off = site.start_with(elected, &["--interface", "nope0"]);
    let finding = cut_off.await_finding("LB1106");
    for part in ["--interface nope0", "there is no such interface", "eth0"] {
        assert!(finding["message"].as_str().unwrap().contains(part), "{finding}");
    }
    assert_eq!(cut_off.status("table").status.code(), Some(1));
    let other = 1 - elected;
    eventually("both know that the other host announces", || {
        let state = cut_off.state();
        let alive = state["peers"].as_array().unwrap().iter().filter(|peer| peer["alive"] == true).count();
        let both = [&cut_off, &other_process];
        alive == 2 && both.iter().all(|process| process.service("web")["node"] == name_of(other))
    });
    assert_eq!(site.client.arping("192.168.1.200"), [site.hosts[other].mac("eth0")]);
    let log = site.log(elected);
    assert!(log.contains("LB1106") && log.contains("nope0"), "{log}");
    // Where the only live host has none, nobody announces, and everybody hears why.
    other_process.end(Signal::SIGTERM);
    eventually("the reason is told", || cut_off.service("web")["reasons"][0]["code"] == "LB1106");
    let text = String::from_utf8(cut_off.status("table").stdout).unwrap();
    assert!(text.contains("default/web  LB1106") && text.contains("1 of 1 Services are not served"), "{text}");
    assert!(!site.log(elected).contains("serviceAnnounced"), "nothing was ever on the wire");
}

#[test]
fn an_interface_that_goes_down_takes_its_announcements_with_it_and_both_say_so() {
    let site = Site::new(1);
    site.write("web.yaml", &service("web", ""));
    let process = site.start(0);
    process.await_announced("web");
    for (down, up, why) in [
        ("link set eth0 down", "link set eth0 up", "eth0 is down"),
        ("link set eth0 name lan0", "link set lan0 name eth0", ""),
    ] {
        site.hosts[0].ip(down);
        if why.is_empty() {
            // A name is no reason to be silent.
            assert_eq!(process.await_announced("web")["addresses"], json!(["192.168.1.200"]));
        } else {
            let finding = process.await_finding("LB1106");
            assert!(finding["message"].as_str().unwrap().contains(why), "{finding}");
            assert_eq!(process.service("web")["reasons"][0]["code"], "LB1106");
        }
        site.hosts[0].ip(up);
        eventually("all is well again", || process.status("json").status.code() == Some(0));
    }
    let log = site.log(0);
    assert_eq!(log.matches("serviceAnnounced").count(), 2, "{log}");
    assert_eq!(log.matches("serviceWithdrawn").count(), 1, "{log}");
}

#[test]
fn an_advertisement_for_interfaces_that_the_elected_host_lacks_is_said_on_every_host() {
    let site = Site::new(2);
    site.write("web.yaml", &service("web", ""));
    site.write("pool.yaml", &format!("{POOL}spec: {{interfaces: [wlan0]}}\n"));
    for process in [site.start(0), site.start(1)] {
        eventually("the reason is told", || process.service("web")["reasons"][0]["code"] == "LB1106");
        let message = process.service("web")["reasons"][0]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("wlan0"), "{message}");
    }
}
