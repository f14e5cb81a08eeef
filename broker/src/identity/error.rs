//! What can be wrong with a change: the caller's mistakes here, everything below them in
//! [`StoreError`].
use super::device::{DeviceState, Transition};
use super::store::StoreError;
use keygate_protocol::ident::KeyId;
use std::fmt;
use std::sync::Arc;

/// Why a change was not made. Whatever the reason, nothing changed, except after
/// [`StoreError::is_uncertain`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// An attribute's value is too long or holds control characters.
    #[error("attribute `{name}`: a value has at most 256 bytes and no control characters")]
    AttributeValue {
        /// Which attribute.
        name: String,
    },
    /// The id is taken.
    #[error("`{id}` is enrolled already ({state}){}", revoked_advice(*.state))]
    IdExists {
        /// The id.
        id: Arc<str>,
        /// The state of the device that has it.
        state: DeviceState,
    },
    /// The transition does not exist from where the device is.
    #[error("`{id}` is {from}: {}", transition_advice(*.from, *.transition))]
    InvalidTransition {
        /// The device.
        id: Arc<str>,
        /// Where it is.
        from: DeviceState,
        /// What was asked.
        transition: Transition,
    },
    /// The key, or one with the same key id, belongs to another device.
    #[error("key {key_id} is enrolled already, for `{by}`: a key belongs to one device")]
    KeyEnrolledElsewhere {
        /// The key's id.
        key_id: KeyId,
        /// Who has it.
        by: Arc<str>,
    },
    /// The same key appears twice in one device.
    #[error("key {key_id} is given twice")]
    KeyTwice {
        /// The key's id.
        key_id: KeyId,
    },
    /// A name breaks the rule for names.
    #[error(
        "{kind} `{}` is not a valid name: 1-64 of A-Z a-z 0-9 . _ - : and the first a letter or digit",
        shown(.name)
    )]
    NameInvalid {
        /// What it was meant to name.
        kind: NameKind,
        /// What it reads.
        name: String,
    },
    /// A device without any key could never log in.
    #[error("a device needs at least one public key")]
    NoKey,
    /// Only a revoked device is removed.
    #[error("`{id}` is {state}: revoke it before removing it")]
    NotRevoked {
        /// The device.
        id: Arc<str>,
        /// Where it is.
        state: DeviceState,
    },
    /// More of something than a device may have.
    #[error("too many {}: at most {max}", kind.plural())]
    TooMany {
        /// Of what.
        kind: NameKind,
        /// How many are allowed.
        max: usize,
    },
    /// Nobody has this id.
    #[error("no device `{}`", shown(.id))]
    UnknownDevice {
        /// The id that was asked for.
        id: String,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a name, or a list that is too long, was meant for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameKind {
    /// An attribute.
    Attribute,
    /// A group.
    Group,
    /// A device id.
    Id,
    /// A key.
    Key,
    /// A role.
    Role,
    /// A gateway that may speak for the device.
    Via,
}

impl NameKind {
    fn singular(self) -> &'static str {
        match self {
            Self::Attribute => "attribute",
            Self::Group => "group",
            Self::Id => "id",
            Self::Key => "key",
            Self::Role => "role",
            Self::Via => "gateway",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Attribute => "attributes",
            Self::Group => "groups",
            Self::Id => "ids",
            Self::Key => "keys",
            Self::Role => "roles",
            Self::Via => "gateways",
        }
    }
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.singular())
    }
}

/// A stranger's text, fit for a terminal: escaped and cut.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let mut shown: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

fn revoked_advice(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Revoked => ": a revoked device keeps its id until it is removed",
        _ => "",
    }
}

fn transition_advice(from: DeviceState, transition: Transition) -> &'static str {
    match (from, transition) {
        (DeviceState::Revoked, _) => {
            "revocation is final; remove it and enrol it anew with a new key"
        }
        (DeviceState::Pending, _) => "approve it or revoke it",
        (DeviceState::Suspended, _) => "resume it or revoke it",
        (DeviceState::Active, _) => "that leads nowhere",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let id: Arc<str> = "dev-1".into();
        assert_eq!(
            IdentityError::IdExists {
                id: id.clone(),
                state: DeviceState::Revoked
            }
            .to_string(),
            "`dev-1` is enrolled already (revoked): a revoked device keeps its id until it is removed"
        );
        assert_eq!(
            IdentityError::InvalidTransition {
                id,
                from: DeviceState::Pending,
                transition: Transition::Resume
            }
            .to_string(),
            "`dev-1` is pending: approve it or revoke it"
        );
        assert_eq!(
            IdentityError::UnknownDevice {
                id: format!("\u{1b}[2J{}", "x".repeat(100))
            }
            .to_string(),
            format!("no device `\\u{{1b}}[2J{}…`", "x".repeat(76))
        );
    }
}
