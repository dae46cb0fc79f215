//! What the API server has, kept up to date by one watch per kind.
//!
//! A store hands out `Arc`s: an object that did not change is the same `Arc` as before, so that whoever compares
//! pointers looks only at what changed. A watch that breaks is begun again with a growing delay, and meanwhile the
//! store keeps what it had: an API server that is away disturbs nothing.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrolb_rules::api;
use ferrolb_rules::config::Resources;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Node, NodeCondition, NodeSpec, NodeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Follows kinds; dropping it stops that.
#[derive(Debug)]
pub struct Watches {
    /// Counts changes of any kind.
    changes: watch::Sender<u64>,
    seen: watch::Receiver<u64>,
    /// Kinds whose first list is not complete.
    pending: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Default for Watches {
    fn default() -> Self {
        let (changes, seen) = watch::channel(0);
        Self { changes, seen, pending: Arc::default(), tasks: JoinSet::new() }
    }
}

impl Watches {
    /// Follows a kind. `trim` takes out of every object what nobody reads, before it is kept; managed fields are gone
    /// already.
    pub fn follow<K>(&mut self, api: Api<K>, config: watcher::Config, trim: fn(&mut K)) -> Store<K>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Default + Eq + Hash + Clone + Unpin + Send + Sync,
    {
        let (store, writer) = reflector::store::<K>();
        let (changes, pending) = (self.changes.clone(), self.pending.clone());
        pending.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn(async move {
            let objects = watcher(api, config).default_backoff().modify(move |object: &mut K| {
                object.managed_fields_mut().clear();
                trim(object);
            });
            let mut events = std::pin::pin!(reflector::reflector(writer, objects));
            let (mut listed, mut interrupted) = (false, false);
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::InitDone) => {
                        interrupted = false;
                        if !listed {
                            listed = true;
                            pending.fetch_sub(1, Ordering::AcqRel);
                        }
                        changes.send_modify(|count| *count = count.wrapping_add(1));
                    }
                    Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) if listed => {
                        interrupted = false;
                        changes.send_modify(|count| *count = count.wrapping_add(1));
                    }
                    Ok(_) => {}
                    // Said once: it is tried again for as long as it takes.
                    Err(_) if interrupted => {}
                    Err(error) => {
                        interrupted = true;
                        let kind = K::kind(&K::DynamicType::default()).into_owned();
                        tracing::warn!(op = "watch", kind, %error, "watching is interrupted; what is known stays in force");
                    }
                }
            }
        });
        store
    }

    /// Whether every kind followed has been listed once.
    pub fn are_synced(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// Returns when every kind followed has been listed once. No plan before that: what is not known yet would look
    /// like what is gone.
    pub async fn synced(&mut self) {
        while !self.are_synced() {
            // The sender lives as long as this object.
            let _ = self.seen.changed().await;
        }
    }

    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Returns when something changed since the last call.
    pub async fn changed(&mut self) {
        let _ = self.seen.changed().await;
    }
}

/// The kinds that a configuration is made of.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// IPAddressPools of our namespace.
    pub pools: Store<api::IPAddressPool>,
    /// L2Advertisements of our namespace.
    pub l2_advertisements: Store<api::L2Advertisement>,
    /// BGPAdvertisements of our namespace.
    pub bgp_advertisements: Store<api::BGPAdvertisement>,
    /// BGPPeers of our namespace.
    pub bgp_peers: Store<api::BGPPeer>,
    /// BFDProfiles of our namespace.
    pub bfd_profiles: Store<api::BFDProfile>,
    /// Communities of our namespace.
    pub communities: Store<api::Community>,
    /// All Namespaces.
    pub namespaces: Store<Namespace>,
    /// All Nodes.
    pub nodes: Store<Node>,
}

impl Configuration {
    /// Follows all of them; our own kinds in our namespace only.
    pub fn follow(watches: &mut Watches, client: &Client, namespace: &str) -> Self {
        Self {
            pools: watches.follow(Api::namespaced(client.clone(), namespace), watcher::Config::default(), |_| ()),
            l2_advertisements: watches.follow(
                Api::namespaced(client.clone(), namespace),
                watcher::Config::default(),
                |_| (),
            ),
            bgp_advertisements: watches.follow(
                Api::namespaced(client.clone(), namespace),
                watcher::Config::default(),
                |_| (),
            ),
            bgp_peers: watches.follow(Api::namespaced(client.clone(), namespace), watcher::Config::default(), |_| ()),
            bfd_profiles: watches.follow(
                Api::namespaced(client.clone(), namespace),
                watcher::Config::default(),
                |_| (),
            ),
            communities: watches.follow(Api::namespaced(client.clone(), namespace), watcher::Config::default(), |_| ()),
            namespaces: watches.follow(Api::all(client.clone()), watcher::Config::default(), trim_namespace),
            nodes: watches.follow(Api::all(client.clone()), watcher::Config::default(), trim_node),
        }
    }

    /// Everything, in order of name, for [`ferrolb_rules::config::parse`].
    pub fn resources(&self) -> Resources {
        Resources {
            pools: by_name(&self.pools),
            l2_advertisements: by_name(&self.l2_advertisements),
            communities: by_name(&self.communities),
            namespaces: by_name(&self.namespaces),
            nodes: by_name(&self.nodes),
        }
    }
}

/// A store's objects in order of namespace and name.
pub fn by_name<K>(store: &Store<K>) -> Vec<Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
{
    let mut objects = store.state();
    objects.sort_by(|a, b| (&a.meta().namespace, &a.meta().name).cmp(&(&b.meta().namespace, &b.meta().name)));
    objects
}

fn trim_namespace(namespace: &mut Namespace) {
    namespace.metadata.annotations = None;
}

/// Of a Node is read: labels, whether it is cordoned, whether its network is available, and its addresses.
fn trim_node(node: &mut Node) {
    let metadata = std::mem::take(&mut node.metadata);
    node.metadata = ObjectMeta {
        name: metadata.name,
        labels: metadata.labels,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    };
    let unschedulable = node.spec.take().and_then(|spec| spec.unschedulable);
    node.spec = unschedulable.map(|_| NodeSpec { unschedulable, ..NodeSpec::default() });
    node.status = node.status.take().map(|status| {
        let conditions = status.conditions.unwrap_or_default().into_iter();
        let read = conditions.filter(|condition| condition.type_ == "NetworkUnavailable");
        // Without its heartbeat, which is new every time.
        let plain = read.map(|one| NodeCondition { status: one.status, type_: one.type_, ..NodeCondition::default() });
        NodeStatus { addresses: status.addresses, conditions: Some(plain.collect()), ..NodeStatus::default() }
    });
}
