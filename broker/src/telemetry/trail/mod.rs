//! The audit trail on disk: `audit.jsonl` in the data directory, and behind it `audit.1.jsonl` (newer) to
//! `audit.N.jsonl` (oldest).
//!
//! One process writes ([`TrailFile`], under the lock of the data directory); any number read ([`last`], [`Follow`]),
//! also while it is written and rotated, also after the writer was killed in the middle of a line.

mod file;
mod read;
#[cfg(test)]
mod tests;

pub use file::TrailFile;
pub use read::{Filter, Follow, Found, last};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Smallest size at which a file is rotated: below it, a burst would rotate the whole trail away at once.
pub const FILE_BYTES_LEAST: u64 = 64 * 1024;

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// A file is rotated before it grows beyond this many bytes.
    pub file_bytes_max: u64,
    /// This many files are kept, the current one included.
    pub files_max: u32,
}

impl Default for Keep {
    /// 8 files of 16 MiB: about 600,000 events, a bounded 128 MiB of a small disk.
    fn default() -> Self {
        Self {
            file_bytes_max: 16 * 1024 * 1024,
            files_max: 8,
        }
    }
}

/// The file that is written now.
#[must_use]
pub fn current(directory: &Path) -> PathBuf {
    directory.join("audit.jsonl")
}

/// The file that was rotated away `age` rotations ago; age 0 is the current one.
fn aged(directory: &Path, age: u32) -> PathBuf {
    if age == 0 {
        current(directory)
    } else {
        directory.join(format!("audit.{age}.jsonl"))
    }
}
