//! Options, methods and paths; discovery, challenge and keys.
use super::*;
use crate::authn::ChallengeState;
use keygate_protocol::coap::ChallengeAnswer;

#[test]
fn wrong_forms_have_their_codes_and_no_event() {
    let mut world = World::new();
    for (request, code) in [
        (Ask::get("token").with(1, b"etag"), "4.02"),
        (Ask::get("keys").with(5, b""), "4.02"),
        (Ask::get("keys").with(9, b"oscore"), "4.02"),
        (Ask::get("keys").with(65001, b""), "4.02"),
        (Ask::get("keys").with(17, b"").with(17, b""), "4.02"),
        (Ask::get("keys").with(15, b"a=b"), "4.02"),
        (Ask::post("token").with(15, b""), "4.02"),
        (Ask::get("keys").with(23, &[0x16]), "4.02"), // Block2, number 1
        (Ask::get("keys").with(23, &[0x00]), "4.02"), // Block2, blocks of 16 bytes
        (Ask::get("keys").with(35, b"coap://example.com/"), "5.05"),
        (Ask::get("keys").with(39, b"coap"), "5.05"),
        (Ask::get("nothing"), "4.04"),
        (Ask::new(1, &[]), "4.04"),
        (Ask::new(1, &["keys", ""]), "4.04"),
        (Ask::new(1, &["", "keys"]), "4.04"),
        (Ask::new(1, &["Keys"]), "4.04"),
        (Ask::new(1, &[".well-known"]), "4.04"),
        (Ask::new(1, &[".well-known", "core", "x"]), "4.04"),
        (Ask::get("token"), "4.05"),
        (Ask::post("keys"), "4.05"),
        (Ask::post("challenge"), "4.05"),
        (Ask::new(3, &["token"]), "4.05"),
        (Ask::new(4, &["keys"]), "4.05"),
        (Ask::new(5, &["keys"]), "4.05"),
        (Ask::new(31, &["keys"]), "4.05"),
        (Ask::get("keys").with(17, &[60]), "4.06"),
        (Ask::get("challenge").with(17, &[50]), "4.06"),
        (Ask::post("token").with(17, &[61]), "4.06"),
        (Ask::new(1, &[".well-known", "core"]).with(17, b""), "4.06"),
        (Ask::post("token").with(27, &[0x1e]), "4.13"), // Block1, number 1
        (Ask::post("token").with(27, &[0x0e]), "4.13"), // Block1, more to come
        (Ask::post("token").payload(&[0; 1025]), "4.13"),
        (Ask::post("token").payload(&[0; 2000]), "4.13"),
        (Ask::post("token").with(27, &[0x07]), "4.00"),
        (Ask::get("keys").with(23, &[0x07]), "4.00"),
    ] {
        let seen = world.ask(&request.bytes());
        assert_eq!(
            (seen.code.as_str(), &seen.event),
            (code, &None),
            "{request:?}"
        );
        assert_eq!(
            (seen.message_id, &seen.token),
            (request.message_id, &request.token)
        );
        let size1 = (code == "4.13").then_some(1024);
        assert_eq!((seen.size1, seen.payload.len()), (size1, 0), "{request:?}");
    }
}

#[test]
fn options_that_ask_for_nothing_new_change_nothing() {
    let mut world = World::new();
    let plain = world.ask(&Ask::get("keys").bytes());
    assert_eq!(plain.code, "2.05");
    for request in [
        Ask::get("keys").with(3, b"broker.example"),
        Ask::get("keys").with(7, &[0x16, 0x33]),
        Ask::get("keys").with(6, b""), // Observe: register
        Ask::get("keys").with(4, b"etag"),
        Ask::get("keys").with(17, &[102]),
        Ask::get("keys").with(23, &[0x06]), // Block2 0/0/1024
        Ask::get("keys").with(27, &[0x06]), // Block1 0/0/1024
        Ask::get("keys").with(258, &[2]),   // No-Response
        Ask::get("keys").with(292, &[1]),   // Request-Tag
        Ask::get("keys").with(252, b"foreign"),
    ] {
        assert_eq!(world.ask(&request.bytes()), plain, "{request:?}");
    }
}

#[test]
fn non_confirmable_request_with_an_unknown_critical_option_is_silence() {
    let mut world = World::new();
    let request = Ask::get("keys").with(9, b"").non_confirmable().bytes();
    assert!(world.send(&request).reply.is_none());
}

#[test]
fn ping_is_answered_and_strays_are_not() {
    let mut world = World::new();
    let ping = world.send(&[0x40, 0x00, 0xab, 0xcd]);
    assert_eq!(ping.reply, Some(vec![0x70, 0x00, 0xab, 0xcd]));
    for stray in [
        &[0x60, 0x00, 1, 2][..],
        &[0x70, 0x00, 1, 2],
        &[0x50, 0x45, 1, 2],
        b"hello",
        b"",
    ] {
        assert!(world.send(stray).reply.is_none(), "{stray:02x?}");
    }
    // Our own reply, reflected to us, ends there.
    let reply = world.send(&Ask::get("keys").bytes()).reply.unwrap();
    assert!(world.send(&reply).reply.is_none());
    let reply = world
        .send(&Ask::get("keys").non_confirmable().bytes())
        .reply
        .unwrap();
    assert!(world.send(&reply).reply.is_none());
}

#[test]
fn discovery_lists_the_resources() {
    let mut world = World::new();
    let core = Ask::new(1, &[".well-known", "core"]);
    let seen = world.ask(&core.bytes());
    assert_eq!(
        (seen.code.as_str(), seen.content_format),
        ("2.05", Some(40))
    );
    let text = String::from_utf8(seen.payload).unwrap();
    assert_eq!(text.matches("</").count(), 3);
    let seen = world.ask(&core.clone().with(15, b"rt=kg.token").bytes());
    assert_eq!(seen.payload, b"</token>;rt=\"kg.token\";ct=\"18 19\"");
    let seen = world.ask(&core.with(15, b"href=/nothing").bytes());
    assert_eq!((seen.code.as_str(), seen.payload.len()), ("2.05", 0));
}

#[test]
fn challenge_says_who_when_and_gives_a_nonce_that_counts() {
    let mut world = World::new();
    let first = world.ask(&Ask::get("challenge").bytes());
    assert_eq!(
        (first.code.as_str(), first.content_format),
        ("2.05", Some(60))
    );
    assert_eq!((first.max_age, &first.event), (Some(0), &None));
    let answer = ChallengeAnswer::decode(&first.payload).unwrap();
    assert_eq!((answer.broker_id.as_str(), answer.time), (BROKER, WALL));
    let state = world.challenges.check(answer.cnonce, world.clock.now());
    assert_eq!(state, ChallengeState::Fresh);
    let second = world.ask(&Ask::get("challenge").bytes());
    assert_ne!(second.payload, first.payload);
    let map: serde_cbor::Value = serde_cbor::from_slice(&first.payload).unwrap();
    assert!(matches!(map, serde_cbor::Value::Map(map) if map.len() == 3));
}

#[test]
fn keys_are_a_key_set_with_the_signing_key() {
    let mut world = World::new();
    let seen = world.ask(&Ask::get("keys").bytes());
    assert_eq!(
        (seen.code.as_str(), seen.content_format),
        ("2.05", Some(102))
    );
    let key = &world.token_keys.verifying()[0];
    // SPEC.md §8.3
    let expected = [
        &[0x81, 0xa5, 0x01, 0x01, 0x02, 0x48][..],
        key.key_id.as_bytes(),
        &[0x03, 0x32, 0x20, 0x06, 0x21, 0x58, 0x20],
        key.public_key.as_bytes(),
    ]
    .concat();
    assert_eq!(seen.payload, expected);
    let _: serde_cbor::Value = serde_cbor::from_slice(&seen.payload).unwrap();
}

#[test]
fn counters_tell_what_happened() {
    let mut world = World::new();
    let good = world.token_request().bytes();
    world.send(&good);
    world.send(&[0x40, 0x00, 0, 0]);
    world.transition(GATEWAY, Transition::Suspend);
    world.send(&good);
    let counters = world.endpoint.counters();
    assert_eq!(
        (counters.datagrams, counters.rejected, counters.challenged),
        (4, 1, 1)
    );
    assert_eq!(
        (counters.tokens, counters.refused, counters.throttled),
        (1, 1, 0)
    );
}
