//! Values to rows and back.
use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use super::fold::{Marks, Write};
use super::{Assignment, Op, StoredMessage, StoredSession};
use crate::authn::Owner;
use crate::hub::{Message, MessageParts, Times};
use keygate_protocol::mqtt::{Qos, SubscriptionId, Version};
use keygate_protocol::time::UnixTime;

/// The bit of RETAIN beside the QoS.
const RETAIN: i64 = 4;

/// A number as SQLite keeps it. Ours count up from one and never come near the end.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number as we count it. A negative one was never written.
pub(super) fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| mismatch(row, column))
}

/// A column that has a value of the right type which we never write.
pub(super) fn mismatch(row: &Row<'_>, column: &str) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or(0);
    rusqlite::Error::FromSqlConversionFailure(
        index,
        rusqlite::types::Type::Integer,
        format!("`{column}` has a value that Keygate never writes").into(),
    )
}

fn flags(qos: Qos, retain: bool) -> i64 {
    i64::from(qos.level()) | if retain { RETAIN } else { 0 }
}

/// The QoS and RETAIN of a column.
pub(super) fn read_flags(row: &Row<'_>, column: &str) -> rusqlite::Result<(Qos, bool)> {
    let flags: i64 = row.get(column)?;
    let qos = u8::try_from(flags & !RETAIN).ok().and_then(Qos::new);
    let qos = qos.ok_or_else(|| mismatch(row, column))?;
    Ok((qos, flags & RETAIN != 0))
}

/// When the row's message is worth nothing any more.
pub(super) fn read_expires_at(row: &Row<'_>) -> rusqlite::Result<Option<UnixTime>> {
    read_time(row, "expires_at")
}

/// A time that may be missing.
pub(super) fn read_time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<UnixTime>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => Ok(Some(UnixTime(number(row, column)?))),
    }
}

/// The message in a row's columns `flags`, `publisher`, `topic`, `properties` and `payload`.
pub(super) fn read_message(
    row: &Row<'_>,
    expires_at: Option<UnixTime>,
    times: Times,
) -> rusqlite::Result<Arc<Message>> {
    let (qos, retain) = read_flags(row, "flags")?;
    let text = |column: &str| row.get_ref(column).map(|value| value.as_str());
    let bytes = |column: &str| row.get_ref(column).map(|value| value.as_blob());
    let publisher = row.get_ref("publisher")?.as_str_or_null()?;
    let parts = MessageParts {
        topic: text("topic")??,
        properties: bytes("properties")??,
        payload: bytes("payload")??,
        qos,
        retain,
        expires_at,
        publisher,
    };
    Ok(Message::restore(&parts, times))
}

fn time(at: Option<UnixTime>) -> Option<i64> {
    at.map(|at| int(at.0))
}

/// Makes one change.
pub(super) fn make(db: &Connection, write: &Write<'_>) -> rusqlite::Result<()> {
    match write {
        Write::Enqueue {
            message,
            assigned,
            released,
        } => enqueue(db, message, *assigned, *released),
        Write::Op(op) => make_op(db, op),
    }
}

fn make_op(db: &Connection, op: &Op) -> rusqlite::Result<()> {
    match op {
        Op::Retain { change, message } => retain(db, *change, message),
        Op::Forget(topic) => run(db, "DELETE FROM retained WHERE topic = ?1", [topic]),
        Op::OpenSession(session) => open_session(db, session),
        Op::Detach {
            session,
            at,
            expiry_s,
            will_pending,
        } => {
            run(
                db,
                "UPDATE session SET detached_at = ?2, expiry_s = ?3 WHERE id = ?1",
                params![int(session.0), int(at.0), expiry_s],
            )?;
            match will_pending {
                true => Ok(()),
                false => drop_will(db, session.0),
            }
        }
        Op::WillDone(session) => drop_will(db, session.0),
        Op::CloseSession(session) => {
            for sql in [
                "DELETE FROM session WHERE id = ?1",
                "DELETE FROM subscription WHERE session = ?1",
                "DELETE FROM inbound WHERE session = ?1",
            ] {
                run(db, sql, [int(session.0)])?;
            }
            Ok(())
        }
        Op::Subscribe {
            session,
            subscription,
        } => {
            let cursor = subscription.cursor.as_ref();
            run(
                db,
                "INSERT OR REPLACE INTO subscription (session, filter, options, id, cursor_upto, cursor_after)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    int(session.0),
                    subscription.filter,
                    subscription.options,
                    subscription.id.map(SubscriptionId::value),
                    cursor.map(|cursor| int(cursor.upto)),
                    cursor.and_then(|cursor| cursor.after.as_deref()),
                ],
            )
        }
        Op::Unsubscribe { session, filter } => run(
            db,
            "DELETE FROM subscription WHERE session = ?1 AND filter = ?2",
            params![int(session.0), filter],
        ),
        Op::Cursor {
            session,
            filter,
            cursor,
        } => run(
            db,
            "UPDATE subscription SET cursor_upto = ?3, cursor_after = ?4 WHERE session = ?1 AND filter = ?2",
            params![
                int(session.0),
                filter,
                cursor.as_ref().map(|cursor| int(cursor.upto)),
                cursor.as_ref().and_then(|cursor| cursor.after.as_deref()),
            ],
        ),
        Op::OpenGroup(group) => run(
            db,
            "INSERT OR REPLACE INTO share_group (id, filter) VALUES (?1, ?2)",
            params![int(group.id.0), group.filter],
        ),
        Op::CloseGroup(group) => run(db, "DELETE FROM share_group WHERE id = ?1", [int(group.0)]),
        Op::Enqueue(message) => enqueue(db, message, None, message.released),
        Op::Assign(assignment) => run(
            db,
            "UPDATE queue SET queue = ?2, delivery = ?3, subscription_ids = ?4 WHERE number = ?1",
            params![
                int(assignment.number.0),
                int(assignment.queue.0),
                flags(assignment.qos, assignment.retain),
                ids(assignment.subscription_id.as_slice()),
            ],
        ),
        Op::Release(number) => run(
            db,
            "UPDATE queue SET released = 1 WHERE number = ?1",
            [int(number.0)],
        ),
        Op::Dequeue(number) => run(db, "DELETE FROM queue WHERE number = ?1", [int(number.0)]),
        Op::Receive { session, packet_id } => run(
            db,
            "INSERT OR IGNORE INTO inbound (session, packet_id) VALUES (?1, ?2)",
            params![int(session.0), packet_id.get()],
        ),
        Op::Received { session, packet_id } => run(
            db,
            "DELETE FROM inbound WHERE session = ?1 AND packet_id = ?2",
            params![int(session.0), packet_id.get()],
        ),
    }
}

fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

fn ids(ids: &[SubscriptionId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.value().to_be_bytes()).collect()
}

fn enqueue(
    db: &Connection,
    stored: &StoredMessage,
    assigned: Option<&Assignment>,
    released: bool,
) -> rusqlite::Result<()> {
    let message = stored.message.parts();
    let (queue, delivery, ids) = match assigned {
        None => (
            stored.queue,
            flags(stored.qos, stored.retain),
            ids(&stored.subscription_ids),
        ),
        Some(assigned) => (
            assigned.queue,
            flags(assigned.qos, assigned.retain),
            ids(assigned.subscription_id.as_slice()),
        ),
    };
    run(
        db,
        "INSERT OR REPLACE INTO queue (number, queue, released, delivery, subscription_ids,
                                       flags, expires_at, publisher, topic, properties, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            int(stored.number.0),
            int(queue.0),
            released,
            delivery,
            ids,
            flags(message.qos, message.retain),
            time(message.expires_at),
            message.publisher,
            message.topic,
            message.properties,
            message.payload,
        ],
    )
}

fn retain(db: &Connection, change: u64, message: &Message) -> rusqlite::Result<()> {
    let message = message.parts();
    run(
        db,
        "INSERT INTO retained (topic, change, flags, expires_at, publisher, properties, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (topic) DO UPDATE SET change = excluded.change, flags = excluded.flags,
             expires_at = excluded.expires_at, publisher = excluded.publisher,
             properties = excluded.properties, payload = excluded.payload",
        params![
            message.topic,
            int(change),
            flags(message.qos, message.retain),
            time(message.expires_at),
            message.publisher,
            message.properties,
            message.payload,
        ],
    )
}

fn open_session(db: &Connection, session: &StoredSession) -> rusqlite::Result<()> {
    let (owner_kind, owner) = match &session.owner {
        Owner::Device(id) => (0, id),
        Owner::Anonymous(id) => (1, id),
    };
    let will = session.will.as_deref();
    let message = will.map(|will| will.message.parts());
    run(
        db,
        "INSERT OR REPLACE INTO session (id, client_id, owner_kind, owner, version, expiry_s, detached_at,
                                         delay_s, flags, will_expiry_s, publisher, topic, properties, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            int(session.id.0),
            session.client_id,
            owner_kind,
            owner,
            session.version.level(),
            session.expiry_s,
            time(session.detached_at),
            will.map(|will| will.delay_s),
            message.map(|message| flags(message.qos, message.retain)),
            will.and_then(|will| will.message.expiry_s()),
            message.and_then(|message| message.publisher),
            message.map(|message| message.topic),
            message.map(|message| message.properties),
            message.map(|message| message.payload),
        ],
    )
}

fn drop_will(db: &Connection, session: u64) -> rusqlite::Result<()> {
    run(
        db,
        "UPDATE session SET delay_s = NULL, flags = NULL, will_expiry_s = NULL, publisher = NULL, topic = NULL,
                            properties = NULL, payload = NULL
         WHERE id = ?1 AND topic IS NOT NULL",
        [int(session)],
    )
}

/// The protocol version that a column names.
pub(super) fn read_version(row: &Row<'_>) -> rusqlite::Result<Version> {
    let level: u8 = row.get("version")?;
    [Version::V311, Version::V5]
        .into_iter()
        .find(|version| version.level() == level)
        .ok_or_else(|| mismatch(row, "version"))
}

/// The subscription identifiers that a column packs.
pub(super) fn read_ids(row: &Row<'_>) -> rusqlite::Result<Box<[SubscriptionId]>> {
    let bytes = row.get_ref("subscription_ids")?.as_blob()?;
    bytes
        .chunks(4)
        .map(|chunk| {
            let id = <[u8; 4]>::try_from(chunk).ok().map(u32::from_be_bytes);
            id.and_then(SubscriptionId::new)
                .ok_or_else(|| mismatch(row, "subscription_ids"))
        })
        .collect()
}

/// Numbers below these may have been used.
pub(super) fn read_marks(db: &Connection) -> rusqlite::Result<Marks> {
    let mark = |name: &str| {
        db.query_row("SELECT value FROM mark WHERE name = ?1", [name], |row| {
            number(row, "value")
        })
    };
    Ok(Marks {
        id: mark("id")?,
        number: mark("number")?,
        change: mark("change")?,
    })
}

/// Moves the marks.
pub(super) fn write_marks(db: &Connection, marks: Marks) -> rusqlite::Result<()> {
    for (name, value) in [
        ("id", marks.id),
        ("number", marks.number),
        ("change", marks.change),
    ] {
        run(
            db,
            "UPDATE mark SET value = ?2 WHERE name = ?1",
            params![name, int(value)],
        )?;
    }
    Ok(())
}
