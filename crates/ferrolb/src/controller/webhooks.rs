//! The webhooks as part of the controller: who may write for them, and when both together are ready (decision D20).

use kube::Client;
use tokio::sync::watch;

use super::Settings;
use super::lead::Surroundings;
use crate::k8s::lease::Lead;
use crate::k8s::stores::{Configuration, Watches};
use crate::k8s::webhook::Webhooks;

/// Serves webhooks and nothing else. Nobody is led: replicas write the same, and who comes second gives way.
///
/// # Errors
/// See [`Webhooks::run`].
pub(super) async fn run_alone(
    client: &Client,
    settings: &Settings,
    ready: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (_always, leads) = watch::channel(true);
    let mut watches = Watches::default();
    let stores = Configuration::follow(&mut watches, client, &settings.namespace);
    webhooks(client, settings, stores, leads).run(ready, stop).await
}

/// Serves webhooks beside the allocation; `ready` is true when `allocates` and the webhooks are.
///
/// # Errors
/// See [`Webhooks::run`].
pub(super) async fn run_beside(
    around: &Surroundings,
    mut lead: watch::Receiver<Option<Lead>>,
    mut allocates: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (leading, leads) = watch::channel(lead.borrow_and_update().is_some());
    let (serving, mut serves) = watch::channel(false);
    let run = webhooks(&around.client, &around.settings, around.configuration.clone(), leads).run(serving, stop);
    let follow = async {
        loop {
            let both = *allocates.borrow_and_update() && *serves.borrow_and_update();
            ready.send_if_modified(|ready| std::mem::replace(ready, both) != both);
            let leads = lead.borrow_and_update().is_some();
            leading.send_if_modified(|leading| std::mem::replace(leading, leads) != leads);
            // A sender that is gone says that the process stops, which `run` sees by itself.
            let changed = tokio::select! {
                changed = allocates.changed() => changed,
                changed = serves.changed() => changed,
                changed = lead.changed() => changed,
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        result = run => result,
        () = follow => Ok(()),
    }
}

fn webhooks(client: &Client, settings: &Settings, stores: Configuration, leads: watch::Receiver<bool>) -> Webhooks {
    Webhooks::new(client.clone(), settings.namespace.clone(), settings.webhook.clone(), stores, leads)
        .of_deployment(settings.deployment.clone())
}
