//! Our own ConfigurationState: what this component thinks of the configuration (spec §3.10).
//!
//! The newest verdict is handed over; a task writes it by server-side apply, when it changed or when somebody deleted
//! the object (one watch on that one object tells). An API server that is away or refuses is asked again, ever slower.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrolb_rules::api::{ConfigurationResult, ConfigurationState};
use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The longest message that a condition can have.
const MESSAGE: usize = 32768;
/// Between two tries, at first and at last.
const RETRY_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);

/// Where to hand verdicts to. Dropping it ends the task.
#[derive(Debug)]
pub struct ConfigurationStates {
    verdict: watch::Sender<Option<Result<(), String>>>,
    _tasks: JoinSet<()>,
}

/// What is written, beside the verdict.
struct Writer {
    api: Api<ConfigurationState>,
    name: String,
    labels: BTreeMap<String, String>,
    owner: Option<OwnerReference>,
    condition_type: &'static str,
    field_manager: &'static str,
}

impl ConfigurationStates {
    /// Starts the task. Nothing is written before the first verdict.
    pub fn new(
        client: Client,
        namespace: &str,
        name: String,
        labels: BTreeMap<String, String>,
        owner: Option<OwnerReference>,
        condition_type: &'static str,
        field_manager: &'static str,
    ) -> Self {
        let (verdict, verdicts) = watch::channel(None);
        let (deletions, deleted) = mpsc::channel(1);
        let api = Api::namespaced(client, namespace);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(api.clone(), name.clone(), deletions));
        let writer = Writer { api, name, labels, owner, condition_type, field_manager };
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
                            name = self.name,
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
        let params = PatchParams::apply(self.field_manager).force();
        let timeout = |_| "no answer in time".to_owned();
        let (object, status) = (self.object(), self.status(verdict, since));
        let object = Patch::Apply(&object);
        let apply = self.api.patch(&self.name, &params, &object);
        tokio::time::timeout(REQUEST, apply).await.map_err(timeout)?.map_err(|error| error.to_string())?;
        let status = Patch::Apply(&status);
        let apply = self.api.patch_status(&self.name, &params, &status);
        tokio::time::timeout(REQUEST, apply).await.map_err(timeout)?.map_err(|error| error.to_string())?;
        Ok(())
    }

    fn object(&self) -> Value {
        let owners: Vec<&OwnerReference> = self.owner.iter().collect();
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": self.name, "labels": self.labels, "ownerReferences": owners },
        })
    }

    fn status(&self, verdict: &Result<(), String>, since: Timestamp) -> Value {
        let mut message = match verdict {
            Ok(()) => String::new(),
            Err(cause) => format!("configuration error: {cause}"),
        };
        message.truncate(message.floor_char_boundary(MESSAGE));
        let (result, status, reason) = match verdict {
            Ok(()) => (ConfigurationResult::Valid, "True", "Reconciled"),
            Err(_) => (ConfigurationResult::Invalid, "False", "ConfigurationError"),
        };
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": self.name },
            "status": {
                "result": result,
                "errorSummary": message,
                "conditions": [{
                    "type": self.condition_type,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                }],
            },
        })
    }
}
