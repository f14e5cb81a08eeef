//! What a run found: numbers, proofs, and whether all went as it should.

mod checks;
mod files;
mod latency;
mod model;
mod text;

pub use files::write;
pub use latency::{Latencies, Latency, Timings};
pub use model::{Check, ErrorCount, Impostors, Logins, Process, Report, StreamReport, Tokens};

pub(crate) use checks::checks;
pub(crate) use latency::{histogram, numbers};
