//! The audit trail, as a test asks for it: what was recorded about this connection?
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keygate_broker::admin::{Answer, Command};
use keygate_broker::telemetry::event::{
    DisconnectCause, EventKind, Listener, Origin, Outcome, RightAction, RightReason,
};
use keygate_broker::telemetry::reason::RefusalReason;
use keygate_broker::telemetry::trail::{Filter, last};

use crate::admin;
use crate::clock::Deadline;

/// More events than any of these tests makes.
const EVENTS_MAX: usize = 1_000_000;

/// The trail of one broker.
#[derive(Clone, Debug)]
pub struct Trail {
    data: PathBuf,
}

impl Trail {
    /// The trail of the broker that runs on this directory.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self { data: data.into() }
    }

    /// Everything that is recorded by now.
    ///
    /// # Panics
    /// When the broker does not answer, or a line is no event.
    #[must_use]
    #[track_caller]
    pub fn events(&self) -> Vec<EventKind> {
        let answer = admin::ask(&self.data, &Command::Flush);
        assert_eq!(answer, Answer::Flushed);
        let found = last(&self.data, &Filter::default(), EVENTS_MAX).expect("a trail");
        assert_eq!(found.unreadable, 0, "a line of the trail is no event");
        found.events.into_iter().map(|event| event.kind).collect()
    }

    /// Waits for the first event that `wanted` takes. A shard writes to its peer first and records right after, so
    /// that the answer may be here before the event is.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, wanted: impl Fn(&EventKind) -> Option<T>) -> T {
        let deadline = Deadline::new();
        loop {
            let events = self.events();
            if let Some(found) = events.iter().find_map(&wanted) {
                return found;
            }
            assert!(
                deadline.left().is_some(),
                "the audit trail has no {what}; it has {events:#?}"
            );
        }
    }

    /// Why the login that came from here was refused.
    ///
    /// # Panics
    /// When no refused login is recorded.
    #[must_use]
    #[track_caller]
    pub fn refused_login(&self, peer: SocketAddr) -> RefusalReason {
        self.wait_for("refused login", |event| match event {
            EventKind::Login {
                outcome: Outcome::Refused,
                reason,
                origin,
                ..
            } if origin.peer == peer => *reason,
            _ => None,
        })
    }

    /// The code with which the connection from here was closed for what it sent.
    ///
    /// # Panics
    /// When nothing of the kind is recorded.
    #[must_use]
    #[track_caller]
    pub fn malformed(&self, peer: SocketAddr) -> u8 {
        self.wait_for("malformed packet", |event| match event {
            EventKind::Malformed { code, origin, .. } if origin.peer == peer => *code,
            _ => None,
        })
    }

    /// By which door the connection from here came, and what broke its transport.
    ///
    /// # Panics
    /// When nothing of the kind is recorded.
    #[must_use]
    #[track_caller]
    pub fn broken(&self, peer: SocketAddr) -> (Listener, String) {
        self.wait_for("broken transport", |event| match event {
            EventKind::Malformed {
                code: None,
                rule,
                origin,
                ..
            } if origin.peer == peer => Some((origin.listener, rule.to_string())),
            _ => None,
        })
    }

    /// By which door the session from here came.
    ///
    /// # Panics
    /// When no login from here is recorded as accepted.
    #[must_use]
    #[track_caller]
    pub fn door(&self, peer: SocketAddr) -> Listener {
        self.wait_for("accepted login", |event| match event {
            EventKind::Login {
                outcome: Outcome::Accepted,
                origin,
                ..
            } if origin.peer == peer => Some(origin.listener),
            _ => None,
        })
    }

    /// The right to this topic that was refused to the connection from here, with the code that it was told.
    ///
    /// # Panics
    /// When none is recorded.
    #[must_use]
    #[track_caller]
    pub fn refused_right(
        &self,
        peer: SocketAddr,
        on: &str,
    ) -> (RightAction, RightReason, Option<u8>) {
        self.wait_for("refused right", |event| match event {
            EventKind::Right {
                action,
                topic,
                reason,
                code,
                origin,
                ..
            } if origin.peer == peer && &**topic == on => Some((*action, *reason, *code)),
            _ => None,
        })
    }

    /// Why the session from here ended.
    ///
    /// # Panics
    /// When its end is not recorded.
    #[must_use]
    #[track_caller]
    pub fn ended(&self, peer: SocketAddr) -> DisconnectCause {
        self.wait_for("end of a session", |event| match event {
            EventKind::Disconnect { cause, origin, .. } if origin.peer == peer => Some(*cause),
            _ => None,
        })
    }

    /// How the token request from here ended: why it was refused, or `None`.
    ///
    /// # Panics
    /// When none is recorded.
    #[must_use]
    #[track_caller]
    pub fn token(&self, peer: SocketAddr) -> Option<RefusalReason> {
        self.wait_for("token request", |event| match event {
            EventKind::Token { reason, origin, .. } if origin.peer == peer => Some(*reason),
            _ => None,
        })
    }

    /// How many events came from here.
    #[must_use]
    #[track_caller]
    pub fn count_from(&self, peer: SocketAddr) -> usize {
        let from = |event: &&EventKind| origin(event).is_some_and(|origin| origin.peer == peer);
        self.events().iter().filter(from).count()
    }
}

fn origin(event: &EventKind) -> Option<&Origin> {
    match event {
        EventKind::Challenge { origin, .. }
        | EventKind::Disconnect { origin, .. }
        | EventKind::Login { origin, .. }
        | EventKind::Malformed { origin, .. }
        | EventKind::Right { origin, .. }
        | EventKind::Token { origin, .. }
        | EventKind::Upstream { origin, .. } => Some(origin),
        EventKind::Broker { .. }
        | EventKind::Identity { .. }
        | EventKind::Import { .. }
        | EventKind::Lost { .. }
        | EventKind::Undelivered { .. } => None,
    }
}
