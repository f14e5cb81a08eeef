use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::retained::Retained;
use super::routes::{HashSeed, Routes};
use crate::limits::Limits;
use crate::log::Log;

/// What the engines of all shards share: routes, retained messages, the log.
///
/// Lock order: routes and retained messages are never held together, and nothing is delivered under either.
pub struct HubShared {
    pub(crate) limits: Arc<Limits>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) seed: HashSeed,
    routes: RwLock<Routes>,
    retained: RwLock<Retained>,
}

impl HubShared {
    /// Nothing subscribed, nothing retained. The seed keys every hash table, so it must be secret.
    #[must_use]
    pub fn new(limits: Arc<Limits>, log: Arc<dyn Log>, seed: [u8; 16]) -> Self {
        let seed = HashSeed(seed);
        Self {
            limits,
            log,
            seed,
            routes: RwLock::new(Routes::new(seed)),
            retained: RwLock::default(),
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

    // A panic is caught at the connection that caused it. It may poison a lock, but it cannot leave the table half
    // changed in a way that the next caller could not bear, so the poison is set aside.

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
