//! `identity.db`: the store in a SQLite file.
//!
//! Write-ahead log, `synchronous=FULL`: when [`apply`](Store::apply) returns, the batch has been through `fsync`, and a
//! SIGKILL or a power cut at any moment leaves whole batches only.
use super::feed::{FEED_IDS_KEPT, Keep};
use super::rows::{ReadError, attributes_column, list_column, read_devices, time_column};
use super::schema::{check_newest, migrate};
use super::{Change, Changes, Revision, Snapshot, Store, StoreError};
use crate::disk::Reserve;
use crate::identity::device::Device;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for somebody who looks at the database with another program.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// What the write-ahead log is cut back to after a large import.
const WAL_KEPT_BYTES: i64 = 4 * 1024 * 1024;

/// Keeps records in a SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    path: PathBuf,
    /// Rows of the change feed.
    remembered: usize,
    /// Space for a full disk, if the database has some.
    reserve: Option<Reserve>,
}

impl SqliteStore {
    /// Opens the database, makes it if there is none, and brings it to the newest schema.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`], [`StoreError::NotOurs`], or what keeps the file from being opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let io = |error| blame(error, path);
        let mut db = Connection::open(path).map_err(io)?;
        db.busy_timeout(BUSY_WAIT).map_err(io)?;
        migrate_checked(&mut db, path)?;
        let remembered: i64 = db
            .query_row("SELECT count(*) FROM change", (), |row| row.get(0))
            .map_err(io)?;
        Ok(Self {
            db,
            path: path.into(),
            remembered: usize::try_from(remembered).unwrap_or(0),
            reserve: None,
        })
    }

    /// Sets space aside for a full disk. While it is in use, devices can be changed and removed, and none can be added.
    #[must_use]
    pub fn with_reserve(mut self, mut reserve: Reserve) -> Self {
        if let Err(error) = reserve.make() {
            tracing::error!(
                %error,
                "cannot set space aside at {}; no device can be enrolled until that works",
                reserve.path().display()
            );
        }
        self.reserve = Some(reserve);
        self
    }

    /// Opens a database that somebody else keeps, to look at it: every [`apply`](Store::apply) fails. It may be written
    /// by another process at the same time.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`StoreError::OlderSchema`]: only who writes may migrate.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let io = |error| blame(error, path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(io)?;
        db.busy_timeout(BUSY_WAIT).map_err(io)?;
        db.pragma_update(None, "trusted_schema", false)
            .map_err(io)?;
        check_newest(&db, path)?;
        Ok(Self {
            db,
            path: path.into(),
            remembered: 0,
            reserve: None,
        })
    }

    /// Waits so long for others, for a test that does not want to wait.
    #[cfg(test)]
    pub(crate) fn wait_for_others(&self, wait: Duration) -> rusqlite::Result<()> {
        self.db.busy_timeout(wait)
    }

    /// Lets the database grow no further, as a full disk would.
    #[cfg(test)]
    pub(crate) fn allow_no_growth(&self) -> rusqlite::Result<()> {
        let pages: i64 = self
            .db
            .pragma_query_value(None, "page_count", |row| row.get(0))?;
        self.db
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }

    /// As a disk to which the reserve was given back.
    #[cfg(test)]
    fn allow_growth(&self) -> rusqlite::Result<()> {
        self.db
            .pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(()))
    }

    fn read_error(&self, error: ReadError) -> StoreError {
        match error {
            ReadError::Sql(error) => blame(error, &self.path),
            ReadError::Record(error) => error,
        }
    }
}

/// Settings, then schema. Nothing is written to a file that turns out not to be ours.
fn migrate_checked(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let io = |error| blame(error, path);
    db.pragma_update(None, "foreign_keys", true).map_err(io)?;
    db.pragma_update(None, "trusted_schema", false)
        .map_err(io)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(io)?;
    migrate(db, path)?;
    let mode: String = db
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(io)?;
    if mode != "wal" {
        return Err(StoreError::Io {
            path: path.into(),
            detail: format!("the file system allows no write-ahead log (journal mode {mode})"),
        });
    }
    db.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))
        .map_err(io)
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.snapshot().map_err(|error| self.read_error(error))
    }

    fn apply(&mut self, batch: &[Change]) -> Result<Revision, StoreError> {
        if batch.is_empty() {
            return meta(&self.db, "revision").map_err(|error| blame(error, &self.path));
        }
        let grows = batch.iter().any(|change| matches!(change, Change::Add(_)));
        if !self.has_room() && grows {
            return Err(StoreError::DiskFull);
        }
        match self.write(batch) {
            Err(StoreError::DiskFull) if !grows && self.free_reserve() => self.write(batch),
            result => result,
        }
    }

    fn changes_since(&mut self, revision: Revision) -> Result<Changes, StoreError> {
        self.changes(revision)
            .map_err(|error| self.read_error(error))
    }
}

impl SqliteStore {
    /// Whether the reserve is there, or can be made again. A database without one has room until it is full.
    fn has_room(&mut self) -> bool {
        self.reserve
            .as_mut()
            .is_none_or(|reserve| reserve.make().is_ok())
    }

    fn free_reserve(&mut self) -> bool {
        let Some(reserve) = self.reserve.as_mut().filter(|reserve| reserve.is_held()) else {
            return false;
        };
        if let Err(error) = reserve.free() {
            tracing::error!(%error, "cannot give the reserve {} back", reserve.path().display());
            return false;
        }
        tracing::error!(
            "the disk is full: the identity database's reserve is in use, and no device can be enrolled until there is \
             room"
        );
        #[cfg(test)]
        let _ = self.allow_growth();
        true
    }

    fn write(&mut self, batch: &[Change]) -> Result<Revision, StoreError> {
        let write = |error| blame_write(error, &self.path);
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(write)?;
        for change in batch {
            make(&tx, change).map_err(|error| match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => conflict(change),
                _ if error == rusqlite::Error::QueryReturnedNoRows => conflict(change),
                _ => blame_write(error, &self.path),
            })?;
        }
        let (revision, remembered) = finish(&tx, batch, self.remembered).map_err(write)?;
        tx.commit().map_err(write)?;
        self.remembered = remembered;
        Ok(revision)
    }

    fn snapshot(&mut self) -> Result<Snapshot, ReadError> {
        let tx = self.db.transaction()?;
        Ok(Snapshot {
            devices: read_devices(&tx, "", &[])?,
            revision: meta(&tx, "revision")?,
        })
    }

    fn changes(&mut self, since: Revision) -> Result<Changes, ReadError> {
        let tx = self.db.transaction()?;
        let (floor, revision) = (meta(&tx, "feed_floor")?, meta(&tx, "revision")?);
        if since < floor || since > revision {
            return Ok(Changes::Reload);
        }
        let after = i64::try_from(since.0).unwrap_or(i64::MAX);
        let devices = read_devices(
            &tx,
            "WHERE id IN (SELECT id FROM change WHERE revision > ?1)",
            &[&after],
        )?;
        let mut gone = tx.prepare(
            "SELECT DISTINCT id FROM change WHERE revision > ?1
             AND NOT EXISTS (SELECT 1 FROM device WHERE device.id = change.id) ORDER BY id",
        )?;
        let removed: Result<Vec<Arc<str>>, _> = gone
            .query_map([after], |row| row.get::<_, Arc<str>>(0))?
            .collect();
        Ok(Changes::Since {
            devices,
            removed: removed?,
            revision,
        })
    }
}

fn make(tx: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Add(device) => {
            tx.prepare_cached(
                "INSERT INTO device (id, state, role_names, group_names, via_names, attributes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                device.id,
                device.state.as_str(),
                list_column(&device.roles),
                list_column(&device.groups),
                list_column(&device.via),
                attributes_column(&device.attributes),
            ])?;
            put_keys(tx, tx.last_insert_rowid(), device)
        }
        Change::Replace(device) => {
            let number: i64 = tx
                .prepare_cached(
                    "UPDATE device SET state = ?2, role_names = ?3, group_names = ?4,
                     via_names = ?5, attributes = ?6 WHERE id = ?1 RETURNING number",
                )?
                .query_row(
                    params![
                        device.id,
                        device.state.as_str(),
                        list_column(&device.roles),
                        list_column(&device.groups),
                        list_column(&device.via),
                        attributes_column(&device.attributes),
                    ],
                    |row| row.get(0),
                )?;
            tx.prepare_cached("DELETE FROM device_key WHERE device = ?1")?
                .execute([number])?;
            put_keys(tx, number, device)
        }
        Change::Remove(id) => tx
            .prepare_cached("DELETE FROM device WHERE id = ?1 RETURNING number")?
            .query_row([id], |_| Ok(())),
    }
}

fn put_keys(tx: &Transaction<'_>, number: i64, device: &Device) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO device_key (key_id, public_key, device, position, not_before, not_after)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, key) in (0_i64..).zip(&device.keys) {
        insert.execute(params![
            key.key_id.as_bytes(),
            key.public.as_bytes(),
            number,
            position,
            time_column(key.not_before),
            time_column(key.not_after),
        ])?;
    }
    Ok(())
}

/// Takes the next revision and writes the change feed; returns the revision and the rows the feed now has.
fn finish(
    tx: &Transaction<'_>,
    batch: &[Change],
    remembered: usize,
) -> rusqlite::Result<(Revision, usize)> {
    let revision: i64 = tx.query_row(
        "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value",
        (),
        |row| row.get(0),
    )?;
    let ids: BTreeSet<&Arc<str>> = batch.iter().map(Change::id).collect();
    let keep = Keep::decide(remembered, ids.len());
    let mut remembered = remembered;
    if keep != Keep::Nothing {
        let mut insert = tx.prepare_cached("INSERT INTO change (revision, id) VALUES (?1, ?2)")?;
        for id in &ids {
            insert.execute(params![revision, id])?;
        }
        remembered += ids.len();
    }
    let floor: Option<i64> = match keep {
        Keep::All => None,
        Keep::Nothing => Some(revision),
        Keep::Trimmed => tx
            .query_row(
                "SELECT revision FROM change ORDER BY revision DESC LIMIT 1 OFFSET ?1",
                [i64::try_from(FEED_IDS_KEPT).unwrap_or(i64::MAX)],
                |row| row.get(0),
            )
            .optional()?,
    };
    if let Some(floor) = floor {
        let forgotten = tx.execute("DELETE FROM change WHERE revision <= ?1", [floor])?;
        tx.execute(
            "UPDATE meta SET value = ?1 WHERE name = 'feed_floor'",
            [floor],
        )?;
        remembered = remembered.saturating_sub(forgotten);
    }
    Ok((Revision(u64::try_from(revision).unwrap_or(0)), remembered))
}

fn meta(db: &Connection, name: &str) -> rusqlite::Result<Revision> {
    let value: i64 = db
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))?;
    Ok(Revision(u64::try_from(value).unwrap_or(0)))
}

fn conflict(change: &Change) -> StoreError {
    StoreError::Conflict {
        id: Arc::clone(change.id()),
    }
}

/// Who is to blame for an error of SQLite outside a write.
#[expect(clippy::needless_pass_by_value, reason = "shaped for map_err")]
pub(super) fn blame(error: rusqlite::Error, path: &Path) -> StoreError {
    let detail = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DiskFull) => StoreError::DiskFull,
        Some(ErrorCode::NotADatabase) => StoreError::NotOurs { path: path.into() },
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { detail },
        Some(_) => StoreError::Io {
            path: path.into(),
            detail,
        },
        // No code of SQLite: a column did not have the type that we wrote.
        None => StoreError::Corrupt { detail },
    }
}

/// As [`blame`], for a write: an I/O error there may have come from the `fsync` of the commit.
fn blame_write(error: rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => StoreError::Uncertain {
            detail: error.to_string(),
        },
        _ => blame(error, path),
    }
}
