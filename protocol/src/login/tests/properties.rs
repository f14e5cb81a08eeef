//! Decoders take what encoders make, in one encoding only, and never panic.

use super::*;
use crate::login::{Challenge, Open, Role, Transcript};
use proptest::prelude::*;

proptest! {
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        if let Ok(open) = Open::decode(&bytes) {
            prop_assert_eq!(&open.encode()[..], &bytes[..]);
        }
        if let Ok(challenge) = Challenge::decode(&bytes) {
            prop_assert_eq!(&challenge.encode()[..], &bytes[..]);
        }
    }

    #[test]
    fn opens_round_trip(client_nonce: [u8; 16], key_id: [u8; 8], broker: Option<[u8; 8]>, bound: bool) {
        let open = Open {
            client_nonce,
            key_id: KeyId::from_bytes(key_id),
            broker_key_id: broker.map(KeyId::from_bytes),
            binding: if bound { Binding::Exporter } else { Binding::None },
        };
        prop_assert_eq!(Open::decode(&open.encode()), Ok(open));
    }

    #[test]
    fn challenges_round_trip(broker_nonce: [u8; 32], broker_id in "[A-Za-z0-9][A-Za-z0-9._:-]{0,63}") {
        let challenge = Challenge { broker_nonce, broker_id: id(&broker_id) };
        let bytes = challenge.encode();
        prop_assert_eq!(Challenge::decode(&bytes), Ok(challenge));
    }

    /// Two different logins never sign the same bytes, and an independent decoder reads ten items.
    #[test]
    fn transcripts_are_injective(
        a in "[a-z]{1,128}", b in "[a-z]{1,128}", nonce_a: [u8; 32], nonce_b: [u8; 32], value: Option<[u8; 32]>,
    ) {
        let open = Open {
            client_nonce: CLIENT_NONCE,
            key_id: device_key().key_id(),
            broker_key_id: None,
            binding: Binding::None,
        };
        let opening = opening();
        let transcript = |client_id, broker_nonce| Transcript {
            broker_id: id(BROKER_ID),
            client_id: ClientId::new(client_id).unwrap(),
            open: &open,
            broker_nonce,
            binding_value: value.as_ref(),
            opening: &opening,
        };
        let first = transcript(&a, &nonce_a);
        let second = transcript(&b, &nonce_b);
        let signed = |transcript: &Transcript<'_>, role| transcript.to_be_signed(role).signable().as_bytes().to_vec();
        prop_assert_eq!(first == second, signed(&first, Role::Device) == signed(&second, Role::Device));
        prop_assert_ne!(signed(&first, Role::Device), signed(&first, Role::Broker));
        let mut payload = heapless::Vec::<u8, 512>::new();
        first.encode(Role::Device, &mut payload).unwrap();
        let value: serde_cbor::Value = serde_cbor::from_slice(&payload).unwrap();
        prop_assert_eq!(serde_cbor::to_vec(&value).unwrap(), payload.to_vec());
    }
}

#[test]
fn the_longest_names_fit() {
    let broker_id = "b".repeat(64);
    let client_id = "c".repeat(128);
    let login = device::Login::new(
        ClientId::new(&client_id).unwrap(),
        id(&broker_id),
        device_key().key_id(),
    );
    let login = login.pin(broker_key().public_key()).bind_to_tls();
    let (device, open) = login.open(CLIENT_NONCE, opening());
    let key_ids = [broker_key().key_id()];
    let arrived = ChallengeContext {
        client_id: &client_id,
        broker_id: id(&broker_id),
        ..context(&key_ids)
    };
    let (broker, challenge) = broker::challenge(&open, &arrived).unwrap();
    assert_eq!((open.len(), challenge.len()), (38, 101));
    let (device, proof) = device
        .read(&challenge)
        .unwrap()
        .answer(Some(&EXPORTER), &mut device_key())
        .unwrap();
    let key = device_key().public_key();
    let proven = broker
        .verify(proof.as_bytes(), &key, Some(&EXPORTER), START)
        .unwrap();
    let confirmation = proven.sign_confirmation(&mut broker_key()).unwrap();
    assert!(device.confirm(Some(confirmation.as_bytes())).is_ok());
}
