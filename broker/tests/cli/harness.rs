//! Running the command, running a broker, speaking just enough MQTT.

use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A place with a data directory (not made yet) and room for other files.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    /// A place whose data directory is made.
    pub(crate) fn initialised() -> Self {
        let place = Self::new();
        place.ok(&["init", "--broker-id", "kg-test"]);
        place
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.env("KEYGATE_DATA", self.data());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.run_with(args, "")
    }

    /// Runs a command with this on its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Done {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // It may end before it has read everything.
        let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
        let watchdog = Watchdog::over(&child);
        let done = child.wait_with_output().unwrap().into();
        drop(watchdog);
        writing.join().unwrap();
        done
    }

    /// Runs a command that must be done, and gives what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        done.stdout
    }

    /// The same, as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Starts a command and leaves it running.
    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        let mut child = self
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Process { child, stdout }
    }

    /// Starts a broker on free ports and waits until it accepts.
    pub(crate) fn serve(&self) -> Broker {
        let mut process = self.spawn(&["serve", "--mqtt", "127.0.0.1:0", "--coap", "127.0.0.1:0"]);
        let ready: Value = serde_json::from_str(&process.line()).unwrap();
        Broker { process, ready }
    }

    /// Enrols a device with a new key, whose file it names.
    pub(crate) fn device(&self, id: &str) -> String {
        let key = self.file(&format!("{id}.pem"));
        self.ok(&["device", "add", id, "--generate", &key]);
        key
    }
}

/// Kills a command that does not end, so that the test fails instead of waiting for ever.
struct Watchdog {
    _ended: std::sync::mpsc::SyncSender<()>,
}

impl Watchdog {
    fn over(child: &Child) -> Self {
        let pid = rustix::process::Pid::from_child(child);
        let (ended, watched) = std::sync::mpsc::sync_channel(0);
        std::thread::spawn(move || {
            if watched.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        });
        Self { _ended: ended }
    }
}

/// The command without any of our environment variables.
pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
    for name in ["KEYGATE_DATA", "KEYGATE_LOG", "KEYGATE_CONFIG"] {
        command.env_remove(name);
    }
    command.args(args);
    command
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A command that runs. It does not outlive the test.
pub(crate) struct Process {
    pub(crate) child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// Stops reading its standard output.
    pub(crate) fn close(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already: fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker that accepts.
pub(crate) struct Broker {
    pub(crate) process: Process,
    pub(crate) ready: Value,
}

impl Broker {
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.ready["mqtt"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn coap(&self) -> String {
        format!("coap://{}", self.ready["coap"].as_str().unwrap())
    }

    /// Connects with MQTT 3.1.1 and gives the connection and the return code.
    pub(crate) fn connect(&self, client_id: &str, user: &str, password: &str) -> (TcpStream, u8) {
        let mut body = b"\x00\x04MQTT\x04\xc2\x00\x3c".to_vec();
        for field in [client_id, user, password] {
            body.extend_from_slice(&u16::try_from(field.len()).unwrap().to_be_bytes());
            body.extend_from_slice(field.as_bytes());
        }
        let mut packet = vec![0x10];
        let mut left = body.len();
        while left >= 128 {
            packet.push((left % 128) as u8 | 0x80);
            left /= 128;
        }
        packet.push(left as u8);
        packet.extend_from_slice(&body);
        let mut stream = TcpStream::connect(self.mqtt()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&packet).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack[..2], [0x20, 2]);
        (stream, connack[3])
    }
}

/// Whether the peer closes the connection (after whatever it still sends).
pub(crate) fn is_closed(mut stream: &TcpStream) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).is_ok()
}

/// Reads a file of the repository's tests.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}
