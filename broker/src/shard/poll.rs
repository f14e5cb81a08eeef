//! The shell around a shard on real sockets: one thread, one poll (mio), edge-triggered.
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slotmap::{Key, KeyData, SecondaryMap};

use super::{
    Close, ConnKey, Input, Inputs, ListenerId, Mail, Moving, Outbox, Parcel, Postage, Shard,
    ShardId, Wrote,
};
use crate::clock::Clock;
use crate::hub::Times;
use crate::telemetry::Audit;
use crate::telemetry::figures::Shown;
use keygate_protocol::time::Millis;

/// Tokens from the top of the range; a connection's token is its key, whose version is never that high.
const WAKER: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX - 1_024;
/// How many connections one turn accepts from each listener.
const ACCEPTS: usize = 64;
/// After the machine refused a descriptor: when to try to accept again.
const ACCEPT_RETRY_MS: u64 = 100;
/// While another shard's inbox is full: when to try again to post.
const POST_RETRY: Duration = Duration::from_millis(1);
const EVENTS: usize = 1_024;

/// How other threads reach a shard: a bounded inbox and a wake-up.
#[derive(Clone)]
pub struct ShardHandle {
    inbox: SyncSender<Parcel<TcpStream>>,
    waker: Arc<Waker>,
    /// The shard sleeps, or is about to, and waits for the log.
    waiting: Arc<AtomicBool>,
}

impl ShardHandle {
    /// Wakes the shard if it waits for the log: for the log's thread, each time that more is durable.
    pub fn wake(&self) {
        // Both sides swap. Either the shard's comes first and is seen here, or it comes later and what is durable by now
        // is seen there.
        if self.waiting.swap(false, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    /// Sends mail, waiting while the inbox is full: for the admin thread, never for a shard. False if the shard is gone.
    pub fn send(&self, mail: Mail) -> bool {
        self.inbox.send(Parcel::Mail(mail)).is_ok() && self.waker.wake().is_ok()
    }
}

/// A shard with its sockets, ready to run on its thread.
pub struct ShardLoop {
    shard: Shard,
    poll: Poll,
    sockets: SecondaryMap<ConnKey, Socket>,
    listeners: Vec<Accepting>,
    inbox: Receiver<Parcel<TcpStream>>,
    peers: Vec<ShardHandle>,
    postage: Postage<TcpStream>,
    /// Shards that got something since the last wake-up: one wake-up is enough for all of it.
    posted: Vec<bool>,
    out: Outbox,
    /// Connections with bytes to read, or ended.
    readable: VecDeque<ConnKey>,
    scratch: Vec<u8>,
    clock: Arc<dyn Clock>,
    audit: Audit,
    waiting: Arc<AtomicBool>,
    stopped: bool,
    /// The last turn left mail in the inbox.
    mail_waits: bool,
}

struct Socket {
    stream: TcpStream,
    queued: bool,
    writing: bool,
    finishing: bool,
    /// The peer has ended its half, or the connection broke: its last bytes are read to the end.
    ending: bool,
}

struct Accepting {
    listener: TcpListener,
    /// More may wait than the last turn took.
    pending: bool,
    retry_at: Option<Millis>,
}

impl ShardLoop {
    /// Makes the inbox of a shard, before any shard runs.
    pub fn inbox(limit: usize) -> io::Result<(ShardHandle, Poll, ShardInbox)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let waiting = Arc::default();
        let (sender, receiver) = sync_channel(limit);
        Ok((
            ShardHandle {
                inbox: sender,
                waker,
                waiting: Arc::clone(&waiting),
            },
            poll,
            ShardInbox { receiver, waiting },
        ))
    }

    /// A shard that serves these listeners, each of which may be shared with the other shards.
    pub fn new(
        shard: Shard,
        poll: Poll,
        inbox: ShardInbox,
        peers: Vec<ShardHandle>,
        listeners: Vec<TcpListener>,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> io::Result<Self> {
        let scratch = vec![0; shard.turn_bytes()];
        let postage = Postage::new(peers.len(), Arc::clone(shard.reached()));
        let mut accepting = Vec::new();
        for (index, mut listener) in listeners.into_iter().enumerate() {
            poll.registry().register(
                &mut listener,
                Token(LISTENERS + index),
                Interest::READABLE,
            )?;
            accepting.push(Accepting {
                listener,
                pending: true,
                retry_at: None,
            });
        }
        Ok(Self {
            shard,
            poll,
            sockets: SecondaryMap::new(),
            listeners: accepting,
            inbox: inbox.receiver,
            waiting: inbox.waiting,
            postage,
            posted: vec![false; peers.len()],
            peers,
            out: Outbox::default(),
            readable: VecDeque::new(),
            scratch,
            clock,
            audit,
            stopped: false,
            mail_waits: false,
        })
    }

    /// Takes the sessions that live here out of what the store has kept. Before any shard runs.
    pub fn recover(&mut self) {
        let times = Times {
            now: self.clock.now(),
            wall: self.clock.wall(),
        };
        self.shard.recover(times, &mut self.out);
    }

    /// What the shard has counted, for other threads.
    #[must_use]
    pub fn figures(&self) -> Arc<Shown> {
        Arc::clone(self.shard.figures())
    }

    /// Runs until the shard was told to stop and every connection has ended.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !(self.stopped && self.sockets.is_empty() && !self.postage.is_blocked()) {
            // Said before the shard looks whether there is work: what becomes durable after that look wakes it.
            // Bytes that may not be read now may be once the disk has caught up.
            let waits = self.shard.awaits_log() || !self.readable.is_empty();
            if waits {
                self.waiting.swap(true, Ordering::AcqRel);
            }
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if waits {
                self.waiting.swap(false, Ordering::AcqRel);
            }
            for event in &events {
                self.note(event);
            }
            self.turn();
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        let accepting = self
            .listeners
            .iter()
            .any(|l| l.pending && l.retry_at.is_none());
        let reading = !self.readable.is_empty() && self.may_read();
        if reading || accepting || self.mail_waits || self.shard.has_work(&self.out) {
            return Some(Duration::ZERO);
        }
        if self.postage.is_blocked() {
            return Some(POST_RETRY);
        }
        let retry = self.listeners.iter().filter_map(|l| l.retry_at).min();
        let deadline = [self.shard.next_deadline(), retry]
            .into_iter()
            .flatten()
            .min()?;
        // One millisecond more: waking just before a deadline finds nothing to do.
        Some(Duration::from_millis(deadline.since(self.clock.now()) + 1))
    }

    fn note(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => {}
            Token(token) if token >= LISTENERS => {
                if let Some(accepting) = self.listeners.get_mut(token - LISTENERS) {
                    accepting.pending = true;
                }
            }
            Token(token) => {
                let key = ConnKey::from(KeyData::from_ffi(token as u64));
                if event.is_writable() && self.sockets.get(key).is_some_and(|socket| socket.writing)
                {
                    self.flush(key);
                }
                if event.is_read_closed() || event.is_error() {
                    if let Some(socket) = self.sockets.get_mut(key) {
                        socket.ending = true;
                    }
                    self.queue_read(key);
                } else if event.is_readable() {
                    self.queue_read(key);
                }
            }
        }
    }

    fn queue_read(&mut self, key: ConnKey) {
        if let Some(socket) = self.sockets.get_mut(key)
            && !socket.queued
        {
            socket.queued = true;
            self.readable.push_back(key);
        }
    }

    fn turn(&mut self) {
        let times = Times {
            now: self.clock.now(),
            wall: self.clock.wall(),
        };
        self.retry_post();
        for index in 0..self.listeners.len() {
            self.accept(index, times);
        }
        let may_read = self.may_read();
        let mut inputs = Ready {
            sockets: &mut self.sockets,
            // Inboxes never wait.
            reads: if may_read { self.readable.len() } else { 0 },
            readable: &mut self.readable,
            inbox: &self.inbox,
            mail: self.shard.mail_limit(),
            mail_ended: false,
            moved: Vec::new(),
            scratch: &mut self.scratch,
            stopped: &mut self.stopped,
        };
        self.shard.turn(times, &mut inputs, &mut self.out);
        let moved = inputs.moved;
        self.mail_waits = inputs.mail == 0 && !inputs.mail_ended;
        // First what left: an arrival may take the slot of a connection that has just moved away.
        self.ship();
        if !moved.is_empty() {
            for (moving, socket) in moved {
                self.arrive(moving, socket, times);
            }
            self.ship();
        }
        self.wake_posted();
        self.shard.show_figures(&self.out);
    }

    /// Publishers wait while another shard cannot take what they sent, or the disk is behind.
    fn may_read(&self) -> bool {
        !self.postage.is_blocked() && self.shard.has_room()
    }

    /// Accepts what waits, a bounded number; never waits for a peer.
    fn accept(&mut self, index: usize, times: Times) {
        let accepting = &mut self.listeners[index];
        if accepting.retry_at.is_some_and(|at| at > times.now) || !accepting.pending {
            return;
        }
        accepting.retry_at = None;
        for _ in 0..ACCEPTS {
            match self.listeners[index].listener.accept() {
                Ok((stream, peer)) => {
                    let listener = ListenerId(index as u16);
                    if let Some(key) = self.shard.accept(peer, listener, times.now, &mut self.out) {
                        self.register(key, stream);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.listeners[index].pending = false;
                    return;
                }
                // The peer gave up before we came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors or memory: whoever has been silent for longest makes room, and the next turn
                    // accepts again. To wait here would leave a flood in front of everybody who comes after it.
                    if self.shard.drop_oldest_unproven(&mut self.out) {
                        tracing::debug!(%error, "cannot accept; the oldest unproven connection makes room");
                    } else {
                        tracing::warn!(%error, "cannot accept, and no unproven connection can make room");
                        self.listeners[index].retry_at = Some(times.now.plus(ACCEPT_RETRY_MS));
                    }
                    return;
                }
            }
        }
    }

    fn register(&mut self, key: ConnKey, mut stream: TcpStream) {
        let token = Token(key.data().as_ffi() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self.poll.registry().register(&mut stream, token, interest);
        self.sockets.insert(
            key,
            Socket {
                stream,
                queued: false,
                writing: false,
                finishing: false,
                ending: false,
            },
        );
        if let Err(error) = registered {
            tracing::warn!(%error, "cannot watch a connection; it ends");
            self.queue_read(key);
        }
    }

    fn arrive(&mut self, moving: Box<Moving>, socket: TcpStream, times: Times) {
        let key = self.shard.adopt(moving, times, &mut self.out);
        self.register(key, socket);
        // What came while nobody watched.
        self.queue_read(key);
    }

    /// Takes everything out of the outbox: bytes, closes, moves, mail, events.
    fn ship(&mut self) {
        while let Some(key) = self.out.pop_dirty() {
            self.flush(key);
        }
        for (key, close) in std::mem::take(&mut self.out.closing) {
            self.close(key, close);
        }
        for (to, key, moving) in std::mem::take(&mut self.out.moves) {
            if let Some(mut socket) = self.sockets.remove(key)
                && self.poll.registry().deregister(&mut socket.stream).is_ok()
            {
                self.post(
                    to,
                    Parcel::Connection {
                        moving,
                        socket: socket.stream,
                    },
                );
            }
        }
        for (to, mail) in std::mem::take(&mut self.out.mail) {
            self.post(to, Parcel::Mail(mail));
        }
        for event in self.out.events.drain(..) {
            self.audit.record(event);
        }
    }

    fn post(&mut self, to: ShardId, parcel: Parcel<TcpStream>) {
        let (peers, posted) = (&self.peers, &mut self.posted);
        self.postage
            .post(to, parcel, |to, parcel| deliver(peers, posted, to, parcel));
    }

    fn retry_post(&mut self) {
        let (peers, posted) = (&self.peers, &mut self.posted);
        self.postage
            .retry(|to, parcel| deliver(peers, posted, to, parcel));
    }

    /// Wakes the shards that got something in this turn.
    fn wake_posted(&mut self) {
        for (peer, posted) in self.peers.iter().zip(&mut self.posted) {
            if std::mem::take(posted)
                && let Err(error) = peer.waker.wake()
            {
                tracing::error!(%error, "cannot wake a shard");
            }
        }
    }

    /// Writes what is pending for a connection, as far as the socket takes it.
    fn flush(&mut self, key: ConnKey) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return self.out.release(key);
        };
        loop {
            let bytes = self.out.bytes(key);
            if bytes.is_empty() {
                break;
            }
            match socket.stream.write(bytes) {
                Ok(count) => {
                    if self.out.wrote(key, count) == Wrote::All {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writing = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // Broken: reading will say so.
                    self.out.release(key);
                    socket.ending = true;
                    return self.queue_read(key);
                }
            }
        }
        socket.writing = false;
        if socket.finishing {
            let _ = socket.stream.shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, key: ConnKey, close: Close) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        match close {
            Close::Linger => {
                socket.finishing = true;
                if !socket.writing {
                    let _ = socket.stream.shutdown(Shutdown::Write);
                }
                // The end of the peer may have come already.
                self.queue_read(key);
            }
            Close::Now => {
                self.out.release(key);
                self.sockets.remove(key);
            }
        }
    }
}

fn deliver(
    peers: &[ShardHandle],
    posted: &mut [bool],
    to: ShardId,
    parcel: Parcel<TcpStream>,
) -> Result<(), Parcel<TcpStream>> {
    let Some(peer) = peers.get(usize::from(to.0)) else {
        return Ok(());
    };
    match peer.inbox.try_send(parcel) {
        Ok(()) => {
            if let Some(posted) = posted.get_mut(usize::from(to.0)) {
                *posted = true;
            }
            Ok(())
        }
        Err(TrySendError::Full(parcel)) => Err(parcel),
        // That shard has stopped: so does the broker.
        Err(TrySendError::Disconnected(_)) => Ok(()),
    }
}

/// The receiving end of a shard's inbox.
pub struct ShardInbox {
    receiver: Receiver<Parcel<TcpStream>>,
    waiting: Arc<AtomicBool>,
}

/// The inputs of one turn: mail first, then what the sockets have.
struct Ready<'l> {
    sockets: &'l mut SecondaryMap<ConnKey, Socket>,
    readable: &'l mut VecDeque<ConnKey>,
    /// How many of them this turn may still read: each once.
    reads: usize,
    inbox: &'l Receiver<Parcel<TcpStream>>,
    /// How much mail this turn may still take.
    mail: usize,
    /// The inbox is empty.
    mail_ended: bool,
    /// Connections that arrived: they join after the turn.
    moved: Vec<(Box<Moving>, TcpStream)>,
    scratch: &'l mut [u8],
    stopped: &'l mut bool,
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

    /// Reads from the next connection that has something; says how much is in the scratch buffer.
    fn read(&mut self) -> Option<(ConnKey, usize)> {
        while self.reads > 0 {
            self.reads -= 1;
            let key = self.readable.pop_front()?;
            let Some(socket) = self.sockets.get_mut(key) else {
                continue;
            };
            socket.queued = false;
            match socket.stream.read(self.scratch) {
                Ok(count) => {
                    // A short read has emptied the socket: what comes later comes with a new event. But the end of the
                    // stream may have come with the same event as its last bytes, and then no other follows.
                    if count == self.scratch.len() || (socket.ending && count > 0) {
                        socket.queued = true;
                        self.readable.push_back(key);
                    }
                    return Some((key, count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    socket.queued = true;
                    self.readable.push_back(key);
                }
                Err(_) => return Some((key, 0)),
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
        match self.read()? {
            (key, 0) => Some(Input::Closed(key)),
            (key, count) => Some(Input::Bytes(key, &self.scratch[..count])),
        }
    }
}
