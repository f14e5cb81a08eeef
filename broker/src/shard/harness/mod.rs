//! N shards in one thread, under virtual time, with seeded interleaving: real shards and real clients (the protocol
//! crate's own device side), a network that splits and delays bytes, clients that read slowly, inboxes that are full,
//! and a log whose unsynced tail is lost in a crash.
mod bounds;
mod client;
mod figures;
mod log;
mod oracle;
mod restart;
mod schedules;
mod session_bounds;
mod system;
mod world;

use client::Client;
use log::TestLog;
use world::{Endpoint, Setting, World};
