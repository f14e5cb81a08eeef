//! Who gets a token, and that repetitions get the same.
use super::*;
use crate::telemetry::event::{Listener, Outcome as Ended};
use keygate_protocol::ace::TokenAnswer;
use keygate_protocol::coap::{
    AnswerContext, ContentFormat, Progress, Received, RequestHash, TokenTrust, TokenWanted, Trust,
    UntrustedAnswer,
};
use keygate_protocol::crypto::{PublicKey, sha256};
use keygate_protocol::cwt::Untrusted;
use keygate_protocol::scope::{Permissions, Rule, Scope};
use keygate_protocol::topic::TopicFilter;

fn token_key(world: &World) -> PublicKey {
    world.token_keys.verifying()[0].public_key
}

fn token_of(seen: &Seen) -> Vec<u8> {
    assert_eq!(seen.code, "2.01", "{seen:?}");
    let answer = TokenAnswer::decode(&seen.payload).unwrap();
    answer.access_token.to_vec()
}

#[test]
fn device_that_signs_over_a_fresh_echo_gets_a_token() {
    let mut world = World::new();
    let request = world.token_request();
    let seen = world.ask(&request.bytes());
    assert_eq!((seen.first, seen.code.as_str()), (0x60, "2.01"));
    assert_eq!(
        (seen.message_id, seen.token.as_slice()),
        (0x1234, &[1, 2, 3, 4][..])
    );
    assert_eq!(seen.content_format, Some(19));

    let token = token_of(&seen);
    let verified = Untrusted::decode(&token)
        .unwrap()
        .verify(&token_key(&world))
        .unwrap();
    let claims = verified.into_inner();
    assert_eq!(claims.iss.as_str(), BROKER);
    assert_eq!(claims.sub.as_str(), GATEWAY);
    assert_eq!(claims.aud, BROKER);
    assert_eq!(claims.iat, WALL);
    assert_eq!(claims.exp, WALL.plus(TOKEN_LIFE_S));
    assert_eq!(claims.cnf, key(1).public_key());
    let scope = claims.rights().unwrap();
    let filters: Vec<_> = scope
        .rules()
        .map(|rule| rule.filter().as_str().to_owned())
        .collect();
    assert!(
        filters.contains(&"devices/gw-1/#".to_owned()),
        "{filters:?}"
    );

    let Some(EventKind::Token {
        outcome,
        reason,
        identity,
        token_id,
        expires_at,
        origin,
        ..
    }) = seen.event
    else {
        panic!("no audit event");
    };
    assert_eq!((outcome, reason), (Ended::Accepted, None));
    assert_eq!(identity.as_deref(), Some(GATEWAY));
    let cti: String = claims
        .cti
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(token_id.as_deref(), Some(cti.as_str()));
    assert_eq!(expires_at, Some(claims.exp.0));
    assert_eq!((origin.listener, origin.peer), (Listener::Coap, peer()));
}

#[test]
fn another_decoder_reads_the_answer_and_the_token() {
    let mut world = World::new();
    let request = world.token_request();
    let seen = world.ask(&request.bytes());
    let answer: serde_cbor::Value = serde_cbor::from_slice(&seen.payload).unwrap();
    let serde_cbor::Value::Map(map) = answer else {
        panic!("no map")
    };
    let keys: Vec<_> = map.keys().cloned().collect();
    assert_eq!(keys, [1, 2, 34, 38].map(serde_cbor::Value::Integer));
    let claims: serde_cbor::Value = serde_cbor::from_slice(&token_of(&seen)).unwrap();
    assert!(matches!(claims, serde_cbor::Value::Array(parts) if parts.len() == 4));
}

#[test]
fn repeated_request_gets_the_same_answer_byte_for_byte() {
    let mut world = World::new();
    let request = world.token_request().bytes();
    let first = world.send(&request).reply;
    for ms in [1, 900, 2_000, 5_000, 20_000] {
        world.clock.advance(ms);
        assert_eq!(world.send(&request).reply, first, "after {ms} ms");
    }
}

#[test]
fn same_proof_in_another_message_gets_the_same_token() {
    let mut world = World::new();
    let request = world.token_request();
    let first = world.ask(&request.bytes());
    let again = request
        .message_id(0x4321)
        .token_bytes(&[9])
        .non_confirmable();
    let second = world.ask(&again.bytes());
    assert_eq!((second.first, second.message_id), (0x50, 0x4321));
    assert_eq!(second.token, [9]);
    assert_eq!(token_of(&second), token_of(&first));
}

#[test]
fn another_proof_gets_another_token() {
    let mut world = World::new();
    let first = world.token_request();
    world.clock.advance(1_000);
    let second = world.token_request();
    let (first, second) = (world.ask(&first.bytes()), world.ask(&second.bytes()));
    assert_ne!(token_of(&first), token_of(&second));
}

#[test]
fn promised_lifetime_is_never_longer_than_the_token() {
    let mut world = World::new();
    let request = world.token_request().bytes();
    world.clock.advance(30_000);
    let seen = world.ask(&request);
    let answer = TokenAnswer::decode(&seen.payload).unwrap();
    let end = world.clock.wall().plus(answer.expires_in_s);
    assert_eq!(end, WALL.plus(TOKEN_LIFE_S));
}

#[test]
fn suspended_device_gets_no_repetition_of_its_token() {
    let mut world = World::new();
    let request = world.token_request().bytes();
    assert_eq!(world.ask(&request).code, "2.01");
    world.transition(GATEWAY, Transition::Suspend);
    let seen = world.ask(&request);
    assert_eq!(seen.code, "4.01");
    assert_eq!(seen.reason(), Some(RefusalReason::DeviceSuspended));
    world.transition(GATEWAY, Transition::Resume);
    assert_eq!(world.ask(&request).code, "2.01");
}

#[test]
fn answer_is_signed_by_the_identity_key_if_the_device_asks_for_that() {
    let mut world = World::new();
    let request = world.token_request().with(17, &[18]);
    let seen = world.ask(&request.bytes());
    assert_eq!(
        (seen.code.as_str(), seen.content_format),
        ("2.01", Some(18))
    );
    let identity = world.identity_keys.current.public_key();
    let answer = UntrustedAnswer::decode(&seen.payload).unwrap();
    assert_eq!(answer.key_id(), identity.key_id());
    let plain = world.ask(&request.clone().without(17).bytes());
    let token = token_of(&plain);
    let cti = Untrusted::decode(&token)
        .unwrap()
        .unverified_claims()
        .unwrap()
        .cti;
    // The hash is what the device computed when it signed; here it is found by the token's id.
    let hash = hash_of(&request);
    assert_eq!(cti, hash.cti());
    let context = AnswerContext {
        broker_id: Id::new(BROKER).unwrap(),
        code: Code::CREATED,
        request: hash,
    };
    assert_eq!(answer.verify(&identity, &context), Ok(&plain.payload[..]));
    // Repeated, it is the same again: Ed25519 signs deterministically.
    assert_eq!(world.ask(&request.bytes()).payload, seen.payload);
}

/// The request hash, from the request's own bytes.
fn hash_of(request: &Ask) -> RequestHash {
    let echo = &request
        .options
        .iter()
        .find(|(number, _)| *number == 252)
        .unwrap()
        .1;
    let body = keygate_protocol::cose::Sign1::decode_untagged(&request.payload).unwrap();
    let mut aad = Bytes::default();
    let mut writer = keygate_protocol::cbor::Writer::new(&mut aad);
    writer.array(5).unwrap();
    writer.text("keygate coap request v1").unwrap();
    writer.text(BROKER).unwrap();
    writer.bytes(echo).unwrap();
    writer.uint(2).unwrap();
    writer.array(1).unwrap();
    writer.text("token").unwrap();
    let signed = body.to_be_signed(&aad.0).unwrap();
    RequestHash::from_bytes(sha256(&[signed.as_bytes()]))
}

#[test]
fn narrower_scope_is_granted_as_asked() {
    let mut world = World::new();
    let echo = world.echo();
    let filter = TopicFilter::new("devices/gw-1/reported").unwrap();
    let mut scope = Bytes::default();
    Scope::encode(
        &[Rule::new(filter, Permissions::Publish).unwrap()],
        &mut scope,
    )
    .unwrap();
    let scope = Scope::decode(&scope.0).unwrap();
    let payload = encoded(&TokenRequest {
        req_cnf: None,
        audience: Some(BROKER),
        scope: Some(scope),
        client_id: Id::new(GATEWAY).unwrap(),
        grant_type: None,
    });
    let seen = world.ask(&Ask::token(&echo, &key(1), &payload).bytes());
    let token = token_of(&seen);
    assert_eq!(TokenAnswer::decode(&seen.payload).unwrap().scope, None);
    let claims = Untrusted::decode(&token)
        .unwrap()
        .verify(&token_key(&world))
        .unwrap()
        .into_inner();
    assert_eq!(claims.scope, scope.as_bytes());
}

#[test]
fn wider_scope_is_narrowed_and_told() {
    let mut world = World::new();
    let echo = world.echo();
    let filter = TopicFilter::new("devices/#").unwrap();
    let mut scope = Bytes::default();
    Scope::encode(
        &[Rule::new(filter, Permissions::Subscribe).unwrap()],
        &mut scope,
    )
    .unwrap();
    let payload = encoded(&TokenRequest {
        req_cnf: None,
        audience: None,
        scope: Some(Scope::decode(&scope.0).unwrap()),
        client_id: Id::new(GATEWAY).unwrap(),
        grant_type: None,
    });
    let seen = world.ask(&Ask::token(&echo, &key(1), &payload).bytes());
    let answer = TokenAnswer::decode(&seen.payload).unwrap();
    let told: Vec<_> = answer
        .scope
        .unwrap()
        .rules()
        .map(|rule| rule.filter().as_str().to_owned())
        .collect();
    assert_eq!(told, ["devices/gw-1/#"]);
}

#[test]
fn devices_half_of_the_exchange_takes_the_token() {
    for signed in [false, true] {
        let mut world = World::new();
        let mut signer = key(1);
        let identity = [world.identity_keys.current.public_key()];
        let wanted = TokenWanted {
            broker_id: Id::new(BROKER).unwrap(),
            audience: None,
            device: Id::new(GATEWAY).unwrap(),
            holder: signer.public_key(),
            scope: None,
        };
        let mut payload = Bytes::default();
        wanted.encode_request(&mut payload).unwrap();
        let trust = if signed {
            Trust::Signed(&identity)
        } else {
            Trust::Content
        };
        let waiting = wanted.exchange(&payload.0, trust).unwrap().start();

        let challenge = world.ask(&Ask::post("token").bytes());
        let mut body = Bytes::default();
        let resend = waiting
            .receive(&received(&challenge), &mut signer, &mut body)
            .unwrap();
        let mut request = Ask::post("token")
            .with(12, &[18])
            .with(252, resend.echo.as_bytes())
            .payload(&body.0);
        if signed {
            request = request.with(17, &[18]);
        }
        let answer = world.ask(&request.bytes());
        let answer = received(&answer);
        let Progress::Done(reply) = resend
            .next
            .receive(&answer, &mut signer, &mut body)
            .unwrap()
        else {
            panic!("a 2.01 ends the exchange");
        };
        let trusted = [token_key(&world)];
        let trust = match signed {
            true => TokenTrust::SignedAnswer,
            false => TokenTrust::TokenKeys(&trusted),
        };
        let granted = wanted.accept(&reply, trust).unwrap();
        assert_eq!(granted.claims.iat, WALL);
    }
}

fn received(seen: &Seen) -> Received<'_> {
    let (class, detail) = seen.code.split_once('.').unwrap();
    let code = class.parse::<u8>().unwrap() << 5 | detail.parse::<u8>().unwrap();
    Received {
        code: Code(code),
        echo: seen.echo.as_deref(),
        content_format: seen.content_format.map(ContentFormat),
        max_age_s: seen.max_age,
        payload: &seen.payload,
    }
}
