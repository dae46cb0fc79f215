//! Whether this node can serve what it is handed (`docs/l2-failover.md`, rule 5).
//!
//! After a boot the speaker is up before kube-proxy has written its rules, and packets for an address that comes back too
//! early would be dropped. kube-proxy says by its health check when it is done, and so do those that replace it. Where
//! nothing ever listens there, somebody else forwards, and there is nobody to wait for. Asked until the first good answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Where kube-proxy answers unless it is told otherwise.
const HEALTH: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 10256);
/// Between two questions, and for each of them.
const TRY_INTERVAL: Duration = Duration::from_secs(1);
/// Where nobody has listened for so long, there is no kube-proxy.
const PATIENCE: Duration = Duration::from_secs(300);

/// Asks from now on; the value is true for ever once this node can serve. Call it inside a tokio runtime.
pub(super) fn follow() -> watch::Receiver<bool> {
    let (tell, told) = watch::channel(false);
    tokio::spawn(async move {
        wait(HEALTH.into(), PATIENCE).await;
        tell.send_replace(true);
    });
    told
}

async fn wait(health: SocketAddr, patience: Duration) {
    let until = Instant::now() + patience;
    let mut is_there = false;
    loop {
        match timeout(TRY_INTERVAL, ask(health)).await.unwrap_or(None) {
            Some(true) => return,
            Some(false) => is_there = true,
            None if !is_there && Instant::now() >= until => return,
            None => {}
        }
        sleep(TRY_INTERVAL).await;
    }
}

/// Whether the answer is good; `None` where there is none.
async fn ask(health: SocketAddr) -> Option<bool> {
    let mut stream = TcpStream::connect(health).await.ok()?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").await.ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.ok()?;
    Some(status.starts_with(b"HTTP/1.") && status.ends_with(b" 200"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one question after the other with these statuses.
    async fn proxy(statuses: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for status in statuses {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut question = [0; 24];
                stream.read_exact(&mut question).await.unwrap();
                stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n{{}}").as_bytes()).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn kube_proxy_is_waited_for_until_its_health_check_is_good() {
        let address = proxy(&["503 Service Unavailable", "200 OK"]).await;
        assert_eq!(ask(address).await, Some(false));
        wait(address, Duration::ZERO).await;
        assert_eq!(ask(address).await, None, "and is not asked any more");
    }

    #[tokio::test]
    async fn where_nobody_listens_nobody_is_waited_for_in_the_end() {
        let address = proxy(&[]).await;
        wait(address, Duration::ZERO).await;
        assert_eq!(ask(address).await, None);
    }
}
