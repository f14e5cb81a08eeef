//! A connection to an MQTT port, byte by byte: for peers that do what no client library would.
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use keygate_protocol::login::{BROKER_NONCE_LEN, ExporterValue};
use keygate_protocol::mqtt::{self, Packet, Sender, Version};
use rustls::ClientConfig;

use crate::bytes::encoded;
use crate::clock::{Deadline, PATIENCE};
use crate::stream::Stream;

/// One TCP connection. Nothing is sent or acknowledged that the test does not send.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    version: Version,
    patience: Duration,
    received: Vec<u8>,
}

/// What came next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    /// A packet, whole.
    Packet(Got),
    /// The broker closed the connection, in an orderly way or with a reset.
    Closed,
}

/// A packet as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Got {
    raw: Vec<u8>,
    version: Version,
}

impl Got {
    /// The packet.
    ///
    /// # Panics
    /// When the broker sent something that is no packet of a server.
    #[must_use]
    #[track_caller]
    pub fn packet(&self) -> Packet<'_> {
        let frame = mqtt::frame(&self.raw, u32::MAX);
        let frame = frame.ok().flatten().expect("a whole frame");
        mqtt::decode(&frame, Sender::Server, self.version).unwrap_or_else(|error| {
            panic!("the broker sent {:02x?}: {error}", self.raw);
        })
    }

    /// The bytes.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
}

impl Wire {
    /// Connects; speaks MQTT 5 until told otherwise.
    ///
    /// # Panics
    /// When the broker does not accept.
    #[must_use]
    #[track_caller]
    pub fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("the broker accepts");
        Self::over(stream)
    }

    /// Connects to a broker that may be down.
    ///
    /// # Errors
    /// When nobody accepts.
    pub fn try_open(to: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&to, PATIENCE).map(Self::over)
    }

    /// Connects from this address of the machine.
    ///
    /// # Panics
    /// When the broker does not accept, or the address is not this machine's.
    #[must_use]
    #[track_caller]
    pub fn open_from(source: IpAddr, to: SocketAddr) -> Self {
        let socket = TcpStream::from(crate::net::bound_stream(source, to));
        Self::over(socket)
    }

    /// Connects over TLS, with a client that [`tls_config`](crate::stream::tls_config) made.
    ///
    /// # Panics
    /// When the broker does not accept, or TLS fails.
    #[must_use]
    #[track_caller]
    pub fn open_tls(to: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let tcp = TcpStream::connect_timeout(&to, PATIENCE).expect("the broker accepts");
        let stream = Stream::secured(tcp, Arc::clone(config)).expect("TLS stands");
        let tcp = stream.tcp.try_clone().expect("a descriptor");
        Self {
            stream,
            ..Self::over(tcp)
        }
    }

    /// What both ends of this TLS connection can compute and nobody else.
    ///
    /// # Panics
    /// When it is no TLS connection.
    #[must_use]
    #[track_caller]
    pub fn export(&self, context: &[u8; BROKER_NONCE_LEN]) -> ExporterValue {
        self.stream.export(context).expect("a TLS connection")
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket option");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("a socket option");
        Self {
            stream: Stream::plain(stream),
            version: Version::V5,
            patience: PATIENCE,
            received: Vec::new(),
        }
    }

    /// Reads and writes packets of this version from now on.
    #[must_use]
    pub fn speaking(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Waits at most this long for what must come, where [`PATIENCE`] is too long.
    #[must_use]
    pub fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The version that it speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Our end: how the audit trail names this connection.
    ///
    /// # Panics
    /// When the socket is broken.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.stream.tcp.local_addr().expect("a connected socket")
    }

    /// Sends bytes. A connection that the broker has closed already is no failure: what it said is still to be read.
    ///
    /// # Panics
    /// When the broker takes nothing for a long time.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) if is_closed(&error) => {}
            Err(error) => panic!("cannot send: {error}"),
        }
    }

    /// Offers bytes to a broker that may not want to read now: whether it took them all in this time.
    ///
    /// # Panics
    /// When the socket is broken.
    #[track_caller]
    pub fn offer(&mut self, bytes: &[u8], wait: Duration) -> bool {
        self.stream
            .tcp
            .set_write_timeout(Some(wait))
            .expect("a socket option");
        let taken = self.stream.write_all(bytes).is_ok();
        self.stream
            .tcp
            .set_write_timeout(Some(PATIENCE))
            .expect("a socket option");
        taken
    }

    /// Sends a packet.
    #[track_caller]
    pub fn send(&mut self, packet: &Packet<'_>) {
        let version = self.version;
        self.send_bytes(&encoded(|sink| packet.encode(version, sink)));
    }

    /// Waits for the next packet, or for the end.
    ///
    /// # Panics
    /// When nothing comes, or what comes is no frame.
    #[track_caller]
    pub fn hear(&mut self) -> Heard {
        self.hear_until(Deadline::after(self.patience))
            .expect("waited in vain for the broker to say something or to close")
    }

    /// Waits for the next packet until then; `None` if nothing came.
    ///
    /// # Panics
    /// When what comes is no frame.
    #[track_caller]
    pub fn hear_until(&mut self, deadline: Deadline) -> Option<Heard> {
        loop {
            if let Some(got) = self.take() {
                return Some(Heard::Packet(got));
            }
            let mut chunk = [0; 16 * 1024];
            self.stream
                .tcp
                .set_read_timeout(Some(deadline.left()?))
                .expect("a socket option");
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Heard::Closed),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) if is_closed(&error) => return Some(Heard::Closed),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("cannot read: {error}"),
            }
        }
    }

    /// Waits for a packet.
    ///
    /// # Panics
    /// When the connection ends instead.
    #[track_caller]
    pub fn packet(&mut self) -> Got {
        match self.hear() {
            Heard::Packet(got) => got,
            Heard::Closed => panic!("the broker closed the connection"),
        }
    }

    /// Waits for the end, and gives the code of the last CONNACK or DISCONNECT before it: `None` if there was none.
    ///
    /// # Panics
    /// When the connection stays, or another packet comes.
    #[track_caller]
    pub fn end(&mut self) -> Option<u8> {
        let mut code = None;
        loop {
            let got = match self.hear() {
                Heard::Packet(got) => got,
                Heard::Closed => return code,
            };
            code = match got.packet() {
                Packet::Connack(_) => got.raw().get(3).copied(),
                Packet::Disconnect(disconnect) => Some(disconnect.code.value()),
                other => panic!("expected the end, heard {other:?}"),
            };
        }
    }

    /// Closes our half: the broker sees the end of the stream.
    pub fn finish(&mut self) {
        // Already closed is as good.
        let _ = self.stream.tcp.shutdown(Shutdown::Write);
    }

    fn take(&mut self) -> Option<Got> {
        let frame = match mqtt::frame(&self.received, u32::MAX) {
            Ok(frame) => frame?,
            Err(error) => panic!("the broker sent {:02x?}: {error}", self.received),
        };
        let len = frame.len();
        let raw = self.received.drain(..len).collect();
        Some(Got {
            raw,
            version: self.version,
        })
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
    )
}
