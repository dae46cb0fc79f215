//! Events on objects, as core/v1 Events (spec §4.10, §5.5): what people see in `kubectl describe` and `get events`.
//!
//! Whoever has something to say hands it over and goes on; a task writes, one at a time and never while
//! [held back](Events::hold). The same thing said again about the same object only counts up. Nobody can make an object
//! noisy: 25 Events at once, then one every five minutes, as upstream's client does; what is too much does not even
//! wait, where it would be in the way of what others have to say. When the API server is slow or away, what waits is
//! bounded: the oldest is dropped. It may be ten thousand, so what waits is small.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::Code;
use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::Notify;

use super::number::{Number, number};

/// Events that may wait to be written.
const QUEUE: usize = 16_384;
/// How long an Event is counted up instead of written anew.
const AGGREGATION_INTERVAL: Duration = Duration::from_secs(600);
/// Events about one object that may come at once.
const BURST: u32 = 25;
/// After which time one more may.
const REFILL_INTERVAL: Duration = Duration::from_secs(300);
/// A write that has no answer within this has failed.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// Between attempts, doubling from the one to the other.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// What is remembered about Events written, and about objects, at most.
const REMEMBERED: usize = 4096;

/// The reason of an Event that tells of a failover: who took an address over from whom, and how long that took.
pub const TOOK_OVER: &str = "TookOver";

/// Something to say about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The object. An Event lives in its namespace.
    pub about: About,
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// The reason, as upstream has it.
    pub reason: &'static str,
    /// The message.
    pub message: Arc<str>,
}

/// The object that an [`Event`] is about.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    /// A Service, with its UID where it is known.
    Service(ServiceKey, Option<Box<str>>),
    /// Another one.
    Object(Box<ObjectReference>),
}

impl About {
    /// A Service.
    pub fn service(key: &ServiceKey, uid: Option<&str>) -> Self {
        Self::Service(key.clone(), uid.map(Box::from))
    }

    /// As the API has it.
    pub fn reference(&self) -> ObjectReference {
        match self {
            Self::Service(key, uid) => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Service".to_owned()),
                namespace: Some(key.namespace.to_string()),
                name: Some(key.name.to_string()),
                uid: uid.as_deref().map(str::to_owned),
                ..ObjectReference::default()
            },
            Self::Object(reference) => ObjectReference::clone(reference),
        }
    }
}

impl From<ObjectReference> for About {
    fn from(reference: ObjectReference) -> Self {
        Self::Object(Box::new(reference))
    }
}

/// Where to hand events to; cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Boxed, since a queue that grows doubles, and thousands come at once.
    queue: VecDeque<Box<Event>>,
    held: bool,
    dropped: u64,
    budget: Budget,
    /// The message that came last: the next Service mostly has the same to say, and ten thousand of a kind need one copy.
    last: Arc<str>,
}

impl Events {
    /// Starts the task. `component` is the source that people see (`metallb-controller`, `metallb-speaker`), `host` the
    /// node it runs on, if known.
    pub fn start(client: Client, component: &'static str, host: Option<String>) -> Self {
        let shared = Arc::<Shared>::default();
        tokio::spawn(write(client, EventSource { component: Some(component.to_owned()), host }, shared.clone()));
        Self { shared }
    }

    /// Says something. Never waits.
    pub fn publish(&self, mut event: Event) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.budget.allows(&event.about, Instant::now()) {
            return;
        }
        if waiting.last == event.message {
            event.message = waiting.last.clone();
        } else {
            waiting.last = event.message.clone();
        }
        if waiting.queue.len() >= QUEUE {
            waiting.queue.pop_front();
            if waiting.dropped == 0 {
                tracing::warn!(op = "event", "too many events wait: the oldest are dropped");
            }
            waiting.dropped += 1;
        }
        waiting.queue.push_back(Box::new(event));
        drop(waiting);
        self.shared.news.notify_one();
    }

    /// Writes nothing as long as `held`: what matters more comes first.
    pub fn hold(&self, held: bool) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut waiting.held, held) && !held {
            self.shared.news.notify_one();
        }
    }
}

impl Shared {
    fn take(&self) -> Option<Event> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.held {
            return None;
        }
        let event = waiting.queue.pop_front();
        if event.is_none() {
            waiting.queue = VecDeque::new();
            waiting.dropped = 0;
        }
        event.map(|event| *event)
    }
}

async fn write(client: Client, source: EventSource, shared: Arc<Shared>) {
    let mut memory = Memory::default();
    let (mut failing, mut refused) = (false, false);
    loop {
        let Some(event) = shared.take() else {
            shared.news.notified().await;
            continue;
        };
        let step = memory.step(&event, Instant::now());
        let mut delay = FIRST_DELAY;
        loop {
            let written = tokio::time::timeout(WRITE_LIMIT, carry_out(&client, &source, &event, &step)).await;
            let error = match written {
                Ok(Ok(name)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!(op = "event", "events can be written again");
                    }
                    memory.written(&event, name, Instant::now());
                    break;
                }
                Ok(Err(kube::Error::Api(status))) if is_final(status.code) => {
                    if status.is_forbidden() && !std::mem::replace(&mut refused, true) {
                        let code = Code::AccessDenied;
                        tracing::warn!(op = "event", %code, error = status.message, "{code}: an event is refused");
                    }
                    tracing::debug!(op = "event", reason = event.reason, error = status.message, "an event is refused");
                    break;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {WRITE_LIMIT:?}"),
            };
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(op = "event", error, "events cannot be written; they wait");
            }
            // What waits behind is bounded, and grows old with this one.
            tokio::time::sleep(delay).await;
            delay = delay.saturating_mul(2).min(LONGEST_DELAY);
        }
    }
}

/// Whether trying again is useless: the namespace is going away or gone, or the Event is not one.
fn is_final(code: u16) -> bool {
    matches!(code, 400 | 403 | 404 | 409 | 413 | 422)
}

/// How an Event is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create,
    /// The one of this name is counted up to this number.
    Count {
        name: String,
        count: i32,
    },
}

/// An object, and an Event about it.
type Key = (Number, Number);

fn object_number(about: &About) -> Number {
    match about {
        // One that was deleted and made anew is another one: who describes it is shown only what was said of its UID.
        About::Service(key, uid) => number(&("Service", key, uid)),
        About::Object(object) => number(&(&object.kind, &object.namespace, &object.name, &object.uid)),
    }
}

/// How much each object may still say.
#[derive(Debug, Default)]
struct Budget {
    left: HashMap<Number, (u32, Instant)>,
}

impl Budget {
    /// Whether an object may say one more thing; if so it counts.
    fn allows(&mut self, about: &About, now: Instant) -> bool {
        let object = object_number(about);
        let (left, since) = self.left.get(&object).copied().unwrap_or((BURST, now));
        let refilled = now.saturating_duration_since(since).as_secs() / REFILL_INTERVAL.as_secs();
        let left = left.saturating_add(u32::try_from(refilled).unwrap_or(BURST)).min(BURST);
        let Some(left) = left.checked_sub(1) else { return false };
        if self.left.len() >= REMEMBERED {
            self.left = HashMap::new();
        }
        self.left.insert(object, (left, if refilled > 0 || left + 1 == BURST { now } else { since }));
        true
    }
}

/// What was written lately.
#[derive(Debug, Default)]
struct Memory {
    written: HashMap<Key, (String, i32, Instant)>,
}

impl Memory {
    fn key(&self, event: &Event) -> Key {
        (object_number(&event.about), number(&(event.reason, &event.message)))
    }

    /// What to do with an Event.
    fn step(&mut self, event: &Event, now: Instant) -> Step {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < AGGREGATION_INTERVAL;
        match self.written.get(&self.key(event)) {
            Some((name, count, at)) if fresh(at) => Step::Count { name: name.clone(), count: count + 1 },
            _ => Step::Create,
        }
    }

    fn written(&mut self, event: &Event, name: String, now: Instant) {
        let key = self.key(event);
        let count = self.written.get(&key).filter(|(old, ..)| *old == name).map_or(1, |(_, count, _)| count + 1);
        if self.written.len() >= REMEMBERED {
            self.written = HashMap::new();
        }
        self.written.insert(key, (name, count, now));
    }
}

/// Writes, and returns the name.
async fn carry_out(client: &Client, source: &EventSource, event: &Event, step: &Step) -> Result<String, kube::Error> {
    let about = event.about.reference();
    let namespace = about.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default");
    let api = Api::<CoreEvent>::namespaced(client.clone(), namespace);
    let now = Time(Timestamp::now());
    if let Step::Count { name, count } = step {
        let patch = serde_json::json!({"count": count, "lastTimestamp": now});
        match api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(name.clone()),
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let name = format!("{}.{:016x}", about.name.as_deref().unwrap_or("unknown"), rand::random::<u64>());
    let body = CoreEvent {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason.to_owned()),
        message: Some(event.message.chars().take(1024).collect()),
        source: Some(source.clone()),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        count: Some(1),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        ..CoreEvent::default()
    };
    api.create(&PostParams::default(), &body).await?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Event {
        about("web", message)
    }

    fn about(service: &str, message: &str) -> Event {
        let about = About::service(&ServiceKey::new("default", service), Some("5ca1ab1e"));
        Event { about, warning: false, reason: "IPAllocated", message: message.into() }
    }

    #[test]
    fn the_same_event_counts_up_within_ten_minutes_and_is_written_anew_after_that() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        assert_eq!(memory.step(&event("a"), start), Step::Create);
        memory.written(&event("a"), "web.1".to_owned(), start);
        let count = |count| Step::Count { name: "web.1".to_owned(), count };
        assert_eq!(memory.step(&event("a"), start), count(2));
        memory.written(&event("a"), "web.1".to_owned(), start);
        assert_eq!(memory.step(&event("a"), start), count(3));
        assert_eq!(memory.step(&event("b"), start), Step::Create);
        assert_eq!(memory.step(&event("a"), start + AGGREGATION_INTERVAL), Step::Create);
    }

    #[test]
    fn one_object_gets_a_burst_of_events_and_then_one_every_five_minutes() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        let mut allowed = |at| (0..100).filter(|_| budget.allows(&event("a").about, at)).count();
        assert_eq!(allowed(start), 25);
        assert_eq!(allowed(start + REFILL_INTERVAL), 1);
        assert!(budget.allows(&about("other", "a").about, start), "each object has its own");
    }

    #[test]
    fn what_an_object_says_too_much_is_not_in_the_way_of_others() {
        let events = Events { shared: Arc::default() };
        events.publish(about("other", "first"));
        for number in 0..2 * QUEUE {
            events.publish(event(&number.to_string()));
        }
        assert_eq!(events.shared.take(), Some(about("other", "first")));
        assert_eq!(std::iter::from_fn(|| events.shared.take()).count(), 25);
    }

    #[test]
    fn what_is_said_of_many_waits_once() {
        let events = Events { shared: Arc::default() };
        events.publish(about("a", "no endpoint"));
        events.publish(about("b", "no endpoint"));
        let (a, b) = (events.shared.take().unwrap(), events.shared.take().unwrap());
        assert!(Arc::ptr_eq(&a.message, &b.message));
    }

    #[test]
    fn a_service_is_named_as_the_api_has_it() {
        let reference = event("a").about.reference();
        let expected = serde_json::json!({"apiVersion": "v1", "kind": "Service", "namespace": "default", "name": "web",
            "uid": "5ca1ab1e"});
        assert_eq!(serde_json::to_value(reference).unwrap(), expected);
    }

    #[test]
    fn what_is_held_back_waits_and_when_too_much_waits_the_oldest_is_dropped() {
        let events = Events { shared: Arc::default() };
        events.hold(true);
        for number in 0..=QUEUE {
            events.publish(about(&number.to_string(), "a"));
        }
        assert_eq!(events.shared.take(), None);
        events.hold(false);
        assert_eq!(events.shared.take(), Some(about("1", "a")));
    }
}
