//! Recording without waiting: a bounded ring, and one thread that writes.
//!
//! Shards and the CoAP loop call [`Audit::record`]; it never waits for the disk. When the ring is full, the event is
//! dropped and counted, and the trail says so in a line of its own ([`EventKind::Lost`]). A full or broken disk costs
//! events, never the broker: it is reported once through the log and counted, and writing goes on when it works again.

use super::event::{Event, EventKind};
use super::trail::{Keep, TrailFile};
use crate::limits::Reached;
use keygate_protocol::time::UnixTime;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// The writer lets events gather this long: one write and one wake-up for all of them instead of one each.
const LINGER: Duration = Duration::from_millis(20);
/// Bytes that go to the file in one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Requests that wait for the writer at most; a further one waits for its turn.
const CONTROL_LEN: usize = 4;

/// Where events are recorded. Cheap to clone; one a thread.
#[derive(Clone, Debug)]
pub struct Audit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// `None` wakes the writer up for a control message.
    events: SyncSender<Option<Box<Event>>>,
    control: SyncSender<Control>,
    counts: Arc<Counters>,
    /// Events that may wait before only an operator's are taken.
    open_len: usize,
}

/// The part of the ring, one in so many, that is kept for what operators do: a flood of strangers or a fleet that comes
/// back must not push out who changed whom.
const RESERVED_PART: usize = 8;

#[derive(Debug, Default)]
struct Counters {
    /// In the ring now.
    waiting: AtomicUsize,
    recorded: AtomicU64,
    /// Lost since the last line that said so.
    unreported: AtomicU64,
    lost: AtomicU64,
    write_errors: AtomicU64,
    /// Where a full ring is counted too, once the broker has said where.
    reached: OnceLock<Arc<Reached>>,
}

impl Counters {
    /// An event has left the ring.
    #[expect(
        clippy::boxed_local,
        reason = "the ring holds boxes, so that an empty one is small"
    )]
    fn taken(&self, event: Box<Event>) -> Event {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        *event
    }

    fn lose(&self, count: u64) {
        self.unreported.fetch_add(count, Ordering::Relaxed);
        self.lost.fetch_add(count, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Control {
    Flush(SyncSender<()>),
    Stop,
}

/// What became of the events since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Handed in.
    pub recorded: u64,
    /// Dropped, for want of room in the ring or on the disk.
    pub lost: u64,
    /// Writes that failed.
    pub write_errors: u64,
}

impl Audit {
    /// Opens the trail in `directory` (whose lock the caller holds) and starts the thread that writes. At most `ring`
    /// events wait for it ([`Limits::audit_ring`](crate::limits::Limits)).
    pub fn start(directory: &Path, keep: Keep, ring: usize) -> io::Result<(Self, AuditWriter)> {
        let file = TrailFile::open(directory, keep)?;
        let (audit, events, control) = Self::with_ring(ring);
        let writer = Writer {
            file,
            ring,
            failing: false,
            last_wall: UnixTime(0),
            counts: Arc::clone(&audit.shared.counts),
        };
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(&events, &control))?;
        let owner = AuditWriter {
            audit: audit.clone(),
            thread: Some(thread),
        };
        Ok((audit, owner))
    }

    /// Records into memory: for tests that ask what was recorded.
    #[must_use]
    pub fn in_memory(capacity: usize) -> (Self, Recorded) {
        let (audit, events, _) = Self::with_ring(capacity);
        let counts = Arc::clone(&audit.shared.counts);
        (audit, Recorded { events, counts })
    }

    fn with_ring(len: usize) -> (Self, Receiver<Option<Box<Event>>>, Receiver<Control>) {
        let (events_in, events) = sync_channel(len);
        let (control_in, control) = sync_channel(CONTROL_LEN);
        let shared = Arc::new(Shared {
            events: events_in,
            control: control_in,
            counts: Arc::default(),
            open_len: len - len / RESERVED_PART,
        });
        (Self { shared }, events, control)
    }

    /// From now on a full ring is counted there too.
    pub fn count_in(&self, reached: Arc<Reached>) {
        // Said twice, the first holds: both are the broker's.
        let _ = self.shared.counts.reached.set(reached);
    }

    /// Records an event, or counts it as lost. Never waits.
    pub fn record(&self, event: Event) {
        let counts = &self.shared.counts;
        counts.recorded.fetch_add(1, Ordering::Relaxed);
        let ahead = counts.waiting.fetch_add(1, Ordering::Relaxed);
        let has_place = ahead < self.shared.open_len || event.kind.is_of_operator();
        if !has_place || self.shared.events.try_send(Some(Box::new(event))).is_err() {
            counts.waiting.fetch_sub(1, Ordering::Relaxed);
            counts.lose(1);
            if let Some(reached) = counts.reached.get() {
                reached.audit_ring.add();
            }
        }
    }

    /// Waits until everything recorded so far is in the file (on the disk as far as the operating system is concerned),
    /// at most `patience`; false if it took longer. Not for shards.
    pub fn flush(&self, patience: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.ask(Control::Flush(done)) && wait.recv_timeout(patience).is_ok()
    }

    /// What became of the events since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = &self.shared.counts;
        Counts {
            recorded: counts.recorded.load(Ordering::Relaxed),
            lost: counts.lost.load(Ordering::Relaxed),
            write_errors: counts.write_errors.load(Ordering::Relaxed),
        }
    }

    /// Hands a request to the writer and wakes it up. With a full ring it is awake already.
    fn ask(&self, request: Control) -> bool {
        self.shared.control.send(request).is_ok()
            && !matches!(
                self.shared.events.try_send(None),
                Err(TrySendError::Disconnected(_))
            )
    }
}

/// What an [`Audit::in_memory`] recorded.
#[derive(Debug)]
pub struct Recorded {
    events: Receiver<Option<Box<Event>>>,
    counts: Arc<Counters>,
}

impl Recorded {
    /// The events since the last call, oldest first.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        let events = self.events.try_iter().flatten();
        events.map(|event| self.counts.taken(event)).collect()
    }
}

/// Owns the writing thread. Dropping it writes what is still in the ring and ends the thread.
#[derive(Debug)]
pub struct AuditWriter {
    audit: Audit,
    thread: Option<JoinHandle<()>>,
}

impl AuditWriter {
    /// Writes what is still in the ring, syncs it and ends the thread. What is recorded later is counted as lost.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        self.audit.ask(Control::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the audit thread panicked: the end of the audit trail is lost");
        }
    }
}

/// The thread's own state.
struct Writer {
    file: TrailFile,
    ring: usize,
    /// The last write failed: said once, not with every batch.
    failing: bool,
    last_wall: UnixTime,
    counts: Arc<Counters>,
}

impl Writer {
    fn run(mut self, events: &Receiver<Option<Box<Event>>>, control: &Receiver<Control>) {
        let mut batch: Vec<Event> = Vec::new();
        // Asleep until there is an event; ends when every handle is gone.
        while let Ok(first) = events.recv() {
            let request = control.recv_timeout(LINGER).ok();
            batch.extend(first.map(|event| self.counts.taken(event)));
            batch.extend(self.waiting(events));
            self.write(&mut batch);
            for request in request.into_iter().chain(control.try_iter()) {
                // More may have come in between the two: a request covers all that was recorded before it.
                batch.extend(self.waiting(events));
                self.write(&mut batch);
                match request {
                    // Nobody waits any more: fine.
                    Control::Flush(done) => drop(done.try_send(())),
                    Control::Stop => return self.end(),
                }
            }
        }
        self.end();
    }

    /// What is in the ring now: at most its length, so that a flood does not keep the writer from writing.
    fn waiting(&self, events: &Receiver<Option<Box<Event>>>) -> impl Iterator<Item = Event> {
        let events = events.try_iter().take(self.ring).flatten();
        events.map(|event| self.counts.taken(event))
    }

    fn end(self) {
        if let Err(error) = self.file.sync() {
            tracing::warn!(%error, "cannot sync the audit trail");
        }
    }

    fn write(&mut self, batch: &mut Vec<Event>) {
        let mut lines = Vec::new();
        let mut count = 0;
        let unreported = self.counts.unreported.swap(0, Ordering::Relaxed);
        if unreported > 0 {
            let wall = batch.first().map_or(self.last_wall, |event| event.wall);
            self.push(&mut lines, &lost(wall, unreported));
        }
        for event in batch.drain(..) {
            self.last_wall = event.wall;
            self.push(&mut lines, &event);
            count += 1;
            if lines.len() >= WRITE_BYTES {
                self.put(&mut lines, count);
                count = 0;
            }
        }
        if !lines.is_empty() && !self.put(&mut lines, count) {
            // The line that told of earlier losses may have gone with it: it is told again.
            self.counts
                .unreported
                .fetch_add(unreported, Ordering::Relaxed);
        }
    }

    fn push(&self, lines: &mut Vec<u8>, event: &Event) {
        let start = lines.len();
        if serde_json::to_writer(&mut *lines, event).is_err() {
            lines.truncate(start);
            self.counts.lose(1);
        } else {
            lines.push(b'\n');
        }
    }

    fn put(&mut self, lines: &mut Vec<u8>, count: u64) -> bool {
        let result = self.file.append(lines);
        lines.clear();
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the audit trail is written again");
                }
                true
            }
            Err(error) => {
                self.counts.write_errors.fetch_add(1, Ordering::Relaxed);
                self.counts.lose(count);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "cannot write the audit trail; events are lost until this works again");
                }
                false
            }
        }
    }
}

fn lost(wall: UnixTime, count: u64) -> Event {
    Event {
        wall,
        kind: EventKind::Lost { count },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::event::{Actor, Change, Listener, Origin};
    use crate::telemetry::reason::RefusalReason;

    fn stranger() -> Event {
        let origin = Origin {
            listener: Listener::Mqtt,
            peer: "192.0.2.1:1".parse().unwrap(),
            connection: None,
        };
        let kind = EventKind::Challenge {
            reason: RefusalReason::Throttled,
            origin,
        };
        Event {
            wall: UnixTime(1),
            kind,
        }
    }

    fn operator(id: &str) -> Event {
        let kind = EventKind::Identity {
            change: Change::Revoked,
            id: id.into(),
            by: Actor::Uid(0),
        };
        Event {
            wall: UnixTime(1),
            kind,
        }
    }

    #[test]
    fn a_flood_of_strangers_leaves_room_for_operators() {
        let (audit, recorded) = Audit::in_memory(16);
        let reached = Arc::new(Reached::default());
        audit.count_in(Arc::clone(&reached));
        for round in 1..=3 {
            for _ in 0..100 {
                audit.record(stranger());
            }
            audit.record(operator("a"));
            audit.record(operator("b"));
            // Even their part has an end, and the loss is counted.
            audit.record(operator("c"));
            let events = recorded.take();
            assert_eq!(events.len(), 16);
            assert_eq!(events[14..], [operator("a"), operator("b")]);
            assert_eq!(audit.counts().lost, round * 87);
            assert_eq!(reached.audit_ring.get(), round * 87);
        }
    }

    #[test]
    fn operators_may_use_the_whole_ring() {
        let (audit, recorded) = Audit::in_memory(16);
        for _ in 0..16 {
            audit.record(operator("a"));
        }
        audit.record(stranger());
        assert_eq!(recorded.take().len(), 16);
        assert_eq!(audit.counts().lost, 1);
    }
}
