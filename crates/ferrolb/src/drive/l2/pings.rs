//! Pings for what is announced (`--answer-ping`, decision D8): one interface's sockets for them.
//!
//! ```text
//! echo request ──► [kernel filter] ──► parse ──► limits ──► is the kernel to answer? ──► answer
//! ```
//!
//! The sockets are there while there is an address to answer for, and only with the flag: a node that announces nothing
//! here, or does not answer pings, is not woken for ICMP and has no filter run for it. What goes to a VLAN comes in on
//! the VLAN's own interface, as with ARP.
//!
//! Where the address is one of the kernel's own (kube-proxy in mode ipvs, `ferrolb.io/bind-address`, a local route), the
//! kernel answers, and two answers would be one too many. It is asked anew for every ping: whoever binds an address tells
//! nobody, and the limits keep the questions few.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use ferrolb_proto::arp::filter;
use ferrolb_proto::echo::{self, Limits};
use ferrolb_proto::ethernet::MacAddr;
use ferrolb_proto::ndp;

use super::counts::Counts;
use super::links::Usable;
use crate::net::netlink;
use crate::net::raw::PacketSocket;

/// Pings on one interface.
#[derive(Debug)]
pub(super) struct Pings {
    pub(super) v4: PacketSocket,
    pub(super) v6: PacketSocket,
    addresses: BTreeSet<IpAddr>,
    limits: Limits,
}

impl Pings {
    /// Hears nothing yet.
    pub(super) fn open(usable: &Usable) -> io::Result<Self> {
        let none = BTreeSet::new();
        Ok(Self {
            v4: PacketSocket::open(usable.index, echo::ETHERTYPE_V4, &filter::echo_requests_v4(&none))?,
            v6: PacketSocket::open(usable.index, ndp::ETHERTYPE, &filter::echo_requests_v6(&none))?,
            addresses: BTreeSet::new(),
            limits: Limits::default(),
        })
    }

    /// Answers for exactly these addresses from now on.
    pub(super) fn set(&mut self, addresses: BTreeSet<IpAddr>) -> io::Result<()> {
        if self.addresses == addresses {
            return Ok(());
        }
        let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
        for address in &addresses {
            match address {
                IpAddr::V4(address) => v4.insert(address.to_bits()),
                IpAddr::V6(address) => v6.insert(u32::try_from(address.to_bits() & 0xffff_ffff).unwrap_or_default()),
            };
        }
        self.v4.set_filter(&filter::echo_requests_v4(&v4))?;
        self.v6.set_filter(&filter::echo_requests_v6(&v6))?;
        self.limits.keep(&addresses);
        self.addresses = addresses;
        Ok(())
    }

    /// Answers what waits in one of the sockets, so many frames at most, and counts.
    pub(super) fn serve(&mut self, is_v4: bool, own: MacAddr, frames: usize, now: Instant, counts: &mut Counts) {
        let socket = if is_v4 { &self.v4 } else { &self.v6 };
        let mut buffer = [0; echo::MAX_LEN];
        for _ in 0..frames {
            let Ok(Some(length)) = socket.receive(&mut buffer) else { return };
            let Ok(request) = echo::parse(buffer.get(..length).unwrap_or_default()) else { continue };
            let (address, addresses) = (request.destination(), &self.addresses);
            let Some(answer) = echo::answer(&request, own, |address| addresses.contains(&address)) else { continue };
            if self.limits.allow(now, address) && !netlink::is_local(address) && socket.send(&answer).is_ok() {
                counts.pinged(address);
            }
        }
    }
}

/// Pings by interface.
pub(super) type PingsByInterface = BTreeMap<u32, Pings>;
