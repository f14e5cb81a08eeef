use super::*;

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
    let table = [
        (
            "two kinds",
            two,
            RefusalReason::TwoCredentials,
            Some("dev-1"),
        ),
        (
            "none",
            v5("dev-1", None),
            RefusalReason::NoCredentials,
            Some("dev-1"),
        ),
        (
            "none, and no client id",
            v5("", None),
            RefusalReason::NoCredentials,
            None,
        ),
        (
            "a name is no proof",
            name_only,
            RefusalReason::NoCredentials,
            Some("dev-1"),
        ),
        (
            "unknown method",
            v5("dev-1", Some("ace")),
            RefusalReason::MethodUnknown,
            Some("dev-1"),
        ),
        (
            "empty method",
            v5("dev-1", Some("")),
            RefusalReason::MethodUnknown,
            Some("dev-1"),
        ),
        (
            "case counts",
            v5("dev-1", Some("KG-ED25519")),
            RefusalReason::MethodUnknown,
            Some("dev-1"),
        ),
        (
            "empty client id",
            v5("", Some("kg-ed25519")),
            RefusalReason::ClientIdNotOwn,
            None,
        ),
        (
            "empty client id, 3.1.1",
            with_password("", "x"),
            RefusalReason::ClientIdNotOwn,
            None,
        ),
        (
            "other password",
            with_password("dev-1", "hunter2"),
            RefusalReason::AssertionMalformed,
            Some("dev-1"),
        ),
        (
            "token and assertion",
            with_password("dev-1", "eyJ~eyJ"),
            RefusalReason::AssertionMalformed,
            Some("dev-1"),
        ),
        (
            "an id that is none",
            with_password("a/b", "hunter2"),
            RefusalReason::AssertionMalformed,
            None,
        ),
    ];
    for (what, connect, reason, identity) in table {
        assert_refused(house.decide(&connect, &rules), reason, identity, what);
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
    assert_refused(
        answer,
        RefusalReason::MethodUnknown,
        Some("dev-1"),
        "no kg-ed25519",
    );
    assert!(
        house
            .decide(&with_password("dev-1", &password), &rules)
            .is_ok()
    );

    rules.methods = [Method::KgEd25519].into();
    let answer = house.decide(&with_password("dev-1", &password), &rules);
    assert_refused(
        answer,
        RefusalReason::AssertionMalformed,
        Some("dev-1"),
        "no assertions",
    );

    rules.methods = [Method::SignedRequest].into();
    let answer = house.decide(&with_password("dev-1", &password), &rules);
    assert_refused(
        answer,
        RefusalReason::AssertionMalformed,
        Some("dev-1"),
        "another door's",
    );

    rules.methods = [].into();
    let answer = house.decide(&with_password("dev-1", &password), &rules);
    assert_refused(
        answer,
        RefusalReason::AssertionMalformed,
        Some("dev-1"),
        "nobody asked",
    );
}

#[test]
fn only_failed_proofs_count_against_a_peer() {
    let counts = |reason| Refusal::new(reason, "dev-1").is_failed_proof();
    use RefusalReason as R;
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
