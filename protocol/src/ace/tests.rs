use super::*;
use crate::cbor::{CborError, Reader, Writer};
use crate::cose::key::CoseKeyError;
use crate::crypto::{KeyError, PublicKey, Signer as _, SoftwareSigner};
use crate::ident::{Id, IdError};
use crate::scope::{Scope, ScopeError};
use crate::sink::CapacityError;
use crate::vectors::{self, hex};
use proptest::prelude::*;
use serde_cbor::Value;

type Message = heapless::Vec<u8, 512>;

fn device() -> PublicKey {
    SoftwareSigner::from_seed(&vectors::DEVICE_SEED).public_key()
}

fn encode(request: &TokenRequest<'_>) -> Message {
    let mut out = Message::new();
    request.encode(&mut out).unwrap();
    out
}

fn request<'a>() -> TokenRequest<'a> {
    TokenRequest {
        req_cnf: None,
        audience: None,
        scope: None,
        client_id: Id::new("dev1").unwrap(),
        grant_type: None,
    }
}

/// Same items, same lengths: an independent decoder saw what we meant.
fn reread(bytes: &[u8]) -> Value {
    let value: Value = serde_cbor::from_slice(bytes).unwrap();
    assert_eq!(serde_cbor::to_vec(&value).unwrap(), bytes);
    value
}

#[test]
fn requests_are_those_of_the_vectors() {
    let vectors = vectors::standards();
    let scope = hex(&vectors["aif_mqtt"]);
    let full = TokenRequest {
        req_cnf: Some(RequestedKey::Key(device())),
        audience: Some("broker1"),
        scope: Some(Scope::decode(&scope).unwrap()),
        grant_type: Some(GrantType::ClientCredentials),
        ..request()
    };
    let bytes = encode(&full);
    assert_eq!(bytes[..], hex(&vectors["ace"]["token_request"]));
    assert_eq!(TokenRequest::decode(&bytes), Ok(full));
    let Value::Map(map) = reread(&bytes) else {
        panic!("map")
    };
    assert_eq!(map[&Value::Integer(24)], Value::Text("dev1".into()));

    let short = TokenRequest {
        audience: Some("broker1"),
        ..request()
    };
    assert_eq!(
        encode(&short)[..],
        hex(&vectors["signed_token_request"]["payload"])
    );
    let ours = TokenRequest {
        audience: Some("kg-7f3a9c"),
        grant_type: Some(GrantType::ClientCredentials),
        ..request()
    };
    assert_eq!(
        encode(&ours)[..],
        hex(&vectors::keygate()["signed_coap_request"]["payload"])
    );
}

#[test]
fn errors_are_those_of_the_vectors() {
    let ace = &vectors::standards()["ace"];
    let cases = [
        (
            ErrorAnswer {
                error: ErrorCode::InvalidClient,
                description: None,
            },
            "err_invalid_client",
        ),
        (
            ErrorAnswer {
                error: ErrorCode::InvalidScope,
                description: Some("no such topic"),
            },
            "err_invalid_scope_text",
        ),
    ];
    for (answer, name) in cases {
        let mut out = Message::new();
        answer.encode(&mut out).unwrap();
        assert_eq!(out[..], hex(&ace[name]), "{name}");
        assert_eq!(ErrorAnswer::decode(&out), Ok(answer));
        reread(&out);
    }
}

#[test]
fn the_hints_of_the_rfc_are_deterministic_cbor() {
    // We send no hints yet; the example checks reader and writer.
    let expected = hex(&vectors::standards()["ace"]["as_hints_rfc9200"]);
    let mut reader = Reader::new(&expected);
    assert_eq!(reader.skip(), Ok(()));
    assert_eq!(reader.finish(), Ok(()));
    let mut out = Message::new();
    let mut writer = Writer::new(&mut out);
    writer.map(4).unwrap();
    for (key, text) in [
        (1, "coaps://as.example.com/token"),
        (5, "coaps://rs.example.com"),
        (9, "rTempC"),
    ] {
        writer.int(key).unwrap();
        writer.text(text).unwrap();
    }
    writer.int(39).unwrap();
    writer.bytes(b"\xe0\xa1\x56\xbb\x3f").unwrap();
    assert_eq!(out[..], expected);
}

#[test]
fn each_rule_of_a_request_has_its_error() {
    let weak = [
        b"\xa2\x04\xa1\x01\xa3\x01\x01\x20\x06\x21\x58\x20",
        &[0; 32][..],
        b"\x18\x18\x64dev1",
    ]
    .concat();
    let cases: &[(&[u8], AceError, ErrorCode)] = &[
        (
            b"",
            AceError::Cbor(CborError::EndOfInput),
            ErrorCode::InvalidRequest,
        ),
        (b"\xa0", AceError::Missing, ErrorCode::InvalidRequest),
        (
            b"\xa1\x18\x18\x60",
            AceError::ClientId(IdError::Empty),
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa1\x18\x18\x63a/b",
            AceError::ClientId(IdError::BadCharacter),
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa1\x18\x18\x01",
            AceError::Cbor(CborError::UnexpectedType),
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa2\x05\x60\x18\x18\x64dev1",
            AceError::AudienceLength,
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa2\x18\x18\x64dev1\x18\x21\x00",
            AceError::UnsupportedGrant,
            ErrorCode::UnsupportedGrantType,
        ),
        (
            b"\xa2\x18\x18\x64dev1\x18\x21\x20",
            AceError::Cbor(CborError::UnexpectedType),
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa2\x09\x61a\x18\x18\x64dev1",
            AceError::ScopeIsText,
            ErrorCode::InvalidScope,
        ),
        (
            b"\xa2\x09\x41\xa0\x18\x18\x64dev1",
            AceError::Scope(ScopeError::Cbor(CborError::UnexpectedType)),
            ErrorCode::InvalidScope,
        ),
        (
            b"\xa2\x04\xa0\x18\x18\x64dev1",
            AceError::RequestedKeyMethod,
            ErrorCode::UnsupportedPopKey,
        ),
        (
            b"\xa2\x04\xa1\x02\x01\x18\x18\x64dev1",
            AceError::RequestedKeyMethod,
            ErrorCode::UnsupportedPopKey,
        ),
        (
            b"\xa2\x04\xa1\x03\x42ab\x18\x18\x64dev1",
            AceError::RequestedKeyMethod,
            ErrorCode::UnsupportedPopKey,
        ),
        (
            b"\xa2\x04\xa1\x01\xa1\x01\x04\x18\x18\x64dev1",
            AceError::RequestedKey(CoseKeyError::UnsupportedType),
            ErrorCode::UnsupportedPopKey,
        ),
        (
            &weak,
            AceError::RequestedKey(CoseKeyError::Key(KeyError::Weak)),
            ErrorCode::UnsupportedPopKey,
        ),
        (
            b"\xa2\x18\x18\x64dev1\x18\x26\xf6",
            AceError::UnknownParameter,
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa2\x18\x18\x64dev1\x69client_id\x61a",
            AceError::UnknownParameter,
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa1\x69client_id\x64dev1",
            AceError::UnknownParameter,
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa2\x18\x18\x64dev1\x05\x61a",
            AceError::Cbor(CborError::UnsortedKeys),
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa2\x18\x18\x64dev1\x18\x18\x64dev2",
            AceError::Cbor(CborError::DuplicateKey),
            ErrorCode::InvalidRequest,
        ),
        (
            b"\xa1\x18\x18\x64dev1\x00",
            AceError::Cbor(CborError::TrailingBytes),
            ErrorCode::InvalidRequest,
        ),
    ];
    for (bytes, error, code) in cases {
        assert_eq!(TokenRequest::decode(bytes), Err(*error), "{bytes:02x?}");
        assert_eq!(error.code(), *code);
    }
}

#[test]
fn a_requested_key_is_named_by_value_or_id() {
    let other = SoftwareSigner::from_seed(&vectors::BROKER_SEED);
    for requested in [
        RequestedKey::Key(device()),
        RequestedKey::Kid(device().key_id()),
    ] {
        let asked = TokenRequest {
            req_cnf: Some(requested),
            ..request()
        };
        let bytes = encode(&asked);
        assert_eq!(TokenRequest::decode(&bytes), Ok(asked));
        reread(&bytes);
        assert!(requested.is(&device()));
        assert!(!requested.is(&other.public_key()));
    }
    assert!(RequestedKey::Kid(other.key_id()).is(&other.public_key()));
}

#[test]
fn a_token_answer_round_trips_and_is_strict() {
    let plain = TokenAnswer {
        access_token: b"token",
        expires_in_s: 3600,
        scope: None,
    };
    let mut out = Message::new();
    plain.encode(&mut out).unwrap();
    assert_eq!(
        out[..],
        *b"\xa4\x01\x45token\x02\x19\x0e\x10\x18\x22\x02\x18\x26\x03"
    );
    assert_eq!(TokenAnswer::decode(&out), Ok(plain));
    reread(&out);
    let narrowed = TokenAnswer {
        scope: Some(Scope::decode(b"\x80").unwrap()),
        ..plain
    };
    let mut out = Message::new();
    narrowed.encode(&mut out).unwrap();
    assert_eq!(TokenAnswer::decode(&out), Ok(narrowed));
    reread(&out);

    let cases: &[(&[u8], AceError)] = &[
        (b"\xa3\x01\x41t\x02\x01\x18\x22\x02", AceError::Missing),
        (b"\xa3\x01\x41t\x02\x01\x18\x26\x03", AceError::Missing),
        (b"\xa3\x02\x01\x18\x22\x02\x18\x26\x03", AceError::Missing),
        (b"\xa3\x01\x41t\x18\x22\x02\x18\x26\x03", AceError::Missing),
        (
            b"\xa4\x01\x41t\x02\x01\x18\x22\x01\x18\x26\x03",
            AceError::TokenType,
        ),
        (
            b"\xa4\x01\x41t\x02\x01\x18\x22\x02\x18\x26\x01",
            AceError::Profile,
        ),
        (
            b"\xa4\x01\x61t\x02\x01\x18\x22\x02\x18\x26\x03",
            AceError::Cbor(CborError::UnexpectedType),
        ),
        (
            b"\xa5\x01\x41t\x02\x01\x18\x22\x02\x18\x26\x03\x61a\x01",
            AceError::UnknownParameter,
        ),
    ];
    // A broker of a later version may send more, say `cnf` (8).
    let more = b"\xa5\x01\x45token\x02\x19\x0e\x10\x08\xa0\x18\x22\x02\x18\x26\x03";
    assert_eq!(TokenAnswer::decode(more), Ok(plain));
    for (bytes, error) in cases {
        assert_eq!(TokenAnswer::decode(bytes), Err(*error), "{bytes:02x?}");
    }
}

#[test]
fn an_error_answer_is_strict() {
    assert_eq!(ErrorAnswer::decode(b"\xa0"), Err(AceError::Missing));
    assert_eq!(
        ErrorAnswer::decode(b"\xa1\x18\x1e\x00"),
        Err(AceError::UnknownErrorCode)
    );
    assert_eq!(
        ErrorAnswer::decode(b"\xa1\x18\x1e\x09"),
        Err(AceError::UnknownErrorCode)
    );
    assert_eq!(
        ErrorAnswer::decode(b"\xa1\x65error\x02"),
        Err(AceError::UnknownParameter)
    );
    let long = "x".repeat(DESCRIPTION_LEN_MAX + 1);
    let answer = ErrorAnswer {
        error: ErrorCode::InvalidGrant,
        description: Some(&long),
    };
    assert_eq!(answer.encode(&mut Message::new()), Err(CapacityError));
    let bytes = [b"\xa2\x18\x1e\x03\x18\x1f\x78\x61", long.as_bytes()].concat();
    assert_eq!(
        ErrorAnswer::decode(&bytes),
        Err(AceError::DescriptionLength)
    );
    for number in 1..=8 {
        let code = ErrorCode::from_number(number).unwrap();
        assert_eq!(code.number(), number);
    }
}

proptest! {
    #[test]
    fn random_and_mutated_maps_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let _ = (TokenRequest::decode(&bytes), TokenAnswer::decode(&bytes), ErrorAnswer::decode(&bytes));
        let mut mutated = hex(&vectors::standards()["ace"]["token_request"]);
        let at = at.index(mutated.len());
        mutated[at] ^= flip;
        if let Ok(request) = TokenRequest::decode(&mutated) {
            prop_assert_eq!(&encode(&request)[..], &mutated[..]);
        }
    }
}
