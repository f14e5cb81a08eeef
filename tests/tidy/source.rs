//! Reading the repository: its files, and the names that Rust source uses.
use std::fs;
use std::path::{Path, PathBuf};

use keygate_tests::peers::repository;

/// What is made, fetched or private: `.gitignore` names the same.
const NOT_OURS: [&str; 6] = [
    "target",
    ".git",
    ".venv",
    "node_modules",
    "__pycache__",
    "keygate-data",
];

/// A text file of the repository.
pub(crate) struct File {
    /// Relative to the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    /// Its module is declared behind `#[cfg(test)]`.
    declared_for_tests: bool,
}

impl File {
    pub(crate) fn name(&self) -> &str {
        self.path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap()
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path
            .extension()
            .is_some_and(|found| found == extension)
    }

    pub(crate) fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    /// Whether it holds tests and nothing else.
    pub(crate) fn is_test(&self) -> bool {
        let stem = self
            .path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap();
        let named = stem == "tests" || stem.ends_with("_tests") || stem == "harness";
        let below = self.path.components().any(|part| {
            ["tests", "harness"]
                .iter()
                .any(|name| part.as_os_str() == *name)
        });
        named || below || self.declared_for_tests
    }

    /// The source without comments and without its unit tests.
    pub(crate) fn code(&self) -> String {
        let mut code = String::new();
        for line in self.text.lines() {
            if line.trim() == "#[cfg(test)]" && code_ends_here(&self.text, line) {
                break;
            }
            let line = match line.find("//") {
                // Not the one in `https://`.
                Some(at) if !line[..at].ends_with(':') => &line[..at],
                _ => line,
            };
            code.push_str(line);
            code.push('\n');
        }
        code
    }
}

/// A `#[cfg(test)]` at the margin in front of a module with a body is where the tests begin; one in front of
/// `mod tests;` stands among declarations.
fn code_ends_here(text: &str, line: &str) -> bool {
    let at = line.as_ptr() as usize - text.as_ptr() as usize;
    let rest = &text[at + line.len()..];
    let next = rest
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#["));
    next.is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
}

/// Every text file of the repository, in the order of their paths.
pub(crate) fn files() -> Vec<File> {
    let root = repository();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let path = path.strip_prefix(&root).unwrap().to_owned();
        files.push(File {
            path,
            text,
            declared_for_tests: false,
        });
    }
    let for_tests: Vec<PathBuf> = files.iter().flat_map(modules_for_tests).collect();
    for file in &mut files {
        file.declared_for_tests = for_tests.contains(&file.path);
    }
    assert!(files.len() > 100, "these are not all");
    files
}

/// The files of the modules that this one declares behind `#[cfg(test)]`.
fn modules_for_tests(file: &File) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut lines = file.text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let declared = lines
            .find(|line| !line.starts_with("#["))
            .and_then(|line| line.strip_suffix(';'))
            .and_then(|line| line.rsplit_once("mod "));
        if let Some((_, name)) = declared {
            found.push(file.path.with_file_name(name).with_extension("rs"));
        }
    }
    found
}

/// The Rust sources.
pub(crate) fn sources() -> Vec<File> {
    let mut files = files();
    files.retain(|file| file.has_extension("rs"));
    files
}

/// The entries of the root that belong to the repository.
pub(crate) fn top_level() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(repository())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !NOT_OURS.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if NOT_OURS.iter().any(|other| name == *other) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), paths);
        } else {
            paths.push(entry.path());
        }
    }
}

/// The paths below `crate::` that the code names, two steps deep: `["hub", "Message"]`, or `["hub"]`.
pub(crate) fn names_of_crate(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        // Not `$crate::`, nor a crate whose name ends so.
        if before.is_some_and(|c| c == '$' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        expand(&code[at + "crate::".len()..], &mut Vec::new(), &mut found);
    }
    found
}

/// Follows one path, through its braces. Gives what comes behind it.
fn expand<'c>(code: &'c str, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'c str {
    let mut rest = code.trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner.trim_start();
        while !rest.starts_with('}') && !rest.is_empty() {
            rest = expand(rest, path, found).trim_start();
            // `a as b`: the new name is of no interest.
            if let Some(renamed) = rest.strip_prefix("as ") {
                rest = skip_name(renamed).1.trim_start();
            }
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        }
        return rest.strip_prefix('}').unwrap_or(rest);
    }
    let (name, after) = skip_name(rest);
    if name.is_empty() {
        // `*`, or the end of what we understand: step over it.
        let mut chars = rest.chars();
        chars.next();
        found.push(path.clone());
        return chars.as_str();
    }
    path.push(name.to_owned());
    rest = after;
    match after.strip_prefix("::") {
        Some(deeper) if path.len() < 2 => rest = expand(deeper, path, found),
        Some(deeper) => {
            found.push(path.clone());
            rest = expand(deeper, &mut path.clone(), &mut Vec::new());
        }
        None => found.push(path.clone()),
    }
    path.pop();
    rest
}

fn skip_name(code: &str) -> (&str, &str) {
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    let end = code.find(|c| !is_part(c)).unwrap_or(code.len());
    code.split_at(end)
}

#[test]
fn names_are_found_through_braces() {
    let code = "use crate::hub::{Message, wire::put};\nuse crate::{authz, log::{Log, Op}};\ncrate::rng::fill()";
    let found: Vec<String> = names_of_crate(code)
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        found,
        [
            "hub::Message",
            "hub::wire",
            "authz",
            "log::Log",
            "log::Op",
            "rng::fill"
        ]
    );
}
