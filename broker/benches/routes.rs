//! What a publish costs, from its bytes to the bytes of its delivery, by how much else is subscribed.
//!
//! ```text
//! cargo bench -p keygate-broker --bench routes               measures and prints
//! cargo bench -p keygate-broker --bench routes -- --check    and ends with 3 if the budgets below are missed
//! cargo bench -p keygate-broker --bench routes -- --test     runs everything once: does it still work?
//! ```
//!
//! One shard is driven as its shell drives it: bytes in, turns, bytes out, no socket. So a figure is matching, rights,
//! delivery and both codecs together, and nothing of the system.
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use keygate_broker::authn::{
    Authn, AuthnConfig, ChallengeKeys, ListenerRules, ROLE_ANONYMOUS, ReplayBounds,
};
use keygate_broker::authz::{Policy, Role};
use keygate_broker::gate::Gate;
use keygate_broker::hub::{HubParts, HubShared, Times};
use keygate_broker::identity::{MemoryStore, Registry};
use keygate_broker::limits::{Limits, Reached};
use keygate_broker::log::{MemoryLog, Recovered};
use keygate_broker::rng::SeededRandom;
use keygate_broker::shard::{
    ConnKey, Input, Inputs, ListenerId, Outbox, Shard, ShardId, ShardSetup,
};
use keygate_protocol::crypto::SoftwareSigner;
use keygate_protocol::mqtt::{
    self, Ack, AckKind, Connect, Packet, PacketId, Publish, Qos, ReasonCode, Sender, Subscribe,
    Subscription, Version,
};
use keygate_protocol::sink::{CapacityError, Sink};
use keygate_protocol::time::{Millis, UnixTime};
use keygate_protocol::topic::TopicFilter;

/// A message among so many subscriptions may cost this much more than among ten. The work is the same; what grows is how
/// far apart in memory the same few entries lie.
const GROWTH_MAX: f64 = 1.5;
/// The same for filters with wildcards, of which the trie visits more entries than the table does of the others.
const WILDCARD_GROWTH_MAX: f64 = 2.0;
/// A message that every wildcard filter of one session was crafted against, as many as a session may have, may cost this
/// many times a message among ten.
const CRAFTED_MAX: f64 = 40.0;

const SIZES: [usize; 3] = [10, 1_000, 100_000];
const PER_SESSION: usize = 128;
/// Topics that are published to in turn, spread over all that are subscribed.
const TARGETS: usize = 1_000;
const BLOCKS: usize = 21;
const BLOCK: usize = 2_000;
/// Levels of the crafted filters: the most there may be.
const LEVELS: usize = 32;
const CRAFTED_SESSIONS: [usize; 3] = [1, 10, 100];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let blocks = if has("--test") { 1 } else { BLOCKS };
    let block = if has("--test") { 10 } else { BLOCK };
    let mut text = String::new();

    let mut least = f64::MAX;
    let growths = [Kind::Exact, Kind::Wildcard].map(|kind| {
        let mut worlds = SIZES.map(|size| World::with_subscriptions(size, kind));
        let flat = side_by_side(&mut worlds, blocks, block, World::deliver);
        let ignored = side_by_side(&mut worlds, blocks, block, World::ignore);
        for ((size, delivered), ignored) in SIZES.iter().zip(&flat).zip(&ignored) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{size:>7} subscriptions {}: {delivered:>8.2} us a QoS 1 message to one of them and its PUBACKs, \
                 {ignored:>6.2} us a QoS 0 message that nobody wants",
                kind.words(),
            );
        }
        least = least.min(flat[0]);
        flat[SIZES.len() - 1] / flat[0]
    });
    let mut crafted = Vec::new();
    for sessions in CRAFTED_SESSIONS {
        let mut world = World::with_crafted(sessions);
        let [us] = side_by_side(
            std::array::from_mut(&mut world),
            blocks,
            block.min(200),
            World::ignore_crafted,
        );
        let _ = writeln!(
            text,
            "{sessions:>7} sessions with the most wildcards that are allowed, crafted against the topic: {us:>8.2} us \
             a message of {LEVELS} levels that none of them gets"
        );
        crafted.push(us);
    }

    let against = crafted[0] / least;
    let [exact, wildcard] = growths;
    let held = exact <= GROWTH_MAX && wildcard <= WILDCARD_GROWTH_MAX && against <= CRAFTED_MAX;
    let _ = writeln!(
        text,
        "{}: a message costs {exact:.2} times as much among {} as among {} (at most {GROWTH_MAX}), with wildcards \
         {wildcard:.2} times (at most {WILDCARD_GROWTH_MAX}), and {against:.1} times against one session's crafted \
         filters (at most {CRAFTED_MAX})",
        if held { "held" } else { "MISSED" },
        SIZES[SIZES.len() - 1],
        SIZES[0],
    );
    let _ = std::io::stdout().write_all(text.as_bytes());
    if has("--check") && !held {
        return ExitCode::from(3);
    }
    ExitCode::SUCCESS
}

/// What the subscriptions are.
#[derive(Clone, Copy)]
enum Kind {
    /// One topic each.
    Exact,
    /// What the role `device` allows: all below one level.
    Wildcard,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Exact => "to one topic each",
            Self::Wildcard => "with a wildcard  ",
        }
    }

    fn filter(self, index: usize) -> String {
        match self {
            Self::Exact => topic_of(index),
            Self::Wildcard => format!("devices/dev-{index:06}/#"),
        }
    }

    fn per_session(self) -> usize {
        match self {
            Self::Exact => PER_SESSION,
            Self::Wildcard => Limits::default().wildcard_subscriptions,
        }
    }
}

fn topic_of(index: usize) -> String {
    format!("devices/dev-{index:06}/desired")
}

/// One shard and its clients.
struct World {
    shard: Shard,
    out: Outbox,
    inbox: Vec<(ConnKey, Vec<u8>)>,
    publisher: ConnKey,
    /// Topics that have exactly one subscriber.
    topics: Vec<String>,
    crafted: String,
    now: u64,
    next: usize,
}

impl World {
    fn new() -> Self {
        let limits = Arc::new(Limits::default());
        let reached = Arc::new(Reached::default());
        let mut random = SeededRandom::new(1);
        let registry = Registry::new(MemoryStore::default(), &mut random).expect("an empty store");
        let challenges = Arc::new(ChallengeKeys::new("bench", &mut random));
        let authn = Authn::new(AuthnConfig {
            broker_id: "bench".into(),
            broker_id_aliases: Box::default(),
            identity: [SoftwareSigner::from_seed(&[1; 32])].into(),
            directory: registry.directory(),
            challenges,
            started: UnixTime(1_900_000_000),
            session_max_s: None,
            replay: ReplayBounds::default(),
        });
        let role = Role::open(ROLE_ANONYMOUS, &["#"], &[]).expect("a pattern");
        let gate = Arc::new(Gate {
            authn: Arc::new(authn.expect("a broker id")),
            policy: Arc::new(Policy::builtin().with(role)),
            directory: registry.directory(),
            limits: Arc::clone(&limits),
            reached: Arc::clone(&reached),
            listeners: vec![ListenerRules::loopback().and_anonymous()],
            subscribe_refusal: ReasonCode::NotAuthorized,
            acknowledge_refused: false,
        });
        let hub = Arc::new(HubShared::new(HubParts {
            limits,
            reached,
            log: Arc::new(MemoryLog::default()),
            rights: Arc::clone(&gate) as _,
            seed: [7; 16],
            recovered: Recovered::default(),
        }));
        let shard = Shard::new(ShardSetup {
            id: ShardId(0),
            shards: 1,
            gate,
            hub,
            upstream: None,
            random: Box::new(random),
            now: Millis(0),
        });
        let mut world = Self {
            shard,
            out: Outbox::default(),
            inbox: Vec::new(),
            publisher: ConnKey::default(),
            topics: Vec::new(),
            crafted: vec!["a"; LEVELS].join("/"),
            now: 1,
            next: 0,
        };
        world.publisher = world.connect("publisher");
        world
    }

    /// So many filters, one subscriber each.
    fn with_subscriptions(count: usize, kind: Kind) -> Self {
        let mut world = Self::new();
        let all: Vec<String> = (0..count).map(|index| kind.filter(index)).collect();
        for (session, filters) in all.chunks(kind.per_session()).enumerate() {
            let conn = world.connect(&format!("reader-{session}"));
            world.subscribe(conn, filters.iter().map(String::as_str));
        }
        let step = count.div_ceil(TARGETS);
        // Not in the order in which they were made: a stride that is prime visits all.
        world.topics = (0..count.min(TARGETS))
            .map(|index| topic_of(index * 331 % count.min(TARGETS) * step % count))
            .collect();
        world
    }

    /// Sessions whose every wildcard filter follows the crafted topic down to its last level and misses there, each on
    /// a way of its own: nothing is shared, nothing is cut short, nothing is delivered.
    fn with_crafted(sessions: usize) -> Self {
        let mut world = Self::new();
        let each = Limits::default().wildcard_subscriptions;
        for session in 0..sessions {
            let filters: Vec<String> = (0..each)
                .map(|index| crafted_filter(session * each + index))
                .collect();
            let conn = world.connect(&format!("crafty-{session}"));
            world.subscribe(conn, filters.iter().map(String::as_str));
        }
        world
    }

    fn connect(&mut self, client_id: &str) -> ConnKey {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let conn = self
            .shard
            .accept(peer, ListenerId::default(), Millis(self.now), &mut self.out)
            .expect("room");
        let connect = bytes(|sink| Connect::new(Version::V5, client_id).encode(sink));
        let answer = self.exchange(conn, connect);
        let code = first(&answer, |packet| match packet {
            Packet::Connack(connack) => Some(connack.code),
            _ => None,
        });
        assert_eq!(code, Some(ReasonCode::Success));
        conn
    }

    fn subscribe<'a>(&mut self, conn: ConnKey, filters: impl Iterator<Item = &'a str>) {
        let wanted: Vec<Subscription<'_>> = filters
            .map(|filter| TopicFilter::new(filter).expect("a filter"))
            .map(|filter| Subscription::new(filter, Qos::AtLeastOnce))
            .collect();
        let subscribe =
            bytes(|sink| Subscribe::new(PacketId::MIN, &wanted).encode(Version::V5, sink));
        let answer = self.exchange(conn, subscribe);
        let granted = first(&answer, |packet| match packet {
            Packet::Suback(suback) => Some(suback.codes.iter().all(|code| !code.is_error())),
            _ => None,
        });
        assert_eq!(granted, Some(true));
    }

    /// One block, µs an operation.
    #[expect(
        clippy::disallowed_methods,
        reason = "measuring time is what this program is for"
    )]
    fn measure(&mut self, block: usize, operation: fn(&mut Self)) -> f64 {
        let begin = Instant::now();
        for _ in 0..block {
            operation(self);
        }
        begin.elapsed().as_secs_f64() * 1e6 / block as f64
    }

    /// A QoS 1 message: the publisher's PUBACK, the delivery, the reader's PUBACK.
    fn deliver(&mut self) {
        self.next = (self.next + 1) % self.topics.len();
        let publish = bytes(|sink| {
            let mut publish = Publish::new(&self.topics[self.next], &[b'.'; 64]);
            publish.qos = Qos::AtLeastOnce;
            publish.packet_id = Some(PacketId::MIN);
            publish.encode(Version::V5, sink)
        });
        self.turn(self.publisher, publish);
        let mut delivered = 0;
        let publisher = self.publisher;
        let mut answers = Vec::new();
        self.drain(|conn, bytes| {
            if conn != publisher {
                let packet_id = first(bytes, |packet| match packet {
                    Packet::Publish(publish) => publish.packet_id,
                    _ => None,
                });
                answers.extend(packet_id.map(|packet_id| (conn, packet_id)));
            }
            delivered += 1;
        });
        assert_eq!((delivered, answers.len()), (2, 1));
        for (conn, packet_id) in answers {
            let ack = Ack::new(packet_id, ReasonCode::Success);
            let ack = bytes(|sink| ack.encode(AckKind::Puback, Version::V5, sink));
            self.turn(conn, ack);
        }
    }

    fn ignore(&mut self) {
        self.publish_unwanted("devices/nobody/desired");
    }

    fn ignore_crafted(&mut self) {
        let topic = self.crafted.clone();
        self.publish_unwanted(&topic);
    }

    fn publish_unwanted(&mut self, topic: &str) {
        let publish = bytes(|sink| Publish::new(topic, &[b'.'; 64]).encode(Version::V5, sink));
        self.turn(self.publisher, publish);
        self.drain(|_, _| unreachable!("nobody wants it"));
    }

    fn exchange(&mut self, conn: ConnKey, bytes: Vec<u8>) -> Vec<u8> {
        self.turn(conn, bytes);
        let mut answer = Vec::new();
        self.drain(|to, bytes| {
            assert!(to == conn);
            answer.extend_from_slice(bytes);
        });
        answer
    }

    fn turn(&mut self, conn: ConnKey, bytes: Vec<u8>) {
        self.now += 1;
        let times = Times {
            now: Millis(self.now),
            wall: UnixTime(1_900_000_000),
        };
        self.inbox.push((conn, bytes));
        let mut inputs = InOrder {
            inbox: &mut self.inbox,
            held: None,
        };
        self.shard.turn(times, &mut inputs, &mut self.out);
        while self.shard.has_work(&self.out) {
            let mut nothing = InOrder {
                inbox: &mut Vec::new(),
                held: None,
            };
            self.shard.turn(times, &mut nothing, &mut self.out);
        }
    }

    fn drain(&mut self, mut take: impl FnMut(ConnKey, &[u8])) {
        while let Some(conn) = self.out.pop_dirty() {
            let bytes = self.out.bytes(conn);
            let count = bytes.len();
            if count > 0 {
                take(conn, black_box(bytes));
            }
            self.out.wrote(conn, count);
        }
        assert!(self.out.closing.is_empty(), "nobody is sent away");
        self.out.events.clear();
    }
}

/// The median of several blocks in each world, µs an operation. The worlds take turns, so that what else the machine does
/// meets all of them.
fn side_by_side<const N: usize>(
    worlds: &mut [World; N],
    blocks: usize,
    block: usize,
    operation: fn(&mut World),
) -> [f64; N] {
    let mut figures = [const { Vec::new() }; N];
    for _ in 0..blocks {
        for (world, figures) in worlds.iter_mut().zip(&mut figures) {
            figures.push(world.measure(block, operation));
        }
    }
    figures.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    })
}

/// A filter of `LEVELS` levels whose first ones spell `index` in `a` and `+`, and whose last one is not the topic's.
fn crafted_filter(index: usize) -> String {
    let levels: Vec<&str> = (0..LEVELS)
        .map(|level| match level {
            0 => "+",
            _ if level == LEVELS - 1 => "z",
            _ if index >> (level - 1) & 1 == 1 => "+",
            _ => "a",
        })
        .collect();
    levels.join("/")
}

/// Inputs from a list.
struct InOrder<'a> {
    inbox: &'a mut Vec<(ConnKey, Vec<u8>)>,
    held: Option<(ConnKey, Vec<u8>)>,
}

impl Inputs for InOrder<'_> {
    fn next(&mut self) -> Option<Input<'_>> {
        self.held = self.inbox.pop();
        self.held
            .as_ref()
            .map(|(conn, bytes)| Input::Bytes(*conn, bytes))
    }
}

/// What the first packet that `take` wants says.
fn first<T>(mut rest: &[u8], take: impl Fn(&Packet<'_>) -> Option<T>) -> Option<T> {
    while let Some(frame) = mqtt::frame(rest, u32::MAX).expect("a frame") {
        let packet = mqtt::decode(&frame, Sender::Server, Version::V5).expect("a packet");
        if let Some(taken) = take(&packet) {
            return Some(taken);
        }
        rest = &rest[frame.len()..];
    }
    None
}

fn bytes(encode: impl FnOnce(&mut Bytes) -> Result<(), CapacityError>) -> Vec<u8> {
    let mut bytes = Bytes(Vec::with_capacity(128));
    encode(&mut bytes).expect("it fits");
    bytes.0
}

struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
