//! Topic names and topic filters: what is valid, what matches, what covers, what overlaps (MQTT 5 §4.7, §4.8.2).
//!
//! | item | what it answers |
//! |---|---|
//! | [`TopicName`], [`TopicFilter`] | is this text a name, a filter? |
//! | [`matches()`] | does a message on this name go to this filter? |
//! | [`covers`] | may somebody who was granted this filter ask for that one? |
//! | [`overlaps`] | is there a name that both filters match? |
//! | [`levels`] | the same relations for a filter that is no text |
//!
//! Names are compared byte for byte; levels may be empty (`a//b`, `/a`). A filter that begins with a wildcard has
//! nothing to do with names that begin with `$` (§4.7.2). For a shared subscription (`$share/group/filter`) all three
//! relations speak of the part behind the group: what the group may *be* is another question, see
//! [`TopicFilter::share`].
//!
//! ```
//! use keygate_protocol::topic::{TopicFilter, TopicName, covers, matches, overlaps};
//!
//! let granted = TopicFilter::new("devices/d1/#")?;
//! assert!(matches(granted, TopicName::new("devices/d1/status")?));
//! assert!(covers(granted, TopicFilter::new("devices/d1/+/log")?));
//! // "all devices" overlaps with what was granted, but goes beyond it.
//! let all = TopicFilter::new("devices/+/status")?;
//! assert!(overlaps(granted, all) && !covers(granted, all));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod filter;
mod name;
mod relation;
#[cfg(test)]
mod tests;

pub use filter::{FilterError, TopicFilter};
pub use name::{NameError, TopicName};
pub use relation::{covers, levels, matches, overlaps};

/// Most levels that a broker takes in a name or a filter, so that matching costs little; checked by the broker's gate,
/// because MQTT itself has no such limit.
pub const LEVELS_MAX: usize = 32;

/// Longest topic in bytes: what a two-byte length field can express (MQTT 5 §4.7.3).
pub const TOPIC_LEN_MAX: usize = 65_535;
