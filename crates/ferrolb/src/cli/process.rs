//! What `ferrolb controller` and `ferrolb speaker` have in common: shared flags, flags that mean nothing here, and the
//! frame round the work: logs, health, metrics, signals.
//!
//! Exit codes are upstream's here: 0 when told to stop, 1 when something is wrong, 2 when the command line is.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use ferrolb_rules::drain::{self, Trigger};
use ferrolb_rules::reason::Code;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Verdict;
use crate::http::{self, Health};
use crate::metrics::Metrics;
use crate::{k8s, logs, source, tls};

/// Where a pod finds the namespace it runs in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The work itself runs on the first thread, and all input and output on one more: enough for one node's or one
/// cluster's, and every thread costs memory.
const WORKERS: usize = 1;

/// Flags of both processes (spec §8.6).
#[derive(clap::Args)]
pub(super) struct Shared {
    /// The port of the metrics endpoint (HTTPS); 0 switches it off.
    #[arg(long, default_value_t = 9120)]
    port: u16,
    /// The namespace of MetalLB's objects; without it, the one that the pod runs in.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "", hide_default_value = true)]
    namespace: String,
    /// The name of our own Pod.
    #[arg(long, env = "METALLB_POD_NAME", default_value = "", hide_default_value = true)]
    pod_name: String,
    /// How much to log: all, debug, info, warn, error or none.
    #[arg(long, default_value = "info")]
    log_level: String,
    /// The port of /healthz and /readyz (HTTP); 0 switches them off.
    #[arg(long, default_value_t = 17472)]
    health_probe_port: u16,
    /// Serve only Services of this loadBalancerClass; without it, only those that have none.
    #[arg(long, default_value = "", hide_default_value = true)]
    lb_class: String,
    /// The lowest version of TLS: VersionTLS12 or VersionTLS13 (the default).
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_min_version: String,
    /// Cipher suites of TLS 1.2, by IANA name, comma-separated.
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_cipher_suites: String,
    /// Curves in order of preference, by number, comma-separated: 29 (X25519), 23 (P-256), 24 (P-384).
    #[arg(long, default_value = "", hide_default_value = true)]
    tls_curve_preferences: String,
    /// The directory with tls.crt and tls.key for the metrics endpoint; without it, a certificate signed by itself.
    #[arg(long, default_value = "", hide_default_value = true)]
    metrics_cert_dir: String,
    /// How to reach the API server from outside a cluster.
    #[arg(long, default_value = "", hide_default_value = true)]
    kubeconfig: String,
    /// Not offered.
    #[arg(long, default_value = "", hide_default_value = true, hide = true)]
    pprof_bind_address: String,
}

impl Shared {
    /// The namespace: flag, environment, or the pod's own.
    pub(super) fn namespace(&self) -> anyhow::Result<String> {
        namespace(&self.namespace, Path::new(NAMESPACE_FILE))
    }

    pub(super) fn pod_name(&self) -> Option<String> {
        given(&self.pod_name)
    }

    pub(super) fn lb_class(&self) -> Option<String> {
        given(&self.lb_class)
    }

    pub(super) fn kubeconfig(&self) -> Option<PathBuf> {
        given_path(&self.kubeconfig)
    }

    pub(super) fn tls(&self) -> anyhow::Result<tls::Options> {
        tls::Options::parse(&self.tls_min_version, &self.tls_cipher_suites, &self.tls_curve_preferences)
            .map_err(|error| wrong_flag(&error))
    }

    /// Where metrics and health are served, in words.
    fn ports(&self) -> String {
        let port =
            |what: &str, port: u16| if port == 0 { format!("no {what}") } else { format!("{what} on port {port}") };
        format!("{}, {}", port("metrics", self.port), port("health", self.health_probe_port))
    }

    /// Notes about shared flags that have no effect, or not the whole one.
    fn notes(&self, tls: &tls::Options) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.pprof_bind_address.is_empty() {
            notes.push("--pprof-bind-address: profiles of this kind are not offered; leave the flag out".to_owned());
        }
        if !tls.left_out().is_empty() {
            notes.push(format!("not offered by TLS here and left out: {}", tls.left_out().join(", ")));
        }
        notes
    }
}

/// A text flag that was given at all: flags default to empty, as in Go, and an empty variable means nothing.
pub(super) fn given(value: &str) -> Option<String> {
    (!value.trim().is_empty()).then(|| value.trim().to_owned())
}

/// The same for a path.
pub(super) fn given_path(value: &str) -> Option<PathBuf> {
    given(value).map(PathBuf::from)
}

/// The name of a node, as a flag gives it.
///
/// # Errors
/// It is one that no Node can have.
pub(super) fn node_name(text: &str) -> anyhow::Result<String> {
    let Some(name) = given(text) else {
        return Err(wrong_flag(&"no node name: set --node-name to the metadata.name of this host's Node"));
    };
    match source::subdomain_fault(&name) {
        None => Ok(name),
        Some(fault) => Err(wrong_flag(&format!(
            "--node-name {name:?} is a name that no Node can have: {fault}; use the metadata.name of this host's Node"
        ))),
    }
}

/// The signs that a node is being emptied.
pub(super) fn drain_on(list: &str) -> anyhow::Result<BTreeSet<Trigger>> {
    drain::parse(list).map_err(|error| wrong_flag(&format!("--drain-on={list}: {error}")))
}

/// The error for a flag whose value makes no sense, with its code.
pub(super) fn wrong_flag(message: &impl std::fmt::Display) -> anyhow::Error {
    coded(Code::FlagInvalid, message)
}

fn coded(code: Code, message: &impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("{message} ({code} {})", code.name())
}

fn namespace(flag: &str, file: &Path) -> anyhow::Result<String> {
    if let Some(namespace) = given(flag) {
        return Ok(namespace);
    }
    match fs::read_to_string(file).map(|text| given(&text)) {
        Ok(Some(namespace)) => Ok(namespace),
        Ok(None) => Err(wrong_flag(&format!("no namespace: {} is empty; set --namespace", file.display()))),
        Err(error) => {
            let path = file.display();
            let message =
                format!("no namespace: set --namespace or METALLB_NAMESPACE; outside a pod there is no {path}");
            Err(wrong_flag(&format!("{message} ({error})")))
        }
    }
}

/// What `METALLB_BGP_TYPE` means here: nothing to say, something to say, or an error for what nobody knows.
fn bgp_type(value: Option<OsString>) -> anyhow::Result<Option<String>> {
    let Some(value) = value else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Some("native") => Ok(None),
        Some("") => Ok(Some("METALLB_BGP_TYPE is set but empty, which means native; leave it out".to_owned())),
        Some(mode @ ("frr" | "frr-k8s")) => Ok(Some(format!(
            "METALLB_BGP_TYPE={mode}: no FRR is started or configured; BGP has one implementation, in the speaker; leave the variable out"
        ))),
        _ => Err(wrong_flag(&format!(
            "METALLB_BGP_TYPE={}: use native, or leave it out; frr and frr-k8s are accepted too",
            value.display()
        ))),
    }
}

/// Environment that configures FRR's container.
fn frr_environment(is_set: impl Fn(&str) -> bool) -> Option<String> {
    let names = ["FRR_CONFIG_FILE", "FRR_RELOADER_PID_FILE", "FRR_LOGGING_LEVEL"];
    let set: Vec<&str> = names.into_iter().filter(|name| is_set(name)).collect();
    (!set.is_empty()).then(|| format!("{}: no FRR is started or configured; leave such variables out", set.join(", ")))
}

/// What is about to run: what the frame needs to know of it.
pub(super) struct Process {
    /// `metallb-controller` or `metallb-speaker`, as the API server's audit log shows us.
    pub(super) name: &'static str,
    /// Whether /healthz and /readyz are for this node only.
    pub(super) health_is_local: bool,
    /// What readiness waits for, in words.
    pub(super) waits_for: &'static str,
    /// One line saying what this start will do.
    pub(super) summary: String,
    /// Flags that were given and have no effect, each with what to do instead.
    pub(super) notes: Vec<String>,
}

/// What runs inside the frame.
pub(super) type Work = Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

/// Starts logs, checks what can be checked, and runs the work in its frame.
pub(super) fn run<W>(shared: &Shared, prepare: impl FnOnce() -> anyhow::Result<(Process, W)>) -> anyhow::Result<Verdict>
where
    W: FnOnce(Arc<Metrics>, watch::Sender<bool>, watch::Receiver<bool>) -> Work,
{
    tls::install_provider();
    let result = logs::start(&shared.log_level).map_err(|error| wrong_flag(&error)).and_then(|()| {
        let (process, work) = prepare()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        let result = runtime.block_on(frame(shared, &process, work));
        // What still hangs, a name lookup for instance, does not keep a stopped process.
        runtime.shutdown_background();
        result
    });
    let Err(error) = result else { return Ok(Verdict::Fine) };
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(op = "startup", error = format!("{error:#}"), "cannot go on");
        return Ok(Verdict::Exit(1));
    }
    super::complain(&error);
    Ok(Verdict::Exit(1))
}

async fn frame<W>(shared: &Shared, process: &Process, work: W) -> anyhow::Result<()>
where
    W: FnOnce(Arc<Metrics>, watch::Sender<bool>, watch::Receiver<bool>) -> Work,
{
    let tls = shared.tls()?;
    announce_start(shared, process, &tls)?;
    let metrics = Arc::new(Metrics::default());
    let (ready, is_ready) = watch::channel(false);
    let (stop, stopping) = watch::channel(false);
    // The servers outlive the work: probes and scrapes are answered while it stops.
    let (close, closing) = watch::channel(false);
    let mut servers = JoinSet::new();
    if shared.health_probe_port > 0 {
        let listener = listen(process.health_is_local, shared.health_probe_port, "--health-probe-port")?;
        let health = Health { ready: is_ready, waits_for: process.waits_for };
        servers.spawn(http::serve(listener, None, health.routes(), closing.clone()));
    }
    if shared.port > 0 {
        let listener = listen(false, shared.port, "--port")?;
        let client = k8s::connect(shared.kubeconfig().as_deref(), process.name).await?;
        let endpoint = http::MetricsEndpoint {
            metrics: Arc::clone(&metrics),
            client,
            cert_dir: given_path(&shared.metrics_cert_dir),
            tls,
        };
        endpoint.start(&mut servers, listener, closing)?;
    }
    tokio::spawn(on_signal(stop).context("signals")?);
    let result = work(metrics, ready, stopping).await;
    close.send_replace(true);
    while servers.join_next().await.is_some() {}
    result
}

/// The first lines of every start: who we are, what we will do, and which flags do nothing.
fn announce_start(shared: &Shared, process: &Process, tls: &tls::Options) -> anyhow::Result<()> {
    let bgp_type = bgp_type(env::var_os("METALLB_BGP_TYPE"))?;
    let frr = frr_environment(|name| env::var_os(name).is_some());
    let (version, commit, branch) = (env!("CARGO_PKG_VERSION"), crate::metrics::COMMIT, crate::metrics::BRANCH);
    // Upstream's key for what compiled the program; people have it in their queries.
    let goversion = env!("FERROLB_COMPILER");
    let Process { name, summary, .. } = process;
    tracing::info!(
        op = "startup",
        version,
        commit,
        branch,
        goversion,
        "{name} starting: {summary}, {}",
        shared.ports()
    );
    let code = Code::FlagWithoutEffect;
    for note in shared.notes(tls).iter().chain(&process.notes).chain(&bgp_type).chain(&frr) {
        tracing::warn!(op = "startup", code = %code, reason = code.name(), "{note}");
    }
    Ok(())
}

/// Listens on all addresses, or on 127.0.0.1 only.
fn listen(is_local: bool, port: u16, flag: &str) -> anyhow::Result<TcpListener> {
    let local = || {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    let result = if is_local { local() } else { http::listen_everywhere(port) };
    result.map_err(|error| {
        let fix = format!("free it, or choose another with {flag}");
        coded(Code::PortNotFree, &format!("cannot listen on port {port} ({flag}): {error}; {fix}"))
    })
}

/// Says stop at the first SIGTERM or SIGINT.
fn on_signal(stop: watch::Sender<bool>) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(op = "shutdown", signal = name, "stopping");
        stop.send_replace(true);
        stop.closed().await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_the_flag_or_the_pods_own_or_an_error_that_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("namespace");
        let error = namespace("", &file).unwrap_err().to_string();
        assert!(error.starts_with("no namespace: set --namespace or METALLB_NAMESPACE;"), "{error}");
        fs::write(&file, "").unwrap();
        assert!(
            namespace("", &file).unwrap_err().to_string().ends_with("is empty; set --namespace (LB0031 FlagInvalid)")
        );
        fs::write(&file, "from-pod\n").unwrap();
        assert_eq!(namespace("", &file).unwrap(), "from-pod");
        assert_eq!(namespace("from-flag", &file).unwrap(), "from-flag");
    }

    #[test]
    fn frr_is_accepted_and_explained_and_what_nobody_knows_is_refused() {
        assert_eq!(bgp_type(None).unwrap(), None);
        assert_eq!(bgp_type(Some("native".into())).unwrap(), None);
        for value in ["frr", "frr-k8s", ""] {
            let note = bgp_type(Some(value.into())).unwrap().unwrap();
            assert!(note.starts_with("METALLB_BGP_TYPE") && note.contains("leave"), "{note}");
        }
        let error = bgp_type(Some("quagga".into())).unwrap_err().to_string();
        assert!(error.starts_with("METALLB_BGP_TYPE=quagga: use native"), "{error}");
    }

    #[test]
    fn variables_of_frr_are_named_together() {
        assert_eq!(frr_environment(|_| false), None);
        let note = frr_environment(|name| name != "FRR_LOGGING_LEVEL").unwrap();
        assert!(note.starts_with("FRR_CONFIG_FILE, FRR_RELOADER_PID_FILE: no FRR"), "{note}");
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_port_and_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        for is_local in [true, false] {
            let error = listen(is_local, port, "--health-probe-port").unwrap_err().to_string();
            assert!(error.starts_with(&format!("cannot listen on port {port} (--health-probe-port): ")), "{error}");
            assert!(error.ends_with("(LB0033 PortNotFree)"), "{error}");
        }
    }
}
