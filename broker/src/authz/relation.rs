//! The relations of [`keygate_protocol::topic`], over levels instead of texts: a pattern filled for a device is walked
//! level by level and never written out, because this runs for every PUBLISH.
//!
//! Tests hold each of the three equal to its namesake.

/// Whether a filter of these levels matches a topic name of those.
pub(super) fn matches<'a>(
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

/// Whether `granted` matches every name that `requested` matches.
pub(super) fn covers<'a>(
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
            // All below and perhaps the parent: only `+/#` says the same, and only where there is no parent.
            (Some("+"), Some("#")) => return above != Above::Name && granted.next() == Some("#"),
            (Some("+"), Some(_)) => {}
            (Some(grant), Some(request)) if grant == request => {}
            _ => return false,
        }
        above = above.then(request.unwrap_or_default());
        (grant, request) = (granted.next(), requested.next());
    }
}

/// Whether there is a name that both match.
pub(super) fn overlaps<'a>(
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

/// What the levels so far make, for a `#` that matches its parent: one empty level is no topic name.
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

fn is_wildcard(level: Option<&str>) -> bool {
    matches!(level, Some("+" | "#"))
}

fn is_reserved(level: Option<&str>) -> bool {
    level.is_some_and(|level| level.starts_with('$'))
}
