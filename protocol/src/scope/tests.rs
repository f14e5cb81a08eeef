use super::*;
use crate::vectors::{self, hex};
use proptest::prelude::*;
use std::vec::Vec;

fn rule(filter: &str, permissions: Permissions) -> Rule<'_> {
    Rule::new(TopicFilter::new(filter).unwrap(), permissions).unwrap()
}

fn encode(rules: &[Rule<'_>]) -> heapless::Vec<u8, 512> {
    let mut out = heapless::Vec::new();
    Scope::encode(rules, &mut out).unwrap();
    out
}

#[test]
fn reproduces_the_vector() {
    let expected = hex(&vectors::standards()["aif_mqtt"]);
    let rules = [
        rule("d/dev1/#", Permissions::Both),
        rule("cmd/+", Permissions::Subscribe),
    ];
    assert_eq!(encode(&rules)[..], expected);
    assert!(Scope::decode(&expected).unwrap().rules().eq(rules));
    let reread: Vec<(std::string::String, Vec<std::string::String>)> =
        serde_cbor::from_slice(&expected).unwrap();
    assert_eq!(
        reread[0],
        ("d/dev1/#".into(), std::vec!["pub".into(), "sub".into()])
    );
    assert_eq!(reread[1], ("cmd/+".into(), std::vec!["sub".into()]));
}

#[test]
fn each_rule_has_its_error() {
    let cases: &[(&[u8], ScopeError)] = &[
        (b"", ScopeError::Cbor(CborError::EndOfInput)),
        (b"\xa0", ScopeError::Cbor(CborError::UnexpectedType)),
        (b"\x80\x80", ScopeError::Cbor(CborError::TrailingBytes)),
        (b"\x81\x81\x61a", ScopeError::Cbor(CborError::WrongCount)),
        (
            b"\x81\x82\x41a\x81\x63pub",
            ScopeError::Cbor(CborError::UnexpectedType),
        ),
        (b"\x81\x82\x61a\x80", ScopeError::Permissions),
        (b"\x81\x82\x61a\x81\x63del", ScopeError::Permissions),
        (b"\x81\x82\x61a\x82\x63sub\x63pub", ScopeError::Permissions),
        (b"\x81\x82\x61a\x82\x63pub\x63pub", ScopeError::Permissions),
        (
            b"\x81\x82\x61a\x83\x63pub\x63pub\x63pub",
            ScopeError::Permissions,
        ),
        (
            b"\x81\x82\x62a#\x81\x63pub",
            ScopeError::Filter(FilterError::HashNotWholeLevel),
        ),
        (
            b"\x81\x82\x60\x81\x63pub",
            ScopeError::Filter(FilterError::Empty),
        ),
        (
            b"\x81\x82\x6a$share/g/a\x81\x63pub",
            ScopeError::SharedFilter,
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(Scope::decode(bytes), Err(*error), "{bytes:02x?}");
    }
}

#[test]
fn sizes_are_bounded() {
    let long = "x".repeat(FILTER_LEN_MAX);
    assert!(Rule::new(TopicFilter::new(&long).unwrap(), Permissions::Both).is_ok());
    let longer = "x".repeat(FILTER_LEN_MAX + 1);
    let refused = Rule::new(TopicFilter::new(&longer).unwrap(), Permissions::Both);
    assert_eq!(refused, Err(ScopeError::FilterTooLong));
    let deep = "/".repeat(LEVELS_MAX);
    assert_eq!(
        Rule::new(TopicFilter::new(&deep).unwrap(), Permissions::Both),
        Err(ScopeError::FilterTooLong)
    );

    let many = [rule("a", Permissions::Publish); RULES_MAX + 1];
    assert_eq!(
        Scope::decode(&encode(&many[1..])).map(|scope| scope.rules().count()),
        Ok(RULES_MAX)
    );
    assert_eq!(
        Scope::encode(&many, &mut heapless::Vec::<u8, 512>::new()),
        Err(CapacityError)
    );
    let entries = b"\x82\x61a\x81\x63pub".repeat(RULES_MAX + 1);
    assert_eq!(
        Scope::decode(&[&b"\x98\x21"[..], &entries].concat()),
        Err(ScopeError::TooManyRules)
    );
}

#[test]
fn allows_and_covers_by_action_and_filter() {
    let bytes = encode(&[
        rule("d/dev1/#", Permissions::Publish),
        rule("+/state", Permissions::Subscribe),
    ]);
    let scope = Scope::decode(&bytes).unwrap();
    let allows = |topic, action| scope.allows(TopicName::new(topic).unwrap(), action);
    assert!(allows("d/dev1", Action::Publish));
    assert!(allows("d/dev1/a/b", Action::Publish));
    assert!(!allows("d/dev1/a", Action::Subscribe));
    assert!(!allows("d/dev2/a", Action::Publish));
    assert!(allows("g1/state", Action::Subscribe));
    assert!(!allows("$SYS/state", Action::Subscribe));

    let covers = |filter, action| scope.covers(TopicFilter::new(filter).unwrap(), action);
    assert!(covers("d/dev1/+", Action::Publish));
    assert!(!covers("d/+/a", Action::Publish));
    assert!(covers("$share/workers/+/state", Action::Subscribe));
    assert!(!covers("$share/workers/#", Action::Subscribe));
    assert!(!covers("$SYS/state", Action::Subscribe));
}

#[test]
fn an_empty_scope_allows_nothing_and_is_within_everything() {
    let nothing = Scope::decode(b"\x80").unwrap();
    assert!(!nothing.allows(TopicName::new("a").unwrap(), Action::Publish));
    assert!(nothing.is_within(&nothing));
    let bytes = encode(&[rule("a", Permissions::Both)]);
    let something = Scope::decode(&bytes).unwrap();
    assert!(nothing.is_within(&something));
    assert!(!something.is_within(&nothing));
}

#[test]
fn within_compares_each_action() {
    let outer = encode(&[
        rule("a/#", Permissions::Publish),
        rule("a/b/#", Permissions::Subscribe),
    ]);
    let outer = Scope::decode(&outer).unwrap();
    let within = |filter, permissions| {
        let bytes = encode(&[rule(filter, permissions)]);
        Scope::decode(&bytes).unwrap().is_within(&outer)
    };
    assert!(within("a/b/c", Permissions::Both));
    assert!(within("a/x", Permissions::Publish));
    assert!(!within("a/x", Permissions::Both));
    assert!(!within("a/+", Permissions::Subscribe));
}

proptest! {
    #[test]
    fn random_and_mutated_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let _ = Scope::decode(&bytes).map(|scope| scope.rules().count());
        let mut mutated = hex(&vectors::standards()["aif_mqtt"]);
        let at = at.index(mutated.len());
        mutated[at] ^= flip;
        if let Ok(scope) = Scope::decode(&mutated) {
            // Whatever is read is written back as it was: one value, one encoding.
            let rules: Vec<_> = scope.rules().collect();
            prop_assert_eq!(&encode(&rules)[..], &mutated[..]);
        }
    }
}
