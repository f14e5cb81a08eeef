//! The brokers of a run: ours, started for it, or somebody else's.
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use keygate_protocol::mqtt::Version;
use keygate_tests::bytes::hex;
use keygate_tests::clock::PATIENCE;
use keygate_tests::device::Device;
use keygate_tests::peers::Mosquitto;
use keygate_tests::process::{Process, Program};
use tempfile::TempDir;

use super::case::{Case, Ground};
use super::engines::Engine;
use super::target::{Enrolled, Login, Target, Within};

/// `host:port` of a broker to try instead of ours, which lets everybody in and lets them do everything.
const TARGET: &str = "KEYGATE_CONFORMANCE_TARGET";
/// `user:password` for that broker, if it asks for one.
const TARGET_LOGIN: &str = "KEYGATE_CONFORMANCE_LOGIN";

/// How long to wait for another broker: some of them never answer, in many cases.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(8);

/// Topics that nobody may use on [`TIGHT`] ground.
pub(super) const DENIED: &str = "kc/denied";
/// Longest keep-alive on tight ground.
pub(super) const TIGHT_KEEP_ALIVE_S: u16 = 2;
/// Longest life of a session on tight ground.
pub(super) const TIGHT_EXPIRY_S: u32 = 2;
/// Messages that a client may have unacknowledged on tight ground.
pub(super) const TIGHT_RECEIVE_MAX: u16 = 3;
/// Largest packet on tight ground.
pub(super) const TIGHT_PACKET_BYTES: u32 = 1024;

/// Devices that can log in: as many as there are cases of AUTH.
const DEVICES: usize = 16;

/// Settings of a broker that lets everybody do everything.
const OPEN: &str = "[anonymous]\nallow = [\"#\"]\n";
/// Settings of a gate whose clients are all one device.
const GATE: &str = "[login]\nclient_id = \"id-or-suffix\"\n";
/// Settings of one with small limits and a branch that nobody may use.
pub(super) const TIGHT: &str = "\
[anonymous]
allow = [\"#\"]
deny = [\"kc/denied/#\"]
[limits]
keep_alive_max_s = 2
session_expiry_max_s = 2
receive_max = 3
packet_bytes = 1024
pre_auth_bytes = 1024
";

/// The brokers.
pub(super) struct Stage {
    open: SocketAddr,
    login: Login,
    within: Within,
    patience: Duration,
    ours: Option<Ours>,
    _gate: Option<Gate>,
}

/// A gate, and what it relays to.
struct Gate {
    _gate: Process,
    _behind: Option<Mosquitto>,
    _directory: TempDir,
}

struct Ours {
    tight: Process,
    /// One for each case that logs in: they would take each other's place.
    devices: Vec<Device>,
    next: AtomicUsize,
    _open: Process,
    _directory: TempDir,
}

impl Stage {
    /// Starts ours, unless the environment names another.
    pub(super) fn set() -> Self {
        if let Ok(target) = std::env::var(TARGET) {
            let mut found = target.to_socket_addrs().expect("host:port");
            let login = match std::env::var(TARGET_LOGIN) {
                Ok(text) => {
                    let (user, password) = text.split_once(':').expect("user:password");
                    Login::Password {
                        user: user.into(),
                        password: password.into(),
                    }
                }
                Err(_) => Login::Anonymous,
            };
            return Self {
                open: found.next().expect("an address"),
                login,
                within: Within::default(),
                patience: PATIENCE_WITH_OTHERS,
                ours: None,
                _gate: None,
            };
        }
        let directory = TempDir::new().expect("a temporary directory");
        let program = Program::new(env!("CARGO_BIN_EXE_keygate-under-test"));
        let start = |name: &str, settings: &str| {
            let file = directory.path().join(format!("{name}.toml"));
            std::fs::write(&file, settings).expect("a file");
            let free = SocketAddr::from(([127, 0, 0, 1], 0));
            let config = file.to_str().expect("a path in UTF-8");
            program.serve_on(
                &directory.path().join(name),
                free,
                free,
                &["--config", config],
            )
        };
        let open = start("open", OPEN);
        let tight = start("tight", TIGHT);
        let devices: Vec<Device> = (0..DEVICES)
            .map(|number| Device::new(&format!("conformance-{number}")))
            .collect();
        for device in &devices {
            let key = hex(device.public_key().as_bytes());
            let add = ["device", "add", &device.id, "--public-key", &key];
            program.run(&open.data, &add).done();
        }
        Self {
            open: open.mqtt,
            login: Login::Anonymous,
            within: Within::default(),
            patience: PATIENCE,
            _gate: None,
            ours: Some(Ours {
                tight,
                devices,
                next: AtomicUsize::new(0),
                _open: open,
                _directory: directory,
            }),
        }
    }

    /// A gate that relays to another broker. Nobody gets in there without a proof, so all clients are one device, with
    /// client identifiers and topics of its own.
    pub(super) fn behind(engine: Engine) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let program = Program::new(env!("CARGO_BIN_EXE_keygate-under-test"));
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let data = directory.path().join("gate");
        let (behind, flags) = match engine {
            Engine::Upstream => {
                let behind = Mosquitto::start();
                let flags = vec!["--upstream".to_owned(), behind.url()];
                (Some(behind), flags)
            }
            Engine::Rumqttd => (None, vec!["--engine".into(), "rumqttd".into()]),
        };
        let config = directory.path().join("gate.toml");
        std::fs::write(&config, GATE).expect("a file");
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.extend(["--config", config.to_str().expect("a path in UTF-8")]);
        let gate = program.serve_on(&data, free, free, &flags);
        let device = Device::new("kc");
        let key = hex(device.public_key().as_bytes());
        // Both roles together may do everything below `devices/kc`, shared subscriptions as well.
        let add = ["device", "add", "kc", "--public-key", &key];
        let roles = ["--role", "device", "--role", "operator"];
        program.run(&data, &[&add[..], &roles[..]].concat()).done();
        Self {
            open: gate.mqtt,
            login: Login::Password {
                user: device.id.clone(),
                password: device.assertion(&gate.broker_id),
            },
            within: Within {
                ids: "kc/",
                topics: "devices/kc/",
            },
            patience: PATIENCE_WITH_OTHERS,
            ours: None,
            _gate: Some(Gate {
                _gate: gate,
                _behind: behind,
                _directory: directory,
            }),
        }
    }

    /// What this case runs against; `None` if the broker that it needs is not there.
    pub(super) fn target(&self, case: &Case, version: Version) -> Option<Target> {
        let address = match (case.ground, &self.ours) {
            (Ground::Tight, Some(ours)) => ours.tight.mqtt,
            (Ground::Open, _) | (Ground::Enrolled, Some(_)) => self.open,
            (_, None) => return None,
        };
        Some(Target {
            address,
            version,
            login: self.login.clone(),
            exact: self.ours.is_some(),
            within: self.within,
            patience: self.patience,
            place: place(),
            enrolled: self
                .ours
                .as_ref()
                .filter(|_| case.ground == Ground::Enrolled)
                .map(Ours::enrolled),
        })
    }
}

impl Ours {
    fn enrolled(&self) -> Enrolled {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let device = self
            .devices
            .get(number)
            .expect("more devices for more cases");
        Enrolled {
            device: device.clone(),
        }
    }
}

/// Letters and digits that no other run has, here or in another process.
fn place() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("k{:x}x{number:x}x", std::process::id())
}
