use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::delivery::SNAPSHOT_MESSAGES;
use super::session::PendingAck;
use super::{Cause, HashSeed, HubShared, Session, SessionKey, Subscriber, SubscriberKey, Times};
use crate::log::LogNumber;
use crate::shard::{ConnKey, Outbox, ShardId};
use slotmap::SlotMap;

/// The engine of one shard.
pub struct Hub {
    pub(super) shard: ShardId,
    pub(super) shared: Arc<HubShared>,
    pub(super) sessions: SlotMap<SessionKey, Session>,
    by_client: HashMap<Arc<str>, SessionKey, HashSeed>,
    pub(super) pending_acks: VecDeque<(LogNumber, PendingAck)>,
    /// Sessions that may take more from their queue or snapshots at the end of the turn.
    pub(super) ready: Vec<SessionKey>,
    /// Sessions whose client reads more slowly than they have to send: they go on when the write buffer is down.
    pub(super) congested: Vec<SessionKey>,
    /// Sessions whose queue is full: the gate ends them after the turn.
    pub(super) overflowed: Vec<SessionKey>,
    pub(super) found: Vec<Subscriber>,
}

impl Hub {
    /// The engine of this shard.
    #[must_use]
    pub fn new(shard: ShardId, shared: Arc<HubShared>) -> Self {
        let seed = shared.seed;
        Self {
            shard,
            shared,
            sessions: SlotMap::with_key(),
            by_client: HashMap::with_hasher(seed),
            pending_acks: VecDeque::new(),
            ready: Vec::new(),
            congested: Vec::new(),
            overflowed: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Sessions on this shard.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The session that this client id has on this shard: the one that a login with it takes over.
    pub(crate) fn session_of(&self, client_id: &str) -> Option<SessionKey> {
        self.by_client.get(client_id).copied()
    }

    pub(crate) fn session(&self, key: SessionKey) -> Option<&Session> {
        self.sessions.get(key)
    }

    pub(crate) fn session_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.sessions.get_mut(key)
    }

    /// The sessions of one identity. A device's client id is its id; identities with several sessions get an index
    /// when there are any.
    pub(crate) fn sessions_of_identity(&self, id: &str) -> Vec<SessionKey> {
        self.session_of(id).into_iter().collect()
    }

    /// The keyed hash by which client ids are spread over shards.
    pub(crate) fn hash(&self, client_id: &str) -> u64 {
        self.shared.seed.hash(client_id)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = SessionKey> + '_ {
        self.sessions.keys()
    }

    /// Adds a session. Its client id must be free: the gate closes the one that is taken over first, so that its will
    /// is out before the new session hears anything.
    pub(crate) fn open(&mut self, session: Session) -> SessionKey {
        let client_id = Arc::clone(&session.client_id);
        let key = self.sessions.insert(session);
        let replaced = self.by_client.insert(client_id, key);
        debug_assert!(
            replaced.is_none(),
            "the session that is taken over was closed first"
        );
        key
    }

    /// Ends a session: its subscriptions go, its will goes out if the cause says so. Says whose connection it was.
    pub(crate) fn close(
        &mut self,
        key: SessionKey,
        cause: &Cause,
        times: Times,
        out: &mut Outbox,
    ) -> Option<Session> {
        let mut session = self.sessions.remove(key)?;
        if self.by_client.get(&session.client_id) == Some(&key) {
            self.by_client.remove(&session.client_id);
        }
        if !session.subscriptions.is_empty() {
            let subscriber = self.subscriber(key);
            let mut routes = self.shared.routes_mut();
            for subscription in &session.subscriptions {
                routes.remove(&subscription.filter, subscriber);
            }
        }
        let will = session.will.take();
        if let Some(will) = will.filter(|_| cause.publishes_will()) {
            let message = will.message.published_at(times);
            // A will that no longer fits (retained store full) has nobody left to be told.
            let _ = self.publish(None, &message, will.permit, times, out);
        }
        Some(session)
    }

    /// What the turn's messages left to do: acknowledgements whose log number is durable, queues with room.
    /// Gives the sessions that must end because their queue is full.
    pub(crate) fn end_turn(&mut self, times: Times, out: &mut Outbox) -> Vec<SessionKey> {
        self.flush_acknowledgements(out);
        let congested = std::mem::take(&mut self.congested);
        for &key in &congested {
            if let Some(session) = self.sessions.get_mut(key) {
                session.congested = false;
            }
        }
        for key in std::mem::take(&mut self.ready).into_iter().chain(congested) {
            self.pump(key, times, out);
        }
        std::mem::take(&mut self.overflowed)
    }

    /// Whether a turn without input would find something to do.
    #[must_use]
    pub fn has_work(&self, out: &Outbox) -> bool {
        !self.ready.is_empty()
            || self
                .pending_acks
                .front()
                .is_some_and(|(number, _)| *number <= self.shared.log.durable())
            || self.congested.iter().any(|&key| {
                self.sessions
                    .get(key)
                    .is_none_or(|s| !self.write_full(s.conn, out))
            })
    }

    /// Whether something is to be done once more of the log is durable.
    #[must_use]
    pub fn awaits_log(&self) -> bool {
        !self.pending_acks.is_empty()
    }

    /// Looks at this session again at the end of the turn.
    pub(super) fn revisit(&mut self, key: SessionKey) {
        if self.ready.last() != Some(&key) {
            self.ready.push(key);
        }
    }

    pub(super) fn write_full(&self, conn: ConnKey, out: &Outbox) -> bool {
        out.pending(conn) > self.shared.limits.write_bytes
    }

    /// Bytes that wait to be written to a client that reads: a full queue, or a full write buffer with one step of
    /// retained messages behind it. More than this are answers to a client that asks and does not read.
    pub(crate) fn unread_max(&self) -> usize {
        let limits = &self.shared.limits;
        // One more, for the message that filled the buffer.
        let step = (SNAPSHOT_MESSAGES + 1).saturating_mul(limits.packet_bytes as usize);
        limits
            .queue_bytes
            .max(limits.write_bytes.saturating_add(step))
    }

    pub(super) fn subscriber(&self, session: SessionKey) -> SubscriberKey {
        SubscriberKey {
            shard: self.shard,
            session,
        }
    }
}
