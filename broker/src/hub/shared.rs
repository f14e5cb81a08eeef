use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::recovery::Unclaimed;
use super::retained::Retained;
use super::routes::{HashSeed, Routes};
use super::share::Registered;
use super::{Message, SharedRights, Voice};
use crate::limits::{Limits, Reached};
use crate::log::{Log, Op, QueueNumber, Recovered, StoredId};

/// What the engines of all shards share: routes, retained messages, the log, the numbers of what is stored.
///
/// Lock order: retained messages, the registry of share groups, what is unclaimed, routes. Nothing is delivered under
/// any of them.
pub struct HubShared {
    pub(crate) limits: Arc<Limits>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) rights: SharedRights,
    pub(crate) reached: Arc<Reached>,
    pub(crate) seed: HashSeed,
    routes: RwLock<Routes>,
    retained: RwLock<Retained>,
    next_id: AtomicU64,
    next_number: AtomicU64,
    /// What the store has kept and no shard has taken yet.
    unclaimed: Mutex<Unclaimed>,
    /// Every share group: where it lives, and how many sessions it has. Ordered, so that no hasher needs a seed.
    groups: Mutex<BTreeMap<Box<str>, Registered>>,
}

/// What a hub is made of.
pub struct HubParts {
    /// The bounds.
    pub limits: Arc<Limits>,
    /// How often they were reached.
    pub reached: Arc<Reached>,
    /// What must survive goes here.
    pub log: Arc<dyn Log>,
    /// Who may still receive.
    pub rights: SharedRights,
    /// Keys every hash table, so it must be secret.
    pub seed: [u8; 16],
    /// What the store has kept.
    pub recovered: Recovered,
}

impl HubShared {
    /// The shared part of a broker that starts with what its store has kept.
    #[must_use]
    pub fn new(parts: HubParts) -> Self {
        let seed = HashSeed(parts.seed);
        let Recovered {
            sessions,
            groups,
            queue,
            retained: kept,
            next_id,
            next_number,
            next_change,
        } = parts.recovered;
        let mut retained = Retained::default();
        retained.start_behind(next_change.saturating_sub(1));
        let gone = |message: &Message| {
            message
                .publisher()
                .is_some_and(|publisher| parts.rights.voice(publisher) == Voice::Gone)
        };
        let mut forgotten = Vec::new();
        for (change, message) in kept {
            if gone(&message) {
                forgotten.push(Op::Forget(message.topic().into()));
            } else {
                retained.restore(change, message);
            }
        }
        let mut unclaimed = Unclaimed::new(sessions, groups, queue);
        forgotten.extend(unclaimed.drop_orphans(&parts.rights));
        if !forgotten.is_empty() {
            parts.log.submit(forgotten);
        }
        Self {
            limits: parts.limits,
            reached: parts.reached,
            log: parts.log,
            rights: parts.rights,
            seed,
            routes: RwLock::new(Routes::new(seed)),
            retained: RwLock::new(retained),
            // Zero says "no row".
            next_id: AtomicU64::new(next_id.max(1)),
            next_number: AtomicU64::new(next_number.max(1)),
            unclaimed: Mutex::new(unclaimed),
            groups: Mutex::default(),
        }
    }

    /// Subscriptions in all.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.routes().len()
    }

    /// Retained messages in all.
    #[must_use]
    pub fn retained_messages(&self) -> usize {
        self.retained().len()
    }

    /// Bytes of retained messages in all.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.retained().bytes()
    }

    /// A row that no session or share group has had.
    pub(super) fn fresh_id(&self) -> StoredId {
        StoredId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// The first of `count` numbers that no queued message has had.
    pub(super) fn fresh_numbers(&self, count: u64) -> QueueNumber {
        QueueNumber(self.next_number.fetch_add(count, Ordering::Relaxed))
    }

    // A panic is caught at the connection that caused it. It may poison a lock, but it cannot leave the table half
    // changed in a way that the next caller could not bear, so the poison is set aside.

    pub(super) fn groups(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Registered>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unclaimed(&self) -> MutexGuard<'_, Unclaimed> {
        self.unclaimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn routes(&self) -> RwLockReadGuard<'_, Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn routes_mut(&self) -> RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn retained(&self) -> RwLockReadGuard<'_, Retained> {
        self.retained.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn retained_mut(&self) -> RwLockWriteGuard<'_, Retained> {
        self.retained
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
