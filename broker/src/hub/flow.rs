//! What is on its way to one client: sent and not acknowledged, waiting, and the retained messages that still follow.
use std::collections::VecDeque;
use std::sync::Arc;

use super::retained::Snapshot;
use super::routes::Options;
use super::{Message, SubscriberKey};
use crate::identity::Revision;
use crate::limits::{Count, Reached};
use crate::log::{LogNumber, QueueNumber, StoredId};
use keygate_protocol::mqtt::{PacketId, Qos, SubscriptionId};

/// The flow of one session. It comes into being with the first message that needs an answer and goes when nothing is
/// left to do, so that an idle session has none.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// At the client, in the order in which they were sent.
    inflight: VecDeque<InFlight>,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    /// Bytes of what is at the client and kept to be sent again.
    inflight_bytes: usize,
    /// Identifiers in use, sorted: of what is in flight, and of what was and waits to be sent again.
    ids: Vec<PacketId>,
    /// QoS 2 publishes of the client that it has not released, sorted.
    inbound: Vec<PacketId>,
    snapshots: VecDeque<Following>,
    /// The next step of a snapshot waits until the last one is durable.
    snapshot_after: LogNumber,
}

/// A message that waits for the session's window, or for its connection.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) ids: SubscriptionIds,
    /// Its row, if it must survive.
    pub(crate) number: Option<QueueNumber>,
    /// The share group that handed it over.
    pub(crate) origin: Option<Box<Origin>>,
    /// The rights by which it was let in: when they have changed since, it is judged again.
    pub(crate) revision: Revision,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    /// It may have been sent before.
    pub(crate) dup: bool,
    /// The identifier under which it was sent before.
    pub(crate) packet_id: Option<PacketId>,
}

/// Which subscriptions a delivery answers to; most have no identifier.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum SubscriptionIds {
    #[default]
    None,
    One(SubscriptionId),
    Many(Box<[SubscriptionId]>),
}

/// A message at the client.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) packet_id: PacketId,
    pub(crate) qos: Qos,
    /// The client has it (PUBREC); only the rest of the handshake is left.
    pub(crate) released: bool,
    pub(crate) number: Option<QueueNumber>,
    pub(crate) origin: Option<Box<Origin>>,
    /// To send it again on the next connection; none if the session ends with this one.
    message: Option<Again>,
}

#[derive(Debug)]
struct Again {
    message: Arc<Message>,
    ids: SubscriptionIds,
    retain: bool,
    revision: Revision,
}

/// Retained messages of one subscription that are to follow.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) snapshot: Snapshot,
    pub(crate) options: Options,
    pub(crate) id: Option<SubscriptionId>,
}

/// The share group that handed a message over, and its number there. It hears what becomes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Origin {
    pub(crate) group: SubscriberKey,
    pub(crate) number: QueueNumber,
    /// The group's row, if the message has one: the message can go back to it.
    pub(crate) row: StoredId,
}

/// A message that a share group gets back, or that is settled with the session's end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Returned {
    pub(crate) origin: Origin,
    pub(crate) qos: Qos,
    /// Nobody else may get it.
    pub(crate) settled: bool,
}

/// A message does not fit the queue.
#[derive(Debug)]
pub(crate) struct QueueFull {
    pub(crate) queued: Box<Queued>,
    pub(crate) bound: QueueBound,
}

/// What a queue has no room for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum QueueBound {
    /// `queue_messages`.
    Messages,
    /// `queue_bytes`.
    Bytes,
    /// `queued_bytes`, of the whole shard.
    Shard,
}

impl QueueBound {
    /// The counter of the bound that was reached.
    pub(crate) fn count(self, reached: &Reached) -> &Count {
        match self {
            Self::Messages => &reached.queue_messages,
            Self::Bytes => &reached.queue_bytes,
            Self::Shard => &reached.queued_bytes,
        }
    }

    /// Its setting.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Messages => "queue_messages",
            Self::Bytes => "queue_bytes",
            Self::Shard => "queued_bytes",
        }
    }
}

/// What an acknowledgement meant.
#[derive(Debug)]
pub(crate) enum Acknowledged {
    /// The message has arrived.
    Done(InFlight),
    /// The client has the message: PUBREL is next.
    Released { number: Option<QueueNumber> },
    /// Nothing under this identifier is at the client.
    Unknown,
    /// Something is, and this is not its answer.
    Wrong,
}

impl SubscriptionIds {
    pub(crate) fn of(ids: &[SubscriptionId]) -> Self {
        match ids {
            [] => Self::None,
            [one] => Self::One(*one),
            many => Self::Many(many.into()),
        }
    }

    pub(crate) fn push(&mut self, id: SubscriptionId) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(id),
            Self::One(one) => Self::Many([one, id].into()),
            Self::Many(many) => {
                let mut ids = many.into_vec();
                ids.push(id);
                Self::Many(ids.into())
            }
        };
    }

    pub(crate) fn as_slice(&self) -> &[SubscriptionId] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Queued {
    fn derived_id(&self) -> Option<PacketId> {
        self.number.and_then(derived_id)
    }

    /// Bytes that it holds in memory while it waits.
    pub(crate) fn size(&self) -> usize {
        self.message.size()
    }
}

impl InFlight {
    /// Bytes that it keeps in memory.
    fn bytes(&self) -> usize {
        self.message
            .as_ref()
            .map_or(0, |again| again.message.size())
    }
}

impl Flow {
    /// Whether a message may go out now without overtaking another.
    pub(crate) fn is_clear(&self, window: u16, bytes_max: usize) -> bool {
        self.queue.is_empty() && self.has_window(window, bytes_max)
    }

    /// Whether the client may be sent more: its window has room, and what is kept for it is not too much.
    fn has_window(&self, window: u16, bytes_max: usize) -> bool {
        self.inflight.len() < usize::from(window) && self.inflight_bytes < bytes_max
    }

    /// Whether a message would be the first that waits, and only because so many are at the client.
    pub(crate) fn fills(&self, window: u16) -> bool {
        self.queue.is_empty() && self.inflight.len() >= usize::from(window)
    }

    /// Puts a message behind those that wait.
    pub(crate) fn push(
        &mut self,
        queued: Queued,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<(), QueueFull> {
        let size = queued.size();
        let bound = match () {
            () if self.queue.len() >= count_max => Some(QueueBound::Messages),
            () if self.queue_bytes + size > bytes_max => Some(QueueBound::Bytes),
            () => None,
        };
        if let Some(bound) = bound {
            let queued = Box::new(queued);
            return Err(QueueFull { queued, bound });
        }
        self.queue_bytes += size;
        self.queue.push_back(queued);
        Ok(())
    }

    /// Takes the next message that waits, if the window has room and its identifier is free.
    pub(crate) fn pop(&mut self, window: u16, bytes_max: usize) -> Option<Queued> {
        if !self.has_window(window, bytes_max) {
            return None;
        }
        let next = self.queue.front()?;
        if next.packet_id.is_none()
            && let Some(id) = next.derived_id()
            && self.is_used(id)
        {
            // A message with the same identifier, 65,535 numbers older, is still at the client.
            return None;
        }
        let queued = self.queue.pop_front()?;
        self.queue_bytes -= queued.size();
        Some(queued)
    }

    /// The identifier under which a message goes out. `last` is the session's counter, for messages without a row.
    /// `None` if it has to wait for another with the same identifier.
    pub(crate) fn id_for(&mut self, queued: &Queued, last: &mut u16) -> Option<PacketId> {
        if let Some(id) = queued.packet_id {
            return Some(id);
        }
        if let Some(id) = queued.derived_id() {
            return (!self.is_used(id)).then_some(id);
        }
        // The window is smaller than the range of identifiers, so a free one is never far.
        for _ in 0..=u16::MAX {
            *last = last.wrapping_add(1);
            if let Some(id) = PacketId::new(*last)
                && !self.is_used(id)
            {
                return Some(id);
            }
        }
        None
    }

    /// The message is at the client from now on.
    pub(crate) fn sent(&mut self, id: PacketId, queued: Queued, resumable: bool) {
        if let Err(at) = self.ids.binary_search(&id) {
            self.ids.insert(at, id);
        }
        if resumable {
            self.inflight_bytes += queued.size();
        }
        self.inflight.push_back(InFlight {
            packet_id: id,
            qos: queued.qos,
            released: false,
            number: queued.number,
            origin: queued.origin,
            message: resumable.then_some(Again {
                message: queued.message,
                ids: queued.ids,
                retain: queued.retain,
                revision: queued.revision,
            }),
        });
    }

    /// A message that the store says was released: PUBREL is what the client hears of it. False if another has its
    /// identifier: then its row is of no use.
    pub(crate) fn restore_released(&mut self, number: QueueNumber) -> bool {
        let Some(id) = derived_id(number) else {
            return false;
        };
        let Err(at) = self.ids.binary_search(&id) else {
            return false;
        };
        self.ids.insert(at, id);
        self.inflight.push_back(InFlight {
            packet_id: id,
            qos: Qos::ExactlyOnce,
            released: true,
            number: Some(number),
            origin: None,
            message: None,
        });
        true
    }

    /// PUBACK.
    pub(crate) fn puback(&mut self, id: PacketId) -> Acknowledged {
        self.take_if(id, |inflight| inflight.qos == Qos::AtLeastOnce)
    }

    /// PUBREC: the client has the message, or refuses it.
    pub(crate) fn pubrec(&mut self, id: PacketId, refused: bool) -> Acknowledged {
        if refused {
            return self.take_if(id, |inflight| inflight.qos == Qos::ExactlyOnce);
        }
        match self
            .inflight
            .iter_mut()
            .find(|inflight| inflight.packet_id == id)
        {
            None => Acknowledged::Unknown,
            Some(inflight) if inflight.qos != Qos::ExactlyOnce => Acknowledged::Wrong,
            Some(inflight) => {
                inflight.released = true;
                let again = inflight.message.take();
                self.inflight_bytes -= again.map_or(0, |again| again.message.size());
                Acknowledged::Released {
                    number: inflight.number,
                }
            }
        }
    }

    /// PUBCOMP.
    pub(crate) fn pubcomp(&mut self, id: PacketId) -> Acknowledged {
        self.take_if(id, |inflight| inflight.released)
    }

    fn take_if(&mut self, id: PacketId, fits: impl Fn(&InFlight) -> bool) -> Acknowledged {
        let Some(at) = self
            .inflight
            .iter()
            .position(|inflight| inflight.packet_id == id)
        else {
            return Acknowledged::Unknown;
        };
        if !self.inflight.get(at).is_some_and(fits) {
            return Acknowledged::Wrong;
        }
        if let Ok(at) = self.ids.binary_search(&id) {
            self.ids.remove(at);
        }
        match self.inflight.remove(at) {
            Some(done) => {
                self.inflight_bytes -= done.bytes();
                Acknowledged::Done(done)
            }
            None => Acknowledged::Unknown,
        }
    }

    /// The connection is gone: what was at the client waits, in order and before everything else, to be sent again under
    /// the same identifier (MQTT 5 §4.4). What is released stays as it is.
    pub(crate) fn rewind(&mut self) {
        let mut kept = VecDeque::new();
        while let Some(inflight) = self.inflight.pop_back() {
            let Some(again) = inflight.message else {
                kept.push_front(inflight);
                continue;
            };
            self.inflight_bytes -= again.message.size();
            let queued = Queued {
                message: again.message,
                ids: again.ids,
                number: inflight.number,
                origin: inflight.origin,
                revision: again.revision,
                qos: inflight.qos,
                retain: again.retain,
                dup: true,
                packet_id: Some(inflight.packet_id),
            };
            self.queue_bytes += queued.size();
            self.queue.push_front(queued);
        }
        self.inflight = kept;
    }

    /// Identifiers of what the client has and has not let go of: PUBREL goes out again for them.
    pub(crate) fn released(&self) -> impl Iterator<Item = PacketId> + '_ {
        self.inflight
            .iter()
            .filter(|inflight| inflight.released)
            .map(|inflight| inflight.packet_id)
    }

    /// A message that was sent before is dropped: its identifier is free.
    pub(crate) fn free(&mut self, queued: &Queued) {
        if let Some(id) = queued.packet_id
            && let Ok(at) = self.ids.binary_search(&id)
        {
            self.ids.remove(at);
        }
    }

    /// A message that the store has kept, whatever the bounds are by now.
    pub(crate) fn restore(&mut self, queued: Queued) {
        self.queue_bytes += queued.size();
        self.queue.push_back(queued);
    }

    /// Takes out what share groups handed over and can have back: QoS 1, and QoS 2 that was never sent. If the session
    /// ends, also what they can not have back: QoS 2 that was sent (MQTT 5 §4.8.2).
    pub(crate) fn take_handed(&mut self, ends: bool) -> Vec<Returned> {
        let mut taken = Vec::new();
        let ids = &mut self.ids;
        let mut free = |id: PacketId| {
            if let Ok(at) = ids.binary_search(&id) {
                ids.remove(at);
            }
        };
        let inflight_bytes = &mut self.inflight_bytes;
        self.inflight.retain(|inflight| {
            let Some(origin) = &inflight.origin else {
                return true;
            };
            let was_sent = inflight.qos == Qos::ExactlyOnce;
            if was_sent && !ends {
                return true;
            }
            free(inflight.packet_id);
            *inflight_bytes -= inflight.bytes();
            taken.push(Returned {
                origin: **origin,
                qos: inflight.qos,
                settled: was_sent,
            });
            false
        });
        let queue_bytes = &mut self.queue_bytes;
        self.queue.retain(|queued| {
            let Some(origin) = &queued.origin else {
                return true;
            };
            let was_sent = queued.qos == Qos::ExactlyOnce && queued.packet_id.is_some();
            if was_sent && !ends {
                return true;
            }
            queued.packet_id.into_iter().for_each(&mut free);
            *queue_bytes -= queued.size();
            taken.push(Returned {
                origin: **origin,
                qos: queued.qos,
                settled: was_sent,
            });
            false
        });
        taken
    }

    /// Takes out what this group handed over and was never sent.
    pub(crate) fn take_unsent(&mut self, group: SubscriberKey) -> Vec<Returned> {
        let mut taken = Vec::new();
        let queue_bytes = &mut self.queue_bytes;
        self.queue.retain(|queued| {
            let Some(origin) = queued
                .origin
                .as_ref()
                .filter(|origin| origin.group == group)
            else {
                return true;
            };
            if queued.packet_id.is_some() {
                return true;
            }
            *queue_bytes -= queued.size();
            taken.push(Returned {
                origin: **origin,
                qos: queued.qos,
                settled: false,
            });
            false
        });
        taken
    }

    /// Rows of everything that waits or is at the client.
    pub(crate) fn rows(&self) -> impl Iterator<Item = QueueNumber> + '_ {
        let inflight = self.inflight.iter().filter_map(|inflight| inflight.number);
        inflight.chain(self.queue.iter().filter_map(|queued| queued.number))
    }

    /// Bytes that wait, or are kept to be sent again.
    pub(crate) fn bytes(&self) -> usize {
        self.queue_bytes + self.inflight_bytes
    }

    /// A QoS 2 publish came under this identifier. False if it is here already and not released: it came again.
    pub(crate) fn receive(&mut self, id: PacketId) -> bool {
        match self.inbound.binary_search(&id) {
            Ok(_) => false,
            Err(at) => {
                self.inbound.insert(at, id);
                true
            }
        }
    }

    /// Whether a QoS 2 publish with this identifier is here and not released.
    pub(crate) fn has_received(&self, id: PacketId) -> bool {
        self.inbound.binary_search(&id).is_ok()
    }

    /// The client released its publish. False if there is none under this identifier.
    pub(crate) fn release_received(&mut self, id: PacketId) -> bool {
        match self.inbound.binary_search(&id) {
            Ok(at) => {
                self.inbound.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// QoS 2 publishes of the client that it has not released.
    pub(crate) fn received(&self) -> usize {
        self.inbound.len()
    }

    /// Retained messages of this subscription are to follow. Subscribing again starts over.
    pub(crate) fn follow(&mut self, following: Following) {
        self.forget(following.snapshot.filter());
        self.snapshots.push_back(following);
    }

    /// Retained messages of this filter are no longer wanted.
    pub(crate) fn forget(&mut self, filter: &str) {
        self.snapshots
            .retain(|following| following.snapshot.filter() != filter);
    }

    /// The snapshot to go on with, and how many messages it may give now; none while live messages wait.
    pub(crate) fn next_following(
        &mut self,
        window: u16,
        durable: LogNumber,
    ) -> Option<(Following, usize)> {
        if !self.queue.is_empty() || self.snapshot_after > durable {
            return None;
        }
        let room = usize::from(window)
            .checked_sub(self.inflight.len())
            .filter(|&room| room > 0)?;
        self.snapshots
            .pop_front()
            .map(|following| (following, room))
    }

    /// Puts back a snapshot that has more to give.
    pub(crate) fn go_on(&mut self, following: Following) {
        self.snapshots.push_front(following);
    }

    /// The next step waits until this is durable.
    pub(crate) fn pause_snapshots(&mut self, number: LogNumber) {
        self.snapshot_after = number;
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.inflight.is_empty()
            && self.queue.is_empty()
            && self.snapshots.is_empty()
            && self.inbound.is_empty()
    }

    fn is_used(&self, id: PacketId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }
}

/// The identifier that a durable message has in every life of the broker.
fn derived_id(number: QueueNumber) -> Option<PacketId> {
    PacketId::new((number.0 % u64::from(u16::MAX)) as u16 + 1)
}
