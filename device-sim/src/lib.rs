//! Drives whole fleets of simulated devices against a broker, over sockets.
pub mod address;
pub mod clock;
pub mod coap;
pub mod enrol;
pub mod identity;
pub mod ledger;
pub mod payload;
pub mod random;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod target;
