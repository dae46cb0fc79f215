//! What goes back to the API server: ServiceL2Statuses, ServiceBGPStatuses and our ConfigurationState. None of it holds up an announcement.
//!
//! All are owned by our own Pod, so that they go with it. It is asked for once; until that is answered nothing is
//! written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ferrolb_rules::api::{ServiceBGPStatus, ServiceL2Status};
use ferrolb_rules::names::NodeName;
use ferrolb_rules::sighting::Sighting;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::statuses::{Wanted, Writer};
use crate::k8s::configuration_state::{Component, Opinion, Verdicts};

/// Between two tries to ask for our own Pod, at first and at last.
const RETRY_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where to hand over what is so.
#[derive(Debug)]
pub(super) struct Reports {
    statuses: watch::Sender<Option<Arc<Wanted<ServiceL2Status>>>>,
    told: watch::Sender<Option<Arc<Wanted<ServiceBGPStatus>>>>,
    alive: watch::Sender<Option<BTreeSet<NodeName>>>,
    opinion: watch::Sender<Option<Opinion>>,
    _tasks: JoinSet<()>,
}

impl Reports {
    /// Starts the tasks.
    pub(super) fn start(client: &Client, namespace: &str, own: &NodeName, pod_name: Option<String>) -> Self {
        let (statuses, wanted) = watch::channel(None);
        let (told, wanted_by_bgp) = watch::channel(None);
        let (alive, living) = watch::channel(None);
        let (opinion, opinions) = watch::channel(None);
        let mut tasks = JoinSet::new();
        let (client, namespace, own) = (client.clone(), namespace.to_owned(), own.clone());
        tasks.spawn(async move {
            let owner = match pod_name {
                Some(pod) => own_pod(&client, &namespace, &pod).await,
                None => None,
            };
            let by_layer2 = Writer::<ServiceL2Status>::new(own.clone(), &client, &namespace, owner.clone());
            let by_bgp = Writer::<ServiceBGPStatus>::new(own.clone(), &client, &namespace, owner.clone());
            tokio::join!(
                by_layer2.run(wanted, living.clone()),
                by_bgp.run(wanted_by_bgp, living),
                pass_on(client, &namespace, &own, owner, opinions)
            );
        });
        Self { statuses, told, alive, opinion, _tasks: tasks }
    }

    /// The ServiceL2Statuses that there ought to be.
    pub(super) fn statuses(&self, wanted: Arc<Wanted<ServiceL2Status>>) {
        want(&self.statuses, wanted);
    }

    /// The ServiceBGPStatuses that there ought to be.
    pub(super) fn told(&self, wanted: Arc<Wanted<ServiceBGPStatus>>) {
        want(&self.told, wanted);
    }

    /// The nodes that look after their own statuses.
    pub(super) fn alive(&self, nodes: &BTreeSet<NodeName>) {
        set(&self.alive, nodes);
    }

    /// What this speaker thinks of the configuration, and who else it saw answer for addresses of ours.
    pub(super) fn opinion(&self, verdict: &Result<(), String>, seen: BTreeSet<Sighting>) {
        set(&self.opinion, &Opinion { verdict: verdict.clone(), seen });
    }
}

fn want<T: PartialEq>(channel: &watch::Sender<Option<Arc<T>>>, wanted: Arc<T>) {
    channel.send_if_modified(|last| {
        let different = last.as_ref() != Some(&wanted);
        if different {
            *last = Some(wanted);
        }
        different
    });
}

fn set<T: Clone + PartialEq>(channel: &watch::Sender<Option<T>>, value: &T) {
    channel.send_if_modified(|last| {
        let different = last.as_ref() != Some(value);
        if different {
            *last = Some(value.clone());
        }
        different
    });
}

async fn pass_on(
    client: Client,
    namespace: &str,
    own: &NodeName,
    owner: Option<OwnerReference>,
    mut opinions: watch::Receiver<Option<Opinion>>,
) {
    let states = Verdicts::new(client, namespace, Component::speaker(own.as_str()), owner);
    loop {
        if let Some(opinion) = opinions.borrow_and_update().as_ref() {
            states.report(opinion);
        }
        if opinions.changed().await.is_err() {
            return;
        }
    }
}

/// A reference to our own Pod; none where there is no such Pod or we may not see it.
async fn own_pod(client: &Client, namespace: &str, name: &str) -> Option<OwnerReference> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut wait = RETRY_INTERVALS.0;
    loop {
        match pods.get(name).await {
            Ok(pod) => {
                return Some(OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Pod".to_owned(),
                    name: name.to_owned(),
                    uid: pod.metadata.uid?,
                    ..OwnerReference::default()
                });
            }
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_forbidden() => {
                tracing::warn!(op = "startup", pod = name, error = %status, "our own Pod cannot be seen: what this speaker writes stays when it is deleted");
                return None;
            }
            // The API server is away: it is not needed for an announcement.
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait = (wait * 2).min(RETRY_INTERVALS.1);
    }
}
