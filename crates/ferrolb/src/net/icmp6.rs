//! Raw ICMPv6 sockets (ipv6(7), RFC 3542): the messages of two types on one interface. The kernel puts in and checks checksums.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use nix::sys::socket::sockopt::Ipv6RecvHopLimit;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, SockaddrStorage, recvmsg, setsockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// `ICMP6_FILTER` of linux/icmpv6.h, at the level of the protocol.
const FILTER: i32 = 1;
/// Longer than what any router says at once.
const LONGEST: usize = 1500;

/// A message that came in.
#[derive(Debug)]
pub struct Received {
    /// Where from.
    pub source: Ipv6Addr,
    /// As it came in.
    pub hop_limit: u8,
    /// From the type on.
    pub bytes: Vec<u8>,
}

/// A socket for these types of messages on one interface.
#[derive(Debug)]
pub struct Icmp6Socket {
    /// To the kernel and to tokio one socket for datagrams is like another.
    socket: UdpSocket,
    interface: u32,
}

impl Icmp6Socket {
    /// Opens a socket on an interface, that hears what is sent to these groups as well, but not what it sends itself.
    ///
    /// # Errors
    /// The process lacks CAP_NET_RAW, or the interface is gone.
    pub fn open(name: &str, interface: u32, types: [u8; 2], groups: &[Ipv6Addr]) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        socket.set_nonblocking(true)?;
        only(&socket, types)?;
        setsockopt(&socket.as_fd(), Ipv6RecvHopLimit, &true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_multicast_loop_v6(false)?;
        socket.set_multicast_if_v6(interface)?;
        socket.set_multicast_hops_v6(255)?;
        for group in groups {
            socket.join_multicast_v6(group, interface)?;
        }
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, interface })
    }

    /// Sends a message to a group; its source is the interface's link-local address.
    ///
    /// # Errors
    /// The interface is down or away, or has no address yet.
    pub fn send(&self, group: Ipv6Addr, bytes: &[u8]) -> io::Result<()> {
        self.socket.try_send_to(bytes, SocketAddrV6::new(group, 0, 0, self.interface).into()).map(drop)
    }

    /// Waits for one message.
    ///
    /// # Errors
    /// The interface went down or away.
    pub async fn receive(&self) -> io::Result<Received> {
        self.socket.async_io(Interest::READABLE, || read(self.socket.as_raw_fd())).await
    }
}

fn read(socket: RawFd) -> io::Result<Received> {
    let mut buffer = [0; LONGEST];
    let mut control = nix::cmsg_space!(libc::c_int);
    let (length, source, hop_limit) = {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let message = recvmsg::<SockaddrStorage>(socket, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let hop_limit = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::Ipv6HopLimit(count) => u8::try_from(count).ok(),
            _ => None,
        });
        let source = message.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in6).map(SockaddrIn6::ip);
        (message.bytes, source, hop_limit)
    };
    let bytes = buffer.get(..length).unwrap_or_default().to_vec();
    let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
    // Without its hop limit a message counts as one from another link.
    Ok(Received { source, hop_limit: hop_limit.unwrap_or_default(), bytes })
}

/// Lets these types through alone: a bit for each type, and one that is set blocks.
fn only(socket: &Socket, types: [u8; 2]) -> io::Result<()> {
    let mut filter = [u32::MAX; 8];
    for kind in types {
        if let Some(word) = filter.get_mut(usize::from(kind >> 5)) {
            *word &= !(1 << (kind & 31));
        }
    }
    let length = libc::socklen_t::try_from(size_of_val(&filter)).map_err(io::Error::other)?;
    let (socket, value) = (socket.as_raw_fd(), filter.as_ptr());
    // SAFETY: the kernel reads `length` bytes, which is the size of the array that lives throughout the call.
    let result = unsafe { libc::setsockopt(socket, libc::IPPROTO_ICMPV6, FILTER, value.cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
