//! The client's messages on their way up.
use super::client::Handled;
use super::relay::Talk;
use crate::hub::Cause;
use keygate_protocol::mqtt::{AckKind, PacketId, Publish, Qos, ReasonCode, Version};

/// Which acknowledgement answers a message first.
pub(super) fn answered_by(qos: Qos) -> AckKind {
    match qos {
        Qos::ExactlyOnce => AckKind::Pubrec,
        Qos::AtMostOnce | Qos::AtLeastOnce => AckKind::Puback,
    }
}

impl Talk<'_, '_> {
    /// A client's PUBLISH: it goes up as it is, or the gate answers it.
    pub(super) fn publish(&mut self, publish: &Publish<'_>) -> Result<Handled, Cause> {
        if publish.topic_alias.is_some() {
            self.turn.gate.reached.topic_aliases.add();
            return Err(Cause::Protocol(ReasonCode::TopicAliasInvalid));
        }
        if let Some(id) = publish.packet_id {
            if self.open.filters.own == Some(id) {
                return Ok(Handled::Wait);
            }
            if publish.qos == Qos::ExactlyOnce && self.open.dropped.has(id) {
                // It came again because the client has not heard of our answer (MQTT 3.1.1 §4.4).
                self.answer(id, AckKind::Pubrec, ReasonCode::Success);
                return Ok(Handled::Done);
            }
            self.check_quota(id)?;
        }
        let who = &self.who;
        let gate = self.turn.gate;
        match gate.permit_publish(&who.principal, who.version, publish) {
            Ok(_permit) => {
                if let Some(id) = publish.packet_id.filter(|id| !self.open.published.has(*id)) {
                    self.open.published.pass(id, answered_by(publish.qos));
                }
                Ok(Handled::Pass)
            }
            Err(refused) => {
                self.record_denial(refused.denial.as_ref());
                self.refuse(publish, refused.code)
            }
        }
    }

    /// Receive Maximum: what the client has sent and not been answered (MQTT 5 §4.9).
    fn check_quota(&self, id: PacketId) -> Result<(), Cause> {
        let open = &self.open;
        let owed = open.published.len() + open.released.len() + open.dropped.len();
        if owed < usize::from(open.agreed.receive_max) || open.published.has(id) {
            return Ok(());
        }
        self.turn.gate.reached.receive_max.add();
        Err(Cause::Protocol(ReasonCode::ReceiveMaximumExceeded))
    }

    /// As the gate refuses without a relay: QoS 1 and 2 of MQTT 5 get their code, QoS 0 and 3.1.1 have no place for one
    /// and are closed, unless the configuration wants 3.1.1 clients to go on.
    fn refuse(&mut self, publish: &Publish<'_>, code: ReasonCode) -> Result<Handled, Cause> {
        let kind = answered_by(publish.qos);
        let acknowledge = self.turn.gate.acknowledge_refused && code == ReasonCode::NotAuthorized;
        match (self.who.version, publish.packet_id) {
            (Version::V5, Some(id)) => self.answer(id, kind, code),
            (Version::V311, None) if acknowledge => {}
            (Version::V311, Some(id)) if acknowledge => {
                if kind == AckKind::Pubrec && !self.open.published.has(id) {
                    self.open.dropped.insert(id);
                }
                self.answer(id, kind, ReasonCode::Success);
            }
            _ if code == ReasonCode::NotAuthorized => return Err(Cause::NotAuthorized),
            _ => return Err(Cause::Protocol(code)),
        }
        Ok(Handled::Done)
    }

    /// The gate answers a message, after those before it. One that went up under the same identifier, before the right
    /// was lost, is answered from there.
    fn answer(&mut self, id: PacketId, kind: AckKind, code: ReasonCode) {
        if !self.open.published.has(id) {
            self.open.published.keep_back(id, kind, code);
        }
    }

    /// PUBREL of the client.
    pub(super) fn release(&mut self, id: PacketId) -> Handled {
        let open = &mut *self.open;
        if open.dropped.remove(id) {
            self.ack_down(AckKind::Pubcomp, id, ReasonCode::Success);
            return Handled::Done;
        }
        // Of an earlier connection, where its PUBLISH was: the identifier is in use here, too.
        if open.released.len() < usize::from(open.agreed.receive_max) {
            open.released.insert(id);
        }
        Handled::Pass
    }

    /// An identifier that nothing on this connection uses; high ones, as clients count from 1.
    pub(super) fn free_id(&self) -> Option<PacketId> {
        let open = &self.open;
        let in_use = |id: PacketId| {
            open.published.has(id)
                || open.released.has(id)
                || open.dropped.has(id)
                || open.asked.has(id)
        };
        (1..=u16::MAX)
            .rev()
            .filter_map(PacketId::new)
            .find(|id| !in_use(*id))
    }
}
