//! What lies between a socket and MQTT on one connection: nothing, TLS, WebSocket, or WebSocket in TLS.
use std::net::SocketAddr;
use std::sync::Arc;

use super::certificates::Certificates;
use super::proxy::{self, ProxyError};
use super::tls::{Tls, TlsError};
use super::websocket::{WebSocket, WebSocketError, WebSocketRules};
use keygate_protocol::login::{BROKER_NONCE_LEN, ExporterValue};
use thiserror::Error;

/// Why a connection ends before its MQTT says so.
#[derive(Debug, Error)]
pub enum TransportError {
    /// By TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// By WebSocket.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    /// By the header of the PROXY protocol.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The peer makes us answer and does not read.
    #[error("answers of the transport that the peer does not read")]
    Unread,
    /// Before MQTT could begin, the peer sent more than `transport_bytes`.
    #[error("more bytes than it takes to set the transport up")]
    TooMuch,
}

impl TransportError {
    /// Whether the peer only said goodbye in the transport's own words.
    pub(crate) fn is_goodbye(&self) -> bool {
        matches!(
            self,
            Self::Tls(TlsError::Closed) | Self::WebSocket(WebSocketError::Closed)
        )
    }
}

/// What the connections of one listener are made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layers {
    /// Inside of TLS, with these certificates.
    pub(crate) tls: Option<Arc<Certificates>>,
    /// MQTT in WebSocket.
    pub(crate) websocket: Option<Arc<WebSocketRules>>,
    /// The most that a peer may send before MQTT can begin, bytes.
    pub(crate) setup_bytes: usize,
}

/// The transport of one connection. Bytes off the wire in, MQTT out, and the other way round; over plain TCP it is
/// nothing at all and costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Transport(Option<Box<Stack>>);

#[derive(Debug)]
struct Stack {
    /// The header that tells who is behind a proxy: what has come of it.
    proxied: Option<Vec<u8>>,
    tls: Option<Tls>,
    websocket: Option<WebSocket>,
    /// What the peer may still send before MQTT can begin, bytes.
    setup_bytes: usize,
    /// Written by the layers and not yet by the socket.
    wire: Vec<u8>,
    /// Bytes behind the proxy's header, which nobody has looked at.
    early: Vec<u8>,
    /// Why the connection ends once the MQTT before it is handed over.
    failure: Option<TransportError>,
    /// Our goodbye is written, or it failed: nothing follows.
    is_over: bool,
}

/// What came of bytes off the wire.
#[derive(Debug)]
pub(crate) enum Received {
    /// MQTT, if any, is in the buffer.
    Mqtt,
    /// A proxy said from where the connection comes.
    From(SocketAddr),
    /// The connection ends.
    Failed(TransportError),
}

impl Transport {
    /// The transport of a connection that has just been accepted.
    ///
    /// # Errors
    /// When TLS cannot begin: the configuration is not one for servers.
    pub(crate) fn new(layers: &Layers, is_proxied: bool) -> Result<Self, rustls::Error> {
        let certificates = layers.tls.as_ref();
        let tls = certificates
            .map(|certificates| Tls::new(certificates.current()))
            .transpose()?;
        let websocket = layers.websocket.as_ref().map(WebSocket::new);
        if tls.is_none() && websocket.is_none() && !is_proxied {
            return Ok(Self(None));
        }
        Ok(Self(Some(Box::new(Stack {
            proxied: is_proxied.then(Vec::new),
            tls,
            websocket,
            setup_bytes: layers.setup_bytes,
            wire: Vec::new(),
            early: Vec::new(),
            failure: None,
            is_over: false,
        }))))
    }

    /// Whether the bytes of the socket are MQTT as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.is_none()
    }

    /// Whether [`receive`](Self::receive) has more to say about what it was given before.
    pub(crate) fn has_more(&self) -> bool {
        let waits = |stack: &Stack| !stack.early.is_empty() || stack.failure.is_some();
        self.0.as_deref().is_some_and(waits)
    }

    /// Whether TLS is still in its handshake, of which each step may cost a signature.
    pub(crate) fn is_handshaking(&self) -> bool {
        let tls = self.0.as_ref().and_then(|stack| stack.tls.as_ref());
        tls.is_some_and(Tls::is_handshaking)
    }

    /// Takes bytes off the wire and appends the MQTT that is in them to `mqtt`. What has to be answered waits in
    /// [`wire`](Self::wire), also when it fails. MQTT that came before a failure is handed over first.
    pub(crate) fn receive(&mut self, bytes: &[u8], mqtt: &mut Vec<u8>) -> Received {
        let Some(stack) = &mut self.0 else {
            mqtt.extend_from_slice(bytes);
            return Received::Mqtt;
        };
        if let Some(failure) = stack.failure.take() {
            return Received::Failed(failure);
        }
        let early = std::mem::take(&mut stack.early);
        let received = match early.is_empty() {
            true => stack.receive(bytes, mqtt),
            false => stack.receive(&[&early, bytes].concat(), mqtt),
        };
        match received {
            Ok(received) => received,
            Err(failure) => {
                // A failed layer has said its last word; after a goodbye it is our turn to say one.
                stack.is_over = !failure.is_goodbye();
                if mqtt.is_empty() {
                    return Received::Failed(failure);
                }
                stack.failure = Some(failure);
                Received::Mqtt
            }
        }
    }

    /// Wraps MQTT for the wire.
    pub(crate) fn send(&mut self, mqtt: &[u8]) {
        let Some(stack) = &mut self.0 else { return };
        match &mut stack.websocket {
            None => stack.encrypt(mqtt),
            Some(websocket) => {
                let mut frames = Vec::new();
                websocket.send(mqtt, &mut frames);
                stack.encrypt(&frames);
            }
        }
    }

    /// Says goodbye in every layer.
    pub(crate) fn close(&mut self) {
        let Some(stack) = self.0.as_deref_mut().filter(|stack| !stack.is_over) else {
            return;
        };
        stack.is_over = true;
        if let Some(websocket) = &mut stack.websocket {
            let mut frames = Vec::new();
            websocket.close(&mut frames);
            stack.encrypt(&frames);
        }
        if let Some(tls) = &mut stack.tls {
            tls.close(&mut stack.wire);
        }
    }

    /// Bytes for the socket.
    pub(crate) fn wire(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |stack| &stack.wire)
    }

    /// The socket took this many of them.
    pub(crate) fn wrote(&mut self, count: usize) {
        let Some(stack) = &mut self.0 else { return };
        if count >= stack.wire.len() {
            // An idle connection owns no buffer.
            stack.wire = Vec::new();
        } else {
            stack.wire.drain(..count);
        }
    }

    /// What both ends of the TLS connection can compute and nobody else.
    pub(crate) fn export(&self, context: &[u8; BROKER_NONCE_LEN]) -> Option<ExporterValue> {
        self.0.as_ref()?.tls.as_ref()?.export(context)
    }
}

impl Stack {
    fn receive(&mut self, bytes: &[u8], mqtt: &mut Vec<u8>) -> Result<Received, TransportError> {
        if let Some(mut header) = self.proxied.take() {
            header.extend_from_slice(bytes);
            return match proxy::read(&header)? {
                proxy::Read::More => {
                    self.proxied = Some(header);
                    Ok(Received::Mqtt)
                }
                proxy::Read::Header { source, taken } => {
                    let rest = header.get(taken..).unwrap_or_default();
                    match source {
                        Some(source) => {
                            self.early = rest.to_vec();
                            Ok(Received::From(source))
                        }
                        // A proxy that looks whether we are there.
                        None => self.unwrap(rest, mqtt),
                    }
                }
            };
        }
        self.unwrap(bytes, mqtt)
    }

    fn unwrap(&mut self, bytes: &[u8], mqtt: &mut Vec<u8>) -> Result<Received, TransportError> {
        if !self.is_set_up() {
            self.setup_bytes = self
                .setup_bytes
                .checked_sub(bytes.len())
                .ok_or(TransportError::TooMuch)?;
        }
        let Some(tls) = &mut self.tls else {
            match &mut self.websocket {
                None => mqtt.extend_from_slice(bytes),
                Some(websocket) => websocket.receive(bytes, mqtt, &mut self.wire)?,
            }
            return Ok(Received::Mqtt);
        };
        let Some(websocket) = &mut self.websocket else {
            tls.receive(bytes, mqtt, &mut self.wire)?;
            return Ok(Received::Mqtt);
        };
        let (mut frames, mut answers) = (Vec::new(), Vec::new());
        // What came before an error counts; the error ends the connection after it.
        let decrypted = tls.receive(bytes, &mut frames, &mut self.wire);
        let unwrapped = websocket.receive(&frames, mqtt, &mut answers);
        tls.send(&answers, &mut self.wire);
        unwrapped?;
        decrypted?;
        Ok(Received::Mqtt)
    }

    /// Whether MQTT can begin.
    fn is_set_up(&self) -> bool {
        !self.tls.as_ref().is_some_and(Tls::is_handshaking)
            && self.websocket.as_ref().is_none_or(WebSocket::is_open)
    }

    fn encrypt(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            Some(tls) => tls.send(bytes, &mut self.wire),
            None => self.wire.extend_from_slice(bytes),
        }
    }
}
