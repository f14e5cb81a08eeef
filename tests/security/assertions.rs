//! Assertions as password (SPEC.md §6): old ones, reused ones, other kinds, other people's.
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_protocol::assertion::Freshness;
use keygate_protocol::coap::ChallengeAnswer;
use keygate_protocol::mqtt::Version;
use keygate_tests::broker::Broker;
use keygate_tests::coap::Coap;
use keygate_tests::device::{Asked, Device, wall};
use keygate_tests::witness::Witness;
use serde_json::{Value, json};

/// A listener that takes each assertion once, as plain ones beyond loopback do.
const ONCE: &str = "[login]\nassertion_reuse = \"once\"\n";

/// A device at a broker, and a witness.
struct Stage {
    broker: Broker,
    device: Device,
}

impl Stage {
    fn new() -> Self {
        Self::with("")
    }

    fn with(settings: &str) -> Self {
        let broker = Broker::with(settings);
        let device = Device::new("dev-1");
        broker.enrol([&device]);
        Self { broker, device }
    }

    /// This password is refused in both versions, with the code of an unknown device, for this reason.
    #[track_caller]
    fn refuses(&self, assertion: &str, reason: RefusalReason) {
        for (version, code) in [(Version::V5, 0x87), (Version::V311, 5)] {
            let asked = Asked::by(&self.device.id);
            let tried = self
                .broker
                .try_assertion(&self.device, &asked, version, assertion);
            let (local, got) = tried.expect_err("it is refused");
            assert_eq!(got, Some(code), "{version:?}");
            assert_eq!(self.broker.trail().refused_login(local), reason);
        }
    }

    #[track_caller]
    fn takes(&self, assertion: &str) {
        let asked = Asked::by(&self.device.id);
        self.broker
            .try_assertion(&self.device, &asked, Version::V5, assertion)
            .expect("it is taken")
            .must_stand();
    }

    /// A good assertion with these claims on top.
    fn with_claims(&self, changed: &Value) -> String {
        let mut claims = self.device.assertion_claims(&self.broker.broker_id);
        lay_over(&mut claims, changed);
        self.device.jws(&self.device.assertion_header(), &claims)
    }

    /// A good assertion with these members of the header on top.
    fn with_header(&self, changed: &Value) -> String {
        let mut header = self.device.assertion_header();
        lay_over(&mut header, changed);
        let claims = self.device.assertion_claims(&self.broker.broker_id);
        self.device.jws(&header, &claims)
    }
}

fn lay_over(object: &mut Value, changed: &Value) {
    for (name, value) in changed.as_object().expect("an object") {
        object[name] = value.clone();
    }
}

#[test]
fn the_forger_of_these_tests_can_make_a_good_one() {
    let stage = Stage::new();
    stage.takes(&stage.with_claims(&json!({})));
    stage.takes(&stage.with_header(&json!({})));
}

#[test]
fn an_expired_one_is_refused() {
    let stage = Stage::new();
    let mut witness = Witness::of(&stage.broker);
    let now = wall();
    let expired = json!({"iat": now - 400, "exp": now - 120});
    stage.refuses(
        &stage.with_claims(&expired),
        RefusalReason::AssertionExpired,
    );
    witness.nothing_happened();
}

#[test]
fn one_from_the_future_is_refused() {
    let stage = Stage::new();
    let now = wall();
    let future = json!({"iat": now + 120, "exp": now + 300});
    stage.refuses(
        &stage.with_claims(&future),
        RefusalReason::AssertionFromFuture,
    );
    let later = json!({"nbf": now + 120});
    stage.refuses(
        &stage.with_claims(&later),
        RefusalReason::AssertionFromFuture,
    );
}

#[test]
fn one_that_lives_too_long_is_refused() {
    let stage = Stage::new();
    let now = wall();
    let long = json!({"iat": now, "exp": now + 301});
    stage.refuses(&stage.with_claims(&long), RefusalReason::AssertionLifetime);
}

#[test]
fn another_type_is_refused() {
    let stage = Stage::new();
    for typ in ["JWT", "at+jwt", "dpop+jwt", "keygate-login+cwt", ""] {
        let other = stage.with_header(&json!({ "typ": typ }));
        stage.refuses(&other, RefusalReason::AssertionWrongType);
    }
    // What goes with a token must not open what the token would have narrowed.
    let with_token = stage.with_claims(&json!({"ath": "AAAA"}));
    stage.refuses(&with_token, RefusalReason::AssertionWrongType);
}

#[test]
fn another_audience_is_refused() {
    let stage = Stage::new();
    let elsewhere = stage.with_claims(&json!({"aud": "kg-elsewhere"}));
    stage.refuses(&elsewhere, RefusalReason::WrongBroker);
}

#[test]
fn another_algorithm_is_refused() {
    let stage = Stage::new();
    for alg in ["none", "None", "HS256", "ES256", "RS256", ""] {
        let other = stage.with_header(&json!({ "alg": alg }));
        stage.refuses(&other, RefusalReason::AssertionAlgorithm);
    }
    // Unsigned in the way of RFC 7515: an empty signature.
    let good = stage.with_header(&json!({"alg": "none"}));
    let (input, _) = good.rsplit_once('.').unwrap();
    stage.refuses(&format!("{input}."), RefusalReason::AssertionMalformed);
}

#[test]
fn a_wrong_key_is_refused() {
    let stage = Stage::new();
    let impostor = stage.device.impostor();
    let claims = stage.device.assertion_claims(&stage.broker.broker_id);
    let under_his_name = impostor.jws(&impostor.assertion_header(), &claims);
    stage.refuses(&under_his_name, RefusalReason::KeyUnknown);
    let under_our_name = impostor.jws(&stage.device.assertion_header(), &claims);
    stage.refuses(&under_our_name, RefusalReason::BadSignature);
}

#[test]
fn an_unknown_device_is_refused() {
    let broker = Broker::start();
    let device = Device::new("dev-1");
    let stage = Stage { broker, device };
    let assertion = stage.with_claims(&json!({}));
    stage.refuses(&assertion, RefusalReason::UnknownDevice);
}

#[test]
fn another_client_id_is_refused() {
    let stage = Stage::new();
    let bound = stage.with_claims(&json!({"client_id": "dev-1/other"}));
    stage.refuses(&bound, RefusalReason::AssertionWrongClient);

    // A good assertion does not open another client id, nor another user name.
    for (version, code) in [(Version::V5, 0x85), (Version::V311, 2)] {
        let assertion = stage.with_claims(&json!({}));
        let tried =
            stage
                .broker
                .try_assertion(&stage.device, &Asked::by("dev-2"), version, &assertion);
        let (local, got) = tried.expect_err("it is refused");
        assert_eq!(got, Some(code));
        assert_eq!(
            stage.broker.trail().refused_login(local),
            RefusalReason::ClientIdNotOwn
        );
    }
    let assertion = stage.with_claims(&json!({}));
    let other_name = Device::new("dev-2");
    let tried =
        stage
            .broker
            .try_assertion(&other_name, &Asked::by("dev-1"), Version::V5, &assertion);
    let (local, got) = tried.expect_err("it is refused");
    assert_eq!(got, Some(0x87));
    assert_eq!(
        stage.broker.trail().refused_login(local),
        RefusalReason::UserNameNotOwn
    );
}

#[test]
fn what_is_no_assertion_is_refused() {
    let stage = Stage::new();
    let good = stage.with_claims(&json!({}));
    for password in [
        "",
        "secret",
        "..",
        &good[..good.len() - 1],
        &good.replace('.', "~"),
        &format!("{good}="),
        &format!("{good}.{good}"),
        &stage.with_claims(&json!({"iss": "dev-2"})),
        &stage.with_claims(&json!({"exp": "soon"})),
        &stage.with_claims(&json!({"jti": ""})),
    ] {
        let asked = Asked::by("dev-1");
        let tried = stage
            .broker
            .try_assertion(&stage.device, &asked, Version::V5, password);
        let (local, got) = tried.expect_err("it is refused");
        assert_eq!(got, Some(0x87), "{password}");
        let reason = stage.broker.trail().refused_login(local);
        assert!(
            matches!(
                reason,
                RefusalReason::AssertionMalformed | RefusalReason::NoCredentials
            ),
            "{password}: {reason:?}"
        );
    }
}

#[test]
fn every_altered_character_voids_it() {
    let stage = Stage::new();
    let good = stage.with_claims(&json!({}));
    for at in (0..good.len()).step_by(17) {
        let mut altered = good.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        let asked = Asked::by("dev-1");
        let tried = stage
            .broker
            .try_assertion(&stage.device, &asked, Version::V5, &altered);
        assert!(tried.is_err(), "altered at {at}: {altered}");
    }
    stage.takes(&good);
}

#[test]
fn a_used_one_is_refused_where_the_listener_says_once() {
    let stage = Stage::with(ONCE);
    let assertion = stage.with_claims(&json!({}));
    stage.takes(&assertion);
    let mut witness = Witness::of(&stage.broker);
    stage.refuses(&assertion, RefusalReason::AssertionReused);
    witness.nothing_happened();
    // Another one of the same device is another one.
    stage.takes(&stage.with_claims(&json!({})));
}

#[test]
fn a_used_one_works_on_loopback_until_it_expires() {
    let stage = Stage::new();
    let assertion = stage.with_claims(&json!({}));
    stage.takes(&assertion);
    stage.takes(&assertion);
}

#[test]
fn one_from_before_the_start_is_refused_where_the_listener_says_once() {
    let stage = Stage::with(ONCE);
    let now = wall();
    let before = json!({"iat": now - 30, "exp": now + 60});
    let assertion = stage.with_claims(&before);
    stage.refuses(&assertion, RefusalReason::AssertionBeforeStart);
}

#[test]
fn a_challenge_makes_one_fresh_without_a_clock() {
    for settings in ["", ONCE] {
        let stage = Stage::with(settings);
        let reply = Coap::to(&stage.broker).get(&["challenge"]);
        let challenge = ChallengeAnswer::decode(&reply.payload).expect("a challenge");
        assert_eq!(challenge.broker_id.as_str(), stage.broker.broker_id);
        let assertion = stage.device.asserting(
            &stage.broker.broker_id,
            Freshness::Challenge(challenge.cnonce),
        );
        stage.takes(&assertion);
        match settings {
            ONCE => stage.refuses(&assertion, RefusalReason::AssertionReused),
            _ => stage.takes(&assertion),
        }
    }
}

#[test]
fn a_challenge_that_is_not_ours_is_refused() {
    let stage = Stage::new();
    let other = Broker::start();
    let reply = Coap::to(&other).get(&["challenge"]);
    let foreign = ChallengeAnswer::decode(&reply.payload).unwrap();
    for cnonce in [foreign.cnonce, "cUAAAAARIjNEqrvM3QABAgM", "x"] {
        let assertion = stage
            .device
            .asserting(&stage.broker.broker_id, Freshness::Challenge(cnonce));
        stage.refuses(&assertion, RefusalReason::ChallengeForged);
    }
}
