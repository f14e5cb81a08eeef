//! The one writer: what it changes, in which order, and what it refuses.
use super::*;
use crate::identity::sample::{new_device, public_key};
use crate::identity::store::{Changes, MemoryStore, Snapshot};
use crate::rng::SeededRandom;

fn registry() -> Registry {
    Registry::new(MemoryStore::new(), &mut SeededRandom::new(1)).unwrap()
}

/// The ids and the revision of a change.
type Heard = (Vec<String>, u64);

/// Notes every change it is told of.
fn listen(registry: &Registry) -> Arc<Mutex<Vec<Heard>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&heard);
    registry.on_change(Box::new(move |change| {
        let ids = change.ids.iter().map(ToString::to_string).collect();
        notes.lock().unwrap().push((ids, change.revision.0));
    }));
    heard
}

#[test]
fn an_enrolled_device_is_found_by_id_and_key() {
    let registry = registry();
    let added = registry.add(&new_device(1)).unwrap();
    assert_eq!(added.revision, Revision(1));
    let directory = registry.directory();
    assert_eq!(directory.device("dev-1"), Some(Arc::clone(&added.device)));
    assert_eq!(
        directory.by_key(public_key(1).key_id()),
        Some(Arc::clone(&added.device))
    );
    assert_eq!(directory.revision(), Revision(1));
}

#[test]
fn an_id_or_key_in_use_is_refused_even_if_its_device_is_revoked() {
    let registry = registry();
    registry.add(&new_device(1)).unwrap();
    registry.transition("dev-1", Transition::Revoke).unwrap();
    let id: Arc<str> = "dev-1".into();
    assert_eq!(
        registry.add(&NewDevice::new("dev-1", public_key(2))),
        Err(IdentityError::IdExists {
            id: id.clone(),
            state: DeviceState::Revoked
        })
    );
    assert_eq!(
        registry.add(&NewDevice::new("dev-2", public_key(1))),
        Err(IdentityError::KeyEnrolledElsewhere {
            key_id: public_key(1).key_id(),
            by: id
        })
    );
    assert_eq!(registry.directory().revision(), Revision(2));
}

#[test]
fn a_removed_device_frees_its_id_and_keys() {
    let registry = registry();
    registry.add(&new_device(1)).unwrap();
    assert_eq!(
        registry.remove("dev-1"),
        Err(IdentityError::NotRevoked {
            id: "dev-1".into(),
            state: DeviceState::Active
        })
    );
    registry.transition("dev-1", Transition::Revoke).unwrap();
    assert_eq!(registry.remove("dev-1"), Ok(Revision(3)));
    assert_eq!(
        registry.remove("dev-1"),
        Err(IdentityError::UnknownDevice { id: "dev-1".into() })
    );
    assert_eq!(registry.add(&new_device(1)).unwrap().revision, Revision(4));
}

#[test]
fn a_repeated_transition_changes_nothing_and_says_so() {
    let registry = registry();
    let heard = listen(&registry);
    registry.add(&new_device(1)).unwrap();
    for (transition, from, to) in [
        (
            Transition::Suspend,
            DeviceState::Active,
            DeviceState::Suspended,
        ),
        (
            Transition::Resume,
            DeviceState::Suspended,
            DeviceState::Active,
        ),
        (
            Transition::Revoke,
            DeviceState::Active,
            DeviceState::Revoked,
        ),
    ] {
        let first = registry.transition("dev-1", transition).unwrap();
        assert_eq!(
            (first.from, first.device.state, first.changed),
            (from, to, true)
        );
        let again = registry.transition("dev-1", transition).unwrap();
        assert_eq!(
            (again.from, again.device.state, again.changed),
            (to, to, false)
        );
        assert_eq!(again.revision, first.revision);
    }
    let revisions: Vec<u64> = heard.lock().unwrap().iter().map(|(_, r)| *r).collect();
    assert_eq!(revisions, [1, 2, 3, 4]);
}

#[test]
fn a_transition_that_leads_nowhere_is_refused() {
    let registry = registry();
    let mut pending = new_device(1);
    pending.state = DeviceState::Pending;
    registry.add(&pending).unwrap();
    assert_eq!(
        registry.transition("dev-1", Transition::Resume),
        Err(IdentityError::InvalidTransition {
            id: "dev-1".into(),
            from: DeviceState::Pending,
            transition: Transition::Resume
        })
    );
    assert_eq!(
        registry.transition("dev-2", Transition::Revoke),
        Err(IdentityError::UnknownDevice { id: "dev-2".into() })
    );
    assert_eq!(registry.directory().revision(), Revision(1));
}

#[test]
fn a_listener_hears_what_readers_can_already_see() {
    let registry = registry();
    let directory = registry.directory();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    registry.on_change(Box::new(move |change| {
        assert_eq!(directory.revision(), change.revision);
        let state = directory.device(&change.ids[0]).map(|d| d.state);
        notes.lock().unwrap().push(state);
    }));
    registry.add(&new_device(1)).unwrap();
    registry.transition("dev-1", Transition::Revoke).unwrap();
    registry.remove("dev-1").unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [Some(DeviceState::Active), Some(DeviceState::Revoked), None]
    );
}

#[test]
fn an_import_is_one_change() {
    let registry = registry();
    let heard = listen(&registry);
    let lines: String = (1..=3)
        .map(|n| {
            let key = crate::identity::sample::hex(&public_key(n));
            format!("{{\"id\":\"dev-{n}\",\"public_key\":\"{key}\"}}\n")
        })
        .collect();
    registry.import(&mut lines.as_bytes(), &mut |_| {}).unwrap();
    let ids = ["dev-1", "dev-2", "dev-3"].map(String::from).to_vec();
    assert_eq!(*heard.lock().unwrap(), [(ids, 1)]);
}

/// Fails the first write in the way it is told.
struct Failing(StoreError, MemoryStore);

impl Store for Failing {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        self.1.load()
    }

    fn apply(&mut self, batch: &[Change]) -> Result<Revision, StoreError> {
        match &self.0 {
            StoreError::Halted => self.1.apply(batch),
            _ => Err(std::mem::replace(&mut self.0, StoreError::Halted)),
        }
    }

    fn changes_since(&mut self, revision: Revision) -> Result<Changes, StoreError> {
        self.1.changes_since(revision)
    }
}

fn failing(error: StoreError) -> Registry {
    Registry::new(
        Failing(error, MemoryStore::new()),
        &mut SeededRandom::new(1),
    )
    .unwrap()
}

#[test]
fn what_the_store_refuses_nobody_sees() {
    let registry = failing(StoreError::DiskFull);
    let heard = listen(&registry);
    assert_eq!(
        registry.add(&new_device(1)),
        Err(StoreError::DiskFull.into())
    );
    assert!(registry.directory().is_empty());
    assert_eq!(registry.directory().revision(), Revision(0));
    assert!(heard.lock().unwrap().is_empty());
    registry.add(&new_device(1)).unwrap();
}

#[test]
fn after_an_uncertain_write_nothing_more_is_written() {
    let uncertain = StoreError::Uncertain {
        detail: "disk I/O error".into(),
    };
    let registry = failing(uncertain.clone());
    assert_eq!(registry.add(&new_device(1)), Err(uncertain.into()));
    assert_eq!(registry.add(&new_device(1)), Err(StoreError::Halted.into()));
    assert_eq!(registry.add(&new_device(2)), Err(StoreError::Halted.into()));
    assert!(registry.directory().is_empty());
}
