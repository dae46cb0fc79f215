//! One router: its session, its connection, and the loop round them.

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_proto::bfd::Path;
use ferrolb_proto::bgp::session::report::Unannounced;
use ferrolb_proto::bgp::session::{ConnectionId, Endpoints, Input, Output, Session, State, Transport};
use ferrolb_proto::bgp::wire::notification::Cease;
use ferrolb_proto::bgp::{NextHops, Routes};
use ipnet::IpNet;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::link::{End, Link};
use super::{Goal, Order, PARTING, Seen, Telling, next_hops};
use crate::net::tcp;

/// How long a connection that ends may take to get rid of its last bytes.
const LAST_WORDS: Duration = Duration::from_secs(1);

type Dialing = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

struct Connection {
    id: ConnectionId,
    /// Our address and the router's.
    ends: (IpAddr, IpAddr),
    next_hops: NextHops,
    stream: TcpStream,
    /// What the socket has not taken yet.
    out: Vec<u8>,
}

struct Peer {
    name: String,
    session: Session,
    dialing: Option<(ConnectionId, Dialing)>,
    connection: Option<Connection>,
    telling: Telling,
    order: Order,
    /// The interface of an unnumbered session.
    link: Option<Link>,
    unannounced: Vec<Unannounced>,
    /// Times that BFD had seen the way break, when it was looked at last.
    breaks: u64,
    told: Told,
}

/// What was found the last time that it was looked for what the router has been told; and what that depends on, because a
/// router that floods wakes us often and finding out takes a look at every route.
#[derive(Default)]
struct Told {
    prefixes: Arc<BTreeSet<IpNet>>,
    /// The session, its UPDATEs so far, and what was to be told.
    of: Option<(u64, u64, Arc<Routes>)>,
}

/// What the loop waits for.
enum Event {
    Ordered,
    Dialed(ConnectionId, io::Result<TcpStream>),
    Ready(io::Result<tokio::io::Ready>),
    Way,
    Link,
    Due,
}

/// Runs a session until it is told to end.
pub(super) async fn run(name: String, mut orders: watch::Receiver<Order>, telling: Telling) {
    let order = orders.borrow_and_update().clone();
    let mut session = Session::new(order.wanted.config.clone(), rand::random(), Instant::now());
    session.handle(Instant::now(), Input::Routes(order.wanted.routes.clone()));
    session.handle(Instant::now(), Input::Start);
    let unannounced = Vec::new();
    let mut peer = Peer {
        name,
        session,
        dialing: None,
        connection: None,
        telling,
        order,
        link: None,
        unannounced,
        breaks: 0,
        told: Told::default(),
    };
    peer.listen();
    peer.watch();
    loop {
        peer.drain().await;
        peer.tell();
        if peer.order.goal != Goal::Run && peer.session.state() == State::Idle {
            return;
        }
        match peer.wait(&mut orders).await {
            Event::Ordered => {
                peer.look_at_interfaces();
                peer.obey(orders.borrow_and_update().clone());
            }
            Event::Dialed(id, result) => peer.dialed(id, result),
            Event::Ready(ready) => peer.ready(ready),
            Event::Way => peer.look_at_way(),
            Event::Link => peer.look_at_link(),
            Event::Due => {
                peer.look_at_interfaces();
                peer.session.handle_timeout(Instant::now());
            }
        }
    }
}

impl Peer {
    async fn wait(&mut self, orders: &mut watch::Receiver<Order>) -> Event {
        let deadline = self.session.next_deadline();
        let due = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        let dialing = &mut self.dialing;
        let dialed = async {
            match dialing {
                Some((id, dial)) => (*id, dial.await),
                None => pending().await,
            }
        };
        let connection = &self.connection;
        let ready = async {
            match connection {
                Some(one) if one.out.is_empty() => one.stream.ready(Interest::READABLE).await,
                Some(one) => one.stream.ready(Interest::READABLE | Interest::WRITABLE).await,
                None => pending().await,
            }
        };
        let watched = &mut self.order.wanted.bfd;
        let way = async {
            match watched {
                // Where nobody watches any more, an order that says so is on its way.
                Some(seen) => match seen.changed().await {
                    Ok(()) => {}
                    Err(_) => pending().await,
                },
                None => pending().await,
            }
        };
        let link = &mut self.link;
        let heard = async {
            match link {
                // Its task ends only with it.
                Some(link) => match link.end.changed().await {
                    Ok(()) => {}
                    Err(_) => pending().await,
                },
                None => pending().await,
            }
        };
        tokio::select! {
            Ok(()) = orders.changed() => Event::Ordered,
            () = way => Event::Way,
            () = heard => Event::Link,
            (id, result) = dialed => Event::Dialed(id, result),
            result = ready => Event::Ready(result),
            () = due => Event::Due,
        }
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now();
        let before = std::mem::replace(&mut self.order, order);
        if before.wanted.config != self.order.wanted.config {
            self.session.handle(now, Input::Configure(self.order.wanted.config.clone()));
            self.listen();
        }
        self.session.handle(now, Input::Routes(self.order.wanted.routes.clone()));
        if !before.wanted.is_watched_as(&self.order.wanted) {
            self.watch();
        }
        match self.order.goal {
            Goal::Run => {}
            Goal::Stop => self.session.handle(now, Input::Stop(Cease::PeerDeconfigured, "")),
            Goal::Forsake => self.session.handle(now, Input::Drain(PARTING, Cease::PeerDeconfigured, "")),
            Goal::Leave => self.session.handle(now, Input::Leave(PARTING, "the speaker restarts")),
            Goal::Drain(why) => self.session.handle(now, Input::Drain(PARTING, Cease::AdministrativeShutdown, why)),
        }
    }

    /// Where the router's address is not known, it is looked for on the interface.
    fn listen(&mut self) {
        let transport = &self.order.wanted.config.transport;
        let device = transport.device.as_deref().filter(|_| transport.remote.is_none());
        if self.link.as_ref().map(|link| link.device.as_str()) != device {
            self.link = device.map(Link::listen);
        }
    }

    /// A router that has turned up is tried at once. One that falls silent has a session still, or has not.
    fn look_at_link(&mut self) {
        let end = self.link.as_mut().map(|link| link.end.borrow_and_update().clone());
        if matches!(end, Some(End::Router(_))) {
            self.session.handle(Instant::now(), Input::Heard);
        }
    }

    /// Whether BFD watches the way may be new: what broke before is no matter.
    fn watch(&mut self) {
        match &mut self.order.wanted.bfd {
            Some(seen) => {
                let path = {
                    let seen = seen.borrow_and_update();
                    self.breaks = seen.breaks;
                    seen.path()
                };
                self.session.handle(Instant::now(), Input::Bfd(path));
            }
            None => self.session.handle(Instant::now(), Input::Bfd(Path::Unknown)),
        }
    }

    /// BFD has something new. Only the newest is to be had, and that the way broke in between is not passed over.
    fn look_at_way(&mut self) {
        let Some(seen) = self.order.wanted.bfd.as_mut().map(|seen| seen.borrow_and_update().clone()) else { return };
        let now = Instant::now();
        let (peer, address, change) = (&self.name, self.session.config().transport.remote, seen.change);
        if seen.breaks > self.breaks {
            let why = change.diagnostic;
            tracing::error!(event = "bfdDown", peer, ?address, ?why, "the way to the router is broken");
            self.session.handle(now, Input::Bfd(Path::Up));
            self.session.handle(now, Input::Bfd(Path::Down));
        }
        let (state, router) = (change.state, change.remote_state);
        tracing::info!(event = "bfdState", peer, ?address, ?state, ?router, hindrance = seen.hindrance, "BFD");
        self.breaks = seen.breaks;
        self.session.handle(now, Input::Bfd(seen.path()));
    }

    /// An address may have come or gone that routers are to send traffic to: looked at with every KEEPALIVE, and before
    /// anything new is announced.
    fn look_at_interfaces(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let (local, remote) = connection.ends;
        let next_hops = next_hops::of(local, remote, self.session.config().transport.device.as_deref());
        if std::mem::replace(&mut connection.next_hops, next_hops) != next_hops {
            self.unannounced.retain(|one| !matches!(one, Unannounced::NoNextHop(_)));
            self.session.handle(Instant::now(), Input::NextHops(next_hops));
        }
    }

    fn dialed(&mut self, id: ConnectionId, result: io::Result<TcpStream>) {
        self.dialing = None;
        let ends = result.and_then(|stream| Ok((stream.local_addr()?.ip(), stream.peer_addr()?.ip(), stream)));
        match ends {
            Ok((local, remote, stream)) => {
                let (local, remote): (IpAddr, IpAddr) = (local.to_canonical(), remote.to_canonical());
                let device = self.session.config().transport.device.as_deref();
                let (ends, next_hops) = ((local, remote), next_hops::of(local, remote, device));
                let endpoints = Endpoints { local, remote, next_hops };
                self.connection = Some(Connection { id, ends, next_hops, stream, out: Vec::new() });
                self.session.handle(Instant::now(), Input::Dialed(id, endpoints));
            }
            Err(error) => self.session.handle(Instant::now(), Input::DialFailed(id, &error.to_string())),
        }
    }

    /// Reads once and writes once; whoever has more is asked again.
    fn ready(&mut self, ready: io::Result<tokio::io::Ready>) {
        let Some(connection) = &mut self.connection else { return };
        let id = connection.id;
        let written = connection.stream.try_write(&connection.out).unwrap_or_default();
        connection.out.drain(..written);
        let mut bytes = [0; 16 * 1024];
        let read = match ready {
            Ok(_) => connection.stream.try_read(&mut bytes),
            Err(error) => Err(error),
        };
        if written > 0 {
            self.session.handle(Instant::now(), Input::Sent(id, written));
        }
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => {
                self.connection = None;
                self.session.handle(Instant::now(), Input::Closed(id));
            }
            Ok(count) => {
                self.session.handle(Instant::now(), Input::Bytes(id, bytes.get(..count).unwrap_or_default()));
            }
        }
    }

    /// Does what the session wants.
    async fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Dial(id) => {
                    let transport = self.session.config().transport.clone();
                    let found = self.link.as_ref().map(Link::router);
                    self.dialing = Some((id, Box::pin(dial(transport, found))));
                }
                Output::Send(id, bytes) => self.send(id, &bytes),
                Output::Close(id) => self.close(id).await,
                Output::Abort(id) => {
                    self.connection.take_if(|connection| connection.id == id);
                }
                event => {
                    match event {
                        Output::Established(_) => self.unannounced.clear(),
                        Output::Unannounced(one) if !self.unannounced.contains(&one) => self.unannounced.push(one),
                        _ => {}
                    }
                    self.note(&event);
                }
            }
        }
    }

    fn send(&mut self, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connection.as_mut().filter(|connection| connection.id == id) else { return };
        let written =
            if connection.out.is_empty() { connection.stream.try_write(bytes).unwrap_or_default() } else { 0 };
        connection.out.extend_from_slice(bytes.get(written..).unwrap_or_default());
        if written > 0 {
            self.session.handle(Instant::now(), Input::Sent(id, written));
        }
    }

    async fn close(&mut self, id: ConnectionId) {
        self.dialing.take_if(|(dialing, _)| *dialing == id);
        if let Some(Connection { mut stream, out, .. }) = self.connection.take_if(|connection| connection.id == id) {
            let last_words = async move {
                let _ = stream.write_all(&out).await;
                let _ = stream.shutdown().await;
            };
            let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        }
    }

    /// The log, with upstream's keys.
    fn note(&self, event: &Output) {
        let config = self.session.config();
        let (peer, address) = (&self.name, config.transport.remote.map(tracing::field::display));
        match event {
            Output::Established(agreed) => {
                let (local_asn, peer_asn) = (config.local_asn.0, agreed.remote_asn.0);
                tracing::info!(
                    event = "sessionUp",
                    peer,
                    address,
                    localASN = local_asn,
                    peerASN = peer_asn,
                    "BGP session established"
                );
            }
            Output::Down { reason, established: true } => {
                tracing::error!(event = "sessionDown", peer, address, %reason, "BGP session down");
            }
            Output::Down { reason, established: false } => {
                tracing::debug!(event = "sessionFailed", peer, address, %reason, "no BGP session came about");
            }
            Output::Reset(field) => {
                tracing::info!(event = "sessionReset", peer, address, field, "this change takes a new BGP session");
            }
            Output::Malformed(verdict) => {
                tracing::warn!(
                    event = "malformedUpdate",
                    peer,
                    address,
                    ?verdict,
                    "the router sends UPDATEs with faults"
                );
            }
            _ => {}
        }
    }

    /// Says what is so, where it is not as before.
    fn tell(&mut self) {
        let established = self.session.state() == State::Established;
        self.look_at_told(established);
        let seen = Seen {
            state: self.session.state(),
            last_down: self.session.last_down().map(ToString::to_string),
            told: Arc::clone(&self.told.prefixes),
            unannounced: if established { self.unannounced.clone() } else { Vec::new() },
            established: self.session.counters().established,
            remote: self.remote(),
            way: self.order.wanted.bfd.as_ref().map(|seen| seen.borrow().clone()),
        };
        if replace(&self.telling.seen, seen) {
            self.telling.changed.notify_one();
        }
        if replace(&self.telling.counters, *self.session.counters()) {
            self.telling.counted.notify_one();
        }
    }
}

impl Peer {
    /// The router's address: as configured, as connected, or as found.
    fn remote(&self) -> Option<IpAddr> {
        let connected = self.connection.as_ref().map(|connection| connection.ends.1);
        let configured = self.session.config().transport.remote;
        configured.or(connected).or_else(|| self.link.as_ref()?.router().ok())
    }

    fn look_at_told(&mut self, established: bool) {
        let (counters, routes) = (self.session.counters(), &self.order.wanted.routes);
        let of = established.then(|| (counters.established, counters.updates_sent, Arc::clone(routes)));
        let same = match (&of, &self.told.of) {
            (Some(new), Some(old)) => (new.0, new.1) == (old.0, old.1) && Arc::ptr_eq(&new.2, &old.2),
            (new, old) => new.is_none() && old.is_none(),
        };
        if !same {
            let told = |prefix: &&IpNet| established && self.session.adj_out().has_told(prefix);
            self.told = Told { prefixes: Arc::new(routes.keys().filter(told).copied().collect()), of };
        }
    }
}

/// Connects to the router, which may first have had to be `found`.
async fn dial(transport: Transport, found: Option<io::Result<IpAddr>>) -> io::Result<TcpStream> {
    let remote = found.transpose()?.or(transport.remote);
    tcp::connect(Transport { remote, ..transport }).await
}

/// Sends what is different from what was sent last; says whether it was.
fn replace<T: PartialEq>(channel: &watch::Sender<T>, new: T) -> bool {
    channel.send_if_modified(|old| {
        let different = *old != new;
        *old = new;
        different
    })
}
