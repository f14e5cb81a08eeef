//! The log: what the program tells about itself, on standard error. Standard output stays free for results.

use std::io::IsTerminal as _;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What is logged when nothing was asked for.
pub const LEVEL_DEFAULT: &str = "info";

/// The log could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The level is neither a level nor a list of `module=level`.
    #[error(
        "`{given}` is no log level; use one of error, warn, info, debug, trace, or a list such as `warn,keygate_broker::coap=debug`"
    )]
    Level {
        /// What was given.
        given: String,
    },
    /// The process has a log already.
    #[error("the log is already set up")]
    Twice,
}

/// Sets up the log of this process, once: `level` is a level or a list of `module=level`.
pub fn set_up(level: &str) -> Result<(), LogError> {
    let unknown = || LogError::Level {
        given: level.to_owned(),
    };
    // The filter would take a misspelt level for the name of a module of which everything is wanted.
    let is_named = |part: &str| part.contains('=') || part.trim().parse::<LevelFilter>().is_ok();
    if !level.split(',').all(is_named) {
        return Err(unknown());
    }
    let mut filter = EnvFilter::builder().parse(level).map_err(|_| unknown())?;
    // It has a line for each session, with what the audit trail says better. Whoever wants it names it.
    if !level.contains("rumqttd") {
        filter = filter.add_directive("rumqttd=off".parse().map_err(|_| unknown())?);
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|_| LogError::Twice)
}
