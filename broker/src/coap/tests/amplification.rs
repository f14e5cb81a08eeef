//! What an unproven address can make us send: at most three times what it sent, counted with IPv4 and UDP headers, and
//! at most 136 bytes of CoAP (RFC 9175 §2.6).
use super::*;
use proptest::prelude::*;

const HEADERS: usize = 28;

fn check(world: &mut World, datagram: &[u8]) -> usize {
    let Some(reply) = world.send(datagram).reply else {
        return 0;
    };
    let (asked, answered) = (datagram.len(), reply.len());
    assert!(
        answered + HEADERS <= 3 * (asked + HEADERS) && answered <= 136,
        "{asked} bytes get {answered}: {datagram:02x?}"
    );
    answered
}

#[test]
fn no_request_without_echo_is_amplified() {
    let mut world = World::new();
    let mut largest = 0;
    let paths: &[&[&str]] = &[
        &[],
        &["token"],
        &["keys"],
        &["challenge"],
        &[".well-known", "core"],
        &["x"],
    ];
    for path in paths {
        for code in 0..32 {
            for token in [&[][..], &[1], &[1, 2, 3, 4], &[9; 8]] {
                let plain = Ask::new(code, path).token_bytes(token);
                for request in [
                    plain.clone(),
                    plain.clone().non_confirmable(),
                    plain.clone().with(252, b"x"),
                    plain.clone().with(15, b""),
                    plain.clone().with(15, b"rt=*"),
                    plain.clone().with(17, &[18]),
                    plain.clone().with(27, &[0x0e]),
                    plain.clone().with(9, b""),
                    plain.clone().with(35, b"x"),
                    plain.clone().payload(b"x"),
                ] {
                    largest = largest.max(check(&mut world, &request.bytes()));
                }
            }
        }
    }
    // Discovery: what this budget is for. More resources make it a challenge first.
    assert!((100..=136).contains(&largest), "{largest}");
}

#[test]
fn plain_discovery_challenge_and_keys_need_no_echo_first() {
    let mut world = World::new();
    for path in [&[".well-known", "core"][..], &["challenge"], &["keys"]] {
        let request = Ask::new(1, path).token_bytes(&[]).bytes();
        assert_eq!(world.ask(&request).code, "2.05", "{path:?}");
    }
}

#[test]
fn challenge_is_smaller_than_its_budget_for_the_smallest_request() {
    let mut world = World::new();
    let request = Ask::post("token").token_bytes(&[]).bytes();
    assert_eq!((request.len(), check(&mut world, &request)), (10, 20));
}

#[test]
fn answer_that_is_too_large_is_a_challenge_and_then_the_answer() {
    let mut world = long_named_world();
    let plain = Ask::get("challenge").token_bytes(&[]);
    let seen = world.ask(&plain.bytes());
    assert_eq!((seen.code.as_str(), seen.max_age), ("4.01", Some(0)));
    let echo = seen.echo.unwrap();
    let seen = world.ask(&plain.with(252, &echo).bytes());
    assert_eq!(seen.code, "2.05");
}

/// A broker whose challenge does not fit the budget, because its id has 64 bytes.
fn long_named_world() -> World {
    let mut world = World::new();
    let deps = Deps {
        broker_id: "b".repeat(64).into(),
        directory: world.registry.directory(),
        challenges: Arc::clone(&world.challenges),
        policy: Arc::new(Policy::builtin()),
        issuer: TokenIssuer::new(BROKER, [], TOKEN_LIFE_S).unwrap(),
        token_keys: Arc::clone(&world.token_keys),
        identity_keys: world.identity_keys.clone(),
        random: Box::new(SeededRandom::new(7)),
    };
    world.endpoint = Endpoint::new(deps, world.clock.now(), world.clock.wall());
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_datagram_is_amplified(
        first in prop_oneof![Just(0x40_u8), Just(0x44), Just(0x50), any::<u8>()],
        code in 0_u8..6,
        datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 50),
    ) {
        let mut world = World::new();
        for tail in datagrams {
            check(&mut world, &[&[first, code, 1, 2], tail.as_slice()].concat());
        }
    }
}
