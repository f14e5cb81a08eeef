//! | tests | of |
//! |---|---|
//! | [`driver`] | the device's half, state by state |
//! | [`parts`] | paths, Echo values, codes, the answer of `/challenge` |
//! | [`signatures`] | requests and answers, byte for byte and bit for bit |
//! | [`tokens`] | the judgement of a token |
use super::*;
use crate::ace::{AceError, ErrorAnswer, ErrorCode, TokenAnswer, TokenRequest};
use crate::cbor::CborError;
use crate::cose::{CoseError, SignError, ToBeSigned, sign1};
use crate::crypto::{PublicKey, Signer as _, SoftwareSigner};
use crate::cwt::{self, Claims, CwtError};
use crate::ident::{Id, IdError};
use crate::scope::Scope;
use crate::time::UnixTime;
use crate::vectors::{self, hex};
use proptest::prelude::*;
use serde_cbor::Value;
use std::vec::Vec;

mod driver;
mod parts;
mod signatures;
mod tokens;

type Body = heapless::Vec<u8, BODY_LEN_MAX>;

const ECHO: [u8; 12] = [
    0x71, 0x40, 0, 0, 0x11, 0x22, 0x33, 0x44, 0xaa, 0xbb, 0xcc, 0xdd,
];

fn device() -> SoftwareSigner {
    SoftwareSigner::from_seed(&vectors::DEVICE_SEED)
}

fn broker() -> SoftwareSigner {
    SoftwareSigner::from_seed(&vectors::BROKER_SEED)
}

fn broker_id() -> Id<'static> {
    Id::new("kg-7f3a9c").unwrap()
}

fn token_path() -> Path<'static> {
    Path::new(["token"]).unwrap()
}

fn context<'a>(path: &'a Path<'a>) -> RequestContext<'a> {
    RequestContext {
        broker_id: broker_id(),
        echo: Echo::new(&ECHO).unwrap(),
        code: Code::POST,
        path,
    }
}

fn signed(payload: &[u8]) -> (Body, RequestHash) {
    let path = token_path();
    let mut body = Body::new();
    let hash = sign_request(&context(&path), payload, &mut device(), &mut body).unwrap();
    (body, hash)
}

fn payload() -> Vec<u8> {
    hex(&vectors::keygate()["signed_coap_request"]["payload"])
}

/// An independent decoder reads the same items from the same number of bytes.
fn reread(bytes: &[u8]) -> Value {
    let value: Value = serde_cbor::from_slice(bytes).unwrap();
    assert_eq!(serde_cbor::to_vec(&value).unwrap(), bytes);
    value
}

proptest! {
    #[test]
    fn random_bodies_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (UntrustedRequest::decode(&bytes), UntrustedAnswer::decode(&bytes), ChallengeAnswer::decode(&bytes));
        let received = Received { echo: Some(&bytes), content_format: Some(ContentFormat::ACE), payload: &bytes, ..Received::empty(Code(bytes.first().copied().unwrap_or(0x41))) };
        let exchange = Exchange { broker_id: broker_id(), code: Code::POST, path: token_path(), payload: b"payload", trust: Trust::Content };
        let _ = exchange.start().receive(&received, &mut device(), &mut Body::new());
        let reply = Reply { code: Code::CREATED, payload: &bytes, signed: true, request: RequestHash::from_bytes([0; 32]) };
        let _ = tokens::wanted().accept(&reply, TokenTrust::SignedAnswer);
    }

    #[test]
    fn a_mutated_request_never_verifies(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let (mut body, _) = signed(&payload());
        let at = at.index(body.len());
        body[at] ^= flip;
        let path = token_path();
        if let Ok(request) = UntrustedRequest::decode(&body) {
            prop_assert!(request.verify(&device().public_key(), &context(&path)).is_err());
        }
    }

    #[test]
    fn requests_round_trip(payload in proptest::collection::vec(any::<u8>(), 0..SIGNED_PAYLOAD_LEN_MAX), echo in proptest::collection::vec(any::<u8>(), 1..=ECHO_LEN_MAX), segments in proptest::collection::vec("[a-z0-9é]{1,15}", 0..=PATH_SEGMENTS_MAX), code: u8) {
        let path = Path::new(segments.iter().map(std::string::String::as_str)).unwrap();
        let context = RequestContext { broker_id: broker_id(), echo: Echo::new(&echo).unwrap(), code: Code(code), path: &path };
        let mut body = Body::new();
        let hash = sign_request(&context, &payload, &mut device(), &mut body).unwrap();
        let verified = UntrustedRequest::decode(&body).unwrap().verify(&device().public_key(), &context).unwrap();
        prop_assert_eq!(verified.payload(), &payload[..]);
        prop_assert_eq!(verified.hash(), hash);
        prop_assert!(serde_cbor::from_slice::<Value>(&body).is_ok());
        prop_assert!(body.len() <= BODY_LEN_MAX);
    }
}
