//! The socket's path, permissions and peers.

use crate::keys::Layout;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

const NAME: &str = Layout::ADMIN_SOCKET_NAME;
/// The name under which it is prepared.
const NAME_NEW: &str = "admin.sock.new";

/// A path to a socket in a directory that is always short enough: socket paths end at 107 bytes, data directories do
/// not. While this lives, the path leads to the directory by an open descriptor instead of by name. (A relative path
/// would need a change of the working directory, which all threads share.)
struct ShortPath {
    _directory: OwnedFd,
    path: PathBuf,
}

impl ShortPath {
    fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let directory = rustix::fs::open(
            directory,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into();
        Ok(Self {
            _directory: directory,
            path,
        })
    }
}

/// Opens the socket in the data directory, whose lock the caller holds: whatever an earlier broker left is replaced.
/// Nobody can connect before its mode is 0600.
pub fn bind(directory: &Path) -> io::Result<UnixListener> {
    let new = directory.join(NAME_NEW);
    remove(&new)?;
    let listener = UnixListener::bind(&ShortPath::new(directory, NAME_NEW)?.path)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    fs::rename(&new, directory.join(NAME))?;
    Ok(listener)
}

/// Connects to the broker that runs on the data directory; `None` if none listens there.
pub fn connect(directory: &Path) -> io::Result<Option<UnixStream>> {
    let path = match ShortPath::new(directory, NAME) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match UnixStream::connect(&path.path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Removes the socket at the end.
pub fn unlink(directory: &Path) -> io::Result<()> {
    remove(&directory.join(NAME))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The user id of the process at the other end, when it connected.
pub fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw())
}

/// The user id of this process.
#[must_use]
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this user may give commands: the broker's own account, or root.
#[must_use]
pub fn may_command(uid: u32) -> bool {
    uid == own_uid() || uid == 0
}
