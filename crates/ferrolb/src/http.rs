//! HTTP that we serve: health, metrics, and the frame for webhooks.
//!
//! One loop accepts; every connection has a bounded handshake, a bounded wait for a request and a bounded life, and
//! there is a bounded number of them. Whoever connects and says nothing costs a place for a while, and nothing else.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

mod access;
mod metrics;
#[cfg(test)]
mod tests;

pub use metrics::MetricsEndpoint;

/// Connections served at a time per listener; more wait in the kernel.
const CONNECTIONS: usize = 128;
/// Connections that the kernel holds for us until we accept them.
const BACKLOG: i32 = 256;
/// From connect to the end of the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// What the first byte of a TLS connection is: the type of its first record (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// After this, a connection is closed when its current request is done; clients connect anew.
const LIFETIME: Duration = Duration::from_secs(600);
/// How long requests may take that are under way when we stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// The wait after the kernel had no connection to give (too many open files).
const ACCEPT_RETRY: Duration = Duration::from_millis(500);

/// `/healthz` and `/readyz` (spec §8.4, decision D20).
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether the process is ready.
    pub ready: watch::Receiver<bool>,
    /// What readiness waits for, in words.
    pub waits_for: &'static str,
}

impl Health {
    /// The two paths. `/healthz` is always fine: a process that answers is alive, whatever its configuration is like.
    pub fn routes(self) -> Router {
        Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(readiness)).with_state(self)
    }
}

async fn readiness(State(health): State<Health>) -> (StatusCode, String) {
    if *health.ready.borrow() {
        (StatusCode::OK, "ok".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: waiting for {}\n", health.waits_for))
    }
}

/// Listens on every address of both families, as Go's `:port` does; on IPv4 alone where the kernel has no IPv6.
///
/// # Errors
/// The kernel's: the port is taken, or may not be used.
pub fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    let everywhere = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            // Whatever net.ipv6.bindv6only says.
            socket.set_only_v6(false)?;
        }
        // A port whose last connections are still being closed is free.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    match everywhere((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
            everywhere((Ipv4Addr::UNSPECIFIED, port).into())
        }
        result => result,
    }
}

/// Serves until `closing` is true; then requests under way are finished, within a bound.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    routes: Router,
    mut closing: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (stream, place) = tokio::select! {
            accepted = accepted => accepted,
            // Also when nobody is left who could say it.
            _ = closing.wait_for(|closing| *closing) => break,
        };
        // Those that ended.
        while connections.try_join_next().is_some() {}
        match stream {
            Ok((stream, _)) => {
                let (tls, routes, closing) = (tls.clone(), routes.clone(), closing.clone());
                connections.spawn(async move {
                    connection(stream, tls, routes, closing).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(op = "accept", %error, "no connection can be accepted for the moment");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, routes: Router, closing: watch::Receiver<bool>) {
    let Some(tls) = tls else {
        return requests(stream, false, routes, closing).await;
    };
    let mut first = [0];
    match timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first == [TLS_HANDSHAKE] => {}
        Ok(Ok(1)) => return requests(stream, false, Router::new().fallback(plain_text), closing).await,
        Ok(_) => return,
        Err(_) => return tracing::debug!(op = "accept", "nothing came"),
    }
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            requests(stream, http2, routes, closing).await;
        }
        Ok(Err(error)) => tracing::debug!(op = "accept", %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(op = "accept", "TLS handshake took too long"),
    }
}

/// The answer to plain HTTP where TLS is spoken. In MetalLB's manifests up to 0.14 the kubelet asks the port of the metrics, in
/// plain text, whether the process lives: who changes nothing in them but the image would have it killed again and again
/// by a refusal (decision 72). Nobody else gets anything, and sees why.
async fn plain_text(headers: HeaderMap) -> (StatusCode, &'static str) {
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    if agent.is_some_and(|agent| agent.starts_with("kube-probe/")) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::BAD_REQUEST, "this port speaks HTTPS\n")
    }
}

async fn requests<S>(stream: S, http2: bool, routes: Router, mut closing: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // The protocol is known: guessing it would wait for the first bytes without a bound.
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(IDLE_TIMEOUT / 3).max_concurrent_streams(32);
    let service = TowerToHyperService::new(routes);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let end = async {
        let _ = timeout(LIFETIME, closing.wait_for(|closing| *closing)).await;
    };
    tokio::select! {
        // Clients go away in many ways, none of which is our concern.
        _ = connection.as_mut() => return,
        () = end => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(IDLE_TIMEOUT, connection).await;
}
