//! A broker in this process.
use std::ops::Deref;

use keygate_broker::clock::{Clock, SystemClock};
use keygate_broker::config::{Flags, parse};
use keygate_broker::identity::Transition;
use keygate_broker::keys::DataDir;
use keygate_broker::rng::SystemRandom;
use keygate_broker::serve::Running;
use keygate_broker::telemetry::event::Listener;
use keygate_protocol::crypto::PublicKey;
use tempfile::TempDir;

use crate::device::Device;
use crate::doors::{Doors, Secure};

/// A broker on loopback ports of its own, with a directory of its own; it ends with the value.
pub struct Broker {
    running: Option<Running>,
    doors: Doors,
    _directory: TempDir,
}

impl Broker {
    /// A broker as it comes.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::with("")
    }

    /// A broker with these settings (without `[listeners]`).
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn with(settings: &str) -> Self {
        let given = parse(settings, "the settings of the test").expect("settings");
        let free = "127.0.0.1:0".parse().ok();
        let config = given
            .check(&Flags {
                mqtt: free,
                coap: free,
                mqtts: free,
                ws: free,
                wss: free,
                ..Flags::default()
            })
            .expect("valid settings");
        let directory = TempDir::new().expect("a temporary directory");
        let data = directory.path().join("data");
        let opened = DataDir::open_or_init(&data, SystemClock::start().wall(), &mut SystemRandom)
            .expect("an empty directory can be set up");
        let running = Running::start(opened, &config).expect("the broker starts");
        let doors = Doors {
            mqtt: running.mqtt().expect("an MQTT listener"),
            secure: Secure {
                mqtts: running.listener(Listener::Mqtts),
                ws: running.listener(Listener::Ws),
                wss: running.listener(Listener::Wss),
            },
            coap: running.coap().expect("a CoAP listener"),
            broker_id: running.broker_id().to_owned(),
            identity_key: PublicKey::from_bytes(running.identity_key()).expect("a public key"),
            data,
        };
        Self {
            running: Some(running),
            doors,
            _directory: directory,
        }
    }

    /// Enrols devices.
    ///
    /// # Panics
    /// When one is refused.
    #[track_caller]
    pub fn enrol<'d>(&self, devices: impl IntoIterator<Item = &'d Device>) {
        for device in devices {
            self.running()
                .registry()
                .add(&device.enrolment())
                .expect("a device can be enrolled");
        }
    }

    /// Suspends, resumes or revokes a device.
    ///
    /// # Panics
    /// When that is refused.
    #[track_caller]
    pub fn transition(&self, device: &Device, transition: Transition) {
        let done = self.running().registry().transition(&device.id, transition);
        assert!(done.expect("a transition").changed);
    }

    /// Ends it in an orderly way.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn stop(mut self) {
        self.end();
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs until it is dropped")
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}

impl Deref for Broker {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}
