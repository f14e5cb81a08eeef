//! SPEC.md §8.7, §8.8 — the maps of ACE-OAuth (RFC 9200 §5.8, RFC 9201): token request, token, error.
//!
//! Keys are the registered integers, in ascending order; text keys are refused. A request with a key that our profile
//! does not have is refused: whoever asks for more than the broker understands would get something else than was asked
//! for. In an answer a device passes over such a key. The numbers overlap with those of claims (4 is `req_cnf` here
//! and `exp` there), so no list of them is shared.
//!
//! ```
//! use keygate_protocol::ace::{AceError, ErrorCode, GrantType, TokenRequest};
//! use keygate_protocol::ident::Id;
//! use keygate_protocol::sink::SliceSink;
//!
//! let request = TokenRequest {
//!     req_cnf: None,
//!     audience: Some("kg-7f3a9c"),
//!     scope: None,
//!     client_id: Id::new("dev1")?,
//!     grant_type: Some(GrantType::ClientCredentials),
//! };
//! let mut buffer = [0; 64];
//! let mut sink = SliceSink::new(&mut buffer);
//! request.encode(&mut sink)?;
//! assert_eq!(TokenRequest::decode(sink.written()), Ok(request));
//!
//! // {24: "dev1", 25: h'736563726574'}: a secret has no place in a request that everybody can read.
//! let error = TokenRequest::decode(b"\xa2\x18\x18\x64dev1\x18\x19\x46secret").unwrap_err();
//! assert_eq!(error, AceError::UnknownParameter);
//! assert_eq!(error.code(), ErrorCode::InvalidRequest);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod answer;
mod error;
mod request;

pub use answer::{DESCRIPTION_LEN_MAX, ErrorAnswer, TokenAnswer};
pub use error::{AceError, ErrorCode};
pub use request::{GrantType, RequestedKey, TokenRequest};

/// `access_token`
const ACCESS_TOKEN: i64 = 1;
/// `expires_in`
const EXPIRES_IN: i64 = 2;
/// `req_cnf`
const REQ_CNF: i64 = 4;
/// `audience`
const AUDIENCE: i64 = 5;
/// `scope`
const SCOPE: i64 = 9;
/// `client_id`
const CLIENT_ID: i64 = 24;
/// `error`
const ERROR: i64 = 30;
/// `error_description`
const ERROR_DESCRIPTION: i64 = 31;
/// `grant_type`
const GRANT_TYPE: i64 = 33;
/// `token_type`
const TOKEN_TYPE: i64 = 34;
/// `ace_profile`
const ACE_PROFILE: i64 = 38;

#[cfg(test)]
mod tests;
