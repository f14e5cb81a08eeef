//! The CoAP door (SPEC.md §8).
use keygate_protocol::coap::{ChallengeAnswer, Code};
use keygate_protocol::cwt::Untrusted;
use keygate_tests::broker::Broker;
use keygate_tests::coap::Coap;
use keygate_tests::device::{Device, wall};

const NOT_FOUND: u8 = 0x84;
const METHOD_NOT_ALLOWED: u8 = 0x85;

/// RFC 6690, SPEC.md §8.1.
#[test]
fn discovery_lists_the_resources() {
    let broker = Broker::start();
    let reply = Coap::to(&broker).get(&[".well-known", "core"]);
    assert_eq!(reply.code, Code::CONTENT.0);
    let links = String::from_utf8(reply.payload).unwrap();
    for resource in ["</challenge>", "</keys>", "</token>"] {
        assert!(links.contains(resource), "{links}");
    }
}

/// SPEC.md §8.2.
#[test]
fn a_challenge_names_the_broker_and_the_time() {
    let broker = Broker::start();
    let before = wall();
    let reply = Coap::to(&broker).get(&["challenge"]);
    assert_eq!(reply.code, Code::CONTENT.0);
    let challenge = ChallengeAnswer::decode(&reply.payload).unwrap();
    assert_eq!(challenge.broker_id.as_str(), broker.broker_id);
    assert!((before..=wall()).contains(&challenge.time.0));
    assert!(challenge.cnonce.len() <= 43);
}

/// SPEC.md §9: at most 210 bytes for a device with two topic rules, and the claims that it names.
#[test]
fn a_token_is_short_and_bound_to_the_key() {
    let broker = Broker::start();
    let gateway = Device::new("gw-1").in_group("g1");
    broker.enrol([&gateway]);
    let token = Coap::to(&broker).ask_for_token(&gateway).token();
    println!("{} bytes", token.len());
    assert!(token.len() <= 300, "{} bytes", token.len());
    let claims = Untrusted::decode(&token)
        .unwrap()
        .unverified_claims()
        .unwrap();
    assert_eq!(claims.iss.as_str(), broker.broker_id);
    assert_eq!(claims.aud, broker.broker_id);
    assert_eq!(claims.sub.as_str(), "gw-1");
    assert_eq!(claims.cnf, gateway.public_key());
    assert!(claims.exp.0 > wall());
}

/// SPEC.md §8.8.
#[test]
fn what_is_not_there_is_not_found() {
    let broker = Broker::start();
    let mut client = Coap::to(&broker);
    assert_eq!(client.get(&["nothing"]).code, NOT_FOUND);
    assert_eq!(client.get(&["token"]).code, METHOD_NOT_ALLOWED);
}
