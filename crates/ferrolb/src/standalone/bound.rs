//! Addresses bound to `lo` while this host owns them, so that a process on the host can answer for them.
//!
//! What is bound is noted on disk first: after a crash the next start takes back what is left over. An address on `lo`
//! makes the kernel answer ARP for it on every interface, owner or not, unless `arp_ignore` forbids it. So that is set,
//! and where it cannot be set, nothing is bound.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use ferrolb_rules::reason::{Code, Finding, Severity};

use crate::drive::l2::Wire;
use crate::durable;
use crate::net::netlink;

/// The index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;

/// What is bound.
#[derive(Debug)]
pub(super) struct Bound {
    note: PathBuf,
    addresses: BTreeSet<IpAddr>,
}

impl Bound {
    /// Takes back what an earlier process left behind.
    pub(super) fn start(note: PathBuf) -> Self {
        let left = fs::read(&note).ok().and_then(|text| serde_json::from_slice::<BTreeSet<IpAddr>>(&text).ok());
        let mut bound = Self { note, addresses: left.unwrap_or_default() };
        if !bound.addresses.is_empty() {
            tracing::info!(event = "bound", addresses = ?bound.addresses, "taking back addresses that an earlier process left on lo");
            bound.change(&BTreeSet::new());
        }
        bound
    }

    /// Whether nothing is bound.
    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Binds exactly these addresses from now on. Returns what is wrong.
    pub(super) fn set(&mut self, wanted: BTreeSet<IpAddr>, wire: &Wire) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut wanted = wanted;
        if wanted.iter().any(IpAddr::is_ipv4) {
            let names = wire.interfaces.iter().map(|interface| interface.name.as_str());
            if let Some(problem) = forbid_kernel_answers(names) {
                findings.push(problem);
                wanted.retain(IpAddr::is_ipv6);
            }
        }
        if wanted != self.addresses {
            findings.extend(self.change(&wanted));
        }
        findings
    }

    fn change(&mut self, wanted: &BTreeSet<IpAddr>) -> Vec<Finding> {
        // Everything that may be bound at any moment of the change is noted before the change.
        let all: BTreeSet<IpAddr> = self.addresses.union(wanted).copied().collect();
        if let Err(error) = self.write(&all) {
            let message = format!("{}: {error}; no address is bound to lo", self.note.display());
            return vec![Finding::new(Code::StateUnusable, Severity::Error, "state", message)];
        }
        let mut findings = Vec::new();
        let mut bound = self.addresses.clone();
        let mut attempt = |address: &IpAddr, result: io::Result<()>, then: &dyn Fn(&mut BTreeSet<IpAddr>)| match result
        {
            Ok(()) => then(&mut bound),
            Err(error) => {
                let message = format!("cannot change {address} on lo: {error}");
                findings.push(
                    Finding::new(Code::StateUnusable, Severity::Error, "lo", message)
                        .with_fix("run with CAP_NET_ADMIN"),
                );
            }
        };
        for address in self.addresses.difference(wanted) {
            attempt(address, netlink::remove_address(LOOPBACK, *address), &|bound| {
                bound.remove(address);
            });
        }
        for address in wanted.difference(&self.addresses) {
            attempt(address, netlink::add_address(LOOPBACK, *address), &|bound| {
                bound.insert(*address);
            });
        }
        self.addresses = bound;
        if self.addresses != all {
            // A note that names too much only makes the next start take back what is not there.
            let _ = self.write(&self.addresses);
        }
        findings
    }

    fn write(&self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        durable::replace(&self.note, &serde_json::to_vec(addresses)?, durable::Readers::All)
    }

    /// Takes everything back.
    pub(super) fn release(mut self) {
        if !self.addresses.is_empty() {
            self.change(&BTreeSet::new());
        }
    }
}

/// Makes the kernel answer ARP only for addresses of the interface that asks; the larger of "all" and the interface's
/// own value counts. Returns why it cannot be done.
fn forbid_kernel_answers<'a>(mut interfaces: impl Iterator<Item = &'a str>) -> Option<Finding> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore"));
    let value = |name: &str| read(name).ok().and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or_default();
    if value("all") >= 1 || interfaces.all(|name| value(name) >= 1) {
        return None;
    }
    if let Err(error) = fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1\n") {
        let message = format!(
            "net.ipv4.conf.all.arp_ignore is 0 and cannot be set ({error}): the kernel would answer for bound addresses on every host, so none is bound"
        );
        let object = "sysctl/net.ipv4.conf.all.arp_ignore";
        return Some(Finding::new(Code::ArpIgnoreUnset, Severity::Error, object, message));
    }
    tracing::info!(
        event = "sysctl",
        "set net.ipv4.conf.all.arp_ignore=1: an address bound to lo is answered for by its owner only"
    );
    None
}
