//! The command line. Thin: each command asks [`admin`], [`telemetry`](crate::telemetry) or the protocol
//! crate, and prints what they say.
//!
//! Results go to standard output, as text or JSON; everything else to standard error. Errors say what to do next. Exit
//! codes: 0 done, 1 failed, 2 wrong use.

mod args;
mod assert;
mod audit;
mod coap;
mod device;
mod event;
mod failure;
mod fetch_token;
mod init;
mod key;
mod screen;
mod serve;
mod settings;
mod status;
mod time;
mod token;
mod why;

use args::{Cli, Command, ConfigCommand, TokenCommand};
use clap::Parser as _;
use failure::{Failure, Kind};
use screen::Screen;
use std::io::Write as _;
use std::process::ExitCode;

use crate::admin::client::Connection;
use crate::admin::{self, Desk};
use crate::clock::{Clock, SystemClock};
use crate::rng::{Random, SystemRandom};
use crate::telemetry::log;
use std::path::PathBuf;
use std::sync::Arc;

/// The level of commands other than `serve`: their output is what was asked for, not a log.
const LEVEL_OF_COMMANDS: &str = "warn";

/// Runs the command that the process was started with, to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: clap knows where each goes.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // What was wrong may stand before `--json`: nothing is parsed to ask.
            if std::env::args_os().any(|arg| arg == "--json") {
                let text = error.render().to_string();
                let message = text.trim_start_matches("error: ").trim_end();
                tell(true, Kind::WrongUse, message);
            } else {
                let _ = error.print();
            }
            return ExitCode::from(2);
        }
    };
    let json = cli.json;
    match run(cli) {
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::Told { kind, message }) => {
            tell(json, kind, &message);
            match kind {
                Kind::Failed => ExitCode::from(1),
                Kind::WrongUse => ExitCode::from(2),
            }
        }
    }
}

/// Prints an error. If not even standard error works, the exit code has to do.
fn tell(json: bool, kind: Kind, message: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = if json {
        let error = serde_json::json!({"error": {"kind": kind, "message": message}});
        writeln!(stderr, "{error}")
    } else {
        writeln!(stderr, "keygate: {message}")
    };
}

fn run(cli: Cli) -> Result<(), Failure> {
    let mut context = Context {
        data: cli.data,
        clock: Arc::new(SystemClock::start()),
        random: Box::new(SystemRandom),
        screen: Screen::new(cli.json),
    };
    let (context, level) = (&mut context, cli.log);
    if !matches!(cli.command, Command::Serve(_) | Command::Config(_)) {
        let level = level.as_deref().unwrap_or(LEVEL_OF_COMMANDS);
        log::set_up(level).map_err(Failure::wrong_use)?;
    }
    match cli.command {
        Command::Serve(args) => serve::run(context, &args, level),
        Command::Config(ConfigCommand::Check(args)) => settings::check(context, &args, level),
        Command::Config(ConfigCommand::Show(args)) => settings::show(context, &args, level),
        Command::Init(args) => init::run(context, &args),
        Command::Device(command) => device::run(context, command),
        Command::Assert(args) => assert::run(context, &args),
        Command::FetchToken(args) => fetch_token::run(context, &args),
        Command::Token(TokenCommand::Inspect { token }) => token::inspect(context, &token),
        Command::Why(args) => why::run(context, &args.id),
        Command::Status => status::run(context),
        Command::Audit(args) => audit::run(context, &args),
    }
}

/// What every command has.
struct Context {
    data: PathBuf,
    clock: Arc<dyn Clock>,
    random: Box<dyn Random>,
    screen: Screen,
}

impl Context {
    /// The broker that runs on the data directory, or its store.
    fn desk(&mut self) -> Result<Desk, Failure> {
        Ok(Desk::open(
            &self.data,
            Arc::clone(&self.clock),
            &mut *self.random,
        )?)
    }
}

/// Has a running broker write what it recorded so far, so that what just happened is seen. Without one there is nothing
/// to wait for.
fn flush_trail(context: &Context) {
    if let Ok(Some(mut broker)) = Connection::open(&context.data)
        && let Err(error) = broker.ask(&admin::Command::Flush, None, &mut |_| Ok(()))
    {
        tracing::warn!(%error, "the newest events may be missing");
    }
}
