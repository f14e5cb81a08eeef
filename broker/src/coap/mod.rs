//! The CoAP endpoint over plain UDP: discovery, challenges, public keys, and tokens for signed requests (SPEC.md §8).

pub mod echo;
mod endpoint;
pub mod exchange;
mod keys;
pub mod limits;
pub mod links;
pub mod message;
pub mod resources;
mod server;
pub mod throttle;
mod token;

pub use endpoint::{Counters, Deps, Endpoint, Outcome};
pub use server::Server;
