//! Keeps credentials out of logs.
use core::fmt;

/// Prints how long a credential is instead of what it is.
pub(super) struct Redacted<'a>(pub(super) Option<&'a [u8]>);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(secret) => write!(f, "<{} bytes>", secret.len()),
            None => f.write_str("None"),
        }
    }
}
