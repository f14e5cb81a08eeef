//! CBOR Web Tokens (RFC 8392) bound to the holder's key (RFC 8747), as our brokers issue them (SPEC.md §9).
//!
//! ```
//! use keygate_protocol::crypto::SoftwareSigner;
//! use keygate_protocol::cwt::{self, Claims, ClaimsError, Expectation, Untrusted};
//! use keygate_protocol::ident::Id;
//! use keygate_protocol::time::UnixTime;
//!
//! let mut token_key = SoftwareSigner::from_seed(&[1; 32]);
//! let claims = Claims {
//!     iss: Id::new("kg-7f3a9c")?,
//!     sub: Id::new("dev1")?,
//!     aud: "kg-7f3a9c",
//!     exp: UnixTime(1_900_003_600),
//!     iat: UnixTime(1_900_000_000),
//!     cti: [0, 1, 2, 3, 4, 5, 6, 7],
//!     cnf: SoftwareSigner::from_seed(&[2; 32]).public_key(),
//!     scope: b"\x80",
//! };
//! let mut token = heapless::Vec::<u8, { cwt::TOKEN_LEN_MAX }>::new();
//! cwt::issue(&claims, &mut token_key, &mut token)?;
//!
//! let untrusted = Untrusted::decode(&token)?;
//! assert_eq!(untrusted.key_id(), token_key.public_key().key_id());
//! let verified = untrusted.verify(&token_key.public_key())?;
//! let expected = Expectation { iss: claims.iss, aud: "kg-7f3a9c", now: UnixTime(1_900_000_001), tolerance_s: 0 };
//! assert_eq!(verified.check(&expected), Ok(()));
//! assert_eq!(verified.sub.as_str(), "dev1");
//!
//! let later = Expectation { now: UnixTime(1_900_003_600), ..expected };
//! assert_eq!(verified.check(&later), Err(ClaimsError::Expired));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod claims;
mod error;
mod token;

pub use claims::{AUDIENCE_LEN_MAX, CTI_LEN, Claims, Expectation};
pub use error::{ClaimsError, CwtError, IssueError};
pub use token::{TAG, TOKEN_LEN_MAX, Untrusted, Verified, issue, token_hash};

#[cfg(test)]
mod tests;
