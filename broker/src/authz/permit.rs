//! The two answers of a decision.
use super::action::Action;
use crate::identity::DeviceState;
use std::fmt;
use std::sync::Arc;

/// Proof that a decision was made and said yes. Only this module's parent can make one, it cannot be copied, and what
/// accepts or delivers a message asks for it.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a permit is there to be handed on"]
pub struct Permit {
    action: Action,
    coverage: Coverage,
}

impl Permit {
    pub(super) fn new(action: Action, coverage: Coverage) -> Self {
        Self { action, coverage }
    }

    /// What is permitted.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// How much of a filter may be received; [`Coverage::Full`] for a topic.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }
}

/// How much of what a filter matches may be received. Delivery asks again only for [`Partial`](Self::Partial).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Coverage {
    /// Everything.
    Full,
    /// Some topics and not others: each delivery asks [`Policy::receive`](super::Policy::receive).
    Partial,
    /// Nothing.
    None,
}

/// A no, and why. The peer hears only "not authorized"; the rest is for the audit log and for `explain`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// What was refused. Can be another action than the one asked for: a retained PUBLISH may fail at
    /// [`Action::Retain`].
    pub action: Action,
    /// Why.
    pub cause: DeniedCause,
}

/// Why something is denied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeniedCause {
    /// Only the broker writes to this topic.
    BrokerOnly,
    /// The device is not active.
    NotActive(DeviceState),
    /// No rule allows it.
    NoRule,
    /// Nobody publishes to topics that begin with `$`.
    Reserved,
    /// A rule denies it.
    Rule {
        /// The role that holds the rule.
        role: Arc<str>,
        /// The pattern that touches what was asked.
        pattern: Arc<str>,
    },
}

impl DeniedCause {
    /// A stable name for logs and counters.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::BrokerOnly => "broker_only",
            Self::NotActive(_) => "not_active",
            Self::NoRule => "no_rule",
            Self::Reserved => "reserved",
            Self::Rule { .. } => "deny_rule",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action;
        match &self.cause {
            DeniedCause::BrokerOnly => write!(f, "{action}: only the broker writes to this topic"),
            DeniedCause::NotActive(state) => write!(f, "{action}: the device is {state}"),
            DeniedCause::NoRule => write!(f, "{action}: no rule allows it"),
            DeniedCause::Reserved => write!(f, "{action}: nobody publishes to topics in $"),
            DeniedCause::Rule { role, pattern } => {
                write!(f, "{action}: role {role} denies {pattern}")
            }
        }
    }
}

impl std::error::Error for Denied {}
