//! Who it says it is, and whether that one may.
use super::*;
use RefusalReason as R;

#[test]
fn names_in_the_claims_must_be_right() {
    let aud = format!(r#""aud":"{BROKER}","#);
    let list = claims(&format!(r#""{BROKER}""#), &format!(r#"["{BROKER}"]"#));
    let for_another = claims(r#""jti""#, r#""client_id":"dev-2","jti""#);
    all_refused(&[
        (
            "other issuer",
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
        ("no audience", claims(&aud, ""), R::WrongBroker),
        ("audience list", list, R::AssertionMalformed),
        ("other client id", for_another, R::AssertionWrongClient),
    ]);
}

#[test]
fn ids_must_agree_everywhere() {
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

pub(super) fn as_device(id: &str, n: u8) -> String {
    let claims = claims("n-1", "n-1").replace("dev-1", id);
    jws(HEADER, &claims, &mut key(n))
}

fn with_kid(n: u8, kid: &str) -> String {
    let header = HEADER.replace('}', &format!(r#","kid":"{kid}"}}"#));
    let claims = claims("n-1", "n-1").replace("dev-1", "dev-2");
    jws(&header, &claims, &mut key(n))
}

fn kid_of(n: u8) -> String {
    public(n).key_id().to_string()
}

#[test]
fn whoever_may_not_is_refused_alike_and_the_log_knows_why() {
    let mut house = house();
    for (id, n, reason) in [
        ("dev-9", 1, R::UnknownDevice),
        ("dev-1", 2, R::BadSignature),
        ("dev-pending", 4, R::DevicePending),
        ("dev-suspended", 5, R::DeviceSuspended),
        ("dev-suspended", 1, R::BadSignature),
        ("dev-revoked", 6, R::DeviceRevoked),
        ("dev-expired", 7, R::KeyExpired),
        ("dev-early", 8, R::KeyNotYetValid),
        // Two keys, and none named.
        ("dev-2", 2, R::KeyUnknown),
    ] {
        let answer = login(&mut house, id, &as_device(id, n));
        assert_refused(answer, reason, Some(id), &format!("{id} with key {n}"));
    }
    assert_eq!(remembered(&house), (0, 0));
}

#[test]
fn a_kid_chooses_among_the_keys_of_the_device_only() {
    let mut house = house();
    for (what, password, reason) in [
        ("another's key", with_kid(1, &kid_of(1)), R::KeyUnknown),
        ("no key id", with_kid(2, "dev-2-k1"), R::KeyUnknown),
        (
            "upper case",
            with_kid(2, &kid_of(2).to_uppercase()),
            R::KeyUnknown,
        ),
        ("the other key", with_kid(2, &kid_of(3)), R::BadSignature),
    ] {
        assert_refused(
            login(&mut house, "dev-2", &password),
            reason,
            Some("dev-2"),
            what,
        );
    }
    for n in [2, 3] {
        assert!(login(&mut house, "dev-2", &with_kid(n, &kid_of(n))).is_ok());
    }
}
