//! How long it takes to notice that the way to a router is cut, next to bfdd of FRR in the same run and on the same ways.
//!
//! Two hosts on two switches that are joined by a cable, which is pulled: neither end loses its carrier, so BFD alone can
//! tell. At the far end is bfdd; at the near end first the product's driver, then another bfdd, each with 50 ms and three
//! packets. Figures are printed with the load, nothing is asserted but that both notice. `FERROLB_TRIES` says how often
//! (30), `FERROLB_HOGS` how many threads do nothing but burn the processor meanwhile (0).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use ferrolb::drive::bfd::{Bfd, Way};
use ferrolb::net::priority;
use ferrolb_proto::bfd::State;
use ferrolb_rules::config::{self, Distance};
use tempfile::TempDir;

#[path = "../tests/it/hosts.rs"]
mod hosts;

use hosts::{Host, eventually};

const INTERVAL: Duration = Duration::from_millis(50);
const DAY: u128 = 86_400_000_000;

fn main() {
    // `cargo test --benches` calls this, too: the short form proves that it still works.
    let short = !std::env::args().any(|argument| argument == "--bench");
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (tries, hogs) = if short { (1, 0) } else { (number("FERROLB_TRIES", 30), number("FERROLB_HOGS", 0)) };
    let stop = Arc::new(AtomicBool::new(false));
    let burning: Vec<_> = (0..hogs)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        })
        .collect();
    println!("{tries} cuts, {} ms x 3, {hogs} hogs; ms from the cut to the end of the session", INTERVAL.as_millis());
    println!("{:<24} {:>7} {:>7} {:>7} {:>7} {:>12}", "", "min", "median", "p99", "max", "false downs");
    let net = Net::new();
    net.ours(tries);
    net.frr(tries);
    stop.store(true, Ordering::Relaxed);
    burning.into_iter().for_each(|hog| hog.join().unwrap());
    println!("load average: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
}

fn print(name: &str, mut times: Vec<Duration>, false_downs: u64) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!("{name:<24} {:>7.1} {:>7.1} {:>7.1} {:>7.1} {false_downs:>12}", at(0), at(50), at(99), at(100));
}

/// Near and far host, and the two switches between them.
struct Net {
    near: Host,
    far: Host,
    switches: Host,
    files: TempDir,
}

impl Net {
    fn new() -> Self {
        let net =
            Self { near: Host::new(), far: Host::new(), switches: Host::new(), files: tempfile::tempdir().unwrap() };
        let switches = &net.switches;
        // Or it would take a busy machine longer to pull the cable than to notice it.
        switches.run(priority::claim);
        switches.ip("link add x0 type veth peer name x1");
        for (host, number, cable) in [(&net.near, 1, "x0"), (&net.far, 2, "x1")] {
            switches.ip(&format!("link add br{number} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"));
            switches.join(&format!("p{number}"), host, "eth0");
            for port in [cable, &format!("p{number}")] {
                switches.ip(&format!("link set {port} master br{number} up"));
            }
            switches.ip(&format!("link set br{number} up"));
            host.ip(&format!("address add 10.8.0.{number}/24 dev eth0"));
        }
        net.start_frr("far", &net.far, "10.8.0.1");
        net
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn start_frr(&self, name: &str, host: &Host, peer: &str) {
        let directory = self.directory(name);
        fs::create_dir(&directory).unwrap();
        let own = directory.to_str().unwrap();
        let timing = "receive-interval 50\n  transmit-interval 50\n  detect-multiplier 3";
        let log = format!("log file {own}/log debugging\nlog timestamp precision 6\ndebug bfd peer\n");
        fs::write(directory.join("bfdd.conf"), format!("{log}bfd\n peer {peer}\n  {timing}\n !\n")).unwrap();
        fs::write(directory.join("zebra.conf"), "").unwrap();
        let common = format!("-d -z {own}/zserv --vty_socket {own}");
        for command in [
            format!("chown -R frr:frr {own} && chmod 755 {own} {own}/.."),
            format!("/usr/lib/frr/zebra {common} -i {own}/zebra.pid -f {own}/zebra.conf"),
            format!("/usr/lib/frr/bfdd {common} --bfdctl {own}/bfdd.sock -i {own}/bfdd.pid -f {own}/bfdd.conf"),
        ] {
            let (well, text) = host.sh(&command);
            assert!(well, "{command}: {text}");
        }
    }

    fn stop_frr(&self, name: &str, host: &Host) {
        let _ = host.sh(&format!("cd {} && kill $(cat bfdd.pid zebra.pid)", self.directory(name).display()));
    }

    fn frr_is_up(&self, name: &str, host: &Host) -> bool {
        let own = self.directory(name);
        host.sh(&format!("vtysh --vty_socket {} -c 'show bfd peers'", own.display())).1.contains("Status: up")
    }

    /// Pulls the cable and puts it back once the end has been noticed; how long that took.
    fn cut(&self, noticed: impl FnOnce(Instant, SystemTime) -> Duration) -> Duration {
        // Not in step with the packets.
        sleep(Duration::from_millis(500 + rand::random_range(0..100)));
        let (at, of_day) = self.switches.run(|| {
            let pulled = Command::new("ip").args(["link", "set", "x0", "down"]).status().unwrap();
            assert!(pulled.success());
            (Instant::now(), SystemTime::now())
        });
        let took = noticed(at, of_day);
        self.switches.ip("link set x0 up");
        took
    }

    fn ours(&self, tries: usize) {
        let way = Way { remote: "10.8.0.2".parse().unwrap(), source: None, device: None };
        let settings = config::Bfd {
            transmit_interval: INTERVAL,
            receive_interval: INTERVAL,
            detect_multiplier: 3,
            passive: false,
            distance: Distance::OneHop,
        };
        let watched = way.clone();
        let bfd = self.near.run(move || {
            let mut bfd = Bfd::default();
            bfd.set(BTreeMap::from([(watched, settings)]));
            bfd
        });
        let seen = bfd.follow(&way).unwrap();
        let both = || seen.borrow().change.state == State::Up && self.frr_is_up("far", &self.far);
        let mut times = Vec::new();
        for _ in 0..tries {
            eventually("the session is up", both);
            let seen = seen.clone();
            times.push(self.cut(move |cut_at, _| {
                // As urgent as the driver, or it would be this thread that is measured.
                let watcher = thread::spawn(move || {
                    priority::claim();
                    while seen.borrow().change.state == State::Up {
                        sleep(Duration::from_micros(200));
                    }
                    cut_at.elapsed()
                });
                watcher.join().unwrap()
            }));
        }
        let breaks = seen.borrow().breaks;
        print("ferrolb", times, breaks - u64::try_from(tries).unwrap());
        let (late, count) = (bfd.lateness(), bfd.lateness().count());
        let [half, most, all] = [500, 999, 1000].map(|per_mille| late.at_most(per_mille));
        println!("lateness over {count} timeouts: p50 <= {half:?}, p99.9 <= {most:?}, worst <= {all:?}");
    }

    fn frr(&self, tries: usize) {
        self.start_frr("near", &self.near, "10.8.0.2");
        let log = || fs::read_to_string(self.directory("near").join("log")).unwrap_or_default();
        let downs = || log().lines().filter(|line| line.contains("up -> down")).map(str::to_owned).collect::<Vec<_>>();
        let mut times = Vec::new();
        for _ in 0..tries {
            eventually("FRR's session is up", || {
                self.frr_is_up("near", &self.near) && self.frr_is_up("far", &self.far)
            });
            let before = downs().len();
            times.push(self.cut(|_, cut_at| {
                eventually("FRR notices", || downs().len() > before);
                let since_midnight = cut_at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() % DAY;
                let noticed = time_of_day(downs().last().unwrap());
                Duration::from_micros(u64::try_from((noticed + DAY - since_midnight) % DAY).unwrap())
            }));
        }
        let false_downs = downs().len() - tries;
        print("bfdd of FRR", times, false_downs.try_into().unwrap());
        self.stop_frr("near", &self.near);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.stop_frr("far", &self.far);
    }
}

/// Microseconds since midnight, UTC, of a line like `2026/11/28 00:03:13.123456 BFD: …`.
fn time_of_day(line: &str) -> u128 {
    let time = line.split_whitespace().nth(1).expect("a line of the log begins with date and time");
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().unwrap()).collect();
    let seconds = parts.iter().fold(0.0, |sum, part| sum * 60.0 + part);
    Duration::from_secs_f64(seconds).as_micros()
}
