//! Topic names and filters.
use keygate_protocol::mqtt::Qos;

use super::bytes::{publish, subscribe, unsubscribe};
use super::case::{Case, both};
use super::target::Target;

pub(super) const CASES: &[Case] = &[
    both!(the_multi_level_wildcard_stands_at_the_end_of_a_level),
    both!(the_single_level_wildcard_fills_a_level),
    both!(wildcards_match_as_defined),
    both!(wildcards_do_not_reach_dollar_topics),
    both!(empty_filters_end_the_connection),
    both!(nothing_is_normalised),
    both!(long_topics_work),
];

const Q1: Qos = Qos::AtLeastOnce;

/// A filter that is none ends the connection, in SUBSCRIBE and in UNSUBSCRIBE.
#[track_caller]
fn must_not_be_filters(target: &Target, filters: &[&str]) {
    for filter in filters {
        for packet in [subscribe, unsubscribe] {
            target
                .join("a")
                .must_end_after(&packet(target, filter.as_bytes()), 0x8f);
        }
    }
}

/// 5: MQTT-4.7.1-1. 3.1.1: MQTT-4.7.1-2. `#` is the last level, alone.
fn the_multi_level_wildcard_stands_at_the_end_of_a_level(target: &Target) {
    must_not_be_filters(target, &["a/#/b", "a#", "#a", "#/", "a/b#", "##", "#/#"]);
}

/// 5: MQTT-4.7.1-2. 3.1.1: MQTT-4.7.1-3. `+` is a level, any, alone.
fn the_single_level_wildcard_fills_a_level(target: &Target) {
    must_not_be_filters(target, &["a+", "+a", "a/b+/c", "++", "a/+b"]);
}

/// 5: MQTT-3.3.2-3, MQTT-4.7.1-1, MQTT-4.7.1-2. 3.1.1: MQTT-3.3.2-3, MQTT-4.7.1-2, MQTT-4.7.1-3. Every filter matches
/// what it is defined to match and nothing else.
fn wildcards_match_as_defined(target: &Target) {
    let topics = [
        "a", "a/", "/a", "a/b", "a/b/c", "a//c", "b", "a/b/c/d", "/", "ab",
    ];
    let expected: [(&str, &[&str]); 13] = [
        ("#", &topics),
        ("a/#", &["a", "a/", "a/b", "a/b/c", "a//c", "a/b/c/d"]),
        ("a/b/#", &["a/b", "a/b/c", "a/b/c/d"]),
        ("+", &["a", "b", "ab"]),
        ("+/+", &["a/", "/a", "a/b", "/"]),
        ("+/", &["a/", "/"]),
        ("/+", &["/a", "/"]),
        ("a/+", &["a/", "a/b"]),
        ("a/+/c", &["a/b/c", "a//c"]),
        ("a//c", &["a//c"]),
        ("+/b/#", &["a/b", "a/b/c", "a/b/c/d"]),
        ("a", &["a"]),
        ("A", &[]),
    ];
    let mut writer = target.join("w");
    for (filter, matching) in expected {
        let mut reader = target.join("r");
        reader.must_subscribe(&target.topic(filter), Q1);
        for topic in topics {
            writer.must_publish(&target.topic(topic), topic.as_bytes(), Q1);
        }
        let fence = target.topic("end/of/this");
        reader.must_subscribe(&fence, Q1);
        writer.must_publish(&fence, b"", Q1);
        let mut found: Vec<_> = reader
            .take_until(&fence)
            .into_iter()
            .map(|message| String::from_utf8(message.payload).unwrap())
            .collect();
        found.sort();
        let mut matching = matching.to_vec();
        matching.sort_unstable();
        assert_eq!(found, matching, "{filter}");
        reader.leave();
    }
}

/// 5: MQTT-4.7.2-1. 3.1.1: MQTT-4.7.2-1. A filter that begins with a wildcard sees no topic that begins with `$`, neither
/// one that somebody publishes (if that is allowed at all) nor what the broker has kept.
fn wildcards_do_not_reach_dollar_topics(target: &Target) {
    let marker = target.place.clone();
    let mut reader = target.join("r");
    assert!(reader.subscribe("#", Q1) < 0x80);
    assert!(reader.subscribe("+/#", Q1) < 0x80);
    let mut writer = target.join("w");
    for topic in [
        format!("$kc/{marker}"),
        format!("$SYS/{marker}"),
        format!("$/{marker}"),
    ] {
        writer.start_publish(&topic, b"no", Q1);
    }
    writer.answered_or_closed();
    let fence = target.topic("fence");
    target.join("f").must_publish(&fence, b"", Q1);
    for message in reader.take_until(&fence) {
        assert!(!message.topic.starts_with('$'), "{message:?}");
    }
    reader.cut();
}

/// 5: MQTT-4.7.3-1. 3.1.1: MQTT-4.7.3-1. A filter has at least one character, and so has a topic.
fn empty_filters_end_the_connection(target: &Target) {
    must_not_be_filters(target, &[""]);
    target.join("a").must_end_after(&publish(target, b""), 0x82);
}

/// 5: MQTT-4.7.3-4. 3.1.1: MQTT-4.7.3-4. What looks the same to people, or to a file system, is not the same topic.
fn nothing_is_normalised(target: &Target) {
    let spellings = [
        "a/b", "a//b", "a/b/", "/a/b", "a/./b", "a/x/../b", "A/b", "a/B", "a /b", "a\\b",
        // One letter, two spellings of it.
        "\u{e9}", "e\u{301}",
    ];
    let mut writer = target.join("w");
    let mut reader = target.join("r");
    for spelling in spellings {
        reader.must_subscribe(&target.topic(spelling), Q1);
        for topic in spellings {
            writer.must_publish(&target.topic(topic), topic.as_bytes(), Q1);
        }
        reader.must_take(&target.topic(spelling), spelling.as_bytes());
        assert_eq!(reader.drain(&mut writer, Q1), [], "{spelling}");
        reader.unsubscribe(&[&target.topic(spelling)]);
    }
}

/// 5: MQTT-4.7.3-3. 3.1.1: MQTT-4.7.3-3. Topics may be long: as long as their length field can say, where the broker takes
/// packets of that size.
fn long_topics_work(target: &Target) {
    let mut writer = target.join("w");
    let mut reader = target.join("r");
    let mut topic = target.topic("");
    while topic.len() < 65_535 {
        topic.push('x');
    }
    reader.must_subscribe(&topic, Q1);
    writer.must_publish(&topic, b"x", Q1);
    reader.must_take(&topic, b"x");
    topic.pop();
    writer.must_publish(&topic, b"x", Q1);
    assert_eq!(reader.drain(&mut writer, Q1), []);
}
