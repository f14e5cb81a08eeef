use std::net::SocketAddr;

use super::{ConnKey, Mail, Moving, ShardId};
use crate::telemetry::ration::Rationed;
use crate::telemetry::{Event, EventKind};
use keygate_protocol::login::BROKER_NONCE_LEN;
use slotmap::Key;

/// What one turn wants done: bytes to write, connections to close, mail for other shards, events for the audit log.
///
/// A connection that has nothing to write owns no buffer here: buffers come from a pool with the first byte and go back
/// with the last. The shell drains it after every turn: [`pop_dirty`](Self::pop_dirty), [`bytes`](Self::bytes),
/// [`wrote`](Self::wrote), then the lists.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Connection index -> buffer index + 1; 0 is "none".
    slots: Vec<u32>,
    buffers: Vec<Buffer>,
    free: Vec<u32>,
    dirty: Vec<u32>,
    /// Mail for other shards, in order.
    pub mail: Vec<(ShardId, Mail)>,
    /// Connections that go on at the shard where their session lives, each with its socket.
    pub moves: Vec<(ShardId, ConnKey, Box<Moving>)>,
    /// Connections to close: what is written for them goes out first.
    pub closing: Vec<(ConnKey, Close)>,
    /// TLS connections of which a proof will cover the exporter's value, each with the context: before anything else.
    pub exports: Vec<(ConnKey, [u8; BROKER_NONCE_LEN])>,
    /// Connections to open to other brokers. What is written for them goes out once they stand; one that cannot be had
    /// is told as closed.
    pub connects: Vec<(ConnKey, SocketAddr)>,
    /// Connections that are to be read no more, or again.
    pub reading: Vec<(ConnKey, bool)>,
    /// For the audit log.
    pub events: Vec<Event>,
    /// Bytes that sockets have taken.
    written: u64,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Close {
    /// Write what is pending, then end our half; the peer's half is read and thrown away until it ends too or the
    /// shard says [`Now`](Self::Now), so that the peer can read the reason before the connection is gone.
    Linger,
    /// At once.
    Now,
}

#[derive(Debug)]
struct Buffer {
    conn: ConnKey,
    bytes: Vec<u8>,
    sent: usize,
    dirty: bool,
}

/// Whether a write emptied the buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrote {
    /// Nothing is left.
    All,
    /// The socket took only a part: wait until it takes more.
    Part,
}

/// A buffer larger than this is not kept in the pool.
const POOLED_BYTES: usize = 8_192;
/// Buffers kept in the pool.
const POOLED: usize = 64;

impl Outbox {
    /// The write buffer of a connection; whatever is put in goes out at the end of the turn.
    pub(crate) fn to(&mut self, conn: ConnKey) -> &mut Vec<u8> {
        let slot = index(conn);
        if slot >= self.slots.len() {
            self.slots.resize(slot + 1, 0);
        }
        if self.slots[slot] == 0 {
            let at = match self.free.pop() {
                Some(at) => {
                    self.buffers[at as usize].conn = conn;
                    at
                }
                None => {
                    self.buffers.push(Buffer {
                        conn,
                        bytes: Vec::new(),
                        sent: 0,
                        dirty: false,
                    });
                    (self.buffers.len() - 1) as u32
                }
            };
            self.slots[slot] = at + 1;
        }
        let at = self.slots[slot] - 1;
        let buffer = &mut self.buffers[at as usize];
        if !buffer.dirty {
            buffer.dirty = true;
            self.dirty.push(at);
        }
        &mut buffer.bytes
    }

    /// Bytes that wait to be written to a connection.
    pub(crate) fn pending(&self, conn: ConnKey) -> usize {
        self.buffer_of(conn)
            .map_or(0, |at| self.buffers[at].bytes.len() - self.buffers[at].sent)
    }

    /// The next connection that got something to write since the last drain.
    pub fn pop_dirty(&mut self) -> Option<ConnKey> {
        let at = self.dirty.pop()? as usize;
        self.buffers[at].dirty = false;
        Some(self.buffers[at].conn)
    }

    /// What is to be written to the connection.
    #[must_use]
    pub fn bytes(&self, conn: ConnKey) -> &[u8] {
        self.buffer_of(conn)
            .map_or(&[], |at| &self.buffers[at].bytes[self.buffers[at].sent..])
    }

    /// The socket took this many bytes.
    pub fn wrote(&mut self, conn: ConnKey, count: usize) -> Wrote {
        let Some(at) = self.buffer_of(conn) else {
            return Wrote::All;
        };
        self.written += count as u64;
        let buffer = &mut self.buffers[at];
        buffer.sent = (buffer.sent + count).min(buffer.bytes.len());
        if buffer.sent < buffer.bytes.len() {
            // Keep the tail only: a slow peer must not hold what it has taken already.
            if buffer.sent > POOLED_BYTES {
                buffer.bytes.drain(..buffer.sent);
                buffer.sent = 0;
            }
            return Wrote::Part;
        }
        self.release(conn);
        Wrote::All
    }

    /// Bytes that sockets have taken since the start.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Throws away what was to be written: the connection is gone.
    pub fn release(&mut self, conn: ConnKey) {
        let Some(at) = self.buffer_of(conn) else {
            return;
        };
        self.slots[index(conn)] = 0;
        let buffer = &mut self.buffers[at];
        buffer.sent = 0;
        if buffer.bytes.capacity() > POOLED_BYTES || self.free.len() >= POOLED {
            buffer.bytes = Vec::new();
        } else {
            buffer.bytes.clear();
        }
        if buffer.dirty {
            buffer.dirty = false;
            self.dirty.retain(|&dirty| dirty as usize != at);
        }
        self.free.push(at as u32);
    }

    /// Records an event as its source's ration allows.
    pub(crate) fn record(&mut self, event: Event, rationed: Rationed) {
        let Rationed::Record { held_back } = rationed else {
            return;
        };
        if held_back > 0 {
            let kind = EventKind::Lost {
                count: u64::from(held_back),
            };
            self.events.push(Event {
                wall: event.wall,
                kind,
            });
        }
        self.events.push(event);
    }

    /// Closes a connection when its bytes are out.
    pub(crate) fn close(&mut self, conn: ConnKey, close: Close) {
        self.closing.push((conn, close));
    }

    fn buffer_of(&self, conn: ConnKey) -> Option<usize> {
        let at = self.slots.get(index(conn)).copied().filter(|&at| at != 0)? as usize - 1;
        (self.buffers[at].conn == conn).then_some(at)
    }
}

/// A slot map's key holds its slot in the low half.
fn index(conn: ConnKey) -> usize {
    (conn.data().as_ffi() & 0xffff_ffff) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmap::SlotMap;

    fn two() -> (ConnKey, ConnKey) {
        let mut conns: SlotMap<ConnKey, ()> = SlotMap::with_key();
        (conns.insert(()), conns.insert(()))
    }

    #[test]
    fn bytes_go_out_in_order_and_the_buffer_goes_back() {
        let (a, b) = two();
        let mut out = Outbox::default();
        out.to(a).extend_from_slice(b"one");
        out.to(b).extend_from_slice(b"x");
        out.to(a).extend_from_slice(b"two");
        assert_eq!(out.bytes(a), b"onetwo");
        let mut dirty = [out.pop_dirty().unwrap(), out.pop_dirty().unwrap()];
        dirty.sort_unstable();
        assert_eq!((dirty, out.pop_dirty()), ([a, b], None));
        assert_eq!(out.wrote(a, 4), Wrote::Part);
        assert_eq!((out.bytes(a), out.pending(a)), (&b"wo"[..], 2));
        assert_eq!(out.wrote(a, 2), Wrote::All);
        assert_eq!(out.bytes(a), b"");
        assert_eq!(out.free.len(), 1);
    }

    #[test]
    fn a_released_connection_is_not_dirty_any_more() {
        let (a, _) = two();
        let mut out = Outbox::default();
        out.to(a).push(1);
        out.release(a);
        assert_eq!((out.pop_dirty(), out.pending(a)), (None, 0));
    }

    #[test]
    fn large_buffers_are_not_kept() {
        let (a, _) = two();
        let mut out = Outbox::default();
        out.to(a).resize(POOLED_BYTES * 4, 0);
        assert_eq!(out.wrote(a, POOLED_BYTES * 4), Wrote::All);
        assert_eq!(out.buffers[0].bytes.capacity(), 0);
    }
}
