//! Topic names: where a message is published.
use super::TOPIC_LEN_MAX;
use core::fmt;

/// A valid topic name (MQTT 5 §4.7): not empty, at most 65,535 bytes, no wildcard, no U+0000.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks a text once.
    pub fn new(text: &'a str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > TOPIC_LEN_MAX {
            return Err(NameError::TooLong);
        }
        for byte in text.bytes() {
            match byte {
                b'+' | b'#' => return Err(NameError::Wildcard),
                0 => return Err(NameError::HasNul),
                _ => {}
            }
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels, from the left; at least one, each may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.split('/')
    }

    /// Whether the name begins with `$`: no filter that begins with a wildcard matches it (§4.7.2).
    #[must_use]
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a text is no topic name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It contains U+0000.
    HasNul,
    /// It has more than 65,535 bytes.
    TooLong,
    /// It contains `+` or `#`.
    Wildcard,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic name is not empty",
            Self::HasNul => "a topic name has no U+0000",
            Self::TooLong => "a topic name has at most 65,535 bytes",
            Self::Wildcard => "a topic name has no wildcard",
        })
    }
}

impl core::error::Error for NameError {}
