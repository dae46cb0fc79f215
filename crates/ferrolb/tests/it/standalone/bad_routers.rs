//! Routers that misbehave, played by the tests, against `ferrolb standalone`: malformed messages (RFC 7606), floods, silence,
//! closed windows, half-open connections. None of them disturbs another router, or BFD, or memory.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ferrolb_proto::bgp::wire::notification::Notification;
use ferrolb_proto::bgp::wire::open::{Capabilities, Open};
use ferrolb_proto::bgp::wire::{HEADER_LEN, keepalive};
use ferrolb_proto::bgp::{Asn, Families};

use super::bfd::POOL;
use super::{Process, Site, service};
use crate::hosts::{Host, eventually};

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const REFRESH: u8 = 5;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_LEN + body.len()).unwrap().to_be_bytes();
    [&[0xff; 16], &length[..], &[kind], body].concat()
}

/// An UPDATE that announces 192.0.2.10/32 with these attributes.
fn announcement(attributes: &str) -> Vec<u8> {
    let attributes = hex(attributes);
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    message(UPDATE, &[&[0, 0], &length[..], &attributes, &hex("20c000020a")].concat())
}

/// A router's end of a session that is established.
struct Player(TcpStream);

impl Player {
    /// Waits to be called, and opens.
    fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut player = Self(stream);
        assert_eq!(player.next().unwrap().0, OPEN);
        let capabilities = Capabilities {
            families: Some(Families::V4),
            refresh: true,
            four_octet: Some(Asn(64513)),
            ..Capabilities::default()
        };
        let open = Open { asn: Asn(64513), hold_time: 3, router_id: Ipv4Addr::new(192, 0, 2, 2), capabilities };
        player.send(&[open.emit(), keepalive()].concat());
        player
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next message: its type and its body. `None` at the end.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header).ok()?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - HEADER_LEN];
        self.0.read_exact(&mut body).ok()?;
        Some((header[18], body))
    }

    /// The next message of this type, or none before the end.
    fn await_message(&mut self, kind: u8) -> Option<Vec<u8>> {
        loop {
            match self.next()? {
                (found, body) if found == kind => return Some(body),
                (NOTIFICATION, body) => panic!("{}", Notification::parse(&body)),
                _ => {}
            }
        }
    }

    /// Asks for all routes again, which shows that everything before has been read and the session goes on.
    fn assert_alive(&mut self, after: &str) {
        self.send(&message(REFRESH, &[0, 1, 0, 1]));
        assert!(self.await_message(UPDATE).is_some(), "the session is over after {after}");
    }
}

/// Addresses of routers that a host plays, each with a listener.
fn listeners(host: &Host, numbers: std::ops::Range<u8>) -> Vec<TcpListener> {
    let listen = |number: u8| {
        host.ip(&format!("addr add 192.168.1.{number}/24 dev eth0"));
        host.run(move || TcpListener::bind((Ipv4Addr::new(192, 168, 1, number), 179)).unwrap())
    };
    numbers.map(listen).collect()
}

fn peers(numbers: std::ops::Range<u8>, more: &str) -> String {
    let peer = |number: u8| {
        format!(
            "---\napiVersion: metallb.io/v1beta2\nkind: BGPPeer\n\
             metadata: {{name: r{number}, namespace: metallb-system}}\n\
             spec: {{myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.{number}, connectTime: 1s{more}}}\n"
        )
    };
    numbers.map(peer).collect()
}

fn site(peers: &str) -> Site {
    let site = Site::new(1);
    site.write("pool.yaml", POOL);
    site.write("peers.yaml", peers);
    site.write("web.yaml", &service("web", ""));
    site
}

/// Faults after which the session goes on (RFC 7606): treated as withdrawn, passed by, or none of our business.
fn survived() -> Vec<(&'static str, Vec<u8>)> {
    let with = |attributes: &str| announcement(&format!("40010100 40020602010000fc01 400304c0a80132 {attributes}"));
    vec![
        ("ORIGIN 5", announcement("40010105 40020602010000fc01 400304c0a80132")),
        ("ORIGIN with wrong flags", announcement("c0010100 40020602010000fc01 400304c0a80132")),
        ("AS_PATH segment that overruns", announcement("40010100 40020602020000fc01 400304c0a80132")),
        ("first AS that is not the peer's", announcement("40010100 40020602010000fbff 400304c0a80132")),
        ("empty AS_PATH on eBGP", announcement("40010100 400200 400304c0a80132")),
        ("AS 0 in the path", announcement("40010100 40020a02020000fc0100000000 400304c0a80132")),
        ("NEXT_HOP 0.0.0.0", announcement("40010100 40020602010000fc01 40030400000000")),
        ("NEXT_HOP of five bytes", announcement("40010100 40020602010000fc01 400305c0a8013200")),
        ("no NEXT_HOP", announcement("40010100 40020602010000fc01")),
        ("LOCAL_PREF on eBGP", with("40050400000064")),
        ("community of three bytes", with("c00803000000")),
        ("large community of eleven bytes", with("c0200b0000000000000000000000")),
        ("extended community of seven bytes", with("c0100700000000000000")),
        ("AGGREGATOR of six bytes", with("c00706fc00c0000201")),
        ("communities twice", with("c0080400000001 c0080400000002")),
        ("attribute that overruns the block", with("c008ff0000")),
        ("well-known attribute that nobody knows", with("40630100")),
        ("entropy label without content", with("e01c00")),
        ("tunnel encapsulation with garbage", with("c01703ffffff")),
        ("prefix SID with garbage", with("c02803ffffff")),
    ]
}

/// Faults that end it, with what is said then.
fn ending() -> Vec<(&'static str, Vec<u8>, [u8; 2])> {
    let spoiled = |at: usize, value: u8| {
        let mut bytes = keepalive();
        bytes[at] = value;
        bytes
    };
    vec![
        ("prefix of length 33", message(UPDATE, &hex("0000 0000 21c000020a00")), [3, 10]),
        ("bad marker", spoiled(3, 0), [1, 1]),
        ("length of 18", spoiled(17, 18), [1, 2]),
        ("message of type 9", spoiled(18, 9), [1, 3]),
        ("UPDATE of 4097 bytes", message(UPDATE, &[0; 4097 - HEADER_LEN]), [1, 2]),
        ("withdrawn length that overruns", message(UPDATE, &hex("0005 0000")), [3, 1]),
    ]
}

#[test]
fn twenty_six_malformed_messages_end_the_session_only_where_rfc_7606_demands_it() {
    let (survived, ending) = (survived(), ending());
    assert_eq!(survived.len() + ending.len(), 26);
    let site = site(&peers(70..77, ""));
    let listeners = listeners(&site.client, 70..77);
    let process = site.start(0);
    let mut player = Player::accept(&listeners[6]);
    player.assert_alive("opening");
    for (what, bytes) in &survived {
        player.send(bytes);
        player.assert_alive(what);
    }
    for ((what, bytes, said), listener) in ending.iter().zip(&listeners) {
        let mut other = Player::accept(listener);
        other.assert_alive("opening");
        other.send(bytes);
        let told = loop {
            let (kind, body) = other.next().unwrap_or_else(|| panic!("nothing was said about {what}"));
            if kind == NOTIFICATION {
                break Notification::parse(&body);
            }
        };
        assert_eq!([told.code, told.subcode], *said, "{what}: {told}");
        assert_eq!(other.next(), None, "{what}: the connection goes on");
    }
    player.assert_alive("what others did");
    assert_eq!(process.service("web")["state"], "announced");
}

/// BIRD on the client's host at 192.168.1.50, watched by BFD; ended when dropped.
struct Bird<'a>(&'a Site);

impl Bird<'_> {
    fn has(&self, prefix: &str) -> bool {
        let path = self.0.files.path().join("bird.ctl");
        self.0.on_client(&format!("birdc -s {} 'show route'", path.display())).contains(prefix)
    }
}

impl Drop for Bird<'_> {
    fn drop(&mut self) {
        let _ = self.0.client.sh(&format!("kill $(cat {})", self.0.files.path().join("bird.pid").display()));
    }
}

fn start_bird(site: &Site) -> Bird<'_> {
    let config = "router id 192.168.1.50;\nprotocol device {}\n\
        protocol bfd { interface \"*\" { interval 50 ms; multiplier 3; }; }\n\
        protocol bgp node { local 192.168.1.50 as 64513; neighbor 192.168.1.11 as 64512; passive; bfd on;\n\
        ipv4 { import all; export none; }; }\n";
    let path = site.files.path().join("bird");
    fs::write(path.with_extension("conf"), config).unwrap();
    let path = path.display();
    site.on_client(&format!("bird -c {path}.conf -s {path}.ctl -P {path}.pid"));
    Bird(site)
}

/// Keeps writing the same bytes until the connection is over or the time is up; says how many were taken.
fn flood(stream: &TcpStream, bytes: &[u8], time: Duration) -> usize {
    let (mut stream, end) = (stream.try_clone().unwrap(), Instant::now() + time);
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut at, mut taken) = (0, 0);
    while Instant::now() < end {
        match stream.write(&bytes[at..]) {
            Ok(count) => {
                at = (at + count) % bytes.len();
                taken += count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("after {taken} bytes: {error}"),
        }
    }
    taken
}

/// A thousand prefixes in one UPDATE.
fn thousand() -> Vec<u8> {
    let prefixes: Vec<u8> = (0..250_u8).flat_map(|last| [24, 10, 99, last]).collect();
    let attributes = hex("40010100 40020602010000fc01 400304c0a80132");
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    message(UPDATE, &[&[0, 0], &length[..], &attributes, &prefixes].concat()).repeat(4)
}

fn resident_kib(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn routers_that_flood_are_stuck_or_dead_disturb_no_other_router_no_bfd_and_no_memory() {
    let watched = "---\napiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: bird, namespace: metallb-system}\n\
        spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.1.50, connectTime: 1s, bfdProfile: fast}\n";
    let site = site(&(peers(71..77, "") + watched));
    let dead = site.plug(71);
    let mut listeners_of: Vec<TcpListener> =
        vec![dead.run(|| TcpListener::bind((Ipv4Addr::new(192, 168, 1, 71), 179)).unwrap())];
    let living = site.plug(72);
    living.ip("addr del 192.168.1.72/24 dev eth0");
    listeners_of.extend(listeners(&living, 72..77));
    let bird = start_bird(&site);
    let process = site.start(0);
    eventually("BIRD has the route and is watched", || {
        bird.has("203.0.113.0/32") && process.router_named("bird")["bfd"] == "Up"
    });
    let [dead_player, flooding, refreshing, stuck] = [0, 1, 2, 3].map(|index| Player::accept(&listeners_of[index]));
    // It takes the connection and says nothing at all; the last one is refused by nobody and dropped at once, each time.
    let (silent, _) = listeners_of[4].accept().unwrap();
    let dropping = listeners_of.pop().unwrap();
    dropping.set_nonblocking(true).unwrap();
    dead.ip("link set eth0 down");
    let before = resident_kib(&process);
    let time = Duration::from_secs(5);
    let update = thousand();
    let refresh = message(REFRESH, &[0, 1, 0, 1]);
    let floods = [
        // A million prefixes and more.
        thread::spawn(move || flood(&flooding.0, &update, time)),
        // Each of these asks for everything, and nobody reads what comes.
        thread::spawn(move || flood(&refreshing.0, &refresh, time)),
        thread::spawn(move || flood(&stuck.0, &keepalive(), time)),
    ];
    let mut round = 0;
    while floods.iter().any(|flood| !flood.is_finished()) {
        drop(dropping.accept());
        // The others' routes come and go all the while.
        if round % 2 == 0 {
            site.write("late.yaml", &service("late", ""));
        } else {
            fs::remove_file(site.manifests().join("late.yaml")).unwrap();
        }
        let asked_at = Instant::now();
        eventually("BIRD follows", || bird.has("203.0.113.1/32") == (round % 2 == 0));
        println!("a change took {:?} to be seen in BIRD", asked_at.elapsed());
        round += 1;
    }
    let [prefixes, refreshes, _] = floods.map(|flood| flood.join().unwrap());
    let after = resident_kib(&process);
    println!("{} prefixes and {} refreshes; {before} kB before, {after} kB after", prefixes / 4, refreshes / 23);
    assert!(prefixes / 4 > 1_000_000, "only {} prefixes were taken", prefixes / 4);
    assert!(after < before + 4096, "{before} kB before, {after} kB after");
    eventually("the dead one is found out", || process.router_named("r71")["established"] == false);
    let log = site.log(0);
    assert!(log.contains("r71") && !log.contains("bfdDown"), "{log}");
    assert_eq!(process.router_named("bird")["bfd"], "Up");
    assert_eq!(log.matches("sessionUp").count(), 1 + 4, "{log}");
    drop((silent, dead_player));
}
