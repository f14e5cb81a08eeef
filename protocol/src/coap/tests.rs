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

mod signatures {
    use super::*;

    #[test]
    fn the_request_is_that_of_the_vector() {
        let case = &vectors::keygate()["signed_coap_request"];
        let path = token_path();
        let aad = request::external_aad_of(&context(&path));
        assert_eq!(aad[..], hex(&case["external_aad"]));
        reread(&aad);
        let (body, hash) = signed(&payload());
        assert_eq!(body[..], hex(&case["body_untagged"]));
        assert_eq!(hash.as_bytes()[..], hex(&case["request_hash"]));
        assert_eq!(hash.cti()[..], hex(&case["token_cti"]));
        let to_be_signed = ToBeSigned::new(&hex(&case["protected"]), &aad, &payload()).unwrap();
        assert_eq!(to_be_signed.as_bytes(), hex(&case["to_be_signed"]));
        assert!(body.ends_with(&hex(&case["signature"])));
        reread(&body);

        let untrusted = UntrustedRequest::decode(&body).unwrap();
        assert_eq!(untrusted.key_id(), device().key_id());
        let verified = untrusted
            .verify(&device().public_key(), &context(&path))
            .unwrap();
        assert_eq!(verified.payload(), payload());
        assert_eq!(
            (verified.hash(), verified.key_id()),
            (hash, device().key_id())
        );
        assert!(TokenRequest::decode(verified.payload()).is_ok());
    }

    #[test]
    fn the_answer_is_that_of_the_vector() {
        let case = &vectors::keygate()["signed_coap_answer"];
        let (_, request) = signed(&payload());
        let context = AnswerContext {
            broker_id: broker_id(),
            code: Code::CONTENT,
            request,
        };
        let aad = answer::external_aad_of(&context);
        assert_eq!(aad[..], hex(&case["external_aad"]));
        reread(&aad);
        let mut body = Body::new();
        sign_answer(&context, &hex(&case["payload"]), &mut broker(), &mut body).unwrap();
        assert!(body.ends_with(&hex(&case["signature"])));
        reread(&body);
        let to_be_signed =
            ToBeSigned::new(&hex(&case["protected"]), &aad, &hex(&case["payload"])).unwrap();
        assert_eq!(to_be_signed.as_bytes(), hex(&case["to_be_signed"]));

        let untrusted = UntrustedAnswer::decode(&body).unwrap();
        assert_eq!(untrusted.key_id(), broker().key_id());
        let read = untrusted.verify(&broker().public_key(), &context);
        assert_eq!(read, Ok(&hex(&case["payload"])[..]));
    }

    #[test]
    fn a_request_is_good_for_one_broker_echo_code_path_and_key() {
        let (body, _) = signed(&payload());
        let request = UntrustedRequest::decode(&body).unwrap();
        let (path, key) = (token_path(), device().public_key());
        let good = context(&path);
        let status = Path::new(["status"]).unwrap();
        let longer = Path::new(["token", "x"]).unwrap();
        let glued = Path::new(["tok", "en"]).unwrap();
        let mut echo = ECHO;
        echo[11] ^= 1;
        let others = [
            RequestContext {
                broker_id: Id::new("kg-7f3a9d").unwrap(),
                ..good
            },
            RequestContext {
                echo: Echo::new(&echo).unwrap(),
                ..good
            },
            RequestContext {
                echo: Echo::new(&ECHO[..11]).unwrap(),
                ..good
            },
            RequestContext {
                code: Code::GET,
                ..good
            },
            RequestContext {
                path: &status,
                ..good
            },
            RequestContext {
                path: &longer,
                ..good
            },
            RequestContext {
                path: &glued,
                ..good
            },
        ];
        for other in others {
            assert_eq!(
                request.verify(&key, &other).unwrap_err(),
                CoseError::BadSignature,
                "{other:?}"
            );
        }
        for key in [broker().public_key(), PublicKey::nobody()] {
            assert_eq!(
                request.verify(&key, &good).unwrap_err(),
                CoseError::BadSignature
            );
        }
    }

    #[test]
    fn an_answer_is_good_for_one_broker_code_and_request() {
        let good = AnswerContext {
            broker_id: broker_id(),
            code: Code::CONTENT,
            request: RequestHash::from_bytes([7; 32]),
        };
        let mut body = Body::new();
        sign_answer(&good, b"ok", &mut broker(), &mut body).unwrap();
        let answer = UntrustedAnswer::decode(&body).unwrap();
        let key = broker().public_key();
        let others = [
            AnswerContext {
                broker_id: Id::new("kg-7f3a9d").unwrap(),
                ..good
            },
            AnswerContext {
                code: Code::CREATED,
                ..good
            },
            AnswerContext {
                request: RequestHash::from_bytes([8; 32]),
                ..good
            },
        ];
        for other in others {
            assert_eq!(answer.verify(&key, &other), Err(CoseError::BadSignature));
        }
        assert_eq!(
            answer.verify(&device().public_key(), &good),
            Err(CoseError::BadSignature)
        );
        // Neither passes for the other, even under the same key.
        let path = token_path();
        let as_request = UntrustedRequest::decode(&body).unwrap();
        assert_eq!(
            as_request.verify(&key, &context(&path)).unwrap_err(),
            CoseError::BadSignature
        );
    }

    #[test]
    fn bodies_are_bounded_and_use_the_one_algorithm() {
        let path = token_path();
        let longest = [7; SIGNED_PAYLOAD_LEN_MAX];
        let (body, _) = signed(&longest);
        assert_eq!(body.len(), BODY_LEN_MAX);
        assert!(UntrustedRequest::decode(&body).is_ok());
        let longer = [7; SIGNED_PAYLOAD_LEN_MAX + 1];
        let mut out = heapless::Vec::<u8, 2048>::new();
        let refused = sign_request(&context(&path), &longer, &mut device(), &mut out);
        assert_eq!(refused, Err(SignError::Capacity));
        let answer = AnswerContext {
            broker_id: broker_id(),
            code: Code::CONTENT,
            request: RequestHash::from_bytes([7; 32]),
        };
        assert_eq!(
            sign_answer(&answer, &longer, &mut broker(), &mut out),
            Err(SignError::Capacity)
        );
        assert_eq!(
            UntrustedRequest::decode(&[0x84; BODY_LEN_MAX + 1]).unwrap_err(),
            CoseError::TooLong
        );
        assert_eq!(
            UntrustedAnswer::decode(&[0x84; BODY_LEN_MAX + 1]).unwrap_err(),
            CoseError::TooLong
        );

        let mut deprecated = body.clone();
        assert_eq!(deprecated[4], 0x32);
        deprecated[4] = 0x27;
        assert_eq!(
            UntrustedRequest::decode(&deprecated).unwrap_err(),
            CoseError::UnsupportedAlgorithm
        );
    }

    #[test]
    fn the_largest_context_can_be_signed() {
        let (id, segment) = ("x".repeat(64), "y".repeat(31));
        let echo = [1; ECHO_LEN_MAX];
        let path = Path::new(std::iter::repeat_n(segment.as_str(), 8)).unwrap();
        let context = RequestContext {
            broker_id: Id::new(&id).unwrap(),
            echo: Echo::new(&echo).unwrap(),
            code: Code(0xff),
            path: &path,
        };
        let mut body = Body::new();
        sign_request(
            &context,
            &[7; SIGNED_PAYLOAD_LEN_MAX],
            &mut device(),
            &mut body,
        )
        .unwrap();
        let request = UntrustedRequest::decode(&body).unwrap();
        assert!(request.verify(&device().public_key(), &context).is_ok());
        assert!(request::external_aad_of(&context).len() <= sign1::EXTERNAL_AAD_LEN_MAX);
    }

    #[test]
    fn any_changed_bit_of_a_request_is_refused() {
        let path = token_path();
        let (body, _) = signed(&payload());
        for bit in 0..body.len() * 8 {
            let mut changed = body.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let read = UntrustedRequest::decode(&changed).and_then(|request| {
                request
                    .verify(&device().public_key(), &context(&path))
                    .map(|_| ())
            });
            assert!(read.is_err(), "bit {bit}");
        }
    }
}

mod parts {
    use super::*;

    #[test]
    fn paths_are_bounded() {
        assert_eq!(Path::new([]).map(|path| path.segments().len()), Ok(0));
        assert_eq!(Path::new(["a", ""]), Err(PathError::EmptySegment));
        assert_eq!(Path::new(["."]), Err(PathError::DotSegment));
        assert_eq!(Path::new(["a", ".."]), Err(PathError::DotSegment));
        assert!(Path::new(["a"; PATH_SEGMENTS_MAX]).is_ok());
        assert_eq!(
            Path::new(["a"; PATH_SEGMENTS_MAX + 1]),
            Err(PathError::TooManySegments)
        );
        let long = "x".repeat(PATH_LEN_MAX);
        assert_eq!(
            Path::new([long.as_str()]).map(|path| std::format!("{path}").len()),
            Ok(256)
        );
        assert_eq!(Path::new([long.as_str(), "x"]), Err(PathError::TooLong));
    }

    #[test]
    fn echo_values_are_bounded() {
        assert_eq!(Echo::new(&[]), Err(EchoError));
        assert!(Echo::new(&[0; 1]).is_ok());
        assert!(Echo::new(&[0; ECHO_LEN_MAX]).is_ok());
        assert_eq!(Echo::new(&[0; ECHO_LEN_MAX + 1]), Err(EchoError));
    }

    #[test]
    fn codes_print_as_the_rfc_writes_them() {
        assert_eq!(
            std::format!("{} {} {}", Code::POST, Code::CONTENT, Code(0x9d)),
            "0.02 2.05 4.29"
        );
    }

    #[test]
    fn a_challenge_is_that_of_the_spec_and_strict() {
        let bytes = b"\xa3\x03\x69kg-7f3a9c\x06\x1a\x71\x40\0\0\x18\x27\x77cUAAAAARIjNEqrvM3QABAgM";
        let answer = ChallengeAnswer {
            broker_id: broker_id(),
            time: UnixTime(1_900_019_712),
            cnonce: "cUAAAAARIjNEqrvM3QABAgM",
        };
        assert_eq!(ChallengeAnswer::decode(bytes), Ok(answer));
        let mut out = Body::new();
        answer.encode(&mut out).unwrap();
        assert_eq!(out[..], bytes[..]);
        reread(&out);
        let cases: &[(&[u8], ChallengeError)] = &[
            (b"\xa0", ChallengeError::Missing),
            (b"\xa2\x03\x61k\x18\x27\x61a", ChallengeError::Missing),
            (b"\xa2\x06\x01\x18\x27\x61a", ChallengeError::Missing),
            (b"\xa3\x03\x61k\x06\x01\x18\x27\x60", ChallengeError::Cnonce),
            (
                b"\xa3\x03\x61k\x06\x01\x18\x27\x62a=",
                ChallengeError::Cnonce,
            ),
            (
                b"\xa3\x03\x60\x06\x01\x18\x27\x61a",
                ChallengeError::BrokerId(IdError::Empty),
            ),
            (
                b"\xa3\x03\x61k\x06\x20\x18\x27\x61a",
                ChallengeError::Cbor(CborError::UnexpectedType),
            ),
            (
                b"\xa4\x03\x61k\x06\x01\x18\x27\x61a\x61a\x01",
                ChallengeError::UnknownMember,
            ),
        ];
        for (bytes, error) in cases {
            assert_eq!(ChallengeAnswer::decode(bytes), Err(*error), "{bytes:02x?}");
        }
        assert!(ChallengeAnswer::decode(b"\xa4\x03\x61k\x06\x01\x18\x27\x61a\x18\x28\x01").is_ok());
        let long = [
            b"\xa3\x03\x61k\x06\x01\x18\x27\x78\x41",
            "x".repeat(65).as_bytes(),
        ]
        .concat();
        assert_eq!(ChallengeAnswer::decode(&long), Err(ChallengeError::Cnonce));
    }
}

mod driver {
    use super::*;

    fn exchange<'a>(payload: &'a [u8], trust: Trust<'a>) -> Exchange<'a> {
        Exchange {
            broker_id: broker_id(),
            code: Code::POST,
            path: token_path(),
            payload,
            trust,
        }
    }

    fn challenge(echo: &[u8]) -> Received<'_> {
        Received {
            echo: Some(echo),
            ..Received::empty(Code::UNAUTHORIZED)
        }
    }

    /// An exchange whose signed request is on its way.
    fn sent<'a>(payload: &'a [u8], trust: Trust<'a>) -> AwaitAnswer<'a> {
        let start = exchange(payload, trust).start();
        start
            .receive(&challenge(&ECHO), &mut device(), &mut Body::new())
            .unwrap()
            .next
    }

    fn answer<'e>(
        await_answer: AwaitAnswer<'_>,
        received: &Received<'e>,
    ) -> Result<Reply<'e>, Failure> {
        match await_answer.receive(received, &mut device(), &mut Body::new())? {
            Progress::Done(reply) => Ok(reply),
            Progress::Resend(_) => panic!("no challenge was sent"),
        }
    }

    #[test]
    fn await_challenge_signs_what_the_vector_signs() {
        let payload = payload();
        let start = exchange(&payload, Trust::Content).start();
        let mut body = Body::new();
        let resend = start
            .receive(&challenge(&ECHO), &mut device(), &mut body)
            .unwrap();
        assert_eq!(
            body[..],
            hex(&vectors::keygate()["signed_coap_request"]["body_untagged"])
        );
        assert_eq!(resend.echo.as_bytes(), ECHO);
        assert_eq!(resend.next.hash(), signed(&payload).1);
    }

    #[test]
    fn await_challenge_takes_nothing_but_a_challenge() {
        let refused = |received: &Received<'_>| {
            let start = exchange(b"payload", Trust::Content).start();
            start
                .receive(received, &mut device(), &mut Body::new())
                .unwrap_err()
        };
        assert_eq!(
            refused(&Received::empty(Code::CREATED)),
            Failure::Unexpected(Code::CREATED)
        );
        assert_eq!(refused(&challenge(&[])), Failure::BadEcho);
        assert_eq!(refused(&challenge(&[0; 41])), Failure::BadEcho);
        let plain = Refused {
            code: Code::UNAUTHORIZED,
            error: None,
            max_age_s: None,
        };
        assert_eq!(
            refused(&Received::empty(Code::UNAUTHORIZED)),
            Failure::Refused(plain)
        );
        let busy = Received {
            max_age_s: Some(5),
            ..Received::empty(Code::SERVICE_UNAVAILABLE)
        };
        assert_eq!(refused(&busy).back_off(), BackOff::Wait { seconds: 5 });
    }

    #[test]
    fn a_second_challenge_is_answered_and_a_third_is_not() {
        let await_answer = sent(b"payload", Trust::Content);
        let first = await_answer.hash();
        let mut body = Body::new();
        let again = await_answer
            .receive(&challenge(b"fresher"), &mut device(), &mut body)
            .unwrap();
        let Progress::Resend(resend) = again else {
            panic!("a challenge asks for more")
        };
        assert_eq!(resend.echo.as_bytes(), b"fresher");
        assert_ne!(resend.next.hash(), first);
        assert!(UntrustedRequest::decode(&body).is_ok());
        let third = resend
            .next
            .receive(&challenge(b"freshest"), &mut device(), &mut Body::new());
        assert_eq!(third.unwrap_err(), Failure::StillChallenged);
    }

    #[test]
    fn await_answer_reports_refusals_as_they_stand() {
        let mut payload = Body::new();
        ErrorAnswer {
            error: ErrorCode::InvalidClient,
            description: None,
        }
        .encode(&mut payload)
        .unwrap();
        let received = Received {
            content_format: Some(ContentFormat::ACE),
            payload: &payload,
            ..Received::empty(Code::UNAUTHORIZED)
        };
        let refused = Refused {
            code: Code::UNAUTHORIZED,
            error: Some(ErrorCode::InvalidClient),
            max_age_s: None,
        };
        assert_eq!(
            answer(sent(b"payload", Trust::Content), &received),
            Err(Failure::Refused(refused))
        );
        // A payload of another format, or garbage, says nothing about the error.
        let garbage = Received {
            payload: b"\xff",
            ..received
        };
        assert_eq!(
            answer(sent(b"payload", Trust::Content), &garbage),
            Err(Failure::Refused(Refused {
                error: None,
                ..refused
            }))
        );
        let text = Received {
            content_format: Some(ContentFormat(0)),
            ..received
        };
        assert_eq!(
            answer(sent(b"payload", Trust::Content), &text),
            Err(Failure::Refused(Refused {
                error: None,
                ..refused
            }))
        );
    }

    #[test]
    fn each_failure_says_how_to_back_off() {
        let refused = |code| {
            Failure::Refused(Refused {
                code,
                error: None,
                max_age_s: None,
            })
        };
        let cases = [
            (refused(Code::UNAUTHORIZED), BackOff::Slow),
            (refused(Code::BAD_REQUEST), BackOff::Report),
            (refused(Code(0x8d)), BackOff::Report),
            (refused(Code::INTERNAL_SERVER_ERROR), BackOff::Fast),
            (
                refused(Code::TOO_MANY_REQUESTS),
                BackOff::Wait { seconds: 60 },
            ),
            (
                refused(Code::SERVICE_UNAVAILABLE),
                BackOff::Wait { seconds: 60 },
            ),
            (Failure::StillChallenged, BackOff::Slow),
            (Failure::NotSigned, BackOff::Slow),
            (Failure::Sign(SignError::Signer), BackOff::Fast),
            (Failure::Sign(SignError::Capacity), BackOff::Report),
        ];
        for (failure, back_off) in cases {
            assert_eq!(failure.back_off(), back_off, "{failure}");
        }
    }

    #[test]
    fn a_signed_answer_is_taken_from_a_pinned_key_only() {
        let (current, next) = (broker(), SoftwareSigner::from_seed(&[9; 32]));
        let pins = [current.public_key(), next.public_key()];
        let await_answer = sent(b"payload", Trust::Signed(&pins));
        let good = AnswerContext {
            broker_id: broker_id(),
            code: Code::CONTENT,
            request: await_answer.hash(),
        };
        let body = |context: &AnswerContext<'_>, signer: &SoftwareSigner| {
            let mut body = Body::new();
            sign_answer(context, b"answer", &mut signer.clone(), &mut body).unwrap();
            body
        };
        let receive = |body: &[u8], content_format| {
            let received = Received {
                content_format,
                payload: body,
                ..Received::empty(Code::CONTENT)
            };
            answer(await_answer.clone(), &received)
                .map(|reply| (reply.payload.to_vec(), reply.signed))
        };
        let sign1 = Some(ContentFormat::COSE_SIGN1);
        assert_eq!(
            receive(&body(&good, &current), sign1),
            Ok((b"answer".to_vec(), true))
        );
        assert_eq!(
            receive(&body(&good, &next), sign1),
            Ok((b"answer".to_vec(), true))
        );
        assert_eq!(
            receive(&body(&good, &device()), sign1),
            Err(Failure::KeyNotPinned)
        );
        assert_eq!(
            receive(&body(&good, &current), None),
            Err(Failure::NotSigned)
        );
        assert_eq!(
            receive(b"answer", Some(ContentFormat::ACE)),
            Err(Failure::NotSigned)
        );
        let bad_signature = Err(Failure::Answer(CoseError::BadSignature));
        let other = AnswerContext {
            request: RequestHash::from_bytes([0; 32]),
            ..good
        };
        assert_eq!(receive(&body(&other, &current), sign1), bad_signature);
        let other = AnswerContext {
            code: Code::CHANGED,
            ..good
        };
        assert_eq!(receive(&body(&other, &current), sign1), bad_signature);
        assert_eq!(
            receive(b"\x80", sign1),
            Err(Failure::Answer(CoseError::Cbor(CborError::WrongCount)))
        );
    }

    #[test]
    fn a_device_gets_its_token() {
        let wanted = tokens::wanted();
        let mut payload = Body::new();
        wanted.encode_request(&mut payload).unwrap();
        let start = wanted.exchange(&payload, Trust::Content).unwrap().start();
        let mut body = Body::new();
        let resend = start
            .receive(&challenge(&ECHO), &mut device(), &mut body)
            .unwrap();

        // The broker's side.
        let path = token_path();
        let request = UntrustedRequest::decode(&body).unwrap();
        let verified = request
            .verify(&device().public_key(), &context(&path))
            .unwrap();
        let asked = TokenRequest::decode(verified.payload()).unwrap();
        assert_eq!(
            (asked.client_id.as_str(), asked.audience),
            ("dev1", Some("kg-7f3a9c"))
        );
        let claims = Claims {
            cti: verified.hash().cti(),
            ..tokens::claims()
        };
        let answer_body = tokens::answer(&claims, &mut broker());

        let received = Received {
            content_format: Some(ContentFormat::ACE),
            payload: &answer_body,
            ..Received::empty(Code::CREATED)
        };
        let reply = answer(resend.next, &received).unwrap();
        let keys = [broker().public_key()];
        let granted = wanted.accept(&reply, TokenTrust::TokenKeys(&keys)).unwrap();
        assert_eq!(granted.claims, claims);
        assert_eq!(granted.expires_in_s, 3600);
        assert!(
            cwt::Untrusted::decode(granted.token)
                .unwrap()
                .verify(&keys[0])
                .is_ok()
        );
    }
}

mod tokens {
    use super::*;

    const REQUEST: [u8; 32] = [7; 32];

    pub(super) fn wanted() -> TokenWanted<'static> {
        TokenWanted {
            broker_id: broker_id(),
            audience: None,
            device: Id::new("dev1").unwrap(),
            holder: device().public_key(),
            scope: None,
        }
    }

    pub(super) fn claims() -> Claims<'static> {
        Claims {
            iss: broker_id(),
            sub: Id::new("dev1").unwrap(),
            aud: "kg-7f3a9c",
            exp: UnixTime(1_900_003_600),
            iat: UnixTime(1_900_000_000),
            cti: [7; 8],
            cnf: device().public_key(),
            scope: b"\x81\x82\x63a/b\x81\x63pub",
        }
    }

    pub(super) fn answer(claims: &Claims<'_>, token_key: &mut SoftwareSigner) -> Body {
        let mut token = heapless::Vec::<u8, { cwt::TOKEN_LEN_MAX }>::new();
        cwt::issue(claims, token_key, &mut token).unwrap();
        let mut body = Body::new();
        TokenAnswer {
            access_token: &token,
            expires_in_s: 3600,
            scope: None,
        }
        .encode(&mut body)
        .unwrap();
        reread(&body);
        body
    }

    fn reply(payload: &[u8], signed: bool) -> Reply<'_> {
        Reply {
            code: Code::CREATED,
            payload,
            signed,
            request: RequestHash::from_bytes(REQUEST),
        }
    }

    fn judge(wanted: &TokenWanted<'_>, claims: &Claims<'_>) -> Result<(), TokenRefused> {
        let body = answer(claims, &mut broker());
        wanted
            .accept(
                &reply(&body, false),
                TokenTrust::TokenKeys(&[broker().public_key()]),
            )
            .map(|_| ())
    }

    #[test]
    fn each_claim_is_judged() {
        let wanted = wanted();
        assert_eq!(judge(&wanted, &claims()), Ok(()));
        let other = Id::new("other").unwrap();
        assert_eq!(
            judge(
                &wanted,
                &Claims {
                    iss: other,
                    ..claims()
                }
            ),
            Err(TokenRefused::WrongIssuer)
        );
        assert_eq!(
            judge(
                &wanted,
                &Claims {
                    sub: other,
                    ..claims()
                }
            ),
            Err(TokenRefused::WrongSubject)
        );
        assert_eq!(
            judge(
                &wanted,
                &Claims {
                    aud: "other",
                    ..claims()
                }
            ),
            Err(TokenRefused::WrongAudience)
        );
        assert_eq!(
            judge(
                &wanted,
                &Claims {
                    cti: [8; 8],
                    ..claims()
                }
            ),
            Err(TokenRefused::WrongRequest)
        );
        let cnf = broker().public_key();
        assert_eq!(
            judge(&wanted, &Claims { cnf, ..claims() }),
            Err(TokenRefused::WrongHolder)
        );
        let elsewhere = TokenWanted {
            audience: Some("kg-7f3a9c/admin"),
            ..wanted
        };
        assert_eq!(
            judge(&elsewhere, &claims()),
            Err(TokenRefused::WrongAudience)
        );
    }

    #[test]
    fn a_token_may_allow_less_than_asked_and_not_more() {
        let asked = |scope: &'static [u8]| TokenWanted {
            scope: Some(Scope::decode(scope).unwrap()),
            ..wanted()
        };
        assert_eq!(
            judge(&asked(b"\x81\x82\x63a/#\x81\x63pub"), &claims()),
            Ok(())
        );
        assert_eq!(
            judge(&asked(b"\x81\x82\x63a/#\x81\x63sub"), &claims()),
            Err(TokenRefused::ScopeExceeded)
        );
        assert_eq!(
            judge(&asked(b"\x81\x82\x63a/c\x81\x63pub"), &claims()),
            Err(TokenRefused::ScopeExceeded)
        );
    }

    #[test]
    fn a_token_needs_somebody_who_vouches_for_it() {
        let wanted = wanted();
        let body = answer(&claims(), &mut broker());
        let keys = [broker().public_key()];
        let unknown = wanted.accept(
            &reply(&body, false),
            TokenTrust::TokenKeys(&[device().public_key()]),
        );
        assert_eq!(unknown, Err(TokenRefused::UnknownTokenKey));
        assert_eq!(
            wanted.accept(&reply(&body, false), TokenTrust::SignedAnswer),
            Err(TokenRefused::NotSigned)
        );
        assert!(
            wanted
                .accept(&reply(&body, true), TokenTrust::SignedAnswer)
                .is_ok()
        );
        let mut forged = body.clone();
        let at = forged.len() - 20;
        forged[at] ^= 1;
        let refused = wanted.accept(&reply(&forged, false), TokenTrust::TokenKeys(&keys));
        assert_eq!(
            refused,
            Err(TokenRefused::Token(CwtError::Cose(CoseError::BadSignature)))
        );
    }

    #[test]
    fn anything_but_a_token_answer_is_refused() {
        let wanted = wanted();
        let trust = TokenTrust::SignedAnswer;
        let changed = Reply {
            code: Code::CHANGED,
            ..reply(b"", true)
        };
        assert_eq!(
            wanted.accept(&changed, trust),
            Err(TokenRefused::WrongCode(Code::CHANGED))
        );
        assert_eq!(
            wanted.accept(&reply(b"\xa0", true), trust),
            Err(TokenRefused::Answer(AceError::Missing))
        );
        let empty = b"\xa4\x01\x40\x02\x01\x18\x22\x02\x18\x26\x03";
        let refused = TokenRefused::Token(CwtError::Cose(CoseError::Cbor(CborError::EndOfInput)));
        assert_eq!(wanted.accept(&reply(empty, true), trust), Err(refused));
    }
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
