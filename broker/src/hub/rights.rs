//! What the hub asks about rights: at delivery, and when they have changed.
use std::sync::Arc;

use super::Cause;
use crate::authn::{Owner, Principal};
use crate::authz::Permit;
use crate::identity::Revision;
use keygate_protocol::time::UnixTime;
use keygate_protocol::topic::{TopicFilter, TopicName};

/// How a session's principal stands now.
#[derive(Debug)]
pub enum Standing {
    /// Nothing that concerns it has changed.
    Unchanged,
    /// Something has; this is the principal as it is now.
    Changed(Box<Principal>),
    /// It must end, for this cause.
    Over(Cause),
}

/// Whether what an identity retained may still be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Voice {
    /// Yes.
    Heard,
    /// Not while its publisher is suspended.
    Hidden,
    /// Never again: its publisher was revoked.
    Gone,
}

/// Who decides rights, seen from the hub. Every change of identity, policy or revocation takes the next revision.
pub trait Rights: Send + Sync {
    /// The newest revision. A principal of this revision needs no second look.
    fn revision(&self) -> Revision;

    /// Looks at a principal again.
    fn standing(&self, principal: &Principal, wall: UnixTime) -> Standing;

    /// The right to a subscription, shared or not.
    fn subscribe(&self, principal: &Principal, filter: TopicFilter<'_>) -> Option<Permit>;

    /// The right to publish: for a will that the store has kept.
    fn publish(&self, principal: &Principal, topic: TopicName<'_>, retain: bool) -> Option<Permit>;

    /// The right to one message, where the subscription's permit does not cover all that its filter matches.
    fn may_receive(&self, principal: &Principal, topic: TopicName<'_>) -> bool;

    /// Whether what this identity retained may still be read.
    fn voice(&self, publisher: &str) -> Voice;

    /// The principal of a session that the store has kept, as it stands without a connection. `None` if its owner is no
    /// more.
    fn principal(&self, owner: &Owner) -> Option<Principal>;
}

/// The seam, shared by all shards.
pub type SharedRights = Arc<dyn Rights>;
