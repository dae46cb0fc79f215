//! A client's browser: one request that must be answered, and a steady stream of requests that measures how long
//! nobody answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::network::Network;

/// One request every so often, each on a connection of its own: 50 a second.
pub(super) const REQUEST_INTERVAL: Duration = Duration::from_millis(20);
/// After this a request counts as failed. Shorter than the kernel's first retransmission, so that a request that got
/// stuck is not counted as one that was answered.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// Fetches a page from a client: status and body.
///
/// # Errors
/// No connection, no answer in time, no HTTP.
pub(super) fn get(network: &Network, client: &str, at: SocketAddr) -> anyhow::Result<(u16, String)> {
    network.machine(client)?.run(move || runtime()?.block_on(fetch(at)))?
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn fetch(at: SocketAddr) -> anyhow::Result<(u16, String)> {
    let fetched = tokio::time::timeout(REQUEST_TIMEOUT, async {
        let stream = TcpStream::connect(at).await.context("no connection")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get("/")
            .header("host", at.ip().to_string())
            .header("connection", "close")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).trim().to_owned()))
    });
    fetched.await.with_context(|| format!("no answer within {} ms", REQUEST_TIMEOUT.as_millis()))?
}

/// One request of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried {
    /// When it was begun.
    pub(super) at: Instant,
    /// Whether it was answered with 200.
    pub(super) answered: bool,
}

/// A stream of requests.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<anyhow::Result<Vec<Tried>>>,
}

impl Load {
    /// Starts it.
    pub(super) fn start(network: &Network, client: &str, at: SocketAddr) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let thread = network
            .machine(client)?
            .run(move || thread::Builder::new().spawn(move || runtime()?.block_on(stream(at, &until))))??;
        Ok(Self { stop, thread })
    }

    /// Stops it, waits for the last answers, and returns every request in the order it was begun.
    pub(super) fn stop(self) -> anyhow::Result<Vec<Tried>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut tried = self.thread.join().map_err(|_| anyhow::anyhow!("a client's requests came to a bad end"))??;
        tried.sort_by_key(|one| one.at);
        Ok(tried)
    }
}

async fn stream(at: SocketAddr, stop: &AtomicBool) -> anyhow::Result<Vec<Tried>> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut tick = tokio::time::interval(REQUEST_INTERVAL);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let tell = tell.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let answered = matches!(fetch(at).await, Ok((200, _)));
            let _ = tell.send(Tried { at: begun, answered });
        });
    }
    drop(tell);
    let mut tried = Vec::new();
    while let Some(one) = told.recv().await {
        tried.push(one);
    }
    Ok(tried)
}

/// The longest time without an answer, as the client saw it: from the last request that was answered before to the first
/// one after. One failed request between two that were answered lasts two intervals. Requests in order of beginning;
/// none if all were answered or nothing was answered afterwards.
pub(super) fn outage(tried: &[Tried]) -> Option<Duration> {
    let answered: Vec<usize> = (0..tried.len()).filter(|index| tried[*index].answered).collect();
    let gaps = answered.windows(2).filter(|pair| pair[1] > pair[0] + 1);
    gaps.map(|pair| tried[pair[1]].at.saturating_duration_since(tried[pair[0]].at)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(answers: &str) -> Vec<Tried> {
        let start = Instant::now();
        let step =
            |(index, letter): (u32, char)| Tried { at: start + index * REQUEST_INTERVAL, answered: letter == 'y' };
        (0..).zip(answers.chars()).map(step).collect()
    }

    #[test]
    fn an_outage_lasts_from_the_last_answer_before_to_the_first_after() {
        assert_eq!(outage(&tried("yyyyy")), None);
        assert_eq!(outage(&tried("yynny")), Some(3 * REQUEST_INTERVAL));
        assert_eq!(outage(&tried("ynyynnny")), Some(4 * REQUEST_INTERVAL), "the longest counts");
        assert_eq!(outage(&tried("yynnn")), None, "it has not ended");
        assert_eq!(outage(&[]), None);
    }
}
