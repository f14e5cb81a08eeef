//! Who somebody is, once that is proved.
use crate::identity::{Device, DeviceKey, DeviceState, Revision};
use crate::telemetry::reason::{Method, RefusalReason};
use keygate_protocol::ident::KeyId;
use keygate_protocol::time::UnixTime;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whose a session is: nobody else resumes it or takes it over.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Owner {
    /// An enrolled device, by its id.
    Device(Arc<str>),
    /// Somebody who proved nothing, on a listener that lets such clients in: whoever uses this client id.
    Anonymous(Arc<str>),
}

impl Owner {
    /// The identity that is its own, if it has proved one.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<str>> {
        match self {
            Self::Device(id) => Some(id),
            Self::Anonymous(_) => None,
        }
    }
}

/// The outcome of authentication, and all that authorization looks at. One for each session.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The device, as it was at [`revision`](Self::revision).
    pub device: Arc<Device>,
    /// The key that opened the session; when it goes, the session ends.
    pub key_id: Option<KeyId>,
    /// How it was proved.
    pub method: Method,
    /// When the proof is worth nothing any more: the first second at which nothing is accepted or delivered.
    pub expires_at: Option<UnixTime>,
    /// The state of the identity store that all of this was read from.
    pub revision: Revision,
}

/// The role of whoever proved nothing; its rules come from the configuration.
pub const ROLE_ANONYMOUS: &str = "anonymous";

impl Principal {
    /// Somebody who proved nothing, under this client id: a device that nobody enrolled, with the one role that is there
    /// for it.
    #[must_use]
    pub fn anonymous(client_id: &str, revision: Revision) -> Self {
        let device = Device {
            id: client_id.into(),
            state: DeviceState::Active,
            keys: Box::default(),
            roles: [ROLE_ANONYMOUS.into()].into(),
            groups: Box::default(),
            attributes: BTreeMap::new(),
            via: Box::default(),
        };
        Self {
            device: Arc::new(device),
            key_id: None,
            method: Method::Anonymous,
            expires_at: None,
            revision,
        }
    }

    /// The proved id; the client id of somebody who proved none.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.device.id
    }

    /// Whose sessions this principal may use.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let id = Arc::clone(&self.device.id);
        match self.method {
            Method::Anonymous => Owner::Anonymous(id),
            Method::Assertion | Method::KgEd25519 | Method::SignedRequest => Owner::Device(id),
        }
    }

    /// Whether the proof is worth nothing any more.
    #[must_use]
    pub fn is_expired(&self, wall: UnixTime) -> bool {
        self.expires_at.is_some_and(|end| end <= wall)
    }
}

/// Whether this device, having proved this key, may do anything at all. For doors that verify by themselves; one of
/// them must not be kinder than another.
pub fn check_standing(
    device: &Device,
    key: &DeviceKey,
    wall: UnixTime,
) -> Result<(), RefusalReason> {
    check_state(device).and_then(|()| check_validity(key, wall))
}

/// Why this device may not be logged in, whatever it proves.
pub(super) fn check_state(device: &Device) -> Result<(), RefusalReason> {
    match device.state {
        DeviceState::Active => Ok(()),
        DeviceState::Pending => Err(RefusalReason::DevicePending),
        DeviceState::Revoked => Err(RefusalReason::DeviceRevoked),
        DeviceState::Suspended => Err(RefusalReason::DeviceSuspended),
    }
}

/// Why this key proves nothing now.
pub(super) fn check_validity(key: &DeviceKey, wall: UnixTime) -> Result<(), RefusalReason> {
    if key.is_valid_at(wall) {
        return Ok(());
    }
    match key.not_before.is_some_and(|start| wall < start) {
        true => Err(RefusalReason::KeyNotYetValid),
        false => Err(RefusalReason::KeyExpired),
    }
}

/// The earlier of two ends, of which either may be never.
pub(super) fn earlier(a: Option<UnixTime>, b: Option<UnixTime>) -> Option<UnixTime> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
