//! `device-sim`: drives a fleet of simulated devices against a broker.

mod cli;
mod command;
mod show;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match command::execute(cli) {
        Ok(code) => code,
        Err(error) => {
            show::complain(&error.message);
            error.code
        }
    }
}
