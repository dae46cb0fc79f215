//! Somebody else who writes the addresses of the same Services (T12 and T25 of the user research).
//!
//! Two controllers that each put right what the other wrote keep the API server busy and the address in motion. So
//! whoever had to write one Service's addresses too often within a short time lets it rest, and says who the rival is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::Code;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::k8s::events::{About, Event, Events};
use crate::k8s::service_status::FIELD_MANAGER;

/// So many writes of one Service's addresses within [`INTERVAL`] are a fight.
const ROUNDS: usize = 6;
/// How long to count, and then to rest.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long a rival may take to write once more: while ours stands there, he is not among the managers.
const ANSWER_INTERVAL: Duration = Duration::from_secs(2);

/// Who was written how often.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// Since when, and how often since.
    writes: BTreeMap<ServiceKey, Writes>,
    swept_at: Option<Instant>,
    resting: BTreeMap<ServiceKey, Instant>,
}

/// The same addresses, written again and again.
#[derive(Debug)]
struct Writes {
    addresses: Vec<IpAddr>,
    since: Instant,
    count: usize,
}

impl Rivals {
    /// A Service's addresses were written. Returns whether it rests from now on. Other addresses than before are a
    /// decision of ours; only who has to write the same ones again and again has a rival.
    pub(super) fn wrote(&mut self, key: &ServiceKey, addresses: &[IpAddr], now: Instant) -> bool {
        // A start writes thousands, once each: they are forgotten together, once an interval.
        if self.swept_at.is_none_or(|swept| now.saturating_duration_since(swept) >= INTERVAL) {
            self.swept_at = Some(now);
            self.writes.retain(|_, writes| now.saturating_duration_since(writes.since) < INTERVAL);
        }
        let first = || Writes { addresses: addresses.to_vec(), since: now, count: 0 };
        let writes = self.writes.entry(key.clone()).or_insert_with(first);
        if now.saturating_duration_since(writes.since) >= INTERVAL || writes.addresses != addresses {
            *writes = first();
        }
        writes.count += 1;
        let fight = writes.count >= ROUNDS;
        if fight {
            // One more write after the rest, and it is one again.
            (writes.since, writes.count) = (now + INTERVAL, ROUNDS - 1);
            self.resting.insert(key.clone(), now + INTERVAL);
        }
        fight
    }

    /// A Service is gone. One that is made anew under the same name has done nothing yet.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.writes.remove(key);
        self.resting.remove(key);
    }

    /// Whether a Service is left alone for now.
    pub(super) fn rests(&self, key: &ServiceKey) -> bool {
        self.resting.contains_key(key)
    }

    /// Those that have rested long enough.
    pub(super) fn rested(&mut self, now: Instant) -> Vec<ServiceKey> {
        let over: Vec<ServiceKey> =
            self.resting.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        for key in &over {
            self.resting.remove(key);
        }
        over
    }

    /// When the next one has.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.resting.values().min().copied()
    }
}

/// Says on the Service who else writes it: whoever has written it once more after us.
pub(super) async fn tell(client: Client, events: Events, service: ServiceKey, about: About) {
    tokio::time::sleep(ANSWER_INTERVAL).await;
    let api = Api::<Service>::namespaced(client, &service.namespace);
    let this = ListParams::default().fields(&format!("metadata.name={}", service.name));
    let found = api.list_metadata(&this).await.ok().and_then(|list| list.items.into_iter().next());
    let rival = found.and_then(|service| rival_of(service.metadata.managed_fields.as_deref().unwrap_or_default()));
    let (code, who) = (Code::RivalWriter, rival.unwrap_or_else(|| "somebody else".to_owned()));
    let message = format!(
        "{who} replaces the addresses in its status again and again; it is written once a minute now. {} ({code})",
        code.explanation().fix
    );
    tracing::warn!(op = "setBalancer", %code, %service, "{message}");
    events.publish(Event { about, warning: true, reason: code.name(), message: message.into() });
}

/// The last one apart from us who wrote a load balancer's status.
fn rival_of(managed: &[ManagedFieldsEntry]) -> Option<String> {
    let writes = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().and_then(|fields| fields.0.get("f:status")?.get("f:loadBalancer"));
        fields.is_some() && entry.manager.as_deref() != Some(FIELD_MANAGER)
    };
    let last = managed.iter().filter(writes).max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    last.manager.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("default", name)
    }

    #[test]
    fn six_writes_within_a_minute_are_a_fight_and_after_a_rest_one_is() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let fights: Vec<bool> = (0..6).map(|second| rivals.wrote(&key("a"), &[ONE], at(second))).collect();
        assert_eq!(fights, [false, false, false, false, false, true]);
        assert!(rivals.rests(&key("a")) && !rivals.rests(&key("b")));
        assert_eq!(rivals.next_deadline(), Some(at(65)));
        assert_eq!((rivals.rested(at(64)), rivals.rested(at(65))), (vec![], vec![key("a")]));
        assert!(rivals.wrote(&key("a"), &[ONE], at(66)), "it goes on");
        rivals.rested(at(200));
        assert!(!rivals.wrote(&key("a"), &[ONE], at(300)), "it was over");
    }

    #[test]
    fn addresses_that_change_now_and_then_are_nobodys_fight() {
        let (mut rivals, start) = (Rivals::default(), Instant::now());
        assert!((0..20).all(|round| !rivals.wrote(&key("a"), &[ONE], start + Duration::from_secs(13 * round))));
        assert_eq!(rivals.next_deadline(), None);
    }

    #[test]
    fn a_service_that_is_made_anew_or_asks_for_other_addresses_has_no_rival() {
        let (mut rivals, now) = (Rivals::default(), Instant::now());
        for _ in 0..20 {
            assert!(!rivals.wrote(&key("a"), &[ONE], now));
            rivals.forget(&key("a"));
        }
        for round in 0..20 {
            let other = IpAddr::from([10, 0, 0, round]);
            assert!(!rivals.wrote(&key("b"), &[other], now));
        }
        assert!((0..6).any(|_| rivals.wrote(&key("a"), &[ONE], now)));
        rivals.forget(&key("a"));
        assert!(!rivals.rests(&key("a")), "who was deleted rests no longer");
    }

    #[test]
    fn the_rival_is_who_else_wrote_the_load_balancer_last() {
        let managed: Vec<ManagedFieldsEntry> = serde_json::from_value(serde_json::json!([
            {"manager": "kubectl", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {}}},
            {"manager": "old", "time": "2026-01-01T00:00:00Z", "subresource": "status", "fieldsV1": {"f:status": {"f:loadBalancer": {}}}},
            {"manager": "k3s", "time": "2026-01-02T00:00:00Z", "subresource": "status", "fieldsV1": {"f:status": {"f:loadBalancer": {}}}},
            {"manager": FIELD_MANAGER, "time": "2026-01-04T00:00:00Z", "subresource": "status", "fieldsV1": {"f:status": {"f:loadBalancer": {}}}},
        ]))
        .unwrap();
        assert_eq!(rival_of(&managed), Some("k3s".to_owned()));
        assert_eq!(rival_of(&managed[..1]), None);
    }
}
