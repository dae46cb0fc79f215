//! A speaker's ConfigurationState, written by a task of its own.
//!
//! The newest verdict is handed over, and who else was seen to answer for addresses of ours; it is written when it changed or when somebody deleted the object (one watch on
//! that one object tells). An API server that is away or refuses is asked again, ever slower.

use std::collections::BTreeSet;
use std::time::Duration;

use ferrolb_rules::api::ConfigurationState;
use ferrolb_rules::sighting::{self, Sighting};
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Component;

/// Between two tries, at first and at last.
const RETRY_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// What a speaker has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// The configuration is in use, or what is wrong with it.
    pub verdict: Result<(), String>,
    /// What only it can see: who else answers for addresses of ours, and interfaces that it lacks.
    pub seen: BTreeSet<Sighting>,
}

/// Where to hand opinions to. Dropping it ends the task.
#[derive(Debug)]
pub struct Verdicts {
    opinion: watch::Sender<Option<Opinion>>,
    _tasks: JoinSet<()>,
}

/// What is written, beside the verdict.
struct Writer {
    client: Client,
    namespace: String,
    component: Component,
    owner: Option<OwnerReference>,
}

impl Verdicts {
    /// Starts the task. Nothing is written before the first verdict.
    pub fn new(client: Client, namespace: &str, component: Component, owner: Option<OwnerReference>) -> Self {
        let (opinion, opinions) = watch::channel(None);
        let (deletions, deleted) = mpsc::channel(1);
        let api = Api::namespaced(client.clone(), namespace);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(api, component.name.clone(), deletions));
        let writer = Writer { client, namespace: namespace.to_owned(), component, owner };
        tasks.spawn(writer.run(opinions, deleted));
        Self { opinion, _tasks: tasks }
    }

    /// The newest opinion.
    pub fn report(&self, opinion: &Opinion) {
        self.opinion.send_if_modified(|last| {
            let different = last.as_ref() != Some(opinion);
            if different {
                *last = Some(opinion.clone());
            }
            different
        });
    }
}

/// Tells when the object is deleted.
async fn follow(api: Api<ConfigurationState>, name: String, deletions: mpsc::Sender<()>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut listed = true;
    while let Some(event) = events.next().await {
        let gone = match event {
            Ok(watcher::Event::Delete(_)) => true,
            Ok(watcher::Event::Init) => {
                listed = false;
                false
            }
            Ok(watcher::Event::InitApply(_)) => {
                listed = true;
                false
            }
            // It may have been deleted while the watch was interrupted.
            Ok(watcher::Event::InitDone) => !listed,
            Ok(watcher::Event::Apply(_)) | Err(_) => false,
        };
        if gone {
            // One that waits already says the same.
            let _ = deletions.try_send(());
        }
    }
}

impl Writer {
    async fn run(self, mut opinions: watch::Receiver<Option<Opinion>>, mut deleted: mpsc::Receiver<()>) {
        let mut since = Since { verdict: Timestamp::now(), seen: Timestamp::now() };
        let mut written: Option<(bool, bool)> = None;
        let mut wait = RETRY_INTERVALS.0;
        let mut retry = false;
        loop {
            tokio::select! {
                changed = opinions.changed() => if changed.is_err() { return },
                Some(()) = deleted.recv() => {}
                () = tokio::time::sleep(wait), if retry => {}
            }
            let Some(opinion) = opinions.borrow_and_update().clone() else { continue };
            let kind = (opinion.verdict.is_ok(), opinion.seen.is_empty());
            if written.map(|(verdict, _)| verdict) != Some(kind.0) {
                since.verdict = Timestamp::now();
            }
            if written.map(|(_, nothing)| nothing) != Some(kind.1) {
                since.seen = Timestamp::now();
            }
            written = Some(kind);
            match self.write(&opinion, since).await {
                Ok(()) => (retry, wait) = (false, RETRY_INTERVALS.0),
                Err(error) => {
                    if !retry {
                        tracing::warn!(
                            op = "configurationState",
                            name = self.component.name,
                            error,
                            "cannot be written; trying again"
                        );
                    }
                    (retry, wait) = (true, if retry { (wait * 2).min(RETRY_INTERVALS.1) } else { wait });
                }
            }
        }
    }

    async fn write(&self, opinion: &Opinion, since: Since) -> Result<(), String> {
        let verdict = opinion.verdict.as_ref().copied().map_err(String::as_str);
        let mut status = self.component.status(verdict, None, since.verdict);
        status.conditions.extend(sighting::conditions(&opinion.seen, &Time(since.seen)));
        let apply = super::apply(&self.client, &self.namespace, &self.component, self.owner.as_ref(), &status);
        let answer = tokio::time::timeout(REQUEST, apply).await.map_err(|_| "no answer in time".to_owned())?;
        answer.map(drop).map_err(|error| error.to_string())
    }
}

/// When the conditions last changed sides.
#[derive(Clone, Copy)]
struct Since {
    verdict: Timestamp,
    seen: Timestamp,
}
