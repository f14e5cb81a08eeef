//! The data directory: private, held by one process, initialised once.
use super::atomic::{self, Existing};
use super::broker_keys::{self, IdentityKeys, TokenKeys};
use super::certificates;
use super::error::{DataDirError, KeyFileError};
use super::json_file::{Formatted, read_json, write_json};
use super::layout::Layout;
use crate::rng::Random;
use keygate_protocol::ident::Id;
use keygate_protocol::time::UnixTime;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Format of `broker.json`.
const BROKER_FORMAT: u32 = 1;
/// Characters of the identity key's thumbprint in a broker id that nobody chose.
const BROKER_ID_DIGITS: usize = 6;

/// A data directory that this process holds, until it is dropped.
///
/// Opening refuses a directory that other users may look into or that another process holds. Initialisation writes
/// `broker.json` twice: first with what was asked for, last with `"initialised": true`. A kill anywhere in between
/// leaves whole files, and the next [`init`](Self::init) or [`open_or_init`](Self::open_or_init) goes on from there,
/// under the broker id that was asked for then.
///
/// ```
/// use keygate_broker::keys::{DataDir, DataDirError};
/// use keygate_broker::rng::SystemRandom;
/// use keygate_protocol::time::UnixTime;
///
/// let place = tempfile::tempdir()?;
/// let path = place.path().join("keygate-data");
/// assert!(matches!(DataDir::open(&path), Err(DataDirError::NotInitialised { .. })));
///
/// let data = DataDir::init(&path, None, UnixTime(1_800_000_000), &mut SystemRandom)?;
/// let pinned = data.identity_keys()?.current.key_id();
/// assert_eq!(data.broker_id().as_str(), format!("kg-{}", &pinned.to_string()[..6]));
///
/// // One process at a time.
/// assert!(matches!(DataDir::open(&path), Err(DataDirError::Locked { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DataDir {
    layout: Layout,
    broker_id: Box<str>,
    /// The lock lives as long as this file is open.
    _lock: File,
}

impl DataDir {
    /// Opens a directory that has been initialised.
    ///
    /// # Errors
    /// [`DataDirError::NotInitialised`] also where initialisation was interrupted;
    /// [`DataDirError::Locked`], [`DataDirError::TooOpen`] and the others as they say.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let held =
            Held::of_existing(path)?.ok_or(DataDirError::NotInitialised { path: path.into() })?;
        match held.broker_file()? {
            Some(BrokerFile {
                initialised: true,
                broker_id: Some(broker_id),
                ..
            }) => Ok(held.opened(&broker_id)),
            Some(_) => Err(DataDirError::NotInitialised { path: path.into() }),
            None if held.is_in_use() => Err(held.id_lost()),
            None => Err(DataDirError::NotInitialised { path: path.into() }),
        }
    }

    /// Initialises a directory that is new, empty, or was interrupted while it was initialised.
    ///
    /// Makes the current and the next identity key and a token key. Without `broker_id` the broker is called `kg-` and
    /// the first 6 hex digits of the current identity key's thumbprint. `wall` becomes the token key's time of creation.
    ///
    /// # Errors
    /// [`DataDirError::AlreadyInitialised`], and those of [`open`](Self::open).
    pub fn init(
        path: &Path,
        broker_id: Option<Id<'_>>,
        wall: UnixTime,
        random: &mut dyn Random,
    ) -> Result<Self, DataDirError> {
        let held = Held::of_new(path)?;
        match held.broker_file()? {
            Some(BrokerFile {
                initialised: true,
                broker_id,
                ..
            }) => Err(DataDirError::AlreadyInitialised {
                path: path.into(),
                broker_id: broker_id.unwrap_or_default(),
            }),
            found => held.initialise(found, broker_id, wall, random),
        }
    }

    /// Opens a directory, initialising it first if it never was: for a program that runs a broker of its own.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), but for [`DataDirError::NotInitialised`].
    pub fn open_or_init(
        path: &Path,
        wall: UnixTime,
        random: &mut dyn Random,
    ) -> Result<Self, DataDirError> {
        let held = Held::of_new(path)?;
        match held.broker_file()? {
            Some(BrokerFile {
                initialised: true,
                broker_id: Some(broker_id),
                ..
            }) => Ok(held.opened(&broker_id)),
            found => held.initialise(found, None, wall, random),
        }
    }

    /// Who the broker of this directory is, for those who only look: the directory may be held by another process and is
    /// not held afterwards.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), but for [`DataDirError::Locked`].
    pub fn peek(path: &Path) -> Result<Box<str>, DataDirError> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DataDirError::NotInitialised { path: path.into() });
            }
            _ => check_private(path)?,
        }
        match broker_file(&Layout::new(path))? {
            Some(BrokerFile {
                initialised: true,
                broker_id: Some(broker_id),
                ..
            }) => Ok(broker_id.into()),
            _ => Err(DataDirError::NotInitialised { path: path.into() }),
        }
    }

    /// Who this broker is.
    ///
    /// # Panics
    /// Never: the id was checked when the directory was opened.
    #[must_use]
    #[expect(clippy::expect_used, reason = "checked when the directory was opened")]
    pub fn broker_id(&self) -> Id<'_> {
        Id::new(&self.broker_id).expect("a checked id")
    }

    /// Where what lies in it.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Reads the identity keys.
    ///
    /// # Errors
    /// A key that is missing, damaged or open to others; it is never made anew: devices pin it.
    pub fn identity_keys(&self) -> Result<IdentityKeys, KeyFileError> {
        IdentityKeys::load(&self.layout)
    }

    /// The certificate that TLS listeners present where no other is configured: made when it is missing, and made anew
    /// by the same CA when it is about to expire.
    ///
    /// # Errors
    /// A file that is damaged, or cannot be read or written.
    pub fn server_certificate(
        &self,
        wall: UnixTime,
        random: &mut dyn Random,
    ) -> Result<(), DataDirError> {
        create_private(&self.layout.tls())?;
        check_private(&self.layout.tls())?;
        certificates::complete(&self.layout, &self.broker_id, wall, random)
    }

    /// Reads the token keys.
    ///
    /// # Errors
    /// A key or the list of keys that is missing, damaged or open to others.
    pub fn token_keys(&self) -> Result<TokenKeys, DataDirError> {
        TokenKeys::load(&self.layout)
    }
}

/// A directory that is private and locked, whatever is in it.
struct Held {
    layout: Layout,
    lock: File,
}

impl Held {
    fn of_new(path: &Path) -> Result<Self, DataDirError> {
        let layout = Layout::new(path);
        create_private(path)?;
        check_private(path)?;
        Self::lock(layout)
    }

    /// `None` if there is nothing that anybody ever used as a data directory.
    fn of_existing(path: &Path) -> Result<Option<Self>, DataDirError> {
        let layout = Layout::new(path);
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(path, error)),
            Ok(metadata) if !metadata.is_dir() => {
                return Err(DataDirError::NotADirectory { path: path.into() });
            }
            Ok(_) if !layout.lock().exists() => return Ok(None),
            Ok(_) => {}
        }
        check_private(path)?;
        Self::lock(layout).map(Some)
    }

    fn lock(layout: Layout) -> Result<Self, DataDirError> {
        let path = layout.lock();
        let io = |error| io_error(&path, error);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Best effort: the holder may be about to write it.
                let _ = (&mut lock).take(16).read_to_string(&mut pid);
                return Err(DataDirError::Locked {
                    path: layout.root().into(),
                    pid: pid.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        lock.set_len(0).map_err(io)?;
        lock.rewind().map_err(io)?;
        writeln!(lock, "{}", std::process::id()).map_err(io)?;
        for directory in [layout.root().to_path_buf(), layout.keys()] {
            atomic::sweep(&directory).map_err(|error| io_error(&directory, error))?;
        }
        Ok(Self { layout, lock })
    }

    fn broker_file(&self) -> Result<Option<BrokerFile>, DataDirError> {
        broker_file(&self.layout)
    }

    /// Whether devices may know this broker already. `identity.db` is made after initialisation is complete.
    fn is_in_use(&self) -> bool {
        self.layout.identity_db().exists()
    }

    fn id_lost(&self) -> DataDirError {
        DataDirError::IdLost {
            path: self.layout.broker_file(),
        }
    }

    fn initialise(
        self,
        found: Option<BrokerFile>,
        broker_id: Option<Id<'_>>,
        wall: UnixTime,
        random: &mut dyn Random,
    ) -> Result<DataDir, DataDirError> {
        if found.is_none() && broker_id.is_none() && self.is_in_use() {
            return Err(self.id_lost());
        }
        let path = self.layout.broker_file();
        // What an interrupted run was asked for counts, unless something else is asked for now.
        let wished = broker_id
            .map(|id| id.as_str().to_owned())
            .or_else(|| found.and_then(|file| file.broker_id));
        write_json(
            &path,
            &BrokerFile::new(wished.clone(), false),
            Existing::Replace,
        )?;
        create_private(&self.layout.keys())?;
        check_private(&self.layout.keys())?;
        broker_keys::complete(&self.layout, wall, random)?;
        let broker_id = match wished {
            Some(wished) => wished,
            None => {
                let current = IdentityKeys::load(&self.layout)?.current;
                let digits = current.key_id().to_string();
                format!("kg-{}", digits.get(..BROKER_ID_DIGITS).unwrap_or(&digits))
            }
        };
        write_json(
            &path,
            &BrokerFile::new(Some(broker_id.clone()), true),
            Existing::Replace,
        )?;
        let data = self.opened(&broker_id);
        data.server_certificate(wall, random)?;
        Ok(data)
    }

    fn opened(self, broker_id: &str) -> DataDir {
        DataDir {
            layout: self.layout,
            broker_id: broker_id.into(),
            _lock: self.lock,
        }
    }
}

/// `broker.json`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BrokerFile {
    format: u32,
    broker_id: Option<String>,
    initialised: bool,
}

impl BrokerFile {
    fn new(broker_id: Option<String>, initialised: bool) -> Self {
        Self {
            format: BROKER_FORMAT,
            broker_id,
            initialised,
        }
    }
}

impl Formatted for BrokerFile {
    const FORMAT: u32 = BROKER_FORMAT;
}

fn broker_file(layout: &Layout) -> Result<Option<BrokerFile>, DataDirError> {
    let path = layout.broker_file();
    let Some(file) = read_json::<BrokerFile>(&path)? else {
        return Ok(None);
    };
    let valid = match &file.broker_id {
        Some(broker_id) => Id::new(broker_id).is_ok(),
        None => !file.initialised,
    };
    match valid {
        true => Ok(Some(file)),
        false => Err(DataDirError::Damaged {
            path,
            what: "the broker id is not a valid id".into(),
        }),
    }
}

/// Makes a directory that only its owner can enter; leaves one that is there as it is.
fn create_private(path: &Path) -> Result<(), DataDirError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => atomic::sync_directory(path).map_err(|error| io_error(path, error)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_error(path, error)),
    }
}

fn check_private(path: &Path) -> Result<(), DataDirError> {
    let metadata = fs::metadata(path).map_err(|error| io_error(path, error))?;
    if !metadata.is_dir() {
        return Err(DataDirError::NotADirectory { path: path.into() });
    }
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us {
        return Err(DataDirError::ForeignOwner {
            path: path.into(),
            owner: metadata.uid(),
            us,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DataDirError::TooOpen {
            path: path.into(),
            mode,
        });
    }
    Ok(())
}

fn io_error(path: &Path, error: io::Error) -> DataDirError {
    DataDirError::Io {
        path: path.into(),
        error,
    }
}

#[cfg(test)]
#[path = "data_dir_tests.rs"]
mod tests;
