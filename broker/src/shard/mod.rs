//! The loop that carries everything: one shard a thread, one poll, no task per connection.
//!
//! The core ([`Shard`]) is sans-I/O. A shell hands it accepted connections and bytes and two times, and takes from an
//! [`Outbox`] what is to be written, closed, mailed and recorded. There are two shells: `poll` on real sockets, and the
//! harness that runs N shards in one thread under virtual time.
//!
//! A turn takes a bounded number of events, of bytes a connection and of logins; established sessions come first. A
//! panic ends the connection whose event caused it and nothing else.
mod conn;
mod core;
#[cfg(test)]
mod harness;
mod login;
mod outbox;
pub mod poll;
mod postage;
mod relay;
mod session;
mod wheel;

pub use self::core::{Input, Inputs, Shard, ShardSetup};
pub use conn::ListenerId;
pub(crate) use conn::{Conn, State};
pub use login::Moving;
pub use outbox::{Close, Outbox, Wrote};
pub(crate) use postage::{Parcel, Postage};
pub use relay::{Node, Upstream};
pub(crate) use wheel::Wheel;

use crate::hub::{Delivery, Own, Sharing};
use std::sync::Arc;

slotmap::new_key_type! {
    /// A connection on its shard, with its generation.
    pub struct ConnKey;
}

/// Which shard: 0 to N-1.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ShardId(pub u16);

/// What shards and the admin thread send to a shard.
#[derive(Clone, Debug)]
pub enum Mail {
    /// Deliver to your sessions what a publisher elsewhere sent.
    Deliver(Delivery),
    /// What share groups and the shards of their members tell each other.
    Share(Sharing),
    /// These identities changed: look at their sessions again.
    Recheck(Arc<[Arc<str>]>),
    /// What the broker says of itself.
    Own(Arc<[Own]>),
    /// The broker stops: end every session.
    Stop,
}
