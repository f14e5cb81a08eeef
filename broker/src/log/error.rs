use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

use crate::disk::Fault;

/// Why the log cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// Resource: another process holds the database.
    #[error("{} is held by another process; end it first", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// Ours: what is stored cannot be what was written.
    #[error(
        "{} is damaged ({detail}); restore it from a backup, or move it away to start without sessions, queues and \
         retained messages",
        path.display()
    )]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Resource: no room on the disk, not even with the reserve.
    #[error("no space left to open {}; nothing was changed", path.display())]
    DiskFull {
        /// Which file.
        path: PathBuf,
    },
    /// Resource: the file cannot be opened, read or written.
    #[error("{} cannot be used: {detail}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// Caller: written by a later version of Keygate.
    #[error(
        "{} has schema {found}, this version knows {known} at most; use the version of Keygate that wrote it, or restore \
         an older backup",
        path.display()
    )]
    NewerSchema {
        /// Which file.
        path: PathBuf,
        /// The schema in the file.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// Caller: the file is a database of something else.
    #[error("{} is not a state database of Keygate", path.display())]
    NotOurs {
        /// Which file.
        path: PathBuf,
    },
    /// Resource: the system gives no thread.
    #[error("cannot start the log's thread: {0}")]
    Thread(#[source] io::Error),
}

/// Who is to blame for an error while the database is opened.
#[expect(clippy::needless_pass_by_value, reason = "shaped for map_err")]
pub(super) fn blame(error: rusqlite::Error, path: &Path) -> LogError {
    let (path, detail) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => LogError::Busy { path },
        Some(ErrorCode::DiskFull) => LogError::DiskFull { path },
        Some(ErrorCode::NotADatabase) => LogError::NotOurs { path },
        Some(ErrorCode::DatabaseCorrupt) => LogError::Corrupt { path, detail },
        Some(_) => LogError::Io { path, detail },
        // No code of SQLite: a column did not have the type that we wrote.
        None => LogError::Corrupt { path, detail },
    }
}

/// Why a window was not committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum CommitError {
    /// No room on the disk: nothing of it is stored, and it can be tried again.
    Full,
    /// Anything else: nobody knows what is stored.
    Fault(Fault),
}

impl CommitError {
    #[expect(clippy::needless_pass_by_value, reason = "shaped for map_err")]
    pub(super) fn of(error: rusqlite::Error, path: &Path) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Fault(Fault {
                path: path.to_owned(),
                detail: error.to_string(),
            }),
        }
    }
}
