use super::pattern::Asked;
use super::*;
use crate::authn::{Method, Principal};
use crate::identity::{Device, DeviceKey, DeviceState, Revision};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::topic::{self, TopicFilter, TopicName};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

const EVERYTHING: &[Action] = &Action::ALL;

fn device(id: &str, roles: &[&str], groups: &[&str]) -> Device {
    let shared = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    Device {
        id: id.into(),
        state: DeviceState::Active,
        keys: [DeviceKey::new(
            SoftwareSigner::from_seed(&[7; 32]).public_key(),
        )]
        .into(),
        roles: shared(roles),
        groups: shared(groups),
        attributes: BTreeMap::new(),
        via: Box::default(),
    }
}

fn principal(device: Device) -> Principal {
    Principal {
        device: Arc::new(device),
        key_id: None,
        method: Method::KgEd25519,
        expires_at: None,
        revision: Revision(1),
    }
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn role(name: &str) -> Role {
    Role::new(name)
}

fn cause<T: std::fmt::Debug>(answer: Result<T, Denied>) -> DeniedCause {
    answer.unwrap_err().cause
}

// --- the built-in roles -----------------------------------------------------------------------------------------------

/// Who is in the matrix.
fn subjects() -> Vec<(&'static str, Device)> {
    let mut suspended = device("dev-1", &["device"], &["g1"]);
    suspended.state = DeviceState::Suspended;
    vec![
        ("device", device("dev-1", &["device"], &["g1", "g2"])),
        ("operator", device("op-1", &["operator"], &[])),
        ("suspended", suspended),
        ("no role", device("dev-1", &[], &["g1"])),
        ("unknown role", device("dev-1", &["gone"], &["g1"])),
    ]
}

const TOPICS: &[&str] = &[
    "devices/dev-1",
    "devices/dev-1/reported",
    "devices/dev-1/data/temperature",
    "devices/dev-1/desired",
    "devices/dev-1/desired/now",
    "devices/dev-1/presence",
    "devices/dev-1/presence/raw",
    "devices/dev-2/reported",
    "devices/dev-2/desired",
    "devices/dev-2/presence",
    "devices/DEV-1/reported",
    "devices//reported",
    "devices",
    "/devices/dev-1/reported",
    "groups/g1/state/dev-1",
    "groups/g1/state/dev-2",
    "groups/g1/state/dev-1/deep",
    "groups/g1/state",
    "groups/g3/state/dev-1",
    "other/topic",
    "$SYS/broker/uptime",
    "$share/g/devices/dev-1/reported",
    "$other",
];

const FILTERS: &[&str] = &[
    "devices/dev-1/#",
    "devices/dev-1/+",
    "devices/dev-1/reported",
    "devices/dev-1/+/temperature",
    "devices/dev-2/#",
    "devices/+/reported",
    "devices/#",
    "devices/+",
    "groups/g1/state/+",
    "groups/g1/state/dev-2",
    "groups/g1/state/#",
    "groups/g1/#",
    "groups/g3/state/+",
    "groups/+/state/+",
    "#",
    "+/dev-1/#",
    "+/+",
    "$SYS/#",
    "$SYS/broker/uptime",
    "$share/g/devices/dev-1/#",
    "$share/g/devices/#",
    "$share/g/$SYS/#",
];

fn word<T>(answer: &Result<T, Denied>) -> String {
    match answer {
        Ok(_) => "yes".into(),
        Err(denied) => format!("no:{}", denied.cause.as_str()),
    }
}

fn matrix() -> String {
    let policy = Policy::builtin();
    let mut text =
        String::from("# Built-in roles × actions × topics. KEYGATE_ACCEPT=1 writes it anew.\n");
    for (title, device) in subjects() {
        let who = principal(device);
        let groups: Vec<&str> = who.device.groups.iter().map(|g| &**g).collect();
        writeln!(text, "\n[{title}] id {} groups {groups:?}", who.id()).unwrap();
        writeln!(
            text,
            "{:34}{:16}{:16}{:16}",
            "topic", "publish", "retained", "receive"
        )
        .unwrap();
        for topic in TOPICS {
            let (publish, retained) = (
                policy.publish(&who, name(topic), false),
                policy.publish(&who, name(topic), true),
            );
            let receive = policy.receive(&who, name(topic));
            let row = [word(&publish), word(&retained), word(&receive)];
            writeln!(text, "{topic:34}{:16}{:16}{:16}", row[0], row[1], row[2]).unwrap();
        }
        writeln!(text, "{:34}{:16}{:16}", "filter", "subscribe", "coverage").unwrap();
        for topic in FILTERS {
            let subscribe = word(&policy.subscribe(&who, filter(topic)));
            let coverage = format!("{:?}", policy.classify(&who, filter(topic)));
            writeln!(text, "{topic:34}{subscribe:16}{coverage:16}").unwrap();
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn the_matrix_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/authz/golden/matrix.txt");
    let now = matrix();
    if std::env::var_os("KEYGATE_ACCEPT").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(
        golden == now,
        "rights have changed; read the diff after KEYGATE_ACCEPT=1:\n{now}"
    );
}

#[test]
fn builtin_has_its_two_roles() {
    assert_eq!(
        Policy::builtin().roles().collect::<Vec<_>>(),
        ["device", "operator"]
    );
}

// --- the rules of a decision ------------------------------------------------------------------------------------------

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

// --- patterns ---------------------------------------------------------------------------------------------------------

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

// --- explain and scope ------------------------------------------------------------------------------------------------

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

fn entry(filter: &str, publish: bool, subscribe: bool) -> ScopeEntry {
    ScopeEntry {
        filter: filter.into(),
        publish,
        subscribe,
    }
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
        assert!(narrow(std::slice::from_ref(&refused)).is_empty(), "{refused:?}");
    }
    // Read rights on what may not be written stay.
    assert_eq!(
        narrow(&[entry("devices/dev-1/desired", true, true)]),
        [entry("devices/dev-1/desired", false, true)]
    );
}

// --- properties -------------------------------------------------------------------------------------------------------

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "d", "g1", "g2", "", "$x", "north"])
}

fn filter_text() -> impl Strategy<Value = String> {
    let wild = prop_oneof![4 => level(), 2 => Just("+")];
    (prop::collection::vec(wild, 0..4), any::<bool>(), level()).prop_map(
        |(mut levels, hash, last)| {
            levels.push(if hash { "#" } else { last });
            levels.join("/")
        },
    )
}

fn pattern_text() -> impl Strategy<Value = String> {
    let wild = prop_oneof![
        4 => level(),
        2 => Just("+"),
        1 => Just("{device}"),
        1 => Just("{group}"),
        1 => Just("{attr.site}"),
    ];
    (prop::collection::vec(wild, 0..4), any::<bool>(), level()).prop_map(
        |(mut levels, hash, last)| {
            levels.push(if hash { "#" } else { last });
            levels.join("/")
        },
    )
}

fn name_text() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

fn some_device() -> Device {
    let mut record = device("d", &["r", "s"], &["g1", "g2"]);
    record.attributes = [("site".into(), "north".into())].into();
    record
}

fn rules() -> impl Strategy<Value = Vec<(bool, Vec<Action>, String)>> {
    let actions = prop::sample::subsequence(
        vec![
            Action::Publish,
            Action::Retain,
            Action::Share,
            Action::Subscribe,
        ],
        1..=4,
    );
    prop::collection::vec((prop::bool::weighted(0.7), actions, pattern_text()), 1..6)
}

fn policy_of(rules: &[(bool, Vec<Action>, String)]) -> Option<Policy> {
    let mut roles = [role("r"), role("s")];
    for (i, (allow, actions, pattern)) in rules.iter().enumerate() {
        let effect = if *allow { Effect::Allow } else { Effect::Deny };
        let slot = &mut roles[i % 2];
        *slot = slot.clone().rule(effect, actions, &[pattern]).ok()?;
    }
    Some(Policy::new(roles))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// The relations over levels are those of the protocol over texts.
    #[test]
    fn a_filled_pattern_relates_like_the_filter_it_stands_for(
        pattern in pattern_text(),
        asked in filter_text(),
        topic in name_text(),
    ) {
        let (Ok(pattern), Ok(asked), Ok(topic)) =
            (Pattern::parse(&pattern), TopicFilter::new(&asked), TopicName::new(&topic)) else {
            return Ok(());
        };
        prop_assume!(asked.share().is_none());
        let record = some_device();
        let texts = pattern.expand(&record);
        let any = |holds: &dyn Fn(TopicFilter<'_>) -> bool| texts.iter().any(|text| holds(filter(text)));
        prop_assert_eq!(
            pattern.covers(&record, Asked::Name(topic)),
            any(&|f| topic::matches(f, topic))
        );
        prop_assert_eq!(
            pattern.covers(&record, Asked::Filter(asked)),
            any(&|f| topic::covers(f, asked))
        );
        prop_assert_eq!(
            pattern.touches(&record, Asked::Filter(asked)),
            any(&|f| topic::overlaps(f, asked))
        );
    }

    /// Who was granted a filter may receive every topic that it matches (no role here has a rule of its own for
    /// `receive`), and the subscription is Full.
    #[test]
    fn what_is_subscribed_may_be_received(rules in rules(), asked in filter_text(), topic in name_text()) {
        let Some(policy) = policy_of(&rules) else { return Ok(()) };
        let (Ok(asked), Ok(topic)) = (TopicFilter::new(&asked), TopicName::new(&topic)) else { return Ok(()) };
        let who = principal(some_device());
        if let Ok(permit) = policy.subscribe(&who, asked) {
            if permit.action() == Action::Subscribe {
                prop_assert_eq!(permit.coverage(), Coverage::Full);
            }
            if topic::matches(asked.plain(), topic) && permit.coverage() == Coverage::Full {
                prop_assert!(policy.receive(&who, topic).is_ok());
            }
        }
    }

    /// Full means everything, None means nothing, whatever the policy.
    #[test]
    fn the_classes_of_a_filter_keep_their_word(rules in rules(), asked in filter_text(), topic in name_text()) {
        let Some(policy) = policy_of(&rules) else { return Ok(()) };
        let (Ok(asked), Ok(topic)) = (TopicFilter::new(&asked), TopicName::new(&topic)) else { return Ok(()) };
        let who = principal(some_device());
        if topic::matches(asked.plain(), topic) {
            let received = policy.receive(&who, topic).is_ok();
            match policy.classify(&who, asked) {
                Coverage::Full => prop_assert!(received),
                Coverage::None => prop_assert!(!received),
                Coverage::Partial => {}
            }
        }
    }

    /// A narrowed scope allows nothing that was not asked for, and nothing that roles do not give.
    #[test]
    fn a_narrowed_scope_is_inside_both(
        rules in rules(),
        asked in prop::collection::vec((filter_text(), any::<bool>(), any::<bool>()), 0..4),
    ) {
        let Some(policy) = policy_of(&rules) else { return Ok(()) };
        let asked: Vec<ScopeEntry> = asked.iter().map(|(f, p, s)| entry(f, *p, *s)).collect();
        let record = some_device();
        let given = policy.scope(&record);
        let inside = |inner: &ScopeEntry, of: &[ScopeEntry], action: fn(&ScopeEntry) -> bool| {
            of.iter().any(|outer| {
                action(outer)
                    && TopicFilter::new(&outer.filter).is_ok_and(|o| topic::covers(o, filter(&inner.filter)))
            })
        };
        for entry in policy.narrow(&record, &asked) {
            for action in [|e: &ScopeEntry| e.publish, |e: &ScopeEntry| e.subscribe] as [fn(&ScopeEntry) -> bool; 2] {
                if action(&entry) {
                    prop_assert!(inside(&entry, &asked, action), "{:?} not asked", entry);
                    prop_assert!(inside(&entry, &given, action), "{:?} not given", entry);
                }
            }
        }
    }
}
