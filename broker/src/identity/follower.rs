//! Reading along: a picture of a store that another process writes.
use super::device::Device;
use super::directory::Directory;
use super::limits::PAGE_MAX;
use super::store::{Changes, Revision, Store, StoreError};
use crate::rng::Random;
use std::collections::HashSet;
use std::sync::Arc;

/// Keeps a [`Directory`] in step with a store that somebody else changes. It never writes.
///
/// Call [`refresh`](Self::refresh) as often as changes shall be seen; it reads only what changed. A refresh that fails
/// leaves the directory as it was: how long that may go on is for the caller to say.
///
/// ```
/// use keygate_broker::identity::{Follower, NewDevice, Registry, SqliteStore, parse_public_key};
/// use keygate_broker::rng::SystemRandom;
///
/// let place = tempfile::tempdir()?;
/// let path = place.path().join("identity.db");
/// let registry = Registry::new(SqliteStore::open(&path)?, &mut SystemRandom)?;
///
/// let mut follower = Follower::new(SqliteStore::open_read_only(&path)?, &mut SystemRandom)?;
/// let directory = follower.directory();
///
/// let key = parse_public_key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")?;
/// registry.add(&NewDevice::new("dev-1", key))?;
/// assert!(directory.device("dev-1").is_none());
/// follower.refresh()?;
/// assert!(directory.device("dev-1").is_some_and(|device| device.is_active()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower {
    store: Box<dyn Store>,
    directory: Arc<Directory>,
}

impl Follower {
    /// Loads the whole store.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn new(store: impl Store + 'static, random: &mut dyn Random) -> Result<Self, StoreError> {
        let mut follower = Self {
            store: Box::new(store),
            directory: Arc::new(Directory::new(random)),
        };
        follower.reload()?;
        Ok(follower)
    }

    /// What everybody else reads.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Takes over what has changed since the last time.
    ///
    /// # Errors
    /// As [`Store::load`]; the directory is then as it was.
    pub fn refresh(&mut self) -> Result<Revision, StoreError> {
        match self.store.changes_since(self.directory.revision())? {
            Changes::Since {
                devices,
                removed,
                revision,
            } => self.take_over(devices, &removed, revision),
            Changes::Reload => self.reload()?,
        }
        Ok(self.directory.revision())
    }

    fn reload(&mut self) -> Result<(), StoreError> {
        let snapshot = self.store.load()?;
        let there: HashSet<Arc<str>> = snapshot.devices.iter().map(|d| Arc::clone(&d.id)).collect();
        let mut gone = Vec::new();
        let mut after: Option<Arc<str>> = None;
        loop {
            let page = self.directory.page(after.as_deref(), PAGE_MAX);
            let Some(last) = page.last() else { break };
            after = Some(Arc::clone(&last.id));
            let ids = page.iter().map(|device| Arc::clone(&device.id));
            gone.extend(ids.filter(|id| !there.contains(id)));
        }
        self.take_over(snapshot.devices, &gone, snapshot.revision);
        Ok(())
    }

    /// The revision comes last: a record that is read under it is at least as new.
    fn take_over(&self, devices: Vec<Device>, removed: &[Arc<str>], revision: Revision) {
        for id in removed {
            self.directory.remove(id);
        }
        for device in devices {
            self.directory.put(Arc::new(device));
        }
        self.directory.advance(revision);
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("devices", &self.directory.len())
            .field("revision", &self.directory.revision())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::device::{DeviceState, Transition};
    use super::super::limits::FEED_IDS_MAX;
    use super::super::registry::Registry;
    use super::super::sample::{device, new_device, public_key};
    use super::super::store::{Change, SqliteStore, Store as _};
    use super::*;
    use crate::rng::SeededRandom;
    use std::path::Path;

    fn registry(path: &Path) -> Registry {
        let store = SqliteStore::open(path).unwrap();
        Registry::new(store, &mut SeededRandom::new(1)).unwrap()
    }

    fn follower(path: &Path) -> Follower {
        let store = SqliteStore::open_read_only(path).unwrap();
        Follower::new(store, &mut SeededRandom::new(2)).unwrap()
    }

    #[test]
    fn changes_of_the_writer_show_after_a_refresh() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("identity.db");
        let registry = registry(&path);
        registry.add(&new_device(1)).unwrap();
        let mut follower = follower(&path);
        let seen = follower.directory();
        assert_eq!(seen.len(), 1);

        registry.add(&new_device(2)).unwrap();
        registry.transition("dev-1", Transition::Revoke).unwrap();
        assert_eq!(seen.len(), 1);
        let revision = follower.refresh().unwrap();
        assert_eq!(revision, registry.directory().revision());
        assert_eq!(seen.revision(), revision);
        assert!(seen.device("dev-2").is_some_and(|d| d.is_active()));
        let first = seen.device("dev-1").unwrap();
        assert_eq!(first.state, DeviceState::Revoked);

        registry.remove("dev-1").unwrap();
        follower.refresh().unwrap();
        assert_eq!(seen.device("dev-1"), None);
        assert_eq!(seen.by_key(public_key(1).key_id()), None);
    }

    #[test]
    fn a_key_that_moved_is_found_at_its_new_owner() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("identity.db");
        let mut store = SqliteStore::open(&path).unwrap();
        let [first, second] = [Arc::new(device(1)), Arc::new(device(2))];
        let adds = [Change::Add(first), Change::Add(Arc::clone(&second))];
        store.apply(&adds).unwrap();
        let mut follower = follower(&path);

        // dev-1 gets the key of dev-2, which gets another one; the feed names dev-1 first.
        let mut yielding = device(2);
        yielding.keys = device(3).keys;
        let mut taking = device(1);
        taking.keys = device(2).keys;
        let swap = [
            Change::Replace(Arc::new(yielding)),
            Change::Replace(Arc::new(taking)),
        ];
        store.apply(&swap).unwrap();
        follower.refresh().unwrap();
        let owner = |n| {
            let owner = follower.directory().by_key(public_key(n).key_id());
            owner.map(|device| device.id.to_string())
        };
        assert_eq!(owner(1), None);
        assert_eq!(owner(2).as_deref(), Some("dev-1"));
        assert_eq!(owner(3).as_deref(), Some("dev-2"));
    }

    #[test]
    fn a_reader_that_is_too_far_behind_loads_anew_and_forgets_who_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("identity.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store.apply(&[Change::Add(Arc::new(device(1)))]).unwrap();
        let mut follower = follower(&path);
        store.apply(&[Change::Remove("dev-1".into())]).unwrap();
        let many = 2..FEED_IDS_MAX as u64 + 3;
        let batch: Vec<Change> = many.map(|n| Change::Add(Arc::new(device(n)))).collect();
        store.apply(&batch).unwrap();
        let known = follower.directory().revision();
        assert_eq!(store.changes_since(known), Ok(Changes::Reload));

        follower.refresh().unwrap();
        assert_eq!(follower.directory().len(), batch.len());
        assert_eq!(follower.directory().device("dev-1"), None);
    }

    #[test]
    fn a_read_only_store_writes_nothing_and_migrates_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("identity.db");
        let missing = SqliteStore::open_read_only(&path).unwrap_err();
        assert!(matches!(missing, StoreError::Io { .. }), "{missing}");
        assert!(!path.exists());

        // Nobody else has it open: the write-ahead log has to be made anew to be read.
        drop(SqliteStore::open(&path).unwrap());
        let mut store = SqliteStore::open_read_only(&path).unwrap();
        let refused = store.apply(&[Change::Add(Arc::new(device(1)))]);
        assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
        assert_eq!(store.load().unwrap().devices, []);

        let empty = place.path().join("empty.db");
        std::fs::write(&empty, "").unwrap();
        let foreign = SqliteStore::open_read_only(&empty).unwrap_err();
        assert_eq!(foreign, StoreError::NotOurs { path: empty });
    }
}
