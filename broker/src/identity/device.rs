//! The record of one device, and the states it passes through.
use super::error::{IdentityError, NameKind};
use super::limits::{
    ATTRIBUTE_VALUE_LEN_MAX, ATTRIBUTES_MAX, GROUPS_MAX, KEYS_MAX, ROLES_MAX, VIA_MAX,
};
use super::names::Names;
use keygate_protocol::crypto::PublicKey;
use keygate_protocol::ident::{Id, KeyId};
use keygate_protocol::time::UnixTime;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The role of a device that was enrolled without naming one.
pub(super) const ROLE_DEFAULT: &str = "device";

/// One enrolled device. Shared by everybody who looks at it and never changed in place: a change makes a new record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// Its id, unique in the store for ever: a revoked device keeps it.
    pub id: Arc<str>,
    /// Whether it may log in.
    pub state: DeviceState,
    /// Its Ed25519 keys; several while one replaces another.
    pub keys: Box<[DeviceKey]>,
    /// Its roles; the strings are shared by all devices that have them.
    pub roles: Box<[Arc<str>]>,
    /// Its groups; shared likewise.
    pub groups: Box<[Arc<str>]>,
    /// Free attributes, usable in policy templates.
    pub attributes: BTreeMap<Box<str>, Box<str>>,
    /// The gateways that may speak for it.
    pub via: Box<[Arc<str>]>,
}

impl Device {
    /// Whether the device may log in, publish and receive.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == DeviceState::Active
    }

    /// The key with this id, whether or not it is valid now.
    #[must_use]
    pub fn key(&self, key_id: KeyId) -> Option<&DeviceKey> {
        self.keys.iter().find(|key| key.key_id == key_id)
    }
}

/// One public key of a device, and when it counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceKey {
    /// The key.
    pub public: PublicKey,
    /// Its id: first 8 bytes of the COSE key thumbprint. Unique in the store, like the key.
    pub key_id: KeyId,
    /// Not valid before this second.
    pub not_before: Option<UnixTime>,
    /// Not valid from this second on.
    pub not_after: Option<UnixTime>,
}

impl DeviceKey {
    /// A key without limits in time.
    #[must_use]
    pub fn new(public: PublicKey) -> Self {
        Self {
            key_id: public.key_id(),
            public,
            not_before: None,
            not_after: None,
        }
    }

    /// Whether the key counts at this time.
    #[must_use]
    pub fn is_valid_at(&self, wall: UnixTime) -> bool {
        self.not_before.is_none_or(|t| t.0 <= wall.0) && self.not_after.is_none_or(|t| wall.0 < t.0)
    }
}

/// Whether a device may log in.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    /// Enrolled by claim and not yet approved: may not log in.
    Pending,
    /// May log in.
    Active,
    /// May not log in until resumed.
    Suspended,
    /// May never log in again. The record stays, so that neither the id nor the key is enrolled again by accident.
    Revoked,
}

impl DeviceState {
    /// Every state, in the order of a device's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Suspended, Self::Revoked];

    /// Its name, as commands, JSON and the database write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// The state with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Where `transition` leads from here; `None` if it leads nowhere.
    ///
    /// A repeated transition leads to where the device already is: saying "suspend" twice is no mistake.
    #[must_use]
    pub fn after(self, transition: Transition) -> Option<Self> {
        use DeviceState::{Active, Pending, Revoked, Suspended};
        match (transition, self) {
            (Transition::Approve, Pending | Active) => Some(Active),
            (Transition::Suspend, Active | Suspended) => Some(Suspended),
            (Transition::Resume, Suspended | Active) => Some(Active),
            (Transition::Revoke, _) => Some(Revoked),
            // A pending device is approved, not resumed, and has nothing to suspend; revoked is final.
            (Transition::Approve, Suspended | Revoked)
            | (Transition::Suspend | Transition::Resume, Pending | Revoked) => None,
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operator does to a device's state.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    /// Pending to active.
    Approve,
    /// Active to suspended.
    Suspend,
    /// Suspended to active.
    Resume,
    /// Anything to revoked, for good.
    Revoke,
}

impl Transition {
    /// Every transition.
    pub const ALL: [Self; 4] = [Self::Approve, Self::Suspend, Self::Resume, Self::Revoke];

    /// The command's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Revoke => "revoke",
        }
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A device to enrol, as a command or an import line describes it. [`Registry::add`](super::Registry::add) checks it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewDevice {
    /// The id it shall have.
    pub id: String,
    /// Its keys; at least one.
    pub keys: Vec<DeviceKey>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its groups.
    pub groups: Vec<String>,
    /// Free attributes.
    pub attributes: BTreeMap<String, String>,
    /// The gateways that may speak for it.
    pub via: Vec<String>,
    /// The state it starts in: active when an operator enrols it.
    pub state: DeviceState,
}

impl NewDevice {
    /// An active device with this key and the role `device`.
    #[must_use]
    pub fn new(id: impl Into<String>, public_key: PublicKey) -> Self {
        Self {
            id: id.into(),
            keys: vec![DeviceKey::new(public_key)],
            roles: vec![ROLE_DEFAULT.into()],
            groups: Vec::new(),
            attributes: BTreeMap::new(),
            via: Vec::new(),
            state: DeviceState::Active,
        }
    }

    /// The record, if everything in it is well-formed; whether the id and keys are free is not looked at here.
    pub(super) fn check(&self, names: &mut Names) -> Result<Device, IdentityError> {
        check_name(NameKind::Id, &self.id)?;
        if self.keys.is_empty() {
            return Err(IdentityError::NoKey);
        }
        check_count(NameKind::Key, self.keys.len(), KEYS_MAX)?;
        for (i, key) in self.keys.iter().enumerate() {
            if self.keys[..i].iter().any(|k| k.key_id == key.key_id) {
                return Err(IdentityError::KeyTwice { key_id: key.key_id });
            }
        }
        self.check_attributes()?;
        Ok(Device {
            id: Arc::from(self.id.as_str()),
            state: self.state,
            keys: self.keys.as_slice().into(),
            roles: name_list(NameKind::Role, &self.roles, ROLES_MAX, names)?,
            groups: name_list(NameKind::Group, &self.groups, GROUPS_MAX, names)?,
            attributes: self
                .attributes
                .iter()
                .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
                .collect(),
            via: name_list(NameKind::Via, &self.via, VIA_MAX, names)?,
        })
    }

    fn check_attributes(&self) -> Result<(), IdentityError> {
        check_count(NameKind::Attribute, self.attributes.len(), ATTRIBUTES_MAX)?;
        for (name, value) in &self.attributes {
            check_name(NameKind::Attribute, name)?;
            // Control characters have no place in a label and would let a value forge lines on a terminal.
            if value.len() > ATTRIBUTE_VALUE_LEN_MAX || value.chars().any(char::is_control) {
                return Err(IdentityError::AttributeValue { name: name.clone() });
            }
        }
        Ok(())
    }
}

fn check_name(kind: NameKind, name: &str) -> Result<(), IdentityError> {
    match Id::new(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(IdentityError::NameInvalid {
            kind,
            name: name.into(),
        }),
    }
}

fn check_count(kind: NameKind, count: usize, max: usize) -> Result<(), IdentityError> {
    if count > max {
        return Err(IdentityError::TooMany { kind, max });
    }
    Ok(())
}

/// The list with its strings shared; a name given twice counts once, order is kept.
fn name_list(
    kind: NameKind,
    list: &[String],
    max: usize,
    names: &mut Names,
) -> Result<Box<[Arc<str>]>, IdentityError> {
    check_count(kind, list.len(), max)?;
    let mut shared: Vec<Arc<str>> = Vec::with_capacity(list.len());
    for name in list {
        check_name(kind, name)?;
        if !shared.iter().any(|n| **n == **name) {
            shared.push(names.share(name));
        }
    }
    Ok(shared.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::sample::public_key;

    #[test]
    fn every_state_and_transition_has_its_answer() {
        use DeviceState::{Active, Pending, Revoked, Suspended};
        let table = [
            (
                Transition::Approve,
                [Some(Active), Some(Active), None, None],
            ),
            (
                Transition::Suspend,
                [None, Some(Suspended), Some(Suspended), None],
            ),
            (Transition::Resume, [None, Some(Active), Some(Active), None]),
            (Transition::Revoke, [Some(Revoked); 4]),
        ];
        assert_eq!(table.map(|row| row.0), Transition::ALL);
        for (transition, expected) in table {
            for (from, to) in DeviceState::ALL.into_iter().zip(expected) {
                assert_eq!(from.after(transition), to, "{transition} from {from}");
            }
        }
        assert_eq!([Pending, Active, Suspended, Revoked], DeviceState::ALL);
    }

    #[test]
    fn names_of_states_round_trip() {
        for state in DeviceState::ALL {
            assert_eq!(DeviceState::from_name(state.as_str()), Some(state));
            assert_eq!(
                serde_json::to_string(&state).unwrap(),
                format!("\"{state}\"")
            );
        }
        assert_eq!(DeviceState::from_name("Active"), None);
    }

    #[test]
    fn a_key_counts_from_not_before_up_to_not_after() {
        let mut key = DeviceKey::new(public_key(1));
        assert!(key.is_valid_at(UnixTime(0)));
        key.not_before = Some(UnixTime(10));
        key.not_after = Some(UnixTime(20));
        let valid: Vec<u64> = (8..23).filter(|t| key.is_valid_at(UnixTime(*t))).collect();
        assert_eq!(valid, (10..20).collect::<Vec<_>>());
    }

    fn refused(change: impl FnOnce(&mut NewDevice)) -> IdentityError {
        let mut new = NewDevice::new("dev-1", public_key(1));
        change(&mut new);
        new.check(&mut Names::default()).unwrap_err()
    }

    #[test]
    fn what_is_not_well_formed_is_named() {
        let invalid = |kind, name: &str| IdentityError::NameInvalid {
            kind,
            name: name.into(),
        };
        assert_eq!(
            refused(|n| n.id = "a/b".into()),
            invalid(NameKind::Id, "a/b")
        );
        assert_eq!(
            refused(|n| n.roles = vec!["é".into()]),
            invalid(NameKind::Role, "é")
        );
        assert_eq!(
            refused(|n| n.groups = vec!["+".into()]),
            invalid(NameKind::Group, "+")
        );
        assert_eq!(
            refused(|n| n.via = vec![String::new()]),
            invalid(NameKind::Via, "")
        );
        assert_eq!(refused(|n| n.keys.clear()), IdentityError::NoKey);
        assert_eq!(
            refused(|n| n.keys.push(n.keys[0].clone())),
            IdentityError::KeyTwice {
                key_id: public_key(1).key_id()
            }
        );
        assert_eq!(
            refused(|n| n.groups = (0..65).map(|i| format!("g{i}")).collect()),
            IdentityError::TooMany {
                kind: NameKind::Group,
                max: GROUPS_MAX
            }
        );
        for value in ["x".repeat(257), "a\nb".into()] {
            assert_eq!(
                refused(|n| {
                    n.attributes.insert("site".into(), value);
                }),
                IdentityError::AttributeValue {
                    name: "site".into()
                }
            );
        }
    }

    #[test]
    fn a_name_given_twice_counts_once_and_is_shared() {
        let mut names = Names::default();
        let mut new = NewDevice::new("dev-1", public_key(1));
        new.groups = vec!["b".into(), "a".into(), "b".into()];
        let first = new.check(&mut names).unwrap();
        assert_eq!(
            first.groups.iter().map(|g| &**g).collect::<Vec<_>>(),
            ["b", "a"]
        );
        let second = new.check(&mut names).unwrap();
        assert!(Arc::ptr_eq(&first.groups[0], &second.groups[0]));
        assert!(Arc::ptr_eq(&first.roles[0], &second.roles[0]));
    }
}
