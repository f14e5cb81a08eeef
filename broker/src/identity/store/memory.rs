//! A store without a disk: for tests and for the harness that runs whole brokers in one thread.
use super::feed::{FEED_IDS_KEPT, Keep};
use super::{Change, Changes, Revision, Snapshot, Store, StoreError};
use crate::identity::device::Device;
use keygate_protocol::ident::KeyId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Keeps records as long as it lives.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// By number of enrolment, which is the order of a snapshot.
    devices: BTreeMap<u64, Arc<Device>>,
    numbers: BTreeMap<Arc<str>, u64>,
    keys: BTreeMap<KeyId, Arc<str>>,
    enrolled: u64,
    revision: Revision,
    feed: VecDeque<(Revision, Arc<str>)>,
    feed_floor: Revision,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn device(&self, id: &str) -> Option<&Arc<Device>> {
        self.devices.get(self.numbers.get(id)?)
    }

    /// Makes one change and returns the one that undoes it.
    fn make(&mut self, change: &Change) -> Result<Undo, StoreError> {
        let conflict = || StoreError::Conflict {
            id: Arc::clone(change.id()),
        };
        let number = self.numbers.get(change.id()).copied();
        let (number, new) = match (change, number) {
            (Change::Add(new), None) => (self.enrolled + 1, Some(new)),
            (Change::Replace(new), Some(number)) => (number, Some(new)),
            (Change::Remove(_), Some(number)) => (number, None),
            (Change::Add(_), Some(_)) | (Change::Replace(_) | Change::Remove(_), None) => {
                return Err(conflict());
            }
        };
        let free = |key_id| self.keys.get(key_id).is_none_or(|by| by == change.id());
        if !new.is_none_or(|new| new.keys.iter().all(|k| free(&k.key_id))) {
            return Err(conflict());
        }
        let old = self.set(number, change.id(), new.map(Arc::clone));
        self.enrolled = self.enrolled.max(number);
        Ok(Undo {
            number,
            id: Arc::clone(change.id()),
            old,
        })
    }

    fn set(&mut self, number: u64, id: &Arc<str>, new: Option<Arc<Device>>) -> Option<Arc<Device>> {
        let old = self.devices.remove(&number);
        for key in old.iter().flat_map(|old| &old.keys) {
            self.keys.remove(&key.key_id);
        }
        self.numbers.remove(id);
        if let Some(new) = new {
            for key in &new.keys {
                self.keys.insert(key.key_id, Arc::clone(id));
            }
            self.numbers.insert(Arc::clone(id), number);
            self.devices.insert(number, new);
        }
        old
    }

    fn remember(&mut self, batch: &[Change]) {
        let ids: BTreeSet<&Arc<str>> = batch.iter().map(Change::id).collect();
        let keep = Keep::decide(self.feed.len(), ids.len());
        if keep == Keep::Nothing {
            self.feed.clear();
            self.feed_floor = self.revision;
            return;
        }
        let revision = self.revision;
        self.feed
            .extend(ids.into_iter().map(|id| (revision, Arc::clone(id))));
        if keep == Keep::Trimmed {
            let newest_dropped = self.feed.len() - 1 - FEED_IDS_KEPT;
            self.feed_floor = self.feed[newest_dropped].0;
            let floor = self.feed_floor;
            self.feed.retain(|(revision, _)| *revision > floor);
        }
    }
}

struct Undo {
    number: u64,
    id: Arc<str>,
    old: Option<Arc<Device>>,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot {
            devices: self.devices.values().map(|d| (**d).clone()).collect(),
            revision: self.revision,
        })
    }

    fn apply(&mut self, batch: &[Change]) -> Result<Revision, StoreError> {
        if batch.is_empty() {
            return Ok(self.revision);
        }
        let mut undo = Vec::with_capacity(batch.len());
        for change in batch {
            match self.make(change) {
                Ok(step) => undo.push(step),
                Err(error) => {
                    for step in undo.into_iter().rev() {
                        self.set(step.number, &step.id, step.old);
                    }
                    return Err(error);
                }
            }
        }
        self.revision.0 += 1;
        self.remember(batch);
        Ok(self.revision)
    }

    fn changes_since(&mut self, revision: Revision) -> Result<Changes, StoreError> {
        if revision < self.feed_floor || revision > self.revision {
            return Ok(Changes::Reload);
        }
        let ids: BTreeSet<&Arc<str>> = self
            .feed
            .iter()
            .filter(|(at, _)| *at > revision)
            .map(|(_, id)| id)
            .collect();
        let mut devices: Vec<(u64, Device)> = Vec::new();
        let mut removed = Vec::new();
        for id in ids {
            match (self.numbers.get(id), self.device(id)) {
                (Some(number), Some(device)) => devices.push((*number, (**device).clone())),
                _ => removed.push(Arc::clone(id)),
            }
        }
        devices.sort_by_key(|(number, _)| *number);
        Ok(Changes::Since {
            devices: devices.into_iter().map(|(_, device)| device).collect(),
            removed,
            revision: self.revision,
        })
    }
}
