//! Devices for the tests of this module.
use super::device::{Device, NewDevice};
use super::names::Names;
use keygate_protocol::crypto::{PublicKey, SoftwareSigner};

/// The public key number `n`.
pub(crate) fn public_key(n: u64) -> PublicKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SoftwareSigner::from_seed(&seed).public_key()
}

/// `dev-N` with the key number `n`, to be enrolled.
pub(crate) fn new_device(n: u64) -> NewDevice {
    NewDevice::new(format!("dev-{n}"), public_key(n))
}

/// The record that [`new_device`] becomes.
pub(crate) fn device(n: u64) -> Device {
    new_device(n).check(&mut Names::default()).unwrap()
}

/// A key's 64 hex digits.
pub(crate) fn hex(key: &PublicKey) -> String {
    key.as_bytes().iter().map(|b| format!("{b:02x}")).collect()
}
