//! Opening: connections that come about, OPEN against configuration, and which of two connections stays.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::connection::{Connection, Phase};
use super::report::{Negotiated, Output, Reason, Unannounced};
use super::{ConnectionId, Endpoints, Session};
use crate::bgp::adj_out::AdjOut;
use crate::bgp::wire::notification::{Cease, Notification};
use crate::bgp::wire::open::{Capabilities, GracefulRestart, Open};
use crate::bgp::wire::update::Class;
use crate::bgp::{Asn, Families, Family, Kind};

impl Session {
    /// The OPEN that we send.
    fn our_open(&self) -> Open {
        let config = &self.config;
        let restart = config.graceful_restart.map(|time| GracefulRestart {
            restarted: self.restarting_until_at.is_some(),
            notification: true,
            time: u16::try_from(time.as_secs().min(0x0fff)).unwrap_or(0x0fff),
            families: config.families,
            // The kernel forwards, whether we run or not.
            forwarding: config.families,
        });
        let capabilities = Capabilities {
            families: Some(config.families),
            refresh: true,
            extended_next_hop: config.extended_next_hop,
            extended_message: config.extended_message,
            graceful_restart: restart,
            four_octet: Some(config.local_asn),
            enhanced_refresh: true,
            host_name: Some(config.host_name.clone()).filter(|name| !name.is_empty()),
            ..Capabilities::default()
        };
        Open {
            asn: config.local_asn,
            hold_time: config.hold_time(),
            router_id: config.router_id,
            capabilities: if self.bare { Capabilities::default() } else { capabilities },
        }
    }

    /// A connection has come about: our OPEN goes out at once.
    pub(super) fn open(&mut self, now: Instant, id: ConnectionId, endpoints: Endpoints) {
        self.connections.push(Connection::new(id, endpoints, now));
        self.counters.opens_sent += 1;
        let open = self.our_open().emit();
        self.send(now, id, open);
    }

    pub(super) fn on_accepted(&mut self, now: Instant, id: ConnectionId, endpoints: Endpoints) {
        let keeps_routes =
            self.established().map(|held| held.negotiated.as_ref().is_some_and(Negotiated::keeps_routes));
        if !self.enabled || !self.config.posture.listens() || keeps_routes == Some(false) {
            self.counters.notifications_sent += 1;
            let bytes = Notification::cease(Cease::ConnectionRejected).emit();
            self.outputs.extend([Output::Send(id, bytes), Output::Close(id)]);
            return;
        }
        // The router has given up an earlier one, or would not connect again.
        let stale =
            |held: &Connection| matches!(held.id, ConnectionId::Accepted(_)) && held.phase != Phase::Established;
        for stale in self.ids_where(stale) {
            self.end(now, stale, Notification::cease(Cease::ConnectionCollision), false);
        }
        self.open(now, id, endpoints);
    }

    pub(super) fn on_open(&mut self, now: Instant, id: ConnectionId, body: &[u8]) {
        self.counters.opens_received += 1;
        let agreed = Open::parse(body).and_then(|open| self.agree(&open));
        let agreed = match agreed {
            Ok(agreed) => agreed,
            Err(notification) => return self.end(now, id, notification, false),
        };
        let stays = self.resolve_collision(now, id, agreed.remote_id, agreed.remote_asn);
        let Some(connection) = self.connection_mut(id).filter(|_| stays) else { return };
        connection.negotiated = Some(agreed);
        connection.phase = Phase::OpenConfirm;
        connection.touch(now);
        self.send_keepalive(now, id);
        self.schedule_keepalive(now, id);
    }

    /// What both ends can do, if the router is the right one.
    fn agree(&self, open: &Open) -> Result<Negotiated, Notification> {
        let (config, ours, theirs) = (&self.config, self.our_open().capabilities, &open.capabilities);
        if !config.remote.admits(open.asn, config.local_asn) {
            return Err(Notification::new(2, 2));
        }
        let kind = if open.asn == config.local_asn { Kind::Internal } else { Kind::External };
        if kind == Kind::Internal && open.router_id == config.router_id {
            return Err(Notification::new(2, 3));
        }
        let hold_interval = Duration::from_secs(u64::from(config.hold_time().min(open.hold_time)));
        let families = |capabilities: &Capabilities| capabilities.families.unwrap_or(Families::V4);
        Ok(Negotiated {
            remote_asn: open.asn,
            remote_id: open.router_id,
            kind,
            hold_interval,
            keepalive_interval: config.keepalive(hold_interval),
            families: families(&ours).and(families(theirs)).and(config.families),
            four_octet: ours.four_octet.is_some() && theirs.four_octet.is_some(),
            refresh: ours.refresh && theirs.refresh,
            enhanced_refresh: ours.enhanced_refresh && theirs.enhanced_refresh,
            extended_message: ours.extended_message && theirs.extended_message,
            extended_next_hop: ours.extended_next_hop && theirs.extended_next_hop,
            remote_restart: theirs.graceful_restart,
            local_restart: ours.graceful_restart.is_some(),
            host_name: theirs.host_name.clone(),
            other_capabilities: theirs.unknown.clone(),
        })
    }

    /// Whether the connection whose OPEN came in stays. What has to yield is ended (RFC 4271 §6.8).
    fn resolve_collision(&mut self, now: Instant, id: ConnectionId, remote_id: Ipv4Addr, remote_asn: Asn) -> bool {
        let other = |held: &Connection| held.id != id && held.phase != Phase::OpenSent;
        let Some(held) = self.connections.iter().find(|held| other(held)) else { return true };
        let held_id = held.id;
        if held.phase == Phase::Established {
            // Only a router that restarts comes twice, and its first connection is dead (RFC 4724 §4.2).
            let restarted = held.negotiated.as_ref().is_some_and(Negotiated::keeps_routes);
            if restarted {
                self.outputs.push_back(Output::Close(held_id));
                self.drop_connection(now, held_id, Reason::Replaced);
            } else {
                self.yield_connection(now, id);
            }
            return restarted;
        }
        let ours_wins = (self.config.router_id, self.config.local_asn) > (remote_id, remote_asn);
        let dialed = |id: ConnectionId| matches!(id, ConnectionId::Dialed(_));
        let stays = dialed(id) == ours_wins || dialed(id) == dialed(held_id);
        self.yield_connection(now, if stays { held_id } else { id });
        stays
    }

    fn yield_connection(&mut self, now: Instant, id: ConnectionId) {
        self.counters.notifications_sent += 1;
        self.send(now, id, Notification::cease(Cease::ConnectionCollision).emit());
        self.outputs.push_back(Output::Close(id));
        self.drop_connection(now, id, Reason::Collision);
    }

    /// The router has accepted our OPEN: routes can go out.
    pub(super) fn establish(&mut self, now: Instant, id: ConnectionId) {
        self.counters.keepalives_received += 1;
        self.abort_dial();
        for other in self.ids_where(|held| held.id != id) {
            self.yield_connection(now, other);
        }
        let asn = self.config.local_asn;
        let Some(connection) = self.connection_mut(id) else { return };
        let Some(agreed) = connection.negotiated.clone() else { return };
        let class = class(asn, &agreed, &connection.endpoints, connection.max_len());
        connection.phase = Phase::Established;
        connection.established_at = Some(now);
        connection.class = Some(class);
        self.bare = false;
        self.restarting_until_at = None;
        self.counters.established += 1;
        let marked = if agreed.remote_restart.is_some() { agreed.families } else { Families::NONE };
        self.adj_out = AdjOut::start(marked);
        let missing = self.config.families.iter().filter_map(|family| match class.next_hop(family) {
            Some(_) => None,
            None if agreed.families.contains(family) => Some(Unannounced::NoNextHop(family)),
            None => Some(Unannounced::NotAgreed(family)),
        });
        self.outputs.push_back(Output::Established(Box::new(agreed.clone())));
        self.outputs.extend(missing.map(Output::Unannounced));
        self.replan();
    }
}

/// What all UPDATEs of the session have in common.
pub(super) fn class(asn: Asn, agreed: &Negotiated, endpoints: &Endpoints, max_len: usize) -> Class {
    let next_hop = |family: Family| {
        let carried = agreed.families.contains(family);
        let next_hop = endpoints.next_hops.choose(family, endpoints.local, agreed.extended_next_hop);
        next_hop.filter(|_| carried)
    };
    Class {
        kind: agreed.kind,
        asn,
        four_octet: agreed.four_octet,
        v4: next_hop(Family::V4),
        v6: next_hop(Family::V6),
        max_len,
    }
}
