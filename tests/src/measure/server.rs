//! The servers that are measured, each in a process of its own.
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use keygate_broker::config::{Flags, parse};
use keygate_broker::keys::DataDir;
use keygate_broker::rng::SystemRandom;
use keygate_broker::serve::Running;
use keygate_protocol::time::UnixTime;

use super::{Certificates, Usage, pause};

/// Looks before a server counts as at rest, and how many of them in a row must find it so.
const LOOKS: usize = 300;
const QUIET_LOOKS: usize = 20;
/// Looks before a server that does not accept is given up.
const TRIES: usize = 500;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Accepts, answers, idles, and checks nothing: the program itself in the role `floor`.
    Floor,
    /// Keygate, which asks for keys: the program itself in the role `broker`.
    Keygate,
    /// Debian's Mosquitto, which asks for passwords and writes nothing to disk.
    Mosquitto,
    /// The same with `persistence true`: it saves what it holds every half hour and when it ends.
    MosquittoSaving,
}

/// Who may log in, in the form of each server.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// JSON Lines, as `keygate device import` reads them.
    pub keys: String,
    /// `id:password` lines.
    pub passwords: String,
}

impl Kind {
    /// For tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor (accept, answer, idle)",
            Self::Keygate => "keygate, kg-ed25519",
            Self::Mosquitto => "mosquitto, password",
            Self::MosquittoSaving => "mosquitto, password, persistence",
        }
    }
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub kind: Kind,
    /// Where it accepts.
    pub address: SocketAddr,
    /// The CA that vouches for it, if that is over TLS.
    pub ca: Option<PathBuf>,
    /// The name that devices are configured with.
    pub broker_id: String,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts a server that knows these people. Keygate runs so many shards; 0 is one a core.
    ///
    /// # Errors
    /// When it cannot be started, or does not accept.
    pub fn start(kind: Kind, people: &People, shards: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut broker_id = String::new();
        let mut command = match kind {
            Kind::Floor => itself(&["floor"])?,
            Kind::Keygate => {
                let data = directory.path().join("data");
                broker_id = enrol(&data, &people.keys)?;
                let mut command = itself(&["broker"])?;
                command.arg(data).arg(shards.to_string());
                command
            }
            Kind::Mosquitto => mosquitto(directory.path(), &people.passwords, false, None)?,
            Kind::MosquittoSaving => mosquitto(directory.path(), &people.passwords, true, None)?,
        };
        Self::launch(kind, &mut command, broker_id, directory, None)
    }

    /// The same with a listener that speaks TLS 1.3, and no other that is used.
    ///
    /// # Errors
    /// When it cannot be started, does not accept, or there is no such server over TLS.
    pub fn start_over_tls(kind: Kind, people: &People, shards: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let certificates = Certificates::make(directory.path())?;
        let mut broker_id = String::new();
        let mut command = match kind {
            Kind::Keygate => {
                let data = directory.path().join("data");
                broker_id = enrol(&data, &people.keys)?;
                let settings = directory.path().join("keygate.toml");
                std::fs::write(&settings, format!("shards = {shards}\n"))?;
                keygate(&data, &settings, &certificates)?
            }
            Kind::Mosquitto | Kind::MosquittoSaving => mosquitto(
                directory.path(),
                &people.passwords,
                kind == Kind::MosquittoSaving,
                Some(&certificates),
            )?,
            Kind::Floor => bail!("the floor has no TLS"),
        };
        Self::launch(
            kind,
            &mut command,
            broker_id,
            directory,
            Some(certificates.ca),
        )
    }

    fn launch(
        kind: Kind,
        command: &mut Command,
        broker_id: String,
        directory: tempfile::TempDir,
        ca: Option<PathBuf>,
    ) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server")?;
        let output = child.stdout.take();
        let mut server = Self {
            kind,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            ca,
            broker_id,
            child,
            _directory: directory,
        };
        server.address = match kind {
            Kind::Floor | Kind::Keygate => {
                let mut line = String::new();
                BufReader::new(output.context("its output")?).read_line(&mut line)?;
                let address = match &server.ca {
                    Some(_) => mqtts(&line),
                    None => line.trim().parse().ok(),
                };
                address.with_context(|| format!("its address: {line:?}"))?
            }
            Kind::Mosquitto | Kind::MosquittoSaving => mosquitto_address(server._directory.path())?,
        };
        wait_until_accepting(server.address)?;
        Ok(server)
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Waits until the server is at rest: the connections of the warm-up are forgotten.
    ///
    /// # Errors
    /// When it has ended.
    pub fn settle(&self) -> Result<()> {
        let mut before = self.usage()?;
        let mut quiet = 0;
        for _ in 0..LOOKS {
            pause()?;
            let now = self.usage()?;
            quiet = if now.is_idle_since(&before) {
                quiet + 1
            } else {
                0
            };
            if quiet == QUIET_LOOKS {
                break;
            }
            before = now;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process must not outlive the measurement.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Tries until the server accepts.
fn wait_until_accepting(address: SocketAddr) -> Result<()> {
    for _ in 0..TRIES {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        pause()?;
    }
    anyhow::bail!("the server does not accept on {address}")
}

/// This program in another role.
///
/// # Errors
/// When the system does not say which program this is.
pub fn itself(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args);
    Ok(command)
}

fn start(data: DataDir, shards: usize) -> Result<Running> {
    let any_port = Some("127.0.0.1:0".parse()?);
    let config = parse(&format!("shards = {shards}"), "measured")?.check(&Flags {
        mqtt: any_port,
        coap: any_port,
        ..Flags::default()
    })?;
    Ok(Running::start(data, &config)?)
}

fn enrol(path: &Path, keys: &str) -> Result<String> {
    let broker = start(
        DataDir::init(path, None, UnixTime(0), &mut SystemRandom)?,
        0,
    )?;
    broker
        .registry()
        .import(&mut keys.as_bytes(), &mut |_| {})?;
    let broker_id = broker.broker_id().to_owned();
    broker.stop();
    Ok(broker_id)
}

/// The broker in a process of its own, until it is killed. Its first line on standard output is its address.
///
/// # Errors
/// When it cannot be started.
pub fn run_broker(path: &Path, shards: &str) -> Result<()> {
    let broker = start(DataDir::open(path)?, shards.parse()?)?;
    writeln!(
        std::io::stdout(),
        "{}",
        broker.mqtt().context("an MQTT listener")?
    )?;
    std::io::stdin().read_line(&mut String::new())?;
    broker.stop();
    Ok(())
}

/// Keygate as its own command line starts it, with a TLS listener.
fn keygate(data: &Path, settings: &Path, certificates: &Certificates) -> Result<Command> {
    let mut command = itself(&["--data"])?;
    let any_port = "127.0.0.1:0";
    command
        .arg(data)
        .args(["serve", "--mqtt", any_port, "--coap", any_port])
        .args(["--mqtts", any_port, "--cert"])
        .arg(&certificates.certificate)
        .arg("--key")
        .arg(&certificates.key)
        .arg("--config")
        .arg(settings);
    Ok(command)
}

/// Where the TLS listener of a ready line is.
fn mqtts(line: &str) -> Option<SocketAddr> {
    let ready: serde_json::Value = serde_json::from_str(line).ok()?;
    ready.get("mqtts")?.as_str()?.parse().ok()
}

/// What makes Mosquitto's listener speak TLS 1.3; nothing without certificates.
fn tls_lines(certificates: Option<&Certificates>) -> String {
    let Some(Certificates {
        ca,
        certificate,
        key,
    }) = certificates
    else {
        return String::new();
    };
    format!(
        "cafile {}\ncertfile {}\nkeyfile {}\ntls_version tlsv1.3\n",
        ca.display(),
        certificate.display(),
        key.display()
    )
}

/// Mosquitto with a password for every client.
fn mosquitto(
    directory: &Path,
    lines: &str,
    saving: bool,
    certificates: Option<&Certificates>,
) -> Result<Command> {
    let found = Command::new("mosquitto")
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    ensure!(
        found.is_ok(),
        "mosquitto is not installed: apt-get install mosquitto"
    );
    let passwords = directory.join("passwords");
    std::fs::write(&passwords, lines)?;
    let hashed = Command::new("mosquitto_passwd")
        .arg("-U")
        .arg(&passwords)
        .status()?;
    ensure!(
        hashed.success(),
        "mosquitto_passwd could not hash the passwords"
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let config = format!(
        "listener {port} 127.0.0.1\n{}allow_anonymous false\npassword_file {}\npersistence {saving}\n\
         persistence_location {}/\nuser root\n",
        tls_lines(certificates),
        passwords.display(),
        directory.display()
    );
    std::fs::write(directory.join("mosquitto.conf"), config)?;
    std::fs::write(directory.join("port"), port.to_string())?;
    let mut command = Command::new("mosquitto");
    command
        .arg("-c")
        .arg(directory.join("mosquitto.conf"))
        .stderr(Stdio::null());
    Ok(command)
}

fn mosquitto_address(directory: &Path) -> Result<SocketAddr> {
    let port: u16 = std::fs::read_to_string(directory.join("port"))?.parse()?;
    Ok(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// As many open files as the system allows: every connection is one, here and in the server.
///
/// # Errors
/// When they are too few to measure anything.
pub fn allow_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    ensure!(
        limit.current.is_none_or(|files| files >= 8_192),
        "too few open files to measure: {:?}",
        limit.current
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tls_listener_of_a_ready_line_is_found() {
        let line = r#"{"event":"ready","mqtt":"127.0.0.1:1","mqtts":"127.0.0.1:2","ca":"ca.pem"}"#;
        assert_eq!(mqtts(line), "127.0.0.1:2".parse().ok());
        assert_eq!(mqtts(r#"{"event":"ready","mqtt":"127.0.0.1:1"}"#), None);
        assert_eq!(mqtts("127.0.0.1:1"), None);
    }

    #[test]
    fn mosquitto_speaks_tls_1_3_alone_with_the_certificates_of_keygate() {
        let certificates = Certificates {
            ca: "ca.pem".into(),
            certificate: "certificate.pem".into(),
            key: "key.pem".into(),
        };
        assert_eq!(
            tls_lines(Some(&certificates)),
            "cafile ca.pem\ncertfile certificate.pem\nkeyfile key.pem\ntls_version tlsv1.3\n"
        );
        assert_eq!(tls_lines(None), "");
        let command = keygate("data".as_ref(), "keygate.toml".as_ref(), &certificates);
        let command = command.expect("this program is known");
        let args: Vec<&str> = command.get_args().filter_map(|arg| arg.to_str()).collect();
        assert_eq!(
            args.join(" "),
            "--data data serve --mqtt 127.0.0.1:0 --coap 127.0.0.1:0 --mqtts 127.0.0.1:0 --cert certificate.pem \
             --key key.pem --config keygate.toml"
        );
    }
}
