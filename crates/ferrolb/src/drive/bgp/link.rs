//! Who is at the other end of an interface ([`ferrolb_proto::ndp::discovery`]): a task for each unnumbered peer, which ends
//! with it.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::ndp::discovery::{
    ALL_ROUTERS, Discovery, Message, Output, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::next_hops::ip;
use crate::net::icmp6::{Icmp6Socket, Received};

/// How soon an interface that is not there, or breaks, is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The router's link-local address.
    Router(Ipv6Addr),
    /// Why there is none.
    Nobody(String),
}

/// One interface, listened to for as long as this is kept.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) device: String,
    pub(super) end: watch::Receiver<End>,
    task: JoinHandle<()>,
}

impl Link {
    pub(super) fn listen(device: &str) -> Self {
        let (tell, end) = watch::channel(silent(device));
        let task = tokio::spawn(run(device.to_owned(), tell));
        Self { device: device.to_owned(), end, task }
    }

    /// The router's address, or why there is none.
    pub(super) fn router(&self) -> io::Result<IpAddr> {
        match &*self.end.borrow() {
            End::Router(address) => Ok((*address).into()),
            End::Nobody(why) => Err(io::Error::other(why.clone())),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn silent(device: &str) -> End {
    End::Nobody(format!("no router is heard on interface {device}: it has to send router advertisements"))
}

async fn run(device: String, tell: watch::Sender<End>) {
    loop {
        let Err(error) = listen(&device, &tell).await;
        tell.send_if_modified(|end| {
            let now = End::Nobody(format!("interface {device}: {error}"));
            let different = *end != now;
            *end = now;
            different
        });
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Listens until the interface is no more.
async fn listen(device: &str, tell: &watch::Sender<End>) -> Result<std::convert::Infallible, io::Error> {
    let interface = if_nametoindex(device)?;
    let types = [ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT];
    let socket = Icmp6Socket::open(device, interface, types, &[ALL_ROUTERS])?;
    let mut discovery = Discovery::new(mac_of(device)?, Instant::now());
    tell.send_replace(silent(device));
    discovery.handle_timeout(Instant::now());
    loop {
        while let Some(output) = discovery.poll_output() {
            match output {
                // An address that is still being checked for duplicates: the next one gets out.
                Output::Send(group, bytes) => match socket.send(group, &bytes) {
                    Err(error) if if_nametoindex(device).is_ok_and(|index| index == interface) => {
                        tracing::debug!(event = "unnumbered", device, %error, "not sent");
                    }
                    result => result?,
                },
                Output::Router(router) => {
                    tracing::info!(event = "unnumbered", device, ?router, "the router at the other end");
                    tell.send_replace(router.map_or_else(|| silent(device), End::Router));
                }
            }
        }
        let due = async {
            match discovery.next_deadline() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = socket.receive() => {
                let Received { source, hop_limit, bytes } = received?;
                if !is_ours(source) {
                    discovery.handle(Instant::now(), Message { source, hop_limit, bytes: &bytes });
                }
            }
            () = due => discovery.handle_timeout(Instant::now()),
        }
    }
}

/// Our own messages come back from a network that is a loop.
fn is_ours(source: Ipv6Addr) -> bool {
    let mut all = getifaddrs().into_iter().flatten();
    all.any(|one| one.address.as_ref().and_then(ip) == Some(IpAddr::V6(source)))
}

fn mac_of(device: &str) -> io::Result<MacAddr> {
    let mut all = getifaddrs()?.filter(|one| one.interface_name == device);
    let mac = all.find_map(|one| one.address?.as_link_addr()?.addr());
    mac.map(MacAddr).ok_or_else(|| io::Error::other("it has no MAC address"))
}
