//! The tables of `identity.db`, version by version.
use super::StoreError;
use super::sqlite::blame;
use crate::disk::{Schema, SchemaError};
use rusqlite::Connection;
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

const SCHEMA: Schema<'static> = Schema {
    application_id: APPLICATION_ID,
    migrations: MIGRATIONS,
};

/// Brings the database to the newest schema.
pub(super) fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    SCHEMA.migrate(db).map_err(|error| store_error(error, path))
}

/// Whether the database has the newest schema, changing nothing.
pub(super) fn check_newest(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let checked = SCHEMA.check_newest(db);
    checked.map_err(|error| store_error(error, path))
}

fn store_error(error: SchemaError, path: &Path) -> StoreError {
    match error {
        SchemaError::NotOurs => StoreError::NotOurs { path: path.into() },
        SchemaError::Newer { found, known } => StoreError::NewerSchema { found, known },
        SchemaError::Older { found, known } => StoreError::OlderSchema { found, known },
        SchemaError::Database(error) => blame(error, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let mut db = Connection::open_in_memory().unwrap();
        let path = Path::new("x.db");
        migrate(&mut db, path).unwrap();
        db.pragma_update(None, "user_version", 9).unwrap();
        let newer = Err(StoreError::NewerSchema { found: 9, known: 1 });
        assert_eq!(migrate(&mut db, path), newer);
        assert_eq!(check_newest(&db, path), newer);
    }

    #[test]
    fn a_database_of_something_else_is_refused() {
        let mut db = Connection::open_in_memory().unwrap();
        db.execute_batch("CREATE TABLE theirs (n INTEGER)").unwrap();
        let path = Path::new("x.db");
        let theirs = Err(StoreError::NotOurs { path: path.into() });
        assert_eq!(migrate(&mut db, path), theirs);
        assert_eq!(check_newest(&db, path), theirs);
    }
}
