//! Scenarios: what a run does, as TOML.
//!
//! The language is small on purpose and strict: an unknown word is an error that names its line. The built-in
//! scenarios are such files too (`scenarios/` beside this crate), so `device-sim scenario smoke` prints a start for
//! one's own.

mod check;
mod model;

pub(crate) use check::check;
pub use check::{ScenarioError, builtin, builtin_names, builtin_text, checked, parse};
pub use model::{
    Arrivals, Fleet, Gateways, Impostors, Login, Messages, Reader, Run, Scenario, Stream,
    Thresholds,
};
