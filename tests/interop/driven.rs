//! Clients on a string: a script does what each JSON line says, and tells by a line what happens.
//!
//! | command (`do`) | answer (`event`) |
//! |---|---|
//! | `connect`: `host port over ca version id password clean expiry will` | `connected`: `code session_present` |
//! | `login` (MQTT.js): the same without `password`, with `seed broker_id broker_key` | `connected`, `distrusted` or `error` |
//! | `reauthenticate` (MQTT.js) | `reauthenticated` |
//! | `subscribe`: `filter qos identifier` | `subscribed`: `codes` |
//! | `publish`: `topic payload qos retain properties` | `published`: `code`, when its exchange is complete |
//! | `disconnect` | `disconnected` |
//!
//! By themselves come `message` (`topic payload qos retain properties`) and, when the broker goes away and comes back,
//! `disconnected` and `connected`.
use std::collections::VecDeque;
use std::io::Write;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use keygate_tests::clock::{Deadline, PATIENCE};
use keygate_tests::device::Device;
use keygate_tests::peers::{node, python};
use keygate_tests::process::lines;
use serde_json::{Value, json};

use crate::{Ends, Stage};

/// Which library, in which version of MQTT.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Library {
    Paho { version: u8 },
    MqttJs { version: u8 },
}

impl Library {
    pub(crate) fn version(self) -> u8 {
        match self {
            Self::Paho { version } | Self::MqttJs { version } => version,
        }
    }
}

/// What a message was when it came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) qos: u64,
    pub(crate) retain: bool,
    pub(crate) properties: Value,
}

/// A client. Dropping it kills its process, and with it the connection, without a DISCONNECT.
pub(crate) struct Peer {
    _child: Ends,
    commands: ChildStdin,
    events: Receiver<String>,
    /// Messages that came while something else was waited for.
    messages: VecDeque<Message>,
    version: u8,
}

impl Peer {
    #[track_caller]
    pub(crate) fn start(library: Library) -> Self {
        let mut command = match library {
            Library::Paho { .. } => python("paho_peer.py"),
            Library::MqttJs { .. } => node("peer.mjs"),
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map(Ends)
            .expect("the script starts");
        Self {
            commands: child.0.stdin.take().unwrap(),
            events: lines(child.0.stdout.take().unwrap()),
            _child: child,
            messages: VecDeque::new(),
            version: library.version(),
        }
    }

    /// A peer that is connected as this device, with a session that ends with its connection.
    #[track_caller]
    pub(crate) fn of(library: Library, stage: &Stage, device: &Device) -> Self {
        let mut peer = Self::start(library);
        assert!(!peer.connect(stage, device, json!({})));
        peer
    }

    /// Connects; tells whether its session was there.
    #[track_caller]
    pub(crate) fn connect(&mut self, stage: &Stage, device: &Device, more: Value) -> bool {
        self.send(
            "connect",
            &self.visit(
                stage,
                device,
                json!({"password": device.assertion(&stage.broker.broker_id)}),
                more,
            ),
        );
        self.connected()
    }

    /// What every CONNECT says, and then these.
    pub(crate) fn visit(
        &self,
        stage: &Stage,
        device: &Device,
        credentials: Value,
        more: Value,
    ) -> Value {
        let mut command = json!({
            "host": stage.host(), "port": stage.address().port(), "version": self.version, "id": device.id,
            "clean": true, "over": format!("{:?}", stage.over).to_lowercase(), "ca": stage.broker.ca(),
        });
        for further in [credentials, more] {
            let (Value::Object(into), Value::Object(from)) = (&mut command, further) else {
                panic!("expected an object");
            };
            into.extend(from);
        }
        command
    }

    /// The next CONNACK, which lets it in; tells whether its session was there.
    #[track_caller]
    pub(crate) fn connected(&mut self) -> bool {
        let event = self.event("connected");
        assert_eq!(event["code"], 0, "{event}");
        event["session_present"].as_bool().unwrap()
    }

    /// The broker was killed and is there again.
    #[track_caller]
    pub(crate) fn comes_back(&mut self) -> bool {
        self.event("disconnected");
        // Attempts that fail are told, too.
        let deadline = Deadline::new();
        loop {
            deadline.check("the connection to come back");
            let event = self.next();
            match event["event"].as_str() {
                Some("connected") => return event["session_present"].as_bool().unwrap(),
                Some("disconnected") => {}
                _ => panic!("came back with {event}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) {
        self.subscribe_with(filter, qos, json!({}));
    }

    #[track_caller]
    pub(crate) fn subscribe_with(&mut self, filter: &str, qos: u8, more: Value) {
        let mut command = json!({"filter": filter, "qos": qos});
        if let (Value::Object(into), Value::Object(from)) = (&mut command, more) {
            into.extend(from);
        }
        self.send("subscribe", &command);
        let event = self.event("subscribed");
        assert_eq!(event["codes"], json!([qos]), "{filter}");
    }

    #[track_caller]
    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: u8) {
        self.publish_with(topic, payload, qos, false, &json!({}));
    }

    /// Publishes and waits until the exchange is complete.
    #[track_caller]
    pub(crate) fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        qos: u8,
        retain: bool,
        properties: &Value,
    ) {
        assert_eq!(self.try_publish(topic, payload, qos, retain, properties), 0);
    }

    #[track_caller]
    pub(crate) fn try_publish(
        &mut self,
        topic: &str,
        payload: &str,
        qos: u8,
        retain: bool,
        properties: &Value,
    ) -> u64 {
        self.send(
            "publish",
            &json!({
                "topic": topic, "payload": payload, "qos": qos, "retain": retain, "properties": properties,
            }),
        );
        self.event("published")["code"].as_u64().unwrap()
    }

    /// Says goodbye, so that no will is sent.
    #[track_caller]
    pub(crate) fn leave(mut self) {
        self.send("disconnect", &json!({}));
        self.event("disconnected");
        assert_eq!(self.messages, [], "messages that nobody waited for");
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn message(&mut self) -> Message {
        if let Some(message) = self.messages.pop_front() {
            return message;
        }
        let event = self.next();
        message(&event).unwrap_or_else(|| panic!("expected a message, got {event}"))
    }

    /// A message that is there, or comes in this time.
    #[track_caller]
    pub(crate) fn message_within(&mut self, wait: Duration) -> Option<Message> {
        if let Some(message) = self.messages.pop_front() {
            return Some(message);
        }
        let line = self.events.recv_timeout(wait).ok()?;
        let event = parse(&line);
        Some(message(&event).unwrap_or_else(|| panic!("expected a message, got {event}")))
    }

    #[track_caller]
    pub(crate) fn send(&mut self, what: &str, command: &Value) {
        let mut command = command.clone();
        command["do"] = what.into();
        writeln!(self.commands, "{command}").expect("the script reads");
    }

    /// The next event that is no message, which must be this one.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str) -> Value {
        let deadline = Deadline::new();
        loop {
            deadline.check(name);
            let event = self.next();
            match message(&event) {
                Some(message) => self.messages.push_back(message),
                None => {
                    assert_eq!(event["event"], name, "{event}");
                    return event;
                }
            }
        }
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        let line = self
            .events
            .recv_timeout(PATIENCE)
            .expect("the client says what happens; its complaints are above");
        parse(&line)
    }
}

#[track_caller]
fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn message(event: &Value) -> Option<Message> {
    (event["event"] == "message").then(|| Message {
        topic: event["topic"].as_str().unwrap().into(),
        payload: event["payload"].as_str().unwrap().into(),
        qos: event["qos"].as_u64().unwrap(),
        retain: event["retain"].as_bool().unwrap(),
        properties: event["properties"].clone(),
    })
}
