//! The MQTT engine of one shard: sessions, subscriptions, queues, retained messages, wills, delivery.
//!
//! It knows no socket and decides no right: whoever publishes or subscribes brings a [`Permit`](crate::authz::Permit),
//! and at delivery it asks [`Rights`]. Drive it in this order: `open` or `resume` after a login, then `subscribe`,
//! `publish`, `puback` … as packets come, `detach` or `close` once, `expire` when a deadline has come, and `end_turn`
//! after every turn. Everything that it wants written or said goes into the [`Outbox`](crate::shard::Outbox).
//!
//! | file | what it holds |
//! |---|---|
//! | `engine.rs` `shared.rs` | one shard's engine; what all of them share |
//! | `session.rs` `flow.rs` | a session, and what is on its way to its client |
//! | `lifecycle.rs` `recovery.rs` | sessions begin, lose their connection, come back, end; what a restart finds |
//! | `publish.rs` `acks.rs` `delivery.rs` | a message comes in, is acknowledged, goes out |
//! | `loss.rs` | what the audit log hears of messages that a full queue could not take |
//! | `subscribe.rs` `routes.rs` | who wants what: one trie for all shards |
//! | `share.rs` `group.rs` | shared subscriptions across shards; one group of them |
//! | `retained.rs` `sweep.rs` | the newest message of every topic, and how it goes |
//! | `rights.rs` | who may still receive |
mod acks;
mod cause;
mod delivery;
mod engine;
mod flow;
mod group;
mod lifecycle;
mod loss;
mod message;
mod publish;
mod recovery;
mod retained;
mod rights;
mod routes;
mod session;
mod share;
mod shared;
mod subscribe;
mod sweep;
pub(crate) mod wire;

pub use cause::{Cause, WillFate};
pub(crate) use delivery::{Delivery, Recipient};
pub use engine::Hub;
pub(crate) use loss::{Loser, Loss, Lost};
pub use message::{Message, MessageParts};
pub use publish::Own;
pub(crate) use publish::{Publication, PublishError};
pub use rights::{Rights, SharedRights, Standing, Voice};
pub(crate) use routes::{HashSeed, Options, Subscriber};
pub(crate) use session::{Link, Opening, Session, Will};
pub use share::Sharing;
pub use shared::{HubParts, HubShared};
pub(crate) use subscribe::{RetainHandling, SubscribeError, Wanted};

use crate::shard::ShardId;
use keygate_protocol::time::{Millis, UnixTime};

slotmap::new_key_type! {
    /// A session on its shard. Its generation makes a message that comes after the session's end find nothing.
    pub struct SessionKey;

    /// A share group on its shard.
    pub struct GroupKey;
}

/// Who gets messages of a subscription.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Target {
    Session(SessionKey),
    Group(GroupKey),
}

/// A session or a share group anywhere in the broker.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct SubscriberKey {
    pub(crate) shard: ShardId,
    pub(crate) target: Target,
}

/// The two times of a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Monotonic.
    pub now: Millis,
    /// Wall clock.
    pub wall: UnixTime,
}
