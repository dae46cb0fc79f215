//! The speaker: watch → rules::plan → drivers, on every node.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::metrics::Metrics;

/// What the command line says (spec §8.6, §8.7).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our namespace.
    pub namespace: String,
    /// How to reach the API server; none: as a pod, or by `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The node we speak for.
    pub node_name: String,
    /// Our own Pod, owner of the status objects that we write; none: no owner.
    pub pod_name: Option<String>,
    /// Serve only Services of this class.
    pub lb_class: Option<String>,
    /// Announce from nodes that carry the exclude label.
    pub ignore_exclude_lb: bool,
    /// Announce all the same where every node carries it (decision D2).
    pub announce_if_all_excluded: bool,
    /// Where membership listens; none: the node's InternalIP.
    pub ml_bind_addr: Option<IpAddr>,
    /// Membership's UDP port.
    pub ml_bind_port: u16,
    /// The label selector of the speakers' Pods; none: no membership, every node counts as alive.
    pub ml_labels: Option<String>,
    /// The directory with the file `secretkey`.
    pub ml_secret_key_path: Option<PathBuf>,
    /// Where the last plan is kept for a restart without an API server (decision D21); none: nowhere.
    pub state_dir: Option<PathBuf>,
    /// The only interfaces to announce on; none: all that fit.
    pub interfaces: Option<BTreeSet<String>>,
    /// The file with the expression of interfaces to leave alone (`/etc/metallb/excludel2.yaml`).
    pub exclude_l2: PathBuf,
}

/// Runs until it is told to stop or cannot go on.
///
/// # Errors
/// What cannot be had at all: a way to the API server, the right to open packet sockets, the membership key.
pub async fn run(
    settings: Settings,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    drop((settings, metrics, ready, stop));
    anyhow::bail!("not written yet")
}
