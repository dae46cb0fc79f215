//! The addresses of the interface that a connection uses: what routers can send traffic to.

use std::net::IpAddr;

use ferrolb_proto::bgp::NextHops;
use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

/// Those of the interface that has `local`, which more than one can have where it is link-local: then of the `device`. The link-local one only where the router is on the same link (RFC 2545 §3).
pub(super) fn of(local: IpAddr, remote: IpAddr, device: Option<&str>) -> NextHops {
    let all: Vec<InterfaceAddress> = getifaddrs().map(Iterator::collect).unwrap_or_default();
    let device = device.filter(|_| matches!(local, IpAddr::V6(local) if local.is_unicast_link_local()));
    let has_local = |one: &&InterfaceAddress| {
        one.address.as_ref().and_then(ip) == Some(local) && device.is_none_or(|device| one.interface_name == device)
    };
    let mut found = NextHops::default();
    let Some(interface) = all.iter().find(has_local).map(|one| one.interface_name.clone()) else { return found };
    let mut same_link = false;
    for one in all.iter().filter(|one| one.interface_name == interface) {
        let address = one.address.as_ref().and_then(ip);
        let mask = one.netmask.as_ref().and_then(ip);
        let network = address.zip(mask).and_then(|(address, mask)| IpNet::with_netmask(address, mask).ok());
        same_link |= network.is_some_and(|network| network.contains(&remote));
        match address {
            Some(IpAddr::V4(address)) if found.v4.is_none() => found.v4 = Some(address),
            Some(IpAddr::V6(address)) if address.is_unicast_link_local() => found.link_local = Some(address),
            Some(IpAddr::V6(address)) if found.v6.is_none() => found.v6 = Some(address),
            _ => {}
        }
    }
    found.link_local = found.link_local.filter(|_| same_link);
    found
}

pub(super) fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}
