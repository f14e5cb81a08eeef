//! Challenges, times, and how often.
use super::who::as_device;
use super::*;
use RefusalReason as R;

#[test]
fn without_a_challenge_all_of_the_times_are_needed() {
    let (iat, exp) = (WALL.0.to_string(), (WALL.0 + 300).to_string());
    let later = format!(r#""nbf":{},"jti""#, WALL.0 + 61);
    let life = (WALL.0 + 301).to_string();
    all_refused(&[
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
        ("no life", claims(&exp, &iat), R::AssertionMalformed),
        ("too long a life", claims(&exp, &life), R::AssertionLifetime),
        (
            "not before",
            claims(r#""jti""#, &later),
            R::AssertionFromFuture,
        ),
    ]);
}

#[test]
fn challenges_are_fresh_ours_and_for_a_minute() {
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
