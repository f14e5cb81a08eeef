//! Acknowledgements: those that clients send, and those that they wait for until the log is durable.
use super::flow::{Acknowledged, InFlight};
use super::share::Handover;
use super::{Cause, Delivery, Hub, Session, SessionKey, Times, wire};
use crate::log::{LogNumber, Op, QueueNumber};
use crate::shard::{ConnKey, Mail, Outbox};
use keygate_protocol::mqtt::{Ack, AckKind, PacketId, ReasonCode};

/// What waits until the log is durable so far.
#[derive(Debug)]
pub(super) enum Pending {
    /// The answer to a client's packet, on the connection that it came by: on a newer one the identifier may mean
    /// another message.
    Ack {
        session: SessionKey,
        conn: ConnKey,
        packet_id: PacketId,
        kind: AckKind,
        code: ReasonCode,
    },
    /// SUBACK or UNSUBACK, written already, for the connection that asked.
    Reply {
        session: SessionKey,
        conn: ConnKey,
        packet: Box<[u8]>,
    },
    /// A QoS 2 message: nobody hears it before it is sure that it will not come again as a new one.
    Deliver(Box<[Delivery]>),
    /// A message of a share group, once it is sure whose it is.
    Hand(Box<Handover>),
    /// A snapshot's next step.
    Revisit(SessionKey),
}

impl Hub {
    /// Answers a packet of the client with this code once the log is durable so far. Answers of a connection leave in
    /// the order in which its packets came (MQTT 5 §4.6), refusals among them.
    pub(crate) fn answer(
        &mut self,
        number: LogNumber,
        key: SessionKey,
        (kind, packet_id, code): (AckKind, PacketId, ReasonCode),
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let version = session.version;
        let Some(link) = session.link_mut() else {
            return;
        };
        if number == LogNumber::default() && link.pending_acks == 0 {
            let ack = Ack::new(packet_id, code);
            wire::put(out.to(link.conn), |wire| ack.encode(kind, version, wire));
            return;
        }
        if link.pending_acks > usize::from(self.shared.limits.receive_max).saturating_mul(2) {
            // It asks, and asks again, without waiting for answers that the disk holds up.
            self.shared.reached.receive_max.add();
            self.over.push((key, Cause::Quota));
            return;
        }
        link.pending_acks += 1;
        if kind == AckKind::Puback {
            link.unacknowledged += 1;
        }
        let pending = Pending::Ack {
            session: key,
            conn: link.conn,
            packet_id,
            kind,
            code,
        };
        self.wait(number, pending);
    }

    /// What an earlier connection of this shard's sessions still waits for: an answer that repeats one of those must not
    /// be given before it. Default if nothing is waited for.
    pub(crate) fn under_way(&self) -> LogNumber {
        self.pending
            .back()
            .map_or_else(LogNumber::default, |(number, _)| *number)
    }

    /// Answers a client that changed its subscriptions, once what it changed is durable: after a crash nothing would
    /// tell it that a subscription is not there.
    pub(crate) fn reply(&mut self, key: SessionKey, packet: Vec<u8>, out: &mut Outbox) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let Some(conn) = session.conn() else { return };
        let number = match session.stored {
            Some(_) => self.commit(),
            None => LogNumber::default(),
        };
        if number <= self.shared.log.durable() {
            out.to(conn).extend_from_slice(&packet);
            return;
        }
        let pending = Pending::Reply {
            session: key,
            conn,
            packet: packet.into(),
        };
        self.wait(number, pending);
    }

    /// Does this once the log is durable so far.
    pub(super) fn wait(&mut self, number: LogNumber, pending: Pending) {
        self.held_back += usize::from(matches!(pending, Pending::Deliver(_)));
        // Behind a later number is late enough for the whole shard's line to stay in order.
        let number = self
            .pending
            .back()
            .map_or(number, |(last, _)| number.max(*last));
        self.pending.push_back((number, pending));
    }

    /// Does what the log has made possible.
    pub(super) fn flush_pending(&mut self, times: Times, out: &mut Outbox) {
        if self.pending.is_empty() {
            return;
        }
        let durable = self.shared.log.durable();
        while let Some((_, pending)) = self.pending.pop_front_if(|(number, _)| *number <= durable) {
            match pending {
                Pending::Ack {
                    session,
                    conn,
                    packet_id,
                    kind,
                    code,
                } => self.send_ack(session, conn, (kind, packet_id, code), out),
                Pending::Reply {
                    session,
                    conn,
                    packet,
                } => {
                    let session = self.sessions.get(session);
                    if session.and_then(Session::conn) == Some(conn) {
                        out.to(conn).extend_from_slice(&packet);
                    }
                }
                Pending::Deliver(deliveries) => {
                    self.held_back -= 1;
                    self.dispatch(deliveries.into(), times, out);
                }
                Pending::Hand(handover) => self.take_over(*handover, times, out),
                Pending::Revisit(session) => self.revisit(session),
            }
        }
    }

    fn send_ack(
        &mut self,
        key: SessionKey,
        conn: ConnKey,
        (kind, packet_id, code): (AckKind, PacketId, ReasonCode),
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let version = session.version;
        let Some(link) = session.link_mut().filter(|link| link.conn == conn) else {
            return;
        };
        link.pending_acks = link.pending_acks.saturating_sub(1);
        if kind == AckKind::Puback {
            link.unacknowledged = link.unacknowledged.saturating_sub(1);
        }
        let ack = Ack::new(packet_id, code);
        wire::put(out.to(conn), |wire| ack.encode(kind, version, wire));
    }

    /// PUBACK: a QoS 1 message has arrived. One that nobody knows is ignored: it may be older than what we remember.
    pub(crate) fn puback(&mut self, key: SessionKey, packet_id: PacketId) -> Result<(), Cause> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let before = session.bytes();
        let Some(flow) = session.flow.as_mut() else {
            return Ok(());
        };
        let known = flow.puback(packet_id);
        self.account(key, before);
        match known {
            Acknowledged::Done(done) => self.arrived(key, done),
            Acknowledged::Wrong => return Err(Cause::Protocol(ReasonCode::ProtocolError)),
            Acknowledged::Released { .. } | Acknowledged::Unknown => {}
        }
        Ok(())
    }

    /// PUBREC: the client has a QoS 2 message, or refuses it. PUBREL follows when that is durable.
    pub(crate) fn pubrec(
        &mut self,
        key: SessionKey,
        packet_id: PacketId,
        refused: bool,
        out: &mut Outbox,
    ) -> Result<(), Cause> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let before = session.bytes();
        let known = match session.flow.as_mut() {
            Some(flow) => flow.pubrec(packet_id, refused),
            None => Acknowledged::Unknown,
        };
        self.account(key, before);
        let (number, code) = match known {
            Acknowledged::Done(done) => {
                self.arrived(key, done);
                return Ok(());
            }
            Acknowledged::Wrong => return Err(Cause::Protocol(ReasonCode::ProtocolError)),
            Acknowledged::Released { number } => (self.release(number), ReasonCode::Success),
            Acknowledged::Unknown if refused => return Ok(()),
            Acknowledged::Unknown => (LogNumber::default(), ReasonCode::PacketIdentifierNotFound),
        };
        self.answer(number, key, (AckKind::Pubrel, packet_id, code), out);
        Ok(())
    }

    fn release(&mut self, number: Option<QueueNumber>) -> LogNumber {
        match number {
            Some(number) => {
                self.ops.push(Op::Release(number));
                self.commit()
            }
            None => LogNumber::default(),
        }
    }

    /// PUBCOMP: a QoS 2 message has arrived and is let go of.
    pub(crate) fn pubcomp(&mut self, key: SessionKey, packet_id: PacketId) -> Result<(), Cause> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let before = session.bytes();
        let Some(flow) = session.flow.as_mut() else {
            return Ok(());
        };
        let known = flow.pubcomp(packet_id);
        self.account(key, before);
        match known {
            Acknowledged::Done(done) => self.arrived(key, done),
            Acknowledged::Wrong => return Err(Cause::Protocol(ReasonCode::ProtocolError)),
            Acknowledged::Released { .. } | Acknowledged::Unknown => {}
        }
        Ok(())
    }

    fn arrived(&mut self, key: SessionKey, done: InFlight) {
        self.ops.extend(done.number.map(Op::Dequeue));
        if let Some(origin) = done.origin {
            self.settle(key, &origin);
        }
        self.revisit(key);
    }

    /// PUBREL: the client lets go of its QoS 2 publish. PUBCOMP follows when that is durable.
    pub(crate) fn pubrel(&mut self, key: SessionKey, packet_id: PacketId, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let known = session
            .flow
            .as_mut()
            .is_some_and(|flow| flow.release_received(packet_id));
        let stored = session.stored;
        session.rest();
        let code = match known {
            true => ReasonCode::Success,
            false => ReasonCode::PacketIdentifierNotFound,
        };
        let number = match stored {
            Some(session) if known => {
                self.ops.push(Op::Received { session, packet_id });
                self.commit()
            }
            // It may be released already and not durably so.
            _ => self.under_way(),
        };
        self.answer(number, key, (AckKind::Pubcomp, packet_id, code), out);
    }

    /// Whether a QoS 2 publish with this identifier is here already: it gets the same answer, and nobody else hears it
    /// again.
    pub(crate) fn has_received(&self, key: SessionKey, packet_id: PacketId) -> bool {
        self.sessions
            .get(key)
            .is_some_and(|session| session.has_received(packet_id))
    }

    /// PUBREL again for what the client had and did not let go of before its connection ended.
    pub(super) fn release_again(&mut self, key: SessionKey, out: &mut Outbox) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let Some(flow) = &session.flow else {
            return;
        };
        if session.conn().is_none() {
            return;
        }
        let released: Vec<PacketId> = flow.released().collect();
        // PUBREC may have come just before the connection ended, and not be durable yet.
        let number = self.under_way();
        for packet_id in released {
            let pubrel = (AckKind::Pubrel, packet_id, ReasonCode::Success);
            self.answer(number, key, pubrel, out);
        }
    }

    /// Sends what was dispatched to this shard's sessions and mails the rest.
    pub(super) fn dispatch(&mut self, deliveries: Vec<Delivery>, times: Times, out: &mut Outbox) {
        for delivery in deliveries {
            let shard = delivery.shard();
            if shard == self.shard {
                self.deliver(delivery, times, out);
            } else {
                self.mail.push((shard, Mail::Deliver(delivery)));
            }
        }
    }

    /// The version that a session speaks.
    pub(crate) fn version(&self, key: SessionKey) -> Option<keygate_protocol::mqtt::Version> {
        self.sessions
            .get(key)
            .map(|session: &Session| session.version)
    }
}
