//! Where records survive a restart: the seam behind which another database can take SQLite's place.

mod error;
mod fault;
mod feed;
mod memory;
mod rows;
mod schema;
mod sqlite;

#[cfg(test)]
mod contract_tests;

pub use error::StoreError;
pub use fault::EndOnFault;
pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

use super::device::Device;
use std::fmt;
use std::sync::Arc;

/// The number of a batch of changes. Grows by one a batch, never goes back and survives restarts; 0 is the empty
/// store.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    serde::Deserialize,
    serde::Serialize,
)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One change of one record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// A record that is not there yet.
    Add(Arc<Device>),
    /// The new record of a device that is there.
    Replace(Arc<Device>),
    /// No record any more.
    Remove(Arc<str>),
}

impl Change {
    /// The device it is about.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        match self {
            Self::Add(device) | Self::Replace(device) => &device.id,
            Self::Remove(id) => id,
        }
    }
}

/// Everything in a store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// All records, in the order of enrolment.
    pub devices: Vec<Device>,
    /// The batch after which they looked so.
    pub revision: Revision,
}

/// What became of a reader's picture since the revision it knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Changes {
    /// Put these records, drop those ids, and the picture is that of `revision`.
    Since {
        /// The records that are new or different, as they are now.
        devices: Vec<Device>,
        /// The ids that are gone.
        removed: Vec<Arc<str>>,
        /// The revision they lead to.
        revision: Revision,
    },
    /// The reader is further behind than the feed remembers
    /// ([`FEED_IDS_MAX`](super::FEED_IDS_MAX)), or ahead of a store that was restored from a backup:
    /// [`Store::load`] again.
    Reload,
}

/// What keeps the records.
///
/// The registry decides whether a change is right; a store keeps exactly what it is given, or nothing of it. What wrong
/// answers cost: a store that forgets an acknowledged batch brings a revoked device back to life at the next start; one
/// that repeats a revision lets a reader keep rights that were withdrawn.
pub trait Store: Send {
    /// Reads everything.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a record cannot be what was written; the kinds of an unreadable disk.
    fn load(&mut self) -> Result<Snapshot, StoreError>;

    /// Makes all changes of the batch in their order, or none, and returns once they are durable. A batch without
    /// changes returns the revision as it is.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a change does not fit what is stored: an id or key that is taken, a record that is
    /// not there. After every error but an [uncertain](StoreError::is_uncertain) one, nothing has changed.
    fn apply(&mut self, batch: &[Change]) -> Result<Revision, StoreError>;

    /// What happened after `revision`.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn changes_since(&mut self, revision: Revision) -> Result<Changes, StoreError>;
}
