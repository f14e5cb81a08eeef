use std::sync::Arc;

use super::{ConnKey, Outbox, Shard, State};
use crate::gate::{self, Established};
use crate::hub::{Cause, Rights, SessionKey, Standing, Times};
use keygate_protocol::mqtt::{self, DecodeError, Sender};

impl Shard {
    /// Bytes of an open session: whole packets are handled, the beginning of the next is kept.
    pub(super) fn session_bytes(
        &mut self,
        key: ConnKey,
        session: SessionKey,
        bytes: &[u8],
        times: Times,
        out: &mut Outbox,
    ) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if out.pending(key) > self.hub.unread_max() {
            // It asks and does not read the answers: nothing else bounds those.
            self.gate.reached.queue_bytes.add();
            return self.end_session(session, Cause::Quota, times, out);
        }
        if conn.partial.is_empty() {
            let taken = self.packets(key, session, bytes, times, out);
            self.keep(key, bytes.get(taken..).unwrap_or_default(), times, out);
            return;
        }
        let mut joined = std::mem::take(&mut conn.partial);
        self.partial_bytes -= joined.len();
        joined.extend_from_slice(bytes);
        let taken = self.packets(key, session, &joined, times, out);
        joined.drain(..taken);
        self.keep_owned(key, joined, times, out);
    }

    /// Goes on with what waited for the log to have room, in the order in which it came.
    pub(super) fn go_on(&mut self, times: Times, out: &mut Outbox) {
        for _ in 0..self.held.len() {
            if !self.hub.has_room() {
                return;
            }
            let Some((key, session)) = self.held.pop_front() else {
                return;
            };
            let open = self.conns.get(key).map(|conn| &conn.state);
            if matches!(open, Some(State::Open(now)) if *now == session) {
                self.guarded(Some(key), times, out, |shard, out| {
                    shard.session_bytes(key, session, &[], times, out);
                });
            }
        }
    }

    /// Handles the whole packets at the start of `bytes`; says how many bytes they had.
    fn packets(
        &mut self,
        key: ConnKey,
        session: SessionKey,
        bytes: &[u8],
        times: Times,
        out: &mut Outbox,
    ) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            // An earlier packet of the same bytes may have ended the session.
            let Some(version) = self.hub.session(session).map(|session| session.version) else {
                return bytes.len();
            };
            if !self.hub.has_room() {
                // One write can ask for more than the disk may be behind: the rest waits.
                self.held.push_back((key, session));
                return taken;
            }
            let packet = match mqtt::frame(rest, self.gate.limits.packet_bytes) {
                Ok(Some(frame)) => {
                    taken += frame.len();
                    // Only whole packets are a sign of life (MQTT 5 §3.1.2.10), not a byte of one now and then.
                    if let Some(conn) = self.conns.get_mut(key) {
                        conn.heard(times.now);
                    }
                    mqtt::decode(&frame, Sender::Client, version)
                }
                Ok(None) => return taken,
                Err(error) => Err(error),
            };
            let outcome = match &packet {
                Ok(packet) => self.packet(key, session, packet, times, out),
                Err(error) => Err(Cause::Malformed(*error)),
            };
            if let Err(cause) = outcome {
                if matches!(cause, Cause::Malformed(DecodeError::PacketTooLarge)) {
                    self.gate.reached.packet_bytes.add();
                }
                self.record_rule(key, session, &cause, times, out);
                match cause {
                    // Nobody is left to be told.
                    Cause::Disconnected { .. } => {
                        self.close_session(session, &cause, times, out);
                        self.leave(key, times, out);
                    }
                    cause => self.end_session(session, cause, times, out),
                }
                return bytes.len();
            }
        }
        taken
    }

    fn packet(
        &mut self,
        key: ConnKey,
        session: SessionKey,
        packet: &mqtt::Packet<'_>,
        times: Times,
        out: &mut Outbox,
    ) -> Result<(), Cause> {
        let Some(conn) = self.conns.get(key) else {
            return Ok(());
        };
        let source = conn.source();
        let mut established = Established {
            gate: &self.gate,
            hub: &mut self.hub,
            key: session,
            conn: key,
            source: &source,
            times,
            random: &mut *self.random,
        };
        gate::handle(&mut established, packet, out)
    }

    /// The rule that ended a session, if it was one.
    fn record_rule(
        &self,
        key: ConnKey,
        session: SessionKey,
        cause: &Cause,
        times: Times,
        out: &mut Outbox,
    ) {
        let (Some(conn), Some(session)) = (self.conns.get(key), self.hub.session(session)) else {
            return;
        };
        let source = conn.source();
        match cause {
            Cause::Malformed(error) => {
                out.events
                    .push(source.malformed_in_session(*error, session, times));
            }
            Cause::Protocol(code) => {
                out.events
                    .push(source.not_allowed_in_session(*code, session, times));
            }
            _ => {}
        }
    }

    /// Keeps the beginning of a packet until its rest comes.
    fn keep(&mut self, key: ConnKey, rest: &[u8], times: Times, out: &mut Outbox) {
        if !rest.is_empty() {
            self.keep_owned(key, rest.to_vec(), times, out);
        }
    }

    fn keep_owned(&mut self, key: ConnKey, rest: Vec<u8>, times: Times, out: &mut Outbox) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if rest.is_empty() || !matches!(conn.state, State::Open(_)) {
            return;
        }
        if self.partial_bytes + rest.len() > self.gate.limits.reassembly_bytes {
            self.gate.reached.reassembly_bytes.add();
            // Whoever sends large packets slowly while memory is short must come back later.
            return self.end(key, Cause::Quota, times, out);
        }
        self.partial_bytes += rest.len();
        conn.partial = rest;
    }

    /// These identities changed: whoever lost its standing is told and cut, whoever kept it is measured anew.
    pub(super) fn recheck(&mut self, ids: &[Arc<str>], times: Times, out: &mut Outbox) {
        self.recheck_relays(ids, times, out);
        for id in ids {
            let affected: Vec<SessionKey> = self.hub.sessions_of_identity(id);
            for key in affected {
                let Some(session) = self.hub.session(key) else {
                    continue;
                };
                match self.gate.standing(&session.principal, times.wall) {
                    Standing::Unchanged => {}
                    Standing::Over(cause) => self.end_session(key, cause, times, out),
                    Standing::Changed(principal) => self.hub.renew(key, *principal),
                }
            }
        }
    }
}
