//! The rules of a decision.
use super::*;

#[test]
fn deny_wins_over_allow_of_any_role() {
    let policy = Policy::new([
        role("a").allow(&[Action::Publish], &["x/#"]).unwrap(),
        role("b").deny(&[Action::Publish], &["x/secret/+"]).unwrap(),
    ]);
    let who = principal(device("d", &["a", "b"], &[]));
    assert!(policy.publish(&who, name("x/open"), false).is_ok());
    assert_eq!(
        policy.publish(&who, name("x/secret/1"), false),
        Err(Denied {
            action: Action::Publish,
            cause: DeniedCause::Rule {
                role: "b".into(),
                pattern: "x/secret/+".into()
            }
        })
    );
    let only_a = principal(device("d", &["a"], &[]));
    assert!(policy.publish(&only_a, name("x/secret/1"), false).is_ok());
}

#[test]
fn a_filter_that_a_deny_pattern_overlaps_is_refused_whole() {
    let policy = Policy::new([role("r")
        .allow(&[Action::Subscribe], &["x/#"])
        .and_then(|r| r.deny(&[Action::Subscribe], &["x/+/secret"]))
        .unwrap()]);
    let who = principal(device("d", &["r"], &[]));
    let subscribe = |text| policy.subscribe(&who, filter(text));
    for refused in ["x/#", "x/a/#", "x/+/+", "x/a/secret", "x/+/secret"] {
        assert!(
            matches!(cause(subscribe(refused)), DeniedCause::Rule { .. }),
            "{refused}"
        );
    }
    for granted in ["x/a", "x/+", "x/a/open", "x/+/secret/deep"] {
        assert!(subscribe(granted).is_ok(), "{granted}");
    }
    // Two allow patterns that only together cover a filter do not grant it.
    let halves = Policy::new([role("r")
        .allow(&[Action::Subscribe], &["y/a", "y/b"])
        .unwrap()]);
    assert_eq!(
        cause(halves.subscribe(&who, filter("y/+"))),
        DeniedCause::NoRule
    );
}

#[test]
fn nothing_that_begins_with_a_wildcard_reaches_dollar_topics() {
    let policy = Policy::new([role("all").allow(EVERYTHING, &["#", "+/broker/#"]).unwrap()]);
    let who = principal(device("d", &["all"], &[]));
    for hidden in ["$SYS/#", "$SYS/broker/uptime", "$share/g/$SYS/#", "$x"] {
        assert_eq!(
            cause(policy.subscribe(&who, filter(hidden))),
            DeniedCause::NoRule,
            "{hidden}"
        );
    }
    assert_eq!(
        cause(policy.receive(&who, name("$SYS/broker/uptime"))),
        DeniedCause::NoRule
    );
    assert!(policy.subscribe(&who, filter("#")).is_ok());
}

#[test]
fn no_policy_lets_anybody_publish_to_dollar_topics_or_presence() {
    let policy = Policy::new([role("all")
        .allow(EVERYTHING, &["#", "$SYS/#", "devices/{device}/presence"])
        .unwrap()]);
    let who = principal(device("d", &["all"], &[]));
    for retain in [false, true] {
        for reserved in ["$SYS/x", "$share/g/x", "$"] {
            let answer = policy.publish(&who, name(reserved), retain);
            assert_eq!(cause(answer), DeniedCause::Reserved, "{reserved}");
        }
        for presence in [
            "devices/d/presence",
            "devices/e/presence",
            "devices/d/presence/x",
        ] {
            let answer = policy.publish(&who, name(presence), retain);
            assert_eq!(cause(answer), DeniedCause::BrokerOnly, "{presence}");
        }
    }
    assert!(
        policy
            .publish(&who, name("devices/presence"), false)
            .is_ok()
    );
    assert!(policy.receive(&who, name("devices/d/presence")).is_ok());
}

#[test]
fn a_share_is_its_own_right_and_is_judged_by_its_filter() {
    let plain = Policy::new([role("r").allow(&[Action::Subscribe], &["x/#"]).unwrap()]);
    let shared = Policy::new([role("r").allow(&[Action::Share], &["x/#"]).unwrap()]);
    let who = principal(device("d", &["r"], &[]));
    let denied = plain.subscribe(&who, filter("$share/g/x/1")).unwrap_err();
    assert_eq!(
        (denied.action, denied.cause),
        (Action::Share, DeniedCause::NoRule)
    );
    assert!(plain.subscribe(&who, filter("x/1")).is_ok());

    let permit = shared.subscribe(&who, filter("$share/g/x/1")).unwrap();
    assert_eq!(
        (permit.action(), permit.coverage()),
        (Action::Share, Coverage::Full)
    );
    assert_eq!(
        cause(shared.subscribe(&who, filter("x/1"))),
        DeniedCause::NoRule
    );
    assert_eq!(
        cause(shared.subscribe(&who, filter("$share/g/y"))),
        DeniedCause::NoRule
    );
    // What comes through the share may be received.
    assert!(shared.receive(&who, name("x/1")).is_ok());
}

/// A member that may not receive what it is handed would take it from the others.
#[test]
fn a_share_is_granted_as_a_whole_or_not_at_all() {
    let policy = Policy::new([Role::open("r", &["x/#"], &["x/secret"]).unwrap()]);
    let who = principal(device("d", &["r"], &[]));
    let plain = policy.subscribe(&who, filter("x/#")).unwrap();
    assert_eq!(plain.coverage(), Coverage::Partial);
    let denied = policy.subscribe(&who, filter("$share/g/x/#")).unwrap_err();
    assert_eq!(
        (denied.action, denied.cause),
        (Action::Share, DeniedCause::NoRule)
    );
    assert!(policy.subscribe(&who, filter("$share/g/x/a")).is_ok());
}

#[test]
fn denying_only_the_share_leaves_plain_delivery_alone() {
    let policy = Policy::new([role("r")
        .allow(&[Action::Subscribe, Action::Share], &["x/#"])
        .and_then(|r| r.deny(&[Action::Share], &["x/#"]))
        .unwrap()]);
    let who = principal(device("d", &["r"], &[]));
    assert!(matches!(
        cause(policy.subscribe(&who, filter("$share/g/x/1"))),
        DeniedCause::Rule { .. }
    ));
    assert_eq!(
        policy.subscribe(&who, filter("x/1")).unwrap().coverage(),
        Coverage::Full
    );
    assert!(policy.receive(&who, name("x/1")).is_ok());
}

#[test]
fn retaining_is_wanted_besides_publishing() {
    let policy = Policy::new([role("r")
        .allow(&[Action::Publish], &["x/#"])
        .and_then(|r| r.allow(&[Action::Retain], &["x/kept", "y"]))
        .unwrap()]);
    let who = principal(device("d", &["r"], &[]));
    assert!(policy.publish(&who, name("x/1"), false).is_ok());
    assert!(policy.publish(&who, name("x/kept"), true).is_ok());
    assert_eq!(
        policy.publish(&who, name("x/1"), true).unwrap_err().action,
        Action::Retain
    );
    assert_eq!(
        policy.publish(&who, name("y"), true).unwrap_err().action,
        Action::Publish
    );
}

#[test]
fn receive_follows_subscribe_unless_the_role_has_its_own_rule() {
    let policy = Policy::new([
        role("plain").allow(&[Action::Subscribe], &["a/#"]).unwrap(),
        role("narrow")
            .allow(&[Action::Subscribe], &["b/#"])
            .and_then(|r| r.allow(&[Action::Receive], &["b/in/#"]))
            .unwrap(),
    ]);
    let who = principal(device("d", &["plain", "narrow"], &[]));
    let coverage = |text| policy.subscribe(&who, filter(text)).map(|p| p.coverage());
    assert_eq!(coverage("a/#"), Ok(Coverage::Full));
    assert_eq!(coverage("b/#"), Ok(Coverage::Partial));
    assert_eq!(coverage("b/in/x"), Ok(Coverage::Full));
    // Granted as a subscription, but nothing would ever come of it.
    let denied = policy.subscribe(&who, filter("b/out")).unwrap_err();
    assert_eq!(
        (denied.action, denied.cause),
        (Action::Receive, DeniedCause::NoRule)
    );
    assert!(policy.receive(&who, name("b/in/x")).is_ok());
    assert!(policy.receive(&who, name("b/out")).is_err());
    assert!(policy.receive(&who, name("a/x")).is_ok());
}

#[test]
fn a_device_that_is_not_active_may_nothing() {
    for state in [
        DeviceState::Pending,
        DeviceState::Suspended,
        DeviceState::Revoked,
    ] {
        let mut record = device("d", &["device"], &[]);
        record.state = state;
        let who = principal(record);
        let policy = Policy::builtin();
        let no = DeniedCause::NotActive(state);
        assert_eq!(cause(policy.publish(&who, name("devices/d/x"), false)), no);
        assert_eq!(cause(policy.subscribe(&who, filter("devices/d/#"))), no);
        assert_eq!(cause(policy.receive(&who, name("devices/d/x"))), no);
        assert_eq!(policy.classify(&who, filter("devices/d/#")), Coverage::None);
        assert!(policy.scope(&who.device).is_empty());
    }
}

#[test]
fn an_open_role_gives_everything_but_what_it_denies() {
    let policy = Policy::builtin()
        .with(Role::open("open", &["#", "$SYS/#"], &["secret/#", "test/nosubscribe"]).unwrap());
    let who = principal(device("probe", &["open"], &[]));
    let covers = |text: &str| policy.classify(&who, filter(text));
    for (text, coverage) in [
        ("#", Coverage::Partial),
        ("+/+", Coverage::Partial),
        ("+/x", Coverage::Partial),
        ("test/#", Coverage::Partial),
        ("plain/#", Coverage::Full),
        ("$share/g/plain/#", Coverage::Full),
        ("test/+/deep", Coverage::Full),
        ("$SYS/#", Coverage::Full),
        ("secret/#", Coverage::None),
        ("secret", Coverage::None),
        ("secret/x", Coverage::None),
        ("secret/+/deep", Coverage::None),
        ("test/nosubscribe", Coverage::None),
        ("$share/g/secret/x", Coverage::None),
        ("$other/x", Coverage::None),
    ] {
        assert_eq!(covers(text), coverage, "{text}");
        let granted = policy.subscribe(&who, filter(text));
        assert_eq!(granted.is_ok(), coverage != Coverage::None, "{text}");
        if let Ok(permit) = granted {
            assert_eq!(permit.coverage(), coverage, "{text}");
        }
    }
    let refused = cause(policy.subscribe(&who, filter("secret/x")));
    let role: Arc<str> = "open".into();
    let pattern: Arc<str> = "secret/#".into();
    assert_eq!(refused, DeniedCause::Rule { role, pattern });
    // What a wide subscription must not have is held back one by one.
    for (topic, allowed) in [
        ("plain/x", true),
        ("secret/x", false),
        ("secret", false),
        ("test/nosubscribe", false),
        ("test/other", true),
    ] {
        assert_eq!(
            policy.receive(&who, name(topic)).is_ok(),
            allowed,
            "{topic}"
        );
        for retain in [false, true] {
            let published = policy.publish(&who, name(topic), retain);
            assert_eq!(published.is_ok(), allowed, "{topic}");
        }
    }
    // What nobody may, an open role does not give either.
    let publish = |topic| cause(policy.publish(&who, name(topic), false));
    assert_eq!(publish("$SYS/broker/x"), DeniedCause::Reserved);
    assert_eq!(publish("devices/dev-1/presence"), DeniedCause::BrokerOnly);
    // Nobody else has it.
    let other = principal(device("dev-1", &["device"], &[]));
    assert_eq!(policy.classify(&other, filter("#")), Coverage::Partial);
    assert_eq!(policy.classify(&other, filter("plain/#")), Coverage::None);
}
