//! The same cases on gates that relay. What differs there is listed, case by case with its reason, and nothing else may.
use std::collections::BTreeMap;

use super::run::{Job, Outcome, run_on, words};
use super::stage::Stage;

/// What a gate relays to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Engine {
    /// Mosquitto.
    Upstream,
    /// rumqttd in the gate's process.
    Rumqttd,
}

/// The page that tells users how many cases each engine keeps.
const PAGE: &str = include_str!("../../../docs/engines.md");

#[test]
fn every_statement_is_kept_before_mosquitto_but_those_that_are_listed() {
    compare(
        Engine::Upstream,
        "upstream",
        include_str!("../upstream.expected"),
    );
}

#[test]
fn every_statement_is_kept_before_rumqttd_but_those_that_are_listed() {
    compare(
        Engine::Rumqttd,
        "rumqttd",
        include_str!("../rumqttd.expected"),
    );
}

/// Other people's brokers have races of their own: what is not as it is listed counts when it comes so often.
const TRIES: usize = 3;

/// `chapter::case (version): reason` a line; `#` begins a comment.
fn listed(text: &str) -> BTreeMap<String, &str> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once("): ").expect("`case (version): reason`"))
        .map(|(case, reason)| (format!("{case})"), reason))
        .collect()
}

fn name_of(job: &Job) -> String {
    format!("{} ({})", job.name, words(job.version))
}

fn compare(engine: Engine, name: &str, expected: &str) {
    let expected = listed(expected);
    let stage = Stage::behind(engine);
    let done = run_on(&stage, |_| true);
    let ran = |(_, outcome): &&(Job, Outcome)| !matches!(outcome, Outcome::LeftOut);
    let all = done.iter().filter(ran).count();
    let mut surprises = surprises(done, &expected);
    for _ in 1..TRIES {
        if !surprises.is_empty() {
            let again = run_on(&stage, |job| surprises.contains_key(&name_of(job)));
            surprises = self::surprises(again, &expected);
        }
    }
    let surprises: Vec<&String> = surprises.values().collect();
    assert!(
        surprises.is_empty(),
        "not as tests/conformance/{name}.expected says:\n{surprises:#?}"
    );
    let differ = expected.len();
    let row = format!("| `{name}` | {all} | {} | {differ} |", all - differ);
    assert!(PAGE.contains(&row), "docs/engines.md must say {row}");
}

/// The cases that were broken and are not listed, or listed and kept; with what is to be said of them.
fn surprises(
    done: Vec<(Job, Outcome)>,
    expected: &BTreeMap<String, &str>,
) -> BTreeMap<String, String> {
    let mut surprises = BTreeMap::new();
    for (job, outcome) in done {
        let name = name_of(&job);
        let said = match (outcome, expected.get(&name)) {
            (Outcome::Broken(why), None) => format!("{name}: {why}"),
            (Outcome::Kept(_), Some(reason)) => format!("{name} is kept, but listed: {reason}"),
            _ => continue,
        };
        surprises.insert(name, said);
    }
    surprises
}

#[test]
fn a_list_names_cases_that_there_are() {
    let there: Vec<String> = super::run::jobs().iter().map(name_of).collect();
    for text in [
        include_str!("../upstream.expected"),
        include_str!("../rumqttd.expected"),
    ] {
        for name in listed(text).into_keys() {
            assert!(there.contains(&name), "{name}");
        }
    }
}
