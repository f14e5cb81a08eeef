//! Clients that we did not write, and clients that share no code with us: what they accept and produce proves the
//! protocol, not our own idea of it. A tool that is missing fails the test; the message says how to install it.
//!
//! | module | who |
//! |---|---|
//! | `rumqtt` | rumqttc, 3.1.1 and 5 |
//! | `rumqtt_next` | rumqttc-v5-next with AUTH and re-authentication |
//! | `paho` | paho-mqtt (Python), 3.1.1 and 5 |
//! | `mosquitto`, `mosquitto_work` | `mosquitto_sub` and `mosquitto_pub`, 3.1.1 and 5 |
//! | `work` | paho-mqtt and MQTT.js (Node), 3.1.1 and 5: all that an engine does |
//! | `auth` | MQTT.js with AUTH and re-authentication |
//! | `transports` | paho-mqtt, MQTT.js and Mosquitto's clients over TLS and WebSocket |
//! | `upstream` | paho-mqtt and MQTT.js through a gate in front of Mosquitto |
//! | `rumqttd` | the same with the engine `rumqttd` |
//! | `python` | `device.py` and `gateway.py`, written from SPEC.md alone |
//!
//! `driven` is how the tests hold paho-mqtt and MQTT.js on a string. Those without AUTH log in with a signed assertion
//! as password and come back by themselves after the broker was killed and started again.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod auth;
mod driven;
mod mosquitto;
mod mosquitto_work;
mod paho;
mod python;
mod rumqtt;
mod rumqtt_next;
mod rumqttd;
mod transports;
mod upstream;
mod work;

use std::net::SocketAddr;
use std::process::Child;

use keygate_tests::admin;
use keygate_tests::device::Device;
use keygate_tests::net::own_address;
use keygate_tests::peers::Mosquitto;
use keygate_tests::process::{Process, Program};
use tempfile::TempDir;

/// A broker in a process of its own, on an address of its own, and a device that it knows.
struct Stage {
    broker: Process,
    device: Device,
    over: Over,
    /// The broker behind, if there is one.
    behind: Option<Mosquitto>,
    _directory: TempDir,
}

/// What lies below MQTT.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        Self::with(&[], Over::Tcp, None)
    }

    /// A broker that clients reach over this.
    #[track_caller]
    fn over(over: Over) -> Self {
        // The certificate is for this address.
        let flag = match over {
            Over::Tcp => return Self::new(),
            Over::Tls => "--mqtts",
            Over::Ws => "--ws",
            Over::Wss => "--wss",
        };
        Self::with(&[flag, "127.0.0.1:0"], over, None)
    }

    /// A gate in front of Mosquitto.
    #[track_caller]
    fn before_mosquitto() -> Self {
        let behind = Mosquitto::start();
        Self::with(&["--upstream", &behind.url()], Over::Tcp, Some(behind))
    }

    /// A gate with rumqttd in its process.
    #[track_caller]
    fn on_rumqttd() -> Self {
        Self::with(&["--engine", "rumqttd"], Over::Tcp, None)
    }

    #[track_caller]
    fn with(flags: &[&str], over: Over, behind: Option<Mosquitto>) -> Self {
        let directory = TempDir::new().unwrap();
        let free = SocketAddr::new(own_address(), 0);
        let data = directory.path().join("data");
        let broker = Program::new(env!("CARGO_BIN_EXE_keygate-under-test"))
            .serve_on(&data, free, free, flags);
        let device = Device::new("dev-1");
        admin::enrol(&broker.data, &device);
        Self {
            broker,
            device,
            over,
            behind,
            _directory: directory,
        }
    }

    /// Where clients connect to.
    fn address(&self) -> SocketAddr {
        let secure = &self.broker.secure;
        let listener = match self.over {
            Over::Tcp => Some(self.broker.mqtt),
            Over::Tls => secure.mqtts,
            Over::Ws => secure.ws,
            Over::Wss => secure.wss,
        };
        listener.expect("the listener is open")
    }

    /// An operator, enrolled.
    #[track_caller]
    fn operator(&self, id: &str) -> Device {
        let operator = Device::new(id).with_role("operator");
        admin::enrol(&self.broker.data, &operator);
        operator
    }

    fn host(&self) -> String {
        self.address().ip().to_string()
    }

    fn port(&self) -> String {
        self.address().port().to_string()
    }

    fn assertion(&self) -> String {
        self.device.assertion(&self.broker.broker_id)
    }
}

/// A child that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
