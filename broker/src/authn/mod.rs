//! Who are they: credentials in, a [`Principal`] or a [`Refusal`] out. No socket, no clock, nothing that waits.
//!
//! ```text
//! CONNECT --begin--> Challenge --prove--> Accepted | Refusal        kg-ed25519
//!                    Decided(Accepted | Refusal)                    assertion as password, and whatever is refused
//! AUTH 19 --reauthenticate--> Challenge --prove--> Accepted | Refusal
//! ```
//! The methods of a listener form a chain: each says accepted, rejected or not tried. Rejected ends it, and so does
//! nobody having tried: it fails closed. Each method keeps to one order: what the bytes alone decide, (a throttle),
//! one look-up, exactly one verification, with nobody's key if there is none, and only then everything that depends on
//! who it is. So unknown, suspended and wrongly signed cost and look alike; what it really was stands in
//! [`Refusal::reason`], for the audit log.
//!
//! | file | what it holds |
//! |---|---|
//! | [`Authn`] | the door: the chain, and what a session is checked against later |
//! | `kg_ed25519.rs` | challenge and response over MQTT 5 AUTH |
//! | `assertion.rs`, `jws.rs` | the signed assertion as password |
//! | `anonymous.rs` | nothing proved, on loopback listeners that say so |
//! | [`ChallengeKeys`] | stateless challenges for `/challenge` |
//! | [`ReplayMemory`] | what was used once and may not be used again |
//! | [`ListenerRules`] | what a listener asks for |

mod address;
mod anonymous;
mod assertion;
mod broker;
mod challenge;
mod jws;
mod kg_ed25519;
mod principal;
mod refusal;
mod replay;
mod rules;
#[cfg(test)]
mod tests;

pub use crate::telemetry::reason::{Method, RefusalReason};
pub use address::{AddressRange, AddressRangeError, AddressRanges};
pub use assertion::AssertionLogin;
pub use broker::{Accepted, Attempted, Authn, AuthnConfig, Begin};
pub use challenge::{CHALLENGE_LIFE_MS, CHALLENGE_TEXT_LEN, ChallengeKeys, ChallengeState};
pub use kg_ed25519::{PendingProof, ProofMessage, Reattempted};
pub use principal::{Owner, Principal, ROLE_ANONYMOUS, check_standing};
pub use refusal::Refusal;
pub use replay::{
    REPLAY_PER_IDENTITY_MAX, REPLAY_TOTAL_MAX, ReplayBounds, ReplayError, ReplayMemory,
};
pub use rules::{ClientIdRule, ListenerRules, Reuse, SUFFIX_LEN_MAX};
