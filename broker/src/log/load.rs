//! What a broker finds when it starts.
use std::path::Path;

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::error::blame;
use super::table::{
    int, mismatch, number, read_expires_at, read_flags, read_ids, read_marks, read_message,
    read_time, read_version,
};
use super::{
    LogError, QueueNumber, Recovered, StoredCursor, StoredGroup, StoredId, StoredMessage,
    StoredSession, StoredSubscription, StoredWill,
};
use crate::authn::Owner;
use crate::hub::Times;
use keygate_protocol::mqtt::{PacketId, SubscriptionId};
use std::sync::Arc;

/// Drops what is over, and reads the rest. Either all of it or nothing is dropped.
pub(super) fn load(db: &mut Connection, path: &Path, times: Times) -> Result<Recovered, LogError> {
    read(db, times).map_err(|error| blame(error, path))
}

fn read(db: &mut Connection, times: Times) -> rusqlite::Result<Recovered> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    drop_what_is_over(&tx, times)?;
    let marks = read_marks(&tx)?;
    let recovered = Recovered {
        sessions: sessions(&tx, times)?,
        groups: rows(&tx, "SELECT * FROM share_group ORDER BY id", |row| {
            Ok(StoredGroup {
                id: StoredId(number(row, "id")?),
                filter: row.get("filter")?,
            })
        })?,
        queue: rows(&tx, "SELECT * FROM queue ORDER BY number", |row| {
            message(row, times)
        })?,
        retained: rows(&tx, "SELECT * FROM retained ORDER BY topic", |row| {
            let message = read_message(row, read_expires_at(row)?, times)?;
            Ok((number(row, "change")?, message))
        })?,
        next_id: marks.id,
        next_number: marks.number,
        next_change: marks.change,
    };
    tx.commit()?;
    Ok(recovered)
}

/// A session without connection whose time is up is over, unless its will is still to be published: that takes the hub.
/// A message that a client has already taken (PUBREC) stays, for the client still waits for the rest.
fn drop_what_is_over(tx: &Transaction<'_>, times: Times) -> rusqlite::Result<()> {
    let wall = int(times.wall.0);
    tx.execute(
        "DELETE FROM session WHERE detached_at + expiry_s <= ?1 AND expiry_s <> ?2 AND topic IS NULL",
        params![wall, u32::MAX],
    )?;
    tx.execute_batch(
        "DELETE FROM subscription WHERE session NOT IN (SELECT id FROM session);
         DELETE FROM inbound WHERE session NOT IN (SELECT id FROM session);",
    )?;
    tx.execute(
        "DELETE FROM queue WHERE (expires_at <= ?1 AND NOT released)
             OR (queue NOT IN (SELECT id FROM session) AND queue NOT IN (SELECT id FROM share_group))",
        [wall],
    )?;
    tx.execute("DELETE FROM retained WHERE expires_at <= ?1", [wall])?;
    Ok(())
}

fn rows<T>(
    db: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare(sql)?.query_map((), read)?.collect()
}

fn sessions(db: &Connection, times: Times) -> rusqlite::Result<Vec<StoredSession>> {
    let mut sessions = rows(db, "SELECT * FROM session ORDER BY id", |row| {
        session(row, times)
    })?;
    let sql = "SELECT * FROM subscription ORDER BY session, filter";
    for (id, subscription) in rows(db, sql, |row| {
        Ok((number(row, "session")?, subscription(row)?))
    })? {
        if let Some(session) = find(&mut sessions, id) {
            session.subscriptions.push(subscription);
        }
    }
    let sql = "SELECT * FROM inbound ORDER BY session, packet_id";
    for (id, packet_id) in rows(db, sql, |row| {
        let packet_id: u16 = row.get("packet_id")?;
        let packet_id = PacketId::new(packet_id).ok_or_else(|| mismatch(row, "packet_id"))?;
        Ok((number(row, "session")?, packet_id))
    })? {
        if let Some(session) = find(&mut sessions, id) {
            session.inbound.push(packet_id);
        }
    }
    Ok(sessions)
}

fn find(sessions: &mut [StoredSession], id: u64) -> Option<&mut StoredSession> {
    let at = sessions.binary_search_by_key(&id, |session| session.id.0);
    sessions.get_mut(at.ok()?)
}

fn session(row: &Row<'_>, times: Times) -> rusqlite::Result<StoredSession> {
    let owner: Arc<str> = row.get("owner")?;
    let will = match row.get("delay_s")? {
        None => None,
        Some(delay_s) => {
            let expiry_s: Option<u32> = row.get("will_expiry_s")?;
            let expires_at = expiry_s.map(|expiry_s| times.wall.plus(expiry_s.into()));
            let message = read_message(row, expires_at, times)?;
            Some(Box::new(StoredWill { message, delay_s }))
        }
    };
    Ok(StoredSession {
        id: StoredId(number(row, "id")?),
        client_id: row.get("client_id")?,
        owner: match row.get("owner_kind")? {
            0 => Owner::Device(owner),
            1 => Owner::Anonymous(owner),
            2_i64.. | i64::MIN..0 => return Err(mismatch(row, "owner_kind")),
        },
        version: read_version(row)?,
        expiry_s: row.get("expiry_s")?,
        detached_at: read_time(row, "detached_at")?,
        will,
        subscriptions: Vec::new(),
        inbound: Vec::new(),
    })
}

fn subscription(row: &Row<'_>) -> rusqlite::Result<StoredSubscription> {
    let id: Option<u32> = row.get("id")?;
    let upto: Option<i64> = row.get("cursor_upto")?;
    Ok(StoredSubscription {
        filter: row.get("filter")?,
        options: row.get("options")?,
        id: match id {
            None => None,
            Some(id) => Some(SubscriptionId::new(id).ok_or_else(|| mismatch(row, "id"))?),
        },
        cursor: match upto {
            None => None,
            Some(_) => Some(StoredCursor {
                after: row.get("cursor_after")?,
                upto: number(row, "cursor_upto")?,
            }),
        },
    })
}

fn message(row: &Row<'_>, times: Times) -> rusqlite::Result<StoredMessage> {
    let (qos, retain) = read_flags(row, "delivery")?;
    Ok(StoredMessage {
        number: QueueNumber(number(row, "number")?),
        queue: StoredId(number(row, "queue")?),
        message: read_message(row, read_expires_at(row)?, times)?,
        qos,
        retain,
        released: row.get("released")?,
        subscription_ids: read_ids(row)?,
    })
}
