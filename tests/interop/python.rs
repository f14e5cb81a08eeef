//! The Python device and the Python gateway.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use keygate_broker::admin::{Answer, Command as Ask};
use keygate_protocol::crypto::Signer;
use keygate_protocol::ident::Id;
use keygate_protocol::login::{Challenge, ClientId, METHOD, Open, Opening, Role, Transcript};
use keygate_protocol::mqtt::{self, Auth, Connack, Packet, ReasonCode, Sender, Version};
use keygate_tests::admin;
use keygate_tests::bytes::{encoded, hex};
use keygate_tests::clock::PATIENCE;
use keygate_tests::device::Device;
use keygate_tests::peers::{python, repository};
use keygate_tests::process::{Printed, printed};
use serde_json::Value;

use crate::{Over, Stage};

/// Runs `device.py` against a broker at this address.
fn device(stage: &Stage, address: SocketAddr, arguments: &[&str]) -> (Printed, Value) {
    let mut command = python("device.py");
    command
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .args(["--id", &stage.device.id])
        .args(["--broker-id", &stage.broker.broker_id])
        .args(arguments);
    told(printed(command))
}

fn gateway(stage: &Stage, id: &str, key: &str, arguments: &[&str]) -> (Printed, Value) {
    let mut command = python("gateway.py");
    command
        .args(["--coap", &format!("coap://{}", stage.broker.coap)])
        .args(["--id", id, "--key", key])
        .args(["--broker-id", &stage.broker.broker_id])
        .args(arguments);
    told(printed(command))
}

#[track_caller]
fn told(printed: Printed) -> (Printed, Value) {
    let told = serde_json::from_str(&printed.stdout)
        .unwrap_or_else(|error| panic!("{error}: {printed:?}"));
    (printed, told)
}

#[test]
fn both_make_every_byte_of_the_profile() {
    let vectors = repository().join("protocol/vectors/keygate-vectors.json");
    for script in ["device.py", "gateway.py"] {
        let mut command = python(script);
        command.arg("--self-test").arg(&vectors);
        let (ended, told) = told(printed(command));
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(told["ok"], true);
    }
}

#[test]
fn the_device_logs_in_and_verifies_the_broker() {
    let stage = Stage::new();
    let pinned = hex(stage.broker.identity_key.as_bytes());
    let (ended, told) = device(
        &stage,
        stage.broker.mqtt,
        &[
            "--key",
            &stage.device.seed_hex(),
            "--broker-key",
            &pinned,
            "--will",
            "devices/dev-1/gone",
            "bye",
            "--reauthenticate",
            "--publish",
            "devices/dev-1/reported",
            "hello",
        ],
    );
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(told["broker_proof"], "verified");
    assert_eq!(told["reauthenticated"], true);
    assert_eq!(told["received"], "hello");
}

#[test]
fn the_device_logs_in_over_tls() {
    let stage = Stage::over(Over::Tls);
    let pinned = hex(stage.broker.identity_key.as_bytes());
    let (ca, key) = (stage.broker.ca(), stage.device.seed_hex());
    let ca = ca.to_str().unwrap();
    let topic = "devices/dev-1/reported";
    let (ended, told) = device(
        &stage,
        stage.address(),
        &[
            "--ca",
            ca,
            "--key",
            &key,
            "--broker-key",
            &pinned,
            "--publish",
            topic,
            "hello",
        ],
    );
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(told["broker_proof"], "verified");
    assert_eq!(told["received"], "hello");
}

#[test]
fn the_device_with_a_wrong_key_is_refused() {
    let stage = Stage::new();
    let wrong = stage.device.impostor().seed_hex();
    let (ended, told) = device(
        &stage,
        stage.broker.mqtt,
        &["--key", &wrong, "--expect-refusal"],
    );
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(told["reason_code"], "0x87");
}

#[test]
fn the_device_does_not_get_in_with_another_brokers_pinned_key() {
    let stage = Stage::new();
    let elsewhere = hex(Device::new("elsewhere").public_key().as_bytes());
    let key = stage.device.seed_hex();
    let (ended, told) = device(
        &stage,
        stage.broker.mqtt,
        &["--key", &key, "--broker-key", &elsewhere],
    );
    assert!(!ended.status.success(), "{ended:?}");
    assert_eq!(told["ok"], false);
}

/// Somebody who answers in the broker's place and knows everything but its identity key.
fn impostor(broker_id: &str, signs_with: Device) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let broker_id = broker_id.to_owned();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = Vec::new();
        let mut packet = |stream: &mut std::net::TcpStream| loop {
            let len = mqtt::frame(&received, u32::MAX)
                .unwrap()
                .map(|frame| frame.len());
            if let Some(len) = len {
                break received.drain(..len).collect::<Vec<u8>>();
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                // The device left.
                Ok(0) | Err(_) => break Vec::new(),
                Ok(count) => received.extend_from_slice(&chunk[..count]),
            }
        };
        let connect = packet(&mut stream);
        let frame = mqtt::frame(&connect, u32::MAX).unwrap().unwrap();
        let Ok(Packet::Connect(connect)) = mqtt::decode(&frame, Sender::Client, Version::V5) else {
            panic!("expected CONNECT");
        };
        let open = Open::decode(connect.properties.auth_data.unwrap()).unwrap();
        let challenge = Challenge {
            broker_nonce: [7; 32],
            broker_id: Id::new(&broker_id).unwrap(),
        };
        let data = challenge.encode();
        let mut auth = Auth::new(ReasonCode::ContinueAuthentication, METHOD);
        auth.data = Some(&data);
        stream
            .write_all(&encoded(|sink| auth.encode(sink)))
            .unwrap();
        if packet(&mut stream).is_empty() {
            return;
        }
        let transcript = Transcript {
            broker_id: challenge.broker_id,
            client_id: ClientId::new(connect.client_id).unwrap(),
            open: &open,
            broker_nonce: &challenge.broker_nonce,
            binding_value: None,
            opening: &Opening::of_connect(&connect),
        };
        let message = transcript.to_be_signed(Role::Broker);
        let proof = signs_with.signer().sign(&message.signable()).unwrap();
        let mut connack = Connack::new(false, ReasonCode::Success);
        connack.properties.auth_method = Some(METHOD);
        connack.properties.auth_data = Some(proof.as_bytes());
        stream
            .write_all(&encoded(|sink| connack.encode(Version::V5, sink)))
            .unwrap();
        // Whatever the device sends now, it should not have sent.
        assert_eq!(packet(&mut stream), b"");
    });
    address
}

#[test]
fn the_device_refuses_an_impostor_of_its_broker() {
    let stage = Stage::new();
    let key = stage.device.seed_hex();
    let pinned = hex(stage.broker.identity_key.as_bytes());
    let arguments = ["--key", &key, "--broker-key", &pinned];

    // The right name, the right transcript, the wrong key.
    let address = impostor(&stage.broker.broker_id, Device::new("impostor"));
    let (ended, told) = device(&stage, address, &arguments);
    assert!(!ended.status.success(), "{ended:?}");
    assert_eq!(told["refused"], false);
    assert!(told["error"].as_str().unwrap().starts_with("Distrusted"));

    // Another name: the device leaves before it signs.
    let address = impostor("kg-elsewhere", Device::new("impostor"));
    let (ended, told) = device(&stage, address, &arguments);
    assert!(!ended.status.success(), "{ended:?}");
    assert!(told["error"].as_str().unwrap().starts_with("Distrusted"));
}

#[test]
fn the_gateway_gets_a_token_that_python_cwt_verifies() {
    let stage = Stage::new();
    let key = stage.device.seed_hex();
    let Answer::Keys(keys) = admin::ask(&stage.broker.data, &Ask::Keys) else {
        panic!("expected the keys");
    };
    let pinned = hex(stage.broker.identity_key.as_bytes());
    let (ended, told) = gateway(
        &stage,
        "dev-1",
        &key,
        &["--issuer-key", &keys.token[0], "--broker-key", &pinned],
    );
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(told["verified_by"], "issuer key");
    assert_eq!(told["broker_proof"], "verified");
    assert_eq!(told["id"], "dev-1");

    // And less than the roles give, with the keys that `/keys` shows.
    let scope = "devices/dev-1/reported=pub";
    let (ended, told) = gateway(&stage, "dev-1", &key, &["--scope", scope]);
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(told["verified_by"], "/keys");
    assert_eq!(
        told["scope"],
        serde_json::json!([["devices/dev-1/reported", ["pub"]]])
    );
}

#[test]
fn the_gateway_is_refused_what_is_not_its_own() {
    let stage = Stage::new();
    let key = stage.device.seed_hex();
    let wrong = stage.device.impostor().seed_hex();
    let (ended, told) = gateway(&stage, "dev-1", &wrong, &["--expect-refusal"]);
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(told["refused"], "4.01");
    assert_eq!(told["error"], "invalid_client");

    let scope = "devices/dev-2/reported=pub";
    let (ended, told) = gateway(
        &stage,
        "dev-1",
        &key,
        &["--scope", scope, "--expect-refusal"],
    );
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(told["error"], "invalid_scope");

    // A token that another key than the trusted one signed is thrown away.
    let elsewhere = hex(Device::new("elsewhere").public_key().as_bytes());
    let (ended, told) = gateway(&stage, "dev-1", &key, &["--issuer-key", &elsewhere]);
    assert!(!ended.status.success(), "{ended:?}");
    assert!(told["error"].as_str().unwrap().starts_with("Distrusted"));
}
