//! MQTT.js proves a key with AUTH: `kg-ed25519` through its `handleAuth` hook, written from SPEC.md on `node:crypto`.
use keygate_tests::bytes::hex;
use keygate_tests::device::Device;
use serde_json::{Value, json};

use crate::Stage;
use crate::driven::{Library, Peer};

const LIBRARY: Library = Library::MqttJs { version: 5 };

fn log_in(peer: &mut Peer, stage: &Stage, device: &Device, broker_key: &[u8; 32]) {
    let proof: Value = json!({
        "seed": device.seed_hex(), "broker_id": stage.broker.broker_id, "broker_key": hex(broker_key),
    });
    let command = peer.visit(stage, device, proof, json!({"clean": false, "expiry": 60}));
    peer.send("login", &command);
}

#[test]
fn mqttjs_proves_its_key_and_proves_it_again_while_it_works() {
    let stage = Stage::new();
    let mut device = Peer::start(LIBRARY);
    log_in(
        &mut device,
        &stage,
        &stage.device,
        stage.broker.identity_key.as_bytes(),
    );
    assert!(!device.connected());
    device.subscribe("devices/dev-1/#", 2);
    for number in 0..5 {
        let payload = format!("m{number}");
        device.publish("devices/dev-1/reported", &payload, 2);
        device.send("reauthenticate", &json!({}));
        device.event("reauthenticated");
        assert_eq!(device.message().payload, payload);
    }
    device.leave();
}

#[test]
fn mqttjs_with_a_wrong_key_is_refused() {
    let stage = Stage::new();
    let mut device = Peer::start(LIBRARY);
    log_in(
        &mut device,
        &stage,
        &stage.device.impostor(),
        stage.broker.identity_key.as_bytes(),
    );
    assert_eq!(device.event("error")["code"], 0x87);
}
