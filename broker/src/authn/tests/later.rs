//! What becomes of a session when the identity store changes.
use super::*;

fn session(house: &mut House, id: &str, n: u8) -> Principal {
    let challenge = house.challenge_text();
    let claims =
        format!(r#"{{"iss":"{id}","sub":"{id}","aud":"{BROKER}","cnonce":"{challenge}"}}"#);
    let header = format!(
        r#"{{"alg":"Ed25519","typ":"keygate-login+jwt","kid":"{}"}}"#,
        public(n).key_id()
    );
    let password = jws(&header, &claims, &mut key(n));
    let connect = with_password(id, &password);
    house
        .decide(&connect, &ListenerRules::plain())
        .unwrap()
        .principal
}

#[test]
fn an_unchanged_session_holds_and_learns_the_new_revision() {
    let mut house = house();
    let before = session(&mut house, "dev-1", 1);
    house
        .registry
        .transition("dev-2", Transition::Suspend)
        .unwrap();
    let after = house.authn.recheck(&before, WALL).unwrap();
    assert!(after.revision > before.revision);
    assert_eq!((after.id(), after.key_id), (before.id(), before.key_id));
    assert_eq!(after.expires_at, before.expires_at);
}

#[test]
fn a_session_ends_with_its_device() {
    use RefusalReason as R;
    let mut house = house();
    let principal = session(&mut house, "dev-1", 1);
    house
        .registry
        .transition("dev-1", Transition::Suspend)
        .unwrap();
    let answer = house.authn.recheck(&principal, WALL);
    assert_refused(answer, R::DeviceSuspended, Some("dev-1"), "suspended");
    house
        .registry
        .transition("dev-1", Transition::Revoke)
        .unwrap();
    let answer = house.authn.recheck(&principal, WALL);
    assert_refused(answer, R::DeviceRevoked, Some("dev-1"), "revoked");
    house.registry.remove("dev-1").unwrap();
    let answer = house.authn.recheck(&principal, WALL);
    assert_refused(answer, R::UnknownDevice, Some("dev-1"), "removed");
}

#[test]
fn a_session_ends_with_its_key() {
    let mut house = house();
    let mut principal = session(&mut house, "dev-2", 3);
    // As if the record had had this key when the session began.
    principal.key_id = Some(public(77).key_id());
    let answer = house.authn.recheck(&principal, WALL);
    assert_refused(answer, RefusalReason::KeyUnknown, Some("dev-2"), "key gone");

    let ends = session(&mut house, "dev-ends", 9);
    assert!(house.authn.recheck(&ends, WALL.plus(99)).is_ok());
    let answer = house.authn.recheck(&ends, WALL.plus(100));
    assert_refused(
        answer,
        RefusalReason::KeyExpired,
        Some("dev-ends"),
        "key over",
    );
}
