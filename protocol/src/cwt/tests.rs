use super::*;
use crate::cbor::CborError;
use crate::cose::key::CoseKeyError;
use crate::cose::{CoseError, SignError, sign1};
use crate::crypto::{KeyError, PublicKey, Signer as _, SoftwareSigner};
use crate::ident::{Id, IdError};
use crate::scope::ScopeError;
use crate::sink::Sink as _;
use crate::time::UnixTime;
use crate::vectors::{self, hex};
use coset::cwt::{ClaimName, ClaimsSet, Timestamp};
use coset::{CborSerializable as _, TaggedCborSerializable as _};
use proptest::prelude::*;
use serde_cbor::Value;
use std::collections::BTreeMap;
use std::vec::Vec;

type Token = heapless::Vec<u8, TOKEN_LEN_MAX>;

fn token_key() -> SoftwareSigner {
    SoftwareSigner::from_seed(&vectors::BROKER_SEED)
}

/// The claims of the vector.
fn claims(scope: &[u8]) -> Claims<'_> {
    Claims {
        iss: Id::new("as1").unwrap(),
        sub: Id::new("dev1").unwrap(),
        aud: "broker1",
        exp: UnixTime(1_900_003_600),
        iat: UnixTime(1_900_000_000),
        cti: [0, 1, 2, 3, 4, 5, 6, 7],
        cnf: SoftwareSigner::from_seed(&vectors::DEVICE_SEED).public_key(),
        scope,
    }
}

fn expectation() -> Expectation<'static> {
    Expectation {
        iss: Id::new("as1").unwrap(),
        aud: "broker1",
        now: UnixTime(1_900_000_000),
        tolerance_s: 0,
    }
}

/// Signs a payload as a token, whatever it holds.
fn sign_payload(payload: &[u8]) -> Token {
    let mut token = Token::new();
    token.put(&[0xd8, 61, 0xd2]).unwrap();
    sign1::sign(payload, &[], &mut token_key(), &mut token).unwrap();
    token
}

/// The claims of the vector as entries, to put one wrong.
fn entries() -> BTreeMap<i128, Value> {
    let Value::Map(map) = serde_cbor::from_slice(&hex(&vectors::standards()["claims"])).unwrap()
    else {
        panic!("claims are a map");
    };
    map.into_iter()
        .map(|(key, value)| {
            (
                if let Value::Integer(key) = key {
                    key
                } else {
                    panic!()
                },
                value,
            )
        })
        .collect()
}

fn decode_with(key: i128, value: Option<Value>) -> ClaimsError {
    let mut entries = entries();
    match value {
        Some(value) => entries.insert(key, value),
        None => entries.remove(&key),
    };
    let payload = serde_cbor::to_vec(&entries).unwrap();
    let token = sign_payload(&payload);
    let refused = Untrusted::decode(&token)
        .unwrap()
        .verify(&token_key().public_key());
    match refused {
        Err(CwtError::Claims(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn issues_the_token_of_the_vector() {
    let vectors = vectors::standards();
    let scope = hex(&vectors["aif_mqtt"]);
    let mut payload = heapless::Vec::<u8, 256>::new();
    claims(&scope).encode(&mut payload).unwrap();
    assert_eq!(payload[..], hex(&vectors["claims"]));
    let mut token = Token::new();
    issue(&claims(&scope), &mut token_key(), &mut token).unwrap();
    assert_eq!(token[..], hex(&vectors["cwt_alg_-19"]["cwt"]));
    assert!(
        token.len() <= 210,
        "a token with two topic rules has {} bytes",
        token.len()
    );
}

#[test]
fn reads_both_tokens_of_the_vectors() {
    let vectors = vectors::standards();
    for name in ["cwt_alg_-19", "cwt_alg_-8"] {
        let token = hex(&vectors[name]["cwt"]);
        let untrusted = Untrusted::decode(&token).unwrap();
        assert_eq!(untrusted.key_id(), token_key().key_id());
        let verified = untrusted.verify(&token_key().public_key()).unwrap();
        let scope = hex(&vectors["aif_mqtt"]);
        assert_eq!(*verified, claims(&scope));
        assert_eq!(untrusted.unverified_claims(), Ok(verified.into_inner()));
        assert_eq!(verified.rights().unwrap().rules().count(), 2);
    }
}

#[test]
fn coset_and_serde_cbor_read_what_we_issue() {
    let mut token = Token::new();
    issue(&claims(b"\x80"), &mut token_key(), &mut token).unwrap();

    let inner = token.strip_prefix(&[0xd8, 61]).unwrap();
    let message = coset::CoseSign1::from_tagged_slice(inner).unwrap();
    assert_eq!(
        message.protected.header.key_id,
        token_key().key_id().as_bytes()
    );
    assert!(message.unprotected.is_empty());
    message
        .verify_signature(&[], |signature, to_be_signed| {
            let message = crate::crypto::Signable::sig_structure(to_be_signed).unwrap();
            let signature = crate::crypto::Signature::from_slice(signature).unwrap();
            token_key().public_key().verify(&message, &signature)
        })
        .unwrap();
    let set = ClaimsSet::from_slice(&message.payload.unwrap()).unwrap();
    assert_eq!(set.issuer.as_deref(), Some("as1"));
    assert_eq!(set.subject.as_deref(), Some("dev1"));
    assert_eq!(set.audience.as_deref(), Some("broker1"));
    assert_eq!(
        set.expiration_time,
        Some(Timestamp::WholeSeconds(1_900_003_600))
    );
    assert_eq!(set.issued_at, Some(Timestamp::WholeSeconds(1_900_000_000)));
    assert_eq!(set.cwt_id.as_deref(), Some(&[0, 1, 2, 3, 4, 5, 6, 7][..]));
    assert_eq!(set.rest.len(), 2);
    assert_eq!(
        set.rest[0].0,
        ClaimName::Assigned(coset::iana::CwtClaimName::Cnf)
    );

    // serde_cbor passes over tags; coset has checked the inner one.
    let Value::Array(parts) = serde_cbor::from_slice(&token).unwrap() else {
        panic!("array")
    };
    assert_eq!(parts.len(), 4);
    assert_eq!(parts[1], Value::Map(BTreeMap::new()));
}

#[test]
fn any_changed_bit_is_refused() {
    let token = hex(&vectors::standards()["cwt_alg_-19"]["cwt"]);
    let key = token_key().public_key();
    for bit in 0..token.len() * 8 {
        let mut changed = token.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let read = Untrusted::decode(&changed).and_then(|untrusted| untrusted.verify(&key));
        assert!(read.is_err(), "bit {bit}");
    }
    for len in 0..token.len() {
        assert!(Untrusted::decode(&token[..len]).is_err(), "cut to {len}");
    }
}

#[test]
fn another_key_does_not_verify() {
    let token = hex(&vectors::standards()["cwt_alg_-19"]["cwt"]);
    let untrusted = Untrusted::decode(&token).unwrap();
    let device = SoftwareSigner::from_seed(&vectors::DEVICE_SEED).public_key();
    let bad = Err(CwtError::Cose(CoseError::BadSignature));
    assert_eq!(untrusted.verify(&device), bad);
    assert_eq!(untrusted.verify(&PublicKey::nobody()), bad);
}

#[test]
fn the_envelope_is_strict() {
    let token = hex(&vectors::standards()["cwt_alg_-19"]["cwt"]);
    let decode = |bytes: &[u8]| Untrusted::decode(bytes).map(|_| ());
    assert_eq!(
        decode(&token[2..]),
        Err(CwtError::Cose(CoseError::Cbor(CborError::UnexpectedTag)))
    );
    assert_eq!(decode(&token[3..]), Err(CwtError::Untagged));
    assert_eq!(
        decode(&[&token[..2], &token[3..]].concat()),
        Err(CwtError::Cose(CoseError::Untagged))
    );
    let mac0 = [&token[..2], &[0xd1], &token[3..]].concat();
    assert_eq!(
        decode(&mac0),
        Err(CwtError::Cose(CoseError::Cbor(CborError::UnexpectedTag)))
    );
    let trailing = [&token[..], &[0]].concat();
    assert_eq!(
        decode(&trailing),
        Err(CwtError::Cose(CoseError::Cbor(CborError::TrailingBytes)))
    );
    assert_eq!(decode(&[0; TOKEN_LEN_MAX + 1]), Err(CwtError::TooLong));
}

#[test]
fn each_claim_has_its_rule() {
    let text = |text: &str| Some(Value::Text(text.into()));
    for key in [1, 2, 3, 4, 6, 7, 8, 9] {
        assert_eq!(decode_with(key, None), ClaimsError::Missing, "claim {key}");
    }
    let wrong_type = ClaimsError::Cbor(CborError::UnexpectedType);
    for key in [1, 2, 3, 4, 6, 7, 8, 9] {
        assert_eq!(
            decode_with(key, Some(Value::Bool(true))),
            wrong_type,
            "claim {key}"
        );
    }
    assert_eq!(
        decode_with(1, text("a/b")),
        ClaimsError::Name(IdError::BadCharacter)
    );
    assert_eq!(decode_with(2, text("")), ClaimsError::Name(IdError::Empty));
    assert_eq!(decode_with(3, text("")), ClaimsError::AudienceLength);
    assert_eq!(
        decode_with(3, text(&"x".repeat(129))),
        ClaimsError::AudienceLength
    );
    assert_eq!(
        decode_with(
            3,
            Some(Value::Array([Value::Text("broker1".into())].to_vec()))
        ),
        wrong_type
    );
    assert_eq!(
        decode_with(4, Some(Value::Float(1.9e9))),
        ClaimsError::Cbor(CborError::Float)
    );
    assert_eq!(decode_with(4, Some(Value::Integer(-1))), wrong_type);
    assert_eq!(
        decode_with(4, Some(Value::Integer(1_900_000_000))),
        ClaimsError::ExpiresBeforeIssue
    );
    let tagged = [b"\xa1\x04\xc1\x1a", &[0x71, 0x3f, 0xc1, 0x10][..]].concat();
    assert_eq!(
        Claims::decode(&tagged),
        Err(ClaimsError::Cbor(CborError::UnexpectedTag))
    );
    assert_eq!(
        decode_with(5, Some(Value::Integer(1))),
        ClaimsError::UnknownClaim
    );
    assert_eq!(
        decode_with(38, Some(Value::Integer(3))),
        ClaimsError::UnknownClaim
    );
    assert_eq!(
        decode_with(7, Some(Value::Bytes([0; 7].to_vec()))),
        ClaimsError::CtiLength
    );
    assert_eq!(
        decode_with(9, Some(Value::Bytes(Vec::new()))),
        ClaimsError::Scope(ScopeError::Cbor(CborError::EndOfInput))
    );
    assert_eq!(decode_with(9, text("a b")), wrong_type);

    let map = |entries: &[(i128, Value)]| {
        let entries = entries
            .iter()
            .map(|(key, value)| (Value::Integer(*key), value.clone()));
        Value::Map(entries.collect())
    };
    let kid = Value::Bytes([0; 8].to_vec());
    assert_eq!(
        decode_with(8, Some(map(&[(3, kid.clone())]))),
        ClaimsError::ConfirmationMethod
    );
    assert_eq!(
        decode_with(8, Some(map(&[]))),
        ClaimsError::ConfirmationMethod
    );
    assert_eq!(
        decode_with(8, Some(map(&[(1, map(&[])), (3, kid)]))),
        ClaimsError::ConfirmationMethod
    );
    let weak = map(&[
        (1, Value::Integer(1)),
        (-1, Value::Integer(6)),
        (-2, Value::Bytes([0; 32].to_vec())),
    ]);
    let refused = ClaimsError::Confirmation(CoseKeyError::Key(KeyError::Weak));
    assert_eq!(decode_with(8, Some(map(&[(1, weak)]))), refused);
}

#[test]
fn claims_are_judged_in_the_order_of_the_rfc() {
    let claims = claims(b"\x80");
    assert_eq!(claims.check(&expectation()), Ok(()));
    let refused = |change: fn(&mut Expectation<'_>)| {
        let mut expected = expectation();
        change(&mut expected);
        claims.check(&expected)
    };
    assert_eq!(
        refused(|expected| expected.iss = Id::new("as2").unwrap()),
        Err(ClaimsError::WrongIssuer)
    );
    assert_eq!(
        refused(|expected| expected.aud = "broker1/admin"),
        Err(ClaimsError::WrongAudience)
    );
    assert_eq!(
        refused(|expected| expected.now = UnixTime(1_900_003_599)),
        Ok(())
    );
    assert_eq!(
        refused(|expected| expected.now = UnixTime(1_900_003_600)),
        Err(ClaimsError::Expired)
    );
    assert_eq!(
        refused(|expected| expected.now = UnixTime(1_899_999_999)),
        Err(ClaimsError::NotYetValid)
    );
    let with_tolerance = |now| {
        claims.check(&Expectation {
            now: UnixTime(now),
            tolerance_s: 60,
            ..expectation()
        })
    };
    assert_eq!(with_tolerance(1_900_003_659), Ok(()));
    assert_eq!(with_tolerance(1_900_003_660), Err(ClaimsError::Expired));
    assert_eq!(with_tolerance(1_899_999_940), Ok(()));
    assert_eq!(with_tolerance(1_899_999_939), Err(ClaimsError::NotYetValid));
    assert_eq!(with_tolerance(u64::MAX), Err(ClaimsError::Expired));
}

#[test]
fn what_no_reader_would_take_is_not_issued() {
    let mut token = Token::new();
    let mut refused =
        |claims: &Claims<'_>| issue(claims, &mut token_key(), &mut token).unwrap_err();
    let error = refused(&Claims {
        aud: "",
        ..claims(b"\x80")
    });
    assert_eq!(error, IssueError::Claims(ClaimsError::AudienceLength));
    let error = refused(&Claims {
        exp: UnixTime(0),
        ..claims(b"\x80")
    });
    assert_eq!(error, IssueError::Claims(ClaimsError::ExpiresBeforeIssue));
    let error = refused(&claims(b""));
    assert_eq!(
        error,
        IssueError::Claims(ClaimsError::Scope(ScopeError::Cbor(CborError::EndOfInput)))
    );

    // Twelve rules with filters of 80 bytes: a good scope, but longer than a token may be.
    let filter = std::format!("\x78\x50{}", "x".repeat(80));
    let rule = [&b"\x82"[..], filter.as_bytes(), b"\x81\x63pub"].concat();
    let scope = [&[0x8c][..], &rule.repeat(12)].concat();
    assert_eq!(
        refused(&claims(&scope)),
        IssueError::Sign(SignError::Capacity)
    );
}

#[test]
fn a_token_as_long_as_can_be_is_read_again() {
    let filter = std::format!("\x78\x50{}", "x".repeat(80));
    let rule = [&b"\x82"[..], filter.as_bytes(), b"\x81\x63pub"].concat();
    let scope = [&[0x88][..], &rule.repeat(8)].concat();
    let mut token = Token::new();
    issue(&claims(&scope), &mut token_key(), &mut token).unwrap();
    let read = Untrusted::decode(&token)
        .unwrap()
        .verify(&token_key().public_key())
        .unwrap();
    assert_eq!(read.scope, scope);
}

#[test]
fn names_tokens_as_revocation_lists_do() {
    let vectors = vectors::standards();
    let token = hex(&vectors["cwt_alg_-19"]["cwt"]);
    assert_eq!(
        token_hash(&token)[..],
        hex(&vectors["ace"]["trl_token_hash"])
    );
}

proptest! {
    #[test]
    fn random_and_mutated_tokens_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let _ = Untrusted::decode(&bytes).map(|token| token.unverified_claims().is_ok());
        let _ = Claims::decode(&bytes);
        let mut payload = hex(&vectors::standards()["claims"]);
        let at = at.index(payload.len());
        payload[at] ^= flip;
        if let Ok(claims) = Claims::decode(&payload) {
            let mut again = heapless::Vec::<u8, 256>::new();
            prop_assert_eq!(claims.encode(&mut again), Ok(()));
            prop_assert_eq!(&again[..], &payload[..]);
        }
    }

    #[test]
    fn tokens_round_trip(iss in "[a-zA-Z0-9][a-zA-Z0-9._:-]{0,63}", sub in "[a-zA-Z0-9][a-zA-Z0-9._:-]{0,63}", aud in ".{1,32}", iat in 0..u64::MAX - 1, life in 1..1_000_000u64, cti: [u8; 8]) {
        let claims = Claims { iss: Id::new(&iss).unwrap(), sub: Id::new(&sub).unwrap(), aud: &aud, iat: UnixTime(iat), exp: UnixTime(iat).plus(life), cti, ..claims(b"\x80") };
        let mut token = Token::new();
        issue(&claims, &mut token_key(), &mut token).unwrap();
        let read = Untrusted::decode(&token).unwrap().verify(&token_key().public_key()).unwrap();
        prop_assert_eq!(*read, claims);
        prop_assert!(serde_cbor::from_slice::<Value>(&token).is_ok());
        prop_assert!(token.len() <= TOKEN_LEN_MAX);
    }
}
