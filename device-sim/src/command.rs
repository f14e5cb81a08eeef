//! From the command line to the library.

use std::fs;
use std::io::{self, BufRead, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use device_sim::enrol::{Grants, device_lines, lines, password_lines};
use device_sim::scenario::{self, Login, Scenario, ScenarioError};
use device_sim::target::{Hints, TargetError};
use device_sim::{Plan, RunError, run};
use keygate_protocol::login::Binding;

use crate::cli::{BindTo, Cli, Command, Enrol, Fleet, Method, Run};
use crate::show;

/// Longest ready line that is read.
const READY_LINE_MAX: u64 = 64 * 1024;

/// Something was missed.
const MISSED: u8 = 3;

/// The scenario that runs if none is named.
const DEFAULT: &str = "smoke";

/// What ends the program early, in words that say what to do next.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) message: String,
    pub(crate) code: ExitCode,
}

impl Stop {
    fn failed(message: &impl ToString) -> Self {
        Self {
            message: message.to_string(),
            code: ExitCode::FAILURE,
        }
    }

    fn wrong_use(message: &impl ToString) -> Self {
        Self {
            message: message.to_string(),
            code: ExitCode::from(2),
        }
    }
}

impl From<ScenarioError> for Stop {
    fn from(error: ScenarioError) -> Self {
        Self::wrong_use(&error)
    }
}

impl From<TargetError> for Stop {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::NoReadyLine | TargetError::NotReady(_) => Self::failed(&error),
            _ => Self::wrong_use(&error),
        }
    }
}

impl From<RunError> for Stop {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Scenario(_) | RunError::NoCoap | RunError::NoIdentityKey => {
                Self::wrong_use(&error)
            }
            _ => Self::failed(&error),
        }
    }
}

/// Does what the command line says.
pub(crate) fn execute(cli: Cli) -> Result<ExitCode, Stop> {
    match cli.command {
        Command::Run(options) => execute_run(&options),
        Command::Enrol(options) => execute_enrol(options),
        Command::Scenario { name: Some(name) } => put(scenario::builtin_text(&name)?),
        Command::Scenario { name: None } => {
            put(&format!("{}\n", scenario::builtin_names().join("\n")))
        }
    }
}

fn execute_enrol(options: Enrol) -> Result<ExitCode, Stop> {
    let scenario = load(&options.fleet)?;
    let grants = Grants {
        roles: options.role,
        groups: options.group,
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let written = if scenario.fleet.login == Login::Password {
        // The devices come first.
        let all = if options.devices_only {
            usize::try_from(scenario.fleet.devices).unwrap_or(usize::MAX)
        } else {
            usize::MAX
        };
        password_lines(&scenario)
            .take(all)
            .try_for_each(|line| writeln!(out, "{line}"))
    } else if options.devices_only {
        device_lines(&scenario, &grants).try_for_each(|line| writeln!(out, "{line}"))
    } else {
        lines(&scenario, &grants).try_for_each(|line| writeln!(out, "{line}"))
    };
    ended(written.and_then(|()| out.flush()))
}

fn execute_run(options: &Run) -> Result<ExitCode, Stop> {
    let mut scenario = load(&options.fleet)?;
    if let Some(rate) = options.rate {
        scenario.arrivals.rate_per_s = rate;
    }
    if let Some(duration) = options.duration {
        scenario.run.duration_s = duration;
    }
    if let Some(impostors) = options.impostors {
        scenario.impostors.count = impostors;
    }
    let hints = hints(options)?;
    let target = match scenario.fleet.login {
        Login::KgEd25519 => hints.resolve()?,
        Login::Password => hints.resolve_unnamed()?,
    };
    let plan = Plan::new(scenario, target)?;

    // One thread: a device costs the least so, and the other cores are the broker's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(&format!("the runtime could not start: {error}")))?;
    let mut live = show::live(options.quiet);
    let report = runtime.block_on(run(plan, &mut *live));
    live.finish();
    let report = report?;

    if let Some(directory) = &options.report {
        device_sim::report::write(&report, directory).map_err(|error| {
            Stop::failed(&format!(
                "{} cannot be written: {error}",
                directory.display()
            ))
        })?;
    }
    if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| Stop::failed(&error))?;
        put(&format!("{json}\n"))?;
    } else {
        put(&report.to_string())?;
    }
    Ok(if report.passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(MISSED)
    })
}

/// The scenario that the options name, changed by what else they say.
fn load(fleet: &Fleet) -> Result<Scenario, Stop> {
    let mut scenario = match (&fleet.file, &fleet.builtin) {
        (Some(file), _) => {
            let text = fs::read_to_string(file).map_err(|error| {
                Stop::wrong_use(&format!("{} cannot be read: {error}", file.display()))
            })?;
            scenario::parse(&text)
                .map_err(|error| Stop::wrong_use(&format!("{}: {error}", file.display())))?
        }
        (None, name) => scenario::builtin(name.as_deref().unwrap_or(DEFAULT))?,
    };
    if let Some(devices) = fleet.devices {
        scenario.fleet.devices = devices;
    }
    if let Some(seed) = &fleet.seed {
        scenario.fleet.seed.clone_from(seed);
    }
    if let Some(prefix) = &fleet.prefix {
        scenario.fleet.prefix.clone_from(prefix);
    }
    if let Some(gateways) = fleet.gateways {
        scenario.gateways.count = gateways;
    }
    match fleet.login {
        Some(Method::KgEd25519) => scenario.fleet.login = Login::KgEd25519,
        Some(Method::Password) => scenario.fleet.login = Login::Password,
        None => {}
    }
    Ok(scenario::checked(scenario)?)
}

/// What the command line and the ready line say about the target; the command line wins.
fn hints(options: &Run) -> Result<Hints, Stop> {
    let mut ready = match options.target.as_deref() {
        Some("-") => ready_line()?,
        Some(url) => Hints {
            mqtt: Some(url.to_owned()),
            ..Hints::default()
        },
        None => Hints::default(),
    };
    if options.tls {
        ready = ready.over_tls()?;
    }
    let said = Hints {
        mqtt: options.mqtt.clone(),
        mqtts: None,
        ca: options.ca.clone(),
        binding: options.binding.map(|binding| match binding {
            BindTo::None => Binding::None,
            BindTo::Exporter => Binding::Exporter,
        }),
        coap: options.coap.clone(),
        broker_id: options.broker_id.clone(),
        identity_key: options.identity_key.clone(),
    };
    let hints = said.or(ready);
    // Whoever says this means TLS: it must not go unheard.
    if !hints.is_over_tls() {
        if options.ca.is_some() {
            return Err(TargetError::NotOverTls("--ca").into());
        }
        if options.binding == Some(BindTo::Exporter) {
            return Err(TargetError::NotOverTls("--binding exporter").into());
        }
    }
    Ok(hints)
}

/// Waits for the broker's ready line; what follows it on standard input is the broker's business.
fn ready_line() -> Result<Hints, Stop> {
    let mut line = String::new();
    let mut input = io::Read::take(io::stdin().lock(), READY_LINE_MAX);
    match input.read_line(&mut line) {
        Ok(0) => Err(TargetError::NoReadyLine.into()),
        Ok(_) => Ok(Hints::from_ready_line(&line)?),
        Err(error) => Err(Stop::failed(&format!(
            "standard input cannot be read: {error}"
        ))),
    }
}

fn put(text: &str) -> Result<ExitCode, Stop> {
    let mut out = io::stdout().lock();
    ended(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A reader that has seen enough (`| head`) is no failure.
fn ended(written: io::Result<()>) -> Result<ExitCode, Stop> {
    match written {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Stop::failed(&format!(
            "standard output cannot be written: {error}"
        ))),
    }
}
