//! Drives whole fleets of simulated devices against a broker, over sockets, and proves that nothing was lost.
//!
//! A [`Scenario`](scenario::Scenario) says who comes, how fast and what for; a [`Target`](target::Target) says where the
//! broker is and which key it proves itself with. [`run`] makes the run and hands back a [`Report`](report::Report):
//! counts, latencies from the scheduled instant, a ledger of every message, refusals by code, errors by kind, and whether
//! all went as it should.
//!
//! ```no_run
//! use device_sim::engine::Quiet;
//! use device_sim::target::Hints;
//! use device_sim::{Plan, run, scenario};
//!
//! # async fn demo(ready_line: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let mut smoke = scenario::builtin("smoke")?;
//! smoke.fleet.devices = 500;
//! for line in device_sim::enrol::lines(&smoke, &Default::default()) {
//!     // … give each line to `keygate device import -`
//!     assert!(line.starts_with('{'));
//! }
//! let target = Hints::from_ready_line(ready_line)?.resolve()?;
//! let report = run(Plan::new(smoke, target)?, &mut Quiet).await?;
//! println!("{report}");
//! assert!(report.passed);
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`scenario`], [`schedule`] | what a run does, and when: open loop, from a seed |
//! | [`identity`], [`enrol`], [`address`] | who takes part, what to enrol, where each comes from |
//! | [`session`] | one MQTT connection with its `kg-ed25519` login, sans-I/O, one type per state |
//! | [`coap`] | a gateway's token fetch, sans-I/O |
//! | [`engine`] | actors, tasks and sockets; the order of a run |
//! | [`ledger`], [`report`] | the proof, the numbers, the verdict |
//! | [`target`], [`tls`] | the broker: where and who it is, and whose certificates it is believed by |
//! | [`payload`], [`random`], [`clock`] | what messages carry, seeded and fresh randomness, time |
//!
//! Out of scope: anything inside a broker. This crate reaches one over sockets only, so it may be any broker that speaks
//! the profile of `protocol/SPEC.md`.

pub mod address;
pub mod clock;
pub mod coap;
pub mod engine;
pub mod enrol;
pub mod identity;
pub mod ledger;
pub mod payload;
#[cfg(test)]
mod peer;
pub mod random;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod session;
pub mod target;
pub mod tls;

pub use engine::{Plan, RunError, run};
