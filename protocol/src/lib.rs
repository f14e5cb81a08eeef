//! What a Keygate device and a Keygate broker must agree on.
//!
//! Everything here is bytes and time in, bytes and values out: no I/O, no clock, no random source, no heap. The same
//! code runs in the broker, in `device-sim` and on a Cortex-M0.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mqtt`] | strict MQTT 3.1.1 and 5 codec, every packet type, both directions |
//! | [`topic`] | topic names and filters: validation, matching, coverage, overlap |
//! | [`crypto`] | Ed25519 keys, what a key may sign, the one signature check |
//! | [`cbor`], [`cose`], [`cwt`] | deterministic CBOR, COSE_Key and COSE_Sign1, CBOR Web Tokens |
//! | [`scope`], [`ace`] | AIF-MQTT scopes, the ACE token request and answer |
//! | [`login`] | the `kg-ed25519` login, device side and broker side |
//! | [`assertion`] | the signed login assertion for clients without AUTH |
//! | [`coap`] | signed CoAP requests and answers |
//! | [`ident`], [`time`], [`sink`] | identifiers, time as an argument, where bytes are written |
//!
//! The wire profile, numbered and with byte examples, is `SPEC.md` beside this crate.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod ace;
pub mod assertion;
pub mod cbor;
pub mod coap;
pub mod cose;
pub mod crypto;
pub mod cwt;
pub mod ident;
pub mod login;
pub mod mqtt;
pub mod scope;
pub mod sink;
pub mod time;
pub mod topic;

#[cfg(test)]
mod vectors;
