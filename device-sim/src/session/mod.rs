//! One MQTT 5 connection as a device keeps it, with a `kg-ed25519` login or a password. Sans-I/O: bytes and time in, bytes and events
//! out; one type per state.
//!
//! ```text
//! open ──▶ AwaitChallenge ──AUTH──▶ AwaitConfirmation ──CONNACK──▶ AwaitGrant ──SUBACK──▶ Online
//!                                                    └──(nothing to subscribe)─────────▶ Online
//!             └──▶ AwaitExporter ──bind──▶ AwaitConfirmation: if the login is bound to a TLS channel
//! open ──▶ AwaitConnack ──CONNACK──▶ as above: with a password, for brokers that know no keys
//! ```
//!
//! How to drive a [`Session`]: send what [`open`](Session::open) wrote; hand every received byte to
//! [`receive`](Session::receive) and keep what it did not take; call [`tick`](Session::tick) at the
//! [`deadline`](Session::deadline); over TLS offer the channel's exporter to [`bind`](Session::bind) after what was
//! received; after each of these send what was written. A [`Failure`] ends the session: close the
//! connection, send nothing more.

mod exporter;
mod failure;
mod login;
mod online;
mod password;
mod state;
#[cfg(test)]
mod tests;
mod tls_fault;

pub use exporter::Export;
pub use failure::{Failure, Stage};
pub use login::{Credential, Key};
pub use state::{Event, Profile, Session, Wanted};
pub use tls_fault::TlsFault;

use keygate_protocol::sink::{CapacityError, Sink};

/// Largest packet that a session reads. Its CONNECT says so.
pub const PACKET_MAX: u32 = 16 * 1024;

/// A growing buffer as the protocol's sink; what is written is bounded by what is sent, never by a peer.
pub(crate) struct Wire<'a>(pub(crate) &'a mut Vec<u8>);

impl Sink for Wire<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
