//! Every bound of the identity store, and why it is what it is.

/// Keys of one device: a rotation needs two; the rest is room for devices with several secure elements.
pub const KEYS_MAX: usize = 8;
/// Roles of one device. Policy is evaluated role by role, so this bounds a decision.
pub const ROLES_MAX: usize = 32;
/// Groups of one device. Each group multiplies the topic patterns of a role.
pub const GROUPS_MAX: usize = 64;
/// Gateways that may speak for one device.
pub const VIA_MAX: usize = 16;
/// Attributes of one device.
pub const ATTRIBUTES_MAX: usize = 32;
/// Bytes of one attribute's value: a label, not a document.
pub const ATTRIBUTE_VALUE_LEN_MAX: usize = 256;

/// Bytes of one import line: a record with every list full fits about twice; a file without line ends does not fill
/// the memory.
pub const IMPORT_LINE_LEN_MAX: usize = 64 * 1024;
/// Devices of one import. It is one transaction, and other changes (a revocation) wait while it is written: some
/// three seconds for this many. Larger fleets are several files (`split -l 200000`).
pub const IMPORT_DEVICES_MAX: usize = 200_000;
/// Bad lines that a rejected import names; the rest is counted. Somebody reads this list on a terminal.
pub const IMPORT_ERRORS_MAX: usize = 20;
/// Lines between two calls of the progress callback.
pub(super) const IMPORT_PROGRESS_LINES: u64 = 1_000;

/// Ids that the change feed remembers. A reader further behind reloads everything, which at this distance is cheaper
/// than following.
pub const FEED_IDS_MAX: usize = 20_000;

/// Records that one [`Directory::page`](super::Directory::page) returns at most: a page is cloned under a lock that
/// a change waits for.
pub const PAGE_MAX: usize = 1_000;

/// Locks that the directory is divided over. Readers share a lock anyway; this keeps a writer's short exclusive hold
/// off most of them.
pub(super) const DIRECTORY_SHARDS: usize = 16;

const _: () = assert!(DIRECTORY_SHARDS.is_power_of_two());
const _: () = assert!(
    IMPORT_LINE_LEN_MAX
        > 2 * (ATTRIBUTES_MAX * (ATTRIBUTE_VALUE_LEN_MAX + 72)
            + (ROLES_MAX + GROUPS_MAX + VIA_MAX) * 67)
);
