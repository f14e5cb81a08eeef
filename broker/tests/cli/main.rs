//! The `keygate` command from outside: its words, its JSON, its exit codes.
//!
//! | module | what is asked |
//! |---|---|
//! | `harness` | running the command, running a broker, speaking just enough MQTT |
//! | `help` | the whole help as one golden file (`KEYGATE_ACCEPT=1` accepts a change) |
//! | `usage` | exit codes, and that errors say what to do |
//! | `devices` | add, import, list, show, suspend, resume, revoke; the same on a running and on a stopped broker |
//! | `tokens` | assert, fetch-token, token inspect |
//! | `broker` | serve: the ready line, logins, why, audit, stopping, being killed |
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod broker;
mod devices;
mod harness;
mod help;
mod tokens;
mod usage;
