//! COSE (RFC 9052) as far as our profile uses it: Ed25519 keys and `COSE_Sign1`.
//!
//! A signature is over the protected header bytes *as received*, never over a re-encoding. The unprotected header is
//! empty, and the protected one holds the algorithm and the key id and nothing else (SPEC.md §3.5): a parameter that
//! we do not know could change what the signature means, so it is refused, critical or not.

mod error;
mod header;
pub mod key;
pub mod key_set;
pub mod sign1;

pub use error::{CoseError, SignError};
pub use header::{Algorithm, Header, PROTECTED_LEN};
pub use sign1::{Sign1, TO_BE_SIGNED_LEN_MAX, ToBeSigned};

#[cfg(test)]
mod tests;
