//! How filters and names relate. Each relation walks both sides once, level by level.
use super::{TopicFilter, TopicName};

/// Whether a message published to `name` goes to a subscription with `filter` (MQTT 5 §4.7).
#[must_use]
pub fn matches(filter: TopicFilter<'_>, name: TopicName<'_>) -> bool {
    levels::matches(filter.levels(), name.levels())
}

/// Whether every name that `requested` matches is also matched by `granted`: who may use `granted` may use
/// `requested` (RFC 9431 §3.1.3, level by level).
///
/// Exact, with one kindness to spellings that mean the same: `+/#` covers `#`.
#[must_use]
pub fn covers(granted: TopicFilter<'_>, requested: TopicFilter<'_>) -> bool {
    levels::covers(granted.levels(), requested.levels())
}

/// Whether there is a topic name that both filters match.
#[must_use]
pub fn overlaps(a: TopicFilter<'_>, b: TopicFilter<'_>) -> bool {
    levels::overlaps(a.levels(), b.levels())
}

/// The same relations over the levels of valid names and filters: for a filter that is made level by level and never
/// written out.
pub mod levels {
    /// [`matches()`](super::matches) over levels.
    pub fn matches<'a>(
        mut filter: impl Iterator<Item = &'a str>,
        mut name: impl Iterator<Item = &'a str>,
    ) -> bool {
        let (mut want, mut level) = (filter.next(), name.next());
        if is_wildcard(want) && is_reserved(level) {
            return false;
        }
        loop {
            match (want, level) {
                // Also when no level is left: `a/#` matches its parent `a`.
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(want), Some(level)) if want == level => {}
                _ => return false,
            }
            (want, level) = (filter.next(), name.next());
        }
    }

    /// [`covers`](super::covers) over levels.
    pub fn covers<'a>(
        mut granted: impl Iterator<Item = &'a str>,
        mut requested: impl Iterator<Item = &'a str>,
    ) -> bool {
        let (mut grant, mut request) = (granted.next(), requested.next());
        if is_wildcard(grant) && is_reserved(request) {
            return false;
        }
        let mut above = Above::Nothing;
        loop {
            match (grant, request) {
                (Some("#"), _) | (None, None) => return true,
                // The request wants this level and all below, or none of them: the grant must go on to `#` at once.
                (Some("+"), Some("#")) => {
                    return above != Above::Name && granted.next() == Some("#");
                }
                (Some("+"), Some(_)) => {}
                (Some(grant), Some(request)) if grant == request => {}
                _ => return false,
            }
            above = above.then(request.unwrap_or_default());
            (grant, request) = (granted.next(), requested.next());
        }
    }

    /// [`overlaps`](super::overlaps) over levels.
    pub fn overlaps<'a>(
        mut one: impl Iterator<Item = &'a str>,
        mut other: impl Iterator<Item = &'a str>,
    ) -> bool {
        let (mut left, mut right) = (one.next(), other.next());
        if is_wildcard(left) && is_reserved(right) || is_wildcard(right) && is_reserved(left) {
            return false;
        }
        let mut above = Above::Nothing;
        loop {
            match (left, right) {
                (Some("#"), None) | (None, Some("#")) => return above == Above::Name,
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (Some("+"), Some(level)) | (Some(level), Some("+")) => above = above.then(level),
                (Some(left), Some(right)) if left == right => above = above.then(left),
                _ => return false,
            }
            (left, right) = (one.next(), other.next());
        }
    }

    fn is_wildcard(level: Option<&str>) -> bool {
        matches!(level, Some("+" | "#"))
    }

    fn is_reserved(level: Option<&str>) -> bool {
        level.is_some_and(|level| level.starts_with('$'))
    }

    /// What the levels before the current one make: `#` also matches that, if it is a topic name. A single empty level
    /// is none, because a name is not empty (§4.7.3): `/#` has no parent.
    #[derive(Clone, Copy, Eq, PartialEq)]
    enum Above {
        Nothing,
        EmptyLevel,
        Name,
    }

    impl Above {
        fn then(self, level: &str) -> Self {
            match (self, level) {
                (Self::Nothing, "") => Self::EmptyLevel,
                _ => Self::Name,
            }
        }
    }
}
