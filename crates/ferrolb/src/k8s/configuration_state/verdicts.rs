//! A ConfigurationState written by a task of its own, for whoever does not watch it anyhow.
//!
//! The newest verdict is handed over; it is written when it changed or when somebody deleted the object (one watch on
//! that one object tells). An API server that is away or refuses is asked again, ever slower.

use std::time::Duration;

use ferrolb_rules::api::ConfigurationState;
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
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

/// Where to hand verdicts to. Dropping it ends the task.
#[derive(Debug)]
pub struct Verdicts {
    verdict: watch::Sender<Option<Result<(), String>>>,
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
        let (verdict, verdicts) = watch::channel(None);
        let (deletions, deleted) = mpsc::channel(1);
        let api = Api::namespaced(client.clone(), namespace);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(api, component.name.clone(), deletions));
        let writer = Writer { client, namespace: namespace.to_owned(), component, owner };
        tasks.spawn(writer.run(verdicts, deleted));
        Self { verdict, _tasks: tasks }
    }

    /// The newest verdict: the configuration is in use, or what is wrong with it.
    pub fn report(&self, verdict: &Result<(), String>) {
        self.verdict.send_if_modified(|last| {
            let different = last.as_ref() != Some(verdict);
            if different {
                *last = Some(verdict.clone());
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
    async fn run(self, mut verdicts: watch::Receiver<Option<Result<(), String>>>, mut deleted: mpsc::Receiver<()>) {
        let mut since = Timestamp::now();
        let mut written: Option<bool> = None;
        let mut wait = RETRY_INTERVALS.0;
        let mut retry = false;
        loop {
            tokio::select! {
                changed = verdicts.changed() => if changed.is_err() { return },
                Some(()) = deleted.recv() => {}
                () = tokio::time::sleep(wait), if retry => {}
            }
            let Some(verdict) = verdicts.borrow_and_update().clone() else { continue };
            if written != Some(verdict.is_ok()) {
                since = Timestamp::now();
                written = Some(verdict.is_ok());
            }
            match self.write(&verdict, since).await {
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

    async fn write(&self, verdict: &Result<(), String>, since: Timestamp) -> Result<(), String> {
        let status = self.component.status(verdict.as_ref().copied().map_err(String::as_str), None, since);
        let apply = super::apply(&self.client, &self.namespace, &self.component, self.owner.as_ref(), &status);
        let answer = tokio::time::timeout(REQUEST, apply).await.map_err(|_| "no answer in time".to_owned())?;
        answer.map(drop).map_err(|error| error.to_string())
    }
}
