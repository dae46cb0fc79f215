//! Who leads: a coordination.k8s.io Lease (decision D17).
//!
//! A lease cannot fence: nobody takes a write back that is on its way. So everything is reckoned to the safe side. A
//! holder counts its time from *before* it asked for it; a rival counts from when it *saw* the record change, on its own
//! clock, so that clocks need not agree; and whoever writes as leader gives each write less time than is left.
//!
//! [`DURATION`] is 8 s, renewed every 2 s: three renewals may fail before the lead is lost, and after a crash a successor
//! waits 8 s at most. Mostly it waits less: who stops in order gives the lease back, a container that is restarted in its
//! pod has the same identity, and a record that was not renewed for [`LONG_DEAD`] is nobody's any more. Where answers take
//! long the holder asks for a longer lease ([`lasting`]), or an API server that takes 5 s for an answer would leave no time
//! to write anything. Renewing is one request as long as nobody else touches the record.

use std::time::{Duration, Instant};

use ferrolb_rules::reason::Code;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;

/// How long a lead lasts without being renewed, where answers come as they should.
pub const DURATION: Duration = Duration::from_secs(8);
/// How long it lasts at most.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a look at the lease, or an attempt to write it, may take.
const STEP_LIMIT: Duration = Duration::from_secs(15);
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A record this old belongs to nobody, however wrong a clock is.
const LONG_DEAD: Duration = Duration::from_secs(60);

/// Our lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// It certainly lasts until then.
    pub until: Instant,
    /// Counts how often the lease went from hand to hand: another number means that somebody else may have led.
    pub term: i32,
}

impl Lead {
    /// How long a write may take that begins now; none if the time is too short to begin one.
    pub fn time_left(&self, now: Instant) -> Option<Duration> {
        let margin = Duration::from_millis(500);
        self.until.checked_duration_since(now)?.checked_sub(margin).filter(|left| *left >= margin)
    }
}

/// What a candidate knows of the lease.
#[derive(Clone, Debug, Default)]
struct Sight {
    record: Option<(Option<String>, Option<MicroTime>)>,
    since: Option<Instant>,
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is ours: renew it.
    Renew,
    /// It is free: take it.
    Take,
    /// Somebody else has it.
    Wait,
}

impl Sight {
    /// Looks at the record.
    fn judge(&mut self, spec: &LeaseSpec, own: &str, now: Instant, clock: Timestamp) -> Step {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() {
            return Step::Take;
        }
        if holder == own {
            return Step::Renew;
        }
        let record = (spec.holder_identity.clone(), spec.renew_time.clone());
        if self.record.as_ref() != Some(&record) {
            self.record = Some(record);
            self.since = Some(now);
        }
        let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        let duration = Duration::from_secs(duration).max(Duration::from_secs(1));
        let age = spec.renew_time.as_ref().map(|time| clock.duration_since(time.0));
        let long_dead = age.is_none_or(|age| age > (LONG_DEAD + duration).try_into().unwrap_or_default());
        let silent = self.since.is_some_and(|since| now.saturating_duration_since(since) > duration);
        if long_dead || silent { Step::Take } else { Step::Wait }
    }
}

/// Stands for election until it is told to stop, then gives the lease back.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: &'static str,
    identity: String,
    sight: Sight,
    lead: watch::Sender<Option<Lead>>,
    /// The lease as we stored it last, until somebody else is known to have touched it.
    stored: Option<Lease>,
    /// How long the last answer took.
    answered_after: Duration,
}

/// How long a lease is asked for where an answer takes this long: four answers.
fn lasting(answered_after: Duration) -> Duration {
    answered_after.saturating_mul(4).clamp(DURATION, LONGEST)
}

impl Candidate {
    /// A candidate for the lease of this name, and where to see whether it leads.
    pub fn new(
        client: &Client,
        namespace: &str,
        name: &'static str,
        identity: String,
    ) -> (Self, watch::Receiver<Option<Lead>>) {
        let (lead, leads) = watch::channel(None);
        let api = Api::namespaced(client.clone(), namespace);
        let (sight, stored, answered_after) = (Sight::default(), None, Duration::ZERO);
        (Self { api, name, identity, sight, lead, stored, answered_after }, leads)
    }

    /// Runs until `stop` is true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            let began = Instant::now();
            let result = tokio::select! {
                result = tokio::time::timeout(STEP_LIMIT, self.step(began)) => result.map_err(anyhow::Error::from).flatten(),
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match result {
                Ok(lead) => {
                    if lead.map(|lead| lead.term) != self.lead.borrow().map(|lead| lead.term) {
                        let event = if lead.is_some() { "leading" } else { "following" };
                        tracing::info!(op = "lease", event, identity = self.identity, "{event}");
                    }
                    self.lead.send_replace(lead);
                    if std::mem::take(&mut failing) {
                        tracing::info!(op = "lease", "the lease can be written again");
                    }
                }
                Err(error) if !std::mem::replace(&mut failing, true) => complain(&error),
                Err(_) => {}
            }
            let leads = self.lead.borrow().is_some();
            let interval = if leads && !failing { RENEW_INTERVAL } else { LOOK_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep_until((began + interval).max(Instant::now() + Duration::from_millis(50)).into()) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        if self.lead.send_replace(None).is_some() {
            // The next one need not wait. If it cannot be told, it waits.
            let _ = tokio::time::timeout(Duration::from_millis(700), self.release()).await;
        }
    }

    /// Looks, and takes or renews. A conflict is no failure: somebody else was quicker.
    async fn step(&mut self, began: Instant) -> anyhow::Result<Option<Lead>> {
        if let Some(lease) = self.stored.take() {
            let term = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
            // Somebody has touched it since: look who.
            if let Some(lead) = self.store(lease, term, began).await? {
                return Ok(Some(lead));
            }
        }
        let found = self.api.get_opt(self.name).await?;
        let looked = Instant::now().max(began);
        self.answered_after = looked.duration_since(began);
        let Some(mut lease) = found else {
            return self.store(Lease::default(), 0, looked).await;
        };
        let spec = lease.spec.get_or_insert_default();
        let term = spec.lease_transitions.unwrap_or_default();
        let term = match self.sight.judge(spec, &self.identity, Instant::now(), Timestamp::now()) {
            Step::Wait => return Ok(None),
            Step::Renew => term,
            Step::Take => term.wrapping_add(1),
        };
        self.store(lease, term, looked).await
    }

    /// Writes the record: a new one if it has no version yet. None: somebody else was quicker.
    async fn store(&mut self, lease: Lease, term: i32, began: Instant) -> anyhow::Result<Option<Lead>> {
        let duration = lasting(self.answered_after);
        let lease = self.record(lease, term, duration);
        let result = match lease.metadata.resource_version {
            Some(_) => self.api.replace(self.name, &PostParams::default(), &lease).await,
            None => self.api.create(&PostParams::default(), &lease).await,
        };
        self.answered_after = began.elapsed();
        match result {
            Ok(stored) => {
                self.stored = Some(stored);
                Ok(Some(Lead { until: began + duration, term }))
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(None),
            // It is gone, and made anew when it is looked for.
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn record(&self, mut lease: Lease, term: i32, duration: Duration) -> Lease {
        lease.metadata.name = Some(self.name.to_owned());
        let now = MicroTime(Timestamp::now());
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).ok();
        spec.lease_transitions = Some(term);
        spec.renew_time = Some(now);
        lease
    }

    async fn release(&self) -> anyhow::Result<()> {
        let mut lease = self.api.get(self.name).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.api.replace(self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

/// Without the lease nobody leads, and no Service gets an address.
fn complain(error: &anyhow::Error) {
    let code = error.downcast_ref().map_or(Code::ApiServerAway, super::code_of_error);
    let (error, fix) = (format!("{error:#}"), code.explanation().fix);
    tracing::warn!(op = "lease", %code, error, "{code} Lease: it cannot be written, and no controller leads until it can be; it is tried again. Fix: {fix}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(holder: &str, renewed: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(8),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        }
    }

    fn clock(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_lease_given_back_is_taken_at_once_and_an_own_one_is_renewed() {
        let now = Instant::now();
        assert_eq!(Sight::default().judge(&record("", clock(0)), "me", now, clock(0)), Step::Take);
        assert_eq!(Sight::default().judge(&record("me", clock(0)), "me", now, clock(5)), Step::Renew);
    }

    #[test]
    fn a_rival_waits_for_the_whole_duration_by_its_own_clock_after_the_last_change_it_saw() {
        let (mut sight, start) = (Sight::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        // The holder's clock is half a minute ahead, and later half a minute behind.
        assert_eq!(sight.judge(&record("other", clock(30)), "me", at(0), clock(0)), Step::Wait);
        assert_eq!(sight.judge(&record("other", clock(30)), "me", at(7), clock(7)), Step::Wait);
        assert_eq!(sight.judge(&record("other", clock(-23)), "me", at(8), clock(8)), Step::Wait);
        assert_eq!(sight.judge(&record("other", clock(-23)), "me", at(16), clock(16)), Step::Wait);
        assert_eq!(sight.judge(&record("other", clock(-23)), "me", at(17), clock(17)), Step::Take);
    }

    #[test]
    fn a_lease_that_nobody_renewed_for_long_is_taken_at_first_sight() {
        let spec = record("other", clock(0));
        assert_eq!(Sight::default().judge(&spec, "me", Instant::now(), clock(69)), Step::Take);
        assert_eq!(Sight::default().judge(&spec, "me", Instant::now(), clock(60)), Step::Wait);
    }

    #[test]
    fn a_lease_is_asked_for_longer_where_answers_take_long() {
        for (answer, lasts) in [(0, 8), (1, 8), (5, 20), (60, 30)] {
            assert_eq!(lasting(Duration::from_secs(answer)), Duration::from_secs(lasts));
        }
        // Renewed every five seconds by an answer that takes as long, it leaves most of a write's time.
        let lead = Lead { until: Instant::now() + lasting(Duration::from_secs(5)), term: 1 };
        assert!(lead.time_left(Instant::now() + Duration::from_secs(10)).unwrap() > Duration::from_secs(5));
    }

    #[test]
    fn no_write_begins_in_the_last_second_and_every_write_ends_before_the_lead_does() {
        let now = Instant::now();
        let lead = |milliseconds| Lead { until: now + Duration::from_millis(milliseconds), term: 1 };
        assert_eq!(lead(8000).time_left(now), Some(Duration::from_millis(7500)));
        assert_eq!(lead(900).time_left(now), None);
        assert_eq!(lead(0).time_left(now + Duration::from_secs(1)), None);
    }
}
