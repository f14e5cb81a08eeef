//! `cargo demo`: the main job on real sockets. A broker on loopback with a temporary directory; a fleet that logs in,
//! reports and is told what to become; a gateway that gets tokens over CoAP; an impostor who knows a device's name but
//! not its key; then a table, and exit code 0 only if everything went as it should.
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use device_sim::engine::{Progress, Snapshot};
use device_sim::enrol::{Grants, lines};
use device_sim::report::Report;
use device_sim::scenario::builtin;
use device_sim::target::Target;
use keygate_broker::clock::{Clock, SystemClock};
use keygate_broker::config::{Flags, Given};
use keygate_broker::keys::DataDir;
use keygate_broker::rng::SystemRandom;
use keygate_broker::serve::Running;
use keygate_broker::telemetry::event::{EventKind, Outcome};
use keygate_broker::telemetry::trail::{Filter, last};
use keygate_protocol::crypto::PublicKey;

/// Small enough for a laptop, large enough to mean something.
const DEVICES: u32 = 300;
/// More refusals than one impostor makes.
const AUDIT_LINES: usize = 20;

const USAGE: &str = "usage: cargo demo\n\nTakes no options, and needs nothing but this repository.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--help" | "-h"] => {
            let _ = writeln!(io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            let _ = writeln!(io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    }
    match demo() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the demo could not run: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<bool> {
    let directory = tempfile::tempdir().context("a temporary directory")?;
    let path = directory.path().join("data");
    let data = DataDir::init(&path, None, SystemClock::start().wall(), &mut SystemRandom)?;
    let any_port = Some("127.0.0.1:0".parse()?);
    let config = Given::default().check(&Flags {
        mqtt: any_port,
        coap: any_port,
        ..Flags::default()
    })?;
    let broker = Running::start(data, &config)?;
    say(&format!(
        "broker {} on {}",
        broker.broker_id(),
        broker.mqtt().context("an MQTT listener")?
    ))?;

    let mut scenario = builtin("smoke")?;
    scenario.fleet.devices = DEVICES;
    let file: String = lines(&scenario, &Grants::default())
        .map(|line| line + "\n")
        .collect();
    let imported = broker
        .registry()
        .import(&mut file.as_bytes(), &mut |_| {})?;
    say(&format!("{} identities enrolled", imported.added))?;

    let target = Target {
        mqtt: broker.mqtt().context("an MQTT listener")?,
        tls: None,
        coap: broker.coap(),
        broker_id: broker.broker_id().into(),
        identity_key: Some(PublicKey::from_bytes(broker.identity_key())?),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let plan = device_sim::Plan::new(scenario, target)?;
    let report = runtime.block_on(device_sim::run(plan, &mut Line::default()))?;
    broker.stop();
    say(&format!("\n{report}"))?;

    let refused = refusals(&path)?;
    ensure!(
        !refused.is_empty(),
        "the impostor left no line in the audit trail"
    );
    say(&format!("audit trail: {}", refused.join("; ")))?;
    say(if passed(&report) {
        "all went as it should"
    } else {
        "something went wrong: see the table"
    })?;
    Ok(passed(&report))
}

/// Beyond the scenario's own checks: the demo has an impostor and a gateway, and both must have had their turn.
fn passed(report: &Report) -> bool {
    report.passed && report.impostors.refused > 0 && report.tokens.granted > 0
}

/// Who was refused, as an operator reads it.
fn refusals(data: &Path) -> Result<Vec<String>> {
    let filter = Filter {
        refused: true,
        ..Filter::default()
    };
    let mut found = Vec::new();
    for event in last(data, &filter, AUDIT_LINES)?.events {
        if let EventKind::Login {
            outcome: Outcome::Refused,
            reason: Some(reason),
            client_id,
            ..
        } = event.kind
        {
            found.push(format!("{client_id} was refused: {reason}"));
        }
    }
    Ok(found)
}

/// A line of progress, now and then.
#[derive(Default)]
struct Line {
    told_s: u64,
}

impl Progress for Line {
    fn update(&mut self, snapshot: &Snapshot) {
        let second = snapshot.elapsed_ms / 1_000;
        if second > self.told_s {
            self.told_s = second;
            let Snapshot {
                logins,
                devices,
                reports_delivered,
                orders_delivered,
                tokens,
                ..
            } = snapshot;
            let granted = logins.granted;
            let _ = writeln!(
                io::stderr(),
                "  {second:>2} s: {granted} of {devices} logged in, {reports_delivered} reports and {orders_delivered} \
                 orders delivered, {tokens} tokens"
            );
        }
    }
}

fn say(text: &str) -> Result<()> {
    writeln!(io::stdout(), "{text}").context("standard output")
}
