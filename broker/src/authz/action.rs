//! What somebody may be allowed to do with a topic.
use std::fmt;

/// One kind of access. They are apart because they are granted apart: who may publish need not receive.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Send a message to a topic (PUBLISH, will).
    Publish,
    /// Be sent a message of a topic. Follows [`Subscribe`](Self::Subscribe) in a role that has no rule of its own for
    /// it.
    Receive,
    /// Leave a retained message on a topic; wanted besides [`Publish`](Self::Publish).
    Retain,
    /// Join a shared subscription (`$share/group/filter`); wanted instead of [`Subscribe`](Self::Subscribe).
    Share,
    /// Make a plain subscription.
    Subscribe,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] = [
        Self::Publish,
        Self::Receive,
        Self::Retain,
        Self::Share,
        Self::Subscribe,
    ];

    /// Its name in policy files, commands and the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Receive => "receive",
            Self::Retain => "retain",
            Self::Share => "share",
            Self::Subscribe => "subscribe",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Several actions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct ActionSet(u8);

impl ActionSet {
    pub(super) fn of(actions: &[Action]) -> Self {
        Self(actions.iter().fold(0, |set, action| set | action.bit()))
    }

    pub(super) fn has(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }

    pub(super) fn with(self, action: Action) -> Self {
        Self(self.0 | action.bit())
    }
}
