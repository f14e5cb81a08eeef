//! paho-mqtt, in both versions.
use std::process::Stdio;
use std::sync::mpsc::Receiver;

use keygate_tests::clock::PATIENCE;
use keygate_tests::peers::python;
use keygate_tests::process::{lines, printed};
use serde_json::{Value, json};

use crate::{Ends, Stage};

#[track_caller]
fn next(events: &Receiver<String>) -> Value {
    let line = events
        .recv_timeout(PATIENCE)
        .expect("the client says what happens; its complaints are above");
    serde_json::from_str(&line).expect("a JSON line")
}

#[track_caller]
fn round(events: &Receiver<String>, number: u32) {
    assert_eq!(next(events), json!({"event": "connected", "round": number}));
    let received = json!({
        "event": "received", "topic": "devices/dev-1/reported", "payload": format!("round {number}"), "qos": 1,
    });
    assert_eq!(next(events), received);
}

#[track_caller]
fn comes_back(version: &str) {
    let mut stage = Stage::new();
    let mut child = python("paho_client.py")
        .args(["--host", &stage.host(), "--port", &stage.port()])
        .args(["--version", version, "--id", "dev-1", "--rounds", "2"])
        .args(["--password", &stage.assertion()])
        .stdout(Stdio::piped())
        .spawn()
        .map(Ends)
        .expect("Python starts");
    let events = lines(child.0.stdout.take().unwrap());
    round(&events, 1);
    stage.broker.kill_and_restart();
    assert_eq!(next(&events)["event"], "disconnected");
    round(&events, 2);
    assert_eq!(next(&events)["event"], "disconnected");
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn version_3_1_1_logs_in_with_an_assertion_and_comes_back_by_itself() {
    comes_back("311");
}

#[test]
fn version_5_logs_in_with_an_assertion_and_comes_back_by_itself() {
    comes_back("5");
}

#[test]
fn a_forged_assertion_is_refused() {
    let stage = Stage::new();
    let forged = stage.device.impostor().assertion(&stage.broker.broker_id);
    let mut command = python("paho_client.py");
    command
        .args(["--host", &stage.host(), "--port", &stage.port()])
        .args(["--id", "dev-1", "--password", &forged]);
    let ended = printed(command);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stdout.contains("Not authorized"), "{ended:?}");
}
