//! What holds for any policy.
use super::super::pattern::Asked;
use super::*;
use keygate_protocol::topic;
use proptest::prelude::*;

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

    /// Walking the filled levels says what the text that they make would say.
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
