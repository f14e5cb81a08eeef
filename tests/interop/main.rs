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
mod work;

use std::process::Child;

use keygate_tests::admin;
use keygate_tests::device::Device;
use keygate_tests::net::own_address;
use keygate_tests::process::{Process, Program};
use tempfile::TempDir;

/// A broker in a process of its own, on an address of its own, and a device that it knows.
struct Stage {
    broker: Process,
    device: Device,
    _directory: TempDir,
}

impl Stage {
    #[track_caller]
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let broker = Program::new(env!("CARGO_BIN_EXE_keygate-under-test"))
            .serve(&directory.path().join("data"), own_address());
        let device = Device::new("dev-1");
        admin::enrol(&broker.data, &device);
        Self {
            broker,
            device,
            _directory: directory,
        }
    }

    /// An operator, enrolled.
    #[track_caller]
    fn operator(&self, id: &str) -> Device {
        let operator = Device::new(id).with_role("operator");
        admin::enrol(&self.broker.data, &operator);
        operator
    }

    fn host(&self) -> String {
        self.broker.mqtt.ip().to_string()
    }

    fn port(&self) -> String {
        self.broker.mqtt.port().to_string()
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
