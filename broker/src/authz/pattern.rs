//! Topic patterns with templates, and how they relate to names and filters.
use crate::identity::Device;
use keygate_protocol::ident::Id;
use keygate_protocol::topic::{
    FilterError, LEVELS_MAX, TopicFilter, TopicName, levels as relation,
};
use std::fmt;
use std::sync::Arc;

/// A topic filter in which a level may be a template: `{device}`, `{group}` or `{attr.NAME}`.
///
/// A template is filled from whoever is judged and stands for exactly one level. `{group}` stands for each group of the
/// device in turn, the same in every place of the pattern. An attribute whose value is no id (and so could contain `/`,
/// `+` or `#`) fills nothing: the pattern then matches no topic.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    levels: Box<[Level]>,
    per_group: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Level {
    Attribute(Box<str>),
    Device,
    Group,
    /// Text, `+` or `#`.
    Plain(Box<str>),
}

/// What a pattern is held against.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// A plain filter: the share group is taken off before.
    Filter(TopicFilter<'a>),
    Name(TopicName<'a>),
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let levels = text
            .split('/')
            .map(Level::parse)
            .collect::<Result<Box<[_]>, _>>()?;
        if levels.len() > LEVELS_MAX {
            return Err(PatternError::TooManyLevels);
        }
        if text.starts_with("$share/") {
            return Err(PatternError::Share);
        }
        // With any id in the place of a template it is a filter like any other.
        let sample: Vec<&str> = levels
            .iter()
            .map(|level| match level {
                Level::Plain(text) => text,
                _ => "x",
            })
            .collect();
        TopicFilter::new(&sample.join("/")).map_err(PatternError::Filter)?;
        Ok(Self {
            text: text.into(),
            per_group: levels.contains(&Level::Group),
            levels,
        })
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn text(&self) -> Arc<str> {
        self.text.clone()
    }

    /// Whether the whole of what is asked lies inside the pattern: what an allow rule needs.
    pub(super) fn covers(&self, device: &Device, asked: Asked<'_>) -> bool {
        self.any_filling(device, |group| {
            let levels = self.filled(device, group);
            match asked {
                Asked::Filter(filter) => relation::covers(levels, filter.levels()),
                Asked::Name(name) => relation::matches(levels, name.levels()),
            }
        })
    }

    /// Whether any of what is asked lies inside the pattern: what a deny rule needs.
    pub(super) fn touches(&self, device: &Device, asked: Asked<'_>) -> bool {
        self.any_filling(device, |group| {
            let levels = self.filled(device, group);
            match asked {
                Asked::Filter(filter) => relation::overlaps(levels, filter.levels()),
                Asked::Name(name) => relation::matches(levels, name.levels()),
            }
        })
    }

    /// The filters that the pattern stands for with this device.
    pub(super) fn expand<'a>(&'a self, device: &'a Device) -> Vec<String> {
        let text = |group| self.filled(device, group).collect::<Vec<_>>().join("/");
        if !self.can_be_filled(device) {
            return Vec::new();
        }
        if self.per_group {
            device.groups.iter().map(|group| text(group)).collect()
        } else {
            vec![text("")]
        }
    }

    fn any_filling(&self, device: &Device, holds: impl Fn(&str) -> bool) -> bool {
        if !self.can_be_filled(device) {
            return false;
        }
        if self.per_group {
            device.groups.iter().any(|group| holds(group))
        } else {
            holds("")
        }
    }

    fn can_be_filled(&self, device: &Device) -> bool {
        self.levels.iter().all(|level| match level {
            Level::Attribute(name) => device
                .attributes
                .get(name)
                .is_some_and(|value| Id::new(value).is_ok()),
            Level::Device | Level::Group | Level::Plain(_) => true,
        })
    }

    /// Level by level and never written out, because this runs for every PUBLISH.
    fn filled<'a>(
        &'a self,
        device: &'a Device,
        group: &'a str,
    ) -> impl Iterator<Item = &'a str> + Clone {
        self.levels.iter().map(move |level| match level {
            Level::Attribute(name) => device.attributes.get(name).map_or("", |value| value),
            Level::Device => &*device.id,
            Level::Group => group,
            Level::Plain(text) => text,
        })
    }
}

impl Level {
    fn parse(level: &str) -> Result<Self, PatternError> {
        if !level.contains(['{', '}']) {
            return Ok(Self::Plain(level.into()));
        }
        let inside = level
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|inside| !inside.contains(['{', '}']))
            .ok_or(PatternError::TemplateNotWholeLevel)?;
        match inside {
            "device" => Ok(Self::Device),
            "group" => Ok(Self::Group),
            _ => match inside.strip_prefix("attr.").map(Id::new) {
                Some(Ok(name)) => Ok(Self::Attribute(name.as_str().into())),
                _ => Err(PatternError::TemplateUnknown(inside.into())),
            },
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no pattern: a mistake of whoever wrote the policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// Not a topic filter.
    #[error("not a topic filter: {0}")]
    Filter(FilterError),
    /// `$share/…`: the right to share is an action, not a topic.
    #[error("a pattern names topics; for shared subscriptions use the action `share`")]
    Share,
    /// A brace inside a level.
    #[error("a template is a whole level, like {{device}}")]
    TemplateNotWholeLevel,
    /// No such template.
    #[error("no template {{{0}}}; there are {{device}}, {{group}} and {{attr.NAME}}")]
    TemplateUnknown(Box<str>),
    /// More levels than a topic may have.
    #[error("more than {LEVELS_MAX} levels")]
    TooManyLevels,
}
