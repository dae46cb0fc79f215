//! Health checks of Services on a host without Kubernetes: the host that fails one is no candidate for its addresses.
//!
//! Nobody tells us whether a process behind a Service lives, so an optional annotation names something to ask: a TCP
//! connect, or an HTTP request that must answer 2xx. Two failures in a row make a Service unhealthy, one success makes
//! it healthy; until the first answer it counts as unhealthy, so that an address never comes to a dead process.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferrolb_rules::annotations::HealthCheck;
use ferrolb_rules::names::ServiceKey;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often each check is made.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long one may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// Failures in a row that make a healthy Service unhealthy.
const FAILURES: u32 = 2;

/// The running checks, one task per Service. Dropping it ends them.
pub(super) struct HealthChecks {
    running: BTreeMap<ServiceKey, (HealthCheck, JoinHandle<()>)>,
    unhealthy: watch::Sender<BTreeSet<ServiceKey>>,
}

impl HealthChecks {
    /// No check yet.
    pub(super) fn new() -> Self {
        Self { running: BTreeMap::new(), unhealthy: watch::Sender::default() }
    }

    /// The Services that are unhealthy on this host.
    pub(super) fn unhealthy(&self) -> watch::Receiver<BTreeSet<ServiceKey>> {
        self.unhealthy.subscribe()
    }

    /// Makes exactly these checks from now on. One that stays the same goes on with what it knows.
    pub(super) fn set(&mut self, wanted: &BTreeMap<ServiceKey, HealthCheck>) {
        self.running.retain(|service, (check, task)| {
            let keep = wanted.get(service) == Some(check);
            if !keep {
                task.abort();
            }
            keep
        });
        self.unhealthy.send_if_modified(|set| {
            let before = set.clone();
            set.retain(|service| self.running.contains_key(service));
            set.extend(wanted.keys().filter(|service| !self.running.contains_key(*service)).cloned());
            *set != before
        });
        for (service, check) in wanted {
            if !self.running.contains_key(service) {
                let task = tokio::spawn(watch_one(service.clone(), check.clone(), self.unhealthy.clone()));
                self.running.insert(service.clone(), (check.clone(), task));
            }
        }
    }
}

impl Drop for HealthChecks {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

async fn watch_one(service: ServiceKey, check: HealthCheck, unhealthy: watch::Sender<BTreeSet<ServiceKey>>) {
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = 0;
    loop {
        ticks.tick().await;
        let answer = timeout(CHECK_TIMEOUT, ask(&check)).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        failures = if answer.is_ok() { 0 } else { failures + 1 };
        let changed = unhealthy.send_if_modified(|set| match &answer {
            Ok(()) => set.remove(&service),
            Err(_) if failures >= FAILURES => set.insert(service.clone()),
            Err(_) => false,
        });
        if changed {
            let reason = answer.err().unwrap_or_default();
            tracing::info!(event = "healthCheck", service = %service, healthy = reason.is_empty(), reason, "health check changed");
        }
    }
}

async fn ask(check: &HealthCheck) -> Result<(), String> {
    match check {
        HealthCheck::Tcp { host, port } => connect(host, *port).await.map(drop),
        HealthCheck::Http { host, port, path } => http(host, *port, path).await,
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| format!("connect to {host}:{port}: {error}"))
}

async fn http(host: &str, port: u16, path: &str) -> Result<(), String> {
    let stream = TokioIo::new(connect(host, port).await?);
    let fail = |error: &dyn std::fmt::Display| format!("http://{host}:{port}{path}: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|error| fail(&error))?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, format!("{host}:{port}"))
        .header(hyper::header::USER_AGENT, concat!("ferrolb/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| fail(&error))?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    // A server may close right after it answered. One look at the connection then brings the answer and the end of the
    // connection together, so the end says nothing until the answer was asked for.
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
    .map_err(|error| fail(&error))?;
    if answer.status().is_success() { Ok(()) } else { Err(fail(&answer.status())) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Asks a server that says `answer` and closes the connection at once, `times` times.
    async fn asked(answer: &'static [u8], times: usize) -> Vec<Result<(), String>> {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        });
        let mut results = Vec::new();
        for _ in 0..times {
            results.push(http("127.0.0.1", port, "/").await);
        }
        serving.abort();
        results
    }

    #[tokio::test]
    async fn a_server_that_closes_after_its_answer_is_healthy() {
        for answer in [
            b"HTTP/1.0 200 OK\r\n\r\nfine".as_slice(),
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfine".as_slice(),
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".as_slice(),
        ] {
            let results = asked(answer, 100).await;
            assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
        }
    }

    #[tokio::test]
    async fn a_server_that_closes_without_an_answer_or_with_a_bad_one_is_unhealthy() {
        assert!(asked(b"", 1).await.iter().all(Result::is_err));
        assert!(asked(b"HTTP/1.0 503 Service Unavailable\r\n\r\n", 1).await.iter().all(Result::is_err));
    }
}
