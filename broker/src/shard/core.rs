use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::login::{Handshake, Moving};
use super::relay::{Relays, Upstream};
use super::wheel::Wheel;
use super::{Close, Conn, ConnKey, ListenerId, Mail, Outbox, ShardId, State};
use crate::gate::transport::TransportError;
use crate::gate::{self, Gate};
use crate::hub::{Cause, Hub, HubShared, SessionKey, Times};
use crate::limits::Reached;
use crate::rng::Random;
use crate::telemetry::figures::Shown;
use crate::telemetry::ration::{Ration, Rationed};
use crate::telemetry::{Event, Tally};
use keygate_protocol::mqtt;
use keygate_protocol::time::Millis;
use slotmap::SlotMap;

/// Handshake deadlines: 100 ms ticks.
const FINE_TICK_MS: u64 = 100;
const FINE_SLOTS: usize = 512;
/// Keep-alive and expiry: 1 s ticks. A later deadline comes out at the wheel's end and is put back.
const COARSE_TICK_MS: u64 = 1_000;
const COARSE_SLOTS: usize = 512;
/// The wall clock can jump: a session that expires by it is looked at this often.
const EXPIRY_CHECK_MS: u64 = 30_000;

/// What a turn takes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes came from the peer.
    Bytes(ConnKey, &'a [u8]),
    /// A proxy says who the peer is. Before any bytes.
    From(ConnKey, SocketAddr),
    /// The transport below MQTT cannot go on.
    Broken(ConnKey, TransportError),
    /// The peer closed, or the connection broke.
    Closed(ConnKey),
    /// Mail from another shard or from the admin thread.
    Mail(Mail),
}

/// Where a turn takes its inputs from: one after the other, so that one read buffer serves all connections.
pub trait Inputs {
    /// The next input, if there is one.
    fn next(&mut self) -> Option<Input<'_>>;
}

/// What a shard is made of.
pub struct ShardSetup {
    /// Which one it is.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// Who decides identity and rights.
    pub gate: Arc<Gate>,
    /// What all engines share.
    pub hub: Arc<HubShared>,
    /// The broker that sessions are relayed to; none if the hub is the engine.
    pub upstream: Option<Arc<Upstream>>,
    /// Nonces.
    pub random: Box<dyn Random>,
    /// When it starts.
    pub now: Millis,
}

/// One shard: connections, their handshakes, their sessions, their timers.
///
/// Give it connections with [`accept`](Self::accept) and [`adopt`](Self::adopt); run [`turn`](Self::turn) when there
/// are inputs, when [`next_deadline`](Self::next_deadline) has come, or at once while [`has_work`](Self::has_work).
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) gate: Arc<Gate>,
    pub(super) hub: Hub,
    /// Relayed sessions, if sessions are relayed.
    pub(super) relays: Option<Relays>,
    pub(super) conns: SlotMap<ConnKey, Conn>,
    pub(super) random: Box<dyn Random>,
    /// Connections that have not proved an identity, oldest first; those that have since are skipped.
    pub(super) unproven: VecDeque<ConnKey>,
    pub(super) unproven_count: usize,
    /// Unproven connections with bytes to look at.
    pub(super) logins: VecDeque<ConnKey>,
    /// Sessions with whole packets that wait until the log has room.
    pub(super) held: VecDeque<(ConnKey, SessionKey)>,
    /// Bytes held for packets of which only a part has come.
    pub(super) partial_bytes: usize,
    pub(super) fine: Wheel<ConnKey>,
    pub(super) coarse: Wheel<ConnKey>,
    due: Vec<ConnKey>,
    next_number: u64,
    pub(super) stopping: bool,
    /// How much peers that proved nothing may write into the audit trail.
    unproven_events: Ration,
    /// What other threads see of the tally, and what that was last.
    shown: Arc<Shown>,
    last_shown: Tally,
}

impl Shard {
    /// A shard without connections.
    #[must_use]
    pub fn new(setup: ShardSetup) -> Self {
        let ShardSetup {
            id,
            shards,
            gate,
            hub,
            upstream,
            random,
            now,
        } = setup;
        Self {
            id,
            gate,
            hub: Hub::new(id, shards, hub, now),
            relays: upstream.map(Relays::new),
            conns: SlotMap::with_key(),
            random,
            unproven: VecDeque::new(),
            unproven_count: 0,
            logins: VecDeque::new(),
            held: VecDeque::new(),
            partial_bytes: 0,
            fine: Wheel::new(FINE_SLOTS, FINE_TICK_MS, now),
            coarse: Wheel::new(COARSE_SLOTS, COARSE_TICK_MS, now),
            due: Vec::new(),
            next_number: 0,
            stopping: false,
            unproven_events: Ration::default(),
            shown: Arc::default(),
            last_shown: Tally::default(),
        }
    }

    /// Takes an accepted connection. `None` if this shard has as many as it may have: close it.
    pub fn accept(
        &mut self,
        peer: SocketAddr,
        listener: ListenerId,
        now: Millis,
        out: &mut Outbox,
    ) -> Option<ConnKey> {
        if self.stopping {
            return None;
        }
        if self.conns.len() >= self.gate.limits.connections {
            self.gate.reached.connections.add();
            return None;
        }
        // Those at the front that have proved themselves since need no place in the line any more.
        while self
            .unproven
            .front()
            .is_some_and(|&key| !self.is_unproven(key))
        {
            self.unproven.pop_front();
        }
        if self.unproven_count >= self.gate.limits.handshakes {
            self.gate.reached.handshakes.add();
            self.drop_oldest_unproven(out);
        }
        let number = (self.next_number << 16) | u64::from(self.id.0);
        self.next_number += 1;
        let deadline = now.plus(self.gate.limits.handshake_ms);
        let state = State::Handshake(Box::new(Handshake::new(deadline)));
        let key = self.conns.insert(Conn {
            number,
            peer,
            listener,
            keep_alive_s: 0,
            heard_s: 0,
            state,
            partial: Vec::new(),
        });
        self.unproven.push_back(key);
        self.unproven_count += 1;
        self.hub.tally.connections_total += 1;
        self.fine.insert(key, deadline);
        Some(key)
    }

    /// Makes room for a connection by ending the one that has been silent for longest. Says whether there was one.
    pub fn drop_oldest_unproven(&mut self, out: &mut Outbox) -> bool {
        while let Some(key) = self.unproven.pop_front() {
            if self.is_unproven(key) {
                self.remove(key, out);
                out.close(key, Close::Now);
                return true;
            }
        }
        false
    }

    fn is_unproven(&self, key: ConnKey) -> bool {
        matches!(
            self.conns.get(key),
            Some(Conn {
                state: State::Handshake(_),
                ..
            })
        )
    }

    /// Connections on this shard, those that are leaving included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Sessions on this shard.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.hub.len()
    }

    /// One turn: deadlines, inputs, logins, what the hub has to finish.
    pub fn turn(&mut self, times: Times, inputs: &mut dyn Inputs, out: &mut Outbox) {
        self.expire(times, out);
        self.go_on(times, out);
        let mut left = self.gate.limits.turn_events;
        while left > 0 {
            let Some(input) = inputs.next() else { break };
            left -= 1;
            let conn = match &input {
                Input::Bytes(conn, _)
                | Input::From(conn, _)
                | Input::Broken(conn, _)
                | Input::Closed(conn) => Some(*conn),
                Input::Mail(_) => None,
            };
            self.guarded(conn, times, out, |shard, out| {
                shard.input(input, times, out);
            });
        }
        if left == 0 {
            self.gate.reached.turn_events.add();
        }
        for _ in 0..self.gate.limits.turn_proofs {
            let Some(conn) = self.logins.pop_front() else {
                break;
            };
            self.guarded(Some(conn), times, out, |shard, out| {
                shard.login(conn, times, out);
            });
        }
        if !self.logins.is_empty() {
            self.gate.reached.turn_proofs.add();
        }
        self.guarded(None, times, out, |shard, out| {
            shard.relays_go_on(times, out);
        });
        let mut over = Vec::new();
        self.guarded(None, times, out, |shard, out| {
            over = shard.hub.end_turn(times, out);
            let losses = shard.hub.losses.drain(..);
            out.events
                .extend(losses.map(|loss| gate::undelivered(loss, times)));
        });
        for (session, cause) in over {
            self.end_session(session, cause, times, out);
        }
    }

    /// Shows other threads what was counted, if that has changed: for the shell, after each turn.
    pub fn show_figures(&mut self, out: &Outbox) {
        let counted = self.hub.tally;
        let sessions = self.hub.len() as u64;
        let relayed = self.relays.as_ref().map_or(0, Relays::len) as u64;
        let tally = Tally {
            // Ours to another broker are not counted.
            connections: (self.conns.len() as u64).saturating_sub(relayed),
            sessions_connected: counted.sessions_connected + relayed,
            sessions_absent: sessions.saturating_sub(counted.sessions_connected),
            bytes_out: out.written(),
            queued_bytes: self.hub.queued_bytes() as u64,
            ..counted
        };
        if tally != self.last_shown {
            self.shown.show(&tally);
            self.last_shown = tally;
        }
    }

    /// What this shard has counted, for other threads.
    #[must_use]
    pub fn figures(&self) -> &Arc<Shown> {
        &self.shown
    }

    /// When the next turn is due without any input.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let hub = self.hub.next_deadline();
        [self.fine.next_due(), self.coarse.next_due(), hub]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a turn without input would find something to do now.
    #[must_use]
    pub fn has_work(&self, out: &Outbox) -> bool {
        let goes_on = !self.held.is_empty() && self.hub.has_room();
        let most = self.gate.limits.relay_bytes;
        let relays = self.relays.as_ref();
        goes_on
            || !self.logins.is_empty()
            || self.hub.has_work(out)
            || relays.is_some_and(|relays| relays.has_work(out, most))
    }

    /// Whether publishers may be read: not while more waits for the disk than may.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.hub.has_room()
    }

    /// Whether something waits for the log: the shell has itself woken when more is durable.
    #[must_use]
    pub fn awaits_log(&self) -> bool {
        self.hub.awaits_log() || !self.held.is_empty()
    }

    /// The most that a shell may hand over of one connection in one turn.
    #[must_use]
    pub fn turn_bytes(&self) -> usize {
        self.gate.limits.turn_bytes
    }

    /// The most steps of TLS handshakes that a shell may take in one turn: each may cost a signature.
    #[must_use]
    pub fn handshake_limit(&self) -> usize {
        self.gate.limits.turn_handshakes
    }

    /// Bytes of a transport's own answers that may wait for a peer that does not read them.
    #[must_use]
    pub fn unread_limit(&self) -> usize {
        self.gate.limits.write_bytes
    }

    /// How often each bound was reached.
    #[must_use]
    pub fn reached(&self) -> &Arc<Reached> {
        &self.gate.reached
    }

    /// Takes the sessions that live here out of what the store has kept. Where several shards run side by side, all of
    /// them do this before the first of them reads: a publisher reaches only the subscriptions that are there.
    pub fn recover(&mut self, times: Times, out: &mut Outbox) {
        self.hub.recover(times, out);
    }

    /// The most mail that a shell may take in one turn: half of it, so that a flood from another shard leaves room for
    /// this one's own connections.
    #[must_use]
    pub fn mail_limit(&self) -> usize {
        self.gate.limits.turn_events.div_ceil(2)
    }

    /// The panic rule: a mistake of ours ends the connection whose event met it, is recorded, and harms no other.
    pub(super) fn guarded(
        &mut self,
        conn: Option<ConnKey>,
        times: Times,
        out: &mut Outbox,
        event: impl FnOnce(&mut Self, &mut Outbox),
    ) {
        if catch_unwind(AssertUnwindSafe(|| event(self, out))).is_ok() {
            return;
        }
        tracing::error!(
            shard = self.id.0,
            "a panic was caught; the connection that met it ends"
        );
        if let Some(conn) = conn {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                self.end(conn, Cause::Fault, times, out);
            }));
            if ended.is_err() {
                self.conns.remove(conn);
                out.close(conn, Close::Now);
            }
        }
    }

    fn input(&mut self, input: Input<'_>, times: Times, out: &mut Outbox) {
        match input {
            Input::Bytes(conn, bytes) => self.bytes(conn, bytes, times, out),
            Input::From(conn, peer) => {
                if let Some(conn) = self.conns.get_mut(conn) {
                    conn.peer = peer;
                }
            }
            Input::Broken(conn, error) => self.broken(conn, &error, times, out),
            Input::Closed(conn) => self.closed(conn, times, out),
            Input::Mail(Mail::Deliver(delivery)) => self.hub.deliver(delivery, times, out),
            Input::Mail(Mail::Share(mail)) => self.hub.share(mail, times, out),
            Input::Mail(Mail::Own(all)) => {
                for own in &*all {
                    self.hub.publish_own(own, times, out);
                }
            }
            Input::Mail(Mail::Recheck(ids)) => self.recheck(&ids, times, out),
            Input::Mail(Mail::Stop) => self.stop(times, out),
        }
    }

    fn bytes(&mut self, key: ConnKey, bytes: &[u8], times: Times, out: &mut Outbox) {
        self.hub.tally.bytes_in += bytes.len() as u64;
        if bytes.len() >= self.gate.limits.turn_bytes {
            self.gate.reached.turn_bytes.add();
        }
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        match &mut conn.state {
            State::Leaving { .. } => {}
            State::Handshake(handshake) => {
                // Whoever sends more than a login takes is cut off before it is looked at.
                let room = self
                    .gate
                    .limits
                    .pre_auth_bytes
                    .saturating_sub(conn.partial.len());
                let taken = bytes.len().min(room);
                conn.partial.extend_from_slice(&bytes[..taken]);
                if taken < bytes.len() {
                    self.refuse_flood(key, times, out);
                } else if !std::mem::replace(&mut handshake.queued, true) {
                    self.logins.push_back(key);
                }
            }
            State::Open(session) => {
                let session = *session;
                self.session_bytes(key, session, bytes, times, out);
            }
            State::Relayed(session) => {
                let session = *session;
                self.relay_client(session, bytes, times, out);
            }
            State::Upstream(session) => {
                let session = *session;
                self.relay_upstream(session, bytes, times, out);
            }
        }
    }

    /// TLS, WebSocket or the header of a proxy cannot go on: what there is to say of it is written below MQTT.
    fn broken(&mut self, key: ConnKey, error: &TransportError, times: Times, out: &mut Outbox) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let source = conn.source();
        match conn.state {
            State::Handshake(_) => {
                self.record_unproven(source.broken(error, None, times), times, out);
                self.refuse(key, times, out);
            }
            State::Open(session) => {
                if let Some(open) = self.hub.session(session) {
                    out.events.push(source.broken(error, Some(open), times));
                }
                self.close_session(session, &Cause::ConnectionLost, times, out);
                self.leave(key, times, out);
            }
            State::Relayed(session) => {
                self.record_unproven(source.broken(error, None, times), times, out);
                self.end_relay(session, Cause::ConnectionLost, times, out);
            }
            State::Upstream(_) | State::Leaving { .. } => self.closed(key, times, out),
        }
    }

    fn closed(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        match conn.state {
            State::Open(session) => {
                self.close_session(session, &Cause::ConnectionLost, times, out);
            }
            State::Relayed(session) | State::Upstream(session) => {
                self.relay_closed(session, key, times, out);
            }
            State::Handshake(_) | State::Leaving { .. } => {}
        }
        self.remove(key, out);
        out.close(key, Close::Now);
    }

    /// Ends a connection whatever it is doing: its session with its DISCONNECT, its handshake without a word.
    pub(super) fn end(&mut self, key: ConnKey, cause: Cause, times: Times, out: &mut Outbox) {
        match self.conns.get(key).map(|conn| &conn.state) {
            Some(State::Open(session)) => self.end_session(*session, cause, times, out),
            Some(State::Handshake(_)) => self.leave(key, times, out),
            Some(State::Relayed(session) | State::Upstream(session)) => {
                self.end_relay(*session, cause, times, out);
            }
            Some(State::Leaving { .. }) | None => {}
        }
    }

    /// Ends a session for a reason of ours: tells an MQTT 5 client, then closes.
    pub(super) fn end_session(
        &mut self,
        key: SessionKey,
        cause: Cause,
        times: Times,
        out: &mut Outbox,
    ) {
        let Some(session) = self.hub.session(key) else {
            return;
        };
        let conn = session.conn();
        if let Some(conn) = conn
            && session.version == mqtt::Version::V5
            && let Some(code) = cause.code()
        {
            gate::disconnect(code, out.to(conn));
        }
        self.close_session(key, &cause, times, out);
        if let Some(conn) = conn {
            self.leave(conn, times, out);
        }
    }

    /// Takes the session off its connection, and ends it unless it outlives that.
    pub(super) fn close_session(
        &mut self,
        key: SessionKey,
        cause: &Cause,
        times: Times,
        out: &mut Outbox,
    ) {
        let Some(session) = self.hub.session(key) else {
            return;
        };
        if let Some(conn) = session.conn().and_then(|conn| self.conns.get(conn)) {
            out.events.push(conn.source().ended(session, cause, times));
        }
        self.hub.detach(key, cause, times, out);
    }

    /// The connection has been told why: what is written goes out, then our half ends, then the peer's.
    pub(super) fn leave(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if matches!(conn.state, State::Handshake(_)) {
            self.unproven_count -= 1;
        }
        self.partial_bytes -= if matches!(conn.state, State::Open(_)) {
            conn.partial.len()
        } else {
            0
        };
        conn.partial = Vec::new();
        let until = times.now.plus(self.gate.limits.linger_ms);
        conn.state = State::Leaving { until };
        self.fine.insert(key, until);
        out.close(key, Close::Linger);
    }

    /// Records what a peer that proved nothing did, as far as such peers may fill the trail.
    pub(super) fn record_unproven(&mut self, event: Event, times: Times, out: &mut Outbox) {
        let per_s = self.gate.limits.unproven_events_s;
        let rationed = self.unproven_events.take(per_s, times.now);
        if rationed == Rationed::HoldBack {
            self.gate.reached.unproven_events_s.add();
        }
        out.record(event, rationed);
    }

    /// Forgets a connection.
    pub(super) fn remove(&mut self, key: ConnKey, out: &mut Outbox) {
        if let Some(conn) = self.conns.remove(key) {
            match conn.state {
                State::Handshake(_) => self.unproven_count -= 1,
                State::Open(_) => self.partial_bytes -= conn.partial.len(),
                State::Relayed(_) | State::Upstream(_) | State::Leaving { .. } => {}
            }
        }
        out.release(key);
    }

    fn expire(&mut self, times: Times, out: &mut Outbox) {
        let mut due = std::mem::take(&mut self.due);
        self.fine.advance(times.now, &mut due);
        self.coarse.advance(times.now, &mut due);
        for key in due.drain(..) {
            self.guarded(Some(key), times, out, |shard, out| {
                shard.check_deadline(key, times, out);
            });
        }
        self.due = due;
        self.guarded(None, times, out, |shard, out| {
            shard.hub.expire(times, out);
        });
    }

    fn check_deadline(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        match &conn.state {
            State::Handshake(handshake) if handshake.deadline <= times.now => {
                self.time_out(key, times, out);
            }
            State::Handshake(handshake) => self.fine.insert(key, handshake.deadline),
            State::Leaving { until } if *until <= times.now => {
                self.gate.reached.linger_ms.add();
                self.remove(key, out);
                out.close(key, Close::Now);
            }
            State::Leaving { until } => self.fine.insert(key, *until),
            State::Relayed(session) | State::Upstream(session) => {
                let session = *session;
                self.check_relay(session, key, times, out);
            }
            State::Open(session) => {
                let session = *session;
                let keep_alive = conn.keep_alive_deadline();
                let open = self.hub.session(session);
                let expired = open.filter(|open| open.principal.is_expired(times.wall));
                if keep_alive.is_some_and(|deadline| deadline <= times.now) && !self.hub.has_room()
                {
                    // What it says may lie unread while the disk is behind: it gets another period.
                    if let Some(conn) = self.conns.get_mut(key) {
                        conn.heard(times.now);
                    }
                    self.watch(key, session, times);
                } else if keep_alive.is_some_and(|deadline| deadline <= times.now) {
                    self.end_session(session, Cause::KeepAlive, times, out);
                } else if let Some(expired) = expired {
                    // Its key is still good: so it is the session that has lasted long enough.
                    if self
                        .gate
                        .authn
                        .recheck(&expired.principal, times.wall)
                        .is_ok()
                    {
                        self.gate.reached.session_s.add();
                    }
                    self.end_session(session, Cause::Expired, times, out);
                } else {
                    self.watch(key, session, times);
                }
            }
        }
    }

    /// Puts an open connection back into the wheel, if anything about it can come due.
    pub(super) fn watch(&mut self, key: ConnKey, session: SessionKey, times: Times) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let expiry = self
            .hub
            .session(session)
            .and_then(|session| session.principal.expires_at)
            .map(|at| {
                let left_ms = at.0.saturating_sub(times.wall.0).saturating_mul(1_000);
                times
                    .now
                    .plus(left_ms.clamp(COARSE_TICK_MS, EXPIRY_CHECK_MS))
            });
        if let Some(deadline) = [conn.keep_alive_deadline(), expiry]
            .into_iter()
            .flatten()
            .min()
        {
            self.coarse.insert(key, deadline);
        }
    }

    /// The broker stops: nothing is accepted any more, every session is told.
    fn stop(&mut self, times: Times, out: &mut Outbox) {
        self.stopping = true;
        self.end_relays(times, out);
        for session in self.hub.keys().collect::<Vec<_>>() {
            self.end_session(session, Cause::ShuttingDown, times, out);
        }
        for key in self.conns.keys().collect::<Vec<_>>() {
            self.end(key, Cause::ShuttingDown, times, out);
        }
    }

    /// Takes a connection that proved itself on another shard and lives here.
    pub fn adopt(&mut self, moving: Box<Moving>, times: Times, out: &mut Outbox) -> ConnKey {
        let key = self.conns.insert(moving.as_conn(times.now));
        let mut moving = Some(moving);
        self.guarded(Some(key), times, out, |shard, out| {
            if let Some(moving) = moving.take() {
                shard.arrive(key, *moving, times, out);
            }
        });
        key
    }
}
