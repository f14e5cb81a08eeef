use std::borrow::Cow;
use std::sync::Arc;

use super::acks::Pending;
use super::flow::SubscriptionIds;
use super::retained::Retained;
use super::{Delivery, Hub, Message, Options, Recipient, SessionKey, Subscriber, Times};
use crate::authz::Permit;
use crate::log::{LogNumber, Op, QueueNumber, StoredId, StoredMessage};
use crate::shard::Outbox;
use keygate_protocol::mqtt::{PacketId, Publish, Qos};

/// A message that is let in, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publication<'m> {
    pub(crate) message: &'m Arc<Message>,
    /// The session that published it; none for a will.
    pub(crate) from: Option<SessionKey>,
    /// The identifier of a QoS 2 publish: it is kept until the client releases it.
    pub(crate) received: Option<PacketId>,
}

/// Something that the broker says of itself, below `$SYS/`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Own {
    /// Where.
    pub topic: Cow<'static, str>,
    /// What, for people.
    pub payload: String,
}

/// Why a permitted message was not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PublishError {
    /// The store of retained messages is full.
    RetainedFull,
    /// The message must survive, and the disk is full.
    DiskFull,
}

impl Hub {
    /// Accepts a message: retained if it says so, queued for the sessions that outlive their connections, delivered.
    /// Gives the log number that must be durable before it is acknowledged. A QoS 2 message that must survive is
    /// delivered only then, so that it cannot come again as another after a crash.
    pub(crate) fn publish(
        &mut self,
        publication: Publication<'_>,
        permit: Permit,
        times: Times,
        out: &mut Outbox,
    ) -> Result<LogNumber, PublishError> {
        // The permit is what lets a message in; from here on only the subscribers' permits count.
        drop(permit);
        let Publication { message, from, .. } = publication;
        let mut recipients = std::mem::take(&mut self.recipients);
        let shared = Arc::clone(&self.shared);
        // While it is held, no subscription is made: it would miss the message, or get it twice, live and retained. And
        // the log has the changes of one topic in the order of the table.
        let mut retained = message.retain().then(|| shared.retained_mut());
        self.route(message, from, &mut recipients);
        let outcome = self.store(publication, retained.as_deref_mut(), &mut recipients);
        drop(retained);
        let number = match outcome {
            Ok(number) => number,
            Err(error) => {
                recipients.clear();
                self.recipients = recipients;
                return Err(error);
            }
        };
        if from.is_some() {
            self.tally.received(message.qos());
        }
        // Behind another that waits, so that messages of one client keep their order (MQTT 5 §4.6).
        let waits = self.held_back > 0 || number > self.shared.log.durable();
        if message.qos() == Qos::ExactlyOnce && waits {
            let deliveries = split(message, std::mem::take(&mut recipients));
            self.wait(number, Pending::Deliver(deliveries.into()));
        } else if recipients.iter().all(|to| to.key.shard == self.shard) {
            self.deliver_all(message, recipients.drain(..), times, out);
        } else {
            let deliveries = split(message, std::mem::take(&mut recipients));
            self.dispatch(deliveries, times, out);
        }
        self.recipients = recipients;
        Ok(number)
    }

    /// Publishes what the broker says of itself: retained in memory, never in the log, and never refused, for there are
    /// only so many such topics. Nobody needs a permit but those who receive it.
    pub(crate) fn publish_own(&mut self, own: &Own, times: Times, out: &mut Outbox) {
        let mut publish = Publish::new(&own.topic, own.payload.as_bytes());
        publish.retain = true;
        let message = Message::of_publish(&publish, None, times);
        let mut recipients = Vec::new();
        let shared = Arc::clone(&self.shared);
        let mut retained = shared.retained_mut();
        self.route(&message, None, &mut recipients);
        retained.set_own(Arc::clone(&message));
        drop(retained);
        self.dispatch(split(&message, recipients), times, out);
    }

    /// Who gets the message: each session and each share group once, with the highest QoS of its subscriptions and all
    /// their identifiers (MQTT 5 §3.3.4).
    fn route(
        &mut self,
        message: &Arc<Message>,
        from: Option<SessionKey>,
        recipients: &mut Vec<Recipient>,
    ) {
        let publisher = from.map(|session| self.subscriber(session));
        self.shared
            .routes()
            .matches(message.topic(), &mut self.found);
        for subscriber in &self.found {
            if subscriber.options.no_local() && Some(subscriber.key) == publisher {
                continue;
            }
            match recipients.last_mut() {
                Some(last) if last.key == subscriber.key => last.add(message, subscriber),
                _ => recipients.push(Recipient::new(message, subscriber)),
            }
        }
    }

    /// Writes down what must survive: all of it in one unit.
    fn store(
        &mut self,
        publication: Publication<'_>,
        retained: Option<&mut Retained>,
        recipients: &mut [Recipient],
    ) -> Result<LogNumber, PublishError> {
        let message = publication.message;
        let rows = recipients.iter().filter(|to| to.needs_row()).count();
        if self.must_survive(&publication, rows > 0) && self.shared.log.is_full() {
            return Err(PublishError::DiskFull);
        }
        let before = self.ops.len();
        if let Some(retained) = retained {
            self.retain(message, retained)?;
        }
        if rows > 0 {
            let first = self.shared.fresh_numbers(rows as u64).0;
            let rows = recipients.iter_mut().filter(|to| to.needs_row());
            for (to, number) in rows.zip(first..) {
                to.number = Some(QueueNumber(number));
                self.ops
                    .push(Op::Enqueue(to.row(message, QueueNumber(number))));
            }
        }
        if let (Some(from), Some(packet_id)) = (publication.from, publication.received) {
            self.receive(from, packet_id);
        }
        Ok(match self.ops.len() > before {
            true => self.commit(),
            false => LogNumber::default(),
        })
    }

    /// Whether something of a message takes room on the disk. Deleting a retained message makes room.
    fn must_survive(&self, publication: &Publication<'_>, rows: bool) -> bool {
        let keeps = publication.message.retain() && !publication.message.payload().is_empty();
        let keeps_id = publication.received.is_some()
            && publication
                .from
                .and_then(|key| self.sessions.get(key))
                .is_some_and(|session| session.stored.is_some());
        rows || keeps || keeps_id
    }

    /// Keeps the identifier of a client's QoS 2 publish until it is released.
    fn receive(&mut self, from: SessionKey, packet_id: PacketId) {
        let Some(session) = self.sessions.get_mut(from) else {
            return;
        };
        session.flow().receive(packet_id);
        if let Some(session) = session.stored {
            self.ops.push(Op::Receive { session, packet_id });
        }
    }

    /// Makes the message the retained one of its topic, or deletes that one.
    fn retain(
        &mut self,
        message: &Arc<Message>,
        retained: &mut Retained,
    ) -> Result<(), PublishError> {
        if message.payload().is_empty() {
            if retained.forget(message.topic()) {
                self.ops.push(Op::Forget(message.topic().into()));
            }
            return Ok(());
        }
        let set = retained.set(Arc::clone(message), &self.shared.limits);
        let change = set.map_err(|full| {
            full.count(&self.shared.reached).add();
            PublishError::RetainedFull
        })?;
        self.ops.push(Op::Retain {
            change,
            message: Arc::clone(message),
        });
        Ok(())
    }
}

impl Recipient {
    fn new(message: &Message, subscriber: &Subscriber) -> Self {
        let mut to = Self {
            key: subscriber.key,
            stored: subscriber.stored,
            number: None,
            qos: Qos::AtMostOnce,
            retain: false,
            ids: SubscriptionIds::None,
        };
        to.add(message, subscriber);
        to
    }

    /// One more subscription of the same session matches.
    fn add(&mut self, message: &Message, subscriber: &Subscriber) {
        let options: Options = subscriber.options;
        self.qos = self.qos.max(message.qos().min(options.qos()));
        self.retain |= message.retain() && options.retain_as_published();
        if let Some(id) = subscriber.id {
            self.ids.push(id);
        }
    }

    fn needs_row(&self) -> bool {
        self.stored != StoredId::default() && self.qos != Qos::AtMostOnce
    }

    pub(super) fn row(&self, message: &Arc<Message>, number: QueueNumber) -> StoredMessage {
        StoredMessage {
            number,
            queue: self.stored,
            message: Arc::clone(message),
            qos: self.qos,
            retain: self.retain,
            released: false,
            subscription_ids: self.ids.as_slice().into(),
        }
    }
}

/// One delivery for each shard; the recipients are in the order of their keys, and so of their shards.
fn split(message: &Arc<Message>, recipients: Vec<Recipient>) -> Vec<Delivery> {
    let mut deliveries: Vec<Delivery> = Vec::new();
    for to in recipients {
        match deliveries.last_mut() {
            Some(last) if last.shard() == to.key.shard => last.to.push(to),
            _ => deliveries.push(Delivery {
                message: Arc::clone(message),
                to: vec![to],
            }),
        }
    }
    deliveries
}
