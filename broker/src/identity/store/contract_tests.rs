//! One suite that every store must pass: each test runs against each store.
use super::*;
use crate::identity::device::{DeviceKey, DeviceState};
use crate::identity::limits::FEED_IDS_MAX;
use crate::identity::sample::{device, public_key};
use keygate_protocol::time::UnixTime;
use std::path::Path;

/// A kind of store: opens the one in this directory, again and again.
trait Kind {
    const SURVIVES: bool;
    fn open(directory: &Path) -> Box<dyn Store>;
}

struct Memory;

impl Kind for Memory {
    const SURVIVES: bool = false;

    fn open(_: &Path) -> Box<dyn Store> {
        Box::new(MemoryStore::new())
    }
}

struct Sqlite;

impl Kind for Sqlite {
    const SURVIVES: bool = true;

    fn open(directory: &Path) -> Box<dyn Store> {
        Box::new(SqliteStore::open(&directory.join("identity.db")).unwrap())
    }
}

macro_rules! contract {
    ($($test:ident)*) => {
        mod memory {
            $(#[test] fn $test() { super::$test::<super::Memory>(); })*
        }
        mod sqlite {
            $(#[test] fn $test() { super::$test::<super::Sqlite>(); })*
        }
    };
}

contract! {
    a_new_store_is_empty_at_revision_0
    every_part_of_a_record_comes_back
    records_come_in_the_order_of_enrolment
    each_batch_takes_the_next_revision
    a_batch_is_made_whole_or_not_at_all
    what_does_not_fit_is_a_conflict
    keys_may_move_within_a_batch
    the_feed_tells_what_changed
    a_reader_ahead_of_the_store_reloads
    the_feed_is_bounded
    a_batch_too_large_to_remember_makes_readers_reload
    what_was_applied_survives_a_restart
}

fn with<K: Kind>(test: impl FnOnce(&mut dyn FnMut() -> Box<dyn Store>)) {
    let directory = tempfile::tempdir().unwrap();
    test(&mut || K::open(directory.path()));
}

fn add(n: u64) -> Change {
    Change::Add(Arc::new(device(n)))
}

fn remove(n: u64) -> Change {
    Change::Remove(device(n).id)
}

fn replace(n: u64, key: u64) -> Change {
    Change::Replace(Arc::new(Device {
        keys: device(key).keys,
        ..device(n)
    }))
}

fn conflict(n: u64) -> StoreError {
    StoreError::Conflict { id: device(n).id }
}

fn a_new_store_is_empty_at_revision_0<K: Kind>() {
    with::<K>(|open| {
        assert_eq!(open().load(), Ok(Snapshot::default()));
    });
}

fn every_part_of_a_record_comes_back<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        let mut rich = device(1);
        rich.state = DeviceState::Suspended;
        rich.keys = Box::new([
            DeviceKey {
                not_before: Some(UnixTime(0)),
                not_after: Some(UnixTime(1_800_000_000)),
                ..DeviceKey::new(public_key(11))
            },
            DeviceKey::new(public_key(12)),
        ]);
        rich.roles = Box::new(["b".into(), "a".into()]);
        rich.groups = Box::new([]);
        rich.via = Box::new(["gw-1".into()]);
        rich.attributes = [("site", "Köln \"2\" \\"), ("empty", "")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let mut bare = device(2);
        bare.roles = Box::new([]);
        let batch = [rich.clone(), bare.clone()].map(|d| Change::Add(Arc::new(d)));
        store.apply(&batch).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.devices, [rich.clone(), bare]);

        rich.state = DeviceState::Revoked;
        rich.attributes.clear();
        rich.keys = device(3).keys;
        store
            .apply(&[Change::Replace(Arc::new(rich.clone()))])
            .unwrap();
        assert_eq!(store.load().unwrap().devices[0], rich);
    });
}

fn records_come_in_the_order_of_enrolment<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        for n in [3, 1, 2] {
            store.apply(&[add(n)]).unwrap();
        }
        store.apply(&[replace(3, 4)]).unwrap();
        store.apply(&[remove(2), add(2)]).unwrap();
        let ids: Vec<_> = store.load().unwrap().devices;
        let ids: Vec<&str> = ids.iter().map(|d| &*d.id).collect();
        assert_eq!(ids, ["dev-3", "dev-1", "dev-2"]);
    });
}

fn each_batch_takes_the_next_revision<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        assert_eq!(store.apply(&[]), Ok(Revision(0)));
        assert_eq!(store.apply(&[add(1), add(2)]), Ok(Revision(1)));
        assert_eq!(store.apply(&[remove(1)]), Ok(Revision(2)));
        assert_eq!(store.apply(&[]), Ok(Revision(2)));
        assert_eq!(store.apply(&[add(2)]), Err(conflict(2)));
        assert_eq!(store.apply(&[remove(2)]), Ok(Revision(3)));
        assert_eq!(store.load().unwrap().revision, Revision(3));
    });
}

fn a_batch_is_made_whole_or_not_at_all<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        store.apply(&[add(1), add(2)]).unwrap();
        let before = store.load().unwrap();
        // Everything undone must be undone in reverse: key 1 moves before the batch fails.
        let batch = [remove(1), replace(2, 1), add(3), replace(3, 2), add(3)];
        assert_eq!(store.apply(&batch), Err(conflict(3)));
        assert_eq!(store.load().unwrap(), before);
        assert_eq!(
            store.changes_since(Revision(1)),
            Ok(Changes::Since {
                devices: vec![],
                removed: vec![],
                revision: Revision(1)
            })
        );
        assert_eq!(
            store.apply(&batch[..4]),
            Ok(Revision(2)),
            "the failed batch left nothing in its way"
        );
    });
}

fn what_does_not_fit_is_a_conflict<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        store.apply(&[add(1), add(2)]).unwrap();
        let stolen = Change::Add(Arc::new(Device {
            keys: device(1).keys,
            ..device(3)
        }));
        assert_eq!(store.apply(&[add(1)]), Err(conflict(1)));
        assert_eq!(store.apply(&[stolen]), Err(conflict(3)));
        assert_eq!(store.apply(&[replace(2, 1)]), Err(conflict(2)));
        assert_eq!(store.apply(&[replace(4, 4)]), Err(conflict(4)));
        assert_eq!(store.apply(&[remove(4)]), Err(conflict(4)));
        assert_eq!(store.load().unwrap().revision, Revision(1));
    });
}

fn keys_may_move_within_a_batch<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        store.apply(&[add(1), add(2)]).unwrap();
        store
            .apply(&[replace(1, 9), replace(2, 1), replace(1, 2)])
            .unwrap();
        let devices = store.load().unwrap().devices;
        assert_eq!(devices[0].keys, device(2).keys);
        assert_eq!(devices[1].keys, device(1).keys);
    });
}

fn the_feed_tells_what_changed<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        store.apply(&[add(1), add(2), add(3)]).unwrap();
        store.apply(&[replace(2, 4)]).unwrap();
        store.apply(&[replace(2, 5), remove(1)]).unwrap();
        store.apply(&[add(6), remove(6)]).unwrap();
        let mut since = |revision| match store.changes_since(Revision(revision)).unwrap() {
            Changes::Since {
                devices,
                removed,
                revision: Revision(4),
            } => (
                devices
                    .iter()
                    .map(|d| (d.id.to_string(), d.keys[0].public))
                    .collect::<Vec<_>>(),
                removed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ),
            other => panic!("{other:?}"),
        };
        let two = ("dev-2".to_owned(), public_key(5));
        let three = ("dev-3".to_owned(), public_key(3));
        assert_eq!(
            since(0),
            (
                vec![two.clone(), three],
                vec!["dev-1".into(), "dev-6".into()]
            )
        );
        assert_eq!(since(2), (vec![two], vec!["dev-1".into(), "dev-6".into()]));
        assert_eq!(since(3), (vec![], vec!["dev-6".into()]));
        assert_eq!(since(4), (vec![], vec![]));
    });
}

fn a_reader_ahead_of_the_store_reloads<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        store.apply(&[add(1)]).unwrap();
        assert_eq!(store.changes_since(Revision(2)), Ok(Changes::Reload));
        assert_eq!(store.changes_since(Revision(u64::MAX)), Ok(Changes::Reload));
    });
}

/// `count` changes of device 1 and 2 in batches that each put both.
fn touch(store: &mut dyn Store, batches: usize, width: usize) {
    let batch: Vec<Change> = (1..=width as u64).map(|n| replace(n, n)).collect();
    for _ in 0..batches {
        store.apply(&batch).unwrap();
    }
}

fn is_followed(store: &mut dyn Store, revision: u64) -> bool {
    matches!(
        store.changes_since(Revision(revision)),
        Ok(Changes::Since { .. })
    )
}

fn the_feed_is_bounded<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        let store = &mut *store;
        let width = FEED_IDS_MAX / 20;
        let all: Vec<Change> = (1..=width as u64).map(add).collect();
        store.apply(&all).unwrap();
        touch(store, 19, width);
        assert!(is_followed(store, 0), "full to the last id");
        // One batch more: only the newest half is kept.
        touch(store, 1, width);
        let oldest = (0..=21).find(|r| is_followed(store, *r));
        assert_eq!(oldest, Some(11));
        touch(store, 10, width);
        assert!(is_followed(store, 11), "full again");
        touch(store, 1, width);
        assert!(!is_followed(store, 11));
        assert!(is_followed(store, 32));
    });
}

fn a_batch_too_large_to_remember_makes_readers_reload<K: Kind>() {
    with::<K>(|open| {
        let mut store = open();
        store.apply(&[add(1)]).unwrap();
        let many: Vec<Change> = (2..FEED_IDS_MAX as u64 / 2 + 3).map(add).collect();
        assert_eq!(store.apply(&many), Ok(Revision(2)));
        assert_eq!(store.changes_since(Revision(1)), Ok(Changes::Reload));
        assert!(is_followed(&mut *store, 2));
        store.apply(&[remove(1)]).unwrap();
        assert!(is_followed(&mut *store, 2));
    });
}

fn what_was_applied_survives_a_restart<K: Kind>() {
    if !K::SURVIVES {
        return;
    }
    with::<K>(|open| {
        let mut store = open();
        store.apply(&[add(1), add(2)]).unwrap();
        store.apply(&[replace(1, 3)]).unwrap();
        store.apply(&[remove(2)]).unwrap();
        let before = (store.load(), store.changes_since(Revision(1)));
        drop(store);
        let mut store = open();
        assert_eq!((store.load(), store.changes_since(Revision(1))), before);
        assert_eq!(store.apply(&[add(2)]), Ok(Revision(4)));
    });
}
