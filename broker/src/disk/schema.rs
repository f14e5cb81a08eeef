//! How a database file says whose it is, and how it is brought to the newest schema.
use std::cmp::Ordering;

use rusqlite::{Connection, TransactionBehavior};

/// The schema of one kind of database file.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    /// Marks a file as ours (`PRAGMA application_id`).
    pub application_id: i64,
    /// What leads from each version to the next. Never edit an entry that has shipped: append one.
    pub migrations: &'a [&'a str],
}

/// Why a file has not the newest schema.
#[derive(Debug)]
pub enum SchemaError {
    /// It is a database of something else.
    NotOurs,
    /// A newer version of the program wrote it.
    Newer {
        /// Its schema.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// An older version wrote it, and nobody has brought it up to date.
    Older {
        /// Its schema.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// SQLite cannot do it.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for SchemaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl Schema<'_> {
    /// Brings a database to the newest schema; each step is one transaction. Nothing is written to a file that turns out
    /// not to be ours.
    pub fn migrate(&self, db: &mut Connection) -> Result<(), SchemaError> {
        let found = version(db)?;
        let application_id = pragma(db, "application_id")?;
        let tables: i64 =
            db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
        let is_new = tables == 0 && found == 0 && application_id == 0;
        if !is_new && application_id != self.application_id {
            return Err(SchemaError::NotOurs);
        }
        let known = self.newest();
        if found > known {
            return Err(SchemaError::Newer { found, known });
        }
        for (version, sql) in (1_u32..).zip(self.migrations).skip(found as usize) {
            let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            step.execute_batch(sql)?;
            step.pragma_update(None, "application_id", self.application_id)?;
            step.pragma_update(None, "user_version", version)?;
            step.commit()?;
        }
        Ok(())
    }

    /// Whether a database has the newest schema, changing nothing.
    pub fn check_newest(&self, db: &Connection) -> Result<(), SchemaError> {
        if pragma(db, "application_id")? != self.application_id {
            return Err(SchemaError::NotOurs);
        }
        let (found, known) = (version(db)?, self.newest());
        match found.cmp(&known) {
            Ordering::Less => Err(SchemaError::Older { found, known }),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(SchemaError::Newer { found, known }),
        }
    }

    fn newest(&self) -> u32 {
        u32::try_from(self.migrations.len()).unwrap_or(u32::MAX)
    }
}

fn version(db: &Connection) -> rusqlite::Result<u32> {
    let version = pragma(db, "user_version")?;
    Ok(u32::try_from(version).unwrap_or(u32::MAX))
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

    fn of<'a>(migrations: &'a [&'a str]) -> Schema<'a> {
        Schema {
            application_id: 7,
            migrations,
        }
    }

    #[test]
    fn each_migration_runs_once_and_a_failed_one_leaves_nothing() {
        let mut db = open();
        let first = "CREATE TABLE a (n INTEGER); INSERT INTO a VALUES (1)";
        let second = "INSERT INTO a VALUES (2)";
        of(&[first]).migrate(&mut db).unwrap();
        let bad = "INSERT INTO a VALUES (3); INSERT INTO nowhere VALUES (1)";
        let failed = of(&[first, bad]).migrate(&mut db).unwrap_err();
        assert!(matches!(failed, SchemaError::Database(_)));
        assert_eq!(version(&db).unwrap(), 1);
        of(&[first, second]).migrate(&mut db).unwrap();
        of(&[first, second]).migrate(&mut db).unwrap();
        assert_eq!(version(&db).unwrap(), 2);
        let sum: i64 = db
            .query_row("SELECT sum(n) FROM a", (), |row| row.get(0))
            .unwrap();
        assert_eq!(sum, 3);
    }

    #[test]
    fn what_is_newer_older_or_not_ours_is_told_apart_and_left_alone() {
        let mut db = open();
        of(&["CREATE TABLE a (n INTEGER)", ""])
            .migrate(&mut db)
            .unwrap();
        assert!(of(&["", ""]).check_newest(&db).is_ok());
        let newer = SchemaError::Newer { found: 2, known: 1 };
        let older = SchemaError::Older { found: 2, known: 3 };
        let told = [
            of(&[""]).migrate(&mut db),
            of(&[""]).check_newest(&db),
            of(&["", "", ""]).check_newest(&db),
        ];
        let told = told.map(|result| format!("{:?}", result.unwrap_err()));
        assert_eq!(
            told,
            [
                format!("{newer:?}"),
                format!("{newer:?}"),
                format!("{older:?}")
            ]
        );
        assert_eq!(version(&db).unwrap(), 2);
        let theirs = Schema {
            application_id: 8,
            migrations: &["", ""],
        };
        assert!(matches!(theirs.migrate(&mut db), Err(SchemaError::NotOurs)));
        assert!(matches!(
            theirs.check_newest(&db),
            Err(SchemaError::NotOurs)
        ));
        let mut other = open();
        other
            .execute_batch("CREATE TABLE theirs (n INTEGER)")
            .unwrap();
        assert!(matches!(
            of(&[""]).migrate(&mut other),
            Err(SchemaError::NotOurs)
        ));
    }
}
