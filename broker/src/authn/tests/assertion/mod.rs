//! What is accepted, and how the parts are made. What is refused is in the files below.
mod form;
mod freshness;
mod who;

use super::*;
use keygate_protocol::assertion::{Assertion, Freshness};
use keygate_protocol::ident::Id;

const HEADER: &str = r#"{"alg":"Ed25519","typ":"keygate-login+jwt"}"#;

/// What the device side makes: dev-1, key 1.
pub(super) fn with_challenge(challenge: &str) -> String {
    made(Freshness::Challenge(challenge))
}

fn with_times(iat: u64, exp: u64, jti: &str) -> String {
    made(Freshness::Times {
        issued_at: UnixTime(iat),
        expires_at: UnixTime(exp),
        jti,
    })
}

fn made(freshness: Freshness<'_>) -> String {
    let assertion = Assertion {
        id: Id::new("dev-1").unwrap(),
        broker_id: Id::new(BROKER).unwrap(),
        client_id: None,
        freshness,
    };
    assertion.sign(&mut key(1)).unwrap().as_str().into()
}

/// dev-1's claims with times around now, changed by replacing a part of the text.
fn claims(from: &str, to: &str) -> String {
    let claims = format!(
        r#"{{"iss":"dev-1","sub":"dev-1","aud":"{BROKER}","iat":{},"exp":{},"jti":"n-1"}}"#,
        WALL.0,
        WALL.0 + 300
    );
    assert!(claims.contains(from), "{from}");
    claims.replacen(from, to, 1)
}

fn login(house: &mut House, id: &str, password: &str) -> Result<Accepted, Refusal> {
    house.decide(&with_password(id, password), &ListenerRules::loopback())
}

fn remembered(house: &House) -> (usize, usize) {
    house.authn.spent.lock().unwrap().len()
}

/// A login of dev-1 by this header and these claims, signed by its key.
fn log_in_with(house: &mut House, header: &str, claims: &str) -> Result<Accepted, Refusal> {
    login(house, "dev-1", &jws(header, claims, &mut key(1)))
}

/// Each of these claims is refused for this reason.
fn all_refused(table: &[(&str, String, RefusalReason)]) {
    let mut house = house();
    for (what, claims, reason) in table {
        let answer = log_in_with(&mut house, HEADER, claims);
        assert_refused(answer, *reason, Some("dev-1"), what);
    }
    assert_eq!(remembered(&house), (0, 0));
}

#[test]
fn an_assertion_with_a_challenge_opens_a_session() {
    let mut house = house();
    let challenge = house.challenge_text();
    let accepted = login(&mut house, "dev-1", &with_challenge(&challenge)).unwrap();
    assert_eq!(accepted.principal.id(), "dev-1");
    assert_eq!(accepted.principal.key_id, Some(public(1).key_id()));
    assert_eq!(accepted.principal.method, Method::Assertion);
    assert_eq!(accepted.principal.expires_at, None);
    assert_eq!(
        accepted.principal.revision,
        house.registry.directory().revision()
    );
    assert_eq!(&*accepted.client_id, "dev-1");
    assert!(accepted.auth_data.is_none());
}

#[test]
fn an_assertion_with_times_opens_a_session() {
    let mut house = house();
    let password = with_times(WALL.0, WALL.0 + 300, "n-1");
    assert!(login(&mut house, "dev-1", &password).is_ok());
    // Without a user name too, in MQTT 5.
    let mut connect = Connect::new(Version::V5, "dev-1");
    connect.password = Some(password.as_bytes());
    assert!(house.decide(&connect, &ListenerRules::loopback()).is_ok());
}

#[test]
fn the_old_algorithm_name_the_alias_and_the_kid_are_taken() {
    let mut house = house();
    let kid = format!(
        r#"{{"kid":"{}","typ":"keygate-login+jwt","alg":"EdDSA"}}"#,
        public(1).key_id()
    );
    for (header, claims) in [
        (HEADER.replace("Ed25519", "EdDSA"), claims("n-1", "n-1")),
        (HEADER.into(), claims(BROKER, "kg-old")),
        (kid, claims("n-1", "n-1")),
        (
            HEADER.into(),
            claims(r#""jti""#, r#""client_id":"dev-1","jti""#),
        ),
        (
            HEADER.into(),
            claims(r#""jti""#, r#""unknown":{"a":[1,2]},"jti""#),
        ),
    ] {
        let password = jws(&header, &claims, &mut key(1));
        assert!(
            login(&mut house, "dev-1", &password).is_ok(),
            "{header} {claims}"
        );
    }
}

#[test]
fn a_session_ends_with_its_key_or_with_the_longest_session() {
    let mut house = house_with(|config| config.session_max_s = Some(50));
    let accepted = login(&mut house, "dev-ends", &who::as_device("dev-ends", 9)).unwrap();
    assert_eq!(accepted.principal.expires_at, Some(WALL.plus(50)));
    assert!(!accepted.principal.is_expired(WALL.plus(49)));
    assert!(accepted.principal.is_expired(WALL.plus(50)));

    let mut house = super::house();
    let accepted = login(&mut house, "dev-ends", &who::as_device("dev-ends", 9)).unwrap();
    assert_eq!(accepted.principal.expires_at, Some(WALL.plus(100)));
}

/// SPEC.md §6.7, made with another Ed25519 and another JSON.
#[test]
fn the_example_of_the_specification_is_understood() {
    let password = concat!(
        "eyJhbGciOiJFZDI1NTE5IiwidHlwIjoia2V5Z2F0ZS1sb2dpbitqd3QiLCJraWQiOiI4NjZlZWZiZDY3MThjODg0In0.",
        "eyJpc3MiOiJkZXYxIiwic3ViIjoiZGV2MSIsImF1ZCI6ImtnLTdmM2E5YyIsImNsaWVudF9pZCI6ImRldjEiLCJpYXQiOjE5MDAwMDAwMDAsImV4cCI6MTkw",
        "MDAwMDMwMCwianRpIjoibi0wMDAxIn0.",
        "_dyYytHBnEhGKfoKsfgaA4GbgpG9433HgN0fOov7YOR7FOLhBYU8Ox04_SJXnbVxeLzc58-2gEv_FOiIN5_XDw",
    );
    let mut house = house();
    // RFC 8032 TEST 1.
    let public = crate::identity::parse_public_key(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    );
    house
        .registry
        .add(&NewDevice::new("dev1", public.unwrap()))
        .unwrap();
    assert!(login(&mut house, "dev1", password).is_ok());
}
