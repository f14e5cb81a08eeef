//! Who exists: devices, their keys, roles and groups, and what state each is in.
//!
//! One writer, many readers. [`Registry`] is the only way to change anything: it checks a change, hands it to the
//! [`Store`], and only when the store has it on disk updates the [`Directory`], takes the next [`Revision`] and tells
//! its listeners. The [`Directory`] is the whole store in memory; shards read it and never wait for SQL.
//!
//! | file | what it holds |
//! |---|---|
//! | [`Device`], [`DeviceState`], [`Transition`] | the record and the life it leads |
//! | [`Directory`] | every record in memory, by id and by key id |
//! | [`Registry`] | add, import, change of state, removal |
//! | [`Follower`] | a picture of a store that another process writes |
//! | [`Store`], [`SqliteStore`], [`MemoryStore`] | where records survive a restart |
//! | [`ImportError`], [`Imported`] | bulk enrolment from JSON Lines: all of the file or nothing |
//! | [`parse_public_key`] | a key as people have it: hex, PEM, OpenSSH, JWK |
//!
//! Nothing here knows a socket, a clock or a request: who asked, and when, is the caller's to audit.

mod device;
mod directory;
mod error;
mod follower;
mod import;
mod import_line;
mod limits;
mod names;
mod public_key;
mod registry;
mod store;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod sample;

pub use device::{Device, DeviceKey, DeviceState, NewDevice, Transition};
pub use directory::Directory;
pub use error::{IdentityError, NameKind};
pub use follower::Follower;
pub use import::{ImportError, ImportProgress, ImportStage, Imported, LineError, LineProblem};
pub use limits::{
    ATTRIBUTE_VALUE_LEN_MAX, ATTRIBUTES_MAX, FEED_IDS_MAX, GROUPS_MAX, IMPORT_DEVICES_MAX,
    IMPORT_ERRORS_MAX, IMPORT_LINE_LEN_MAX, KEYS_MAX, PAGE_MAX, ROLES_MAX, VIA_MAX,
};
pub(crate) use public_key::hex32;
pub use public_key::{KeyForm, PublicKeyError, parse_public_key};
pub use registry::{Added, IdentityChange, Listener, Registry, Transitioned};
pub use store::{
    Change, Changes, EndOnFault, MemoryStore, Revision, Snapshot, SqliteStore, Store, StoreError,
};
