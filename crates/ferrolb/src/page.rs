//! The web page: what `ferrolb status` tells, for people with a browser. Off unless it is asked for.
//!
//! It can only be read. There is nothing to log in to, so it listens where it is told to: on 127.0.0.1 it is reached by
//! `kubectl port-forward`, and whoever may do that is Kubernetes' affair. The page is one file of each kind inside the
//! program; what it shows is `/status.json`, the document of `ferrolb status -o json`, put into it as text and never as
//! markup. The browser is told to run and load nothing else, to tell nobody, and to let nobody frame it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ferrolb_rules::reason::Code;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::look;
use crate::state::State;

#[cfg(test)]
mod tests;

/// How long an answer of the API server is good for: however many look, it is asked no more often.
const FRESH: Duration = Duration::from_secs(5);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What the browser is told with every answer.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

/// Where the page gets its document from.
#[derive(Debug)]
pub enum Source {
    /// A process that knows it.
    Process(watch::Receiver<Arc<State>>),
    /// The cluster, looked at when somebody looks at the page.
    Cluster(Looker),
}

/// Looks at a cluster, not too often.
pub struct Looker {
    client: Client,
    namespace: String,
    last: Mutex<Option<(Instant, Answer)>>,
}

/// The document, or why there is none.
type Answer = Result<Arc<State>, Arc<str>>;

impl std::fmt::Debug for Looker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looker").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Looker {
    /// Has not looked yet.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace, last: Mutex::default() }
    }

    /// The newest answer. Who comes while somebody else looks waits, and gets the same.
    async fn answer(&self) -> Answer {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = match timeout(LIMIT, look::look(&self.client, &self.namespace)).await {
            Ok(Ok((_, state))) => Ok(Arc::new(state)),
            Ok(Err(error)) => Err(format!("{error:#}").into()),
            Err(_) => Err(format!("{} no answer within {} s", Code::ApiServerAway, LIMIT.as_secs()).into()),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

/// Listens.
///
/// # Errors
/// The port is taken, or the address is none of this machine.
pub async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let code = Code::PortNotFree;
        anyhow::anyhow!(
            "cannot listen on {address} (--web-page): {error}; free it, or choose another ({code} {})",
            code.name()
        )
    })
}

/// The page and its document. On a loopback address it is for who is on this machine: a page from elsewhere whose name is
/// made to point here (DNS rebinding) is not answered. Behind an address that others reach stands a login with names of
/// its own (decision 85).
pub fn routes(source: Source, address: SocketAddr) -> Router {
    let routes = files(source);
    if address.ip().is_loopback() { routes.layer(from_fn(only_to_this_machine)) } else { routes }
        .layer(map_response(with_headers))
}

async fn only_to_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    if host.is_none_or(is_this_machine) {
        return next.run(request).await;
    }
    let text = "this page answers to localhost and to addresses only\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Whether a Host header names this machine or is an address: nobody can make another name of these.
fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

fn files(source: Source) -> Router {
    let file = |kind: &'static str, text: &'static str| get(async move || ([(header::CONTENT_TYPE, kind)], text));
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/status.json", get(status))
        .with_state(Arc::new(source))
}

async fn status(Shared(source): Shared<Arc<Source>>) -> Response {
    let answer = match &*source {
        Source::Process(state) => Ok(state.borrow().clone()),
        Source::Cluster(looker) => looker.answer().await,
    };
    let text = answer.and_then(|state| serde_json::to_string_pretty(&*state).map_err(|error| error.to_string().into()));
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(why) => {
            let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::SERVICE_UNAVAILABLE, plain, why.to_string()).into_response()
        }
    }
}

async fn with_headers(mut response: Response) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
