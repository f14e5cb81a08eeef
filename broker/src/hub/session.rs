use std::cell::Cell;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::Message;
use super::flow::Flow;
use crate::authn::{PendingProof, Principal};
use crate::authz::{Coverage, Permit};
use crate::limits::Reached;
use crate::log::StoredId;
use crate::shard::ConnKey;
use crate::telemetry::ration::Ration;
use keygate_protocol::mqtt::{Alias, PacketId, Version};
use keygate_protocol::time::Millis;

/// One client's session: who it is, what it subscribes to, and what is on its way to it. It may outlive its connection.
///
/// An idle session owns its principal, its subscriptions and nothing else.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    pub(crate) principal: Principal,
    pub(crate) version: Version,
    pub(crate) presence: Presence,
    /// Seconds that it outlives its connection; [`u32::MAX`] is for ever.
    pub(crate) expiry_s: u32,
    /// Its row, if it may outlive its connection.
    pub(crate) stored: Option<StoredId>,
    /// Whether some subscription lets through only a part of what its filter matches.
    pub(super) partial: bool,
    /// When it comes out of the wheel of absent sessions, if it is in there.
    pub(super) watched: Option<Millis>,
    pub(super) last_packet_id: u16,
    /// Messages that its full queue could not take, since its client was last there.
    pub(super) lost: u32,
    /// A re-authentication that waits for its proof.
    pub(crate) reauthentication: Option<Box<PendingProof>>,
    /// How many refused rights of it are recorded.
    pub(crate) denials: Cell<Ration>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) will: Option<Box<Will>>,
    pub(super) flow: Option<Box<Flow>>,
}

/// Whether a session's client is there.
#[derive(Debug)]
pub(crate) enum Presence {
    /// On this connection.
    Connected(Link),
    /// It may come back.
    Absent {
        /// When the session ends; `None` is never.
        ends: Option<Millis>,
        /// When its will goes out, if it has one.
        will_at: Millis,
    },
}

/// What a session has only while it is connected.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnKey,
    /// Messages of QoS 1 and 2 that may be unacknowledged at the client.
    pub(crate) window: u16,
    /// Largest packet that the client takes.
    pub(crate) packet_max: u32,
    /// The client's QoS 1 publishes that wait for their acknowledgement.
    pub(crate) unacknowledged: u16,
    /// Acknowledgements that wait for the log, of whatever kind.
    pub(super) pending_acks: usize,
    /// Whether the hub waits for the write buffer to come down.
    pub(super) congested: bool,
    /// Topic aliases in both directions; none while nobody uses any.
    pub(crate) aliases: Option<Box<Aliases>>,
    /// Aliases that the client takes (what it declared, and our own bound).
    pub(crate) aliases_out: u16,
}

/// Topic aliases of one connection (MQTT 5 §3.3.2.3.4).
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    /// The client's, from 1.
    inbound: Vec<Option<Box<str>>>,
    /// Ours, from 1: given to the first topics that are delivered, and never to others.
    outbound: Vec<Box<str>>,
    /// There was a topic for which no number was left.
    outbound_full: bool,
}

/// One granted subscription. It exists only with the permit that granted it.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: Box<str>,
    pub(crate) permit: Permit,
}

/// What is published for the client when its connection ends without a goodbye. Its permit was given at CONNECT.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) message: Arc<Message>,
    pub(crate) permit: Permit,
    /// Seconds between the end of the connection and the will.
    pub(crate) delay_s: u32,
}

/// What a CONNECT asks for, once its client is known.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) client_id: Arc<str>,
    pub(crate) principal: Principal,
    pub(crate) version: Version,
    pub(crate) expiry_s: u32,
    pub(crate) will: Option<Box<Will>>,
    pub(crate) link: Link,
}

impl Link {
    pub(crate) fn new(conn: ConnKey, window: u16, packet_max: u32, aliases_out: u16) -> Self {
        Self {
            conn,
            window,
            packet_max,
            unacknowledged: 0,
            pending_acks: 0,
            congested: false,
            aliases: None,
            aliases_out,
        }
    }

    /// How a topic is written to this client.
    pub(super) fn alias_of(&mut self, topic: &str, reached: &Reached) -> Alias {
        if self.aliases_out == 0 {
            return Alias::None;
        }
        let aliases = self.aliases.get_or_insert_default();
        let outbound = &mut aliases.outbound;
        let number = |index: usize| NonZeroU16::new(u16::try_from(index + 1).unwrap_or_default());
        if let Some(index) = outbound.iter().position(|known| **known == *topic) {
            return number(index).map_or(Alias::None, Alias::Known);
        }
        if outbound.len() >= usize::from(self.aliases_out) {
            // Once a connection: what follows is on the way of every message.
            if !std::mem::replace(&mut aliases.outbound_full, true) {
                reached.topic_aliases_out.add();
            }
            return Alias::None;
        }
        outbound.push(topic.into());
        number(outbound.len() - 1).map_or(Alias::None, Alias::New)
    }

    /// The client says that this number stands for this topic from now on. It is within what we declared.
    pub(crate) fn set_alias(&mut self, alias: NonZeroU16, topic: &str) {
        let inbound = &mut self.aliases.get_or_insert_default().inbound;
        let index = usize::from(alias.get()) - 1;
        if index >= inbound.len() {
            inbound.resize(index + 1, None);
        }
        if let Some(slot) = inbound.get_mut(index) {
            *slot = Some(topic.into());
        }
    }

    /// The topic that the client's number stands for.
    pub(crate) fn aliased(&self, alias: NonZeroU16) -> Option<&str> {
        let inbound = &self.aliases.as_ref()?.inbound;
        inbound.get(usize::from(alias.get()) - 1)?.as_deref()
    }
}

impl Session {
    /// A session that begins with this connection.
    pub(super) fn new(opening: Opening, stored: Option<StoredId>) -> Self {
        Self {
            client_id: opening.client_id,
            principal: opening.principal,
            version: opening.version,
            presence: Presence::Connected(opening.link),
            expiry_s: opening.expiry_s,
            stored,
            partial: false,
            watched: None,
            last_packet_id: 0,
            lost: 0,
            reauthentication: None,
            denials: Cell::default(),
            subscriptions: Vec::new(),
            will: opening.will,
            flow: None,
        }
    }

    /// Its connection, if its client is there.
    pub(crate) fn link(&self) -> Option<&Link> {
        match &self.presence {
            Presence::Connected(link) => Some(link),
            Presence::Absent { .. } => None,
        }
    }

    pub(crate) fn link_mut(&mut self) -> Option<&mut Link> {
        match &mut self.presence {
            Presence::Connected(link) => Some(link),
            Presence::Absent { .. } => None,
        }
    }

    /// The connection that it is on.
    pub(crate) fn conn(&self) -> Option<ConnKey> {
        self.link().map(|link| link.conn)
    }

    /// What the client has sent and not been answered: counts against Receive Maximum (MQTT 5 §4.9).
    pub(crate) fn owed(&self) -> usize {
        let received = self.flow.as_ref().map_or(0, |flow| flow.received());
        received
            + self
                .link()
                .map_or(0, |link| usize::from(link.unacknowledged))
    }

    /// Whether a QoS 2 publish with this identifier is here already.
    pub(crate) fn has_received(&self, id: PacketId) -> bool {
        self.flow.as_ref().is_some_and(|flow| flow.has_received(id))
    }

    /// Notes what delivery must know of the subscriptions.
    pub(super) fn classify(&mut self) {
        self.partial = self
            .subscriptions
            .iter()
            .any(|subscription| subscription.permit.coverage() != Coverage::Full);
    }

    /// What is on its way to the client.
    pub(super) fn flow(&mut self) -> &mut Flow {
        self.flow.get_or_insert_default()
    }

    /// Bytes that wait for the client, or are kept to be sent again.
    pub(super) fn bytes(&self) -> usize {
        self.flow.as_ref().map_or(0, |flow| flow.bytes())
    }

    /// Gives the memory of an idle flow back.
    pub(super) fn rest(&mut self) {
        if self.flow.as_ref().is_some_and(|flow| flow.is_idle()) {
            self.flow = None;
        }
    }
}
