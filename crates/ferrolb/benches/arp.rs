//! ARP next to the kernel's own responder, in the same run, on the same veth pair.
//!
//! For 1, 1,000 and 10,000 scattered addresses: reply time (p50, p99), replies per second when asked without pause, and
//! what a request for somebody else's address costs us. The kernel answers for the node's own address, inside the asker's
//! own system call. What no program can go below stands beside it: a bare thread that reads a frame, turns it round and
//! sends it. Figures are printed, nothing is asserted but that every answer is right: machines differ, ratios less so.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use ferrolb::drive::l2::{L2, Wanted};
use ferrolb::net::raw::PacketSocket;
use ferrolb_proto::arp::filter::Instruction;
use ferrolb_proto::arp::{self, Frame, Operation};
use ferrolb_proto::ethernet::MacAddr;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::unistd::Pid;

#[path = "../tests/it/hosts.rs"]
mod hosts;

use hosts::{Host, eventually};

const KERNELS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// The bare loop's.
const BARE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 12);
const PINGS: usize = 4000;
const FLOOD: Duration = Duration::from_secs(1);
const FOREIGN: u32 = 50_000;

fn main() {
    // `cargo test --benches` calls this, too: the short form proves that it still works.
    let short = !std::env::args().any(|argument| argument == "--bench");
    let rounds: &[u32] = if short { &[1] } else { &[1, 1_000, 10_000] };
    println!("addresses  responder                p50 µs   p99 µs  p50 ratio   replies/s  CPU µs per foreign request");
    for count in rounds {
        round(*count, if short { 200 } else { PINGS });
    }
    println!("load average: {}", fs::read_to_string("/proc/loadavg").unwrap().trim());
}

fn address(number: u32) -> Ipv4Addr {
    // Every third one, so that the kernel's filter cannot take them for one range.
    Ipv4Addr::from_bits(0x0a01_0000 + number * 3)
}

fn round(count: u32, pings: usize) {
    let (node, client) = (Host::new(), Host::new());
    node.join("eth0", &client, "eth0");
    node.ip(&format!("addr add {KERNELS}/8 dev eth0"));
    let l2 = node.run(|| L2::start(None).unwrap());
    let wanted: Wanted = (0..count).map(|number| (IpAddr::V4(address(number)), None)).collect();
    l2.announce(wanted);
    let wire = l2.wire();
    eventually("all addresses are answered", || wire.borrow().announced.len() == count as usize);
    // Ten thousand addresses are announced six times each: wait until that noise is over.
    sleep(Duration::from_secs(if count > 5_000 {
        28
    } else if pings < 1000 {
        0
    } else {
        9
    }));
    let thread = thread_named("l2");
    let bare = node.run(bare);
    let figures = client.run(move || measure(count, pings, &thread));
    bare.end();
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    let line = |who, (p50, p99), rest: String| {
        println!("{count:>9}  {who:<22}  {:>7.1}  {:>7.1}  {rest}", micros(p50), micros(p99));
    };
    let ratio = |latency: Latency| latency.0.as_secs_f64() / figures.kernel.0.as_secs_f64();
    line("kernel", figures.kernel, format!("{:>9}  {:>10.0}", "", figures.kernel_rate));
    line("a bare loop", figures.bare, format!("{:>8.2}x", ratio(figures.bare)));
    let rest = format!("{:>8.2}x  {:>10.0}  {:>8.3}", ratio(figures.same_cpu), figures.rate, figures.foreign);
    line("ferrolb", figures.same_cpu, rest);
    line("ferrolb, any CPU", figures.any_cpu, format!("{:>8.2}x", ratio(figures.any_cpu)));
}

/// Median and 99th percentile.
type Latency = (Duration, Duration);

struct Figures {
    kernel: Latency,
    kernel_rate: f64,
    /// A thread that does nothing but read, turn round and send, on the client's CPU.
    bare: Latency,
    /// Client and responder on one CPU, as the kernel's own responder always is: what the responder itself costs.
    same_cpu: Latency,
    /// Wherever the scheduler puts the two. Waking a CPU that sleeps is the machine's or the hypervisor's affair.
    any_cpu: Latency,
    rate: f64,
    /// CPU microseconds of ours for a request for somebody else's address.
    foreign: f64,
}

fn measure(count: u32, pings: usize, thread: &str) -> Figures {
    let socket = socket();
    let own = |turn: usize| address(u32::try_from(turn).unwrap() * 7919 % count);
    pin(&thread_named("bare"), &[0]);
    let bare = latency(&socket, pings, |_| BARE);
    pin(thread, &[0]);
    let kernel = latency(&socket, pings, |_| KERNELS);
    let same_cpu = latency(&socket, pings, own);
    pin(thread, &[0, 1]);
    let any_cpu = latency(&socket, pings, own);
    blocking(&socket, false);
    let (kernel_rate, rate) = (saturation(&socket, |_| KERNELS), saturation(&socket, own));
    let before = cpu(thread);
    for number in 0..FOREIGN {
        let stranger = Ipv4Addr::from_bits(0x0a02_0000 + number % 60_000);
        socket.send(&request(stranger).emit()).unwrap();
        // About 100,000 a second: dense, but not a flood that hides the cost in a queue.
        if number % 100 == 0 {
            sleep(Duration::from_millis(1));
        }
    }
    sleep(Duration::from_millis(50));
    let foreign = (cpu(thread) - before).as_secs_f64() * 1e6 / f64::from(FOREIGN);
    Figures { kernel, kernel_rate, bare, same_cpu, any_cpu, rate, foreign }
}

/// Lets the client and the thread that answers run on these CPUs only; those that the machine does not have do not count.
fn pin(thread: &str, cpus: &[usize]) {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu).unwrap());
    let responder: i32 = thread.rsplit('/').next().unwrap().parse().unwrap();
    for pid in [0, responder] {
        sched_setaffinity(Pid::from_raw(pid), &set).unwrap();
    }
}

/// The least that a program can do.
struct Bare {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Bare {
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Answers for [`BARE`]: a read, forty bytes turned round, a send.
fn bare() -> Bare {
    let index = nix::net::if_::if_nametoindex("eth0").unwrap();
    let targets = BTreeSet::from([BARE.to_bits()]);
    let socket = PacketSocket::open(index, arp::ETHERTYPE, &arp::filter::arp_requests(&targets)).unwrap();
    blocking(&socket, true);
    setsockopt(&socket.as_fd(), ReceiveTimeout, &TimeVal::milliseconds(200)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let (tell, told) = mpsc::channel();
    let run = move || {
        // A thread gives itself its name, before it comes here.
        tell.send(()).unwrap();
        let mut buffer = [0; 256];
        while !stopped.load(Ordering::Relaxed) {
            let Ok(Some(length)) = socket.receive(&mut buffer) else { continue };
            let request = arp::parse(&buffer[..length]).unwrap();
            let answer = arp::answer(&request, MacAddr([2, 0, 0, 0, 0, 0x12]), |_| true).unwrap();
            socket.send(&answer.emit()).unwrap();
        }
    };
    let thread = Builder::new().name("bare".into()).spawn(run).unwrap();
    told.recv().unwrap();
    Bare { stop, thread }
}

/// The thread with this name.
fn thread_named(name: &str) -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path());
    let named = tasks.filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    named.last().expect("the thread").to_string_lossy().into_owned()
}

/// The time that a thread has spent on a CPU.
fn cpu(task: &str) -> Duration {
    let text = fs::read_to_string(format!("{task}/schedstat")).unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Receives ARP replies only.
fn socket() -> PacketSocket {
    let index = nix::net::if_::if_nametoindex("eth0").unwrap();
    let replies = [
        Instruction { code: 0x28, jt: 0, jf: 0, k: 20 },
        Instruction { code: 0x15, jt: 0, jf: 1, k: 2 },
        Instruction { code: 6, jt: 0, jf: 0, k: 0xffff },
        Instruction { code: 6, jt: 0, jf: 0, k: 0 },
    ];
    PacketSocket::open(index, arp::ETHERTYPE, &replies).unwrap()
}

fn request(target_ip: Ipv4Addr) -> Frame {
    let own = MacAddr([2, 0, 0, 0, 0, 0x50]);
    Frame {
        destination: MacAddr::BROADCAST,
        source: own,
        operation: Operation::Request,
        sender_mac: own,
        sender_ip: Ipv4Addr::new(10, 0, 0, 50),
        target_mac: MacAddr::ZERO,
        target_ip,
    }
}

/// Median and 99th percentile of the time from request to reply; one request at a time. The client sleeps in its read
/// until the answer comes, as any neighbour does.
fn latency(socket: &PacketSocket, pings: usize, target: impl Fn(usize) -> Ipv4Addr) -> (Duration, Duration) {
    let mut buffer = [0; 100];
    let mut times: Vec<Duration> = (0..pings)
        .map(|turn| {
            let asked = target(turn);
            blocking(socket, false);
            while socket.receive(&mut buffer).unwrap().is_some() {}
            blocking(socket, true);
            let start = Instant::now();
            socket.send(&request(asked).emit()).unwrap();
            loop {
                let length = socket.receive(&mut buffer).unwrap().expect("an answer within five seconds");
                let took = start.elapsed();
                let frame = arp::parse(&buffer[..length]).unwrap();
                if frame.sender_ip == asked && frame.target_mac == request(asked).sender_mac {
                    return took;
                }
            }
        })
        .collect();
    times.sort();
    (times[pings / 2], times[pings * 99 / 100])
}

/// Whether a read waits for a frame, five seconds at most.
fn blocking(socket: &PacketSocket, wait: bool) {
    let flags = if wait { OFlag::empty() } else { OFlag::O_NONBLOCK };
    fcntl(socket.as_fd(), FcntlArg::F_SETFL(flags)).unwrap();
    setsockopt(&socket.as_fd(), ReceiveTimeout, &TimeVal::seconds(5)).unwrap();
}

/// Replies per second when requests come as fast as one thread can send them and count.
fn saturation(socket: &PacketSocket, target: impl Fn(usize) -> Ipv4Addr) -> f64 {
    let mut buffer = [0; 100];
    let (start, mut asked, mut replies) = (Instant::now(), 0, 0u32);
    while start.elapsed() < FLOOD {
        for _ in 0..16 {
            let _ = socket.send(&request(target(asked)).emit());
            asked += 1;
        }
        while socket.receive(&mut buffer).unwrap().is_some() {
            replies += 1;
        }
    }
    f64::from(replies) / start.elapsed().as_secs_f64()
}
