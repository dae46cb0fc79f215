//! One TCP connection: messages in, bytes out, its timers and its end.

use std::mem;
use std::time::{Duration, Instant};

use super::report::{Negotiated, Output, Reason};
use super::{ConnectionId, Endpoints, STABLE_INTERVAL, Session};
use crate::bgp::adj_out::AdjOut;
use crate::bgp::wire::notification::Notification;
use crate::bgp::wire::update::Class;
use crate::bgp::wire::{EXTENDED_MAX_LEN, Inbox, MAX_LEN, MessageType, keepalive};

/// How long the router may take to send its OPEN (RFC 4271 §8.2.2).
const OPEN_INTERVAL: Duration = Duration::from_secs(240);
/// How long nothing may be sent; twice the hold time where that is more (RFC 9687 §4).
const SEND_HOLD: Duration = Duration::from_secs(480);

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    OpenSent,
    OpenConfirm,
    Established,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) endpoints: Endpoints,
    pub(super) phase: Phase,
    inbox: Inbox,
    /// Bytes given out that the socket has not taken.
    pub(super) unsent: usize,
    pub(super) negotiated: Option<Negotiated>,
    pub(super) class: Option<Class>,
    hold_at: Option<Instant>,
    keepalive_at: Option<Instant>,
    send_hold_at: Option<Instant>,
    pub(super) established_at: Option<Instant>,
    /// Prefixes announced to us on this connection: IPv4, IPv6.
    pub(super) received: [u32; 2],
}

impl Connection {
    pub(super) fn new(id: ConnectionId, endpoints: Endpoints, now: Instant) -> Self {
        Self {
            id,
            endpoints,
            phase: Phase::OpenSent,
            inbox: Inbox::default(),
            unsent: 0,
            negotiated: None,
            class: None,
            hold_at: Some(now + OPEN_INTERVAL),
            keepalive_at: None,
            send_hold_at: None,
            established_at: None,
            received: [0; 2],
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.hold_at, self.keepalive_at, self.send_hold_at].into_iter().flatten().min()
    }

    /// The longest message either way.
    pub(super) fn max_len(&self) -> usize {
        let extended = self.negotiated.as_ref().is_some_and(|agreed| agreed.extended_message);
        if extended { EXTENDED_MAX_LEN } else { MAX_LEN }
    }

    fn hold_interval(&self) -> Duration {
        self.negotiated.as_ref().map_or(Duration::ZERO, |agreed| agreed.hold_interval)
    }

    fn keepalive_interval(&self) -> Duration {
        self.negotiated.as_ref().map_or(Duration::ZERO, |agreed| agreed.keepalive_interval)
    }

    /// The router has been heard. Without a hold time it still has to finish opening.
    pub(super) fn touch(&mut self, now: Instant) {
        let hold = self.hold_interval();
        if !hold.is_zero() {
            self.hold_at = Some(now + hold);
        } else if self.phase == Phase::Established {
            self.hold_at = None;
        }
    }
}

impl Session {
    /// Gives out bytes of one or more whole messages.
    pub(super) fn send(&mut self, now: Instant, id: ConnectionId, bytes: Vec<u8>) {
        if let Some(connection) = self.connection_mut(id) {
            connection.unsent += bytes.len();
            let interval = SEND_HOLD.max(connection.hold_interval() * 2);
            connection.send_hold_at.get_or_insert(now + interval);
            self.outputs.push_back(Output::Send(id, bytes));
        }
    }

    pub(super) fn on_sent(&mut self, now: Instant, id: ConnectionId, count: usize) {
        if let Some(connection) = self.connection_mut(id) {
            connection.unsent = connection.unsent.saturating_sub(count);
            let interval = SEND_HOLD.max(connection.hold_interval() * 2);
            if connection.unsent == 0 {
                connection.send_hold_at = None;
            } else if count > 0 {
                connection.send_hold_at = Some(now + interval);
            }
        }
    }

    pub(super) fn on_bytes(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connection_mut(id) else { return };
        let mut inbox = mem::take(&mut connection.inbox);
        let mut chunk = bytes;
        while let Some(max) = self.connection(id).map(Connection::max_len) {
            match inbox.next(&mut chunk, max) {
                Ok(Some(message)) => self.on_message(now, id, message, inbox.body()),
                Ok(None) => break,
                Err(notification) => self.end(now, id, notification, false),
            }
        }
        if let Some(connection) = self.connection_mut(id) {
            connection.inbox = inbox;
        }
    }

    fn on_message(&mut self, now: Instant, id: ConnectionId, message: MessageType, body: &[u8]) {
        let Some(phase) = self.connection(id).map(|connection| connection.phase) else { return };
        match (phase, message) {
            (_, MessageType::Notification) => self.on_notification(now, id, Notification::parse(body)),
            (Phase::OpenSent, MessageType::Open) => self.on_open(now, id, body),
            (Phase::OpenConfirm, MessageType::Keepalive) => self.establish(now, id),
            (Phase::Established, MessageType::Keepalive) => self.counters.keepalives_received += 1,
            (Phase::Established, MessageType::Update) => self.on_update(now, id, body),
            (Phase::Established, MessageType::RouteRefresh) => self.on_refresh(now, id, body),
            (phase, message) => {
                let subcode = match phase {
                    Phase::OpenSent => 1,
                    Phase::OpenConfirm => 2,
                    Phase::Established => 3,
                };
                self.end(now, id, Notification::with_data(5, subcode, vec![message as u8]), false);
            }
        }
        if let Some(connection) = self.connection_mut(id).filter(|connection| connection.phase > Phase::OpenSent) {
            connection.touch(now);
        }
    }

    /// A NOTIFICATION is never answered.
    fn on_notification(&mut self, now: Instant, id: ConnectionId, notification: Notification) {
        self.counters.notifications_received += 1;
        self.bare = !self.bare && (notification.code, notification.subcode) == (2, 4);
        self.outputs.push_back(Output::Close(id));
        self.drop_connection(now, id, Reason::Received(notification));
    }

    pub(super) fn on_timers(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(connection.send_hold_at) {
            self.outputs.push_back(Output::Abort(id));
            self.drop_connection(now, id, Reason::Sent(Notification::SEND_HOLD_TIMER));
        } else if is_due(connection.hold_at) {
            self.end(now, id, Notification::HOLD_TIMER, false);
        } else if is_due(connection.keepalive_at) {
            // What waits for the socket tells the router as much; a stuck one must not pile up more.
            if connection.unsent == 0 {
                self.send_keepalive(now, id);
            }
            self.schedule_keepalive(now, id);
        }
    }

    pub(super) fn send_keepalive(&mut self, now: Instant, id: ConnectionId) {
        self.counters.keepalives_sent += 1;
        self.send(now, id, keepalive());
    }

    pub(super) fn schedule_keepalive(&mut self, now: Instant, id: ConnectionId) {
        let interval = self.connection(id).map_or(Duration::ZERO, Connection::keepalive_interval);
        let pause = self.jittered(interval);
        if let Some(connection) = self.connection_mut(id) {
            connection.keepalive_at = (!interval.is_zero()).then(|| now + pause);
        }
    }

    /// Timers of a new configuration that can change while the session runs.
    pub(super) fn retime(&mut self, now: Instant) {
        let config = self.config.clone();
        for connection in &mut self.connections {
            let Some(agreed) = &mut connection.negotiated else { continue };
            let interval = config.keepalive(agreed.hold_interval);
            if interval != agreed.keepalive_interval {
                agreed.keepalive_interval = interval;
                connection.keepalive_at = (!interval.is_zero()).then_some(now);
            }
        }
    }

    /// Ends a connection with a NOTIFICATION. `hard`: a router with the N-bit is not to keep our routes.
    pub(super) fn end(&mut self, now: Instant, id: ConnectionId, notification: Notification, hard: bool) {
        let Some(connection) = self.connection(id) else { return };
        let survived = connection.negotiated.as_ref().is_some_and(Negotiated::keeps_routes_after_notification);
        let notification = if hard && survived { notification.hard() } else { notification };
        self.counters.notifications_sent += 1;
        self.send(now, id, notification.emit());
        self.outputs.push_back(Output::Close(id));
        self.drop_connection(now, id, Reason::Sent(notification));
    }

    /// A connection is gone. The next one is tried after a pause, unless another is left.
    pub(super) fn drop_connection(&mut self, now: Instant, id: ConnectionId, reason: Reason) {
        let Some(at) = self.connections.iter().position(|connection| connection.id == id) else { return };
        let connection = self.connections.remove(at);
        let was_established = connection.phase == Phase::Established;
        if was_established {
            self.adj_out = AdjOut::default();
            self.counters.dropped += 1;
            if connection.established_at.is_some_and(|at| now.saturating_duration_since(at) >= STABLE_INTERVAL) {
                self.failures = 0;
            }
        }
        if was_established || reason != Reason::Collision {
            let pause = self.pause_after(&reason);
            self.tell_down(reason, was_established);
            self.schedule_dial(now, pause);
        }
    }
}
