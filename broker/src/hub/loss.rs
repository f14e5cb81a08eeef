use std::sync::Arc;

use super::Session;

/// Messages that a full queue could not take, for the audit log.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) to: Loser,
    pub(crate) what: Lost,
}

/// To whom they are lost.
#[derive(Debug)]
pub(crate) enum Loser {
    /// The session of this identity and client id.
    Session(Box<str>, Arc<str>),
    /// The share group with this filter.
    Group(Box<str>),
}

/// Whether it begins or is over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// The first one was lost, because this setting leaves no room.
    Begins(&'static str),
    /// The client is back, or its session ends: so many were lost.
    Ends(u32),
}

impl Loss {
    pub(super) fn of(session: &Session, what: Lost) -> Self {
        let identity = session.principal.id().into();
        Self {
            to: Loser::Session(identity, Arc::clone(&session.client_id)),
            what,
        }
    }
}
