use super::*;
use crate::crypto::SoftwareSigner;
use crate::vectors::{BROKER_SEED, DEVICE_SEED, standards};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

/// SPEC.md §6.7, made with another Ed25519 and another JSON.
const WITH_CNONCE: &str = concat!(
    "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoia2V5Z2F0ZS1sb2dpbitqd3QiLCJraWQiOiI4NjZlZWZiZDY3MThjODg0In0.",
    "eyJpc3MiOiJkZXYxIiwic3ViIjoiZGV2MSIsImF1ZCI6ImtnLTdmM2E5YyIsImNub25jZSI6ImNVQUFBQUFSSWpORXFydk0zUUFCQWdNIn0.",
    "t7eb8P2ZTCdjEZOtlAglJhMQIGddlSJGbMz8OwqzN2i1u3tlbi0BEhDDRyJzpJeTJSJRnv3psHu8hwnkhSUVCw",
);
const WITH_TIMES: &str = concat!(
    "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoia2V5Z2F0ZS1sb2dpbitqd3QiLCJraWQiOiI4NjZlZWZiZDY3MThjODg0In0.",
    "eyJpc3MiOiJkZXYxIiwic3ViIjoiZGV2MSIsImF1ZCI6ImtnLTdmM2E5YyIsImNsaWVudF9pZCI6ImRldjEiLCJpYXQiOjE5MDAwMDAwMDAsImV4cCI6MTkw",
    "MDAwMDMwMCwianRpIjoibi0wMDAxIn0.",
    "_dyYytHBnEhGKfoKsfgaA4GbgpG9433HgN0fOov7YOR7FOLhBYU8Ox04_SJXnbVxeLzc58-2gEv_FOiIN5_XDw",
);

fn key() -> SoftwareSigner {
    SoftwareSigner::from_seed(&DEVICE_SEED)
}

fn id(text: &str) -> Id<'_> {
    Id::new(text).unwrap()
}

fn with(freshness: Freshness<'_>) -> Assertion<'_> {
    Assertion {
        id: id("dev1"),
        broker_id: id("kg-7f3a9c"),
        client_id: None,
        freshness,
    }
}

fn times(issued_at: u64, expires_at: u64, jti: &str) -> Freshness<'_> {
    Freshness::Times {
        issued_at: UnixTime(issued_at),
        expires_at: UnixTime(expires_at),
        jti,
    }
}

#[test]
fn both_forms_byte_for_byte() {
    let text = with(Freshness::Challenge("cUAAAAARIjNEqrvM3QABAgM"))
        .sign(&mut key())
        .unwrap();
    assert_eq!(text, WITH_CNONCE);
    let bound = Assertion {
        client_id: Some("dev1"),
        ..with(times(1_900_000_000, 1_900_000_300, "n-0001"))
    };
    assert_eq!(bound.sign(&mut key()).unwrap(), WITH_TIMES);
}

#[test]
fn what_a_device_makes_a_broker_takes_apart() {
    for text in [WITH_CNONCE, WITH_TIMES] {
        let compact = Compact::parse(text.as_bytes()).unwrap();
        let mut buffer = [0; JSON_LEN_MAX];
        let header = compact.header(&mut buffer).unwrap();
        assert_eq!(
            header,
            br#"{"alg":"Ed25519","typ":"keygate-login+jwt","kid":"866eefbd6718c884"}"#
        );
        let claims: serde_json::Value =
            serde_json::from_slice(compact.claims(&mut buffer).unwrap()).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&"dev1".into(), &"dev1".into())
        );
        assert_eq!(claims["aud"], "kg-7f3a9c");
        assert_eq!(compact.verify(&key().public_key()), Ok(()));
        let other = SoftwareSigner::from_seed(&BROKER_SEED).public_key();
        assert_eq!(compact.verify(&other), Err(BadSignature));
    }
}

#[test]
fn a_foreign_jwt_is_taken_apart_as_well() {
    let vectors = standards();
    let text = vectors["private_key_jwt"].as_str().unwrap();
    assert_eq!(
        Compact::parse(text.as_bytes())
            .unwrap()
            .verify(&key().public_key()),
        Ok(())
    );
}

#[test]
fn the_longest_parts_fit() {
    let longest = "x".repeat(64);
    let client_id = "c".repeat(128);
    let assertion = Assertion {
        id: id(&longest),
        broker_id: id(&longest),
        client_id: Some(&client_id),
        freshness: times(u64::MAX - 1, u64::MAX, &longest),
    };
    let text = assertion.sign(&mut key()).unwrap();
    assert_eq!(text.len(), 833);
    assert!(
        Compact::parse(text.as_bytes())
            .unwrap()
            .verify(&key().public_key())
            .is_ok()
    );
}

#[test]
fn a_device_refuses_to_assert_nonsense() {
    let refused = |assertion: Assertion<'_>| assertion.sign(&mut key()).unwrap_err();
    let long = "x".repeat(129);
    for cnonce in ["", "a b", "a.b", "a=", "é", "a\"", &long[..65]] {
        assert_eq!(
            refused(with(Freshness::Challenge(cnonce))),
            AssertionError::BadChallenge
        );
    }
    for jti in ["", "a b", "a\"", "a\\", "é", &long[..65]] {
        assert_eq!(refused(with(times(1, 2, jti))), AssertionError::BadJti);
    }
    assert_eq!(refused(with(times(2, 2, "j"))), AssertionError::NoLife);
    assert_eq!(refused(with(times(2, 1, "j"))), AssertionError::NoLife);
    assert_eq!(
        refused(with(times(0, 86_401, "j"))),
        AssertionError::LifeTooLong
    );
    assert!(with(times(0, 86_400, "j")).sign(&mut key()).is_ok());
    let client = |client_id| Assertion {
        client_id: Some(client_id),
        ..with(times(1, 2, "j"))
    };
    assert_eq!(refused(client("")), AssertionError::ClientIdEmpty);
    assert_eq!(
        refused(client(&long)),
        AssertionError::ClientId(ClientIdError::TooLong)
    );
    for client_id in ["a\"b", "a\\b", "a\nb", "é", "a\u{7f}"] {
        assert_eq!(
            refused(client(client_id)),
            AssertionError::ClientIdCharacter
        );
    }
    assert!(client("dev1/a b").sign(&mut key()).is_ok());
}

#[test]
fn a_signer_that_fails_is_reported() {
    struct Broken;
    impl Signer for Broken {
        fn key_id(&self) -> KeyId {
            KeyId::from_bytes([0; 8])
        }
        fn sign(&mut self, _: &Signable<'_>) -> Result<Signature, SignerFault> {
            Err(SignerFault)
        }
    }
    let error = with(times(1, 2, "j")).sign(&mut Broken).unwrap_err();
    assert_eq!(error, AssertionError::Signer(SignerFault));
}

#[test]
fn compact_form_is_strict() {
    let refused = |text: &str| Compact::parse(text.as_bytes()).map(|_| ()).unwrap_err();
    let parts: Vec<&str> = WITH_CNONCE.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!()
    };
    let join = |parts: &[&str]| parts.join(".");
    assert_eq!(refused(""), CompactError::NotThreeParts);
    assert_eq!(
        refused(&join(&[header, claims])),
        CompactError::NotThreeParts
    );
    assert_eq!(
        refused(&join(&[header, claims, signature, ""])),
        CompactError::NotThreeParts
    );
    assert_eq!(
        refused(&join(&["", claims, signature])),
        CompactError::EmptyPart
    );
    assert_eq!(
        refused(&join(&[header, "", signature])),
        CompactError::EmptyPart
    );
    assert_eq!(
        refused(&join(&[header, claims, ""])),
        CompactError::SignatureLength
    );
    assert_eq!(
        refused(&join(&[header, claims, &signature[..84]])),
        CompactError::SignatureLength
    );
    let padded = std::format!("{signature}==");
    for bad in [padded.as_str(), "a+b/", "a b c d ", "abc\n", "a"] {
        assert_eq!(
            refused(&join(&[header, claims, bad])),
            CompactError::NotBase64url,
            "{bad}"
        );
    }
    // The last character of 64 bytes carries four bits that must be zero: `w` has them, `x` does not.
    let mut loose = String::from(signature);
    assert_eq!(loose.pop(), Some('w'));
    loose.push('x');
    assert_eq!(
        refused(&join(&[header, claims, &loose])),
        CompactError::NotBase64url
    );
    let long = "A".repeat(ASSERTION_LEN_MAX);
    assert_eq!(
        refused(&join(&[&long, claims, signature])),
        CompactError::TooLong
    );
}

#[test]
fn any_changed_character_voids_an_assertion() {
    let public = key().public_key();
    for at in 0..WITH_TIMES.len() {
        let mut bytes = WITH_TIMES.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let verified = Compact::parse(&bytes).is_ok_and(|compact| compact.verify(&public).is_ok());
        assert!(!verified, "character {at}");
    }
}

proptest! {
    #[test]
    fn assertions_round_trip(
        device in "[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", broker in "[A-Za-z0-9][A-Za-z0-9._:-]{0,63}",
        client_id in proptest::option::of("[ !#-\\[\\]-~]{1,128}"), cnonce in "[A-Za-z0-9_-]{1,64}",
        jti in "[A-Za-z0-9._-]{1,64}", issued_at in any::<u32>(), life in 1..86_400_u64, clockless: bool,
    ) {
        let issued_at = u64::from(issued_at);
        let freshness = if clockless { Freshness::Challenge(&cnonce) } else { times(issued_at, issued_at + life, &jti) };
        let assertion = Assertion {
            id: id(&device), broker_id: id(&broker), client_id: client_id.as_deref(), freshness,
        };
        let text = assertion.sign(&mut key()).unwrap();
        let compact = Compact::parse(text.as_bytes()).unwrap();
        prop_assert!(compact.verify(&key().public_key()).is_ok());
        let mut buffer = [0; JSON_LEN_MAX];
        let claims: serde_json::Value = serde_json::from_slice(compact.claims(&mut buffer).unwrap()).unwrap();
        prop_assert_eq!(claims["sub"].as_str(), Some(&device[..]));
        prop_assert_eq!(claims["aud"].as_str(), Some(&broker[..]));
        prop_assert_eq!(claims["client_id"].as_str(), client_id.as_deref());
        prop_assert_eq!(claims["cnonce"].as_str(), clockless.then_some(&cnonce[..]));
        prop_assert_eq!(claims["iat"].as_u64(), (!clockless).then_some(issued_at));
        prop_assert_eq!(claims["jti"].as_str(), (!clockless).then_some(&jti[..]));
    }

    #[test]
    fn taking_apart_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
        if let Ok(compact) = Compact::parse(&bytes) {
            let _ = compact.verify(&key().public_key());
        }
    }
}
