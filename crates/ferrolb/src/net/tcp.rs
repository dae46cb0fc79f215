//! TCP sockets as BGP wants them: with a password for the kernel to check (RFC 2385), a certain TTL, a certain source.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use ferrolb_proto::bgp::session::Transport;
use ferrolb_proto::bgp::session::config::{Password, Reach};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// The longest key that the kernel takes.
const LONGEST_KEY: usize = 80;

/// Internetwork control (RFC 2474 class selector 6): what routers send BGP with, and what a full link lets through first.
const TRAFFIC_CLASS: u32 = 0xc0;

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct Md5Signature {
    address: SockAddrStorage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: i32,
    key: [u8; LONGEST_KEY],
}

const _: () = assert!(size_of::<Md5Signature>() == 216, "as the kernel has it");

/// Connects to a router.
///
/// # Errors
/// It cannot be reached, an option cannot be had, or the password is too long.
pub async fn connect(transport: Transport) -> io::Result<TcpStream> {
    let remote = transport.remote.ok_or_else(|| io::Error::other("the router's address is not known"))?;
    let remote = scoped(remote, transport.port, transport.device.as_deref())?;
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(device) = &transport.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(source) = transport.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    if let Some(password) = &transport.password {
        sign(&socket, remote, password)?;
    }
    match remote {
        SocketAddr::V4(_) => socket.set_tos_v4(TRAFFIC_CLASS)?,
        SocketAddr::V6(_) => socket.set_tclass_v6(TRAFFIC_CLASS)?,
    }
    set_reach(&socket, remote.ip(), transport.reach)?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(remote).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A link-local address means something on its interface only.
fn scoped(remote: IpAddr, port: u16, device: Option<&str>) -> io::Result<SocketAddr> {
    Ok(match (remote, device) {
        (IpAddr::V6(address), Some(device)) if address.is_unicast_link_local() => {
            SocketAddrV6::new(address, port, 0, if_nametoindex(device)?).into()
        }
        (address, _) => SocketAddr::new(address, port),
    })
}

fn set_reach(socket: &Socket, remote: IpAddr, reach: Reach) -> io::Result<()> {
    let ttl = match reach {
        Reach::Default => return Ok(()),
        Reach::Direct => 1,
        Reach::Hops(hops) => u32::from(hops),
        Reach::Gtsm(_) => 255,
    };
    if remote.is_ipv4() {
        socket.set_ttl_v4(ttl)?;
    } else {
        socket.set_unicast_hops_v6(ttl)?;
    }
    let Reach::Gtsm(hops) = reach else { return Ok(()) };
    let least = 256 - i32::from(hops.max(1));
    if remote.is_ipv4() {
        set_option(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &least)
    } else {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &least)
    }
}

/// Packets to and from the router carry a signature from now on; others from there are thrown away by the kernel.
fn sign(socket: &Socket, remote: SocketAddr, password: &Password) -> io::Result<()> {
    let bytes = password.0.as_bytes();
    let mut key = [0; LONGEST_KEY];
    let Some(place) = key.get_mut(..bytes.len()) else {
        return Err(io::Error::other("the password is longer than 80 bytes"));
    };
    place.copy_from_slice(bytes);
    let signature = Md5Signature {
        address: SockAddr::from(remote).as_storage(),
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(bytes.len()).unwrap_or_default(),
        interface: 0,
        key,
    };
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signature)
}

fn set_option<T>(socket: &Socket, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` bytes from where a `T` of that size lives throughout the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn what_is_said_to_routers_is_marked_as_control_of_the_network() {
        for local in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
            let listener = TcpListener::bind((local, 0)).unwrap();
            let transport = Transport {
                remote: Some(local),
                port: listener.local_addr().unwrap().port(),
                source: None,
                device: None,
                password: None,
                reach: Reach::Direct,
            };
            let stream = connect(transport).await.unwrap();
            let socket = SockRef::from(&stream);
            let class = if local.is_ipv4() { socket.tos_v4() } else { socket.tclass_v6() };
            assert_eq!(class.unwrap(), 0xc0, "{local}");
        }
    }
}
