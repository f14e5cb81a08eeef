//! CONNECT and CONNACK.
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_protocol::mqtt::{ConnackProperties, Packet, Version};
use keygate_tests::broker::Broker;
use keygate_tests::device::{Asked, Device, open_of, proof_packet};
use keygate_tests::doors::{accepted, challenge};
use keygate_tests::wire::Heard;

fn stage() -> (Broker, Device) {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    broker.enrol([&device]);
    (broker, device)
}

/// MQTT 5 §3.2.2.3: CONNACK says what holds; what is there without a limit needs no word.
#[test]
fn connack_declares_what_is_there() {
    let (broker, device) = stage();
    let assertion = device.assertion(&broker.broker_id);
    let asked = Asked::by("dev-1");
    let mut packet = asked.connect(Version::V5);
    packet.username = Some("dev-1");
    packet.password = Some(assertion.as_bytes());
    let mut wire = broker.wire();
    wire.send(&Packet::Connect(packet));
    let got = accepted(&mut wire).expect("the assertion is good");
    let Packet::Connack(connack) = got.packet() else {
        panic!("expected CONNACK");
    };
    assert!(!connack.session_present);
    let declared = ConnackProperties {
        receive_max: 1_024,
        packet_size_max: Some(262_144),
        topic_alias_max: 16,
        ..ConnackProperties::default()
    };
    assert_eq!(connack.properties, declared);
}

/// MQTT 5 §3.2.2.3.17: the method of the CONNECT comes back.
#[test]
fn connack_repeats_the_method() {
    let (broker, device) = stage();
    let asked = Asked::by("dev-1");
    let open = open_of(device.key_id(), None);
    let mut wire = broker.wire();
    wire.send_bytes(&asked.with_open(&open.encode()));
    let nonce = challenge(&mut wire).unwrap();
    let claim = keygate_tests::device::Claim::honest(&nonce, &asked, &open);
    wire.send_bytes(&proof_packet(claim.prove(&device).as_bytes()));
    let got = accepted(&mut wire).expect("the proof is good");
    let Packet::Connack(connack) = got.packet() else {
        panic!("expected CONNACK");
    };
    assert_eq!(connack.properties.auth_method, Some("kg-ed25519"));
    // No proof of the broker was asked for (SPEC.md §4.5).
    assert_eq!(connack.properties.auth_data, None);
}

/// MQTT 3.1.1 §3.1.2.2, MQTT 5 §3.1.2.2: return code 1 in the form of 3.1.1, or 0x84 in that of 5.
#[test]
fn an_unknown_protocol_level_is_refused() {
    let (broker, _) = stage();
    for (level, answer) in [
        (3, [0x20, 2, 0, 1].as_slice()),
        (6, &[0x20, 3, 0, 0x84, 0]),
        (0x84, &[0x20, 3, 0, 0x84, 0]),
    ] {
        let mut connect = vec![0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', level, 2, 0, 60];
        connect.extend([0, 1, b'x']);
        let mut wire = broker.wire();
        let local = wire.local();
        wire.send_bytes(&connect);
        let Heard::Packet(got) = wire.hear() else {
            panic!("level {level}: no answer");
        };
        assert_eq!(got.raw(), answer, "level {level}");
        assert_eq!(wire.hear(), Heard::Closed);
        assert_eq!(broker.trail().malformed(local), 0x84);
    }
}

/// MQTT 5 §3.1.0: the first packet is CONNECT, or the connection is closed.
#[test]
fn anything_before_connect_closes() {
    let (broker, _) = stage();
    for first in [
        [0xc0, 0].as_slice(),
        &[0xe0, 0],
        &[0xd0, 0],
        &[0x30, 4, 0, 1, b't', 0],
    ] {
        let mut wire = broker.wire();
        let local = wire.local();
        wire.send_bytes(first);
        assert_eq!(wire.end(), None, "{first:02x?}");
        assert_eq!(broker.trail().malformed(local), 0x82);
    }
}

/// MQTT 5 §3.1.0, MQTT 3.1.1 §3.1: a second CONNECT is a protocol error.
#[test]
fn a_second_connect_ends_the_session() {
    let (broker, device) = stage();
    let mut client = broker.log_in(&device);
    client
        .wire
        .send_bytes(&Asked::by("dev-1").with_open(&open_of(device.key_id(), None).encode()));
    assert_eq!(client.end(), Some(0x82));
}

/// MQTT 5 §3.1.2.11.9: between CONNECT and CONNACK a client with a method sends nothing but AUTH and DISCONNECT.
#[test]
fn only_auth_and_disconnect_follow_a_challenge() {
    let (broker, device) = stage();
    let connect = Asked::by("dev-1").with_open(&open_of(device.key_id(), None).encode());
    let mut wire = broker.wire();
    wire.send_bytes(&connect);
    challenge(&mut wire).unwrap();
    wire.send(&Packet::Pingreq);
    assert_eq!(wire.end(), Some(0x82));

    let mut wire = broker.wire();
    let local = wire.local();
    wire.send_bytes(&connect);
    challenge(&mut wire).unwrap();
    wire.send_bytes(&[0xe0, 0]);
    wire.finish();
    assert_eq!(wire.end(), None);
    assert_eq!(broker.trail().refused_login(local), RefusalReason::GaveUp);
}

/// MQTT 5 §3.1.3.1, design §4: an empty client id gets none assigned where suffixes are not allowed.
#[test]
fn an_empty_client_id_is_refused() {
    let (broker, device) = stage();
    for (version, code) in [(Version::V5, 0x85), (Version::V311, 2)] {
        let assertion = device.assertion(&broker.broker_id);
        let tried = broker.try_assertion(&device, &Asked::by(""), version, &assertion);
        let (local, got) = tried.expect_err("it is refused");
        assert_eq!(got, Some(code));
        assert_eq!(
            broker.trail().refused_login(local),
            RefusalReason::ClientIdNotOwn
        );
    }
}

/// MQTT 5 §3.1.4: a client need not wait for CONNACK before it goes on (without a method).
#[test]
fn packets_behind_connect_are_taken() {
    let (broker, device) = stage();
    let asked = Asked::by("dev-1");
    let assertion = device.assertion(&broker.broker_id);
    let mut bytes = asked.with_assertion(Version::V311, "dev-1", &assertion);
    bytes.extend([0xc0, 0, 0xc0, 0]);
    let mut wire = broker.wire().speaking(Version::V311);
    wire.send_bytes(&bytes);
    accepted(&mut wire).expect("the assertion is good");
    for _ in 0..2 {
        assert_eq!(wire.packet().packet(), Packet::Pingresp);
    }
}

/// TCP cuts where it likes: every cut of a login is the same login.
#[test]
fn a_login_in_pieces_is_a_login() {
    let (broker, device) = stage();
    let asked = Asked::by("dev-1");
    let mut wire = broker.wire();
    let open = open_of(device.key_id(), None);
    for byte in asked.with_open(&open.encode()).chunks(7) {
        wire.send_bytes(byte);
    }
    let nonce = challenge(&mut wire).unwrap();
    let proof = keygate_tests::device::Claim::honest(&nonce, &asked, &open).prove(&device);
    for byte in proof_packet(proof.as_bytes()).chunks(1) {
        wire.send_bytes(byte);
    }
    accepted(&mut wire).expect("the proof is good");
}
