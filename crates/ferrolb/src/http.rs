//! HTTP that we serve: health, metrics, and the frame for webhooks.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Metrics;
use crate::tls;

/// `/healthz` and `/readyz` (spec §8.4, decision D20).
#[derive(Debug)]
pub struct Health {
    /// Whether the process is ready.
    pub ready: watch::Receiver<bool>,
    /// What readiness waits for, in words.
    pub waits_for: &'static str,
}

impl Health {
    /// The two paths.
    pub fn routes(self) -> Router {
        Router::new()
    }
}

/// Serves until `closing` is true.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    mut closing: watch::Receiver<bool>,
) {
    drop((listener, tls, routes));
    let _ = closing.wait_for(|closing| *closing).await;
}

/// `/metrics` over TLS for those who may see it (spec §8.1).
pub struct MetricsEndpoint {
    /// What is served.
    pub metrics: Arc<Metrics>,
    /// Who says who may see it.
    pub client: Client,
    /// Where its certificate is.
    pub cert_dir: Option<PathBuf>,
    /// Versions, suites and curves.
    pub tls: tls::Options,
}

impl MetricsEndpoint {
    /// Starts its tasks.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn start(
        self,
        servers: &mut JoinSet<()>,
        listener: TcpListener,
        closing: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        servers.spawn(serve(listener, None, Router::new(), closing));
        Ok(())
    }
}
