//! The run itself: thin tokio tasks around sans-I/O actors, and the recorder that they report to.
//!
//! | file | what it holds |
//! |---|---|
//! | `run` | the order of a run, from the first connection to the report |
//! | `crew` | what all members of a run share and never change |
//! | `device`, `controller` | actors: bytes, time and news in, bytes and notes out |
//! | `channel` | a connection, plain or over TLS |
//! | `link` | the one loop that carries an actor over a connection |
//! | `relay` | TLS for the watcher |
//! | `control`, `fleet`, `gateway`, `impostor`, `watcher` | the tasks |
//! | `streams` | messages between partners, phase by phase |
//! | `recorder` | everything that was seen, and whether more is to come |
//! | `system` | open files, memory, processor time |

mod channel;
mod control;
mod controller;
mod crew;
mod device;
mod error;
mod fleet;
mod gateway;
mod impostor;
mod link;
mod progress;
mod recorder;
mod relay;
mod run;
#[cfg(test)]
mod socket_tests;
mod streams;
mod system;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
mod watcher;

pub use error::RunError;
pub use progress::{Phase, Progress, Quiet, Snapshot};
pub use run::{Plan, run};
