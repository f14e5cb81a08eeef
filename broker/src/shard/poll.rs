//! The shell around a shard on real sockets: one thread, one poll (mio), edge-triggered.
mod inputs;
mod socket;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use slotmap::{Key, KeyData, SecondaryMap};

use self::inputs::Ready;
use self::socket::{Channel, Flushed, Socket};
use super::{Close, ConnKey, ListenerId, Mail, Moving, Outbox, Parcel, Postage, Shard, ShardId};
use crate::authn::AddressRanges;
use crate::clock::Clock;
use crate::gate::transport::{Layers, Transport};
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
    inbox: SyncSender<Parcel<Channel>>,
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
    inbox: Receiver<Parcel<Channel>>,
    peers: Vec<ShardHandle>,
    postage: Postage<Channel>,
    /// Shards that got something since the last wake-up: one wake-up is enough for all of it.
    posted: Vec<bool>,
    out: Outbox,
    /// Connections with bytes to read, or ended.
    readable: VecDeque<ConnKey>,
    scratch: Vec<u8>,
    /// Connections to other brokers that could not be had.
    lost: Vec<ConnKey>,
    /// MQTT that came out of TLS or WebSocket.
    unwrapped: Vec<u8>,
    clock: Arc<dyn Clock>,
    audit: Audit,
    waiting: Arc<AtomicBool>,
    stopped: bool,
    /// The last turn left mail in the inbox.
    mail_waits: bool,
}

/// A listener of one shard, ready to accept.
pub struct Listening {
    /// The socket; the other shards may have sockets of their own on its address.
    pub socket: std::net::TcpListener,
    /// Which one it is.
    pub id: ListenerId,
    /// What lies between its sockets and MQTT.
    pub(crate) layers: Layers,
    /// Whose connections begin with a header that says who is behind them.
    pub(crate) proxies: AddressRanges,
}

struct Accepting {
    listener: TcpListener,
    id: ListenerId,
    layers: Layers,
    proxies: AddressRanges,
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
        listeners: Vec<Listening>,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> io::Result<Self> {
        let scratch = vec![0; shard.turn_bytes()];
        let postage = Postage::new(peers.len(), Arc::clone(shard.reached()));
        let mut accepting = Vec::new();
        for (index, listening) in listeners.into_iter().enumerate() {
            let mut listener = TcpListener::from_std(listening.socket);
            poll.registry().register(
                &mut listener,
                Token(LISTENERS + index),
                Interest::READABLE,
            )?;
            accepting.push(Accepting {
                listener,
                id: listening.id,
                layers: listening.layers,
                proxies: listening.proxies,
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
            lost: Vec::new(),
            unwrapped: Vec::new(),
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
        if reading
            || accepting
            || self.mail_waits
            || !self.lost.is_empty()
            || self.shard.has_work(&self.out)
        {
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
            unwrapped: &mut self.unwrapped,
            handshakes: self.shard.handshake_limit(),
            unread_max: self.shard.unread_limit(),
            reached: Arc::clone(self.shard.reached()),
            lost: &mut self.lost,
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
                    let accepting = &self.listeners[index];
                    let is_proxied = accepting.proxies.contains(peer.ip());
                    let transport = match Transport::new(&accepting.layers, is_proxied) {
                        Ok(transport) => transport,
                        Err(error) => {
                            tracing::error!(%error, "cannot begin TLS; a connection is dropped");
                            continue;
                        }
                    };
                    let id = accepting.id;
                    if let Some(key) = self.shard.accept(peer, id, times.now, &mut self.out) {
                        self.register(key, Channel { stream, transport });
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

    fn register(&mut self, key: ConnKey, mut channel: Channel) {
        let token = Token(key.data().as_ffi() as usize);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = &mut channel.stream;
        let registered = self.poll.registry().register(stream, token, interest);
        self.sockets.insert(key, Socket::new(channel));
        if let Err(error) = registered {
            tracing::warn!(%error, "cannot watch a connection; it ends");
            self.queue_read(key);
        }
    }

    /// Begins to connect to another broker; what is written for it waits until it stands.
    fn connect(&mut self, key: ConnKey, address: SocketAddr) {
        let begun = TcpStream::connect(address).and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match begun {
            Ok(stream) => {
                let transport = Transport::default();
                self.register(key, Channel { stream, transport });
            }
            Err(error) => {
                tracing::warn!(%error, %address, "cannot connect to the upstream");
                self.lost.push(key);
            }
        }
    }

    fn arrive(&mut self, moving: Box<Moving>, channel: Channel, times: Times) {
        let key = self.shard.adopt(moving, times, &mut self.out);
        self.register(key, channel);
        // What came while nobody watched, and what the last shard could not write.
        self.queue_read(key);
        self.flush(key);
    }

    /// Takes everything out of the outbox: bytes, closes, moves, mail, events.
    fn ship(&mut self) {
        for (key, context) in std::mem::take(&mut self.out.exports) {
            let socket = self.sockets.get(key);
            let value = socket.and_then(|socket| socket.channel.transport.export(&context));
            self.shard.exported(key, value);
        }
        for (key, address) in std::mem::take(&mut self.out.connects) {
            self.connect(key, address);
        }
        for (key, may_read) in std::mem::take(&mut self.out.reading) {
            if let Some(socket) = self.sockets.get_mut(key) {
                socket.is_paused = !may_read;
                self.queue_read(key);
            }
        }
        while let Some(key) = self.out.pop_dirty() {
            self.flush(key);
        }
        for (key, close) in std::mem::take(&mut self.out.closing) {
            self.close(key, close);
        }
        for (to, key, moving) in std::mem::take(&mut self.out.moves) {
            if let Some(mut socket) = self.sockets.remove(key)
                && self
                    .poll
                    .registry()
                    .deregister(&mut socket.channel.stream)
                    .is_ok()
            {
                let socket = socket.channel;
                self.post(to, Parcel::Connection { moving, socket });
            }
        }
        for (to, mail) in std::mem::take(&mut self.out.mail) {
            self.post(to, Parcel::Mail(mail));
        }
        for event in self.out.events.drain(..) {
            self.audit.record(event);
        }
    }

    fn post(&mut self, to: ShardId, parcel: Parcel<Channel>) {
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
        if socket.flush(key, &mut self.out) == Flushed::Broken {
            // Reading will say so.
            self.out.release(key);
            socket.ending = true;
            self.queue_read(key);
        }
    }

    fn close(&mut self, key: ConnKey, close: Close) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        match close {
            Close::Linger => {
                socket.finish();
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
    parcel: Parcel<Channel>,
) -> Result<(), Parcel<Channel>> {
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
    receiver: Receiver<Parcel<Channel>>,
    waiting: Arc<AtomicBool>,
}
