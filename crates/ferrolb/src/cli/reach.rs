//! Where a verb that asks gets its answers from: a process on this host, a cluster, or files.
//!
//! Without a flag it is the process whose socket is there, else the cluster that `kubectl` would ask. Reading only: no
//! verb here changes anything.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::picture::{self, Known};
use ferrolb_rules::reason::Finding;
use ferrolb_rules::service::key_of;
use kube::Client;

use super::lint;
use super::process::wrong_flag;
use super::status::{self, DEFAULT_SOCKET};
use crate::look::cluster::Denied;
use crate::look::{self, cluster, view};
use crate::source::review;
use crate::state::{ServiceState, State};

/// After this long a person is told what is being waited for.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Reach {
    /// Ask the process that has this local socket.
    #[arg(long, env = "FERROLB_SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// Ask the cluster of this kubeconfig; without it, of KUBECONFIG, ~/.kube/config or the pod's own account.
    #[arg(long)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig.
    #[arg(long)]
    pub(super) context: Option<String>,
    /// Ask nobody: these files and directories say what is. Repeatable.
    #[arg(long, value_name = "PATH")]
    pub(super) manifests: Vec<PathBuf>,
    /// The namespace of controller, speakers and metallb.io objects.
    #[arg(long, env = "METALLB_NAMESPACE")]
    pub(super) namespace: Option<String>,
}

/// Whom to ask.
pub(super) enum Whom<'a> {
    Process(&'a Path),
    Cluster,
    Files(&'a [PathBuf]),
}

/// What is known, and the objects behind it where there are any.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) state: State,
    pub(super) known: Option<(Known, picture::Options)>,
    /// The answer says what would be so if files were applied.
    pub(super) only_files: bool,
    /// What of those files could not be taken as it is meant.
    pub(super) unread: Vec<Finding>,
    /// What may not be read in the cluster, so that nothing follows from its absence.
    pub(super) denied: Denied,
}

/// Files as objects.
pub(super) struct Files {
    pub(super) known: Known,
    /// What is wrong with them.
    pub(super) findings: Vec<Finding>,
    /// What of them could not be taken as it is meant; part of the findings.
    pub(super) unread: Vec<Finding>,
    /// There is no object in them at all.
    pub(super) is_empty: bool,
}

impl Reach {
    /// Whom the flags name, else whoever is there.
    pub(super) fn whom(&self) -> Whom<'_> {
        if !self.manifests.is_empty() {
            return Whom::Files(&self.manifests);
        }
        let cluster = self.kubeconfig.is_some() || self.context.is_some();
        match &self.socket {
            Some(socket) if !cluster => Whom::Process(socket),
            None if !cluster && Path::new(DEFAULT_SOCKET).exists() => Whom::Process(Path::new(DEFAULT_SOCKET)),
            _ => Whom::Cluster,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("metallb-system")
    }

    /// Asks.
    ///
    /// # Errors
    /// Nobody answers.
    pub(super) fn ask(&self) -> anyhow::Result<Answer> {
        match self.whom() {
            Whom::Process(socket) => Ok(Answer { state: status::ask(socket)?, ..Answer::default() }),
            Whom::Files(paths) => {
                let Files { known, findings, unread, .. } = files(paths, self.namespace.as_deref())?;
                let options = picture::Options {
                    files: true,
                    as_if_applied: true,
                    announce_if_all_excluded: true,
                    ..picture::Options::default()
                };
                let picture = picture::draw(&known, &options);
                let mut state = view::of_files(&picture, findings);
                state.ok &= unread.is_empty();
                let known = Some((known, options));
                Ok(Answer { state, known, only_files: true, unread, ..Answer::default() })
            }
            Whom::Cluster => {
                let (cluster, state) =
                    self.connected(false, async |client, _| look::look(&client, self.namespace()).await)?;
                let known = Some((cluster.known, cluster.options));
                Ok(Answer { state, known, denied: cluster.denied, ..Answer::default() })
            }
        }
    }

    /// Runs what only a cluster can be asked (decision 84).
    ///
    /// # Errors
    /// There is no way to the cluster, or what was run failed.
    pub(super) fn in_cluster<T>(&self, work: impl AsyncFnOnce(Client, &str) -> anyhow::Result<T>) -> anyhow::Result<T> {
        if !self.manifests.is_empty() {
            return Err(wrong_flag(&"--manifests: this verb asks a cluster, and files are none; leave the flag out"));
        }
        // A variable is set for all verbs, a flag for this one; where a cluster is named as well, that one is meant.
        if let (Some(socket), Whom::Process(_)) = (&self.socket, self.whom()) {
            let message = format!(
                "--socket {} (or FERROLB_SOCKET): this verb asks a cluster, and a process is none; leave it out, or name \
                 the cluster with --kubeconfig or --context",
                socket.display()
            );
            return Err(wrong_flag(&message));
        }
        self.connected(true, work)
    }

    async fn connect(&self, cluster_only: bool) -> anyhow::Result<(Client, String)> {
        cluster::connect(self.kubeconfig.as_deref(), self.context.as_deref(), cluster_only).await
    }

    fn connected<T>(
        &self,
        cluster_only: bool,
        work: impl AsyncFnOnce(Client, &str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        crate::tls::install_provider();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (client, server) = self.connect(cluster_only).await?;
            patiently("the API server", work(client, &server)).await.map_err(|error| cluster::in_words(error, &server))
        })
    }
}

/// The objects of files, and what is wrong with them.
///
/// # Errors
/// A file cannot be read.
pub(super) fn files(paths: &[PathBuf], namespace: Option<&str>) -> anyhow::Result<Files> {
    let review = review(&lint::read(paths)?, namespace);
    let (known, unread, is_empty) = (review.known(), review.unread(), review.is_empty());
    let mut findings = review.findings;
    findings.extend(review.left_out);
    Ok(Files { known, findings, unread, is_empty })
}

/// What a process serves: the files that it reads, with the addresses that it gave.
///
/// # Errors
/// The files cannot be read from here, or are not what the process has in force.
pub(super) fn of_process(state: &State) -> anyhow::Result<(Files, picture::Options)> {
    let elsewhere = "what Services ask for is not known; name the files that it serves: --manifests DIR";
    let told = state.standalone.as_ref();
    let told = told.with_context(|| format!("the process does not say which files it reads, so {elsewhere}"))?;
    let directory = told.manifests.display();
    let mut here = files(std::slice::from_ref(&told.manifests), Some(&told.namespace))
        .with_context(|| format!("the process reads {directory}, which cannot be read from here, so {elsewhere}"))?;
    let mut left: BTreeMap<ServiceKey, &ServiceState> =
        state.services.iter().map(|one| (ServiceKey::new(&one.namespace, &one.name), one)).collect();
    for service in &mut here.known.services {
        let one = left.remove(&key_of(&**service));
        let (addresses, pool) = one.map(|one| (one.addresses.clone(), one.pool.clone())).unwrap_or_default();
        *service = Arc::new(picture::with_addresses(service, &addresses, pool.as_deref()));
    }
    if let Some(key) = left.keys().next() {
        bail!("{key} is in force, and not as {directory} has it now (`ferrolb status`): of it {elsewhere}");
    }
    let options = picture::Options {
        load_balancer_class: told.load_balancer_class.clone(),
        ignore_exclude_lb: told.ignore_exclude_lb,
        files: true,
        announce_if_all_excluded: true,
        ..picture::Options::default()
    };
    Ok((here, options))
}

/// Says on a terminal what is being waited for, where it takes more than a moment.
async fn patiently<T>(whom: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    if std::io::stderr().is_terminal() {
        let _ = writeln!(std::io::stderr(), "still asking {whom} …");
    }
    work.await
}

/// The same for work that holds this thread up: asking the wire.
pub(super) fn patiently_here<T>(whom: &str, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    meanwhile(PATIENCE, || drop(writeln!(std::io::stderr(), "still asking {whom} …")), work)
}

/// Does something once if work takes longer than so long.
fn meanwhile<T>(patience: Duration, tell: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (done, wait) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if wait.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Fails with words where an address or a name makes no sense.
pub(super) fn parse<T: std::str::FromStr>(text: &str, what: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse::<T>().with_context(|| format!("{text:?} is no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_that_asks_a_cluster_says_so_to_who_names_a_process() {
        let reach = Reach { socket: Some("/run/x.sock".into()), ..Reach::default() };
        let error = reach.in_cluster(async |_, _| Ok(())).unwrap_err().to_string();
        assert!(error.contains("this verb asks a cluster, and a process is none"), "{error}");
        assert!(error.contains("LB0031"), "{error}");
    }

    #[test]
    fn a_person_is_told_once_what_is_waited_for_and_only_if_it_takes_long() {
        let (mut told, long) = (0, Duration::from_secs(60));
        assert_eq!(meanwhile(long, || told += 1, || "at once"), "at once");
        assert_eq!(told, 0);
        let (told, wait) = mpsc::channel();
        // The work ends when it was told of.
        let work = || wait.recv_timeout(long);
        assert_eq!(meanwhile(Duration::from_millis(1), || told.send(()).unwrap(), work), Ok(()));
    }
}
