//! A full disk, a failing one, and files that must not grow for ever.
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use super::*;
use crate::clock::ManualClock;
use crate::limits::Reached;
use crate::log::error::CommitError;
use crate::log::writer::WAL_PAGES;

fn pages_max(db: &Connection, pages: i64) {
    db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        .unwrap();
}

/// Lets the database grow no further, as a full disk would.
fn fill(writer: &Writer) {
    let pages: i64 = writer
        .db()
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    pages_max(writer.db(), pages);
}

fn large(number: u64) -> Op {
    Op::Enqueue(StoredMessage {
        message: message("a", &[7; 20_000]),
        ..queued(number, 1)
    })
}

#[test]
fn the_first_full_disk_is_met_with_the_reserve() {
    let place = Place::new();
    let reserve = place.0.path().join("state.reserve");
    let (mut writer, _) = place.writer(at(WALL));
    writer.commit(&[open(1), large(1)]).unwrap();
    fill(&writer);
    let at_reserve = reserve.clone();
    writer.on_freed = Some(Box::new(move |db| {
        assert_eq!(bytes_of(&at_reserve), 0);
        pages_max(db, 1_000_000);
        // In place of a disk that stays full: the reserve cannot be made.
        std::fs::remove_file(&at_reserve).unwrap();
        std::fs::create_dir(&at_reserve).unwrap();
    }));
    let clock = Arc::new(ManualClock::default());
    let settings = settings(|settings| {
        settings.clock = Arc::clone(&clock) as _;
        settings.commit_us = 0;
    });
    let log = SqliteLog::start(writer, settings).unwrap();
    let (moved, durable) = sync_channel(100);
    log.on_durable(Box::new(move || {
        let _ = moved.send(());
    }));
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    log.on_full(Box::new(move |full| {
        tell.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(full);
    }));
    let until = |number| {
        while log.durable() < number {
            durable.recv().unwrap();
        }
    };
    assert!(!log.is_full());
    until(log.submit(vec![large(2), large(3)]));
    assert!(log.is_full());
    // It stays full while the reserve cannot be made, and still takes what makes the store smaller.
    clock.advance(10_000);
    until(log.submit(vec![dequeue(1)]));
    assert!(log.is_full());
    std::fs::remove_dir(&reserve).unwrap();
    clock.advance(10_000);
    // The first commit after that makes it again, after it has said what is durable; the second one is later.
    until(log.submit(vec![dequeue(2)]));
    until(log.submit(vec![open(2)]));
    assert!(!log.is_full());
    assert_eq!(*told.lock().unwrap(), [true, false]);
    assert_eq!(bytes_of(&reserve), 1 << 20);
    drop(log);
    assert_eq!(numbers(&place.writer(at(WALL)).1), [3]);
}

#[test]
fn a_window_that_finds_no_room_at_all_is_kept_and_tried_again() {
    let place = Place::new();
    let (mut writer, _) = place.writer(at(WALL));
    writer.commit(&[open(1)]).unwrap();
    fill(&writer);
    let window = [large(1), Op::Forget("a".into())];
    // The reserve does not help: somebody else took the space.
    assert_eq!(writer.commit(&window), Err(CommitError::Full));
    assert!(!writer.has_reserve());
    assert_eq!(writer.commit(&window), Err(CommitError::Full));
    // Nothing of it is stored, and what needs no room still is.
    writer.commit(&[Op::WillDone(StoredId(1))]).unwrap();
    pages_max(writer.db(), 1_000_000);
    assert_eq!(writer.commit(&window), Ok(true));
    drop(writer);
    assert_eq!(numbers(&place.writer(at(WALL)).1), [1]);
}

#[test]
fn a_start_without_room_for_the_reserve_is_full() {
    let place = Place::new();
    let reached = Arc::new(Reached::default());
    let (log, _) = place.log_with(|settings| {
        settings.reserve_bytes = 1 << 50;
        settings.reached = Arc::clone(&reached);
    });
    assert!(log.is_full());
    assert_eq!(reached.reserve_bytes.get(), 1);
    let number = log.submit(vec![open(1)]);
    log.stop();
    assert_eq!(log.durable(), number);
}

#[test]
fn a_failure_ends_it_and_nothing_more_is_durable() {
    let place = Place::new();
    let (writer, _) = place.writer(at(WALL));
    // Any error but a full disk means that nobody knows what is stored.
    writer.db().execute_batch("DROP TABLE queue").unwrap();
    let (tell, told) = sync_channel(2);
    let settings = settings(|settings| {
        settings.on_fault = Arc::new(move |fault| tell.send(fault.clone()).unwrap());
    });
    let log = SqliteLog::start(writer, settings).unwrap();
    let number = log.submit(vec![enqueue(1, 1)]);
    let fault = told.recv().unwrap();
    assert_eq!(fault.path, place.db());
    assert!(fault.detail.contains("queue"));
    log.submit(vec![open(1)]);
    log.stop();
    assert_eq!((log.durable(), number), (LogNumber(0), LogNumber(1)));
    // Once: the thread has ended.
    assert!(told.try_recv().is_err());
}

#[test]
fn the_write_ahead_log_begins_anew_and_freed_pages_are_used_again() {
    let place = Place::new();
    let (mut writer, _) = place.writer(at(WALL));
    writer.commit(&[open(1)]).unwrap();
    let (mut wal_most, mut db_first) = (0, 0);
    for round in 0..8 {
        let numbers = round * 1_000..(round + 1) * 1_000;
        for window in [true, false] {
            for number in numbers.clone().step_by(50) {
                let ops: Vec<Op> = (number..number + 50)
                    .map(|number| match window {
                        true => Op::Enqueue(StoredMessage {
                            message: message("a", &[1; 1_000]),
                            ..queued(number + 1, 1)
                        }),
                        false => dequeue(number + 1),
                    })
                    .collect();
                writer.commit(&ops).unwrap();
                writer.checkpoint_if_due().unwrap();
                wal_most = wal_most.max(bytes_of(&place.wal()));
            }
        }
        if round == 1 {
            db_first = bytes_of(&place.db());
        }
    }
    // A bit more than its bound: a window is never split.
    let bound = (WAL_PAGES as u64 + 64) * 4_120;
    assert!((bound / 2..bound).contains(&wal_most), "{wal_most}");
    assert!(db_first > 1_000_000, "{db_first}");
    let db_last = bytes_of(&place.db());
    assert!(db_last <= db_first * 5 / 4, "{db_first} {db_last}");
}
