//! Byte for byte against `keygate-vectors.json`.

use super::*;
use crate::login::opening::write_connect;
use crate::login::{Challenge, METHOD, Open, Role, Transcript, WillPart};
use crate::mqtt::{Auth, Connect, Packet, Qos, ReasonCode, Sender, Version, decode, frame};
use crate::vectors::{hex, keygate};
use serde_json::Value;

struct Case {
    value: Value,
    open: Open,
    opening: Opening,
    broker_nonce: [u8; 32],
    binding_value: Option<[u8; 32]>,
}

impl Case {
    fn text(&self, name: &str) -> &str {
        self.value[name].as_str().expect("a text of the vector")
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex(&self.value[name])
    }

    fn transcript(&self) -> Transcript<'_> {
        Transcript {
            broker_id: id(self.text("broker_id")),
            client_id: ClientId::new(self.text("client_id")).expect("a client id"),
            open: &self.open,
            broker_nonce: &self.broker_nonce,
            binding_value: self.binding_value.as_ref(),
            opening: &self.opening,
        }
    }

    fn broker_proves(&self) -> bool {
        self.open.broker_key_id.is_some()
    }
}

const WILL: WillPart<'static> = WillPart {
    topic: "devices/dev1/gone",
    payload: b"bye",
    qos: Qos::AtLeastOnce,
    retain: false,
    delay_s: 5,
};

fn cases() -> Vec<Case> {
    let vectors = keygate();
    let cases = vectors["kg_ed25519"].as_array().expect("cases");
    cases.iter().cloned().map(case).collect()
}

fn case(value: Value) -> Case {
    let key_id = |name: &str| KeyId::from_slice(&hex(&value[name])).expect("a key id");
    let open = Open {
        client_nonce: hex(&value["client_nonce"]).try_into().expect("16 bytes"),
        key_id: key_id("kid"),
        broker_key_id: (!value["broker_kid"].is_null()).then(|| key_id("broker_kid")),
        binding: binding_of(value["binding"].as_u64().expect("a number")),
    };
    let opening = match value["name"].as_str().expect("a name") {
        "re-authentication" => Opening::reauthentication(),
        name if name.contains("will") => Opening::connect(false, 3600, Some(&WILL)),
        _ => Opening::connect(true, 0, None),
    };
    Case {
        open,
        opening,
        broker_nonce: hex(&value["broker_nonce"]).try_into().expect("32 bytes"),
        binding_value: hex(&value["binding_value"]).try_into().ok(),
        value,
    }
}

#[test]
fn there_are_four_cases() {
    let names: Vec<_> = cases().iter().map(|case| case.text("name").len()).collect();
    assert_eq!(names.len(), 4);
}

#[test]
fn openings_and_their_digests() {
    for case in cases() {
        assert_eq!(case.opening.digest()[..], case.bytes("opening"));
        assert_eq!(
            crate::crypto::sha256(&[&case.bytes("opening_cbor")]),
            *case.opening.digest()
        );
    }
    let mut written = heapless::Vec::<u8, 64>::new();
    write_connect(&mut written, false, 3600, Some(&WILL)).expect("it fits");
    assert_eq!(written[..], cases()[2].bytes("opening_cbor"));
}

#[test]
fn opens_and_challenges_both_ways() {
    for case in cases() {
        let open = case.bytes("open_auth_data");
        assert_eq!(case.open.encode()[..], open);
        assert_eq!(Open::decode(&open), Ok(case.open));
        let bytes = case.bytes("challenge_auth_data");
        let challenge = Challenge {
            broker_nonce: case.broker_nonce,
            broker_id: id(case.text("broker_id")),
        };
        assert_eq!(challenge.encode()[..], bytes);
        assert_eq!(Challenge::decode(&bytes), Ok(challenge));
    }
}

#[test]
fn transcripts_and_what_is_signed() {
    for case in cases() {
        for (role, payload, to_be_signed) in [
            (Role::Device, "device_payload", "device_to_be_signed"),
            (Role::Broker, "broker_payload", "broker_to_be_signed"),
        ] {
            if role == Role::Broker && !case.broker_proves() {
                continue;
            }
            let mut written = heapless::Vec::<u8, 512>::new();
            let transcript = case.transcript();
            transcript.encode(role, &mut written).expect("it fits");
            assert_eq!(written[..], case.bytes(payload));
            let message = transcript.to_be_signed(role);
            assert_eq!(message.signable().as_bytes(), case.bytes(to_be_signed));
        }
    }
}

/// The whole login, each message compared, through the public API only.
#[test]
fn logins_end_to_end() {
    for case in cases() {
        let client_id = ClientId::new(case.text("client_id")).expect("a client id");
        let broker_id = id(case.text("broker_id"));
        let mut login = device::Login::new(client_id, broker_id, device_key().key_id());
        if case.broker_proves() {
            login = login.pin(broker_key().public_key());
        }
        if case.binding_value.is_some() {
            login = login.bind_to_tls();
        }
        let (device, open) = login.open(case.open.client_nonce, case.opening);
        assert_eq!(open[..], case.bytes("open_auth_data"));

        let key_ids = [broker_key().key_id()];
        let arrived = ChallengeContext {
            client_id: client_id.as_str(),
            broker_id,
            opening: case.opening,
            broker_nonce: case.broker_nonce,
            ..context(&key_ids)
        };
        let (broker, challenge) = broker::challenge(&open, &arrived).expect("a good open");
        assert_eq!(challenge[..], case.bytes("challenge_auth_data"));

        let device = device.read(&challenge).expect("a good challenge");
        let value = case.binding_value.as_ref();
        assert_eq!(device.exporter_context().is_some(), value.is_some());
        let (device, proof) = device.answer(value, &mut device_key()).expect("a proof");
        assert_eq!(proof.as_bytes()[..], case.bytes("device_signature"));

        assert_eq!(broker.key_id(), device_key().key_id());
        let proven = broker
            .verify(proof.as_bytes(), &device_key().public_key(), value, START)
            .expect("a good proof");
        let confirmation = proven.wants_broker_proof().map(|_| {
            proven
                .sign_confirmation(&mut broker_key())
                .expect("the right key")
        });
        if let Some(signature) = &confirmation {
            assert_eq!(signature.as_bytes()[..], case.bytes("broker_signature"));
        }
        let bytes = confirmation
            .as_ref()
            .map(|signature| &signature.as_bytes()[..]);
        let confirmed = device.confirm(bytes).expect("a good confirmation");
        assert_eq!(confirmed.broker_proved(), case.broker_proves());
    }
}

fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = heapless::Vec::<u8, 256>::new();
    packet
        .encode(Version::V5, &mut bytes)
        .expect("a login packet is small");
    bytes.to_vec()
}

fn auth_packet(code: ReasonCode, data: &[u8]) -> Vec<u8> {
    let auth = Auth {
        data: Some(data),
        ..Auth::new(code, METHOD)
    };
    encoded(&Packet::Auth(auth))
}

#[test]
fn whole_packets_through_the_codec() {
    for case in cases() {
        let proof = case.bytes("device_signature");
        let challenge = case.bytes("challenge_auth_data");
        let open = case.bytes("open_auth_data");
        assert_eq!(
            auth_packet(ReasonCode::ContinueAuthentication, &challenge),
            case.bytes("challenge_packet")
        );
        assert_eq!(
            auth_packet(ReasonCode::ContinueAuthentication, &proof),
            case.bytes("proof_packet")
        );
        if case.text("name") == "re-authentication" {
            assert_eq!(
                auth_packet(ReasonCode::ReAuthenticate, &open),
                case.bytes("open_packet")
            );
        } else if !case.value["open_packet"].is_null() {
            let mut connect = Connect::new(Version::V5, case.text("client_id"));
            connect.keep_alive_s = 60;
            connect.properties.auth_method = Some(METHOD);
            connect.properties.auth_data = Some(&open);
            assert_eq!(
                encoded(&Packet::Connect(connect)),
                case.bytes("open_packet")
            );
        }
    }
}

/// The CONNECT of SPEC.md §4.6, made by other code.
const WITH_WILL: &str = concat!(
    "106a00044d515454050c003c3b1100000e1015000a6b672d65643235353139160026850150000102030405060708090a",
    "0b0c0d0e0f48866eefbd6718c884485c840f7a40230170010004646576310518000000050011646576696365732f6465",
    "76312f676f6e650003627965",
);

#[test]
fn the_opening_of_a_connect_is_read_off_the_packet() {
    let bytes = hex(&WITH_WILL.into());
    let whole = frame(&bytes, 1_000).expect("a frame").expect("all of it");
    let Ok(Packet::Connect(connect)) = decode(&whole, Sender::Client, Version::V5) else {
        panic!("not a CONNECT")
    };
    let case = &cases()[2];
    assert_eq!(Opening::of_connect(&connect), case.opening);
    assert_eq!(
        connect.properties.auth_data,
        Some(&case.bytes("open_auth_data")[..])
    );
    let mut other = connect;
    other.clean_start = true;
    assert_ne!(Opening::of_connect(&other), case.opening);
}
