//! What cancels in a window, how much fits into one, and when it is committed.
use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::clock::ManualClock;
use crate::limits::Reached;
use crate::log::fold::{Write, fold};

/// What is left of a window, in words.
fn left(ops: &[Op]) -> Vec<String> {
    let word = |write: &Write<'_>| match write {
        Write::Enqueue {
            message,
            assigned,
            released,
        } => {
            let queue = assigned.map_or(message.queue, |assigned| assigned.queue);
            let released = if *released { " released" } else { "" };
            format!("enqueue {} for {}{released}", message.number.0, queue.0)
        }
        Write::Op(Op::Dequeue(number)) => format!("dequeue {}", number.0),
        Write::Op(Op::Assign(to)) => format!("assign {} to {}", to.number.0, to.queue.0),
        Write::Op(Op::Release(number)) => format!("release {}", number.0),
        Write::Op(Op::Retain { change, .. }) => format!("retain {change}"),
        Write::Op(Op::Forget(topic)) => format!("forget {topic}"),
        Write::Op(op) => format!("{op:?}"),
    };
    fold(ops).writes.iter().map(word).collect()
}

fn assign(number: u64, queue: u64) -> Op {
    Op::Assign(Assignment {
        number: QueueNumber(number),
        queue: StoredId(queue),
        qos: Qos::ExactlyOnce,
        retain: false,
        subscription_id: None,
    })
}

fn release(number: u64) -> Op {
    Op::Release(QueueNumber(number))
}

fn retain(change: u64, topic: &str) -> Op {
    Op::Retain {
        change,
        message: message(topic, b"x"),
    }
}

#[test]
fn a_message_that_comes_and_goes_leaves_nothing() {
    let nothing: [&str; 0] = [];
    assert_eq!(left(&[enqueue(1, 5), dequeue(1)]), nothing);
    let moved = [enqueue(1, 5), assign(1, 6), release(1), dequeue(1)];
    assert_eq!(left(&moved), nothing);
    // Others stay, in their order.
    let among = [
        enqueue(1, 5),
        retain(9, "a"),
        enqueue(2, 5),
        dequeue(1),
        enqueue(3, 6),
    ];
    let expected = ["retain 9", "enqueue 2 for 5", "enqueue 3 for 6"];
    assert_eq!(left(&among), expected);
}

#[test]
fn what_happens_to_a_new_message_is_in_its_row() {
    let moved = [enqueue(1, 5), assign(1, 6), assign(1, 7), release(1)];
    assert_eq!(left(&moved), ["enqueue 1 for 7 released"]);
}

#[test]
fn a_message_of_an_earlier_window_is_removed() {
    assert_eq!(left(&[dequeue(1)]), ["dequeue 1"]);
    let moved = [assign(1, 6), release(1), dequeue(1)];
    assert_eq!(left(&moved), ["dequeue 1"]);
    let moved = [assign(1, 6), release(1), assign(1, 7), release(1)];
    assert_eq!(left(&moved), ["assign 1 to 7", "release 1"]);
}

#[test]
fn the_last_change_of_a_topic_is_written() {
    let changes = [retain(1, "a"), retain(2, "b"), retain(3, "a")];
    assert_eq!(left(&changes), ["retain 2", "retain 3"]);
    let forget = || Op::Forget("a".into());
    assert_eq!(left(&[retain(1, "a"), forget()]), ["forget a"]);
    assert_eq!(left(&[forget(), retain(1, "a")]), ["retain 1"]);
}

/// A log on a clock that stands still, and a receiver that gets each new durable number.
struct Still {
    log: Arc<SqliteLog>,
    clock: Arc<ManualClock>,
    moved: Receiver<()>,
    place: Place,
}

impl Still {
    fn new(set: impl FnOnce(&mut LogSettings)) -> Self {
        let place = Place::new();
        let clock = Arc::new(ManualClock::default());
        let (log, _) = place.log_with(|settings| {
            settings.clock = Arc::clone(&clock) as _;
            set(settings);
        });
        let (told, moved) = sync_channel(1_000);
        log.on_durable(Box::new(move || {
            let _ = told.send(());
        }));
        Self {
            log,
            clock,
            moved,
            place,
        }
    }

    fn until(&self, number: LogNumber) {
        while self.log.durable() < number {
            self.moved.recv().unwrap();
        }
    }
}

#[test]
fn the_first_window_goes_at_once_and_the_next_at_its_mark() {
    let reached = Arc::new(Reached::default());
    let still = Still::new(|settings| settings.reached = Arc::clone(&reached));
    let first = still.log.submit(vec![open(1)]);
    still.until(first);
    assert_eq!(reached.log_commit_ms.get(), 0);
    // No time passes, so nothing can be committed, however long this takes.
    let second = still.log.submit(vec![enqueue(1, 1)]);
    let third = still.log.submit(vec![enqueue(2, 1)]);
    assert!(first < second && second < third);
    // The thread comes to wait for the mark: no time passes that could let it off.
    let waits = || reached.log_commit_ms.get() == 1;
    assert!((0..100_000_000).any(|_| {
        std::thread::yield_now();
        waits()
    }));
    still.clock.advance(1);
    assert_eq!(still.log.durable(), first);
    still.clock.advance(1);
    still.until(second);
    // Both went in one window, which waited once.
    assert_eq!(still.log.durable(), third);
    assert!(waits());
    assert_eq!(still.log.submit(Vec::new()), third);
}

#[test]
fn the_window_has_a_bound_in_operations() {
    let reached = Arc::new(Reached::default());
    let still = Still::new(|settings| {
        settings.reached = Arc::clone(&reached);
        settings.window_ops = 3;
    });
    still.until(still.log.submit(vec![open(1)]));
    let two = still.log.submit(vec![enqueue(1, 1), enqueue(2, 1)]);
    assert!(still.log.has_room());
    let more = still.log.submit(vec![enqueue(3, 1)]);
    assert!(!still.log.has_room());
    // It takes what comes all the same: only who brings new messages asks.
    let last = still.log.submit(vec![dequeue(1)]);
    assert!(two < more && more < last);
    still.clock.advance(2);
    still.until(last);
    assert!(still.log.has_room());
    assert_eq!(
        reached.log_window_ops.get(),
        1,
        "once, however much came after it"
    );
}

#[test]
fn the_window_has_a_bound_in_bytes() {
    let reached = Arc::new(Reached::default());
    let still = Still::new(|settings| {
        settings.reached = Arc::clone(&reached);
        settings.window_bytes = 10_000;
    });
    still.until(still.log.submit(vec![open(1)]));
    let large = |number| {
        let message = message("a", &[0; 6_000]);
        Op::Enqueue(StoredMessage {
            message,
            ..queued(number, 1)
        })
    };
    still.log.submit(vec![large(1)]);
    assert!(still.log.has_room());
    let last = still.log.submit(vec![large(2)]);
    assert!(!still.log.has_room());
    still.clock.advance(2);
    still.until(last);
    assert!(still.log.has_room());
    assert_eq!(
        reached.log_window_bytes.get(),
        1,
        "once, however much came after it"
    );
}

#[test]
fn a_window_that_cancels_writes_nothing_and_is_durable() {
    let still = Still::new(|_| {});
    still.until(still.log.submit(vec![open(1), enqueue(1, 1)]));
    let before = bytes_of(&still.place.wal());
    still.log.submit(vec![enqueue(2, 1)]);
    let gone = still.log.submit(vec![dequeue(2)]);
    still.clock.advance(2);
    still.until(gone);
    assert_eq!(bytes_of(&still.place.wal()), before);
    still.clock.advance(2);
    still.until(still.log.submit(vec![enqueue(3, 1)]));
    assert!(bytes_of(&still.place.wal()) > before);
}
