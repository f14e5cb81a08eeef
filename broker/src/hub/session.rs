use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::retained::Snapshot;
use super::routes::Options;
use super::{Message, SessionKey};
use crate::authn::{PendingProof, Principal};
use crate::authz::Permit;
use crate::shard::ConnKey;
use crate::telemetry::ration::Ration;
use keygate_protocol::mqtt::{PacketId, Qos, ReasonCode, Version};

/// One client's session: who it is, what it subscribes to, and what is on its way to it.
///
/// An idle session owns its principal, its subscriptions and nothing else; `flow` comes into being with the first
/// message that has to wait.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client_id: Arc<str>,
    pub(crate) principal: Principal,
    pub(crate) conn: ConnKey,
    pub(crate) version: Version,
    /// QoS 1 messages that may be unacknowledged at the client.
    pub(crate) window: u16,
    /// Largest packet that the client takes.
    pub(crate) packet_max: u32,
    /// The client's publishes that wait for their acknowledgement.
    pub(crate) unacknowledged: u16,
    next_packet_id: u16,
    /// Whether the hub waits for the write buffer to come down.
    pub(crate) congested: bool,
    /// A re-authentication that waits for its proof.
    pub(crate) reauthentication: Option<Box<PendingProof>>,
    /// How many refused rights of it are recorded.
    pub(crate) denials: Cell<Ration>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) will: Option<Box<Will>>,
    flow: Option<Box<Flow>>,
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
}

/// What is on its way to one client.
#[derive(Debug, Default)]
struct Flow {
    /// QoS 1 messages at the client, in the order in which they were sent.
    inflight: VecDeque<PacketId>,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    snapshots: VecDeque<(Snapshot, Options)>,
}

/// A message that waits for the session's window.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
}

/// What became of a message that a session must get.
#[derive(Debug)]
pub(crate) enum Queueing {
    /// Send it now.
    Send(Queued),
    /// It waits.
    Waits,
    /// The queue is full: the session must end, with 0x97.
    Overflow,
}

impl Session {
    pub(crate) fn new(
        client_id: Arc<str>,
        principal: Principal,
        conn: ConnKey,
        version: Version,
        window: u16,
        packet_max: u32,
        will: Option<Box<Will>>,
    ) -> Self {
        Self {
            client_id,
            principal,
            conn,
            version,
            window,
            packet_max,
            unacknowledged: 0,
            next_packet_id: 0,
            congested: false,
            reauthentication: None,
            denials: Cell::default(),
            subscriptions: Vec::new(),
            will,
            flow: None,
        }
    }

    /// Whether a message may go out now, or behind those that wait already.
    pub(crate) fn queue(
        &mut self,
        queued: Queued,
        write_full: bool,
        count_max: usize,
        bytes_max: usize,
    ) -> Queueing {
        let window = usize::from(self.window);
        if !write_full
            && self
                .flow
                .as_ref()
                .is_none_or(|flow| flow.queue.is_empty() && flow.inflight.len() < window)
        {
            return Queueing::Send(queued);
        }
        let flow = self.flow.get_or_insert_default();
        let size = queued.message.size();
        if flow.queue.len() >= count_max || flow.queue_bytes + size > bytes_max {
            return Queueing::Overflow;
        }
        flow.queue_bytes += size;
        flow.queue.push_back(queued);
        Queueing::Waits
    }

    /// The next waiting message, if the window has room.
    pub(crate) fn unqueue(&mut self) -> Option<Queued> {
        let window = usize::from(self.window);
        let flow = self
            .flow
            .as_mut()
            .filter(|flow| flow.inflight.len() < window)?;
        let queued = flow.queue.pop_front()?;
        flow.queue_bytes -= queued.message.size();
        Some(queued)
    }

    /// Takes a packet id for a message that goes out now.
    pub(crate) fn take_packet_id(&mut self) -> PacketId {
        let flow = self.flow.get_or_insert_default();
        loop {
            self.next_packet_id = self.next_packet_id.wrapping_add(1);
            // The window is far smaller than the range of ids, so a free one is never far.
            if let Some(id) = PacketId::new(self.next_packet_id)
                && !flow.inflight.contains(&id)
            {
                flow.inflight.push_back(id);
                return id;
            }
        }
    }

    /// The client acknowledged this id. False if it was not at the client.
    pub(crate) fn acknowledge(&mut self, id: PacketId) -> bool {
        let Some(flow) = self.flow.as_mut() else {
            return false;
        };
        let Some(at) = flow.inflight.iter().position(|&inflight| inflight == id) else {
            return false;
        };
        flow.inflight.remove(at);
        true
    }

    /// Retained messages of this subscription are to follow.
    pub(crate) fn add_snapshot(&mut self, snapshot: Snapshot, options: Options) {
        let flow = self.flow.get_or_insert_default();
        // Subscribing again starts over: at most one snapshot a subscription.
        flow.snapshots
            .retain(|(waiting, _)| waiting.filter() != snapshot.filter());
        flow.snapshots.push_back((snapshot, options));
    }

    /// Retained messages of this filter are no longer wanted.
    pub(crate) fn drop_snapshot(&mut self, filter: &str) {
        if let Some(flow) = self.flow.as_mut() {
            flow.snapshots
                .retain(|(waiting, _)| waiting.filter() != filter);
        }
    }

    /// The snapshot to go on with, and how many messages it may give now; `None` while live messages wait.
    pub(crate) fn next_snapshot(&mut self) -> Option<(Snapshot, Options, usize)> {
        let window = usize::from(self.window);
        let flow = self.flow.as_mut().filter(|flow| flow.queue.is_empty())?;
        let room = window
            .checked_sub(flow.inflight.len())
            .filter(|&room| room > 0)?;
        flow.snapshots
            .pop_front()
            .map(|(snapshot, options)| (snapshot, options, room))
    }

    /// Puts back a snapshot that has more to give.
    pub(crate) fn return_snapshot(&mut self, snapshot: Snapshot, options: Options) {
        self.flow
            .get_or_insert_default()
            .snapshots
            .push_front((snapshot, options));
    }

    /// Gives the memory of an idle flow back.
    pub(crate) fn rest(&mut self) {
        if let Some(flow) = &self.flow
            && flow.inflight.is_empty()
            && flow.queue.is_empty()
            && flow.snapshots.is_empty()
        {
            self.flow = None;
        }
    }
}

/// A publish whose acknowledgement waits until the log is durable that far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingAck {
    pub(crate) session: SessionKey,
    pub(crate) packet_id: PacketId,
    pub(crate) code: ReasonCode,
}
