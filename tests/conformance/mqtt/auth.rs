//! Enhanced authentication: AUTH.
use keygate_protocol::login::Opening;
use keygate_protocol::mqtt::{Auth, Connect, Packet, ReasonCode, UserProperties};
use keygate_tests::bytes::encoded;
use keygate_tests::device::{Asked, Claim, open_of, proof_packet};
use keygate_tests::doors::{accepted, challenge};
use keygate_tests::wire::{Heard, Wire};

use super::case::{Case, Ground, v5};
use super::target::{Enrolled, Target};

pub(super) const CASES: &[Case] = &[
    v5!(an_unknown_method_is_refused),
    v5!(data_without_a_method_are_refused),
    v5!(without_a_method_there_is_no_auth),
    v5!(auth_without_a_method_ends_the_connection),
    v5!(flags_of_auth_are_checked).on(Ground::Enrolled),
    v5!(the_challenge_asks_to_continue).on(Ground::Enrolled),
    v5!(only_auth_and_disconnect_follow_a_challenge).on(Ground::Enrolled),
    v5!(the_answer_to_a_challenge_continues).on(Ground::Enrolled),
    v5!(the_method_does_not_change).on(Ground::Enrolled),
    v5!(a_wrong_proof_is_refused).on(Ground::Enrolled),
    v5!(a_client_may_prove_itself_again).on(Ground::Enrolled),
    v5!(proving_oneself_again_keeps_to_the_method).on(Ground::Enrolled),
    v5!(a_wrong_proof_of_an_open_connection_ends_it).on(Ground::Enrolled),
    v5!(auth_fits_what_the_client_takes).on(Ground::Enrolled),
];

const METHOD: &str = "kg-ed25519";

fn enrolled(target: &Target) -> &Enrolled {
    target.enrolled.as_ref().expect("an enrolled device")
}

/// A connection that has sent CONNECT with the method and had its challenge.
fn challenged(target: &Target) -> (Wire, Vec<u8>) {
    let device = &enrolled(target).device;
    let open = open_of(device.key_id(), None);
    let asked = Asked::by(&device.id);
    let mut wire = target.wire();
    wire.send_bytes(&asked.with_open(&open.encode()));
    let nonce = challenge(&mut wire).expect("a challenge");
    let proof = Claim::honest(&nonce, &asked, &open).prove(device);
    (wire, proof.as_bytes().to_vec())
}

/// The same, logged in.
fn logged_in(target: &Target) -> Wire {
    let (mut wire, proof) = challenged(target);
    wire.send_bytes(&proof_packet(&proof));
    accepted(&mut wire).expect("the proof is good");
    wire
}

fn auth(code: ReasonCode, method: &str, data: &[u8]) -> Vec<u8> {
    let mut auth = Auth::new(code, method);
    auth.data = Some(data);
    encoded(|sink| auth.encode(sink))
}

/// The broker refuses before CONNACK said yes.
#[track_caller]
fn must_be_refused(mut wire: Wire, code: u8) {
    match wire.hear() {
        Heard::Packet(got) => {
            assert_eq!((got.raw()[0], got.raw()[2], got.raw()[3]), (0x20, 0, code));
            assert_eq!(wire.hear(), Heard::Closed);
        }
        Heard::Closed => panic!("Keygate says why"),
    }
}

/// 5: MQTT-4.12.0-1, MQTT-3.2.2-7. A method that the broker does not know is refused with 0x8C.
fn an_unknown_method_is_refused(target: &Target) {
    let id = target.id("a");
    let mut connect = target.connect(&id);
    connect.properties.auth_method = Some("no-such-method");
    for data in [None, Some(b"data".as_slice())] {
        connect.properties.auth_data = data;
        target.must_refuse(&encoded(|sink| connect.encode(sink)), 0x8c, None);
    }
}

/// 5: MQTT-4.13.1-1. Authentication data without a method are a protocol error.
fn data_without_a_method_are_refused(target: &Target) {
    let id = target.id("a");
    let mut connect: Connect<'_> = target.connect(&id);
    connect.properties.auth_data = Some(b"data");
    target.must_refuse(&encoded(|sink| connect.encode(sink)), 0x82, None);
}

/// 5: MQTT-4.12.0-6. A client that named no method gets no AUTH, and no method in CONNACK.
fn without_a_method_there_is_no_auth(target: &Target) {
    let id = target.id("a");
    let mut wire = target.wire();
    wire.send(&Packet::Connect(target.connect(&id)));
    let got = wire.packet();
    let Packet::Connack(connack) = got.packet() else {
        panic!("expected CONNACK, heard {:?}", got.packet());
    };
    assert_eq!(connack.properties.auth_method, None);
    assert_eq!(connack.properties.auth_data, None);
}

/// 5: MQTT-4.12.0-7. A client that named no method sends no AUTH.
fn auth_without_a_method_ends_the_connection(target: &Target) {
    for code in [
        ReasonCode::ReAuthenticate,
        ReasonCode::ContinueAuthentication,
    ] {
        target
            .join("a")
            .must_end_after(&auth(code, METHOD, b"data"), 0x82);
    }
    target.join("a").must_end_after(&[0xf0, 0], 0x82);
}

/// 5: MQTT-3.15.1-1, MQTT-3.15.2-1. The flags of AUTH are zero and its code is one of three, of which the client has two.
fn flags_of_auth_are_checked(target: &Target) {
    for flags in [1, 2, 4, 8] {
        let mut wire = logged_in(target);
        let mut bytes = auth(ReasonCode::ReAuthenticate, METHOD, b"x");
        bytes[0] |= flags;
        wire.send_bytes(&bytes);
        assert_eq!(wire.end(), Some(0x81));
    }
    for code in [0x01, 0x87] {
        let mut wire = logged_in(target);
        let mut bytes = auth(ReasonCode::ReAuthenticate, METHOD, b"x");
        bytes[2] = code;
        wire.send_bytes(&bytes);
        assert_eq!(wire.end(), Some(0x82), "{code:02x}");
    }
}

/// 5: MQTT-4.12.0-2, MQTT-4.12.0-5, MQTT-3.15.2-1. The broker's AUTH has 0x18 and the method of CONNECT; so has the CONNACK that lets in.
fn the_challenge_asks_to_continue(target: &Target) {
    let device = &enrolled(target).device;
    let open = open_of(device.key_id(), None);
    let asked = Asked::by(&device.id);
    let mut wire = target.wire();
    wire.send_bytes(&asked.with_open(&open.encode()));
    let got = wire.packet();
    let Packet::Auth(auth) = got.packet() else {
        panic!("expected AUTH, heard {:?}", got.packet());
    };
    assert_eq!(auth.code, ReasonCode::ContinueAuthentication);
    assert_eq!(auth.method, Some(METHOD));
    let nonce = auth.data.expect("a challenge");
    let proof = Claim::honest(nonce, &asked, &open).prove(device);
    wire.send_bytes(&proof_packet(proof.as_bytes()));
    let got = accepted(&mut wire).expect("the proof is good");
    let Packet::Connack(connack) = got.packet() else {
        panic!("expected CONNACK");
    };
    assert_eq!(connack.properties.auth_method, Some(METHOD));
}

/// 5: MQTT-3.1.2-30. Between the challenge and CONNACK everything else is refused; a goodbye is taken.
fn only_auth_and_disconnect_follow_a_challenge(target: &Target) {
    for bytes in [&[0xc0, 0][..], &[0x30, 4, 0, 1, b't', 0]] {
        let (mut wire, _) = challenged(target);
        wire.send_bytes(bytes);
        must_be_refused(wire, 0x82);
    }
    let (mut wire, _) = challenged(target);
    wire.send_bytes(&[0xe0, 0]);
    assert_eq!(wire.hear(), Heard::Closed);
}

/// 5: MQTT-4.12.0-3. The answer to a challenge has 0x18: a good proof under another code is none.
fn the_answer_to_a_challenge_continues(target: &Target) {
    let (mut wire, proof) = challenged(target);
    wire.send_bytes(&auth(ReasonCode::ReAuthenticate, METHOD, &proof));
    must_be_refused(wire, 0x82);
}

/// 5: MQTT-4.12.0-5. Every AUTH names the method of CONNECT: a good proof under another name is none.
fn the_method_does_not_change(target: &Target) {
    let (mut wire, proof) = challenged(target);
    wire.send_bytes(&auth(
        ReasonCode::ContinueAuthentication,
        "kg-other",
        &proof,
    ));
    must_be_refused(wire, 0x8c);
}

/// 5: MQTT-4.12.0-4, MQTT-3.2.2-6, MQTT-4.13.2-1. A proof that is wrong is refused in CONNACK, and the connection closed.
fn a_wrong_proof_is_refused(target: &Target) {
    let (mut wire, mut proof) = challenged(target);
    proof[0] ^= 1;
    wire.send_bytes(&proof_packet(&proof));
    must_be_refused(wire, 0x87);
}

/// The broker's challenge on an open connection, and the proof for it.
fn challenged_again(target: &Target, wire: &mut Wire) -> Vec<u8> {
    let device = &enrolled(target).device;
    let open = open_of(device.key_id(), None);
    wire.send_bytes(&auth(ReasonCode::ReAuthenticate, METHOD, &open.encode()));
    let nonce = challenge(wire).expect("a challenge");
    let claim = Claim {
        opening: Opening::reauthentication(),
        ..Claim::honest(&nonce, &Asked::by(&device.id), &open)
    };
    claim.prove(device).as_bytes().to_vec()
}

/// 5: MQTT-4.12.1-1, MQTT-4.12.0-5. A client that logged in with a method may do so again at any time; the connection goes on.
fn a_client_may_prove_itself_again(target: &Target) {
    let mut wire = logged_in(target);
    for _ in 0..2 {
        let proof = challenged_again(target, &mut wire);
        // Whoever is proving itself may go on with its work.
        wire.send(&Packet::Pingreq);
        assert_eq!(wire.packet().packet(), Packet::Pingresp);
        wire.send_bytes(&proof_packet(&proof));
        let got = wire.packet();
        let Packet::Auth(done) = got.packet() else {
            panic!("expected AUTH, heard {:?}", got.packet());
        };
        assert_eq!(
            (done.code, done.method),
            (ReasonCode::Success, Some(METHOD))
        );
        wire.send(&Packet::Pingreq);
        assert_eq!(wire.packet().packet(), Packet::Pingresp);
    }
}

/// 5: MQTT-4.12.1-1. It is the method of CONNECT that is used again, not another.
fn proving_oneself_again_keeps_to_the_method(target: &Target) {
    let mut wire = logged_in(target);
    wire.send_bytes(&auth(ReasonCode::ReAuthenticate, "kg-other", b"x"));
    let code = wire.end();
    assert!(matches!(code, Some(0x82 | 0x87 | 0x8c)), "{code:02x?}");
}

/// 5: MQTT-4.12.1-2, MQTT-4.13.2-1. Who fails to prove itself again is disconnected with 0x87.
fn a_wrong_proof_of_an_open_connection_ends_it(target: &Target) {
    let mut wire = logged_in(target);
    let mut proof = challenged_again(target, &mut wire);
    proof[0] ^= 1;
    wire.send_bytes(&proof_packet(&proof));
    assert_eq!(wire.end(), Some(0x87));
}

/// 5: MQTT-3.15.2-2, MQTT-3.15.2-3. The broker's AUTH has no explanations that would make it larger than the client takes.
fn auth_fits_what_the_client_takes(target: &Target) {
    let (mut wire, proof) = challenged(target);
    wire.send_bytes(&proof_packet(&proof));
    accepted(&mut wire).expect("the proof is good");
    let device = &enrolled(target).device;
    let open = open_of(device.key_id(), None);
    wire.send_bytes(&auth(ReasonCode::ReAuthenticate, METHOD, &open.encode()));
    let got = wire.packet();
    let Packet::Auth(auth) = got.packet() else {
        panic!("expected AUTH, heard {:?}", got.packet());
    };
    assert_eq!(auth.reason_string, None);
    assert_eq!(auth.user_properties, UserProperties::default());
}
