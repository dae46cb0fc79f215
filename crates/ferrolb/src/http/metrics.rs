//! `/metrics`: over TLS always, and only for those whom the API server knows and lets (spec §8.1).
//!
//! The certificate comes from the directory that was given, else from the directory where the metrics server of
//! upstream looks, else it is made in memory. Files are looked at again every few seconds: they may be renewed, and they
//! may appear only after the start.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use kube::Client;
use time::OffsetDateTime;
use tokio::fs;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::access::{Access, Reviewer};
use super::serve;
use crate::metrics::{self, Metrics};
use crate::tls::{self, Rotating};

/// How often the files of the certificate are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// `/metrics` over TLS for those who may see it.
pub struct MetricsEndpoint {
    /// What is served.
    pub metrics: Arc<Metrics>,
    /// Who says who may see it.
    pub client: Client,
    /// Where its certificate is; none, or nothing in it: see above.
    pub cert_dir: Option<PathBuf>,
    /// Versions, suites and curves.
    pub tls: tls::Options,
}

impl MetricsEndpoint {
    /// Starts its tasks: the server, and the one that looks at the certificate.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn start(
        self,
        servers: &mut JoinSet<()>,
        listener: TcpListener,
        closing: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let certificate = Arc::new(Rotating::new(tls::self_signed(OffsetDateTime::now_utc())?));
        let config = self.tls.server_config(Arc::clone(&certificate) as _, &["h2", "http/1.1"]);
        let acceptor = TlsAcceptor::from(Arc::new(config.context("TLS for the metrics")?));
        let routes = routes(self.metrics, self.client);
        let given = self.cert_dir.clone();
        let directories = self.cert_dir.into_iter().chain([default_directory()]).collect();
        servers.spawn(async move {
            let files = Files { directories, shown: None };
            warn_if_missing(given.as_deref()).await;
            tokio::join!(
                serve(listener, Some(acceptor), routes, closing.clone()),
                follow(files, &certificate, closing)
            );
        });
        Ok(())
    }
}

/// Says that a directory was given and has no certificate: who scrapes would otherwise wonder about the one shown.
async fn warn_if_missing(given: Option<&Path>) {
    let Some(given) = given else { return };
    if read(given).await.is_none() {
        let directory = given.display();
        tracing::warn!(
            op = "metrics",
            "no tls.crt and tls.key in {directory} yet; until then another certificate is used"
        );
    }
}

/// Where upstream's metrics server looks for a certificate when it was told nothing.
fn default_directory() -> PathBuf {
    env::temp_dir().join("k8s-metrics-server/serving-certs")
}

/// What is served and to whom.
struct Served {
    metrics: Arc<Metrics>,
    reviewer: Reviewer,
}

fn routes(metrics: Arc<Metrics>, client: Client) -> Router {
    let served = Arc::new(Served { metrics, reviewer: Reviewer::new(client) });
    Router::new().route("/metrics", any(scrape)).with_state(served)
}

async fn scrape(State(served): State<Arc<Served>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    match served.reviewer.check(&headers, &method, uri.path()).await {
        Access::Allowed => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], served.metrics.text()).into_response(),
        Access::Anonymous => {
            let message = "unauthenticated: send a valid token as Authorization: Bearer\n";
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], message).into_response()
        }
        Access::Denied { user } => {
            let verb = method.as_str().to_ascii_lowercase();
            let message = format!("{user} may not {verb} the non-resource URL {}\n", uri.path());
            (StatusCode::FORBIDDEN, message).into_response()
        }
        Access::Unknown(error) => {
            tracing::warn!(op = "metrics", error, "the API server does not say who may see the metrics");
            let message = "the API server does not say whether you may see this; the log says why\n";
            (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
    }
}

/// The certificate's files.
struct Files {
    /// In order of preference.
    directories: Vec<PathBuf>,
    /// What was last read, good or bad: looked at again only when it changes.
    shown: Option<(Vec<u8>, Vec<u8>)>,
}

async fn follow(mut files: Files, certificate: &Rotating, mut closing: watch::Receiver<bool>) {
    loop {
        files.look(certificate).await;
        // An error is a sender that is gone: closing as well.
        if timeout(RELOAD_INTERVAL, closing.wait_for(|closing| *closing)).await.is_ok() {
            return;
        }
    }
}

impl Files {
    /// Takes what is new. What cannot be used is logged once; what was shown stays.
    async fn look(&mut self, certificate: &Rotating) {
        for directory in &self.directories {
            let Some(pair) = read(directory).await else { continue };
            if self.shown.as_ref() == Some(&pair) {
                return;
            }
            let directory = directory.display();
            match tls::from_pem(&pair.0, &pair.1) {
                Ok(new) => {
                    certificate.replace(new);
                    tracing::info!(op = "metrics", "the certificate in {directory} is in use");
                }
                Err(error) => {
                    tracing::error!(op = "metrics", %error, "the certificate in {directory} cannot be used; the one before stays");
                }
            }
            self.shown = Some(pair);
            return;
        }
    }
}

/// `tls.crt` and `tls.key`, if both are there.
async fn read(directory: &Path) -> Option<(Vec<u8>, Vec<u8>)> {
    let chain = fs::read(directory.join("tls.crt")).await.ok()?;
    let key = fs::read(directory.join("tls.key")).await.ok()?;
    Some((chain, key))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn write_pair(directory: &Path) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["metrics".to_owned()]).unwrap().self_signed(&key).unwrap();
        std::fs::write(directory.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_and_a_broken_one_changes_nothing() {
        let (given, default) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rotating = Rotating::new(tls::self_signed(OffsetDateTime::now_utc()).unwrap());
        let mut files = Files { directories: vec![given.path().into(), default.path().into()], shown: None };
        let made = rotating.shown();
        files.look(&rotating).await;
        assert_eq!(rotating.shown().cert, made.cert, "no files: the one made in memory");
        write_pair(default.path());
        files.look(&rotating).await;
        let from_default = rotating.shown();
        assert_ne!(from_default.cert, made.cert, "files in the default directory");
        write_pair(given.path());
        files.look(&rotating).await;
        let from_given = rotating.shown();
        assert_ne!(from_given.cert, from_default.cert, "the given directory comes first");
        std::fs::write(given.path().join("tls.key"), "broken").unwrap();
        files.look(&rotating).await;
        assert_eq!(rotating.shown().cert, from_given.cert, "a broken key changes nothing");
        write_pair(given.path());
        files.look(&rotating).await;
        assert_ne!(rotating.shown().cert, from_given.cert, "renewed");
    }
}
