//! A crash at any moment leaves whole batches, and every batch that was said to be durable.
use std::fs;
use std::sync::Barrier;

use super::model::{Picture, Traffic, dice};
use super::*;
use crate::rng::SeededRandom;

/// The two files, as they are on the disk.
#[derive(Clone)]
struct Image {
    db: Vec<u8>,
    wal: Vec<u8>,
}

impl Image {
    fn of(place: &Place) -> Self {
        let read = |path| fs::read(path).unwrap_or_default();
        Self {
            db: read(place.db()),
            wal: read(place.wal()),
        }
    }

    /// What a broker that starts on them finds.
    fn picture(&self) -> Picture {
        let place = Place::new();
        fs::write(place.db(), &self.db).unwrap();
        fs::write(place.wal(), &self.wal).unwrap();
        Picture::of(&place.writer(at(WALL)).1)
    }
}

/// A file that was being overwritten from its beginning, or lengthened: the first bytes are new.
fn torn(old: &[u8], new: &[u8], dice: &mut SeededRandom) -> Vec<u8> {
    let cut = dice.below(new.len() as u64 + 1) as usize;
    let mut file = new[..cut].to_vec();
    file.extend_from_slice(old.get(cut..).unwrap_or_default());
    file
}

#[test]
fn a_commit_that_breaks_off_is_whole_or_not_there() {
    let mut dice = dice("torn commits");
    let mut seen = (0, 0);
    for _ in 0..6 {
        let place = Place::new();
        let (mut writer, _) = place.writer(at(WALL));
        let (mut traffic, mut picture) = (Traffic::new(0, 1), Picture::default());
        for _ in 0..20 {
            let before = (Image::of(&place), picture.clone().when_read());
            let window: Vec<Op> = (0..3).flat_map(|_| traffic.batch(&mut dice)).collect();
            picture.apply_all(&window);
            let after = picture.clone().when_read();
            writer.commit(&window).unwrap();
            let committed = Image::of(&place);
            // A power cut while the write-ahead log was being written.
            let broken = Image {
                db: before.0.db.clone(),
                wal: torn(&before.0.wal, &committed.wal, &mut dice),
            };
            let found = broken.picture();
            assert!(found == before.1 || found == after, "{found:#?}");
            seen.0 += u32::from(found == before.1);
            seen.1 += u32::from(found == after);
            assert_eq!(committed.picture(), after);
            // And one while it was moved into the database. The next window begins the write-ahead log anew.
            if dice.below(4) == 0 {
                writer.checkpoint().unwrap();
                let moved = Image::of(&place);
                let broken = Image {
                    db: torn(&committed.db, &moved.db, &mut dice),
                    wal: committed.wal,
                };
                assert_eq!(broken.picture(), after);
            }
        }
    }
    assert!(seen.0 > 0 && seen.1 > 0, "both have been met: {seen:?}");
}

#[test]
fn a_crash_at_a_random_moment_keeps_what_was_durable() {
    let mut dice = dice("crashes");
    for _ in 0..10 {
        let place = Place::new();
        let (log, _) = place.log();
        let start = Barrier::new(3);
        let batches = 20 + dice.below(20);
        let mut hands: Vec<(SeededRandom, Traffic)> = (0..2)
            .map(|first| {
                let seed = dice.next_u64();
                (SeededRandom::new(seed), Traffic::new(first, 2))
            })
            .collect();
        let (durable, image, mut submitted) = std::thread::scope(|scope| {
            let (log, start) = (&log, &start);
            let threads: Vec<_> = hands
                .iter_mut()
                .map(|(dice, traffic)| {
                    scope.spawn(move || {
                        start.wait();
                        let mut submitted = Vec::new();
                        for _ in 0..batches {
                            let batch = traffic.batch(dice);
                            let number = log.submit(batch.clone());
                            submitted.push((number, batch));
                            // Now and then as a client does that waits for its acknowledgement.
                            while dice.below(3) == 0 && log.durable() < number {
                                std::thread::yield_now();
                            }
                        }
                        submitted
                    })
                })
                .collect();
            start.wait();
            let wait = LogNumber(dice.below(2 * batches));
            while log.durable() < wait {
                std::thread::yield_now();
            }
            // So few windows do not fill the write-ahead log, so the database does not move while it is copied, and a
            // part of the write-ahead log is what a crash leaves.
            let durable = log.durable();
            let image = Image::of(&place);
            let submitted: Vec<_> = threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect();
            (durable, image, submitted)
        });
        submitted.sort_by_key(|(number, _)| *number);
        let found = image.picture();
        let mut picture = Picture::default();
        let mut whole = durable == LogNumber(0) && found == picture;
        for (at, (number, batch)) in submitted.iter().enumerate() {
            assert_eq!(number.0, at as u64 + 1);
            picture.apply_all(batch);
            whole |= *number >= durable && found == picture.clone().when_read();
        }
        assert!(
            whole,
            "{durable:?} was durable, and no prefix is {found:#?}"
        );
        log.stop();
        assert_eq!(Image::of(&place).picture(), picture.when_read());
    }
}

#[test]
fn stopping_commits_what_waits() {
    let place = Place::new();
    let (log, _) = place.log();
    log.submit(vec![open(1)]);
    let mut last = LogNumber(0);
    for number in 1..=50 {
        last = log.submit(vec![enqueue(number, 1)]);
    }
    log.stop();
    assert_eq!(log.durable(), last);
    // The write-ahead log has gone into the database.
    assert_eq!(bytes_of(&place.wal()), 0);
    let (_, found) = place.log();
    assert_eq!(found.queue.len(), 50);
}
