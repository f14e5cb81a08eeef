use super::{Op, StoredSession};

impl Op {
    /// Bytes that it takes in the window, near enough to bound them. A message that goes to three sessions counts three
    /// times: it is written as often.
    #[must_use]
    pub fn size(&self) -> usize {
        let beside = match self {
            Self::Retain { message, .. } => message.size(),
            Self::Enqueue(stored) => {
                stored.message.size() + size_of_val::<[_]>(&stored.subscription_ids)
            }
            Self::Forget(topic) => topic.len(),
            Self::OpenSession(session) => {
                let will = session.will.as_ref();
                size_of::<StoredSession>()
                    + session.client_id.len()
                    + will.map_or(0, |will| will.message.size())
            }
            Self::Subscribe { subscription, .. } => subscription.filter.len(),
            Self::Unsubscribe { filter, .. } => filter.len(),
            Self::Cursor { filter, cursor, .. } => {
                let after = cursor.as_ref().and_then(|cursor| cursor.after.as_ref());
                filter.len() + after.map_or(0, |after| after.len())
            }
            Self::OpenGroup(group) => group.filter.len(),
            Self::Detach { .. }
            | Self::WillDone(_)
            | Self::CloseSession(_)
            | Self::CloseGroup(_)
            | Self::Assign { .. }
            | Self::Release(_)
            | Self::Dequeue(_)
            | Self::Receive { .. }
            | Self::Received { .. } => 0,
        };
        size_of::<Self>() + beside
    }
}
