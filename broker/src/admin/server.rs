//! The socket in the data directory of a running broker.
//!
//! A thread accepts, one more serves each connection: commands write to the disk and wait for it, which no shard and
//! no async task may do. Connections, lines and waits are bounded; peers are the broker's own account and root.

use super::command::{AdminError, Answer, Command, ErrorKind};
use super::execute::{Deps, execute};
use super::socket;
use super::wire::{COMMAND_BYTES_MAX, Chunks, read_line, write_line};
use crate::telemetry::event::Actor;
use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Connections at a time: operators and scripts; each has a thread.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may stay silent; also an import whose lines come from a slow program.
const READ_PATIENCE: Duration = Duration::from_secs(300);
/// How long an answer may wait for its reader.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);

/// The running server. Dropping it closes every connection, waits for commands that are being executed, and removes
/// the socket.
pub struct Server {
    directory: PathBuf,
    listener: UnixListener,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    deps: Deps,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    open: HashMap<u64, UnixStream>,
    threads: Vec<JoinHandle<()>>,
    stopping: bool,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        // Nothing under this lock panics half-way through a change.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    /// Opens the socket in `directory`, whose lock the caller holds, and serves it.
    pub fn start(directory: &Path, deps: Deps) -> io::Result<Self> {
        let listener = socket::bind(directory)?;
        let shared = Arc::new(Shared {
            deps,
            connections: Mutex::default(),
        });
        let accepting = listener.try_clone()?;
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("admin".into())
            .spawn(move || accept(&accepting, &for_thread))?;
        Ok(Self {
            directory: directory.to_owned(),
            listener,
            shared,
            thread: Some(thread),
        })
    }

    /// Ends it: see [`Server`].
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let threads = {
            let mut connections = self.shared.connections();
            connections.stopping = true;
            for stream in connections.open.values() {
                // Already gone: fine.
                let _ = stream.shutdown(Shutdown::Both);
            }
            std::mem::take(&mut connections.threads)
        };
        // Wakes the accepting thread up; there is no other way to interrupt accept.
        if let Err(error) = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both) {
            tracing::warn!(%error, "cannot close the admin socket");
            return;
        }
        for thread in threads.into_iter().chain(self.thread.take()) {
            if thread.join().is_err() {
                tracing::error!("an admin thread panicked");
            }
        }
        if let Err(error) = socket::unlink(&self.directory) {
            tracing::warn!(%error, "cannot remove the admin socket");
        }
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                if shared.connections().stopping {
                    return;
                }
                match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    // Out of descriptors or memory: gone in a moment, or the operator reads it.
                    _ => {
                        tracing::warn!(%error, "cannot accept on the admin socket");
                        std::thread::park_timeout(Duration::from_millis(100));
                    }
                }
                continue;
            }
        };
        if let Err(error) = admit(stream, shared) {
            tracing::debug!(%error, "an admin connection was not served");
        }
    }
}

fn admit(stream: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_PATIENCE))?;
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    let uid = socket::peer_uid(&stream)?;
    if !socket::may_command(uid) {
        tracing::warn!(uid, "an admin connection of another user was refused");
        return refuse(
            stream,
            ErrorKind::Forbidden,
            "only the broker's own account and root may give commands",
        );
    }
    let mut connections = shared.connections();
    connections.threads.retain(|thread| !thread.is_finished());
    if connections.stopping || connections.open.len() >= CONNECTIONS_MAX {
        drop(connections);
        return refuse(
            stream,
            ErrorKind::Busy,
            "too many admin connections; try again",
        );
    }
    let number = connections.next;
    connections.next += 1;
    connections.open.insert(number, stream.try_clone()?);
    let for_thread = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name("admin-connection".into())
        .spawn(move || {
            let _open = Open {
                shared: &for_thread,
                number,
            };
            if let Err(error) = serve(&stream, uid, &for_thread.deps) {
                tracing::debug!(%error, "an admin connection ended");
            }
        });
    match spawned {
        Ok(thread) => {
            connections.threads.push(thread);
            Ok(())
        }
        Err(error) => {
            connections.open.remove(&number);
            Err(error)
        }
    }
}

/// Takes the connection off the list, also when a command panicked.
struct Open<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.shared.connections().open.remove(&self.number);
    }
}

fn refuse(mut stream: UnixStream, kind: ErrorKind, message: &str) -> io::Result<()> {
    write_line(&mut stream, &Answer::Error(AdminError::new(kind, message)))
}

fn serve(stream: &UnixStream, uid: u32, deps: &Deps) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::new(stream);
    loop {
        let command: Command = match read_line(&mut reader, COMMAND_BYTES_MAX) {
            Ok(Some(command)) => command,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = format!("not a command of this version: {error}");
                return refuse(stream.try_clone()?, ErrorKind::Protocol, &message);
            }
            Err(error) => return Err(error),
        };
        let importing = command == Command::DeviceImport;
        let mut input = Chunks::new(&mut reader);
        execute(deps, Actor::Uid(uid), command, &mut input, &mut |answer| {
            write_line(&mut writer, &answer)?;
            // Items of a list gather; whoever waits for the rest sees it at once.
            if matches!(answer, Answer::Item { .. }) {
                Ok(())
            } else {
                writer.flush()
            }
        })?;
        if importing && !input.ended() {
            // What follows are lines of the import, no commands.
            return Ok(());
        }
    }
}
