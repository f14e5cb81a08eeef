//! The whole help, as one golden file.

use crate::harness::{bare, golden};
use std::fs;

const COMMANDS: &[&[&str]] = &[
    &[],
    &["serve"],
    &["init"],
    &["device"],
    &["device", "add"],
    &["device", "import"],
    &["device", "list"],
    &["device", "show"],
    &["device", "suspend"],
    &["device", "resume"],
    &["device", "revoke"],
    &["assert"],
    &["fetch-token"],
    &["token"],
    &["token", "inspect"],
    &["why"],
    &["audit"],
    &["status"],
    &["config"],
    &["config", "check"],
    &["config", "show"],
];

#[test]
fn the_help_is_the_one_that_was_agreed_on() {
    let mut all = String::new();
    for command in COMMANDS {
        let args: Vec<_> = command.iter().copied().chain(["--help"]).collect();
        let output = bare(&args).output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{args:?}"
        );
        let help = String::from_utf8(output.stdout).unwrap();
        all.push_str(&format!("$ keygate {}\n{help}\n", args.join(" ")));
    }
    let file = golden("cli-help.txt");
    if std::env::var_os("KEYGATE_ACCEPT").is_some() {
        fs::write(&file, &all).unwrap();
    }
    let agreed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        agreed == all,
        "the help has changed; if that is meant, run the test with KEYGATE_ACCEPT=1 and commit {}:\n{all}",
        file.display()
    );
}

#[test]
fn every_command_is_in_the_golden_file() {
    let agreed = fs::read_to_string(golden("cli-help.txt")).unwrap();
    // The names under each "Commands:" heading, with the command that they stand under.
    let mut parent = String::new();
    let mut in_commands = false;
    for line in agreed.lines() {
        if let Some(command) = line.strip_prefix("$ keygate ") {
            parent = command.trim_end_matches("--help").trim().to_owned();
        }
        in_commands = match line {
            "Commands:" => true,
            "" => false,
            _ => in_commands,
        };
        let Some(name) = line.strip_prefix("  ").filter(|_| in_commands) else {
            continue;
        };
        let name = name.split_whitespace().next().unwrap();
        if name == "help" {
            continue;
        }
        let command = format!("{parent} {name}");
        let command: Vec<_> = command.split_whitespace().collect();
        assert!(
            COMMANDS.contains(&&*command),
            "{command:?} has no golden help"
        );
    }
}
