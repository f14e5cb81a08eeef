//! SPEC.md §9.3 — scopes: AIF-MQTT (RFC 9431 §3.1.3, RFC 9237), a list of topic filters with what may be done there.
//!
//! ```
//! use keygate_protocol::scope::{Action, Permissions, Rule, Scope};
//! use keygate_protocol::sink::SliceSink;
//! use keygate_protocol::topic::{TopicFilter, TopicName};
//!
//! let rules = [
//!     Rule::new(TopicFilter::new("d/dev1/#")?, Permissions::Both)?,
//!     Rule::new(TopicFilter::new("cmd/+")?, Permissions::Subscribe)?,
//! ];
//! let mut buffer = [0; 64];
//! let mut sink = SliceSink::new(&mut buffer);
//! Scope::encode(&rules, &mut sink)?;
//!
//! let scope = Scope::decode(sink.written())?;
//! assert!(scope.allows(TopicName::new("d/dev1/temperature")?, Action::Publish));
//! assert!(!scope.allows(TopicName::new("cmd/stop")?, Action::Publish));
//! assert!(scope.covers(TopicFilter::new("d/dev1/+/log")?, Action::Subscribe));
//! assert!(!scope.covers(TopicFilter::new("d/+/temperature")?, Action::Subscribe));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

use core::fmt;

use crate::cbor::{CborError, Reader, Writer};
use crate::sink::{CapacityError, Sink};
use crate::topic::{self, FilterError, LEVELS_MAX, TopicFilter, TopicName};

/// Most rules in a scope: every check walks all of them.
pub const RULES_MAX: usize = 32;

/// Longest filter in a rule: `groups/{id}/state/{id}` with the longest ids, and room for a prefix.
pub const FILTER_LEN_MAX: usize = 256;

const PUB: &str = "pub";
const SUB: &str = "sub";

/// What one does with a topic.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// Send to it.
    Publish,
    /// Receive from it.
    Subscribe,
}

/// What a rule allows. There is no rule that allows nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Permissions {
    /// `["pub", "sub"]`
    Both,
    /// `["pub"]`
    Publish,
    /// `["sub"]`
    Subscribe,
}

impl Permissions {
    /// Whether `action` is among them.
    #[must_use]
    pub fn contain(self, action: Action) -> bool {
        match action {
            Action::Publish => self != Self::Subscribe,
            Action::Subscribe => self != Self::Publish,
        }
    }
}

/// One rule of a scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule<'a> {
    filter: TopicFilter<'a>,
    permissions: Permissions,
}

impl<'a> Rule<'a> {
    /// A rule about the topics that `filter` matches. A rule speaks of topics, so a shared filter makes none.
    pub fn new(filter: TopicFilter<'a>, permissions: Permissions) -> Result<Self, ScopeError> {
        if filter.share().is_some() {
            return Err(ScopeError::SharedFilter);
        }
        if filter.as_str().len() > FILTER_LEN_MAX || filter.levels().count() > LEVELS_MAX {
            return Err(ScopeError::FilterTooLong);
        }
        Ok(Self {
            filter,
            permissions,
        })
    }

    /// The topics.
    #[must_use]
    pub fn filter(&self) -> TopicFilter<'a> {
        self.filter
    }

    /// What may be done with them.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, ScopeError> {
        reader.array_of(2)?;
        let filter = TopicFilter::new(reader.text()?).map_err(ScopeError::Filter)?;
        let count = reader.array()?;
        if !(1..=2).contains(&count) {
            return Err(ScopeError::Permissions);
        }
        let permissions = match (
            reader.text()?,
            if count == 2 {
                Some(reader.text()?)
            } else {
                None
            },
        ) {
            (PUB, Some(SUB)) => Permissions::Both,
            (PUB, None) => Permissions::Publish,
            (SUB, None) => Permissions::Subscribe,
            _ => return Err(ScopeError::Permissions),
        };
        Self::new(filter, permissions)
    }

    fn write(&self, writer: &mut Writer<'_, impl Sink + ?Sized>) -> Result<(), CapacityError> {
        writer.array(2)?;
        writer.text(self.filter.as_str())?;
        match self.permissions {
            Permissions::Both => {
                writer.array(2)?;
                writer.text(PUB)?;
                writer.text(SUB)
            }
            Permissions::Publish => {
                writer.array(1)?;
                writer.text(PUB)
            }
            Permissions::Subscribe => {
                writer.array(1)?;
                writer.text(SUB)
            }
        }
    }
}

/// A list of rules, checked and left encoded. It narrows what somebody may do; empty, it leaves nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scope<'a> {
    bytes: &'a [u8],
}

impl<'a> Scope<'a> {
    /// Checks an encoded list.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ScopeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.array()?;
        if count > RULES_MAX {
            return Err(ScopeError::TooManyRules);
        }
        for _ in 0..count {
            Rule::read(&mut reader)?;
        }
        reader.finish()?;
        Ok(Self { bytes })
    }

    /// Writes a list of at most [`RULES_MAX`] rules.
    pub fn encode(rules: &[Rule<'_>], out: &mut (impl Sink + ?Sized)) -> Result<(), CapacityError> {
        if rules.len() > RULES_MAX {
            return Err(CapacityError);
        }
        let mut writer = Writer::new(out);
        writer.array(rules.len())?;
        rules.iter().try_for_each(|rule| rule.write(&mut writer))
    }

    /// The encoded list, as it goes into a claim or a token request.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The rules, in their order.
    pub fn rules(&self) -> impl Iterator<Item = Rule<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        let mut left = reader.array().unwrap_or(0);
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            Rule::read(&mut reader).ok()
        })
    }

    /// Whether `action` is allowed on this one topic.
    #[must_use]
    pub fn allows(&self, topic: TopicName<'_>, action: Action) -> bool {
        self.rules()
            .any(|rule| rule.permissions.contain(action) && topic::matches(rule.filter, topic))
    }

    /// Whether `action` is allowed on every topic that `filter` matches, by one rule. Of a shared filter, the part
    /// behind the group counts.
    #[must_use]
    pub fn covers(&self, filter: TopicFilter<'_>, action: Action) -> bool {
        self.rules()
            .any(|rule| rule.permissions.contain(action) && topic::covers(rule.filter, filter))
    }

    /// Whether this scope allows nothing that `granted` does not.
    #[must_use]
    pub fn is_within(&self, granted: &Scope<'_>) -> bool {
        self.rules().all(|rule| {
            let within =
                |action| !rule.permissions.contain(action) || granted.covers(rule.filter, action);
            within(Action::Publish) && within(Action::Subscribe)
        })
    }
}

/// Why bytes or rules are no scope.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScopeError {
    /// Not CBOR as we read it, or not the shape of AIF-MQTT.
    Cbor(CborError),
    /// Not a topic filter.
    Filter(FilterError),
    /// A filter of more than [`FILTER_LEN_MAX`] bytes or [`LEVELS_MAX`] levels.
    FilterTooLong,
    /// Permissions other than `["pub"]`, `["sub"]` and `["pub", "sub"]`.
    Permissions,
    /// A filter that begins with `$share/`.
    SharedFilter,
    /// More than [`RULES_MAX`] rules.
    TooManyRules,
}

impl From<CborError> for ScopeError {
    fn from(error: CborError) -> Self {
        Self::Cbor(error)
    }
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cbor(error) => return error.fmt(f),
            Self::Filter(error) => return error.fmt(f),
            Self::FilterTooLong => "topic filter in a scope is too long",
            Self::Permissions => "permissions in a scope are pub, sub, or pub and sub",
            Self::SharedFilter => "a scope speaks of topics, not of share groups",
            Self::TooManyRules => "scope has too many rules",
        })
    }
}

impl core::error::Error for ScopeError {}

#[cfg(test)]
mod tests;
