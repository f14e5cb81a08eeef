//! `cargo compare`: Keygate beside Mosquitto, under the same fleet, schedule and messages from `device-sim`.
//!
//! Each round starts both brokers in turn, each in a process of its own on an empty directory, and runs the scenario
//! `load` on it: a fleet logs in as fast as the broker takes it and subscribes once, rests, and sends QoS 1 messages in
//! three phases. Processor time and resident memory are the operating system's, for the broker's process alone. What is
//! printed are medians of the rounds, their ratios, and the budgets of the design beside them.
//!
//! Over TLS 1.3 both get certificates of the same kind, and the fleet resumes no session.
//!
//! Exit codes: 0 measured, 1 could not be measured, 2 wrong use, 3 a budget was missed and `--check` was given.
mod budgets;
mod options;
mod round;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use keygate_tests::measure::{allow_files, run_broker};
use options::{Options, USAGE};
use round::{Case, Figures};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, directory, shards] = args.as_slice()
        && role == "broker"
    {
        return ended(run_broker(directory.as_ref(), shards).map(|()| ExitCode::SUCCESS));
    }
    if args.first().is_some_and(|arg| arg == "--data") {
        return keygate_broker::cli::main();
    }
    if let ["--help" | "-h"] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let _ = writeln!(io::stdout(), "{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Options::of(&args) {
        Ok(options) => ended(compare(&options)),
        Err(message) => {
            let _ = writeln!(io::stderr(), "compare: {message}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn ended(outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "compare: {error:#}");
        ExitCode::FAILURE
    })
}

fn compare(options: &Options) -> Result<ExitCode> {
    allow_files()?;
    let cases = options.cases();
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); cases.len()];
    for round in 1..=options.rounds {
        for (case, figures) in cases.iter().zip(&mut rounds) {
            tell(&format!("round {round} of {}: {case}", options.rounds));
            figures.push(
                round::run(case, options.shards).with_context(|| format!("measuring {case}"))?,
            );
        }
    }
    let measured: Vec<(Case, Figures)> = cases
        .into_iter()
        .zip(&rounds)
        .map(|(case, rounds)| (case, Figures::median(rounds)))
        .collect();
    let rows = table::rows(&measured);
    let mut out = io::stdout().lock();
    if options.json {
        let document = table::Document::new(options.rounds, &measured, &rows);
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)?;
    } else {
        out.write_all(table::text(options.rounds, &rows).as_bytes())?;
    }
    let missed = rows.iter().any(|row| row.missed());
    Ok(if missed && options.check {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    })
}

fn tell(what: &str) {
    // Progress is for people; nobody reads it if this fails.
    let _ = writeln!(io::stderr(), "{what}");
}
