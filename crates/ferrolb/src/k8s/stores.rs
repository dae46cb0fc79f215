//! What the API server has, kept up to date by one watch per kind.
//!
//! A store hands out `Arc`s: an object that did not change is the same `Arc` as before, so that whoever compares
//! pointers looks only at what changed. A watch that breaks is begun again with a growing delay, and meanwhile the
//! store keeps what it had: an API server that is away disturbs nothing. Until a kind has been listed once the delay
//! stays short, because a kind that is not served yet may be a second later: any order of installation converges.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ferrolb_rules::api;
use ferrolb_rules::config::Resources;
use ferrolb_rules::reason::Code;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::malformed::Malformed;

mod patience;
mod shelf;
mod trim;

use patience::Patience;
pub use shelf::Shelf;

/// Follows kinds; dropping it stops that.
#[derive(Debug)]
pub struct Watches {
    /// Counts changes of any kind.
    changes: watch::Sender<u64>,
    observer: Observer,
    tasks: JoinSet<()>,
}

impl Default for Watches {
    fn default() -> Self {
        let (changes, seen) = watch::channel(0);
        Self { changes, observer: Observer { seen, pending: Arc::default() }, tasks: JoinSet::new() }
    }
}

/// Looks at [`Watches`] that may be somebody else's: whether they are complete, and when anything changes.
#[derive(Clone, Debug)]
pub struct Observer {
    seen: watch::Receiver<u64>,
    /// Kinds whose first list is not complete.
    pending: Arc<AtomicUsize>,
}

impl Observer {
    /// Whether every kind followed has been listed once.
    pub fn are_synced(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }

    /// Returns when every kind followed has been listed once. No plan before that: what is not known yet would look
    /// like what is gone.
    pub async fn synced(&mut self) {
        while !self.are_synced() {
            self.changed().await;
        }
    }

    /// Returns when something changed since the last call; never, once the watches are gone.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
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
        let (changes, pending) = (self.changes.clone(), self.observer.pending.clone());
        pending.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn(async move {
            let listed = Arc::new(AtomicBool::new(false));
            let objects = patient(api, config.page_size(PAGE), trim, listed.clone());
            keep(reflector::reflector(writer, objects), &listed, &changes, &pending).await;
        });
        store
    }

    /// Follows a kind of which only some objects matter, and of those what `keep` makes of them, by a key of the caller's.
    /// `trim` is as in [`Self::follow`]; `keep` sees what it left.
    pub fn shelve<I, K, V>(
        &mut self,
        api: Api<K>,
        config: watcher::Config,
        trim: fn(&mut K),
        key: fn(&K) -> I,
        keep_of: impl Fn(&K) -> Option<V> + Send + Sync + 'static,
    ) -> Shelf<I, V>
    where
        I: Ord + Clone + Send + Sync + 'static,
        V: PartialEq + Send + Sync + 'static,
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Default + Eq + Hash + Clone + Unpin + Send + Sync,
    {
        let shelf = Shelf::default();
        let (changes, pending) = (self.changes.clone(), self.observer.pending.clone());
        pending.fetch_add(1, Ordering::AcqRel);
        let mut filler = shelf.filler(key, keep_of);
        self.tasks.spawn(async move {
            let listed = Arc::new(AtomicBool::new(false));
            let objects = patient(api, config.page_size(PAGE), trim, listed.clone())
                .inspect(move |event| event.iter().for_each(|event| filler.take_in(event)));
            keep(objects, &listed, &changes, &pending).await;
        });
        shelf
    }

    /// Follows a kind of ours. Objects that do not fit it are kept apart in `malformed`.
    pub fn follow_ours<K>(&mut self, api: Api<DeserializeGuard<K>>, malformed: &Malformed) -> Store<K>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let (store, writer) = reflector::store::<K>();
        let (changes, pending) = (self.changes.clone(), self.observer.pending.clone());
        pending.fetch_add(1, Ordering::AcqRel);
        let malformed = malformed.clone();
        self.tasks.spawn(async move {
            let listed = Arc::new(AtomicBool::new(false));
            let mut listing = Vec::new();
            let news = changes.clone();
            let objects = patient(api, watcher::Config::default().page_size(PAGE), |_| (), listed.clone()).filter_map(
                move |event| {
                    let left = match event {
                        Err(error) => Some(Err(error)),
                        Ok(event) => malformed.sort(event, &mut listing).map(Ok),
                    };
                    if left.is_none() {
                        news.send_modify(|count| *count = count.wrapping_add(1));
                    }
                    std::future::ready(left)
                },
            );
            keep(reflector::reflector(writer, objects), &listed, &changes, &pending).await;
        });
        store
    }

    /// Follows a kind for somebody who keeps himself what `keep` makes of its objects: every change is sent on, in order, as
    /// `wrap` makes it.
    /// A kind fed this way is synced when its [`Change::Listed`] has arrived; [`Self::are_synced`] does not count it.
    pub fn feed<K, V, T>(
        &mut self,
        api: Api<K>,
        trim: fn(&mut K),
        keep: fn(K) -> V,
        sender: mpsc::Sender<T>,
        wrap: fn(Change<V>) -> T,
    ) where
        V: Send + Sync + 'static,
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Default + Eq + Hash + Clone + Unpin + Send + Sync,
        T: Send + 'static,
    {
        self.tasks.spawn(async move {
            let listed = Arc::new(AtomicBool::new(false));
            let mut events =
                std::pin::pin!(patient(api, watcher::Config::default().page_size(PAGE), trim, listed.clone()));
            let mut narrator = Narrator::of::<K>();
            let mut list = Vec::new();
            while let Some(event) = events.next().await {
                narrator.narrate(&event);
                let change = match event {
                    Ok(watcher::Event::Init) => {
                        list = Vec::new();
                        continue;
                    }
                    Ok(watcher::Event::InitApply(object)) => {
                        list.push(Arc::new(keep(object)));
                        continue;
                    }
                    Ok(watcher::Event::InitDone) => {
                        listed.store(true, Ordering::Release);
                        Change::Listed(std::mem::take(&mut list))
                    }
                    Ok(watcher::Event::Apply(object)) => Change::Applied(Arc::new(keep(object))),
                    Ok(watcher::Event::Delete(object)) => Change::Deleted(Arc::new(keep(object))),
                    Err(_) => continue,
                };
                if sender.send(wrap(change)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Somebody else's view of them.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// See [`Observer::are_synced`].
    pub fn are_synced(&self) -> bool {
        self.observer.are_synced()
    }

    /// See [`Observer::synced`].
    pub async fn synced(&mut self) {
        self.observer.synced().await;
    }

    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// See [`Observer::changed`].
    pub async fn changed(&mut self) {
        self.observer.changed().await;
    }
}

/// Takes note of what came into a store.
async fn keep<K: Resource<DynamicType: Default>>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    listed: &AtomicBool,
    changes: &watch::Sender<u64>,
    pending: &AtomicUsize,
) {
    let mut events = std::pin::pin!(events);
    let mut narrator = Narrator::of::<K>();
    while let Some(event) = events.next().await {
        narrator.narrate(&event);
        match event {
            Ok(watcher::Event::InitDone) => {
                if !listed.swap(true, Ordering::AcqRel) {
                    pending.fetch_sub(1, Ordering::AcqRel);
                }
                changes.send_modify(|count| *count = count.wrapping_add(1));
            }
            Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) if listed.load(Ordering::Acquire) => {
                changes.send_modify(|count| *count = count.wrapping_add(1));
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Objects in one page of a list: there may be ten thousand, and a page is in memory untrimmed, several times over.
const PAGE: u32 = 200;

/// What happened to the objects of a kind that is [fed](Watches::feed).
#[derive(Debug)]
pub enum Change<K> {
    /// These are all of them: at the start, and whenever the watch had to begin anew.
    Listed(Vec<Arc<K>>),
    /// It is new, or different.
    Applied(Arc<K>),
    /// It is gone.
    Deleted(Arc<K>),
}

fn patient<K>(
    api: Api<K>,
    config: watcher::Config,
    trim: fn(&mut K),
    listed: Arc<AtomicBool>,
) -> impl Stream<Item = watcher::Result<watcher::Event<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let begin = move || watcher(api.clone(), config.clone());
    anew_when_gone(begin).backoff(Patience::new(listed)).modify(move |object: &mut K| {
        trim::managed_fields(object);
        trim(object);
    })
}

/// A watch whose version is too old is begun anew, from a list. The watcher does that by itself where the API server says so
/// in the stream; where it says so instead of a stream, the watcher would ask for the same version for ever.
fn anew_when_gone<K, S>(begin: impl FnMut() -> S + Send) -> impl Stream<Item = watcher::Result<watcher::Event<K>>>
where
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    futures::stream::unfold((begin, None), |(mut begin, going)| async move {
        let mut objects = going.unwrap_or_else(|| Box::pin(begin()));
        let event = objects.next().await?;
        let gone = match &event {
            Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) => status.code == 410,
            _ => false,
        };
        Some((event, (begin, Some(objects).filter(|_| !gone))))
    })
}

/// Says once that a watch is interrupted and why, and once that it goes on.
struct Narrator {
    kind: String,
    said: Option<Code>,
}

impl Narrator {
    fn of<K: Resource>() -> Self
    where
        K::DynamicType: Default,
    {
        Self { kind: K::kind(&K::DynamicType::default()).into_owned(), said: None }
    }

    fn narrate<K>(&mut self, event: &watcher::Result<watcher::Event<K>>) {
        // A watch that begins anew says `Init` before it has heard anything.
        if matches!(event, Ok(watcher::Event::Init | watcher::Event::InitApply(_))) {
            return;
        }
        let (kind, error) = (&self.kind, event.as_ref().err());
        let code = error.map(code_of);
        match (error, code) {
            (Some(error), Some(Some(code))) if self.said != Some(code) => {
                let (summary, fix) = (code.explanation().summary, code.explanation().fix);
                tracing::warn!(op = "watch", kind, code = %code, error = brief(error), "{code} {kind}: {summary}; what is known stays in force, and it is tried again. Fix: {fix}");
                self.said = Some(code);
            }
            (Some(error), _) => tracing::debug!(op = "watch", kind, %error, "the watch begins anew"),
            (None, _) if self.said.take().is_some() => tracing::info!(op = "watch", kind, "{kind} can be read again"),
            (None, _) => {}
        }
    }
}

/// The error without the whole answer of the API server.
fn brief(error: &watcher::Error) -> String {
    status_of(error).map_or_else(|| error.to_string(), |status| status.message.clone())
}

fn status_of(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::WatchError(status) => Some(status),
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

/// What an interrupted watch is called; none where it is part of the protocol (a version too old to go on from).
fn code_of(error: &watcher::Error) -> Option<Code> {
    match status_of(error).map(|status| status.code) {
        Some(410) => None,
        // A kind that has just been defined: the API server asks for a moment, and is well.
        Some(429) if status_of(error).is_some_and(|status| status.message.contains("(re)initializing")) => None,
        Some(status) => Some(super::code_of(status)),
        None => Some(Code::ApiServerAway),
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
    /// Objects of our own kinds that cannot be read.
    pub malformed: Malformed,
}

impl Configuration {
    /// Follows all of them; our own kinds in our namespace only.
    pub fn follow(watches: &mut Watches, client: &Client, namespace: &str) -> Self {
        let malformed = Malformed::default();
        Self {
            pools: watches.follow_ours(Api::namespaced(client.clone(), namespace), &malformed),
            l2_advertisements: watches.follow_ours(Api::namespaced(client.clone(), namespace), &malformed),
            bgp_advertisements: watches.follow_ours(Api::namespaced(client.clone(), namespace), &malformed),
            bgp_peers: watches.follow_ours(Api::namespaced(client.clone(), namespace), &malformed),
            bfd_profiles: watches.follow_ours(Api::namespaced(client.clone(), namespace), &malformed),
            communities: watches.follow_ours(Api::namespaced(client.clone(), namespace), &malformed),
            namespaces: watches.follow(Api::all(client.clone()), watcher::Config::default(), trim::namespace),
            nodes: watches.follow(Api::all(client.clone()), watcher::Config::default(), trim::node),
            malformed,
        }
    }

    /// Everything but passwords, in order of name, for [`ferrolb_rules::config::parse`].
    pub fn resources(&self) -> Resources {
        Resources {
            pools: by_name(&self.pools),
            l2_advertisements: by_name(&self.l2_advertisements),
            bgp_advertisements: by_name(&self.bgp_advertisements),
            bgp_peers: by_name(&self.bgp_peers),
            bfd_profiles: by_name(&self.bfd_profiles),
            secrets: None,
            communities: by_name(&self.communities),
            namespaces: by_name(&self.namespaces),
            nodes: by_name(&self.nodes),
            malformed: self.malformed.findings(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_version_that_is_refused_as_too_old_is_not_asked_for_again() {
        let status = kube::core::Status::failure("too old resource version", "Expired").with_code(410);
        let mut begun = 0;
        let begin = || {
            begun += 1;
            let gone = watcher::Error::WatchStartFailed(kube::Error::Api(status.clone().boxed()));
            let first = watcher::Event::<Namespace>::Init;
            futures::stream::iter([Ok(first), Err(gone), Ok(watcher::Event::InitDone)])
        };
        let events: Vec<_> = anew_when_gone(begin).take(4).collect().await;
        assert!(matches!(events[1], Err(watcher::Error::WatchStartFailed(_))), "{events:?}");
        assert!(matches!(events[2], Ok(watcher::Event::Init)), "from the list again: {events:?}");
        assert_eq!(begun, 2);
    }
}
