//! Topic filters: what a subscription asks for.
use super::TOPIC_LEN_MAX;
use core::fmt;

/// What a shared subscription begins with (MQTT 5 §4.8.2).
const SHARE: &str = "$share/";

/// A valid topic filter (MQTT 5 §4.7, §4.8.2), plain or shared.
///
/// `$share/` is read as a shared subscription in 3.1.1 as well: a filter that one protocol would take for a plain one
/// must not get around a rule for shares in the other.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicFilter<'a> {
    text: &'a str,
    /// The part that is compared with names: all of `text`, or what follows the group of a share.
    plain: &'a str,
}

impl<'a> TopicFilter<'a> {
    /// Checks a text once.
    pub fn new(text: &'a str) -> Result<Self, FilterError> {
        if text.len() > TOPIC_LEN_MAX {
            return Err(FilterError::TooLong);
        }
        let plain = match text.strip_prefix(SHARE) {
            None => text,
            Some(share) => {
                let (group, plain) = share.split_once('/').ok_or(FilterError::ShareIncomplete)?;
                check_group(group)?;
                if plain.is_empty() {
                    return Err(FilterError::ShareIncomplete);
                }
                plain
            }
        };
        check_plain(plain)?;
        Ok(Self { text, plain })
    }

    /// The whole text, `$share/…` included.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// The group and the plain filter of a shared subscription; `None` for a plain filter.
    #[must_use]
    pub fn share(self) -> Option<(&'a str, Self)> {
        let (group, _) = self.text.strip_prefix(SHARE)?.split_once('/')?;
        Some((group, self.plain()))
    }

    /// The filter without `$share/group/`: what is compared with names.
    #[must_use]
    pub fn plain(self) -> Self {
        Self {
            text: self.plain,
            plain: self.plain,
        }
    }

    /// The levels of the plain filter, from the left; at least one, each may be empty.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        self.plain.split('/')
    }
}

fn check_group(group: &str) -> Result<(), FilterError> {
    if group.is_empty() {
        return Err(FilterError::ShareNameEmpty);
    }
    if group.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
        return Err(FilterError::ShareNameHasWildcard);
    }
    if group.bytes().any(|byte| byte == 0) {
        return Err(FilterError::HasNul);
    }
    Ok(())
}

fn check_plain(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() {
        return Err(FilterError::Empty);
    }
    let mut levels = filter.split('/');
    while let Some(level) = levels.next() {
        let alone = level.len() == 1;
        for byte in level.bytes() {
            match byte {
                0 => return Err(FilterError::HasNul),
                b'#' if !alone => return Err(FilterError::HashNotWholeLevel),
                b'#' if levels.clone().next().is_some() => return Err(FilterError::HashNotLast),
                b'+' if !alone => return Err(FilterError::PlusNotWholeLevel),
                _ => {}
            }
        }
    }
    Ok(())
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Why a text is no topic filter.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FilterError {
    /// It is empty.
    Empty,
    /// `#` is not the last level.
    HashNotLast,
    /// `#` shares its level with other characters.
    HashNotWholeLevel,
    /// It contains U+0000.
    HasNul,
    /// `+` shares its level with other characters.
    PlusNotWholeLevel,
    /// `$share/` without a group and a filter behind it.
    ShareIncomplete,
    /// The name of a share group is empty.
    ShareNameEmpty,
    /// The name of a share group contains `+` or `#`.
    ShareNameHasWildcard,
    /// It has more than 65,535 bytes.
    TooLong,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "a topic filter is not empty",
            Self::HashNotLast => "# is the last level of a topic filter",
            Self::HashNotWholeLevel => "# is a level of its own",
            Self::HasNul => "a topic filter has no U+0000",
            Self::PlusNotWholeLevel => "+ is a level of its own",
            Self::ShareIncomplete => "a shared subscription is $share/group/filter",
            Self::ShareNameEmpty => "the name of a share group is not empty",
            Self::ShareNameHasWildcard => "the name of a share group has no wildcard",
            Self::TooLong => "a topic filter has at most 65,535 bytes",
        })
    }
}

impl core::error::Error for FilterError {}
