//! The list of statements and the cases agree.
use std::collections::{BTreeMap, BTreeSet};

use keygate_protocol::mqtt::Version;
use keygate_tests::peers::repository;

use super::CHAPTERS;

/// A version and an identifier.
type Statement = (&'static str, String);

/// The statements of this version that the documentation of a function names. The documentation says
/// `5: MQTT-…, MQTT-…. 3.1.1: MQTT-….` and then, in words, what is tried.
pub(super) fn ids_of(source: &str, function: &str, version: Version) -> Vec<String> {
    let wanted = match version {
        Version::V311 => "3.1.1",
        Version::V5 => "5",
    };
    named(source, function)
        .into_iter()
        .filter(|(version, _)| *version == wanted)
        .map(|(_, id)| id)
        .collect()
}

fn named(source: &str, function: &str) -> Vec<Statement> {
    let head = format!("fn {function}(");
    let lines: Vec<&str> = source.lines().collect();
    let Some(at) = lines.iter().position(|line| line.starts_with(&head)) else {
        panic!("there is no function {function}");
    };
    let above = lines[..at].iter().rev();
    let mut doc: Vec<&str> = above
        .take_while(|line| line.starts_with("///"))
        .map(|line| line.trim_start_matches('/'))
        .collect();
    doc.reverse();
    let mut version = "";
    let mut found = Vec::new();
    for word in doc.join(" ").split_whitespace() {
        match word {
            "5:" => version = "5",
            "3.1.1:" => version = "3.1.1",
            _ => {}
        }
        let id = word.trim_end_matches([',', '.', ':', ';']);
        if id.starts_with("MQTT-") {
            assert!(!version.is_empty(), "{function}: {id} of which version?");
            found.push((version, id.to_owned()));
        }
    }
    found
}

/// The rows of the table: identifier, version, meaning, cases, why there is none.
fn rows() -> Vec<[String; 5]> {
    let path = repository().join("tests/conformance/STATEMENTS.md");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| line.starts_with("| MQTT-"))
        .map(|line| {
            let mut cells = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned());
            let row = [(); 5].map(|()| cells.next().unwrap_or_else(|| panic!("{line}")));
            assert_eq!(cells.next(), None, "{line}");
            row
        })
        .collect()
}

#[test]
fn the_list_and_the_cases_agree() {
    let mut tried: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for chapter in CHAPTERS {
        for case in chapter.cases {
            let name = format!("{}::{}", chapter.name, case.name);
            let named = named(chapter.source, case.name);
            for version in case.versions {
                assert!(
                    !ids_of(chapter.source, case.name, *version).is_empty(),
                    "{name} names no statement of {version:?}"
                );
            }
            for (version, id) in named {
                tried
                    .entry((version.into(), id))
                    .or_default()
                    .insert(name.clone());
            }
        }
    }
    let mut listed = BTreeSet::new();
    let mut wrong = Vec::new();
    for [id, version, meaning, cases, why] in rows() {
        assert!(!meaning.is_empty(), "{id} means nothing");
        assert!(
            listed.insert((version.clone(), id.clone())),
            "{version} {id} is there twice"
        );
        let found = tried
            .remove(&(version.clone(), id.clone()))
            .unwrap_or_default();
        let said: BTreeSet<String> = cases
            .split(',')
            .map(|name| name.trim().trim_matches('`').to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        if said != found {
            wrong.push(format!("{version} {id}: listed {said:?}, found {found:?}"));
        }
        if found.is_empty() == why.is_empty() {
            wrong.push(format!(
                "{version} {id}: a case or a reason, not both, not none"
            ));
        }
    }
    for ((version, id), cases) in tried {
        wrong.push(format!("{version} {id} is not listed: {cases:?}"));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let of = |version: &str| listed.iter().filter(|(found, _)| found == version).count();
    println!("{} statements of 5, {} of 3.1.1", of("5"), of("3.1.1"));
    assert!(
        of("5") >= 240 && of("3.1.1") >= 130,
        "statements are missing"
    );
}

#[test]
fn every_case_is_run() {
    for chapter in CHAPTERS {
        let names: BTreeSet<&str> = chapter.cases.iter().map(|case| case.name).collect();
        assert_eq!(
            names.len(),
            chapter.cases.len(),
            "a case of {} twice",
            chapter.name
        );
        for line in chapter.source.lines() {
            let Some(name) = line
                .strip_prefix("fn ")
                .and_then(|rest| rest.strip_suffix("(target: &Target) {"))
            else {
                continue;
            };
            assert!(
                names.contains(name),
                "{}::{name} does not run",
                chapter.name
            );
        }
    }
}
