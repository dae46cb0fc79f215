//! The sockets of BFD: two ports to listen on in each family, and a port of its own for each session to send from.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv4RecvTtl, Ipv6RecvHopLimit, Ipv6RecvPacketInfo};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// RFC 5881 §4.
const SINGLE_HOP: u16 = 3784;
/// RFC 5883 §5.
const MULTIHOP: u16 = 4784;
/// The first port to send from, and the last (RFC 5881 §4).
const SOURCES: std::ops::RangeInclusive<u16> = 49152..=65535;
/// On everything sent (RFC 5881 §5).
const TTL: u32 = 255;
/// Class selector 6, network control, as routers send it.
const TRAFFIC_CLASS: u32 = 0xc0;
/// Longer than any packet that counts.
const PACKET: usize = 128;
/// Packets read from one socket in one turn: a flood must not keep the thread from sending.
const TURN: usize = 1024;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// IPv4, else IPv6.
    pub(super) v4: bool,
    /// Routers that are more than one hop away.
    pub(super) multihop: bool,
}

/// A packet that came in.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) ttl: u8,
    pub(super) from: IpAddr,
    pub(super) interface: u32,
    pub(super) multihop: bool,
}

/// The sockets to listen on, those that are needed.
#[derive(Debug, Default)]
pub(super) struct Ports(Vec<(Kind, UdpSocket)>);

impl Ports {
    /// Listens for this kind, too, if it does not yet.
    ///
    /// # Errors
    /// The port is taken, or the kernel lacks the family.
    pub(super) fn open(&mut self, kind: Kind, epoll: &Epoll, token: u64) -> io::Result<()> {
        if self.0.iter().all(|(open, _)| *open != kind) {
            let socket = listen(kind)?;
            epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            self.0.push((kind, socket));
        }
        Ok(())
    }

    /// Closes those that nobody needs any more.
    pub(super) fn retain(&mut self, needed: impl Fn(Kind) -> bool) {
        self.0.retain(|(kind, _)| needed(*kind));
    }

    /// Reads everything that waits.
    pub(super) fn read(&self, mut take: impl FnMut(Received<'_>)) {
        let mut buffer = [0; PACKET];
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        for (kind, socket) in &self.0 {
            for _ in 0..TURN {
                match read(*kind, socket, &mut buffer, &mut control) {
                    Ok(Some(received)) => take(received),
                    // Without TTL or address: not from our kernel's hand as we asked for it.
                    Ok(None) | Err(Errno::EINTR) => {}
                    Err(_) => break,
                }
            }
        }
    }
}

fn read<'a>(
    kind: Kind,
    socket: &UdpSocket,
    buffer: &'a mut [u8],
    control: &mut [u8],
) -> Result<Option<Received<'a>>, Errno> {
    let (mut ttl, mut interface) = (None, None);
    let (length, from) = {
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(control), flags)?;
        for part in message.cmsgs()? {
            match part {
                ControlMessageOwned::Ipv4Ttl(count) | ControlMessageOwned::Ipv6HopLimit(count) => {
                    ttl = u8::try_from(count).ok();
                }
                ControlMessageOwned::Ipv4PacketInfo(info) => interface = u32::try_from(info.ipi_ifindex).ok(),
                ControlMessageOwned::Ipv6PacketInfo(info) => interface = Some(info.ipi6_ifindex),
                _ => {}
            }
        }
        (message.bytes, message.address.as_ref().and_then(ip))
    };
    let bytes = buffer.get(..length).unwrap_or_default();
    let whole = ttl.zip(from).zip(interface);
    Ok(whole.map(|((ttl, from), interface)| Received { bytes, ttl, from, interface, multihop: kind.multihop }))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn any(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn listen(kind: Kind) -> io::Result<UdpSocket> {
    let socket = udp(kind.v4)?;
    if kind.v4 {
        setsockopt(&socket.as_fd(), Ipv4RecvTtl, &true)?;
        setsockopt(&socket.as_fd(), Ipv4PacketInfo, &true)?;
    } else {
        setsockopt(&socket.as_fd(), Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket.as_fd(), Ipv6RecvPacketInfo, &true)?;
    }
    socket.bind(&SocketAddr::new(any(kind.v4), to_port(kind.multihop)).into())?;
    Ok(socket.into())
}

fn udp(v4: bool) -> io::Result<Socket> {
    let socket = Socket::new(if v4 { Domain::IPV4 } else { Domain::IPV6 }, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if !v4 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Where packets go.
pub(super) const fn to_port(multihop: bool) -> u16 {
    if multihop { MULTIHOP } else { SINGLE_HOP }
}

/// A socket to send from, by the first port that is free from `first` on.
///
/// # Errors
/// The address is not this host's, or no port is free.
pub(super) fn source(v4: bool, address: Option<IpAddr>, first: u16) -> io::Result<UdpSocket> {
    let socket = udp(v4)?;
    if v4 {
        socket.set_ttl_v4(TTL)?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
    } else {
        socket.set_unicast_hops_v6(TTL)?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
    }
    // Nobody sends anything here, and nobody reads it.
    socket.set_recv_buffer_size(0)?;
    let address = address.unwrap_or_else(|| any(v4));
    let (start, end) = SOURCES.into_inner();
    let first = first.max(start);
    let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
    for port in (first..=end).chain(start..first) {
        match socket.bind(&SocketAddr::new(address, port).into()) {
            Ok(()) => return Ok(socket.into()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}
