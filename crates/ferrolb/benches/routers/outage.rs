//! What a router and a client behind it see when a node dies, and when only the program does.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::hosts::eventually;
use crate::lab::{ADDRESS, Frr, Lab, Monitor, NODE, ROUTER, peer, services};
use crate::{Size, print};

/// FRR as a router of the node's.
fn router(lab: &Lab) -> Frr {
    let bgp = format!(
        "router bgp 64513\n bgp router-id {ROUTER}\n no bgp ebgp-requires-policy\n neighbor {NODE} remote-as 64512\n \
         neighbor {NODE} passive\n neighbor {NODE} bfd\n neighbor {NODE} bfd profile fast\n"
    );
    lab.start_frr(&lab.router, "router", &bgp)
}

fn has_route(lab: &Lab) -> bool {
    !lab.router.sh(&format!("ip route show {ADDRESS}")).1.is_empty()
}

fn await_watched(lab: &Lab, router: &Frr) {
    eventually("the route is in the router's kernel", || has_route(lab));
    eventually("BFD is up", || router.vtysh("show bfd peers").contains("Status: up"));
}

/// A node dies: from the cut to the router's kernel, BFD at three times 50 ms; ours, and FRR as the speaker (A5).
pub(crate) fn crash(size: Size) {
    println!(
        "node cut off, BFD 50 ms x 3: ms until the router's kernel has no route      min   median      p95      max"
    );
    let cut = |lab: &Lab, router: &Frr, monitor: &Monitor| {
        await_watched(lab, router);
        thread::sleep(Duration::from_secs(1));
        assert!(has_route(lab), "the route went away by itself");
        monitor.forget();
        let cut_at = Instant::now();
        lab.switch.ip("link set p11 down");
        let gone_at = monitor.await_line(&["Deleted", ADDRESS]);
        lab.switch.ip("link set p11 up");
        gone_at - cut_at
    };
    for ferrolb in [true, false] {
        let lab = Lab::new();
        lab.configure("203.0.113.0/24", &peer("router", ROUTER, ", bfdProfile: fast"));
        lab.manifest("services.yaml", &services(0..1));
        let router = router(&lab);
        let monitor = Monitor::start(&lab.router);
        let _ours = ferrolb.then(|| lab.start_ferrolb());
        let bgp = format!(
            "router bgp 64512\n bgp router-id {NODE}\n no bgp ebgp-requires-policy\n no bgp network import-check\n \
             neighbor {ROUTER} remote-as 64513\n neighbor {ROUTER} timers connect 1\n neighbor {ROUTER} bfd\n \
             neighbor {ROUTER} bfd profile fast\n address-family ipv4 unicast\n  network {ADDRESS}/32\n"
        );
        let _theirs = (!ferrolb).then(|| lab.start_frr(&lab.node, "speaker", &bgp));
        let name = if ferrolb { "ferrolb to FRR" } else { "FRR to FRR" };
        print(name, (0..size.tries).map(|_| cut(&lab, &router, &monitor)).collect());
    }
}

/// A client that asks every millisecond, until it is told to stop.
struct Prober {
    stop: Arc<AtomicBool>,
    running: thread::JoinHandle<(usize, usize)>,
}

impl Prober {
    fn start(lab: &Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let echo = lab.node.run(|| UdpSocket::bind((ADDRESS, 9)).unwrap());
        let socket = lab.client.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.connect((ADDRESS, 9)).unwrap();
        socket.set_nonblocking(true).unwrap();
        echo.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let stopped = stop.clone();
        thread::spawn(move || {
            let mut bytes = [0; 16];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((count, from)) = echo.recv_from(&mut bytes) {
                    let _ = echo.send_to(&bytes[..count], from);
                }
            }
        });
        let stopped = stop.clone();
        let running = thread::spawn(move || {
            let (mut sent, mut answered, mut bytes) = (0, 0, [0; 16]);
            let mut hear = |answered: &mut usize| {
                while socket.recv(&mut bytes).is_ok() {
                    *answered += 1;
                }
            };
            while !stopped.load(Ordering::Relaxed) {
                // A network that is unreachable is a datagram lost.
                let _ = socket.send(b"anybody");
                sent += 1;
                thread::sleep(Duration::from_millis(1));
                hear(&mut answered);
            }
            thread::sleep(Duration::from_millis(150));
            hear(&mut answered);
            (sent, answered)
        });
        Self { stop, running }
    }

    /// Datagrams sent, and those that were never answered.
    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, answered) = self.running.join().unwrap();
        (sent, sent - answered)
    }
}

/// The program is killed, or restarted, its node lives: what a client loses under graceful restart (A7).
pub(crate) fn restart(size: Size) {
    println!("the program is away for a second under graceful restart; a client asks every millisecond");
    let tries = [
        ("SIGKILL, without BFD", Signal::SIGKILL, ""),
        ("SIGTERM, without BFD", Signal::SIGTERM, ""),
        ("SIGTERM, BFD 50 ms x 3", Signal::SIGTERM, ", bfdProfile: fast"),
    ];
    for (name, signal, more) in tries {
        let lab = Lab::new();
        lab.configure("203.0.113.0/24", &peer("router", ROUTER, &format!(", enableGracefulRestart: true{more}")));
        lab.manifest("services.yaml", &services(0..1));
        let router = router(&lab);
        let monitor = Monitor::start(&lab.router);
        let mut program = lab.start_ferrolb();
        let is_up = || router.vtysh(&format!("show bgp neighbors {NODE}")).contains("BGP state = Established");
        eventually("the route is in the router's kernel", || has_route(&lab));
        monitor.forget();
        let prober = Prober::start(&lab);
        for _ in 0..size.tries {
            eventually("the session is up", is_up);
            if !more.is_empty() {
                await_watched(&lab, &router);
            }
            thread::sleep(Duration::from_millis(500));
            program.end(signal);
            thread::sleep(Duration::from_secs(1));
            assert!(!is_up());
            program = lab.start_ferrolb();
        }
        eventually("the session is up", is_up);
        let (sent, lost) = prober.end();
        println!("  {name:<40} {} times: {lost} of {sent} datagrams lost", size.tries);
    }
}
