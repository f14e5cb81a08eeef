//! The tables of `identity.db`, version by version.
use super::StoreError;
use super::sqlite::blame;
use rusqlite::{Connection, TransactionBehavior};
use std::cmp::Ordering;
use std::path::Path;

/// Marks the file as ours (`PRAGMA application_id`): "KGid".
const APPLICATION_ID: i64 = 0x4b47_6964;

/// What leads from each schema version to the next. Never edit an entry that has shipped: append one.
///
/// Lists of names are one column, separated by single spaces, which no name contains: every record is read as a whole
/// and looked up in memory, so tables of their own would only cost rows. Keys have a table because the database itself
/// must refuse a key that is enrolled twice.
pub(super) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO meta (name, value) VALUES ('revision', 0), ('feed_floor', 0);

    CREATE TABLE device (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'suspended', 'revoked')),
        role_names TEXT NOT NULL,
        group_names TEXT NOT NULL,
        via_names TEXT NOT NULL,
        attributes TEXT NOT NULL
    ) STRICT;

    -- In the order in which a load reads it.
    CREATE TABLE device_key (
        device INTEGER NOT NULL REFERENCES device (number) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        key_id BLOB NOT NULL UNIQUE CHECK (length(key_id) = 8),
        public_key BLOB NOT NULL CHECK (length(public_key) = 32),
        not_before INTEGER,
        not_after INTEGER,
        PRIMARY KEY (device, position)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE change (
        revision INTEGER NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (revision, id)
    ) STRICT, WITHOUT ROWID;
"];

/// Brings the database to the newest schema; each step is one transaction.
pub(super) fn migrate(
    db: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let io = |error| blame(error, path);
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found: u32 = pragma(db, "user_version")
        .map_err(io)?
        .try_into()
        .unwrap_or(u32::MAX);
    let application_id = pragma(db, "application_id").map_err(io)?;
    let tables: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(io)?;
    let is_new = tables == 0 && found == 0 && application_id == 0;
    if !is_new && application_id != APPLICATION_ID {
        return Err(StoreError::NotOurs { path: path.into() });
    }
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    for (version, sql) in (1_u32..).zip(migrations).skip(found as usize) {
        let step = db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(io)?;
        step.execute_batch(sql).map_err(io)?;
        step.pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(io)?;
        step.pragma_update(None, "user_version", version)
            .map_err(io)?;
        step.commit().map_err(io)?;
    }
    Ok(())
}

/// Whether the database has the newest schema, changing nothing.
pub(super) fn check_newest(
    db: &Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let io = |error| blame(error, path);
    let known = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found: u32 = pragma(db, "user_version")
        .map_err(io)?
        .try_into()
        .unwrap_or(u32::MAX);
    if pragma(db, "application_id").map_err(io)? != APPLICATION_ID {
        return Err(StoreError::NotOurs { path: path.into() });
    }
    match found.cmp(&known) {
        Ordering::Less => Err(StoreError::OlderSchema { found, known }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(StoreError::NewerSchema { found, known }),
    }
}

fn pragma(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    fn version(db: &Connection) -> i64 {
        pragma(db, "user_version").unwrap()
    }

    #[test]
    fn each_migration_runs_once() {
        let mut db = open();
        let path = Path::new("x");
        let first = "CREATE TABLE a (n INTEGER); INSERT INTO a VALUES (1)";
        let second = "INSERT INTO a VALUES (2)";
        migrate(&mut db, path, &[first]).unwrap();
        assert_eq!(version(&db), 1);
        migrate(&mut db, path, &[first, second]).unwrap();
        migrate(&mut db, path, &[first, second]).unwrap();
        assert_eq!(version(&db), 2);
        let rows: i64 = db
            .query_row("SELECT count(*) FROM a", (), |r| r.get(0))
            .unwrap();
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_schema_before_it() {
        let mut db = open();
        let path = Path::new("x");
        let good = "CREATE TABLE a (n INTEGER)";
        let bad = "CREATE TABLE b (n INTEGER); INSERT INTO nowhere VALUES (1)";
        migrate(&mut db, path, &[good, bad]).unwrap_err();
        assert_eq!(version(&db), 1);
        let tables: i64 = db
            .query_row("SELECT count(*) FROM sqlite_schema", (), |r| r.get(0))
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let mut db = open();
        migrate(
            &mut db,
            Path::new("x"),
            &["CREATE TABLE a (n INTEGER)", "", ""],
        )
        .unwrap();
        assert_eq!(
            migrate(&mut db, Path::new("x"), &["CREATE TABLE a (n INTEGER)"]),
            Err(StoreError::NewerSchema { found: 3, known: 1 })
        );
        assert_eq!(version(&db), 3);
    }

    #[test]
    fn a_database_of_something_else_is_refused() {
        let mut db = open();
        db.execute_batch("CREATE TABLE theirs (n INTEGER)").unwrap();
        assert_eq!(
            migrate(&mut db, Path::new("x.db"), MIGRATIONS),
            Err(StoreError::NotOurs {
                path: "x.db".into()
            })
        );
    }
}
