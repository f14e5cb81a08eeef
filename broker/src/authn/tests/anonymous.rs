//! Clients that prove nothing.
use super::*;
use RefusalReason as R;

fn rules() -> ListenerRules {
    ListenerRules::loopback().and_anonymous()
}

fn bare(version: Version, client_id: &str) -> Connect<'_> {
    Connect::new(version, client_id)
}

#[test]
fn whoever_brings_no_credentials_is_let_in_under_its_client_id() {
    let mut house = house();
    for version in [Version::V311, Version::V5] {
        for client_id in ["probe", "nobody/panel", "a client with spaces", "\u{e9}"] {
            let accepted = house.decide(&bare(version, client_id), &rules()).unwrap();
            assert_eq!(&*accepted.client_id, client_id);
            assert!(!accepted.assigned && accepted.auth_data.is_none());
            let principal = &accepted.principal;
            assert_eq!(principal.id(), client_id);
            assert_eq!(principal.method, Method::Anonymous);
            assert_eq!((principal.key_id, principal.expires_at), (None, None));
            assert_eq!(principal.owner(), Owner::Anonymous(client_id.into()));
            assert_eq!(principal.owner().identity(), None);
            let roles: Vec<&str> = principal.device.roles.iter().map(|role| &**role).collect();
            assert_eq!(roles, [ROLE_ANONYMOUS]);
        }
    }
}

#[test]
fn without_the_method_nobody_is() {
    let mut house = house();
    for rules in [ListenerRules::loopback(), ListenerRules::plain()] {
        let answer = house.decide(&bare(Version::V5, "probe"), &rules);
        assert_refused(answer, R::NoCredentials, Some("probe"), "not configured");
    }
}

#[test]
fn whoever_tries_to_prove_something_and_fails_stays_out() {
    let mut house = house();
    let mut method = bare(Version::V5, "probe");
    method.properties.auth_method = Some("ace");
    let mut own_method = bare(Version::V5, "probe");
    own_method.properties.auth_method = Some("kg-ed25519");
    let mut name = bare(Version::V5, "probe");
    name.username = Some("probe");
    let mut empty_password = name;
    empty_password.password = Some(b"");
    let mut password_only = bare(Version::V5, "probe");
    password_only.password = Some(b"hunter2");
    let table = [
        ("a method", method, R::MethodUnknown),
        ("our method without data", own_method, R::DataMalformed),
        ("a user name", name, R::NoCredentials),
        ("an empty password", empty_password, R::AssertionMalformed),
        ("a password", password_only, R::AssertionMalformed),
        (
            "a wrong password",
            with_password("probe", "hunter2"),
            R::AssertionMalformed,
        ),
    ];
    for (what, connect, reason) in table {
        assert_refused(
            house.decide(&connect, &rules()),
            reason,
            Some("probe"),
            what,
        );
    }
}

#[test]
fn the_name_of_an_enrolled_device_is_used_by_nobody_else() {
    let mut house = house();
    for id in ["dev-1", "dev-suspended", "dev-revoked", "dev-pending"] {
        let answer = house.decide(&bare(Version::V5, id), &rules());
        assert_refused(answer, R::NoCredentials, Some(id), id);
        let suffixed = format!("{id}/panel");
        let answer = house.decide(&bare(Version::V5, &suffixed), &rules());
        assert_refused(answer, R::NoCredentials, None, &suffixed);
    }
}

#[test]
fn an_empty_client_id_is_replaced_by_one_that_nobody_can_guess() {
    let mut house = house();
    let mut seen = std::collections::BTreeSet::new();
    let mut resumed = bare(Version::V5, "");
    resumed.clean_start = false;
    for connect in [bare(Version::V5, ""), bare(Version::V311, ""), resumed] {
        let accepted = house.decide(&connect, &rules()).unwrap();
        assert!(accepted.assigned);
        assert!((1..=23).contains(&accepted.client_id.len()));
        assert!(
            accepted
                .client_id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric())
        );
        assert_eq!(accepted.principal.id(), &*accepted.client_id);
        assert!(seen.insert(accepted.client_id));
    }
    let mut stays = bare(Version::V311, "");
    stays.clean_start = false;
    assert_refused(
        house.decide(&stays, &rules()),
        R::ClientIdNotOwn,
        None,
        "3.1.1 that wants its session back",
    );
}

#[test]
fn no_change_of_the_store_is_about_it() {
    let mut house = house();
    let accepted = house.decide(&bare(Version::V5, "late"), &rules()).unwrap();
    house
        .registry
        .add(&NewDevice::new("late", public(50)))
        .unwrap();
    house
        .registry
        .transition("late", Transition::Suspend)
        .unwrap();
    let before = accepted.principal;
    let after = house.authn.recheck(&before, WALL.plus(1_000_000)).unwrap();
    assert!(after.revision > before.revision);
    assert_eq!(after.revision, house.authn.directory.revision());
    assert_eq!(
        (&after.device, after.method),
        (&before.device, Method::Anonymous)
    );
}
