use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::hub::{Message, Times};
use crate::log::{
    Log, LogNumber, Op, QueueNumber, Recovered, StoredGroup, StoredId, StoredMessage, StoredSession,
};

/// A log whose durable mark the test moves. A crash loses everything behind it.
#[derive(Debug, Default)]
pub(super) struct TestLog(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Each is durable as a whole or not at all.
    batches: Vec<Vec<Op>>,
    durable: usize,
}

impl TestLog {
    /// The disk has caught up with this many more batches.
    pub(super) fn sync(&self, count: usize) {
        let mut inner = self.0.lock().unwrap();
        inner.durable = (inner.durable + count).min(inner.batches.len());
    }

    pub(super) fn sync_all(&self) {
        self.sync(usize::MAX / 2);
    }

    /// What a broker that starts again after a crash now would find.
    pub(super) fn after_crash(&self) -> Vec<Op> {
        let inner = self.0.lock().unwrap();
        inner.batches[..inner.durable].concat()
    }

    /// The same as a broker gets it that starts at this time. What was not durable is gone for good.
    pub(super) fn recovered(&self, times: Times) -> Recovered {
        let mut inner = self.0.lock().unwrap();
        let durable = inner.durable;
        inner.batches.truncate(durable);
        let mut store = Store::default();
        for op in inner.batches.iter().flatten() {
            store.apply(op);
        }
        store.read(times)
    }
}

/// Tables, as plainly as can be.
#[derive(Default)]
struct Store {
    sessions: BTreeMap<StoredId, StoredSession>,
    groups: BTreeMap<StoredId, StoredGroup>,
    queue: BTreeMap<QueueNumber, StoredMessage>,
    retained: BTreeMap<Box<str>, (u64, Arc<Message>)>,
    highest: (u64, u64, u64),
}

impl Store {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Retain { change, message } => {
                self.highest.2 = self.highest.2.max(*change);
                let row = (*change, Arc::clone(message));
                self.retained.insert(message.topic().into(), row);
            }
            Op::Forget(topic) => drop(self.retained.remove(topic)),
            Op::OpenSession(session) => {
                self.highest.0 = self.highest.0.max(session.id.0);
                let old = self.sessions.remove(&session.id);
                let (subscriptions, inbound) =
                    old.map_or_else(Default::default, |old| (old.subscriptions, old.inbound));
                let row = StoredSession {
                    subscriptions,
                    inbound,
                    ..(**session).clone()
                };
                self.sessions.insert(session.id, row);
            }
            Op::Detach {
                session,
                at,
                expiry_s,
                will_pending,
            } => self.session(*session, |row| {
                row.detached_at = Some(*at);
                row.expiry_s = *expiry_s;
                row.will = row.will.take().filter(|_| *will_pending);
            }),
            Op::WillDone(session) => self.session(*session, |row| row.will = None),
            Op::CloseSession(session) => drop(self.sessions.remove(session)),
            Op::Subscribe {
                session,
                subscription,
            } => self.session(*session, |row| {
                row.subscriptions
                    .retain(|s| s.filter != subscription.filter);
                row.subscriptions.push(subscription.clone());
            }),
            Op::Unsubscribe { session, filter } => {
                self.session(*session, |row| {
                    row.subscriptions.retain(|s| s.filter != *filter);
                });
            }
            Op::Cursor {
                session,
                filter,
                cursor,
            } => self.session(*session, |row| {
                for subscription in &mut row.subscriptions {
                    if subscription.filter == *filter {
                        subscription.cursor.clone_from(cursor);
                    }
                }
            }),
            Op::OpenGroup(group) => {
                self.highest.0 = self.highest.0.max(group.id.0);
                self.groups.insert(group.id, group.clone());
            }
            Op::CloseGroup(group) => drop(self.groups.remove(group)),
            Op::Enqueue(message) => {
                self.highest.1 = self.highest.1.max(message.number.0);
                self.queue.insert(message.number, message.clone());
            }
            Op::Assign(to) => {
                if let Some(row) = self.queue.get_mut(&to.number) {
                    row.queue = to.queue;
                    row.qos = to.qos;
                    row.retain = to.retain;
                    row.subscription_ids = to.subscription_id.into_iter().collect();
                }
            }
            Op::Release(number) => {
                if let Some(row) = self.queue.get_mut(number) {
                    row.released = true;
                }
            }
            Op::Dequeue(number) => drop(self.queue.remove(number)),
            Op::Receive { session, packet_id } => {
                self.session(*session, |row| row.inbound.push(*packet_id));
            }
            Op::Received { session, packet_id } => {
                self.session(*session, |row| row.inbound.retain(|id| id != packet_id));
            }
        }
    }

    fn session(&mut self, id: StoredId, change: impl FnOnce(&mut StoredSession)) {
        if let Some(row) = self.sessions.get_mut(&id) {
            change(row);
        }
    }

    fn read(self, times: Times) -> Recovered {
        let queues: BTreeSet<StoredId> = self
            .sessions
            .keys()
            .chain(self.groups.keys())
            .copied()
            .collect();
        let restored = |message: &Arc<Message>| Message::restore(&message.parts(), times);
        let lives = |message: &Arc<Message>| {
            let ends = message.parts().expires_at;
            ends.is_none_or(|ends| ends > times.wall)
        };
        Recovered {
            sessions: self.sessions.into_values().collect(),
            groups: self.groups.into_values().collect(),
            queue: self
                .queue
                .into_values()
                .filter(|row| queues.contains(&row.queue))
                .map(|row| StoredMessage {
                    message: restored(&row.message),
                    ..row
                })
                .collect(),
            retained: self
                .retained
                .into_values()
                .filter(|(_, message)| lives(message))
                .map(|(change, message)| (change, restored(&message)))
                .collect(),
            next_id: self.highest.0 + 1,
            next_number: self.highest.1 + 1,
            next_change: self.highest.2 + 1,
        }
    }
}

impl Log for TestLog {
    fn submit(&self, ops: Vec<Op>) -> LogNumber {
        let mut inner = self.0.lock().unwrap();
        inner.batches.push(ops);
        LogNumber(inner.batches.len() as u64)
    }

    fn durable(&self) -> LogNumber {
        LogNumber(self.0.lock().unwrap().durable as u64)
    }

    fn has_room(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }
}
