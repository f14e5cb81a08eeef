//! Random and mutated datagrams: no panic, no token, bounded answers.
use super::*;
use crate::coap::limits::DATAGRAM_MAX;
use keygate_protocol::ace::TokenAnswer;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Mutation {
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<usize>(), 1_u8..).prop_map(|(at, with)| Mutation::Flip(at, with)),
        1 => any::<usize>().prop_map(Mutation::Cut),
        2 => (any::<usize>(), proptest::collection::vec(any::<u8>(), 1..8))
            .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(at, len)| Mutation::Repeat(at, len)),
    ]
}

fn mutate(datagram: &mut Vec<u8>, mutation: &Mutation) {
    let len = datagram.len().max(1);
    match mutation {
        Mutation::Flip(at, with) => {
            if let Some(byte) = datagram.get_mut(at % len) {
                *byte ^= with;
            }
        }
        Mutation::Cut(at) => datagram.truncate(at % len),
        Mutation::Insert(at, bytes) => {
            let at = (at % len).min(datagram.len());
            datagram.splice(at..at, bytes.iter().copied());
        }
        Mutation::Repeat(at, length) => {
            let at = (at % len).min(datagram.len());
            let piece = datagram[at..(at + length % 64).min(datagram.len())].to_vec();
            datagram.extend(piece);
        }
    }
    datagram.truncate(DATAGRAM_MAX + 1);
}

fn token_in(outcome: &Outcome) -> Option<Vec<u8>> {
    let seen = Seen::read(outcome.reply.as_ref()?, None);
    (seen.code == "2.01").then(|| {
        let answer = TokenAnswer::decode(&seen.payload).unwrap();
        answer.access_token.to_vec()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_datagrams_get_no_token_and_stop_nothing(
        datagrams in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..DATAGRAM_MAX + 2), 40),
    ) {
        let mut world = World::new();
        for datagram in datagrams {
            let outcome = world.send(&datagram);
            prop_assert_eq!(token_in(&outcome), None);
            prop_assert!(outcome.reply.is_none_or(|reply| reply.len() <= 136));
        }
        let good = world.token_request().bytes();
        prop_assert_eq!(world.ask(&good).code, "2.01");
    }

    #[test]
    fn mutated_requests_get_the_same_token_or_none(
        sequences in proptest::collection::vec(proptest::collection::vec(mutation(), 1..4), 40),
    ) {
        let mut world = World::new();
        let good = world.token_request().bytes();
        let token = token_in(&world.send(&good));
        prop_assert!(token.is_some());
        for mutations in sequences {
            let mut datagram = good.clone();
            mutations.iter().for_each(|mutation| mutate(&mut datagram, mutation));
            // What no signature covers (message id, token, elective options) may change; the token may not.
            if let Some(found) = token_in(&world.send(&datagram)) {
                prop_assert_eq!(Some(found), token.clone());
            }
            world.clock.advance(100);
        }
    }

    #[test]
    fn signed_nonsense_gets_no_token(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 40),
    ) {
        let mut world = World::new();
        let echo = world.echo();
        for payload in payloads {
            let request = Ask::token(&echo, &key(1), &payload).bytes();
            let outcome = world.send(&request);
            prop_assert_eq!(token_in(&outcome), None);
            prop_assert!(outcome.event.is_some());
        }
    }
}
