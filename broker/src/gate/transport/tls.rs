//! TLS on one connection.
use std::io::{self, Read, Write};
use std::sync::Arc;

use keygate_protocol::login::{BROKER_NONCE_LEN, EXPORTER_LABEL, ExporterValue};
use rustls::{ServerConfig, ServerConnection};
use thiserror::Error;

/// Why a TLS connection cannot go on. The alert for the peer has been written.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The peer broke a rule of TLS, or the two ends have nothing in common.
    #[error("TLS: {0}")]
    Peer(rustls::Error),
    /// The peer sends a message that is longer than any of TLS.
    #[error("TLS: a message that is too long")]
    TooLong,
    /// The peer has said goodbye (close_notify).
    #[error("TLS: the peer closed")]
    Closed,
}

/// The server's side of one TLS connection: bytes off the wire in, plaintext out, and the other way round. It holds no
/// byte longer than the record takes that it belongs to.
#[derive(Debug)]
pub(crate) struct Tls {
    conn: ServerConnection,
}

impl Tls {
    /// A connection that awaits its ClientHello.
    pub(crate) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            conn: ServerConnection::new(config)?,
        })
    }

    /// Takes bytes off the wire; appends what they say to `plain`, and what must be answered to `reply`.
    pub(crate) fn receive(
        &mut self,
        mut wire: &[u8],
        plain: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        while !wire.is_empty() {
            // It takes a part. Memory does not fail: what fails is a message that is longer than TLS allows.
            match self.conn.read_tls(&mut wire) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(TlsError::TooLong),
            }
            let state = match self.conn.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.write_to(reply);
                    return Err(TlsError::Peer(error));
                }
            };
            self.take_plain(state.plaintext_bytes_to_read(), plain);
            self.write_to(reply);
            if state.peer_has_closed() {
                return Err(TlsError::Closed);
            }
        }
        Ok(())
    }

    /// Encrypts.
    pub(crate) fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        let mut rest = plain;
        while !rest.is_empty() {
            // A writer into memory: it takes what fits its buffer and cannot fail.
            let taken = self.conn.writer().write(rest).unwrap_or(0);
            self.write_to(wire);
            if taken == 0 {
                return;
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Says goodbye: nothing can be sent after it.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        self.conn.send_close_notify();
        self.write_to(wire);
    }

    /// Whether the handshake is still under way: each step of it may cost a signature.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.conn.is_handshaking()
    }

    /// What both ends of this connection can compute and nobody else (RFC 8446 §7.5, RFC 5705), for the proof of a
    /// device (SPEC.md §4.4). `None` before the handshake is complete.
    pub(crate) fn export(&self, context: &[u8; BROKER_NONCE_LEN]) -> Option<ExporterValue> {
        let value = ExporterValue::default();
        let label = EXPORTER_LABEL.as_bytes();
        let exported = self
            .conn
            .export_keying_material(value, label, Some(context));
        exported.ok()
    }

    fn take_plain(&mut self, count: usize, plain: &mut Vec<u8>) {
        if count == 0 {
            return;
        }
        let from = plain.len();
        plain.resize(from + count, 0);
        let mut filled = from;
        while let Some(room) = plain.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.conn.reader().read(room) {
                Ok(read @ 1..) => filled += read,
                Ok(0) | Err(_) => break,
            }
        }
        plain.truncate(filled);
    }

    fn write_to(&mut self, wire: &mut Vec<u8>) {
        while self.conn.wants_write() {
            let written: io::Result<usize> = self.conn.write_tls(wire);
            // Writing into memory does not fail.
            if written.is_err() {
                return;
            }
        }
    }
}
