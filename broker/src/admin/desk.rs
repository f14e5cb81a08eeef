//! One way to give commands, whether a broker runs on the data directory or not.

use super::client::{ClientError, Connection};
use super::command::{Answer, BrokerKeys, Command, hex};
use super::execute::{Deps, execute};
use super::socket;
use crate::clock::Clock;
use crate::disk::Reserve;
use crate::identity::{Registry, SqliteStore, StoreError};
use crate::keys::{DataDir, DataDirError};
use crate::limits::Limits;
use crate::rng::Random;
use crate::telemetry::event::Actor;
use crate::telemetry::trail::Keep;
use crate::telemetry::{Audit, AuditWriter};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long to wait for another process to let go of the directory or to answer: a broker that starts or stops, another
/// command. A broker of 100,000 devices starts in less.
const PATIENCE_MS: u64 = 5_000;
/// How long between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// Events of one command that wait for the disk.
const AUDIT_RING: usize = 64;

/// Nobody could be asked.
#[derive(Debug, Error)]
pub enum DeskError {
    /// The audit trail cannot be written, and a change that leaves no trace is not made.
    #[error("{}: the audit trail cannot be written: {error}", path.display())]
    Audit {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The socket cannot be used.
    #[error("{}: the running broker cannot be asked: {error}", path.display())]
    Connect {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// Somebody holds the lock and does not listen.
    #[error(
        "{} is in use by {} that does not answer on its admin socket: it is starting, stopping or stuck; try again, \
         or stop it", path.display(), holder(*.pid)
    )]
    Deaf {
        /// The data directory.
        path: PathBuf,
        /// The process, if it is known.
        pid: Option<u32>,
    },
    /// The identity store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "a process".into(), |pid| format!("process {pid}"))
}

/// Somebody who takes commands.
pub enum Desk {
    /// The broker that runs on the data directory.
    Running(Connection),
    /// Nobody runs: this process works on the store, and holds the lock meanwhile.
    Stopped(Stopped),
}

/// The opened store of a broker that does not run.
pub struct Stopped {
    // In this order they are dropped: the trail is written before the lock is let go.
    deps: Deps,
    _writer: AuditWriter,
    _data: DataDir,
}

impl Desk {
    /// Connects to the broker that runs on `directory`, or opens its store.
    ///
    /// # Errors
    /// [`DeskError`]; each says what to do.
    pub fn open(
        directory: &Path,
        clock: Arc<dyn Clock>,
        random: &mut dyn Random,
    ) -> Result<Self, DeskError> {
        let start = clock.now();
        loop {
            let connected = Connection::open(directory).map_err(|error| DeskError::Connect {
                path: directory.to_owned(),
                error,
            })?;
            if let Some(connection) = connected {
                return Ok(Self::Running(connection));
            }
            match DataDir::open(directory) {
                Ok(data) => return Stopped::open(data, clock, random).map(Self::Stopped),
                // A command ends soon, a broker that starts listens soon.
                Err(DataDirError::Locked { path, pid }) => {
                    if clock.now().since(start) >= PATIENCE_MS {
                        return Err(DeskError::Deaf { path, pid });
                    }
                    std::thread::park_timeout(LOOK_AGAIN);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a broker runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// Gives a command; each answer but the last goes to `each`, whose error ends it, and the last is returned.
    /// `input` holds the lines of an import.
    ///
    /// # Errors
    /// When there is no answer; what a command refuses is an [`Answer::Error`].
    pub fn ask(
        &mut self,
        command: Command,
        input: Option<Box<dyn Read + Send>>,
        each: &mut dyn FnMut(Answer) -> io::Result<()>,
    ) -> Result<Answer, ClientError> {
        let stopped = match self {
            Self::Running(connection) => return connection.ask(&command, input, each),
            Self::Stopped(stopped) => stopped,
        };
        let by = Actor::Uid(socket::own_uid());
        let mut input = BufReader::new(input.unwrap_or_else(|| Box::new(io::empty())));
        let mut last = None;
        execute(&stopped.deps, by, command, &mut input, &mut |answer| {
            if answer.is_last() {
                last = Some(answer);
                Ok(())
            } else {
                each(answer)
            }
        })?;
        last.ok_or(ClientError::NoAnswer)
    }
}

impl Stopped {
    fn open(
        data: DataDir,
        clock: Arc<dyn Clock>,
        random: &mut dyn Random,
    ) -> Result<Self, DeskError> {
        let layout = data.layout();
        // As large as a broker's without settings; the next one that starts makes it what its own say.
        let bytes = Limits::default().reserve_bytes;
        let reserve = Reserve::new(layout.identity_reserve(), bytes);
        let store = SqliteStore::open(&layout.identity_db())?.with_reserve(reserve);
        let registry = Registry::new(store, random)?;
        // Rotation is the broker's: only it knows how much is to be kept.
        let keep = Keep {
            file_bytes_max: u64::MAX,
            ..Keep::default()
        };
        let (audit, writer) =
            Audit::start(layout.root(), keep, AUDIT_RING).map_err(|error| DeskError::Audit {
                path: layout.root().to_owned(),
                error,
            })?;
        let deps = Deps {
            registry: Arc::new(registry),
            audit,
            clock,
            keys: Arc::new(broker_keys(&data)?),
            figures: None,
        };
        Ok(Self {
            deps,
            _writer: writer,
            _data: data,
        })
    }
}

/// The public keys of the broker that this directory belongs to.
///
/// # Errors
/// A key that is missing, damaged or open to others.
pub fn broker_keys(data: &DataDir) -> Result<BrokerKeys, DataDirError> {
    let identity = data.identity_keys()?;
    let token = data.token_keys()?;
    Ok(BrokerKeys {
        broker_id: data.broker_id().to_string(),
        identity: [identity.current, identity.next]
            .iter()
            .map(|key| hex(key.public_key().as_bytes()))
            .collect(),
        token: token
            .verifying()
            .iter()
            .map(|key| hex(key.public_key.as_bytes()))
            .collect(),
    })
}
