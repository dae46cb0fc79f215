//! What is written beside Services: the status of pools, and our ConfigurationState.
//!
//! Each object has at most one write under way. It is written when it differs from what the watch last brought, and not
//! again before the watch has brought that write, or a while has passed in vain.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrolb_rules::alloc::Counters;
use ferrolb_rules::api::{ConfigurationState, IPAddressPool, IPAddressPoolStatus};
use ferrolb_rules::config::Invalid;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::task::JoinSet;

use super::pools::Kept;
use crate::k8s::configuration_state::{self, Component};
use crate::k8s::service_status::FIELD_MANAGER;
use crate::metrics::Metrics;

/// Between two writes of the same object.
const INTERVAL: Duration = Duration::from_millis(100);
/// After a write that failed, or that the watch has not brought.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What a write was about: a pool, or, without a name, our ConfigurationState.
type Subject = Option<String>;

/// A write that ended: with the version stored, or why not.
#[derive(Debug)]
pub(super) struct Task {
    subject: Subject,
    result: Result<String, Option<String>>,
    /// What was stored of a pool's status.
    kept: Option<Kept>,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    under_way: bool,
    /// Not before.
    next_at: Option<Instant>,
    /// The version that our last write made, until the watch has brought it.
    stored: Option<String>,
    /// The version that the watch had brought when it began.
    base: Option<String>,
}

/// The writer.
pub(super) struct Output {
    client: Client,
    namespace: String,
    pub(super) component: Component,
    owner: Option<OwnerReference>,
    tasks: JoinSet<Task>,
    progress: BTreeMap<Subject, Progress>,
    counters: BTreeMap<String, Counters>,
    kept: Kept,
    failing: bool,
    waiting: Option<Instant>,
}

impl Output {
    pub(super) fn new(client: Client, namespace: String, component: Component, owner: Option<OwnerReference>) -> Self {
        Self {
            client,
            namespace,
            component,
            owner,
            tasks: JoinSet::new(),
            progress: BTreeMap::new(),
            counters: BTreeMap::new(),
            kept: Kept::default(),
            failing: false,
            waiting: None,
        }
    }

    /// Tells metrics about pools, if anything changed.
    pub(super) fn set_pools(&mut self, counters: &BTreeMap<String, Counters>, metrics: &Metrics) {
        if self.counters != *counters {
            self.counters.clone_from(counters);
            metrics.set_pools(counters);
        }
        self.waiting = None;
    }

    /// The next write that ended.
    pub(super) async fn ended(&mut self) -> Option<Task> {
        match self.tasks.join_next().await {
            Some(Ok(task)) => Some(task),
            Some(Err(_)) => None,
            None => pending().await,
        }
    }

    /// Takes note of an ending. Returns whether it was a failure.
    pub(super) fn note(&mut self, task: Task, now: Instant) -> bool {
        let progress = self.progress.entry(task.subject.clone()).or_default();
        progress.under_way = false;
        self.kept = task.kept.unwrap_or(self.kept);
        match task.result {
            Ok(version) => {
                progress.next_at = Some(now + INTERVAL);
                progress.stored = Some(version);
                self.failing = false;
                false
            }
            // A conflict or a pool that is gone: the watch brings what is new.
            Err(None) => {
                progress.next_at = Some(now + INTERVAL);
                false
            }
            Err(Some(error)) => {
                progress.next_at = Some(now + RETRY_INTERVAL);
                if !std::mem::replace(&mut self.failing, true) {
                    let object = task.subject.as_deref().unwrap_or("ConfigurationState");
                    tracing::warn!(op = "updateStatus", object, error, "a status cannot be written; it is tried again");
                }
                true
            }
        }
    }

    /// When there is something to write that had to wait.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting
    }

    /// Whether an object that differs may be written now; `version` is what the watch has brought.
    fn may_write(&mut self, subject: &Subject, version: Option<&str>, now: Instant) -> bool {
        let progress = self.progress.entry(subject.clone()).or_default();
        if progress.under_way {
            return false;
        }
        // The echo of the last write is still to come.
        let echoed = progress.stored.is_none() || progress.base.as_deref() != version;
        if echoed {
            progress.stored = None;
        }
        let at = match (progress.next_at, echoed) {
            (Some(at), true) => at,
            (Some(at), false) => at + RETRY_INTERVAL,
            (None, _) => now,
        };
        if at > now {
            self.waiting = Some(self.waiting.map_or(at, |waiting| waiting.min(at)));
            return false;
        }
        progress.under_way = true;
        progress.base = version.map(str::to_owned);
        true
    }

    /// Writes the status of pools that differ.
    pub(super) fn write_pools(
        &mut self,
        stored: &BTreeMap<String, Arc<IPAddressPool>>,
        shall_be: impl Fn(&IPAddressPool, Timestamp) -> Option<IPAddressPoolStatus>,
        limit: Duration,
        now: Instant,
    ) {
        self.progress.retain(|subject, progress| {
            progress.under_way || subject.as_ref().is_none_or(|pool| stored.contains_key(pool))
        });
        for (name, pool) in stored {
            let Some(status) = shall_be(pool, Timestamp::now()) else { continue };
            let subject = Some(name.clone());
            if pool.status.as_ref() == Some(&self.kept.of_it(status.clone()))
                || !self.may_write(&subject, pool.metadata.resource_version.as_deref(), now)
            {
                continue;
            }
            let mut object = IPAddressPool::clone(pool);
            object.status = Some(status);
            let api = Api::<IPAddressPool>::namespaced(self.client.clone(), &self.namespace);
            let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            let name = name.clone();
            self.tasks.spawn(async move {
                let write = async { api.replace_status(&name, &parameters, &object).await };
                let result = tokio::time::timeout(limit, write).await;
                let stored = result.as_ref().ok().and_then(|result| result.as_ref().ok()?.status.as_ref());
                let kept = stored.map(Kept::of);
                Task { subject: Some(name.clone()), kept, result: version_of(result) }
            });
        }
    }

    /// Writes our ConfigurationState if it differs or is gone.
    pub(super) fn write_state(
        &mut self,
        stored: Option<&ConfigurationState>,
        outcome: Result<(), &Invalid>,
        limit: Duration,
        now: Instant,
    ) {
        let before = stored.and_then(|state| state.status.as_ref());
        let cause = outcome.err().map(Invalid::causes);
        let status = self.component.status(cause.as_deref().map_or(Ok(()), Err), before, Timestamp::now());
        let version = stored.and_then(|state| state.metadata.resource_version.as_deref());
        if before == Some(&status) || !self.may_write(&None, version, now) {
            return;
        }
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let (component, owner) = (self.component.clone(), self.owner.clone());
        self.tasks.spawn(async move {
            let write = configuration_state::apply(&client, &namespace, &component, owner.as_ref(), &status);
            let result = tokio::time::timeout(limit, write).await;
            Task { subject: None, kept: None, result: version_of(result) }
        });
    }
}

fn version_of<K: kube::Resource>(
    result: Result<Result<K, kube::Error>, tokio::time::error::Elapsed>,
) -> Result<String, Option<String>> {
    match result {
        Ok(Ok(object)) => Ok(object.meta().resource_version.clone().unwrap_or_default()),
        Ok(Err(kube::Error::Api(status))) if status.is_conflict() || status.is_not_found() => Err(None),
        Ok(Err(kube::Error::Api(status))) => Err(Some(status.message.clone())),
        Ok(Err(error)) => Err(Some(error.to_string())),
        Err(_) => Err(Some("no answer in time".to_owned())),
    }
}
