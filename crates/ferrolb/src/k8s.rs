//! The only place that knows a Kubernetes client.
//!
//! ```text
//! API server ── list, watch ──► stores ──► (controller, speaker: decide)
//!            ◄── status, events, leases ── one writer each
//! ```
//!
//! Everything read is read by watching, once per kind, and kept in [`stores`]; nothing polls. Everything written is a
//! value that somebody decided; here it is only carried.

use std::path::Path;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

pub mod configuration_state;
pub mod events;
pub mod lease;
pub mod malformed;
pub mod memberlist_secret;
pub mod service_status;
pub mod stores;
pub mod webhook;

/// Connects to the API server: by this kubeconfig, else by the environment (`KUBECONFIG`, or the pod's own account).
/// `component` is how we introduce ourselves, and what an audit log shows.
///
/// # Errors
/// There is no configuration, or it cannot be read.
pub async fn connect(kubeconfig: Option<&Path>, component: &str) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).with_context(|| format!("--kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await.context("no way to the API server: neither a pod's account nor KUBECONFIG")?,
    };
    let agent = format!("{component}/{}", env!("CARGO_PKG_VERSION"));
    config.headers.push((hyper::header::USER_AGENT, agent.parse()?));
    Ok(Client::try_from(config)?)
}
