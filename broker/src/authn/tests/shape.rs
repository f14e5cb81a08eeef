use super::*;
use RefusalReason as R;

fn v5<'a>(id: &'a str, method: Option<&'a str>) -> Connect<'a> {
    let mut connect = Connect::new(Version::V5, id);
    connect.properties.auth_method = method;
    connect
}

#[test]
fn what_a_connect_brings_decides_before_any_method() {
    let mut house = house();
    let rules = ListenerRules::loopback();
    let mut two = v5("dev-1", Some("kg-ed25519"));
    two.password = Some(b"x");
    let mut name_only = v5("dev-1", None);
    name_only.username = Some("dev-1");
    let password = |id, text| with_password(id, text);
    let table = [
        ("two kinds", two, R::TwoCredentials),
        ("none", v5("dev-1", None), R::NoCredentials),
        ("a name is no proof", name_only, R::NoCredentials),
        ("unknown method", v5("dev-1", Some("ace")), R::MethodUnknown),
        ("empty method", v5("dev-1", Some("")), R::MethodUnknown),
        (
            "case counts",
            v5("dev-1", Some("KG-ED25519")),
            R::MethodUnknown,
        ),
        (
            "other password",
            password("dev-1", "hunter2"),
            R::AssertionMalformed,
        ),
        (
            "with a token",
            password("dev-1", "eyJ~eyJ"),
            R::AssertionMalformed,
        ),
    ];
    for (what, connect, reason) in table {
        assert_refused(house.decide(&connect, &rules), reason, Some("dev-1"), what);
    }
    let nameless = [
        ("nothing at all", v5("", None), R::NoCredentials),
        (
            "empty client id",
            v5("", Some("kg-ed25519")),
            R::ClientIdNotOwn,
        ),
        (
            "empty client id, 3.1.1",
            password("", "x"),
            R::ClientIdNotOwn,
        ),
        (
            "an id that is none",
            password("a/b", "x"),
            R::AssertionMalformed,
        ),
    ];
    for (what, connect, reason) in nameless {
        assert_refused(house.decide(&connect, &rules), reason, None, what);
    }
}

#[test]
fn a_method_that_the_listener_does_not_take_is_unknown() {
    let mut house = house();
    let challenge = house.challenge_text();
    let password = assertion::with_challenge(&challenge);
    let mut rules = ListenerRules::loopback();

    rules.methods = [Method::Assertion].into();
    let answer = house.decide(&v5("dev-1", Some("kg-ed25519")), &rules);
    assert_refused(answer, R::MethodUnknown, Some("dev-1"), "no kg-ed25519");
    assert!(
        house
            .decide(&with_password("dev-1", &password), &rules)
            .is_ok()
    );

    rules.methods = [Method::KgEd25519].into();
    let answer = house.decide(&with_password("dev-1", &password), &rules);
    assert_refused(
        answer,
        R::AssertionMalformed,
        Some("dev-1"),
        "no assertions",
    );

    rules.methods = [Method::SignedRequest].into();
    let answer = house.decide(&with_password("dev-1", &password), &rules);
    assert_refused(
        answer,
        R::AssertionMalformed,
        Some("dev-1"),
        "another door's",
    );

    rules.methods = [].into();
    let answer = house.decide(&with_password("dev-1", &password), &rules);
    assert_refused(answer, R::AssertionMalformed, Some("dev-1"), "nobody asked");
}

#[test]
fn only_failed_proofs_count_against_a_peer() {
    let counts = |reason| Refusal::new(reason, "dev-1").is_failed_proof();
    for reason in [
        R::BadSignature,
        R::UnknownDevice,
        R::KeyUnknown,
        R::NoCredentials,
        R::DataMalformed,
    ] {
        assert!(counts(reason), "{reason:?}");
    }
    for reason in [
        R::AssertionExpired,
        R::AssertionFromFuture,
        R::AssertionReused,
        R::AssertionBeforeStart,
        R::ChallengeExpired,
        R::ChallengeForged,
        R::DeviceSuspended,
        R::ReplayMemoryFull,
        R::BrokerFault,
    ] {
        assert!(!counts(reason), "{reason:?}");
    }
}

#[test]
fn a_broker_that_is_no_id_is_not_built() {
    let mut random = SeededRandom::new(1);
    let registry = Registry::new(MemoryStore::new(), &mut random).unwrap();
    for (name, alias) in [("a/b", "ok"), ("ok", "")] {
        let config = AuthnConfig {
            broker_id: name.into(),
            broker_id_aliases: [alias.into()].into(),
            identity: [].into(),
            directory: registry.directory(),
            challenges: Arc::new(ChallengeKeys::new(BROKER, &mut random)),
            started: STARTED,
            session_max_s: None,
            replay: ReplayBounds::default(),
        };
        assert!(Authn::new(config).is_err(), "{name} {alias}");
    }
}
