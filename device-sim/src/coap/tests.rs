//! A fetch against the protocol's broker side.

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
use keygate_protocol::ace::{TokenAnswer, TokenRequest};
use keygate_protocol::coap::{
    AnswerContext, Code, Echo, Failure, Path, RequestContext, TokenRefused, UntrustedRequest,
    sign_answer,
};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::cwt::{self, Claims};
use keygate_protocol::ident::Id;
use keygate_protocol::scope::{Permissions, Rule, Scope};
use keygate_protocol::time::UnixTime;
use keygate_protocol::topic::TopicFilter;

use super::fetch::{ENTROPY_LEN, Fetch, FetchError, Order, Step};
use crate::clock::Micros;
use crate::session::Wire;

const BROKER: &str = "kg-test";
const ECHO: [u8; 12] = *b"an echo of 1";

/// What the scripted server does wrong.
#[derive(Clone, Copy, Default)]
struct Faults {
    always_challenges: bool,
    other_identity: bool,
    other_subject: bool,
    refuses: bool,
}

struct Server {
    identity: SoftwareSigner,
    holder: SoftwareSigner,
    faults: Faults,
    asked: Vec<Vec<u8>>,
}

impl Server {
    fn answer(&mut self, datagram: &[u8]) -> Vec<u8> {
        let request = Packet::from_bytes(datagram).expect("CoAP");
        self.asked.push(datagram.to_vec());
        let mut answer = Packet::new();
        answer.header.set_type(MessageType::Acknowledgement);
        answer.header.message_id = request.header.message_id;
        answer.set_token(request.get_token().to_vec());
        let echo = request.get_first_option(CoapOption::Unknown(252));
        if echo.is_none_or(|echo| *echo != ECHO) || self.faults.always_challenges {
            answer.header.code = MessageClass::from(Code::UNAUTHORIZED.0);
            answer.add_option(CoapOption::Unknown(252), ECHO.to_vec());
        } else if self.faults.refuses {
            answer.header.code = MessageClass::from(Code::UNAUTHORIZED.0);
            answer.add_option(CoapOption::ContentFormat, vec![19]);
            answer.payload = b"\xa1\x18\x1e\x02".to_vec();
        } else {
            answer.header.code = MessageClass::from(Code::CREATED.0);
            answer.add_option(CoapOption::ContentFormat, vec![18]);
            answer.payload = self.grant(&request.payload);
        }
        answer.to_bytes().expect("fits")
    }

    fn grant(&mut self, body: &[u8]) -> Vec<u8> {
        let broker_id = Id::new(BROKER).expect("an id");
        let path = Path::new(["token"]).expect("a path");
        let echo = Echo::new(&ECHO).expect("an echo");
        let context = RequestContext {
            broker_id,
            echo,
            code: Code::POST,
            path: &path,
        };
        let untrusted = UntrustedRequest::decode(body).expect("signed");
        let verified = untrusted
            .verify(&self.holder.public_key(), &context)
            .expect("by its key");
        let wanted = TokenRequest::decode(verified.payload()).expect("an ACE map");
        assert_eq!(
            (wanted.client_id.as_str(), wanted.audience),
            ("gw-000000", Some(BROKER))
        );

        let mut scope = Vec::new();
        let filter = TopicFilter::new("devices/gw-000000/#").expect("a filter");
        let rules = [Rule::new(filter, Permissions::Both).expect("a rule")];
        Scope::encode(&rules, &mut Wire(&mut scope)).expect("fits");
        let claims = Claims {
            iss: broker_id,
            sub: Id::new(if self.faults.other_subject {
                "gw-000001"
            } else {
                "gw-000000"
            })
            .expect("an id"),
            aud: BROKER,
            exp: UnixTime(1_900_003_600),
            iat: UnixTime(1_900_000_000),
            cti: verified.hash().cti(),
            cnf: self.holder.public_key(),
            scope: &scope,
        };
        let mut token = Vec::new();
        cwt::issue(
            &claims,
            &mut SoftwareSigner::from_seed(&[3; 32]),
            &mut Wire(&mut token),
        )
        .expect("fits");
        let mut map = Vec::new();
        let answer = TokenAnswer {
            access_token: &token,
            expires_in_s: 3_600,
            scope: None,
        };
        answer.encode(&mut Wire(&mut map)).expect("fits");
        let context = AnswerContext {
            broker_id,
            code: Code::CREATED,
            request: verified.hash(),
        };
        let mut other = SoftwareSigner::from_seed(&[4; 32]);
        let signer = if self.faults.other_identity {
            &mut other
        } else {
            &mut self.identity
        };
        let mut body = Vec::new();
        sign_answer(&context, &map, signer, &mut Wire(&mut body)).expect("fits");
        body
    }
}

/// Fetches, losing every datagram to the server whose number is in `lost`.
fn fetch(faults: Faults, lost: &[usize]) -> (Result<Step, FetchError>, u64, Vec<Vec<u8>>) {
    let identity = SoftwareSigner::from_seed(&[1; 32]);
    let holder = SoftwareSigner::from_seed(&[2; 32]);
    let order = Order::new(
        "gw-000000",
        BROKER,
        identity.public_key(),
        holder.public_key(),
    )
    .expect("ids");
    let entropy: [u8; ENTROPY_LEN] = std::array::from_fn(|at| u8::try_from(at).expect("small"));
    let mut now = Micros(0);
    let mut fetch = Fetch::start(&order, holder.clone(), entropy, now).expect("fits");
    let mut server = Server {
        identity,
        holder,
        faults,
        asked: Vec::new(),
    };
    let mut sent = 0;
    let mut send = true;
    loop {
        let step = if send && !lost.contains(&sent) {
            now = now.plus(1_000);
            fetch.receive(&server.answer(fetch.datagram()), now)
        } else {
            now = fetch.deadline();
            fetch.tick(now)
        };
        sent += 1;
        match step {
            Ok(step) if step.granted.is_none() => send = step.send,
            end => return (end, fetch.retransmitted(), server.asked),
        }
    }
}

#[test]
fn a_token_takes_two_requests_and_the_first_signs_nothing() {
    let (end, retransmitted, asked) = fetch(Faults::default(), &[]);
    let granted = end.expect("granted").granted.expect("a token");
    assert!((150..=300).contains(&granted.token_len), "{granted:?}");
    assert_eq!(
        (granted.expires_in_s, retransmitted, asked.len()),
        (3_600, 0, 2)
    );
    let first = Packet::from_bytes(&asked[0]).expect("CoAP");
    let second = Packet::from_bytes(&asked[1]).expect("CoAP");
    assert!(first.payload.is_empty());
    assert_ne!(first.header.message_id, second.header.message_id);
    assert_ne!(first.get_token(), second.get_token());
}

#[test]
fn lost_datagrams_are_sent_again() {
    let (end, retransmitted, asked) = fetch(Faults::default(), &[0, 2]);
    assert!(end.expect("granted").granted.is_some());
    assert_eq!((retransmitted, asked.len()), (2, 2));
}

#[test]
fn what_is_no_good_answer_is_no_token() {
    let (end, ..) = fetch(
        Faults {
            always_challenges: true,
            ..Faults::default()
        },
        &[],
    );
    assert!(
        matches!(end, Err(FetchError::Exchange(Failure::StillChallenged))),
        "{end:?}"
    );
    let (end, ..) = fetch(
        Faults {
            other_identity: true,
            ..Faults::default()
        },
        &[],
    );
    assert!(
        matches!(end, Err(FetchError::Exchange(Failure::KeyNotPinned))),
        "{end:?}"
    );
    let (end, ..) = fetch(
        Faults {
            other_subject: true,
            ..Faults::default()
        },
        &[],
    );
    assert!(
        matches!(end, Err(FetchError::Token(TokenRefused::WrongSubject))),
        "{end:?}"
    );
    let (end, ..) = fetch(
        Faults {
            refuses: true,
            ..Faults::default()
        },
        &[],
    );
    let error = end.expect_err("refused");
    assert!(
        error
            .advice()
            .is_some_and(|advice| advice.contains("keygate device import")),
        "{error}"
    );
    let (end, ..) = fetch(Faults::default(), &[0, 1, 2, 3, 4]);
    assert!(matches!(end, Err(FetchError::NoAnswer(_))), "{end:?}");
}
