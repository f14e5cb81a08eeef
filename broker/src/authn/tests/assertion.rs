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
fn a_header_that_is_not_exactly_ours_is_refused() {
    use RefusalReason as R;
    let mut house = house();
    let good = claims("n-1", "n-1");
    let table = [
        (
            r#"{"alg":"none","typ":"keygate-login+jwt"}"#,
            R::AssertionAlgorithm,
        ),
        (
            r#"{"alg":"HS256","typ":"keygate-login+jwt"}"#,
            R::AssertionAlgorithm,
        ),
        (
            r#"{"alg":"ES256","typ":"keygate-login+jwt"}"#,
            R::AssertionAlgorithm,
        ),
        (
            r#"{"alg":"ed25519","typ":"keygate-login+jwt"}"#,
            R::AssertionAlgorithm,
        ),
        (
            r#"{"alg":"","typ":"keygate-login+jwt"}"#,
            R::AssertionAlgorithm,
        ),
        (r#"{"alg":"Ed25519","typ":"JWT"}"#, R::AssertionWrongType),
        (r#"{"alg":"Ed25519","typ":"at+jwt"}"#, R::AssertionWrongType),
        (
            r#"{"alg":"Ed25519","typ":"Keygate-Login+JWT"}"#,
            R::AssertionWrongType,
        ),
        (r#"{"alg":"Ed25519"}"#, R::AssertionMalformed),
        (r#"{"typ":"keygate-login+jwt"}"#, R::AssertionMalformed),
        (
            r#"{"alg":"Ed25519","typ":"keygate-login+jwt","crit":["b64"],"b64":false}"#,
            R::AssertionMalformed,
        ),
        (
            r#"{"alg":"Ed25519","typ":"keygate-login+jwt","jwk":{}}"#,
            R::AssertionMalformed,
        ),
        (
            r#"{"alg":"Ed25519","typ":"keygate-login+jwt","alg":"Ed25519"}"#,
            R::AssertionMalformed,
        ),
        (
            r#"{"alg":"Ed25519","typ":"keygate-login+jwt","\u0061lg":"none"}"#,
            R::AssertionMalformed,
        ),
        (
            r#"{"alg":"Ed25519","typ":"keygate-login+jwt","kid":null}"#,
            R::AssertionMalformed,
        ),
        (
            r#"{"alg":"Ed25519","typ":"keygate-login+jwt"} x"#,
            R::AssertionMalformed,
        ),
        (
            r#"{"alg":7,"typ":"keygate-login+jwt"}"#,
            R::AssertionMalformed,
        ),
    ];
    for (header, reason) in table {
        let password = jws(header, &good, &mut key(1));
        assert_refused(
            login(&mut house, "dev-1", &password),
            reason,
            Some("dev-1"),
            header,
        );
    }
    assert_eq!(remembered(&house), (0, 0));
}

#[test]
fn claims_that_are_not_exactly_ours_are_refused() {
    use RefusalReason as R;
    let mut house = house();
    let (iat, exp) = (format!("{}", WALL.0), format!("{}", WALL.0 + 300));
    let table = [
        (
            "duplicate",
            claims(r#""jti""#, r#""iss":"dev-1","jti""#),
            R::AssertionMalformed,
        ),
        (
            "duplicate, escaped",
            claims(r#""jti""#, r#""\u0069ss":"dev-2","jti""#),
            R::AssertionMalformed,
        ),
        (
            "duplicate of an unknown one",
            claims(r#""jti""#, r#""x":1,"x":2,"jti""#),
            R::AssertionMalformed,
        ),
        (
            "issuer is another",
            claims(r#""iss":"dev-1""#, r#""iss":"dev-2""#),
            R::AssertionMalformed,
        ),
        (
            "no issuer",
            claims(r#""iss":"dev-1","#, ""),
            R::AssertionMalformed,
        ),
        (
            "no subject",
            claims(r#""sub":"dev-1","#, ""),
            R::AssertionMalformed,
        ),
        ("other broker", claims(BROKER, "kg-other"), R::WrongBroker),
        (
            "no audience",
            claims(&format!(r#""aud":"{BROKER}","#), ""),
            R::WrongBroker,
        ),
        (
            "audience list",
            claims(&format!(r#""{BROKER}""#), &format!(r#"["{BROKER}"]"#)),
            R::AssertionMalformed,
        ),
        (
            "other client id",
            claims(r#""jti""#, r#""client_id":"dev-2","jti""#),
            R::AssertionWrongClient,
        ),
        (
            "goes with a token",
            claims(r#""jti""#, r#""ath":"x","jti""#),
            R::AssertionWrongType,
        ),
        ("null", claims(r#""n-1""#, "null"), R::AssertionMalformed),
        (
            "no jti",
            claims(r#","jti":"n-1""#, ""),
            R::AssertionMalformed,
        ),
        ("empty jti", claims("n-1", ""), R::AssertionMalformed),
        (
            "long jti",
            claims("n-1", &"n".repeat(65)),
            R::AssertionMalformed,
        ),
        ("odd jti", claims("n-1", "n 1"), R::AssertionMalformed),
        (
            "no iat",
            claims(&format!(r#""iat":{iat},"#), ""),
            R::AssertionMalformed,
        ),
        (
            "no exp",
            claims(&format!(r#""exp":{exp},"#), ""),
            R::AssertionMalformed,
        ),
        (
            "float",
            claims(&exp, &format!("{exp}.5")),
            R::AssertionMalformed,
        ),
        ("exponent", claims(&exp, "19e8"), R::AssertionMalformed),
        (
            "text",
            claims(&exp, &format!(r#""{exp}""#)),
            R::AssertionMalformed,
        ),
        ("negative", claims(&iat, "-1"), R::AssertionMalformed),
        (
            "ends before it begins",
            claims(&exp, &iat),
            R::AssertionMalformed,
        ),
        (
            "lives too long",
            claims(&exp, &format!("{}", WALL.0 + 301)),
            R::AssertionLifetime,
        ),
        (
            "not before",
            claims(r#""jti""#, &format!(r#""nbf":{},"jti""#, WALL.0 + 61)),
            R::AssertionFromFuture,
        ),
        (
            "array",
            format!("[{}]", claims("n-1", "n-1")),
            R::AssertionMalformed,
        ),
        (
            "trailing",
            format!("{} {{}}", claims("n-1", "n-1")),
            R::AssertionMalformed,
        ),
    ];
    for (what, claims, reason) in table {
        let password = jws(HEADER, &claims, &mut key(1));
        assert_refused(
            login(&mut house, "dev-1", &password),
            reason,
            Some("dev-1"),
            what,
        );
    }
    assert_eq!(remembered(&house), (0, 0));
}

#[test]
fn text_that_is_no_jws_is_refused() {
    let mut house = house();
    let good = with_times(WALL.0, WALL.0 + 300, "n-1");
    let parts: Vec<&str> = good.split('.').collect();
    let long = format!("{}{}", good, "A".repeat(1024));
    let table = [
        ("no dots", "eyJ".into()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("padded", format!("{good}==")),
        ("short signature", good[..good.len() - 4].to_owned()),
        (
            "left-over bits",
            format!("{}{}", &good[..good.len() - 1], flipped_last(&good)),
        ),
        ("standard alphabet", good.replacen('.', "+.", 1)),
        ("white space", good.replacen('.', ".\n", 1)),
        ("empty claims", format!("{}..{}", parts[0], parts[2])),
        ("too long", long),
    ];
    for (what, password) in table {
        let answer = login(&mut house, "dev-1", &password);
        assert_refused(
            answer,
            RefusalReason::AssertionMalformed,
            Some("dev-1"),
            what,
        );
    }
}

/// Another last character for the same 64 bytes: 86 characters carry four bits too many.
fn flipped_last(text: &str) -> char {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = *text.as_bytes().last().unwrap();
    let value = ALPHABET.iter().position(|c| *c == last).unwrap();
    char::from(ALPHABET[value ^ 1])
}

#[test]
fn ids_must_agree_everywhere() {
    use RefusalReason as R;
    let mut house = house();
    let password = with_times(WALL.0, WALL.0 + 300, "n-1");
    let rules = ListenerRules::loopback();
    let mut other_name = with_password("dev-1", &password);
    other_name.username = Some("dev-2");
    assert_refused(
        house.decide(&other_name, &rules),
        R::UserNameNotOwn,
        Some("dev-1"),
        "user name",
    );
    let mut other_client = with_password("dev-1", &password);
    other_client.client_id = "dev-2";
    assert_refused(
        house.decide(&other_client, &rules),
        R::ClientIdNotOwn,
        Some("dev-1"),
        "client id",
    );
    other_client.client_id = "dev-1/panel";
    assert_refused(
        house.decide(&other_client, &rules),
        R::ClientIdNotOwn,
        Some("dev-1"),
        "suffix",
    );
    assert_eq!(remembered(&house), (0, 0));
}

fn as_device(id: &str, n: u8) -> String {
    let claims = claims("n-1", "n-1").replace("dev-1", id);
    jws(HEADER, &claims, &mut key(n))
}

#[test]
fn whoever_may_not_is_refused_alike_and_the_log_knows_why() {
    use RefusalReason as R;
    let mut house = house();
    let with_kid = |n: u8, kid: &str| {
        let header = format!(r#"{{"alg":"Ed25519","typ":"keygate-login+jwt","kid":"{kid}"}}"#);
        jws(
            &header,
            &claims("n-1", "n-1").replace("dev-1", "dev-2"),
            &mut key(n),
        )
    };
    let kid_of = |n| public(n).key_id().to_string();
    let table = [
        ("unknown", "dev-9", as_device("dev-9", 1), R::UnknownDevice),
        ("wrong key", "dev-1", as_device("dev-1", 2), R::BadSignature),
        (
            "pending",
            "dev-pending",
            as_device("dev-pending", 4),
            R::DevicePending,
        ),
        (
            "suspended",
            "dev-suspended",
            as_device("dev-suspended", 5),
            R::DeviceSuspended,
        ),
        (
            "suspended, wrong key",
            "dev-suspended",
            as_device("dev-suspended", 1),
            R::BadSignature,
        ),
        (
            "revoked",
            "dev-revoked",
            as_device("dev-revoked", 6),
            R::DeviceRevoked,
        ),
        (
            "key over",
            "dev-expired",
            as_device("dev-expired", 7),
            R::KeyExpired,
        ),
        (
            "key not yet",
            "dev-early",
            as_device("dev-early", 8),
            R::KeyNotYetValid,
        ),
        (
            "two keys, none named",
            "dev-2",
            as_device("dev-2", 2),
            R::KeyUnknown,
        ),
        (
            "names another's key",
            "dev-2",
            with_kid(1, &kid_of(1)),
            R::KeyUnknown,
        ),
        (
            "names no key",
            "dev-2",
            with_kid(2, "dev-2-k1"),
            R::KeyUnknown,
        ),
        (
            "names the other key",
            "dev-2",
            with_kid(2, &kid_of(3)),
            R::BadSignature,
        ),
    ];
    for (what, id, password, reason) in table {
        assert_refused(login(&mut house, id, &password), reason, Some(id), what);
    }
    assert!(login(&mut house, "dev-2", &with_kid(3, &kid_of(3))).is_ok());
    assert_eq!(remembered(&house), (0, 0));
}

#[test]
fn challenges_are_fresh_ours_and_for_a_minute() {
    use RefusalReason as R;
    let mut house = house();
    let rules = ListenerRules::loopback();
    let challenge = house.challenge_text();
    let password = with_challenge(&challenge);
    let connect = with_password("dev-1", &password);
    let mut at = |ms: u64| decided(house.begin_at(&connect, &rules, Millis(ms), WALL));
    assert!(at(NOW.0).is_ok());
    assert!(at(NOW.0 + 60_000).is_ok());
    assert_refused(
        at(NOW.0 + 60_001),
        R::ChallengeExpired,
        Some("dev-1"),
        "late",
    );

    let strangers = ChallengeKeys::new(BROKER, &mut SeededRandom::new(99));
    let forged = strangers.issue(NOW, &mut SeededRandom::new(3));
    for forged in [forged.as_str(), "A"] {
        let answer = login(&mut house, "dev-1", &with_challenge(forged));
        assert_refused(answer, R::ChallengeForged, Some("dev-1"), forged);
    }
}

#[test]
fn with_a_challenge_times_are_not_read() {
    let mut house = house();
    let challenge = house.challenge_text();
    for times in [
        r#""iat":1,"exp":0,"#,
        r#""iat":9999999999,"nbf":9999999999,"#,
        "",
    ] {
        let claims = format!(
            r#"{{"iss":"dev-1","sub":"dev-1","aud":"{BROKER}",{times}"cnonce":"{challenge}"}}"#
        );
        let password = jws(HEADER, &claims, &mut key(1));
        assert!(login(&mut house, "dev-1", &password).is_ok(), "{times}");
    }
}

#[test]
fn times_are_judged_with_a_minute_of_tolerance() {
    use RefusalReason as R;
    let mut house = house();
    let mut at = |iat: u64, exp: u64| login(&mut house, "dev-1", &with_times(iat, exp, "n-1"));
    let wall = WALL.0;
    assert!(at(wall + 60, wall + 120).is_ok());
    assert_refused(
        at(wall + 61, wall + 120),
        R::AssertionFromFuture,
        Some("dev-1"),
        "early",
    );
    assert!(at(wall - 359, wall - 59).is_ok());
    assert_refused(
        at(wall - 360, wall - 60),
        R::AssertionExpired,
        Some("dev-1"),
        "late",
    );
    assert_refused(at(1, 2), R::AssertionExpired, Some("dev-1"), "long ago");
}

#[test]
fn a_listener_may_allow_longer_lives_up_to_a_day() {
    let mut house = house();
    let mut rules = ListenerRules::loopback();
    rules.assertion_ttl_max_s = u64::MAX;
    let day = 24 * 60 * 60;
    let mut at = |life: u64| {
        let claims = claims(&format!("{}", WALL.0 + 300), &format!("{}", WALL.0 + life));
        let password = jws(HEADER, &claims, &mut key(1));
        house.decide(&with_password("dev-1", &password), &rules)
    };
    assert!(at(day).is_ok());
    assert_refused(
        at(day + 1),
        RefusalReason::AssertionLifetime,
        Some("dev-1"),
        "a day and a second",
    );
}

#[test]
fn times_at_the_end_of_numbers_are_refused_and_nothing_more() {
    let mut house = house();
    for (iat, exp) in [(u64::MAX - 1, u64::MAX), (0, u64::MAX), (0, 1)] {
        let claims = claims(&format!("{}", WALL.0), &iat.to_string()).replacen(
            &format!("{}", WALL.0 + 300),
            &exp.to_string(),
            1,
        );
        assert!(login(&mut house, "dev-1", &jws(HEADER, &claims, &mut key(1))).is_err());
    }
}

#[test]
fn reusable_until_expiry_on_loopback_and_once_elsewhere() {
    use RefusalReason as R;
    let mut house = house();
    let challenge = house.challenge_text();
    for password in [
        with_times(WALL.0, WALL.0 + 300, "n-1"),
        with_challenge(&challenge),
    ] {
        let connect = with_password("dev-1", &password);
        assert!(house.decide(&connect, &ListenerRules::loopback()).is_ok());
        assert!(house.decide(&connect, &ListenerRules::loopback()).is_ok());
        assert!(house.decide(&connect, &ListenerRules::plain()).is_ok());
        let again = house.decide(&connect, &ListenerRules::plain());
        assert_refused(again, R::AssertionReused, Some("dev-1"), &password);
    }
    assert_eq!(remembered(&house), (1, 1));
}

#[test]
fn a_refused_assertion_is_not_used_up() {
    let mut house = house();
    let password = as_device("dev-suspended", 5);
    let connect = with_password("dev-suspended", &password);
    assert!(house.decide(&connect, &ListenerRules::plain()).is_err());
    house
        .registry
        .transition("dev-suspended", Transition::Resume)
        .unwrap();
    assert!(house.decide(&connect, &ListenerRules::plain()).is_ok());
}

#[test]
fn once_means_that_nothing_older_than_this_start_is_taken() {
    let mut house = house_with(|config| config.started = WALL);
    let rules = ListenerRules::plain();
    let before = with_times(WALL.0 - 1, WALL.0 + 200, "n-1");
    let answer = house.decide(&with_password("dev-1", &before), &rules);
    assert_refused(
        answer,
        RefusalReason::AssertionBeforeStart,
        Some("dev-1"),
        "before the start",
    );
    let after = with_times(WALL.0, WALL.0 + 200, "n-2");
    assert!(
        house
            .decide(&with_password("dev-1", &after), &rules)
            .is_ok()
    );
    // Where it may be reused anyway, the start means nothing.
    assert!(
        house
            .decide(&with_password("dev-1", &before), &ListenerRules::loopback())
            .is_ok()
    );
}

#[test]
fn a_full_memory_refuses_with_a_code_of_its_own() {
    let mut house = house();
    let rules = ListenerRules::plain();
    let mut attempt = |n: usize| {
        let password = with_times(WALL.0, WALL.0 + 300, &format!("n-{n}"));
        house.decide(&with_password("dev-1", &password), &rules)
    };
    for n in 0..REPLAY_PER_IDENTITY_MAX {
        assert!(attempt(n).is_ok(), "{n}");
    }
    assert_refused(
        attempt(99),
        RefusalReason::ReplayMemoryFull,
        Some("dev-1"),
        "33rd",
    );
    assert_refused(
        attempt(0),
        RefusalReason::AssertionReused,
        Some("dev-1"),
        "the first again",
    );
}

#[test]
fn a_session_ends_with_its_key_or_with_the_longest_session() {
    let mut house = house_with(|config| config.session_max_s = Some(50));
    let accepted = login(&mut house, "dev-ends", &as_device("dev-ends", 9)).unwrap();
    assert_eq!(accepted.principal.expires_at, Some(WALL.plus(50)));
    assert!(!accepted.principal.is_expired(WALL.plus(49)));
    assert!(accepted.principal.is_expired(WALL.plus(50)));

    let mut house = super::house();
    let accepted = login(&mut house, "dev-ends", &as_device("dev-ends", 9)).unwrap();
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

proptest::proptest! {
    /// Nothing that somebody without a key sends is accepted, panics, or is remembered.
    #[test]
    fn noise_is_refused(
        cut in 0_usize..400,
        byte in proptest::prelude::any::<u8>(),
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
    ) {
        let mut house = house();
        let good = with_times(WALL.0, WALL.0 + 300, "n-1").into_bytes();
        let cut = cut.min(good.len() - 1);
        let mut changed = good.clone();
        changed[cut] = byte;
        let mut glued = good[..cut].to_vec();
        glued.extend_from_slice(&tail);
        for noise in [changed, glued] {
            if noise != good {
                let mut connect = with_password("dev-1", "");
                connect.password = Some(&noise);
                proptest::prop_assert!(house.decide(&connect, &ListenerRules::plain()).is_err());
            }
        }
        proptest::prop_assert_eq!(remembered(&house), (0, 0));
    }
}
