//! Servers on loopback ports, spoken to as strangers do; the API server is a few routes that count what they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Json;
use axum::routing::post;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::metrics::Metrics;
use crate::tls;

/// Plain HTTP on a free port; the answer's status and body.
async fn plain_get(port: u16, path: &str) -> (u16, String) {
    plain_get_as("curl/8", port, path).await
}

async fn plain_get_as(agent: &str, port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn free_listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test]
async fn readiness_follows_the_process_and_says_what_is_missing() {
    let (ready, is_ready) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let (listener, port) = free_listener().await;
    let health = Health { ready: is_ready, waits_for: "the first list" };
    let server = tokio::spawn(serve(listener, None, health.routes(), closing));
    assert_eq!(plain_get(port, "/healthz").await, (200, "ok".to_owned()));
    assert_eq!(plain_get(port, "/readyz").await, (503, "not ready: waiting for the first list\n".to_owned()));
    ready.send_replace(true);
    assert_eq!(plain_get(port, "/readyz").await, (200, "ok".to_owned()));
    assert_eq!(plain_get(port, "/other").await.0, 404);
    close.send_replace(true);
    server.await.unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "the port is free again");
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_keep_the_server_from_stopping() {
    let (close, closing) = watch::channel(false);
    let (listener, port) = free_listener().await;
    let server = tokio::spawn(serve(listener, None, Router::new(), closing));
    let _silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tokio::task::yield_now().await;
    close.send_replace(true);
    timeout(Duration::from_secs(30), server).await.expect("stopped in the end").unwrap();
}

#[tokio::test]
async fn listening_everywhere_serves_both_families_and_a_taken_port_is_an_error() {
    let listener = listen_everywhere(0).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (close, closing) = watch::channel(false);
    let (_ready, is_ready) = watch::channel(true);
    let health = Health { ready: is_ready, waits_for: "" };
    let server = tokio::spawn(serve(listener, None, health.routes(), closing));
    assert_eq!(plain_get(port, "/readyz").await.0, 200);
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        TcpStream::connect(("::1", port)).await.expect("over IPv6 as well");
    }
    assert_eq!(listen_everywhere(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    close.send_replace(true);
    server.await.unwrap();
}

/// What the stand-in for the API server was asked.
#[derive(Clone, Default)]
struct Asked {
    tokens: Arc<AtomicUsize>,
    permissions: Arc<AtomicUsize>,
}

/// Knows the tokens `good` and `weak`, of which `weak` may nothing; fails to review the token `broken`.
fn api_server(asked: Asked) -> kube::Client {
    let counted = asked.clone();
    let token_review = move |Json(mut review): Json<Value>| async move {
        counted.tokens.fetch_add(1, Ordering::Relaxed);
        let token = review["spec"]["token"].as_str().unwrap_or_default().to_owned();
        if token == "broken" {
            return Err(StatusCode::BAD_GATEWAY);
        }
        let user = json!({"username": token, "groups": ["g"]});
        review["status"] = json!({"authenticated": matches!(token.as_str(), "good" | "weak"), "user": user});
        Ok(Json(review))
    };
    let access_review = move |Json(mut review): Json<Value>| async move {
        asked.permissions.fetch_add(1, Ordering::Relaxed);
        let expected = json!({"path": "/metrics", "verb": "get"});
        let allowed = review["spec"]["user"] == "good" && review["spec"]["nonResourceAttributes"] == expected;
        review["status"] = json!({"allowed": allowed});
        Json(review)
    };
    let routes = Router::new()
        .route("/apis/authentication.k8s.io/v1/tokenreviews", post(token_review))
        .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(access_review));
    kube::Client::new(routes, "default")
}

/// Takes any certificate, as Prometheus does with `insecureSkipVerify`.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The status, the content type and the body of one scrape.
async fn scrape(port: u16, protocol: &str, token: Option<&str>) -> (u16, String, String) {
    tls::install_provider();
    let verifier = Arc::new(AnyCertificate);
    let mut config =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    let mut request = Request::get(format!("https://localhost:{port}/metrics")).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let io = TokioIo::new(stream);
    let answer = if protocol == "h2" {
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let status = answer.status().as_u16();
    let kind = answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn metrics_are_shown_to_those_who_may_see_them_and_answers_are_remembered() {
    let asked = Asked::default();
    let metrics = Arc::new(Metrics::default());
    metrics.updated();
    let (listener, port) = free_listener().await;
    let (close, closing) = watch::channel(false);
    let mut servers = JoinSet::new();
    let client = api_server(asked.clone());
    let endpoint = MetricsEndpoint { metrics, client, cert_dir: None, tls: tls::Options::default() };
    endpoint.start(&mut servers, listener, closing).unwrap();

    assert_eq!(scrape(port, "http/1.1", None).await.0, 401, "anonymous");
    assert_eq!(asked.tokens.load(Ordering::Relaxed), 0, "without a token there is nothing to ask");
    assert_eq!(scrape(port, "http/1.1", Some("stranger")).await.0, 401);
    let (status, _, body) = scrape(port, "http/1.1", Some("weak")).await;
    assert_eq!((status, body.as_str()), (403, "weak may not get the non-resource URL /metrics\n"));
    assert_eq!(scrape(port, "http/1.1", Some("broken")).await.0, 500);

    let (tokens, permissions) = (asked.tokens.load(Ordering::Relaxed), asked.permissions.load(Ordering::Relaxed));
    for protocol in ["http/1.1", "h2", "h2"] {
        let (status, kind, body) = scrape(port, protocol, Some("good")).await;
        assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"), "{protocol}");
        assert!(body.contains("\nmetallb_k8s_client_updates_total 1\n"), "{body}");
    }
    assert_eq!(asked.tokens.load(Ordering::Relaxed), tokens + 1);
    assert_eq!(asked.permissions.load(Ordering::Relaxed), permissions + 1);

    // As MetalLB's manifests up to 0.14 have the kubelet ask.
    assert_eq!(plain_get_as("kube-probe/1.32", port, "/metrics").await, (200, "ok".to_owned()));
    assert_eq!(plain_get(port, "/metrics").await, (400, "this port speaks HTTPS\n".to_owned()));

    close.send_replace(true);
    while let Some(server) = servers.join_next().await {
        server.unwrap();
    }
}
