//! The tables of `state.db`, version by version, and how SQLite is set up for them.
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::LogError;
use super::error::blame;
use crate::disk::{Schema, SchemaError};

/// Marks the file as ours (`PRAGMA application_id`): "KGst".
const APPLICATION_ID: i64 = 0x4b47_7374;
/// How long to wait for somebody who looks at the database with another program.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// The page of the operating system and of disks. A commit writes each page that it touches, and at 20,000 messages a
/// second it touches few: messages lie side by side in the order in which they come.
const PAGE_BYTES: i64 = 4_096;
/// Cache, as a negative number of KiB. The tail of the queue and the upper levels of the other trees are hot, and take a
/// part of it; what is acknowledged late or retained is read again from the system's cache.
const CACHE_KIB: i64 = -8_192;
/// What the write-ahead log is cut back to after a large window.
pub(super) const WAL_KEPT_BYTES: i64 = 8 * 1_024 * 1_024;

/// What leads from each schema version to the next. Never edit an entry that has shipped: append one.
///
/// Messages stand in columns, so that an operator can look at them with any SQLite. `flags` is the QoS, plus 4 for
/// RETAIN. Retained messages have a row id beside their topic: they may be large, and a tree that is keyed by topic
/// would carry them in its inner pages.
pub(super) const MIGRATIONS: &[&str] = &["
    -- Numbers below these may have been used: they are never used again for anything else.
    CREATE TABLE mark (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO mark (name, value) VALUES ('id', 1), ('number', 1), ('change', 1);

    CREATE TABLE session (
        id INTEGER PRIMARY KEY,
        client_id TEXT NOT NULL,
        owner_kind INTEGER NOT NULL CHECK (owner_kind IN (0, 1)),
        owner TEXT NOT NULL,
        version INTEGER NOT NULL,
        expiry_s INTEGER NOT NULL,
        detached_at INTEGER,
        -- The will, while there is one. Its expiry counts from when it is published.
        delay_s INTEGER,
        flags INTEGER,
        will_expiry_s INTEGER,
        publisher TEXT,
        topic TEXT,
        properties BLOB,
        payload BLOB
    ) STRICT;

    CREATE TABLE subscription (
        session INTEGER NOT NULL,
        filter TEXT NOT NULL,
        options INTEGER NOT NULL,
        id INTEGER,
        cursor_upto INTEGER,
        cursor_after TEXT,
        PRIMARY KEY (session, filter)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE inbound (
        session INTEGER NOT NULL,
        packet_id INTEGER NOT NULL,
        PRIMARY KEY (session, packet_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE share_group (
        id INTEGER PRIMARY KEY,
        filter TEXT NOT NULL
    ) STRICT;

    -- In the order of arrival and without another index: a message is one append, whoever it is for.
    CREATE TABLE queue (
        number INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        released INTEGER NOT NULL,
        delivery INTEGER NOT NULL,
        subscription_ids BLOB NOT NULL,
        flags INTEGER NOT NULL,
        expires_at INTEGER,
        publisher TEXT,
        topic TEXT NOT NULL,
        properties BLOB NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;

    CREATE TABLE retained (
        row INTEGER PRIMARY KEY,
        topic TEXT NOT NULL UNIQUE,
        change INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        expires_at INTEGER,
        publisher TEXT,
        properties BLOB NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
"];

/// Opens the database, makes it if there is none, and brings it to the newest schema. Nothing is written to a file that
/// turns out not to be ours.
pub(super) fn open(path: &Path) -> Result<Connection, LogError> {
    let io = |error| blame(error, path);
    let mut db = Connection::open(path).map_err(io)?;
    db.busy_timeout(BUSY_WAIT).map_err(io)?;
    for (name, value) in [
        // One process, one connection: SQLite then keeps the index of the write-ahead log in memory. As a mapped file
        // beside the database it could not grow on a full disk.
        ("locking_mode", "EXCLUSIVE"),
        ("synchronous", "FULL"),
        ("temp_store", "MEMORY"),
    ] {
        db.pragma_update(None, name, value).map_err(io)?;
    }
    db.pragma_update(None, "trusted_schema", false)
        .map_err(io)?;
    db.pragma_update(None, "page_size", PAGE_BYTES)
        .map_err(io)?;
    db.pragma_update(None, "cache_size", CACHE_KIB)
        .map_err(io)?;
    migrate(&mut db, path)?;
    let mode: String = db
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(io)?;
    if mode != "wal" {
        return Err(LogError::Io {
            path: path.into(),
            detail: format!("the file system allows no write-ahead log (journal mode {mode})"),
        });
    }
    db.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))
        .map_err(io)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

fn migrate(db: &mut Connection, path: &Path) -> Result<(), LogError> {
    let schema = Schema {
        application_id: APPLICATION_ID,
        migrations: MIGRATIONS,
    };
    schema.migrate(db).map_err(|error| match error {
        SchemaError::NotOurs => LogError::NotOurs { path: path.into() },
        SchemaError::Newer { found, known } | SchemaError::Older { found, known } => {
            LogError::NewerSchema {
                path: path.into(),
                found,
                known,
            }
        }
        SchemaError::Database(error) => blame(error, path),
    })
}

#[cfg(test)]
fn pragma(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let db = open(&path).unwrap();
        db.pragma_update(None, "user_version", 7).unwrap();
        drop(db);
        let before = std::fs::read(&path).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(
            error,
            LogError::NewerSchema {
                found: 7,
                known: 1,
                ..
            }
        ));
        assert!(error.to_string().contains("has schema 7"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        std::fs::write(&path, "a text, and no database at all").unwrap();
        assert!(matches!(open(&path), Err(LogError::NotOurs { .. })));
        let other = directory.path().join("other.db");
        let db = Connection::open(&other).unwrap();
        db.execute_batch("CREATE TABLE theirs (n INTEGER)").unwrap();
        drop(db);
        let before = std::fs::read(&other).unwrap();
        assert!(matches!(open(&other), Err(LogError::NotOurs { .. })));
        assert_eq!(std::fs::read(&other).unwrap(), before);
    }

    #[test]
    fn a_commit_is_synced_and_nobody_else_gets_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        let db = open(&path).unwrap();
        // 2 is FULL: an fsync of the write-ahead log at each commit.
        assert_eq!(pragma(&db, "synchronous").unwrap(), 2);
        assert_eq!(pragma(&db, "page_size").unwrap(), PAGE_BYTES);
        assert!(!directory.path().join("state.db-shm").exists());
        let other = Connection::open(&path).unwrap();
        other.busy_timeout(Duration::ZERO).unwrap();
        other.execute_batch("SELECT * FROM session").unwrap_err();
    }
}
