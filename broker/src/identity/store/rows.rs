//! Rows to records and back.
use super::StoreError;
use crate::identity::device::{Device, DeviceKey, DeviceState};
use crate::identity::names::Names;
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::ident::{Id, KeyId};
use keygate_protocol::time::UnixTime;
use rusqlite::{Connection, Row, Rows, ToSql};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why rows could not be read.
pub(super) enum ReadError {
    Sql(rusqlite::Error),
    Record(StoreError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Reads the records that `selection` (an SQL condition on `device`, may be empty) picks, in the order of enrolment.
pub(super) fn read_devices(
    db: &Connection,
    selection: &str,
    params: &[&dyn ToSql],
) -> Result<Vec<Device>, ReadError> {
    let mut devices = db.prepare(&format!(
        "SELECT number, id, state, role_names, group_names, via_names, attributes
         FROM device {selection} ORDER BY number"
    ))?;
    let mut keys = db.prepare(&format!(
        "SELECT device, key_id, public_key, not_before, not_after
         FROM device_key {} ORDER BY device, position",
        match selection {
            "" => String::new(),
            _ => format!("WHERE device IN (SELECT number FROM device {selection})"),
        }
    ))?;
    let mut device_rows = devices.query(params)?;
    let mut keys = KeyReader::start(keys.query(params)?)?;
    let mut names = Names::default();
    let mut read = Vec::new();
    while let Some(row) = device_rows.next()? {
        let keys = keys.of_device(row.get(0)?)?;
        read.push(device(row, keys, &mut names)?);
    }
    Ok(read)
}

fn device(row: &Row<'_>, keys: Box<[DeviceKey]>, names: &mut Names) -> Result<Device, ReadError> {
    let id = row
        .get_ref(1)?
        .as_str()
        .map_err(|_| corrupt("an id that is no text"))?;
    let damaged = |what: &str| corrupt(format!("{what} of `{}`", id.escape_debug()));
    Id::new(id).map_err(|_| damaged("the id"))?;
    if keys.is_empty() {
        return Err(damaged("the missing keys"));
    }
    let text = |column: usize, what: &str| {
        row.get_ref(column)
            .ok()
            .and_then(|value| value.as_str().ok())
            .ok_or_else(|| damaged(what))
    };
    let mut list = |column: usize, what: &str| -> Result<Box<[Arc<str>]>, ReadError> {
        text(column, what)?
            .split_terminator(' ')
            .map(|name| match Id::new(name) {
                Ok(_) => Ok(names.share(name)),
                Err(_) => Err(damaged(what)),
            })
            .collect()
    };
    let (roles, groups, via) = (
        list(3, "the roles")?,
        list(4, "the groups")?,
        list(5, "`via`")?,
    );
    Ok(Device {
        id: Arc::from(id),
        state: DeviceState::from_name(text(2, "the state")?).ok_or_else(|| damaged("the state"))?,
        keys,
        roles,
        groups,
        attributes: attributes(text(6, "the attributes")?)
            .ok_or_else(|| damaged("the attributes"))?,
        via,
    })
}

fn attributes(text: &str) -> Option<BTreeMap<Box<str>, Box<str>>> {
    // Most devices have none: no need to ask the parser.
    if text == "{}" {
        return Some(BTreeMap::new());
    }
    serde_json::from_str(text).ok()
}

/// Walks the rows of `device_key` beside those of `device`: both come in the same order.
struct KeyReader<'s> {
    rows: Rows<'s>,
    ahead: Option<(i64, DeviceKey)>,
}

impl<'s> KeyReader<'s> {
    fn start(rows: Rows<'s>) -> Result<Self, ReadError> {
        let mut reader = Self { rows, ahead: None };
        reader.step()?;
        Ok(reader)
    }

    fn of_device(&mut self, number: i64) -> Result<Box<[DeviceKey]>, ReadError> {
        let mut keys = Vec::with_capacity(1);
        while self
            .ahead
            .as_ref()
            .is_some_and(|(device, _)| *device == number)
        {
            keys.extend(self.step()?);
        }
        Ok(keys.into())
    }

    /// Returns the key that was ahead and reads the next.
    fn step(&mut self) -> Result<Option<DeviceKey>, ReadError> {
        let next = match self.rows.next()? {
            Some(row) => Some((row.get(0)?, key(row)?)),
            None => None,
        };
        Ok(std::mem::replace(&mut self.ahead, next).map(|(_, key)| key))
    }
}

fn key(row: &Row<'_>) -> Result<DeviceKey, ReadError> {
    let (key_id, bytes): ([u8; 8], [u8; 32]) = (row.get(1)?, row.get(2)?);
    let key_id = KeyId::from_bytes(key_id);
    let public =
        PublicKey::from_stored(&bytes, key_id).map_err(|_| corrupt(format!("the key {key_id}")))?;
    Ok(DeviceKey {
        public,
        key_id,
        not_before: time(row.get(3)?),
        not_after: time(row.get(4)?),
    })
}

fn time(column: Option<i64>) -> Option<UnixTime> {
    column.map(|seconds| UnixTime(seconds.try_into().unwrap_or(0)))
}

/// A time as the database has it. SQLite's integers end in the year 292 billion; later is then.
pub(super) fn time_column(time: Option<UnixTime>) -> Option<i64> {
    time.map(|t| i64::try_from(t.0).unwrap_or(i64::MAX))
}

/// A list of names as one column.
pub(super) fn list_column(list: &[Arc<str>]) -> String {
    list.join(" ")
}

/// Attributes as one column.
pub(super) fn attributes_column(attributes: &BTreeMap<Box<str>, Box<str>>) -> String {
    let object: serde_json::Map<String, serde_json::Value> = attributes
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string().into()))
        .collect();
    serde_json::Value::Object(object).to_string()
}

fn corrupt(detail: impl Into<String>) -> ReadError {
    ReadError::Record(StoreError::Corrupt {
        detail: detail.into(),
    })
}
