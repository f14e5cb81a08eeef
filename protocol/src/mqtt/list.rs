//! Lists inside packets: read in place from a decoded packet, or lent from a slice for a packet to be sent.
use super::property::{self, Property};
use super::read::Reader;
use super::{ReasonCode, SubscriptionId};
use crate::topic::TopicFilter;
use core::fmt;

/// What can stand in a [`List`]. Sealed: the types are those of MQTT.
pub trait ListItem<'a>: Copy + fmt::Debug + PartialEq + sealed::Sealed {
    /// Reads the next item from bytes that were checked when the packet was decoded.
    #[doc(hidden)]
    fn read(rest: &mut &'a [u8]) -> Option<Self>;
}

pub(super) mod sealed {
    /// Nobody else's types.
    pub trait Sealed {}
}

/// A list of a packet: topic filters, reason codes, user properties, subscription identifiers.
///
/// A decoded packet's list reads the packet's bytes again at each iteration, nothing is copied. Make one to be sent
/// from a slice; a decoded one can be sent on as it is.
///
/// ```
/// use keygate_protocol::mqtt::UserProperties;
///
/// let pairs = [("site", "north"), ("site", "roof")];
/// let properties = UserProperties::new(&pairs);
/// assert_eq!(properties.iter().count(), 2);
/// assert_eq!(properties.find("site"), Some("north"));
/// ```
#[derive(Clone, Copy)]
pub struct List<'a, T>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    Wire(&'a [u8]),
    Slice(&'a [T]),
}

/// User properties: pairs of name and value, in order, names may repeat.
pub type UserProperties<'a> = List<'a, (&'a str, &'a str)>;
/// The subscriptions that a delivered PUBLISH answers to.
pub type SubscriptionIds<'a> = List<'a, SubscriptionId>;
/// The topic filters of an UNSUBSCRIBE.
pub type Filters<'a> = List<'a, TopicFilter<'a>>;
/// The answers of a SUBACK or UNSUBACK, in the order of the filters.
pub type ReasonCodes<'a> = List<'a, ReasonCode>;

impl<'a, T> List<'a, T> {
    /// A list to be sent.
    #[must_use]
    pub const fn new(items: &'a [T]) -> Self {
        Self(Source::Slice(items))
    }

    /// A list in bytes that have been checked.
    pub(super) fn checked(bytes: &'a [u8]) -> Self {
        Self(Source::Wire(bytes))
    }
}

impl<'a, T: ListItem<'a>> List<'a, T> {
    /// The items in order.
    #[must_use]
    pub fn iter(&self) -> Items<'a, T> {
        Items(self.0)
    }

    /// Whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'a> UserProperties<'a> {
    /// The value of the first property with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'a str> {
        self.iter()
            .find_map(|(found, value)| (found == name).then_some(value))
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(items: &'a [T]) -> Self {
        Self::new(items)
    }
}

impl<'a, T: ListItem<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T: ListItem<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T: ListItem<'a>> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: ListItem<'a>> Eq for List<'a, T> {}

impl<'a, T: ListItem<'a>> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Iterates a [`List`].
#[derive(Clone)]
pub struct Items<'a, T>(Source<'a, T>);

impl<'a, T: ListItem<'a>> Iterator for Items<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Source::Wire(rest) => T::read(rest),
            Source::Slice(rest) => {
                let (first, tail) = rest.split_first()?;
                *rest = tail;
                Some(*first)
            }
        }
    }
}

impl<T> fmt::Debug for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

impl sealed::Sealed for (&str, &str) {}
impl sealed::Sealed for SubscriptionId {}
impl sealed::Sealed for TopicFilter<'_> {}
impl sealed::Sealed for ReasonCode {}

impl<'a> ListItem<'a> for (&'a str, &'a str) {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        loop {
            if let Property::User(name, value) = property::next_checked(rest)? {
                return Some((name, value));
            }
        }
    }
}

impl<'a> ListItem<'a> for SubscriptionId {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        loop {
            if let Property::SubscriptionId(id) = property::next_checked(rest)? {
                return Some(id);
            }
        }
    }
}

impl<'a> ListItem<'a> for TopicFilter<'a> {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(rest);
        let filter = Self::new(reader.string().ok()?).ok()?;
        *rest = reader.rest();
        Some(filter)
    }
}

impl<'a> ListItem<'a> for ReasonCode {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        Self::new(*first)
    }
}
