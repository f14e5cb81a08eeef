//! The MQTT engine of one shard: sessions, subscriptions, retained messages, wills, delivery.
//!
//! It knows no socket and decides no right: whoever publishes or subscribes brings a [`Permit`](crate::authz::Permit).
//! Drive it in this order: `open` after a login, then `subscribe`, `publish`, `acknowledge` … as packets come, `close`
//! once, and `end_turn` after every turn. Everything that it wants written or said goes into the
//! [`Outbox`](crate::shard::Outbox).
//!
//! Here now: QoS 0 and 1, retained messages, wills, takeover; sessions end with their connection.
mod cause;
mod delivery;
mod engine;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the engine learns shared subscriptions next")
)]
mod group;
mod message;
mod publish;
mod retained;
mod routes;
mod session;
mod shared;
mod subscribe;
pub(crate) mod wire;

pub use cause::Cause;
pub(crate) use delivery::Delivery;
pub use engine::Hub;
pub use message::{Message, MessageParts};
pub(crate) use publish::PublishError;
pub(crate) use routes::{HashSeed, Options, Subscriber};
pub(crate) use session::{Session, Will};
pub use shared::HubShared;
pub(crate) use subscribe::{RetainHandling, SubscribeError, Wanted};

use crate::shard::ShardId;
use keygate_protocol::time::{Millis, UnixTime};

slotmap::new_key_type! {
    /// A session on its shard. Its generation makes a message that comes after the session's end find nothing.
    pub struct SessionKey;
}

/// A session anywhere in the broker.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SubscriberKey {
    pub(crate) shard: ShardId,
    pub(crate) session: SessionKey,
}

/// The two times of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Monotonic.
    pub now: Millis,
    /// Wall clock.
    pub wall: UnixTime,
}
