//! Random operations against a simple model, with restarts and crashes between them; and what a large fleet costs.
use super::sample::{self, hex, new_device, public_key};
use super::store::Store as _;
use super::*;
use crate::disk::Reserve;
use crate::rng::SeededRandom;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug)]
enum Op {
    Add { id: u64, key: u64 },
    Transition { id: u64, transition: Transition },
    Remove { id: u64 },
    Import { devices: Vec<(u64, u64)> },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let id = 0..8_u64;
    let key = 0..10_u64;
    prop_oneof![
        4 => (id.clone(), key.clone()).prop_map(|(id, key)| Op::Add { id, key }),
        6 => (id.clone(), prop::sample::select(&Transition::ALL[..]))
            .prop_map(|(id, transition)| Op::Transition { id, transition }),
        2 => id.clone().prop_map(|id| Op::Remove { id }),
        2 => prop::collection::vec((id, key), 0..4).prop_map(|devices| Op::Import { devices }),
        1 => Just(Op::Restart),
    ]
}

/// What a registry should hold: by id, the state and the number of the key.
#[derive(Clone, Default)]
struct Model {
    devices: BTreeMap<u64, (DeviceState, u64)>,
    revision: u64,
}

impl Model {
    fn can_add(&self, id: u64, key: u64) -> bool {
        !self.devices.contains_key(&id) && self.devices.values().all(|(_, k)| *k != key)
    }

    fn add(&mut self, id: u64, key: u64) -> bool {
        let free = self.can_add(id, key);
        if free {
            self.devices.insert(id, (DeviceState::Active, key));
            self.revision += 1;
        }
        free
    }

    fn transition(&mut self, id: u64, transition: Transition) -> bool {
        let Some((state, _)) = self.devices.get_mut(&id) else {
            return false;
        };
        let Some(to) = state.after(transition) else {
            return false;
        };
        if to != *state {
            *state = to;
            self.revision += 1;
        }
        true
    }

    fn remove(&mut self, id: u64) -> bool {
        let revoked = matches!(self.devices.get(&id), Some((DeviceState::Revoked, _)));
        if revoked {
            self.devices.remove(&id);
            self.revision += 1;
        }
        revoked
    }

    fn import(&mut self, devices: &[(u64, u64)]) -> bool {
        let mut after = self.clone();
        for (i, (id, key)) in devices.iter().enumerate() {
            let repeats = devices[..i].iter().any(|(i, k)| i == id || k == key);
            let unchanged = self
                .devices
                .get(id)
                .is_some_and(|(state, k)| k == key && *state != DeviceState::Revoked);
            if repeats || !unchanged && !after.add(*id, *key) {
                return false;
            }
        }
        // However many devices, one revision.
        after.revision = self.revision + u64::from(after.revision > self.revision);
        *self = after;
        true
    }
}

fn open(directory: &Path) -> Registry {
    let store = SqliteStore::open(&directory.join("identity.db")).unwrap();
    Registry::new(store, &mut SeededRandom::new(1)).unwrap()
}

fn import_lines(devices: &[(u64, u64)]) -> String {
    devices
        .iter()
        .map(|(id, key)| {
            let key = hex(&public_key(*key));
            format!("{{\"id\":\"dev-{id}\",\"public_key\":\"{key}\"}}\n")
        })
        .collect()
}

fn invariant_directory_is_the_model(directory: &Directory, model: &Model) {
    assert_eq!(directory.revision(), Revision(model.revision));
    assert_eq!(directory.len(), model.devices.len());
    let page = directory.page(None, PAGE_MAX);
    let expected: Vec<String> = model.devices.keys().map(|id| format!("dev-{id}")).collect();
    assert_eq!(page.iter().map(|d| &*d.id).collect::<Vec<_>>(), expected);
    for (device, (state, key)) in page.iter().zip(model.devices.values()) {
        assert_eq!(device.state, *state);
        assert_eq!(device.keys[0].public, public_key(*key));
        assert_eq!(directory.device(&device.id).as_ref(), Some(device));
    }
    for key in 0..10 {
        let owner = model.devices.iter().find(|(_, (_, k))| *k == key);
        assert_eq!(
            directory
                .by_key(public_key(key).key_id())
                .map(|d| d.id.to_string()),
            owner.map(|(id, _)| format!("dev-{id}"))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_registry_does_what_the_model_does_and_survives_restarts(
        ops in prop::collection::vec(op(), 1..40)
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = open(directory.path());
        let mut model = Model::default();
        for op in ops {
            let (done, expected) = match &op {
                Op::Add { id, key } => {
                    let new = NewDevice::new(format!("dev-{id}"), public_key(*key));
                    (registry.add(&new).is_ok(), model.add(*id, *key))
                }
                Op::Transition { id, transition } => (
                    registry.transition(&format!("dev-{id}"), *transition).is_ok(),
                    model.transition(*id, *transition),
                ),
                Op::Remove { id } => (
                    registry.remove(&format!("dev-{id}")).is_ok(),
                    model.remove(*id),
                ),
                Op::Import { devices } => (
                    registry
                        .import(&mut import_lines(devices).as_bytes(), &mut |_| {})
                        .is_ok(),
                    model.import(devices),
                ),
                Op::Restart => {
                    drop(registry);
                    registry = open(directory.path());
                    (true, true)
                }
            };
            prop_assert_eq!(done, expected, "{:?}", op);
            invariant_directory_is_the_model(&registry.directory(), &model);
        }
    }
}

/// The machine dies while the write-ahead log is being written: whatever part of it reached the disk, the database
/// holds whole batches, and all batches of the part that did.
#[test]
fn a_log_cut_anywhere_leaves_whole_batches() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let mut history = vec![store.load().unwrap()];
    let mut log_len = vec![0];
    let log = directory.path().join("identity.db-wal");
    for n in 0..12 {
        let new = |n| Change::Add(Arc::new(sample::device(n)));
        let batch = match n {
            5 => vec![
                Change::Remove("dev-0".into()),
                Change::Remove("dev-2".into()),
            ],
            _ => vec![new(2 * n), new(2 * n + 1)],
        };
        store.apply(&batch).unwrap();
        history.push(store.load().unwrap());
        log_len.push(fs::metadata(&log).unwrap().len());
    }
    let whole = fs::read(&log).unwrap();
    let mut random = SeededRandom::new(7);
    let cuts = log_len
        .iter()
        .flat_map(|len| [len.saturating_sub(1), *len, len + 1])
        .chain((0..40).map(|_| random.below(whole.len() as u64)));
    for cut in cuts.filter(|cut| *cut <= whole.len() as u64) {
        let crashed = tempfile::tempdir().unwrap();
        let copy = crashed.path().join("identity.db");
        fs::copy(&path, &copy).unwrap();
        let kept = &whole[..usize::try_from(cut).unwrap()];
        fs::write(crashed.path().join("identity.db-wal"), kept).unwrap();
        let found = match SqliteStore::open(&copy) {
            Ok(mut store) => store.load().unwrap(),
            Err(error) => panic!("cut at {cut}: {error}"),
        };
        // A length that did not grow belongs to the batch that grew it: lengths only mark what was written by then.
        let whole_batches = log_len.iter().rposition(|len| *len <= cut).unwrap() as u64;
        assert_eq!(found.revision, Revision(whole_batches), "cut at {cut}");
        let then = usize::try_from(found.revision.0).unwrap();
        assert_eq!(found, history[then], "cut at {cut}");
    }
}

#[test]
fn somebody_else_holding_the_database_is_a_resource_error_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.wait_for_others(std::time::Duration::ZERO).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let add = [Change::Add(Arc::new(sample::device(1)))];
    assert_eq!(store.apply(&add), Err(StoreError::Busy));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.apply(&add), Ok(Revision(1)));
}

#[test]
fn a_full_disk_is_a_resource_error_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&directory.path().join("identity.db")).unwrap();
    store
        .apply(&[Change::Add(Arc::new(sample::device(0)))])
        .unwrap();
    store.allow_no_growth().unwrap();
    let before = store.load().unwrap();
    let many: Vec<Change> = (1..2_000)
        .map(|n| Change::Add(Arc::new(sample::device(n))))
        .collect();
    assert_eq!(store.apply(&many), Err(StoreError::DiskFull));
    assert_eq!(store.load().unwrap(), before);
    assert_eq!(
        store.apply(&[Change::Remove("dev-0".into())]),
        Ok(Revision(2))
    );
}

#[test]
fn on_a_full_disk_the_reserve_lets_devices_be_revoked_and_none_enrolled() {
    let directory = tempfile::tempdir().unwrap();
    let space = directory.path().join("identity.reserve");
    let mut store = SqliteStore::open(&directory.path().join("identity.db"))
        .unwrap()
        .with_reserve(Reserve::new(space.clone(), 1 << 20));
    let devices = |numbers: std::ops::Range<u64>| numbers.map(|n| Arc::new(sample::device(n)));
    let many: Vec<Change> = devices(0..300).map(Change::Add).collect();
    store.apply(&many).unwrap();
    store.allow_no_growth().unwrap();
    let add: Vec<Change> = devices(300..2_000).map(Change::Add).collect();
    // Enrolment never takes what is kept for revocation.
    assert_eq!(store.apply(&add), Err(StoreError::DiskFull));
    assert_eq!(fs::metadata(&space).unwrap().len(), 1 << 20);
    let revoke: Vec<Change> = devices(0..300)
        .map(|device| {
            let attributes = [("note".into(), "x".repeat(500).into())].into();
            let mut device = (*device).clone();
            (device.state, device.attributes) = (DeviceState::Revoked, attributes);
            Change::Replace(Arc::new(device))
        })
        .collect();
    assert_eq!(store.apply(&revoke), Ok(Revision(2)));
    assert_eq!(fs::metadata(&space).unwrap().len(), 0);
    // While the space is gone, in place of a disk that stays full.
    fs::remove_file(&space).unwrap();
    fs::create_dir(&space).unwrap();
    assert_eq!(store.apply(&add), Err(StoreError::DiskFull));
    let remove = [Change::Remove("dev-0".into())];
    assert_eq!(store.apply(&remove), Ok(Revision(3)));
    fs::remove_dir(&space).unwrap();
    assert_eq!(store.apply(&add), Ok(Revision(4)));
    assert_eq!(fs::metadata(&space).unwrap().len(), 1 << 20);
}

#[test]
fn files_that_are_no_identity_database_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.db");
    fs::write(&path, "hello, I am a text file and not a database at all").unwrap();
    assert_eq!(
        SqliteStore::open(&path).unwrap_err(),
        StoreError::NotOurs { path: path.clone() }
    );
    let nowhere = directory.path().join("nowhere").join("identity.db");
    assert!(matches!(
        SqliteStore::open(&nowhere),
        Err(StoreError::Io { .. })
    ));
    fs::remove_file(&path).unwrap();
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        SqliteStore::open(&path),
        Err(StoreError::NewerSchema { found: 99, .. })
    ));
}

#[test]
fn a_record_that_was_tampered_with_is_reported_not_used() {
    let cases = [
        ("UPDATE device SET id = 'a/b'", "the id of `a/b`"),
        (
            "UPDATE device SET role_names = 'a  b'",
            "the roles of `dev-1`",
        ),
        (
            "UPDATE device SET attributes = '[]'",
            "the attributes of `dev-1`",
        ),
        ("DELETE FROM device_key", "the missing keys of `dev-1`"),
        (
            "UPDATE device_key SET public_key = zeroblob(32)",
            "the key KEY",
        ),
        (
            "UPDATE device_key SET key_id = zeroblob(8)",
            "the key 0000000000000000",
        ),
    ];
    for (sql, detail) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store
            .apply(&[Change::Add(Arc::new(sample::device(1)))])
            .unwrap();
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch(sql)
            .unwrap();
        let key_id = public_key(1).key_id().to_string();
        assert_eq!(
            store.load(),
            Err(StoreError::Corrupt {
                detail: detail.replace("KEY", &key_id)
            }),
            "{sql}"
        );
    }
}

/// Readers on other threads while a writer works: every record that they see is one that was written whole.
#[test]
fn readers_never_see_half_a_change() {
    let registry = Registry::new(MemoryStore::new(), &mut SeededRandom::new(1)).unwrap();
    registry.add(&new_device(1)).unwrap();
    let directory = registry.directory();
    let done = Arc::new(Mutex::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !*done.lock().unwrap() {
                    let before = directory.revision();
                    let by_id = directory.device("dev-1").unwrap();
                    let by_key = directory.by_key(public_key(1).key_id()).unwrap();
                    assert_eq!(by_id.keys, by_key.keys);
                    // Odd revisions are active, even ones suspended; what is read is never older than `before`.
                    if directory.revision() == before {
                        let active = before.0 % 2 == 1;
                        let later = directory.device("dev-1").unwrap();
                        assert!(
                            by_id.is_active() == active
                                || !Arc::ptr_eq(&by_id, &later)
                                || later.is_active() != active
                        );
                    }
                }
            });
        }
        for _ in 0..2_000 {
            registry.transition("dev-1", Transition::Suspend).unwrap();
            registry.transition("dev-1", Transition::Resume).unwrap();
        }
        *done.lock().unwrap() = true;
    });
}

/// Prints what 100,000 devices cost, in time of this thread on a core: others may be using the machine.
/// `cargo test -p keygate-broker --lib fleet -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn a_large_fleet_is_imported_and_loaded() {
    const DEVICES: u64 = 100_000;
    let on_core_ns = || -> u64 {
        let times = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let first = times.split_ascii_whitespace().next().unwrap();
        first.parse().unwrap()
    };
    let mut last = on_core_ns();
    let mut lap = |what: &str, per: u64, unit: &str| {
        let now = on_core_ns();
        println!("{what}: {} {unit}", (now - last) / per);
        last = on_core_ns();
    };
    let lines: String = (0..DEVICES)
        .map(|n| {
            let key = hex(&public_key(n));
            let group = n % 100;
            format!(
                r#"{{"id":"dev-{n:06}","public_key":"{key}","roles":["device"],"groups":["g{group}"],"attributes":{{}}}}"#
            ) + "\n"
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let registry = open(directory.path());
    lap("made", 1_000_000, "ms");
    let imported = registry.import(&mut lines.as_bytes(), &mut |progress| {
        if progress.stage == ImportStage::Storing {
            lap("read and checked", 1_000_000, "ms");
        }
    });
    assert_eq!(imported.unwrap().added, DEVICES);
    lap("stored", 1_000_000, "ms");
    drop(registry);
    drop(lines);
    lap("closed", 1_000_000, "ms");
    let registry = open(directory.path());
    lap("loaded", 1_000_000, "ms");
    let directory = registry.directory();
    for n in 0..DEVICES {
        assert!(directory.device(&format!("dev-{n:06}")).is_some());
    }
    lap("one look-up by id", DEVICES, "ns");
    registry
        .transition("dev-000001", Transition::Revoke)
        .unwrap();
    lap("one revocation", 1_000, "us");
}
