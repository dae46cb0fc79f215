//! The web page in a real browser: what it shows once its script has run, and what hostile text becomes in it.

use super::*;

const HOSTILE: &str = "<img src=x onerror=document.title=1>";

/// What stands in the page after its script has run, as markup.
fn rendered(host: &Host) -> String {
    let profile = tempfile::tempdir().unwrap();
    let command = format!(
        "exec timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
         --user-data-dir={} --virtual-time-budget=4000 --dump-dom http://127.0.0.1:7473/ 2>/dev/null",
        profile.path().display()
    );
    let (well, text) = host.sh(&command);
    assert!(well, "chromium is needed, and shows the page: {text}");
    text
}

#[test]
fn a_browser_shows_pools_owners_and_who_took_over_from_whom_and_hostile_text_stays_text() {
    let site = Site::new(2);
    site.write("web.yaml", &service("web", ""));
    site.write("hostile.yaml", &service("hostile", &format!("metallb.io/address-pool: {HOSTILE:?}")));
    let mut processes: Vec<Process> =
        (0..2).map(|host| site.start_with(host, &["--web-page", "127.0.0.1:7473"])).collect();
    let owner = processes[0].await_announced("web")["node"].as_str().unwrap().to_owned();
    let (dead, alive) = if owner == "a" { (0, 1) } else { (1, 0) };
    eventually("both know who owns it", || processes[alive].service("web")["node"] == owner.as_str());
    // Without a cable it is as good as dead, its kernel included.
    site.switch.ip(&format!("link set p{} down", 11 + dead));
    eventually("the other has it", || processes[alive].service("web")["node"] == name_of(alive).as_str());
    drop(processes.remove(dead));
    let page = rendered(&site.hosts[alive]);
    let document: Value =
        serde_json::from_str(&site.hosts[alive].sh("curl -s http://127.0.0.1:7473/status.json").1).unwrap();
    assert_eq!(document["services"][1]["name"], "web");
    assert!(page.contains("<title>FerroLB: 1 of 2 Services not served</title>"), "{page}");
    for text in [
        "<td>default/web</td><td>192.168.1.200</td>",
        "announced</span>",
        "<td>192.168.1.200-192.168.1.220</td>",
        &format!("192.168.1.200 taken over from {owner}, which had not been heard for "),
        "LB1004  default/hostile",
    ] {
        assert!(page.contains(text), "no {text} in {page}");
    }
    assert!(page.contains("&lt;img src=x onerror=document.title=1&gt;"), "it is shown as it was written: {page}");
    assert!(!page.contains("<img"), "and is no markup: {page}");
}

#[test]
fn the_page_is_off_unless_it_is_asked_for() {
    let site = Site::new(1);
    let _process = site.start(0);
    let (_, sockets) = site.hosts[0].sh("ss -Hlnt");
    assert_eq!(sockets.trim(), "", "nothing listens by TCP but what BGP or health checks need");
}
