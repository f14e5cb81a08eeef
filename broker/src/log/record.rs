//! What the store on disk holds, as values: the same types go in as operations and come out at the start.
use std::sync::Arc;

use crate::authn::Owner;
use crate::hub::Message;
use keygate_protocol::mqtt::{PacketId, Qos, SubscriptionId, Version};
use keygate_protocol::time::UnixTime;

/// Names a session or a share group in the store, for as long as it exists. Never used again for another.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StoredId(pub u64);

/// The number of one message on its way to one session: queues are kept in this order, and it names the row. A message
/// that goes to three sessions takes three.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QueueNumber(pub u64);

/// A session that outlives its connection.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSession {
    /// Its row.
    pub id: StoredId,
    /// The client id that resumes it.
    pub client_id: Arc<str>,
    /// The identity that may resume it.
    pub owner: Owner,
    /// The protocol of its last connection.
    pub version: Version,
    /// Seconds that it outlives its connection; [`u32::MAX`] is for ever.
    pub expiry_s: u32,
    /// When its connection ended; `None` while it is connected, and so after a crash.
    pub detached_at: Option<UnixTime>,
    /// The will that has not been published yet.
    pub will: Option<Box<StoredWill>>,
    /// Filled when the store is read; empty in [`Op::OpenSession`](super::Op::OpenSession), where subscriptions have
    /// operations of their own.
    pub subscriptions: Vec<StoredSubscription>,
    /// QoS 2 publishes of the client that it has not released. Filled when the store is read.
    pub inbound: Vec<PacketId>,
}

/// What is published when the session's connection ends without a goodbye.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWill {
    /// The message, as it goes out.
    pub message: Arc<Message>,
    /// Seconds between the end of the connection and the will.
    pub delay_s: u32,
}

/// One subscription of a stored session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredSubscription {
    /// As it was asked for, `$share/…` included.
    pub filter: Box<str>,
    /// QoS, No Local, Retain As Published in one byte, as the hub packs them.
    pub options: u8,
    /// Its identifier.
    pub id: Option<SubscriptionId>,
    /// How far the retained messages have gone out, while there are more.
    pub cursor: Option<StoredCursor>,
}

/// How far a subscription's retained messages have gone out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredCursor {
    /// The last topic that is in the queue; `None` before the first.
    pub after: Option<Box<str>>,
    /// Retained messages with a higher number came later, as live messages.
    pub upto: u64,
}

/// A share group with a member that outlives its connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredGroup {
    /// Its row, and the name of its queue.
    pub id: StoredId,
    /// `$share/NAME/FILTER`.
    pub filter: Box<str>,
}

/// A message in a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// Its row.
    pub number: QueueNumber,
    /// Whose queue: a session's or a share group's.
    pub queue: StoredId,
    /// The message.
    pub message: Arc<Message>,
    /// The QoS of the delivery.
    pub qos: Qos,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// The client has the message (PUBREC) and was told to let it go (PUBREL), QoS 2 only.
    pub released: bool,
    /// Which subscriptions it answers to.
    pub subscription_ids: Box<[SubscriptionId]>,
}

/// A message changes queues, and is delivered as whoever has it now asked for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assignment {
    /// Which message.
    pub number: QueueNumber,
    /// Its queue from now on.
    pub queue: StoredId,
    /// The QoS of the delivery.
    pub qos: Qos,
    /// The RETAIN flag of the delivery (MQTT 5 §3.3.1.3).
    pub retain: bool,
    /// The subscription identifier of the member.
    pub subscription_id: Option<SubscriptionId>,
}

/// Everything that a broker finds when it starts.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Sessions, in the order of their ids.
    pub sessions: Vec<StoredSession>,
    /// Share groups, in the order of their ids.
    pub groups: Vec<StoredGroup>,
    /// Queued messages, in the order of their numbers. Rows of queues that no longer exist are gone already.
    pub queue: Vec<StoredMessage>,
    /// Retained messages with their numbers, in the order of topics. What has expired is gone already.
    pub retained: Vec<(u64, Arc<Message>)>,
    /// Higher than every session's and group's id.
    pub next_id: u64,
    /// Higher than every queue number.
    pub next_number: u64,
    /// Higher than every number of a retained change.
    pub next_change: u64,
}
