//! Durability as a number: submit operations, get a number, and what has that number or a lower one is durable as soon
//! as [`Log::durable`] reaches it. The hub acknowledges a publish only then. In memory for now; the store on disk takes
//! its place behind the same trait.
mod memory;

pub use memory::MemoryLog;

use crate::hub::Message;
use std::sync::Arc;

/// Position in the log. Zero is "nothing to wait for".
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct LogNumber(pub u64);

/// One durable change.
#[derive(Clone, Debug)]
pub enum Op {
    /// This message is the retained one of its topic.
    Retain(Arc<Message>),
    /// The topic has no retained message any more.
    Forget(Box<str>),
}

/// Where the hub writes what must survive a crash.
///
/// A log that says `durable` too early loses acknowledged messages; one that says it too late only slows publishers
/// down. Neither call may block: a shard stands still while it runs.
pub trait Log: Send + Sync {
    /// Takes the operations in this order.
    fn submit(&self, ops: Vec<Op>) -> LogNumber;

    /// Everything up to this number survives a crash from now on.
    fn durable(&self) -> LogNumber;
}
