//! The Keygate auth broker.
//!
//! A connection's way through it, room by room: [`gate`] frames bytes and drives the handshake, [`authn`] answers who
//! the peer is, [`authz`] what it may do, [`hub`] delivers or [`upstream`] relays. [`shard`] is the loop that carries all
//! of it; [`coap`] is the other door. `ARCHITECTURE.md` has the whole house on one page.

pub mod admin;
pub mod authn;
pub mod authz;
pub mod cli;
pub mod clock;
pub mod coap;
pub mod config;
pub mod disk;
pub mod gate;
pub mod hub;
pub mod identity;
pub mod keys;
pub mod limits;
pub mod log;
pub mod rng;
pub mod serve;
pub mod shard;
pub mod telemetry;
pub mod token;
pub mod upstream;
