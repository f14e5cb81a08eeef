//! Tokens: issuing them, and saying what one is worth.
//!
//! A token is a CWT (SPEC.md §9) that lets the holder of one device key do part of what the device may do, for a while.
//! Nothing is kept for it: the same request gives the same token, and a token is judged by its signature, its times, and
//! whether its key is still an active key of its subject.
//!
//! | item | what it does |
//! |---|---|
//! | [`TokenIssuer`] | makes a token for a device that has just proved its key |
//! | [`TokenVerifier`] | judges a token that somebody shows |
//! | [`inspect`] | prints what a token says, whoever signed it |

mod inspect;
mod issue;
#[cfg(test)]
mod tests;
mod verify;

pub use inspect::{InspectError, Inspected, inspect, inspect_text};
pub use issue::{ANSWER_LEN_MAX, Issued, TOKEN_LIFE_S, TokenError, TokenIssuer, TokenRequest};
pub use verify::{TokenRefusal, TokenVerifier, VerifiedToken};
