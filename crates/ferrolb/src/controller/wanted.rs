//! What a Service's status shall be, and whether it is (spec §4.3 step 15, decision D16).
//!
//! Only what is ours is compared: the addresses in their order, our annotation, our two conditions. What the API server
//! or somebody else adds to an entry (`ipMode`, `ports`) is kept and never a difference (quirk Q-13).

use std::net::IpAddr;

use ferrolb_rules::annotations::{self, ALLOCATED_FROM};
use ferrolb_rules::reason::Finding;
use ferrolb_rules::service::View;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

/// Whether the Service has what it asks for.
pub const ALLOCATED: &str = "metallb.io/Allocated";
/// Whether somebody announces it.
pub const ANNOUNCED: &str = "metallb.io/Announced";

/// What a condition shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `True` rather than `False`.
    pub(super) holds: bool,
    /// The reason, CamelCase.
    pub(super) reason: &'static str,
    /// For people; with the code in front where there is one.
    pub(super) message: String,
}

impl Verdict {
    /// It holds.
    pub(super) fn yes(reason: &'static str, message: String) -> Self {
        Self { holds: true, reason, message }
    }

    /// It does not, for this reason.
    pub(super) fn no(finding: &Finding) -> Self {
        let message = format!("{}: {}. Fix: {}", finding.code, finding.message, finding.fix);
        Self { holds: false, reason: finding.code.name(), message }
    }

    /// It holds, and there is something to know.
    pub(super) fn yes_but(message: &str, finding: &Finding) -> Self {
        let message = format!("{}: {message}; {}. Fix: {}", finding.code, finding.message, finding.fix);
        Self { holds: true, reason: finding.code.name(), message }
    }

    /// Whether a condition says this already.
    pub(super) fn is_said_by(&self, condition: &Condition) -> bool {
        condition.status == self.status() && condition.reason == self.reason && condition.message == self.message
    }

    fn status(&self) -> &'static str {
        if self.holds { "True" } else { "False" }
    }

    /// Puts it among conditions; the time of transition changes only where the status does. Returns whether anything
    /// changed.
    pub(super) fn put(
        &self,
        type_: &str,
        conditions: &mut Vec<Condition>,
        generation: Option<i64>,
        now: Timestamp,
    ) -> bool {
        let at = conditions.iter().position(|condition| condition.type_ == type_);
        let old = at.and_then(|at| conditions.get(at));
        if old.is_some_and(|old| self.is_said_by(old) && old.observed_generation == generation) {
            return false;
        }
        let since = old.filter(|old| old.status == self.status()).map(|old| old.last_transition_time.clone());
        let condition = Condition {
            type_: type_.to_owned(),
            status: self.status().to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            last_transition_time: since.unwrap_or(Time(now)),
            observed_generation: generation,
        };
        match at.and_then(|at| conditions.get_mut(at)) {
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
        true
    }
}

/// What a Service's status shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its addresses, in order.
    pub(super) addresses: Vec<IpAddr>,
    /// Their pool.
    pub(super) pool: Option<String>,
    /// Condition [`ALLOCATED`]; none: it shall not stand there.
    pub(super) allocated: Option<Verdict>,
    /// Condition [`ANNOUNCED`].
    pub(super) announced: Announced,
}

/// What is known about an announcement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Announced {
    /// The condition shall not stand there.
    #[default]
    Absent,
    /// Too early to tell: what stands there stays.
    Unknown,
    /// It shall say this.
    Said(Verdict),
}

/// How far a Service's status is from what it shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distance {
    /// It is so.
    None,
    /// Only conditions differ.
    Conditions,
    /// Addresses or their pool differ.
    Addresses,
}

impl Wanted {
    /// How far the Service is from it.
    pub(super) fn distance(&self, service: &dyn View) -> Distance {
        let recorded = annotations::allocated_from(service);
        if recorded != self.pool.as_deref() && annotations::holder(service).is_none() {
            return Distance::Addresses;
        }
        let service = &*service.object();
        let ingress = ingress_of(service);
        let same = ingress.len() == self.addresses.len()
            && ingress.iter().zip(&self.addresses).all(|(entry, address)| is_of(entry, *address));
        if !same {
            return Distance::Addresses;
        }
        let conditions = service.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let said = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
        let agrees = |type_: &str, verdict: Option<&Verdict>| match (said(type_), verdict) {
            (None, None) => true,
            (Some(condition), Some(verdict)) => verdict.is_said_by(condition),
            _ => false,
        };
        let announced = match &self.announced {
            Announced::Unknown => true,
            Announced::Absent => agrees(ANNOUNCED, None),
            Announced::Said(verdict) => agrees(ANNOUNCED, Some(verdict)),
        };
        if agrees(ALLOCATED, self.allocated.as_ref()) && announced { Distance::None } else { Distance::Conditions }
    }

    /// This, with the words of a Service that has none yet left for later: where thousands of addresses wait, each is out
    /// sooner, and by the time that the words follow there are more of them to say.
    pub(super) fn without_first_words(self, service: &dyn View) -> Self {
        let object = service.object();
        let mut conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if conditions.any(|condition| [ALLOCATED, ANNOUNCED].contains(&condition.type_.as_str())) {
            return self;
        }
        Self { allocated: None, announced: Announced::Absent, ..self }
    }

    /// The metadata and status to write.
    pub(super) fn apply(&self, service: &dyn View, now: Timestamp) -> (ObjectMeta, ServiceStatus) {
        let service = service.object();
        let mut metadata = service.metadata.clone();
        self.annotate(&mut metadata);
        metadata.managed_fields = None;
        let mut status = service.status.clone().unwrap_or_default();
        let before = ingress_of(&service);
        let entry = |address: &IpAddr| {
            before.iter().find(|entry| is_of(entry, *address)).cloned().unwrap_or_else(|| LoadBalancerIngress {
                ip: Some(address.to_string()),
                ..LoadBalancerIngress::default()
            })
        };
        let ingress: Vec<LoadBalancerIngress> = self.addresses.iter().map(entry).collect();
        status.load_balancer = Some(LoadBalancerStatus { ingress: (!ingress.is_empty()).then_some(ingress) });
        let mut conditions = status.conditions.take().unwrap_or_default();
        place(ALLOCATED, self.allocated.as_ref(), &mut conditions, now);
        match &self.announced {
            Announced::Unknown => {}
            Announced::Absent => place(ANNOUNCED, None, &mut conditions, now),
            Announced::Said(verdict) => place(ANNOUNCED, Some(verdict), &mut conditions, now),
        }
        status.conditions = (!conditions.is_empty()).then_some(conditions);
        (metadata, status)
    }

    /// The Service as it will be once its addresses are written: what the rules must see meanwhile, so that an address
    /// on its way is never given to somebody else.
    pub(super) fn ahead(&self, service: &dyn View) -> Service {
        let mut ahead = service.object().into_owned();
        self.annotate(&mut ahead.metadata);
        let entry = |ip: &IpAddr| LoadBalancerIngress { ip: Some(ip.to_string()), ..LoadBalancerIngress::default() };
        let ingress = self.addresses.iter().map(entry).collect();
        ahead.status.get_or_insert_default().load_balancer = Some(LoadBalancerStatus { ingress: Some(ingress) });
        ahead
    }

    /// Writes the pool, unless another program holds the annotation (decision D13, LB2005).
    fn annotate(&self, metadata: &mut ObjectMeta) {
        if annotations::is_held(metadata) {
            return;
        }
        match &self.pool {
            Some(pool) => {
                metadata.annotations.get_or_insert_default().insert(ALLOCATED_FROM.to_owned(), pool.clone());
            }
            None => {
                if let Some(annotations) = &mut metadata.annotations {
                    annotations.remove(ALLOCATED_FROM);
                }
            }
        }
    }
}

fn place(type_: &str, verdict: Option<&Verdict>, conditions: &mut Vec<Condition>, now: Timestamp) {
    match verdict {
        Some(verdict) => {
            verdict.put(type_, conditions, None, now);
        }
        None => conditions.retain(|condition| condition.type_ != type_),
    }
}

fn ingress_of(service: &Service) -> &[LoadBalancerIngress] {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.as_deref()).unwrap_or_default()
}

fn is_of(entry: &LoadBalancerIngress, address: IpAddr) -> bool {
    entry.ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) == Some(address)
}
