//! The run: who takes part, when the broker dies, what must hold at the end of each round.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keygate_broker::rng::SeededRandom;
use keygate_protocol::mqtt::{Qos, Version};
use keygate_tests::clock::{Deadline, Stopwatch, idle};
use keygate_tests::net::own_address;
use keygate_tests::process::{Process, Program};
use rusqlite::{Connection, OpenFlags};

use crate::line::Name;
use crate::publisher::Publisher;
use crate::retained::{Board, Writer, keep_looking, look};
use crate::stage::{Phase, Stage};
use crate::subscriber::{Manners, Subscriber, Union};
use crate::tell;
use crate::toggler::Toggler;

const PUBLISHERS: usize = 4;
/// How long the broker is killed in one round.
const CRASHES: Duration = Duration::from_secs(6);
/// How long publishers may take to complete, and subscribers to drain: far more than it takes.
const PATIENCE: Duration = Duration::from_secs(40);
/// `state.db` keeps the pages that its longest queue took and no more, however many rounds there were.
const STORE_BYTES_MAX: u64 = 16 * 1024 * 1024;

struct World {
    stage: Stage,
    board: Board,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    togglers: Vec<Toggler>,
    writers: Vec<Writer>,
    kills: u32,
}

/// Runs rounds for so long. Gives what went wrong.
pub(crate) fn run(time: Duration, seed: u64) -> Vec<String> {
    let clock = Stopwatch::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = directory.path().join("keygate.toml");
    let settings = "shards = 2\nlog = \"error\"\n[anonymous]\nallow = [\"#\"]\n";
    std::fs::write(&config, settings).expect("a file can be written");
    let data = directory.path().join("data");
    let itself = std::env::current_exe().expect("the program knows itself");
    let program = Program::new(&itself.to_string_lossy());
    let free = SocketAddr::new(own_address(), 0);
    let flags = ["--config", &*config.to_string_lossy()];
    let mut broker = program.serve_on(&data, free, free, &flags);
    let mut dice = SeededRandom::new(seed);
    let mut world = World::new(broker.mqtt, &mut dice);
    world.introduce();
    for round in 1.. {
        world.round(&mut broker, &mut dice);
        broker.stop();
        let state = data.join("state.db");
        check_store(&world.stage, &state);
        let bytes = std::fs::metadata(&state).map_or(0, |file| file.len());
        if bytes > STORE_BYTES_MAX {
            let what = format!("has {bytes} bytes, {STORE_BYTES_MAX} is the most");
            world.stage.wrong("state.db", &what);
        }
        let sent: u64 = world.stage.streams.iter().map(|of| of.issued()).sum();
        tell(&format!(
            "crash: round {round}: {} kills, {sent} messages, state.db {} KiB",
            world.kills,
            bytes / 1024
        ));
        let wrong = world.stage.all_wrong();
        if !wrong.is_empty() || clock.elapsed() + CRASHES > time {
            return wrong;
        }
        broker.start_again();
    }
    Vec::new()
}

/// Everything was received and acknowledged: nothing may be left in the stopped broker's store.
fn check_store(stage: &Stage, state: &Path) {
    let db = Connection::open_with_flags(state, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("the store can be read");
    for table in ["queue", "inbound"] {
        let query = format!("SELECT count(*) FROM {table}");
        let rows: i64 = db
            .query_row(&query, [], |row| row.get(0))
            .expect("the table can be read");
        if rows > 0 {
            stage.wrong("state.db", &format!("{rows} rows are left in `{table}`"));
        }
    }
}

impl World {
    fn new(broker: SocketAddr, dice: &mut SeededRandom) -> Self {
        let name = |id: &str, version, window| Name {
            id: id.into(),
            version,
            window,
        };
        let versions = [Version::V5, Version::V311];
        let stage = Stage::new(broker, PUBLISHERS);
        let publishers = (0..PUBLISHERS)
            .map(|number| {
                let id = format!("publisher-{number}");
                let dice = SeededRandom::new(dice.next_u64());
                Publisher::new(number, name(&id, versions[number % 2], 100), dice)
            })
            .collect();
        let all: &[&str] = &["t/#"];
        let two: &[&str] = &["t/+/q1", "t/+/q2"];
        let unions: [Union; 2] =
            [(); 2].map(|()| Arc::new(Mutex::new(vec![BTreeMap::new(); stage.streams.len()])));
        let (v5, v311) = (Version::V5, Version::V311);
        let (one, exactly) = (Qos::AtLeastOnce, Qos::ExactlyOnce);
        let mut alone = |id: &str, version, window, qos, filters, manners| {
            Subscriber::alone(
                name(id, version, window),
                qos,
                filters,
                manners,
                dice.next_u64(),
            )
        };
        let first: &[&str] = &["$share/first/t/#"];
        let second: &[&str] = &["$share/second/t/#"];
        let subscribers = vec![
            alone("steady", v5, 100, exactly, all, Manners::Steady),
            alone("flaky", v311, 100, exactly, two, Manners::Flaky),
            alone("slow-1", v5, 6, one, all, Manners::Slow),
            alone("slow-2", v5, 3, exactly, two, Manners::Slow),
            alone("rare", v311, 100, one, all, Manners::Rare),
            alone("share-1", v5, 10, one, first, Manners::Flaky).shared(&unions[0]),
            alone("share-2", v311, 10, one, first, Manners::Slow).shared(&unions[0]),
            alone("share-3", v5, 10, exactly, second, Manners::Flaky).shared(&unions[1]),
            alone("share-4", v311, 10, exactly, second, Manners::Rare).shared(&unions[1]),
        ];
        Self {
            stage,
            board: Board::new(),
            publishers,
            subscribers,
            togglers: vec![
                Toggler::new(name("toggler-1", v5, 100), one, 0),
                Toggler::new(name("toggler-2", v311, 100), exactly, 3),
            ],
            writers: (0..2)
                .map(|number| {
                    let id = format!("writer-{number}");
                    Writer::new(
                        name(&id, versions[number], 10),
                        number as u64,
                        dice.next_u64(),
                    )
                })
                .collect(),
            kills: 0,
        }
    }

    /// Everybody begins a session, and no broker dies yet. Subscribers first: they must get everything.
    fn introduce(&mut self) {
        let stage = &self.stage;
        self.subscribers.iter_mut().for_each(|s| s.introduce(stage));
        self.togglers.iter_mut().for_each(|t| t.introduce(stage));
        self.publishers.iter_mut().for_each(|p| p.introduce(stage));
        let board = &self.board;
        self.writers
            .iter_mut()
            .for_each(|w| w.introduce(stage, board));
    }

    fn round(&mut self, broker: &mut Process, dice: &mut SeededRandom) {
        let (stage, board) = (&self.stage, &self.board);
        stage.enter(Phase::Crashes);
        let kills = &mut self.kills;
        std::thread::scope(|scope| {
            let mut senders = Vec::new();
            for publisher in &mut self.publishers {
                senders.push(scope.spawn(|| publisher.work(stage)));
            }
            for writer in &mut self.writers {
                senders.push(scope.spawn(|| writer.work(stage, board)));
            }
            let looks = scope.spawn(|| keep_looking(stage, board));
            let mut receivers = Vec::new();
            for subscriber in &mut self.subscribers {
                receivers.push(scope.spawn(|| subscriber.work(stage)));
            }
            for toggler in &mut self.togglers {
                receivers.push(scope.spawn(|| toggler.work(stage)));
            }
            let crashes = Deadline::after(CRASHES);
            while crashes.left().is_some() && stage.all_wrong().is_empty() {
                *kills += disturb(broker, dice);
            }
            stage.enter(Phase::Completing);
            let patience = Deadline::after(PATIENCE);
            wait(&senders, patience);
            stage.enter(Phase::Draining);
            if looks.join().is_err() || !look(stage, board) {
                stage.wrong("looker", "cannot look in peace");
            }
            wait(&receivers, patience);
            stage.enter(Phase::Over);
        });
    }
}

/// Waits until these threads are done.
fn wait(threads: &[std::thread::ScopedJoinHandle<'_, ()>], patience: Deadline) {
    while patience.left().is_some() && !threads.iter().all(|thread| thread.is_finished()) {
        idle(Duration::from_millis(10));
    }
}

/// Ends the broker at some moment, in some way, and starts it again. Gives how often it was killed.
fn disturb(broker: &mut Process, dice: &mut SeededRandom) -> u32 {
    idle(Duration::from_millis(dice.below(900)));
    let mut kills = 1;
    match dice.below(10) {
        0 => {
            broker.stop();
            kills = 0;
        }
        // Also while it starts and recovers.
        1..4 => {
            broker.kill();
            for _ in 0..=dice.below(3) {
                broker.start_and_kill(Duration::from_millis(dice.below(60)));
                kills += 1;
            }
        }
        _ => broker.kill(),
    }
    broker.start_again();
    kills
}
