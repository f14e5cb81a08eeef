//! The Echo option (RFC 9175 §2): a value of the broker's that a fresh request repeats.

use core::fmt;

/// Longest Echo value (RFC 9175 §2.2.1).
pub const ECHO_LEN_MAX: usize = 40;

/// An Echo value: opaque to the device, 1 to 40 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Echo<'a>(&'a [u8]);

impl<'a> Echo<'a> {
    /// Checks the length.
    pub fn new(bytes: &'a [u8]) -> Result<Self, EchoError> {
        if bytes.is_empty() || bytes.len() > ECHO_LEN_MAX {
            return Err(EchoError);
        }
        Ok(Self(bytes))
    }

    /// The value of the option.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// An Echo value that is empty or longer than [`ECHO_LEN_MAX`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EchoError;

impl fmt::Display for EchoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an Echo value has 1 to 40 bytes")
    }
}

impl core::error::Error for EchoError {}
