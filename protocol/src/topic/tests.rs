//! Rules by example, then all three relations against a model that tries every short name.
use super::*;
use proptest::prelude::*;
use std::string::String;
use std::sync::LazyLock;
use std::vec::Vec;

fn filter(text: &str) -> TopicFilter<'_> {
    TopicFilter::new(text).unwrap()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::new(text).unwrap()
}

#[test]
fn names_are_not_empty_and_have_no_wildcard_or_nul() {
    assert_eq!(TopicName::new(""), Err(NameError::Empty));
    assert_eq!(TopicName::new("a/+"), Err(NameError::Wildcard));
    assert_eq!(TopicName::new("a#"), Err(NameError::Wildcard));
    assert_eq!(TopicName::new("a\0"), Err(NameError::HasNul));
    for valid in ["/", "a", "a//b", "/a/", "$SYS/x", " ", "\u{E9}"] {
        assert_eq!(TopicName::new(valid).map(TopicName::as_str), Ok(valid));
    }
}

#[test]
fn topics_end_at_65535_bytes() {
    let long = "a".repeat(65_536);
    assert!(TopicName::new(&long[1..]).is_ok());
    assert!(TopicFilter::new(&long[1..]).is_ok());
    assert_eq!(TopicName::new(&long), Err(NameError::TooLong));
    assert_eq!(TopicFilter::new(&long), Err(FilterError::TooLong));
}

#[test]
fn wildcards_fill_a_level_and_hash_is_last() {
    assert_eq!(TopicFilter::new(""), Err(FilterError::Empty));
    assert_eq!(TopicFilter::new("a/#/b"), Err(FilterError::HashNotLast));
    assert_eq!(TopicFilter::new("#/"), Err(FilterError::HashNotLast));
    assert_eq!(TopicFilter::new("a#"), Err(FilterError::HashNotWholeLevel));
    assert_eq!(TopicFilter::new("##"), Err(FilterError::HashNotWholeLevel));
    assert_eq!(TopicFilter::new("a+"), Err(FilterError::PlusNotWholeLevel));
    assert_eq!(
        TopicFilter::new("+a/b"),
        Err(FilterError::PlusNotWholeLevel)
    );
    assert_eq!(TopicFilter::new("a/\0"), Err(FilterError::HasNul));
    for valid in ["#", "+", "/", "+/+/#", "a//#", "/+", "$SYS/#", "$share"] {
        assert_eq!(TopicFilter::new(valid).map(TopicFilter::as_str), Ok(valid));
    }
}

#[test]
fn a_share_has_a_group_and_a_filter() {
    assert_eq!(
        TopicFilter::new("$share/"),
        Err(FilterError::ShareIncomplete)
    );
    assert_eq!(
        TopicFilter::new("$share/g"),
        Err(FilterError::ShareIncomplete)
    );
    assert_eq!(
        TopicFilter::new("$share/g/"),
        Err(FilterError::ShareIncomplete)
    );
    assert_eq!(
        TopicFilter::new("$share//a"),
        Err(FilterError::ShareNameEmpty)
    );
    assert_eq!(
        TopicFilter::new("$share/g+/a"),
        Err(FilterError::ShareNameHasWildcard)
    );
    assert_eq!(
        TopicFilter::new("$share/#/a"),
        Err(FilterError::ShareNameHasWildcard)
    );
    assert_eq!(TopicFilter::new("$share/g\0/a"), Err(FilterError::HasNul));
    assert_eq!(
        TopicFilter::new("$share/g/a#"),
        Err(FilterError::HashNotWholeLevel)
    );

    let shared = filter("$share/g/a/+");
    assert_eq!(shared.share(), Some(("g", filter("a/+"))));
    assert_eq!(shared.as_str(), "$share/g/a/+");
    assert!(shared.levels().eq(["a", "+"]));
    assert_eq!(filter("a/+").share(), None);
    assert_eq!(filter("$share/g//").share(), Some(("g", filter("/"))));
}

#[test]
fn relations_of_a_share_are_those_of_its_filter() {
    assert!(matches(filter("$share/g/a/+"), name("a/b")));
    assert!(!matches(filter("$share/g/+/b"), name("$a/b")));
    assert!(covers(filter("a/#"), filter("$share/g/a/b")));
    assert!(!covers(filter("$share/g/#"), filter("$SYS/x")));
    assert!(overlaps(filter("$share/g/a/b"), filter("$share/h/a/+")));
}

#[test]
fn matching_follows_the_examples_of_the_standard() {
    assert!(matches(
        filter("sport/tennis/player1/#"),
        name("sport/tennis/player1")
    ));
    assert!(matches(filter("sport/#"), name("sport")));
    assert!(matches(filter("+/+"), name("/finance")));
    assert!(matches(filter("/+"), name("/finance")));
    assert!(!matches(filter("+"), name("/finance")));
    assert!(!matches(filter("sport/+"), name("sport")));
    assert!(matches(filter("sport/+"), name("sport/")));
    assert!(!matches(filter("#"), name("$SYS/monitor")));
    assert!(!matches(filter("+/monitor"), name("$SYS/monitor")));
    assert!(matches(filter("$SYS/#"), name("$SYS")));
    assert!(!matches(filter("ACCOUNTS"), name("Accounts")));
}

#[test]
fn covering_follows_the_levels() {
    for (granted, requested) in [
        ("a/#", "a"),
        ("a/#", "a/#"),
        ("a/#", "a/+/b"),
        ("a/+", "a/+"),
        ("a/+", "a/b"),
        ("#", "+/#"),
        ("+/#", "#"),
        ("a//+", "a//b"),
    ] {
        assert!(
            covers(filter(granted), filter(requested)),
            "{granted} {requested}"
        );
    }
    for (granted, requested) in [
        ("a/+", "a/#"),
        ("a/b", "a/+"),
        ("a/+", "a"),
        ("a/+/#", "a/#"),
        ("#", "$SYS/x"),
        ("+/x", "$SYS/x"),
        ("a/b", "a/b/"),
    ] {
        assert!(
            !covers(filter(granted), filter(requested)),
            "{granted} {requested}"
        );
    }
}

#[test]
fn overlapping_needs_one_common_name() {
    assert!(overlaps(filter("a/+"), filter("+/b")));
    assert!(overlaps(filter("a/#"), filter("+")));
    assert!(!overlaps(filter("a/+"), filter("a")));
    assert!(!overlaps(filter("#"), filter("$SYS/#")));
    // Their only candidate would be the empty name.
    assert!(!overlaps(filter("+"), filter("/#")));
}

/// Levels of the model: `z` stands in no filter, for all the texts that no filter mentions.
const NAME_LEVELS: [&str; 4] = ["", "a", "$b", "z"];
const FILTER_LEVELS: [&str; 4] = ["", "a", "$b", "+"];
/// Two more than the filters have, so that `#` finds names on both sides of every border.
const NAME_DEPTH: usize = 5;
const FILTER_DEPTH: usize = 3;

/// Every short name; made once.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(every_name);

fn every_name() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut longest: Vec<String> = NAME_LEVELS
        .iter()
        .map(|level| String::from(*level))
        .collect();
    for _ in 0..NAME_DEPTH {
        names.extend(longest.iter().filter(|name| !name.is_empty()).cloned());
        longest = longest
            .iter()
            .flat_map(|name| NAME_LEVELS.map(|level| std::format!("{name}/{level}")))
            .collect();
    }
    names
}

/// The definition of matching, written as differently as possible: by recursion over slices.
fn model_matches(filter: &[&str], name: &[&str], top: bool) -> bool {
    match (filter, name) {
        ([], []) | (["#"], []) => true,
        (["#" | "+", ..], [level, ..]) if top && level.starts_with('$') => false,
        (["#"], _) => true,
        ([want, filter @ ..], [level, name @ ..]) => {
            (*want == "+" || want == level) && model_matches(filter, name, false)
        }
        _ => false,
    }
}

fn arbitrary_filter() -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop::sample::select(&FILTER_LEVELS[..]), 0..=FILTER_DEPTH);
    (levels, any::<bool>())
        .prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("not empty", |text| !text.is_empty())
}

fn matched(filter: &str, names: &[String]) -> Vec<bool> {
    let wanted: Vec<&str> = filter.split('/').collect();
    let model = |name: &String| {
        let levels: Vec<&str> = name.split('/').collect();
        model_matches(&wanted, &levels, true)
    };
    names.iter().map(model).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn relations_agree_with_the_model(a in arbitrary_filter(), b in arbitrary_filter()) {
        let names = &*NAMES;
        let (in_a, in_b) = (matched(&a, names), matched(&b, names));
        let (a, b) = (filter(&a), filter(&b));
        for (text, expected) in names.iter().zip(&in_a) {
            prop_assert_eq!(matches(a, name(text)), *expected, "{} {}", a, text);
        }
        let subset = in_a.iter().zip(&in_b).all(|(a, b)| *a || !*b);
        prop_assert_eq!(covers(a, b), subset, "covers {} {}", a, b);
        let common = in_a.iter().zip(&in_b).any(|(a, b)| *a && *b);
        prop_assert_eq!(overlaps(a, b), common, "overlaps {} {}", a, b);
        prop_assert_eq!(overlaps(b, a), common);
        prop_assert!(covers(a, a));
    }

    #[test]
    fn any_text_is_judged_without_panic(text in "[a/+#$share\\x00]{0,24}|.*") {
        let _ = TopicName::new(&text);
        if let Ok(filter) = TopicFilter::new(&text) {
            prop_assert_eq!(filter.as_str(), &text);
            prop_assert!(covers(filter, filter));
        }
    }
}
