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
