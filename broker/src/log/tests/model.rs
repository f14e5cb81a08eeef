//! What a store must hold, kept in plain maps, and random operations that keep it busy.
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::rng::{Random, SeededRandom, SystemRandom};

/// A store as it can be compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Picture {
    sessions: BTreeMap<u64, Session>,
    groups: BTreeSet<u64>,
    /// Queue, released, payload.
    queue: BTreeMap<u64, (u64, bool, Vec<u8>)>,
    retained: BTreeMap<String, (u64, Vec<u8>)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Session {
    expiry_s: u32,
    detached_at: Option<u64>,
    will: bool,
    /// Options and how far the cursor is.
    subscriptions: BTreeMap<String, (u8, Option<u64>)>,
    inbound: BTreeSet<u16>,
}

impl Picture {
    pub(super) fn of(found: &Recovered) -> Self {
        let session = |session: &StoredSession| Session {
            expiry_s: session.expiry_s,
            detached_at: session.detached_at.map(|at| at.0),
            will: session.will.is_some(),
            subscriptions: session
                .subscriptions
                .iter()
                .map(|s| {
                    let upto = s.cursor.as_ref().map(|cursor| cursor.upto);
                    (s.filter.to_string(), (s.options, upto))
                })
                .collect(),
            inbound: session.inbound.iter().map(|id| id.get()).collect(),
        };
        let queued = |stored: &StoredMessage| {
            let payload = stored.message.payload().to_vec();
            (stored.number.0, (stored.queue.0, stored.released, payload))
        };
        Self {
            sessions: found
                .sessions
                .iter()
                .map(|s| (s.id.0, session(s)))
                .collect(),
            groups: found.groups.iter().map(|group| group.id.0).collect(),
            queue: found.queue.iter().map(queued).collect(),
            retained: found
                .retained
                .iter()
                .map(|(change, m)| (m.topic().to_owned(), (*change, m.payload().to_vec())))
                .collect(),
        }
    }

    /// What a start makes of it: queues of nobody go.
    pub(super) fn when_read(mut self) -> Self {
        let (sessions, groups) = (&self.sessions, &self.groups);
        self.queue
            .retain(|_, (queue, ..)| sessions.contains_key(queue) || groups.contains(queue));
        self
    }

    pub(super) fn apply_all<'o>(&mut self, ops: impl IntoIterator<Item = &'o Op>) {
        ops.into_iter().for_each(|op| self.apply(op));
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Retain { change, message } => {
                let value = (*change, message.payload().to_vec());
                self.retained.insert(message.topic().to_owned(), value);
            }
            Op::Forget(topic) => drop(self.retained.remove(&**topic)),
            Op::OpenSession(stored) => {
                let session = self.sessions.entry(stored.id.0).or_default();
                session.expiry_s = stored.expiry_s;
                session.detached_at = stored.detached_at.map(|at| at.0);
                session.will = stored.will.is_some();
            }
            Op::Detach {
                session,
                at,
                expiry_s,
                will_pending,
            } => self.with(*session, |session| {
                session.detached_at = Some(at.0);
                session.expiry_s = *expiry_s;
                session.will &= will_pending;
            }),
            Op::WillDone(session) => self.with(*session, |session| session.will = false),
            Op::CloseSession(session) => drop(self.sessions.remove(&session.0)),
            Op::Subscribe {
                session,
                subscription,
            } => self.with(*session, |session| {
                let upto = subscription.cursor.as_ref().map(|cursor| cursor.upto);
                let value = (subscription.options, upto);
                session
                    .subscriptions
                    .insert(subscription.filter.to_string(), value);
            }),
            Op::Unsubscribe { session, filter } => self.with(*session, |session| {
                session.subscriptions.remove(&**filter);
            }),
            Op::Cursor {
                session,
                filter,
                cursor,
            } => self.with(*session, |session| {
                if let Some(subscription) = session.subscriptions.get_mut(&**filter) {
                    subscription.1 = cursor.as_ref().map(|cursor| cursor.upto);
                }
            }),
            Op::OpenGroup(group) => drop(self.groups.insert(group.id.0)),
            Op::CloseGroup(group) => drop(self.groups.remove(&group.0)),
            Op::Enqueue(stored) => {
                let payload = stored.message.payload().to_vec();
                let value = (stored.queue.0, stored.released, payload);
                self.queue.insert(stored.number.0, value);
            }
            Op::Assign(to) => {
                if let Some(message) = self.queue.get_mut(&to.number.0) {
                    message.0 = to.queue.0;
                }
            }
            Op::Release(number) => {
                if let Some(message) = self.queue.get_mut(&number.0) {
                    message.1 = true;
                }
            }
            Op::Dequeue(number) => drop(self.queue.remove(&number.0)),
            Op::Receive { session, packet_id } => self.with(*session, |session| {
                session.inbound.insert(packet_id.get());
            }),
            Op::Received { session, packet_id } => self.with(*session, |session| {
                session.inbound.remove(&packet_id.get());
            }),
        }
    }

    fn with(&mut self, id: StoredId, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.get_mut(&id.0) {
            change(session);
        }
    }
}

/// A seed of its own each run, printed, so that a failure can be had again: `KEYGATE_SEED` sets it.
pub(super) fn dice(what: &str) -> SeededRandom {
    let fresh = || u64::from_le_bytes((&mut SystemRandom as &mut dyn Random).array());
    let seed = std::env::var("KEYGATE_SEED").map_or_else(|_| fresh(), |s| s.parse().unwrap());
    println!("{what}: KEYGATE_SEED={seed}");
    SeededRandom::new(seed)
}

/// Operations as a hub would submit them: ids that exist, most of the time.
pub(super) struct Traffic {
    /// Ids are this plus a multiple of the step, so that several can run at once.
    next_id: u64,
    step: u64,
    sessions: Vec<u64>,
    groups: Vec<u64>,
    /// Messages that are in a queue.
    messages: Vec<u64>,
}

impl Traffic {
    pub(super) fn new(first: u64, step: u64) -> Self {
        Self {
            next_id: first,
            step,
            sessions: Vec::new(),
            groups: Vec::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn batch(&mut self, dice: &mut SeededRandom) -> Vec<Op> {
        (0..=dice.below(5)).map(|_| self.op(dice)).collect()
    }

    fn id(&mut self) -> u64 {
        self.next_id += self.step;
        self.next_id
    }

    fn pick(from: &[u64], dice: &mut SeededRandom) -> u64 {
        match from.is_empty() {
            true => 0,
            false => from[dice.below(from.len() as u64) as usize],
        }
    }

    fn op(&mut self, dice: &mut SeededRandom) -> Op {
        let session = StoredId(Self::pick(&self.sessions, dice));
        let group = StoredId(Self::pick(&self.groups, dice));
        let number = QueueNumber(Self::pick(&self.messages, dice));
        let topic = format!("t/{}", dice.below(6) * self.step + self.next_id % self.step);
        let packet_id = packet(1 + dice.below(5) as u16);
        let cursor = Some(StoredCursor {
            after: None,
            upto: dice.below(9),
        });
        match dice.below(24) {
            0 | 1 => {
                let id = self.id();
                self.sessions.push(id);
                let will = (dice.below(2) == 0).then(|| {
                    Box::new(StoredWill {
                        message: message("w", b"x"),
                        delay_s: 1,
                    })
                });
                Op::OpenSession(Box::new(StoredSession {
                    will,
                    ..super::session(id)
                }))
            }
            2 => Op::OpenSession(Box::new(super::session(session.0.max(1)))),
            3 => Op::Detach {
                session,
                at: UnixTime(WALL),
                expiry_s: 1_000,
                will_pending: dice.below(2) == 0,
            },
            4 => Op::WillDone(session),
            5 => {
                self.sessions.retain(|id| *id != session.0);
                Op::CloseSession(session)
            }
            // A row of nobody is no crash's doing: the hub subscribes for sessions that exist.
            6 | 7 if !self.sessions.is_empty() => Op::Subscribe {
                session,
                subscription: StoredSubscription {
                    options: dice.below(64) as u8,
                    cursor,
                    ..subscription(&topic)
                },
            },
            8 => Op::Unsubscribe {
                session,
                filter: topic.into(),
            },
            9 => Op::Cursor {
                session,
                filter: topic.into(),
                cursor: cursor.filter(|cursor| cursor.upto > 4),
            },
            10 => {
                let id = self.id();
                self.groups.push(id);
                Op::OpenGroup(StoredGroup {
                    id: StoredId(id),
                    filter: topic.into(),
                })
            }
            11 => {
                self.groups.retain(|id| *id != group.0);
                Op::CloseGroup(group)
            }
            12 => Op::Assign(Assignment {
                number,
                queue: if dice.below(2) == 0 { session } else { group },
                qos: Qos::ExactlyOnce,
                retain: dice.below(2) == 0,
                subscription_id: None,
            }),
            13 => Op::Release(number),
            14..=16 => {
                self.messages.retain(|message| *message != number.0);
                Op::Dequeue(number)
            }
            17 if !self.sessions.is_empty() => Op::Receive { session, packet_id },
            18 => Op::Received { session, packet_id },
            19 | 20 => Op::Retain {
                change: self.id(),
                message: message(&topic, &dice.next_u64().to_le_bytes()),
            },
            21 => Op::Forget(topic.into()),
            _ => {
                let id = self.id();
                self.messages.push(id);
                enqueue(
                    id,
                    if dice.below(3) == 0 {
                        group.0
                    } else {
                        session.0
                    },
                )
            }
        }
    }
}

/// However operations fall into windows, the store holds what they say.
#[test]
fn windows_of_any_size_come_to_the_same() {
    let mut dice = dice("windows");
    for _ in 0..8 {
        let place = Place::new();
        let (mut writer, _) = place.writer(at(WALL));
        let (mut traffic, mut picture) = (Traffic::new(0, 1), Picture::default());
        for _ in 0..12 {
            let window: Vec<Op> = (0..dice.below(12))
                .flat_map(|_| traffic.batch(&mut dice))
                .collect();
            picture.apply_all(&window);
            writer.commit(&window).unwrap();
        }
        drop(writer);
        let (_, found) = place.writer(at(WALL));
        assert_eq!(Picture::of(&found), picture.when_read());
    }
}
