//! One test for each thing that must not work, each with its exact error.

use super::*;
use crate::cbor::CborError;
use crate::ident::IdError;
use crate::login::broker::{ConfirmationError, Refusal};
use crate::login::device::DeviceError;
use crate::login::{CHALLENGE_LIFE_MS, ChallengeError, ClientIdError, Open, OpenError, WillPart};
use crate::mqtt::{Qos, ReasonCode};

/// What the broker says to a proof by the right device after one thing about the connection is not as the device
/// thinks it is.
fn refused_after(change: impl FnOnce(&mut ChallengeContext<'_>)) -> Refusal {
    let (_, _, proof) = answered(login(), |_| ());
    let (_, broker, _) = challenged(login(), change);
    verify(broker, &proof).expect_err("the transcripts differ")
}

fn verify(broker: AwaitProof, proof: &Signature) -> Result<broker::Proven, Refusal> {
    broker.verify(proof.as_bytes(), &device_key().public_key(), None, START)
}

#[test]
fn the_same_proof_on_its_own_connection_is_accepted() {
    let (_, broker, proof) = answered(login(), |_| ());
    assert!(verify(broker, &proof).is_ok());
}

#[test]
fn a_proof_for_another_broker_id() {
    assert_eq!(
        refused_after(|context| context.broker_id = id("kg-000000")),
        Refusal::BadSignature
    );
}

#[test]
fn a_proof_for_another_client_id() {
    assert_eq!(
        refused_after(|context| context.client_id = "dev2"),
        Refusal::BadSignature
    );
}

#[test]
fn a_proof_replayed_on_another_connection() {
    assert_eq!(
        refused_after(|context| context.broker_nonce = [0x23; 32]),
        Refusal::BadSignature
    );
}

#[test]
fn a_proof_with_another_client_nonce() {
    let (_, _, proof) = answered(login(), |_| ());
    let (_, open) = login().open([0x12; 16], opening());
    let (broker, _) = broker::challenge(&open, &context(&[broker_key().key_id()])).unwrap();
    assert_eq!(verify(broker, &proof).unwrap_err(), Refusal::BadSignature);
}

#[test]
fn a_proof_under_a_changed_connect() {
    let will = WillPart {
        topic: "devices/dev1/gone",
        payload: b"bye",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
    };
    let openings = [
        Opening::connect(false, 0, None),
        Opening::connect(true, 1, None),
        Opening::connect(true, 0, Some(&will)),
        Opening::reauthentication(),
    ];
    for changed in openings {
        assert_eq!(
            refused_after(|context| context.opening = changed),
            Refusal::BadSignature
        );
    }
}

#[test]
fn every_part_of_a_will_counts() {
    let will = WillPart {
        topic: "t",
        payload: b"p",
        qos: Qos::AtMostOnce,
        retain: false,
        delay_s: 0,
    };
    let changed = [
        WillPart { topic: "u", ..will },
        WillPart {
            payload: b"q",
            ..will
        },
        WillPart {
            payload: b"",
            ..will
        },
        WillPart {
            qos: Qos::AtLeastOnce,
            ..will
        },
        WillPart {
            retain: true,
            ..will
        },
        WillPart { delay_s: 1, ..will },
        // Bytes may not move from one part to the next.
        WillPart {
            topic: "tp",
            payload: b"",
            ..will
        },
    ];
    for other in changed {
        assert_ne!(
            Opening::connect(true, 0, Some(&will)),
            Opening::connect(true, 0, Some(&other))
        );
    }
}

#[test]
fn a_proof_without_the_binding_that_was_promised_or_with_another_value() {
    let bound = login().bind_to_tls();
    let key = device_key().public_key();
    let (_, broker, proof) = answered(bound, |_| ());
    let result = broker.verify(proof.as_bytes(), &key, None, START);
    assert_eq!(result.unwrap_err(), Refusal::BindingValue);
    let (_, broker, proof) = answered(bound, |_| ());
    let result = broker.verify(proof.as_bytes(), &key, Some(&[0x34; 32]), START);
    assert_eq!(result.unwrap_err(), Refusal::BadSignature);
    let (_, broker, proof) = answered(login(), |_| ());
    let result = broker.verify(proof.as_bytes(), &key, Some(&EXPORTER), START);
    assert_eq!(result.unwrap_err(), Refusal::BindingValue);
    let (_, broker, proof) = answered(bound, |_| ());
    assert!(
        broker
            .verify(proof.as_bytes(), &key, Some(&EXPORTER), START)
            .is_ok()
    );
}

#[test]
fn binding_is_never_negotiated() {
    let key_ids = [broker_key().key_id()];
    let try_with = |login: device::Login<'static>, binding| {
        let (_, open) = login.open(CLIENT_NONCE, opening());
        let arrived = ChallengeContext {
            binding,
            ..context(&key_ids)
        };
        broker::challenge(&open, &arrived).map(|_| ()).err()
    };
    let bound = login().bind_to_tls();
    assert_eq!(
        try_with(login(), BindingPolicy::Exporter),
        Some(Refusal::BindingRequired)
    );
    assert_eq!(try_with(bound, BindingPolicy::Exporter), None);
    assert_eq!(
        try_with(bound, BindingPolicy::None),
        Some(Refusal::BindingUnavailable)
    );
    assert_eq!(try_with(login(), BindingPolicy::None), None);
    assert_eq!(try_with(login(), BindingPolicy::Optional), None);
    assert_eq!(try_with(bound, BindingPolicy::Optional), None);
}

#[test]
fn a_broker_key_that_the_broker_does_not_hold() {
    let (_, open) = login().open(CLIENT_NONCE, opening());
    let result = broker::challenge(&open, &context(&[other_key().key_id()]));
    assert_eq!(result.unwrap_err(), Refusal::BrokerKeyUnknown);
    let result = broker::challenge(&open, &context(&[]));
    assert_eq!(result.unwrap_err(), Refusal::BrokerKeyUnknown);
}

#[test]
fn the_next_identity_key_may_be_pinned_as_well() {
    let (_, open) = login().open(CLIENT_NONCE, opening());
    let key_ids = [other_key().key_id(), broker_key().key_id()];
    assert!(broker::challenge(&open, &context(&key_ids)).is_ok());
}

#[test]
fn a_late_proof_however_good() {
    let key = device_key().public_key();
    for (after_ms, expected) in [
        (0, true),
        (CHALLENGE_LIFE_MS - 1, true),
        (CHALLENGE_LIFE_MS, false),
        (u64::MAX, false),
    ] {
        let (_, broker, proof) = answered(login(), |_| ());
        assert_eq!(broker.deadline(), START.plus(CHALLENGE_LIFE_MS));
        let result = broker.verify(proof.as_bytes(), &key, None, START.plus(after_ms));
        assert_eq!(result.is_ok(), expected, "{after_ms} ms");
        if let Err(refusal) = result {
            assert_eq!(refusal, Refusal::ChallengeExpired);
        }
    }
}

#[test]
fn a_proof_of_another_length() {
    let (_, _, proof) = answered(login(), |_| ());
    let good = proof.as_bytes();
    let longer = [&good[..], &[0]].concat();
    let doubled = [&good[..], &good[..]].concat();
    for bytes in [&good[..0], &good[..63], &longer, &doubled] {
        let (_, broker, _) = challenged(login(), |_| ());
        let result = broker.verify(bytes, &device_key().public_key(), None, START);
        assert_eq!(result.unwrap_err(), Refusal::ProofLength);
    }
}

#[test]
fn a_proof_with_any_bit_flipped() {
    let (_, _, proof) = answered(login(), |_| ());
    for bytes in spoiled(proof.as_bytes()).filter(|bytes| bytes.len() == 64) {
        let (_, broker, _) = challenged(login(), |_| ());
        let result = broker.verify(&bytes, &device_key().public_key(), None, START);
        assert_eq!(result.unwrap_err(), Refusal::BadSignature);
    }
}

#[test]
fn another_key_than_the_open_named() {
    // The caller looked up the wrong key: never accepted, even if that key made the proof.
    let (_, broker, proof) = answered(login(), |_| ());
    let result = broker.verify(proof.as_bytes(), &other_key().public_key(), None, START);
    assert_eq!(result.unwrap_err(), Refusal::KeyUnknown);
    let mut signer = Impostor {
        claimed: device_key().key_id(),
        key: other_key(),
    };
    let (device, broker, challenge) = challenged(login(), |_| ());
    let (_, proof) = device
        .read(&challenge)
        .unwrap()
        .answer(None, &mut signer)
        .unwrap();
    let result = broker.verify(proof.as_bytes(), &other_key().public_key(), None, START);
    assert_eq!(result.unwrap_err(), Refusal::KeyUnknown);
}

#[test]
fn an_impostor_with_its_own_key() {
    let mut signer = Impostor {
        claimed: device_key().key_id(),
        key: other_key(),
    };
    let (device, broker, challenge) = challenged(login(), |_| ());
    let (_, proof) = device
        .read(&challenge)
        .unwrap()
        .answer(None, &mut signer)
        .unwrap();
    assert_eq!(verify(broker, &proof).unwrap_err(), Refusal::BadSignature);
}

#[test]
fn an_unknown_key_refuses_like_a_known_one() {
    let (_, broker, proof) = answered(login(), |_| ());
    assert_eq!(
        broker.verify_unknown(proof.as_bytes(), None, START),
        Refusal::KeyUnknown
    );
    // What is wrong before the signature is wrong in the same way, known or not.
    let (_, broker, proof) = answered(login(), |_| ());
    let late = START.plus(CHALLENGE_LIFE_MS);
    assert_eq!(
        broker.verify_unknown(proof.as_bytes(), None, late),
        Refusal::ChallengeExpired
    );
    let (_, broker, _) = answered(login(), |_| ());
    assert_eq!(
        broker.verify_unknown(&[0; 63], None, START),
        Refusal::ProofLength
    );
    assert_eq!(
        Refusal::KeyUnknown.reason_code(),
        Refusal::BadSignature.reason_code()
    );
}

#[test]
fn a_broker_proof_reflected_as_a_device_proof_and_back() {
    // One key on both ends is the worst case: only the role keeps the signatures apart.
    let own = login().pin(device_key().public_key());
    let key_ids = [device_key().key_id()];
    let (device, open) = own.open(CLIENT_NONCE, opening());
    let (broker, challenge) = broker::challenge(&open, &context(&key_ids)).unwrap();
    let (device, device_proof) = device
        .read(&challenge)
        .unwrap()
        .answer(None, &mut device_key())
        .unwrap();
    let proven = verify(broker, &device_proof).unwrap();
    let broker_proof = proven.sign_confirmation(&mut device_key()).unwrap();
    assert_ne!(device_proof, broker_proof);

    let (broker, _) = broker::challenge(&open, &context(&key_ids)).unwrap();
    assert_eq!(
        verify(broker, &broker_proof).unwrap_err(),
        Refusal::BadSignature
    );
    let reflected = device.confirm(Some(device_proof.as_bytes()));
    assert_eq!(reflected, Err(DeviceError::BrokerProofBad));
}

#[test]
fn an_open_of_any_other_shape() {
    let refusal = |bytes: &[u8]| {
        broker::challenge(bytes, &context(&[broker_key().key_id()]))
            .map(|_| ())
            .unwrap_err()
    };
    let malformed = |error| Refusal::Open(OpenError::Malformed(error));
    let good = login().open(CLIENT_NONCE, opening()).1;
    assert_eq!(refusal(b""), malformed(CborError::EndOfInput));
    assert_eq!(refusal(&good[..37]), malformed(CborError::EndOfInput));
    assert_eq!(
        refusal(&[&good[..], &[0]].concat()),
        malformed(CborError::TrailingBytes)
    );
    assert_eq!(
        refusal(&[&[0x86], &good[1..], &[0]].concat()),
        malformed(CborError::WrongCount)
    );
    assert_eq!(
        refusal(&[&[0x9f], &good[1..], &[0xff]].concat()),
        malformed(CborError::IndefiniteLength)
    );
    assert_eq!(
        refusal(&[&[0x85, 0x18, 0x01], &good[2..]].concat()),
        malformed(CborError::NotMinimal)
    );
    assert_eq!(
        refusal(&[&[0xc1], &good[..]].concat()),
        malformed(CborError::UnexpectedTag)
    );
    // A nonce of 15 bytes, a key id of 7, a key id as text.
    assert_eq!(
        refusal(&[&[0x85, 1, 0x4f], &good[4..]].concat()),
        malformed(CborError::WrongCount)
    );
    assert_eq!(
        refusal(&[&good[..19], &[0x47], &good[21..]].concat()),
        malformed(CborError::WrongCount)
    );
    assert_eq!(
        refusal(&[&good[..19], &[0x68], &[b'a'; 8], &good[28..]].concat()),
        malformed(CborError::UnexpectedType)
    );
    let last = good.len() - 1;
    assert_eq!(
        refusal(&[&good[..last], &[2]].concat()),
        Refusal::Open(OpenError::BindingUnknown(2))
    );
    assert_eq!(
        refusal(&[&good[..1], &[2], &good[2..]].concat()),
        Refusal::Open(OpenError::VersionUnknown(2))
    );
    for bytes in spoiled(&good) {
        // A flipped bit in a nonce or key id is another good open; everything else is refused.
        match Open::decode(&bytes) {
            Ok(open) => assert_eq!(open.encode()[..], bytes),
            Err(error) => match refusal(&bytes) {
                Refusal::Open(found) => assert_eq!(found, error),
                other => panic!("{other}"),
            },
        }
    }
}

#[test]
fn a_client_id_that_no_proof_can_cover() {
    let (_, open) = login().open(CLIENT_NONCE, opening());
    let key_ids = [broker_key().key_id()];
    let refusal = |client_id: &str| {
        broker::challenge(
            &open,
            &ChallengeContext {
                client_id,
                ..context(&key_ids)
            },
        )
        .map(|_| ())
        .err()
    };
    assert_eq!(
        refusal(&"x".repeat(129)),
        Some(Refusal::ClientId(ClientIdError::TooLong))
    );
    assert_eq!(refusal(&"x".repeat(128)), None);
    // An empty one is a wish that can be signed; whether it is met is up to the listener.
    assert_eq!(refusal(""), None);
}

#[test]
fn a_challenge_from_another_broker_or_of_another_shape() {
    let refusal = |bytes: &[u8]| {
        login()
            .open(CLIENT_NONCE, opening())
            .0
            .read(bytes)
            .map(|_| ())
            .unwrap_err()
    };
    let (_, _, other) = challenged(login(), |context| context.broker_id = id("kg-000000"));
    assert_eq!(refusal(&other), DeviceError::OtherBroker);
    let malformed = |error| DeviceError::Challenge(ChallengeError::Malformed(error));
    let (_, _, good) = challenged(login(), |_| ());
    assert_eq!(refusal(b""), malformed(CborError::EndOfInput));
    assert_eq!(
        refusal(&[&good[..], &[0]].concat()),
        malformed(CborError::TrailingBytes)
    );
    assert_eq!(
        refusal(&[&[0x83], &good[1..], &[0]].concat()),
        malformed(CborError::WrongCount)
    );
    assert_eq!(
        refusal(&[&[0x82, 0x58, 0x1f], &good[4..]].concat()),
        malformed(CborError::WrongCount)
    );
    assert_eq!(
        refusal(&[&[0x82, 0x59, 0, 0x20], &good[3..]].concat()),
        malformed(CborError::NotMinimal)
    );
    assert_eq!(
        refusal(&[&good[..35], &[0x60]].concat()),
        DeviceError::Challenge(ChallengeError::BrokerId(IdError::Empty))
    );
    for bytes in spoiled(&good) {
        let nonce_only =
            bytes.len() == good.len() && bytes[..3] == good[..3] && bytes[35..] == good[35..];
        let read = login().open(CLIENT_NONCE, opening()).0.read(&bytes);
        assert_eq!(read.is_ok(), nonce_only, "{bytes:02x?}");
    }
}

#[test]
fn a_device_signs_nothing_with_the_wrong_tools() {
    let ready = |login: device::Login<'static>| {
        let (device, _, challenge) = challenged(login, |_| ());
        device.read(&challenge).unwrap()
    };
    let error = |result: Result<_, DeviceError>| {
        result
            .map(|_: (device::AwaitConfirmation<'_>, Signature)| ())
            .unwrap_err()
    };
    assert_eq!(
        error(ready(login()).answer(None, &mut other_key())),
        DeviceError::WrongSigner
    );
    assert_eq!(
        error(ready(login()).answer(Some(&EXPORTER), &mut device_key())),
        DeviceError::BindingValue
    );
    let bound = login().bind_to_tls();
    assert_eq!(
        error(ready(bound).answer(None, &mut device_key())),
        DeviceError::BindingValue
    );
    let mut broken = Broken(device_key().key_id());
    assert_eq!(
        error(ready(login()).answer(None, &mut broken)),
        DeviceError::Signer(SignerFault)
    );
}

#[test]
fn a_confirmation_that_is_missing_short_wrong_or_unasked() {
    let (device, broker, proof) = answered(login(), |_| ());
    let good = verify(broker, &proof)
        .unwrap()
        .sign_confirmation(&mut broker_key())
        .unwrap();
    assert!(device.confirm(Some(good.as_bytes())).is_ok());

    let confirm = |bytes: Option<&[u8]>| answered(login(), |_| ()).0.confirm(bytes);
    assert_eq!(confirm(None), Err(DeviceError::BrokerProofMissing));
    assert_eq!(confirm(Some(b"")), Err(DeviceError::BrokerProofLength));
    assert_eq!(
        confirm(Some(&good.as_bytes()[..63])),
        Err(DeviceError::BrokerProofLength)
    );
    for bytes in spoiled(good.as_bytes())
        .filter(|bytes| bytes.len() == 64)
        .step_by(7)
    {
        assert_eq!(confirm(Some(&bytes)), Err(DeviceError::BrokerProofBad));
    }
    // Signed by a key that the device did not pin, though it claims the pinned one's id.
    let (device, broker, proof) = answered(login(), |_| ());
    let mut signer = Impostor {
        claimed: broker_key().key_id(),
        key: other_key(),
    };
    let wrong = verify(broker, &proof)
        .unwrap()
        .sign_confirmation(&mut signer)
        .unwrap();
    assert_eq!(
        device.confirm(Some(wrong.as_bytes())),
        Err(DeviceError::BrokerProofBad)
    );

    let unpinned = device::Login::new(
        ClientId::new("dev1").unwrap(),
        id(BROKER_ID),
        device_key().key_id(),
    );
    let (device, _, _) = answered(unpinned, |_| ());
    assert_eq!(
        device.confirm(Some(good.as_bytes())),
        Err(DeviceError::BrokerProofUnasked)
    );
    let (device, _, _) = answered(unpinned, |_| ());
    assert_eq!(
        device.confirm(None).map(|done| done.broker_proved()),
        Ok(false)
    );
}

#[test]
fn a_confirmation_of_another_connection() {
    let (_, broker, proof) = answered(login(), |context| context.broker_nonce = [0x23; 32]);
    let other = verify(broker, &proof)
        .unwrap()
        .sign_confirmation(&mut broker_key())
        .unwrap();
    let (device, _, _) = answered(login(), |_| ());
    assert_eq!(
        device.confirm(Some(other.as_bytes())),
        Err(DeviceError::BrokerProofBad)
    );
}

#[test]
fn the_broker_signs_only_with_the_key_that_was_asked_for() {
    let (_, broker, proof) = answered(login(), |_| ());
    let proven = verify(broker, &proof).unwrap();
    assert_eq!(
        proven.sign_confirmation(&mut other_key()),
        Err(ConfirmationError::WrongSigner)
    );
    let mut broken = Broken(broker_key().key_id());
    assert_eq!(
        proven.sign_confirmation(&mut broken),
        Err(ConfirmationError::Signer(SignerFault))
    );
    let unpinned = device::Login::new(
        ClientId::new("dev1").unwrap(),
        id(BROKER_ID),
        device_key().key_id(),
    );
    let (_, broker, proof) = answered(unpinned, |_| ());
    let proven = verify(broker, &proof).unwrap();
    assert_eq!(proven.wants_broker_proof(), None);
    assert_eq!(
        proven.sign_confirmation(&mut broker_key()),
        Err(ConfirmationError::NotAsked)
    );
}

#[test]
fn a_login_proof_is_no_reauthentication_and_back() {
    let (_, _, proof) = answered(login(), |_| ());
    let (_, broker, _) = challenged(login(), |context| {
        context.opening = Opening::reauthentication();
    });
    assert_eq!(verify(broker, &proof).unwrap_err(), Refusal::BadSignature);
}

#[test]
fn what_the_device_is_told() {
    let told = |refusal: Refusal| refusal.reason_code();
    assert_eq!(told(Refusal::BadSignature), ReasonCode::NotAuthorized);
    assert_eq!(told(Refusal::BrokerKeyUnknown), ReasonCode::NotAuthorized);
    assert_eq!(told(Refusal::ChallengeExpired), ReasonCode::NotAuthorized);
    assert_eq!(
        told(Refusal::ClientId(ClientIdError::TooLong)),
        ReasonCode::ClientIdentifierNotValid
    );
    assert_eq!(
        told(Refusal::Open(OpenError::VersionUnknown(2))),
        ReasonCode::BadAuthenticationMethod
    );
    assert_eq!(
        told(Refusal::Open(OpenError::BindingUnknown(2))),
        ReasonCode::ProtocolError
    );
    assert_eq!(told(Refusal::ProofLength), ReasonCode::ProtocolError);
}
