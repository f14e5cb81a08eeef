use std::sync::Arc;

use super::acks::Pending;
use super::flow::{Following, QueueBound, QueueFull, Queued, SubscriptionIds};
use super::{
    Cause, Hub, HubShared, Loss, Lost, Message, Session, SessionKey, Standing, SubscriberKey,
    Target, Times, Voice,
};
use crate::identity::Revision;
use crate::log::{LogNumber, Op, QueueNumber, StoredId};
use crate::shard::{Outbox, ShardId};
use crate::telemetry::Tally;
use keygate_protocol::mqtt::{self, Qos};
use keygate_protocol::topic::{self, TopicFilter, TopicName};

/// A message on its way to sessions of one shard.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(super) message: Arc<Message>,
    pub(super) to: Vec<Recipient>,
}

/// A session or share group that gets a message, and how.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    pub(super) key: SubscriberKey,
    /// The row of its queue; zero if what it gets need not survive.
    pub(super) stored: StoredId,
    /// The message's row in that queue.
    pub(super) number: Option<QueueNumber>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) ids: SubscriptionIds,
}

/// Whether a session may have a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Deliver,
    /// It has no right to this one.
    NotThis,
    /// Not on this connection: its time is over.
    Later,
    /// It gets nothing now: it has ended, or lost its standing.
    Nothing,
}

impl Delivery {
    /// Where its recipients are.
    pub(super) fn shard(&self) -> ShardId {
        self.to.first().map_or(ShardId(0), |to| to.key.shard)
    }
}

impl Recipient {
    fn queued(self, message: &Arc<Message>) -> Queued {
        Queued {
            message: Arc::clone(message),
            ids: self.ids,
            number: self.number,
            origin: None,
            revision: Revision::default(),
            qos: self.qos,
            retain: self.retain,
            dup: false,
            packet_id: None,
        }
    }
}

impl Hub {
    /// Delivers what another shard's publisher sent, or what had to become durable first.
    pub(crate) fn deliver(&mut self, delivery: Delivery, times: Times, out: &mut Outbox) {
        self.deliver_all(&delivery.message, delivery.to.into_iter(), times, out);
    }

    pub(super) fn deliver_all(
        &mut self,
        message: &Arc<Message>,
        to: impl Iterator<Item = Recipient>,
        times: Times,
        out: &mut Outbox,
    ) {
        let expired = message.has_expired(times.now);
        for recipient in to {
            let target = recipient.key.target;
            let queued = recipient.queued(message);
            match target {
                _ if expired => self.drop_row(&queued),
                Target::Session(session) => self.deliver_one(session, queued, times, out),
                Target::Group(group) => self.offer(group, queued, times),
            }
        }
    }

    /// A session that has ended since the message was routed gets nothing: its key finds nothing.
    pub(super) fn deliver_one(
        &mut self,
        key: SessionKey,
        queued: Queued,
        times: Times,
        out: &mut Outbox,
    ) {
        let may_send = match self.judge(key, queued.message.topic(), times) {
            Verdict::Deliver => true,
            // Its connection is about to end; what must survive waits for the next.
            Verdict::Later if queued.number.is_some() && queued.origin.is_none() => false,
            Verdict::Later => return self.refuse(key, queued),
            Verdict::NotThis => return self.discard(key, queued),
            Verdict::Nothing => return self.refuse(key, queued),
        };
        let before = self.bytes_of(key);
        self.deliver_or_queue(key, queued, may_send, times, out);
        self.account(key, before);
    }

    /// Bytes that a session's flow holds.
    pub(super) fn bytes_of(&self, key: SessionKey) -> usize {
        self.sessions.get(key).map_or(0, Session::bytes)
    }

    /// A session's flow held this many bytes before it changed: the shard's sum changes with it.
    pub(super) fn account(&mut self, key: SessionKey, before: usize) {
        self.queued_bytes = (self.queued_bytes + self.bytes_of(key)).saturating_sub(before);
    }

    fn deliver_or_queue(
        &mut self,
        key: SessionKey,
        mut queued: Queued,
        may_send: bool,
        times: Times,
        out: &mut Outbox,
    ) {
        let limits = &self.shared.limits;
        let shard_full = self.queued_bytes + queued.size() > limits.queued_bytes;
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        queued.revision = session.principal.revision;
        let conn = session.conn();
        let write_full = conn.is_some_and(|conn| out.pending(conn) > limits.write_bytes);
        if queued.qos == Qos::AtMostOnce {
            // At most once: a client that is not there or does not keep up loses it, not the broker's memory.
            if conn.is_some() && !write_full {
                send(session, queued, &self.shared, &mut self.tally, times, out);
            } else if conn.is_some() {
                self.shared.reached.write_bytes.add();
            }
            return;
        }
        let window = session.link().map_or(0, |link| link.window);
        let is_clear = may_send
            && !write_full
            && window > 0
            && session
                .flow
                .as_ref()
                .is_none_or(|flow| flow.is_clear(window, limits.queue_bytes));
        let waiting = match is_clear {
            true => send(session, queued, &self.shared, &mut self.tally, times, out),
            false => Sent::NotYet(Box::new(queued)),
        };
        match waiting {
            Sent::Yes => {}
            Sent::TooLarge(queued) => self.discard(key, *queued),
            Sent::NotYet(queued) => {
                if window >= limits.inflight_max && session.flow().fills(window) {
                    self.shared.reached.inflight_max.add();
                }
                let fits = match shard_full {
                    true => Err(QueueFull {
                        queued,
                        bound: QueueBound::Shard,
                    }),
                    false => {
                        session
                            .flow()
                            .push(*queued, limits.queue_messages, limits.queue_bytes)
                    }
                };
                match fits {
                    Ok(()) if write_full => self.congest(key),
                    Ok(()) => {}
                    Err(QueueFull { queued, bound }) => self.overflow(key, *queued, bound),
                }
            }
        }
    }

    /// A queue is full. A client that is there is told and must come back; for one that is not, the newest message is
    /// the one that is lost, and counted.
    fn overflow(&mut self, key: SessionKey, queued: Queued, bound: QueueBound) {
        bound.count(&self.shared.reached).add();
        let Some(session) = self.sessions.get_mut(key) else {
            return self.drop_row(&queued);
        };
        if session.link().is_some() {
            self.over.push((key, Cause::Quota));
        }
        if queued.origin.is_some() {
            return self.refuse(key, queued);
        }
        self.ops.extend(queued.number.map(Op::Dequeue));
        self.tally.lost_by_sessions += 1;
        session.lost = session.lost.saturating_add(1);
        if session.lost == 1 {
            let begins = Lost::Begins(bound.name());
            self.losses.push(Loss::of(session, begins));
        }
    }

    fn congest(&mut self, key: SessionKey) {
        if let Some(link) = self.sessions.get_mut(key).and_then(Session::link_mut)
            && !std::mem::replace(&mut link.congested, true)
        {
            self.congested.push(key);
        }
    }

    /// A message goes nowhere: its row goes, and the share group that handed it over hears of it.
    pub(super) fn discard(&mut self, key: SessionKey, queued: Queued) {
        self.drop_row(&queued);
        if let Some(origin) = queued.origin {
            self.settle(key, &origin);
        }
    }

    /// This session cannot have the message now. A share group gives it to another, and this member nothing more until
    /// it is back.
    fn refuse(&mut self, key: SessionKey, queued: Queued) {
        let Some(origin) = queued.origin else {
            return self.drop_row(&queued);
        };
        self.absent_for(key, origin.group);
        let stored = self.sessions.get(key).and_then(|session| session.stored);
        self.return_item(key, &origin, queued.qos, stored);
    }

    fn drop_row(&mut self, queued: &Queued) {
        self.ops.extend(queued.number.map(Op::Dequeue));
    }

    /// Whether this session may have a message of this topic now. Costs two comparisons while nothing has changed.
    fn judge(&mut self, key: SessionKey, topic: &str, times: Times) -> Verdict {
        let Some(session) = self.sessions.get(key) else {
            return Verdict::Nothing;
        };
        if session.principal.is_expired(times.wall) {
            return Verdict::Later;
        }
        if session.principal.revision != self.shared.rights.revision() {
            return match self.refresh(key, times) && self.still_wants(key, topic) {
                true => self.judge_topic(key, topic),
                false => Verdict::Nothing,
            };
        }
        match session.partial {
            true => self.judge_topic(key, topic),
            false => Verdict::Deliver,
        }
    }

    fn judge_topic(&self, key: SessionKey, topic: &str) -> Verdict {
        let (Some(session), Ok(topic)) = (self.sessions.get(key), TopicName::new(topic)) else {
            return Verdict::Nothing;
        };
        match !session.partial || self.shared.rights.may_receive(&session.principal, topic) {
            true => Verdict::Deliver,
            false => Verdict::NotThis,
        }
    }

    /// Looks at a session's rights again because they may have changed. False if it gets nothing now.
    fn refresh(&mut self, key: SessionKey, times: Times) -> bool {
        let Some(session) = self.sessions.get(key) else {
            return false;
        };
        match self.shared.rights.standing(&session.principal, times.wall) {
            Standing::Unchanged => true,
            Standing::Changed(principal) => {
                self.renew(key, *principal);
                true
            }
            Standing::Over(cause) => {
                // Without a connection, a suspended device's session is only hidden.
                if session.link().is_some() || cause.ends_session() {
                    self.over.push((key, cause));
                }
                false
            }
        }
    }

    fn still_wants(&self, key: SessionKey, topic: &str) -> bool {
        let (Some(session), Ok(topic)) = (self.sessions.get(key), TopicName::new(topic)) else {
            return false;
        };
        session.subscriptions.iter().any(|subscription| {
            TopicFilter::new(&subscription.filter).is_ok_and(|filter| topic::matches(filter, topic))
        })
    }

    /// Sends from the queue and, when it is empty, from the retained messages that subscriptions still wait for, as far
    /// as window and write buffer let it.
    pub(super) fn pump(&mut self, key: SessionKey, times: Times, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(conn) = session.conn() else { return };
        if session.principal.is_expired(times.wall) {
            return;
        }
        let before = self.bytes_of(key);
        let mut follows = false;
        while !self.write_full(conn, out) {
            let Some(session) = self.sessions.get_mut(key) else {
                return;
            };
            let window = session.link().map_or(0, |link| link.window);
            let bytes_max = self.shared.limits.queue_bytes;
            let flow = session.flow.as_mut();
            let Some(queued) = flow.and_then(|flow| flow.pop(window, bytes_max)) else {
                follows = true;
                break;
            };
            self.send_queued(key, queued, times, out);
        }
        self.account(key, before);
        let again = follows && self.step_snapshot(key, times, out);
        if self.write_full(conn, out) {
            self.congest(key);
        } else if again {
            self.ready.push(key);
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.rest();
        }
    }

    /// Sends a message that has waited, if it is still worth something and still allowed.
    fn send_queued(&mut self, key: SessionKey, queued: Queued, times: Times, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(key) else {
            return self.drop_row(&queued);
        };
        // What the client has seen a part of is not taken back for its age (MQTT 5 §3.3.2.3.3).
        let too_old = queued.packet_id.is_none() && queued.message.has_expired(times.now);
        let judged_again = queued.revision != session.principal.revision;
        if !too_old
            && (!judged_again
                || TopicName::new(queued.message.topic())
                    .is_ok_and(|topic| self.shared.rights.may_receive(&session.principal, topic)))
        {
            match send(session, queued, &self.shared, &mut self.tally, times, out) {
                Sent::Yes => {}
                // `pop` has looked: its identifier is free.
                Sent::TooLarge(queued) | Sent::NotYet(queued) => self.let_go(key, *queued),
            }
            return;
        }
        self.let_go(key, queued);
    }

    /// A message that has waited is dropped; if it was sent before, its identifier is free.
    fn let_go(&mut self, key: SessionKey, queued: Queued) {
        if let Some(flow) = self.sessions.get_mut(key).and_then(|s| s.flow.as_mut()) {
            flow.free(&queued);
        }
        self.discard(key, queued);
    }

    /// One step through the retained messages of a session's oldest waiting subscription. Says whether another may
    /// follow at once.
    fn step_snapshot(&mut self, key: SessionKey, times: Times, out: &mut Outbox) -> bool {
        let shared = Arc::clone(&self.shared);
        let Some(session) = self.sessions.get_mut(key) else {
            return false;
        };
        let window = session.link().map_or(0, |link| link.window);
        let Some((mut following, room)) = session
            .flow
            .as_mut()
            .and_then(|flow| flow.next_following(window, shared.log.durable()))
        else {
            return false;
        };
        let mut found = Vec::new();
        let more = following.snapshot.step(
            &shared.retained(),
            shared.limits.retained_scan,
            room.min(SNAPSHOT_MESSAGES),
            &mut found,
        );
        if more {
            shared.reached.retained_scan.add();
        }
        found.retain(|message| {
            let heard = message
                .publisher()
                .is_none_or(|publisher| shared.rights.voice(publisher) == Voice::Heard);
            heard && !message.has_expired(times.now)
        });
        self.follow(key, following, &found, more, times, out);
        true
    }

    /// Delivers one step of a snapshot. For a session that outlives its connection the messages and how far they went
    /// are written down as one unit, so that a restart goes on behind them.
    fn follow(
        &mut self,
        key: SessionKey,
        following: Following,
        found: &[Arc<Message>],
        more: bool,
        times: Times,
        out: &mut Outbox,
    ) {
        let Some(stored) = self.sessions.get(key).map(|session| session.stored) else {
            return;
        };
        let mut deliveries = Vec::new();
        for message in found {
            let mut to = Recipient {
                key: self.subscriber(key),
                stored: stored.unwrap_or_default(),
                number: None,
                qos: message.qos().min(following.options.qos()),
                retain: true,
                ids: following
                    .id
                    .map_or(SubscriptionIds::None, SubscriptionIds::One),
            };
            if stored.is_some() && to.qos != Qos::AtMostOnce {
                let number = self.shared.fresh_numbers(1);
                to.number = Some(number);
                self.ops.push(Op::Enqueue(to.row(message, number)));
            }
            deliveries.push((Arc::clone(message), to));
        }
        let mut durable_at = LogNumber::default();
        if let Some(session) = stored {
            self.ops.push(Op::Cursor {
                session,
                filter: following.snapshot.filter().into(),
                cursor: more.then(|| following.snapshot.cursor()),
            });
            durable_at = self.commit();
        }
        let exactly_once = deliveries.iter().any(|(_, to)| to.qos == Qos::ExactlyOnce);
        let waits = exactly_once && durable_at > self.shared.log.durable();
        if let Some(session) = self.sessions.get_mut(key) {
            if more {
                session.flow().go_on(following);
            }
            if waits {
                session.flow().pause_snapshots(durable_at);
            }
        }
        if waits {
            let deliveries = deliveries.into_iter().map(|(message, to)| Delivery {
                message,
                to: vec![to],
            });
            self.wait(durable_at, Pending::Deliver(deliveries.collect()));
            self.wait(durable_at, Pending::Revisit(key));
            return;
        }
        for (message, to) in deliveries {
            self.deliver_one(key, to.queued(&message), times, out);
        }
    }
}

/// Retained messages that one step sends at the most: they go out whatever their size, so there are few.
pub(super) const SNAPSHOT_MESSAGES: usize = 16;

/// What naming a topic by a number may add to a packet: the property, and a longer length before the properties.
const ALIAS_BYTES: usize = 6;

/// What became of a message that was to go out now.
enum Sent {
    Yes,
    /// The client takes no packet of this size: it counts as sent (MQTT 5 §3.1.2.11.4).
    TooLarge(Box<Queued>),
    /// Its identifier is in use.
    NotYet(Box<Queued>),
}

fn send(
    session: &mut Session,
    queued: Queued,
    shared: &HubShared,
    tally: &mut Tally,
    times: Times,
    out: &mut Outbox,
) -> Sent {
    let version = session.version;
    let resumable = session.expiry_s > 0;
    let mut last = session.last_packet_id;
    let packet_id = match queued.qos {
        Qos::AtMostOnce => None,
        _ => match session.flow().id_for(&queued, &mut last) {
            Some(id) => Some(id),
            None => return Sent::NotYet(Box::new(queued)),
        },
    };
    session.last_packet_id = last;
    let Some(link) = session.link_mut() else {
        return Sent::NotYet(Box::new(queued));
    };
    let Some(delivery) = queued.message.delivery(times.now) else {
        return Sent::TooLarge(Box::new(queued));
    };
    let delivery = mqtt::Delivery {
        dup: queued.dup,
        qos: queued.qos,
        retain: queued.retain,
        packet_id,
        subscription_ids: queued.ids.as_slice(),
        ..delivery
    };
    let mut room = usize::MAX;
    if link.packet_max != u32::MAX {
        match (link.packet_max as usize).checked_sub(delivery.encoded_len(version)) {
            Some(left) => room = left,
            None => return Sent::TooLarge(Box::new(queued)),
        }
    }
    let alias = match room >= ALIAS_BYTES {
        true => link.alias_of(queued.message.topic(), &shared.reached),
        false => mqtt::Alias::None,
    };
    let delivery = mqtt::Delivery { alias, ..delivery };
    super::wire::put(out.to(link.conn), |wire| delivery.encode(version, wire));
    tally.sent(queued.qos);
    if let Some(packet_id) = packet_id {
        session.flow().sent(packet_id, queued, resumable);
    }
    Sent::Yes
}
