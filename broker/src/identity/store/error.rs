//! What a store answers when it cannot do its work, by who can mend it.
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store could not do it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Resource: another process holds the database.
    #[error("the identity database is locked by another process; try again when it is done")]
    Busy,
    /// Ours, or a second writer: the change does not fit what is stored.
    #[error(
        "the identity database contradicts the record of `{id}` in memory; restart the broker to reload it"
    )]
    Conflict {
        /// The device whose change was refused.
        id: Arc<str>,
    },
    /// Ours: what is stored cannot be what was written.
    #[error("the identity database is damaged ({detail}); restore it from a backup")]
    Corrupt {
        /// What was found.
        detail: String,
    },
    /// Resource: no room on the disk.
    #[error(
        "no space left on the disk for the identity database; nothing was changed. Make room and try again: until then \
         devices can be suspended, revoked and removed, and none can be enrolled"
    )]
    DiskFull,
    /// After an uncertain outcome nothing is written until a restart has read what is really there.
    #[error(
        "an earlier write to the identity database failed half way; restart the broker to see what is stored"
    )]
    Halted,
    /// Resource: the file cannot be opened or read.
    #[error("the identity database {} cannot be used: {detail}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// Caller: written by a later version of Keygate.
    #[error(
        "the identity database has schema {found}, this version knows {known} at most; \
         use the version of Keygate that wrote it, or restore an older backup"
    )]
    NewerSchema {
        /// The schema in the file.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// Caller: the file is a database of something else.
    #[error("{} is not an identity database of Keygate", path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
    },
    /// Caller: written by an earlier version of Keygate, and opened only to be read.
    #[error(
        "the identity database has schema {found}, this version reads {known}; \
         start this version of Keygate on it once, which migrates it"
    )]
    OlderSchema {
        /// The schema in the file.
        found: u32,
        /// The one needed here.
        known: u32,
    },
    /// Resource: the disk failed while a batch was being made durable, so it may or may not be stored.
    #[error(
        "the disk failed while the identity database was written ({detail}); whether the change is stored shows after a restart"
    )]
    Uncertain {
        /// What the system says.
        detail: String,
    },
}

impl StoreError {
    /// Whether the batch may have been stored all the same. The process should end: only a fresh look at the disk tells.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Uncertain { .. })
    }
}
