//! Documents say what is true: links lead somewhere, commands exist, vectors can be read.
use std::path::Path;

use keygate_tests::peers::repository;

use crate::source::files;

/// The targets of `[…](…)` in Markdown, without code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            found.extend(rest.find(')').map(|end| &rest[..end]));
        }
    }
    found
}

#[test]
fn every_relative_link_leads_somewhere() {
    let root = repository();
    for file in files() {
        if !file.has_extension("md") {
            continue;
        }
        let folder = file.path.parent().unwrap_or(Path::new(""));
        for link in links(&file.text) {
            let (target, _) = link.split_once('#').unwrap_or((link, ""));
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            assert!(
                root.join(folder).join(target).exists(),
                "{}: {link} leads nowhere",
                file.path.display()
            );
        }
    }
}

#[test]
fn every_cargo_command_of_the_documents_exists() {
    const BUILT_IN: [&str; 10] = [
        "add", "bench", "build", "check", "clippy", "doc", "fmt", "install", "run", "test",
    ];
    let aliases = std::fs::read_to_string(repository().join(".cargo/config.toml")).unwrap();
    let is_alias = |name: &str| {
        aliases.lines().any(|line| {
            line.split_once(" = ")
                .is_some_and(|(alias, _)| alias == name)
        })
    };
    let mut found = 0;
    for file in files() {
        if !file.has_extension("md") {
            continue;
        }
        for (at, _) in file.text.match_indices("cargo ") {
            let before = file.text[..at].chars().next_back();
            if !matches!(before, Some('`' | '\n' | ' ' | '(')) {
                continue;
            }
            let command: String = file.text[at + "cargo ".len()..]
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            // "cargo" in a sentence is no command; one in code is.
            if before == Some(' ') {
                continue;
            }
            found += 1;
            assert!(
                BUILT_IN.contains(&command.as_str()) || is_alias(&command),
                "{}: `cargo {command}` does not exist",
                file.path.display()
            );
        }
    }
    assert!(found >= 2, "the README has its two commands");
}

#[test]
fn the_two_commands_of_the_readme_are_there() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for command in ["cargo demo", "cargo test --workspace"] {
        assert!(readme.contains(command), "{command}");
    }
}

#[test]
fn every_vector_file_can_be_read() {
    let mut found = 0;
    for file in files() {
        if !file.is_below("protocol/vectors") || !file.has_extension("json") {
            continue;
        }
        let value: serde_json::Value = serde_json::from_str(&file.text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.path.display()));
        assert!(value.is_array() || value.is_object());
        found += 1;
    }
    assert!(found >= 3, "there are {found}");
}

#[test]
fn every_suite_is_in_the_readme_of_the_tests() {
    let readme = std::fs::read_to_string(repository().join("tests/README.md")).unwrap();
    for suite in ["conformance", "e2e", "interop", "security", "tidy"] {
        assert!(readme.contains(suite), "{suite}");
    }
}
