//! Who announced what, when: read off the Events on Services that speakers write, upstream's included. The API server
//! keeps them for an hour.
//!
//! An Event that happened again was only counted up, so of each the first and the last time are known. What a speaker says
//! of a failover (`TookOver`) is told with the turn that it belongs to.

use std::cmp::Reverse;
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::k8s::events::TOOK_OVER;
use crate::state::Turn;

/// Upstream's reason for an Event that says which node announces.
const ASSIGNED: &str = "nodeAssigned";
/// Turns at most.
const TURNS: usize = 200;
/// How far apart the two Events of one failover may be: their times are whole seconds.
const APART: Duration = Duration::from_secs(3);

/// Reads it; none where Events may not be read.
///
/// # Errors
/// The API server does not answer.
pub(super) async fn read(client: &Client) -> anyhow::Result<Option<Vec<Turn>>> {
    let mut events = Vec::new();
    for reason in [ASSIGNED, TOOK_OVER] {
        let fields = format!("involvedObject.kind=Service,reason={reason}");
        match Api::<Event>::all(client.clone()).list(&ListParams::default().fields(&fields)).await {
            Ok(list) => events.extend(list.items),
            // Not everybody may; everything else is as it was.
            Err(kube::Error::Api(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(turns(&events)))
}

fn turns(events: &[Event]) -> Vec<Turn> {
    let of = |reason: &'static str| events.iter().filter(move |event| event.reason.as_deref() == Some(reason));
    let mut turns: Vec<(Timestamp, Turn)> = Vec::new();
    for event in of(ASSIGNED) {
        let Some((node, protocol)) = event.message.as_deref().and_then(announcing) else { continue };
        let times = [&event.first_timestamp, &event.last_timestamp].map(|time| time.as_ref().map(|time| time.0));
        let [first, last] = times;
        for at in first.into_iter().chain(last.filter(|_| first != last)) {
            let object = &event.involved_object;
            let (namespace, name) = (object.namespace.clone(), object.name.clone());
            let turn = Turn {
                at: at.to_string(),
                namespace: namespace.unwrap_or_default(),
                name: name.unwrap_or_default(),
                node: node.to_owned(),
                protocol: protocol.to_owned(),
                note: of(TOOK_OVER).find(|one| belongs(one, event, at)).and_then(|one| one.message.clone()),
            };
            turns.push((at, turn));
        }
    }
    turns.sort_by(|(one, turn), (other, another)| {
        let key = |turn: &Turn| (turn.namespace.clone(), turn.name.clone(), turn.node.clone());
        Reverse(one).cmp(&Reverse(other)).then_with(|| key(turn).cmp(&key(another)))
    });
    turns.truncate(TURNS);
    turns.into_iter().map(|(_, turn)| turn).collect()
}

/// The node and the protocol, from upstream's message.
fn announcing(message: &str) -> Option<(&str, &str)> {
    let (node, rest) = message.strip_prefix("announcing from node \"")?.split_once('"')?;
    Some((node, rest.strip_prefix(" with protocol \"")?.strip_suffix('"')?))
}

/// Whether a failover is the one by which a node came to announce a Service then.
fn belongs(took_over: &Event, assigned: &Event, at: Timestamp) -> bool {
    let about = |event: &Event| (event.involved_object.namespace.clone(), event.involved_object.name.clone());
    let host = |event: &Event| event.source.as_ref().and_then(|source| source.host.clone());
    let then = took_over.last_timestamp.as_ref().map(|time| time.0);
    about(took_over) == about(assigned)
        && host(took_over) == host(assigned)
        && then.is_some_and(|then| then.duration_since(at).unsigned_abs() <= APART)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{EventSource, ObjectReference};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn event(reason: &str, host: &str, message: &str, first: &str, last: &str) -> Event {
        let time = |text: &str| Some(Time(text.parse().unwrap()));
        Event {
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            source: Some(EventSource { host: Some(host.to_owned()), ..EventSource::default() }),
            involved_object: ObjectReference {
                namespace: Some("a".to_owned()),
                name: Some("web".to_owned()),
                ..ObjectReference::default()
            },
            first_timestamp: time(first),
            last_timestamp: time(last),
            ..Event::default()
        }
    }

    fn assigned(node: &str, first: &str, last: &str) -> Event {
        event(ASSIGNED, node, &format!("announcing from node \"{node}\" with protocol \"layer2\""), first, last)
    }

    #[test]
    fn turns_are_told_newest_first_and_what_happened_twice_has_two_times() {
        let events = [
            assigned("a", "2026-01-01T10:00:00Z", "2026-01-01T10:20:00Z"),
            assigned("b", "2026-01-01T10:10:00Z", "2026-01-01T10:10:00Z"),
            event(ASSIGNED, "c", "something else", "2026-01-01T10:30:00Z", "2026-01-01T10:30:00Z"),
        ];
        let told: Vec<(String, String)> = turns(&events).into_iter().map(|turn| (turn.at, turn.node)).collect();
        let expected = [("10:20", "a"), ("10:10", "b"), ("10:00", "a")];
        assert_eq!(told, expected.map(|(at, node)| (format!("2026-01-01T{at}:00Z"), node.to_owned())));
    }

    #[test]
    fn a_failover_is_told_with_the_turn_that_it_belongs_to() {
        let events = [
            assigned("a", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
            assigned("b", "2026-01-01T10:10:00Z", "2026-01-01T10:10:00Z"),
            event(TOOK_OVER, "b", "taken over from a", "2026-01-01T10:10:01Z", "2026-01-01T10:10:01Z"),
        ];
        let told: Vec<Option<String>> = turns(&events).into_iter().map(|turn| turn.note).collect();
        assert_eq!(told, [Some("taken over from a".to_owned()), None]);
    }
}
