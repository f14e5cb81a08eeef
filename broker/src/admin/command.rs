//! Commands and answers. Each is one line of JSON; HTTP will map to the same ones.

use crate::identity::{
    Device, DeviceState, IdentityError, ImportError, ImportStage, StoreError, Transition,
};
use crate::telemetry::Figures;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What is asked.
///
/// ```
/// use keygate_broker::admin::Command;
///
/// let line = r#"{"command":"device_show","id":"dev1"}"#;
/// let command: Command = serde_json::from_str(line).unwrap();
/// assert_eq!(command, Command::DeviceShow { id: "dev1".into() });
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Enrol one device. Answer: [`Answer::Device`].
    DeviceAdd(AddDevice),
    /// Enrol the devices of a file in JSON Lines, all or none; its chunks follow. Answers: any number of
    /// [`Answer::Progress`], then [`Answer::Imported`].
    DeviceImport,
    /// All devices in the order of their ids. Answers: an [`Answer::Item`] each, then [`Answer::End`].
    DeviceList {
        /// Only those after this id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// At most this many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
        /// Only those in this state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<DeviceState>,
        /// Only members of this group.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// One device. Answer: [`Answer::Device`].
    DeviceShow {
        /// Its id.
        id: String,
    },
    /// Suspend, resume, revoke (or approve) a device. Answer: [`Answer::Device`].
    DeviceTransition {
        /// Its id.
        id: String,
        /// What to do.
        transition: Transition,
    },
    /// Write to the audit trail all that was recorded so far. Answer: [`Answer::Flushed`].
    Flush,
    /// The broker's public keys. Answer: [`Answer::Keys`].
    Keys,
    /// How the broker is. Answer: [`Answer::Status`].
    Status,
}

/// A device to enrol.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AddDevice {
    /// The id it shall have.
    pub id: String,
    /// Its public key: hex, PEM, OpenSSH or JWK.
    pub public_key: String,
    /// Its roles; `device` if none are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Free attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The gateways that may speak for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
}

/// What is answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// The device, as it is now.
    Device {
        /// The device.
        device: DeviceRecord,
        /// Whether the command changed it.
        changed: bool,
    },
    /// The end of a list.
    End {
        /// How many items there were.
        count: u64,
    },
    /// It was not done.
    Error(AdminError),
    /// What was recorded before is in the audit trail.
    Flushed,
    /// The import is done.
    Imported {
        /// Devices that are new.
        added: u64,
        /// Lines that say what was enrolled already.
        unchanged: u64,
        /// Lines read.
        lines: u64,
    },
    /// One item of a list.
    Item {
        /// The device.
        device: DeviceRecord,
    },
    /// The broker's public keys.
    Keys(BrokerKeys),
    /// How far an import is.
    Progress {
        /// Lines read so far.
        lines: u64,
        /// Devices found so far.
        devices: u64,
        /// Everything is read and well; it is being written.
        storing: bool,
    },
    /// How the broker is.
    Status(Status),
}

impl Answer {
    /// Whether this answer is the last one to its command.
    #[must_use]
    pub fn is_last(&self) -> bool {
        !matches!(self, Self::Item { .. } | Self::Progress { .. })
    }
}

/// A device, as commands show it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceRecord {
    /// Its id.
    pub id: String,
    /// Whether it may log in.
    pub state: DeviceState,
    /// Its keys.
    pub keys: Vec<KeyRecord>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The gateways that may speak for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
}

impl From<&Device> for DeviceRecord {
    fn from(device: &Device) -> Self {
        let texts = |list: &[std::sync::Arc<str>]| list.iter().map(|s| s.to_string()).collect();
        let keys = device.keys.iter().map(|key| KeyRecord {
            key_id: key.key_id.to_string(),
            public_key: hex(key.public.as_bytes()),
            not_before: key.not_before.map(|time| time.0),
            not_after: key.not_after.map(|time| time.0),
        });
        Self {
            id: device.id.to_string(),
            state: device.state,
            keys: keys.collect(),
            roles: texts(&device.roles),
            groups: texts(&device.groups),
            attributes: device
                .attributes
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            via: texts(&device.via),
        }
    }
}

/// A device's public key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyRecord {
    /// Its id.
    pub key_id: String,
    /// The key, lower hex.
    pub public_key: String,
    /// Not valid before, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// Not valid from then on, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
}

/// The broker's public keys, lower hex.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct BrokerKeys {
    /// The broker's name.
    pub broker_id: String,
    /// The identity keys that devices pin: the current one, then the next.
    pub identity: Vec<String>,
    /// The keys that tokens are verified with: all that are live.
    pub token: Vec<String>,
}

/// How a broker is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// The broker's name.
    pub broker_id: String,
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Devices enrolled.
    pub devices: u64,
    /// The revision of the identity store.
    pub revision: u64,
    /// Audit events lost since the start.
    pub audit_lost: u64,
    /// What a running broker has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
}

/// Why something was not done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// Whose fault it is.
    pub kind: ErrorKind,
    /// What is wrong and what to do, in words.
    pub message: String,
}

impl AdminError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The broker has too much to do.
    Busy,
    /// It does not fit what is there.
    Conflict,
    /// The peer is not allowed to ask.
    Forbidden,
    /// What was given is not well-formed.
    Invalid,
    /// What is named is not there.
    NotFound,
    /// The line is no command that this broker knows.
    Protocol,
    /// The store could not do it.
    Storage,
}

impl From<IdentityError> for AdminError {
    fn from(error: IdentityError) -> Self {
        let kind = match &error {
            IdentityError::UnknownDevice { .. } => ErrorKind::NotFound,
            IdentityError::IdExists { .. }
            | IdentityError::InvalidTransition { .. }
            | IdentityError::KeyEnrolledElsewhere { .. }
            | IdentityError::NotRevoked { .. } => ErrorKind::Conflict,
            IdentityError::Store(_) => ErrorKind::Storage,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error)
    }
}

impl From<ImportError> for AdminError {
    fn from(error: ImportError) -> Self {
        let kind = match &error {
            ImportError::Store(_) => ErrorKind::Storage,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error)
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::new(ErrorKind::Storage, error)
    }
}

impl From<crate::identity::ImportProgress> for Answer {
    fn from(progress: crate::identity::ImportProgress) -> Self {
        Self::Progress {
            lines: progress.lines,
            devices: progress.devices,
            storing: progress.stage == ImportStage::Storing,
        }
    }
}

/// Lower hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
