//! What a file may grow to, and what must not be in it.
use crate::source::{File, files, sources, top_level};

/// No file is longer.
const LINES_MAX: usize = 800;
/// Longer ones are listed, so that they are seen to grow.
const LINES_USUAL: usize = 400;
/// `mod.rs` is a table of contents.
const MOD_LINES_MAX: usize = 150;
/// `main.rs` is thin.
const MAIN_LINES_MAX: usize = 80;

/// What design §2 lists, each only once it has content; and dot-files.
const TOP_LEVEL: [&str; 14] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "broker",
    "deploy",
    "device-sim",
    "docs",
    "protocol",
    "tests",
];

/// Says which files break a rule, all of them.
#[track_caller]
fn none_of<'f>(
    files: impl IntoIterator<Item = &'f File>,
    breaks: impl Fn(&File) -> Option<String>,
) {
    let wrong: Vec<String> = files
        .into_iter()
        .filter_map(|file| Some(format!("{}: {}", file.path.display(), breaks(file)?)))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_root_holds_what_the_design_lists() {
    for name in top_level() {
        let listed = name.starts_with('.') || TOP_LEVEL.contains(&name.as_str());
        assert!(listed, "`{name}` does not belong into the root");
    }
}

#[test]
fn files_stay_readable() {
    let sources = sources();
    for file in &sources {
        let lines = file.text.lines().count();
        if lines > LINES_USUAL {
            println!("{lines:4} {}", file.path.display());
        }
    }
    none_of(&sources, |file| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{lines} lines, {LINES_MAX} is the most"))
    });
}

#[test]
fn mod_rs_is_a_table_of_contents() {
    let is_entry = |file: &&File| file.name() == "mod.rs" && !file.is_test();
    let sources = sources();
    none_of(sources.iter().filter(is_entry), |file| {
        let code = file.code();
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        (lines > MOD_LINES_MAX)
            .then(|| format!("{lines} lines of code, {MOD_LINES_MAX} is the most"))
    });
}

#[test]
fn main_rs_is_thin() {
    let is_program = |file: &&File| file.name() == "main.rs" && !file.is_below("tests");
    let sources = sources();
    none_of(sources.iter().filter(is_program), |file| {
        let lines = file.text.lines().count();
        (lines > MAIN_LINES_MAX).then(|| format!("{lines} lines, {MAIN_LINES_MAX} is the most"))
    });
}

/// Words that say that something is not done. Written in two halves, or this file would have them.
const UNDONE: [&str; 5] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];

#[test]
fn nothing_is_left_undone() {
    let files = files();
    let ours = files.iter().filter(|file| {
        let text = ["rs", "md", "toml", "py", "golden"]
            .iter()
            .any(|e| file.has_extension(e));
        text || file.is_below(".ci")
    });
    none_of(ours, |file| {
        let found = UNDONE.iter().find(|word| file.text.contains(**word))?;
        Some(format!("has {found}"))
    });
}

/// Measurements that are run by hand. A test that does not run proves nothing, so nothing else stands here.
const BY_HAND: [&str; 2] = [
    "a_large_fleet_is_imported_and_loaded",
    "five_thousand_devices_in_one_process",
];

#[test]
fn no_test_is_ignored() {
    none_of(&sources(), |file| {
        let mut lines = file.text.lines();
        while let Some(line) = lines.next() {
            if line.trim_start().starts_with(concat!("#[ign", "ore")) {
                let name = lines.find(|line| line.trim_start().starts_with("fn "))?;
                if !BY_HAND.iter().any(|known| name.contains(known)) {
                    return Some(format!("does not run {}", name.trim()));
                }
            }
        }
        None
    });
}

/// Waiting for a fixed time is slow where it is too long and wrong where it is too short. Nothing needs it: wait for an
/// event with a deadline. (`sleep_until` a scheduled instant is how the simulator paces its devices.)
#[test]
fn nobody_sleeps() {
    none_of(&files(), |file| {
        let script = file.has_extension("rs") || file.has_extension("py");
        let found = script && file.text.contains(concat!("sle", "ep("));
        found.then(|| "sleeps".into())
    });
}

#[test]
fn no_path_of_somebodys_machine() {
    let places = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
    ];
    none_of(&files(), |file| {
        let found = places.iter().find(|place| {
            // a path that only contains such a name is none.
            file.text.match_indices(**place).any(|(at, _)| {
                !file.text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '_')
            })
        })?;
        Some(format!("has {found}"))
    });
}

#[test]
fn unsafe_code_is_nowhere() {
    none_of(&sources(), |file| {
        let code = file.code();
        let found = [
            concat!("uns", "afe {"),
            concat!("uns", "afe fn"),
            concat!("uns", "afe impl"),
        ]
        .iter()
        .any(|word| code.contains(word));
        found.then(|| "has unsafe code".into())
    });
}
