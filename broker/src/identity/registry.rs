//! The only writer.
use super::device::{Device, DeviceState, NewDevice, Transition};
use super::directory::Directory;
use super::error::IdentityError;
use super::import::{self, ImportError, ImportProgress, Imported};
use super::names::Names;
use super::store::{Change, Revision, Store, StoreError};
use crate::rng::Random;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Told of every change, in the order of revisions, on the thread that made it and before the call that made it
/// returns. It must be quick and must not change the registry: it passes the ids on (an inbox, a wake) and returns.
pub type Listener = Box<dyn Fn(&IdentityChange) + Send + Sync>;

/// One batch of changes that has become visible.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityChange {
    /// Whose records changed, appeared or went.
    pub ids: Vec<Arc<str>>,
    /// The revision that they led to.
    pub revision: Revision,
}

/// Changes records: checks, stores, and only then shows the change to the readers of the [`Directory`].
///
/// Calls from several threads are served one after the other and block on the disk: shards never call it, they read
/// the directory. An error means that nothing changed, but for one kind: after
/// [`StoreError::is_uncertain`] the registry refuses every further change and the process should end, so that
/// a restart reads what the disk really has.
///
/// ```
/// use keygate_broker::identity::{
///     DeviceState, IdentityError, MemoryStore, NewDevice, Registry, Transition, parse_public_key,
/// };
/// use keygate_broker::rng::SystemRandom;
///
/// let registry = Registry::new(MemoryStore::new(), &mut SystemRandom)?;
/// let key = parse_public_key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")?;
/// registry.add(&NewDevice::new("dev-1", key))?;
///
/// // A key belongs to one device.
/// let again = registry.add(&NewDevice::new("dev-2", key));
/// assert!(matches!(again, Err(IdentityError::KeyEnrolledElsewhere { by, .. }) if &*by == "dev-1"));
///
/// let revoked = registry.transition("dev-1", Transition::Revoke)?;
/// assert!(revoked.changed && revoked.device.state == DeviceState::Revoked);
/// assert!(!registry.transition("dev-1", Transition::Revoke)?.changed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Registry {
    writer: Mutex<Writer>,
    directory: Arc<Directory>,
    listeners: RwLock<Vec<Listener>>,
}

struct Writer {
    store: Box<dyn Store>,
    names: Names,
    halted: bool,
}

/// A device that has been enrolled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Added {
    /// Its record.
    pub device: Arc<Device>,
    /// The revision from which it exists.
    pub revision: Revision,
}

/// What a transition did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transitioned {
    /// The record now.
    pub device: Arc<Device>,
    /// The state before.
    pub from: DeviceState,
    /// Whether anything changed: a repeated command does nothing and is no mistake.
    pub changed: bool,
    /// The revision in which the record reads so.
    pub revision: Revision,
}

impl Registry {
    /// Loads the whole store.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn new(store: impl Store + 'static, random: &mut dyn Random) -> Result<Self, StoreError> {
        let mut store: Box<dyn Store> = Box::new(store);
        let directory = Directory::new(random);
        let mut names = Names::default();
        let snapshot = store.load()?;
        for device in snapshot.devices {
            let lists = [&device.roles, &device.groups, &device.via];
            lists
                .into_iter()
                .flatten()
                .for_each(|name| names.adopt(name));
            directory.put(Arc::new(device));
        }
        directory.advance(snapshot.revision);
        Ok(Self {
            writer: Mutex::new(Writer {
                store,
                names,
                halted: false,
            }),
            directory: Arc::new(directory),
            listeners: RwLock::default(),
        })
    }

    /// What everybody else reads.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        Arc::clone(&self.directory)
    }

    /// Adds a listener, for as long as the registry lives.
    pub fn on_change(&self, listener: Listener) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(listener);
    }

    /// Enrols one device.
    ///
    /// # Errors
    /// [`IdentityError::IdExists`], [`IdentityError::KeyEnrolledElsewhere`], what is not well-formed, or the store's.
    pub fn add(&self, new: &NewDevice) -> Result<Added, IdentityError> {
        let mut writer = self.lock();
        let device = Arc::new(new.check(&mut writer.names)?);
        free_to_enrol(&self.directory, &device)?;
        let revision = self.commit(&mut writer, vec![Change::Add(Arc::clone(&device))])?;
        Ok(Added { device, revision })
    }

    /// Enrols every device of a file in JSON Lines, or none.
    ///
    /// A line is `{"id":…,"public_key":…,"roles":[…],"groups":[…],"attributes":{…},"via":[…]}`; only `id` and
    /// `public_key` must be there, `roles` defaults to `["device"]`, the key may be in any form that
    /// [`parse_public_key`](super::parse_public_key) takes. Blank lines are skipped. The whole file is checked first;
    /// with one bad line nothing is enrolled and the error names all bad lines (the first
    /// [`IMPORT_ERRORS_MAX`](super::IMPORT_ERRORS_MAX) of them). A line that says exactly what is enrolled already is
    /// counted as unchanged, so a file can be imported again after lines were added to it.
    ///
    /// Other changes wait while the file is written, which takes about a second for 100,000 devices.
    ///
    /// # Errors
    /// [`ImportError`]; in every case nothing has changed.
    pub fn import(
        &self,
        lines: &mut dyn BufRead,
        progress: &mut dyn FnMut(ImportProgress),
    ) -> Result<Imported, ImportError> {
        let file = import::read(lines, progress)?;
        let mut writer = self.lock();
        let checked = file.check(&mut writer.names, &self.directory)?;
        progress(checked.progress());
        let imported = checked.imported();
        let changes = checked.into_changes();
        let revision = match changes.is_empty() {
            true => self.directory.revision(),
            false => self
                .commit(&mut writer, changes)
                .map_err(ImportError::Store)?,
        };
        Ok(Imported {
            revision,
            ..imported
        })
    }

    /// Approves, suspends, resumes or revokes a device. Saying it twice is no mistake.
    ///
    /// Revocation is final. The record stays, so that neither the id nor the key can be enrolled again by accident;
    /// [`remove`](Self::remove) forgets it on purpose.
    ///
    /// # Errors
    /// [`IdentityError::UnknownDevice`], [`IdentityError::InvalidTransition`], or the store's.
    pub fn transition(
        &self,
        id: &str,
        transition: Transition,
    ) -> Result<Transitioned, IdentityError> {
        let mut writer = self.lock();
        let device = self.known(id)?;
        let from = device.state;
        let Some(to) = from.after(transition) else {
            return Err(IdentityError::InvalidTransition {
                id: Arc::clone(&device.id),
                from,
                transition,
            });
        };
        if to == from {
            return Ok(Transitioned {
                device,
                from,
                changed: false,
                revision: self.directory.revision(),
            });
        }
        let device = Arc::new(Device {
            state: to,
            ..(*device).clone()
        });
        let revision = self.commit(&mut writer, vec![Change::Replace(Arc::clone(&device))])?;
        Ok(Transitioned {
            device,
            from,
            changed: true,
            revision,
        })
    }

    /// Forgets a revoked device: from now on its id and its keys are free again.
    ///
    /// # Errors
    /// [`IdentityError::UnknownDevice`], [`IdentityError::NotRevoked`], or the store's.
    pub fn remove(&self, id: &str) -> Result<Revision, IdentityError> {
        let mut writer = self.lock();
        let device = self.known(id)?;
        if device.state != DeviceState::Revoked {
            return Err(IdentityError::NotRevoked {
                id: Arc::clone(&device.id),
                state: device.state,
            });
        }
        self.commit(&mut writer, vec![Change::Remove(Arc::clone(&device.id))])
            .map_err(IdentityError::Store)
    }

    fn known(&self, id: &str) -> Result<Arc<Device>, IdentityError> {
        self.directory
            .device(id)
            .ok_or_else(|| IdentityError::UnknownDevice { id: id.into() })
    }

    /// Store first, then memory, then revision, then listeners; the lock is held throughout, so that all of them see
    /// changes in one order.
    fn commit(&self, writer: &mut Writer, batch: Vec<Change>) -> Result<Revision, StoreError> {
        if writer.halted {
            return Err(StoreError::Halted);
        }
        let revision = writer.store.apply(&batch).inspect_err(|error| {
            writer.halted = error.is_uncertain();
        })?;
        let ids = batch.iter().map(|change| Arc::clone(change.id())).collect();
        for change in batch {
            match change {
                Change::Add(device) | Change::Replace(device) => self.directory.put(device),
                Change::Remove(id) => self.directory.remove(&id),
            }
        }
        self.directory.advance(revision);
        let change = IdentityChange { ids, revision };
        for listener in self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            listener(&change);
        }
        Ok(revision)
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock came from a listener: store and memory agree by then.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("devices", &self.directory.len())
            .field("revision", &self.directory.revision())
            .finish_non_exhaustive()
    }
}

/// Whether nobody has the device's id or one of its keys.
pub(super) fn free_to_enrol(directory: &Directory, device: &Device) -> Result<(), IdentityError> {
    if let Some(taken) = directory.device(&device.id) {
        return Err(IdentityError::IdExists {
            id: Arc::clone(&taken.id),
            state: taken.state,
        });
    }
    for key in &device.keys {
        if let Some(owner) = directory.by_key(key.key_id) {
            return Err(IdentityError::KeyEnrolledElsewhere {
                key_id: key.key_id,
                by: Arc::clone(&owner.id),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
