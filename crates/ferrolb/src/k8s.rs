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
mod references;
pub mod service_status;
pub mod stores;
pub mod webhook;

/// Whether it is worth trying again: the API server did not answer, or was too busy, or failed.
pub fn is_passing(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
        Some(error) => matches!(error, kube::Error::HyperError(_) | kube::Error::Service(_)),
        None => false,
    }
}

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
    // Whoever asks has a delay of his own, of seconds at most. The client's doubles up to minutes, and would sleep on long
    // after an API server that refused for a while is back.
    config.default_retry = false;
    config.headers.push((hyper::header::USER_AGENT, agent.parse()?));
    Ok(Client::try_from(config)?)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn what_the_api_server_refuses_for_good_is_not_tried_again_and_everything_else_is() {
        let answer = |code| {
            let status = kube::core::Status::failure("no", "Reason").with_code(code);
            Err::<(), _>(kube::Error::Api(status.boxed())).context("the first thing").context("the second").unwrap_err()
        };
        assert_eq!([429, 500, 503, 504].map(|code| is_passing(&answer(code))), [true; 4]);
        assert_eq!([401, 403, 404, 409, 422].map(|code| is_passing(&answer(code))), [false; 5]);
        let refused = kube::Error::Service(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
        assert!(is_passing(&anyhow::Error::from(refused).context("startup")));
        assert!(!is_passing(&anyhow::anyhow!("--deployment must name our Deployment")));
    }
}
