//! How filters and names relate. Each function walks both texts once, level by level.
use super::{TopicFilter, TopicName};

/// Whether a message published to `name` goes to a subscription with `filter` (MQTT 5 §4.7).
#[must_use]
pub fn matches(filter: TopicFilter<'_>, name: TopicName<'_>) -> bool {
    let mut wanted = filter.levels();
    let mut levels = name.levels();
    let mut first = true;
    loop {
        let want = wanted.next();
        if first && name.is_reserved() && matches!(want, Some("+" | "#")) {
            return false;
        }
        first = false;
        match (want, levels.next()) {
            // Also when no level is left: `a/#` matches its parent `a`.
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(level)) if want == level => {}
            _ => return false,
        }
    }
}

/// Whether every name that `requested` matches is also matched by `granted`: who may use `granted` may use
/// `requested` (RFC 9431 §3.1.3, level by level).
///
/// Exact, with one kindness to spellings that mean the same: `+/#` covers `#`.
#[must_use]
pub fn covers(granted: TopicFilter<'_>, requested: TopicFilter<'_>) -> bool {
    let mut grants = granted.levels();
    let mut requests = requested.levels();
    let mut parent = Parent::None;
    loop {
        let (grant, request) = (grants.next(), requests.next());
        if parent == Parent::None && is_wildcard(grant) && is_reserved(request) {
            return false;
        }
        match (grant, request) {
            (Some("#"), _) | (None, None) => return true,
            // The request wants this level and all below, or none of them: the grant must go on to `#` at once.
            (Some("+"), Some("#")) => return !parent.is_name() && grants.next() == Some("#"),
            (Some("+"), Some(_)) => {}
            (Some(grant), Some(request)) if grant == request => {}
            _ => return false,
        }
        parent = parent.below(request.unwrap_or_default());
    }
}

/// Whether there is a topic name that both filters match.
#[must_use]
pub fn overlaps(a: TopicFilter<'_>, b: TopicFilter<'_>) -> bool {
    let (mut left, mut right) = (a.levels(), b.levels());
    let mut parent = Parent::None;
    loop {
        let (l, r) = (left.next(), right.next());
        if parent == Parent::None
            && (is_wildcard(l) && is_reserved(r) || is_wildcard(r) && is_reserved(l))
        {
            return false;
        }
        match (l, r) {
            (Some("#"), None) | (None, Some("#")) => return parent.is_name(),
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some("+"), Some(level)) | (Some(level), Some("+")) => parent = parent.below(level),
            (Some(l), Some(r)) if l == r => parent = parent.below(l),
            _ => return false,
        }
    }
}

fn is_wildcard(level: Option<&str>) -> bool {
    matches!(level, Some("+" | "#"))
}

fn is_reserved(level: Option<&str>) -> bool {
    level.is_some_and(|level| level.starts_with('$'))
}

/// What the levels before the current one make: `#` also matches that, if it is a topic name. No levels are no name,
/// and neither is a single empty level, because a name is not empty (§4.7.3): `/#` has no parent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Parent {
    None,
    Empty,
    Name,
}

impl Parent {
    fn below(self, level: &str) -> Self {
        match (self, level) {
            (Self::None, "") => Self::Empty,
            _ => Self::Name,
        }
    }

    fn is_name(self) -> bool {
        self == Self::Name
    }
}
