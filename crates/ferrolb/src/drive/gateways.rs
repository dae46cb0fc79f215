//! The gateways of this node's default routes, for peers that are to be found there: looked up when the first such peer is
//! there, and again whenever the kernel says that something about routes or interfaces has changed.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_rules::range::Family;
use nix::net::if_::if_indextoname;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::net::default_route::{self, Monitor};

/// A router that a default route names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its address.
    pub address: IpAddr,
    /// The interface, where the address means something only there.
    pub device: Option<String>,
}

/// What was found.
pub type Found = BTreeMap<Family, Gateway>;

/// The gateways, watched from the moment that somebody wants them.
#[derive(Debug, Default)]
pub struct Gateways {
    running: Option<(watch::Receiver<Found>, JoinHandle<()>)>,
    changed: Arc<Notify>,
}

impl Gateways {
    /// Those that there are, of which one may be told from now on that they have changed.
    pub fn find(&mut self) -> Found {
        let changed = &self.changed;
        let (found, _) = self.running.get_or_insert_with(|| {
            // Listening comes first, so that nothing falls in between.
            let monitor = Monitor::open();
            let (tell, found) = watch::channel(look());
            (found, tokio::spawn(run(monitor, tell, changed.clone())))
        });
        found.borrow().clone()
    }

    /// Returns when something is different.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Gateways {
    fn drop(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
    }
}

async fn run(monitor: io::Result<Monitor>, tell: watch::Sender<Found>, changed: Arc<Notify>) {
    let Err(error) = follow(monitor, &tell, &changed).await;
    tracing::error!(event = "gateways", %error, "default routes are not followed any more");
}

async fn follow(
    monitor: io::Result<Monitor>,
    tell: &watch::Sender<Found>,
    changed: &Notify,
) -> io::Result<std::convert::Infallible> {
    let monitor = monitor?;
    loop {
        monitor.changed().await?;
        let now = look();
        let different = tell.send_if_modified(|before| {
            let different = *before != now;
            if different {
                tracing::info!(event = "gateways", ?before, ?now, "default routes have changed");
                *before = now;
            }
            different
        });
        if different {
            changed.notify_one();
        }
    }
}

fn look() -> Found {
    let of = |family: Family| {
        let all = default_route::gateways(family == Family::V4).unwrap_or_else(|error| {
            tracing::error!(event = "gateways", %error, "default routes cannot be read");
            Vec::new()
        });
        let first = all.first()?;
        let on_link = matches!(first.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let device = || if_indextoname(first.interface).ok()?.into_string().ok();
        let device = if on_link { Some(device()?) } else { None };
        Some((family, Gateway { address: first.address, device }))
    };
    [Family::V4, Family::V6].into_iter().filter_map(of).collect()
}
