//! Asking the LAN who has an address: ARP requests (RFC 826) and neighbour solicitations (RFC 4861 §4.3), and whoever
//! answers. Needs CAP_NET_RAW and an interface in the network of the address.
//!
//! Solicitations are those of duplicate address detection: their answers go to everybody, so a socket beside the kernel
//! hears them, and nobody's neighbour table is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ferrolb_proto::arp::{self, Frame, Operation, filter};
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::ndp;
use ferrolb_rules::reason::{Code, Finding, Severity};
use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

use crate::net::raw::PacketSocket;
use crate::net::wireless;

/// How long answers are waited for: a machine on the LAN needs a millisecond, a sleeping one some more.
const ANSWERS_WITHIN: Duration = Duration::from_millis(700);
/// Between two requests of a sweep, so that nobody's queue overflows.
const REQUEST_INTERVAL: Duration = Duration::from_millis(2);
/// Longer than any answer that is understood.
const FRAME: usize = 256;

/// Who answered for an address, and after how long.
pub(super) type Answers = BTreeMap<IpAddr, Vec<(MacAddr, Duration)>>;

/// An interface of this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mac: MacAddr,
    networks: Vec<IpNet>,
}

/// Every interface of this machine, in order of name.
///
/// # Errors
/// The kernel does not list them.
pub(super) fn interfaces() -> anyhow::Result<Vec<Interface>> {
    let mut found = BTreeMap::<String, Interface>::new();
    for one in getifaddrs().context("the interfaces cannot be listed")? {
        let interface = found.entry(one.interface_name.clone()).or_default();
        interface.name = one.interface_name;
        let Some(storage) = one.address else { continue };
        if let Some(mac) = storage.as_link_addr().and_then(nix::sys::socket::LinkAddr::addr) {
            interface.mac = MacAddr(mac);
        }
        let mask = one.netmask;
        let v4 = |storage: &nix::sys::socket::SockaddrStorage| storage.as_sockaddr_in().map(|it| IpAddr::V4(it.ip()));
        let v6 = |storage: &nix::sys::socket::SockaddrStorage| storage.as_sockaddr_in6().map(|it| IpAddr::V6(it.ip()));
        let pair = |ip: fn(&nix::sys::socket::SockaddrStorage) -> Option<IpAddr>| Some((ip(&storage)?, ip(&mask?)?));
        let network = pair(v4).or_else(|| pair(v6));
        interface.networks.extend(network.and_then(|(own, mask)| IpNet::with_netmask(own, mask).ok()));
    }
    Ok(found.into_values().collect())
}

/// The interface that is named, or the one whose network has the address.
///
/// # Errors
/// There is none: a finding, because then the question cannot be asked from here.
pub(super) fn towards<'a>(
    all: &'a [Interface],
    address: IpAddr,
    named: Option<&str>,
) -> Result<&'a Interface, Box<Finding>> {
    let fits = |interface: &&Interface| match named {
        Some(named) => interface.name == named,
        None => interface.has_network_of(address),
    };
    all.iter().find(fits).ok_or_else(|| {
        let message = match named {
            Some(named) => format!("this machine has no interface {named}"),
            None => format!("no interface of this machine is in the network of {address}"),
        };
        Box::new(Finding::new(Code::OffTheNetwork, Severity::Error, address.to_string(), message))
    })
}

impl Interface {
    /// Its own addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.networks.iter().map(IpNet::addr)
    }

    /// The interface in words: on Wi-Fi answers get lost.
    pub(super) fn place(&self) -> String {
        if wireless::is_wireless(Path::new(wireless::INTERFACES), &self.name) {
            format!("{}, which is Wi-Fi", self.name)
        } else {
            self.name.clone()
        }
    }

    /// The address itself may be bound here as well; that is no network. Nor is a whole family, or what only this
    /// machine hears.
    pub(super) fn has_network_of(&self, address: IpAddr) -> bool {
        let network = |net: &&IpNet| net.prefix_len() < net.max_prefix_len() && net.prefix_len() > 0;
        self.networks.iter().filter(network).any(|net| net.contains(&address) && !net.addr().is_loopback())
    }

    /// Who asks by ARP: an address of ours, or 0.0.0.0 where there is none.
    fn sender(&self, target: Ipv4Addr) -> Ipv4Addr {
        let own = self.networks.iter().find(|net| net.contains(&IpAddr::V4(target)));
        match own.map(IpNet::addr) {
            Some(IpAddr::V4(own)) => own,
            _ => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// Asks for each address and collects who answers. A `sweep` leaves no trace in anybody's neighbour table.
    ///
    /// # Errors
    /// There may be no raw sockets here, or the interface is down.
    pub(super) fn ask(&self, addresses: &[IpAddr], sweep: bool) -> anyhow::Result<Answers> {
        let mut ears = Ears::open(self, addresses)?;
        for address in addresses {
            match *address {
                IpAddr::V4(address) => {
                    let sender = if sweep { Ipv4Addr::UNSPECIFIED } else { self.sender(address) };
                    ears.say(address.into(), &arp_request(self.mac, sender, address))?;
                }
                IpAddr::V6(address) => ears.say(address.into(), &ndp::probe(self.mac, address))?,
            }
            ears.listen(REQUEST_INTERVAL)?;
        }
        ears.listen(ANSWERS_WITHIN)?;
        Ok(ears.heard)
    }
}

fn arp_request(own: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> [u8; arp::FRAME_LEN] {
    let frame = Frame {
        destination: MacAddr::BROADCAST,
        source: own,
        operation: Operation::Request,
        sender_mac: own,
        sender_ip: sender,
        target_mac: MacAddr::ZERO,
        target_ip: target,
    };
    frame.emit()
}

/// A socket for each family that is asked, what has been asked, and what has been heard.
struct Ears {
    arp: Option<PacketSocket>,
    ndp: Option<PacketSocket>,
    asked: BTreeMap<IpAddr, Instant>,
    heard: Answers,
}

impl Ears {
    fn open(interface: &Interface, addresses: &[IpAddr]) -> anyhow::Result<Self> {
        let index = if_nametoindex(interface.name.as_str())?;
        let open = |ethertype, filter: &[filter::Instruction]| {
            PacketSocket::open(index, ethertype, filter).map_err(|error| {
                let finding = Finding::new(Code::PrivilegeMissing, Severity::Error, "CAP_NET_RAW", error.to_string());
                anyhow::anyhow!("{finding}")
            })
        };
        let low = |address: &Ipv6Addr| u32::try_from(address.to_bits() & 0xffff_ffff).unwrap_or_default();
        let v6: BTreeSet<u32> = addresses
            .iter()
            .filter_map(|address| if let IpAddr::V6(address) = address { Some(low(address)) } else { None })
            .collect();
        let v4 = addresses.iter().any(IpAddr::is_ipv4);
        Ok(Self {
            arp: v4.then(|| open(arp::ETHERTYPE, &filter::arp_replies())).transpose()?,
            ndp: (!v6.is_empty()).then(|| open(ndp::ETHERTYPE, &filter::advertisements(&v6))).transpose()?,
            asked: BTreeMap::new(),
            heard: Answers::new(),
        })
    }

    fn say(&mut self, address: IpAddr, frame: &[u8]) -> anyhow::Result<()> {
        self.asked.insert(address, Instant::now());
        let socket = if address.is_ipv4() { &self.arp } else { &self.ndp };
        socket.as_ref().map_or(Ok(()), |socket| socket.send(frame)).context("the question cannot be sent")
    }

    fn listen(&mut self, during: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + during;
        while Instant::now() < until {
            if !self.hear()? {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    /// Takes one frame of each socket; whether there was any.
    fn hear(&mut self) -> anyhow::Result<bool> {
        let mut buffer = [0; FRAME];
        let mut any = false;
        for (socket, is_arp) in [(&self.arp, true), (&self.ndp, false)] {
            let Some(socket) = socket else { continue };
            let Some(length) = socket.receive(&mut buffer)? else { continue };
            any = true;
            let frame = buffer.get(..length).unwrap_or_default();
            let said: Option<(IpAddr, MacAddr)> = if is_arp {
                let reply = arp::parse(frame).ok().filter(|frame| frame.operation == Operation::Reply);
                reply.map(|frame| (frame.sender_ip.into(), frame.sender_mac))
            } else {
                ndp::parse_advertisement(frame).ok().map(|said| (said.target.into(), said.mac))
            };
            if let Some((address, mac)) = said
                && let Some(at) = self.asked.get(&address)
            {
                let answers = self.heard.entry(address).or_default();
                if answers.iter().all(|(other, _)| *other != mac) {
                    answers.push((mac, at.elapsed()));
                }
            }
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, networks: &[&str]) -> Interface {
        Interface {
            name: name.to_owned(),
            mac: MacAddr::ZERO,
            networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_interface_is_the_one_whose_network_has_the_address_or_the_one_named() {
        let all = [
            interface("lo", &["127.0.0.1/8", "::1/128"]),
            interface("kube-ipvs0", &["192.168.1.201/32"]),
            interface("eth0", &["192.168.1.11/24", "fd00::11/64"]),
        ];
        let name = |address: &str, named| {
            towards(&all, address.parse().unwrap(), named).map(|one| one.name.clone()).map_err(|finding| finding.code)
        };
        assert_eq!(name("192.168.1.201", None).as_deref(), Ok("eth0"), "an address bound here is no network");
        assert_eq!(name("fd00::201", None).as_deref(), Ok("eth0"));
        assert_eq!(name("10.0.0.1", None), Err(Code::OffTheNetwork));
        assert_eq!(name("127.0.0.9", None), Err(Code::OffTheNetwork));
        assert_eq!(name("10.0.0.1", Some("eth0")).as_deref(), Ok("eth0"));
        assert_eq!(name("192.168.1.201", Some("eth9")), Err(Code::OffTheNetwork));
    }

    #[test]
    fn an_address_of_the_same_network_asks_and_nobody_where_there_is_none() {
        let eth0 = interface("eth0", &["10.0.0.1/8", "192.168.1.11/24"]);
        assert_eq!(eth0.sender(Ipv4Addr::new(192, 168, 1, 201)), Ipv4Addr::new(192, 168, 1, 11));
        assert_eq!(eth0.sender(Ipv4Addr::new(172, 16, 0, 1)), Ipv4Addr::UNSPECIFIED);
    }
}
