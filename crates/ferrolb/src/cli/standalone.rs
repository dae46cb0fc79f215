//! `ferrolb standalone`: controller and speaker in one process, over a directory of manifests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::Verdict;
use super::process::{drain_on, node_name, wrong_flag};
use super::status::DEFAULT_SOCKET;
use crate::drive::l2::Promiscuous;
use crate::drive::owners::Failover;
use crate::standalone::{self, Settings};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The directory of Kubernetes YAML: Services, EndpointSlices, Nodes, Namespaces, and metallb.io kinds.
    #[arg(long)]
    manifests: PathBuf,
    /// The name of this host, as its Node object has it.
    #[arg(long, env = "METALLB_NODE_NAME")]
    node_name: String,
    /// Where assignments are kept over a restart.
    #[arg(long, default_value = "/var/lib/ferrolb")]
    state_dir: PathBuf,
    /// The local socket for `ferrolb status`.
    #[arg(long, env = "FERROLB_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// A file with the secret that all hosts share. Without it this host works alone.
    #[arg(long)]
    secret_file: Option<PathBuf>,
    /// Announce only on this interface; repeatable. Named interfaces are used even if their kind is skipped otherwise.
    #[arg(long = "interface")]
    interfaces: Vec<String>,
    /// The namespace that metallb.io objects are read from.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    namespace: String,
    /// The UDP port for membership, the same on all hosts.
    #[arg(long, env = "METALLB_ML_BIND_PORT", default_value_t = 7946)]
    ml_bindport: u16,
    /// Serve only Services of this class; without it, only those that have none.
    #[arg(long)]
    lb_class: Option<String>,
    /// Announce also from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers.
    #[arg(long)]
    ignore_exclude_lb: bool,
    /// Hand addresses over from hosts that show one of these signs on their Node: cordon, annotation (ferrolb.io/drain), taint:KEY.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "SIGN,...")]
    drain_on: String,
    /// How fast another host takes over.
    #[arg(long, value_enum, default_value_t)]
    failover: Failover,
    /// On which interfaces every frame is heard, whomever it is for: on Wi-Fi some drivers lose ARP requests otherwise.
    #[arg(long, value_enum, default_value_t)]
    promiscuous: Promiscuous,
    /// Answer pings for the addresses that this host announces. A ping that is answered says nothing about the Service
    /// behind the address.
    #[arg(long)]
    answer_ping: bool,
    /// Serve a web page that shows what `ferrolb status` does at this address and port, as in 127.0.0.1:7473. It can only
    /// be read, and there is no login.
    #[arg(long, value_name = "ADDRESS:PORT")]
    web_page: Option<SocketAddr>,
    /// How much to log: error, warn, info, debug or trace.
    #[arg(long, default_value = "info")]
    log_level: String,
    /// How log lines look, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

pub(super) fn run(args: Args) -> anyhow::Result<Verdict> {
    let node_name = node_name(&args.node_name)?;
    log_to_stderr(&args.log_level, args.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let settings = Settings {
        manifests: args.manifests,
        node_name,
        state_dir: args.state_dir,
        socket: args.socket,
        secret_file: args.secret_file,
        interfaces: (!args.interfaces.is_empty()).then(|| args.interfaces.into_iter().collect::<BTreeSet<_>>()),
        namespace: args.namespace,
        port: args.ml_bindport,
        load_balancer_class: args.lb_class,
        ignore_exclude_lb: args.ignore_exclude_lb,
        drain_on: drain_on(&args.drain_on)?,
        failover: args.failover,
        promiscuous: args.promiscuous,
        answer_ping: args.answer_ping,
        web_page: args.web_page,
    };
    runtime.block_on(standalone::run(settings))?;
    Ok(Verdict::Fine)
}

fn log_to_stderr(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        wrong_flag(&format!("--log-level {level:?}: use error, warn, info, debug or trace ({error})"))
    })?;
    // A line that cannot be written (its reader is gone) is lost; to complain about it would panic.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => builder.with_ansi(false).with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).init(),
    }
    Ok(())
}
