//! What Services are told while the newest configuration does not load: who waits, for which object, and what to do.
//!
//! With an earlier configuration in force only words change. Without any, nothing is decided, and who has addresses is not
//! touched; but who has none is told why, since nobody looks at pools when a Service is pending.

use ferrolb_rules::annotations;
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::{Code, Finding};
use ferrolb_rules::service::{self, HeldUp, View, is_load_balancer, status_ips};

use super::{Book, Said};
use crate::controller::wanted::{Announced, Verdict, Wanted};

impl Book {
    /// What keeps the newest configuration from being in force, or that nothing does any more.
    pub(in crate::controller) fn hold_up(&mut self, held_up: Option<HeldUp>) {
        if self.options.held_up == held_up {
            return;
        }
        self.options.held_up = held_up;
        let waits = |finding: &Finding| matches!(finding.code, Code::UnknownPool | Code::NoPool);
        match &self.config {
            Some(_) => {
                let refused = self.refusals.iter().filter(|(_, refusal)| waits(refusal)).map(|(key, _)| key);
                let noted = self.notes.iter().filter(|(_, notes)| notes.iter().any(waits)).map(|(key, _)| key);
                self.dirty.extend(refused.chain(noted).cloned());
            }
            None => self.dirty.extend(self.services.keys().cloned()),
        }
    }

    /// What keeps the newest configuration from being in force.
    pub(in crate::controller) fn held_up(&self) -> Option<&HeldUp> {
        self.options.held_up.as_ref()
    }

    /// Refuses those that were looked at and have no address. Returns them.
    pub(super) fn refuse_for_want_of_configuration(&mut self) -> Vec<ServiceKey> {
        let Some(held_up) = self.options.held_up.clone() else { return Vec::new() };
        let mut refused = Vec::new();
        for key in std::mem::take(&mut self.dirty) {
            if !self.services.get(&key).is_some_and(|service| self.waits(&**service)) {
                continue;
            }
            let finding = held_up.finding(format!("Service/{key}"), "no configuration is in force");
            if self.refusals.insert(key.clone(), finding.clone()).as_ref() != Some(&finding) {
                let Finding { code, message, fix, .. } = finding;
                let message = format!("Failed to allocate IP for {:?}: {message}. {fix} ({code})", key.to_string());
                let event = service::Event { warning: true, reason: "AllocationFailed", message };
                self.said.push(Said { service: key.clone(), event });
            }
            refused.push(key);
        }
        refused
    }

    /// Only words, and only for those who have nothing.
    pub(super) fn wanted_without_configuration(&self, key: &ServiceKey, service: &dyn View) -> Option<Wanted> {
        let refusal = self.refusals.get(key).filter(|_| self.waits(service))?;
        Some(Wanted {
            addresses: Vec::new(),
            pool: annotations::allocated_from(service).map(str::to_owned),
            allocated: Some(Verdict::no(refusal)),
            announced: Announced::Unknown,
        })
    }

    fn waits(&self, service: &dyn View) -> bool {
        is_load_balancer(service) && self.options.handles(service) && status_ips(service).next().is_none()
    }
}
