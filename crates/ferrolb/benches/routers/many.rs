//! Ten thousand routes: how soon they are out and in a router's table, what they take in memory, and ten thousand changes.

use std::fmt::Write as _;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ferrolb_proto::bgp::wire::open::{Capabilities, GracefulRestart, Open};
use ferrolb_proto::bgp::wire::{HEADER_LEN, keepalive};
use ferrolb_proto::bgp::{Asn, Families};

use crate::hosts::{Host, eventually};
use crate::lab::{Bird, Lab, NODE, ROUTER, peer, services};
use crate::{Size, print};

/// Enough for as many Services.
const POOL: &str = "10.64.0.0/16";
const DIRECT: &str = "protocol device {}\nprotocol direct { ipv4; }\n";

/// A router that only reads: from its KEEPALIVE, with which the session begins, to the mark behind the last UPDATE.
fn read_all(listener: &TcpListener, routes: u32) -> Duration {
    use std::io::Write as _;
    let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let restart = GracefulRestart { time: 1, families: Families::V4, ..GracefulRestart::default() };
    let capabilities = Capabilities {
        families: Some(Families::V4),
        four_octet: Some(Asn(64513)),
        // With it comes a mark at the end.
        graceful_restart: Some(restart),
        ..Capabilities::default()
    };
    let open = Open { asn: Asn(64513), hold_time: 90, router_id: Ipv4Addr::new(192, 0, 2, 2), capabilities };
    stream.write_all(&open.emit()).unwrap();
    let (mut began_at, mut bytes) = (Instant::now(), 0);
    loop {
        let mut header = [0; HEADER_LEN];
        stream.read_exact(&mut header).unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - HEADER_LEN];
        stream.read_exact(&mut body).unwrap();
        match header[18] {
            1 => {
                began_at = Instant::now();
                stream.write_all(&keepalive()).unwrap();
            }
            2 if body.len() == 4 => {
                assert!(bytes > 5 * usize::try_from(routes).unwrap(), "only {bytes} bytes");
                return began_at.elapsed();
            }
            2 => bytes += body.len(),
            _ => {}
        }
    }
}

/// From the last look at BIRD's table that found nothing to the first that finds all.
fn fill(bird: &mut Bird, routes: u32) -> Duration {
    bird.ask("restart node");
    eventually("the old routes are gone", || bird.count() == 0);
    let (end, mut empty_at) = (Instant::now() + Duration::from_secs(20), Instant::now());
    loop {
        assert!(Instant::now() < end, "not all routes came");
        match bird.count() {
            0 => empty_at = Instant::now(),
            count if count < routes => {}
            _ => return empty_at.elapsed(),
        }
    }
}

fn receiver(local: &str) -> String {
    format!(
        "router id {local};\n{DIRECT}protocol bgp node {{ local {local} as 64513; neighbor {NODE} as 64512; passive;\n\
         error wait time 1, 2; ipv4 {{ import all; export none; }}; }}\n"
    )
}

/// How soon ten thousand routes are out of the socket, and in BIRD's table, next to BIRD as the speaker (C6).
pub(crate) fn prefixes(size: Size) {
    println!("{} routes, ms                                              min   median      p95      max", size.routes);
    let lab = Lab::new();
    let reader = lab.plug("192.168.1.60");
    let peers = peer("bird", ROUTER, "") + &peer("reader", "192.168.1.60", ", enableGracefulRestart: true");
    lab.configure(POOL, &peers);
    lab.manifest("services.yaml", &services(0..size.routes));
    let listener = reader.run(|| TcpListener::bind("192.168.1.60:179").unwrap());
    let mut bird = lab.start_bird(&lab.router, "bird", &receiver(ROUTER));
    let ours = lab.start_ferrolb();
    let end = Instant::now() + Duration::from_secs(120);
    while bird.count() < size.routes {
        assert!(Instant::now() < end, "{} routes", bird.count());
        std::thread::sleep(Duration::from_millis(100));
    }
    read_all(&listener, size.routes);
    print(
        "the reader's KEEPALIVE to the last UPDATE",
        (0..size.tries).map(|_| read_all(&listener, size.routes)).collect(),
    );
    print("BIRD's table, empty to full, from ferrolb", (0..size.tries).map(|_| fill(&mut bird, size.routes)).collect());
    drop((ours, listener));
    let mut config = format!("router id {NODE};\n{DIRECT}protocol static {{ ipv4;\n");
    for number in 0..size.routes {
        let _ = writeln!(config, "route 10.64.{}.{}/32 unreachable;", number >> 8, number & 255);
    }
    let _ = write!(
        config,
        "}}\nprotocol bgp node {{ local {NODE} as 64512; neighbor {ROUTER} as 64513; connect delay time 1;\n\
         connect retry time 1; error wait time 1, 2; ipv4 {{ import none; next hop self; export where proto = \"static1\"; }}; }}\n"
    );
    let _speaker = lab.start_bird(&lab.node, "speaker", &config);
    print("BIRD's table, empty to full, from BIRD", (0..size.tries).map(|_| fill(&mut bird, size.routes)).collect());
}

/// What four peers and ten thousand routes take, next to FRR (two programs of which have to run).
pub(crate) fn memory(size: Size) {
    println!("memory with four peers and {} routes, MB", size.routes);
    let lab = Lab::new();
    let addresses: Vec<String> = (51..55).map(|number| format!("192.168.1.{number}")).collect();
    // BIRD tells sessions with one neighbour apart by nothing but the neighbour, so each has a host of its own.
    let hosts: Vec<Host> = addresses.iter().map(|address| lab.plug(address)).collect();
    let routers = addresses.iter().zip(&hosts);
    let mut routers: Vec<Bird> =
        routers.map(|(address, host)| lab.start_bird(host, &format!("bird-{address}"), &receiver(address))).collect();
    let mut await_all = |what: &str| {
        let end = Instant::now() + Duration::from_secs(120);
        for bird in &mut routers {
            while bird.count() != size.routes {
                assert!(Instant::now() < end, "{what}: {} routes", bird.count());
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        // Until what was needed for a moment is given back.
        std::thread::sleep(Duration::from_secs(2));
    };
    lab.configure(POOL, "");
    lab.manifest("services.yaml", &services(0..size.routes));
    let ours = lab.start_ferrolb();
    eventually("the program has all addresses", || {
        std::fs::read_to_string(lab.path("state/assignments.json"))
            .is_ok_and(|text| text.contains(&format!("s{:05}", size.routes - 1)))
    });
    std::thread::sleep(Duration::from_secs(5));
    let without = ours.resident();
    let peers: String = addresses.iter().map(|address| peer(&address.replace('.', "-"), address, "")).collect();
    lab.configure(POOL, &peers);
    await_all("ferrolb");
    println!("  ferrolb standalone: {:.1}, before it had peers {without:.1}", ours.resident());
    drop(ours);
    let mut bgp = format!(
        "router bgp 64512\n bgp router-id {NODE}\n no bgp ebgp-requires-policy\n no bgp network import-check\n"
    );
    for address in &addresses {
        let _ = write!(bgp, " neighbor {address} remote-as 64513\n neighbor {address} timers connect 1\n");
    }
    bgp.push_str(" address-family ipv4 unicast\n");
    for number in 0..size.routes {
        let _ = writeln!(bgp, "  network 10.64.{}.{}/32", number >> 8, number & 255);
    }
    let frr = lab.start_frr(&lab.node, "speaker", &bgp);
    await_all("FRR");
    let each: Vec<f64> = frr.daemons.iter().map(super::lab::Program::resident).collect();
    println!(
        "  FRR: zebra {:.1}, bfdd {:.1}, bgpd {:.1}, together {:.1}",
        each[0],
        each[1],
        each[2],
        each.iter().sum::<f64>()
    );
}

/// Ten thousand times a Service comes or goes: no session, and no BFD, is reset (A8).
pub(crate) fn changes(size: Size) {
    let lab = Lab::new();
    let bgp = format!(
        "router bgp 64513\n bgp router-id {ROUTER}\n no bgp ebgp-requires-policy\n neighbor {NODE} remote-as 64512\n \
         neighbor {NODE} passive\n neighbor {NODE} bfd\n neighbor {NODE} bfd profile fast\n"
    );
    let frr = lab.start_frr(&lab.router, "router", &bgp);
    lab.configure(POOL, &peer("router", ROUTER, ", bfdProfile: fast"));
    lab.manifest("one.yaml", &services(100..101));
    let _ours = lab.start_ferrolb();
    let has = |count: u32| {
        let text = frr.vtysh("show bgp ipv4 unicast summary");
        let row = text.lines().find(|line| line.starts_with(NODE)).and_then(|row| row.split_whitespace().nth(9));
        row == Some(count.to_string().as_str())
    };
    eventually("FRR has the first route", || has(1));
    let began_at = Instant::now();
    let (rounds, mut changed) = ((size.routes / 200).max(1), 0);
    for _ in 0..rounds {
        lab.manifest("hundred.yaml", &services(0..100));
        eventually("FRR has a hundred more", || has(101));
        std::fs::remove_file(lab.path("manifests/hundred.yaml")).unwrap();
        eventually("FRR has them no more", || has(1));
        changed += 200;
    }
    let took = began_at.elapsed();
    let neighbour = frr.vtysh(&format!("show bgp neighbors {NODE}"));
    let established =
        neighbour.lines().find(|line| line.contains("Connections established")).unwrap().trim().to_owned();
    let downs = frr.vtysh("show bfd peers counters");
    let downs = downs.lines().find(|line| line.contains("Session down events")).unwrap().trim().to_owned();
    let (resets, broken) = (lab.log().matches("sessionDown").count(), lab.log().matches("bfdDown").count());
    println!(
        "{changed} Services changed in {took:.1?}: our log has {resets} ended sessions and {broken} breaks of BFD"
    );
    println!("  FRR: {established}; BFD: {downs}");
}
