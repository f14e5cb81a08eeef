//! The main job, from outside: devices prove their keys and talk to each other, operators change their minds, and the
//! broker dies and comes back.
//!
//! | module | what it shows |
//! |---|---|
//! | `delivery` | QoS 0 and 1 within a group, retained messages, both versions |
//! | `sessions` | wills, keep-alive, takeover, goodbye, re-authentication |
//! | `operator` | revocation and suspension take effect at once; what the command line says |
//! | `upstream` | a gate in front of a broker that stalls, dies and comes back |
//! | `restart` | SIGKILL loses no device, no key, and no token |
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod delivery;
mod operator;
mod restart;
mod rumqttd;
mod sessions;
mod upstream;
