//! The HTTPS server that the API server calls: one path for each kind, one for conversion (spec §2.1, §2.2).
//!
//! A connection is accepted at once and shakes hands in a task of its own, so that nobody who is slow keeps others
//! waiting. The certificate is asked for at every handshake, so that a new one needs no restart.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ferrolb_rules::admission::{self, Kind, Known};
use ferrolb_rules::api::conversion;
use ferrolb_rules::api::well_known::CONVERSION_PATH;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::k8s::stores::{Configuration, by_name};

const HANDSHAKE: Duration = Duration::from_secs(5);
const HEADERS: Duration = Duration::from_secs(10);
/// Connections at a time; an API server keeps a few.
const CONNECTIONS: usize = 256;
/// A review has an object of at most 1.5 MiB twice; a conversion has a page of 500 objects.
const LONGEST_REVIEW: usize = 64 << 20;
/// So long a request waits for the first list of objects. API servers wait for two or three seconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The certificate that is served; none yet at the start.
#[derive(Debug, Default)]
pub(super) struct Served(ArcSwapOption<CertifiedKey>);

impl Served {
    /// From now on this one.
    pub(super) fn swap(&self, certificate: CertifiedKey) {
        self.0.store(Some(Arc::new(certificate)));
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.0.load().is_some()
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// The paths.
pub(super) fn routes(namespace: &str, stores: &Configuration) -> Router {
    let mut router = Router::new().route(CONVERSION_PATH, post(convert));
    for (path, kind) in Kind::PATHS {
        let (namespace, stores) = (Arc::<str>::from(namespace), stores.clone());
        let review = move |body: Bytes| validate(kind, namespace.clone(), stores.clone(), body);
        router = router.route(path, post(review));
    }
    router.layer(DefaultBodyLimit::max(LONGEST_REVIEW))
}

async fn convert(body: Bytes) -> Response {
    answer(&body, conversion::answer)
}

async fn validate(kind: Kind, namespace: Arc<str>, stores: Configuration, body: Bytes) -> Response {
    if timeout(PATIENCE, synced(&stores)).await.is_err() {
        // Whether that refuses the object is for the failure policy to say.
        return (StatusCode::SERVICE_UNAVAILABLE, "the objects are not known yet; try again in a moment")
            .into_response();
    }
    let known = Known {
        resources: stores.resources(),
        bgp_advertisements: by_name(&stores.bgp_advertisements),
        bgp_peers: by_name(&stores.bgp_peers),
    };
    answer(&body, |review| admission::answer(kind, review, &namespace, &known))
}

fn answer(body: &[u8], decide: impl FnOnce(&Value) -> Result<Value, String>) -> Response {
    let review = serde_json::from_slice::<Value>(body).map_err(|error| format!("the body is not JSON: {error}"));
    match review.and_then(|review| decide(&review)) {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, why).into_response(),
    }
}

/// Returns when everything that admission reads has been listed. A watch that has ended counts as listed: the process
/// is on its way out.
pub(super) async fn synced(stores: &Configuration) {
    let _ = stores.pools.wait_until_ready().await;
    let _ = stores.l2_advertisements.wait_until_ready().await;
    let _ = stores.bgp_advertisements.wait_until_ready().await;
    let _ = stores.bgp_peers.wait_until_ready().await;
    let _ = stores.communities.wait_until_ready().await;
    let _ = stores.namespaces.wait_until_ready().await;
    let _ = stores.nodes.wait_until_ready().await;
}

/// Serves until told to stop; then requests that are under way are answered.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, routes: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let one = connection(stream, tls.clone(), routes.clone(), stop.clone());
                connections.spawn(async move {
                    one.await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: nothing is gained by asking again at once.
            Err(error) => {
                tracing::warn!(op = "webhook", %error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    let _ = timeout(PATIENCE, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, routes: Router, mut stop: watch::Receiver<bool>) {
    // Who cannot shake hands says so itself; probes of load balancers would fill the log.
    let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
