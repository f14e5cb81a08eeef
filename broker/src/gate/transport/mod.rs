//! What lies between a socket and MQTT: TLS, WebSocket, the header of a proxy. None of it does I/O: bytes off the wire
//! go in, MQTT comes out, and the other way round.
//!
//! | file | what it holds |
//! |---|---|
//! | `layers.rs` | the layers of one connection, one inside the other |
//! | `tls.rs` `certificates.rs` | TLS on one connection; what its listeners present |
//! | `websocket.rs` | MQTT in WebSocket |
//! | `proxy.rs` | who is behind a proxy |
mod certificates;
mod layers;
mod proxy;
mod tls;
mod websocket;

pub use certificates::{CertificateError, Certificates, Oldest, Reloaded};
pub use layers::TransportError;
pub(crate) use layers::{Layers, Received, Transport};
pub use proxy::ProxyError;
pub use tls::TlsError;
pub use websocket::WebSocketError;
pub(crate) use websocket::{Origins, WebSocketRules};

#[cfg(test)]
mod tests;
