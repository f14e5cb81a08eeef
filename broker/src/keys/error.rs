//! What can be wrong with the data directory or a key file. Every message says what to do.
use std::io;
use std::path::PathBuf;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// `init` on a directory that has been initialised.
    #[error("{} is initialised already, as broker `{broker_id}`", path.display())]
    AlreadyInitialised {
        /// The directory.
        path: PathBuf,
        /// Its broker id.
        broker_id: String,
    },
    /// A file that only Keygate writes does not read as one.
    #[error("{} is damaged: {what}; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something in it belongs to another user.
    #[error(
        "{} belongs to user {owner}, this is user {us}; run as that user (sudo -u '#{owner}' …)",
        path.display()
    )]
    ForeignOwner {
        /// What.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs this process.
        us: u32,
    },
    /// There are devices but no `broker.json`: guessing the broker id would lock every device out.
    #[error(
        "{} is missing although the directory is in use; restore it, or write it anew under the same name: \
         keygate init --broker-id NAME",
        path.display()
    )]
    IdLost {
        /// The missing file.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// One of the broker's keys cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Another process works on the directory.
    #[error("{} is in use by {}; stop it first", path.display(), holder(*.pid))]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process, if it wrote its id down.
        pid: Option<u32>,
    },
    /// A format that a later version of Keygate wrote.
    #[error("{} has format {found}, this version knows {known} at most; use the version that wrote it", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// Not a directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What it is.
        path: PathBuf,
    },
    /// There is nothing yet.
    #[error("{} is no data directory of Keygate; name the right one with --data DIR, or make one there: keygate init --data {0}", path.display())]
    NotInitialised {
        /// The directory.
        path: PathBuf,
    },
    /// Others may look into it.
    #[error("{} is open to other users (mode {mode:04o}); close it: chmod 700 {0}", path.display())]
    TooOpen {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Why a key file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A PEM key that openssl protected with a password.
    #[error("{} is protected by a password; take it off: openssl pkey -in {0} -out FILE", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// Writing would destroy what is there.
    #[error("{} exists already and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A key file of the broker is gone.
    #[error("{} is missing; restore it from a backup: devices and tokens rely on this key", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// No private key in it.
    #[error("{}: {found}", path.display())]
    NotAPrivateKey {
        /// The file.
        path: PathBuf,
        /// What it holds instead.
        found: &'static str,
    },
    /// The key is not the one that the broker's records name.
    #[error("{} holds another key than it should; restore it from a backup", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("{} can be read by other users (mode {mode:04o}); close it: chmod 600 {0}", path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".into(),
    }
}
