//! What the API server calls: one path for each kind, one for conversion (spec §2.1, §2.2); [`crate::http`] serves them.
//! The certificate is asked for at every handshake, so that a new one needs no restart.

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
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use serde_json::Value;
use tokio::time::timeout;

use crate::k8s::stores::Configuration;

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
    let known = Known { resources: stores.resources() };
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
    let _ = stores.bfd_profiles.wait_until_ready().await;
    let _ = stores.communities.wait_until_ready().await;
    let _ = stores.namespaces.wait_until_ready().await;
    let _ = stores.nodes.wait_until_ready().await;
}
