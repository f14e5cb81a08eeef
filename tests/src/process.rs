//! The broker as its users run it: a process of its own, and the command line.
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use keygate_broker::admin::{Answer, Command as Ask};
use keygate_protocol::crypto::PublicKey;
use serde::Deserialize;

use crate::admin;
use crate::bytes::unhex;
use crate::clock::PATIENCE;
use crate::doors::{Doors, Secure};

/// The `keygate` program. Tests get it by `Program::new(env!("CARGO_BIN_EXE_keygate-under-test"))`, which Cargo builds
/// for them: it is never an old one.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Printed {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Printed {
    /// Standard output of a command that did what it was asked.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn done(self) -> String {
        assert!(self.status.success(), "{self:?}");
        self.stdout
    }
}

impl Program {
    /// The program in this file.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn run(&self, data: &Path, arguments: &[&str]) -> Printed {
        let mut command = Command::new(&self.0);
        command.args(arguments).env("KEYGATE_DATA", data);
        printed(command)
    }

    /// Starts a broker on this directory, with free ports of `address`, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn serve(&self, data: &Path, address: IpAddr) -> Process {
        let free = SocketAddr::new(address, 0);
        self.serve_on(data, free, free, &[])
    }

    /// Starts a broker on these addresses, with these further flags.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn serve_on(
        &self,
        data: &Path,
        mqtt: SocketAddr,
        coap: SocketAddr,
        flags: &[&str],
    ) -> Process {
        let mut child = self.begin(data, mqtt, coap, flags);
        let stdout = child.stdout.take().expect("it is piped");
        let lines = lines(stdout);
        let line = lines
            .recv_timeout(PATIENCE)
            .expect("`serve` prints a line when it is ready; its log is above");
        let ready: Ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the ready line is {line:?}: {error}"));
        assert_eq!((ready.event.as_str(), ready.pid), ("ready", child.id()));
        let identity_key = match admin::ask(data, &Ask::Keys) {
            Answer::Keys(keys) => public_key(&keys.identity[0]),
            other => panic!("expected the keys, got {other:?}"),
        };
        Process {
            program: self.clone(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            child,
            doors: Doors {
                mqtt: ready.mqtt,
                secure: Secure {
                    mqtts: ready.mqtts,
                    ws: ready.ws,
                    wss: ready.wss,
                },
                coap: ready.coap,
                broker_id: ready.broker_id,
                identity_key,
                data: data.into(),
            },
        }
    }
}

impl Program {
    fn begin(&self, data: &Path, mqtt: SocketAddr, coap: SocketAddr, flags: &[&str]) -> Child {
        Command::new(&self.0)
            .arg("serve")
            .args(["--mqtt", &mqtt.to_string(), "--coap", &coap.to_string()])
            .args(flags)
            .env("KEYGATE_DATA", data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts")
    }
}

#[derive(Deserialize)]
struct Ready {
    event: String,
    pid: u32,
    broker_id: String,
    mqtt: SocketAddr,
    mqtts: Option<SocketAddr>,
    ws: Option<SocketAddr>,
    wss: Option<SocketAddr>,
    coap: SocketAddr,
}

/// A public key from 64 hex digits.
///
/// # Panics
/// When it is none.
#[must_use]
#[track_caller]
pub fn public_key(digits: &str) -> PublicKey {
    PublicKey::from_slice(&unhex(digits)).expect("a public key")
}

/// A broker in a process of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    program: Program,
    flags: Vec<String>,
    child: Child,
    doors: Doors,
}

impl Process {
    /// Kills it (SIGKILL): nothing is flushed, nothing is said.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Ends it in an orderly way (SIGTERM).
    ///
    /// # Panics
    /// When it does not end well.
    #[track_caller]
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "the broker ended with {status}");
    }

    /// Kills it and starts it again on the same directory and the same ports.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts it again after its end, on the same directory and the same ports.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_again(&mut self) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let doors = &self.doors;
        let again = self
            .program
            .serve_on(&doors.data, doors.mqtt, doors.coap, &flags);
        *self = again;
    }

    /// Begins to start it again after its end, and kills it after this time, wherever it is by then.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    pub fn start_and_kill(&mut self, after: Duration) {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let doors = &self.doors;
        let mut child = self
            .program
            .begin(&doors.data, doors.mqtt, doors.coap, &flags);
        crate::clock::idle(after);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When the process has ended.
    #[must_use]
    #[track_caller]
    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))
            .expect("the process runs");
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        let pages: u64 = pages.expect("resident pages are the second number");
        pages * rustix::param::page_size() as u64
    }

    /// The program that runs.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Deref for Process {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started or does not end.
#[must_use]
#[track_caller]
pub fn printed(mut command: Command) -> Printed {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let stdout = text(child.stdout.take().expect("it is piped"));
    let stderr = text(child.stderr.take().expect("it is piped"));
    let Ok(stdout) = stdout.recv_timeout(PATIENCE) else {
        // What it has said so far tells why it hangs.
        let _ = child.kill();
        panic!("{command:?} does not end; it said {:?}", stderr.recv());
    };
    Printed {
        status: child.wait().expect("it ends"),
        stdout,
        stderr: stderr.recv().unwrap_or_default(),
    }
}

/// The lines that a child prints, as they come.
///
/// # Panics
/// When no thread can be started.
#[must_use]
pub fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1024);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                // Nobody listens any more; the child must not block on a full pipe.
                continue;
            }
        }
    });
    receiver
}

fn text(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends the text.
        let _ = from.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
