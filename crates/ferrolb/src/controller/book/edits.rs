//! Addresses that somebody else wrote into a Service's status while we lead (spec §4.8, decision 80).
//!
//! What can be had is adopted, as a start would adopt it; anything else is put back, and both are said. What our own
//! writes bring back is no edit: while one is under way nothing is taken for one.

use std::net::IpAddr;
use std::sync::Arc;

use ferrolb_rules::alloc::quoted;
use ferrolb_rules::config::Config;
use ferrolb_rules::names::ServiceKey;
use ferrolb_rules::reason::{Code, Finding, Severity};
use ferrolb_rules::service::{self, View, converge, status_ips};

use super::{Book, Said};
use crate::controller::wanted::Wanted;

impl Book {
    /// Whether others wrote other addresses there than there were, and than there shall be.
    pub(super) fn is_edit(&self, key: &ServiceKey, old: &dyn View, new: &dyn View) -> bool {
        let written = addresses_of(new);
        let held = self.allocator.allocation(key).map(|held| held.addresses.as_slice()).unwrap_or_default();
        self.config.is_some() && !written.is_empty() && written != addresses_of(old) && written != held
    }

    /// Looks at what others wrote. Returns the Services concerned.
    pub(super) fn look_at_edits(&mut self, config: &Arc<Config>) -> Vec<ServiceKey> {
        let edited: Vec<ServiceKey> = std::mem::take(&mut self.edited).into_iter().collect();
        for key in &edited {
            self.dirty.remove(key);
            if let Some(service) = self.services.get(key).cloned() {
                self.look_at_edit(key, &*service, config);
            }
        }
        edited
    }

    fn look_at_edit(&mut self, key: &ServiceKey, service: &dyn View, config: &Arc<Config>) {
        let before = self.allocator.allocation(key).cloned();
        let outcome = converge(service, &mut self.allocator, Some(config), &self.options);
        let written = addresses_of(service);
        let adopted = outcome.addresses == written;
        let Some(held) = before.filter(|_| !adopted) else {
            self.freed |= outcome.frees || adopted;
            self.note(key, outcome, service);
            if adopted {
                self.put_back.remove(key);
                let message = format!("Assigned IP {}: somebody wrote it into the status", quoted(&written));
                let event = service::Event { warning: false, reason: "IPAllocated", message };
                self.said.push(Said { service: key.clone(), event });
            }
            return;
        };
        // A slip of somebody's pen takes no running address away.
        let cause = outcome.notes.into_iter().next();
        let wanted = Wanted { addresses: held.addresses.clone(), pool: Some(held.pool.clone()), ..Wanted::default() };
        let ahead = wanted.ahead(service);
        let outcome = converge(&ahead, &mut self.allocator, Some(config), &self.options);
        let kept = outcome.addresses == held.addresses;
        self.note(key, outcome, &ahead);
        if kept && self.put_back.insert(key.clone(), written.clone()).as_ref() != Some(&written) {
            let finding = cause.unwrap_or_else(|| asks_for_others(key));
            let Finding { code, message, fix, .. } = finding;
            let (written, held) = (quoted(&written), quoted(&held.addresses));
            let message =
                format!("somebody wrote {written} into its status, and it keeps {held}: {message}. {fix} ({code})");
            let event = service::Event { warning: true, reason: code.name(), message };
            self.said.push(Said { service: key.clone(), event });
        }
    }
}

fn asks_for_others(key: &ServiceKey) -> Finding {
    let message = "the Service does not ask for that, or may not have it";
    Finding::new(Code::AddressNotAllowed, Severity::Warning, format!("Service/{key}"), message)
        .with_fix("ask for an address by the annotation metallb.io/loadBalancerIPs")
}

fn addresses_of(service: &dyn View) -> Vec<IpAddr> {
    status_ips(service).filter_map(|ip| ip.parse().ok()).collect()
}
