//! A growing buffer that packets are written into.
use keygate_protocol::sink::{CapacityError, Sink};

/// Takes any number of bytes.
#[derive(Clone, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// What an encoder writes.
///
/// # Panics
/// When a field is longer than its format can express: a mistake of the test.
pub fn encoded(encode: impl FnOnce(&mut Bytes) -> Result<(), CapacityError>) -> Vec<u8> {
    let mut bytes = Bytes::default();
    encode(&mut bytes).expect("the fields fit their packet");
    bytes.0
}

/// Bytes written as hex digits.
///
/// # Panics
/// When they are not.
#[must_use]
pub fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| {
        text.get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    (0..text.len())
        .step_by(2)
        .map(|at| digit(at).expect("hex digits"))
        .collect()
}

/// Lower hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
