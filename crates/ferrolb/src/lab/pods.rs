//! What answers behind an address: one HTTP server per pod, and a stand-in for kube-proxy that sends traffic for a
//! Service's address on to the pod on the same node (by nftables DNAT, as kube-proxy does; a real one would choose among
//! the pods of all nodes).

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body};
use hyper_util::rt::TokioIo;

use super::manifests::Backend;
use super::network::{NODES, Network, feed};
use super::speakers;
use crate::state::State;

/// How often the stand-in looks for new addresses.
const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// Starts every pod on every node.
///
/// # Errors
/// A node cannot take the pod's address or port.
pub(super) fn start(network: &Network, backends: &'static [Backend]) -> anyhow::Result<()> {
    for (index, node) in NODES.iter().enumerate() {
        let addresses: String =
            backends.iter().map(|backend| format!("addr add {}/32 dev lo\n", backend.pod_address(index))).collect();
        let mut ip = Command::new("ip");
        ip.args(["-batch", "-"]);
        feed(network.machine(node)?, ip, &addresses)?;
        for backend in backends {
            for (_, port) in backend.ports {
                let at = SocketAddr::new(backend.pod_address(index).into(), *port);
                let text = format!("hello from {}\n", backend.pod_name(index));
                let listener = network
                    .machine(node)?
                    .run(move || std::net::TcpListener::bind(at))?
                    .with_context(|| format!("{node} cannot serve {at}"))?;
                thread::Builder::new().spawn(move || serve(listener, &text))?;
            }
        }
    }
    Ok(())
}

/// Serves one text to everybody, until the lab ends.
fn serve(listener: std::net::TcpListener, text: &str) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let _ = listener.set_nonblocking(true);
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
        let text = Bytes::copy_from_slice(text.as_bytes());
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let text = text.clone();
            tokio::spawn(async move {
                let answer = |_: Request<body::Incoming>| {
                    let response = Response::new(Full::new(text.clone()));
                    async { Ok::<_, Infallible>(response) }
                };
                let _ = http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .await;
            });
        }
    });
}

/// Starts the stand-in for kube-proxy on every node.
///
/// # Errors
/// A node's nftables take no rules at all.
pub(super) fn start_proxy(network: &Network, backends: &'static [Backend]) -> anyhow::Result<()> {
    for (index, node) in NODES.iter().enumerate() {
        program(network.machine(node)?, "").with_context(|| format!("no nftables on {node}"))?;
        let namespace = network.machine(node)?.run(crate::net::namespace::Namespace::current)??;
        thread::Builder::new().spawn(move || {
            let mut programmed = String::new();
            loop {
                thread::sleep(SYNC_INTERVAL);
                let Some(state) = speakers::ask(node) else { continue };
                let rules: String = backends.iter().map(|backend| rules(&state, backend, index)).collect();
                if rules != programmed && program(&namespace, &rules).is_ok() {
                    programmed = rules;
                }
            }
        })?;
    }
    Ok(())
}

/// The rules for one Service: its IPv4 addresses and ports to the pod on this node.
fn rules(state: &State, backend: &Backend, node: usize) -> String {
    let Some(service) = speakers::service(state, backend.namespace, backend.name) else { return String::new() };
    let addresses = service.addresses.iter().filter(|address| matches!(address, IpAddr::V4(_)));
    let rule = |address: &IpAddr, (port, target): &(u16, u16)| {
        format!("    ip daddr {address} tcp dport {port} dnat to {}:{target}\n", backend.pod_address(node))
    };
    addresses.flat_map(|address| backend.ports.iter().map(move |ports| rule(address, ports))).collect()
}

fn program(namespace: &crate::net::namespace::Namespace, rules: &str) -> anyhow::Result<()> {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]);
    let table = "table ip kube-proxy-stand-in";
    feed(
        namespace,
        nft,
        &format!(
            "{table}\ndelete {table}\n{table} {{\n  chain services {{\n    \
             type nat hook prerouting priority dstnat\n{rules}  }}\n}}\n"
        ),
    )
}
