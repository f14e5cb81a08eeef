//! Explanations, and scopes of tokens.
use super::*;

#[test]
fn explain_decides_like_the_broker_and_shows_the_rules() {
    let policy = Policy::builtin();
    let record = device("dev-1", &["device", "gone"], &["g1"]);
    let why = policy
        .explain(&record, Action::Publish, "devices/dev-1/desired")
        .unwrap();
    assert!(!why.granted);
    assert_eq!(
        why.denied.as_deref(),
        Some("publish: role device denies devices/{device}/desired/#")
    );
    let seen: Vec<_> = why
        .rules
        .iter()
        .map(|r| (r.effect, &*r.pattern, r.whole))
        .collect();
    assert_eq!(
        seen,
        [
            (Effect::Allow, "devices/{device}/#", true),
            (Effect::Deny, "devices/{device}/desired/#", true)
        ]
    );
    assert_eq!(why.unknown_roles, ["gone".into()]);

    let wide = policy
        .explain(&record, Action::Subscribe, "devices/#")
        .unwrap();
    assert_eq!(wide.denied.as_deref(), Some("subscribe: no rule allows it"));
    assert_eq!(
        wide.rules.iter().map(|r| r.whole).collect::<Vec<_>>(),
        [false]
    );
    assert!(
        policy
            .explain(&record, Action::Subscribe, "$share/g/devices/dev-1/#")
            .is_ok()
    );
    assert!(matches!(
        policy.explain(&record, Action::Publish, "a/+"),
        Err(ExplainError::Name(_))
    ));
    assert!(matches!(
        policy.explain(&record, Action::Subscribe, "a/#/b"),
        Err(ExplainError::Filter(_))
    ));
}

#[test]
fn a_scope_lists_what_roles_give() {
    let policy = Policy::builtin();
    assert_eq!(
        policy.scope(&device("dev-1", &["device"], &["g1"])),
        [
            entry("devices/dev-1/#", true, true),
            entry("groups/g1/state/dev-1", true, false),
            entry("groups/g1/state/+", false, true),
        ]
    );
    assert!(policy.scope(&device("dev-1", &[], &["g1"])).is_empty());
}

#[test]
fn narrowing_never_widens() {
    let policy = Policy::builtin();
    let record = device("dev-1", &["device"], &["g1"]);
    let narrow = |asked: &[ScopeEntry]| policy.narrow(&record, asked);
    // Inside: as asked. Outside: gone, action by action.
    assert_eq!(
        narrow(&[entry("devices/dev-1/data/+", true, true)]),
        [entry("devices/dev-1/data/+", true, true)]
    );
    assert_eq!(
        narrow(&[entry("groups/g1/state/+", true, true)]),
        [
            entry("groups/g1/state/dev-1", true, false),
            entry("groups/g1/state/+", false, true)
        ]
    );
    // Wider: what is granted inside it.
    assert_eq!(
        narrow(&[entry("devices/#", false, true)]),
        [entry("devices/dev-1/#", false, true)]
    );
    // Crossing, denied, shared, foreign: nothing.
    for refused in [
        entry("devices/+/reported", true, true),
        entry("devices/dev-1/desired", true, false),
        entry("devices/dev-1/presence", true, false),
        entry("$share/g/devices/dev-1/#", true, true),
        entry("devices/dev-2/#", true, true),
        entry("devices/dev-1/#", false, false),
    ] {
        assert!(
            narrow(std::slice::from_ref(&refused)).is_empty(),
            "{refused:?}"
        );
    }
    // Read rights on what may not be written stay.
    assert_eq!(
        narrow(&[entry("devices/dev-1/desired", true, true)]),
        [entry("devices/dev-1/desired", false, true)]
    );
}
