//! SPEC.md §8 — signed CoAP requests and answers: what makes plain UDP usable for a device with an Ed25519 key.
//!
//! No message layer and no options are here, only what the signatures are over and who may conclude what from them.
//!
//! | side | item |
//! |---|---|
//! | device | [`Exchange`]: unsigned request, 4.01 with Echo, signed request, answer; [`TokenWanted`] judges the token in it |
//! | broker | [`UntrustedRequest`], [`sign_answer`] |
//! | both | [`Path`], [`Echo`], [`Code`], [`RequestContext`], [`AnswerContext`], [`ChallengeAnswer`] |
//!
//! The broker's half of one exchange:
//!
//! ```
//! use keygate_protocol::coap::{Code, Echo, Path, RequestContext, UntrustedRequest, sign_request};
//! use keygate_protocol::cose::CoseError;
//! use keygate_protocol::crypto::SoftwareSigner;
//! use keygate_protocol::ident::Id;
//!
//! let mut device = SoftwareSigner::from_seed(&[7; 32]);
//! let path = Path::new(["token"])?;
//! let context = RequestContext {
//!     broker_id: Id::new("kg-7f3a9c")?,
//!     echo: Echo::new(b"an echo of ours")?,
//!     code: Code::POST,
//!     path: &path,
//! };
//! let mut body = heapless::Vec::<u8, 256>::new();
//! let hash = sign_request(&context, b"\xa1\x18\x18\x64dev1", &mut device, &mut body)?;
//!
//! let request = UntrustedRequest::decode(&body)?;
//! let key = device.public_key(); // found by request.key_id()
//! let verified = request.verify(&key, &context)?;
//! assert_eq!(verified.payload(), b"\xa1\x18\x18\x64dev1");
//! assert_eq!(verified.hash(), hash);
//!
//! // Made for one broker, it is worth nothing at another.
//! let elsewhere = RequestContext { broker_id: Id::new("kg-000000")?, ..context };
//! assert_eq!(request.verify(&key, &elsewhere).err(), Some(CoseError::BadSignature));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod answer;
mod challenge;
mod code;
mod echo;
mod exchange;
mod path;
mod request;
mod token;

pub use answer::{AnswerContext, UntrustedAnswer, sign_answer};
pub use challenge::{CNONCE_LEN_MAX, ChallengeAnswer, ChallengeError};
pub use code::{Code, ContentFormat};
pub use echo::{ECHO_LEN_MAX, Echo, EchoError};
pub use exchange::{
    AwaitAnswer, AwaitChallenge, BackOff, Exchange, Failure, Progress, RETRIES_MAX, Received,
    Refused, Reply, Resend, Trust,
};
pub use path::{PATH_LEN_MAX, PATH_SEGMENTS_MAX, Path, PathError};
pub use request::{
    BODY_LEN_MAX, RequestContext, RequestHash, SIGNED_PAYLOAD_LEN_MAX, UntrustedRequest,
    VerifiedRequest, sign_request,
};
pub use token::{Granted, TokenRefused, TokenTrust, TokenWanted};

#[cfg(test)]
mod tests;
