//! Clients that we did not write. A tool that is missing fails the test: a proof that was skipped is none.
use crate::clock::{Deadline, PATIENCE};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests live one level below the root")
        .into()
}

/// A script of `tests/interop/`, ready for its arguments.
///
/// The interpreter is `.venv/bin/python` of the repository or, where there is none, the one that `KEYGATE_PYTHON` names.
///
/// # Panics
/// When there is neither: the message says how to install it.
#[must_use]
#[track_caller]
pub fn python(script: &str) -> Command {
    let root = repository();
    let own = root.join(".venv/bin/python");
    let interpreter = match std::env::var_os("KEYGATE_PYTHON") {
        _ if own.exists() => own,
        Some(named) => named.into(),
        None => panic!(
            "no Python for the interop tests. Run `python3 -m venv .venv && .venv/bin/pip install -r \
             tests/interop/requirements.txt` in the root of the repository (`.ci/run` does), or name an interpreter \
             with these packages in KEYGATE_PYTHON"
        ),
    };
    let mut command = Command::new(interpreter);
    command.arg(root.join("tests/interop").join(script));
    command
}

/// A script of `tests/interop/mqttjs/`, ready for its arguments.
///
/// # Panics
/// When there is no Node, or MQTT.js is not installed beside the script: the message says how to install it.
#[must_use]
#[track_caller]
pub fn node(script: &str) -> Command {
    let folder = repository().join("tests/interop/mqttjs");
    assert!(
        folder.join("node_modules/mqtt/package.json").is_file(),
        "MQTT.js is not installed: `npm ci --prefix tests/interop/mqttjs` in the root of the repository (`.ci/run` does)"
    );
    let mut command = installed("node", "nodejs npm");
    command.arg(folder.join(script));
    command
}

/// A program that has to be installed.
///
/// # Panics
/// When it is not: the message says how to install it.
#[must_use]
#[track_caller]
pub fn installed(name: &str, package: &str) -> Command {
    let on_path = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
    });
    assert!(
        on_path,
        "`{name}` is not installed: `apt-get install {package}` (`.ci/run` does)"
    );
    Command::new(name)
}

/// Mosquitto on a loopback port of its own, which takes whoever comes. It ends with the value.
#[derive(Debug)]
pub struct Mosquitto {
    child: std::process::Child,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

impl Mosquitto {
    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// When it is not installed, or does not listen in time.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let free =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("a free port");
        let child = installed("mosquitto", "mosquitto")
            .args(["-p", &address.port().to_string()])
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("mosquitto starts");
        let started = Self { child, address };
        let deadline = Deadline::after(PATIENCE);
        while std::net::TcpStream::connect(address).is_err() {
            assert!(deadline.left().is_some(), "mosquitto does not listen");
            std::thread::yield_now();
        }
        started
    }

    /// Its URL, as `--upstream` wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
