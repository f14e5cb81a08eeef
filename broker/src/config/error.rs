//! What is wrong with a setting, and where it stands.

use std::fmt;
use thiserror::Error;

/// One setting that cannot be taken.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Where a setting stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a file, on this line (0: the file as a whole).
    File {
        /// The file's name as it was given.
        name: String,
        /// The line, from 1.
        line: usize,
    },
    /// On the command line.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line: 0 } => f.write_str(name),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// All that is wrong, one a line.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// These errors in the order of their lines; what stands on the command line comes last.
    pub(super) fn by_line(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|error| match error.place {
            Place::File { line, .. } => line,
            Place::Flag(_) => usize::MAX,
        });
        Self(errors)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}
