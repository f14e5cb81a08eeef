//! The rules of MQTT 3.1.1 and 5 and of CoAP, as a client meets them: each test names the section.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod coap;
mod connect;
mod packets;
