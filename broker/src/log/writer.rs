//! Windows into the database, on one connection. Knows no thread and no clock.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::{Connection, TransactionBehavior};

use super::error::CommitError;
use super::fold::{Folded, Marks, fold};
use super::load::load;
use super::table::{make, read_marks, write_marks};
use super::{LogError, Op, Recovered, schema};
use crate::disk::Reserve;
use crate::hub::Times;

/// How far the stored marks run ahead of what is used: so rarely are they written.
const IDS_AHEAD: u64 = 1_024;
const NUMBERS_AHEAD: u64 = 1_048_576;
/// Pages of the write-ahead log after which it goes into the database: 4 MiB. More would be read again at the start and
/// would wait for a larger fsync; less writes hot pages more often.
pub(super) const WAL_PAGES: usize = 1_024;

#[cfg(test)]
type OnFreed = Box<dyn FnMut(&Connection) + Send>;

/// The database and its reserve.
pub(super) struct Writer {
    db: Connection,
    path: PathBuf,
    reserve: Reserve,
    /// As they are stored.
    marks: Marks,
    wal_pages: Arc<AtomicUsize>,
    /// Stands for the disk in tests: called when the reserve was given back.
    #[cfg(test)]
    pub(super) on_freed: Option<OnFreed>,
}

impl Writer {
    pub(super) fn open(
        path: &Path,
        mut reserve: Reserve,
        times: Times,
    ) -> Result<(Self, Recovered), LogError> {
        let io = |error| super::error::blame(error, path);
        let mut db = match schema::open(path) {
            Err(LogError::DiskFull { .. }) if give_back(&mut reserve) => schema::open(path)?,
            opened => opened?,
        };
        let recovered = match load(&mut db, path, times) {
            Err(LogError::DiskFull { .. }) if give_back(&mut reserve) => {
                load(&mut db, path, times)?
            }
            loaded => loaded?,
        };
        let wal_pages = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&wal_pages);
        // In place of SQLite's own checkpoints, which swallow their errors.
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.store(usize::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
        .map_err(io)?;
        let marks = read_marks(&db).map_err(io)?;
        let writer = Self {
            db,
            path: path.into(),
            reserve,
            marks,
            wal_pages,
            #[cfg(test)]
            on_freed: None,
        };
        Ok((writer, recovered))
    }

    /// Makes the operations durable, all or none. Says whether anything had to be written.
    pub(super) fn commit<'w>(
        &mut self,
        ops: impl IntoIterator<Item = &'w Op>,
    ) -> Result<bool, CommitError> {
        let folded = fold(ops);
        let marks = self.marks.ahead_of(folded.highest);
        if folded.writes.is_empty() && marks == self.marks {
            return Ok(false);
        }
        self.with_reserve(|writer| writer.write(&folded, marks))?;
        self.marks = marks;
        Ok(true)
    }

    fn write(&mut self, folded: &Folded<'_>, marks: Marks) -> Result<(), CommitError> {
        let io = |error| CommitError::of(error, &self.path);
        // Dropped without a commit, it rolls back.
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(io)?;
        for write in &folded.writes {
            make(&tx, write).map_err(io)?;
        }
        if marks != self.marks {
            write_marks(&tx, marks).map_err(io)?;
        }
        tx.commit().map_err(io)
    }

    /// Moves the write-ahead log into the database once it is long enough, so that the next window begins it anew.
    pub(super) fn checkpoint_if_due(&mut self) -> Result<(), CommitError> {
        if self.wal_pages.load(Ordering::Relaxed) < WAL_PAGES {
            return Ok(());
        }
        self.checkpoint()
    }

    /// Moves the write-ahead log into the database.
    pub(super) fn checkpoint(&mut self) -> Result<(), CommitError> {
        self.with_reserve(|writer| {
            writer
                .db
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))
                .map_err(|error| CommitError::of(error, &writer.path))
        })?;
        self.wal_pages.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Does it, if need be with the space of the reserve.
    fn with_reserve(
        &mut self,
        work: impl Fn(&mut Self) -> Result<(), CommitError>,
    ) -> Result<(), CommitError> {
        match work(self) {
            Err(CommitError::Full) if give_back(&mut self.reserve) => {
                #[cfg(test)]
                if let Some(freed) = &mut self.on_freed {
                    freed(&self.db);
                }
                work(self)
            }
            done => done,
        }
    }

    /// Whether there is space for what makes the database smaller.
    pub(super) fn has_reserve(&self) -> bool {
        self.reserve.is_held()
    }

    /// Sets the reserve aside again, if the disk has room for it.
    pub(super) fn restore_reserve(&mut self) -> bool {
        self.reserve.make().is_ok()
    }

    #[cfg(test)]
    pub(super) fn db(&self) -> &Connection {
        &self.db
    }
}

/// Frees the reserve, if it is held.
fn give_back(reserve: &mut Reserve) -> bool {
    if !reserve.is_held() {
        return false;
    }
    let path = reserve.path().display().to_string();
    match reserve.free() {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "cannot give the reserve {path} back");
            false
        }
    }
}

impl Marks {
    /// The marks that must be stored before these numbers are used.
    fn ahead_of(self, highest: Self) -> Self {
        let ahead = |mark: u64, highest: u64, step| match highest < mark {
            true => mark,
            false => highest.saturating_add(step),
        };
        Self {
            id: ahead(self.id, highest.id, IDS_AHEAD),
            number: ahead(self.number, highest.number, NUMBERS_AHEAD),
            change: ahead(self.change, highest.change, NUMBERS_AHEAD),
        }
    }
}
