use std::sync::Arc;

use super::session::PendingAck;
use super::{Delivery, Hub, Message, SessionKey, SubscriberKey, Times, wire};
use crate::authz::Permit;
use crate::log::{LogNumber, Op};
use crate::shard::{Mail, Outbox};
use keygate_protocol::mqtt::{Ack, AckKind, PacketId, ReasonCode};

/// Why a permitted message was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PublishError {
    /// The store of retained messages is full.
    RetainedFull,
}

impl Hub {
    /// Accepts a message: retained if it says so, delivered here, mailed to the shards of its other subscribers.
    /// Gives the log number that must be durable before it is acknowledged.
    pub(crate) fn publish(
        &mut self,
        from: Option<SessionKey>,
        message: &Arc<Message>,
        permit: Permit,
        times: Times,
        out: &mut Outbox,
    ) -> Result<LogNumber, PublishError> {
        // The permit is what lets a message in; from here on only the subscribers' permits count.
        drop(permit);
        let number = if message.retain() {
            self.retain(message)?
        } else {
            LogNumber::default()
        };
        let mut found = std::mem::take(&mut self.found);
        self.shared.routes().matches(message.topic(), &mut found);
        let publisher = from.map(|session| SubscriberKey {
            shard: self.shard,
            session,
        });
        found.retain(|subscriber| {
            !(subscriber.options.no_local() && Some(subscriber.key) == publisher)
        });
        for group in found.chunk_by(|a, b| a.key.shard == b.key.shard) {
            let shard = group[0].key.shard;
            if shard == self.shard {
                self.deliver_all(message, group, times, out);
            } else {
                let delivery = Delivery {
                    message: Arc::clone(message),
                    to: group.into(),
                };
                out.mail.push((shard, Mail::Deliver(delivery)));
            }
        }
        self.found = found;
        Ok(number)
    }

    fn retain(&self, message: &Arc<Message>) -> Result<LogNumber, PublishError> {
        let limits = &self.shared.limits;
        let mut retained = self.shared.retained_mut();
        if message.payload().is_empty() {
            let existed = retained.forget(message.topic());
            return Ok(if existed {
                self.shared
                    .log
                    .submit(vec![Op::Forget(message.topic().into())])
            } else {
                LogNumber::default()
            });
        }
        retained
            .set(Arc::clone(message), limits)
            .map_err(|_| PublishError::RetainedFull)?;
        // Submitted under the lock, so that the log has the changes of one topic in the order of the table.
        Ok(self.shared.log.submit(vec![Op::Retain {
            change: 0,
            message: Arc::clone(message),
        }]))
    }

    /// Acknowledges a publish with this code once the log is durable that far. Acknowledgements of a session leave in the
    /// order in which its publishes came (MQTT 5 §4.6), refusals among them.
    pub(crate) fn acknowledge_publish(
        &mut self,
        number: LogNumber,
        key: SessionKey,
        packet_id: PacketId,
        code: ReasonCode,
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if number == LogNumber::default() && session.unacknowledged == 0 {
            let puback = Ack::new(packet_id, code);
            wire::put(out.to(session.conn), |wire| {
                puback.encode(AckKind::Puback, session.version, wire)
            });
            return;
        }
        session.unacknowledged += 1;
        // Behind a later number is late enough for the whole shard's queue to stay in order.
        let number = self
            .pending_acks
            .back()
            .map_or(number, |(last, _)| number.max(*last));
        let ack = PendingAck {
            session: key,
            packet_id,
            code,
        };
        self.pending_acks.push_back((number, ack));
    }

    pub(super) fn flush_acknowledgements(&mut self, out: &mut Outbox) {
        if self.pending_acks.is_empty() {
            return;
        }
        let durable = self.shared.log.durable();
        while let Some((_, ack)) = self
            .pending_acks
            .pop_front_if(|(number, _)| *number <= durable)
        {
            let Some(session) = self.sessions.get_mut(ack.session) else {
                continue;
            };
            session.unacknowledged -= 1;
            let puback = Ack::new(ack.packet_id, ack.code);
            wire::put(out.to(session.conn), |wire| {
                puback.encode(AckKind::Puback, session.version, wire)
            });
        }
    }
}
