use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::acks::Pending;
use super::delivery::SNAPSHOT_MESSAGES;
use super::{
    Cause, GroupKey, HashSeed, HubShared, Loss, Recipient, Session, SessionKey, Subscriber,
    SubscriberKey, Target, Times,
};
use crate::log::{LogNumber, Op};
use crate::shard::{ConnKey, Mail, Outbox, ShardId, Wheel};
use crate::telemetry::Tally;
use keygate_protocol::time::Millis;
use slotmap::SlotMap;

/// Absent sessions are looked at by the second; a later deadline comes out at the wheel's end and is put back.
const ABSENT_TICK_MS: u64 = 1_000;
const ABSENT_SLOTS: usize = 512;

/// The engine of one shard.
pub struct Hub {
    pub(super) shard: ShardId,
    pub(super) shared: Arc<HubShared>,
    pub(super) sessions: SlotMap<SessionKey, Session>,
    pub(super) by_client: HashMap<Arc<str>, SessionKey, HashSeed>,
    /// Sessions whose client id is not their identity's, by identity.
    pub(super) by_identity: HashMap<Arc<str>, Vec<SessionKey>, HashSeed>,
    /// What waits for the log, in the order of its numbers.
    pub(super) pending: VecDeque<(LogNumber, Pending)>,
    /// Messages among them.
    pub(super) held_back: usize,
    /// Operations that nobody waits for: they go to the log with the next that somebody does, or at the end of the turn.
    pub(super) ops: Vec<Op>,
    /// Sessions that may take more from their queue or snapshots at the end of the turn.
    pub(super) ready: Vec<SessionKey>,
    /// Sessions whose client reads more slowly than they have to send: they go on when the write buffer is down.
    pub(super) congested: Vec<SessionKey>,
    /// Sessions that must end, and why: the gate ends them after the turn.
    pub(super) over: Vec<(SessionKey, Cause)>,
    /// What was lost in this turn, for the audit log.
    pub(crate) losses: Vec<Loss>,
    pub(super) found: Vec<Subscriber>,
    pub(super) recipients: Vec<Recipient>,
    /// Deadlines of sessions without a connection.
    pub(super) absent: Wheel<SessionKey>,
    /// Bytes queued for all sessions.
    pub(super) queued_bytes: usize,
    /// What this shard has counted since the broker started.
    pub(crate) tally: Tally,
    /// What goes to other shards with the end of the turn.
    pub(super) mail: Vec<(ShardId, Mail)>,
    /// Share groups whose home is here.
    pub(super) groups: SlotMap<GroupKey, super::share::Home>,
    /// Whether what the store has kept is here.
    pub(super) recovered: bool,
    shards: u16,
    /// When the queues of share groups are looked through.
    pub(super) groups_due: Option<Millis>,
    /// How far the sweep through the retained messages has come.
    pub(super) sweep: super::sweep::Sweep,
}

impl Hub {
    /// The engine of this shard, one of so many.
    #[must_use]
    pub fn new(shard: ShardId, shards: u16, shared: Arc<HubShared>, now: Millis) -> Self {
        let seed = shared.seed;
        Self {
            shard,
            shared,
            sessions: SlotMap::with_key(),
            by_client: HashMap::with_hasher(seed),
            by_identity: HashMap::with_hasher(seed),
            pending: VecDeque::new(),
            held_back: 0,
            ops: Vec::new(),
            ready: Vec::new(),
            congested: Vec::new(),
            over: Vec::new(),
            losses: Vec::new(),
            found: Vec::new(),
            recipients: Vec::new(),
            absent: Wheel::new(ABSENT_SLOTS, ABSENT_TICK_MS, now),
            queued_bytes: 0,
            tally: Tally::default(),
            mail: Vec::new(),
            groups: SlotMap::with_key(),
            recovered: false,
            shards,
            groups_due: None,
            sweep: super::sweep::Sweep::default(),
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

    /// Bytes queued for all sessions of this shard.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether publishers may be read: while the log's window is full, they wait.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.log.has_room()
    }

    /// Whether the disk has no room for what must survive.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.shared.log.is_full()
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

    /// The sessions of one identity.
    pub(crate) fn sessions_of_identity(&self, id: &str) -> Vec<SessionKey> {
        let own = self.session_of(id).filter(|&key| {
            self.session(key)
                .is_some_and(|session| session.principal.owner().identity().is_some())
        });
        let others = self.by_identity.get(id).into_iter().flatten().copied();
        own.into_iter().chain(others).collect()
    }

    /// The shard where the session of this client id lives: the same for every connection that names it, so that a
    /// takeover is local and nothing has to be looked up. The sessions of one identity, `id` and `id/…`, are together.
    pub(crate) fn home(&self, client_id: &str) -> ShardId {
        let identity = client_id.split('/').next().unwrap_or(client_id);
        let hash = self.shared.seed.hash(identity);
        ShardId((hash % u64::from(self.shards)) as u16)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = SessionKey> + '_ {
        self.sessions.keys()
    }

    /// What the turn's messages left to do: what the log has made durable, queues with room. Gives the sessions that
    /// must end, and why.
    pub(crate) fn end_turn(&mut self, times: Times, out: &mut Outbox) -> Vec<(SessionKey, Cause)> {
        self.flush_pending(times, out);
        let congested = std::mem::take(&mut self.congested);
        for &key in &congested {
            if let Some(link) = self.sessions.get_mut(key).and_then(Session::link_mut) {
                link.congested = false;
            }
        }
        for key in std::mem::take(&mut self.ready).into_iter().chain(congested) {
            self.pump(key, times, out);
        }
        self.commit();
        out.mail.append(&mut self.mail);
        std::mem::take(&mut self.over)
    }

    /// Hands everything that waits to the log. Gives the number that covers it.
    pub(super) fn commit(&mut self) -> LogNumber {
        if self.ops.is_empty() {
            return LogNumber::default();
        }
        self.shared.log.submit(std::mem::take(&mut self.ops))
    }

    /// Whether something is to be done once more of the log is durable.
    #[must_use]
    pub fn awaits_log(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a turn without input would find something to do.
    #[must_use]
    pub fn has_work(&self, out: &Outbox) -> bool {
        !self.recovered
            || !self.ready.is_empty()
            || !self.ops.is_empty()
            || !self.mail.is_empty()
            || !self.over.is_empty()
            || self
                .pending
                .front()
                .is_some_and(|(number, _)| *number <= self.shared.log.durable())
            || self.congested.iter().any(|&key| {
                self.sessions
                    .get(key)
                    .and_then(Session::conn)
                    .is_none_or(|conn| !self.write_full(conn, out))
            })
    }

    /// When a session without a connection, or the sweep, is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        [self.absent.next_due(), self.sweep_due()]
            .into_iter()
            .flatten()
            .min()
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
            target: Target::Session(session),
        }
    }
}
