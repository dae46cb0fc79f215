//! BGP and BFD with real routers: BIRD and FRR in a namespace, our machines in another, over real TCP and UDP.
//!
//! The driver here is only what a test needs: one thread, plain sockets. The product's own is not involved.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ferrolb_proto::bfd;
use ferrolb_proto::bgp::session::config::Reach;
use ferrolb_proto::bgp::session::{
    Config, ConnectionId, Endpoints, Input, Output, Posture, Reason, Remote, Session, State, Transport,
};
use ferrolb_proto::bgp::wire::notification::{Cease, Notification};
use ferrolb_proto::bgp::{Asn, Attributes, Community, Families, Family, LargeCommunity, NextHops, Routes};
use tempfile::TempDir;

use crate::hosts::{Host, eventually};

const NODE: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);

type Job = Box<dyn FnOnce(&mut Speaker) + Send>;

/// A session with its socket, and a BFD session beside it.
struct Speaker {
    session: Session,
    stream: Option<(ConnectionId, TcpStream)>,
    bfd: Option<(bfd::Session, UdpSocket, UdpSocket)>,
    events: Vec<Output>,
    bfd_changes: Vec<bfd::Change>,
}

/// The thread that a speaker lives in.
#[derive(Clone)]
struct Running(mpsc::Sender<Job>);

impl Running {
    fn with<T: Send + 'static>(&self, job: impl FnOnce(&mut Speaker) -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job: Job = Box::new(move |speaker| drop(tell.send(job(speaker))));
        self.0.send(job).unwrap();
        told.recv().expect("the speaker panicked")
    }

    fn tell(&self, input: Input<'static>) {
        self.with(move |speaker| speaker.session.handle(Instant::now(), input));
    }

    fn announce(&self, routes: Routes) {
        self.tell(Input::Routes(Arc::new(routes)));
    }

    fn is(&self, state: State) -> bool {
        self.with(move |speaker| speaker.session.state() == state)
    }
}

impl Speaker {
    fn run(mut self, jobs: &mpsc::Receiver<Job>) {
        self.session.handle(Instant::now(), Input::Start);
        loop {
            match jobs.try_recv() {
                Ok(job) => job(&mut self),
                Err(mpsc::TryRecvError::Disconnected) => return,
                Err(mpsc::TryRecvError::Empty) => {}
            }
            self.drain();
            self.read();
            self.look_after_bfd();
            self.session.handle_timeout(Instant::now());
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Dial(id) => self.dial(id),
                Output::Send(id, bytes) => {
                    if let Some((_, stream)) = self.stream.as_mut().filter(|(open, _)| *open == id) {
                        let _ = stream.write_all(&bytes);
                        self.session.handle(Instant::now(), Input::Sent(id, bytes.len()));
                    }
                }
                Output::Close(_) | Output::Abort(_) => {
                    if let Some((_, stream)) = self.stream.take() {
                        let _ = stream.shutdown(Shutdown::Write);
                    }
                }
                event => self.events.push(event),
            }
        }
    }

    fn dial(&mut self, id: ConnectionId) {
        let remote = SocketAddr::from((ROUTER, 179));
        match TcpStream::connect_timeout(&remote, Duration::from_secs(1)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
                stream.set_nodelay(true).unwrap();
                let v6 = "fd07::1".parse().ok();
                let next_hops = NextHops { v4: Some(NODE), v6, link_local: None };
                let local = stream.local_addr().unwrap().ip();
                self.stream = Some((id, stream));
                let endpoints = Endpoints { local, remote: ROUTER.into(), next_hops };
                self.session.handle(Instant::now(), Input::Dialed(id, endpoints));
            }
            Err(error) => self.session.handle(Instant::now(), Input::DialFailed(id, &error.to_string())),
        }
    }

    fn read(&mut self) {
        let Some((id, stream)) = &mut self.stream else {
            thread::sleep(Duration::from_millis(2));
            return;
        };
        let (id, mut bytes) = (*id, [0; 16384]);
        match stream.read(&mut bytes) {
            Ok(0) => {
                self.stream = None;
                self.session.handle(Instant::now(), Input::Closed(id));
            }
            Ok(count) => self.session.handle(Instant::now(), Input::Bytes(id, &bytes[..count])),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => {
                self.stream = None;
                self.session.handle(Instant::now(), Input::Closed(id));
            }
        }
    }

    fn look_after_bfd(&mut self) {
        let Some((session, receive, send)) = &mut self.bfd else { return };
        let mut bytes = [0; 100];
        while let Ok(count) = receive.recv(&mut bytes) {
            // Which TTL it had, plain sockets do not say.
            session.handle(Instant::now(), bfd::Input::Packet(&bytes[..count], 255));
        }
        session.handle_timeout(Instant::now());
        while let Some(output) = session.poll_output() {
            match output {
                bfd::Output::Send(packet) => drop(send.send(&packet)),
                bfd::Output::Changed(change) => {
                    self.bfd_changes.push(change);
                    self.session.handle(Instant::now(), Input::Bfd(change.path()));
                }
                bfd::Output::Discarded(why) => panic!("{why}"),
            }
        }
    }
}

/// A node and a router, joined; the router's daemon runs in a directory of its own.
struct Lab {
    node: Host,
    router: Host,
    directory: TempDir,
}

impl Lab {
    fn new() -> Self {
        let (node, router) = (Host::new(), Host::new());
        node.join("eth0", &router, "eth0");
        node.ip("address add 10.7.0.1/24 dev eth0");
        node.ip("address add fd07::1/64 dev eth0 nodad");
        router.ip("address add 10.7.0.2/24 dev eth0");
        router.ip("address add fd07::2/64 dev eth0 nodad");
        Self { node, router, directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command in the router's namespace; panics if it fails.
    fn on_router(&self, command: &str) -> String {
        let (well, text) = self.router.sh(command);
        assert!(well, "{command}: {text}");
        text
    }

    fn start_bird(&self) {
        let config = "router id 192.0.2.2;\nprotocol device {}\nprotocol direct { ipv4; ipv6; }\n\
            protocol bfd { interface \"*\" { min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }; }\n\
            protocol bgp node { local 10.7.0.2 as 64513; neighbor 10.7.0.1 as 64512; hold time 9; bfd on;\n\
            error wait time 1, 2; ipv4 { import all; export none; }; ipv6 { import all; export none; }; }\n";
        std::fs::write(self.path("bird.conf"), config).unwrap();
        self.on_router(&format!("bird -c {0}/bird.conf -s {0}/bird.ctl -P {0}/pid", self.path("")));
    }

    fn birdc(&self, command: &str) -> String {
        self.on_router(&format!("birdc -s {} '{command}'", self.path("bird.ctl")))
    }

    /// bgpd alone: there is no kernel to be programmed.
    fn start_frr(&self) {
        let config = "router bgp 64513\n bgp router-id 192.0.2.2\n no bgp ebgp-requires-policy\n\
            neighbor 10.7.0.1 remote-as 64512\n neighbor 10.7.0.1 passive\n neighbor 10.7.0.1 timers 3 9\n\
            address-family ipv6 unicast\n neighbor 10.7.0.1 activate\n exit-address-family\n";
        std::fs::write(self.path("bgpd.conf"), config).unwrap();
        // It gives up being root, and has to write here still.
        self.on_router(&format!("chown -R frr:frr {}", self.path("")));
        let run = "/usr/lib/frr/bgpd -d -Z -P 0";
        self.on_router(&format!("{run} -f {0}/bgpd.conf -i {0}/pid --vty_socket {0}", self.path("")));
    }

    fn vtysh(&self, command: &str) -> String {
        self.on_router(&format!("vtysh --vty_socket {} -c '{command}'", self.path("")))
    }

    fn speak(&self, config: Config) -> Running {
        let with_bfd = config.host_name == "with-bfd";
        self.node.run(move || {
            let (jobs, queue) = mpsc::channel();
            let bfd = with_bfd.then(bfd_sockets);
            let session = Session::new(config, 1, Instant::now());
            let speaker = Speaker { session, stream: None, bfd, events: Vec::new(), bfd_changes: Vec::new() };
            thread::spawn(move || speaker.run(&queue));
            Running(jobs)
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.router.sh(&format!("kill $(cat {})", self.path("pid")));
    }
}

fn bfd_sockets() -> (bfd::Session, UdpSocket, UdpSocket) {
    let config = bfd::Config {
        discriminator: NonZeroU32::new(77).unwrap(),
        desired_min_tx: Duration::from_millis(50),
        required_min_rx: Duration::from_millis(50),
        detect_multiplier: 3,
        passive: false,
        reach: bfd::Reach::SingleHop,
    };
    let receive = UdpSocket::bind((NODE, 3784)).unwrap();
    receive.set_nonblocking(true).unwrap();
    let send = UdpSocket::bind((NODE, 49152)).unwrap();
    send.set_ttl(255).unwrap();
    send.connect((ROUTER, 3784)).unwrap();
    (bfd::Session::new(config, 1, Instant::now()), receive, send)
}

fn config() -> Config {
    Config {
        local_asn: Asn(64512),
        remote: Remote::Number(Asn(64513)),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        hold_interval: Duration::from_secs(9),
        keepalive_interval: None,
        connect_interval: Some(Duration::from_secs(1)),
        families: Families::BOTH,
        posture: Posture::Dial,
        graceful_restart: Some(Duration::from_secs(120)),
        restarting: false,
        extended_next_hop: false,
        extended_message: false,
        host_name: "node-a".to_owned(),
        receive_limit: None,
        transport: Transport {
            remote: Some(ROUTER.into()),
            port: 179,
            source: None,
            device: None,
            password: None,
            reach: Reach::Direct,
        },
    }
}

fn marked() -> Attributes {
    Attributes {
        med: Some(7),
        prepend: 1,
        communities: [Community(0xfc00_0001)].into(),
        large_communities: [LargeCommunity { global: 64512, first: 1, second: 2 }].into(),
        ..Attributes::default()
    }
}

fn routes(prefixes: &[&str], set: &Attributes) -> Routes {
    let set = Arc::new(set.clone());
    prefixes.iter().map(|text| (text.parse().unwrap(), Arc::clone(&set))).collect()
}

const TWO: [&str; 2] = ["192.0.2.10/32", "fd77::10/128"];

#[test]
fn bird_takes_both_families_on_one_session_with_every_attribute() {
    let lab = Lab::new();
    lab.start_bird();
    let speaker = lab.speak(config());
    speaker.announce(routes(&TWO, &marked()));
    eventually("the session is established", || speaker.is(State::Established));
    eventually("BIRD has the routes", || {
        lab.birdc("show route count").contains("2 of 2 routes for 2 networks in table master4")
    });
    let v4 = lab.birdc("show route 192.0.2.10/32 all");
    for part in ["via 10.7.0.1", "BGP.as_path: 64512 64512", "BGP.med: 7", "(64512,1)", "(64512, 1, 2)"] {
        assert!(v4.contains(part), "no {part:?} in {v4}");
    }
    let v6 = lab.birdc("show route fd77::10/128 all");
    assert!(v6.contains("via fd07::1"), "{v6}");
    speaker.announce(routes(&["fd77::10/128"], &marked()));
    eventually("the IPv4 route is withdrawn", || !lab.birdc("show route").contains("192.0.2.10/32"));
    let sessions = speaker.with(|speaker| (speaker.session.counters().established, speaker.session.counters().dropped));
    assert_eq!(sessions, (1, 0), "one session all along");
}

#[test]
fn bird_keeps_our_routes_over_a_restart_and_drops_them_after_a_drain() {
    let lab = Lab::new();
    lab.start_bird();
    let speaker = lab.speak(config());
    speaker.announce(routes(&TWO, &marked()));
    eventually("BIRD has the routes", || lab.birdc("show route").contains("fd77::10/128"));
    speaker.tell(Input::Leave(Duration::ZERO, ""));
    eventually("BIRD sees the restart", || !lab.birdc("show protocols node").contains("Established"));
    assert!(lab.birdc("show route").contains("192.0.2.10/32"), "the route is gone while we restart");
    let next = lab.speak(Config { restarting: true, ..config() });
    next.announce(routes(&["192.0.2.10/32"], &marked()));
    eventually("End-of-RIB ends what was not announced again", || !lab.birdc("show route").contains("fd77::10/128"));
    assert!(lab.birdc("show route").contains("192.0.2.10/32"));
    next.tell(Input::Drain(Duration::from_millis(500), Cease::AdministrativeShutdown, "node-a is drained"));
    eventually("the route asks for other ways", || lab.birdc("show route all").contains("(65535,0)"));
    eventually("the drain is over", || next.with(|speaker| speaker.events.contains(&Output::Drained)));
    assert!(!lab.birdc("show route").contains("192.0.2.10/32"));
    let shown = lab.birdc("show protocols all node");
    assert!(shown.contains("node-a is drained"), "{shown}");
}

#[test]
fn bird_and_we_see_each_other_die_by_bfd() {
    let lab = Lab::new();
    lab.start_bird();
    let speaker = lab.speak(Config { host_name: "with-bfd".to_owned(), graceful_restart: None, ..config() });
    speaker.announce(routes(&TWO, &marked()));
    eventually("the session is established", || speaker.is(State::Established));
    eventually("BFD is up", || lab.birdc("show bfd sessions").contains("Up"));
    thread::sleep(Duration::from_secs(2));
    let changes = speaker.with(|speaker| speaker.bfd_changes.clone());
    assert!(changes.iter().all(|change| change.state != bfd::State::Down), "{changes:?}");
    let tx = speaker.with(|speaker| speaker.bfd.as_ref().unwrap().0.transmit_interval());
    assert_eq!(tx, Some(Duration::from_millis(50)));
    lab.router.ip("link set eth0 down");
    let cut_at = Instant::now();
    let bfd_down = Reason::Sent(Notification::cease(Cease::BfdDown));
    let down = move |speaker: &mut Speaker| speaker.session.last_down() == Some(&bfd_down);
    eventually("BFD ends our session", || speaker.with(down.clone()));
    assert!(cut_at.elapsed() < Duration::from_secs(3), "the hold time would have been 9 s");
    lab.router.ip("link set eth0 up");
    lab.router.ip("address replace fd07::2/64 dev eth0 nodad");
    eventually("it comes back", || speaker.is(State::Established));
}

#[test]
fn frr_takes_what_we_announce_refreshes_and_is_told_why_we_go() {
    let lab = Lab::new();
    lab.start_frr();
    let speaker = lab.speak(config());
    speaker.announce(routes(&TWO, &marked()));
    eventually("the session is established", || speaker.is(State::Established));
    eventually("FRR has the IPv6 route", || lab.vtysh("show bgp ipv6 unicast fd77::10/128").contains("64512 64512"));
    let v4 = lab.vtysh("show bgp ipv4 unicast 192.0.2.10/32");
    for part in ["10.7.0.1 ", "metric 7", "Community: 64512:1", "Large Community: 64512:1:2"] {
        assert!(v4.contains(part), "no {part:?} in {v4}");
    }
    let agreed = speaker.with(|speaker| speaker.session.negotiated().cloned().unwrap());
    assert!(agreed.enhanced_refresh && agreed.four_octet && agreed.keeps_routes_after_notification());
    assert!(lab.vtysh("show bgp neighbors 10.7.0.1").contains("node-a"), "FRR shows our name");
    let before = speaker.with(|speaker| speaker.session.counters().updates_sent);
    lab.vtysh("clear bgp 10.7.0.1 soft in");
    eventually("the refresh is answered", || {
        speaker.with(|speaker| (speaker.session.counters().refreshes_received, speaker.session.counters().updates_sent))
            >= (2, before + 2)
    });
    let many = (0..10_000u32).map(|number| IpAddr::from((0x0a08_0000 + number).to_be_bytes()).into());
    let set = Arc::new(marked());
    speaker.announce(many.map(|prefix| (prefix, Arc::clone(&set))).collect());
    eventually("FRR has ten thousand routes", || lab.vtysh("show bgp ipv4 unicast summary").contains("10000"));
    assert_eq!(speaker.with(|speaker| speaker.session.adj_out().told(Family::V4)), 10_000);
    speaker.tell(Input::Stop(Cease::AdministrativeShutdown, "rack move"));
    eventually("FRR has dropped them", || !lab.vtysh("show bgp ipv4 unicast").contains("10.8.0.1/32"));
    let shown = lab.vtysh("show bgp neighbors 10.7.0.1");
    assert!(shown.contains("Administrative Shutdown/Hard Reset"), "{shown}");
}
