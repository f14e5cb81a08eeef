//! COSE_KeySet (RFC 9052 §7): the public keys that `/keys` lists, each with its id and algorithm (SPEC.md §8.3).

use super::Algorithm;
use super::key::{self, CoseKeyError};
use crate::cbor::{CborError, Reader, Writer};
use crate::crypto::PublicKey;
use crate::sink::{CapacityError, Sink};

/// Most keys in a set: the signing key, and those of the tokens that are still good.
pub const KEYS_MAX: usize = 8;

/// Writes a set of at most [`KEYS_MAX`] keys.
pub fn encode(keys: &[PublicKey], out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
    if keys.len() > KEYS_MAX {
        return Err(CapacityError);
    }
    let mut writer = Writer::new(out);
    writer.array(keys.len())?;
    keys.iter()
        .try_for_each(|key| key::write_named(key, Algorithm::Ed25519, &mut writer))
}

/// Reads a set. Over plain UDP it is a hint, no trust anchor.
///
/// ```
/// use keygate_protocol::cose::key_set;
/// use keygate_protocol::crypto::SoftwareSigner;
/// use keygate_protocol::sink::SliceSink;
///
/// let key = SoftwareSigner::from_seed(&[7; 32]).public_key();
/// let mut buffer = [0; 64];
/// let mut sink = SliceSink::new(&mut buffer);
/// key_set::encode(&[key], &mut sink)?;
/// assert_eq!(key_set::decode(sink.written())?, [key]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub fn decode(bytes: &[u8]) -> Result<heapless::Vec<PublicKey, KEYS_MAX>, CoseKeyError> {
    let mut reader = Reader::new(bytes);
    let count = reader.array()?;
    let mut keys = heapless::Vec::new();
    for _ in 0..count {
        let key = key::read(&mut reader)?;
        keys.push(key).map_err(|_| CborError::WrongCount)?;
    }
    reader.finish()?;
    Ok(keys)
}
