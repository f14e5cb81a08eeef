//! Small JSON files that only Keygate writes.
use super::atomic::{self, Existing};
use super::error::DataDirError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Longest file of ours worth reading.
const JSON_LEN_MAX: u64 = 64 * 1024;

/// A JSON file of ours; its member `format` says which version of it.
pub(super) trait Formatted: DeserializeOwned + Serialize {
    const FORMAT: u32;
}

/// Reads a JSON file of ours; `None` if there is none.
pub(super) fn read_json<T: Formatted>(path: &Path) -> Result<Option<T>, DataDirError> {
    #[derive(Deserialize)]
    struct AnyFormat {
        format: u32,
    }
    let damaged = |error: serde_json::Error| DataDirError::Damaged {
        path: path.into(),
        what: error.to_string(),
    };
    let mut text = String::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened
            .and_then(|file| file.take(JSON_LEN_MAX).read_to_string(&mut text))
            .map_err(|error| io_error(path, error))?,
    };
    let AnyFormat { format } = serde_json::from_str(&text).map_err(damaged)?;
    if format > T::FORMAT {
        return Err(DataDirError::NewerFormat {
            path: path.into(),
            found: format,
            known: T::FORMAT,
        });
    }
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

/// Writes a JSON file of ours, whole or not at all.
pub(super) fn write_json<T: Formatted>(
    path: &Path,
    value: &T,
    existing: Existing,
) -> Result<(), DataDirError> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|error| io_error(path, error.into()))?;
    text.push('\n');
    atomic::write(path, text.as_bytes(), existing).map_err(|error| io_error(path, error))
}

fn io_error(path: &Path, error: io::Error) -> DataDirError {
    DataDirError::Io {
        path: path.into(),
        error,
    }
}
