//! The nodes' FerroLB processes: the shipped binary as `ferrolb standalone`, started on every node on the same directory
//! and asked over its local socket like any other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::isolate::SCRATCH;
use super::network::{NODES, Network};
use crate::cli::status;
use crate::durable::{self, Readers};
use crate::state::{Progress, ServiceState, State};

/// How often a process is asked. The answer comes from memory.
const ASK_INTERVAL: Duration = Duration::from_millis(10);
/// Lines of a log that are shown when something went wrong.
const LOG_LINES: usize = 8;

/// What the processes say, by node; a node that does not answer is not in it.
pub(super) type States = BTreeMap<&'static str, State>;

/// The processes.
pub(super) struct Speakers {
    processes: BTreeMap<&'static str, Child>,
}

impl Speakers {
    /// Starts one on every node.
    pub(super) fn start(network: &Network, program: &Path, manifests: &Path) -> anyhow::Result<Self> {
        let scratch = Path::new(SCRATCH);
        let secret = scratch.join("secret");
        durable::replace(&secret, format!("{:032x}\n", rand::random::<u128>()).as_bytes(), Readers::Owner)?;
        let mut processes = BTreeMap::new();
        for node in NODES {
            let log = File::create(log_of(node)).with_context(|| format!("cannot write {node}'s log"))?;
            let mut command = Command::new(program);
            command
                .arg0("ferrolb")
                .arg("standalone")
                .args(["--node-name", node, "--log-level", "info"])
                .arg("--manifests")
                .arg(manifests)
                .arg("--state-dir")
                .arg(scratch.join(node).join("state"))
                .arg("--socket")
                .arg(socket_of(node))
                .arg("--secret-file")
                .arg(&secret)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
            let process = network.machine(node)?.spawn(command).with_context(|| format!("cannot start {node}"))?;
            processes.insert(node, process);
        }
        Ok(Self { processes })
    }

    /// Asks all of them, those named, until what they say is as wanted. Returns the last answers, and how long it took
    /// if it came about.
    pub(super) fn await_states(
        &mut self,
        nodes: &[&'static str],
        limit: Duration,
        wanted: impl Fn(&States) -> bool,
    ) -> (States, Option<Duration>) {
        let start = Instant::now();
        loop {
            let states: States = nodes.iter().filter_map(|node| Some((*node, ask(node)?))).collect();
            if states.len() == nodes.len() && wanted(&states) {
                return (states, Some(start.elapsed()));
            }
            let all_run = self.processes.values_mut().all(|process| matches!(process.try_wait(), Ok(None)));
            if start.elapsed() > limit || !all_run {
                return (states, None);
            }
            thread::sleep(ASK_INTERVAL);
        }
    }

    /// The last lines of every log, for the reader of a failed run.
    pub(super) fn logs() -> String {
        NODES.iter().fold(String::new(), |text, node| {
            let log = fs::read_to_string(log_of(node)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
            last.iter().fold(text, |text, line| text + &format!("   {node}: {line}\n"))
        })
    }
}

/// The local socket of a node's process.
pub(super) fn socket_of(node: &str) -> PathBuf {
    Path::new(SCRATCH).join(node).join("ferrolb.sock")
}

fn log_of(node: &str) -> PathBuf {
    Path::new(SCRATCH).join(format!("{node}.log"))
}

/// What a node's process says; `None` where it does not answer (yet).
pub(super) fn ask(node: &str) -> Option<State> {
    status::ask(&socket_of(node)).ok()
}

/// A Service in what a node says.
pub(super) fn service<'a>(state: &'a State, namespace: &str, name: &str) -> Option<&'a ServiceState> {
    state.services.iter().find(|service| service.namespace == namespace && service.name == name)
}

/// The one node that all of these name as the announcer of a Service with addresses, if they agree.
pub(super) fn agreed_owner(states: &States, namespace: &str, name: &str) -> Option<String> {
    let owner = |state| {
        let service = service(state, namespace, name)?;
        (service.state == Progress::Announced).then(|| service.node.clone())?
    };
    let mut owners = states.values().map(owner);
    let first = owners.next()??;
    owners.all(|other| other.as_deref() == Some(&first)).then_some(first)
}
