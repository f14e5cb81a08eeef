//! Bulk enrolment from JSON Lines: read and check everything, then enrol everything or nothing.
use super::device::{Device, DeviceState, NewDevice};
use super::directory::Directory;
use super::error::{IdentityError, shown};
use super::import_line::{LineRead, parse_line, read_line};
use super::limits::{
    IMPORT_DEVICES_MAX, IMPORT_ERRORS_MAX, IMPORT_LINE_LEN_MAX, IMPORT_PROGRESS_LINES,
};
use super::names::Names;
use super::public_key::PublicKeyError;
use super::registry::free_to_enrol;
use super::store::{Change, Revision, StoreError};
use keygate_protocol::ident::KeyId;
use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::sync::Arc;

/// How far an import is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ImportProgress {
    /// What is being done.
    pub stage: ImportStage,
    /// Lines read so far, blank ones included.
    pub lines: u64,
    /// Devices found in them so far.
    pub devices: u64,
}

/// What an import is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ImportStage {
    /// Reading and checking lines: reported again and again while it lasts.
    Reading,
    /// Everything is well; the transaction is being written: reported once, as it begins.
    Storing,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Imported {
    /// Devices enrolled by it.
    pub added: u64,
    /// Lines that say exactly what was enrolled already.
    pub unchanged: u64,
    /// Lines read, blank ones included.
    pub lines: u64,
    /// The revision in which all of them exist.
    pub revision: Revision,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// Lines that cannot be enrolled.
    #[error("{errors_total} of {lines} lines cannot be enrolled; nothing was imported{}", listed(.errors, *.errors_total))]
    Rejected {
        /// The first of them, in the order of lines; at most [`IMPORT_ERRORS_MAX`](super::IMPORT_ERRORS_MAX).
        errors: Vec<LineError>,
        /// How many there are.
        errors_total: u64,
        /// Lines read.
        lines: u64,
    },
    /// More devices than one transaction takes.
    #[error("more than {max} devices in one import; split the file. Nothing was imported")]
    TooMany {
        /// How many it takes.
        max: usize,
    },
    /// The input could not be read.
    #[error("the input cannot be read after line {line}: {error}. Nothing was imported")]
    Read {
        /// The last whole line.
        line: u64,
        /// What the system says.
        error: io::Error,
    },
    /// The store could not take it.
    #[error(transparent)]
    Store(StoreError),
}

/// One line that cannot be enrolled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: u64,
    /// Why not.
    #[source]
    pub problem: LineProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// The device it describes cannot be enrolled.
    #[error(transparent)]
    Device(#[from] IdentityError),
    /// The same id as on an earlier line.
    #[error("the id `{id}` is on line {first_line} already")]
    IdAgain {
        /// The id.
        id: String,
        /// Where it was first.
        first_line: u64,
    },
    /// No object of the known form.
    #[error("{what} (column {column})")]
    Json {
        /// What the parser says.
        what: String,
        /// Where, from 1.
        column: usize,
    },
    /// The same key as on an earlier line.
    #[error("the key {key_id} is on line {first_line} already")]
    KeyAgain {
        /// The key's id.
        key_id: KeyId,
        /// Where it was first.
        first_line: u64,
    },
    /// Bytes that are no text.
    #[error("not UTF-8")]
    NotUtf8,
    /// The public key is none.
    #[error("public_key: {0}")]
    PublicKey(#[from] PublicKeyError),
    /// The line does not end within the bound.
    #[error("longer than {IMPORT_LINE_LEN_MAX} bytes")]
    TooLong,
}

fn listed(errors: &[LineError], total: u64) -> String {
    let mut text: String = errors.iter().map(|error| format!("\n  {error}")).collect();
    let more = total.saturating_sub(errors.len() as u64);
    if more > 0 {
        text.push_str(&format!("\n  … and {more} more"));
    }
    text
}

/// A file that has been read; its lines are well-formed on their own, but for the problems.
pub(super) struct File {
    devices: Vec<(u64, NewDevice)>,
    problems: Problems,
    lines: u64,
}

/// Reads the whole input.
pub(super) fn read(
    input: &mut dyn BufRead,
    progress: &mut dyn FnMut(ImportProgress),
) -> Result<File, ImportError> {
    let mut file = File {
        devices: Vec::new(),
        problems: Problems::default(),
        lines: 0,
    };
    let mut line = Vec::new();
    loop {
        let read = match read_line(input, &mut line) {
            Ok(read) => read,
            Err(error) => {
                return Err(ImportError::Read {
                    line: file.lines,
                    error,
                });
            }
        };
        match read {
            LineRead::End => return Ok(file),
            LineRead::TooLong => {
                file.lines += 1;
                file.problems.push(file.lines, LineProblem::TooLong);
            }
            LineRead::Line => {
                file.lines += 1;
                file.take(&line)?;
            }
        }
        if file.lines.is_multiple_of(IMPORT_PROGRESS_LINES) {
            progress(file.progress(ImportStage::Reading));
        }
    }
}

impl File {
    fn take(&mut self, line: &[u8]) -> Result<(), ImportError> {
        // Editors on Windows write a byte order mark; it is no part of the first line.
        let line = match self.lines {
            1 => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            _ => line,
        };
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match parse_line(line) {
            Ok(_) if self.devices.len() >= IMPORT_DEVICES_MAX => {
                return Err(ImportError::TooMany {
                    max: IMPORT_DEVICES_MAX,
                });
            }
            Ok(device) => self.devices.push((self.lines, device)),
            Err(problem) => self.problems.push(self.lines, problem),
        }
        Ok(())
    }

    fn progress(&self, stage: ImportStage) -> ImportProgress {
        ImportProgress {
            stage,
            lines: self.lines,
            devices: self.devices.len() as u64,
        }
    }

    /// Checks the lines against each other and against what is enrolled.
    pub(super) fn check(
        mut self,
        names: &mut Names,
        directory: &Directory,
    ) -> Result<Checked, ImportError> {
        let mut later = Problems::default();
        self.find_repeats(&mut later);
        let mut checked = Checked {
            changes: Vec::with_capacity(self.devices.len()),
            unchanged: 0,
            lines: self.lines,
        };
        for (line, new) in &self.devices {
            match check_device(new, names, directory) {
                Ok(Some(device)) => checked.changes.push(Change::Add(device)),
                Ok(None) => checked.unchanged += 1,
                Err(error) => later.push(*line, error.into()),
            }
        }
        self.problems.merge(later);
        match self.problems.total {
            0 => Ok(checked),
            errors_total => Err(ImportError::Rejected {
                errors: self.problems.first,
                errors_total,
                lines: self.lines,
            }),
        }
    }

    /// Takes out the lines that repeat an id or a key of an earlier one, so that each counts as one problem.
    fn find_repeats(&mut self, problems: &mut Problems) {
        let mut ids: BTreeMap<&str, u64> = BTreeMap::new();
        let mut keys: BTreeMap<KeyId, u64> = BTreeMap::new();
        let mut repeats = Vec::new();
        for (line, new) in &self.devices {
            if let Some(first_line) = ids.get(new.id.as_str()) {
                repeats.push(*line);
                problems.push(
                    *line,
                    LineProblem::IdAgain {
                        id: shown(&new.id),
                        first_line: *first_line,
                    },
                );
                continue;
            }
            ids.insert(&new.id, *line);
            for key in &new.keys {
                if let Some(first_line) = keys.get(&key.key_id) {
                    repeats.push(*line);
                    problems.push(
                        *line,
                        LineProblem::KeyAgain {
                            key_id: key.key_id,
                            first_line: *first_line,
                        },
                    );
                } else {
                    keys.insert(key.key_id, *line);
                }
            }
        }
        if !repeats.is_empty() {
            // Both lists are in the order of lines.
            self.devices
                .retain(|(line, _)| repeats.binary_search(line).is_err());
        }
    }
}

/// The record to add, nothing if it is enrolled already exactly so, or why not.
fn check_device(
    new: &NewDevice,
    names: &mut Names,
    directory: &Directory,
) -> Result<Option<Arc<Device>>, IdentityError> {
    let device = new.check(names)?;
    if let Some(enrolled) = directory.device(&device.id) {
        let same = Device {
            state: enrolled.state,
            ..device.clone()
        } == *enrolled;
        // A revoked device is not what somebody who imports its line expects to have.
        if same && enrolled.state != DeviceState::Revoked {
            return Ok(None);
        }
    }
    free_to_enrol(directory, &device)?;
    Ok(Some(Arc::new(device)))
}

/// A file of which every line can be enrolled.
pub(super) struct Checked {
    changes: Vec<Change>,
    unchanged: u64,
    lines: u64,
}

impl Checked {
    pub(super) fn progress(&self) -> ImportProgress {
        ImportProgress {
            stage: ImportStage::Storing,
            lines: self.lines,
            devices: self.changes.len() as u64 + self.unchanged,
        }
    }

    /// What the import will have done; the revision is not known yet.
    pub(super) fn imported(&self) -> Imported {
        Imported {
            added: self.changes.len() as u64,
            unchanged: self.unchanged,
            lines: self.lines,
            revision: Revision::default(),
        }
    }

    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}

/// The first problems by line, and how many there are.
#[derive(Default)]
struct Problems {
    first: Vec<LineError>,
    total: u64,
}

impl Problems {
    /// Problems of one pass come in the order of lines, so the first pushed are the first of the file.
    fn push(&mut self, line: u64, problem: LineProblem) {
        self.total += 1;
        if self.first.len() < IMPORT_ERRORS_MAX {
            self.first.push(LineError { line, problem });
        }
    }

    fn merge(&mut self, other: Self) {
        self.total += other.total;
        self.first.extend(other.first);
        self.first.sort_by_key(|error| error.line);
        self.first.truncate(IMPORT_ERRORS_MAX);
    }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
