//! Established: what comes in is skimmed, counted and dropped; routes go out while there is room; a drain takes its course.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::connection::Phase;
use super::opening::class;
use super::report::{Output, Unannounced};
use super::{ConnectionId, Session, WINDOW};
use crate::bgp::wire::notification::{Cease, Notification};
use crate::bgp::wire::skim::Terms;
use crate::bgp::wire::{Refresh, Skimmed, Verdict, parse_refresh, skim};
use crate::bgp::{Attributes, Family, NextHops, Routes};

/// About so many bytes go out at once.
const CHUNK: usize = 64 * 1024;
/// Between two words about malformed UPDATEs.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// How far a drain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Draining {
    No,
    /// Routers are asked to prefer other ways.
    Shutting {
        until: Instant,
        cease: Cease,
        text: String,
    },
    /// Everything is withdrawn.
    Withdrawing {
        cease: Cease,
        text: String,
    },
}

impl Draining {
    pub(super) const fn until_at(&self) -> Option<Instant> {
        match self {
            Self::Shutting { until, .. } => Some(*until),
            Self::No | Self::Withdrawing { .. } => None,
        }
    }
}

impl Session {
    pub(super) fn on_update(&mut self, now: Instant, id: ConnectionId, body: &[u8]) {
        self.counters.updates_received += 1;
        let Some(connection) = self.connection_mut(id) else { return };
        let Some(agreed) = &connection.negotiated else { return };
        let terms = Terms { kind: agreed.kind, four_octet: agreed.four_octet, families: agreed.families };
        let skimmed = skim(body, &terms);
        for (sum, count) in connection.received.iter_mut().zip(skimmed.announced) {
            *sum = sum.saturating_add(count);
        }
        let received = connection.received;
        self.count(now, &skimmed);
        if let Verdict::Reset(notification) = skimmed.verdict {
            self.end(now, id, notification, false);
        } else if let Some(limit) = self.config.receive_limit {
            let over = Family::ALL.into_iter().zip(received).find(|(_, count)| *count > limit);
            if let Some((family, _)) = over {
                self.end(now, id, too_many(family, limit), false);
            }
        }
    }

    fn count(&mut self, now: Instant, skimmed: &Skimmed) {
        let counters = &mut self.counters;
        for (sum, count) in counters.prefixes_received.iter_mut().zip(skimmed.announced) {
            *sum += u64::from(count);
        }
        for (sum, count) in counters.prefixes_withdrawn.iter_mut().zip(skimmed.withdrawn) {
            *sum += u64::from(count);
        }
        match skimmed.verdict {
            Verdict::Discard(_) => counters.attributes_discarded += 1,
            Verdict::TreatAsWithdraw(_) => counters.treated_as_withdraw += 1,
            Verdict::Fine | Verdict::Reset(_) => return,
        }
        if self.complain_at.is_none_or(|at| at <= now) {
            self.complain_at = Some(now + COMPLAINT_INTERVAL);
            self.outputs.push_back(Output::Malformed(skimmed.verdict.clone()));
        }
    }

    pub(super) fn on_refresh(&mut self, now: Instant, id: ConnectionId, body: &[u8]) {
        self.counters.refreshes_received += 1;
        let Some(agreed) = self.connection(id).and_then(|connection| connection.negotiated.as_ref()) else { return };
        let (enhanced, families) = (agreed.enhanced_refresh, agreed.families);
        match parse_refresh(body, enhanced) {
            Ok(Some((family, Refresh::Request))) if families.contains(family) => {
                self.adj_out.refresh(family, enhanced);
                self.replan();
            }
            Ok(_) => {}
            Err(notification) => self.end(now, id, notification, false),
        }
    }

    pub(super) fn set_routes(&mut self, routes: Arc<Routes>) {
        self.desired = Some(routes);
        self.replan();
    }

    /// Routes whose next hop is another now are announced again; those that have none any more are withdrawn.
    pub(super) fn set_next_hops(&mut self, next_hops: NextHops) {
        let asn = self.config.local_asn;
        let Some(connection) = self.connections.iter_mut().find(|held| held.phase == Phase::Established) else {
            return;
        };
        connection.endpoints.next_hops = next_hops;
        let (Some(agreed), Some(old)) = (&connection.negotiated, connection.class) else { return };
        let class = class(asn, agreed, &connection.endpoints, connection.max_len());
        connection.class = Some(class);
        for family in agreed.families.iter() {
            if old.next_hop(family) != class.next_hop(family) {
                self.adj_out.refresh(family, false);
            }
            if class.next_hop(family).is_none() {
                self.outputs.push_back(Output::Unannounced(Unannounced::NoNextHop(family)));
            }
        }
        self.replan();
    }

    /// Computes what is left to be told, after any change of what is desired or known.
    pub(super) fn replan(&mut self) {
        let Some(class) = self.established().and_then(|connection| connection.class) else { return };
        let Some(desired) = &self.desired else { return };
        match &self.draining {
            Draining::No => self.adj_out.plan(desired, class.families()),
            Draining::Shutting { .. } => self.adj_out.plan(&shut(desired), class.families()),
            Draining::Withdrawing { .. } => self.adj_out.plan(&Routes::new(), class.families()),
        }
    }

    /// Makes UPDATEs while the socket keeps up.
    pub(super) fn pump(&mut self, now: Instant) {
        while self.desired.is_some() {
            let Some(connection) = self.established() else { return };
            let Some(class) = connection.class else { return };
            let (id, unsent) = (connection.id, connection.unsent);
            let mut bytes = Vec::new();
            let mut too_large = 0;
            while bytes.len() + class.max_len <= CHUNK && unsent + bytes.len() + class.max_len <= WINDOW {
                let Some(put) = self.adj_out.put_next(&mut bytes, &class) else { break };
                too_large += put.too_large;
                if put.refresh {
                    self.counters.refreshes_sent += 1;
                } else if put.too_large == 0 {
                    self.counters.updates_sent += 1;
                }
            }
            if too_large > 0 {
                self.outputs.push_back(Output::Unannounced(Unannounced::TooLarge(too_large)));
            }
            if bytes.is_empty() {
                return;
            }
            self.send(now, id, bytes);
        }
    }

    /// Where the router was told nothing, there is nothing to wait for.
    pub(super) fn drain(&mut self, now: Instant, interval: Duration, cease: Cease, text: &str) {
        let text = text.to_owned();
        let has_routes = self.established().is_some() && !self.adj_out.is_untouched();
        self.draining = if has_routes {
            Draining::Shutting { until: now + interval, cease, text }
        } else {
            Draining::Withdrawing { cease, text }
        };
        self.replan();
    }

    pub(super) fn progress_drain(&mut self, now: Instant) {
        if let Draining::Shutting { until, cease, text } = &self.draining
            && *until <= now
        {
            self.draining = Draining::Withdrawing { cease: *cease, text: text.clone() };
            self.replan();
        }
    }

    /// Ends the session once every withdrawal is with the socket, or there is none to tell.
    pub(super) fn finish_drain(&mut self, now: Instant) {
        let Draining::Withdrawing { cease, text } = &self.draining else { return };
        let busy = |unsent: usize| unsent > 0 || (self.desired.is_some() && self.adj_out.left() > 0);
        if self.connections.iter().any(|held| held.phase == Phase::Established && busy(held.unsent)) {
            return;
        }
        let farewell = Notification::cease_saying(*cease, text);
        // Nothing is left to be kept, so it need not be hard; routers show the text of a plain one only.
        self.disable();
        for id in self.ids_where(|_| true) {
            self.end(now, id, farewell.clone(), false);
        }
        self.outputs.push_back(Output::Drained);
    }
}

/// "More than so many" (RFC 4486 §4).
fn too_many(family: Family, limit: u32) -> Notification {
    let mut data = family.afi().to_be_bytes().to_vec();
    data.push(1);
    data.extend_from_slice(&limit.to_be_bytes());
    Notification::with_data(6, Cease::MaximumPrefixes as u8, data)
}

/// Every route as it is announced while the node is being emptied. Equal attributes stay shared.
fn shut(routes: &Routes) -> Routes {
    let mut sets: BTreeMap<&Arc<Attributes>, Arc<Attributes>> = BTreeMap::new();
    let shut = |(prefix, set): (&IpNet, _)| {
        let draining = sets.entry(set).or_insert_with(|| Arc::new(Attributes::draining(set)));
        (*prefix, Arc::clone(draining))
    };
    routes.iter().map(shut).collect()
}
