//! The shared byte examples, for tests.

use serde_json::Value;
use std::vec::Vec;

/// RFC 8032 §7.1 TEST 1: the device of every example.
pub(crate) const DEVICE_SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4,
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// RFC 8032 §7.1 TEST 2: the broker (and token issuer) of every example.
pub(crate) const BROKER_SEED: [u8; 32] = [
    0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e, 0x0f,
    0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8, 0xa6, 0xfb,
];

/// What the RFCs give, checked with independent libraries.
pub(crate) fn standards() -> Value {
    parse(include_str!("../vectors/standards-vectors.json"))
}

/// What our own profile gives.
pub(crate) fn keygate() -> Value {
    parse(include_str!("../vectors/keygate-vectors.json"))
}

/// The bytes of a hex string in a vector file.
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().expect("a vector is a hex string");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("a vector is a hex string");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the vector files are JSON")
}
