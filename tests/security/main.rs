//! What must be refused: with the right code on the wire, a line in the audit trail, and nothing changed.
//!
//! | module | who tries what |
//! |---|---|
//! | `logins` | `kg-ed25519`: strangers, wrong keys, proofs that were made for something else |
//! | `assertions` | passwords that are old, reused, of another kind, for somebody else |
//! | `anonymous` | clients without credentials, where they are let in and where not |
//! | `client_ids` | client ids of others, several sessions of one identity, empty ones |
//! | `rights` | publish, subscribe, will, retain, response topics outside of one's own |
//! | `tokens` | token requests over CoAP without Echo, with a stale one, from elsewhere |
//! | `takeover` | other people's sessions |
//! | `malformed` | every case of `protocol/vectors/mqtt-wire-cases.json`, before and after the login |
//! | `transports` | proofs relayed over TLS, other protocols on a port, pages of other sites, false proxies |
//! | `exhaustion` | silence, slowness, size |
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod anonymous;
mod assertions;
mod client_ids;
mod exhaustion;
mod logins;
mod malformed;
mod rights;
mod takeover;
mod tokens;
mod transports;
