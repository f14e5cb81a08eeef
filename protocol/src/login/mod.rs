//! SPEC.md §4 — the `kg-ed25519` login, as two machines without I/O.
//!
//! A device proves its Ed25519 key over MQTT 5 enhanced authentication, and the broker proves itself if the device
//! pinned its identity key. Bytes go in, bytes come out; time, randomness and the signer are arguments; a state is a
//! type, and each step consumes it, so nothing can be answered twice or in another order.
//!
//! ```text
//! device::Login            --open-->     AwaitChallenge --read--> Challenged --answer--> AwaitConfirmation --confirm--> Confirmed
//! broker::challenge(open)  --------->    AwaitProof     --verify--> Proven   --sign_confirmation--> (CONNACK)
//! ```
//!
//! Dropping a state at any point is safe: it ends that login and leaves no trace. Both ends, in one piece:
//!
//! ```
//! use keygate_protocol::crypto::{Signer, SoftwareSigner};
//! use keygate_protocol::ident::Id;
//! use keygate_protocol::login::{BindingPolicy, ClientId, Opening, broker, device};
//! use keygate_protocol::time::Millis;
//!
//! let mut device_key = SoftwareSigner::from_seed(&[1; 32]);
//! let mut identity_key = SoftwareSigner::from_seed(&[2; 32]);
//! let opening = Opening::connect(true, 0, None);
//!
//! // Device: CONNECT.
//! let login = device::Login::new(ClientId::new("dev1")?, Id::new("kg-7f3a9c")?, device_key.key_id())
//!     .pin(identity_key.public_key());
//! let (await_challenge, open) = login.open([7; 16], opening);
//!
//! // Broker: AUTH 18.
//! let context = broker::ChallengeContext {
//!     client_id: "dev1",
//!     broker_id: Id::new("kg-7f3a9c")?,
//!     broker_key_ids: &[identity_key.key_id()],
//!     opening,
//!     binding: BindingPolicy::None,
//!     broker_nonce: [9; 32],
//!     now: Millis(1_000),
//! };
//! let (await_proof, challenge) = broker::challenge(&open, &context)?;
//!
//! // Device: AUTH 18.
//! let (await_confirmation, proof) = await_challenge.read(&challenge)?.answer(None, &mut device_key)?;
//!
//! // Broker: looks the key up by `await_proof.key_id()`, verifies, and only then may sign. CONNACK.
//! let proven = await_proof.verify(proof.as_bytes(), &device_key.public_key(), None, Millis(1_020))?;
//! let confirmation = proven.sign_confirmation(&mut identity_key)?;
//!
//! // Device: nothing is reported before this.
//! assert!(await_confirmation.confirm(Some(confirmation.as_bytes()))?.broker_proved());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

pub mod broker;
pub mod device;
mod message;
mod opening;
mod transcript;

pub use message::{AuthData, Binding, Challenge, ChallengeError, Open, OpenError};
pub use opening::{Opening, WillPart};
pub use transcript::{ClientId, ClientIdError, Role, ToBeSigned, Transcript};

/// Authentication Method of every packet of this login (SPEC.md §4.1).
pub const METHOD: &str = "kg-ed25519";

/// Length of the device's nonce: enough that no two logins of a key share one.
pub const CLIENT_NONCE_LEN: usize = 16;

/// Length of the broker's nonce; it is also the context of the TLS exporter.
pub const BROKER_NONCE_LEN: usize = 32;

/// Length of a TLS exporter value (SPEC.md §4.8).
pub const EXPORTER_LEN: usize = 32;

/// Label of the TLS exporter (SPEC.md §4.8; private labels start so, RFC 5705 §4). The context is the broker's nonce.
pub const EXPORTER_LABEL: &str = "EXPERIMENTAL-keygate-mqtt-auth";

/// How long a challenge lives (SPEC.md §4.7): a device on a slow link and a slow secure element needs seconds; half a
/// minute bounds what a silent peer holds.
pub const CHALLENGE_LIFE_MS: u64 = 30_000;

/// Longest client id of a login: `id/suffix` with the longest id and a suffix of 63 (SPEC.md §2.3).
pub const CLIENT_ID_LEN_MAX: usize = 128;

/// A value of the TLS exporter.
pub type ExporterValue = [u8; EXPORTER_LEN];

/// Which bindings to the TLS channel a listener takes. It is configuration, and is never negotiated down.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum BindingPolicy {
    /// The proof must cover the exporter value.
    Exporter,
    /// There is no exporter here: plain TCP, or TLS that somebody else ends.
    None,
    /// The device's configuration decides.
    Optional,
}

#[cfg(test)]
mod tests;
