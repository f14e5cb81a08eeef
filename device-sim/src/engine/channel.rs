//! A connection to the broker, plain or over TLS, and how it is made.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use keygate_protocol::login::device::DeviceError;
use keygate_protocol::login::{BROKER_NONCE_LEN, EXPORTER_LABEL, EXPORTER_LEN, ExporterValue};
use rustls::ClientConnection;
use tokio::io::{Interest, Ready};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout_at;
use tokio_rustls::client::TlsStream;

use crate::address;
use crate::clock::{Clock, Micros};
use crate::identity::Member;
use crate::session::{Failure, Stage};
use crate::target::Target;
use crate::tls::Tls;

/// Where the broker's MQTT is, and how it is spoken there.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<Tls>,
}

/// An open connection. Nothing on it waits: what would is `WouldBlock`.
#[derive(Debug)]
pub(super) struct Channel {
    stream: TcpStream,
    /// In a box, so that a device without TLS does not pay for it.
    tls: Option<Box<ClientConnection>>,
}

impl Door {
    pub(super) fn of(target: &Target) -> Self {
        Self {
            address: target.mqtt,
            tls: target.tls.clone(),
        }
    }

    /// Connects a member, from its own address; over TLS with the handshake.
    pub(super) async fn connect(
        &self,
        member: Member,
        clock: Clock,
        deadline: Micros,
    ) -> Result<Channel, Failure> {
        let stream = self.reach(member, clock, deadline).await?;
        let Some(tls) = &self.tls else {
            return Ok(Channel { stream, tls: None });
        };
        // In a box as well: it is over when the connection is made.
        let handshake = Box::pin(secure(tls, stream, clock, deadline));
        let (stream, connection) = handshake.await?.into_inner();
        Ok(Channel {
            stream,
            tls: Some(Box::new(connection)),
        })
    }

    /// The TCP connection alone.
    pub(super) async fn reach(
        &self,
        member: Member,
        clock: Clock,
        deadline: Micros,
    ) -> Result<TcpStream, Failure> {
        let attempt = async {
            let socket = if self.address.is_ipv4() {
                TcpSocket::new_v4()?
            } else {
                TcpSocket::new_v6()?
            };
            socket.set_nodelay(true)?;
            if let Some(source) = address::source(member, self.address) {
                socket.bind(source)?;
            }
            socket.connect(self.address).await
        };
        in_time(Stage::Connect, attempt, clock, deadline).await
    }
}

/// The handshake on a TCP connection.
pub(super) async fn secure(
    tls: &Tls,
    stream: TcpStream,
    clock: Clock,
    deadline: Micros,
) -> Result<TlsStream<TcpStream>, Failure> {
    in_time(Stage::Tls, tls.connect(stream), clock, deadline).await
}

async fn in_time<T>(
    stage: Stage,
    attempt: impl Future<Output = io::Result<T>>,
    clock: Clock,
    deadline: Micros,
) -> Result<T, Failure> {
    match timeout_at(clock.instant(deadline), attempt).await {
        Ok(done) => done.map_err(|error| Failure::io(stage, &error)),
        Err(_) => Err(Failure::Late(stage)),
    }
}

impl Channel {
    /// Waits until something can be done.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.stream.ready(interest).await
    }

    /// Reads what is there; 0 is the end.
    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Self { stream, tls } = self;
        let Some(tls) = tls else {
            return stream.try_read(into);
        };
        loop {
            match tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            tls.read_tls(&mut Socket(stream))?;
            let processed = tls.process_new_packets();
            // An alert says what is wrong here, and keys may have to be changed.
            let flushed = flush(tls, stream);
            processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            match flushed {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// Writes as much as goes out. Over TLS what is taken may still wait here: see [`is_waiting`](Self::is_waiting).
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { stream, tls } = self;
        let Some(tls) = tls else {
            return stream.try_write(bytes);
        };
        // What waits goes first, so that never more than one call's worth does.
        flush(tls, stream)?;
        let taken = tls.writer().write(bytes)?;
        match flush(tls, stream) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Whether encrypted bytes wait for the socket.
    pub(super) fn is_waiting(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Sends the encrypted bytes that wait.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => flush(tls, &self.stream),
            None => Ok(()),
        }
    }

    /// Says that nothing more comes, as TLS wants it said.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // Nobody waits for a goodbye to arrive.
            let _ = flush(tls, &self.stream);
        }
    }

    /// The exporter value for a challenge (SPEC.md §4.8).
    pub(super) fn export(
        &self,
        context: &[u8; BROKER_NONCE_LEN],
    ) -> Result<ExporterValue, Failure> {
        let Some(tls) = &self.tls else {
            return Err(Failure::Broker(DeviceError::BindingValue));
        };
        tls.export_keying_material(
            [0; EXPORTER_LEN],
            EXPORTER_LABEL.as_bytes(),
            Some(context.as_slice()),
        )
        .map_err(|error| Failure::tls(Stage::Challenge, &error))
    }
}

fn flush(tls: &mut ClientConnection, stream: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut Socket(stream))?;
    }
    Ok(())
}

/// The socket as rustls reads and writes it.
struct Socket<'s>(&'s TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
