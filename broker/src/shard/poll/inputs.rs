//! The inputs of one turn on real sockets.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use slotmap::SecondaryMap;

use super::socket::{Channel, Got, Socket};
use crate::gate::transport::TransportError;
use crate::limits::Reached;
use crate::shard::{ConnKey, Input, Inputs, Mail, Moving, Parcel};

/// Mail first, then what the sockets have.
pub(super) struct Ready<'l> {
    pub(super) sockets: &'l mut SecondaryMap<ConnKey, Socket>,
    pub(super) readable: &'l mut VecDeque<ConnKey>,
    /// How many of them this turn may still read: each once.
    pub(super) reads: usize,
    pub(super) inbox: &'l Receiver<Parcel<Channel>>,
    /// How much mail this turn may still take.
    pub(super) mail: usize,
    /// The inbox is empty.
    pub(super) mail_ended: bool,
    /// Connections that arrived: they join after the turn.
    pub(super) moved: Vec<(Box<Moving>, Channel)>,
    pub(super) scratch: &'l mut [u8],
    pub(super) unwrapped: &'l mut Vec<u8>,
    /// How many steps of TLS handshakes this turn may still take.
    pub(super) handshakes: usize,
    /// Bytes of answers of its own that a transport may keep for a peer that does not read them.
    pub(super) unread_max: usize,
    pub(super) reached: Arc<Reached>,
    /// Connections to other brokers that could not be had.
    pub(super) lost: &'l mut Vec<ConnKey>,
    pub(super) stopped: &'l mut bool,
}

impl Ready<'_> {
    fn mail(&mut self) -> Option<Mail> {
        while self.mail > 0 {
            self.mail -= 1;
            match self.inbox.try_recv() {
                Ok(Parcel::Mail(mail)) => {
                    *self.stopped |= matches!(mail, Mail::Stop);
                    return Some(mail);
                }
                Ok(Parcel::Connection { moving, socket }) => self.moved.push((moving, socket)),
                Err(_) => {
                    self.mail = 0;
                    self.mail_ended = true;
                }
            }
        }
        None
    }

    /// Reads from the next connection that has something.
    fn read(&mut self) -> Option<(ConnKey, Got)> {
        while self.reads > 0 {
            self.reads -= 1;
            let key = self.readable.pop_front()?;
            let Some(socket) = self.sockets.get_mut(key) else {
                continue;
            };
            if socket.is_paused {
                socket.queued = false;
                continue;
            }
            if socket.channel.transport.is_handshaking() {
                if self.handshakes == 0 {
                    // Its turn comes: sessions go before those who have not even set up TLS.
                    self.reached.turn_handshakes.add();
                    self.readable.push_back(key);
                    continue;
                }
                self.handshakes -= 1;
            }
            socket.queued = false;
            self.unwrapped.clear();
            let (got, more) = socket.read(self.scratch, self.unwrapped, self.unread_max);
            if more {
                socket.queued = true;
                self.readable.push_back(key);
            }
            if !matches!(got, Got::Nothing) {
                return Some((key, got));
            }
        }
        None
    }
}

impl Inputs for Ready<'_> {
    fn next(&mut self) -> Option<Input<'_>> {
        if let Some(mail) = self.mail() {
            return Some(Input::Mail(mail));
        }
        if let Some(key) = self.lost.pop() {
            return Some(Input::Closed(key));
        }
        let (key, got) = self.read()?;
        Some(match got {
            Got::Bytes(count) => Input::Bytes(key, self.scratch.get(..count).unwrap_or_default()),
            Got::Unwrapped => Input::Bytes(key, self.unwrapped),
            Got::From(peer) => Input::From(key, peer),
            Got::Closed(Some(error)) if !error.is_goodbye() => {
                if matches!(error, TransportError::TooMuch) {
                    self.reached.transport_bytes.add();
                }
                Input::Broken(key, error)
            }
            Got::Nothing | Got::Closed(_) => Input::Closed(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::transport::{Certificates, Layers, Oldest, Transport};
    use crate::keys::DataDir;
    use crate::rng::SeededRandom;
    use keygate_protocol::time::UnixTime;
    use mio::net::TcpStream;
    use slotmap::SlotMap;
    use std::io::Write;
    use std::net::TcpListener;
    use tempfile::TempDir;

    /// The beginning of a ClientHello: a record that is longer than what follows.
    const HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

    /// Connections in the middle of their TLS handshakes, each with bytes to read.
    struct Line {
        sockets: SecondaryMap<ConnKey, Socket>,
        readable: VecDeque<ConnKey>,
        reached: Arc<Reached>,
        clients: Vec<std::net::TcpStream>,
        _data: TempDir,
    }

    impl Line {
        fn of(count: usize, setup_bytes: usize) -> Self {
            let parent = TempDir::new().unwrap();
            let path = parent.path().join("data");
            let wall = UnixTime(1_800_000_000);
            let data = DataDir::init(&path, None, wall, &mut SeededRandom::new(1)).unwrap();
            let layout = data.layout();
            let (chain, key) = (layout.tls_server(), layout.tls_server_key());
            let certificates = Certificates::load(chain, key, Oldest::Tls12).unwrap();
            let layers = Layers {
                tls: Some(Arc::new(certificates)),
                websocket: None,
                setup_bytes,
            };
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut keys: SlotMap<ConnKey, ()> = SlotMap::with_key();
            let mut line = Self {
                sockets: SecondaryMap::new(),
                readable: VecDeque::new(),
                reached: Arc::default(),
                clients: Vec::new(),
                _data: parent,
            };
            for _ in 0..count {
                let client = std::net::TcpStream::connect(listener.local_addr().unwrap());
                let mut client = client.unwrap();
                client.write_all(&HELLO).unwrap();
                line.clients.push(client);
                let (stream, _) = listener.accept().unwrap();
                stream.set_nonblocking(true).unwrap();
                let transport = Transport::new(&layers, false).unwrap();
                let stream = TcpStream::from_std(stream);
                let key = keys.insert(());
                line.sockets
                    .insert(key, Socket::new(Channel { stream, transport }));
                line.readable.push_back(key);
            }
            line
        }

        /// What one turn with so many steps of handshakes hears, apart from nothing.
        fn turn(&mut self, handshakes: usize) -> Vec<String> {
            let (_sender, inbox) = std::sync::mpsc::sync_channel(1);
            let mut ready = Ready {
                reads: self.readable.len(),
                sockets: &mut self.sockets,
                readable: &mut self.readable,
                inbox: &inbox,
                mail: 0,
                mail_ended: true,
                moved: Vec::new(),
                scratch: &mut [0; 65_536],
                unwrapped: &mut Vec::new(),
                handshakes,
                unread_max: 65_536,
                reached: Arc::clone(&self.reached),
                lost: &mut Vec::new(),
                stopped: &mut false,
            };
            std::iter::from_fn(|| ready.next().map(|input| format!("{input:?}"))).collect()
        }
    }

    #[test]
    fn turn_handshakes_bound_the_steps_and_the_rest_waits_in_line() {
        let mut line = Line::of(3, 16_384);
        assert_eq!(line.turn(2), [""; 0]);
        assert_eq!(line.readable.len(), 1);
        assert_eq!(line.reached.turn_handshakes.get(), 1);
        assert_eq!(line.turn(2), [""; 0]);
        assert_eq!(line.readable.len(), 0);
        assert_eq!(line.reached.turn_handshakes.get(), 1);
    }

    #[test]
    fn transport_bytes_bound_what_comes_before_mqtt() {
        for (bytes, broken) in [(HELLO.len(), 0), (HELLO.len() - 1, 1)] {
            let mut line = Line::of(1, bytes);
            let heard = line.turn(1);
            assert_eq!(heard.len() as u64, broken);
            assert_eq!(line.reached.transport_bytes.get(), broken);
            assert!(
                heard.iter().all(|input| input.contains("TooMuch")),
                "{heard:?}"
            );
        }
    }
}
