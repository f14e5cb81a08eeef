//! Why a command failed, and the exit code that says so.

use crate::admin::client::ClientError;
use crate::admin::{AdminError, DeskError};
use crate::config::ConfigErrors;
use crate::keys::{DataDirError, KeyFileError};
use serde::Serialize;
use std::fmt;
use std::io;

/// How a command ends when it is not done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// It was understood and could not be done: exit code 1.
    Failed,
    /// It was called in a wrong way: exit code 2.
    WrongUse,
}

/// A command that is not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// For these reasons.
    Told { kind: Kind, message: String },
    /// Nobody reads the output any more (`keygate device list | head`): nothing to tell, and no failure.
    OutputClosed,
}

impl Failure {
    pub(super) fn failed(message: impl fmt::Display) -> Self {
        Self::Told {
            kind: Kind::Failed,
            message: message.to_string(),
        }
    }

    pub(super) fn wrong_use(message: impl fmt::Display) -> Self {
        Self::Told {
            kind: Kind::WrongUse,
            message: message.to_string(),
        }
    }

    /// From writing to standard output.
    pub(super) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::failed(format!("cannot write the output: {error}"))
        }
    }
}

macro_rules! failed {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::failed(error)
            }
        })+
    };
}

failed!(AdminError, DataDirError, DeskError, KeyFileError);

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::wrong_use(errors)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            // The only I/O of ours between the answers is printing them.
            ClientError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Self::OutputClosed
            }
            error => Self::failed(error),
        }
    }
}
