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
