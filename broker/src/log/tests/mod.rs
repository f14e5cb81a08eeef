mod crash;
mod disk;
mod model;
mod round_trip;
mod window;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::writer::Writer;
use super::*;
use crate::authn::Owner;
use crate::clock::SystemClock;
use crate::disk::Reserve;
use crate::hub::Times;
use crate::limits::Limits;
use keygate_protocol::mqtt::{Publish, Qos, SubscriptionId, Version};
use keygate_protocol::time::Millis;

/// When the tests' broker runs.
const WALL: u64 = 1_800_000_000;

fn at(wall: u64) -> Times {
    Times {
        now: Millis(5_000),
        wall: UnixTime(wall),
    }
}

/// A directory with a `state.db`.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn db(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn wal(&self) -> PathBuf {
        self.0.path().join("state.db-wal")
    }

    fn reserve(&self) -> Reserve {
        let mut reserve = Reserve::new(self.0.path().join("state.reserve"), 1 << 20);
        reserve.make().unwrap();
        reserve
    }

    fn writer(&self, times: Times) -> (Writer, Recovered) {
        Writer::open(&self.db(), self.reserve(), times).unwrap()
    }

    fn log(&self) -> (Arc<SqliteLog>, Recovered) {
        self.log_with(|_| {})
    }

    fn log_with(&self, set: impl FnOnce(&mut LogSettings)) -> (Arc<SqliteLog>, Recovered) {
        let settings = settings(set);
        SqliteLog::open(&self.db(), settings, at(WALL)).unwrap()
    }
}

fn settings(set: impl FnOnce(&mut LogSettings)) -> LogSettings {
    let clock = Arc::new(SystemClock::start());
    let mut settings = LogSettings::new(&Limits::default(), clock);
    settings.reserve_bytes = 1 << 20;
    settings.on_fault = Arc::new(|fault| panic!("{fault}"));
    set(&mut settings);
    settings
}

/// What is stored after these operations, in one window each.
fn stored(windows: &[&[Op]], times: Times) -> Recovered {
    let place = Place::new();
    let (mut writer, found) = place.writer(at(WALL));
    assert!(found.sessions.is_empty() && found.queue.is_empty() && found.retained.is_empty());
    for ops in windows {
        writer.commit(*ops).unwrap();
    }
    drop(writer);
    place.writer(times).1
}

fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
    message_with(topic, payload, |_| {})
}

fn message_with(topic: &str, payload: &[u8], set: impl FnOnce(&mut Publish<'_>)) -> Arc<Message> {
    let mut publish = Publish::new(topic, payload);
    publish.qos = Qos::AtLeastOnce;
    set(&mut publish);
    Message::of_publish(&publish, Some("dev-1".into()), at(WALL))
}

fn session(id: u64) -> StoredSession {
    StoredSession {
        id: StoredId(id),
        client_id: format!("client-{id}").into(),
        owner: Owner::Device(format!("dev-{id}").into()),
        version: Version::V5,
        expiry_s: 3_600,
        detached_at: None,
        will: None,
        subscriptions: Vec::new(),
        inbound: Vec::new(),
    }
}

fn open(id: u64) -> Op {
    Op::OpenSession(Box::new(session(id)))
}

fn subscription(filter: &str) -> StoredSubscription {
    StoredSubscription {
        filter: filter.into(),
        options: 1,
        id: None,
        cursor: None,
    }
}

fn queued(number: u64, queue: u64) -> StoredMessage {
    StoredMessage {
        number: QueueNumber(number),
        queue: StoredId(queue),
        message: message("a/b", format!("message {number}").as_bytes()),
        qos: Qos::AtLeastOnce,
        retain: false,
        released: false,
        subscription_ids: Box::default(),
    }
}

fn enqueue(number: u64, queue: u64) -> Op {
    Op::Enqueue(queued(number, queue))
}

fn dequeue(number: u64) -> Op {
    Op::Dequeue(QueueNumber(number))
}

fn numbers(recovered: &Recovered) -> Vec<u64> {
    recovered
        .queue
        .iter()
        .map(|stored| stored.number.0)
        .collect()
}

fn id(value: u32) -> SubscriptionId {
    SubscriptionId::new(value).unwrap()
}

fn packet(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn bytes_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
