//! The webhooks: validation of our kinds and conversion of BGPPeers, and the certificates that go with them (spec §2,
//! decisions D1, D19).
//!
//! ```text
//! API server ── AdmissionReview, ConversionReview ──► serve ──► rules::admission, rules::api::conversion
//!            ◄── caBundle ── trust ◄──┐
//! Secret ── watch ──► certificates: due? ── leader writes ──► Secret      every replica serves what the Secret has
//! ```
//!
//! Everything here is extra: addresses are given and announced without it, and what it refuses is refused by the
//! validator again when it is read. So nothing here ends the process except a port that is taken; whatever else fails is
//! said and tried again.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use ferrolb_rules::reason::Code;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use self::certificates::{Data, Due};
use self::serve::Served;
use self::trust::{FIELD_MANAGER, Targets};
use crate::controller::WebhookSettings;
use crate::http;
use crate::k8s::stores::{Configuration, Watches};

mod certificates;
mod mounted;
mod serve;
mod trust;

/// So often certificates are looked at without a cause.
const CHECK_INTERVAL: Duration = Duration::from_secs(12 * 3600);
/// So long the watch may take to bring what was written, before it is written again.
const ECHO_INTERVAL: Duration = Duration::from_secs(10);
/// The first wait after a failure; it doubles up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// So long a process that is told to stop tries to find out whether it is removed for good.
const FAREWELL: Duration = Duration::from_secs(3);

/// The webhooks of one replica.
pub struct Webhooks {
    client: Client,
    namespace: String,
    settings: WebhookSettings,
    stores: Configuration,
    leads: watch::Receiver<bool>,
    deployment: Option<String>,
}

impl Webhooks {
    /// Webhooks that answer from `stores`. Only while `leads` is true is anything written.
    pub fn new(
        client: Client,
        namespace: String,
        settings: WebhookSettings,
        stores: Configuration,
        leads: watch::Receiver<bool>,
    ) -> Self {
        Self { client, namespace, settings, stores, leads, deployment: None }
    }

    /// Names our Deployment, so that it can be noticed that it is removed (decision D19).
    #[must_use]
    pub fn of_deployment(mut self, deployment: Option<String>) -> Self {
        self.deployment = deployment;
        self
    }

    /// Runs until told to stop. `ready` becomes true when requests can be answered.
    ///
    /// # Errors
    /// The port cannot be listened on, or the TLS options contradict each other.
    pub async fn run(self, ready: watch::Sender<bool>, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let served = Arc::new(Served::default());
        let protocols: &[&str] = if self.settings.http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
        let tls = self.settings.tls.server_config(served.clone(), protocols).context("TLS of the webhooks")?;
        let port = self.settings.port;
        let listener = listen(port).with_context(|| format!("{}: port {port} of the webhooks", Code::PortNotFree))?;
        let routes = serve::routes(&self.namespace, &self.stores);
        let server = http::serve(listener, Some(TlsAcceptor::from(Arc::new(tls))), routes, stop.clone());
        let (stores, certificate) = (self.stores.clone(), watch::Sender::new(false));
        let announce = async {
            serve::synced(&stores).await;
            let _ = certificate.subscribe().wait_for(|there| *there).await;
            ready.send_replace(true);
            tracing::info!(op = "webhook", port, "webhooks are served");
        };
        let certificates = async {
            if self.settings.disable_cert_rotation {
                self.serve_mounted(&served, &certificate, stop.clone()).await;
            } else {
                self.rotate(&served, &certificate, stop.clone()).await;
            }
        };
        tokio::join!(server, certificates, async {
            let mut stop = stop.clone();
            tokio::select! {
                () = announce => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        });
        ready.send_replace(false);
        Ok(())
    }

    /// Serves the files of the directory for as long as it takes.
    async fn serve_mounted(&self, served: &Served, there: &watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        let directory = &self.settings.cert_dir;
        let mounted = mounted::Mounted::watch(directory);
        let mut before = Data::new();
        loop {
            let data = mounted::read(directory);
            if data != before || !served.is_there() {
                show(&data, served, there, &directory.display().to_string());
                before = data;
            }
            tokio::select! {
                () = mounted.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Keeps Secret, served certificate and `caBundle` in step.
    async fn rotate(&self, served: &Served, there: &watch::Sender<bool>, mut stop: watch::Receiver<bool>) {
        let mut leads = self.leads.clone();
        let (mut secrets, mut watched) = (Watches::default(), Watches::default());
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.settings.secret));
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let secret = secrets.follow(api, only, |_| ());
        let mut targets = Targets::follow(&mut watched, &self.client);
        let mut shown = Data::new();
        let mut wrote_on = None;
        let mut retry = FIRST_RETRY;
        loop {
            let mut next = Instant::now() + CHECK_INTERVAL;
            if secrets.are_synced() {
                let data = data_of(&secret);
                if !data.is_empty() && data != shown {
                    show(&data, served, there, &self.settings.secret);
                    shown.clone_from(&data);
                }
                let leads = *leads.borrow_and_update();
                let tended = match leads {
                    true => self.tend(&secret, &data, &mut targets, watched.are_synced(), &mut wrote_on).await,
                    false => Ok(()),
                };
                if let Err((code, error)) = tended {
                    tracing::warn!(op = "webhook", %code, error = format!("{error:#}"), "tried again");
                    next = Instant::now() + retry;
                    retry = (retry * 2).min(LAST_RETRY);
                } else {
                    retry = FIRST_RETRY;
                    next = wrote_on.as_ref().map_or(next, |_| Instant::now() + ECHO_INTERVAL);
                }
            }
            tokio::select! {
                () = secrets.changed() => {}
                () = watched.changed() => {}
                // Nobody leads any more when the sender is gone, which is not news for ever.
                () = async { if leads.changed().await.is_err() { std::future::pending::<()>().await } } => {}
                () = sleep_until(next) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if timeout(FAREWELL, self.leave(&targets)).await.is_err() {
            tracing::info!(op = "webhook", "the API server did not say in time whether we are being removed");
        }
    }

    /// What the leader does: one thing that is due, and telling the authority to whom does not know it.
    async fn tend(
        &self,
        secret: &Store<Secret>,
        data: &Data,
        targets: &mut Targets,
        targets_known: bool,
        wrote_on: &mut Option<(String, Instant)>,
    ) -> Result<(), (Code, anyhow::Error)> {
        let bundle = data.get("ca.crt").cloned().unwrap_or_default();
        let trusted = targets_known && targets.know(&bundle);
        let name = format!("{}.{}.svc", self.settings.service_name, self.namespace);
        let now = OffsetDateTime::now_utc();
        let due = certificates::due(data, &name, now, trusted);
        if due != Due::Nothing {
            let version = version_of(secret);
            if wrote_on.as_ref().is_some_and(|(on, at)| *on == version && at.elapsed() < ECHO_INTERVAL) {
                // The watch is still to bring what was written.
                return Ok(());
            }
            tracing::info!(op = "webhook", %due, secret = %self.settings.secret, "writing certificates");
            let made = certificates::make(&due, data, &name, now).map_err(anyhow::Error::from);
            let written = match made {
                Ok(made) => self.write(secret, &made).await,
                Err(error) => Err(error),
            };
            *wrote_on = written.is_ok().then(|| (version, Instant::now()));
            // The watch brings back what was written, and only then it is served and told.
            return written.map_err(|error| (Code::WebhookCertificateMissing, error));
        }
        *wrote_on = None;
        if targets_known && let Some(other) = targets.belongs_to(&self.namespace) {
            let fix = Code::RivalLoadBalancer.explanation().fix;
            let why = format!("the webhooks are those of another installation, in the namespace {other}: {fix}");
            return Err((Code::RivalLoadBalancer, anyhow::Error::msg(why)));
        }
        if targets_known && !bundle.is_empty() {
            targets.tell(&self.client, &bundle).await.map_err(|error| (Code::WebhookNotTrusted, error))?;
        }
        Ok(())
    }

    /// Writes the Secret, or makes it. If another replica was faster, its certificates stand.
    async fn write(&self, secret: &Store<Secret>, data: &Data) -> anyhow::Result<()> {
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let name = &self.settings.secret;
        let data: BTreeMap<_, _> =
            data.iter().map(|(key, value)| (key.clone(), k8s_openapi::ByteString(value.clone()))).collect();
        let written = match secret.state().first() {
            Some(found) => {
                let version = &found.metadata.resource_version;
                let patch = json!({"metadata": {"resourceVersion": version}, "data": data});
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                api.patch(name, &params, &Patch::Merge(&patch)).await
            }
            None => {
                let mut new = Secret { data: Some(data), type_: Some("Opaque".to_owned()), ..Secret::default() };
                new.metadata.name = Some(name.clone());
                let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                api.create(&params, &new).await
            }
        };
        match written {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            written => written.map(drop).with_context(|| format!("Secret {}/{name}", self.namespace)),
        }
    }

    /// If we are being removed for good, so is what would call us (decision D19).
    async fn leave(&self, targets: &Targets) {
        if targets.belongs_to(&self.namespace).is_some() {
            return;
        }
        let going = match &self.deployment {
            Some(name) => gone(&Api::<Deployment>::namespaced(self.client.clone(), &self.namespace), name).await,
            None => false,
        };
        if (going || gone(&Api::<Namespace>::all(self.client.clone()), &self.namespace).await)
            && let Err(error) = targets.remove_configuration(&self.client).await
        {
            tracing::warn!(op = "webhook", %error, "the webhook configuration stays behind");
        }
    }
}

/// Whether an object is not there or on its way out. Not to know is not to be gone.
async fn gone<K>(api: &Api<K>, name: &str) -> bool
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    match api.get_opt(name).await {
        Ok(found) => found.is_none_or(|object| object.meta().deletion_timestamp.is_some()),
        Err(error) => {
            tracing::debug!(op = "webhook", name, %error, "cannot tell whether it is being removed");
            false
        }
    }
}

/// Serves what is in a Secret or directory. What cannot be served changes nothing.
fn show(data: &Data, served: &Served, there: &watch::Sender<bool>, from: &str) {
    match certificates::served(data) {
        Ok(certificate) => {
            served.swap(certificate);
            there.send_replace(true);
            tracing::info!(op = "webhook", from, "serving this certificate from now on");
        }
        Err(error) => {
            let code = Code::WebhookCertificateMissing;
            tracing::warn!(op = "webhook", %code, from, %error, "this certificate cannot be served");
        }
    }
}

/// What is in the Secret; empty where it is not there.
fn data_of(secret: &Store<Secret>) -> Data {
    let found = secret.state();
    let data = found.first().and_then(|secret| secret.data.as_ref());
    data.into_iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// The version of the Secret that the watch has brought; empty where it is not there.
fn version_of(secret: &Store<Secret>) -> String {
    secret.state().first().and_then(|secret| secret.metadata.resource_version.clone()).unwrap_or_default()
}

/// Listens on all addresses of both families, or of IPv4 alone where the kernel has no other.
fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let listener = match Socket::new(Domain::IPV6, Type::STREAM, None) {
        Ok(socket) => {
            socket.set_only_v6(false)?;
            socket.set_reuse_address(true)?;
            socket.bind(&std::net::SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
            socket
        }
        Err(_) => {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&std::net::SocketAddr::from(([0, 0, 0, 0], port)).into())?;
            socket
        }
    };
    listener.listen(128)?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener.into())?)
}
