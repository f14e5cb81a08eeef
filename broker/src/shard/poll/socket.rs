//! One connection's socket and what lies between it and MQTT.
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

use crate::gate::transport::{Received, Transport, TransportError};
use crate::shard::{ConnKey, Outbox, Wrote};

/// MQTT that one call encrypts or frames: a TLS record takes as much.
const SEND_BYTES: usize = 16_384;

/// What moves with a connection from shard to shard.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(super) stream: TcpStream,
    pub(super) transport: Transport,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) channel: Channel,
    /// It stands in the line of those to be read.
    pub(super) queued: bool,
    /// The socket took less than there was: it says when it takes more.
    pub(super) writing: bool,
    finishing: bool,
    /// Nobody wants its bytes now.
    pub(super) is_paused: bool,
    /// The peer has ended its half, or the connection broke: its last bytes are read to the end.
    pub(super) ending: bool,
}

/// What reading from a socket gave.
#[derive(Debug)]
pub(super) enum Got {
    /// Nothing that the core must hear now.
    Nothing,
    /// So many bytes of MQTT lie at the start of the buffer.
    Bytes(usize),
    /// MQTT lies in the second buffer.
    Unwrapped,
    /// A proxy says who this is.
    From(SocketAddr),
    /// The connection is over, and why if it is the transport that ended it.
    Closed(Option<TransportError>),
}

/// How far writing has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flushed {
    /// Everything is with the kernel, or waits for the socket to take more.
    Fine,
    /// The connection is broken: reading will say so.
    Broken,
}

impl Socket {
    pub(super) fn new(channel: Channel) -> Self {
        Self {
            channel,
            queued: false,
            writing: false,
            finishing: false,
            is_paused: false,
            ending: false,
        }
    }

    /// Reads once. MQTT is at the start of `buffer` where nothing lies between, else in `unwrapped`, which is empty
    /// before. Says also whether there may be more to read.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        unwrapped: &mut Vec<u8>,
        unread_max: usize,
    ) -> (Got, bool) {
        let Channel { stream, transport } = &mut self.channel;
        if transport.has_more() {
            let got = self.unwrap(&[], unwrapped, unread_max);
            return (got, true);
        }
        match stream.read(buffer) {
            Ok(0) => (Got::Closed(None), false),
            Ok(count) => {
                // A short read has emptied the socket: what comes later comes with a new event. But the end of the
                // stream may have come with the same event as its last bytes, and then no other follows.
                let more = count == buffer.len() || self.ending;
                if transport.is_plain() {
                    return (Got::Bytes(count), more);
                }
                let bytes = buffer.get(..count).unwrap_or_default();
                let got = self.unwrap(bytes, unwrapped, unread_max);
                (got, more || self.channel.transport.has_more())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (Got::Nothing, false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (Got::Nothing, true),
            Err(_) => (Got::Closed(None), false),
        }
    }

    fn unwrap(&mut self, bytes: &[u8], unwrapped: &mut Vec<u8>, unread_max: usize) -> Got {
        let received = self.channel.transport.receive(bytes, unwrapped);
        // Handshakes and pongs go out at once, and so does why it fails.
        let flushed = self.write_wire();
        match received {
            Received::Failed(error) => Got::Closed(Some(error)),
            _ if flushed == Flushed::Broken => Got::Closed(None),
            _ if self.channel.transport.wire().len() > unread_max => {
                Got::Closed(Some(TransportError::Unread))
            }
            Received::From(peer) => Got::From(peer),
            Received::Mqtt if unwrapped.is_empty() => Got::Nothing,
            Received::Mqtt => Got::Unwrapped,
        }
    }

    /// Writes what is pending for the connection, as far as the socket takes it.
    pub(super) fn flush(&mut self, key: ConnKey, out: &mut Outbox) -> Flushed {
        self.writing = false;
        loop {
            if self.write_wire() == Flushed::Broken {
                return Flushed::Broken;
            }
            let bytes = out.bytes(key);
            if self.writing || bytes.is_empty() {
                break;
            }
            let Channel { stream, transport } = &mut self.channel;
            let taken = if transport.is_plain() {
                match stream.write(bytes) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.writing = true;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return Flushed::Broken,
                }
            } else {
                let chunk = bytes.get(..SEND_BYTES).unwrap_or(bytes);
                transport.send(chunk);
                chunk.len()
            };
            if out.wrote(key, taken) == Wrote::All && self.channel.transport.is_plain() {
                break;
            }
        }
        if self.finishing && !self.writing {
            self.end_our_half();
        }
        Flushed::Fine
    }

    /// Ends our half once everything is written.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        if !self.writing {
            self.end_our_half();
        }
    }

    fn end_our_half(&mut self) {
        self.channel.transport.close();
        if self.write_wire() == Flushed::Broken || !self.writing {
            // It may be gone already.
            let _ = self.channel.stream.shutdown(Shutdown::Write);
        }
    }

    /// Writes what the layers have made.
    fn write_wire(&mut self) -> Flushed {
        let Channel { stream, transport } = &mut self.channel;
        while !transport.wire().is_empty() {
            match stream.write(transport.wire()) {
                Ok(count) => transport.wrote(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writing = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
        Flushed::Fine
    }
}
