//! Membership meets its UDP socket: drain outputs, then wait for a datagram, a command, or the deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ferrolb_proto::liveness::{self, Dropped, Input, Output};
use ferrolb_proto::seal::OpenError;
use ferrolb_rules::names::NodeName;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::segment::Port;

/// Longer than any datagram of ours.
const DATAGRAM: usize = 2048;
/// How long goodbyes may take.
const LEAVE: Duration = Duration::from_millis(200);
/// Between two complaints about datagrams that are of no use.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// How many of them are remembered; sources can be forged.
const STRANGERS: usize = 1000;
/// How long a datagram under another secret is remembered: longer than hosts take to try again.
const STRANGER_MEMORY: Duration = Duration::from_secs(10);
/// Who was understood so lately is no stranger: while secrets change, every message comes under both.
const UNDERSTOOD_MEMORY: Duration = Duration::from_secs(5);

/// What a host is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub name: String,
    /// Where it listens, and where the others reach it.
    pub listen: SocketAddr,
    /// The shared secret.
    pub secret: Vec<u8>,
    /// Whom the datagrams are for that are not ours, on the same socket.
    pub segment: Option<Port>,
}

/// What the machine has found out so far.
#[derive(Debug)]
struct Found {
    members: watch::Sender<BTreeSet<NodeName>>,
    documents: watch::Sender<BTreeMap<NodeName, Arc<[u8]>>>,
    conflicts: watch::Sender<BTreeMap<NodeName, Vec<IpAddr>>>,
    strangers: watch::Sender<BTreeSet<IpAddr>>,
    understood: watch::Sender<BTreeSet<IpAddr>>,
}

enum Command {
    Peers(BTreeMap<String, SocketAddr>),
    Publish(Vec<u8>),
    Secret(Vec<u8>),
    Leave,
}

/// Running membership. Dropping it ends it without a goodbye.
#[derive(Debug)]
pub struct Liveness {
    commands: mpsc::UnboundedSender<Command>,
    members: watch::Receiver<BTreeSet<NodeName>>,
    documents: watch::Receiver<BTreeMap<NodeName, Arc<[u8]>>>,
    conflicts: watch::Receiver<BTreeMap<NodeName, Vec<IpAddr>>>,
    strangers: watch::Receiver<BTreeSet<IpAddr>>,
    understood: watch::Receiver<BTreeSet<IpAddr>>,
    task: JoinHandle<()>,
}

impl Liveness {
    /// Starts to listen. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// The address is not this host's, the port is taken, or the secret is empty.
    pub fn start(config: Config) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(config.listen)?;
        socket.set_nonblocking(true)?;
        if let Some(segment) = &config.segment {
            segment.set_socket(Some(Arc::new(socket.try_clone()?)));
        }
        let segment = config.segment.clone();
        let socket = UdpSocket::from_std(socket)?;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let config = liveness::Config {
            name: config.name,
            address: config.listen,
            secret: config.secret,
            generation: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            seed: rand::random(),
        };
        let machine = liveness::Liveness::new(config, Instant::now()).map_err(io::Error::other)?;
        let (members, documents, conflicts, strangers, understood) = Default::default();
        let found = Found { members, documents, conflicts, strangers, understood };
        let (commands, queue) = mpsc::unbounded_channel();
        let (members, documents) = (found.members.subscribe(), found.documents.subscribe());
        let (conflicts, strangers) = (found.conflicts.subscribe(), found.strangers.subscribe());
        let understood = found.understood.subscribe();
        let task = tokio::spawn(run(socket, machine, queue, found, segment));
        Ok(Self { commands, members, documents, conflicts, strangers, understood, task })
    }

    /// The live hosts, this one included.
    pub fn members(&self) -> watch::Receiver<BTreeSet<NodeName>> {
        self.members.clone()
    }

    /// What every other host said last, the dead ones too.
    pub fn documents(&self) -> watch::Receiver<BTreeMap<NodeName, Arc<[u8]>>> {
        self.documents.clone()
    }

    /// Names that several hosts use.
    pub fn conflicts(&self) -> watch::Receiver<BTreeMap<NodeName, Vec<IpAddr>>> {
        self.conflicts.clone()
    }

    /// Where datagrams came from lately that were sealed with another secret.
    pub fn strangers(&self) -> watch::Receiver<BTreeSet<IpAddr>> {
        self.strangers.clone()
    }

    /// Where datagrams came from that opened, ever.
    pub fn understood(&self) -> watch::Receiver<BTreeSet<IpAddr>> {
        self.understood.clone()
    }

    /// There is a newer secret; the one before is used beside it for a while.
    pub fn rotate(&self, secret: Vec<u8>) {
        let _ = self.commands.send(Command::Secret(secret));
    }

    /// The hosts that ought to be there.
    pub fn set_peers(&self, peers: BTreeMap<String, SocketAddr>) {
        // The task ends only with this object: somebody is listening.
        let _ = self.commands.send(Command::Peers(peers));
    }

    /// What this host says from now on.
    pub fn publish(&self, document: Vec<u8>) {
        let _ = self.commands.send(Command::Publish(document));
    }

    /// Says goodbye and ends.
    pub async fn leave(mut self) {
        let _ = self.commands.send(Command::Leave);
        let _ = tokio::time::timeout(LEAVE, &mut self.task).await;
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    socket: UdpSocket,
    mut machine: liveness::Liveness,
    mut commands: mpsc::UnboundedReceiver<Command>,
    found: Found,
    segment: Option<Port>,
) {
    let mut buffer = [0; DATAGRAM];
    let mut complaints = Complaints::default();
    loop {
        while let Some(output) = machine.poll_output() {
            put(output, &socket, &found, &mut complaints).await;
        }
        complaints.publish(&found);
        let deadline = machine.next_deadline();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // An error here is an ICMP answer to something sent earlier: the machine finds out on its own.
                if let Ok((length, from)) = received {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    match &segment {
                        Some(segment) if Port::is_ours(bytes) => segment.deliver(bytes),
                        _ => {
                            machine.handle(Instant::now(), Input::Datagram { from, bytes });
                            if machine.take_understood() {
                                complaints.understood.insert(from.ip(), Instant::now());
                            }
                        }
                    }
                }
            }
            command = commands.recv() => match command {
                Some(Command::Peers(peers)) => machine.handle(Instant::now(), Input::Peers(&peers)),
                Some(Command::Publish(document)) => machine.handle(Instant::now(), Input::Publish(&document)),
                Some(Command::Secret(secret)) => machine.handle(Instant::now(), Input::Secret(&secret)),
                Some(Command::Leave) => {
                    machine.handle(Instant::now(), Input::Leave);
                    while let Some(output) = machine.poll_output() {
                        put(output, &socket, &found, &mut complaints).await;
                    }
                    return;
                }
                None => return,
            },
            () = sleep => machine.handle_timeout(Instant::now()),
        }
    }
}

async fn put(output: Output, socket: &UdpSocket, found: &Found, complaints: &mut Complaints) {
    match output {
        Output::Send { to, bytes } => {
            // What cannot be sent is lost, as on any network; whoever is silent is found out.
            if let Err(error) = socket.send_to(&bytes, to).await {
                tracing::debug!(event = "membership", %to, %error, "cannot send");
            }
        }
        Output::Members(members) => {
            found.members.send_replace(members.into_iter().map(NodeName).collect());
        }
        Output::Document { name, bytes } => {
            found.documents.send_modify(|documents| {
                documents.insert(NodeName(name), bytes);
            });
        }
        Output::Conflicts(conflicts) => {
            let addresses = |set: BTreeSet<SocketAddr>| set.into_iter().map(|at| at.ip()).collect();
            let conflicts = conflicts.into_iter().map(|(name, set)| (NodeName(name), addresses(set)));
            found.conflicts.send_replace(conflicts.collect());
        }
        Output::Dropped { from, why } => complaints.complain(from, why),
    }
}

/// Datagrams of no use are counted and told of now and then: a wrong secret sends many.
#[derive(Debug, Default)]
struct Complaints {
    count: u64,
    told_at: Option<Instant>,
    /// Who used another secret, and when last; at most [`STRANGERS`].
    strangers: BTreeMap<IpAddr, Instant>,
    /// Who was understood, and when last. Only who has the secret is.
    understood: BTreeMap<IpAddr, Instant>,
}

impl Complaints {
    /// Tells who is a stranger now, and who was ever understood.
    fn publish(&mut self, found: &Found) {
        self.strangers.retain(|_, at| at.elapsed() < STRANGER_MEMORY);
        let lately = |from: &IpAddr| self.understood.get(from).is_some_and(|at| at.elapsed() < UNDERSTOOD_MEMORY);
        let now = || self.strangers.keys().filter(|from| !lately(from));
        found.strangers.send_if_modified(|strangers| {
            let changed = !strangers.iter().eq(now());
            if changed {
                *strangers = now().copied().collect();
            }
            changed
        });
        found.understood.send_if_modified(|understood| {
            let changed = understood.len() != self.understood.len();
            if changed {
                *understood = self.understood.keys().copied().collect();
            }
            changed
        });
    }

    fn complain(&mut self, from: SocketAddr, why: Dropped) {
        self.count += 1;
        let now = Instant::now();
        let other_secret = why == Dropped::Sealed(OpenError::OtherSecret);
        if other_secret && (self.strangers.len() < STRANGERS || self.strangers.contains_key(&from.ip())) {
            self.strangers.insert(from.ip(), now);
        }
        if self.told_at.is_some_and(|at| now.duration_since(at) < COMPLAINT_INTERVAL) {
            return;
        }
        self.told_at = Some(now);
        let hint = if other_secret { "ferrolb explain LB0014" } else { "harmless if it stays at a few" };
        tracing::warn!(event = "membership", %from, %why, dropped = self.count, hint, "datagram dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(number: u8, port: u16, secret: &[u8]) -> Config {
        let listen = SocketAddr::from(([127, 0, 0, number], port));
        Config { name: format!("node-{number}"), listen, secret: secret.to_vec(), segment: None }
    }

    /// A port that is free on loopback, most likely on all its addresses.
    fn port() -> u16 {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    async fn until<T>(receiver: &mut watch::Receiver<T>, so: impl FnMut(&T) -> bool) {
        tokio::time::timeout(Duration::from_secs(10), receiver.wait_for(so)).await.expect("in time").unwrap();
    }

    #[tokio::test]
    async fn three_hosts_meet_hear_one_another_and_notice_a_goodbye() {
        let port = port();
        let peers: BTreeMap<String, SocketAddr> =
            (1..=3).map(|number| (format!("node-{number}"), config(number, port, b"s").listen)).collect();
        let hosts: Vec<Liveness> = (1..=3).map(|number| Liveness::start(config(number, port, b"s")).unwrap()).collect();
        for (number, host) in hosts.iter().enumerate() {
            host.set_peers(peers.clone());
            host.publish(vec![u8::try_from(number).unwrap(); 5000]);
        }
        for host in &hosts {
            until(&mut host.members(), |members| members.len() == 3).await;
            until(&mut host.documents(), |documents| documents.len() == 2).await;
        }
        let mut hosts = hosts.into_iter();
        hosts.next().unwrap().leave().await;
        for host in hosts {
            until(&mut host.members(), |members| members.len() == 2).await;
            assert_eq!(host.documents().borrow()[&NodeName::new("node-1")].len(), 5000, "what it said is kept");
        }
    }

    #[tokio::test]
    async fn hosts_with_different_secrets_know_of_each_other_and_meet_when_one_has_both() {
        let port = port();
        let configs = [config(1, port, b"old"), config(2, port, b"new")];
        let peers: BTreeMap<String, SocketAddr> = configs.iter().map(|one| (one.name.clone(), one.listen)).collect();
        let [a, b] = configs.map(|config| Liveness::start(config).unwrap());
        [&a, &b].into_iter().for_each(|host| host.set_peers(peers.clone()));
        for (host, other) in [(&a, 2), (&b, 1)] {
            let other = IpAddr::from([127, 0, 0, other]);
            until(&mut host.strangers(), |strangers| strangers.contains(&other)).await;
            assert!(!host.understood().borrow().contains(&other));
        }
        a.rotate(b"new".to_vec());
        for (host, other) in [(&a, 2), (&b, 1)] {
            until(&mut host.members(), |members| members.len() == 2).await;
            until(&mut host.understood(), |all| all.contains(&IpAddr::from([127, 0, 0, other]))).await;
            // It still seals with the older one as well.
            until(&mut host.strangers(), BTreeSet::is_empty).await;
        }
    }

    #[tokio::test]
    async fn an_address_of_another_host_or_an_empty_secret_is_refused() {
        let elsewhere = Config { listen: SocketAddr::from(([192, 0, 2, 1], 0)), ..config(1, 0, b"s") };
        assert!(Liveness::start(elsewhere).is_err());
        assert!(Liveness::start(config(1, 0, b"")).is_err());
    }
}
