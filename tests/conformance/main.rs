//! The rules of MQTT 3.1.1 and 5 and of CoAP, as a client meets them.
//!
//! `mqtt` has a case for each statement of the standards, on brokers that let everybody in. The other files have what
//! comes with a login: what a device meets that proves itself.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod coap;
mod connect;
mod mqtt;
mod packets;
