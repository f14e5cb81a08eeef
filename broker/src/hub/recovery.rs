//! What a restart finds: sessions, share groups and queues that the store has kept go to the shards where they live.
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::flow::{Following, Queued, SubscriptionIds};
use super::lifecycle::{EXPIRY_NEVER, after};
use super::retained::Snapshot;
use super::routes::Options;
use super::session::{Presence, Subscription, Will};
use super::{Cause, Hub, RetainHandling, Session, SessionKey, SharedRights, Times, Wanted};
use crate::authn::Principal;
use crate::identity::Revision;
use crate::log::{Op, StoredGroup, StoredId, StoredMessage, StoredSession, StoredSubscription};
use crate::shard::Outbox;
use keygate_protocol::mqtt::PacketId;
use keygate_protocol::topic::{TopicFilter, TopicName};

/// What no shard has taken yet.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    sessions: Vec<StoredSession>,
    groups: Vec<StoredGroup>,
    queues: BTreeMap<StoredId, Vec<StoredMessage>>,
}

impl Unclaimed {
    pub(super) fn new(
        sessions: Vec<StoredSession>,
        groups: Vec<StoredGroup>,
        queue: Vec<StoredMessage>,
    ) -> Self {
        let mut queues: BTreeMap<StoredId, Vec<StoredMessage>> = BTreeMap::new();
        for message in queue {
            queues.entry(message.queue).or_default().push(message);
        }
        Self {
            sessions,
            groups,
            queues,
        }
    }
}

impl Unclaimed {
    /// The row and the queue of this share group, if the store has kept it.
    pub(super) fn take_group(&mut self, filter: &str) -> Option<(StoredId, Vec<StoredMessage>)> {
        let at = self
            .groups
            .iter()
            .position(|group| &*group.filter == filter)?;
        let group = self.groups.swap_remove(at);
        let queue = self.queues.remove(&group.id).unwrap_or_default();
        Some((group.id, queue))
    }

    fn take_queue(&mut self, id: StoredId) -> Vec<StoredMessage> {
        self.queues.remove(&id).unwrap_or_default()
    }

    /// Share groups of which no session is left that may have their messages: their rows can go.
    pub(super) fn drop_orphans(&mut self, rights: &SharedRights) -> Vec<Op> {
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        for session in &self.sessions {
            let mut filters = session
                .subscriptions
                .iter()
                .filter_map(|subscription| TopicFilter::new(&subscription.filter).ok())
                .filter(|filter| filter.share().is_some())
                .peekable();
            if filters.peek().is_none() {
                continue;
            }
            let Some(principal) = rights.principal(&session.owner) else {
                continue;
            };
            wanted.extend(
                filters
                    .filter(|filter| rights.subscribe(&principal, *filter).is_some())
                    .map(|filter| filter.as_str()),
            );
        }
        let (kept, orphans) = std::mem::take(&mut self.groups)
            .into_iter()
            .partition(|group| wanted.contains(&*group.filter));
        self.groups = kept;
        let orphans: Vec<StoredGroup> = orphans;
        let mut ops = Vec::new();
        for group in orphans {
            let rows = self.queues.remove(&group.id).unwrap_or_default();
            ops.extend(rows.into_iter().map(|row| Op::Dequeue(row.number)));
            ops.push(Op::CloseGroup(group.id));
        }
        ops
    }
}

impl Hub {
    /// Takes what lives on this shard out of what the store has kept. Once, before anybody is let in.
    pub(crate) fn recover(&mut self, times: Times, out: &mut Outbox) {
        if std::mem::replace(&mut self.recovered, true) {
            return;
        }
        let claimed: Vec<StoredSession> = {
            let mut unclaimed = self.shared.unclaimed();
            let home = |session: &mut StoredSession| self.home(&session.client_id) == self.shard;
            unclaimed.sessions.extract_if(.., home).collect()
        };
        for stored in claimed {
            self.restore(stored, times, out);
        }
    }

    fn restore(&mut self, stored: StoredSession, times: Times, out: &mut Outbox) {
        let queue = self.shared.unclaimed().take_queue(stored.id);
        let Some(principal) = self.shared.rights.principal(&stored.owner) else {
            // Its owner is no more, so nobody will come for it.
            let rows = queue.into_iter().map(|row| Op::Dequeue(row.number));
            self.ops.extend(rows);
            self.ops.push(Op::CloseSession(stored.id));
            return;
        };
        let session = self.session_of_store(&stored, principal, times);
        let key = self.insert(session);
        if stored.detached_at.is_none() {
            self.ops.push(Op::Detach {
                session: stored.id,
                at: times.wall,
                expiry_s: stored.expiry_s,
                will_pending: stored.will.is_some(),
            });
        }
        for subscription in stored.subscriptions {
            self.restore_subscription(key, subscription);
        }
        self.restore_queue(key, &stored.inbound, queue);
        if stored.expiry_s == 0 {
            return self.close(key, &Cause::ConnectionLost, times, out);
        }
        self.watch_absent(key, times.now);
    }

    fn session_of_store(
        &self,
        stored: &StoredSession,
        principal: Principal,
        times: Times,
    ) -> Session {
        let will = stored.will.as_ref().and_then(|will| {
            let topic = TopicName::new(will.message.topic()).ok()?;
            let retain = will.message.retain();
            let permit = self.shared.rights.publish(&principal, topic, retain)?;
            Some(Box::new(Will {
                message: Arc::clone(&will.message),
                permit,
                delay_s: will.delay_s,
            }))
        });
        // What has passed while nobody ran counts.
        let away_s = stored
            .detached_at
            .map_or(0, |at| times.wall.0.saturating_sub(at.0));
        let away_s = u32::try_from(away_s).unwrap_or(u32::MAX);
        let delay_s = will.as_ref().map_or(0, |will| will.delay_s);
        Session {
            client_id: Arc::clone(&stored.client_id),
            principal,
            version: stored.version,
            presence: Presence::Absent {
                ends: match stored.expiry_s {
                    EXPIRY_NEVER => None,
                    expiry_s => after(times.now, expiry_s.saturating_sub(away_s)),
                },
                will_at: times
                    .now
                    .plus(u64::from(delay_s.saturating_sub(away_s)) * 1_000),
            },
            expiry_s: stored.expiry_s,
            stored: Some(stored.id),
            partial: false,
            watched: None,
            last_packet_id: 0,
            lost: 0,
            reauthentication: None,
            denials: Cell::default(),
            subscriptions: Vec::new(),
            will,
            flow: None,
        }
    }

    fn restore_subscription(&mut self, key: SessionKey, stored: StoredSubscription) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let permit = TopicFilter::new(&stored.filter).ok().and_then(|filter| {
            let permit = self.shared.rights.subscribe(&session.principal, filter)?;
            Some((filter, permit))
        });
        let Some((filter, permit)) = permit else {
            if let Some(session) = session.stored {
                let filter = stored.filter;
                self.ops.push(Op::Unsubscribe { session, filter });
            }
            return;
        };
        let options = Options::of_byte(stored.options);
        session.subscriptions.push(Subscription {
            filter: stored.filter.clone(),
            permit,
        });
        session.classify();
        if let Some(cursor) = &stored.cursor {
            session.flow().follow(Following {
                snapshot: Snapshot::resume(&stored.filter, cursor),
                options,
                id: stored.id,
            });
        }
        let wanted = Wanted {
            filter,
            options,
            id: stored.id,
            retain_handling: RetainHandling::Keep,
        };
        match filter.share().is_some() {
            true => self.join(key, wanted, true),
            false => drop(self.route_subscription(key, wanted, false)),
        }
    }

    /// What was sent and not acknowledged goes out again under its old identifier: it follows from the number.
    fn restore_queue(&mut self, key: SessionKey, inbound: &[PacketId], queue: Vec<StoredMessage>) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let flow = session.flow();
        for &packet_id in inbound {
            flow.receive(packet_id);
        }
        for row in queue {
            if row.released {
                if !flow.restore_released(row.number) {
                    // One PUBREL and one PUBCOMP are all that the client gets under this identifier.
                    self.ops.push(Op::Dequeue(row.number));
                }
                continue;
            }
            flow.restore(Queued {
                message: row.message,
                ids: SubscriptionIds::of(&row.subscription_ids),
                number: Some(row.number),
                origin: None,
                revision: Revision(u64::MAX),
                qos: row.qos,
                retain: row.retain,
                dup: true,
                packet_id: None,
            });
        }
        self.queued_bytes += session.bytes();
        session.rest();
    }
}
