use super::*;
use crate::hub::{SessionKey, Target};
use crate::rng::SeededRandom;
use crate::shard::ShardId;
use keygate_protocol::topic::{TopicFilter, TopicName};
use slotmap::SlotMap;

fn keys(count: usize) -> Vec<SubscriberKey> {
    let mut slots: SlotMap<SessionKey, ()> = SlotMap::with_key();
    (0..count)
        .map(|_| SubscriberKey {
            shard: ShardId(0),
            target: Target::Session(slots.insert(())),
        })
        .collect()
}

fn at_qos(key: SubscriberKey, qos: u8) -> Subscriber {
    Subscriber {
        key,
        options: Options::new(Qos::new(qos).unwrap(), false, false),
        id: None,
        stored: StoredId::default(),
    }
}

fn matched(routes: &Routes, topic: &str) -> Vec<SubscriberKey> {
    let mut found = Vec::new();
    routes.matches(topic, &mut found);
    let mut keys: Vec<_> = found.into_iter().map(|subscriber| subscriber.key).collect();
    keys.dedup();
    keys
}

#[test]
fn hash_matches_the_level_above_it_too() {
    let [key] = keys(1)[..] else { unreachable!() };
    let mut routes = Routes::new(HashSeed([1; 16]));
    routes.insert("a/b/#", at_qos(key, 1));
    for (topic, expected) in [
        ("a/b", true),
        ("a/b/c", true),
        ("a/b/c/d", true),
        ("a", false),
        ("a/bc", false),
    ] {
        assert_eq!(!matched(&routes, topic).is_empty(), expected, "{topic}");
    }
}

#[test]
fn leading_wildcards_do_not_match_system_topics() {
    let found = keys(3);
    let mut routes = Routes::new(HashSeed([1; 16]));
    routes.insert("#", at_qos(found[0], 1));
    routes.insert("+/uptime", at_qos(found[1], 1));
    routes.insert("$SYS/#", at_qos(found[2], 1));
    assert_eq!(matched(&routes, "$SYS/uptime"), [found[2]]);
    assert_eq!(matched(&routes, "x/uptime"), [found[0], found[1]]);
}

#[test]
fn the_subscriptions_of_one_session_stand_together() {
    let [key] = keys(1)[..] else { unreachable!() };
    let mut routes = Routes::new(HashSeed([1; 16]));
    routes.insert("a/+", at_qos(key, 0));
    let [first, other] = keys(2)[..] else {
        unreachable!()
    };
    assert_eq!(first, key);
    routes.insert("a/+", at_qos(other, 1));
    routes.insert("a/b", at_qos(key, 1));
    let mut found = Vec::new();
    routes.matches("a/b", &mut found);
    let of: Vec<_> = found.iter().map(|subscriber| subscriber.key).collect();
    assert_eq!(of, [key, key, other]);
    assert_eq!(
        found.iter().map(|s| s.options.qos()).max(),
        Some(Qos::AtLeastOnce)
    );
}

#[test]
fn a_second_subscription_to_a_filter_replaces_the_first() {
    let [key] = keys(1)[..] else { unreachable!() };
    let mut routes = Routes::new(HashSeed([1; 16]));
    routes.insert("a", at_qos(key, 1));
    routes.insert("a", at_qos(key, 0));
    assert_eq!(routes.len(), 1);
    let mut found = Vec::new();
    routes.matches("a", &mut found);
    assert_eq!(found, [at_qos(key, 0)]);
}

#[test]
fn nothing_is_left_after_the_last_unsubscribe() {
    let found = keys(50);
    let mut routes = Routes::new(HashSeed([1; 16]));
    let filters = ["a/b/c", "a/+/c", "a/#", "#", "+", "/", "a//b", "$SYS/x/+"];
    for (index, key) in found.iter().enumerate() {
        routes.insert(filters[index % filters.len()], at_qos(*key, 1));
    }
    for (index, key) in found.iter().enumerate() {
        assert!(routes.remove(filters[index % filters.len()], *key));
        assert!(!routes.remove(filters[index % filters.len()], *key));
    }
    assert_eq!(
        (
            routes.len(),
            routes.exact.len(),
            routes.levels.len(),
            routes.edges.len()
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(routes.free_nodes.len() + 1, routes.nodes.len());
}

/// The table and the trie against the definition: `topic::matches` on every subscription.
#[test]
fn routes_agree_with_the_definition_on_random_filters() {
    for seed in 0..200 {
        let mut random = SeededRandom::new(seed);
        let found = keys(12);
        let mut routes = Routes::new(HashSeed([7; 16]));
        let mut model: Vec<(String, SubscriberKey)> = Vec::new();
        for step in 0..60 {
            let key = found[random.below(12) as usize];
            let filter = random_levels(&mut random, &["a", "b", "", "$s", "+"], true);
            if TopicFilter::new(&filter).is_err() {
                continue;
            }
            if random.below(3) == 0 {
                let existed = model.iter().any(|entry| *entry == (filter.clone(), key));
                assert_eq!(
                    routes.remove(&filter, key),
                    existed,
                    "seed {seed} step {step}"
                );
                model.retain(|entry| *entry != (filter.clone(), key));
            } else {
                routes.insert(&filter, at_qos(key, 1));
                if !model.contains(&(filter.clone(), key)) {
                    model.push((filter, key));
                }
            }
            assert_eq!(routes.len(), model.len(), "seed {seed} step {step}");
            let topic = random_levels(&mut random, &["a", "b", "", "$s"], false);
            let Ok(name) = TopicName::new(&topic) else {
                continue;
            };
            let mut expected: Vec<SubscriberKey> = model
                .iter()
                .filter(|(filter, _)| {
                    keygate_protocol::topic::matches(TopicFilter::new(filter).unwrap(), name)
                })
                .map(|(_, key)| *key)
                .collect();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(
                matched(&routes, &topic),
                expected,
                "seed {seed} step {step} topic {topic}"
            );
        }
    }
}

fn random_levels(random: &mut SeededRandom, alphabet: &[&str], filter: bool) -> String {
    let count = 1 + random.below(4);
    let mut levels: Vec<&str> = (0..count)
        .map(|_| alphabet[random.below(alphabet.len() as u64) as usize])
        .collect();
    if filter && random.below(3) == 0 {
        levels.push("#");
    }
    levels.join("/")
}
