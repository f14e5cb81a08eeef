use std::net::SocketAddr;
use std::sync::Arc;

use super::{Close, Conn, ConnKey, ListenerId, Outbox, Shard, State};
use crate::authn::Owner;
use crate::gate::{self, Admission, Step};
use crate::hub::{Cause, Opening, Session, SessionKey, Times};
use crate::telemetry::reason::RefusalReason;
use keygate_protocol::login::ExporterValue;
use keygate_protocol::mqtt::{self, DecodeError, Version};
use keygate_protocol::time::Millis;

pub(crate) use crate::gate::Handshake;

/// A connection on its way to the shard where its session lives: everything about it but the socket.
#[derive(Debug)]
pub struct Moving {
    number: u64,
    peer: SocketAddr,
    listener: ListenerId,
    admission: Admission,
    /// What the client sent behind its login.
    rest: Vec<u8>,
}

impl Moving {
    /// The connection as it stands on arrival: known, not yet in a session.
    pub(super) fn as_conn(&self, now: Millis) -> Conn {
        Conn {
            number: self.number,
            peer: self.peer,
            listener: self.listener,
            keep_alive_s: 0,
            heard_s: 0,
            state: State::Leaving { until: now },
            partial: Vec::new(),
        }
    }
}

impl Shard {
    /// Looks at the bytes of a connection that has not proved who it is, as far as they are whole packets.
    pub(super) fn login(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        loop {
            let Some(conn) = self.conns.get_mut(key) else {
                return;
            };
            let source = conn.source();
            let State::Handshake(handshake) = &mut conn.state else {
                return;
            };
            handshake.queued = false;
            let limit = u32::try_from(self.gate.limits.pre_auth_bytes).unwrap_or(u32::MAX);
            let frame = match mqtt::frame(&conn.partial, limit) {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => {
                    if error == DecodeError::PacketTooLarge {
                        self.gate.reached.pre_auth_bytes.add();
                    }
                    if let Some(version) = handshake.version() {
                        gate::refuse(version, error.reason_code(), out.to(key));
                    }
                    self.record_unproven(source.malformed(error, times), times, out);
                    return self.refuse(key, times, out);
                }
            };
            let taken = frame.len();
            let step = handshake.packet(
                &frame,
                &source,
                &self.gate,
                times,
                &mut *self.random,
                out.to(key),
            );
            conn.partial.drain(..taken);
            match step {
                Step::Wait => {
                    // The shell asks TLS before anything else is looked at.
                    if let Some(context) = handshake.pending().and_then(|p| p.exporter_context()) {
                        out.exports.push((key, *context));
                        if !conn.partial.is_empty() {
                            handshake.queued = true;
                            self.logins.push_back(key);
                        }
                        return;
                    }
                }
                Step::Admit(admission) => return self.admit(key, *admission, times, out),
                Step::Refuse(event) => {
                    self.record_unproven(*event, times, out);
                    return self.refuse(key, times, out);
                }
            }
        }
    }

    /// Takes what the exporter of a TLS connection said, in answer to [`Outbox::exports`].
    pub fn exported(&mut self, key: ConnKey, value: Option<ExporterValue>) {
        let pending = match self.conns.get_mut(key).map(|conn| &mut conn.state) {
            Some(State::Handshake(handshake)) => handshake.pending(),
            Some(State::Open(session)) => self
                .hub
                .session_mut(*session)
                .and_then(|open| open.reauthentication.as_deref_mut()),
            Some(State::Relayed(session)) => self.relays.as_mut().and_then(|r| r.pending(*session)),
            Some(State::Upstream(_) | State::Leaving { .. }) | None => None,
        };
        if let Some(pending) = pending {
            pending.exported(value);
        }
    }

    /// The peer is known: its session lives here or elsewhere.
    fn admit(&mut self, key: ConnKey, admission: Admission, times: Times, out: &mut Outbox) {
        let home = self.hub.home(&admission.accepted.client_id);
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let rest = std::mem::take(&mut conn.partial);
        if home == self.id {
            return self.open(key, admission, &rest, times, out);
        }
        let moving = Moving {
            number: conn.number,
            peer: conn.peer,
            listener: conn.listener,
            admission,
            rest,
        };
        self.remove(key, out);
        out.moves.push((home, key, Box::new(moving)));
    }

    /// A connection has arrived from the shard on which it logged in.
    pub(super) fn arrive(&mut self, key: ConnKey, moving: Moving, times: Times, out: &mut Outbox) {
        if self.stopping {
            return self.refuse_arrival(key, times, out);
        }
        self.open(key, moving.admission, &moving.rest, times, out);
    }

    /// Nothing comes of this login; its peer has been told as much as it may know.
    pub(super) fn refuse(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        self.hub.tally.logins_refused += 1;
        self.leave(key, times, out);
    }

    fn refuse_arrival(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        self.leave(key, times, out);
    }

    /// Opens the session: authorises the will, takes over, answers CONNACK, goes on with what came behind the login.
    fn open(
        &mut self,
        key: ConnKey,
        admission: Admission,
        rest: &[u8],
        times: Times,
        out: &mut Outbox,
    ) {
        let Admission {
            connect: raw,
            mut accepted,
        } = admission;
        let Some(connect) = gate::decode_connect(&raw) else {
            return self.refuse(key, times, out);
        };
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let source = conn.source();
        // On the way from another shard, word of a revocation may have overtaken the connection.
        if accepted.principal.revision != self.gate.directory.revision() {
            match self.gate.authn.recheck(&accepted.principal, times.wall) {
                Ok(principal) => accepted.principal = principal,
                Err(refusal) => {
                    out.events
                        .push(source.login_refused(&connect, &refusal, times));
                    gate::refuse(connect.version, refusal.code, out.to(key));
                    return self.refuse(key, times, out);
                }
            }
        }
        if self.relays.is_some() {
            return self.open_relay(key, &connect, accepted, rest, times, out);
        }
        let proof = accepted.auth_data;
        let assigned = accepted.assigned;
        let terms = gate::Terms::of(&connect, &self.gate.limits);
        let id = Arc::clone(&accepted.principal.device.id);
        let opening = match gate::opening(&connect, accepted, key, &self.gate, times) {
            Ok(opening) => opening,
            Err(refused) => {
                if let Some((topic, denied)) = refused {
                    out.events
                        .push(source.will_denied(&connect, &id, topic, &denied, times));
                }
                gate::refuse(
                    connect.version,
                    mqtt::ReasonCode::NotAuthorized,
                    out.to(key),
                );
                return self.refuse(key, times, out);
            }
        };
        if let Err(reason) = self.check_place(&opening) {
            let (event, code) = source.session_refused(&connect, &id, reason, times);
            out.events.push(event);
            gate::refuse(connect.version, code, out.to(key));
            return self.refuse(key, times, out);
        }
        let mut opened = gate::Opened {
            session_present: false,
            session_expiry_s_capped: terms.session_expiry_capped(),
            keep_alive_s: terms.keep_alive_changed(),
            assigned_client_id: assigned.then_some(&*opening.client_id),
            proof: proof.as_ref().map(|proof| &proof.as_bytes()[..]),
        };
        if !gate::fits(&connect, &opened, &self.gate.limits) {
            let error = DecodeError::PacketTooLarge;
            out.events.push(source.malformed(error, times));
            gate::refuse(connect.version, error.reason_code(), out.to(key));
            return self.refuse(key, times, out);
        }
        let owner = opening.principal.owner();
        let client_id = Arc::clone(&opening.client_id);
        let existing = self.take_over(&client_id, &owner, connect.clean_start, times, out);
        opened.session_present = existing.is_some();
        if opened.session_expiry_s_capped.is_some() {
            self.gate.reached.session_expiry_max_s.add();
        }
        if opened.keep_alive_s.is_some() {
            self.gate.reached.keep_alive_max_s.add();
        }
        gate::accept(&connect, &opened, &self.gate.limits, out.to(key));
        let session = match existing {
            Some(existing) => {
                self.hub.resume(existing, opening, out);
                existing
            }
            None => self.hub.open(opening),
        };
        self.hub.tally.logins_accepted += 1;
        if let Some(open) = self.hub.session(session) {
            out.events.push(source.login_accepted(open, times));
        }
        self.settle(key, session, terms.keep_alive_s, times);
        if !rest.is_empty() {
            self.session_bytes(key, session, rest, times, out);
        }
    }

    /// Whether there is a place for this session: its name is not somebody else's, and its identity has not too many.
    fn check_place(&self, opening: &Opening) -> Result<(), RefusalReason> {
        let owner = opening.principal.owner();
        let limits = &self.gate.limits;
        if let Some(existing) = self.hub.session_of(&opening.client_id) {
            let theirs = self.hub.session(existing).map(|s| s.principal.owner());
            // Who proved the name takes it from who only used it, before the device was enrolled.
            let proved = |id: &Arc<str>| opening.client_id.split('/').next() == Some(&**id);
            let same = theirs.as_ref() == Some(&owner)
                || (matches!(theirs, Some(Owner::Anonymous(_)))
                    && owner.identity().is_some_and(proved));
            return match same {
                true => Ok(()),
                false => Err(RefusalReason::SessionNotOwn),
            };
        }
        if opening.expiry_s > 0 && self.hub.is_disk_full() {
            return Err(RefusalReason::StoreFull);
        }
        if self.hub.len() >= limits.sessions {
            self.gate.reached.sessions.add();
            return Err(RefusalReason::SessionsFull);
        }
        let of_identity = owner
            .identity()
            .map_or(0, |id| self.hub.sessions_of_identity(id).len());
        if of_identity >= limits.sessions_per_identity {
            self.gate.reached.sessions_per_identity.add();
            return Err(RefusalReason::SessionsFull);
        }
        Ok(())
    }

    /// Ends the connection that this client id has, and its session if the client wants a clean start. Gives the
    /// session that goes on.
    fn take_over(
        &mut self,
        client_id: &str,
        owner: &Owner,
        clean_start: bool,
        times: Times,
        out: &mut Outbox,
    ) -> Option<SessionKey> {
        let existing = self.hub.session_of(client_id)?;
        self.end_session(existing, Cause::TakenOver, times, out);
        let existing = self.hub.session_of(client_id)?;
        let same = |session: &Session| session.principal.owner() == *owner;
        if clean_start || !self.hub.session(existing).is_some_and(same) {
            self.hub.close(existing, &Cause::Replaced, times, out);
            return None;
        }
        Some(existing)
    }

    fn settle(&mut self, key: ConnKey, session: SessionKey, keep_alive_s: u16, times: Times) {
        self.prove(key, State::Open(session));
        if let Some(conn) = self.conns.get_mut(key) {
            conn.keep_alive_s = keep_alive_s;
            conn.heard(times.now);
        }
        self.watch(key, session, times);
    }

    /// The connection has proved who it is, and goes on like this.
    pub(super) fn prove(&mut self, key: ConnKey, state: State) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if matches!(conn.state, State::Handshake(_)) {
            self.unproven_count -= 1;
        }
        conn.state = state;
        conn.partial = Vec::new();
    }

    /// More bytes came than a login takes.
    pub(super) fn refuse_flood(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        self.gate.reached.pre_auth_bytes.add();
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let source = conn.source();
        if let State::Handshake(handshake) = &conn.state
            && let Some(version) = handshake.version()
        {
            gate::refuse(version, mqtt::ReasonCode::PacketTooLarge, out.to(key));
        }
        self.record_unproven(source.flood(times), times, out);
        self.refuse(key, times, out);
    }

    /// The login took too long.
    pub(super) fn time_out(&mut self, key: ConnKey, times: Times, out: &mut Outbox) {
        self.gate.reached.handshake_ms.add();
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let source = conn.source();
        let State::Handshake(handshake) = &conn.state else {
            return;
        };
        let event = handshake.timed_out(&source, times);
        let version = handshake.version();
        self.record_unproven(event, times, out);
        if let Some(version @ Version::V5) = version {
            gate::refuse(version, mqtt::ReasonCode::NotAuthorized, out.to(key));
            return self.refuse(key, times, out);
        }
        self.hub.tally.logins_refused += 1;
        self.remove(key, out);
        out.close(key, Close::Now);
    }
}
