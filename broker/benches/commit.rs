//! What the log costs: a message into a queue and out again, at a steady rate, on the disk below the temporary directory.
//!
//! `cargo bench --package keygate-broker --bench commit`. A third of the messages are acknowledged in the window in which
//! they come, as a quick client does, and never reach the disk; the rest is acknowledged 50 ms later. Arguments after
//! `--` are rates to measure in place of the usual ones.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use keygate_broker::clock::{Clock, SystemClock};
use keygate_broker::hub::{Message, Times};
use keygate_broker::limits::Limits;
use keygate_broker::log::{
    Log, LogNumber, LogSettings, Op, QueueNumber, SqliteLog, StoredId, StoredMessage,
};
use keygate_protocol::mqtt::{Publish, Qos};

const RATES: [u64; 3] = [1_000, 5_000, 20_000];
/// How long each rate runs.
const RUN_US: u64 = 5_000_000;
/// What a publisher's shard brings in one turn.
const TURN_US: u64 = 500;
/// When a client that is not quick acknowledges.
const ACK_US: u64 = 50_000;
const PAYLOAD: [u8; 128] = [7; 128];

struct Measured {
    rate: u64,
    /// Of one core.
    log_share: f64,
    p50_us: u64,
    p99_us: u64,
    commits: u64,
    written: u64,
    messages: u64,
    row_bytes: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let rates = if given.is_empty() {
        RATES.to_vec()
    } else {
        given
    };
    println!(
        "| messages/s | log thread, of a core | CPU a message | durable p50 | p99 | commits/s | written a message | a row |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for rate in rates {
        let m = measure(rate)?;
        println!(
            "| {} | {:.1} % | {:.1} µs | {:.1} ms | {:.1} ms | {} | {:.2} kB | {} B |",
            m.rate,
            m.log_share * 100.0,
            m.log_share * 1e6 / m.rate as f64,
            m.p50_us as f64 / 1e3,
            m.p99_us as f64 / 1e3,
            m.commits * 1_000_000 / RUN_US,
            m.written as f64 / m.messages as f64 / 1e3,
            m.row_bytes,
        );
    }
    Ok(())
}

fn measure(rate: u64) -> Result<Measured, Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let times = Times {
        now: clock.now(),
        wall: clock.wall(),
    };
    let settings = LogSettings::new(&Limits::default(), Arc::clone(&clock));
    let path = directory.path().join("state.db");
    let (log, _) = SqliteLog::open(&path, settings, times)?;
    let (told, durable) = sync_channel(1_024);
    log.on_durable(Box::new(move || {
        let _ = told.try_send(());
    }));
    let mut publish = Publish::new("devices/dev-000001/telemetry", &PAYLOAD);
    publish.qos = Qos::AtLeastOnce;
    let message = Message::of_publish(&publish, Some("dev-000001".into()), times);
    let enqueue = |number| {
        Op::Enqueue(StoredMessage {
            number: QueueNumber(number),
            queue: StoredId(1 + number % 100),
            message: Arc::clone(&message),
            qos: Qos::AtLeastOnce,
            retain: false,
            released: false,
            subscription_ids: Box::default(),
        })
    };
    // A thread names itself: once it has committed, it has done so.
    log.submit(vec![Op::WillDone(StoredId(1))]);
    durable.recv()?;
    let (cpu, written) = (cpu_of_log()?, written()?);
    let began = clock.micros();
    let (mut number, mut commits) = (0, 0);
    let mut waiting: VecDeque<(LogNumber, u64)> = VecDeque::new();
    let mut unacknowledged: VecDeque<(u64, u64)> = VecDeque::new();
    let mut latencies = Vec::new();
    loop {
        let now = clock.micros();
        let age = now - began;
        if age >= RUN_US {
            break;
        }
        while number < age * rate / 1_000_000 {
            number += 1;
            waiting.push_back((log.submit(vec![enqueue(number)]), clock.micros()));
            match number % 3 {
                0 => drop(log.submit(vec![Op::Dequeue(QueueNumber(number))])),
                _ => unacknowledged.push_back((number, now + ACK_US)),
            }
        }
        while let Some((number, _)) = unacknowledged.pop_front_if(|(_, at)| *at <= now) {
            log.submit(vec![Op::Dequeue(QueueNumber(number))]);
        }
        let until = began + (age / TURN_US + 1) * TURN_US;
        // Durable numbers are looked at when they move, so that a latency is not rounded up to a turn.
        loop {
            let left = until.saturating_sub(clock.micros());
            match durable.recv_timeout(Duration::from_micros(left)) {
                Ok(()) => {
                    commits += 1;
                    let (upto, now) = (log.durable(), clock.micros());
                    while let Some((_, at)) = waiting.pop_front_if(|(number, _)| *number <= upto) {
                        latencies.push(now.saturating_sub(at));
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    let log_share = (cpu_of_log()? - cpu) as f64 / 1e3 / RUN_US as f64;
    let written = self::written()? - written;
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied();
    drop(log);
    Ok(Measured {
        rate,
        log_share,
        p50_us: at(50).ok_or("nothing became durable")?,
        p99_us: at(99).ok_or("nothing became durable")?,
        commits,
        written,
        messages: number,
        row_bytes: row_bytes(enqueue)?,
    })
}

/// Nanoseconds that the log's thread has been on a processor.
fn cpu_of_log() -> Result<u64, Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "log" {
            let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
            let spent = schedstat.split(' ').next().unwrap_or_default();
            return Ok(spent.parse()?);
        }
    }
    Err("the log has no thread".into())
}

/// Bytes that this process has had written to a disk.
fn written() -> Result<u64, Box<dyn Error>> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(line.ok_or("/proc/self/io has no `wchar`")?.parse()?)
}

/// Bytes of the database that one queued message takes.
fn row_bytes(enqueue: impl Fn(u64) -> Op) -> Result<u64, Box<dyn Error>> {
    const ROWS: u64 = 10_000;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("state.db");
    let clock = Arc::new(SystemClock::start());
    let settings = LogSettings::new(&Limits::default(), clock);
    let bytes = |path: &Path| std::fs::metadata(path).map(|file| file.len());
    let (log, _) = SqliteLog::open(&path, settings, Times::default())?;
    log.submit((1..=ROWS).map(enqueue).collect());
    log.stop();
    Ok(bytes(&path)? / ROWS)
}
