//! The whole store in memory, for everybody who only looks.
use super::device::Device;
use super::limits::{DIRECTORY_SHARDS, PAGE_MAX};
use super::store::Revision;
use crate::rng::Random;
use keygate_protocol::ident::KeyId;
use siphasher::sip::SipHasher13;
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Every device, by id and by key id.
///
/// A look-up takes one shared lock for as long as a hash look-up takes; a writer holds it exclusively just as briefly,
/// never while it waits for the disk. What comes back is the record as it is at that moment and stays so: to notice
/// later changes, read [`revision`](Self::revision) *before* the look-up and compare. A record read so is at least as
/// new as that revision says.
///
/// ```
/// use keygate_broker::identity::{MemoryStore, NewDevice, Registry, parse_public_key};
/// use keygate_broker::rng::SystemRandom;
///
/// let registry = Registry::new(MemoryStore::new(), &mut SystemRandom)?;
/// let key = parse_public_key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")?;
/// registry.add(&NewDevice::new("dev-1", key))?;
///
/// let directory = registry.directory();
/// assert!(directory.device("dev-1").is_some_and(|device| device.is_active()));
/// assert!(directory.by_key(key.key_id()).is_some());
/// assert!(directory.device("dev-2").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Directory {
    hasher: Seeded,
    by_id: Box<[RwLock<IdTable>]>,
    by_key: Box<[RwLock<KeyTable>]>,
    /// For pages; hash order never leaves this module.
    in_order: RwLock<BTreeSet<ById>>,
    revision: AtomicU64,
}

type IdTable = HashSet<ById, Seeded>;
type KeyTable = HashMap<KeyId, Arc<Device>, Seeded>;

impl Directory {
    /// An empty directory. The seed keeps whoever chooses ids or keys from choosing collisions.
    pub(super) fn new(random: &mut dyn Random) -> Self {
        let hasher = Seeded {
            k0: u64::from_le_bytes(random.array()),
            k1: u64::from_le_bytes(random.array()),
        };
        Self {
            hasher,
            by_id: (0..DIRECTORY_SHARDS)
                .map(|_| RwLock::new(HashSet::with_hasher(hasher)))
                .collect(),
            by_key: (0..DIRECTORY_SHARDS)
                .map(|_| RwLock::new(HashMap::with_hasher(hasher)))
                .collect(),
            in_order: RwLock::default(),
            revision: AtomicU64::new(0),
        }
    }

    /// The device with this id, in whatever state it is.
    #[must_use]
    pub fn device(&self, id: &str) -> Option<Arc<Device>> {
        read(self.id_shard(id)).get(id).map(|by| Arc::clone(&by.0))
    }

    /// The device that this key is enrolled for. Whether the key is valid now, [`Device::key`] tells.
    #[must_use]
    pub fn by_key(&self, key_id: KeyId) -> Option<Arc<Device>> {
        read(self.key_shard(key_id)).get(&key_id).map(Arc::clone)
    }

    /// How many devices there are, revoked ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        read(&self.in_order).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The revision whose changes are all visible here.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }

    /// Up to `limit` devices (and never more than [`PAGE_MAX`]) in the order of their ids, after the id `after`.
    #[must_use]
    pub fn page(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Device>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        read(&self.in_order)
            .range::<str, _>((from, Bound::Unbounded))
            .take(limit.min(PAGE_MAX))
            .map(|by| Arc::clone(&by.0))
            .collect()
    }

    /// Puts a record in place of the one with the same id, if there is one.
    pub(super) fn put(&self, device: Arc<Device>) {
        let old = self.device(&device.id);
        for key in old.iter().flat_map(|old| &old.keys) {
            if device.key(key.key_id).is_none() {
                self.forget_key(key.key_id, &device.id);
            }
        }
        for key in &device.keys {
            write(self.key_shard(key.key_id)).insert(key.key_id, Arc::clone(&device));
        }
        write(self.id_shard(&device.id)).replace(ById(Arc::clone(&device)));
        write(&self.in_order).replace(ById(device));
    }

    /// Forgets a record.
    pub(super) fn remove(&self, id: &str) {
        let old = write(self.id_shard(id)).take(id);
        for key in old.iter().flat_map(|old| &old.0.keys) {
            self.forget_key(key.key_id, id);
        }
        write(&self.in_order).remove(id);
    }

    /// Unless the key is somebody else's by now: a follower takes several changes over at once, in any order.
    fn forget_key(&self, key_id: KeyId, former: &str) {
        let mut keys = write(self.key_shard(key_id));
        if keys.get(&key_id).is_some_and(|owner| *owner.id == *former) {
            keys.remove(&key_id);
        }
    }

    /// Says that everything up to this revision has been put.
    pub(super) fn advance(&self, revision: Revision) {
        self.revision.store(revision.0, Ordering::Release);
    }

    fn id_shard(&self, id: &str) -> &RwLock<IdTable> {
        &self.by_id[shard_of(self.hasher.hash_one(id))]
    }

    fn key_shard(&self, key_id: KeyId) -> &RwLock<KeyTable> {
        &self.by_key[shard_of(self.hasher.hash_one(key_id))]
    }
}

/// The shard of a hash. The tables inside use its lowest bits and its top seven; these are others, so that a shard's
/// table stays evenly filled.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize & (DIRECTORY_SHARDS - 1)
}

/// A record that is found and ordered by its id: the tables need no key of their own.
#[derive(Debug)]
struct ById(Arc<Device>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl PartialOrd for ById {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ById {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

/// SipHash-1-3 under a key that is an argument.
#[derive(Clone, Copy)]
struct Seeded {
    k0: u64,
    k1: u64,
}

impl BuildHasher for Seeded {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.k0, self.k1)
    }
}

impl std::fmt::Debug for Seeded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seeded")
    }
}

/// A panic elsewhere while a lock was held left the table whole: each hold is one insert or remove.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::device::DeviceState;
    use crate::identity::sample::{device, public_key};
    use crate::rng::SeededRandom;

    fn directory() -> Directory {
        Directory::new(&mut SeededRandom::new(1))
    }

    #[test]
    fn a_page_is_in_order_and_ends_at_its_limit() {
        let directory = directory();
        for n in [3, 1, 2, 5, 4] {
            directory.put(Arc::new(device(n)));
        }
        let ids = |page: Vec<Arc<Device>>| -> Vec<String> {
            page.iter().map(|d| d.id.to_string()).collect()
        };
        assert_eq!(ids(directory.page(None, 2)), ["dev-1", "dev-2"]);
        assert_eq!(ids(directory.page(Some("dev-2"), 2)), ["dev-3", "dev-4"]);
        assert_eq!(
            ids(directory.page(Some("dev-2x"), 9)),
            ["dev-3", "dev-4", "dev-5"]
        );
        assert!(directory.page(Some("dev-5"), 9).is_empty());
        assert!(directory.page(None, 0).is_empty());
        assert_eq!(directory.len(), 5);
    }

    #[test]
    fn a_replaced_record_is_found_by_its_new_keys_only() {
        let directory = directory();
        directory.put(Arc::new(device(1)));
        let mut changed = device(1);
        changed.keys = device(2).keys;
        changed.state = DeviceState::Suspended;
        directory.put(Arc::new(changed.clone()));
        assert_eq!(directory.by_key(public_key(1).key_id()), None);
        assert_eq!(
            directory.by_key(public_key(2).key_id()).as_deref(),
            Some(&changed)
        );
        assert_eq!(directory.device("dev-1").as_deref(), Some(&changed));
        assert_eq!(*directory.page(None, 1)[0], changed);
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn a_removed_record_is_found_by_nothing() {
        let directory = directory();
        directory.put(Arc::new(device(1)));
        directory.remove("dev-1");
        directory.remove("dev-2");
        assert_eq!(directory.device("dev-1"), None);
        assert_eq!(directory.by_key(public_key(1).key_id()), None);
        assert!(directory.is_empty());
    }
}
