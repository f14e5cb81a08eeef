//! Durability as a number: submit operations, get a number, and what has that number or a lower one is durable as soon
//! as [`Log::durable`] reaches it. The hub acknowledges a publish only then.
//!
//! | file | what it holds |
//! |---|---|
//! | [`record`] | what is stored, as values |
//! | [`SqliteLog`] | `state.db`: the window that shards fill, and the thread that commits it |
//! | `cadence` | when it commits |
//! | `fold` | what a window comes to: what cancels in it is never written |
//! | `writer` | windows into the database, the write-ahead log's bound, the reserve |
//! | `schema`, `table`, `load` | the tables, values to rows, and back at the start |
//! | [`MemoryLog`] | no store at all: everything counts as durable and ends with the process |
mod cadence;
mod error;
mod fold;
mod load;
mod memory;
pub mod record;
mod schema;
mod settings;
mod size;
mod sqlite;
mod table;
mod writer;

pub use error::LogError;
pub use memory::MemoryLog;
pub use record::{
    Assignment, QueueNumber, Recovered, StoredCursor, StoredGroup, StoredId, StoredMessage,
    StoredSession, StoredSubscription, StoredWill,
};
pub use settings::LogSettings;
pub use sqlite::{OnDurable, OnFull, SqliteLog};

use crate::hub::Message;
use keygate_protocol::mqtt::PacketId;
use keygate_protocol::time::UnixTime;
use std::sync::Arc;

/// Position in the log. Zero is "nothing to wait for".
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct LogNumber(pub u64);

/// One durable change. A batch of them is durable as a whole or not at all.
#[derive(Clone, Debug)]
pub enum Op {
    /// This message is the retained one of its topic; the number orders all retained changes.
    Retain {
        /// Its place among all changes.
        change: u64,
        /// The message.
        message: Arc<Message>,
    },
    /// The topic has no retained message any more.
    Forget(Box<str>),
    /// The session exists and has a connection: a new row, or the old one with what its new CONNECT says.
    OpenSession(Box<StoredSession>),
    /// The session's connection ended.
    Detach {
        /// Which session.
        session: StoredId,
        /// When.
        at: UnixTime,
        /// How long it lives on; a DISCONNECT can change it.
        expiry_s: u32,
        /// Whether its will still waits to be published.
        will_pending: bool,
    },
    /// The session's will is published or dropped.
    WillDone(StoredId),
    /// The session is over, with its subscriptions and unreleased publishes. Its queue rows have operations of their
    /// own; rows that a crash leaves behind are dropped when the store is read.
    CloseSession(StoredId),
    /// A subscription is new or has changed.
    Subscribe {
        /// Whose.
        session: StoredId,
        /// What.
        subscription: StoredSubscription,
    },
    /// A subscription is over.
    Unsubscribe {
        /// Whose.
        session: StoredId,
        /// As it was asked for.
        filter: Box<str>,
    },
    /// The subscription's retained messages have gone into the queue up to here; `None` when that was all.
    Cursor {
        /// Whose.
        session: StoredId,
        /// Which subscription.
        filter: Box<str>,
        /// How far.
        cursor: Option<StoredCursor>,
    },
    /// A share group needs a queue that survives.
    OpenGroup(StoredGroup),
    /// A share group is over.
    CloseGroup(StoredId),
    /// A message is in a queue.
    Enqueue(StoredMessage),
    /// A message changes queues: from a share group to its member, or back.
    Assign(Assignment),
    /// The client has the message (PUBREC); only PUBREL and PUBCOMP are left.
    Release(QueueNumber),
    /// The message has arrived, or nobody is left to get it.
    Dequeue(QueueNumber),
    /// A QoS 2 publish of the client is here, under this packet identifier.
    Receive {
        /// Whose.
        session: StoredId,
        /// Under which identifier.
        packet_id: PacketId,
    },
    /// The client released its publish (PUBREL): the identifier is free.
    Received {
        /// Whose.
        session: StoredId,
        /// Which identifier.
        packet_id: PacketId,
    },
}

/// Where the hub writes what must survive a crash.
///
/// A log that says `durable` too early loses acknowledged messages; one that says it too late only slows publishers
/// down. No call may block: a shard stands still while it runs.
pub trait Log: Send + Sync {
    /// Takes the operations in this order, as one unit. Always takes them: whoever brings new messages asks
    /// [`has_room`](Self::has_room) and [`is_full`](Self::is_full) first.
    fn submit(&self, ops: Vec<Op>) -> LogNumber;

    /// Everything up to this number survives a crash from now on.
    fn durable(&self) -> LogNumber;

    /// Whether the window of operations that are not durable yet has room. While it has none, a shard reads no
    /// publisher.
    fn has_room(&self) -> bool;

    /// Whether the disk is full: a message that must be kept is refused (0x97) while it is; what makes the store smaller
    /// is still taken.
    fn is_full(&self) -> bool;
}

#[cfg(test)]
mod tests;
