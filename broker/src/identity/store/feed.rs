//! How much of the past the change feed keeps: the rule that both stores follow.
use crate::identity::limits::FEED_IDS_MAX;

/// What is left after a trim: half, so that trimming is rare.
pub(super) const FEED_IDS_KEPT: usize = FEED_IDS_MAX / 2;

/// What to do with the feed when a batch of `batch_len` ids joins `remembered` ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Keep {
    /// Remember the batch too.
    All,
    /// Remember the batch, then forget the oldest revisions until at most [`FEED_IDS_KEPT`] ids are left.
    Trimmed,
    /// Forget everything, this batch included: whoever followed reloads.
    Nothing,
}

impl Keep {
    pub(super) fn decide(remembered: usize, batch_len: usize) -> Self {
        if batch_len > FEED_IDS_KEPT {
            Self::Nothing
        } else if remembered + batch_len > FEED_IDS_MAX {
            Self::Trimmed
        } else {
            Self::All
        }
    }
}
