//! `cargo crash`: kills the broker at random moments while clients work, and holds it to what it had acknowledged.
//!
//! The broker is a process of its own, on one data directory for the whole run. Publishers (QoS 1 and 2, MQTT 3.1.1 and
//! 5), subscribers that stay, cut their connections, acknowledge late or are away, members of share groups, clients that
//! subscribe and unsubscribe, and writers of retained messages all resume their sessions and resend as MQTT demands.
//! After some seconds of crashes a round ends quietly: everything is drained, every ledger is compared, and the stopped
//! broker's `state.db` must hold no message any more. Then the next round goes on with the same sessions.
//!
//! The seed decides what clients do and when the broker dies; how the threads interleave it cannot decide, so a seed
//! that fails may need a few runs to fail again.
//!
//! Exit codes: 0 nothing was lost, 1 something was, 2 wrong use.
mod line;
mod publisher;
mod retained;
mod stage;
mod subscriber;
mod toggler;
mod world;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use keygate_broker::rng::{Random, SystemRandom};

const USAGE: &str = "\
usage: cargo crash [--seconds N] [--seed N]

  --seconds N  how long the broker is killed [default: 60]
  --seed N     what is done and when [default: a fresh one]

Needs nothing but this repository.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|first| first == "serve") {
        // The broker that is killed is this program: never an older build than the clients.
        return keygate_broker::cli::main();
    }
    if let ["--help" | "-h"] = args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        let _ = writeln!(io::stdout(), "{USAGE}");
        return ExitCode::SUCCESS;
    }
    let Some((seconds, seed)) = options(&args) else {
        tell(USAGE);
        return ExitCode::from(2);
    };
    tell(&format!("crash: {seconds} s, seed {seed}"));
    let wrong = world::run(Duration::from_secs(seconds), seed);
    if wrong.is_empty() {
        return ExitCode::SUCCESS;
    }
    for line in &wrong {
        tell(&format!("crash: {line}"));
    }
    tell(&format!(
        "crash: FAILED with seed {seed}; run it again: cargo crash --seconds {seconds} --seed {seed}"
    ));
    ExitCode::FAILURE
}

fn options(args: &[String]) -> Option<(u64, u64)> {
    let mut bytes = [0; 4];
    SystemRandom.fill(&mut bytes);
    let (mut seconds, mut seed) = (60, u64::from(u32::from_le_bytes(bytes)));
    for pair in args.chunks(2) {
        match pair {
            [name, value] if name == "--seconds" => seconds = value.parse().ok()?,
            [name, value] if name == "--seed" => seed = value.parse().ok()?,
            _ => return None,
        }
    }
    Some((seconds, seed))
}

fn tell(line: &str) {
    // Whoever reads may be gone.
    let _ = writeln!(io::stderr(), "{line}");
}
