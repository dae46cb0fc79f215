//! `ferrolb probe ADDRESS|svc/NAME`: what the wire says, whoever claims what. A real ARP request on the network of the
//! address, and a TCP connection. `ferrolb scan POOL|RANGE` asks for every address of a range.
//!
//! Needs CAP_NET_RAW and a machine on that network; a host does not hear itself, so the announcing node cannot ask.
//! Left out: neighbour solicitations; an IPv6 address is only connected to. Exit codes: 0 one machine answers, 1 none or
//! several, 2 the question could not be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ferrolb_proto::arp::filter::Instruction;
use ferrolb_proto::arp::{self, ETHERTYPE, Frame, Operation};
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_rules::range::AddressRange;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use serde::Serialize;

use super::Verdict;
use super::output::{Format, show};
use super::reach::Reach;
use super::why::split;
use crate::net::raw::PacketSocket;
use crate::state::State;

/// How long answers are waited for: a machine on the LAN needs a millisecond, a sleeping one some more.
const ANSWERS_WITHIN: Duration = Duration::from_millis(700);
/// How long a TCP connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Between two requests of a sweep, so that nobody's queue overflows.
const REQUEST_INTERVAL: Duration = Duration::from_millis(2);
/// Addresses in one sweep.
const LARGEST_SWEEP: usize = 4096;
/// Takes every frame (bpf: return everything).
const ACCEPT: [Instruction; 1] = [Instruction { code: 0x06, jt: 0, jf: 0, k: u32::MAX }];

#[derive(clap::Args)]
pub(super) struct Args {
    /// The address, or the Service: svc/NAME or NAMESPACE/NAME.
    target: String,
    /// Ask on this interface; without it, on the one whose network has the address.
    #[arg(long)]
    interface: Option<String>,
    /// Connect to this TCP port, 0 for none; without it, to those of the Service.
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// What one address got.
#[derive(Debug, Serialize)]
struct Probed {
    address: IpAddr,
    /// Who answered ARP; absent where nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    macs: Option<Vec<MacAddr>>,
    /// Who the first of them is, where somebody reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Milliseconds to the first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<f64>,
    /// How each TCP port took a connection.
    ports: BTreeMap<u16, String>,
}

impl Probed {
    fn is_fine(&self) -> bool {
        self.macs.as_ref().is_none_or(|macs| macs.len() == 1) && self.ports.values().all(|outcome| outcome == "open")
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    let (addresses, state) = match args.target.parse::<IpAddr>() {
        // Whoever cannot be asked who is who says nothing about it; the wire answers all the same.
        Ok(address) => (vec![address], args.reach.ask().map(|answer| answer.state).unwrap_or_default()),
        Err(_) => {
            let state = args.reach.ask()?.state;
            let (namespace, name) = split(&args.target, None);
            let fits = |one: &&crate::state::ServiceState| {
                one.name == name && namespace.is_none_or(|namespace| one.namespace == namespace)
            };
            let Some(service) = state.services.iter().find(fits) else {
                bail!("there is no Service {name} of type LoadBalancer; `ferrolb status` lists them")
            };
            if service.addresses.is_empty() {
                bail!("{name} has no address yet: ferrolb why {}/{name}", service.namespace);
            }
            (service.addresses.clone(), state)
        }
    };
    let probed: Vec<Probed> =
        addresses.into_iter().map(|address| probe(address, args, &state)).collect::<anyhow::Result<_>>()?;
    let names = || probed.iter().flat_map(|one| one.macs.iter().flatten().map(|mac| format!("{mac}\n"))).collect();
    show(args.output, &probed, || probed.iter().map(screen).collect(), names)?;
    Ok(if probed.iter().all(Probed::is_fine) { Verdict::Fine } else { Verdict::Findings })
}

fn probe(address: IpAddr, args: &Args, state: &State) -> anyhow::Result<Probed> {
    let heard = match address {
        IpAddr::V4(address) => {
            let place = Place::of(address, args.interface.as_deref())?;
            Some(place.ask(&[address], place.own)?.remove(&address).unwrap_or_default())
        }
        IpAddr::V6(_) => None,
    };
    let first = heard.as_ref().and_then(|heard| heard.first()).copied();
    let node = first.and_then(|(mac, _)| {
        state.services.iter().find(|service| service.mac == Some(mac)).and_then(|service| service.node.clone())
    });
    let ports = match args.port {
        Some(0) => Vec::new(),
        Some(port) => vec![port],
        None => ports_of(address, state),
    };
    let connect = |port: u16| {
        let outcome = match TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT_WITHIN) {
            Ok(_) => "open".to_owned(),
            Err(error) => error.to_string(),
        };
        (port, outcome)
    };
    Ok(Probed {
        address,
        node,
        milliseconds: first.map(|(_, after)| after.as_secs_f64() * 1000.0),
        macs: heard.map(|heard| heard.into_iter().map(|(mac, _)| mac).collect()),
        ports: ports.into_iter().map(connect).collect(),
    })
}

/// The ports that a Service's own URLs name.
fn ports_of(address: IpAddr, state: &State) -> Vec<u16> {
    let service = state.services.iter().find(|service| service.addresses.contains(&address));
    let port = |url: &String| match url.split_once("://") {
        Some(("http", _)) => Some(80),
        Some(("https", _)) => Some(443),
        _ => url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
    };
    service.map(|service| service.try_urls.iter().filter_map(port).collect()).unwrap_or_default()
}

fn screen(probed: &Probed) -> String {
    let mut out = String::new();
    let node = probed.node.as_ref().map(|node| format!(" ({node})")).unwrap_or_default();
    let _ = match probed.macs.as_deref() {
        None => {
            writeln!(out, "{}: IPv6, no neighbour solicitation is sent; only connections are tried", probed.address)
        }
        Some([]) => writeln!(
            out,
            "{}: nobody answers ARP\n    either nobody announces it (ferrolb why), or the answer is lost: Wi-Fi, a virtual \
             switch that\n    allows one MAC address a port, another VLAN. A host does not hear itself: not from the node \
             that announces",
            probed.address
        ),
        Some([one]) => {
            let after = probed.milliseconds.unwrap_or_default();
            writeln!(out, "{}: answered by 1 MAC address, {one}{node}, in {after:.1} ms", probed.address)
        }
        Some(several) => {
            let list: Vec<String> = several.iter().map(ToString::to_string).collect();
            writeln!(
                out,
                "{}: answered by {} MAC addresses: {}{node}\n    with kube-proxy in IPVS mode set strictARP \
                 (ferrolb check); else another device has the address, or two nodes do",
                probed.address,
                several.len(),
                list.join(", ")
            )
        }
    };
    for (port, outcome) in &probed.ports {
        let _ = writeln!(out, "    TCP port {port}: {outcome}");
    }
    out
}

/// An interface, and who we are on it.
struct Place {
    index: u32,
    own: Ipv4Addr,
    mac: MacAddr,
}

impl Place {
    /// The interface whose network has the address, or the one that is named.
    fn of(address: Ipv4Addr, named: Option<&str>) -> anyhow::Result<Self> {
        let mut macs = BTreeMap::new();
        let mut networks = Vec::new();
        for one in getifaddrs().context("the interfaces cannot be listed")? {
            let Some(storage) = one.address else { continue };
            if let Some(mac) = storage.as_link_addr().and_then(nix::sys::socket::LinkAddr::addr) {
                macs.insert(one.interface_name.clone(), MacAddr(mac));
            }
            let mask = one.netmask.and_then(|mask| mask.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip));
            if let (Some(own), Some(mask)) = (storage.as_sockaddr_in(), mask) {
                networks.push((one.interface_name, own.ip(), mask));
            }
        }
        let contains =
            |own: Ipv4Addr, mask: Ipv4Addr| own.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits();
        let fits = |(name, own, mask): &&(String, Ipv4Addr, Ipv4Addr)| match named {
            Some(named) => name == named,
            // The address itself may be bound here as well; that is no network.
            None => *mask != Ipv4Addr::BROADCAST && contains(*own, *mask) && !own.is_loopback(),
        };
        let Some((name, own, _)) = networks.iter().find(fits) else {
            bail!(
                "no interface of this machine is in the network of {address}: ask from a machine that is, or name one \
                 with --interface"
            );
        };
        let mac = macs.get(name).copied().unwrap_or_default();
        Ok(Self { index: if_nametoindex(name.as_str())?, own: *own, mac })
    }

    /// Asks for each address and collects who answers, with the time that it took. `sender` is who asks: 0.0.0.0 leaves
    /// no trace in anybody's neighbour table.
    fn ask(
        &self,
        addresses: &[Ipv4Addr],
        sender: Ipv4Addr,
    ) -> anyhow::Result<BTreeMap<Ipv4Addr, Vec<(MacAddr, Duration)>>> {
        let socket = PacketSocket::open(self.index, ETHERTYPE, &ACCEPT)
            .context("no raw socket: run as root or with the capability NET_RAW")?;
        let (mut asked, mut heard) = (BTreeMap::new(), BTreeMap::<Ipv4Addr, Vec<(MacAddr, Duration)>>::new());
        let mut listen = |asked: &BTreeMap<Ipv4Addr, Instant>, until: Instant| -> anyhow::Result<()> {
            let mut buffer = [0; 128];
            while Instant::now() < until {
                let Some(length) = socket.receive(&mut buffer)? else {
                    std::thread::sleep(Duration::from_micros(200));
                    continue;
                };
                let Ok(frame) = arp::parse(buffer.get(..length).unwrap_or_default()) else { continue };
                if let (Operation::Reply, Some(at)) = (frame.operation, asked.get(&frame.sender_ip)) {
                    let answers = heard.entry(frame.sender_ip).or_default();
                    if answers.iter().all(|(mac, _)| *mac != frame.sender_mac) {
                        answers.push((frame.sender_mac, at.elapsed()));
                    }
                }
            }
            Ok(())
        };
        for address in addresses {
            let request = Frame {
                destination: MacAddr([0xff; 6]),
                source: self.mac,
                operation: Operation::Request,
                sender_mac: self.mac,
                sender_ip: sender,
                target_mac: MacAddr([0; 6]),
                target_ip: *address,
            };
            asked.insert(*address, Instant::now());
            socket.send(&request.emit())?;
            listen(&asked, Instant::now() + REQUEST_INTERVAL)?;
        }
        listen(&asked, Instant::now() + ANSWERS_WITHIN)?;
        Ok(heard)
    }
}

#[derive(clap::Args)]
pub(super) struct ScanArgs {
    /// The pool, or addresses such as 192.168.1.200-192.168.1.220; without it, every pool.
    what: Option<String>,
    /// Ask on this interface; without it, on the one whose network has the addresses.
    #[arg(long)]
    interface: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// An address that a machine answers for.
#[derive(Debug, PartialEq, Serialize)]
struct Used {
    address: Ipv4Addr,
    macs: Vec<MacAddr>,
    /// The Service that has it; none: a stranger uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

/// Sweeps pools for addresses that are in use.
pub(super) fn scan(args: &ScanArgs) -> anyhow::Result<Verdict> {
    let range = args.what.as_deref().and_then(|what| AddressRange::parse(what).ok());
    let state = match &range {
        Some(_) => args.reach.ask().map(|answer| answer.state).unwrap_or_default(),
        None => args.reach.ask()?.state,
    };
    let addresses = addresses(args.what.as_deref(), range, &state)?;
    let Some(first) = addresses.first() else { bail!("there is no IPv4 address to ask for") };
    let heard = Place::of(*first, args.interface.as_deref())?.ask(&addresses, Ipv4Addr::UNSPECIFIED)?;
    let used: Vec<Used> = heard.into_iter().map(|(address, macs)| used(address, &macs, &state)).collect();
    let strangers = used.iter().filter(|one| one.service.is_none()).count();
    let screen = || {
        let mut out = String::new();
        for one in &used {
            let macs: Vec<String> = one.macs.iter().map(ToString::to_string).collect();
            let who = one
                .service
                .as_ref()
                .map_or("NOT a Service: some other device has it".to_owned(), |it| format!("Service {it}"));
            let _ = writeln!(out, "{:<15}  {}  {who}", one.address, macs.join(" "));
        }
        let _ = writeln!(
            out,
            "{} addresses asked for, {} in use, {strangers} of them by strangers",
            addresses.len(),
            used.len()
        );
        out
    };
    let names = || used.iter().map(|one| format!("{}\n", one.address)).collect();
    show(args.output, &used, screen, names)?;
    Ok(if strangers == 0 { Verdict::Fine } else { Verdict::Findings })
}

fn used(address: Ipv4Addr, macs: &[(MacAddr, Duration)], state: &State) -> Used {
    let service = state.services.iter().find(|service| service.addresses.contains(&address.into()));
    Used {
        address,
        macs: macs.iter().map(|(mac, _)| *mac).collect(),
        service: service.map(|service| format!("{}/{}", service.namespace, service.name)),
    }
}

fn addresses(what: Option<&str>, range: Option<AddressRange>, state: &State) -> anyhow::Result<Vec<Ipv4Addr>> {
    let pools = state.pools.iter().filter(|pool| what.is_none_or(|what| what == pool.name));
    let ranges: Vec<AddressRange> = match range {
        Some(range) => vec![range],
        None => pools.flat_map(|pool| &pool.ranges).filter_map(|range| AddressRange::parse(range).ok()).collect(),
    };
    if let (Some(what), true) = (what, ranges.is_empty()) {
        bail!("{what} is neither a pool nor a range of addresses");
    }
    let mut addresses = BTreeSet::new();
    for range in ranges {
        if let AddressRange::V4 { first, last } = range {
            let room = LARGEST_SWEEP.saturating_sub(addresses.len());
            addresses.extend((first.to_bits()..=last.to_bits()).take(room + 1).map(Ipv4Addr::from_bits));
        }
    }
    if addresses.len() > LARGEST_SWEEP {
        bail!("more than {LARGEST_SWEEP} addresses; name a part of them, such as 192.168.1.0/24");
    }
    Ok(addresses.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(macs: &[&str]) -> Probed {
        Probed {
            address: "192.168.1.201".parse().unwrap(),
            macs: Some(macs.iter().map(|mac| mac.parse().unwrap()).collect()),
            node: None,
            milliseconds: Some(0.34),
            ports: BTreeMap::from([(80, "open".to_owned())]),
        }
    }

    #[test]
    fn one_answer_is_fine_and_none_or_several_are_not() {
        let one = probed(&["02:00:00:00:00:01"]);
        assert!(one.is_fine());
        let text = screen(&one);
        assert_eq!(
            text,
            "192.168.1.201: answered by 1 MAC address, 02:00:00:00:00:01, in 0.3 ms\n    TCP port 80: open\n"
        );
        let two = probed(&["02:00:00:00:00:01", "02:00:00:00:00:02"]);
        assert!(!two.is_fine() && screen(&two).contains("answered by 2 MAC addresses"));
        let none = probed(&[]);
        assert!(!none.is_fine() && screen(&none).contains("nobody answers ARP"));
        let closed = Probed { ports: BTreeMap::from([(80, "connection refused".to_owned())]), ..one };
        assert!(!closed.is_fine());
    }

    #[test]
    fn a_sweep_is_bounded_and_knows_pools_by_name() {
        let pool = crate::state::PoolState {
            name: "p".to_owned(),
            ranges: vec!["10.0.0.1-10.0.0.3".to_owned(), "fd00::/64".to_owned()],
            ..Default::default()
        };
        let state = State { pools: vec![pool], ..State::default() };
        assert_eq!(addresses(Some("p"), None, &state).unwrap().len(), 3);
        assert!(addresses(Some("q"), None, &state).is_err());
        let large = AddressRange::parse("10.0.0.0/8").unwrap();
        assert!(addresses(None, Some(large), &state).unwrap_err().to_string().contains("more than 4096"));
    }
}
