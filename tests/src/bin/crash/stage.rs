//! What all clients of a run share: how far each stream of messages is, what the round is at, what went wrong.
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use keygate_protocol::mqtt::Qos;
use keygate_tests::clock::Stopwatch;

/// Messages of one publisher at one QoS, numbered from 1, on a topic of their own.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Where they go.
    pub(crate) topic: String,
    /// How they are published.
    pub(crate) qos: Qos,
    /// The last that was, or is just being, sent for the first time.
    issued: AtomicU64,
    /// The last that was acknowledged (PUBACK, PUBCOMP), and with it all before it.
    acked: AtomicU64,
}

impl Stream {
    fn new(publisher: usize, qos: Qos) -> Self {
        Self {
            topic: format!("t/{publisher}/q{}", qos as u8),
            qos,
            issued: AtomicU64::new(0),
            acked: AtomicU64::new(0),
        }
    }

    /// The number of the last message that was ever sent.
    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(Ordering::SeqCst)
    }

    /// The number of the last message that was acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.acked.load(Ordering::SeqCst)
    }

    /// A new message is about to be sent. Gives its number.
    pub(crate) fn issue(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// This one was acknowledged.
    pub(crate) fn acknowledge(&self, number: u64) {
        self.acked.fetch_max(number, Ordering::SeqCst);
    }
}

/// What a round is at, in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Clients work, the broker dies and comes back.
    Crashes,
    /// The broker stays. Publishers complete what they began.
    Completing,
    /// Nobody publishes. Subscribers take what is left.
    Draining,
    /// Whoever is not done by now has lost something.
    Over,
}

/// The run, as its clients see it.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Where the broker listens, while it is up.
    pub(crate) broker: SocketAddr,
    /// Two for each publisher: QoS 1, QoS 2.
    pub(crate) streams: Vec<Stream>,
    phase: AtomicU8,
    wrong: Mutex<Vec<String>>,
    clock: Stopwatch,
}

/// More complaints than this say nothing new.
const WRONG_MAX: usize = 30;

impl Stage {
    /// A run with so many publishers.
    pub(crate) fn new(broker: SocketAddr, publishers: usize) -> Self {
        let streams = (0..publishers).flat_map(|publisher| {
            [Qos::AtLeastOnce, Qos::ExactlyOnce].map(|qos| Stream::new(publisher, qos))
        });
        Self {
            broker,
            streams: streams.collect(),
            phase: AtomicU8::new(0),
            wrong: Mutex::new(Vec::new()),
            clock: Stopwatch::start(),
        }
    }

    /// The round is at this.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Whether the round is at this, or further.
    pub(crate) fn is_at(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) >= phase as u8
    }

    /// Something is not as MQTT or our promises want it.
    pub(crate) fn wrong(&self, who: &str, what: &str) {
        let at = self.clock.elapsed().as_millis();
        let mut wrong = self.wrong.lock().expect("nobody panics with it");
        if wrong.len() < WRONG_MAX {
            wrong.push(format!("at {at} ms: {who}: {what}"));
        }
    }

    /// What went wrong so far.
    pub(crate) fn all_wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("nobody panics with it").clone()
    }

    /// Which message this is: its stream and its number.
    pub(crate) fn read(&self, topic: &str, payload: &[u8]) -> Option<(usize, u64)> {
        let stream = self
            .streams
            .iter()
            .position(|stream| stream.topic == topic)?;
        let number = std::str::from_utf8(payload).ok()?.parse().ok()?;
        Some((stream, number))
    }
}
