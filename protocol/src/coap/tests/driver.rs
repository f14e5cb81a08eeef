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
        answer(await_answer.clone(), &received).map(|reply| (reply.payload.to_vec(), reply.signed))
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
