//! The controller: watch → rules::service → write status. One replica leads; every replica serves webhooks.
//!
//! ```text
//! Services ────────► book (who has which address) ──► queue ──► services/status
//! configuration ───► book, findings ────────────────► events, pool status, ConfigurationState
//! what speakers say► reports (who announces, else why not) ──► conditions, NotAnnounced
//! ```
//!
//! The configuration is read once per process, by every replica, so that each is ready to serve webhooks (decision D20).
//! Whoever gains the lead reads all Services and reports anew and decides only then (decision D17).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client};
use tokio::sync::watch;

use crate::k8s::events::Events;
use crate::k8s::lease::{Candidate, Lead};
use crate::k8s::stores::{Configuration, Watches};
use crate::k8s::{self, memberlist_secret};
use crate::metrics::Metrics;
use crate::{http, page, tls};

mod book;
mod due;
mod findings;
mod lead;
mod output;
mod pools;
mod queue;
mod reports;
mod rivals;
#[cfg(test)]
mod tests;
mod trim;
mod wanted;
mod webhooks;

use lead::{Ended, Leader, Surroundings};
pub use wanted::{ALLOCATED, ANNOUNCED};

/// The lease that the leading replica holds, in our namespace.
pub const LEASE: &str = "metallb-controller";
/// How long a stop may take until the lease is given back.
const RELEASE_LIMIT: Duration = Duration::from_millis(700);
/// Who gains the lead within this time begins as leader.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Between two tries to see that the memberlist Secret exists.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks whether it still does. Nobody who runs needs it, only pods that start: so minutes are soon enough, and
/// a watch, or the right to one, would be more than it is worth.
const LOOK_INTERVAL: Duration = Duration::from_secs(300);

/// What the command line says (spec §8.6).
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our namespace.
    pub namespace: String,
    /// How to reach the API server; none: as a pod, or by `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// Our own Pod, owner of our ConfigurationState and identity of our lease; none: neither.
    pub pod_name: Option<String>,
    /// Serve only Services of this class.
    pub lb_class: Option<String>,
    /// Whether to serve webhooks, and whether to do anything else.
    pub webhook_mode: WebhookMode,
    /// The memberlist Secret to create; none: create none.
    pub ml_secret_name: Option<String>,
    /// Our Deployment, owner of that Secret.
    pub deployment: Option<String>,
    /// Webhook certificates.
    pub webhook: WebhookSettings,
    /// Where to serve the web page; none: nowhere.
    pub web_page: Option<SocketAddr>,
}

/// `--webhook-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookMode {
    /// Serve webhooks and allocate.
    #[default]
    Enabled,
    /// Allocate only.
    Disabled,
    /// Serve webhooks only.
    OnlyWebhook,
}

/// Where the webhooks' certificates come from and how they are served (spec §2.1, §2.3, decision D19).
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// The Secret with the certificates.
    pub secret: String,
    /// The Service that the API server calls; with the namespace it is the name in the certificate.
    pub service_name: String,
    /// Use the certificate mounted in `cert_dir` as it is.
    pub disable_cert_rotation: bool,
    /// Where that is mounted.
    pub cert_dir: PathBuf,
    /// The port to listen on: 9443 unless a test says otherwise.
    pub port: u16,
    /// Versions, cipher suites and curves.
    pub tls: tls::Options,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
}

/// Runs until it is told to stop or cannot go on.
///
/// # Errors
/// The API server cannot be reached at all, or refuses what cannot be done without.
pub async fn run(
    settings: Settings,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let client = k8s::connect(settings.kubeconfig.as_deref(), "metallb-controller").await?;
    if let Some(address) = settings.web_page {
        // Whoever leads: every replica can look.
        let looker = page::Looker::new(client.clone(), settings.namespace.clone());
        let routes = page::routes(page::Source::Cluster(looker), address);
        tokio::spawn(http::serve(page::listen(address).await?, None, routes, stop.clone()));
    }
    if settings.webhook_mode == WebhookMode::OnlyWebhook {
        return webhooks::run_alone(&client, &settings, ready, stop).await;
    }
    if let Some(secret) = settings.ml_secret_name.as_deref().filter(|name| !name.is_empty()) {
        tokio::select! {
            result = ensure_secret(&client, &settings, secret) => result.context("the memberlist Secret")?,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    }
    let owner = own_pod(&client, &settings).await;
    let identity = match &owner {
        Some(owner) => owner.uid.clone(),
        None => format!("{:032x}", rand::random::<u128>()),
    };
    let (release, released) = watch::channel(false);
    let (candidate, leads) = Candidate::new(&client, &settings.namespace, LEASE, identity);
    let lease = tokio::spawn(candidate.run(released));
    let events = Events::start(client.clone(), "metallb-controller", None);
    // Read once, whoever leads, for leader and webhooks alike.
    let mut watches = Watches::default();
    let configuration = Configuration::follow(&mut watches, &client, &settings.namespace);
    let read = watches.observer();
    let around = Surroundings { client, settings, metrics, events, owner, configuration, read };
    let keeping = keep_secret(&around, leads.clone());
    let working = async {
        if around.settings.webhook_mode == WebhookMode::Disabled {
            serve(&around, leads, &ready, &mut stop).await;
            return Ok(());
        }
        let (allocating, allocates) = watch::channel(false);
        let hooks = webhooks::run_beside(&around, leads.clone(), allocates, ready, stop.clone());
        let allocation = async {
            serve(&around, leads, &allocating, &mut stop).await;
            anyhow::Ok(())
        };
        tokio::try_join!(allocation, hooks).map(drop)
    };
    let result = tokio::select! {
        result = working => result,
        never = keeping => match never {},
    };
    release.send_replace(true);
    let _ = tokio::time::timeout(RELEASE_LIMIT, lease).await;
    result
}

/// Sees to it that speakers have their secret. An API server that is away, and rights that come later, are waited for: a
/// container that ends instead is started again after minutes only.
async fn ensure_secret(client: &Client, settings: &Settings, secret: &str) -> anyhow::Result<()> {
    let mut said = None;
    loop {
        let ensure = memberlist_secret::ensure(client, &settings.namespace, secret, settings.deployment.as_deref());
        let Err(error) = ensure.await else { return Ok(()) };
        let Some(code) = k8s::passing(&error) else { return Err(error) };
        if said.replace(code) != Some(code) {
            let (error, fix) = (format!("{error:#}"), code.explanation().fix);
            tracing::warn!(op = "startup", %code, error, "{code} the memberlist Secret: it is tried again. Fix: {fix}");
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Makes the secret anew where somebody has deleted it: without it no pod of a speaker starts. One replica looks.
async fn keep_secret(around: &Surroundings, leads: watch::Receiver<Option<Lead>>) -> Infallible {
    let Surroundings { client, settings, .. } = around;
    let Some(secret) = settings.ml_secret_name.as_deref().filter(|name| !name.is_empty()) else {
        return std::future::pending().await;
    };
    let look = || memberlist_secret::ensure(client, &settings.namespace, secret, settings.deployment.as_deref());
    look_again(look, &leads, LOOK_INTERVAL).await
}

/// Looks again and again, whenever this replica leads and whatever came of the last time.
async fn look_again<F>(look: impl Fn() -> F, leads: &watch::Receiver<Option<Lead>>, interval: Duration) -> Infallible
where
    F: Future<Output = anyhow::Result<()>>,
{
    loop {
        tokio::time::sleep(interval).await;
        if leads.borrow().is_none() {
            continue;
        }
        if let Err(error) = look().await {
            let error = format!("{error:#}");
            tracing::warn!(event = "secret", error, "the memberlist Secret: it is looked for again in five minutes");
        }
    }
}

/// Leads whenever it is our turn, until it is time to stop.
async fn serve(
    around: &Surroundings,
    mut leads: watch::Receiver<Option<Lead>>,
    ready: &watch::Sender<bool>,
    stop: &mut watch::Receiver<bool>,
) {
    loop {
        let lead = tokio::select! {
            lead = gained(&mut leads, around, ready) => lead,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let leader = Leader::new(around.clone(), lead.term, leads.clone());
        if leader.run(ready, stop).await == Ended::Stopped {
            return;
        }
    }
}

/// Waits for the lead. Who waits longer is ready as soon as the configuration is read.
async fn gained(leads: &mut watch::Receiver<Option<Lead>>, around: &Surroundings, ready: &watch::Sender<bool>) -> Lead {
    if let Ok(lead) = tokio::time::timeout(FIRST_LOOK, lead(leads)).await {
        return lead;
    }
    let mut read = around.read.clone();
    tokio::select! {
        lead = lead(leads) => return lead,
        () = read.synced() => {
            ready.send_if_modified(|ready| !std::mem::replace(ready, true));
        }
    }
    lead(leads).await
}

async fn lead(leads: &mut watch::Receiver<Option<Lead>>) -> Lead {
    loop {
        if let Some(lead) = *leads.borrow_and_update() {
            return lead;
        }
        if leads.changed().await.is_err() {
            // The candidate is gone: the process is stopping.
            std::future::pending::<()>().await;
        }
    }
}

/// Our own Pod, as owner of what we make. Without one everything works, and its name is said once.
async fn own_pod(client: &Client, settings: &Settings) -> Option<OwnerReference> {
    let name = settings.pod_name.as_deref().filter(|name| !name.is_empty())?;
    let pods = Api::<Pod>::namespaced(client.clone(), &settings.namespace);
    match pods.get_metadata(name).await {
        Ok(pod) => Some(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: name.to_owned(),
            uid: pod.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        }),
        Err(error) => {
            tracing::warn!(op = "startup", pod = name, %error, "--pod-name: cannot read this pod; what we make has no owner");
            None
        }
    }
}
