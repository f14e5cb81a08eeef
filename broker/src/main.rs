//! The `keygate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    keygate_broker::cli::main()
}
