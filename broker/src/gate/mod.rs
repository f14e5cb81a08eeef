//! Where a connection comes in: CONNECT and AUTH before it is known, rights on every packet once it is.
//!
//! The gate owns no connection. The shard hands it a packet and what belongs to it; the gate asks [`authn`](crate::authn)
//! who the peer is and [`authz`](crate::authz) what it may do, writes the answer, and calls the hub with the permit.
mod audit;
mod handshake;
mod packet;
mod permit;
mod publish;
mod reauth;
mod reply;
mod rights;
mod subscribe;
mod terms;
pub mod transport;
mod will;

pub(crate) use audit::{Source, disconnect_cause, rule_of, undelivered};
pub(crate) use handshake::decode_connect;
pub(crate) use handshake::{Admission, Handshake, Step};
pub(crate) use packet::{Established, goodbye, handle};
pub(crate) use permit::Denial;
pub(crate) use reauth::{Holder, NotRenewed, Reauthenticated, reauthenticate};
pub(crate) use reply::{Opened, accept, disconnect, fits, refuse};
pub(crate) use terms::Terms;
pub(crate) use will::opening;

use std::sync::Arc;

use crate::authn::{Authn, ListenerRules};
use crate::authz::Policy;
use crate::identity::Directory;
use crate::limits::{Limits, Reached};
use crate::shard::ListenerId;
use keygate_protocol::mqtt::ReasonCode;

/// What every connection is measured by.
pub struct Gate {
    /// Who is it?
    pub authn: Arc<Authn>,
    /// What may it do?
    pub policy: Arc<Policy>,
    /// The devices, to see whether a session's is still welcome.
    pub directory: Arc<Directory>,
    /// The bounds.
    pub limits: Arc<Limits>,
    /// How often they were reached.
    pub reached: Arc<Reached>,
    /// Which logins each listener takes, by [`ListenerId`].
    pub listeners: Vec<ListenerRules>,
    /// Whether a 3.1.1 client's publish that is not allowed is acknowledged and dropped, instead of closing.
    pub acknowledge_refused: bool,
    /// What SUBACK says of a filter that is not allowed: 0x87, or 0x80, which tells nothing.
    pub subscribe_refusal: ReasonCode,
}

impl Gate {
    /// Which logins a listener takes.
    pub(crate) fn rules(&self, listener: ListenerId) -> &ListenerRules {
        &self.listeners[usize::from(listener.index)]
    }
}
