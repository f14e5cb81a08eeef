//! `cargo ratchet`: what a connection costs, measured beside the floor in the same run, and held to the budgets of the
//! design. Exit code 3 when one is missed.
//!
//! The floor is a server that accepts, answers CONNECT and SUBSCRIBE without looking, and idles: what any broker on
//! this machine must pay. `--mosquitto` adds a look at Mosquitto with a password file. Processor time and resident
//! memory come from the operating system, for the server's process alone; medians of three rounds.
mod client;
mod floor;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use keygate_tests::measure::{Kind, Server, allow_files, median, run_broker};

const USAGE: &str = "\
usage: cargo ratchet [--mosquitto]

  --mosquitto  measure Mosquitto too, which must be installed: apt-get install mosquitto

Takes about a minute; exits with 3 over budget.";

/// Connections that are measured, after as many warm-up logins as the code needs to be in memory.
const CONNECTIONS: usize = 3_000;
const WARM_UP: usize = 300;
const ROUNDS: usize = 3;

/// Resident bytes of an idle connection that has logged in and subscribed once (design §11: the limit).
const CONNECTION_BYTES_MAX: f64 = 1_900.0;
/// Processor time of a login with its subscription, as a multiple of the floor's: what it is today and a little room. It
/// holds an extra round trip and a signature check that the floor has not. Lower it when a change earns it.
const LOGIN_FLOORS_MAX: f64 = 4.5;
/// The budget of design §11: at most what Mosquitto takes for a password login and a subscription.
const LOGIN_MOSQUITTOS_MAX: f64 = 1.0;

/// What one login, and one connection that stays, cost the server.
#[derive(Clone, Copy, Debug)]
struct Cost {
    login_us: f64,
    connection_bytes: f64,
}

impl Cost {
    /// Each figure's median.
    fn median(rounds: &[Self]) -> Self {
        Self {
            login_us: median(rounds, |cost| cost.login_us),
            connection_bytes: median(rounds, |cost| cost.connection_bytes),
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["--help" | "-h"] => {
            let _ = writeln!(io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        [] => ratchet(false),
        ["--mosquitto"] => ratchet(true),
        ["floor"] => floor::run().map(|()| true),
        ["broker", directory, shards] => run_broker(directory.as_ref(), shards).map(|()| true),
        _ => {
            let _ = writeln!(io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            let _ = writeln!(io::stderr(), "ratchet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ratchet(mosquitto: bool) -> Result<bool> {
    allow_files()?;
    let mut kinds = vec![Kind::Floor, Kind::Keygate];
    kinds.extend(mosquitto.then_some(Kind::Mosquitto));
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        for (kind, costs) in kinds.iter().zip(&mut costs) {
            costs.push(round(*kind).with_context(|| format!("measuring {}", kind.name()))?);
        }
    }
    let medians: Vec<Cost> = costs.iter().map(|rounds| Cost::median(rounds)).collect();
    print(&kinds, &medians)
}

fn round(kind: Kind) -> Result<Cost> {
    let server = Server::start(kind, &client::people(WARM_UP + CONNECTIONS), 0)?;
    // Warm up with clients that leave again: code, pools and tables are then in memory.
    drop(client::log_in_all(&server, 0..WARM_UP)?);
    server.settle()?;
    let before = server.usage()?;
    let clients = client::log_in_all(&server, WARM_UP..WARM_UP + CONNECTIONS)?;
    let after = server.usage()?;
    drop(clients);
    let connections = CONNECTIONS as f64;
    Ok(Cost {
        login_us: after.cpu_us_since(&before) / connections,
        connection_bytes: after.bytes_since(&before) / connections,
    })
}

fn print(kinds: &[Kind], medians: &[Cost]) -> Result<bool> {
    let mut out = io::stdout().lock();
    let [floor, keygate, ..] = medians else {
        anyhow::bail!("nothing was measured")
    };
    writeln!(
        out,
        "{CONNECTIONS} connections, each logged in with one subscription; medians of {ROUNDS} rounds\n"
    )?;
    writeln!(
        out,
        "{:<28}{:>12}{:>12}{:>16}",
        "", "login", "x floor", "idle connection"
    )?;
    for (kind, cost) in kinds.iter().zip(medians) {
        let ratio = cost.login_us / floor.login_us;
        let name = kind.name();
        writeln!(
            out,
            "{name:<28}{:>9.1} us{ratio:>12.2}{:>14.0} B",
            cost.login_us, cost.connection_bytes
        )?;
    }
    let mut checks = vec![
        (
            "login, x floor",
            keygate.login_us / floor.login_us,
            LOGIN_FLOORS_MAX,
        ),
        (
            "idle connection, B",
            keygate.connection_bytes,
            CONNECTION_BYTES_MAX,
        ),
    ];
    if let Some(mosquitto) = medians.get(2) {
        let ratio = keygate.login_us / mosquitto.login_us;
        checks.push(("login, x Mosquitto", ratio, LOGIN_MOSQUITTOS_MAX));
    }
    writeln!(out)?;
    for (name, found, max) in &checks {
        let verdict = if found <= max { "held" } else { "MISSED" };
        writeln!(out, "{verdict:<8}{name}: {found:.2}, budget {max:.2}")?;
    }
    Ok(checks.iter().all(|(_, found, max)| found <= max))
}
