//! The controller: watch → rules::service → write status. One replica leads; every replica serves webhooks.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::tls;

/// What the command line says (spec §8.6).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our namespace.
    pub namespace: String,
    /// How to reach the API server; none: as a pod, or by `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// Our own Pod, owner of our ConfigurationState and identity of our lease; none: neither.
    pub pod_name: Option<String>,
    /// Serve only Services of this class.
    pub lb_class: Option<String>,
    /// Whether to serve webhooks, and whether to do anything else.
    pub webhook_mode: WebhookMode,
    /// The memberlist Secret to create; none: create none.
    pub ml_secret_name: Option<String>,
    /// Our Deployment, owner of that Secret.
    pub deployment: Option<String>,
    /// Webhook certificates.
    pub webhook: WebhookSettings,
}

/// `--webhook-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookMode {
    /// Serve webhooks and allocate.
    #[default]
    Enabled,
    /// Allocate only.
    Disabled,
    /// Serve webhooks only.
    OnlyWebhook,
}

/// Where the webhooks' certificates come from and how they are served (spec §2.1, §2.3, decision D19).
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// The Secret with the certificates.
    pub secret: String,
    /// The Service that the API server calls; with the namespace it is the name in the certificate.
    pub service_name: String,
    /// Use the certificate mounted in `cert_dir` as it is.
    pub disable_cert_rotation: bool,
    /// Where that is mounted.
    pub cert_dir: PathBuf,
    /// The port to listen on: 9443 unless a test says otherwise.
    pub port: u16,
    /// Versions, cipher suites and curves.
    pub tls: tls::Options,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// Runs until it is told to stop or cannot go on.
///
/// # Errors
/// The API server cannot be reached at all, or refuses what cannot be done without.
pub async fn run(
    settings: Settings,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    drop((settings, metrics, ready, stop));
    anyhow::bail!("not written yet")
}
