//! The gateways of default routes, by rtnetlink(7): which there are, and that something about them may have changed.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::SockFlag;
use tokio::net::UdpSocket;

use super::netlink::{BUFFER, ROUTE_GROUPS, ask, messages, open};

/// Hears that default routes, or interfaces, have changed.
#[derive(Debug)]
pub struct Monitor {
    /// To the kernel and to tokio one socket for datagrams is like another.
    socket: UdpSocket,
}

impl Monitor {
    /// Listens from now on. Look for [`gateways`] after this.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::from_std(open(ROUTE_GROUPS, SockFlag::SOCK_NONBLOCK)?.into())? })
    }

    /// Returns when something may be different. The other routes, of which a node can have thousands, are none of our
    /// business.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn changed(&self) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.socket.recv(&mut buffer).await {
                Ok(length) => {
                    let mut all = messages(buffer.get(..length).unwrap_or_default()).into_iter();
                    if all.any(|message| concerns(&message.payload)) {
                        return Ok(());
                    }
                }
                // Something was missed: it may have been that.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn concerns(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)) => {
            route.header.destination_prefix_length == 0
        }
        NetlinkPayload::InnerMessage(_) => true,
        _ => false,
    }
}

/// The gateway of a default route of the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gateway {
    /// The smaller, the sooner it is used.
    pub metric: u32,
    /// Where it is.
    pub address: IpAddr,
    /// The interface that leads there.
    pub interface: u32,
}

/// Those of a family (IPv4 or not), the one first that counts.
///
/// # Errors
/// The kernel does not answer.
pub fn gateways(v4: bool) -> io::Result<Vec<Gateway>> {
    let mut message = RouteMessage::default();
    message.header.address_family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let routes = ask(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)?;
    let routes = routes.into_iter().filter_map(|answer| match answer {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => Some(route),
        _ => None,
    });
    Ok(sorted(routes))
}

fn sorted(routes: impl IntoIterator<Item = RouteMessage>) -> Vec<Gateway> {
    let mut found: Vec<Gateway> = routes.into_iter().filter(is_default).flat_map(|route| of(&route)).collect();
    found.sort_unstable();
    found
}

fn is_default(route: &RouteMessage) -> bool {
    let header = &route.header;
    let dead = header.flags.intersects(RouteFlags::Dead | RouteFlags::Linkdown | RouteFlags::Cloned);
    header.destination_prefix_length == 0
        && header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast
        && !dead
}

/// The gateways of a route: it has one, or several among which traffic is shared out.
fn of(route: &RouteMessage) -> Vec<Gateway> {
    let metric = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    let gateway = |attributes: &[RouteAttribute], interface: Option<u32>| {
        let named = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        let address = attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
            _ => None,
        });
        Some(Gateway { metric: metric.unwrap_or_default(), address: address?, interface: interface.or(named)? })
    };
    let mut found: Vec<Gateway> = gateway(&route.attributes, None).into_iter().collect();
    for attribute in &route.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            found.extend(hops.iter().filter_map(|hop| gateway(&hop.attributes, Some(hop.interface_index))));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn route(length: u8, table: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut route = RouteMessage::default();
        (route.header.destination_prefix_length, route.header.table) = (length, table);
        route.header.kind = RouteType::Unicast;
        route.attributes = attributes;
        route
    }

    #[test]
    fn the_default_route_with_the_smallest_metric_counts_and_of_its_gateways_the_first() {
        let via = |last: u8| RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(10, 0, 0, last)));
        let main = RouteHeader::RT_TABLE_MAIN;
        let (metric, oif) = (|metric| RouteAttribute::Priority(metric), RouteAttribute::Oif(2));
        let hop = |last| {
            let mut hop = netlink_packet_route::route::RouteNextHop::default();
            (hop.interface_index, hop.attributes) = (7, vec![via(last)]);
            hop
        };
        let routes = [
            route(0, main, vec![via(1), oif.clone(), metric(200)]),
            route(8, main, vec![via(2), oif.clone()]),
            route(0, 100, vec![via(3), oif.clone()]),
            route(0, main, vec![oif.clone()]),
            route(0, main, vec![metric(100), RouteAttribute::MultiPath(vec![hop(9), hop(8)])]),
        ];
        let found: Vec<(String, u32)> =
            sorted(routes).iter().map(|one| (one.address.to_string(), one.interface)).collect();
        assert_eq!(found, [("10.0.0.8".to_owned(), 7), ("10.0.0.9".to_owned(), 7), ("10.0.0.1".to_owned(), 2)]);
    }
}
