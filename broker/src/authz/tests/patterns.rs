//! Patterns and what fills them.
use super::*;

#[test]
fn attributes_that_are_no_id_fill_nothing() {
    let policy = Policy::new([role("r")
        .allow(EVERYTHING, &["sites/{attr.site}/#"])
        .unwrap()]);
    let mut record = device("d", &["r"], &[]);
    for (value, topic, allowed) in [
        ("north", "sites/north/x", true),
        ("north", "sites/south/x", false),
        ("+", "sites/+/x", false),
        ("#", "sites/x", false),
        ("a/b", "sites/a/b/x", false),
        ("", "sites//x", false),
        ("$x", "sites/$x/x", false),
        ("with space", "sites/with space/x", false),
    ] {
        record.attributes = [("site".into(), value.into())].into();
        let who = principal(record.clone());
        let answer = TopicName::new(topic).map(|t| policy.publish(&who, t, false).is_ok());
        assert_eq!(answer.unwrap_or(false), allowed, "{value:?} {topic}");
    }
    record.attributes.clear();
    assert!(
        policy
            .publish(&principal(record), name("sites/north/x"), false)
            .is_err()
    );
}

#[test]
fn one_group_fills_every_place_of_a_pattern() {
    let policy = Policy::new([role("r")
        .allow(EVERYTHING, &["{group}/to/{group}"])
        .unwrap()]);
    let who = principal(device("d", &["r"], &["g1", "g2"]));
    assert!(policy.publish(&who, name("g2/to/g2"), false).is_ok());
    assert!(policy.publish(&who, name("g1/to/g2"), false).is_err());
    let groupless = principal(device("d", &["r"], &[]));
    assert!(policy.publish(&groupless, name("g1/to/g1"), false).is_err());
    assert!(policy.publish(&groupless, name("/to/"), false).is_err());
}

#[test]
fn patterns_that_say_nothing_sensible_are_refused() {
    let refused = |text: &str| Pattern::parse(text).unwrap_err();
    assert_eq!(refused("a{device}/x"), PatternError::TemplateNotWholeLevel);
    assert_eq!(
        refused("{device}{group}"),
        PatternError::TemplateNotWholeLevel
    );
    assert_eq!(refused("{device/x}"), PatternError::TemplateNotWholeLevel);
    assert_eq!(
        refused("{user}"),
        PatternError::TemplateUnknown("user".into())
    );
    assert_eq!(
        refused("{attr.}"),
        PatternError::TemplateUnknown("attr.".into())
    );
    assert_eq!(
        refused("{attr.a b}"),
        PatternError::TemplateUnknown("attr.a b".into())
    );
    assert_eq!(refused("$share/g/x"), PatternError::Share);
    assert_eq!(refused(&"a/".repeat(32)), PatternError::TooManyLevels);
    for bad in ["", "a/#/b", "a+", "a/b#"] {
        assert!(matches!(refused(bad), PatternError::Filter(_)), "{bad}");
    }
    assert_eq!(
        Pattern::parse("{device}/{attr.site}/#").unwrap().as_str(),
        "{device}/{attr.site}/#"
    );
}

#[test]
fn a_role_given_twice_counts_as_the_later() {
    let policy = Policy::new([
        role("r").allow(EVERYTHING, &["a"]).unwrap(),
        role("r").allow(EVERYTHING, &["b"]).unwrap(),
    ]);
    let who = principal(device("d", &["r"], &[]));
    assert!(policy.publish(&who, name("a"), false).is_err());
    assert!(policy.publish(&who, name("b"), false).is_ok());
}
