//! What routers and a client behind one see of `ferrolb standalone`, next to FRR and BIRD as speakers in the same run
//! (metrics A5, A7, A8, C6, and memory).
//!
//! A node and a router on a switch, a client behind the router. The router is FRR with a kernel to program where outages
//! are measured, and BIRD where routes are counted. Figures are printed with the load; what is asserted is only that
//! everything comes about. `FERROLB_TRIES` says how often (30), `FERROLB_BIN` names another program than this build's.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]

use std::fs;
use std::time::Duration;

#[path = "../tests/it/hosts.rs"]
mod hosts;
#[path = "routers/lab.rs"]
mod lab;
#[path = "routers/many.rs"]
mod many;
#[path = "routers/outage.rs"]
mod outage;
#[path = "../tests/it/switch.rs"]
mod switch;

fn main() {
    // `cargo test --benches` calls this, too: the short form proves that it still works.
    let short = !std::env::args().any(|argument| argument == "--bench");
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let size = if short {
        Size { tries: 1, routes: 100 }
    } else {
        Size { tries: number("FERROLB_TRIES", 30), routes: 10_000 }
    };
    let parts: [Part; 5] = [
        ("many", many::prefixes),
        ("memory", many::memory),
        ("changes", many::changes),
        ("crash", outage::crash),
        ("restart", outage::restart),
    ];
    let wanted = std::env::var("FERROLB_PARTS").unwrap_or_default();
    for (name, part) in parts {
        if wanted.is_empty() || wanted.split(',').any(|one| one == name) {
            part(size);
            println!("  load average: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
        }
    }
}

/// A measurement, by name.
type Part = (&'static str, fn(Size));

/// How much is measured.
#[derive(Clone, Copy)]
struct Size {
    tries: usize,
    routes: u32,
}

fn print(name: &str, mut spans: Vec<Duration>) {
    spans.sort();
    let at = |share: usize| spans[(spans.len() * share / 100).min(spans.len() - 1)].as_secs_f64() * 1000.0;
    println!("  {name:<52} {:>8.1} {:>8.1} {:>8.1} {:>8.1}", at(0), at(50), at(95), at(100));
}
